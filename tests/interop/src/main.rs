//! The runner of the cases against real peers; `cargo xtask interop` starts it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use interop::cases::{Case, GROUPS, GUEST_CASES, Group, GuestCase, GuestWorld, Lane, RECORDING};
use interop::ims::{Gm, Ims};
use interop::lab::Lab;
use interop::{guest, network, sweep};

/// Gatehouse against real peers.
#[derive(Parser)]
struct Arguments {
    /// The program under test.
    #[arg(long, default_value = "target/release/gatehouse")]
    gatehouse: PathBuf,
    /// Only list the cases.
    #[arg(long)]
    list: bool,
    /// Run only the cases of this lane.
    #[arg(long, value_enum)]
    lane: Option<Lane>,
    /// Start the IMS core alone and keep it up until this program is stopped.
    #[arg(long)]
    core: bool,
    /// Record the trace of the browser anew, instead of running cases.
    #[arg(long)]
    record: bool,
    /// This is the program inside the guest.
    #[arg(long, hide = true)]
    guest: bool,
    /// Run only the cases whose name contains one of these.
    names: Vec<String>,
}

impl Arguments {
    fn wants(&self, lane: Lane, group: &str, case: &str) -> bool {
        let full = format!("{group}/{case}");
        self.lane.is_none_or(|wanted| wanted == lane)
            && (self.names.is_empty() || self.names.iter().any(|name| full.contains(name.as_str())))
    }

    fn cases(&self) -> Vec<(&'static Group, &'static Case)> {
        if self.record {
            return RECORDING
                .cases
                .iter()
                .map(|case| (&RECORDING, case))
                .collect();
        }
        let all = GROUPS
            .iter()
            .flat_map(|group| group.cases.iter().map(move |case| (group, case)));
        all.filter(|(group, case)| self.wants(group.lane, group.name, case.name))
            .collect()
    }

    fn guest_cases(&self) -> Vec<&'static GuestCase> {
        let all = GUEST_CASES.iter().filter(|_| !self.record);
        all.filter(|case| self.wants(Lane::Ims, GUEST, case.name))
            .collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cases = arguments.cases();
    let guest_cases = arguments.guest_cases();
    if arguments.list {
        for (group, case) in cases {
            println!("{}/{}", group.name, case.name);
        }
        for case in guest_cases {
            println!("{GUEST}/{}", case.name);
        }
        return ExitCode::SUCCESS;
    }
    if !network::is_inside() {
        eprintln!("error: {:#}", network::enter());
        return ExitCode::FAILURE;
    }
    let outcome = if arguments.core {
        hold_core()
    } else if arguments.guest {
        run_inside_guest(&arguments.gatehouse, &guest_cases)
    } else {
        run(&arguments, &cases, &guest_cases)
    };
    match outcome {
        Ok(tally) => tally.end(),
        Err(error) => {
            println!("error: {error:#}");
            let failed = cases.len() + guest_cases.len();
            Tally { passed: 0, failed }.end()
        }
    }
}

/// How many cases passed and failed so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Runs one case and says how it went.
    fn run(&mut self, name: &str, case: impl FnOnce() -> anyhow::Result<()>) {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(case));
        let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("the case itself panicked")));
        let time = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("ok   {name:32} {time:5.1} s");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAIL {name:32} {time:5.1} s  {error:#}");
            }
        }
    }

    /// The last line of the run.
    fn end(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn run(
    arguments: &Arguments,
    cases: &[(&'static Group, &'static Case)],
    guest_cases: &[&'static GuestCase],
) -> anyhow::Result<Tally> {
    let program = std::path::absolute(&arguments.gatehouse).context("no current folder")?;
    let folder = folder(match arguments.lane {
        Some(Lane::Ims) => "ims",
        _ => "interop",
    })?;
    network::set_up(&folder)?;
    let mut tally = Tally::default();
    if !cases.is_empty() {
        run_cases(&program, &folder, cases, &mut tally)?;
    }
    if !guest_cases.is_empty() {
        run_guest(&program, &folder, guest_cases, &mut tally);
    }
    Ok(tally)
}

fn run_cases(
    program: &Path,
    folder: &Path,
    cases: &[(&'static Group, &'static Case)],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut lab = Lab::start(program, &driver(), folder)?;
    println!(
        "core and browser are up after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    for (group, case) in cases {
        let name = format!("{}/{}", group.name, case.name);
        tally.run(&name, || {
            let mut stage = lab.stage(&name, group.client, group.way)?;
            let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut stage)));
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("the case itself panicked")));
            stage.finish(outcome)
        });
    }
    lab.stop_gateway();
    if lab.had_gateway() {
        tally.run("sweep/planted-secrets", || {
            let findings = sweep::sweep(folder)?;
            println!(
                "     {} files of the gateway's and what reached the core were looked through, \
                 for {} answers to challenges and {} tokens and tickets among other things",
                findings.files, findings.answers, findings.tokens
            );
            match findings.faults.as_slice() {
                [] => Ok(()),
                faults => Err(anyhow!("{}", faults.join("; "))),
            }
        });
    }
    Ok(())
}

/// Boots the guest once for all its cases; each is told by the line it printed there, and by what is
/// seen of it from outside.
fn run_guest(gatehouse: &Path, folder: &Path, cases: &[&'static GuestCase], tally: &mut Tally) {
    let folder = folder.join(GUEST);
    let outcome = std::env::current_exe()
        .context("cannot find this program")
        .and_then(|program| {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let mut command = vec![text(&program), "--guest".to_owned()];
            command.extend(["--gatehouse".to_owned(), text(gatehouse)]);
            command.extend(cases.iter().map(|case| format!("{GUEST}/{}", case.name)));
            guest::run(&folder, &command, Duration::from_secs(180))
        });
    for case in cases {
        let name = format!("{GUEST}/{}", case.name);
        tally.run(&name, || {
            let printed = match &outcome {
                Ok(outcome) => &outcome.printed,
                Err(error) => return Err(anyhow!("{error:#}")),
            };
            let mut lines = printed.lines().filter(|line| line.contains(&name));
            let line = lines.next().context("the guest did not run it")?;
            if !line.starts_with("ok ") {
                println!("     guest       {}", folder.join("guest.log").display());
                return Err(anyhow!("inside: {line}"));
            }
            (case.check)(&folder)
        });
    }
}

fn run_inside_guest(program: &Path, cases: &[&'static GuestCase]) -> anyhow::Result<Tally> {
    let folder = std::env::current_dir().context("no current folder")?;
    network::set_up_guest()?;
    let started = Instant::now();
    let ims = Ims::start(&folder, Gm::Protected).context("the core did not start")?;
    println!(
        "guest: core up after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let program = program.to_owned();
    let mut world = GuestWorld {
        ims,
        folder,
        program,
    };
    let mut tally = Tally::default();
    for case in cases {
        let name = format!("{GUEST}/{}", case.name);
        tally.run(&name, || (case.run)(&mut world));
    }
    Ok(tally)
}

/// The core and nothing else, for work by hand: `nsenter --target PID --net --mount …`.
fn hold_core() -> anyhow::Result<Tally> {
    let folder = folder("interop")?;
    network::set_up(&folder)?;
    let _ims = Ims::start(&folder, Gm::Open)?;
    println!("the core is up; its files are in {}", folder.display());
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A fresh folder for what the run leaves behind.
fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target")
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).context("no folder for the run")?;
    fs::canonicalize(&folder).context("no folder for the run")
}

fn driver() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/driver.mjs")
}

/// The group of the cases inside the guest.
const GUEST: &str = "guest";
