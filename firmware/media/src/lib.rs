//! The eIMS-AGW of TS 23.334 without a socket: ICE, DTLS, SRTP, RTP and relaying as
//! one value that is fed and drained. Each worker thread owns one [`Relays`].

mod config;
pub mod counters;
pub mod crypto;
mod discard;
pub mod dtmf;
pub mod packet;
pub mod peer;
mod ports;
pub mod quality;
pub mod rewrite;
pub mod rtcp;
pub mod srtp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use iq::Now;
use rand_chacha::ChaCha20Rng;

pub use config::{Certificate, CertificateError, Config};
pub use discard::Discard;
pub use packet::buffer::PacketBuffer;
pub use ports::{Line, PairId, Ports};

/// All sessions of one worker.
pub struct Relays {
    config: Config,
    rng: ChaCha20Rng,
    output: VecDeque<Output>,
}

impl Relays {
    /// An empty table. `rng` gives ICE credentials, SSRCs and the like.
    #[must_use]
    pub fn new(config: Config, rng: ChaCha20Rng, _now: Now) -> Self {
        Relays {
            config,
            rng,
            output: VecDeque::new(),
        }
    }

    /// Does what signalling asks; `ports` is the shell's store of IMS port pairs.
    pub fn handle_command(&mut self, _command: iq::Command, _ports: &mut dyn Ports, _now: Now) {
        let _ = (&self.config, &self.rng);
    }

    /// Opens the budget of handshake work for the packets of one receive call.
    pub fn begin_batch(&mut self) {}

    /// Takes one datagram. What is relayed is edited where it lies, so that after
    /// [`Verdict::Forward`] `packet` holds what is to be sent.
    pub fn handle_packet(
        &mut self,
        _arrival: Arrival,
        _packet: &mut PacketBuffer,
        _now: Instant,
    ) -> Verdict {
        Verdict::Discarded(Discard::NoSession)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Relays::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What is to be sent or answered, until there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
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

/// One of a worker's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// The one that all browsers of this worker share.
    Access,
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
