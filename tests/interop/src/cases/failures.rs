//! Calls that do not come about.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::calls::DORA;
use crate::lab::{PATIENCE, Stage};
use crate::telephone::Answer;

pub(super) fn cancel_before_ringing(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let scripted = stage.called()?;
    let scenario = include_str!("../../sipp/silent.xml");
    let mut script = scripted.run(&stage.folder, "silent", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", scripted.user)?;
    std::thread::sleep(Duration::from_millis(400));
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "failed")?;
    script.finish(PATIENCE)
}

pub(super) fn cancel_after_ringing(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    stage.register("alice")?;
    stage.call("alice", "dora")?;
    let progress = stage.wait("alice", "progress")?;
    ensure!(progress["status"] == 180, "{progress}");
    dora.wait("CALL_INCOMING", PATIENCE)?;
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "failed")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn caller_gives_up(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    stage.register("alice")?;
    dora.dial(&stage.address("alice"))?;
    stage.wait("alice", "incoming")?;
    dora.wait("CALL_RINGING", PATIENCE)?;
    dora.hang_up()?;
    let failed = stage.wait("alice", "failed")?;
    ensure!(failed["originator"] == "remote", "{failed}");
    Ok(())
}

pub(super) fn busy(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    stage.register("alice")?;
    stage.call("alice", "dora")?;
    dora.wait("CALL_INCOMING", PATIENCE)?;
    dora.hang_up()?;
    let failed = stage.wait("alice", "failed")?;
    ensure!(failed["status"] == 486, "{failed}");
    Ok(())
}

pub(super) fn busy_browser(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    stage.register("alice")?;
    dora.dial(&stage.address("alice"))?;
    stage.wait("alice", "incoming")?;
    stage
        .lab
        .browser
        .ask("alice", "reject", json!({ "status": 486 }))?;
    let closed = dora.wait("CALL_CLOSED", PATIENCE)?;
    ensure!(
        closed["param"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("486")),
        "{closed}"
    );
    Ok(())
}

pub(super) fn no_answer(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let scripted = stage.called()?;
    let scenario = include_str!("../../sipp/no-answer.xml");
    let mut script = scripted.run(&stage.folder, "no-answer", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", scripted.user)?;
    let progress = stage.wait("alice", "progress")?;
    ensure!(progress["status"] == 180, "{progress}");
    let failed = stage.wait("alice", "failed")?;
    ensure!(failed["status"] == 480, "{failed}");
    script.finish(PATIENCE)
}
