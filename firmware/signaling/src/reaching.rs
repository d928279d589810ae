//! How requests reach the IMS: which server is tried, what its answer or its silence says
//! about it, and who is asked next (RFC 3261 §8.1.2, §21.5.4, RFC 3263 §4.3).
//!
//! A request that begins something moves on from a server that cannot be connected to, that
//! says 503, or that says nothing at all for [`CALL_PATIENCE`]: RFC 3261 §17.2.1 has
//! a server say 100 within 200 ms, and no rule makes a client wait for Timer B (64·T1)
//! before it asks another one. What a server that was given up says after all is a branch
//! of the same call, or cancelled. What belongs to a dialog stays on its way.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::TenantId;
use crate::event::Event;
use crate::id::EndpointId;
use crate::link::{Client, Going, Heard, Link, Owner};
use crate::message::headers::CSeq;
use crate::message::{HeaderName, Method, NameAddr, Request, Response, SipUri, StatusCode};
use crate::output::{EndpointKind, Output};
use crate::reach::{Hop, Prober, Standing, Way, Ways};
use crate::registration::ImsPath;
use crate::transaction::{ClientTransactionId, Failure};

/// An INVITE that another server could take.
#[derive(Debug)]
pub(crate) struct Spare {
    tenant: TenantId,
    path: ImsPath,
    /// Without a Via.
    request: Request,
    tried: Vec<Hop>,
    servers: Servers,
}

/// Which servers could take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    /// Those of the tenant's next hop.
    NextHop,
    /// Those that its own Route names.
    Route,
}

impl Link {
    /// Where a request of a tenant's user may go.
    pub(crate) fn ways(&mut self, tenant: TenantId) -> Ways {
        let now = self.instant();
        self.reach.ways(tenant, now, &mut self.rng)
    }

    /// The same, with the server first that the user is with already, as long as that
    /// answers.
    pub(crate) fn ways_from(&mut self, tenant: TenantId, own: Option<Hop>) -> Ways {
        let ways = self.ways(tenant);
        match (ways, own) {
            (Ways::Known(mut hops), Some(own)) if self.reach.standing(own) == Standing::Up => {
                hops.sort_by_key(|hop| *hop != own);
                Ways::Known(hops)
            }
            (ways, _) => ways,
        }
    }

    /// Sends an INVITE for a new call, to the server that its user is with or to another
    /// one that may take it.
    pub(crate) fn send_call(
        &mut self,
        owner: Owner,
        tenant: TenantId,
        path: &ImsPath,
        request: Request,
    ) -> ClientTransactionId {
        let hops = match self.ways_from(tenant, Some(path.hop())) {
            Ways::Known(hops) => hops,
            Ways::Wait | Ways::Nowhere | Ways::Resting(_) => Vec::new(),
        };
        let mut spare = Spare {
            tenant,
            path: *path,
            request,
            tried: Vec::new(),
            servers: Servers::NextHop,
        };
        match hops.first() {
            Some(first) if hops.contains(&path.hop()) || !self.is_up(path.hop()) => {
                spare.lead_to(*first);
                self.send_spare(owner, Box::new(spare), None)
            }
            // It goes past the next hop.
            _ => self.send_to_ims(owner, path, spare.request),
        }
    }

    fn is_up(&self, hop: Hop) -> bool {
        self.reach.standing(hop) == Standing::Up
    }

    pub(crate) fn send_spare(
        &mut self,
        owner: Owner,
        mut spare: Box<Spare>,
        first: Option<ClientTransactionId>,
    ) -> ClientTransactionId {
        let (path, hop) = (spare.path, spare.path.hop());
        spare.tried.push(hop);
        let (peer, request) = self.address(&path, spare.request.clone());
        let is_moved = peer != path.peer(path.transport);
        self.counters.requests_moved_to_stream += u64::from(is_moved);
        let has_others = self.untried(&spare).is_some();
        let going = Going {
            owner,
            hop: Some(hop),
            first,
            fallback: is_moved.then(|| Box::new((path, request.clone()))),
            patience: has_others.then_some(CALL_PATIENCE),
            spare: Some(spare),
        };
        self.start(going, peer, request)
    }

    /// Sends a request anew, under the name that its owner knows.
    pub(crate) fn send_again(
        &mut self,
        owner: Owner,
        path: &ImsPath,
        request: Request,
        first: ClientTransactionId,
    ) -> ClientTransactionId {
        let (peer, request) = self.address(path, request);
        let going = Going {
            hop: Some(path.hop()),
            first: Some(first),
            ..Going::plain(owner)
        };
        self.start(going, peer, request)
    }

