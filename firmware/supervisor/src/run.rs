//! Wires everything together, in order, and takes it apart again.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use rustls_pki_types::ServerName;
use serde_json::{Map, Value, json};
use signaling::config::{AddressFamily, Host, NextHop};
use signaling::reach::Finder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use transport::http::Policy;
use transport::http_client::HttpClient;
use transport::resolver::NameService;
use transport::tls::{self, Certificates};
use transport::web_root::WebRoot;
use transport::websocket::{self, Access, Listen};
use transport::xfrm::Xfrm;
use transport::{endpoint, rtp};

use crate::config::{Config, Credentials, Issuer, Tenant};
use crate::crash;
use crate::credentials::{self, Service, StoreError};
use crate::health::Health;
use crate::media_link::{self, MediaLink};
use crate::media_task::{self, MediaTask};
use crate::memory;
use crate::notify;
use crate::records::{self, Recorder};
use crate::signaling_task::{self, Control, SignalingTask};
use crate::status::{self, Sources};
use crate::store::Store;
use crate::supervisor::keep_running;

/// What the page is told beyond what the configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// More members for `/config.json`.
    pub(crate) settings: Map<String, Value>,
}

/// What is true once everything is up.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// Where browsers connect.
    pub(crate) access: Vec<SocketAddr>,
}

/// Runs the gateway until SIGTERM or SIGINT, or SIGHUP where that wishes so. `up` is
/// called once it serves.
pub(crate) fn to_completion(
    config: Config,
    page: Page,
    hang_up: Wish,
    up: impl FnOnce(&Started),
) -> anyhow::Result<()> {
    crate::log::start(&config.log)?;
    if !config.log.crash_details {
        crash::keep_secrets();
    }
    let wanted = 3 * config.limits.flows + 4 * config.calls.count;
    look_at_file_limit(wanted);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let ending = Signals::new(hang_up)?;
            run(config, page, up, ending).await
        })
}

/// What a signal asks for.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    /// The end.
    Leave,
    /// A look at the files that may have changed.
    Reload,
}

/// Each browser takes three descriptors, each call four.
pub(crate) fn look_at_file_limit(wanted: usize) {
    match rtp::raise_file_limit() {
        Ok(allowed) if allowed < wanted as u64 => tracing::warn!(
            allowed,
            wanted,
            "the system allows fewer open files than the configured limits need"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// The signals that end the box or have it look at its files.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    on_hang_up: Wish,
}

impl Signals {
    /// SIGHUP reloads a service; a program in a terminal it ends with the terminal.
    pub(crate) fn new(on_hang_up: Wish) -> anyhow::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            on_hang_up,
        })
    }

    /// Resolves when the process is to end.
    pub(crate) async fn leave(&mut self) {
        while !matches!(self.next().await, Wish::Leave) {}
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Leave,
            _ = self.interrupt.recv() => Wish::Leave,
            _ = self.hang_up.recv() => self.on_hang_up,
        }
    }
}

async fn run(
    config: Config,
    page: Page,
    up: impl FnOnce(&Started),
    mut signals: Signals,
) -> anyhow::Result<()> {
    let built = Built::new(&config, page).await?;
    let started = Started {
        access: built.access.addresses(),
    };
    let controls = built.controls.clone();
    let (health, certificates) = (built.health.clone(), built.certificates.clone());
    let (idle, store) = (Arc::clone(&built.idle), built.store.clone());
    let mut services = built.start();
    health.started();
    notify::ready("running");
    tracing::info!(listening = ?started.access, "up");
    up(&started);

    loop {
        tokio::select! {
            Some(ended) = services.join_next() => {
                return ended?.context("the box gives up");
            }
            () = tokio::time::sleep(LOOK_AT_FILES) => reload(certificates.as_deref(), false),
            wish = signals.next() => match wish {
                Wish::Reload => reload(certificates.as_deref(), true),
                Wish::Leave => break,
            },
        }
    }
    let grace = config.shutdown.grace;
    tracing::info!(grace = grace.as_secs(), "stopping: no new calls");
    health.draining();
    notify::stopping(grace + DEREGISTER_TIME + DEREGISTER_TIME);
    tokio::select! {
        () = leave(&controls, &idle, grace) => {}
        _ = signals.next() => tracing::warn!("told twice: stopping at once"),
        Some(ended) = services.join_next() => return ended?.context("the box gives up"),
    }
    let _ = controls.send(Control::Stop).await;
    tokio::time::sleep(GOODBYE_TIME).await;
    services.shutdown().await;
    let _ = tokio::time::timeout(FLUSH_TIME, store.flush()).await;
    tracing::info!("stopped");
    Ok(())
}

