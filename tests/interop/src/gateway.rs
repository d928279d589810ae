//! The program under test, as an operator runs it: `gatehouse run --config FILE`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::child::Child;
use crate::identity_provider::IdentityProvider;
use crate::ims::Ims;
use crate::{hss, network, sweep};

/// Port of the WebSocket, plain on loopback.
pub const PORT: u16 = 8080;
/// Port of the tests' own page.
pub const PAGE_PORT: u16 = 8090;
const MANAGEMENT_PORT: u16 = 9090;

/// How the gateway is joined to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In front of the P-CSCF, as a terminal.
    Gm,
    /// The same by TLS.
    GmByTls,
    /// The same with a P-CSCF whose certificate is another server's.
    GmByTlsElsewhere,
    /// As a P-CSCF itself, in front of the I-CSCF.
    Mw,
    /// As the end of a SIP trunk.
    Trunk,
    /// In front of the P-CSCF; users log in by token and the box answers the core's challenges.
    GmByToken,
    /// As a P-CSCF; users log in by token and the core takes the box's word for them.
    MwByToken,
}

/// How the gateway looks at tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// By the provider's keys.
    Signature,
    /// By asking the provider, again every ten seconds.
    Introspection,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// The media plane, if it is a process of its own.
    media: Option<Child>,
    program: PathBuf,
    folder: PathBuf,
    /// Where it runs, if not in the runner's network.
    namespace: Option<&'static str>,
}

impl Way {
    /// What the settings and the policy's documentation call it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Gm | Way::GmByTls | Way::GmByTlsElsewhere | Way::GmByToken => "gm",
            Way::Mw | Way::MwByToken => "mw",
            Way::Trunk => "trunk",
        }
    }

    /// The numbers of the identities that are lent: other ones on each way, because a number rests
    /// before somebody else gets it.
    pub fn pool(self) -> RangeInclusive<u32> {
        let first = match self {
            Way::GmByToken => 11,
            _ => 21,
        };
        first..=first + 1
    }

    /// Whether users log in by token.
    pub fn takes_tokens(self) -> bool {
        matches!(self, Way::GmByToken | Way::MwByToken)
    }
}

impl Gateway {
    /// Starts it and waits until it is ready.
    pub fn start(program: &Path, folder: &Path, way: Way) -> anyhow::Result<Self> {
        Self::launch(program, folder, way, false, Check::Signature)
    }

    /// Starts it with another way to look at tokens.
    pub fn start_checking(
        program: &Path,
        folder: &Path,
        way: Way,
        check: Check,
    ) -> anyhow::Result<Self> {
        Self::launch(program, folder, way, false, check)
    }

    /// Starts it as two processes and waits until it is ready.
    pub fn start_apart(program: &Path, folder: &Path, way: Way) -> anyhow::Result<Self> {
        Self::launch(program, folder, way, true, Check::Signature)
    }