    fn untried(&mut self, spare: &Spare) -> Option<Hop> {
        let by_route = match spare.servers {
            Servers::NextHop => Way::Unnamed,
            Servers::Route => self.way_by_route(spare.tenant, spare.request.next_hop()),
        };
        let hops = match by_route {
            Way::To(hops) => hops,
            Way::Unnamed => match self.ways(spare.tenant) {
                Ways::Known(hops) => hops,
                Ways::Wait | Ways::Nowhere | Ways::Resting(_) => return None,
            },
            Way::Resting(..) | Way::Wait | Way::Nowhere => return None,
        };
        hops.into_iter().find(|hop| !spare.tried.contains(hop))
    }

    /// Sends an INVITE to a server that was not tried yet, if there is one.
    fn try_next(
        &mut self,
        owner: Owner,
        first: ClientTransactionId,
        spare: Option<Box<Spare>>,
    ) -> bool {
        let Some(mut spare) = spare else {
            return false;
        };
        let Some(hop) = self.untried(&spare) else {
            return false;
        };
        spare.lead_to(hop);
        self.counters.next_hop_failovers += 1;
        self.send_spare(owner, spare, Some(first));
        true
    }

    /// Takes from a response what it says about its server. Yes if nobody else shall hear
    /// of it.
    pub(crate) fn take_hops_answer(
        &mut self,
        transaction: ClientTransactionId,
        response: &Response,
    ) -> bool {
        let Some(client) = self.client(transaction) else {
            return false;
        };
        let (owner, first, hop) = (client.owner, client.first, client.hop);
        let is_superseded = client.is_superseded;
        let is_progress = response.status.is_provisional() && response.status != StatusCode::TRYING;
        if is_progress {
            client.spare = None; // Somebody rings: another server would ring him again.
        }
        if let Some(hop) = hop {
            if owner == Owner::Probe {
                self.probed(hop, true);
            }
            self.hop_answered(hop, response);
        }
        if owner == Owner::Probe || is_superseded && !response.status.is_success() {
            if response.status.is_final() {
                self.forget(transaction);
            }
            return true;
        }
        // 408 says on behalf of the servers behind it what a silence says.
        let may_move = matches!(
            response.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT
        );
        if !may_move {
            return false;
        }
        let spare = self.client(transaction).and_then(|it| it.spare.take());
        let is_moved = self.try_next(owner, first, spare);
        if is_moved {
            self.forget(transaction);
        }
        is_moved
    }

    /// What becomes of a request that its server did not answer.
    pub(crate) fn take_hops_failure(&mut self, client: Client, failure: Failure) -> Heard {
        if client.is_superseded {
            return Heard::Nobody;
        }
        // Who waits for a REGISTER says himself what its silence means; and of all others
        // only an INVITE must be answered by the server itself (RFC 4320 §4.1).
        let is_its_silence = match (client.owner, failure) {
            (_, Failure::Overloaded) | (Owner::Binding(_) | Owner::Probe, _) => false,
            (
                Owner::Session(..) | Owner::Subscription(_) | Owner::Watch(_) | Owner::Exchange,
                failure,
            ) => failure == Failure::Transport || client.is_invite,
        };
        match client.hop {
            Some(hop) if client.owner == Owner::Probe => {
                self.probe_unanswered(hop);
                return Heard::Nobody;
            }
            Some(hop) if is_its_silence => self.hop_silent(hop),
            _ => {}
        }
        if self.try_next(client.owner, client.first, client.spare) {
            Heard::Nobody
        } else {
            Heard::By(client.owner, client.first)
        }
    }

    /// A server has said nothing for long enough: another one is asked.
    pub(crate) fn lose_patience(&mut self, transaction: ClientTransactionId) {
        let Some(client) = self.client(transaction) else {
            return;
        };
        let (owner, first, hop) = (client.owner, client.first, client.hop);
        let spare = client.spare.take();
        match hop {
            Some(hop) if owner == Owner::Probe => {
                self.abandon(transaction);
                return self.probe_unanswered(hop);
            }
            Some(hop) => self.hop_silent(hop),
            None => {}
        }
        if self.try_next(owner, first, spare) {
            if let Some(client) = self.client(transaction) {
                client.is_superseded = true;
            }
            // It is told as soon as it has said anything (RFC 3261 §9.1).
            let now = self.instant();
            self.transactions.cancel(transaction, Vec::new(), now);
        }
    }

    /// Learns from any response that a server is there, and from a 503 with Retry-After that
    /// it wants to be left alone.
    pub(crate) fn hop_answered(&mut self, hop: Hop, response: &Response) {
        let now = self.instant();
        let retry_after = response.headers.retry_after().ok().flatten();
        let news = match retry_after.filter(|_| response.status == StatusCode::SERVICE_UNAVAILABLE)
        {
            Some(after) => {
                let time = Duration::from_secs(after.0.into());
                self.reach.handle_overload(hop, time, now)
            }
            None => self.reach.handle_answer(hop, now, &mut self.rng),
        };
        self.tell_standing(hop, news);
    }

