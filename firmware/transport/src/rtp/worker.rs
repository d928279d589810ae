//! A worker: one thread with its own sockets and its own relays. It takes no lock and
//! allocates nothing for a packet; commands reach it over a bounded channel between
//! batches, and an eventfd wakes it when it sleeps.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use media::{Arrival, Door, Line, Output, PacketBuffer, PairId, Ports, Relays, Socket, Verdict};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError as ReplyError;
use tokio::sync::{mpsc, oneshot};

use super::ports::Pairs;
use super::socket::{BATCH, Poll, Ring, Udp, Wake};
use crate::clock::now;
use crate::crypto::Engines;
use crate::pulse::Pulse;

/// What a worker is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which worker this is, counted from 0.
    pub index: usize,
    /// Where its browsers' packets arrive. Each has a socket of its own, so that an answer
    /// leaves from the address that the question came to.
    pub access: Vec<SocketAddr>,
    /// Where the IMS side's packets arrive.
    pub ims_address: IpAddr,
    /// What descriptions towards the IMS say instead, if the network translates.
    pub ims_advertised: IpAddr,
    /// Its ports towards the IMS.
    pub ims_ports: RangeInclusive<u16>,
    /// Its relays.
    pub media: media::Config,
    /// Who seals and opens its packets.
    pub engines: Engines,
    /// The seed of all its chance.
    pub seed: [u8; 32],
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The browsers' port cannot be had.
    #[error("media port {address}: {error}")]
    Access {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The system refused something else.
    #[error("media worker: {0}")]
    System(#[from] io::Error),
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// The way to it.
    pub commands: Commands,
    /// Resolves when its thread is gone, whatever the reason.
    pub ended: oneshot::Receiver<()>,
}

/// Puts commands into a worker's queue, never waiting.
#[derive(Clone, Debug)]
pub struct Commands {
    queue: SyncSender<ToWorker>,
    wake: Arc<Wake>,
}

#[derive(Debug)]
enum ToWorker {
    Iq(iq::Command),
    Count(oneshot::Sender<Snapshot>),
    Stop,
}

/// A worker's figures at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// What its relays counted.
    pub media: media::counters::Counters,
    /// What it counted itself.
    pub worker: WorkerCounters,
}

iq::counters! {
    /// What the thread around the relays counts.
    #[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct WorkerCounters {
        /// Datagrams read.
        pub received: u64,
        /// Datagrams given to the system.
        pub sent: u64,
        /// Datagrams the system did not take.
        pub send_failures: u64,
        /// Ports of the range that something else had taken.
        pub bind_failures: u64,
        /// Gauge: IMS port pairs in use.
        pub pairs_in_use: u64,
        /// Gauge: IMS port pairs left.
        pub pairs_left: u64,
        /// Packets sealed or opened by the kernel's crypto.
        pub crypto_kernel: u64,
        /// Packets that the kernel's crypto failed at, and the CPU took over.
        pub crypto_fallbacks: u64,
    }
}

impl Commands {
    /// Hands a command over; gives it back if the worker is gone or does not keep up.
    pub fn send(&self, command: iq::Command) -> Result<(), iq::Command> {
        match self.queue.try_send(ToWorker::Iq(command)) {
            Ok(()) => {
                self.wake.ring();
                Ok(())
            }
            Err(
                TrySendError::Full(ToWorker::Iq(command))
                | TrySendError::Disconnected(ToWorker::Iq(command)),
            ) => Err(command),
            Err(_) => unreachable!("what comes back is what was sent"),
        }
    }

    /// Asks for the figures.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (answer, snapshot) = oneshot::channel();
        self.queue.try_send(ToWorker::Count(answer)).ok()?;
        self.wake.ring();
        snapshot.await.ok()
    }

    /// Ends the worker after what is queued.
    pub fn stop(&self) {
        let _ = self.queue.try_send(ToWorker::Stop);
        self.wake.ring();
    }
}

