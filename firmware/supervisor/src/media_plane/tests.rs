#![allow(clippy::unwrap_used)]

use super::*;
use iq::{AccessLoss, Command, Leg, SessionId};

const SESSION: SessionId = SessionId { epoch: 5, n: 1 };

/// A media process with played workers: what they are asked, and the way their replies go.
struct Site {
    folder: PathBuf,
    asked: mpsc::Receiver<Request>,
    replies: mpsc::Sender<Reply>,
}

impl Site {
    fn start(name: &str, alone_time: Duration) -> Self {
        let folder =
            std::env::temp_dir().join(format!("media-plane-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let (requests, asked) = mpsc::channel(16);
        let (replies_in, replies) = mpsc::channel(16);
        let server = Server {
            socket: folder.join("run/media.sock"),
            door: door(),
            alone_time,
            life: 7,
            requests,
            replies: Mutex::new(replies),
            pulse: Pulse::default(),
        };
        let listener = server.listen().unwrap();
        tokio::spawn(async move { server.run(listener).await });
        Site {
            folder,
            asked,
            replies: replies_in,
        }
    }

    async fn connect(&self) -> Connection<FromMedia, ToMedia> {
        let path = self.folder.join("run/media.sock");
        Connection::start(UnixStream::connect(path).await.unwrap())
    }

    async fn control(&self) -> Connection<FromMedia, ToMedia> {
        let mut control = self.connect().await;
        let hello = ToMedia::Hello { version: VERSION };
        control.outgoing.send(hello).await.unwrap();
        match control.first().await.unwrap() {
            FromMedia::Hello { version, life } => assert_eq!((version, life), (VERSION, 7)),
            other => panic!("{other:?}"),
        }
        control
    }

    async fn is_asked(&mut self) -> Command {
        match self.asked.recv().await {
            Some(Request::Iq(command)) => command,
            _ => panic!("not a command"),
        }
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

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn one_controller_at_a_time_is_obeyed() {
    let mut site = Site::start("one", LONG);
    let first = site.control().await;
    let word = ToMedia::Command(Command::Audit);
    first.outgoing.send(word.clone()).await.unwrap();
    assert_eq!(site.is_asked().await, Command::Audit);

    let mut second = site.connect().await;
    let hello = ToMedia::Hello { version: VERSION };
    second.outgoing.send(hello).await.unwrap();
    match second.first().await.unwrap() {
        FromMedia::TurnedAway { reason } => assert_eq!(reason, "it has another controller"),
        other => panic!("{other:?}"),
    }
    assert!(second.incoming.recv().await.is_none(), "and is hung up on");

    drop(first);
    // The kernel tells in its own time that the first is gone.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let third = site.control().await;
    third.outgoing.send(word).await.unwrap();
    assert_eq!(site.is_asked().await, Command::Audit);
}

#[tokio::test]
async fn another_version_is_told_what_to_do() {
    let site = Site::start("version", LONG);
    let mut control = site.connect().await;
    let hello = ToMedia::Hello {
        version: VERSION + 1,
    };
    control.outgoing.send(hello).await.unwrap();
    match control.first().await.unwrap() {
        FromMedia::TurnedAway { reason } => assert!(reason.contains("run the same gatehouse")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_next_controller_hears_what_became_of_calls_and_no_key_that_was_pressed() {
    let site = Site::start("unsaid", LONG);
    drop(site.control().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let lost = Reply::AccessLost {
        session: SESSION,
        loss: AccessLoss::ConsentExpired,
    };
    let pressed = Reply::DtmfReceived(iq::DtmfReceived {
        session: SESSION,
        leg: Leg::Access,
        event: 5.into(),
    });
    site.replies.send(pressed).await.unwrap();
    site.replies.send(lost.clone()).await.unwrap();
    let mut control = site.control().await;
    match control.incoming.recv().await {
        Some(FromMedia::Reply(reply)) => assert_eq!(reply, lost),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_that_nobody_steers_for_too_long_are_let_go() {
    let mut site = Site::start("alone", Duration::from_millis(50));
    let forgets = tokio::time::timeout(LONG, site.asked.recv()).await;
    assert!(matches!(forgets, Ok(Some(Request::Forget))));
}
