//! Reaching the IMS: from each tenant's next hop to its servers (RFC 3263), and which of
//! them a request goes to (RFC 3261 §8.1.2, TS 24.229 §5.1.2A).

mod cache;
mod choice;
mod finder;
mod health;
mod records;
mod route;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;

pub use choice::Hop;
pub use finder::Finder;
pub use health::Standing;
pub use records::{Naptr, Question, RecordKind, Records, Resolution, Srv};
pub(crate) use route::Way;

use crate::config::{Config, NextHop, TenantId};
use crate::id::{EndpointId, QueryId, SipTransport};
use crate::message::Request;
use cache::Cache;
use choice::Located;
use health::Health;

/// The servers of every tenant.
#[derive(Debug)]
pub(crate) struct Reach {
    tenants: Vec<Servers>,
    health: Health,
}

/// The servers of one tenant.
#[derive(Debug)]
struct Servers {
    next_hop: NextHop,
    cache: Cache,
    hops: BTreeSet<Hop>,
    /// Every host that ever was one: connections to it may still be up.
    known: BTreeSet<IpAddr>,
    /// What the core itself has named as a way to it.
    named: Vec<NextHop>,
    /// Its servers: how they stand is known from what they answer, not from OPTIONS.
    named_hops: BTreeSet<Hop>,
    probes: bool,
    prober: Prober,
}

/// The port that servers are asked from whether they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prober {
    /// There is none yet.
    None,
    /// It was asked for.
    Opening(EndpointId),
    /// This one.
    Open(EndpointId, SocketAddr),
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    /// To these servers, in this order.
    Known(Vec<Hop>),
    /// The name service was asked first.
    Wait,
    /// The name has no servers.
    Nowhere,
    /// Every server asked to be left alone for so long.
    Resting(Duration),
}

impl Reach {
    pub(crate) fn new(config: &Config) -> Self {
        let count = config.tenants.len() as u64;
        let numbered = (1..).zip(&config.tenants);
        let servers = numbered.map(|(n, tenant)| Servers {
            next_hop: tenant.next_hop.clone(),
            cache: Cache::new(n, count),
            hops: BTreeSet::new(),
            known: BTreeSet::new(),
            named: Vec::new(),
            named_hops: BTreeSet::new(),
            probes: tenant.probes,
            prober: Prober::None,
        });
        Reach {
            tenants: servers.collect(),
            health: Health::default(),
        }
    }

    /// Where a request of a tenant's user may go now.
    pub(crate) fn ways(
        &mut self,
        TenantId(tenant): TenantId,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Ways {
        let servers = &mut self.tenants[tenant];
        let tiers = match choice::locate(&servers.next_hop, &mut servers.cache, now) {
            Located::Found(tiers) => tiers,
            Located::Pending if servers.hops.is_empty() => return Ways::Wait,
            // A server was added and its address is not known yet: the others serve.
            Located::Pending => {
                let hops = servers.hops.iter().copied().collect();
                return self.sorted(hops, now, rng);
            }
            Located::Nowhere => return Ways::Nowhere,
        };
        let hops = tiers.iter().flat_map(choice::Tier::hops).collect();
        if servers.hops != hops {
            servers.learn(hops);
            self.watch(now, rng);
        }
        let hops = choice::in_order(&tiers, rng);
        self.sorted(hops, now, rng)
    }

    /// From now on it is known how each server of each tenant stands.
    fn watch(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        let all = self.tenants.iter();
        let all = all.flat_map(|it| it.hops.iter().chain(&it.named_hops));
        let all = all.copied().collect();
        self.health.set_targets(&all, now, rng);
    }

    fn sorted(&self, hops: Vec<Hop>, now: Instant, rng: &mut ChaCha20Rng) -> Ways {
        match self.health.sort(hops, now, rng) {
            Ok(hops) => Ways::Known(hops),
            Err(Some(until)) => Ways::Resting(until.saturating_duration_since(now)),
            Err(None) => Ways::Nowhere,
        }
    }

    /// Whether messages from this host may be a server's of the tenant. Only the host
    /// counts: a P-CSCF connects and answers from ports of its choice.
    pub(crate) fn is_known(&self, TenantId(tenant): TenantId, address: IpAddr) -> bool {
        let servers = &self.tenants[tenant];
        let is_literal =
            matches!(servers.next_hop.host, crate::config::Host::Address(own) if own == address);
        is_literal || servers.known.contains(&address)
    }

    /// The server at an address, if there is one.
    pub(crate) fn hop_at(&self, TenantId(tenant): TenantId, address: IpAddr) -> Option<Hop> {
        let mut hops = self.tenants[tenant].hops.iter();
        hops.find(|hop| hop.address.ip() == address).copied()
    }

    /// Where a request inside a call goes (RFC 3261 §12.2.1.1): to the host of its topmost
    /// Route or else of its Request-URI if that is one of the core's, and never to any
    /// other address; `own` is the server that the call went through.
    pub(crate) fn follow(&self, tenant: TenantId, own: Hop, request: &Request) -> Hop {
        let routes = request.headers.routes().unwrap_or_default();
        let next = routes.first().map_or(&request.uri, |route| &route.uri);
        let Some(uri) = next.as_sip().filter(|uri| !uri.has_param("maddr")) else {
            return own;
        };
        let address = uri.host().address();
        let Some(address) = address.filter(|address| self.is_known(tenant, *address)) else {
            return own;
        };
        let transport = match uri
            .param("transport")
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("tcp") => SipTransport::Tcp,
            Some("tls") => SipTransport::Tls,
            Some("udp") => SipTransport::Udp,
            None if address == own.address.ip() => own.transport,
            _ => SipTransport::Udp,
        };
        let port = uri.port().unwrap_or(choice::default_port(transport));
        Hop {
            address: SocketAddr::new(address, port),
            transport,
        }
    }

