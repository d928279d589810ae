//! The control process's end of a media plane in a process of its own: connects to it,
//! carries words both ways, and while it is away says so to whoever asks.
//!
//! Sessions live as long as the media process does. When it is gone they are reported as
//! refused, each by itself, so that their calls end in order on both sides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iq::{Command, Refusal, Reply, SessionId};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep_until;
use transport::iq_socket::{Connection, Door, FromMedia, ToMedia, VERSION};
use transport::pulse::Pulse;

use crate::health::Condition;
use crate::media_task::{Figures, Request, session_of};

/// What the task needs, kept over its restarts.
pub(crate) struct MediaLink {
    /// Where the media process listens.
    pub(crate) socket: PathBuf,
    /// Whose process may be the media plane.
    pub(crate) door: Door,
    pub(crate) requests: Mutex<mpsc::Receiver<Request>>,
    /// To signaling.
    pub(crate) replies: mpsc::Sender<Reply>,
    pub(crate) pulse: Pulse,
    /// Makes the box unready while the plane is away.
    pub(crate) condition: Condition,
    /// How often the plane went away.
    pub(crate) losses: Arc<AtomicU64>,
}

type Plane = Connection<FromMedia, ToMedia>;

/// What is known of the plane, whether it is there or not.
struct State<'a> {
    link: &'a MediaLink,
    /// Sessions that it holds, as far as its replies tell.
    sessions: BTreeSet<SessionId>,
    /// The life of the media process that they belong to.
    life: Option<u64>,
    /// Questions for figures that wait for their answer.
    questions: BTreeMap<u64, oneshot::Sender<Figures>>,
    asked: u64,
    /// Since when a question waits for any word of the plane.
    waits_since: Option<Instant>,
    /// Words that wait until the plane reads on.
    unsaid: VecDeque<ToMedia>,
    /// Replies that wait until signaling reads on.
    untold: VecDeque<Reply>,
}

/// Runs until signaling is gone.
pub(crate) async fn run(link: Arc<MediaLink>) -> anyhow::Result<()> {
    let mut requests = link.requests.lock().await;
    let mut state = State {
        link: &link,
        sessions: BTreeSet::new(),
        life: None,
        questions: BTreeMap::new(),
        asked: 0,
        waits_since: None,
        unsaid: VecDeque::new(),
        untold: VecDeque::new(),
    };
    let mut pause = FIRST_PAUSE;
    let mut said = None;
    let mut away_since = Instant::now();
    loop {
        link.pulse.beat();
        match greet(&link).await {
            Ok((plane, life)) => {
                tracing::info!(socket = %link.socket.display(), "media plane connected");
                pause = FIRST_PAUSE;
                said = None;
                state.connected(life);
                link.condition.clear();
                if state.serve(plane, &mut requests).await.is_over() {
                    return Ok(());
                }
                tracing::error!("media plane lost");
                link.losses.fetch_add(1, Ordering::Relaxed);
                away_since = Instant::now();
                state.unsaid.clear();
                state.questions.clear();
            }
            Err(error) => {
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    let socket = link.socket.display();
                    tracing::warn!(%socket, %error, "no media plane; trying again and again");
                    said = Some(text);
                }
                // Nobody listens: its process is gone, and what it held with it.
                let is_gone = matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
                );
                if is_gone || away_since.elapsed() > PATIENCE {
                    state.lose_all();
                }
            }
        }
        link.condition.set("the media plane is away");
        let until = Instant::now() + pause;
        if state.wait(until, &mut requests).await.is_over() {
            return Ok(());
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Connects and exchanges the first words.
async fn greet(link: &MediaLink) -> io::Result<(Plane, u64)> {
    let stream = UnixStream::connect(&link.socket).await?;
    link.door.check(&stream)?;
    let mut plane: Plane = Connection::start(stream);
    let hello = ToMedia::Hello { version: VERSION };
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    plane.outgoing.send(hello).await.map_err(gone)?;
    match plane.first().await? {
        FromMedia::Hello { version, life } if version == VERSION => Ok((plane, life)),
        FromMedia::Hello { version, .. } => Err(io::Error::other(format!(
            "it speaks version {version} and this is version {VERSION}: run the same gatehouse \
             for both"
        ))),
        FromMedia::TurnedAway { reason } => Err(io::Error::other(reason)),
        FromMedia::Reply(_) | FromMedia::Counted { .. } => {
            Err(io::Error::other("it does not greet"))
        }
    }
}

/// Whether the task is to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Over,
}

impl Then {
    fn is_over(self) -> bool {
        self == Then::Over
    }
}

