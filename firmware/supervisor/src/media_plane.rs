//! `gatehouse media`: the media plane as a process of its own. It holds its sessions
//! whatever becomes of the control process, obeys one controller at a time, and keeps for
//! the next one what happened to sessions while there was none.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use iq::Reply;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use transport::iq_socket::{Connection, Door, FromMedia, ToMedia, VERSION};
use transport::pulse::Pulse;

use crate::config::Config;
use crate::health::Health;
use crate::media_task::{self, Figures, MediaTask, Request};
use crate::run::{QUEUED_IQ, Signals, Wish, fresh_seed, ims_address, look_at_file_limit, workers};
use crate::silent::Process;
use crate::supervisor::keep_running;
use crate::{crash, crypto, memory, notify};

/// Runs the media plane until SIGTERM or SIGINT.
pub(crate) fn to_completion(config: &Config) -> anyhow::Result<()> {
    if !config.media.apart {
        bail!("[media] apart: is false, so the gateway runs its media itself; set it to true");
    }
    crate::log::start(&config.log)?;
    if !config.log.crash_details {
        crash::keep_secrets();
    }
    look_at_file_limit(4 * config.media.calls_per_worker * config.media.worker_count());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(run(config))
}

async fn run(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::new(Wish::Reload)?;
    let health = Health::default();
    let (requests_in, requests) = mpsc::channel(QUEUED_IQ);
    let (replies_in, replies) = mpsc::channel(QUEUED_IQ);
    let networks = config.networks();
    let network = networks.first().context("[ims]: no network")?;
    let address = match config.media.ims_address {
        Some(address) => address,
        None => ims_address(network).await?,
    };
    let (engines, crypto) = crypto::choose(config)?;
    let media = Arc::new(MediaTask {
        workers: workers(config, address, &engines, &health)?,
        crypto,
        requests: Mutex::new(requests),
        replies: replies_in,
        pulse: health.watch("media"),
    });
    let server = Arc::new(Server {
        socket: config.media.socket.clone(),
        door: config.media.door(),
        alone_time: config.media.alone_time,
        life: u64::from_be_bytes(*fresh_seed().first_chunk().expect("a seed is longer")),
        requests: requests_in,
        replies: Mutex::new(replies),
        pulse: health.watch("controller"),
    });
    let mut bound = Some(server.listen()?);
    let mut services = JoinSet::new();
    services.spawn(keep_running("media", move || {
        media_task::run(Arc::clone(&media))
    }));
    services.spawn(keep_running("controller", move || {
        let (server, bound) = (Arc::clone(&server), bound.take());
        async move {
            let listener = bound.map_or_else(|| server.listen(), Ok)?;
            server.run(listener).await
        }
    }));
    let pulse = health.watch_for("memory", memory::LONGEST_SILENCE);
    services.spawn(keep_running("memory", move || {
        memory::give_back(pulse.clone())
    }));
    health.started();
    health.start_judging(Process::Media)?;
    notify::ready("running");
    tracing::info!(socket = %config.media.socket.display(), "media plane up");
    tokio::select! {
        Some(ended) = services.join_next() => ended?.context("the media plane gives up"),
        () = signals.leave() => {
            notify::stopping(Duration::ZERO);
            let _ = std::fs::remove_file(&config.media.socket);
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// What the controller's service is made from, kept over its restarts.
struct Server {
    socket: PathBuf,
    door: Door,
    alone_time: Duration,
    /// Tells this process from the one before it.
    life: u64,
    requests: mpsc::Sender<Request>,
    replies: Mutex<mpsc::Receiver<Reply>>,
    pulse: Pulse,
}

type Controller = Connection<ToMedia, FromMedia>;

impl Server {
    fn listen(&self) -> anyhow::Result<UnixListener> {
        let socket = self.socket.display();
        if let Some(folder) = self.socket.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("[media] socket: {socket}"))?;
        }
        self.door
            .listen(&self.socket)
            .with_context(|| format!("[media] socket: {socket}"))
    }

    /// Serves one controller after the other.
    async fn run(&self, listener: UnixListener) -> anyhow::Result<()> {
        let mut replies = self.replies.lock().await;
        let mut desk = Desk::default();
        let mut alone_until = Some(Instant::now() + self.alone_time);
        let (greeted_in, mut greeted) = mpsc::channel(1);
        loop {
            let turn = Instant::now() + Pulse::LONGEST_TURN;
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.receive(stream, greeted_in.clone()),
                    Err(error) => tracing::warn!(%error, "a controller cannot connect"),
                },
                Some((peer, word)) = greeted.recv() => self.welcome(peer, &word, &mut desk),
                reply = replies.recv() => {
                    desk.keep(FromMedia::Reply(reply.context("this process holds a sender")?));
                }
                () = desk.turn(&self.requests) => {}
                () = sleep_until(turn.into()) => {}
            }
            desk.note_absence();
            match (&desk.controller, alone_until) {
                (Some(_), _) => alone_until = None,
                (None, None) => alone_until = Some(Instant::now() + self.alone_time),
                (None, Some(until)) if until <= Instant::now() => {
                    // Nobody steers these calls any more.
                    desk.asked.push_back(Request::Forget);
                    alone_until = Some(Instant::now() + self.alone_time);
                }
                (None, Some(_)) => {}
            }
            self.pulse.beat();
        }
    }

    /// Waits for the first word of a process that connected.
    fn receive(&self, stream: UnixStream, greeted: mpsc::Sender<(Controller, ToMedia)>) {
        if let Err(error) = self.door.check(&stream) {
            return tracing::error!(%error, "somebody else's process tried to steer media");
        }
        let mut peer = Controller::start(stream);
        tokio::spawn(async move {
            if let Ok(word) = peer.first().await {
                let _ = greeted.send((peer, word)).await;
            }
        });
    }

    /// Takes a controller that greeted, or says why not.
    fn welcome(&self, peer: Controller, word: &ToMedia, desk: &mut Desk) {
        desk.note_absence();
        let reason = match *word {
            ToMedia::Hello { version: VERSION } if desk.controller.is_none() => {
                let (version, life) = (VERSION, self.life);
                if peer
                    .outgoing
                    .try_send(FromMedia::Hello { version, life })
                    .is_ok()
                {
                    tracing::info!("controller connected");
                    desk.controller = Some(peer);
                }
                return;
            }
            ToMedia::Hello { version: VERSION } => "it has another controller".to_owned(),
            ToMedia::Hello { version } => format!(
                "it speaks version {VERSION} and you speak {version}: run the same gatehouse for \
                 both"
            ),
            ToMedia::Command(_) | ToMedia::Count { .. } => "greet first".to_owned(),
        };
        tracing::warn!(reason, "a controller was turned away");
        let _ = peer.outgoing.try_send(FromMedia::TurnedAway { reason });
        tokio::spawn(peer.finish());
    }
}

