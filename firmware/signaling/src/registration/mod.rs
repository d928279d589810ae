//! Registrations: a browser's REGISTER becomes one of ours towards the core (RFC 3261
//! §10, TS 24.229 §5.1.1), with the Digest of the browser inside, and a browser that
//! lost its connection gets its registration back on the next (RFC 5626 §3).
//!
//! Where the password is the browser's, the box cannot register or refresh anybody by
//! itself; users who proved themselves in another way it keeps registered ([`on_behalf`]).

mod answer;
mod asked;
mod attempt;
mod binding;
mod challenge;
mod gruu;
mod house;
mod kept;
mod lifetime;
mod mw;
mod on_behalf;
mod relay;
mod restoration;
mod security;
mod shared;
mod trunk;
mod watch;
mod winding_up;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::auth::AuthenticationId;
use crate::config::{Tenant, TenantId};
use crate::deadlines::Deadlines;
use crate::event::DeregistrationCause;
use crate::flow::Closing;
use crate::flow_token::FlowName;
use crate::id::{EndpointId, FlowId};
use crate::identity::PublicIdentity;
use crate::link::Link;
use crate::message::{Request, SipUri};
use crate::rejection::Rejection;

pub(crate) use asked::life_of;
pub use binding::{Binding, BindingId, ImsPath};
use binding::{BindingKey, Instance, Kind};
use house::Doorkeeper;
pub(crate) use kept::KeptRegistration;
use shared::SharedEndpoints;
pub(crate) use watch::WatchId;
use watch::Watches;

/// Every registration of every browser.
#[derive(Debug)]
pub struct Registrations {
    table: BTreeMap<BindingId, Binding>,
    by_key: BTreeMap<BindingKey, BindingId>,
    by_endpoint: BTreeMap<EndpointId, BindingId>,
    /// Those that share a port, by what their flow token names.
    by_flow_name: BTreeMap<FlowName, BindingId>,
    /// Those of trunks themselves.
    trunk_ids: Vec<BindingId>,
    door: Doorkeeper,
    watches: Watches,
    shared: SharedEndpoints,
    /// The ports of what nothing protects yet, where there is IPsec.
    unprotected: SharedEndpoints,
    /// The registrations that a connection has, or has tried for.
    by_flow: BTreeMap<FlowId, BTreeSet<BindingId>>,
    /// Each tenant's.
    /// How many registrations each tenant has, of any state.
    held: Vec<usize>,
    /// Registrations whose REGISTER waits for the next hop's addresses.
    unresolved: BTreeSet<BindingId>,
    /// Those that stand for the sake of their calls alone.
    winding_up: BTreeSet<BindingId>,
    /// Registrations that wait for their credentials.
    asking: BTreeMap<AuthenticationId, BindingId>,
    deadlines: Deadlines<BindingId>,
    changes: VecDeque<Change>,
    /// Registrations that still have to be ended, at a pace that the core can take.
    leaving: VecDeque<BindingId>,
    leave_at: Option<Instant>,
    is_draining: bool,
    made: u64,
    tally: Tally,
    /// Those that may have changed since their records were written.
    touched: BTreeSet<BindingId>,
}

/// How many registrations there are, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Those that browsers have, also while away.
    pub(crate) registered: usize,
    /// Those whose browser is away.
    pub(crate) in_grace: usize,
}

impl Tally {
    fn count(&mut self, before: Kind, after: Kind) {
        self.registered -= usize::from(before != Kind::Unregistered);
        self.registered += usize::from(after != Kind::Unregistered);
        self.in_grace -= usize::from(before == Kind::Grace);
        self.in_grace += usize::from(after == Kind::Grace);
    }
}

