//! Requests that go where their own Route leads (RFC 3261 §16.4), which may have to be looked up
//! first: they wait here for it.

use std::time::Instant;

use super::{Client, Going, Link, Owner};
use crate::config::TenantId;
use crate::message::{Method, Request, Uri};
use crate::reach::Way;
use crate::reaching::Spare;
use crate::registration::ImsPath;
use crate::transaction::ClientTransactionId;

/// A request, or an ACK, that waits for a name to be looked up.
#[derive(Debug)]
pub(super) struct Parked {
    /// Nobody, for an ACK.
    owner: Option<Owner>,
    path: ImsPath,
    request: Request,
    pub(super) give_up_at: Instant,
}

impl Link {
    /// Sends a request other than REGISTER where its Route leads, which may have to be
    /// looked up first.
    pub(crate) fn send_by_route(
        &mut self,
        owner: Owner,
        path: &ImsPath,
        request: Request,
    ) -> ClientTransactionId {
        match self.path_by_route(path, &request) {
            Some(Ok(path)) if request.begins_a_call() => {
                let spare = Box::new(Spare::by_route(path, request));
                self.send_spare(owner, spare, None)
            }
            Some(Ok(path)) => self.send_to_ims(owner, &path, request),
            pending => {
                let first = self.transactions.reserve();
                self.park(first, Some(owner), *path, request);
                if pending.is_none() {
                    self.strand(first);
                }
                first
            }
        }
    }

    /// The path that a request takes by its own Route: `Err` if a name has to be looked up
    /// first, `None` if it leads nowhere. What belongs to a call stays with the server that
    /// it is with, if that is one of several.
    fn path_by_route(&mut self, path: &ImsPath, request: &Request) -> Option<Result<ImsPath, ()>> {
        match self.way_by_route(path.tenant, request.next_hop()) {
            Way::To(hops) | Way::Resting(hops, _) => {
                let own = hops.iter().find(|hop| **hop == path.hop());
                let hop = own.or(hops.first())?;
                Some(Ok(path.to(*hop)))
            }
            Way::Wait => Some(Err(())),
            Way::Nowhere => None,
            // The I-CSCF finds the way for what names none, like a telephone number.
            Way::Unnamed => Some(Ok(*path)),
        }
    }

    /// Where a request goes that follows its own Route.
    pub(crate) fn way_by_route(&mut self, tenant: TenantId, next: Uri) -> Way {
        let now = self.instant();
        self.reach.way(tenant, &next, now, &mut self.rng)
    }

    /// The core says in a Service-Route where it is to be reached.
    pub(crate) fn name_core(&mut self, tenant: TenantId, uri: &Uri) {
        let now = self.instant();
        self.reach.name_core(tenant, uri, now);
    }

    fn park(
        &mut self,
        first: ClientTransactionId,
        owner: Option<Owner>,
        path: ImsPath,
        request: Request,
    ) {
        let answer_time = self.config.tenant(path.tenant).registration.answer_time;
        let parked = Parked {
            owner,
            path,
            request,
            give_up_at: self.instant() + answer_time,
        };
        self.parked.insert(first, parked);
    }

    /// More is known of where names lead to: what waited for that goes on.
    pub(crate) fn go_on(&mut self, tenant: TenantId) {
        let waits = |(first, parked): (&ClientTransactionId, &Parked)| {
            (parked.path.tenant == tenant).then_some(*first)
        };
        for first in self.parked.iter().filter_map(waits).collect::<Vec<_>>() {
            let Some(parked) = self.parked.remove(&first) else {
                continue;
            };
            match self.path_by_route(&parked.path, &parked.request) {
                Some(Ok(path)) => self.send_parked(first, &path, parked),
                Some(Err(())) => {
                    self.parked.insert(first, parked);
                }
                None => {
                    self.parked.insert(first, parked);
                    self.strand(first);
                }
            }
        }
    }

    fn send_parked(&mut self, first: ClientTransactionId, path: &ImsPath, parked: Parked) {
        if let Some(owner) = parked.owner.filter(|_| parked.request.begins_a_call()) {
            let spare = Box::new(Spare::by_route(*path, parked.request));
            self.send_spare(owner, spare, Some(first));
            return;
        }
        let (peer, request) = self.address(path, parked.request);
        let Some(owner) = parked.owner else {
            return self.deliver(&peer, request.to_bytes());
        };
        let is_moved = peer != path.peer(path.transport);
        self.counters.requests_moved_to_stream += u64::from(is_moved);
        let going = Going {
            hop: Some(path.hop()),
            first: Some(first),
            fallback: is_moved.then(|| Box::new((*path, request.clone()))),
            ..Going::plain(owner)
        };
        self.start(going, peer, request);
    }

    pub(super) fn strand(&mut self, first: ClientTransactionId) {
        let Some(parked) = self.parked.remove(&first) else {
            return;
        };
        if let Some(owner) = parked.owner {
            let client = Client {
                owner,
                first,
                is_invite: parked.request.method == Method::Invite,
                hop: None,
                fallback: None,
                spare: None,
                is_superseded: false,
            };
            self.clients.insert(first, client);
            self.stranded.push_back(first);
        }
    }

    /// A request that came to nothing before it was sent.
    pub(crate) fn pop_stranded(&mut self) -> Option<ClientTransactionId> {
        self.stranded.pop_front()
    }

    /// The same, where its Route leads.
    pub(crate) fn acknowledge_by_route(&mut self, path: &ImsPath, request: Request) {
        match self.path_by_route(path, &request) {
            Some(Ok(path)) => self.acknowledge_to_ims(&path, request),
            Some(Err(())) => {
                let first = self.transactions.reserve();
                self.park(first, None, *path, request);
            }
            None => {} // Nobody is there; the 2xx will come again.
        }
    }
}