impl Worker {
    /// Binds its sockets and starts its thread.
    pub fn start(
        settings: Settings,
        replies: mpsc::Sender<iq::Reply>,
        pulse: Pulse,
    ) -> Result<Self, WorkerError> {
        let access = bind_access(&settings.access)?;
        let wake = Arc::new(Wake::new()?);
        let (queue, commands) = sync_channel(QUEUED_COMMANDS);
        let poll = Poll::new()?;
        for (token, access) in (0..).zip(&access) {
            poll.watch(access, token)?;
        }
        poll.watch(&*wake, WAKE_TOKEN)?;
        let (alive, ended) = oneshot::channel();
        let thread_wake = Arc::clone(&wake);
        thread::Builder::new()
            .name(format!("media-{}", settings.index))
            .spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                Thread::new(settings, access, poll, thread_wake, commands, replies).run(&pulse);
            })?;
        Ok(Worker {
            commands: Commands { queue, wake },
            ended,
        })
    }
}

/// What lives on the worker's own stack.
struct Thread {
    relays: Relays<Engines>,
    engines: Engines,
    sockets: Sockets,
    ring: Ring,
    slots: Box<[PacketBuffer]>,
    /// Slots whose content goes to browsers, and to whom, for each door.
    to_browsers: Box<[Vec<(usize, SocketAddr)>]>,
    wake: Arc<Wake>,
    commands: Receiver<ToWorker>,
    replies: mpsc::Sender<iq::Reply>,
    /// Replies that did not fit into the channel yet.
    unsent: VecDeque<iq::Reply>,
    counters: WorkerCounters,
}

/// The worker's sockets, and the shell's end of [`Ports`].
struct Sockets {
    /// One for each door.
    access: Box<[Udp]>,
    pairs: Pairs,
    poll: Poll,
    now: Instant,
}

impl Thread {
    fn new(
        settings: Settings,
        access: Box<[Udp]>,
        poll: Poll,
        wake: Arc<Wake>,
        commands: Receiver<ToWorker>,
        replies: mpsc::Sender<iq::Reply>,
    ) -> Self {
        let mut rng = ChaCha20Rng::from_seed(settings.seed);
        let port_rng = ChaCha20Rng::from_rng(&mut rng);
        let now = now();
        let engines = settings.engines.with_own_tally();
        Thread {
            to_browsers: vec![Vec::with_capacity(BATCH); access.len()].into_boxed_slice(),
            relays: Relays::with_cipher(engines.clone(), settings.media, rng, now),
            engines,
            sockets: Sockets {
                access,
                pairs: Pairs::new(
                    settings.ims_address,
                    settings.ims_advertised,
                    settings.ims_ports,
                    port_rng,
                ),
                poll,
                now: now.monotonic,
            },
            ring: Ring::new(),
            slots: vec![PacketBuffer::new(); BATCH].into_boxed_slice(),
            wake,
            commands,
            replies,
            unsent: VecDeque::new(),
            counters: WorkerCounters::default(),
        }
    }

    fn run(mut self, pulse: &Pulse) {
        loop {
            let ready = self.sockets.poll.wait(self.longest_wait());
            self.sockets.now = Instant::now();
            let mut filled = 0;
            for at in 0..ready {
                match self.sockets.poll.token(at) {
                    WAKE_TOKEN => {
                        self.wake.silence();
                        if self.obey().is_break() {
                            return;
                        }
                    }
                    token => match socket_of(token) {
                        Socket::Access(door) => self.read_browsers(door, &mut filled),
                        socket => self.read_ims(socket, &mut filled),
                    },
                }
            }
            self.flush(&mut filled);
            if self
                .relays
                .poll_timeout()
                .is_some_and(|at| at <= self.sockets.now)
            {
                self.relays.handle_timeout(self.sockets.now);
            }
            self.drain();
            pulse.beat();
        }
    }