    fn launch(
        program: &Path,
        run: &Path,
        way: Way,
        apart: bool,
        check: Check,
    ) -> anyhow::Result<Self> {
        let folder = run.join("gateway");
        fs::create_dir_all(&folder).context("no folder for the gateway")?;
        let file = folder.join("gatehouse.toml");
        let mut settings = configuration(run, &folder, way, apart);
        if way.takes_tokens() {
            write_secret(&run.join(SITE_KEY), &"5a".repeat(32))?;
            write_secret(&run.join(PROVIDER_PASSWORD), "gatehouse-secret")?;
            settings.push_str(&token_configuration(run, way, check));
        }
        fs::write(&file, settings).context("no configuration")?;
        if way == Way::Trunk {
            keep_passwords(program, &folder)?;
        }
        let media = apart
            .then(|| spawn(program, "media", &folder))
            .transpose()?;
        let mut gateway = Self {
            child: spawn(program, "run", &folder)?,
            media,
            program: program.to_owned(),
            folder,
            namespace: None,
        };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Starts it in a network namespace of its own, with these settings, and waits until it is
    /// ready.
    pub fn start_in(
        program: &Path,
        folder: &Path,
        namespace: &'static str,
        settings: &str,
    ) -> anyhow::Result<Self> {
        let folder = folder.join("gateway");
        fs::create_dir_all(&folder).context("no folder for the gateway")?;
        fs::write(folder.join("gatehouse.toml"), settings).context("no configuration")?;
        let mut gateway = Self {
            child: spawn_in(Some(namespace), program, "run", &folder)?,
            media: None,
            program: program.to_owned(),
            folder,
            namespace: Some(namespace),
        };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Keeps a user's password for the core, as the technician does.
    pub fn add_credentials(&self, identity: &str, password: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["credentials", "add", "--config"])
            .arg(self.folder.join("gatehouse.toml"))
            .arg(identity)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command.spawn().context("no gatehouse credentials")?;
        let mut input = child.stdin.take().context("no standard input")?;
        writeln!(input, "{password}")?;
        drop(input);
        ensure!(child.wait()?.success(), "gatehouse credentials add failed");
        Ok(())
    }

    /// `kill -9` of the control process.
    pub fn kill_control(&mut self) {
        self.child.kill();
    }

    /// Starts the control process again.
    pub fn start_control(&mut self) -> anyhow::Result<()> {
        self.child = spawn_in(self.namespace, &self.program, "run", &self.folder)?;
        self.wait_until_ready()
    }

    /// `kill -9` of the media process.
    pub fn kill_media(&mut self) {
        if let Some(mut media) = self.media.take() {
            media.kill();
        }
    }

    /// Starts the media process again.
    pub fn start_media(&mut self) -> anyhow::Result<()> {
        self.media = Some(spawn(&self.program, "media", &self.folder)?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !self
            .management("/readyz")
            .is_ok_and(|answer| answer.contains(" 200 "))
        {
            if !self.child.is_running() || started.elapsed() > Duration::from_secs(15) {
                bail!(
                    "the gateway is not ready: {}",
                    crate::child::tail(self.child.log())
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_running()
    }

    /// Asks it to leave (SIGTERM), which de-registers everybody; says whether it did.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.child.stop(limit)
    }

    /// The largest image of its memory that it lets the system write, in bytes.
    pub fn core_limit(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/limits", self.child.id());
        let limits = fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"))
            .context("no limit of core files")?;
        let soft = line.split_whitespace().next().unwrap_or_default();
        Ok(soft.parse().unwrap_or(u64::MAX))
    }

    /// Has it end badly; says whether the kernel wrote an image of its memory.
    pub fn abort(&mut self) -> anyhow::Result<bool> {
        self.child.abort()
    }

    /// Images of memory in its folder.
    pub fn images(&self) -> anyhow::Result<Vec<String>> {
        let entries = fs::read_dir(&self.folder).context("no folder of the gateway")?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| sweep::is_image(name)).collect())
    }

    /// Keeps what `/metrics` says, for the sweep at the end of the run.
    pub fn keep_metrics(&mut self) {
        let Ok(text) = self.management("/metrics") else {
            return; // It is gone already, and its log says why.
        };
        let mut options = fs::File::options();
        let file = self.folder.join(sweep::METRICS);
        if let Ok(mut file) = options.create(true).append(true).open(file) {
            let _ = file.write_all(text.as_bytes());
        }
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        self.child.log()
    }

    /// The records of ended calls, one line of JSON each.
    pub fn call_records(&self) -> String {
        fs::read_to_string(self.folder.join("calls.jsonl")).unwrap_or_default()
    }

    /// What a page of the management listener answers, head and body.
    pub fn management(&self, path: &str) -> anyhow::Result<String> {
        let connect = || {
            let address = (network::ACCESS_SIGNALING, MANAGEMENT_PORT);
            TcpStream::connect(address).context("no management listener")
        };
        let mut connection = match self.namespace {
            Some(namespace) => network::inside(namespace, connect)?,
            None => connect()?,
        };
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(
            connection,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// A figure of `/metrics`; the sum, if it has labels.
    pub fn metric(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let text = self.management("/metrics")?;
        let mut found = None;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            if rest.starts_with([' ', '{']) {
                let value: f64 = rest
                    .rsplit(' ')
                    .next()
                    .and_then(|value| value.parse().ok())
                    .unwrap_or_default();
                found = Some(found.unwrap_or_default() + value);
            }
        }
        Ok(found)
    }
}

fn spawn(program: &Path, verb: &str, folder: &Path) -> anyhow::Result<Child> {
    spawn_in(None, program, verb, folder)
}

fn spawn_in(
    namespace: Option<&str>,
    program: &Path,
    verb: &str,
    folder: &Path,
) -> anyhow::Result<Child> {
    // Nothing but the gateway itself forbids images of its memory.
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, "prlimit"]);
            command
        }
        None => Command::new("prlimit"),
    };
    command
        .arg("--core=unlimited")
        .arg(program)
        .arg(verb)
        .arg("--config")
        .arg(folder.join("gatehouse.toml"))
        .current_dir(folder);
    Child::start("gatehouse", &mut command, folder)
}

