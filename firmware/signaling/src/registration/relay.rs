//! A REGISTER on its way from a browser to the core.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::auth::ProvenUser;
use crate::config::{Profile, TenantId};
use crate::event::{DeregistrationCause, Event, RegistrationFailure};
use crate::flow_token::FlowName;
use crate::guard::Verdict;
use crate::id::{EndpointId, FlowId};
use crate::identity::PublicIdentity;
use crate::input::OpenFailure;
use crate::link::{Link, Owner};
use crate::message::{Headers, Request};
use crate::output::{EndpointKind, Output};
use crate::reach::{Hop, Ways};
use crate::rejection::Rejection;
use crate::transaction::ServerTransactionId;

use super::asked::{Asked, Grant, Sender};
use super::attempt::{Attempt, Origin, Sent};
use super::binding::{
    Binding, BindingId, CHALLENGE_TIME, ImsPath, Instance, Kind, State, contact_uri,
};
use super::challenge::Challenges;
use super::mw;
use super::on_behalf::{self, Proving};
use super::security::Security;
use super::{Change, Registrations};

impl Registrations {
    /// Takes a browser's REGISTER; `user` is whom its token proves. On Gm the box registers
    /// him with stored credentials, on Mw it vouches for him (TS 33.203 Annex U).
    pub(crate) fn handle_register(
        &mut self,
        (flow, source): (FlowId, Option<IpAddr>),
        is_secure: bool,
        transaction: ServerTransactionId,
        request: Request,
        user: Option<ProvenUser>,
        link: &mut Link,
    ) {
        let origin = Origin::Browser {
            flow,
            source,
            transaction,
            request: Box::new(request.clone()),
        };
        let known = |identity: &PublicIdentity| self.instance_of(flow, identity);
        let (config, policies, now) = (&link.config, &link.policies, link.instant());
        let read = Asked::read(
            &request,
            is_secure,
            config,
            policies,
            user.clone(),
            now,
            known,
        );
        let asked = match read {
            Ok(asked) => asked,
            Err(rejection) => return self.reject(&origin, None, rejection, link),
        };
        let (who, now) = (&asked.key.identity, link.instant());
        if let Some(wait) = self.watches.probation_of(who, now) {
            let who = who.clone();
            return self.reject(&origin, Some(&who), Rejection::too_fast(wait), link);
        }
        if user.is_none() && link.config.tenant(asked.tenant).profile.trunk().is_some() {
            return self.ask_password((flow, source), origin, asked, link);
        }
        if let Err(rejection) = self.may_try(flow, source, &asked, link) {
            return self.reject(&origin, Some(&asked.key.identity), rejection, link);
        }
        self.take_asked(flow, origin, asked, user, link);
    }

    /// Takes a REGISTER that may be acted on.
    pub(super) fn take_asked(
        &mut self,
        flow: FlowId,
        origin: Origin,
        mut asked: Asked,
        user: Option<ProvenUser>,
        link: &mut Link,
    ) {
        let Origin::Browser { request, .. } = &origin else {
            return;
        };
        asked.proven.clone_from(&user);
        let identity = asked.key.identity.clone();
        match self.admit(flow, &asked, user.as_ref(), link) {
            Ok(Some(id)) => {
                asked.integrity.is_bound = self.table[&id].flow() == Some(flow);
                if asked.is_farewell() && self.table[&id].is_secured() {
                    self.changes.push_back(Change::Leaving(id));
                }
                let is_terminal = link.config.tenant(asked.tenant).profile == Profile::Gm;
                let kept = user.filter(|_| is_terminal);
                let is_renewed =
                    kept.is_some_and(|user| self.renew(id, flow, user, &origin, &asked, link));
                if !is_renewed {
                    self.drop_attempt(id, link);
                    self.begin(id, origin, asked, link);
                }
            }
            // Nothing to end: it has ended.
            Ok(None) => {
                let response = asked.success(request, Grant::default(), &Headers::new());
                self.respond(&origin, response, link);
            }
            Err(rejection) => self.reject(&origin, Some(&identity), rejection, link),
        }
    }

