//! What happens within a call.

use anyhow::{Context, ensure};
use serde_json::json;

use super::calls::{ALICE, DORA, established, talk};
use crate::lab::{PATIENCE, Stage};

pub(super) fn hold_by_browser(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage.tell("alice", "hold")?;
    stage.wait("alice", "hold")?;
    dora.wait_for_silence(PATIENCE)?;
    stage.lab.browser.wait_for_silence("alice", PATIENCE)?;

    stage.tell("alice", "resume")?;
    stage.wait("alice", "unhold")?;
    talk(stage, &dora).context("after the hold")?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn hold_by_telephone(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    dora.hold()?;
    let hold = stage.wait("alice", "hold")?;
    ensure!(hold["originator"] == "remote", "{hold}");
    stage.lab.browser.wait_for_silence("alice", PATIENCE)?;

    dora.resume()?;
    stage.wait("alice", "unhold")?;
    talk(stage, &dora).context("after the hold")?;
    dora.hang_up()?;
    stage.wait("alice", "ended")?;
    Ok(())
}

pub(super) fn dtmf_out(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage
        .lab
        .browser
        .ask("alice", "dtmf", json!({ "tones": "159#", "how": "rtp" }))?;
    for key in ["1", "5", "9", "#"] {
        let event = dora.wait("CALL_DTMF_START", PATIENCE)?;
        ensure!(event["param"] == key, "not {key}: {event}");
    }
    // The voice goes on after the keys.
    dora.wait_for_tone(ALICE, PATIENCE)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn dtmf_in(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    // Chromium plays the events it receives: 5 is 770 Hz and 1336 Hz.
    dora.keys("5")?;
    stage
        .lab
        .browser
        .wait_for_tones_among("alice", &[770.0, 1336.0], PATIENCE)?;
    stage.tab_hears("alice", DORA).context("after the key")?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn dtmf_info_out(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    // The telephone takes RFC 4733, so that is what it gets.
    stage
        .lab
        .browser
        .ask("alice", "dtmf", json!({ "tones": "4", "how": "info" }))?;
    let event = dora.wait("CALL_DTMF_START", PATIENCE)?;
    ensure!(event["param"] == "4", "not 4: {event}");
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn dtmf_info_in(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    let scenario = include_str!("../../sipp/info.xml");
    let mut script = gina.run(&stage.folder, "info", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", gina.user)?;
    stage.wait("alice", "confirmed")?;
    // 7 is 852 Hz and 1209 Hz.
    stage
        .lab
        .browser
        .wait_for_tones("alice", &[852.0, 1209.0], PATIENCE)?;
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE)
}
