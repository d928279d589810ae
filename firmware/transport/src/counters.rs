//! What the sockets count. The shells add, the metrics page reads.

use std::sync::atomic::{AtomicU64, Ordering};

use iq::Countable;

use crate::flow::Ending;
use crate::http::Refusal;

/// One figure.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much it is.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Countable for Count {
    fn figure(&self) -> Option<u64> {
        Some(self.value())
    }
}

/// One figure for each of several reasons, in the order of their list.
#[derive(Debug)]
pub struct Counts<const REASONS: usize>(pub [Count; REASONS]);

impl<const REASONS: usize> Default for Counts<REASONS> {
    fn default() -> Self {
        Counts(std::array::from_fn(|_| Count::default()))
    }
}

impl<const REASONS: usize> Countable for Counts<REASONS> {
    /// It is several.
    fn figure(&self) -> Option<u64> {
        None
    }
}

iq::counters! {
    /// Figures of the access listener.
    #[derive(Debug, Default)]
    pub struct AccessCounters {
        /// TCP connections that arrived.
        pub connections_accepted: Count,
        /// Of those, the ones closed at once because of a limit.
        pub connections_refused: Count,
        /// Errors of the listening socket.
        pub accept_errors: Count,
        /// TLS handshakes that failed or took too long.
        pub tls_failures: Count,
        /// Files of the page that were sent.
        pub pages_served: Count,
        /// Requests turned away, by reason in the order of [`Refusal::ALL`].
        pub refusals: Counts<{ Refusal::ALL.len() }>,
        /// Flows that ended, by way in the order of [`Ending::ALL`].
        pub endings: Counts<{ Ending::ALL.len() }>,
        /// WebSocket messages received.
        pub messages_received: Count,
        /// Of those, the ones of connections that nobody is registered on and that waited for a
        /// place.
        pub strangers_waited: Count,
        /// WebSocket messages sent.
        pub messages_sent: Count,
        /// Pings sent.
        pub pings: Count,
    }
}

impl AccessCounters {
    pub(crate) fn refused(&self, refusal: Refusal) {
        if let Some(at) = Refusal::ALL.iter().position(|&other| other == refusal) {
            self.refusals.0[at].add_one();
        }
    }

    pub(crate) fn flow_ended(&self, ending: Ending) {
        if let Some(at) = Ending::ALL.iter().position(|&other| other == ending) {
            self.endings.0[at].add_one();
        }
    }
}

iq::counters! {
    /// Figures of the endpoints towards the IMS.
    #[derive(Debug, Default)]
    pub struct ImsCounters {
        /// Messages that arrived.
        pub received: Count,
        /// Messages handed to the system.
        pub sent: Count,
        /// Messages the system did not take.
        pub send_failures: Count,
        /// Datagrams lost because signaling did not keep up.
        pub datagrams_dropped: Count,
        /// Messages and connections that came to a protected port past its IPsec associations.
        pub unprotected: Count,
        /// ICMP errors: the other side is not there.
        pub unreachable: Count,
        /// Connections made to the IMS.
        pub connections_made: Count,
        /// Connections taken from the IMS.
        pub connections_accepted: Count,
        /// Connections that could not be made, or broke with messages pending.
        pub connections_failed: Count,
        /// TLS handshakes with servers of the IMS that came to nothing.
        pub tls_failures: Count,
        /// Streams that could not be framed.
        pub framing_errors: Count,
        /// Endpoints that could not be opened.
        pub open_failures: Count,
    }
}
