//! Calls that are handed over: REFER (RFC 3515) and Replaces (RFC 3891), from both sides.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::calls::{ALICE, DORA, EMIL, established, talk};
use crate::gateway::Way;
use crate::lab::{PATIENCE, Stage};
use crate::telephone::Answer;
use crate::{network, tone};

// Conforms: RFC 3515 §2.4 | A browser's REFER has its far end call somebody else, and its NOTIFYs come back.
pub(super) fn refer_by_browser(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut emil = stage.telephone("emil", EMIL, Answer::Automatic)?;
    let dora = established(stage)?;
    let target = stage.address("emil");
    stage
        .lab
        .browser
        .ask("alice", "refer", json!({ "target": target }))?;
    let answered = stage.wait("alice", "referAnswered")?;
    ensure!(answered["status"] == 202, "{answered}");
    emil.wait("CALL_ESTABLISHED", PATIENCE)?;
    let transferred = stage.wait("alice", "transferred")?;
    ensure!(transferred["status"] == 200, "{transferred}");
    // What is left of the old call is the browser's to end, if the telephone has not.
    if !stage.lab.browser.has_seen("alice", "ended") {
        stage.tell("alice", "hangup")?;
    }
    stage.wait("alice", "ended")?;
    dora.wait_for_tone(EMIL, PATIENCE)
        .context("after the transfer")?;
    emil.wait_for_tone(DORA, PATIENCE)
        .context("after the transfer")?;
    emil.hang_up()
}

// Conforms: RFC 3515 §2.4.2 | The core may refer a browser to somebody else, where the operator wants it.
pub(super) fn refer_by_telephone(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let mut emil = stage.telephone("emil", EMIL, Answer::Automatic)?;
    let mut dora = established(stage)?;
    let target = stage.address("emil");
    dora.transfer(&target)?;
    let referred = stage.wait("alice", "referred")?;
    ensure!(referred["to"] == target, "{referred}");
    emil.wait("CALL_ESTABLISHED", PATIENCE)?;
    stage
        .tab_hears("alice", EMIL)
        .context("after the transfer")?;
    emil.wait_for_tone(ALICE, PATIENCE)
        .context("after the transfer")?;
    stage.tell("alice", "hangup")?;
    emil.wait("CALL_CLOSED", PATIENCE)?;
    let _ = dora.hang_up();
    Ok(())
}

// Conforms: RFC 3515 §2.4.2 | A REFER to another method, another scheme or a dialog that is none is refused; so is one of the core where the operator does not want it.
pub(super) fn refer_forbidden(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    // But on Gm the tests' settings leave the core's REFER off.
    let [method, scheme, replaces] = match stage.lab.way {
        Way::Gm | Way::GmByTls | Way::GmByTlsElsewhere | Way::GmByToken => ["400", "416", "400"],
        Way::Mw | Way::MwByToken | Way::Trunk => ["405", "405", "405"],
    };
    let scenario = include_str!("../../sipp/refers.xml")
        .replace("@METHOD@", method)
        .replace("@SCHEME@", scheme)
        .replace("@REPLACES@", replaces);
    let mut script = gina.run(&stage.folder, "refers", &scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", gina.user)?;
    stage.wait("alice", "confirmed")?;
    for (target, status) in [
        ("sip:+19005550199@ims.test", 403),
        ("sip:emil@ims.test?Replaces=nothing", 400),
    ] {
        stage
            .lab
            .browser
            .ask("alice", "refer", json!({ "target": target }))?;
        let answered = stage.wait("alice", "referAnswered")?;
        ensure!(answered["status"] == status, "{target}: {answered}");
    }
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE)?;
    ensure!(
        !stage.lab.browser.has_seen("alice", "referred"),
        "the browser was referred"
    );
    let referred = "sip.Method == \"REFER\" && ip.src == 127.0.1.1";
    stage.expect_none("a REFER to where nobody may be referred", referred);
    Ok(())
}