/// The controller, if there is one, and what waits on the way from and to it.
#[derive(Default)]
struct Desk {
    controller: Option<Controller>,
    /// Requests that wait until media reads on.
    asked: VecDeque<Request>,
    /// What the next or a slow controller is to hear.
    unsaid: VecDeque<FromMedia>,
    /// Answers to questions for figures.
    figures: Option<(u64, oneshot::Receiver<Figures>)>,
    is_gone: bool,
}

impl Desk {
    /// Keeps what a controller must hear; one that hears nothing for long is let go.
    fn keep(&mut self, word: FromMedia) {
        if self.controller.is_none() && !outlives_its_moment(&word) {
            return;
        }
        if self.unsaid.len() >= UNSAID {
            self.unsaid.pop_front();
            if self.controller.take().is_some() {
                tracing::error!("the controller does not read; connection dropped");
            }
        }
        self.unsaid.push_back(word);
    }

    /// Carries one word; never ready if there is nothing to carry.
    async fn turn(&mut self, requests: &mpsc::Sender<Request>) {
        if !self.asked.is_empty() {
            if let Ok(permit) = requests.reserve().await
                && let Some(request) = self.asked.pop_front()
            {
                permit.send(request);
            }
            return;
        }
        let Some(controller) = &mut self.controller else {
            return std::future::pending().await;
        };
        let counting = async {
            match &mut self.figures {
                Some((_, figures)) => figures.await,
                None => std::future::pending().await,
            }
        };
        let happened = tokio::select! {
            permit = controller.outgoing.reserve(), if !self.unsaid.is_empty() => match permit {
                Ok(permit) => {
                    if let Some(word) = self.unsaid.pop_front() {
                        permit.send(word);
                    }
                    return;
                }
                Err(_) => Happened::Gone,
            },
            word = controller.incoming.recv() => word.map_or(Happened::Gone, Happened::Heard),
            figures = counting => Happened::Counted(figures.unwrap_or_default()),
        };
        match happened {
            Happened::Gone => self.is_gone = true,
            Happened::Heard(word) => self.hear(word),
            Happened::Counted(Figures { workers, crypto }) => {
                if let Some((id, _)) = self.figures.take() {
                    self.keep(FromMedia::Counted {
                        id,
                        workers,
                        crypto,
                    });
                }
            }
        }
    }

    fn hear(&mut self, word: ToMedia) {
        match word {
            ToMedia::Command(command) => self.asked.push_back(Request::Iq(command)),
            ToMedia::Count { id } => {
                let (answer, figures) = oneshot::channel();
                self.asked.push_back(Request::Figures(answer));
                self.figures = Some((id, figures));
            }
            ToMedia::Hello { .. } => {}
        }
    }

    /// Notices that the controller is gone.
    fn note_absence(&mut self) {
        if std::mem::take(&mut self.is_gone) && self.controller.take().is_some() {
            tracing::warn!("controller gone; calls go on");
            self.unsaid.retain(outlives_its_moment);
        }
    }
}

/// What a turn at the desk brought.
enum Happened {
    Gone,
    Heard(ToMedia),
    Counted(Figures),
}

/// Whether a controller that comes later must still hear it: what became of a session,
/// and not what somebody dialled or what another one asked.
fn outlives_its_moment(word: &FromMedia) -> bool {
    match word {
        FromMedia::Reply(reply) => match reply {
            Reply::Refused { .. }
            | Reply::Released { .. }
            | Reply::Connected(_)
            | Reply::AccessLost { .. }
            | Reply::ImsSilent { .. } => true,
            Reply::Reserved(_)
            | Reply::Audited { .. }
            | Reply::FirstMedia { .. }
            | Reply::DtmfReceived(_) => false,
        },
        FromMedia::Hello { .. } | FromMedia::TurnedAway { .. } | FromMedia::Counted { .. } => false,
    }
}

/// Words that wait for a controller.
const UNSAID: usize = 16_384;

#[cfg(test)]
mod tests;
