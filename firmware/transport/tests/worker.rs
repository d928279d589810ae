//! A media worker over real sockets on loopback, driven as signaling drives it.

#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use iq::{Command, Flow, ImsRemote, Line, Reply, Reserve, Reserved, SessionId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::crypto::Engines;
use transport::pulse::Pulse;
use transport::rtp::{Settings, Worker, WorkerError};

struct Running {
    worker: Worker,
    replies: mpsc::Receiver<Reply>,
    pulse: Pulse,
}

fn settings(access: u16, ims_ports: std::ops::RangeInclusive<u16>) -> Settings {
    let certificate = Arc::new(media::Certificate::generate().unwrap());
    let access = ([127, 0, 0, 1], access).into();
    Settings {
        index: 0,
        access: vec![access],
        ims_address: [127, 0, 0, 1].into(),
        ims_advertised: [192, 0, 2, 7].into(),
        ims_ports,
        media: media::Config::new(vec![access], certificate),
        engines: Engines::cpu(),
        seed: [5; 32],
    }
}

fn start(settings: Settings) -> Result<Running, WorkerError> {
    let (sender, replies) = mpsc::channel(16);
    let pulse = Pulse::default();
    let worker = Worker::start(settings, sender, pulse.clone())?;
    Ok(Running {
        worker,
        replies,
        pulse,
    })
}

impl Running {
    async fn next(&mut self) -> Reply {
        timeout(Duration::from_secs(5), self.replies.recv())
            .await
            .expect("a reply in time")
            .expect("a worker that lives")
    }

    async fn ask(&mut self, command: Command) -> Reply {
        self.worker.commands.send(command).unwrap();
        self.next().await
    }

    async fn reserve(&mut self, n: u64) -> Option<Reserved> {
        let reserve = Reserve {
            session: session(n),
            lines: 1,
            is_shared: false,
        };
        match self.ask(Command::Reserve(reserve)).await {
            Reply::Reserved(reserved) => Some(reserved),
            Reply::Refused { .. } => None,
            other => panic!("{other:?}"),
        }
    }
}

fn session(n: u64) -> SessionId {
    SessionId { epoch: 1, n }
}

#[tokio::test]
async fn a_session_has_ports_until_it_is_released_and_strangers_are_not_heard() {
    let mut running = start(settings(47100, 47110..=47119)).unwrap();
    let reserved = running.reserve(1).await.unwrap();
    assert_eq!(
        reserved.access.candidates,
        ["127.0.0.1:47100".parse().unwrap()]
    );
    let address = reserved.ims[0];
    assert_eq!(address.rtp.ip().to_string(), "192.0.2.7", "as translated");
    assert_eq!(address.rtcp.port(), address.rtp.port() + 1);

    let far_end = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let remote = ImsRemote {
        rtp: far_end.local_addr().unwrap(),
        rtcp: rtcp.local_addr().unwrap(),
    };
    let configure = iq::Configure {
        session: session(1),
        access: None,
        lines: vec![Line {
            index: 0,
            payloads: Vec::new(),
            access: Flow::BOTH,
            ims: Flow::BOTH,
            ims_remote: Some(remote),
            ims_rtcp: true,
        }],
    };
    running
        .worker
        .commands
        .send(Command::Configure(configure))
        .unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = address.rtp.port();
    for _ in 0..3 {
        stranger.send_to(&[0x80; 172], ("127.0.0.1", port)).unwrap();
        stranger
            .send_to(b"\x16 no DTLS here", "127.0.0.1:47100")
            .unwrap();
    }
    let snapshot = loop {
        let snapshot = running.worker.commands.snapshot().await.unwrap();
        if snapshot.worker.received == 6 {
            break snapshot;
        }
    };
    assert_eq!(snapshot.media.discarded.total(), 6);
    assert_eq!(snapshot.worker.sent, 0, "strangers get no answer");
    assert_eq!(snapshot.worker.pairs_in_use, 1);

    let released = running
        .ask(Command::Release {
            session: session(1),
        })
        .await;
    assert!(matches!(released, Reply::Released { .. }));
    let snapshot = running.worker.commands.snapshot().await.unwrap();
    assert_eq!(
        (snapshot.worker.pairs_in_use, snapshot.worker.pairs_left),
        (0, 5)
    );
    assert!(UdpSocket::bind(("127.0.0.1", port)).is_ok(), "closed");
}

#[tokio::test]
async fn a_full_port_range_refuses_one_session_and_keeps_the_others() {
    let mut running = start(settings(47120, 47122..=47125)).unwrap();
    assert!(running.reserve(1).await.is_some());
    assert!(running.reserve(2).await.is_some());
    assert!(running.reserve(3).await.is_none());
    match running.ask(Command::Audit).await {
        Reply::Audited { sessions } => assert_eq!(sessions, [session(1), session(2)]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_idle_worker_has_a_pulse_and_ends_when_it_is_told() {
    let mut running = start(settings(47130, 47132..=47133)).unwrap();
    let before = running.pulse.beats();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let beats = running.pulse.beats() - before;
    assert!(
        (1..=5).contains(&beats),
        "{beats} turns in 1.5 s of nothing"
    );
    running.worker.commands.stop();
    let ended = timeout(Duration::from_secs(5), &mut running.worker.ended).await;
    assert!(
        ended.unwrap().is_err(),
        "its end is seen by what it dropped"
    );
    assert!(running.worker.commands.send(Command::Audit).is_err());
}

#[tokio::test]
async fn a_taken_port_is_said_by_its_number() {
    let _first = start(settings(47140, 47142..=47143)).unwrap();
    let second = start(settings(47140, 47142..=47143));
    let error = second.err().unwrap().to_string();
    assert!(error.contains("127.0.0.1:47140"), "{error}");
}
