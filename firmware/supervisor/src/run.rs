//! Wires everything together, in order, and takes it apart again.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use transport::counters::AccessCounters;
use transport::rtp;
use transport::tls::Certificates;
use transport::websocket::{self, Access};

use crate::causes;
use crate::config::Config;
use crate::crash;
use crate::crypto;
use crate::health::{Condition, Health};
use crate::heat::{self, Temperature};
use crate::media_link::{self, MediaLink};
use crate::media_task::{self, MediaTask};
use crate::memory;
use crate::notify;
use crate::signaling_task::{self, Control, SignalingTask};
use crate::silent::{Process, run_folder};
use crate::status::{self, About, Sources};
use crate::store::Store;
use crate::supervisor::keep_running;
use crate::surroundings::names::{self, Names};
use crate::surroundings::{self, Needs, Outlook, Surroundings, Teller};
use crate::waiting;

mod addresses;
mod settings;

#[cfg(feature = "lab")]
pub(crate) use addresses::default_address;
pub(crate) use addresses::{ims_address, ims_addresses};
pub(crate) use settings::workers;
use settings::{
    access_settings, credentials, endpoint_settings, providers, recorder, signaling_settings,
};

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
    patience: Patience,
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
            run(config, page, patience, up, ending).await
        })
}

/// What a gateway does that cannot start yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It ends, and says why.
    None,
    /// It waits for a configuration and a network, and says so on the front panel.
    Waits,
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
    patience: Patience,
    up: impl FnOnce(&Started),
    mut signals: Signals,
) -> anyhow::Result<()> {
    let addresses = match patience {
        Patience::None => ims_addresses(&config.networks()).await?,
        Patience::Waits => match waiting::for_network(&config, &mut signals).await? {
            Some(addresses) => addresses,
            None => return Ok(()),
        },
    };
    let built = Built::new(&config, page, &addresses).await?;
    let started = Started {
        access: built.access.addresses(),
    };
    let controls = built.controls.clone();
    let (health, certificates) = (built.health.clone(), built.certificates.clone());
    let (idle, store) = (Arc::clone(&built.idle), built.store.clone());
    let causes = built.about.causes.clone();
    let mut services = built.start();
    health.started();
    health.start_judging(Process::Control)?;
    notify::ready("running");
    tracing::info!(listening = ?started.access, "up");
    tokio::task::spawn_blocking(move || say_why_it_ended(&causes));
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

/// Says why the box, or one of its programs, ended last, if that was in this life of the
/// kernel or is what began it.
fn say_why_it_ended(folder: &Path) {
    let boot = causes::boot_id(Path::new("/"));
    let ends = causes::Ends::read(folder);
    let Some(last) = ends.latest.iter().find(|end| end.boot == boot) else {
        return;
    };
    let words = last.words();
    if last.cause.is_trouble() {
        tracing::warn!("before this start: {words}");
    } else {
        tracing::info!("before this start: {words}");
    }
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

impl Media {
    fn new(
        config: &Config,
        ims_address: IpAddr,
        health: &Health,
        (requests, replies): (mpsc::Receiver<media_task::Request>, mpsc::Sender<iq::Reply>),
        losses: &Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let requests = Mutex::new(requests);
        let pulse = health.watch("media");
        Ok(if config.media.apart {
            Media::Apart(Arc::new(MediaLink {
                socket: config.media.socket.clone(),
                door: config.media.door(),
                requests,
                replies,
                pulse,
                condition: health.condition(),
                losses: Arc::clone(losses),
            }))
        } else {
            let (engines, crypto) = crypto::choose(config)?;
            Media::Here(Arc::new(MediaTask {
                workers: workers(config, ims_address, &engines, health)?,
                crypto,
                requests,
                replies,
                pulse,
            }))
        })
    }
}

impl Media {
    /// What is wrong with a plane of its own.
    fn condition(&self) -> Option<Condition> {
        match self {
            Media::Here(_) => None,
            Media::Apart(link) => Some(link.condition.clone()),
        }
    }
}

/// The calls that there is room for.
fn capacity(config: &Config) -> usize {
    let media = config.media.calls_per_worker * config.media.worker_count();
    media.min(config.calls.count)
}

/// Everything, bound and ready to run.
struct Built {
    access: Access,
    access_settings: websocket::Settings,
    arrivals: mpsc::Sender<transport::flow::Arrival>,
    next_flow: Arc<AtomicU64>,
    signaling: Arc<SignalingTask>,
    media: Media,
    management: SocketAddr,
    about: Arc<About>,
    access_counters: Arc<AccessCounters>,
    surroundings: Arc<Surroundings>,
    asked: names::Asked,
    controls: mpsc::Sender<Control>,
    certificates: Option<Arc<Certificates>>,
    idle: Arc<Notify>,
    health: Health,
    store: Store,
}

impl Built {
    async fn new(config: &Config, page: Page, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let health = Health::default();
        let networks = config.networks();
        let (arrivals_in, arrivals) = mpsc::channel(QUEUED_ARRIVALS);
        let (media_in, requests) = mpsc::channel(QUEUED_IQ);
        let (replies_in, replies) = mpsc::channel(QUEUED_IQ);
        let (controls_in, controls) = mpsc::channel(QUEUED_CONTROLS);
        let (authenticated_in, authenticated) = mpsc::channel(QUEUED_CONTROLS);
        let access_counters = Arc::<AccessCounters>::default();
        let ims_counters = Arc::default();
        let recorder = recorder(config, &health)?;
        let (store, kept) = Store::start(&config.state.folder, &health)?;
        let idle = Arc::new(Notify::new());
        let temperature = Temperature::default();
        let changed = Arc::new(Notify::new());

        let media_losses = Arc::default();
        let media = Media::new(
            config,
            addresses[0],
            &health,
            (requests, replies_in),
            &media_losses,
        )?;
        let signaling = SignalingTask {
            config: signaling_settings(config, addresses)?,
            endpoints: endpoint_settings(&networks, addresses)?,
            providers: providers(config)?,
            ims_counters: Arc::clone(&ims_counters),
            arrivals: Mutex::new(arrivals),
            replies: Mutex::new(replies),
            controls: Mutex::new(controls),
            media: media_in.clone(),
            recorder: recorder.clone(),
            credentials: credentials(config, authenticated_in, &health)?,
            authenticated: Mutex::new(authenticated),
            store: store.clone(),
            kept: Mutex::new(kept),
            lives: AtomicU32::new(0),
            idle: Arc::clone(&idle),
            pulse: health.watch("signaling"),
            trunks: health.condition(),
            temperature: temperature.clone(),
            changed: Arc::clone(&changed),
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
        let outlook = Outlook::default();
        let surroundings = Surroundings {
            teller: Teller::new(outlook.clone(), run_folder().as_deref()),
            health: health.clone(),
            signaling: controls_in.clone(),
            changed,
            media: media.condition(),
            store: store.clone(),
            needs: Needs {
                addresses: addresses.to_vec(),
            },
            names: Names::default(),
            temperature: temperature.clone(),
            capacity: capacity(config),
            pulse: health.watch("surroundings"),
        };
        let sources = Sources {
            signaling: controls_in.clone(),
            media: media_in,
            media_losses,
            access: Arc::clone(&access_counters),
            ims: ims_counters,
            recorder,
            store: store.clone(),
            temperature,
        };
        let about = About {
            outlook,
            health: health.clone(),
            waits_for: std::sync::Mutex::default(),
            causes: config.state.folder.join(causes::FOLDER),
            started_at: Instant::now(),
            sources: Some(Arc::new(sources)),
        };
        Ok(Built {
            access,
            access_settings,
            arrivals: arrivals_in,
            next_flow,
            signaling: Arc::new(signaling),
            media,
            management: config.management.listen,
            about: Arc::new(about),
            access_counters,
            surroundings: Arc::new(surroundings),
            asked: names::asked(&networks),
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
        let counters = self.access_counters;
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
        let temperature = self.surroundings.temperature.clone();
        let (is_too_hot, health) = (self.health.condition(), self.health.clone());
        services.spawn(async move {
            let look = || heat::run(temperature.clone(), is_too_hot.clone(), health.clone());
            keep_running("heat", look).await?;
            std::future::pending().await
        });
        let pulse = self.health.watch("status");
        services.spawn(keep_running("status", move || {
            status::run(self.management, Arc::clone(&self.about), pulse.clone())
        }));
        let (names, pulse) = (
            self.surroundings.names.clone(),
            self.health.watch_for("names", names::LONGEST_SILENCE),
        );
        let asked = self.asked;
        services.spawn(keep_running("names", move || {
            names::run(asked.clone(), names.clone(), pulse.clone())
        }));
        let around = self.surroundings;
        services.spawn(keep_running("surroundings", move || {
            surroundings::run(Arc::clone(&around))
        }));
        let pulse = self.health.watch_for("memory", memory::LONGEST_SILENCE);
        services.spawn(keep_running("memory", move || {
            memory::give_back(pulse.clone())
        }));
        services
    }
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