/// Lets calls end, then ends them, and signs everybody off.
async fn leave(controls: &mpsc::Sender<Control>, idle: &Notify, grace: Duration) {
    let _ = controls.send(Control::Drain).await;
    let until = Instant::now() + grace;
    while Instant::now() < until && sessions(controls).await != Some(0) {
        tokio::time::sleep(LOOK_AT_CALLS).await;
    }
    let _ = controls.send(Control::Deregister).await;
    if tokio::time::timeout(DEREGISTER_TIME, idle.notified())
        .await
        .is_err()
    {
        tracing::warn!("the IMS did not confirm every de-registration");
    }
}

async fn sessions(controls: &mpsc::Sender<Control>) -> Option<u64> {
    let (answer, snapshot) = oneshot::channel();
    controls.send(Control::Snapshot(answer)).await.ok()?;
    Some(snapshot.await.ok()?.signaling.sessions)
}

fn reload(certificates: Option<&Certificates>, even_if_same: bool) {
    match certificates.map(|certificates| certificates.reload(even_if_same)) {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => tracing::info!("new certificate in use; connections stay"),
        Some(Err(error)) => {
            tracing::error!(%error, "new certificate not taken; the old one stays in use");
        }
    }
}

/// The media plane: in this process or in one of its own.
enum Media {
    Here(Arc<MediaTask>),
    Apart(Arc<MediaLink>),
}

/// Everything, bound and ready to run.
struct Built {
    access: Access,
    access_settings: websocket::Settings,
    arrivals: mpsc::Sender<transport::flow::Arrival>,
    next_flow: Arc<AtomicU64>,
    signaling: Arc<SignalingTask>,
    media: Media,
    status: (SocketAddr, Arc<Sources>),
    controls: mpsc::Sender<Control>,
    certificates: Option<Arc<Certificates>>,
    idle: Arc<Notify>,
    health: Health,
    store: Store,
}

