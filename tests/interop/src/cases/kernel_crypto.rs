//! SRTP by the kernel's crypto, inside the guest whose kernel has AF_ALG.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::GuestWorld;
use crate::gateway::{self, Gateway};
use crate::hss;
use crate::network::{self, TERMINAL_NAMESPACE};

/// The kernel's engine gives out the octets that the standards have and the CPU gives out,
/// and what it costs is shown: by the technician's verb, in the log and in the metrics.
pub(super) fn conforms(world: &mut GuestWorld) -> anyhow::Result<()> {
    let output = Command::new(&world.program)
        .args(["crypto", "--require-kernel"])
        .output()
        .context("could not start the gateway")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`gatehouse crypto`: {error}{said}");
    for line in said.lines() {
        println!("     {line}");
    }
    ensure!(said.contains("kernel: conforms ("), "not tried: {said}");
    ensure!(!said.contains("lacks"), "algorithms are missing: {said}");
    let measured = said.lines().filter(|line| line.contains(" kernel "));
    ensure!(measured.count() >= 6, "not measured: {said}");

    let settings = settings(world);
    let gateway = Gateway::start_in(&world.program, &world.folder, TERMINAL_NAMESPACE, &settings)?;
    let log = std::fs::read_to_string(gateway.log())?;
    let (mut gateway, metrics) = network::inside(TERMINAL_NAMESPACE, move || {
        let metrics = gateway.management("/metrics")?;
        Ok((gateway, metrics))
    })?;
    ensure!(
        gateway.stop(Duration::from_secs(10)),
        "the gateway had to be killed"
    );
    ensure!(
        log.contains("the kernel takes 30 of 30 kinds of packets"),
        "the log does not say who seals and opens"
    );
    is_shown(&metrics)
}

/// Where all is to go to the kernel, the metrics say so.
fn is_shown(metrics: &str) -> anyhow::Result<()> {
    let chosen = metrics.lines().filter(|line| {
        line.starts_with("gatehouse_crypto_chosen{engine=\"kernel\"") && line.ends_with(" 1")
    });
    let chosen = chosen.count();
    ensure!(chosen == 30, "the metrics have {chosen} choices of 30");
    let costs = metrics
        .lines()
        .filter(|line| line.starts_with("gatehouse_crypto_nanoseconds{"))
        .count();
    // The kernel's are missing where there was no time to measure: the guest may be held up.
    ensure!(costs > 30, "the metrics have {costs} figures of 60");
    Ok(())
}

fn settings(world: &GuestWorld) -> String {
    format!(
        r#"[access]
listen = ["{signaling}:{port}"]
tls = false
origins = ["{origin}"]
path = "/sip"
web_root = "none"

[ims]
pcscf = "{pcscf}:5060"
transport = "udp"
home_domains = ["{domain}"]
address = "{own}"
probes = false

[media]
workers = 1
access_addresses = ["{own}"]
ims_address = "{own}"
crypto = "kernel"

[management]
listen = "{signaling}:9090"

[log]
format = "text"

[state]
folder = "{folder}/crypto-state"

[shutdown]
grace = "1s"
"#,
        signaling = network::ACCESS_SIGNALING,
        port = gateway::PORT,
        origin = gateway::origin(),
        pcscf = network::GM,
        own = network::TERMINAL,
        domain = hss::DOMAIN,
        folder = world.folder.display(),
    )
}
