//! The partition table, read from the kickstart file (`.wks.in`) that the Yocto build uses.

use anyhow::{Context, bail};

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its name in the table.
    pub(super) name: String,
    /// Its size in MiB.
    pub(super) megabytes: u64,
    /// Its type, where that is not the usual one.
    pub(super) kind: Option<String>,
    /// Whether the boot loader looks for its script here.
    pub(super) bootable: bool,
}

/// The partitions in order; a `${NAME}` of the file is one of the sizes given, in MiB.
pub(super) fn read(text: &str, sizes: &[(&str, u64)]) -> anyhow::Result<Vec<Partition>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("part "))
        .map(|line| partition(line, sizes).with_context(|| format!("part {line}")))
        .collect()
}

/// Where each partition begins, in MiB: the first one at 1, the others behind it.
pub(super) fn starts(partitions: &[Partition]) -> Vec<u64> {
    let mut next = 1;
    partitions
        .iter()
        .map(|partition| {
            let start = next;
            next += partition.megabytes;
            start
        })
        .collect()
}

/// The script that `sfdisk` takes.
pub(super) fn script(partitions: &[Partition]) -> String {
    let mut script = "label: gpt\n".to_owned();
    for (partition, start) in partitions.iter().zip(starts(partitions)) {
        script.push_str(&format!(
            "start={start}MiB, size={}MiB, name={}",
            partition.megabytes, partition.name
        ));
        if let Some(kind) = &partition.kind {
            script.push_str(&format!(", type={kind}"));
        }
        if partition.bootable {
            script.push_str(", attrs=LegacyBIOSBootable");
        }
        script.push('\n');
    }
    script
}

fn partition(line: &str, sizes: &[(&str, u64)]) -> anyhow::Result<Partition> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let value = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    if value("--align") != Some("1024") {
        bail!("a partition is to begin at a whole MiB: --align 1024");
    }
    Ok(Partition {
        name: value("--part-name").context("no --part-name")?.to_owned(),
        megabytes: megabytes(value("--fixed-size").context("no --fixed-size")?, sizes)?,
        kind: value("--part-type").map(str::to_owned),
        bootable: words.contains(&"--active"),
    })
}

fn megabytes(word: &str, sizes: &[(&str, u64)]) -> anyhow::Result<u64> {
    let given = word
        .strip_prefix("${")
        .and_then(|word| word.strip_suffix('}'))
        .map(|name| sizes.iter().find(|(known, _)| *known == name));
    match given {
        Some(Some((_, size))) => Ok(*size),
        Some(None) => bail!("{word}: no size is known for that"),
        None => word
            .strip_suffix('M')
            .and_then(|number| number.parse().ok())
            .with_context(|| format!("{word}: not a number of MiB")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../yocto/meta-gatehouse-bsp/files/wic/gatehouse-ab.wks.in"
    ));
    const SIZES: &[(&str, u64)] = &[("GATEHOUSE_SLOT_SIZE", 300), ("GATEHOUSE_DATA_SIZE", 512)];

    #[test]
    fn the_table_has_two_slots_of_one_size_and_data_at_the_end() {
        let table = read(TABLE, SIZES).unwrap();

        let names: Vec<&str> = table.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ubootenv", "boot", "rootfs-a", "rootfs-b", "identity", "data"
            ]
        );
        assert_eq!(table[2].megabytes, table[3].megabytes);
        assert_eq!(starts(&table), [1, 2, 18, 318, 618, 626]);
    }

    #[test]
    fn only_the_partition_with_the_boot_script_is_bootable() {
        let script = script(&read(TABLE, SIZES).unwrap());

        let bootable: Vec<&str> = script
            .lines()
            .filter(|line| line.contains("LegacyBIOSBootable"))
            .collect();
        assert_eq!(
            bootable,
            ["start=2MiB, size=16MiB, name=boot, attrs=LegacyBIOSBootable"]
        );
    }

    #[test]
    fn a_size_that_nobody_gave_is_an_error() {
        assert!(read(TABLE, &[]).is_err());
    }
}
