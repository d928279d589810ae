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

/// The operator ends a registration while its user talks.
pub(super) fn ended_by_network(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", 600.0, Answer::Automatic)?;
    stage.register("alice")?;
    let started = std::time::Instant::now();
    while stage
        .lab
        .gateway()?
        .metric("gatehouse_signaling_reg_events_total")?
        < Some(1.0)
    {
        ensure!(started.elapsed() < PATIENCE, "the S-CSCF sent no NOTIFY");
        std::thread::sleep(Duration::from_millis(50));
    }
    stage.call("alice", "dora")?;
    stage.wait("alice", "confirmed")?;
    let identity = stage.address("alice");
    stage.lab.ims.end_registration(&identity)?;
    let closed = stage.wait("alice", "disconnected")?;
    ensure!(closed["code"] == 4003, "{closed}");
    dora.wait("CALL_CLOSED", PATIENCE)?;
    let ended = "gatehouse_signaling_deregistered_by_network_total";
    let ended = stage.lab.gateway()?.metric(ended)?;
    ensure!(ended >= Some(1.0), "{ended:?}");
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
