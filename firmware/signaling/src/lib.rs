//! The eP-CSCF without a socket: SIP towards browsers (RFC 7118) and towards the IMS
//! (TS 24.229), registrations and calls, as one value that is fed and drained.

pub mod config;
pub mod counters;
pub mod dialog;
pub mod event;
pub mod id;
pub mod identity;
mod input;
pub mod message;
mod output;
pub mod sdp;
pub mod session;
pub mod transaction;

use std::collections::VecDeque;
use std::time::Instant;

use iq::Now;
use rand_chacha::ChaCha20Rng;

pub use config::Config;
pub use counters::Counters;
pub use event::Event;
pub use id::{EndpointId, FlowId, QueryId, SipTransport};
pub use input::{Input, OpenFailure};
pub use output::Output;

/// The whole control plane.
#[derive(Debug)]
pub struct Signaling {
    config: Config,
    counters: Counters,
    output: VecDeque<Output>,
}

impl Signaling {
    /// A control plane without flows and registrations. `epoch` tells this life of the
    /// controller from earlier ones; `rng` is all the chance it has.
    #[must_use]
    pub fn new(config: Config, epoch: u64, rng: ChaCha20Rng) -> Self {
        let _ = (epoch, rng);
        Signaling {
            config,
            counters: Counters::default(),
            output: VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        let _ = (input, now, &self.config);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
