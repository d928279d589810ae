//! Virtual time: a box, its browsers, and the IMS side at the other end of two links.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iq::{
    Command, Configure, Flow, ImsAddress, ImsRemote, Line, Now, Payload, PayloadFormat,
    PayloadNumbers, Reply, Reserve, Reserved, SessionId, UnixTime,
};
use media::{
    Arrival, Certificate, Config, Output, PacketBuffer, PairId, Ports, Relays, Socket, Verdict,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::browser::Browser;

/// Where browsers reach the box.
pub(crate) const BOX: &str = "198.51.100.1:3478";
/// Where the telephone on the IMS side hears RTP.
pub(crate) const TELEPHONE: &str = "10.0.0.9:20000";
/// And RTCP.
pub(crate) const TELEPHONE_RTCP: &str = "10.0.0.9:20001";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// What the network does to a datagram: every copy that arrives, with its delay.
pub(crate) type Weather = Box<dyn FnMut(&Datagram) -> Vec<(Duration, Datagram)>>;

pub(crate) struct World {
    pub(crate) relays: Relays,
    pub(crate) ports: Pool,
    pub(crate) browsers: Vec<Browser>,
    pub(crate) weather: Weather,
    pub(crate) replies: Vec<(Duration, Reply)>,
    /// The RTP that reached the telephone.
    pub(crate) ims_heard: Vec<Datagram>,
    /// The RTCP that reached the telephone.
    pub(crate) ims_reports: Vec<Datagram>,
    /// Everything the box sent on its access socket.
    pub(crate) access_sent: Vec<Datagram>,
    start: Instant,
    now: Instant,
    flying: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    slot: PacketBuffer,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let start = Instant::now();
        let certificate = Arc::new(Certificate::generate().unwrap());
        let mut config = Config::new(vec![BOX.parse().unwrap()], certificate);
        adjust(&mut config);
        let relays = Relays::new(config, ChaCha20Rng::seed_from_u64(1), at(start));
        World {
            relays,
            ports: Pool::new(2000),
            browsers: Vec::new(),
            weather: Box::new(|datagram| vec![(DELAY, datagram.clone())]),
            replies: Vec::new(),
            ims_heard: Vec::new(),
            ims_reports: Vec::new(),
            access_sent: Vec::new(),
            start,
            now: start,
            flying: BTreeMap::new(),
            sent: 0,
            slot: PacketBuffer::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.relays
            .handle_command(command, &mut self.ports, at(self.now));
        self.drain();
    }

    /// Reserves a session with one line.
    pub(crate) fn reserve(&mut self, n: u64) -> Reserved {
        let session = session(n);
        self.command(Command::Reserve(Reserve {
            session,
            lines: 1,
            is_shared: false,
        }));
        match &self.replies.last().unwrap().1 {
            Reply::Reserved(reserved) => reserved.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Reserves and configures a session for the browser, and lets both meet.
    pub(crate) fn call(&mut self, n: u64, mut browser: Browser) -> Reserved {
        let reserved = self.reserve(n);
        self.command(Command::Configure(configure(n, &browser)));
        browser.learn(&reserved.access);
        self.browsers.push(browser);
        reserved
    }

    /// Lets the virtual clock run.
    pub(crate) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.drain();
            let next = [
                self.flying.keys().next().map(|&(at, _)| at),
                self.relays.poll_timeout(),
                self.browsers
                    .iter_mut()
                    .filter_map(Browser::poll_timeout)
                    .min(),
            ]
            .into_iter()
            .flatten()
            .min()
            .filter(|&at| at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some((&key, _)) = self.flying.first_key_value()
            && key.0 <= now
        {
            let datagram = self.flying.remove(&key).unwrap();
            self.deliver(&datagram);
        }
        if self.relays.poll_timeout().is_some_and(|at| at <= now) {
            self.relays.handle_timeout(now);
        }
        for browser in &mut self.browsers {
            if browser.poll_timeout().is_some_and(|at| at <= now) {
                browser.handle_timeout(now);
            }
        }
    }

    fn deliver(&mut self, datagram: &Datagram) {
        if datagram.to == addr(BOX) {
            self.arrive(Socket::Access(0), datagram.from, &datagram.bytes);
        } else if let Some((pair, rtcp)) = self.ports.socket(datagram.to) {
            self.arrive(Socket::Ims { pair, rtcp }, datagram.from, &datagram.bytes);
        } else if datagram.to == addr(TELEPHONE) {
            self.ims_heard.push(datagram.clone());
        } else if datagram.to == addr(TELEPHONE_RTCP) {
            self.ims_reports.push(datagram.clone());
        } else {
            let now = self.now;
            let browser = self.browsers.iter_mut().find(|b| b.address == datagram.to);
            if let Some(browser) = browser {
                browser.handle(datagram.from, &datagram.bytes, now);
            }
        }
    }

    /// Hands the box a datagram at once.
    pub(crate) fn arrive(&mut self, socket: Socket, from: SocketAddr, bytes: &[u8]) -> Verdict {
        self.relays.begin_batch();
        self.slot.fill(bytes);
        let mut slot = std::mem::take(&mut self.slot);
        let verdict = self
            .relays
            .handle_packet(Arrival { socket, from }, &mut slot, self.now);
        if let Verdict::Forward { socket, to } = verdict {
            self.send_from(socket, to, slot.bytes().to_vec());
        }
        self.slot = slot;
        self.drain();
        verdict
    }

    /// Sends something from the IMS side to a session's line.
    pub(crate) fn ims_send(&mut self, from: &str, to: SocketAddr, bytes: Vec<u8>) {
        self.fly(Datagram {
            from: addr(from),
            to,
            bytes,
        });
    }

    fn send_from(&mut self, socket: Socket, to: SocketAddr, bytes: Vec<u8>) {
        let from = match socket {
            Socket::Access(_) => addr(BOX),
            Socket::Ims { pair, rtcp } => Pool::address(pair, rtcp),
        };
        let datagram = Datagram { from, to, bytes };
        if socket == Socket::Access(0) {
            self.access_sent.push(datagram.clone());
        }
        self.fly(datagram);
    }

    fn drain(&mut self) {
        while let Some(output) = self.relays.poll_output() {
            match output {
                Output::Transmit { socket, to, bytes } => self.send_from(socket, to, bytes),
                Output::Reply(reply) => self
                    .replies
                    .push((self.now.duration_since(self.start), reply)),
            }
        }
        let datagrams: Vec<_> = self
            .browsers
            .iter_mut()
            .flat_map(|browser| browser.outbox.drain(..).collect::<Vec<_>>())
            .collect();
        for datagram in datagrams {
            self.fly(datagram);
        }
    }

    pub(crate) fn fly(&mut self, datagram: Datagram) {
        for (delay, copy) in (self.weather)(&datagram) {
            self.sent += 1;
            self.flying.insert((self.now + delay, self.sent), copy);
        }
    }

    /// Replies of one kind, as a timeline.
    pub(crate) fn timeline(&self) -> String {
        let lines: Vec<_> = self
            .replies
            .iter()
            .map(|(at, reply)| {
                let text = match reply {
                    Reply::Reserved(_) => "reserved".to_owned(),
                    Reply::Refused { reason, .. } => format!("refused: {reason}"),
                    Reply::Released { .. } => "released".to_owned(),
                    Reply::Audited { sessions } => format!("{} sessions", sessions.len()),
                    Reply::Connected(_) => "connected".to_owned(),
                    Reply::AccessLost { loss, .. } => format!("lost: {loss}"),
                    Reply::ImsSilent { silent_for, .. } => {
                        format!("ims silent for {}s", silent_for.as_secs())
                    }
                    Reply::FirstMedia { leg, .. } => format!("first media from {leg:?}"),
                    Reply::DtmfReceived(dtmf) => {
                        format!("key {} from {:?}", dtmf.event.reveal(), dtmf.leg)
                    }
                };
                format!("{}s {text}", at.as_secs())
            })
            .collect();
        lines.join(", ")
    }
}

/// A pool of port pairs.
pub(crate) struct Pool {
    taken: Vec<bool>,
}

impl Pool {
    fn new(pairs: usize) -> Self {
        Pool {
            taken: vec![false; pairs],
        }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.taken.iter().filter(|&&taken| taken).count()
    }

    pub(crate) fn limit(&mut self, pairs: usize) {
        self.taken.truncate(pairs);
    }

    fn address(pair: PairId, rtcp: bool) -> SocketAddr {
        let port = 30_000 + 2 * u16::try_from(pair.0).unwrap() + u16::from(rtcp);
        SocketAddr::new("10.0.0.1".parse().unwrap(), port)
    }

    fn socket(&self, to: SocketAddr) -> Option<(PairId, bool)> {
        let offset = to.port().checked_sub(30_000)?;
        let is_ours = to.ip() == Self::address(PairId(0), false).ip();
        is_ours.then_some((PairId(u32::from(offset / 2)), offset % 2 == 1))
    }
}

impl Ports for Pool {
    fn reserve(&mut self, lines: u8) -> Option<Vec<media::Line>> {
        let free: Vec<_> = (0..self.taken.len())
            .filter(|&at| !self.taken[at])
            .take(usize::from(lines))
            .collect();
        if free.len() < usize::from(lines) {
            return None;
        }
        let line = |at: usize| {
            let pair = PairId(u32::try_from(at).unwrap());
            media::Line {
                pair,
                address: ImsAddress {
                    rtp: Self::address(pair, false),
                    rtcp: Self::address(pair, true),
                },
            }
        };
        for &at in &free {
            self.taken[at] = true;
        }
        Some(free.into_iter().map(line).collect())
    }

    fn release(&mut self, pair: PairId) {
        self.taken[pair.0 as usize] = false;
    }
}

pub(crate) fn session(n: u64) -> SessionId {
    SessionId { epoch: 1, n }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(now: Instant) -> Now {
    Now {
        monotonic: now,
        wall: Some(UnixTime::from_millis(1_767_225_600_000)),
    }
}

/// The wanted state of a call with A-law audio and key presses.
pub(crate) fn configure(n: u64, browser: &Browser) -> Configure {
    let payload = |format, access, ims| Payload {
        format,
        clock_rate: 8000,
        access: PayloadNumbers {
            receive: access,
            send: access,
        },
        ims: PayloadNumbers {
            receive: ims,
            send: ims,
        },
    };
    Configure {
        session: session(n),
        access: Some(browser.description()),
        lines: vec![Line {
            index: 0,
            payloads: vec![
                payload(PayloadFormat::Pcma, 8, 8),
                payload(PayloadFormat::TelephoneEvent, 126, 101),
            ],
            access: Flow::BOTH,
            ims: Flow::BOTH,
            ims_remote: Some(ImsRemote {
                rtp: addr(TELEPHONE),
                rtcp: addr(TELEPHONE_RTCP),
            }),
            ims_rtcp: true,
        }],
    }
}

/// What a datagram of ours takes.
pub(crate) const DELAY: Duration = Duration::from_millis(10);
