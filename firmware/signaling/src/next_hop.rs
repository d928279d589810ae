//! Which address of the P-CSCF a request goes to: the look-up of its name and the order
//! in which its addresses are tried (RFC 3263 §4.3). NAPTR and SRV are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::config::{Host, HostName, NextHop};
use crate::id::QueryId;

/// The addresses of the configured next hop.
#[derive(Debug)]
pub(crate) struct NextHops {
    config: NextHop,
    addresses: Vec<SocketAddr>,
    /// Every address that ever belonged to the name: connections to it may still be up.
    known: BTreeSet<IpAddr>,
    /// Addresses that did not answer, and until when they are tried last.
    suspects: BTreeMap<SocketAddr, Instant>,
    resolved_at: Option<Instant>,
    asking: Option<(QueryId, Instant)>,
}

/// What [`NextHops::look_up`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// Addresses are at hand.
    Known,
    /// They are at hand and old: ask, and go on with them.
    Refresh(QueryId),
    /// There are none: ask, and wait.
    Ask(QueryId),
    /// There are none, and the question is on its way.
    Wait,
}

impl NextHops {
    pub(crate) fn new(config: NextHop) -> Self {
        let addresses = match config.host {
            Host::Address(address) => vec![SocketAddr::new(address, config.port)],
            Host::Name(_) => Vec::new(),
        };
        NextHops {
            known: addresses.iter().map(SocketAddr::ip).collect(),
            addresses,
            config,
            suspects: BTreeMap::new(),
            resolved_at: None,
            asking: None,
        }
    }

    /// The name, if there is one to be looked up.
    pub(crate) fn name(&self) -> Option<&HostName> {
        match &self.config.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// Says whether a request can be sent, and what must be asked first; `query` names the
    /// question.
    pub(crate) fn look_up(&mut self, now: Instant, query: impl FnOnce() -> QueryId) -> LookUp {
        if self.name().is_none() {
            return LookUp::Known;
        }
        let is_fresh = self.resolved_at.is_some_and(|at| now < at + FRESH);
        if is_fresh {
            return LookUp::Known;
        }
        let is_asking = self
            .asking
            .is_some_and(|(_, since)| now < since + ANSWER_TIME);
        match (is_asking, self.addresses.is_empty()) {
            (true, true) => LookUp::Wait,
            (true, false) => LookUp::Known,
            (false, true) => LookUp::Ask(self.ask(query(), now)),
            (false, false) => LookUp::Refresh(self.ask(query(), now)),
        }
    }

    fn ask(&mut self, query: QueryId, now: Instant) -> QueryId {
        self.asking = Some((query, now));
        query
    }

    /// Takes the answer to a question. A failed look-up leaves the old addresses in use;
    /// `false` if it was not our question.
    pub(crate) fn handle_resolved(
        &mut self,
        query: QueryId,
        addresses: &[SocketAddr],
        now: Instant,
    ) -> bool {
        if self.asking.is_none_or(|(asked, _)| asked != query) {
            return false;
        }
        self.asking = None;
        if !addresses.is_empty() {
            if self.known.len() > KNOWN_MAX {
                self.known.clear();
            }
            self.known.extend(addresses.iter().map(SocketAddr::ip));
            self.suspects
                .retain(|address, _| addresses.contains(address));
            self.addresses = addresses.to_vec();
            self.resolved_at = Some(now);
        }
        true
    }

    /// The addresses in the order in which they should be tried: those that did not
    /// answer lately come last.
    pub(crate) fn in_order(&self, now: Instant) -> Vec<SocketAddr> {
        let is_suspect =
            |address: &SocketAddr| self.suspects.get(address).is_some_and(|until| now < *until);
        let mut order = self.addresses.clone();
        order.sort_by_key(is_suspect);
        order
    }

    /// Learns that an address did not answer.
    pub(crate) fn handle_silence(&mut self, address: SocketAddr, now: Instant) {
        if self.addresses.contains(&address) {
            self.suspects.insert(address, now + SUSPICION);
        }
    }

    /// Learns that an address answers.
    pub(crate) fn handle_answer(&mut self, address: SocketAddr) {
        self.suspects.remove(&address);
    }

    /// Whether messages from this host are the next hop's. Only the host counts: a
    /// P-CSCF connects and answers from ports of its choice.
    pub(crate) fn is_known(&self, address: IpAddr) -> bool {
        self.known.contains(&address)
    }
}

/// How long a look-up is used before it is asked again.
const FRESH: Duration = Duration::from_secs(60);
/// How long a look-up may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long an address that did not answer is tried last.
const SUSPICION: Duration = Duration::from_secs(30);
/// Old addresses are forgotten when a name has moved about more than this.
const KNOWN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::id::SipTransport;

    const SECOND: Duration = Duration::from_secs(1);

    fn named() -> NextHops {
        NextHops::new(NextHop {
            host: Host::Name(HostName::parse("pcscf.ims.test").unwrap()),
            port: 5060,
            transport: SipTransport::Udp,
        })
    }

    fn named_query(n: u64) -> impl FnOnce() -> QueryId {
        move || QueryId(n)
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 5060))
    }

    #[test]
    fn a_name_is_asked_once_and_again_when_it_is_old() {
        let start = Instant::now();
        let mut hops = named();
        assert_eq!(hops.look_up(start, named_query(1)), LookUp::Ask(QueryId(1)));
        assert_eq!(hops.look_up(start, named_query(1)), LookUp::Wait);
        assert!(hops.handle_resolved(QueryId(1), &[address(1)], start));
        assert_eq!(hops.look_up(start, named_query(1)), LookUp::Known);
        assert_eq!(
            hops.look_up(start + 60 * SECOND, named_query(2)),
            LookUp::Refresh(QueryId(2))
        );
        assert_eq!(
            hops.look_up(start + 61 * SECOND, named_query(2)),
            LookUp::Known
        );
    }

    #[test]
    fn a_failed_look_up_leaves_the_old_addresses_in_use() {
        let start = Instant::now();
        let mut hops = named();
        hops.look_up(start, named_query(1));
        hops.handle_resolved(QueryId(1), &[address(1)], start);
        hops.look_up(start + 60 * SECOND, named_query(2));
        assert!(hops.handle_resolved(QueryId(2), &[], start + 61 * SECOND));
        assert_eq!(hops.in_order(start + 61 * SECOND), [address(1)]);
    }

    #[test]
    fn a_look_up_that_was_never_answered_is_asked_again() {
        let start = Instant::now();
        let mut hops = named();
        hops.look_up(start, named_query(1));
        assert_eq!(
            hops.look_up(start + 5 * SECOND, named_query(2)),
            LookUp::Ask(QueryId(2))
        );
        assert!(!hops.handle_resolved(QueryId(1), &[address(1)], start + 6 * SECOND));
    }

    #[test]
    fn a_silent_address_is_tried_last_for_a_while() {
        let start = Instant::now();
        let mut hops = named();
        hops.look_up(start, named_query(1));
        hops.handle_resolved(QueryId(1), &[address(1), address(2)], start);
        hops.handle_silence(address(1), start);
        assert_eq!(hops.in_order(start), [address(2), address(1)]);
        assert_eq!(hops.in_order(start + 30 * SECOND), [address(1), address(2)]);
    }

    #[test]
    fn an_address_needs_no_look_up() {
        let mut hops = NextHops::new(NextHop::address(address(7), SipTransport::Tcp));
        assert_eq!(hops.look_up(Instant::now(), named_query(1)), LookUp::Known);
        assert!(hops.is_known(address(7).ip()));
        assert!(!hops.is_known(address(8).ip()));
    }
}
