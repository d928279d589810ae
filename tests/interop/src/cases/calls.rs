//! Calls with audio both ways.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::{PATIENCE, Stage};
use crate::network;
use crate::telephone::{Answer, Telephone};
use crate::tone;

/// What the tab of the first user speaks, in hertz; telephones play others.
pub(super) const ALICE: f64 = 440.0;
pub(super) const BOB: f64 = 1000.0;
pub(super) const DORA: f64 = 600.0;
pub(super) const EMIL: f64 = 800.0;

pub(super) fn call_out(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = established(stage)?;
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn call_in(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Manual)?;
    stage.register("alice")?;
    dora.dial(&stage.address("alice"))?;
    let incoming = stage.wait("alice", "incoming")?;
    ensure!(
        incoming["from"]
            .as_str()
            .is_some_and(|from| from.starts_with("sip:dora@")),
        "{incoming}"
    );
    dora.wait("CALL_RINGING", PATIENCE)?;
    stage.tell("alice", "answer")?;
    stage.wait("alice", "confirmed")?;
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    talk(stage, &dora)?;

    dora.hang_up()?;
    let ended = stage.wait("alice", "ended")?;
    ensure!(ended["originator"] == "remote", "{ended}");
    Ok(())
}

pub(super) fn browser_to_browser(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.register("alice")?;
    stage.register("bob")?;
    stage.speak("bob", BOB)?;
    stage.call("alice", "bob")?;
    stage.wait("bob", "incoming")?;
    stage.tell("bob", "answer")?;
    stage.wait("alice", "confirmed")?;
    stage.wait("bob", "confirmed")?;
    stage.tab_hears("alice", BOB)?;
    stage.tab_hears("bob", ALICE)?;

    stage.tell("bob", "hangup")?;
    stage.wait("alice", "ended")?;
    Ok(())
}

pub(super) fn two_users(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Automatic)?;
    let mut emil = stage.telephone("emil", EMIL, Answer::Automatic)?;
    stage.register("alice")?;
    stage.register("bob")?;
    stage.speak("bob", BOB)?;
    stage.call("alice", "dora")?;
    stage.call("bob", "emil")?;
    stage.wait("alice", "confirmed")?;
    stage.wait("bob", "confirmed")?;
    // The core must not take one for the other.
    for (telephone, caller) in [(&mut dora, "alice"), (&mut emil, "bob")] {
        let call = telephone.wait("CALL_ESTABLISHED", PATIENCE)?;
        ensure!(
            call["peeruri"]
                .as_str()
                .is_some_and(|peer| peer.contains(caller)),
            "not {caller}: {call}"
        );
    }
    for caller in ["alice", "bob"] {
        let filter =
            format!("sip.Method == \"INVITE\" && sip.P-Asserted-Identity contains \"{caller}\"");
        stage.expect("the caller is asserted", filter, 1);
    }
    stage.tab_hears("alice", DORA)?;
    stage.tab_hears("bob", EMIL)?;
    dora.wait_for_tone(ALICE, PATIENCE)?;
    emil.wait_for_tone(BOB, PATIENCE)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    // The other call goes on.
    stage.tab_hears("bob", EMIL)?;
    stage.tell("bob", "hangup")?;
    emil.wait("CALL_CLOSED", PATIENCE)?;
    Ok(())
}

pub(super) fn early_media(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let scripted = stage.called()?;
    tone::write_a_law(&stage.folder.join("gina/tone.raw"), EMIL, 10)?;
    let scenario = include_str!("../../sipp/early-media.xml");
    let mut script = scripted.run(&stage.folder, "early-media", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", scripted.user)?;
    let progress = stage.wait("alice", "progress")?;
    ensure!(progress["status"] == 183, "{progress}");
    stage
        .tab_hears("alice", EMIL)
        .context("before the answer")?;
    ensure!(
        !stage.lab.browser.has_seen("alice", "confirmed"),
        "answered already"
    );
    stage.wait("alice", "confirmed")?;
    stage.tab_hears("alice", EMIL).context("after the answer")?;
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE)
}

pub(super) fn offerless(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let scripted = stage.calling()?;
    tone::write_a_law(&stage.folder.join("hugo/tone.raw"), EMIL, 10)?;
    stage.register("alice")?;
    let scenario = include_str!("../../sipp/offerless.xml");
    let alice = stage.user("alice");
    let mut script = scripted.run(&stage.folder, "offerless", scenario, &alice)?;
    stage.wait("alice", "incoming")?;
    stage.tell("alice", "answer")?;
    stage.wait("alice", "confirmed")?;
    stage.tab_hears("alice", EMIL)?;
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE)?;
    stage.capture.stop();
    let heard = stage
        .capture
        .audio(network::GATEWAY, *scripted.address.ip())?;
    let middle = &heard[heard.len() / 2..];
    ensure!(
        tone::share(middle, ALICE) > 0.7,
        "the telephone was sent {:?} in {} samples",
        tone::strongest(middle),
        heard.len()
    );
    Ok(())
}

pub(super) fn reliable_provisional(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let scripted = stage.called()?;
    let scenario = include_str!("../../sipp/reliable.xml");
    let mut script = scripted.run(&stage.folder, "reliable", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", scripted.user)?;
    stage.wait("alice", "progress")?;
    stage.wait("alice", "confirmed")?;
    std::thread::sleep(Duration::from_millis(300));
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE).context("the PRACK")
}

// Conforms: RFC 3323 §4.1.1.3 | Who wants to be anonymous is so to whom he calls, and known to the core.
pub(super) fn anonymous(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut dora = stage.telephone("dora", DORA, Answer::Automatic)?;
    stage.register("alice")?;
    let details = json!({ "target": stage.address("dora"), "anonymous": true });
    stage.lab.browser.ask("alice", "call", details)?;
    stage.wait("alice", "confirmed")?;
    let call = dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    ensure!(
        call["peeruri"] == "sip:anonymous@anonymous.invalid",
        "{call}"
    );
    talk(stage, &dora)?;
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    let asserted = "sip.Method == \"INVITE\" && sip.from.host == \"anonymous.invalid\" && \
                    sip.Privacy && sip.P-Asserted-Identity contains \"alice\"";
    stage.expect("the core knows the caller", asserted, 1);
    Ok(())
}

/// Alice has called Dora, and they hear each other.
pub(super) fn established(stage: &mut Stage<'_>) -> anyhow::Result<Telephone> {
    let mut dora = stage.telephone("dora", DORA, Answer::Automatic)?;
    stage.register("alice")?;
    stage.call("alice", "dora")?;
    let event = stage.wait_for_any("alice", &["confirmed", "failed"])?;
    ensure!(event["event"] == "confirmed", "{event}");
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    talk(stage, &dora)?;
    Ok(dora)
}

/// Alice and Dora hear each other.
pub(super) fn talk(stage: &mut Stage<'_>, dora: &Telephone) -> anyhow::Result<()> {
    stage.tab_hears("alice", DORA)?;
    dora.wait_for_tone(ALICE, PATIENCE)
}
