//! The world as one call sees it: its user, its tenant, and the way out.

use iq::{Command, Leg, Now, SessionId};
use rand_chacha::ChaCha20Rng;

use crate::config::{CallConfig, ServiceConfig, TenantId};
use crate::crossing;
use crate::event::Event;
use crate::link::{Link, Owner};
use crate::message::{HeaderName, Headers, NameAddr, Request, Response};
use crate::reach::Hop;
use crate::registration::{Binding, BindingId, ImsPath, Registrations};
use crate::session::{Device, Outside};
use crate::transaction::{ClientTransactionId, ServerTransactionId};
use crate::visited::Visited;

/// The world of one call.
pub(super) struct View<'a> {
    pub(super) session: SessionId,
    pub(super) tenant: TenantId,
    pub(super) visited: Option<&'a Visited>,
    /// The registrations of the browsers that it rings, or rang, at.
    pub(super) devices: &'a [BindingId],
    /// Which of them is spoken with just now.
    pub(super) device: Device,
    pub(super) hop: Option<Hop>,
    pub(super) link: &'a mut Link,
    pub(super) registrations: &'a Registrations,
}

impl View<'_> {
    fn binding(&self) -> Option<&Binding> {
        let binding = self.devices.get(usize::from(self.device.0))?;
        self.registrations.get(*binding)
    }

    /// Which of the call's browsers has a registration.
    pub(super) fn device_of(&self, binding: BindingId) -> Device {
        let mut devices = (0..).map(Device).zip(self.devices);
        let its = devices.find(|(_, device)| **device == binding);
        its.map_or(self.device, |(device, _)| device)
    }

    /// The way of a request: what belongs to a call goes where its route set leads, and
    /// stays with the server that the call went through.
    fn ims_path(&self, request: &Request) -> Option<ImsPath> {
        let path = self.binding()?.ims_path(&self.link.config)?;
        // With IPsec the user's P-CSCF is where everything goes.
        if request.begins_a_call() || self.binding()?.is_secured() {
            return Some(path);
        }
        let own = self.hop.unwrap_or(path.hop());
        let hop = self.link.reach.follow(self.tenant, own, request);
        Some(path.to(hop))
    }
}

impl Outside for View<'_> {
    fn now(&self) -> Now {
        self.link.now()
    }

    fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.link.rng
    }

    fn config(&self) -> &CallConfig {
        &self.link.config.calls
    }

    fn services(&self) -> &ServiceConfig {
        &self.link.config.tenant(self.tenant).services
    }

    fn gates_early_media(&self) -> bool {
        let tenant = self.link.config.tenant(self.tenant);
        tenant.profile.mw().is_some_and(|mw| mw.gates_early_media)
    }

    fn turn_to(&mut self, device: Device) {
        self.device = device;
    }

    fn is_reachable(&self, leg: Leg) -> bool {
        let binding = self.binding();
        match leg {
            Leg::Access => binding.and_then(Binding::connection).is_some(),
            Leg::Ims => binding
                .and_then(|it| it.ims_path(&self.link.config))
                .is_some(),
        }
    }

    fn contact(&self, leg: Leg, is_anonymous: bool) -> NameAddr {
        crossing::contact(self.link, self.binding(), leg, is_anonymous)
    }

    fn send_request(&mut self, leg: Leg, mut request: Request) -> Option<ClientTransactionId> {
        if !request.headers.has(&HeaderName::MaxForwards) {
            request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        }
        let owner = Owner::Session(self.session, leg);
        match leg {
            Leg::Access => {
                let flow = self.binding()?.connection()?;
                Some(self.link.send_to_flow(owner, flow, request))
            }
            Leg::Ims => {
                let path = self.ims_path(&request)?;
                if let Some(visited) = self.visited {
                    visited.dress_request(&request.method, &mut request.headers);
                    return Some(self.link.send_by_route(owner, &path, request));
                }
                let user = self
                    .binding()
                    .and_then(|it| it.kept_user(&self.link.config))
                    .cloned();
                let tenant = request.begins_a_call().then_some(self.tenant);
                let link = &mut self.link;
                Some(match (user, tenant) {
                    (Some(user), _) => {
                        link.send_on_behalf(self.session, tenant, &path, request, user)
                    }
                    (None, Some(tenant)) => link.send_call(owner, tenant, &path, request),
                    (None, None) => link.send_to_ims(owner, &path, request),
                })
            }
        }
    }

    fn send_ack(&mut self, leg: Leg, mut request: Request) {
        if !request.headers.has(&HeaderName::MaxForwards) {
            request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        }
        let flow = self.binding().and_then(Binding::connection);
        let path = self.ims_path(&request);
        match (leg, flow, path) {
            (Leg::Access, Some(flow), _) => self.link.acknowledge_to_flow(flow, request),
            (Leg::Ims, _, Some(path)) if self.visited.is_some() => {
                self.link.acknowledge_by_route(&path, request);
            }
            (Leg::Ims, _, Some(path)) => {
                self.link.match_ack(self.session, &mut request);
                self.link.acknowledge_to_ims(&path, request);
            }
            (Leg::Access | Leg::Ims, _, _) => {} // Nobody is there; the 2xx will come again.
        }
    }

    fn cancel(&mut self, invite: ClientTransactionId, headers: Headers) {
        self.link.cancel(invite, &headers);
    }

    fn respond(&mut self, leg: Leg, transaction: ServerTransactionId, mut response: Response) {
        if let Some(visited) = self.visited.filter(|_| leg == Leg::Ims) {
            visited.dress_response(&mut response);
        }
        self.link.respond(transaction, response);
    }

    fn carry(&self, towards: Leg, headers: &Headers) -> Headers {
        self.link.policies.carry(self.tenant, headers, towards)
    }

    fn iq(&mut self, command: Command) {
        self.link.iq(command);
    }

    fn event(&mut self, mut event: Event) {
        if let Event::CallEnded(record) = &mut event {
            record.charging = self.visited.map(Visited::charging);
        }
        let counters = &mut self.link.counters;
        match &event {
            Event::CallStarted {
                from: Leg::Access, ..
            } => counters.calls_from_access += 1,
            Event::CallStarted { from: Leg::Ims, .. } => counters.calls_from_ims += 1,
            Event::CallAnswered { .. } => counters.calls_answered += 1,
            _ => {}
        }
        self.link.event(event);
    }
}

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u32 = 70;
