//! The image of a slot: ext4, one block of text that says how it is verified, the verity tree.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::workspace;

/// Bytes of a block, of the file system and of the tree.
const BLOCK: u64 = 4096;

/// The same for each build; file systems are found by the names of their partitions.
const FILE_SYSTEM_ID: &str = "67617465-686f-7573-652d-726f6f740000";

/// The same for each build, so that equal files give an equal hash.
const SALT: &str = "676174656861757365676174656861757365676174656861757365676174650a";

/// Room in the file system beside its files, in MiB.
const ROOM: u64 = 8;

/// Makes the image of a root; returns its root hash.
pub(super) fn make(root: &Path, image: &Path) -> anyhow::Result<String> {
    let blocks = (used(root)? * 105 / 100 + (ROOM << 20)) / BLOCK;
    let _ = fs::remove_file(image);
    workspace::run(
        workspace::command("mkfs.ext4")
            .args(["-q", "-F", "-b", "4096", "-m", "0", "-U", FILE_SYSTEM_ID])
            .args([
                "-L",
                "gatehouse",
                "-E",
                &format!("hash_seed={FILE_SYSTEM_ID},nodiscard"),
            ])
            .args([
                "-O",
                "^has_journal,^resize_inode,^metadata_csum_seed,^orphan_file",
            ])
            .arg("-d")
            .args([root, image])
            .arg(blocks.to_string()),
    )?;
    let output = workspace::command("veritysetup")
        .args([
            "format",
            "--hash=sha256",
            "--data-block-size=4096",
            "--hash-block-size=4096",
        ])
        .arg(format!("--data-blocks={blocks}"))
        .arg(format!("--hash-offset={}", (blocks + 1) * BLOCK))
        .arg(format!("--salt={SALT}"))
        .arg(format!("--uuid={FILE_SYSTEM_ID}"))
        .args([image, image])
        .output()
        .context("could not start veritysetup")?;
    if !output.status.success() {
        bail!("veritysetup: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let hash = said
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"))
        .context("veritysetup said no root hash")?
        .trim()
        .to_owned();
    let mut file = OpenOptions::new()
        .write(true)
        .open(image)
        .context("no image")?;
    file.seek(SeekFrom::Start(blocks * BLOCK))
        .context("a short image")?;
    file.write_all(text(&hash, SALT, blocks).as_bytes())
        .context("no room in the image")?;
    Ok(hash)
}

/// What the initrd reads behind the file system.
fn text(hash: &str, salt: &str, blocks: u64) -> String {
    format!("gatehouse-verity 1\nroot {hash}\nsalt {salt}\nblocks {blocks}\n")
}

fn used(root: &Path) -> anyhow::Result<u64> {
    let output = workspace::command("du")
        .args(["--summarize", "--block-size=1"])
        .arg(root)
        .output();
    let output = output.context("could not start du")?;
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .context("du said no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_the_initrd_reads_and_fits_its_block() {
        let text = text(&"a".repeat(64), &"b".repeat(64), 40_000);

        let init = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../yocto/meta-gatehouse/recipes-core/gatehouse-initrd/files/init"
        ));
        for line in text.lines() {
            let word = line.split(' ').next().unwrap_or_default();
            assert!(init.contains(&format!("field {word})")), "{word}");
        }
        assert!(text.len() < 4096);
    }
}
