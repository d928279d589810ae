//! `cargo xtask test`: the lanes in order, each with its time, and one line of counts at the end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;

use crate::tally::Tally;
use crate::{conformance, newcomer, tools, verbs, workspace};

/// A part of the test run; the order here is the order they run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Lane {
    /// The source is formatted.
    Format,
    /// Clippy has nothing to say.
    Lint,
    /// Every dependency is one we allow, under a licence we allow, from the public index.
    Deny,
    /// The page of clauses is what the tests say.
    Conformance,
    /// The tests beside the code, and the whole gateway in virtual time.
    Unit,
    /// The Yocto layers: parsed by BitBake's parser, and what they say agrees with everything else.
    Yocto,
    /// A taste of every fuzz target, from the kept corpus.
    Fuzz,
    /// The gateway between real browsers and a real core.
    Interop,
    /// The ways into the IMS: what the core and the gateway do on each, and what is left of
    /// it when the gateway's processes are killed.
    Ims,
    /// The demo as a newcomer sees it, driven by a scripted browser.
    Demo,
    /// The box's image, booted in emulation.
    Image,
}

impl Lane {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// How many checks of this lane passed and failed.
    fn run(self) -> anyhow::Result<Tally> {
        match self {
            Lane::Format => check(workspace::cargo().args(["fmt", "--all", "--check"])),
            Lane::Lint => check(workspace::cargo().args([
                "clippy",
                "--release",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ])),
            Lane::Deny => {
                let mut deny = tools::cargo_deny()?;
                check(deny.args(["check", "bans", "licenses", "sources"]))
            }
            Lane::Conformance => conformance::check(),
            Lane::Unit => {
                let mut nextest = tools::cargo_nextest()?;
                nextest
                    .arg("run")
                    .args(workspace::WHOLE)
                    .arg("--no-fail-fast");
                nextest.args([
                    "--no-tests",
                    "pass",
                    "--status-level",
                    "fail",
                    "--final-status-level",
                    "fail",
                ]);
                counted(&mut nextest)
            }
            Lane::Yocto => counted(&mut verbs::yocto()?),
            Lane::Fuzz => counted(&mut verbs::fuzz_taste()?),
            Lane::Interop => counted(verbs::interop_command()?.args(["--lane", &self.name()])),
            Lane::Ims => {
                let mut tally = counted(&mut verbs::survive()?)?;
                tally += counted(verbs::interop_command()?.args(["--lane", &self.name()]))?;
                Ok(tally)
            }
            Lane::Demo => newcomer::check(),
            Lane::Image => {
                let mut tally = counted(&mut verbs::same_files()?)?;
                tally += counted(&mut verbs::hwtest()?)?;
                Ok(tally)
            }
        }
    }
}

/// Runs the lanes named, or all; a failed one lets the others go on.
pub(crate) fn run(named: &[Lane]) -> ExitCode {
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for &lane in Lane::value_variants() {
        if !named.is_empty() && !named.contains(&lane) {
            continue;
        }
        println!("\n=== {} ===", lane.name());
        let started = Instant::now();
        let tally = lane.run().unwrap_or_else(|error| {
            println!("error: {error:#}");
            Tally::one(false)
        });
        let line = format!(
            "{:11} {:>7}  {:4} ok, {} failed",
            lane.name(),
            minutes(started.elapsed()),
            tally.passed,
            tally.failed
        );
        println!("--- {line}");
        lines.push(line);
        total += tally;
    }
    println!("\n{}\n", lines.join("\n"));
    println!("{total}");
    let _ = std::io::stdout().flush();
    if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A command that is one check.
fn check(command: &mut Command) -> anyhow::Result<Tally> {
    workspace::run(command).map(|()| Tally::one(true))
}

/// A command that counts its checks itself: what it prints is shown, and its last count is taken.
fn counted(command: &mut Command) -> anyhow::Result<Tally> {
    let shown = workspace::shown(command);
    let (reader, writer) = std::io::pipe().context("no pipe")?;
    let error_writer = writer.try_clone().context("no pipe")?;
    let mut child = command
        .stdout(Stdio::from(writer))
        .stderr(Stdio::from(error_writer))
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    // The command holds the writing ends; reading ends only once they are gone.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut output = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("the pipe broke")?;
        let line = String::from_utf8_lossy(&line);
        if !Tally::is_line(&line) {
            println!("{line}");
        }
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait().with_context(|| format!("lost `{shown}`"))?;
    let mut tally = Tally::read(&output).unwrap_or_default();
    if !status.success() && tally.failed == 0 {
        println!("error: `{shown}` ended with {status}");
        tally.failed = 1;
    }
    Ok(tally)
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
