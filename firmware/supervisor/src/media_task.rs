//! Carries Iq between signaling and the media workers: chooses a worker for each new
//! session, remembers it, and starts a worker anew whose thread is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use iq::{Command, Refusal, Reply, SessionId};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use transport::crypto::Calibration;
use transport::pulse::Pulse;
use transport::rtp::{Commands, Settings, Snapshot, Worker};

use crate::run::fresh_seed;
use crate::supervisor::Failures;

/// What the task needs, kept over its restarts.
pub(crate) struct MediaTask {
    /// What each worker is made from.
    pub(crate) workers: Vec<(Settings, Pulse)>,
    /// Why they have the engines that they have.
    pub(crate) crypto: Calibration,
    pub(crate) requests: Mutex<mpsc::Receiver<Request>>,
    /// To signaling.
    pub(crate) replies: mpsc::Sender<Reply>,
    pub(crate) pulse: Pulse,
}

/// What the task is asked.
pub(crate) enum Request {
    /// Signaling asks media for something.
    Iq(Command),
    /// Nobody steers the sessions any more: let them all go.
    Forget,
    /// The metrics want the figures of all workers.
    Figures(oneshot::Sender<Figures>),
}

/// What the media plane tells of itself.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Each worker's figures, with its number.
    pub(crate) workers: Vec<(usize, Snapshot)>,
    /// Which engines seal and open, and what they cost.
    pub(crate) crypto: Calibration,
}

/// Which worker has which session.
struct Router {
    workers: Vec<Running>,
    sessions: BTreeMap<SessionId, usize>,
}

struct Running {
    worker: Worker,
    sessions: usize,
    failures: Failures,
}

/// Runs the workers until signaling is gone.
pub(crate) async fn run(task: Arc<MediaTask>) -> anyhow::Result<()> {
    let mut requests = task.requests.lock().await;
    let (from_workers, mut replies) = mpsc::channel(QUEUED_REPLIES);
    let mut router = Router::start(&task, &from_workers)?;
    let mut look = interval(Pulse::LONGEST_TURN / 4);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                None => return Ok(()),
                Some(Request::Iq(command)) => {
                    if let Some(reply) = router.route(command) {
                        task.replies.send(reply).await?;
                    }
                }
                Some(Request::Forget) => router.forget(),
                Some(Request::Figures(answer)) => {
                    tokio::spawn(count(router.commands(), task.crypto.clone(), answer));
                }
            },
            reply = replies.recv() => {
                let reply = reply.context("this task holds a sender itself")?;
                router.note(&reply);
                task.replies.send(reply).await?;
            }
            _ = look.tick() => {
                for lost in router.replace_the_dead(&task, &from_workers)? {
                    let reason = Refusal::Unavailable;
                    task.replies.send(Reply::Refused { session: lost, reason }).await?;
                }
            }
        }
        task.pulse.beat();
    }
}

