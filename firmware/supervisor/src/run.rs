//! Wires everything together, in order, and takes it apart again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use transport::rtp;
use transport::tls::Certificates;
use transport::websocket::{self, Access};

use crate::config::Config;
use crate::crash;
use crate::health::Health;
use crate::heat::{self, Temperature};
use crate::media_link::{self, MediaLink};
use crate::media_task::{self, MediaTask};
use crate::memory;
use crate::notify;
use crate::signaling_task::{self, Control, SignalingTask};
use crate::status::{self, Sources};
use crate::store::Store;
use crate::silent::run_folder;
use crate::supervisor::keep_running;

mod addresses;
mod settings;

#[cfg(feature = "lab")]
pub(crate) use addresses::default_address;
pub(crate) use addresses::ims_address;
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
    health.start_judging(run_folder())?;
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
            Media::Here(Arc::new(MediaTask {
                workers: workers(config, ims_address, health)?,
                requests,
                replies,
                pulse,
            }))
        })
    }
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
        let recorder = recorder(config, &health)?;
        let (store, kept) = Store::start(&config.state.folder, &health)?;
        let idle = Arc::new(Notify::new());
        let temperature = Temperature::default();

        let media_losses = Arc::default();
        let media = Media::new(
            config,
            addresses[0],
            &health,
            (requests, replies_in),
            &media_losses,
        )?;
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
            credentials: credentials(config, authenticated_in, &health)?,
            authenticated: Mutex::new(authenticated),
            store: store.clone(),
            kept: Mutex::new(kept),
            lives: AtomicU32::new(0),
            idle: Arc::clone(&idle),
            pulse: health.watch("signaling"),
            trunks: health.condition(),
            temperature: temperature.clone(),
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
            temperature,
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
        let temperature = sources.temperature.clone();
        let is_too_hot = self.health.condition();
        services.spawn(async move {
            let look = || heat::run(temperature.clone(), is_too_hot.clone());
            keep_running("heat", look).await?;
            std::future::pending().await
        });
        let pulse = self.health.watch("status");
        services.spawn(keep_running("status", move || {
            status::run(listen, Arc::clone(&sources), pulse.clone())
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
