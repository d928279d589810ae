//! The browsers' connections: who may stay, and for how long (RFC 7118, RFC 5626 §3.1).
//!
//! A connection begins without a registration and has a short time, and a few failed
//! requests, to get one. What registrations it carries is told by `registration`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use iq::Private;

use crate::config::FlowConfig;
use crate::deadlines::Deadlines;
use crate::id::FlowId;

/// Every open connection.
#[derive(Debug)]
pub(crate) struct Flows {
    config: FlowConfig,
    table: BTreeMap<FlowId, Flow>,
    deadlines: Deadlines<FlowId>,
    registered: usize,
}

/// One connection.
#[derive(Debug)]
struct Flow {
    remote: Private<SocketAddr>,
    is_secure: bool,
    state: State,
    /// Requests that were turned away before the first registration.
    failed: u32,
    malformed: u32,
    /// Messages that may still come at once, see [`MESSAGES_PER_SECOND`].
    allowance: u32,
    allowance_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has logged in yet.
    Unauthenticated,
    /// It carries this many registrations.
    Registered { bindings: usize },
    /// It carried registrations, and now none.
    Idle,
}

/// Why a connection is closed by the box, with the code the browser sees (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Nobody logged in in time.
    Unauthenticated,
    /// It carried nothing for a long time.
    Idle,
    /// Too many failed requests before the first registration.
    FailedRequests,
    /// Too many malformed messages.
    MalformedMessages,
    /// More messages than any client sends.
    Flood,
    /// The browser came back on another connection.
    Superseded,
    /// The ticket in its URL is worth nothing.
    BadTicket,
    /// Its registration was ended, by the core or by the box.
    Dismissed,
    /// The network ended its registration and wants it back at once.
    RegisterAgain,
    /// The same, later.
    RegisterLater,
    /// No room for one more.
    Full,
    /// The box is stopping; the client should come back with jitter.
    Restart,
}

impl Closing {
    pub(crate) const fn code(self) -> u16 {
        match self {
            Closing::FailedRequests | Closing::MalformedMessages | Closing::Flood => 1008,
            Closing::Restart => 1012,
            Closing::Full => 1013,
            Closing::Unauthenticated | Closing::Idle | Closing::BadTicket => 4001,
            Closing::Superseded => 4002,
            Closing::Dismissed | Closing::RegisterAgain | Closing::RegisterLater => 4003,
        }
    }

    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Closing::Unauthenticated => "no registration in time",
            Closing::Idle => "idle without a registration",
            Closing::FailedRequests => "too many failed requests",
            Closing::MalformedMessages => "too many malformed messages",
            Closing::Flood => "too many messages",
            Closing::Superseded => "registered on another connection",
            Closing::BadTicket => "the ticket is not valid",
            Closing::Dismissed => "the registration was ended",
            Closing::RegisterAgain => "the network asks to register again",
            Closing::RegisterLater => "the network asks to register again later",
            Closing::Full => "too many connections",
            Closing::Restart => "the gateway restarts",
        }
    }
}

impl Flows {
    pub(crate) fn new(config: FlowConfig) -> Self {
        Flows {
            config,
            table: BTreeMap::new(),
            deadlines: Deadlines::new(),
            registered: 0,
        }
    }

    /// Takes a new connection, or says why not.
    pub(crate) fn handle_opened(
        &mut self,
        flow: FlowId,
        remote: Private<SocketAddr>,
        is_secure: bool,
        now: Instant,
    ) -> Result<(), Closing> {
        if self.table.len() >= self.config.count {
            return Err(Closing::Full);
        }
        self.table.insert(
            flow,
            Flow {
                remote,
                is_secure,
                state: State::Unauthenticated,
                failed: 0,
                malformed: 0,
                allowance: MESSAGES_AT_ONCE,
                allowance_at: now,
            },
        );
        self.deadlines
            .set(flow, Some(now + self.config.authentication_time));
        Ok(())
    }

    /// Forgets a connection; `false` if it was unknown.
    pub(crate) fn handle_closed(&mut self, flow: FlowId) -> bool {
        self.deadlines.set(flow, None);
        match self.table.remove(&flow) {
            Some(gone) => {
                self.registered -= usize::from(gone.is_registered());
                true
            }
            None => false,
        }
    }

    /// Counts a message against what a connection may send.
    pub(crate) fn handle_message(&mut self, flow: FlowId, now: Instant) -> Result<(), Closing> {
        let Some(flow) = self.table.get_mut(&flow) else {
            return Ok(());
        };
        let since = now.saturating_duration_since(flow.allowance_at);
        let earned = u32::try_from(since.as_millis() / PER_MESSAGE.as_millis()).unwrap_or(u32::MAX);
        if earned > 0 {
            flow.allowance = flow.allowance.saturating_add(earned).min(MESSAGES_AT_ONCE);
            flow.allowance_at = now;
        }
        match flow.allowance.checked_sub(1) {
            Some(left) => {
                flow.allowance = left;
                Ok(())
            }
            None => Err(Closing::Flood),
        }
    }

    /// Counts a message that does not parse.
    pub(crate) fn handle_malformed(&mut self, flow: FlowId) -> Result<(), Closing> {
        let limit = self.config.malformed_messages;
        let Some(flow) = self.table.get_mut(&flow) else {
            return Ok(());
        };
        flow.malformed += 1;
        if flow.malformed > limit {
            return Err(Closing::MalformedMessages);
        }
        Ok(())
    }