impl Built {
    async fn new(config: &Config, page: Page) -> anyhow::Result<Self> {
        let health = Health::default();
        let networks = config.networks();
        let mut addresses = Vec::new();
        for network in &networks {
            addresses.push(ims_address(network).await?);
        }
        let (arrivals_in, arrivals) = mpsc::channel(QUEUED_ARRIVALS);
        let (media_in, requests) = mpsc::channel(QUEUED_IQ);
        let (replies_in, replies) = mpsc::channel(QUEUED_IQ);
        let (controls_in, controls) = mpsc::channel(QUEUED_CONTROLS);
        let (authenticated_in, authenticated) = mpsc::channel(QUEUED_CONTROLS);
        let (access_counters, ims_counters) = (Arc::default(), Arc::default());
        let recorder = recorder(config)?;
        let (store, kept) = Store::start(&config.state.folder)?;
        let idle = Arc::new(Notify::new());

        let media_losses = Arc::default();
        let media = if config.media.apart {
            Media::Apart(Arc::new(MediaLink {
                socket: config.media.socket.clone(),
                door: config.media.door(),
                requests: Mutex::new(requests),
                replies: replies_in,
                pulse: health.watch("media"),
                condition: health.condition(),
                losses: Arc::clone(&media_losses),
            }))
        } else {
            Media::Here(Arc::new(MediaTask {
                workers: workers(config, addresses[0], &health)?,
                requests: Mutex::new(requests),
                replies: replies_in,
                pulse: health.watch("media"),
            }))
        };
        let signaling = SignalingTask {
            config: signaling_settings(config, &addresses)?,
            endpoints: endpoint_settings(&networks, &addresses)?,
            providers: providers(config)?,
            ims_counters: Arc::clone(&ims_counters),
            arrivals: Mutex::new(arrivals),
            replies: Mutex::new(replies),
            controls: Mutex::new(controls),
            media: media_in.clone(),
            recorder: recorder.clone(),
            credentials: credentials(config, authenticated_in)?,
            authenticated: Mutex::new(authenticated),
            store: store.clone(),
            kept: Mutex::new(kept),
            lives: AtomicU32::new(0),
            idle: Arc::clone(&idle),
            pulse: health.watch("signaling"),
            trunks: health.condition(),
        };
        let (access_settings, certificates) = access_settings(config, page)?;
        let next_flow = Arc::new(AtomicU64::new(1));
        let access = Access::bind(
            access_settings.clone(),
            arrivals_in.clone(),
            Arc::clone(&next_flow),
            Arc::clone(&access_counters),
        )
        .context("[access]")?;
        let sources = Sources {
            health: health.clone(),
            signaling: controls_in.clone(),
            media: media_in,
            media_losses,
            access: access_counters,
            ims: ims_counters,
            recorder,
            store: store.clone(),
            started_at: Instant::now(),
        };
        Ok(Built {
            access,
            access_settings,
            arrivals: arrivals_in,
            next_flow,
            signaling: Arc::new(signaling),
            media,
            status: (config.management.listen, Arc::new(sources)),
            controls: controls_in,
            certificates,
            idle,
            health,
            store,
        })
    }

    /// Starts the services in their order.
    fn start(self) -> JoinSet<anyhow::Result<()>> {
        let mut services = JoinSet::new();
        match self.media {
            Media::Here(media) => services.spawn(keep_running("media", move || {
                media_task::run(Arc::clone(&media))
            })),
            Media::Apart(link) => services.spawn(keep_running("media", move || {
                media_link::run(Arc::clone(&link))
            })),
        };
        let signaling = self.signaling;
        services.spawn(keep_running("signaling", move || {
            signaling_task::run(Arc::clone(&signaling))
        }));
        let pulse = self.health.watch("access");
        let counters = Arc::clone(&self.status.1.access);
        let mut bound = Some(self.access);
        services.spawn(keep_running("access", move || {
            let access = bound.take().map_or_else(
                || {
                    Access::bind(
                        self.access_settings.clone(),
                        self.arrivals.clone(),
                        Arc::clone(&self.next_flow),
                        Arc::clone(&counters),
                    )
                },
                Ok,
            );
            let pulse = pulse.clone();
            async move { Err(access?.run(pulse).await.into()) }
        }));
        let (listen, sources) = self.status;
        services.spawn(keep_running("status", move || {
            status::run(listen, Arc::clone(&sources))
        }));
        services.spawn(keep_running("memory", memory::give_back));
        services.spawn(async move {
            self.health.run().await;
            Ok(())
        });
        services
    }
}

/// Opens the store of credentials, if there is one: a box that passes Digest through needs
/// none; one that asks for passwords itself, on a trunk, does.
fn credentials(
    config: &Config,
    answers: mpsc::Sender<signaling::Input>,
) -> anyhow::Result<Service> {
    let settings = &config.credentials;
    let signaling = config.signaling();
    let has_trunk = |all: &signaling::Config| {
        let mut tenants = all.tenants.iter();
        tenants.any(|it| {
            let trunk = it.profile.trunk();
            let asks = it.login == signaling::config::Login::Digest;
            trunk.is_some_and(|trunk| asks || trunk.registration.is_some())
        })
    };
    let is_used = *settings != Credentials::default()
        || settings.path(&config.state).is_dir()
        || signaling.is_some_and(|all| has_trunk(&all));
    let store = match credentials::Store::open(settings, &config.state) {
        Ok(store) => Some(store),
        Err(StoreError::NoKey(_)) if !is_used => None,
        Err(error) => return Err(error).context("[credentials]"),
    };
    Ok(Service::start(store, answers)?)
}