/// What the rest of the control plane must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The browser is away.
    Away(BindingId),
    /// The registration is about to end: its calls end first, while they still can.
    Leaving(BindingId),
    /// The browser came back, on another connection.
    Back(BindingId),
    /// The core has taken the registration of a user who logged in by token.
    Proven(BindingId),
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
    pub(crate) fn new(link: &mut Link) -> Self {
        let config = link.config.clone();
        let of_all = |tenant: &Tenant| tenant.profile.shared_port();
        let shared = SharedEndpoints::open(&config, of_all, link);
        let of_ipsec = |tenant: &Tenant| Some(tenant.security.ipsec()?.port);
        let unprotected = SharedEndpoints::open(&config, of_ipsec, link);
        Registrations {
            table: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_endpoint: BTreeMap::new(),
            by_flow_name: BTreeMap::new(),
            trunk_ids: Vec::new(),
            door: Doorkeeper::default(),
            watches: Watches::default(),
            shared,
            unprotected,
            by_flow: BTreeMap::new(),
            held: vec![0; config.tenants.len()],
            unresolved: BTreeSet::new(),
            winding_up: BTreeSet::new(),
            asking: BTreeMap::new(),
            deadlines: Deadlines::new(),
            changes: VecDeque::new(),
            leaving: VecDeque::new(),
            leave_at: None,
            is_draining: false,
            made: 0,
            tally: Tally::default(),
            touched: BTreeSet::new(),
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

    /// The registrations of the user whose registration this is, on all his devices.
    pub(crate) fn of_same_user(&self, binding: BindingId) -> impl Iterator<Item = BindingId> {
        let key = self.table.get(&binding).map(|binding| &binding.key);
        let first = key.map(|key| BindingKey {
            identity: key.identity.clone(),
            instance: Instance::first(),
        });
        let from = first
            .into_iter()
            .flat_map(|first| self.by_key.range(first..));
        from.take_while(move |(other, _)| key.is_some_and(|key| key.identity == other.identity))
            .map(|(_, id)| *id)
    }

    /// The registrations of an identity, under whichever of its user's names.
    pub(crate) fn of_identity(&self, identity: &PublicIdentity) -> Vec<BindingId> {
        let is_his = |binding: &&Binding| binding.identities().contains(identity);
        self.table
            .values()
            .filter(is_his)
            .map(Binding::id)
            .collect()
    }

    /// The registration that owns a port towards the IMS.
    #[must_use]
    pub fn of_endpoint(&self, endpoint: EndpointId) -> Option<&Binding> {
        self.table.get(self.by_endpoint.get(&endpoint)?)
    }

    /// The registration that a new request from the core is for: by the port it came to,
    /// or by the flow token in its topmost Route (RFC 5626 §5.3).
    pub(crate) fn target_of(
        &self,
        endpoint: EndpointId,
        request: &Request,
        link: &Link,
    ) -> Result<&Binding, Rejection> {
        let Some(shared) = self.shared.of_endpoint(endpoint) else {
            let binding = self.of_endpoint(endpoint).ok_or(Rejection::NotHere)?;
            return match binding.is_target(&request.uri) {
                true if binding.is_winding_up() => Err(Rejection::FlowFailed),
                true => Ok(binding),
                false => Err(Rejection::NotHere),
            };
        };
        if link.config.tenant(shared.tenant).profile.trunk().is_some() {
            return self.called_by_trunk(shared.tenant, request, link);
        }
        let routes = request.headers.routes()?;
        let route = routes.first().and_then(|route| route.uri.as_sip());
        let token = route.and_then(SipUri::user).ok_or(Rejection::NotHere)?;
        let name = link
            .flow_tokens
            .open(token)
            .ok_or(Rejection::BadFlowToken)?;
        let id = self.by_flow_name.get(&name).ok_or(Rejection::FlowGone)?;
        let binding = self.table.get(id).ok_or(Rejection::FlowGone)?;
        if binding.registered().is_none() || binding.is_winding_up() {
            // He has signed off; Kamailio's S-CSCF forgets him a while later.
            return Err(Rejection::FlowFailed);
        }
        let is_there = binding.flow().is_some() && binding.tenant == shared.tenant;
        if is_there {
            Ok(binding)
        } else {
            Err(Rejection::FlowGone)
        }
    }

    /// Whether a message from there may be the core's: that of the tenant whose endpoint it
    /// came to, or any for what was late for an endpoint that is closed.
    #[must_use]
    pub(crate) fn is_core(&self, endpoint: EndpointId, from: IpAddr, link: &Link) -> bool {
        let is_his = |tenant: TenantId| {
            let trusted = &link.config.tenant(tenant).trusted_peers;
            trusted.contains(&from) || link.reach.is_known(tenant, from)
        };
        let binding = self.of_endpoint(endpoint);
        let shared = self.shared.of_endpoint(endpoint);
        let shared = shared.or_else(|| self.unprotected.of_endpoint(endpoint));
        match binding.map(Binding::tenant).or(shared.map(|it| it.tenant)) {
            None => (0..link.config.tenants.len()).map(TenantId).any(is_his),
            Some(tenant) => {
                let next_hop = binding.and_then(|binding| binding.next_hop);
                next_hop.is_some_and(|hop| hop.address.ip() == from) || is_his(tenant)
            }
        }
    }

    pub(crate) fn pop_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.deadlines.next();
        let shared = [&self.shared, &self.unprotected].map(SharedEndpoints::poll_timeout);
        let own = [next, self.leave_at, self.watches.poll_timeout()];
        own.into_iter().chain(shared).flatten().min()
    }

    /// Ports held towards the IMS.
    pub(crate) fn endpoints(&self) -> usize {
        self.by_endpoint.len() + self.shared.len() + self.unprotected.len()
    }

    /// How many there are.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
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

    /// After a registration changed: sets when it is woken next, and counts it anew.
    fn reschedule(&mut self, id: BindingId) {
        self.touched.insert(id);
        if let Some(binding) = self.table.get_mut(&id) {
            let after = binding.kind();
            let before = std::mem::replace(&mut binding.counted, after);
            self.tally.count(before, after);
        }
        let at = self.table.get(&id).map(Binding::deadline);
        self.deadlines.set(id, at);
    }
}
