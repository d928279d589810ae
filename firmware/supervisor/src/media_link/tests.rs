#![allow(clippy::unwrap_used)]

use super::*;
use crate::health::Health;
use iq::Reserve;
use tokio::net::UnixListener;

/// A control process without signaling, and the path of a media process that is played.
struct Site {
    folder: PathBuf,
    health: Health,
    requests: mpsc::Sender<Request>,
    replies: mpsc::Receiver<Reply>,
    losses: Arc<AtomicU64>,
}

impl Site {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("media-link-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let health = Health::default();
        health.started();
        let (requests, requests_out) = mpsc::channel(16);
        let (replies_in, replies) = mpsc::channel(16);
        let losses = Arc::new(AtomicU64::new(0));
        let link = MediaLink {
            socket: folder.join("media.sock"),
            door: door(),
            requests: Mutex::new(requests_out),
            replies: replies_in,
            pulse: Pulse::default(),
            condition: health.condition(),
            losses: Arc::clone(&losses),
        };
        tokio::spawn(run(Arc::new(link)));
        Site {
            folder,
            health,
            requests,
            replies,
            losses,
        }
    }

    fn listen(&self) -> UnixListener {
        door().listen(&self.folder.join("media.sock")).unwrap()
    }

    async fn ask(&self, command: Command) {
        self.requests.send(Request::Iq(command)).await.unwrap();
    }

    async fn hears(&mut self, reply: Reply) {
        assert_eq!(self.replies.recv().await, Some(reply));
    }

    fn unready(&self) -> Vec<String> {
        self.health.verdict(Instant::now()).unready
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn door() -> Door {
    Door {
        users: Vec::new(),
        mode: 0o600,
    }
}

/// Takes the next controller and greets it as the media process of that life.
async fn greet(listener: &UnixListener, life: u64) -> Connection<ToMedia, FromMedia> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut control = Connection::start(stream);
    let hello = ToMedia::Hello { version: VERSION };
    assert_eq!(control.first().await.unwrap(), hello);
    let version = VERSION;
    let hello = FromMedia::Hello { version, life };
    control.outgoing.send(hello).await.unwrap();
    assert_eq!(control.incoming.recv().await, told(Command::Audit));
    control
}

fn told(command: Command) -> Option<ToMedia> {
    Some(ToMedia::Command(command))
}

const SESSION: SessionId = SessionId { epoch: 5, n: 1 };
const OTHER: SessionId = SessionId { epoch: 5, n: 2 };

fn reserve(session: SessionId) -> Command {
    Command::Reserve(Reserve {
        session,
        lines: 1,
        is_shared: false,
    })
}

fn refused(session: SessionId) -> Reply {
    let reason = Refusal::Unavailable;
    Reply::Refused { session, reason }
}

#[tokio::test]
async fn what_a_plane_held_is_told_as_lost_when_its_process_is_gone() {
    let mut site = Site::start("lost");
    let listener = site.listen();
    let mut control = greet(&listener, 1).await;
    site.ask(reserve(SESSION)).await;
    assert_eq!(control.incoming.recv().await, told(reserve(SESSION)));
    let sessions = vec![SESSION, OTHER];
    let audited = Reply::Audited { sessions };
    let word = FromMedia::Reply(audited.clone());
    control.outgoing.send(word).await.unwrap();
    site.hears(audited).await;
    assert_eq!(site.unready(), [""; 0]);

    drop((listener, control));
    site.hears(refused(SESSION)).await;
    site.hears(refused(OTHER)).await;
    assert_eq!(site.unready(), ["the media plane is away"]);
    assert_eq!(site.losses.load(Ordering::Relaxed), 1);

    // It is back, and serves again.
    let listener = site.listen();
    let mut control = greet(&listener, 2).await;
    site.ask(reserve(SESSION)).await;
    assert_eq!(control.incoming.recv().await, told(reserve(SESSION)));
    assert_eq!(site.unready(), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_only_broke_costs_no_call() {
    let mut site = Site::start("broke");
    let listener = site.listen();
    let mut control = greet(&listener, 1).await;
    site.ask(reserve(SESSION)).await;
    assert_eq!(control.incoming.recv().await, told(reserve(SESSION)));
    drop(control);
    let control = greet(&listener, 1).await;
    let sessions = vec![SESSION];
    let audited = Reply::Audited { sessions };
    let word = FromMedia::Reply(audited.clone());
    control.outgoing.send(word).await.unwrap();
    site.hears(audited).await;
    assert!(site.replies.is_empty(), "nothing was lost");

    // Another life behind the same socket held nothing of it.
    drop(control);
    let _control = greet(&listener, 2).await;
    site.hears(refused(SESSION)).await;
}

#[tokio::test]
async fn while_the_plane_is_away_it_is_answered_for() {
    let mut site = Site::start("away");
    site.ask(reserve(SESSION)).await;
    site.hears(refused(SESSION)).await;
    site.ask(Command::Release { session: SESSION }).await;
    let report = Box::default();
    let session = SESSION;
    site.hears(Reply::Released { session, report }).await;
    assert_eq!(site.unready(), ["the media plane is away"]);
}

#[tokio::test]
async fn figures_come_from_the_plane_and_are_missing_while_it_is_away() {
    let site = Site::start("figures");
    let (answer, figures) = oneshot::channel();
    site.requests.send(Request::Figures(answer)).await.unwrap();
    assert!(figures.await.is_err());

    let listener = site.listen();
    let mut control = greet(&listener, 1).await;
    let (answer, figures) = oneshot::channel();
    site.requests.send(Request::Figures(answer)).await.unwrap();
    let Some(ToMedia::Count { id }) = control.incoming.recv().await else {
        panic!("not asked for figures");
    };
    let workers = vec![(0, transport::rtp::Snapshot::default())];
    let word = FromMedia::Counted {
        id,
        workers,
        crypto: transport::crypto::Calibration::default(),
    };
    control.outgoing.send(word).await.unwrap();
    assert_eq!(figures.await.unwrap().workers.len(), 1);
}
