//! Connections that break, packets that are lost, servers that go away.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::calls::{ALICE, DORA, established, talk};
use crate::lab::{PATIENCE, Stage};
use crate::network::{self, Loss};

pub(super) fn websocket_lost(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage.lab.browser.forget();
    stage.tell("alice", "drop")?;
    stage.wait("alice", "disconnected")?;
    talk(stage, &dora).context("while the WebSocket is gone")?;
    stage.wait("alice", "connected")?;
    stage.wait("alice", "registered").context("again")?;
    talk(stage, &dora).context("after it is back")?;

    dora.hang_up()?;
    let ended = stage.wait("alice", "ended").context("the far end's BYE")?;
    ensure!(ended["originator"] == "remote", "{ended}");
    Ok(())
}

pub(super) fn tab_closed(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    let closed = Instant::now();
    stage.tell("alice", "close")?;
    dora.wait("CALL_CLOSED", CONSENT + Duration::from_secs(5))
        .with_context(|| format!("{:?} after the tab was closed", closed.elapsed()))?;
    Ok(())
}

pub(super) fn loss_on_access(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    let before = stage.stats()?;
    let loss = Loss::start(network::ACCESS_MEDIA, network::BROWSER)?;
    std::thread::sleep(LISTEN);
    let after = stage.stats()?;
    drop(loss);
    let lost = after.lost - before.lost;
    let share = lost / (after.received - before.received + lost);
    ensure!(
        (0.04..=0.06).contains(&share),
        "the browser lost {:.1} % on its own leg",
        share * 100.0
    );
    ensure!(
        after.remote_lost <= before.remote_lost,
        "loss was reported for the other direction"
    );
    talk(stage, &dora)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn loss_on_ims(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    let before = stage.stats()?;
    let loss = Loss::start(dora.address, network::GATEWAY)?;
    std::thread::sleep(LISTEN);
    let after = stage.stats()?;
    drop(loss);
    let received = after.received - before.received;
    ensure!(
        after.lost - before.lost < 0.01 * received,
        "the browser saw {} lost",
        after.lost - before.lost
    );
    // What the telephone sent did get lost: about one in twenty never came.
    let expected = 50.0 * LISTEN.as_secs_f64();
    ensure!(
        received < expected * 0.99,
        "{received} of {expected} packets came: nothing was dropped"
    );
    stage.tab_hears("alice", DORA)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn core_restarted(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage.lab.ims.restart()?;
    stage
        .tab_hears("alice", DORA)
        .context("with the core restarted")?;
    dora.wait_for_tone(ALICE, PATIENCE)
        .context("with the core restarted")?;
    // The dialog's route set still leads through the core, which remembers nothing.
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    // And the browser's next REGISTER makes it known again.
    stage.tell("alice", "register")?;
    std::thread::sleep(Duration::from_secs(1));
    stage.expect_registrations(2);
    Ok(())
}

pub(super) fn ice_restarted(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage.tell("alice", "restartIce")?;
    std::thread::sleep(Duration::from_secs(1));
    talk(stage, &dora).context("after the restart")?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn control_killed(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.lab.gateway_apart()?;
    let mut dora = established(stage)?;
    stage.lab.browser.forget();
    stage.lab.gateway()?.kill_control();
    stage.wait("alice", "disconnected")?;
    talk(stage, &dora).context("while nobody steers the call")?;
    stage.lab.gateway()?.start_control()?;
    let browser = &stage.lab.browser;
    browser.wait("alice", "connected", RECONNECTING)?;
    browser
        .wait("alice", "registered", RECONNECTING)
        .context("again")?;
    talk(stage, &dora).context("after the restart")?;

    dora.hold()?;
    let hold = stage.wait("alice", "hold")?;
    ensure!(hold["originator"] == "remote", "{hold}");
    dora.resume()?;
    stage.wait("alice", "unhold")?;
    talk(stage, &dora).context("after the far end's hold")?;
    stage.tell("alice", "hold")?;
    stage.wait("alice", "hold")?;
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn media_killed(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.lab.gateway_apart()?;
    let mut dora = established(stage)?;
    stage.lab.gateway()?.kill_media();
    let ended = stage.wait("alice", "ended")?;
    ensure!(ended["originator"] == "remote", "{ended}");
    dora.wait("CALL_CLOSED", PATIENCE)?;
    stage.lab.gateway()?.start_media()?;
    stage.call("alice", "dora")?;
    let event = stage.wait_for_any("alice", &["confirmed", "failed"])?;
    ensure!(event["event"] == "confirmed", "{event}");
    talk(stage, &dora)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn gateway_leaves(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    ensure!(stage.lab.stop_gateway(), "the gateway had to be killed");
    dora.wait("CALL_CLOSED", PATIENCE)
        .context("the call's end")?;
    // It de-registers as far as a box can that never learns a password: this core challenges it.
    let filter = format!(
        "sip.Method == \"REGISTER\" && ip.src == {} && frame matches \"(?i)expires[:=] ?0\"",
        network::GATEWAY
    );
    stage.expect("a REGISTER that removes the binding", filter, 1);
    Ok(())
}

/// After this the gateway takes a silent browser for gone.
const CONSENT: Duration = Duration::from_secs(20);

/// Clients try again after 2 to 30 s, with growing pauses.
const RECONNECTING: Duration = Duration::from_secs(40);

/// Long enough for 5 % to be counted.
const LISTEN: Duration = Duration::from_secs(8);
