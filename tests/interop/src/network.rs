//! A network of the tests' own: namespaces for interfaces, mounts and processes, so that no port
//! clashes with the machine's, name look-ups reach our own server, packets can be dropped on one
//! leg, and everything started here ends when the runner does.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Where browsers find the gateway's page and WebSocket; plain `ws` is served on loopback only.
pub const ACCESS_SIGNALING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// The gateway's address for media towards browsers.
pub const ACCESS_MEDIA: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The browsers' own address, which the core must never see.
pub const BROWSER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The gateway's address towards the IMS.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
/// P-CSCF, port 5060.
pub const PCSCF: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 10);
/// I-CSCF, port 4060.
pub const ICSCF: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 11);
/// S-CSCF, port 6060.
pub const SCSCF: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 12);
/// HSS, port 3868.
pub const HSS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 13);
/// Name server, port 53.
pub const DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 14);
/// The identity provider.
pub const IDENTITY_PROVIDER: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 15);
/// The peer of a SIP trunk, port 5060.
pub const PEER: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 16);
/// The first telephone's address; the next ones follow.
pub const TELEPHONES: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 21);
/// The P-CSCF's address on Gm where that is a network of its own, in the guest.
pub const GM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// A terminal's, or the gateway's, address on Gm, in the namespace [`TERMINAL_NAMESPACE`] of the guest.
pub const TERMINAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The terminal's network in the guest.
pub const TERMINAL_NAMESPACE: &str = "terminal";
/// The P-CSCF's end of Gm in the guest: what is captured here is what was on the wire.
pub const GM_INTERFACE: &str = "gm";
/// What all addresses of the core begin with; a browser must never see it.
pub const CORE_PREFIX: &str = "127.0.1.";

/// How many telephones have an address.
const TELEPHONE_COUNT: u8 = 8;

/// Set in the environment of the runner once it is inside.
pub(crate) const INSIDE: &str = "GATEHOUSE_INTEROP_INSIDE";

/// Whether this process is the one inside the namespaces.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Starts this program again inside namespaces of its own; returns only if that failed.
///
/// The process namespace ends with its first process, however that one ends, and takes every
/// server with it.
pub fn enter() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::Error::new(error).context("cannot find this program"),
    };
    let error = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=SIGKILL",
            "--mount-proc",
            "--",
        ])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    anyhow::Error::new(error).context("could not run unshare (util-linux, as root)")
}

/// Gives the new network its addresses and its name server.
pub fn set_up(folder: &Path) -> anyhow::Result<()> {
    ip("link set lo up")?;
    for n in 0..TELEPHONE_COUNT {
        // A label of its own lets baresip pick one address of the interface.
        let address = telephone(n);
        ip(&format!("address add {address}/32 dev lo label lo:t{n}"))?;
    }
    ip("link add access type veth peer name access-far")?;
    ip(&format!("address add {BROWSER}/24 dev access"))?;
    // On the loopback interface, where Chromium does not look for addresses of its own.
    ip(&format!("address add {ACCESS_MEDIA}/32 dev lo"))?;
    ip("link set access-far up")?;
    ip("link set access up")?;
    ip("route add default dev access")?;
    keep_sources(folder)?;
    let resolv = folder.join("resolv.conf");
    fs::write(
        &resolv,
        format!("nameserver {DNS}\noptions timeout:1 attempts:2\n"),
    )
    .context("no resolv.conf")?;
    let real = fs::canonicalize("/etc/resolv.conf").context("no /etc/resolv.conf")?;
    run(Command::new("mount").arg("--bind").arg(resolv).arg(real))
}

/// Gives the guest's network its addresses: the core on the loopback interface, which is exempt
/// from IPsec, and Gm between two namespaces, which is not.
pub fn set_up_guest() -> anyhow::Result<()> {
    let namespace = TERMINAL_NAMESPACE;
    ip("link set lo up")?;
    ip(&format!("netns add {namespace}"))?;
    ip(&format!(
        "link add {GM_INTERFACE} type veth peer name gm netns {namespace}"
    ))?;
    ip(&format!("address add {GM}/24 dev {GM_INTERFACE}"))?;
    ip(&format!("link set {GM_INTERFACE} up"))?;
    ip(&format!("-n {namespace} link set lo up"))?;
    ip(&format!("-n {namespace} address add {TERMINAL}/24 dev gm"))?;
    ip(&format!("-n {namespace} link set gm up"))?;
    // Where baresip looks for the address of the first telephone.
    ip(&format!(
        "address add {}/32 dev lo label lo:t0",
        telephone(0)
    ))
}

