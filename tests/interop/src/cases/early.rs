//! What goes on before the answer: forks beyond the core, and resources that must be there first.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::calls::{ALICE, EMIL};
use crate::gateway::{self, Way};
use crate::lab::{PATIENCE, Stage};
use crate::{network, tone};

// Conforms: RFC 3262 §4 | Each reliable provisional response of each fork is acknowledged in its own dialog.
pub(super) fn forks(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gina = stage.called()?;
    tone::write_a_law(&stage.folder.join("gina/tone.raw"), EMIL, 10)?;
    let (first, second) = (network::telephone(6), network::telephone(7));
    let scenario = include_str!("../../sipp/forks.xml")
        .replace("@A@", &first.to_string())
        .replace("@B@", &second.to_string());
    let mut script = gina.run(&stage.folder, "forks", &scenario, "")?;
    stage.register("alice")?;
    stage.call("alice", gina.user)?;
    loop {
        // SIP.js tells of ringing before it has taken the answer in; and on Mw nobody is told of
        // early media that the core has not granted (RFC 5009).
        let progress = stage.wait("alice", "progress")?;
        let is_told = progress["status"] == 183 && progress["answer"] == true;
        if is_told || stage.lab.way == Way::Mw {
            break;
        }
    }
    stage.wait("alice", "confirmed")?;
    stage
        .tab_hears("alice", EMIL)
        .context("from the fork that won")?;
    std::thread::sleep(Duration::from_millis(600));
    stage.tell("alice", "hangup")?;
    stage.wait("alice", "ended")?;
    script
        .finish(PATIENCE)
        .context("three PRACKs, each in its own dialog")?;
    stage.capture.stop();

    let told = format!(
        "sip.Status-Code && sdp && sip.CSeq.method == \"INVITE\" && tcp.srcport == {}",
        gateway::PORT
    );
    let answers = stage.capture.values(&told, "sdp.owner")?;
    ensure!(
        answers.len() == 1,
        "the browser saw more than one answer: {answers:?}"
    );
    let heard = stage.capture.audio(network::GATEWAY, *gina.address.ip())?;
    let middle = &heard[heard.len() / 2..];
    ensure!(
        tone::share(middle, ALICE) > 0.7,
        "the winner was sent {:?} in {} samples",
        tone::strongest(middle),
        heard.len()
    );
    Ok(())
}

// Conforms: RFC 3312 §6 | A browser is not alerted before the caller's resources are there, which an UPDATE says.
pub(super) fn preconditions(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let hugo = stage.calling()?;
    tone::write_a_law(&stage.folder.join("hugo/tone.raw"), EMIL, 10)?;
    stage.register("alice")?;
    let scenario = include_str!("../../sipp/preconditions.xml");
    let alice = stage.user("alice");
    let mut script = hugo.run(&stage.folder, "preconditions", scenario, &alice)?;
    stage.wait("alice", "incoming")?;
    // A person takes longer than Kamailio's workers, of which one may overtake another.
    std::thread::sleep(Duration::from_millis(400));
    stage.tell("alice", "answer")?;
    stage.wait("alice", "confirmed")?;
    stage.tab_hears("alice", EMIL)?;
    stage.wait("alice", "ended")?;
    script.finish(PATIENCE)?;
    stage.capture.stop();
    let updated = first(stage, "UPDATE", &format!("ip.dst == {}", network::GATEWAY))?;
    let alerted = first(
        stage,
        "INVITE",
        &format!("tcp.srcport == {}", gateway::PORT),
    )?;
    ensure!(
        updated < alerted,
        "alerted by packet {alerted}, before the caller was ready in packet {updated}"
    );
    let heard = stage.capture.audio(network::GATEWAY, *hugo.address.ip())?;
    let middle = &heard[heard.len() / 2..];
    ensure!(
        tone::share(middle, ALICE) > 0.7,
        "the telephone was sent {:?} in {} samples",
        tone::strongest(middle),
        heard.len()
    );
    Ok(())
}

/// The number of the first packet with such a request.
fn first(stage: &Stage<'_>, method: &str, filter: &str) -> anyhow::Result<u64> {
    let filter = format!("sip.Method == \"{method}\" && {filter}");
    let numbers = stage.capture.values(&filter, "frame.number")?;
    let numbers = numbers.iter().filter_map(|number| number.parse().ok());
    numbers
        .min()
        .with_context(|| format!("no {method} was captured"))
}
