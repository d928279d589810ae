//! The core and the telephones alone.

use anyhow::{Context, ensure};

use super::calls::{DORA, EMIL};
use crate::lab::{PATIENCE, Stage, address};
use crate::telephone::Answer;
use crate::tone;

pub(super) fn telephones(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    let mut emil = stage.telephone("emil", EMIL, Answer::Automatic)?;
    dora.dial(&address("emil"))?;
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    dora.wait_for_tone(EMIL, PATIENCE)?;
    emil.wait_for_tone(DORA, PATIENCE)?;
    dora.keys("5")?;
    emil.wait("CALL_DTMF_START", PATIENCE)?;
    dora.hold()?;
    emil.wait_for_silence(PATIENCE)?;
    dora.resume()?;
    emil.wait_for_tone(DORA, PATIENCE)?;
    dora.hang_up()?;
    emil.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn scripts(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    let gina = stage.called()?;

    let mut script = gina.run(
        &stage.folder,
        "no-answer",
        include_str!("../../sipp/no-answer.xml"),
        "",
    )?;
    dora.dial(&address("gina"))?;
    dora.wait("CALL_RINGING", PATIENCE)?;
    let closed = dora.wait("CALL_CLOSED", PATIENCE)?;
    ensure!(
        closed["param"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("480")),
        "{closed}"
    );
    script.finish(PATIENCE).context("no-answer")?;

    let mut script = gina.run(
        &stage.folder,
        "silent",
        include_str!("../../sipp/silent.xml"),
        "",
    )?;
    dora.dial(&address("gina"))?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    dora.hang_up()?;
    script.finish(PATIENCE).context("silent")?;

    tone::write_a_law(&stage.folder.join("gina/tone.raw"), EMIL, 10)?;
    let mut script = gina.run(
        &stage.folder,
        "early-media",
        include_str!("../../sipp/early-media.xml"),
        "",
    )?;
    dora.dial(&address("gina"))?;
    dora.wait("CALL_PROGRESS", PATIENCE)?;
    dora.wait_for_tone(EMIL, PATIENCE)?;
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    dora.hang_up()?;
    script.finish(PATIENCE).context("early-media")
}
