//! The eIMS-AGW of TS 23.334 without a socket: ICE, DTLS, SRTP, RTP and relaying as
//! one value that is fed and drained. Each worker thread owns one [`Relays`].

mod clock;
mod config;
pub mod counters;
pub mod crypto;
mod demux;
mod discard;
pub mod dtmf;
mod pace;
pub mod packet;
pub mod peer;
mod ports;
pub mod quality;
mod relay;
pub mod rewrite;
pub mod rtcp;
mod sequence;
pub mod srtp;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iq::{Command, Configure, Leg, Now, Refusal, Reply, Reserve, SendDtmf, SessionId};
use rand_chacha::ChaCha20Rng;

pub use config::{Certificate, CertificateError, Config};
use counters::Counters;
use crypto::SrtpCipher;
use crypto::cpu::Cpu;
use demux::{Class, Directory, Slot, classify};
pub use discard::Discard;
pub use packet::buffer::PacketBuffer;
use packet::stun::{Kind, StunMessage};
use peer::ice;
pub use ports::{Line, PairId, Ports};
use relay::{Origin, Outbox, Relay, Shared};
use rtcp::{Cname, NtpClock};

/// All sessions of one worker.
pub struct Relays<C: SrtpCipher = Cpu> {
    cipher: C,
    config: Config,
    dtls: peer::dtls::Settings,
    clock: NtpClock,
    rng: ChaCha20Rng,
    relays: Vec<Option<Box<Relay<C>>>>,
    free: Vec<Slot>,
    by_id: BTreeMap<SessionId, Slot>,
    directory: Directory,
    /// When each relay wants to be woken; late is better than never, early does no harm.
    alarms: BTreeSet<(Instant, Slot)>,
    /// Handshake work left for this batch.
    budget: u32,
    output: VecDeque<Output>,
    counters: Counters,
}

impl Relays {
    /// An empty table. `rng` gives ICE credentials, SSRCs and the like.
    #[must_use]
    pub fn new(config: Config, rng: ChaCha20Rng, now: Now) -> Self {
        Relays::with_cipher(Cpu, config, rng, now)
    }
}

impl<C: SrtpCipher + Clone> Relays<C> {
    /// An empty table whose sessions get their keys from this cipher.
    #[must_use]
    pub fn with_cipher(cipher: C, config: Config, rng: ChaCha20Rng, now: Now) -> Self {
        Relays {
            cipher,
            dtls: peer::dtls::Settings::new(&config),
            budget: config.handshakes_per_batch,
            config,
            clock: NtpClock::new(now),
            rng,
            relays: Vec::new(),
            free: Vec::new(),
            by_id: BTreeMap::new(),
            directory: Directory::default(),
            alarms: BTreeSet::new(),
            output: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Does what signalling asks; `ports` is the shell's store of IMS port pairs.
    pub fn handle_command(&mut self, command: Command, ports: &mut dyn Ports, now: Now) {
        let now = now.monotonic;
        match command {
            Command::Reserve(reserve) => self.reserve(&reserve, ports, now),
            Command::Configure(configure) => self.configure(&configure, ports, now),
            Command::RestartIce { session } => self.restart_ice(session, now),
            Command::SendDtmf(dtmf) => self.send_dtmf(&dtmf, now),
            Command::Release { session } => self.release(session, ports, now),
            Command::Audit => {
                let sessions = self.by_id.keys().copied().collect();
                self.reply(Reply::Audited { sessions });
            }
        }
    }

    fn reserve(&mut self, reserve: &Reserve, ports: &mut dyn Ports, now: Instant) {
        let session = reserve.session;
        if let Some(&slot) = self.by_id.get(&session) {
            return self.reply_reserved(slot);
        }
        if self.by_id.len() >= self.config.max_sessions {
            return self.refuse(session, Refusal::NoCapacity);
        }
        let Some(lines) = ports.reserve(reserve.lines) else {
            return self.refuse(session, Refusal::NoPorts);
        };
        let local = self.fresh_credentials();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.relays.push(None);
            Slot::try_from(self.relays.len() - 1).expect("max_sessions is far below 2^32")
        });
        for (index, line) in (0..).zip(&lines) {
            self.directory.add_pair(line.pair, slot, index);
        }
        self.directory.add_fragment(&local.ufrag, slot);
        self.relays[slot as usize] = Some(Box::new(Relay::new(
            reserve,
            local,
            lines,
            self.cipher.clone(),
        )));
        self.by_id.insert(session, slot);
        self.counters.sessions = self.by_id.len() as u64;
        self.set_alarm(slot, now);
        self.reply_reserved(slot);
    }

