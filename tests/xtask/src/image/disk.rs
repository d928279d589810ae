//! The disk of the QEMU machine as it leaves the factory: the partition table, the boot script, the
//! boot loader's variables, slot A, an identity, and the site's first settings.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hwtest::boot_variables;

use super::partitions::{self, Partition};
use crate::workspace;

/// Sizes that boards choose for themselves, in MiB.
const SIZES: &[(&str, u64)] = &[("GATEHOUSE_SLOT_SIZE", 288), ("GATEHOUSE_DATA_SIZE", 384)];

/// The parts of the QEMU machine's boot script, in order.
const BOOT_SCRIPT: &[&str] = &[
    "boot-qemu-machine.cmd",
    "boot-qemu-load.cmd",
    "boot-ab.cmd",
    "boot-qemu-save.cmd",
    "boot-start.cmd",
];

const BOOT_FILES: &str = "yocto/meta-gatehouse-bsp/recipes-bsp/gatehouse-boot/files";
const TABLE: &str = "yocto/meta-gatehouse-bsp/files/wic/gatehouse-ab.wks.in";

/// First settings of the box on the tests' network.
const SITE: &str = "hwtest/site";

/// User and group of what the signalling process keeps (`gatehouse-sysusers.conf`).
const GATEHOUSE: u32 = 410;

/// Makes the disk; files that help with it come and go in the folder.
pub(super) fn make(slot: &Path, disk: &Path, folder: &Path) -> anyhow::Result<()> {
    let table = fs::read_to_string(workspace::root().join(TABLE)).context(TABLE)?;
    let table = partitions::read(&table, SIZES).context(TABLE)?;
    let starts = partitions::starts(&table);
    let total = 1
        + starts.last().context("an empty table")?
        + table.last().context("an empty table")?.megabytes;
    let _ = fs::remove_file(disk);
    let file = File::create(disk).with_context(|| disk.display().to_string())?;
    file.set_len(total << 20).context("no room for the disk")?;
    let script = folder.join("partitions");
    fs::write(&script, partitions::script(&table)).context("no room for a script")?;
    workspace::run(
        workspace::command("sfdisk")
            .arg("--quiet")
            .arg(disk)
            .stdin(File::open(&script).context("no script")?),
    )?;
    fs::remove_file(&script).context("could not clear up")?;
    for (partition, start) in table.iter().zip(starts) {
        let content = folder.join(&partition.name);
        match partition.name.as_str() {
            "ubootenv" => fs::write(&content, boot_environment()).context("no room")?,
            "boot" => file_system(partition, &content, boot_script)?,
            "rootfs-a" => {
                if fs::metadata(slot).context("no slot")?.len() > partition.megabytes << 20 {
                    bail!(
                        "the slot's image is larger than its partition of {} MiB",
                        partition.megabytes
                    );
                }
                write_at(disk, slot, start)?;
                continue;
            }
            "rootfs-b" => continue,
            "identity" => file_system(partition, &content, identity)?,
            "data" => file_system(partition, &content, first_settings)?,
            other => bail!("nobody knows what belongs on partition {other}"),
        }
        write_at(disk, &content, start)?;
        fs::remove_file(&content).context("could not clear up")?;
    }
    Ok(())
}

fn boot_environment() -> Vec<u8> {
    let variables = [
        ("BOOT_ORDER", "A B"),
        ("BOOT_A_LEFT", "3"),
        // Nothing is installed there.
        ("BOOT_B_LEFT", "0"),
    ];
    let [first, second] = boot_variables::COPIES;
    let mut bytes = boot_variables::copy(1, &variables);
    bytes.resize(second, 0);
    bytes.extend(boot_variables::copy(0, &variables));
    debug_assert_eq!(first, 0, "the first copy is at the start");
    bytes
}

fn boot_script(folder: &Path) -> anyhow::Result<()> {
    let files = workspace::root().join(BOOT_FILES);
    let mut script = String::new();
    for part in BOOT_SCRIPT {
        script.push_str(&fs::read_to_string(files.join(part)).context(*part)?);
    }
    let source = folder.join("boot.cmd");
    fs::write(&source, script).context("no room for the boot script")?;
    workspace::run(
        workspace::command("mkimage")
            .args(["-q", "-A", "arm64", "-T", "script", "-C", "none", "-d"])
            .args([&source, &folder.join("boot.scr")])
            .stdout(std::process::Stdio::null()),
    )?;
    fs::remove_file(source).context("could not clear up")
}

/// What the factory gives each box.
fn identity(folder: &Path) -> anyhow::Result<()> {
    let random = fs::read("/proc/sys/kernel/random/uuid").context("no random number")?;
    let machine: String = String::from_utf8_lossy(&random).replace('-', "");
    fs::write(folder.join("machine-id"), machine).context("no room for a machine id")?;
    fs::write(folder.join("serial"), "EMULATED-1\n").context("no room for a serial number")
}

/// The site's settings, and who they belong to.
fn first_settings(folder: &Path) -> anyhow::Result<()> {
    let site = workspace::root().join(SITE);
    for part in ["gatehouse", "network"] {
        let target = folder.join(part);
        fs::create_dir_all(&target).context("no room for settings")?;
        for entry in fs::read_dir(site.join(part)).with_context(|| format!("{SITE}/{part}"))? {
            let entry = entry.with_context(|| format!("{SITE}/{part}"))?;
            let place = target.join(entry.file_name());
            fs::copy(entry.path(), &place).context("no room for settings")?;
            if part == "gatehouse" {
                fs::set_permissions(&place, fs::Permissions::from_mode(0o640))
                    .context("no permissions")?;
                chown(&place, Some(GATEHOUSE), Some(GATEHOUSE))
                    .context("only root can give files away")?;
            }
        }
    }
    let home = folder.join("gatehouse");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o750)).context("no permissions")?;
    chown(home, Some(GATEHOUSE), Some(GATEHOUSE)).context("only root can give files away")
}

/// An ext4 of a partition's size with what the function puts into a folder.
fn file_system(
    partition: &Partition,
    image: &Path,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder: PathBuf = image.with_extension("files");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).context("no folder")?;
    fill(&folder)?;
    let _ = fs::remove_file(image);
    workspace::run(
        workspace::command("mkfs.ext4")
            .args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-m",
                "0",
                "-O",
                "^orphan_file",
                "-L",
                &partition.name,
                "-d",
            ])
            .args([&folder, image])
            .arg(format!("{}M", partition.megabytes)),
    )?;
    fs::remove_dir_all(&folder).context("could not clear up")
}

/// Copies a file to a place in the disk, given in MiB, without filling holes.
fn write_at(disk: &Path, content: &Path, megabytes: u64) -> anyhow::Result<()> {
    let mut from = File::open(content).with_context(|| content.display().to_string())?;
    let mut to = OpenOptions::new()
        .write(true)
        .open(disk)
        .context("no disk")?;
    let mut at = megabytes << 20;
    let mut block = vec![0; 1 << 16];
    loop {
        let length = std::io::Read::read(&mut from, &mut block).context("an unreadable file")?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(at)).context("a short disk")?;
            to.write_all(&block[..length])
                .context("no room on the disk")?;
        }
        at += length as u64;
    }
}
