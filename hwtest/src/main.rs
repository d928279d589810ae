//! The runner of the cases; `cargo xtask test image` starts it on the emulated box.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::Context;
use clap::Parser;
use hwtest::cases::{self, Report};
use hwtest::network;
use hwtest::qemu::{Machine, Qemu};
use hwtest::target::Target;

/// Tests against a booted image, in emulation.
#[derive(Parser)]
struct Arguments {
    /// The folder with the image: disk.img, u-boot.bin.
    #[arg(long)]
    image: PathBuf,
    /// Where the machine's disk, sockets and logs are put.
    #[arg(long)]
    work: PathBuf,
    /// A program that plays the IMS core at port 5060 of the tests' own address, with its arguments.
    #[arg(long)]
    core: String,
    /// A script that drives a browser, with its arguments; it is given the page's address.
    #[arg(long)]
    browser: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{} passed, {} failed", report.passed, report.failed);
            if report.failed == 0 && report.passed > 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    if !network::is_inside() {
        network::enter()?;
    }
    network::set_up()?;
    std::fs::create_dir_all(&arguments.work).context("no folder to work in")?;
    let disk = arguments.work.join("disk.img");
    copy_disk(&arguments.image.join("disk.img"), &disk)?;
    let _core = Core::start(&arguments.core, &arguments.work.join("core.log"))?;
    let mut target = Qemu::new(Machine {
        disk: disk.clone(),
        stick: None,
        boot_loader: arguments.image.join("u-boot.bin"),
        folder: arguments.work.clone(),
        cable: network::CABLE.to_owned(),
    });
    let mut report = Report::default();
    cases::cuts::torn_variables(&mut target, &disk, &mut report);
    copy_disk(&arguments.image.join("disk.img"), &disk)?;
    cases::boot::boots_and_is_what_it_should_be(&mut target, &mut report);
    if report.failed == 0 {
        cases::call::browser_calls(&target, &words(&arguments.browser), &mut report);
        cases::reset::factory_reset(&mut target, &mut report);
    }
    target.power_off()?;
    Ok(report)
}

/// The image stays as it left the factory; the copy has the same holes.
fn copy_disk(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp")
        .arg("--sparse=always")
        .args([from, to])
        .status();
    if !status.context("could not start cp")?.success() {
        anyhow::bail!("no copy of {}", from.display());
    }
    Ok(())
}

/// The IMS core, ended with the tests.
struct Core(Child);

impl Core {
    fn start(command: &str, log: &Path) -> anyhow::Result<Self> {
        let words = words(command);
        let (program, arguments) = words.split_first().context("no program for the core")?;
        let log = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("no log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {program}"))?;
        Ok(Self(child))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}
