//! IPsec on Gm, inside the guest whose kernel has ESP.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::child::Child;
use crate::gateway::{self, Gateway};
use crate::hss;
use crate::ims::Ims;
use crate::issuer::Issuer;
use crate::network::{self, GM_INTERFACE, TERMINAL_NAMESPACE};
use crate::page::Page;
use crate::telephone::{Answer, Telephone};
use crate::terminal::{Terminal, associations, forget_associations};

/// What the cases inside the guest share.
#[derive(Debug)]
pub struct GuestWorld {
    /// The core, its P-CSCF with IPsec.
    pub ims: Ims,
    /// Where the run's files are.
    pub folder: PathBuf,
    /// The gateway.
    pub program: PathBuf,
}

pub(super) fn sec_agree(world: &mut GuestWorld) -> anyhow::Result<()> {
    let capture = Capture::start(&world.folder, "sec-agree")?;

    let mut terminal = Terminal::start("isim1", TERMINAL_NAMESPACE)?;
    let (registered, _) = terminal.register(TERMINAL_NAMESPACE)?;
    ensure!(
        registered.contains("sip:isim1.work@"),
        "no P-Associated-URI: {registered}"
    );
    for side in [None, Some(TERMINAL_NAMESPACE)] {
        let found = associations(side)?;
        ensure!(found.len() == 4, "not four associations: {found:?}");
    }
    let asked = world.ims.hss.asked_about("isim1");
    ensure!(
        asked.contains(&"SAR"),
        "not registered by the HSS: {asked:?}"
    );
    capture.stop()
}

/// The gateway as a terminal of the P-CSCF: a user logs in by token, his box does AKA for him, and all
/// that is said of him goes by four associations; they are replaced while he is in a call, which does
/// not notice; and nothing is left of them when he has signed off.
pub(super) fn call(world: &mut GuestWorld) -> anyhow::Result<()> {
    begin_anew(world)?;
    let issuer = Issuer::start(&world.folder, TERMINAL_NAMESPACE)?;
    let settings = settings(&world.folder, &issuer);
    keep_isim(world, &settings)?;
    needs_the_right(world, &settings)?;
    let mut dora = Telephone::start(&world.folder, 0, "dora", 600.0, Answer::Automatic)?;
    let mut gateway =
        Gateway::start_in(&world.program, &world.folder, TERMINAL_NAMESPACE, &settings)?;
    let capture = Capture::start(&world.folder, "ipsec-call")?;
    let called = life(&issuer, &mut dora);
    capture.stop()?;
    called?;
    ensure!(
        gateway.stop(Duration::from_secs(10)),
        "the gateway had to be killed"
    );
    Ok(())
}

/// From the log-in to the log-out.
fn life(issuer: &Issuer, dora: &mut Telephone) -> anyhow::Result<()> {
    let mut page = Page::open(USER, &issuer.token(USER)?, TERMINAL_NAMESPACE)?;
    page.register(600).context("the log-in")?;
    let first = own(4, "after the log-in")?;
    let theirs = associations(None)?.len();
    ensure!(theirs == 4, "the P-CSCF has {theirs} associations");
    let mut call = page.call("dora").context("the call out")?;
    dora.wait("CALL_ESTABLISHED", PATIENCE)?;

    // After half of what the core grants for the box's 24 s.
    wait_until("the associations are replaced", || {
        Ok(associations(Some(TERMINAL_NAMESPACE))?.len() == 8)
    })?;
    page.hold(&mut call)
        .context("inside the call, by the new associations")?;
    println!("     new ones beside them, and a hold by them");
    wait_until("the old ones are gone", || {
        let now = associations(Some(TERMINAL_NAMESPACE))?;
        Ok(now.iter().all(|it| !first.contains(it)))
    })?;
    println!("     the first ones are gone, the call is not");
    dora.hang_up()?;
    page.expect("BYE")
        .context("from the far end, by the new associations")?;
    page.register(0).context("the log-out")?;
    own(0, "after the log-out")?;
    Ok(())
}

/// Kamailio's P-CSCF takes a first REGISTER for that of whoever came from its address and port before.
fn begin_anew(world: &mut GuestWorld) -> anyhow::Result<()> {
    forget_associations(TERMINAL_NAMESPACE)?;
    world.ims.restart().context("the core")
}

/// The associations of the box, which are so many.
fn own(count: usize, when: &str) -> anyhow::Result<Vec<String>> {
    let own = associations(Some(TERMINAL_NAMESPACE))?;
    ensure!(own.len() == count, "the box has {own:?} {when}");
    println!("     the box has {count} associations {when}");
    Ok(own)
}