// Conforms: RFC 3891 §3 | A dialog that is to be replaced is named to each side as that side knows it.
pub(super) fn attended(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    let scenario = include_str!("../../sipp/transferee.xml");
    let mut script = gina.run(&stage.folder, "transferee", scenario, "")?;
    let mut dora = stage.telephone("dora", DORA, Answer::Automatic)?;
    stage.register("alice")?;
    stage.call("alice", gina.user)?;
    stage.wait("alice", "confirmed")?;
    stage.call("alice", "dora")?;
    stage.wait("alice", "confirmed")?;
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;
    talk(stage, &dora)?;

    stage.tell("alice", "referToOther")?;
    let answered = stage.wait("alice", "referAnswered")?;
    ensure!(answered["status"] == 202, "{answered}");
    let transferred = stage.wait("alice", "transferred")?;
    ensure!(transferred["status"] == 200, "{transferred}");
    stage.tell("alice", "hangup")?;
    dora.wait("CALL_CLOSED", PATIENCE)?;
    stage.tell("alice", "hangupOther")?;
    script.finish(PATIENCE)?;

    // What Gina was told is the dialog as Dora knows it.
    stage.capture.stop();
    let [call_id, to_tag, from_tag] = dialog_with(stage, "dora")?;
    let refer = "sip.Method == \"REFER\" && ip.src == 127.0.1.1";
    let told = stage.capture.values(refer, "sip.Refer-To")?;
    let told = told.first().context("no REFER to the core")?;
    for part in [&call_id, &to_tag, &from_tag] {
        ensure!(told.contains(part.as_str()), "no {part} in {told}");
    }
    Ok(())
}

// Conforms: RFC 3891 §3 | The far end of a call is replaced by who names its dialog; the browser keeps its call.
pub(super) fn replaced(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    let hugo = stage.calling()?;
    tone::write_a_law(&stage.folder.join("gina/tone.raw"), DORA, 10)?;
    tone::write_a_law(&stage.folder.join("hugo/tone.raw"), EMIL, 10)?;
    let scenario = include_str!("../../sipp/answers.xml");
    let mut script = gina.run(&stage.folder, "answers", scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", gina.user)?;
    stage.wait("alice", "confirmed")?;
    stage.tab_hears("alice", DORA)?;

    let [call_id, to_tag, from_tag] = dialog_with(stage, "gina")?;
    // Named as who gets it knows it: the gateway's own tag is its to-tag (RFC 3891 §3).
    let replaces = format!("{call_id};to-tag={from_tag};from-tag={to_tag}");
    let scenario = include_str!("../../sipp/replaces.xml").replace("@REPLACES@", &replaces);
    let alice = stage.user("alice");
    let mut other = hugo.run(&stage.folder, "replaces", &scenario, &alice)?;
    stage
        .tab_hears("alice", EMIL)
        .context("from who took over")?;
    script.finish(PATIENCE).context("the replaced one")?;
    ensure!(
        !stage.lab.browser.has_seen("alice", "ended"),
        "the browser's call ended"
    );
    stage.wait("alice", "ended")?;
    other.finish(PATIENCE)?;
    stage.capture.stop();
    let heard = stage.capture.audio(network::GATEWAY, *hugo.address.ip())?;
    let middle = &heard[heard.len() / 2..];
    ensure!(
        tone::share(middle, ALICE) > 0.7,
        "who took over was sent {:?} in {} samples",
        tone::strongest(middle),
        heard.len()
    );
    Ok(())
}

/// Call-ID, To tag and From tag of the gateway's dialog with a user whom it called.
fn dialog_with(stage: &Stage<'_>, user: &str) -> anyhow::Result<[String; 3]> {
    let filter = format!(
        "sip.Status-Code == 200 && sip.CSeq.method == \"INVITE\" && ip.dst == {} && \
         sip.to.user == \"{user}\"",
        network::GATEWAY
    );
    let started = Instant::now();
    loop {
        let fields = ["sip.Call-ID", "sip.to.tag", "sip.from.tag"];
        let found = fields.map(|field| stage.capture.values(&filter, field));
        let [call_id, to_tag, from_tag] = found;
        let first = |values: anyhow::Result<Vec<String>>| {
            values.map(|values| values.first().cloned().unwrap_or_default())
        };
        let found = [first(call_id)?, first(to_tag)?, first(from_tag)?];
        if found.iter().all(|value| !value.is_empty()) {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            bail!("no dialog with {user} was captured");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