fn access_settings(
    config: &Config,
    page: Page,
) -> anyhow::Result<(websocket::Settings, Option<Arc<Certificates>>)> {
    let certificates = config
        .access
        .certificate_source(&config.state)
        .map(Certificates::load)
        .transpose()
        .context("[access]")?;
    let folder = config.access.web_folder();
    if let Some(folder) = folder.as_deref().filter(|folder| !folder.is_dir()) {
        tracing::warn!(folder = %folder.display(), "[access] web_root: no such folder; no page is served");
    }
    let acceptor = certificates
        .as_ref()
        .map(Certificates::acceptor)
        .transpose()?;
    let secured = config.access.listen.iter().map(|&address| Listen {
        address,
        tls: acceptor.clone(),
    });
    let plain = config
        .access
        .plain_listen
        .iter()
        .map(|&address| Listen { address, tls: None });
    let settings = websocket::Settings {
        listen: secured.chain(plain).collect(),
        policy: Policy {
            gives_tickets: config.takes_tokens(),
            ..config.access.policy()
        },
        web_root: WebRoot {
            folder,
            config_json: page_settings(config, page).to_string().into(),
        },
        limits: config.limits.admission(),
        handshake_time: config.access.handshake_time,
        keepalive: config.access.keepalive(),
    };
    Ok((settings, certificates.map(Arc::new)))
}

/// What the page reads first.
fn page_settings(config: &Config, page: Page) -> Value {
    let servers: Vec<Value> = config
        .access
        .ice_servers
        .iter()
        .map(|url| json!({ "urls": url }))
        .collect();
    let mut settings = Map::new();
    let networks = config.networks();
    let mut domains = networks.iter().flat_map(|it| &it.ims.home_domains);
    let domain = domains.next().map(ToString::to_string);
    settings.insert("domain".to_owned(), json!(domain));
    settings.insert("webSocketPath".to_owned(), json!(config.access.path));
    settings.insert("iceServers".to_owned(), json!(servers));
    let expires = networks.iter().map(|it| it.ims.registration_expires);
    let expires = expires.min().unwrap_or_default().as_secs();
    settings.insert("registerExpires".to_owned(), json!(expires));
    settings.extend(page.settings);
    Value::Object(settings)
}

fn signaling_settings(config: &Config, addresses: &[IpAddr]) -> anyhow::Result<signaling::Config> {
    let settings = config.signaling();
    let mut settings = settings.context("the configuration is not complete")?;
    for (tenant, address) in settings.tenants.iter_mut().zip(addresses) {
        // A port of one version reaches no server of the other.
        tenant.next_hop.family = AddressFamily::of(*address);
        let plan = &tenant.dial_plan;
        if plan.country_code.is_none() && !plan.international {
            tracing::warn!(
                tenant = tenant.name,
                "calls abroad are not barred: without country_code nobody knows what abroad is; \
                 set it, or international = true if they may be made"
            );
        }
    }
    let key = records::key(&config.state.folder, "flow.key").unwrap_or_else(|error| {
        tracing::warn!(%error, "the key of flow tokens is not kept: they change at restart");
        fresh_seed()
    });
    settings.flow_key = Some(iq::Private::new(key));
    Ok(settings)
}

fn endpoint_settings(
    networks: &[Tenant],
    addresses: &[IpAddr],
) -> anyhow::Result<endpoint::Settings> {
    look_at_ipsec(networks)?;
    let networks = networks.iter().zip(addresses);
    let tenants = networks.map(|(network, &address)| network_settings(network, address));
    Ok(endpoint::Settings {
        tenants: tenants.collect::<anyhow::Result<_>>()?,
        seed: fresh_seed(),
    })
}