impl Router {
    fn start(task: &MediaTask, replies: &mpsc::Sender<Reply>) -> anyhow::Result<Self> {
        let workers = task
            .workers
            .iter()
            .map(|(settings, pulse)| {
                Ok(Running {
                    worker: start_worker(settings, pulse, replies)?,
                    sessions: 0,
                    failures: Failures::default(),
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Router {
            workers,
            sessions: BTreeMap::new(),
        })
    }

    /// Hands a command to its worker; the answer, if there is no such worker.
    fn route(&mut self, command: Command) -> Option<Reply> {
        if matches!(command, Command::Audit) {
            let sessions = self.sessions.keys().copied().collect();
            return Some(Reply::Audited { sessions });
        }
        let session = session_of(&command)?;
        let worker = match (&command, self.sessions.get(&session)) {
            (_, Some(&worker)) => worker,
            (Command::Reserve(_), None) => self.choose(session),
            (Command::Release { .. }, None) => {
                let report = Box::default();
                return Some(Reply::Released { session, report });
            }
            (_, None) => {
                let reason = Refusal::UnknownSession;
                return Some(Reply::Refused { session, reason });
            }
        };
        if self.workers[worker].worker.commands.send(command).is_ok() {
            return None;
        }
        // A queue that is full is a worker that stands still: it keeps nothing.
        self.drop_session(session);
        let reason = Refusal::Unavailable;
        Some(Reply::Refused { session, reason })
    }

    /// The worker with the fewest sessions.
    fn choose(&mut self, session: SessionId) -> usize {
        let worker = (0..self.workers.len())
            .min_by_key(|&worker| self.workers[worker].sessions)
            .unwrap_or(0);
        self.workers[worker].sessions += 1;
        self.sessions.insert(session, worker);
        worker
    }

    /// Learns from a reply that a session is gone.
    fn note(&mut self, reply: &Reply) {
        match reply {
            Reply::Released { session, .. } | Reply::Refused { session, .. } => {
                self.drop_session(*session);
            }
            _ => {}
        }
    }

    fn drop_session(&mut self, session: SessionId) {
        if let Some(worker) = self.sessions.remove(&session) {
            self.workers[worker].sessions -= 1;
        }
    }

    /// Releases every session.
    fn forget(&mut self) {
        for (&session, &worker) in &self.sessions {
            let release = Command::Release { session };
            let _ = self.workers[worker].worker.commands.send(release);
        }
    }

    fn commands(&self) -> Vec<Commands> {
        self.workers
            .iter()
            .map(|running| running.worker.commands.clone())
            .collect()
    }

    /// Starts workers anew whose threads are gone; the sessions that went with them.
    fn replace_the_dead(
        &mut self,
        task: &MediaTask,
        replies: &mpsc::Sender<Reply>,
    ) -> anyhow::Result<Vec<SessionId>> {
        let mut lost = Vec::new();
        for (index, running) in self.workers.iter_mut().enumerate() {
            if running.worker.ended.try_recv() != Err(oneshot::error::TryRecvError::Closed) {
                continue;
            }
            tracing::error!(worker = index, "media worker failed; its calls are lost");
            running
                .failures
                .pause(Instant::now())
                .context("a media worker failed too often")?;
            let (settings, pulse) = &task.workers[index];
            running.worker = start_worker(settings, pulse, replies)?;
            running.sessions = 0;
            lost.extend(
                self.sessions
                    .iter()
                    .filter(|&(_, &worker)| worker == index)
                    .map(|(&session, _)| session),
            );
        }
        for session in &lost {
            self.sessions.remove(session);
        }
        Ok(lost)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for running in &self.workers {
            running.worker.commands.stop();
        }
        // The next life of this task binds the same ports.
        std::thread::sleep(TIME_TO_STOP);
    }
}

/// Starts a worker with chance of its own: one that is started anew gives out neither
/// the ports nor the credentials of its life before.
fn start_worker(
    settings: &Settings,
    pulse: &Pulse,
    replies: &mpsc::Sender<Reply>,
) -> anyhow::Result<Worker> {
    let settings = Settings {
        seed: fresh_seed(),
        ..settings.clone()
    };
    Ok(Worker::start(settings, replies.clone(), pulse.clone())?)
}

/// Asks every worker for its figures; one that is gone is left out.
async fn count(commands: Vec<Commands>, crypto: Calibration, answer: oneshot::Sender<Figures>) {
    let mut workers = Vec::new();
    for (index, worker) in commands.iter().enumerate() {
        if let Some(snapshot) = worker.snapshot().await {
            workers.push((index, snapshot));
        }
    }
    let _ = answer.send(Figures { workers, crypto });
}

/// Whom a command is about.
pub(crate) fn session_of(command: &Command) -> Option<SessionId> {
    match command {
        Command::Reserve(reserve) => Some(reserve.session),
        Command::Configure(configure) => Some(configure.session),
        Command::RestartIce { session } | Command::Release { session } => Some(*session),
        Command::SendDtmf(dtmf) => Some(dtmf.session),
        Command::Audit => None,
    }
}

const QUEUED_REPLIES: usize = 4096;
const TIME_TO_STOP: Duration = Duration::from_millis(20);
