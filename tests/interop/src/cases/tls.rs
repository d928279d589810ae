//! TLS between the gateway and the P-CSCF (TS 33.203 Annex O).

use std::fs;

use anyhow::{Context, ensure};

use super::{calls, registration};
use crate::lab::Stage;
use crate::network;

pub(super) fn register(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    registration::register(stage)?;
    all_by_tls(stage);
    Ok(())
}

pub(super) fn deregister(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    registration::deregister(stage)?;
    all_by_tls(stage);
    Ok(())
}

pub(super) fn call_out(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    calls::call_out(stage)?;
    all_by_tls(stage);
    Ok(())
}

pub(super) fn call_in(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    calls::call_in(stage)?;
    all_by_tls(stage);
    Ok(())
}

/// The P-CSCF shows a certificate that the authority signed, for another name.
// Conforms: RFC 5922 §7.2 | A server whose certificate names another host hears no SIP.
pub(super) fn other_name(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.open("alice", "any")?;
    stage.tell("alice", "register")?;
    let event = stage.wait_for_any("alice", &["registered", "registrationFailed"])?;
    ensure!(
        event["event"] == "registrationFailed" && event["status"] == 504,
        "{event}"
    );
    let log = fs::read_to_string(stage.lab.gateway()?.log()).context("no log")?;
    let mut lines = log.lines();
    let is_it = |line: &&str| {
        [
            "TLS",
            "127.0.1.10:5062",
            "pcscf.ims.test",
            "pcscf.elsewhere.test",
        ]
        .iter()
        .all(|word| line.contains(word))
    };
    ensure!(lines.any(|line| is_it(&line)), "the log does not say why");
    let sent = format!(
        "tls.app_data && tcp.dstport == 5062 && ip.src == {}",
        network::GATEWAY
    );
    // TLS 1.3 hides its alert in such a record; a REGISTER is longer.
    stage.expect_none(
        "SIP to a stranger",
        format!("{sent} && tls.record.length > 100"),
    );
    nothing_in_the_open(stage);
    Ok(())
}

fn all_by_tls(stage: &mut Stage<'_>) {
    let gateway = network::GATEWAY;
    let sent = format!("tls.app_data && tcp.dstport == 5061 && ip.src == {gateway}");
    stage.expect("TLS to the P-CSCF", sent, 2);
    nothing_in_the_open(stage);
}

fn nothing_in_the_open(stage: &mut Stage<'_>) {
    let gateway = network::GATEWAY;
    stage.expect_none("SIP in the open", format!("sip && ip.addr == {gateway}"));
}
