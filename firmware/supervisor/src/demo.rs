//! The newcomer's door: the gateway on an embedded lab core. Left out of images.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::{Context as _, anyhow, bail};
use lab::{Service, User};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::lab_core::LabCore;
use crate::run::{self, Page, Started, fresh_seed};

/// What `gatehouse demo` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Port of the page, on this machine only. Without it 8080, or the next one free. A
    /// phone in the same network gets one from 8443 on.
    #[arg(long)]
    port: Option<u16>,
    /// Folder with the bundled page.
    #[arg(long, value_name = "FOLDER", default_value = PAGE)]
    web_root: PathBuf,
    /// Folder for what is kept between two demos. Without it, one beside the program.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// How much is logged: "warn", "info", "debug", or a filter.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// What `gatehouse core` takes.
#[derive(clap::Args)]
pub(crate) struct CoreArguments {
    /// Address and port of SIP, over UDP and TCP.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5060")]
    listen: SocketAddr,
}

/// Runs the lab core alone, in the foreground, for a gateway elsewhere.
pub(crate) fn run_core(arguments: &CoreArguments) -> anyhow::Result<()> {
    let core = start_core(arguments.listen).context("lab core")?;
    println!(
        "The lab core is up at {}, domain {}.\n",
        core.sip, core.domain
    );
    print_users(&core.users);
    println!("\nCtrl-C ends it.");
    loop {
        std::thread::park();
    }
}

/// Runs the gateway on the lab core, in the foreground.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    if !arguments.web_root.join("index.html").is_file() {
        let folder = arguments.web_root.display();
        bail!("no page in {folder}: `cargo xtask demo` bundles it");
    }
    let core = start_core((LOCAL, 0).into()).context("lab core")?;
    let config = config(&arguments, &core)?;
    let page = Page {
        settings: page_settings(&core.users),
    };
    run::to_completion(
        config,
        page,
        run::Wish::Leave,
        run::Patience::None,
        |started| greet(started, &core.users),
    )
}

/// What the rest must know of the core that runs.
struct Core {
    sip: SocketAddr,
    domain: String,
    users: Vec<User>,
}

/// Plays the core on a thread of its own, as a peer of the gateway and no part of it.
fn start_core(at: SocketAddr) -> anyhow::Result<Core> {
    let (report, reported) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("lab".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let rng = ChaCha20Rng::from_seed(fresh_seed());
                let core = match LabCore::bind(at, CALLS, rng).await {
                    Ok(core) => core,
                    Err(error) => {
                        let _ = report.send(Err(error));
                        return;
                    }
                };
                let _ = report.send(Ok(Core {
                    sip: core.sip(),
                    domain: core.settings().domain.clone(),
                    users: core.settings().users.clone(),
                }));
                core.run().await
            })
        })?;
    Ok(reported.recv()??)
}

/// The configuration, as an operator would write it for this core.
fn config(arguments: &Arguments, core: &Core) -> anyhow::Result<Config> {
    let port = match arguments.port {
        Some(port) => port,
        None => (FIRST_PORT..=u16::MAX)
            .find(|port| is_free(LOCAL, *port))
            .context("no free port for the page")?,
    };
    let state = match &arguments.state {
        Some(folder) => folder.clone(),
        None => beside_program()?,
    };
    std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
    let network = network_address();
    let addresses: Vec<IpAddr> = network.into_iter().chain([LOCAL]).collect();
    let media_port = (FIRST_MEDIA_PORT..=u16::MAX)
        .find(|port| {
            let mut sockets = addresses.iter().map(|ip| UdpSocket::bind((*ip, *port)));
            sockets.all(|socket| socket.is_ok())
        })
        .context("no free port for media")?;
    let secure: Vec<SocketAddr> = network
        .and_then(|ip| {
            let port = (FIRST_SECURE_PORT..=u16::MAX).find(|port| is_free(ip, *port))?;
            Some((ip, port).into())
        })
        .into_iter()
        .collect();
    let free = || TcpListener::bind((LOCAL, 0))?.local_addr();
    let text = format!(
        "[access]\n\
         listen = {}\n\
         plain_listen = [\"{LOCAL}:{port}\"]\n\
         web_root = {}\n\
         [ims]\n\
         pcscf = \"{}\"\n\
         home_domains = [\"{}\"]\n\
         address = \"{LOCAL}\"\n\
         [limits]\n\
         flows = 500\n\
         [calls]\n\
         count = 100\n\
         [media]\n\
         workers = 1\n\
         access_listen = {}\n\
         access_port = {media_port}\n\
         [management]\n\
         listen = \"{}\"\n\
         [state]\n\
         folder = {}\n\
         [log]\n\
         level = {}\n\
         [shutdown]\n\
         grace = \"1s\"\n",
        json!(secure),
        quoted(&arguments.web_root)?,
        core.sip,
        core.domain,
        json!(addresses),
        free()?,
        quoted(&state)?,
        json!(arguments.log),
    );
    Config::parse(&text).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })
}

/// A path as TOML text; JSON quotes the same way.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().context("a path that is not text")?;
    Ok(json!(text).to_string())
}

fn beside_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a program without a folder")?;
    Ok(folder.join("gatehouse-demo"))
}

fn is_free(ip: IpAddr, port: u16) -> bool {
    TcpListener::bind((ip, port)).is_ok()
}

/// This machine's address in its network, if it is in one.
fn network_address() -> Option<IpAddr> {
    let address = run::default_address().ok()?;
    (!address.is_loopback()).then_some(address)
}

/// What makes the page an invitation: logins to click and numbers to dial.
fn page_settings(users: &[User]) -> Map<String, Value> {
    let logins = users
        .iter()
        .map(|user| json!({ "user": user.name, "password": user.password }));
    let services = Service::ALL
        .iter()
        .map(|service| json!({ "number": service.number(), "text": service.description() }));
    let people = users
        .iter()
        .map(|user| json!({ "number": user.name, "text": "in a second tab" }));
    let mut settings = Map::new();
    settings.insert("logins".to_owned(), logins.collect());
    settings.insert("numbers".to_owned(), services.chain(people).collect());
    settings
}

fn greet(started: &Started, users: &[User]) {
    println!("\nGatehouse is up, on an IMS core of its own.\n");
    let (local, network): (Vec<SocketAddr>, Vec<SocketAddr>) = started
        .access
        .iter()
        .copied()
        .partition(|at| at.ip().is_loopback());
    for address in local {
        println!("  open      http://localhost:{}", address.port());
    }
    for address in &network {
        println!("  phone     https://{address}  (same network; the certificate is self-made)");
    }
    if network.is_empty() {
        println!("  phone     none: this machine has no address in a network");
    }
    print_users(users);
    println!("\nCtrl-C ends it.");
}

/// Who may sign in, and what there is to dial.
fn print_users(users: &[User]) {
    for user in users {
        println!("  sign in   {} / {}", user.name, user.password);
    }
    for service in Service::ALL {
        println!(
            "  dial      {}  {}",
            service.number(),
            service.description()
        );
    }
}

/// All but the page and its media stays on this machine.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Calls of the lab's telephones at a time.
const CALLS: usize = 16;

/// The page's port, if it is free.
const FIRST_PORT: u16 = 8080;

/// The page's port for others in the network, if it is free.
const FIRST_SECURE_PORT: u16 = 8443;

/// The browsers' media port, if it is free.
const FIRST_MEDIA_PORT: u16 = 24000;

/// Where `cargo xtask bundle` puts the page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist");
