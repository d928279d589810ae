//! The verbs besides `test`, and the commands its lanes share with them.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::ValueEnum;

use hwtest::network;

use crate::image::{self, Flavour};
use crate::workspace::Extent;
use crate::{tools, workspace};

/// What `cargo xtask bench` can measure.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Bench {
    /// The time the box adds to a call's set-up, and registrations per CPU second.
    Setup,
    /// CPU per relayed packet.
    Relay,
    /// Calls while one of two cores behind SRV records is gone or frozen.
    Failover,
    /// Calls of registered users while strangers flood the box.
    Flood,
}

/// Bundles the page, builds the gateway with its lab core and becomes it, so that
/// whatever ends this command ends the gateway.
pub(crate) fn demo(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut demo = demo_command(Extent::Alone)?;
    let error = demo.args(arguments).exec();
    Err(error).with_context(|| format!("could not start `{}`", workspace::shown(&demo)))
}

/// The demo, with everything it needs in place.
pub(crate) fn demo_command(extent: Extent) -> anyhow::Result<Command> {
    bundle()?;
    println!("building gatehouse");
    let mut demo = workspace::command(workspace::build("gatehouse", extent)?);
    demo.arg("demo");
    Ok(demo)
}

/// Bundles the softphone page from its locked packages.
pub(crate) fn bundle() -> anyhow::Result<ExitCode> {
    let web = workspace::root().join("firmware/supervisor/web");
    tools::npm(&web)?;
    workspace::run(
        workspace::command("npm")
            .current_dir(&web)
            .args(["run", "--silent", "build"]),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Runs or lists cases against real peers.
pub(crate) fn interop(cases: &[String], list: bool) -> anyhow::Result<ExitCode> {
    let mut command = interop_command()?;
    if list {
        command.arg("--list");
    }
    code(command.args(cases))
}

/// The runner of the cases against real peers, with everything it needs in place.
pub(crate) fn interop_command() -> anyhow::Result<Command> {
    tools::debian(tools::PEERS)?;
    tools::debian(tools::GUEST)?;
    let browser = workspace::root().join("tests/interop/browser");
    tools::npm(&browser)?;
    tools::npm(&workspace::root().join("tests/interop/oidc"))?;
    workspace::run(
        workspace::command("npm")
            .current_dir(&browser)
            .args(["run", "--silent", "build"]),
    )?;
    let gatehouse = workspace::build("gatehouse", Extent::Whole)?;
    let mut command = workspace::command(workspace::build("interop", Extent::Whole)?);
    command.arg("--gatehouse").arg(gatehouse);
    Ok(command)
}

/// Measures the gateway, where there is one beside the yardstick.
pub(crate) fn bench(what: Bench) -> anyhow::Result<ExitCode> {
    tools::debian(match what {
        Bench::Setup | Bench::Relay => tools::YARDSTICK,
        Bench::Failover => &["nsd", "sip-tester"],
        Bench::Flood => &["util-linux"],
    })?;
    code(load()?.arg(name(what)))
}

/// Holds users and calls for a while.
pub(crate) fn soak(minutes: u32) -> anyhow::Result<ExitCode> {
    code(load()?.args(["soak", "--minutes", &minutes.to_string()]))
}

/// Kills the gateway's processes under load, and counts what that costs.
pub(crate) fn survive() -> anyhow::Result<Command> {
    let mut command = load()?;
    command.arg("survive");
    Ok(command)
}

/// The scripted browsers, with the gateway they shall load.
fn load() -> anyhow::Result<Command> {
    let gatehouse = workspace::build("gatehouse", Extent::Whole)?;
    let mut command = workspace::command(workspace::build("load", Extent::Whole)?);
    command.arg("--gatehouse").arg(gatehouse);
    Ok(command)
}

/// The checks of the Yocto layers, without those of a finished image.
pub(crate) fn yocto() -> anyhow::Result<Command> {
    let settings = image::kernel::settings()?;
    let mut command = pytest()?;
    command
        .args(["yocto/tests", "--kernel-settings"])
        .arg(settings);
    Ok(command)
}

/// The test runner with BitBake's parser at hand.
fn pytest() -> anyhow::Result<Command> {
    let mut command = workspace::command(tools::bitbake_python()?);
    command
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// The comparison of the image's root with what the Yocto recipes install.
pub(crate) fn same_files() -> anyhow::Result<Command> {
    let image = image::build(Flavour::Test)?;
    let mut command = pytest()?;
    command
        .args(["yocto/tests/image", "--flavour", "test", "--slot"])
        .arg(image.folder.join("slot.img"));
    Ok(command)
}

/// The tests against the booted image, with everything they need in place.
pub(crate) fn hwtest() -> anyhow::Result<Command> {
    tools::debian(&["chromium"])?;
    let browser = workspace::root().join("tests/interop/browser");
    tools::npm(&browser)?;
    let image = image::build(Flavour::Test)?;
    let gatehouse = workspace::build("gatehouse", Extent::Whole)?;
    let work = workspace::target_folder().join("hwtest");
    let mut command = workspace::command(workspace::build("hwtest", Extent::Whole)?);
    command
        .arg("--image")
        .arg(image.folder)
        .arg("--work")
        .arg(&work)
        .arg("--core")
        .arg(format!(
            "{} core --listen {}:5060",
            gatehouse.display(),
            network::CORE
        ))
        .arg("--browser")
        .arg(format!(
            "node {}/box.mjs {}",
            browser.display(),
            work.display()
        ));
    Ok(command)
}

/// Feeds one target broken input, or lists the targets.
pub(crate) fn fuzz(target: &str, minutes: u32) -> anyhow::Result<ExitCode> {
    let mut command = workspace::command(workspace::build("fuzz", Extent::Whole)?);
    if target.is_empty() {
        command.arg("list");
    } else {
        tools::debian(&["g++"])?;
        command.args(["run", target, "--minutes", &minutes.to_string()]);
    }
    code(&mut command)
}

/// Every fuzz target for a moment, from the kept corpus.
pub(crate) fn fuzz_taste() -> anyhow::Result<Command> {
    let mut command = workspace::command(workspace::build("fuzz", Extent::Whole)?);
    command.arg("taste");
    Ok(command)
}

/// Runs a command in the foreground and takes its exit code.
fn code(command: &mut Command) -> anyhow::Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("could not start `{}`", workspace::shown(command)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn name(bench: Bench) -> String {
    bench
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
