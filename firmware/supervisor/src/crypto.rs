//! Who seals and opens SRTP packets: the choice at start with its figures in the log, and
//! the verb that shows it to a technician.

use std::time::Instant;

use anyhow::{Context as _, bail};
use media::crypto::cpu::Cpu;
use media::crypto::{PROFILES, conformance};
use transport::crypto::{Calibration, Engines, Kernel, Wish};

use crate::config::Config;

/// What `gatehouse crypto` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Driver of the kernel's crypto to try, as /proc/crypto calls it; may be repeated.
    #[arg(long, value_name = "NAME")]
    driver: Vec<String>,
    /// Fails if the kernel's crypto cannot be used.
    #[arg(long)]
    require_kernel: bool,
}

/// Measures, chooses, and says so.
pub(crate) fn choose(config: &Config) -> anyhow::Result<(Engines, Calibration)> {
    let settings = &config.media;
    let started = Instant::now();
    let (engines, calibration) = transport::crypto::choose(
        settings.crypto.0,
        &settings.crypto_drivers,
    )
    .with_context(|| {
        format!(
            "[media] crypto = \"{}\": the kernel's crypto cannot be used; \"auto\" goes without",
            settings.crypto
        )
    })?;
    let (kernel, all) = calibration.kernel_share();
    tracing::info!(
        cpu = calibration.cpu,
        kernel = calibration.kernel,
        measured_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "crypto: the kernel takes {kernel} of {all} kinds of packets, the CPU the others",
    );
    for line in calibration.table() {
        tracing::info!("crypto: {line}");
    }
    let losses = calibration.losses();
    if losses > 0 {
        tracing::warn!(
            losses,
            "[media] crypto = \"kernel\": it is slower than the CPU here; \"auto\" chooses by measure"
        );
    }
    Ok((engines, calibration))
}

/// Tries every engine with the whole conformance suite, and prints what each costs.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    conformance::check(&Cpu, &PROFILES).context("cpu")?;
    println!("cpu: conforms");
    match Kernel::find(&arguments.driver) {
        Ok(kernel) => {
            let profiles = kernel.profiles();
            conformance::check(&kernel, &profiles).with_context(|| format!("kernel ({kernel})"))?;
            let missing = PROFILES.len() - profiles.len();
            println!("kernel: conforms ({kernel})");
            if missing > 0 {
                println!("kernel: lacks the algorithms of {missing} profiles");
            }
        }
        Err(error) if arguments.require_kernel => bail!("kernel: {error}"),
        Err(error) => println!("kernel: not used: {error}"),
    }
    let (_, calibration) = transport::crypto::choose(Wish::Auto, &arguments.driver)?;
    println!("instructions of the cpu: {}", calibration.cpu);
    for line in calibration.table() {
        println!("{line}");
    }
    let (kernel, all) = calibration.kernel_share();
    println!("auto: the kernel takes {kernel} of {all} kinds of packets, the CPU the others");
    Ok(())
}
