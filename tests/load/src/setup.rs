//! What a gateway adds to a call's set-up, and what a registration costs it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::browser::Browser;
use crate::browser_media::{BrowserMedia, Identity, Profile};
use crate::far_end::FarEnd;
use crate::gateway::{DOMAIN, Gateway};

/// One gateway's figures.
struct Figures {
    /// From the browser's INVITE to the one at the far end.
    out: Vec<Duration>,
    /// From the far end's 200 to the one at the browser.
    back: Vec<Duration>,
    registrations_per_cpu_second: f64,
    cpu_per_call: Duration,
}

/// Prints the figures of Gatehouse and of Kamailio with rtpengine, measured in turns.
pub(crate) async fn run(
    binary: &Path,
    folder: &Path,
    rounds: usize,
    users: usize,
    calls: usize,
) -> Result<()> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        let far_end = FarEnd::start()?;
        ours.push(
            measure(
                &Gateway::gatehouse(binary, folder, far_end.sip)?,
                &far_end,
                users,
                calls,
            )
            .await?,
        );
        let far_end = FarEnd::start()?;
        theirs.push(
            measure(
                &Gateway::kamailio(folder, far_end.sip)?,
                &far_end,
                users,
                calls,
            )
            .await?,
        );
    }
    println!(
        "{:<44}{:>12}{:>24}{:>8}",
        "", "Gatehouse", "Kamailio + rtpengine", "ratio"
    );
    for (name, pick, percent) in [
        (
            "browser INVITE to IMS INVITE, p50, ms",
            Figures::out as fn(&Figures) -> &[Duration],
            50,
        ),
        ("browser INVITE to IMS INVITE, p99, ms", Figures::out, 99),
        ("IMS 200 to browser 200, p50, ms", Figures::back, 50),
        ("IMS 200 to browser 200, p99, ms", Figures::back, 99),
    ] {
        let figure = |all: &[Figures]| {
            let mut times: Vec<Duration> =
                all.iter().flat_map(|f| pick(f).iter().copied()).collect();
            percentile(&mut times, percent).as_secs_f64() * 1e3
        };
        print_row(name, figure(&ours), figure(&theirs));
    }
    let median = |all: &[Figures], pick: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let cpu = |f: &Figures| f.cpu_per_call.as_secs_f64() * 1e6;
    print_row(
        "CPU of a call without media, us",
        median(&ours, cpu),
        median(&theirs, cpu),
    );
    let registrations = |f: &Figures| f.registrations_per_cpu_second;
    print_row(
        "registrations a CPU second (higher is better)",
        median(&ours, registrations),
        median(&theirs, registrations),
    );
    Ok(())
}

impl Figures {
    fn out(&self) -> &[Duration] {
        &self.out
    }

    fn back(&self) -> &[Duration] {
        &self.back
    }
}

async fn measure(
    gateway: &Gateway,
    far_end: &FarEnd,
    users: usize,
    calls: usize,
) -> Result<Figures> {
    let identity = Identity::new(Profile::Gcm)?;
    let mut browsers = Vec::new();
    for n in 0..users {
        browsers.push(Browser::open(gateway.web, DOMAIN, &format!("user{n}")).await?);
    }
    let before = gateway.cpu();
    for browser in &mut browsers {
        browser.register(600).await?;
    }
    let cpu = gateway.cpu() - before;
    let mut figures = Figures {
        out: Vec::new(),
        back: Vec::new(),
        registrations_per_cpu_second: users as f64 / cpu.as_secs_f64(),
        cpu_per_call: Duration::ZERO,
    };
    let before = gateway.cpu();
    for n in 0..calls {
        let media = BrowserMedia::new(n as u64)?;
        let number = format!("9{n:05}");
        let browser = &mut browsers[n % users];
        let call = browser.call(&number, &media, &identity).await?;
        let times = far_end
            .times(&number)
            .context("the far end saw no INVITE")?;
        figures.out.push(
            times
                .invite_arrived
                .saturating_duration_since(call.invite_left),
        );
        figures.back.push(
            call.answer_arrived
                .saturating_duration_since(times.answer_left),
        );
        browser.hang_up(&call).await?;
    }
    figures.cpu_per_call = (gateway.cpu() - before) / calls as u32;
    Ok(figures)
}

pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[((times.len() - 1) * percent).div_ceil(100)]
}

/// One line of a comparison.
pub(crate) fn print_row(name: &str, ours: f64, theirs: f64) {
    println!("{name:<44}{ours:>12.2}{theirs:>24.2}{:>8.2}", ours / theirs);
}