    /// Counts a request that was turned away; it only matters before the first registration.
    pub(crate) fn handle_failed_request(&mut self, flow: FlowId) -> Result<(), Closing> {
        let limit = self.config.failed_requests;
        let Some(flow) = self.table.get_mut(&flow) else {
            return Ok(());
        };
        if flow.state != State::Unauthenticated {
            return Ok(());
        }
        flow.failed += 1;
        if flow.failed > limit {
            return Err(Closing::FailedRequests);
        }
        Ok(())
    }

    /// Learns how many registrations a connection carries.
    pub(crate) fn set_bindings(&mut self, id: FlowId, bindings: usize, now: Instant) {
        let Some(flow) = self.table.get_mut(&id) else {
            return;
        };
        let was_registered = flow.is_registered();
        if bindings > 0 {
            flow.state = State::Registered { bindings };
            self.deadlines.set(id, None);
        } else if was_registered {
            flow.state = State::Idle;
            self.deadlines.set(id, Some(now + self.config.idle_time));
        }
        self.registered -= usize::from(was_registered);
        self.registered += usize::from(flow.is_registered());
    }

    /// A connection whose time is over; the caller closes it.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(FlowId, Closing)> {
        loop {
            let id = self.deadlines.take_due(now)?;
            match self.table.get(&id).map(|flow| flow.state) {
                Some(State::Unauthenticated) => return Some((id, Closing::Unauthenticated)),
                Some(State::Idle) => return Some((id, Closing::Idle)),
                Some(State::Registered { .. }) | None => {}
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The address that a connection comes from.
    pub(crate) fn source(&self, flow: FlowId) -> Option<IpAddr> {
        let flow = self.table.get(&flow)?;
        Some(flow.remote.reveal().ip())
    }

    pub(crate) fn is_open(&self, flow: FlowId) -> bool {
        self.table.contains_key(&flow)
    }

    /// Whether a connection came by TLS.
    pub(crate) fn is_secure(&self, flow: FlowId) -> bool {
        self.table.get(&flow).is_some_and(|flow| flow.is_secure)
    }

    pub(crate) fn is_registered(&self, flow: FlowId) -> bool {
        self.table.get(&flow).is_some_and(Flow::is_registered)
    }

    pub(crate) fn ids(&self) -> Vec<FlowId> {
        self.table.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn registered(&self) -> usize {
        self.registered
    }
}

impl Flow {
    fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered { .. })
    }
}

/// A client that sends more than this in the long run is no telephone: a call takes
/// under ten messages, a keypad ten a second.
const MESSAGES_PER_SECOND: u32 = 50;
const PER_MESSAGE: Duration = Duration::from_millis(1000 / MESSAGES_PER_SECOND as u64);
const MESSAGES_AT_ONCE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn flows() -> (Flows, Instant) {
        let start = Instant::now();
        let mut flows = Flows::new(FlowConfig::default());
        let remote = Private::new(SocketAddr::from(([192, 0, 2, 1], 5000)));
        assert_eq!(flows.handle_opened(FlowId(1), remote, true, start), Ok(()));
        (flows, start)
    }

    #[test]
    fn a_connection_without_registration_is_closed_after_its_time() {
        let (mut flows, start) = flows();
        assert_eq!(flows.poll_timeout(), Some(start + 30 * SECOND));
        assert_eq!(flows.take_due(start + 29 * SECOND), None);
        assert_eq!(
            flows.take_due(start + 30 * SECOND),
            Some((FlowId(1), Closing::Unauthenticated))
        );
    }

    #[test]
    fn a_registered_connection_stays_and_has_longer_after_its_registration_ended() {
        let (mut flows, start) = flows();
        flows.set_bindings(FlowId(1), 1, start);
        assert_eq!(flows.poll_timeout(), None);
        assert_eq!(flows.registered(), 1);

        flows.set_bindings(FlowId(1), 0, start + SECOND);
        assert_eq!(flows.registered(), 0);
        assert_eq!(flows.poll_timeout(), Some(start + 601 * SECOND));
    }

    #[test]
    fn failed_requests_count_only_before_the_first_registration() {
        let (mut flows, start) = flows();
        for _ in 0..10 {
            assert_eq!(flows.handle_failed_request(FlowId(1)), Ok(()));
        }
        assert_eq!(
            flows.handle_failed_request(FlowId(1)),
            Err(Closing::FailedRequests)
        );
        flows.set_bindings(FlowId(1), 1, start);
        assert_eq!(flows.handle_failed_request(FlowId(1)), Ok(()));
    }

    #[test]
    fn a_storm_of_messages_is_cut_and_a_busy_client_is_not() {
        let (mut flows, start) = flows();
        for n in 0..2000 {
            let at = start + n * PER_MESSAGE;
            assert_eq!(flows.handle_message(FlowId(1), at), Ok(()), "message {n}");
        }
        let end = start + 2000 * PER_MESSAGE;
        let storm = (0..1000).find(|_| flows.handle_message(FlowId(1), end).is_err());
        assert_eq!(storm, Some(200));
    }

    #[test]
    fn malformed_messages_count_for_a_whole_life() {
        let (mut flows, start) = flows();
        flows.set_bindings(FlowId(1), 1, start);
        for _ in 0..10 {
            assert_eq!(flows.handle_malformed(FlowId(1)), Ok(()));
        }
        assert_eq!(
            flows.handle_malformed(FlowId(1)),
            Err(Closing::MalformedMessages)
        );
    }
}