/// Without the right to make associations nobody of a tenant with IPsec could log in.
fn look_at_ipsec(networks: &[Tenant]) -> anyhow::Result<()> {
    let Some(network) = networks.iter().find(|it| it.ims.has_ipsec()) else {
        return Ok(());
    };
    let asked = Xfrm::open().and_then(|mut xfrm| xfrm.clean(&[]));
    let Err(error) = asked else {
        return Ok(());
    };
    let fix = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "the program needs the right CAP_NET_ADMIN: put AmbientCapabilities=CAP_NET_ADMIN \
             into its systemd unit, or run `setcap cap_net_admin+ep` on it"
        }
        _ => "the kernel needs IPsec: CONFIG_XFRM_USER and CONFIG_INET_ESP",
    };
    Err(anyhow!(error)).with_context(|| format!("{}: security = \"ipsec\": {fix}", network.name))
}

fn network_settings(network: &Tenant, address: IpAddr) -> anyhow::Result<endpoint::Network> {
    let tls = match (&network.ims.authorities, network.ims.next_hop()) {
        (Some(authorities), Some(next_hop)) => Some(endpoint::Tls {
            connector: tls::connector(authorities)
                .with_context(|| format!("{}: authorities", network.name))?,
            server_name: vouched_name(&next_hop)?,
        }),
        _ => None,
    };
    Ok(endpoint::Network {
        address,
        ports: network.ims.ports.0.clone(),
        has_ipsec: network.ims.has_ipsec(),
        tls,
        names: NameService::new(&network.ims.name_servers()),
    })
}

/// A client for each identity provider.
/// The name that a server's certificate must have: the one that the operator wrote, whatever
/// names its NAPTR and SRV records lead to (RFC 5922 §4, §7.1); those may be forged.
fn vouched_name(next_hop: &NextHop) -> anyhow::Result<ServerName<'static>> {
    Ok(match &next_hop.host {
        Host::Address(address) => ServerName::IpAddress((*address).into()),
        Host::Name(name) => ServerName::try_from(name.to_string())?,
    })
}

fn providers(config: &Config) -> anyhow::Result<Vec<HttpClient>> {
    let client = |issuer: &Issuer| {
        HttpClient::new(&issuer.authorities, issuer.private_addresses)
            .context("[[issuer]] authorities")
    };
    config.issuers.iter().map(client).collect()
}

pub(crate) fn workers(
    config: &Config,
    ims_address: IpAddr,
    health: &Health,
) -> anyhow::Result<Vec<(rtp::Settings, transport::pulse::Pulse)>> {
    let media = &config.media;
    let certificate = Arc::new(media::Certificate::generate()?);
    let mut addresses = media.told_addresses();
    if addresses.is_empty() {
        let address = default_address().context(
            "[media] access_addresses: say which addresses browsers reach, there is no default route",
        )?;
        addresses.push(address);
    }
    let ims_address = media.ims_address.unwrap_or(ims_address);
    let settings = (0..media.worker_count()).map(|index| {
        let port = media.access_port + u16::try_from(index).expect("checked to be few");
        let candidates = addresses.iter().map(|&ip| (ip, port).into()).collect();
        let mut relays = media::Config::new(candidates, Arc::clone(&certificate));
        relays.max_sessions = media.calls_per_worker;
        relays.srtp_profiles = media.srtp_profiles.iter().map(|p| p.0).collect();
        relays.dtls_13 = media.dtls_13;
        relays.handshake_timeout = media.handshake_timeout;
        relays.ice_timeout = media.ice_timeout;
        relays.consent_report = media.consent_timeout;
        relays.ims_silence = config.calls.silence_report();
        let settings = rtp::Settings {
            index,
            access: media
                .access_listen
                .iter()
                .map(|&ip| (ip, port).into())
                .collect(),
            ims_address,
            ims_advertised: media.ims_advertised.unwrap_or(ims_address),
            ims_ports: media.ims_ports_of(index),
            media: relays,
            seed: fresh_seed(),
        };
        (settings, health.watch(format!("media-{index}")))
    });
    Ok(settings.collect())
}