    /// Learns that a server does not answer.
    pub(crate) fn hop_silent(&mut self, hop: Hop) {
        let now = self.instant();
        let news = self.reach.handle_silence(hop, now, &mut self.rng);
        self.tell_standing(hop, news);
    }

    fn tell_standing(&mut self, hop: Hop, news: Option<Standing>) {
        if let Some(standing) = news {
            self.event(Event::NextHopStands { hop, standing });
        }
    }

    /// Asks the servers that are due whether they are there.
    pub(crate) fn send_probes(&mut self) {
        let now = self.instant();
        while let Some((hop, tenant)) = self.reach.take_probe(now) {
            let Some(tenant) = tenant else {
                self.probed(hop, false);
                continue;
            };
            match self.reach.prober(tenant) {
                Prober::Open(endpoint, local) => self.send_probe(tenant, endpoint, local, hop),
                Prober::Opening(_) => self.reach.postpone_probe(hop, now),
                // The port that all users share will do, once it is open.
                Prober::None if self.config.tenant(tenant).profile.shared_port().is_some() => {
                    self.reach.postpone_probe(hop, now);
                }
                Prober::None => {
                    let endpoint = self.endpoint();
                    self.reach.open_prober(tenant, endpoint);
                    let kind = EndpointKind::Own;
                    self.push(Output::Open {
                        endpoint,
                        tenant,
                        kind,
                    });
                    self.reach.postpone_probe(hop, now);
                }
            }
        }
    }

    /// RFC 3261 §11: whatever it answers, it is there.
    fn send_probe(&mut self, tenant: TenantId, endpoint: EndpointId, local: SocketAddr, hop: Hop) {
        let host = self.config.tenant(tenant).own_host(local.ip());
        let own = SipUri::new(&host, Some(local.port()));
        let tag = self.token();
        let mut request = Request::new(Method::Options, hop.uri());
        let headers = &mut request.headers;
        headers.push(HeaderName::MaxForwards, PROBE_HOPS);
        let from = NameAddr::new(own.clone()).with_tag(&tag);
        headers.push(HeaderName::From, from.to_string());
        headers.push(HeaderName::To, NameAddr::new(hop.uri()).to_string());
        headers.push(HeaderName::CallId, tag.as_str());
        headers.push_typed(&CSeq {
            number: 1,
            method: Method::Options,
        });
        headers.push(HeaderName::Contact, NameAddr::new(own).to_string());
        let path = ImsPath {
            tenant,
            endpoint,
            local,
            remote: hop.address,
            transport: hop.transport,
        };
        let (peer, request) = self.address(&path, request);
        let going = Going {
            hop: Some(hop),
            patience: Some(PROBE_PATIENCE),
            ..Going::plain(Owner::Probe)
        };
        self.counters.probes_sent += 1;
        self.start(going, peer, request);
    }

    fn probe_unanswered(&mut self, hop: Hop) {
        self.counters.probes_unanswered += 1;
        self.probed(hop, false);
    }

    fn probed(&mut self, hop: Hop, is_answered: bool) {
        let now = self.instant();
        let news = self
            .reach
            .handle_probed(hop, is_answered, now, &mut self.rng);
        self.tell_standing(hop, news);
    }
}

impl Spare {
    /// An INVITE that goes where its Route leads, on the way to the first server there.
    pub(crate) fn by_route(path: ImsPath, request: Request) -> Self {
        Spare {
            tenant: path.tenant,
            path,
            request,
            tried: Vec::new(),
            servers: Servers::Route,
        }
    }

    /// The INVITE, for what every server asks alike.
    pub(crate) fn request(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Changes where the INVITE goes: its topmost Route names the server.
    fn lead_to(&mut self, hop: Hop) {
        let before = self.path.hop().uri().with_flag("lr");
        let routes = self.request.headers.routes().unwrap_or_default();
        let leads = routes.first().is_some_and(|route| {
            let uri = route.uri.as_sip();
            uri.is_some_and(|uri| uri.as_str() == before.as_str())
        });
        if leads && self.servers == Servers::NextHop {
            let route = NameAddr::new(hop.uri().with_flag("lr"));
            self.request.headers.remove_first_item(&HeaderName::Route);
            self.request
                .headers
                .prepend(HeaderName::Route, route.to_string());
        }
        self.path = self.path.to(hop);
    }
}

/// How long a server may say nothing to an INVITE: three copies of it by datagram were lost
/// or not answered by then, at 0.5, 1.5 and 3.5 s.
const CALL_PATIENCE: Duration = Duration::from_secs(4);

/// How long a server may say nothing to an OPTIONS.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);

/// RFC 3261 §8.1.1.6.
const PROBE_HOPS: u32 = 70;
