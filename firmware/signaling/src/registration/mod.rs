//! Registrations: a browser's REGISTER becomes one of ours towards the core (RFC 3261
//! §10, TS 24.229 §5.1.1), with the Digest of the browser inside, and a browser that
//! lost its connection gets its registration back on the next (RFC 5626 §3).
//!
//! The box cannot register or refresh anybody by itself: the password is the browser's.

mod asked;
mod attempt;
mod binding;
mod challenge;
mod lifetime;
mod relay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::config::Config;
use crate::deadlines::Deadlines;
use crate::event::DeregistrationCause;
use crate::flow::Closing;
use crate::id::{EndpointId, FlowId};
use crate::next_hop::NextHops;

pub use binding::{Binding, BindingId, ImsPath};
use binding::{BindingKey, State};

/// Every registration of every browser.
#[derive(Debug)]
pub struct Registrations {
    table: BTreeMap<BindingId, Binding>,
    by_key: BTreeMap<BindingKey, BindingId>,
    by_endpoint: BTreeMap<EndpointId, BindingId>,
    /// The registrations that a connection has, or has tried for.
    by_flow: BTreeMap<FlowId, BTreeSet<BindingId>>,
    next_hops: NextHops,
    /// Registrations whose REGISTER waits for the next hop's addresses.
    unresolved: BTreeSet<BindingId>,
    deadlines: Deadlines<BindingId>,
    changes: VecDeque<Change>,
    /// Registrations that still have to be ended, at a pace that the core can take.
    leaving: VecDeque<BindingId>,
    leave_at: Option<Instant>,
    is_draining: bool,
    made: u64,
}

/// What the rest of the control plane must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The browser is away.
    Away(BindingId),
    /// The browser came back, on another connection.
    Back(BindingId),
    /// The registration is over.
    Ended(BindingId, DeregistrationCause),
    /// How many registrations a connection has now.
    Carries(FlowId, usize),
    /// A connection shall be closed.
    Close(FlowId, Closing),
    /// A request of this connection was turned away.
    Failed(FlowId),
}

impl Registrations {
    pub(crate) fn new(config: &Config) -> Self {
        Registrations {
            table: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_endpoint: BTreeMap::new(),
            by_flow: BTreeMap::new(),
            next_hops: NextHops::new(config.next_hop.clone()),
            unresolved: BTreeSet::new(),
            deadlines: Deadlines::new(),
            changes: VecDeque::new(),
            leaving: VecDeque::new(),
            leave_at: None,
            is_draining: false,
            made: 0,
        }
    }

    /// The registration of this name, also for a while after its end.
    #[must_use]
    pub fn get(&self, binding: BindingId) -> Option<&Binding> {
        self.table.get(&binding)
    }

    /// The registrations of a connection, in the order of their making.
    pub fn of_flow(&self, flow: FlowId) -> impl Iterator<Item = &Binding> {
        let ids = self.by_flow.get(&flow).into_iter().flatten();
        ids.filter_map(|id| self.table.get(id))
            .filter(move |binding| binding.flow() == Some(flow))
    }

    /// The registration that owns a port towards the IMS.
    #[must_use]
    pub fn of_endpoint(&self, endpoint: EndpointId) -> Option<&Binding> {
        self.table.get(self.by_endpoint.get(&endpoint)?)
    }

    /// Whether a message from there may be the core's.
    #[must_use]
    pub(crate) fn is_core(&self, endpoint: EndpointId, from: IpAddr) -> bool {
        let taken_by = self
            .of_endpoint(endpoint)
            .and_then(|binding| binding.next_hop);
        self.next_hops.is_known(from) || taken_by.is_some_and(|hop| hop.ip() == from)
    }

    pub(crate) fn pop_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.deadlines.next();
        [next, self.leave_at].into_iter().flatten().min()
    }

    /// Registrations that browsers have, also those whose browser is away.
    pub(crate) fn registered(&self) -> impl Iterator<Item = &Binding> {
        self.table
            .values()
            .filter(|binding| binding.registered().is_some())
    }

    /// Ports held towards the IMS.
    pub(crate) fn endpoints(&self) -> usize {
        self.by_endpoint.len()
    }

    /// Registrations whose browser is away.
    pub(crate) fn in_grace(&self) -> usize {
        let is_away = |binding: &&Binding| matches!(binding.state, State::Grace { .. });
        self.table.values().filter(is_away).count()
    }

    /// Learns the address of an endpoint.
    fn set_local(&mut self, endpoint: EndpointId, local: SocketAddr) -> Option<BindingId> {
        let id = *self.by_endpoint.get(&endpoint)?;
        self.table.get_mut(&id)?.local = Some(local);
        Some(id)
    }

    /// Notes that a connection has something to do with a registration.
    fn touch(&mut self, flow: FlowId, id: BindingId) {
        self.by_flow.entry(flow).or_default().insert(id);
        if let Some(binding) = self.table.get_mut(&id) {
            binding.touched_by.insert(flow);
        }
    }

    /// Tells how many registrations a connection has now.
    fn tell_carried(&mut self, flow: FlowId) {
        let count = self.of_flow(flow).count();
        self.changes.push_back(Change::Carries(flow, count));
    }

    /// Sets when a registration is woken next.
    fn reschedule(&mut self, id: BindingId) {
        let at = self.table.get(&id).map(Binding::deadline);
        self.deadlines.set(id, at);
    }
}
