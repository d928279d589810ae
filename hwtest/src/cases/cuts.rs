//! Power that is cut while the boot loader's variables are written.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;

use super::{Report, patience};
use crate::boot_variables::{COPIES, PARTITION, SIZE, copy};
use crate::target::Target;

/// Spoils one copy, the other, and both, as a cut in the middle of a sector does, and looks which
/// slot the boot loader then starts. The box is off before and after.
pub fn torn_variables(target: &mut dyn Target, disk: &Path, report: &mut Report) {
    // What the copy that holds says is not the default, so that it is known again.
    let old = copy(
        7,
        &[
            ("BOOT_A_LEFT", "3"),
            ("BOOT_B_LEFT", "3"),
            ("BOOT_ORDER", "B A"),
        ],
    );
    let new = copy(
        8,
        &[
            ("BOOT_A_LEFT", "3"),
            ("BOOT_B_LEFT", "2"),
            ("BOOT_ORDER", "A B"),
        ],
    );
    for cut in [4, 5, 40, 512] {
        let torn = torn(&new, cut);
        for spoilt in [0, 1] {
            let name =
                format!("copy {spoilt} of the boot variables cut at byte {cut}: the other holds");
            let mut copies = [&old, &old];
            copies[spoilt] = &torn;
            report.check(&name, || starts(target, disk, copies, "starting slot B"));
        }
    }
    report.check("of two good copies the later one holds", || {
        starts(target, disk, [&old, &new], "starting slot A")
    });
    report.check("the count of copies goes round", || {
        let last = copy(255, &[("BOOT_B_LEFT", "3"), ("BOOT_ORDER", "A B")]);
        let first = copy(0, &[("BOOT_B_LEFT", "3"), ("BOOT_ORDER", "B A")]);
        starts(target, disk, [&last, &first], "starting slot B")
    });
    report.check("with no good copy the box starts by default", || {
        let torn = torn(&new, 40);
        starts(target, disk, [&torn, &torn], "starting slot A")
    });
}

/// A copy of which only the beginning was written; behind it is what a flash has when erased.
fn torn(whole: &[u8], cut: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    bytes[cut..].fill(0xff);
    bytes
}

fn starts(
    target: &mut dyn Target,
    disk: &Path,
    copies: [&Vec<u8>; 2],
    wanted: &str,
) -> anyhow::Result<String> {
    let file = OpenOptions::new()
        .write(true)
        .open(disk)
        .context("no disk")?;
    for (bytes, place) in copies.into_iter().zip(COPIES) {
        debug_assert_eq!(bytes.len(), SIZE, "a copy is whole");
        file.write_all_at(bytes, PARTITION + place as u64)
            .context("no room on the disk")?;
    }
    target.power_on()?;
    let patience = patience(target, 12);
    let started = target
        .console()
        .and_then(|console| {
            console
                .expect("Gatehouse: starting slot", patience)
                .map(drop)
        })
        .and_then(|()| Ok(target.console()?.last(1)));
    target.power_off()?;
    let line = started?;
    anyhow::ensure!(line.contains(wanted), "wanted {wanted:?}, but: {line}");
    Ok(String::new())
}