    /// Credentials whose user name fragment no other session has.
    fn fresh_credentials(&mut self) -> iq::IceCredentials {
        loop {
            let local = ice::credentials(&mut self.rng);
            if self.directory.of_fragment(local.ufrag.as_bytes()).is_none() {
                return local;
            }
        }
    }

    fn reply_reserved(&mut self, slot: Slot) {
        if let Some(relay) = &self.relays[slot as usize] {
            let reserved = relay.reserved(&self.config);
            self.reply(Reply::Reserved(reserved));
        }
    }

    fn configure(&mut self, wanted: &Configure, ports: &mut dyn Ports, now: Instant) {
        let session = wanted.session;
        let Some(&slot) = self.by_id.get(&session) else {
            return self.refuse(session, Refusal::UnknownSession);
        };
        let origin = &mut Origin {
            access_cname: Cname::random(&mut self.rng),
            ims_cname: Cname::random(&mut self.rng),
            clock: self.clock,
            rng: &mut self.rng,
        };
        let Some(relay) = &mut self.relays[slot as usize] else {
            return;
        };
        if !relay.has_lines(wanted) {
            self.remove(session, ports);
            return self.refuse(session, Refusal::Unsupported);
        }
        let outbox = &mut Outbox {
            session,
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let shared = &Shared {
            config: &self.config,
            dtls: &self.dtls,
        };
        relay.configure(wanted, shared, origin, now, outbox);
        self.set_alarm(slot, now);
    }

    fn restart_ice(&mut self, session: SessionId, now: Instant) {
        let Some(&slot) = self.by_id.get(&session) else {
            return self.refuse(session, Refusal::UnknownSession);
        };
        let local = self.fresh_credentials();
        self.directory.add_fragment(&local.ufrag, slot);
        if let Some(relay) = &mut self.relays[slot as usize]
            && let Some(unused) = relay.access_mut().restart_ice(local)
        {
            self.directory.remove_fragment(&unused.ufrag);
        }
        self.set_alarm(slot, now);
        self.reply_reserved(slot);
    }

    fn send_dtmf(&mut self, dtmf: &SendDtmf, now: Instant) {
        let Some(&slot) = self.by_id.get(&dtmf.session) else {
            return self.refuse(dtmf.session, Refusal::UnknownSession);
        };
        let outbox = &mut Outbox {
            session: dtmf.session,
            output: &mut self.output,
            counters: &mut self.counters,
        };
        if let Some(relay) = &mut self.relays[slot as usize] {
            relay.send_dtmf(dtmf, now, outbox);
        }
        self.set_alarm(slot, now);
    }

    fn release(&mut self, session: SessionId, ports: &mut dyn Ports, now: Instant) {
        let Some(relay) = self.remove(session, ports) else {
            return self.refuse(session, Refusal::UnknownSession);
        };
        let outbox = &mut Outbox {
            session,
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let report = Box::new(relay.release(now, outbox));
        self.reply(Reply::Released { session, report });
    }

    /// Takes a relay out of every table.
    fn remove(&mut self, session: SessionId, ports: &mut dyn Ports) -> Option<Box<Relay<C>>> {
        let slot = self.by_id.remove(&session)?;
        let relay = self.relays[slot as usize].take()?;
        for pair in relay.pairs() {
            self.directory.remove_pair(pair);
            ports.release(pair);
        }
        for ufrag in relay.access().ice().user_fragments() {
            self.directory.remove_fragment(ufrag);
        }
        for address in relay.access().ice().addresses() {
            self.directory.remove_source(address, slot);
        }
        if let Some(at) = relay.alarm() {
            self.alarms.remove(&(at, slot));
        }
        self.free.push(slot);
        self.counters.sessions = self.by_id.len() as u64;
        Some(relay)
    }

    /// Opens the budget of handshake work for the packets of one receive call.
    pub fn begin_batch(&mut self) {
        self.budget = self.config.handshakes_per_batch;
    }

    /// Takes one datagram. What is relayed is edited where it lies, so that after
    /// [`Verdict::Forward`] `packet` holds what is to be sent.
    pub fn handle_packet(
        &mut self,
        arrival: Arrival,
        packet: &mut PacketBuffer,
        now: Instant,
    ) -> Verdict {
        let result = match arrival.socket {
            Socket::Ims { pair, rtcp } => self.handle_ims(pair, rtcp, arrival.from, packet, now),
            Socket::Access(door) => match classify(packet.bytes()) {
                Class::Rtp => self.handle_media(false, arrival.from, packet, now),
                Class::Rtcp => self.handle_media(true, arrival.from, packet, now),
                Class::Stun => self.handle_stun(Path::new(door, arrival.from), packet.bytes(), now),
                Class::Dtls => self.handle_dtls(Path::new(door, arrival.from), packet.bytes(), now),
                Class::Unknown => Err(Discard::UnknownProtocol),
            },
        };
        match result {
            Ok(verdict) => {
                if let Verdict::Forward { .. } = verdict {
                    self.counters.forwarded += 1;
                }
                verdict
            }
            Err(reason) => {
                self.counters.discard(reason);
                Verdict::Discarded(reason)
            }
        }
    }

    fn handle_ims(
        &mut self,
        pair: PairId,
        rtcp: bool,
        from: SocketAddr,
        packet: &mut PacketBuffer,
        now: Instant,
    ) -> Result<Verdict, Discard> {
        let (slot, line) = self.directory.of_pair(pair).ok_or(Discard::NoSession)?;
        let relay = self.relays[slot as usize]
            .as_mut()
            .ok_or(Discard::NoSession)?;
        let outbox = &mut Outbox {
            session: relay.id(),
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let result = if rtcp {
            relay.handle_ims_rtcp(line, from, packet, now, outbox)
        } else {
            relay.handle_ims_rtp(line, from, packet, now, outbox)
        };
        if result.is_err() {
            relay.note_discarded(Leg::Ims);
        }
        result
    }

    fn handle_media(
        &mut self,
        is_rtcp: bool,
        from: SocketAddr,
        packet: &mut PacketBuffer,
        now: Instant,
    ) -> Result<Verdict, Discard> {
        let slot = self
            .directory
            .of_source(from)
            .ok_or(Discard::UnvalidatedSource)?;
        let relay = self.relays[slot as usize]
            .as_mut()
            .ok_or(Discard::UnvalidatedSource)?;
        let outbox = &mut Outbox {
            session: relay.id(),
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let result = if is_rtcp {
            relay.handle_access_rtcp(packet, now, outbox)
        } else {
            relay.handle_access_rtp(packet, now, outbox)
        };
        if result.is_err() {
            relay.note_discarded(Leg::Access);
        }
        result
    }

    /// A connectivity check: found by the user name fragment that we gave out.
    fn handle_stun(&mut self, path: Path, bytes: &[u8], now: Instant) -> Result<Verdict, Discard> {
        let from = path.remote;
        let message = StunMessage::parse(bytes)?;
        match message.kind() {
            Kind::BindingRequest => {}
            Kind::BindingIndication => return Ok(Verdict::Consumed),
            Kind::Other => return Err(Discard::BadCheck),
        }
        let (ours, _) = message.user_fragments().ok_or(Discard::BadCheck)?;
        let slot = self
            .directory
            .of_fragment(ours)
            .ok_or(Discard::UnvalidatedSource)?;
        self.spend(slot, now)?;
        self.defend_source(from, slot, now)?;
        let relay = self.relays[slot as usize]
            .as_mut()
            .ok_or(Discard::UnvalidatedSource)?;
        let outbox = &mut Outbox {
            session: relay.id(),
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let shared = &Shared {
            config: &self.config,
            dtls: &self.dtls,
        };
        // The answer goes out before the handshake that it may let begin.
        let at = outbox.output.len();
        let check = relay.handle_check(&message, path, shared, now, outbox)?;
        let answer = Output::Transmit {
            socket: Socket::Access(path.door),
            to: from,
            bytes: check.answer,
        };
        outbox.output.insert(at, answer);
        self.counters.checks_answered += 1;
        if let Some(forgotten) = check.forgotten {
            self.directory.remove_source(forgotten, slot);
        }
        if let Some(retired) = check.retired {
            self.directory.remove_fragment(&retired);
        }
        if check.passed {
            self.directory.add_source(from, slot);
        }
        self.set_alarm(slot, now);
        Ok(Verdict::Consumed)
    }

    /// An address that another session's browser lives at is not given away: a check
    /// with a forged source could take a call's media otherwise.
    fn defend_source(&self, from: SocketAddr, slot: Slot, now: Instant) -> Result<(), Discard> {
        let Some(holder) = self.directory.of_source(from).filter(|&held| held != slot) else {
            return Ok(());
        };
        let checked = self.relays[holder as usize]
            .as_ref()
            .and_then(|relay| relay.access().ice().checked(from));
        match checked {
            Some(at) if now < at + SOURCE_HOLD => Err(Discard::UnvalidatedSource),
            _ => Ok(()),
        }
    }

    fn handle_dtls(
        &mut self,
        path: Path,
        records: &[u8],
        now: Instant,
    ) -> Result<Verdict, Discard> {
        let slot = self
            .directory
            .of_source(path.remote)
            .ok_or(Discard::UnvalidatedSource)?;
        self.spend(slot, now)?;
        let relay = self.relays[slot as usize]
            .as_mut()
            .ok_or(Discard::UnvalidatedSource)?;
        let outbox = &mut Outbox {
            session: relay.id(),
            output: &mut self.output,
            counters: &mut self.counters,
        };
        let shared = &Shared {
            config: &self.config,
            dtls: &self.dtls,
        };
        relay.handle_dtls(records, path, shared, now, outbox)?;
        self.set_alarm(slot, now);
        Ok(Verdict::Consumed)
    }

    /// Takes one unit of handshake work from the session's allowance, so that one
    /// browser cannot use up what all share, and then from the batch's budget.
    fn spend(&mut self, slot: Slot, now: Instant) -> Result<(), Discard> {
        let relay = self.relays[slot as usize].as_mut();
        if !relay.is_some_and(|relay| relay.admits_handshake(now)) {
            return Err(Discard::OverBudget);
        }
        self.budget = self.budget.checked_sub(1).ok_or(Discard::OverBudget)?;
        Ok(())
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            let Some(relay) = &mut self.relays[slot as usize] else {
                continue;
            };
            relay.set_alarm(None);
            let outbox = &mut Outbox {
                session: relay.id(),
                output: &mut self.output,
                counters: &mut self.counters,
            };
            let shared = &Shared {
                config: &self.config,
                dtls: &self.dtls,
            };
            let directory = &mut self.directory;
            relay.handle_timeout(shared, now, outbox, |address| {
                directory.remove_source(address, slot);
            });
            self.set_alarm(slot, now);
        }
    }

    /// Has a relay woken when it next wants to be. An alarm that is too early is left:
    /// it is set anew when it rings.
    fn set_alarm(&mut self, slot: Slot, now: Instant) {
        let Some(relay) = &mut self.relays[slot as usize] else {
            return;
        };
        let Some(wanted) = relay.poll_timeout(&self.config) else {
            return;
        };
        let at = wanted.max(now + ALARM_STEP);
        match relay.alarm() {
            Some(set) if set <= at => {}
            set => {
                if let Some(set) = set {
                    self.alarms.remove(&(set, slot));
                }
                self.alarms.insert((at, slot));
                relay.set_alarm(Some(at));
            }
        }
    }

    /// When [`Relays::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// What is to be sent or answered, until there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// What this worker has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn reply(&mut self, reply: Reply) {
        self.output.push_back(Output::Reply(reply));
    }

    fn refuse(&mut self, session: SessionId, reason: Refusal) {
        self.reply(Reply::Refused { session, reason });
    }
}

/// How a datagram reached the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The socket it was read from.
    pub socket: Socket,
    /// Who sent it.
    pub from: SocketAddr,
}

/// Which of a worker's sockets for browsers, as the shell counts them.
pub type Door = u8;

/// The two ends of a way to a browser: a candidate pair of RFC 8445.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our end.
    pub door: Door,
    /// The browser's end.
    pub remote: SocketAddr,
}

impl Path {
    /// A way between two ends.
    #[must_use]
    pub fn new(door: Door, remote: SocketAddr) -> Self {
        Path { door, remote }
    }
}

/// One of a worker's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// One of those that all browsers of this worker share: there is one for each local
    /// address, so that an answer leaves from where the question came to.
    Access(Door),
    /// One of the pair that a media line has on the IMS side.
    Ims {
        /// Which pair.
        pair: PairId,
        /// Whether it is the pair's RTCP socket.
        rtcp: bool,
    },
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send what the slot holds now.
    Forward {
        /// From this socket.
        socket: Socket,
        /// To this address.
        to: SocketAddr,
    },
    /// It was for the box itself; outputs may have come of it.
    Consumed,
    /// It goes no further.
    Discarded(Discard),
}

/// What comes out of [`Relays`] beside forwarded packets.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a datagram of the box's own: STUN, DTLS, RTCP, DTMF.
    Transmit {
        /// From this socket.
        socket: Socket,
        /// To this address.
        to: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Tell signalling.
    Reply(iq::Reply),
}

/// For how long after a passed check an address stays its session's: browsers check
/// every 2.5 s.
const SOURCE_HOLD: Duration = Duration::from_secs(6);

/// The finest time that relays are woken at.
const ALARM_STEP: Duration = Duration::from_millis(1);