    fn longest_wait(&self) -> Duration {
        let longest = if self.unsent.is_empty() {
            Pulse::LONGEST_TURN
        } else {
            RETRY_REPLIES
        };
        self.relays.poll_timeout().map_or(longest, |at| {
            at.saturating_duration_since(Instant::now()).min(longest)
        })
    }

    /// Reads what browsers sent: a few batches, then the others have their turn.
    fn read_browsers(&mut self, door: Door, filled: &mut usize) {
        for _ in 0..BATCHES_PER_TURN {
            self.flush(filled);
            let access = &self.sockets.access[usize::from(door)];
            let received = self.ring.receive(access, &mut self.slots);
            self.relays.begin_batch();
            for at in 0..received {
                self.counters.received += 1;
                if let Some(from) = self.ring.source(at) {
                    self.relay(at, Socket::Access(door), from);
                }
            }
            *filled = received;
            if received < BATCH {
                break;
            }
        }
    }

    /// Reads what arrived on one IMS socket, into slots that are still free.
    fn read_ims(&mut self, socket: Socket, filled: &mut usize) {
        for _ in 0..PACKETS_PER_PORT {
            if *filled == BATCH {
                self.flush(filled);
            }
            let Some(udp) = self.sockets.udp(socket) else {
                return;
            };
            let Some(from) = udp.receive(&mut self.slots[*filled]) else {
                return;
            };
            self.counters.received += 1;
            let at = *filled;
            *filled += 1;
            self.relay(at, socket, from);
        }
    }

    fn relay(&mut self, at: usize, socket: Socket, from: SocketAddr) {
        let arrival = Arrival { socket, from };
        let slot = &mut self.slots[at];
        match self.relays.handle_packet(arrival, slot, self.sockets.now) {
            Verdict::Forward {
                socket: Socket::Access(door),
                to,
            } => self.to_browsers[usize::from(door)].push((at, to)),
            Verdict::Forward { socket, to } => {
                let sent = self
                    .sockets
                    .udp(socket)
                    .is_some_and(|udp| udp.send(self.slots[at].bytes(), to));
                self.count_sent(sent);
            }
            Verdict::Consumed | Verdict::Discarded(_) => {}
        }
    }

    /// Sends what waits for browsers; all slots are free afterwards.
    fn flush(&mut self, filled: &mut usize) {
        for (access, outgoing) in self.sockets.access.iter().zip(&mut self.to_browsers) {
            let mut from = 0;
            while from < outgoing.len() {
                let sent = self.ring.send(access, &mut self.slots, &outgoing[from..]);
                self.counters.sent += sent as u64;
                from += sent;
                if from < outgoing.len() {
                    // The one it stopped at is lost, as on any network; the rest goes on.
                    self.counters.send_failures += 1;
                    from += 1;
                }
            }
            outgoing.clear();
        }
        *filled = 0;
    }