/// Does something in a named network namespace; sockets made there stay there.
pub fn inside<T: Send + 'static>(
    namespace: &str,
    action: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let path = format!("/run/netns/{namespace}");
    let file = fs::File::open(&path).with_context(|| format!("no {path}"))?;
    // A namespace is a thread's: this one ends with what it does.
    let thread = std::thread::spawn(move || {
        join_network(&file)?;
        action()
    });
    thread
        .join()
        .unwrap_or_else(|_| bail!("what was done in {path} panicked"))
}

#[allow(unsafe_code)]
fn join_network(file: &fs::File) -> anyhow::Result<()> {
    // SAFETY: setns takes two integers; the file stays open during the call.
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("could not join a network");
    }
    Ok(())
}

/// The media ports of the n-th telephone.
pub fn telephone_ports(n: u8) -> (u16, u16) {
    let first = 20_000 + u16::from(n) * 100;
    (first, first + 98)
}

/// baresip binds its media to no address, and among local addresses the kernel then picks one that
/// is not the telephone's: it is put right by the port.
fn keep_sources(folder: &Path) -> anyhow::Result<()> {
    let mut rules = String::from(
        "table ip telephones {\n chain output {\n  type filter hook output priority -150;\n",
    );
    for n in 0..TELEPHONE_COUNT {
        let (first, last) = telephone_ports(n);
        let _ = writeln!(
            rules,
            "  udp sport {first}-{} ip saddr set {}",
            last + 1,
            telephone(n)
        );
    }
    rules.push_str(" }\n}\n");
    let file = folder.join("telephones.nft");
    fs::write(&file, rules).context("no rule file")?;
    run(Command::new("nft").arg("-f").arg(file))
}

/// The address of the n-th telephone.
pub fn telephone(n: u8) -> Ipv4Addr {
    let [a, b, c, d] = TELEPHONES.octets();
    Ipv4Addr::new(a, b, c, d + n)
}

/// Waits until something is bound to a UDP port, or listens on a TCP port.
pub fn wait_for_port(is_tcp: bool, address: SocketAddrV4, limit: Duration) -> anyhow::Result<()> {
    let table = if is_tcp {
        "/proc/self/net/tcp"
    } else {
        "/proc/self/net/udp"
    };
    let [a, b, c, d] = address.ip().octets();
    let port = address.port();
    let local = format!(" {d:02X}{c:02X}{b:02X}{a:02X}:{port:04X} ");
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(table).context("no table of sockets")?;
        // State 0A is a listening TCP socket.
        if text
            .lines()
            .any(|line| line.contains(&local) && (!is_tcp || line.contains(" 0A ")))
        {
            return Ok(());
        }
        if started.elapsed() > limit {
            bail!("nothing is bound to {address}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// While it lives, one in twenty media packets between two addresses is lost.
#[derive(Debug)]
pub struct Loss;

impl Loss {
    /// Drops 5 % of the RTP and RTCP packets (not STUN, not DTLS) sent from one address to another.
    pub fn start(from: Ipv4Addr, to: Ipv4Addr) -> anyhow::Result<Self> {
        // RFC 7983: media starts with the bits 10.
        let rules = format!(
            "table ip loss {{\n chain input {{\n  type filter hook input priority 0;\n  \
             ip saddr {from} ip daddr {to} udp length > 20 @th,64,2 2 numgen inc mod 20 0 counter drop\n }}\n}}\n"
        );
        let file = std::env::temp_dir().join(format!("loss-{}.nft", std::process::id()));
        fs::write(&file, rules).context("no rule file")?;
        run(Command::new("nft").arg("-f").arg(&file))?;
        Ok(Self)
    }
}

impl Drop for Loss {
    fn drop(&mut self) {
        let _ = run(Command::new("nft").args(["delete", "table", "ip", "loss"]));
    }
}

fn ip(words: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(words.split(' ')))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
