//! Copies of a message until someone reacts, RFC 3261 §17: the pause doubles up to
//! T2, and after 64 times T1 nobody will.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::sip::{Bench, GIVE_UP, Hop, T1, T2};

/// A message that is sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Resend {
    hop: Hop,
    bytes: Bytes,
    pause: Duration,
    /// `None` on a reliable transport, and once a provisional answer came.
    at: Option<Instant>,
    until: Instant,
}

impl Resend {
    pub(crate) fn new(hop: Hop, bytes: Bytes, now: Instant) -> Self {
        Resend {
            hop,
            bytes,
            pause: T1,
            at: (!hop.transport.is_reliable()).then_some(now + T1),
            until: now + GIVE_UP,
        }
    }

    /// For a 2xx and a reliable provisional response, whose copies are the user
    /// agent's and not the transaction's: whatever the transport, RFC 3261 §13.3.1.4.
    pub(crate) fn end_to_end(hop: Hop, bytes: Bytes, now: Instant) -> Self {
        Resend {
            at: Some(now + T1),
            ..Resend::new(hop, bytes, now)
        }
    }

    /// No more copies; it is given up at `until` all the same.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.at = None;
        self.until = until;
    }

    /// Sends the copy that is due. `false` when it is time to give up.
    pub(crate) fn handle_timeout(&mut self, bench: &mut Bench<'_>) -> bool {
        if self.until <= bench.now {
            return false;
        }
        if self.at.is_some_and(|at| at <= bench.now) {
            self.again(bench);
            self.pause = (2 * self.pause).min(T2);
            self.at = Some(bench.now + self.pause);
        }
        true
    }

    pub(crate) fn again(&self, bench: &mut Bench<'_>) {
        bench.send_bytes(self.hop, self.bytes.clone());
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        self.at.map_or(self.until, |at| at.min(self.until))
    }
}
