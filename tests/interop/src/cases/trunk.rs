//! A gateway at the end of a SIP trunk, which is the registrar of its users.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use super::calls::{ALICE, BOB, DORA, EMIL};
use crate::lab::{PATIENCE, Stage};
use crate::sipp::Script;
use crate::{gateway, hss, network, tone};

/// Whose the trunk's number is.
const USER: &str = "tracy";

/// Log in, call out, be called, hang up, log off.
pub(super) fn calls(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (gina, hugo) = (stage.called()?, stage.calling()?);
    write_tone(stage, gina.user, DORA)?;
    log_in(stage, "alice", stage.client)?;

    let scenario = include_str!("../../sipp/answers.xml");
    let mut called = gina.run(&stage.folder, "answers", scenario, "")?;
    stage.call("alice", gina.user)?;
    stage.wait("alice", "confirmed").context("the call out")?;
    stage.tab_hears("alice", DORA)?;
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    called.finish(PATIENCE).context("who was called")?;

    let mut calling = somebody_calls(stage)?;
    let incoming = stage.wait("alice", "incoming")?;
    let from = incoming["from"].as_str().unwrap_or_default();
    ensure!(
        from.starts_with(&format!("sip:{}@", hugo.user)),
        "{incoming}"
    );
    stage.tell("alice", "answer")?;
    talk(stage, "alice", &mut calling)?;
    stage.tell("alice", "unregister")?;
    stage.wait("alice", "unregistered")?;
    stage.capture.stop();
    hears(stage, &[ALICE])
}

// Conforms: RFC 3261 §16.7 | On a trunk every browser of a user rings; the first that answers has the call and the others stop, busy is one browser's word, a decline is the user's.
pub(super) fn several_browsers(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    log_in(stage, "alice", "jssip")?;
    log_in(stage, "bob", "sipjs")?;
    stage.speak("bob", BOB)?;

    for (taker, other) in [("alice", "bob"), ("bob", "alice")] {
        let mut calling = both_ring(stage)?;
        stage.tell(taker, "answer")?;
        let failed = stage.wait(other, "failed")?;
        ensure!(failed["originator"] == "remote", "{other}: {failed}");
        talk(stage, taker, &mut calling)?;
    }

    let mut calling = both_ring(stage)?;
    stage
        .lab
        .browser
        .ask("alice", "reject", json!({ "status": 486 }))?;
    stage.wait("alice", "failed")?;
    std::thread::sleep(Duration::from_millis(700));
    ensure!(
        !stage.lab.browser.has_seen("bob", "failed"),
        "the other browser stopped ringing"
    );
    stage.tell("bob", "answer")?;
    talk(stage, "bob", &mut calling).context("after the other was busy")?;

    let scenario = include_str!("../../sipp/declined.xml").replace("@STATUS@", "603");
    let mut declined = stage
        .calling()?
        .run(&stage.folder, "declined", &scenario, USER)?;
    rings(stage)?;
    stage
        .lab
        .browser
        .ask("bob", "reject", json!({ "status": 603 }))?;
    stage.wait("alice", "failed")?;
    declined.finish(PATIENCE).context("who was declined")?;

    let elsewhere = format!(
        "sip.Method == \"CANCEL\" && tcp.srcport == {} && \
         sip.Reason contains \"Call completed elsewhere\"",
        gateway::PORT
    );
    stage.expect("the others learn who took the call", elsewhere, 2);
    stage.capture.stop();
    hears(stage, &[ALICE, BOB])
}

/// Logs the trunk's user in, with one of the clients.
fn log_in(stage: &mut Stage<'_>, tab: &'static str, client: &str) -> anyhow::Result<()> {
    let password = hss::password(USER);
    stage.open_with(
        tab,
        json!({ "user": USER, "password": password, "client": client }),
    )?;
    stage.log_in(tab)
}

/// What a telephone plays; nobody has registered it, so its folder is not there yet.
fn write_tone(stage: &Stage<'_>, user: &str, tone: f64) -> anyhow::Result<()> {
    let folder = stage.folder.join(user);
    std::fs::create_dir_all(&folder).context("no folder for a telephone")?;
    tone::write_a_law(&folder.join("tone.raw"), tone, 10)
}

/// Somebody at the other end calls the user.
fn somebody_calls(stage: &mut Stage<'_>) -> anyhow::Result<Script> {
    let hugo = stage.calling()?;
    write_tone(stage, hugo.user, EMIL)?;
    let scenario = include_str!("../../sipp/calls.xml");
    hugo.run(&stage.folder, "calls", scenario, USER)
}

fn both_ring(stage: &mut Stage<'_>) -> anyhow::Result<Script> {
    let calling = somebody_calls(stage)?;
    rings(stage)?;
    Ok(calling)
}

fn rings(stage: &Stage<'_>) -> anyhow::Result<()> {
    for tab in ["alice", "bob"] {
        stage.wait(tab, "incoming")?;
    }
    Ok(())
}

/// The caller is heard, and hangs up.
fn talk(stage: &mut Stage<'_>, tab: &str, calling: &mut Script) -> anyhow::Result<()> {
    stage.wait(tab, "confirmed")?;
    stage.tab_hears(tab, EMIL)?;
    stage.wait(tab, "ended")?;
    calling.finish(PATIENCE).context("who called")
}

/// What the one who called was sent are these tones, in turn.
fn hears(stage: &Stage<'_>, tones: &[f64]) -> anyhow::Result<()> {
    let heard = stage
        .capture
        .audio(network::GATEWAY, network::telephone(5))?;
    for tone in tones {
        let seconds = heard.chunks(tone::RATE as usize);
        let mut shares = seconds.map(|second| tone::share(second, *tone));
        ensure!(
            shares.any(|share| share > 0.7),
            "{tone} Hz is not in {} samples",
            heard.len()
        );
    }
    Ok(())
}