fn wait_until(what: &str, is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_so()? {
        ensure!(started.elapsed() < LONG, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Without the right to make associations the box says what it needs, and ends.
fn needs_the_right(world: &GuestWorld, settings: &str) -> anyhow::Result<()> {
    let file = world.folder.join("gatehouse.toml");
    std::fs::write(&file, settings)?;
    let output = Command::new("ip")
        .args(["netns", "exec", TERMINAL_NAMESPACE])
        .args([
            "setpriv",
            "--inh-caps=-net_admin",
            "--bounding-set=-net_admin",
        ])
        .arg(&world.program)
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .context("could not start setpriv")?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        !output.status.success() && said.contains("AmbientCapabilities=CAP_NET_ADMIN"),
        "without CAP_NET_ADMIN: {said}"
    );
    Ok(())
}

/// The technician stores the user's ISIM.
fn keep_isim(world: &GuestWorld, settings: &str) -> anyhow::Result<()> {
    let folder = world.folder.join("state");
    std::fs::create_dir_all(&folder)?;
    let key = world.folder.join("key");
    std::fs::write(&key, "5".repeat(64))?;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    let file = world.folder.join("gatehouse.toml");
    std::fs::write(&file, settings)?;
    let mut credentials = Command::new(&world.program)
        .args(["credentials", "add", "--isim", "--config"])
        .arg(&file)
        .arg(format!("{USER}@{}", hss::DOMAIN))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("could not start the gateway")?;
    if let Some(input) = &mut credentials.stdin {
        let (k, opc) = (hex(&hss::key(USER)), hex(&hss::operator_key(USER)));
        write!(input, "{k}\n{opc}\n")?;
    }
    let status = credentials.wait()?;
    ensure!(status.success(), "credentials add: {status}");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn settings(folder: &Path, issuer: &Issuer) -> String {
    format!(
        r#"[access]
listen = ["{signaling}:{port}"]
tls = false
origins = ["{origin}"]
path = "/sip"
web_root = "none"

[ims]
pcscf = "{pcscf}:5060"
transport = "udp"
security = "ipsec"
login = "token"
home_domains = ["{domain}"]
address = "{own}"
registration_kept_expires = "24s"
probes = false

[calls]
ims_silence = "10m"
media_grace = "10m"

[media]
workers = 1
access_addresses = ["{own}"]
ims_address = "{own}"
handshake_timeout = "5m"
ice_timeout = "5m"

[credentials]
key_file = "{folder}/key"

[management]
listen = "{signaling}:9090"

[log]
level = "debug"
format = "text"

[state]
folder = "{folder}/state"

[shutdown]
grace = "1s"

{issuer}"#,
        signaling = network::ACCESS_SIGNALING,
        port = gateway::PORT,
        origin = gateway::origin(),
        pcscf = network::GM,
        own = network::TERMINAL,
        domain = hss::DOMAIN,
        folder = folder.display(),
        issuer = issuer.settings(),
    )
}

/// The packets of Gm, into a file.
struct Capture(Child);

impl Capture {
    fn start(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let file = folder.join(format!("{name}.pcapng"));
        let mut dumpcap = Command::new("dumpcap");
        dumpcap.args(["-q", "-i", GM_INTERFACE, "-w"]).arg(&file);
        let log = folder.join(name);
        std::fs::create_dir_all(&log)?;
        let mut capture = Child::start("dumpcap", &mut dumpcap, &log)?;
        capture.wait_for("File:", Duration::from_secs(20))?;
        Ok(Capture(capture))
    }

    fn stop(mut self) -> anyhow::Result<()> {
        std::thread::sleep(Duration::from_millis(500));
        ensure!(
            self.0.stop(Duration::from_secs(5)),
            "the capture had to be killed"
        );
        Ok(())
    }
}

/// An AKA user of the HSS.
const USER: &str = "isim2";

const PATIENCE: Duration = Duration::from_secs(15);
/// Longer than it takes to replace associations, and the old ones to end.
const LONG: Duration = Duration::from_secs(60);

/// What the packets of a case were, read outside the guest: a challenge in the open, and nothing but
/// ESP after it.
pub(super) fn was_protected(folder: &Path, name: &str) -> anyhow::Result<()> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(folder.join(format!("{name}.pcapng")))
        .args([
            "-T",
            "fields",
            "-e",
            "_ws.col.Protocol",
            "-Y",
            "ip && !icmp && !(udp.srcport in {20000..20099})",
        ])
        .output()
        .context("could not start tshark")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let protocols: Vec<&str> = text.lines().collect();
    let open = protocols.iter().take_while(|name| **name == "SIP").count();
    let (open, protected) = protocols.split_at(open);
    ensure!(
        open.len() >= 2 && protected.len() >= 2 && protected.iter().all(|name| *name == "ESP"),
        "on the wire: {open:?}, then {protected:?}"
    );
    println!(
        "     on the wire: {} SIP messages in the open, then {} packets, all ESP",
        open.len(),
        protected.len()
    );
    Ok(())
}