    /// Finds or makes the registration that a REGISTER is about; none for a farewell
    /// without one.
    fn admit(
        &mut self,
        flow: FlowId,
        asked: &Asked,
        user: Option<&ProvenUser>,
        link: &mut Link,
    ) -> Result<Option<BindingId>, Rejection> {
        if user.is_some_and(|user| !user.impus.contains(&asked.key.identity)) {
            return Err(Rejection::ForeignIdentity);
        }
        let Some(id) = self.by_key.get(&asked.key).copied() else {
            return if asked.is_farewell() {
                Ok(None)
            } else {
                self.make(flow, asked, link).map(Some)
            };
        };
        let Some(binding) = self.table.get_mut(&id) else {
            return Ok(None);
        };
        let is_kept = user.is_some_and(|user| binding.is_kept_for(user));
        let is_house = link.config.tenant(asked.tenant).profile.trunk().is_some();
        let is_owner = match user {
            // He is this user himself, and no core has another opinion.
            Some(_) if is_house => true,
            Some(user) => binding.is_proven_for(user) || binding.registered().is_none(),
            // A core that trusts the port would end it whoever asks.
            None => !(asked.is_farewell() && binding.needs_proof(flow)),
        };
        if !is_owner {
            return Err(Rejection::NotProven);
        }
        match binding.attempt.as_ref().map(Attempt::flow) {
            Some(Some(other)) if other != flow => return Err(Rejection::InProgress),
            // What the box is doing for him already need not be done again.
            Some(None) if is_kept && !asked.is_farewell() => {}
            Some(_) => self.drop_attempt(id, link),
            None => {}
        }
        let until = link.instant() + CHALLENGE_TIME;
        if let Some(binding) = self.table.get_mut(&id)
            && matches!(binding.state, State::Lingering { .. })
        {
            binding.state = State::New { until };
        }
        if let Some(binding) = self.table.get_mut(&id)
            && matches!(binding.state, State::New { .. })
        {
            binding.flow = Some(flow);
        }
        self.touch(flow, id);
        Ok(Some(id))
    }

    /// Makes a registration that the core does not know yet, with a port of its own.
    fn make(
        &mut self,
        flow: FlowId,
        asked: &Asked,
        link: &mut Link,
    ) -> Result<BindingId, Rejection> {
        if self.is_draining {
            return Err(Rejection::Draining);
        }
        let of_flow = self.by_flow.get(&flow).map_or(0, |ids| ids.len());
        let tenant = link.config.tenant(asked.tenant);
        let (registration, security) = (&tenant.registration, tenant.security.ipsec().cloned());
        let TenantId(tenant) = asked.tenant;
        if self.held[tenant] >= registration.count || of_flow >= registration.per_flow {
            return Err(Rejection::NoCapacity);
        }
        self.made += 1;
        let id = BindingId(self.made);
        let shared = self.shared.of_tenant(asked.tenant);
        let local = shared.and_then(|shared| shared.local);
        let flow_name = shared.map(|_| FlowName(link.chance()));
        let endpoint = shared.map_or_else(|| link.endpoint(), |shared| shared.endpoint);
        let until = link.instant() + CHALLENGE_TIME;
        let binding = Binding {
            id,
            key: asked.key.clone(),
            tenant: asked.tenant,
            endpoint,
            flow_name,
            local,
            next_hop: None,
            token: link.token(),
            flow: Some(flow),
            touched_by: BTreeSet::new(),
            call_id: link.token(),
            from_tag: link.token(),
            cseq: 0,
            attempt: None,
            challenges: Challenges::default(),
            was_challenged: false,
            state: State::New { until },
            on_behalf: None,
            security: security.as_ref().map(Security::new),
            counted: Kind::Unregistered,
            winding_up: None,
            core_until: None,
            min_expires: None,
        };
        self.table.insert(id, binding);
        self.held[tenant] += 1;
        self.by_key.insert(asked.key.clone(), id);
        self.touch(flow, id);
        match flow_name {
            Some(name) => {
                self.by_flow_name.insert(name, id);
            }
            None => {
                self.by_endpoint.insert(endpoint, id);
                link.push(Output::Open {
                    endpoint,
                    tenant: asked.tenant,
                    kind: match security {
                        Some(_) => EndpointKind::Protected,
                        None => EndpointKind::Own,
                    },
                });
            }
        }
        Ok(id)
    }

    /// The instance that `Contact: *` of a connection means.
    fn instance_of(&self, flow: FlowId, identity: &PublicIdentity) -> Option<Instance> {
        let mut own = self
            .of_flow(flow)
            .filter(|binding| binding.key.identity == *identity);
        own.next().map(|binding| binding.key.instance.clone())
    }