    /// Does what is queued; breaks when the worker is to end.
    fn obey(&mut self) -> std::ops::ControlFlow<()> {
        for _ in 0..QUEUED_COMMANDS {
            match self.commands.try_recv() {
                Ok(ToWorker::Iq(command)) => {
                    self.relays
                        .handle_command(command, &mut self.sockets, now());
                    self.drain();
                }
                Ok(ToWorker::Count(answer)) => {
                    let _ = answer.send(self.snapshot());
                }
                Ok(ToWorker::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    return std::ops::ControlFlow::Break(());
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    fn snapshot(&self) -> Snapshot {
        let mut worker = self.counters;
        worker.bind_failures = self.sockets.pairs.bind_failures;
        worker.pairs_in_use = self.sockets.pairs.in_use() as u64;
        worker.pairs_left = self.sockets.pairs.left() as u64;
        (worker.crypto_kernel, worker.crypto_fallbacks) = self.engines.tally();
        Snapshot {
            media: self.relays.counters().clone(),
            worker,
        }
    }

    /// Sends what the relays made themselves, and hands replies on.
    fn drain(&mut self) {
        while let Some(output) = self.relays.poll_output() {
            match output {
                Output::Transmit { socket, to, bytes } => {
                    let sent = self
                        .sockets
                        .udp(socket)
                        .is_some_and(|udp| udp.send(&bytes, to));
                    self.count_sent(sent);
                }
                Output::Reply(reply) => self.unsent.push_back(reply),
            }
        }
        while let Some(reply) = self.unsent.pop_front() {
            match self.replies.try_send(reply) {
                Ok(()) => {}
                Err(ReplyError::Full(reply)) => {
                    self.unsent.push_front(reply);
                    break;
                }
                Err(ReplyError::Closed(_)) => self.unsent.clear(),
            }
        }
    }

    fn count_sent(&mut self, sent: bool) {
        if sent {
            self.counters.sent += 1;
        } else {
            self.counters.send_failures += 1;
        }
    }
}

impl Sockets {
    fn udp(&self, socket: Socket) -> Option<&Udp> {
        match socket {
            Socket::Access(door) => self.access.get(usize::from(door)),
            Socket::Ims { pair, rtcp } => {
                let pair = self.pairs.get(pair)?;
                Some(if rtcp { &pair.rtcp } else { &pair.rtp })
            }
        }
    }

    /// Takes one pair and listens to it.
    fn take_pair(&mut self) -> Option<Line> {
        let (pair, address) = self.pairs.take(self.now)?;
        let held = self.pairs.get(pair)?;
        let watched = self
            .poll
            .watch(&held.rtp, token_of(pair, false))
            .and_then(|()| self.poll.watch(&held.rtcp, token_of(pair, true)));
        if watched.is_err() {
            self.pairs.give_back(pair, self.now);
            return None;
        }
        Some(Line { pair, address })
    }
}

impl Ports for Sockets {
    fn reserve(&mut self, lines: u8) -> Option<Vec<Line>> {
        let mut taken = Vec::with_capacity(usize::from(lines));
        for _ in 0..lines {
            match self.take_pair() {
                Some(line) => taken.push(line),
                None => {
                    for line in taken {
                        self.release(line.pair);
                    }
                    return None;
                }
            }
        }
        Some(taken)
    }

    fn release(&mut self, pair: PairId) {
        // Closing a socket takes it out of the epoll set.
        self.pairs.give_back(pair, self.now);
    }
}

/// A socket for each address that browsers reach.
fn bind_access(addresses: &[SocketAddr]) -> Result<Box<[Udp]>, WorkerError> {
    addresses
        .iter()
        .take(usize::from(Door::MAX))
        .map(|&address| {
            Udp::bind(address, ACCESS_BUFFER)
                .map_err(|error| WorkerError::Access { address, error })
        })
        .collect()
}

fn token_of(pair: PairId, rtcp: bool) -> u64 {
    FIRST_PAIR_TOKEN + 2 * u64::from(pair.0) + u64::from(rtcp)
}

fn socket_of(token: u64) -> Socket {
    let Some(place) = token.checked_sub(FIRST_PAIR_TOKEN) else {
        return Socket::Access(Door::try_from(token).expect("made from a door"));
    };
    Socket::Ims {
        pair: PairId(u32::try_from(place / 2).expect("made from a u32")),
        rtcp: place % 2 == 1,
    }
}

/// Doors have the tokens below it.
const WAKE_TOKEN: u64 = Door::MAX as u64;
const FIRST_PAIR_TOKEN: u64 = WAKE_TOKEN + 1;
/// Commands that wait for a worker.
const QUEUED_COMMANDS: usize = 1024;
/// Batches read from browsers before the IMS side has its turn.
const BATCHES_PER_TURN: u32 = 4;
/// Packets read from one IMS port before the next has its turn.
const PACKETS_PER_PORT: u32 = 8;
/// How long replies that did not fit wait for another try.
const RETRY_REPLIES: Duration = Duration::from_millis(5);
/// All browsers of a worker share it.
const ACCESS_BUFFER: usize = 8 * 1024 * 1024;
