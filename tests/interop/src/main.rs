//! The runner of the cases against real peers; `cargo xtask interop` starts it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use interop::cases::{CASES, CLIENTS, CORE_CASES, Case};
use interop::ims::Ims;
use interop::lab::{CORE_ALONE, Lab};
use interop::network;

/// Gatehouse against real peers.
#[derive(Parser)]
struct Arguments {
    /// The program under test.
    #[arg(long, default_value = "target/release/gatehouse")]
    gatehouse: PathBuf,
    /// Only list the cases.
    #[arg(long)]
    list: bool,
    /// Start the IMS core alone and keep it up until this program is stopped.
    #[arg(long)]
    core: bool,
    /// Run only the cases whose name contains one of these.
    names: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cases = chosen(&arguments.names);
    if arguments.list {
        cases
            .iter()
            .for_each(|(client, case)| println!("{client}/{}", case.name));
        return ExitCode::SUCCESS;
    }
    if !network::is_inside() {
        eprintln!("error: {:#}", network::enter());
        return ExitCode::FAILURE;
    }
    let outcome = if arguments.core {
        hold_core()
    } else {
        run(&arguments.gatehouse, &cases)
    };
    outcome.unwrap_or_else(|error| {
        println!("error: {error:#}");
        println!("0 passed, {} failed", cases.len());
        ExitCode::FAILURE
    })
}

fn chosen(names: &[String]) -> Vec<(&'static str, &'static Case)> {
    let core = CORE_CASES.iter().map(|case| (CORE_ALONE, case));
    let all = core.chain(
        CLIENTS
            .iter()
            .flat_map(|client| CASES.iter().map(move |case| (*client, case))),
    );
    all.filter(|(client, case)| {
        let full = format!("{client}/{}", case.name);
        names.is_empty() || names.iter().any(|name| full.contains(name.as_str()))
    })
    .collect()
}

fn run(program: &Path, cases: &[(&'static str, &'static Case)]) -> anyhow::Result<ExitCode> {
    let program = std::path::absolute(program).context("no current folder")?;
    let folder = folder()?;
    network::set_up(&folder)?;
    let started = Instant::now();
    let mut lab = Lab::start(&program, &driver(), &folder)?;
    println!(
        "core and browser are up after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let (mut passed, mut failed) = (0, 0);
    for (client, case) in cases {
        let name = format!("{client}/{}", case.name);
        let started = Instant::now();
        let outcome = one(&mut lab, &name, client, case);
        let time = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok   {name:32} {time:5.1} s");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {name:32} {time:5.1} s  {error:#}");
            }
        }
    }
    lab.stop_gateway();
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn one(lab: &mut Lab, name: &str, client: &'static str, case: &Case) -> anyhow::Result<()> {
    let mut stage = lab.stage(name, client)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut stage)));
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("the case itself panicked")));
    stage.finish(outcome)
}

/// The core and nothing else, for work by hand: `nsenter --target PID --net --mount …`.
fn hold_core() -> anyhow::Result<ExitCode> {
    let folder = folder()?;
    network::set_up(&folder)?;
    let _ims = Ims::start(&folder)?;
    println!("the core is up; its files are in {}", folder.display());
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// A fresh folder for what the run leaves behind.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).context("no folder for the run")?;
    fs::canonicalize(&folder).context("no folder for the run")
}

fn driver() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/driver.mjs")
}