    /// Starts a REGISTER.
    pub(super) fn begin(&mut self, id: BindingId, origin: Origin, asked: Asked, link: &mut Link) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let answer_time = link.config.tenant(binding.tenant).registration.answer_time;
        binding.attempt = Some(Attempt {
            origin,
            asked,
            sent: None,
            tried: Vec::new(),
            is_raised: false,
            is_anew: false,
            offer: None,
            proving: Proving::default(),
            give_up_at: link.instant() + answer_time,
            not_before: None,
        });
        match self.queue(id, link) {
            Ok(()) => self.advance(id, link),
            Err(rejection) => self.fail(id, RegistrationFailure::TooFast, rejection, link),
        }
    }

    /// Whether a password may be tried: not after too many wrong ones, unless it comes on
    /// the connection that the user is registered on.
    fn may_try(
        &mut self,
        flow: FlowId,
        source: Option<IpAddr>,
        asked: &Asked,
        link: &mut Link,
    ) -> Result<(), Rejection> {
        let (Some(source), true) = (source, asked.nonce.is_some()) else {
            return Ok(());
        };
        let identity = &asked.key.identity;
        if self
            .of_flow(flow)
            .any(|binding| binding.identity() == identity)
        {
            return Ok(());
        }
        let now = link.instant();
        match link.guard.attempts.admit(identity, source, now) {
            Verdict::Go => Ok(()),
            Verdict::Wait(time) => {
                link.counters.log_ins_locked += 1;
                Err(Rejection::too_fast(time))
            }
        }
    }

    /// Who is not registered yet waits for his turn when many come at once: after an
    /// outage the core is not to be overrun.
    fn queue(&mut self, id: BindingId, link: &mut Link) -> Result<(), Rejection> {
        let Some(binding) = self.table.get_mut(&id) else {
            return Ok(());
        };
        let is_new = matches!(binding.state, State::New { .. });
        let Some(attempt) = binding.attempt.as_mut().filter(|attempt| {
            is_new && attempt.asked.nonce.is_none() && !attempt.asked.is_farewell()
        }) else {
            return Ok(());
        };
        let (tenant, now) = (binding.tenant, link.instant());
        let per_second = link.config.tenant(tenant).registration.per_second;
        match link.guard.queue_registration(tenant, per_second, now) {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => {
                link.counters.registrations_queued += 1;
                attempt.not_before = Some(now + wait);
                attempt.give_up_at += wait;
            }
            Err(wait) => {
                link.counters.registrations_put_off += 1;
                return Err(Rejection::too_fast(wait));
            }
        }
        Ok(())
    }

    /// It is a waiting REGISTER's turn.
    pub(super) fn have_turn(&mut self, id: BindingId, link: &mut Link) {
        if let Some(attempt) = self.table.get_mut(&id).and_then(|it| it.attempt.as_mut()) {
            attempt.not_before = None;
        }
        self.advance(id, link);
    }

    /// Sends the REGISTER as soon as there is a port to send it from and an address to
    /// send it to.
    pub(super) fn advance(&mut self, id: BindingId, link: &mut Link) {
        self.reschedule(id);
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let (Some(attempt), Some(local)) = (&binding.attempt, binding.local) else {
            return;
        };
        if attempt.sent.is_some() || attempt.proving.is_asking() || attempt.not_before.is_some() {
            return;
        }
        let is_house = link.config.tenant(binding.tenant).profile.trunk().is_some();
        // A registration stays where it is as long as that answers.
        let (failure, rejection) = match link.ways_from(binding.tenant, binding.next_hop) {
            Ways::Known(hops) => match hops.into_iter().find(|hop| !attempt.tried.contains(hop)) {
                Some(hop) if is_house && !binding.is_trunk() => {
                    return self.grant(id, hop, link);
                }
                Some(hop) if self.secure(id, link) && self.prepare(id, link) => {
                    return self.send(id, local, hop, link);
                }
                // It goes on when its credentials, or what protects it, are there.
                Some(_) => return,
                None => (RegistrationFailure::CoreSilent, Rejection::CoreSilent),
            },
            Ways::Wait => {
                self.unresolved.insert(id);
                return;
            }
            Ways::Nowhere => {
                link.event(Event::NextHopUnresolved);
                (RegistrationFailure::Unresolved, Rejection::Unresolved)
            }
            Ways::Resting(time) => (RegistrationFailure::CoreBusy, Rejection::busy(time)),
        };
        self.fail(id, failure, rejection, link);
    }

    fn send(&mut self, id: BindingId, local: SocketAddr, to: Hop, link: &mut Link) {
        let open = self.open_port(id);
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let Some(attempt) = &mut binding.attempt else {
            return;
        };
        binding.cseq += 1;
        let registration = &link.config.tenant(binding.tenant).registration;
        let kept = binding
            .on_behalf
            .as_ref()
            .map(|_| registration.kept_expires);
        let sender = Sender {
            token: &binding.token,
            local,
            transport: to.transport,
            call_id: &binding.call_id,
            from_tag: &binding.from_tag,
            cseq: binding.cseq,
            min_expires: binding.min_expires,
            additions: None,
            credentials: attempt.proving.header(),
            security: binding.security.as_ref(),
            expires: kept.map(on_behalf::seconds),
        };
        let icid = link.token();
        let tenant = link.config.tenant(binding.tenant);
        let additions = binding
            .flow_name
            .zip(tenant.profile.mw())
            .map(|(name, config)| {
                let host = tenant.own_host(local.ip());
                let (port, transport) = (local.port(), to.transport);
                mw::Additions {
                    config,
                    path: contact_uri(&link.flow_tokens.seal(name), &host, port, transport),
                    icid,
                    address: local.ip(),
                    integrity: attempt.asked.integrity,
                    is_outbound: attempt.asked.is_outbound(),
                    wants_gruu: attempt.asked.wants_gruu(),
                }
            });
        let sender = Sender {
            additions,
            ..sender
        };
        let request = attempt.asked.request(sender, &link.config);
        let way = binding.security.as_ref().map(Security::register_way);
        let (endpoint, local, remote) = match (way, open) {
            (Some(Some(way)), _) => (way.client, local, way.to),
            (Some(None), Some((endpoint, open))) => (endpoint, open, to.address),
            (Some(None) | None, _) => (binding.endpoint, local, to.address),
        };
        let path = ImsPath {
            tenant: binding.tenant,
            endpoint,
            local,
            remote,
            transport: to.transport,
        };
        let answer_time = tenant.registration.answer_time;
        let transaction = link.send_to_ims(Owner::Binding(id), &path, request);
        attempt.sent = Some(Sent { transaction, to });
        attempt.give_up_at = link.instant() + answer_time;
        link.counters.registers_relayed += 1;
        self.reschedule(id);
    }

    /// Learns that an endpoint is open.
    pub(crate) fn handle_opened(
        &mut self,
        endpoint: EndpointId,
        local: SocketAddr,
        link: &mut Link,
    ) {
        if let Some(tenant) = self.shared.handle_opened(endpoint, local) {
            link.reach.handle_opened(tenant, endpoint, Some(local));
            self.set_shared_local(tenant, local, link);
            return self.start_trunk(tenant, link);
        }
        if let Some(tenant) = self.unprotected.handle_opened(endpoint, local) {
            return self.go_on(tenant, link);
        }
        if self.client_opened(endpoint, local, link) {
            return;
        }
        match self.set_local(endpoint, local) {
            Some(id) => self.advance(id, link),
            None => link.push(Output::Close { endpoint }),
        }
    }

    /// The port that a tenant's users share is open: what waited for it goes on.
    fn set_shared_local(&mut self, tenant: TenantId, local: SocketAddr, link: &mut Link) {
        let his = self.table.values_mut().filter(|it| it.tenant == tenant);
        let waiting: Vec<_> = his
            .map(|binding| {
                binding.local = Some(local);
                binding.id
            })
            .collect();
        for id in waiting {
            self.advance(id, link);
        }
    }

    /// The port of what nothing protects is open: what waited for it goes on.
    fn go_on(&mut self, tenant: TenantId, link: &mut Link) {
        let his = self.table.values().filter(|it| it.tenant == tenant);
        for id in his.map(Binding::id).collect::<Vec<_>>() {
            self.advance(id, link);
        }
    }

    /// Learns that there will be no endpoint.
    pub(crate) fn handle_open_failed(
        &mut self,
        endpoint: EndpointId,
        reason: OpenFailure,
        link: &mut Link,
    ) {
        let now = link.instant();
        if self.shared.handle_open_failed(endpoint, now)
            || self.unprotected.handle_open_failed(endpoint, now)
            || self.client_refused(endpoint, link)
        {
            return link.event(Event::EndpointRefused { endpoint, reason });
        }
        let Some(id) = self.by_endpoint.get(&endpoint).copied() else {
            return;
        };
        link.event(Event::EndpointRefused { endpoint, reason });
        if self.get(id).is_some_and(|it| it.registered().is_some()) {
            // The number that it had in an earlier life is taken.
            self.end(id, DeregistrationCause::PortLost, link);
        }
        self.fail(
            id,
            RegistrationFailure::NoCapacity,
            Rejection::NoCapacity,
            link,
        );
        self.remove(id, false, link);
    }

    /// More is known of where a tenant's servers are: who waited for it goes on.
    pub(crate) fn handle_resolved(&mut self, tenant: TenantId, link: &mut Link) {
        let is_his = |id: &BindingId| self.table.get(id).is_some_and(|it| it.tenant == tenant);
        let waiting: Vec<_> = self.unresolved.iter().copied().filter(is_his).collect();
        for id in waiting {
            self.unresolved.remove(&id);
            self.advance(id, link);
        }
    }
}