    /// How a server stands.
    pub(crate) fn standing(&self, hop: Hop) -> Standing {
        self.health.standing(hop)
    }

    /// How many servers stand so.
    pub(crate) fn count(&self, standing: Standing) -> usize {
        self.health.count(standing)
    }

    /// The next question for the name service, and whose it is.
    pub(crate) fn pop_query(&mut self) -> Option<(TenantId, QueryId, Question)> {
        let mut numbered = self.tenants.iter_mut().enumerate();
        numbered.find_map(|(n, servers)| {
            let (query, question) = servers.cache.pop_query()?;
            Some((TenantId(n), query, question))
        })
    }

    /// Takes an answer of the name service; whose question it was, if it was one of ours.
    pub(crate) fn handle_resolved(
        &mut self,
        query: QueryId,
        resolution: &Resolution,
        now: Instant,
    ) -> Option<TenantId> {
        let answered = |servers: &mut Servers| {
            let resolution = resolution.clone();
            let is_its = servers.cache.handle_resolved(query, resolution, now);
            if is_its {
                servers.learn_named(now);
            }
            is_its
        };
        self.tenants.iter_mut().position(answered).map(TenantId)
    }

    /// Learns that a server answers; says so if that is news.
    pub(crate) fn handle_answer(
        &mut self,
        hop: Hop,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        self.health.handle_answer(hop, now, rng)
    }

    /// Learns that a server did not answer.
    pub(crate) fn handle_silence(
        &mut self,
        hop: Hop,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        self.health.handle_silence(hop, now, rng)
    }

    /// Learns that a server wants to be left alone.
    pub(crate) fn handle_overload(
        &mut self,
        hop: Hop,
        retry_after: Duration,
        now: Instant,
    ) -> Option<Standing> {
        self.health.handle_overload(hop, retry_after, now)
    }

    /// Learns what became of an OPTIONS.
    pub(crate) fn handle_probed(
        &mut self,
        hop: Hop,
        is_answered: bool,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        self.health.handle_probed(hop, is_answered, now, rng)
    }

    /// Gives questions up that were not answered in time; whose they were.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<TenantId> {
        let mut given_up = Vec::new();
        for (n, servers) in self.tenants.iter_mut().enumerate() {
            if servers.cache.poll_timeout().is_some_and(|at| at <= now) {
                servers.cache.handle_timeout(now);
                given_up.push(TenantId(n));
            }
        }
        given_up
    }

    /// A server to be asked whether it is there, and for which tenant: none if nobody wants
    /// it to be asked.
    pub(crate) fn take_probe(&mut self, now: Instant) -> Option<(Hop, Option<TenantId>)> {
        let hop = self.health.take_probe(now)?;
        let asks = |servers: &Servers| servers.probes && servers.hops.contains(&hop);
        let tenant = self.tenants.iter().position(asks).map(TenantId);
        Some((hop, tenant))
    }

    /// The port to ask a tenant's servers from.
    pub(crate) fn prober(&self, TenantId(tenant): TenantId) -> Prober {
        self.tenants[tenant].prober
    }

    /// That port was asked for.
    pub(crate) fn open_prober(&mut self, TenantId(tenant): TenantId, endpoint: EndpointId) {
        self.tenants[tenant].prober = Prober::Opening(endpoint);
    }

    /// A server cannot be asked yet.
    pub(crate) fn postpone_probe(&mut self, hop: Hop, now: Instant) {
        self.health.postpone_probe(hop, now);
    }

    /// Whose port for questions it is.
    pub(crate) fn tenant_of_prober(&self, endpoint: EndpointId) -> Option<TenantId> {
        let is_its = |servers: &Servers| match servers.prober {
            Prober::Open(own, _) | Prober::Opening(own) => own == endpoint,
            Prober::None => false,
        };
        self.tenants.iter().position(is_its).map(TenantId)
    }

    /// Learns what became of opening a port for questions.
    pub(crate) fn handle_opened(
        &mut self,
        TenantId(tenant): TenantId,
        endpoint: EndpointId,
        local: Option<SocketAddr>,
    ) {
        let opened = local.map(|local| Prober::Open(endpoint, local));
        self.tenants[tenant].prober = opened.unwrap_or(Prober::None);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let answers = self.tenants.iter().filter_map(|it| it.cache.poll_timeout());
        answers.chain(self.health.poll_timeout()).min()
    }
}

impl Servers {
    fn learn(&mut self, hops: BTreeSet<Hop>) {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(hops.iter().map(|hop| hop.address.ip()));
        self.hops = hops;
    }
}

/// Old addresses are forgotten when a name has moved about more than this.
const KNOWN_MAX: usize = 64;
