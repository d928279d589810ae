//! The network that the box's cable is plugged into: a namespace of our own with a bridge in it.
//!
//! A tap, because QEMU's user-mode network answers a forwarded datagram from another port than it
//! was sent to, and no browser's ICE accepts that; in a namespace, because every port of the box and
//! of the core is then free, nothing else of this machine is reached, and everything that was
//! started here ends with the first process of it.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};

/// The box, in a network set aside for benches (RFC 2544), which no machine's own is likely to be.
pub const BOX: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 2);
/// The IMS core, and the tests themselves.
pub const CORE: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 1);
/// The machine that all this runs on, where it is let in.
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 3);
/// The socket that the box's cable is plugged into.
pub const CABLE: &str = "box";
/// The interface by which the machine reaches the box, where it is let in.
pub const HOST_INTERFACE: &str = "gatehouse0";

/// Set in the environment of the process inside.
const INSIDE: &str = "HWTEST_INSIDE";

/// Whether this process is inside.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Becomes this program with the same arguments, in namespaces that end with it; returns only if
/// that failed.
///
/// # Errors
/// If `unshare` cannot be started: it is part of util-linux and needs root.
pub fn enter() -> anyhow::Result<()> {
    // The way back, for `let_in`: the namespace we come from stays open under a known number.
    let script = format!("exec {OUTSIDE}</proc/self/ns/net; exec unshare \"$@\"");
    let error = Command::new("sh")
        .args(["-c", &script, "unshare"])
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=SIGKILL",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe().context("cannot find this program")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("could not start sh")
}

/// Makes the network, inside.
///
/// # Errors
/// If the system refuses an interface.
pub fn set_up() -> anyhow::Result<()> {
    ip("link set lo up")?;
    ip("link add lan type bridge")?;
    ip(&format!("address add {CORE}/24 dev lan"))?;
    ip(&format!("tuntap add dev {CABLE} mode tap"))?;
    ip(&format!("link set {CABLE} master lan up"))?;
    ip("link set lan up")?;
    // Chromium looks for a default route before it gathers addresses.
    ip(&format!("route add default via {BOX}"))
}

/// Lets the machine that all this runs on into the network, as if it were plugged into the same
/// switch; its interface goes when the network does.
///
/// # Errors
/// If the system refuses an interface, or the machine has one of that name.
pub fn let_in() -> anyhow::Result<()> {
    let outside = format!("/proc/self/fd/{OUTSIDE}");
    let way = Command::new("nsenter")
        .arg(format!("--net={outside}"))
        .args(["ip", "route", "show", "to", "root", &format!("{HOST}/24")])
        .output()
        .context("could not start nsenter")?;
    if !way.stdout.is_empty() {
        let way = String::from_utf8_lossy(&way.stdout).into_owned();
        bail!("this machine has another network where the box's would be: {way}");
    }
    ip(&format!(
        "link add uplink type veth peer name {HOST_INTERFACE} netns {outside}"
    ))?;
    ip("link set uplink master lan up")?;
    for words in [
        format!("address add {HOST}/24 dev {HOST_INTERFACE}"),
        format!("link set {HOST_INTERFACE} up"),
    ] {
        run(Command::new("nsenter")
            .arg(format!("--net={outside}"))
            .arg("ip")
            .args(words.split(' ')))?;
    }
    Ok(())
}

fn ip(words: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("could not start ip (iproute2)")?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The descriptor of the network that we come from.
const OUTSIDE: u32 = 9;