/// What the technician does before the end of a trunk is of use to anybody.
fn keep_passwords(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let key = key_file(folder);
    fs::write(&key, "0123456789abcdef".repeat(4)).context("no key")?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).context("an open key")?;
    let passwords = [
        (format!("tracy@{}", hss::DOMAIN), hss::password("tracy")),
        (
            "+39040500@provider.test".to_owned(),
            "trunk-secret".to_owned(),
        ),
    ];
    for (user, password) in passwords {
        let mut child = Command::new(program)
            .args(["credentials", "add", "--config"])
            .args([folder.join("gatehouse.toml").as_os_str(), user.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("could not start the gateway's program")?;
        let mut stdin = child.stdin.take().context("no way in")?;
        writeln!(stdin, "{password}").context("the password was not taken")?;
        drop(stdin);
        ensure!(child.wait()?.success(), "the password was not kept");
    }
    Ok(())
}

/// Outside the state folder.
fn key_file(folder: &Path) -> PathBuf {
    folder.with_extension("key")
}

/// The address of the WebSocket, as a page knows it.
pub fn websocket() -> String {
    format!("ws://{}:{PORT}/sip", network::ACCESS_SIGNALING)
}

/// Where the gateway answers pages.
pub fn page() -> String {
    format!("http://{}:{PORT}", network::ACCESS_SIGNALING)
}

/// What the gateway answers to a page of an origin that posts its token somewhere.
pub fn post(path: &str, origin: &str, token: &str) -> anyhow::Result<String> {
    let mut connection = TcpStream::connect((network::ACCESS_SIGNALING, PORT))?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nHost: {}:{PORT}\r\nOrigin: {origin}\r\n\
         Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n",
        network::ACCESS_SIGNALING
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Where the tests' own page comes from.
pub fn origin() -> String {
    format!("http://{}:{PAGE_PORT}", network::ACCESS_SIGNALING)
}

fn configuration(run: &Path, folder: &Path, way: Way, apart: bool) -> String {
    let is_trunk = way == Way::Trunk;
    let login = if way.takes_tokens() {
        "login = \"token\"\n"
    } else {
        ""
    };
    let way = match way {
        Way::Gm | Way::GmByToken => format!(
            "pcscf = \"pcscf.{}:5060\"
refer_from_ims = true",
            hss::DOMAIN
        ),
        Way::GmByTls | Way::GmByTlsElsewhere => format!(
            "pcscf = \"pcscf.{}:{}\"\ntransport = \"tls\"\nauthorities = \"{}\"",
            hss::DOMAIN,
            if way == Way::GmByTls { 5061 } else { 5062 },
            Ims::authority_of(run).display()
        ),
        Way::Mw | Way::MwByToken => format!(
            "profile = \"mw\"\nicscf = \"icscf.{}:4060\"\nvisited_network = \"gw.{}\"",
            hss::DOMAIN,
            hss::DOMAIN
        ),
        Way::Trunk => format!(
            "profile = \"trunk\"\npeer = \"{}:5060\"\n\
             trunk_register = \"sip:+39040500@provider.test\"\n\
             trunk_numbers = [\"+390405021 = tracy@{}\"]",
            network::PEER,
            hss::DOMAIN
        ),
    };
    let key = match is_trunk {
        true => format!(
            "[credentials]\nkey_file = \"{}\"\nfolder = \"{}\"\n",
            key_file(folder).display(),
            // Not in the state folder, where gateways without a key would look for theirs.
            folder.with_file_name("trunk-credentials").display()
        ),
        false => String::new(),
    };
    format!(
        r#"[access]
listen = ["{signaling}:{PORT}"]
tls = false
origins = ["http://{signaling}:{PAGE_PORT}"]
path = "/sip"
web_root = "none"

[ims]
{way}
home_domains = ["{domain}"]
address = "{gateway}"
ports = "16000-16999"
{login}
[media]
workers = 2
access_listen = "{media}"
access_port = 24000
ims_address = "{gateway}"
ims_ports = "30000-30999"
apart = {apart}
socket = "{folder}/media.sock"

[management]
listen = "{signaling}:{MANAGEMENT_PORT}"

[log]
level = "debug"
format = "text"

[state]
folder = "{folder}"

[shutdown]
grace = "2s"

{key}"#,
        signaling = network::ACCESS_SIGNALING,
        domain = hss::DOMAIN,
        gateway = network::GATEWAY,
        media = network::ACCESS_MEDIA,
        folder = folder.display(),
    )
}

/// Whose tokens are taken, who their users are, and how the box proves them.
fn token_configuration(run: &Path, way: Way, check: Check) -> String {
    let asking = match check {
        Check::Signature => String::new(),
        Check::Introspection => format!(
            "check = \"introspection\"\nclient_id = \"gatehouse\"\nclient_secret_file = \"{}\"\n\
             recheck = \"10s\"\n",
            run.join(PROVIDER_PASSWORD).display()
        ),
    };
    let credentials = match way {
        Way::GmByToken => format!(
            "\n[credentials]\nkey_file = \"{}\"\nfolder = \"{}\"\n",
            run.join(SITE_KEY).display(),
            // Not in the state folder, where gateways without a key would look for theirs.
            run.join("credentials").display()
        ),
        _ => String::new(),
    };
    format!(
        r#"
[[issuer]]
url = "{issuer}"
audience = "https://gatehouse.test"
scopes = ["sip"]
clients = ["page"]
authorities = "{authorities}"
private_addresses = true
{asking}
[[identity_map]]
issuer = "{issuer}"
when = {{ claim = "groups", contains = "staff" }}
impi = "{{preferred_username}}@{domain}"
impu = ["sip:!{{preferred_username}}([.][a-z]+)?!@{domain}"]

[[identity_map]]
issuer = "{issuer}"
when = {{ claim = "groups", contains = "lodgers" }}
impi = "lodger{{n}}@{domain}"
impu = ["sip:lodger{{n}}@{domain}"]
pool = "{first}-{last}"

[[identity_map]]
issuer = "{issuer}"
impi = "{{sub}}@{domain}"
impu = ["sip:{{sub}}@{domain}"]
{credentials}"#,
        first = way.pool().start(),
        last = way.pool().end(),
        issuer = IdentityProvider::issuer(),
        authorities = IdentityProvider::authority_of(run).display(),
        domain = hss::DOMAIN,
    )
}

/// A file that nobody else may read.
fn write_secret(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("no {}", file.display()))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// The key of the stored credentials, outside the state folder.
const SITE_KEY: &str = "site.key";
/// What the gateway proves itself with to the identity provider.
const PROVIDER_PASSWORD: &str = "provider.password";
