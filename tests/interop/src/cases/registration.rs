//! Logging in and out.

use std::time::Duration;

use anyhow::{bail, ensure};

use crate::lab::{PATIENCE, Stage};
use crate::telephone::Answer;

pub(super) fn register(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.register("alice")?;
    // The S-CSCF challenges a refresh again.
    stage.tell("alice", "register")?;
    std::thread::sleep(Duration::from_millis(700));
    stage.expect_registrations(2);
    Ok(())
}

pub(super) fn wrong_password(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.open("alice", "not-my-secret")?;
    stage.tell("alice", "register")?;
    let event = stage.wait_for_any("alice", &["registered", "registrationFailed"])?;
    let status = event["status"].as_u64().unwrap_or_default();
    ensure!(
        event["event"] == "registrationFailed" && matches!(status, 401 | 403),
        "{event}"
    );
    Ok(())
}

pub(super) fn deregister(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", 600.0, Answer::Manual)?;
    stage.register("alice")?;
    stage.tell("alice", "unregister")?;
    stage.wait("alice", "unregistered")?;

    dora.dial(&stage.address("alice"))?;
    let closed = dora.wait("CALL_CLOSED", PATIENCE)?;
    if !closed["param"]
        .as_str()
        .unwrap_or_default()
        .starts_with("480")
    {
        bail!("she is not registered any more, but: {closed}");
    }
    Ok(())
}
