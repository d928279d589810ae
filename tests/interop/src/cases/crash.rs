//! What is left when the gateway ends badly, with secrets in its memory.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;

use super::calls::established;
use crate::lab::{PATIENCE, Stage};

/// A loaded gateway is aborted where any other program would leave an image of its memory.
pub(super) fn aborted(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    let keys = json!({ "tones": "4", "how": "info" });
    stage.lab.browser.ask("alice", "dtmf", keys)?;
    dora.wait("CALL_DTMF_START", PATIENCE)?;

    let others_leave_one = unguarded(stage)?;
    let gateway = stage.lab.gateway()?;
    ensure!(
        gateway.core_limit()? == 0,
        "an image of the memory may be written"
    );
    let has_dumped = gateway.abort()?;
    ensure!(!has_dumped, "the kernel wrote an image of the memory");
    let left = gateway.images()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    println!(
        "     a program that does not guard itself leaves an image of its memory here: {}",
        if others_leave_one { "yes" } else { "no" }
    );
    stage.lab.stop_gateway();
    Ok(())
}

/// Whether an aborted program leaves an image of its memory on this machine.
fn unguarded(stage: &Stage<'_>) -> anyhow::Result<bool> {
    let folder = stage.folder.join("unguarded");
    fs::create_dir_all(&folder).context("no folder")?;
    let status = Command::new("prlimit")
        .args(["--core=unlimited", "sh", "-c", "kill -ABRT $$"])
        .current_dir(&folder)
        .status()
        .context("could not start prlimit")?;
    let _ = fs::remove_dir_all(&folder);
    Ok(status.core_dumped())
}