impl State<'_> {
    /// The plane is there: what of before it still holds shows in its audit.
    fn connected(&mut self, life: u64) {
        if self.life.replace(life) != Some(life) {
            self.lose_all();
        }
        self.unsaid.push_back(ToMedia::Command(Command::Audit));
        self.waits_since = None;
    }

    /// Asks a plane that is quiet for its figures, through the queue of its own work; one that
    /// says nothing for a while stands still.
    fn probe(&mut self, now: Instant) {
        match self.waits_since {
            None => {
                self.asked += 1;
                self.unsaid.push_back(ToMedia::Count { id: self.asked });
                self.waits_since = Some(now);
            }
            Some(since) if now.saturating_duration_since(since) > PATIENCE_WITH_QUIET => {
                if self.link.condition.reason().is_none() {
                    tracing::error!("the media plane stands still");
                }
                self.link.condition.set("the media plane stands still");
            }
            Some(_) => {}
        }
    }

    /// Whatever the plane says, it lives.
    fn lives(&mut self) {
        self.waits_since = None;
        self.link.condition.clear();
    }

    /// Carries words until the connection or signaling is gone.
    async fn serve(&mut self, mut plane: Plane, requests: &mut mpsc::Receiver<Request>) -> Then {
        let mut next_probe = Instant::now() + Pulse::LONGEST_TURN;
        loop {
            tokio::select! {
                request = requests.recv(), if self.unsaid.is_empty() => match request {
                    None => return Then::Over,
                    Some(request) => self.ask(request),
                },
                permit = plane.outgoing.reserve(), if !self.unsaid.is_empty() => {
                    let Ok(permit) = permit else { return Then::GoOn };
                    if let Some(word) = self.unsaid.pop_front() {
                        permit.send(word);
                    }
                }
                word = plane.incoming.recv(), if self.untold.is_empty() => match word {
                    None => return Then::GoOn,
                    Some(word) => self.hear(word),
                },
                told = self.link.replies.reserve(), if !self.untold.is_empty() => {
                    let Ok(permit) = told else { return Then::Over };
                    if let Some(reply) = self.untold.pop_front() {
                        permit.send(reply);
                    }
                }
                () = sleep_until(next_probe.into()) => {
                    self.probe(Instant::now());
                    next_probe = Instant::now() + Pulse::LONGEST_TURN;
                }
            }
            self.link.pulse.beat();
        }
    }

    /// Answers for the plane until then.
    async fn wait(&mut self, until: Instant, requests: &mut mpsc::Receiver<Request>) -> Then {
        loop {
            tokio::select! {
                request = requests.recv(), if self.untold.is_empty() => match request {
                    None => return Then::Over,
                    Some(request) => self.answer(request),
                },
                told = self.link.replies.reserve(), if !self.untold.is_empty() => {
                    let Ok(permit) = told else { return Then::Over };
                    if let Some(reply) = self.untold.pop_front() {
                        permit.send(reply);
                    }
                }
                () = sleep_until(until.into()) => {
                    self.link.pulse.beat();
                    return Then::GoOn;
                }
            }
            self.link.pulse.beat();
        }
    }

    /// Hands a request on to the plane.
    fn ask(&mut self, request: Request) {
        match request {
            Request::Iq(command) => {
                if let Command::Reserve(reserve) = &command {
                    self.sessions.insert(reserve.session);
                }
                self.unsaid.push_back(ToMedia::Command(command));
            }
            Request::Forget => {
                let releases = self
                    .sessions
                    .iter()
                    .map(|&session| Command::Release { session });
                self.unsaid.extend(releases.map(ToMedia::Command));
            }
            Request::Figures(answer) => {
                if self.questions.len() >= QUESTIONS {
                    self.questions.pop_first();
                }
                self.asked += 1;
                self.questions.insert(self.asked, answer);
                self.unsaid.push_back(ToMedia::Count { id: self.asked });
            }
        }
    }

    /// Answers a request while the plane is away.
    fn answer(&mut self, request: Request) {
        let Request::Iq(command) = request else {
            return; // There are no figures, and nothing to forget.
        };
        let Some(session) = session_of(&command) else {
            return; // An audit is asked for when the plane comes back.
        };
        self.untold.push_back(match command {
            Command::Release { .. } => {
                self.sessions.remove(&session);
                let report = Box::default();
                Reply::Released { session, report }
            }
            _ => {
                self.sessions.remove(&session);
                let reason = Refusal::Unavailable;
                Reply::Refused { session, reason }
            }
        });
    }

    fn hear(&mut self, word: FromMedia) {
        self.lives();
        match word {
            FromMedia::Reply(reply) => {
                match &reply {
                    Reply::Released { session, .. } | Reply::Refused { session, .. } => {
                        self.sessions.remove(session);
                    }
                    Reply::Audited { sessions } => self.audited(sessions),
                    _ => {}
                }
                self.untold.push_back(reply);
            }
            FromMedia::Counted {
                id,
                workers,
                crypto,
            } => {
                if let Some(answer) = self.questions.remove(&id) {
                    let _ = answer.send(Figures { workers, crypto });
                }
            }
            // Said once, in `greet`.
            FromMedia::Hello { .. } | FromMedia::TurnedAway { .. } => {}
        }
    }

    /// Learns what the plane holds. What was asked for meanwhile is not in the list yet,
    /// and is reported by its own reply.
    fn audited(&mut self, held: &[SessionId]) {
        self.sessions.extend(held);
    }

    fn lose_all(&mut self) {
        for session in std::mem::take(&mut self.sessions) {
            let reason = Refusal::Unavailable;
            self.untold.push_back(Reply::Refused { session, reason });
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a plane may be out of reach before its sessions count as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may say nothing to a question before it counts as standing still.
const PATIENCE_WITH_QUIET: Duration = Duration::from_secs(3);
/// Whoever asks for figures gives up after a while.
const QUESTIONS: usize = 16;

#[cfg(test)]
mod tests;