fn recorder(config: &Config) -> anyhow::Result<Recorder> {
    let settings = config.records.enabled.then(|| records::Settings {
        file: config.records.path(&config.state),
        max_size: u64::from(config.records.max_megabytes) * 1024 * 1024,
        keep: config.records.keep,
        key: records::key(&config.state.folder, "records.key").unwrap_or_else(|error| {
            tracing::warn!(%error, "the key of call records is not kept: hashes change at restart");
            fresh_seed()
        }),
    });
    Ok(Recorder::start(settings)?)
}

/// The box's address in a network.
pub(crate) async fn ims_address(network: &Tenant) -> anyhow::Result<IpAddr> {
    if let Some(address) = network.ims.address {
        return Ok(address);
    }
    let name_of = &network.name;
    let next_hop = network.ims.next_hop();
    let next_hop = next_hop.with_context(|| format!("{name_of}: the next hop is missing"))?;
    let names = NameService::new(&network.ims.name_servers());
    let found = match first_server(&names, &next_hop, AddressFamily::V4).await {
        None => first_server(&names, &next_hop, AddressFamily::V6).await,
        found => found,
    };
    let host = &next_hop.host;
    let peer = found.ok_or_else(|| {
        anyhow!("{name_of}: {host} has no address; set `address` to start without")
    })?;
    way_to(peer).with_context(|| format!("{name_of}: address: there is no way to {peer}"))
}

/// A server of a network's next hop.
async fn first_server(
    names: &NameService,
    next_hop: &NextHop,
    family: AddressFamily,
) -> Option<SocketAddr> {
    let mut finder = Finder::new(NextHop {
        family,
        ..next_hop.clone()
    });
    loop {
        match finder.servers(Instant::now()) {
            Ok(servers) => return servers.first().map(|hop| hop.address),
            Err(questions) => {
                for (query, question) in questions {
                    let resolution = names.ask(&question).await;
                    finder.handle_resolved(query, resolution, Instant::now());
                }
            }
        }
    }
}

/// The address that the default route has.
pub(crate) fn default_address() -> anyhow::Result<IpAddr> {
    way_to(([192, 0, 2, 1], 9).into())
}

/// The address that the system would send from. Nothing is sent.
fn way_to(peer: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}

/// Chance that nobody else knows.
pub(crate) fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).expect("the system's random source works");
    seed
}

const QUEUED_ARRIVALS: usize = 4096;
/// Words of `iq` that wait for a plane.
pub(crate) const QUEUED_IQ: usize = 4096;
const QUEUED_CONTROLS: usize = 64;
/// How often changed certificates are looked for.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
const LOOK_AT_CALLS: Duration = Duration::from_millis(200);
/// How long the IMS may take to confirm de-registrations.
const DEREGISTER_TIME: Duration = Duration::from_secs(5);
/// How long the last words may take to the disk.
const FLUSH_TIME: Duration = Duration::from_secs(2);
/// How long browsers have to hear why their connections end.
const GOODBYE_TIME: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Config;

    // Conforms: RFC 5922 §7.1 | A server that SRV records name is vouched for under the domain, not under its own name.
    #[test]
    fn a_certificate_vouches_for_the_domain_that_the_operator_wrote() {
        for (pcscf, expected) in [
            // A domain, whose SRV records name the servers.
            ("ims.example.com", "ims.example.com"),
            ("pcscf.example.com:5061", "pcscf.example.com"),
            ("192.0.2.10:5061", "192.0.2.10"),
        ] {
            let text = format!(
                "[ims]\npcscf = \"{pcscf}\"\nhome_domains = [\"ims.example.com\"]\n\
                 transport = \"tls\"\nauthorities = \"ca.pem\"\n"
            );
            let config = Config::parse(&text).unwrap();
            let next_hop = config.networks()[0].ims.next_hop().unwrap();
            assert_eq!(vouched_name(&next_hop).unwrap().to_str(), expected);
        }
    }
}
