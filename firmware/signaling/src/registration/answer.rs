//! The core's answer to a REGISTER, and what the browser hears of it.

use std::ops::Range;
use std::time::{Duration, Instant};

use iq::Leg;

use crate::event::{
    Breach, DeregistrationCause, Event, Origin as EventOrigin, RegistrationFailure,
};
use crate::flow::Closing;
use crate::id::FlowId;
use crate::identity::PublicIdentity;
use crate::kept::{RecordKey, RecordKind};
use crate::link::Link;
use crate::message::headers::Digest;
use crate::message::{HeaderName, Response, StatusCode};
use crate::reach::{Hop, Ways};
use crate::rejection::{Rejection, relayed_to_access};
use crate::transaction::{ClientTransactionId, Failure};

use super::asked::{self, Asked, Grant};
use super::attempt::{Attempt, Origin, Sent};
use super::binding::{BindingId, CHALLENGE_TIME, Registered, State};
use super::challenge;
use super::gruu::Gruu;
use super::mw::Integrity;
use super::{Change, Registrations};

impl Registrations {
    /// Takes the core's answer to a REGISTER.
    pub(crate) fn handle_response(
        &mut self,
        id: BindingId,
        transaction: ClientTransactionId,
        response: &Response,
        link: &mut Link,
    ) {
        let Some(sent) = self
            .sent(id, transaction)
            .filter(|_| !response.is_provisional())
        else {
            return;
        };
        link.hop_answered(sent.to, response);
        if self.take_objection(id, response, link) {
            return;
        }
        match response.status {
            status if status.is_success() => self.accepted(id, sent.to, response, link),
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                self.lean_on(id, sent.to);
                self.challenged(id, response, link);
            }
            StatusCode::INTERVAL_TOO_BRIEF => self.too_brief(id, response, link),
            StatusCode::SERVICE_UNAVAILABLE => self.unanswered(id, Some(response), link),
            _ => self.refused(id, response, link),
        }
    }

    /// Learns that a REGISTER got no answer.
    pub(crate) fn handle_failure(
        &mut self,
        id: BindingId,
        transaction: ClientTransactionId,
        failure: Failure,
        link: &mut Link,
    ) {
        if self.sent(id, transaction).is_none() {
            return;
        }
        match failure {
            Failure::TimedOut | Failure::Transport => self.unanswered(id, None, link),
            Failure::Overloaded => {
                self.fail(
                    id,
                    RegistrationFailure::NoCapacity,
                    Rejection::NoCapacity,
                    link,
                );
            }
        }
    }

    /// Tries the next address, or gives up.
    pub(super) fn unanswered(
        &mut self,
        id: BindingId,
        response: Option<&Response>,
        link: &mut Link,
    ) {
        if response.is_none() && self.begin_anew(id, link) {
            return;
        }
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        binding.expect_effect(link.instant());
        let Some(attempt) = &mut binding.attempt else {
            return;
        };
        if let Some(sent) = attempt.sent.take() {
            link.abandon(sent.transaction);
            attempt.tried.push(sent.to);
            if response.is_none() {
                link.hop_silent(sent.to);
            }
            let ways = link.ways_from(binding.tenant, None);
            if matches!(ways, Ways::Known(hops) if hops.iter().any(|it| !attempt.tried.contains(it)))
            {
                link.counters.next_hop_failovers += 1;
                return self.advance(id, link);
            }
        }
        match response {
            Some(response) => self.refused(id, response, link),
            None => self.fail(
                id,
                RegistrationFailure::CoreSilent,
                Rejection::CoreSilent,
                link,
            ),
        }
    }

    /// The answer to a challenge goes to the server that has the challenge.
    fn lean_on(&mut self, id: BindingId, hop: Hop) {
        if let Some(binding) = self.table.get_mut(&id)
            && binding.registered().is_none()
        {
            binding.next_hop = Some(hop);
        }
    }

    fn sent(&self, id: BindingId, transaction: ClientTransactionId) -> Option<Sent> {
        let sent = self.table.get(&id)?.attempt.as_ref()?.sent?;
        (sent.transaction == transaction).then_some(sent)
    }

    /// 423: the core wants fewer refreshes. RFC 3261 §10.2.8: try once more.
    fn too_brief(&mut self, id: BindingId, response: &Response, link: &mut Link) {
        let least = response
            .headers
            .min_expires()
            .ok()
            .flatten()
            .map(|least| least.0);
        if let Some(binding) = self.table.get_mut(&id)
            && let Some(attempt) = &mut binding.attempt
            && !attempt.is_raised
            && let Some(least) = least.filter(|least| *least <= LONGEST_EXPIRES)
        {
            attempt.is_raised = true;
            attempt.sent = None;
            binding.min_expires = Some(least);
            self.advance(id, link);
        } else {
            self.refused(id, response, link);
        }
    }

    /// 401 or 407: the browser has to answer, unless the box does.
    fn challenged(&mut self, id: BindingId, response: &Response, link: &mut Link) {
        if self.prove(id, response, link) {
            return;
        }
        let Some(attempt) = self.take_attempt(id) else {
            return;
        };
        let Some(flow) = attempt.flow() else {
            // Nobody is there to answer: the registration ends by expiring.
            link.counters.deregistrations_unconfirmed += 1;
            return self.reschedule(id);
        };
        if attempt.asked.proven.is_some() {
            // The core does not take our word, and the browser has nothing else to give.
            let reason = RegistrationFailure::CoreDistrusts;
            return self.turn_down(id, &attempt, reason, Rejection::CoreDistrusts, link);
        }
        let tenant = attempt.asked.tenant;
        let carried = link.policies.carry(tenant, &response.headers, Leg::Access);
        let Some(digest) = challenge::first_digest(&carried) else {
            let rejection = Rejection::UnusableChallenge;
            return self.turn_down(
                id,
                &attempt,
                RegistrationFailure::Core(401),
                rejection,
                link,
            );
        };
        let is_repeated = self.note_challenge(id, flow, &attempt, &digest);
        let is_stale = digest
            .get("stale")
            .is_some_and(|it| it.eq_ignore_ascii_case("true"));
        if !is_repeated && !is_stale {
            note_wrong_password(&attempt, link);
        }
        link.counters.challenges += 1;
        link.counters.challenges_repeated += u64::from(is_repeated);
        let carried = if is_repeated {
            challenge::mark_stale(&carried)
        } else {
            carried
        };
        if let Origin::Browser { request, .. } = &attempt.origin {
            let mut answer = Response::to_request(request, response.status);
            for header in &carried {
                answer.headers.push_header(header.clone());
            }
            self.respond(&attempt.origin, answer, link);
        }
        self.changes.push_back(Change::Failed(flow));
        if let Some(binding) = self.table.get_mut(&id)
            && let State::New { until } = &mut binding.state
        {
            *until = link.instant() + CHALLENGE_TIME;
        }
        self.reschedule(id);
    }

    fn note_challenge(
        &mut self,
        id: BindingId,
        flow: FlowId,
        attempt: &Attempt,
        digest: &Digest,
    ) -> bool {
        let nonce = attempt.asked.nonce.as_deref();
        self.table
            .get_mut(&id)
            .is_some_and(|binding| binding.challenges.handle_challenge(flow, nonce, digest))
    }

    /// A 2xx: registered, refreshed, taken over or ended.
    fn accepted(&mut self, id: BindingId, from: Hop, response: &Response, link: &mut Link) {
        let Some(attempt) = self.take_attempt(id) else {
            return;
        };
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if binding.on_behalf.is_some() {
            return self.accepted_on_behalf(id, attempt, from, response, link);
        }
        let Origin::Browser { flow, request, .. } = &attempt.origin else {
            binding.core_until = None;
            return self.remove(id, true, link);
        };
        let nonce = attempt.asked.nonce.as_deref();
        let is_user_proven = attempt.asked.proven.is_some();
        let is_proven = is_user_proven || binding.challenges.was_challenged(*flow, nonce);
        if binding.needs_proof(*flow) && !is_proven {
            return self.unproven(id, &attempt, link);
        }
        let token = binding.token.clone();
        let granted = match attempt.asked.expires {
            0 => 0,
            asked if is_user_proven => asked::granted(response, &token, asked).min(asked),
            asked => asked::granted(response, &token, asked),
        };
        let tenant = attempt.asked.tenant;
        let carried = link.policies.carry(tenant, &response.headers, Leg::Access);
        let keeps_flows = link.config.tenant(tenant).profile.mw().is_none()
            || response
                .headers
                .lists_token(&HeaderName::Require, "outbound");
        let gruu = Gruu::read(response, &token);
        let grant = Grant {
            expires: link.spread_refresh(tenant, granted),
            gruu: gruu.as_ref(),
            keeps_flows,
        };
        let answer = attempt.asked.success(request, grant, &carried);
        binding.was_challenged |= is_proven;
        binding.challenges.clear();
        if let Some((_, source)) = attempt.credentials_from() {
            let (who, now) = (&attempt.asked.key.identity, link.instant());
            link.guard.attempts.handle_success(who, source, now);
        }
        let flow = *flow;
        if granted == 0 {
            binding.core_until = None;
            link.counters.deregistered_by_browser += 1;
            self.respond(&attempt.origin, answer, link);
            return self.end(id, DeregistrationCause::Browser, link);
        }
        let granted = Duration::from_secs(u64::from(granted));
        let registered =
            Registered::read(&attempt.asked, response, &token, link.instant() + granted);
        if let Some(registered) = registered {
            let tenant = link.config.tenant(attempt.asked.tenant);
            let next = registered
                .service_route
                .first()
                .map(|route| route.uri.clone());
            if let Some(next) = next.filter(|_| tenant.profile.mw().is_some()) {
                link.name_core(attempt.asked.tenant, &next);
            }
            self.keep(id, flow, from, registered, granted, link);
            if is_user_proven {
                self.changes.push_back(Change::Proven(id));
            }
        }
        // A registration that was confirmed is not lost.
        if let Origin::Browser { transaction, .. } = &attempt.origin {
            let key = RecordKey::new(RecordKind::Registration, id.0);
            let tag = link.token();
            link.respond_when_kept(key, *transaction, answer.with_to_tag(&tag));
        }
        self.reschedule(id);
    }

    /// Keeps what the core granted, and gives the registration to this connection.
    pub(super) fn keep(
        &mut self,
        id: BindingId,
        flow: FlowId,
        next_hop: Hop,
        registered: Registered,
        granted: Duration,
        link: &mut Link,
    ) {
        if let Some(binding) = self.table.get_mut(&id) {
            binding.core_until = Some(registered.until);
            binding.next_hop = Some(next_hop);
        }
        self.hold(id, flow, registered, granted, link);
        self.watch(id, link);
    }

    /// Gives a registration that the core holds to this connection.
    pub(super) fn hold(
        &mut self,
        id: BindingId,
        flow: FlowId,
        registered: Registered,
        granted: Duration,
        link: &mut Link,
    ) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if !registered.is_token_over(link.instant()) {
            binding.winding_up = None;
        }
        let before = binding.flow.replace(flow);
        let state = std::mem::replace(&mut binding.state, State::Registered(registered));
        let (endpoint, identity) = (binding.endpoint, binding.key.identity.clone());
        match state {
            State::New { .. } | State::Lingering { .. } => {
                link.counters.registrations_made += 1;
                link.event(Event::Registered {
                    flow,
                    endpoint,
                    identity,
                    expires: granted,
                });
            }
            State::Registered(_) if before == Some(flow) => {
                link.counters.registrations_refreshed += 1;
            }
            State::Registered(_) | State::Grace { .. } => {
                link.counters.registrations_reattached += 1;
                link.event(Event::FlowReattached { flow, endpoint });
                self.changes.push_back(Change::Back(id));
            }
        }
        if let Some(old) = before.filter(|old| *old != flow) {
            self.changes
                .push_back(Change::Close(old, Closing::Superseded));
            self.tell_carried(old);
        }
        self.tell_carried(flow);
    }

    /// The core let a known port refresh without asking who is behind it.
    fn unproven(&mut self, id: BindingId, attempt: &Attempt, link: &mut Link) {
        link.counters.reattachments_refused += 1;
        if let Some(flow) = attempt.flow() {
            link.event(Event::Security {
                origin: EventOrigin::Flow(flow),
                breach: Breach::UnprovenReattachment,
            });
        }
        self.turn_down(
            id,
            attempt,
            RegistrationFailure::NotProven,
            Rejection::NotProven,
            link,
        );
    }

    /// Any other final answer: the browser hears it, and a registration that stands stays.
    fn refused(&mut self, id: BindingId, response: &Response, link: &mut Link) {
        let Some(attempt) = self.take_attempt(id) else {
            return;
        };
        link.counters.registrations_failed += 1;
        if response.status == StatusCode::FORBIDDEN {
            note_wrong_password(&attempt, link);
        }
        if let Origin::Browser { flow, request, .. } = &attempt.origin {
            let status = relayed_to_access(response.status);
            let mut answer = Response::to_request(request, status);
            if status == response.status {
                answer = answer.with_reason(&response.reason);
            }
            let tenant = attempt.asked.tenant;
            for header in &link.policies.carry(tenant, &response.headers, Leg::Access) {
                answer.headers.push_header(header.clone());
            }
            answer = self.with_retry_after(answer, response, link);
            link.event(Event::RegistrationFailed {
                flow: *flow,
                identity: Some(attempt.asked.key.identity.clone()),
                status: status.code(),
                reason: RegistrationFailure::Core(response.status.code()),
            });
            self.respond(&attempt.origin, answer, link);
            self.changes.push_back(Change::Failed(*flow));
        }
        self.come_to_nothing(id, &attempt, Some(response.status.code()), link);
    }

    /// RFC 3261 §20.33: when to come back, for what may be over soon.
    fn with_retry_after(&self, answer: Response, response: &Response, link: &mut Link) -> Response {
        if response.status.code() < 500 || response.status.code() >= 600 {
            return answer;
        }
        let said = response
            .headers
            .retry_after()
            .ok()
            .flatten()
            .map(|after| after.0);
        let seconds = said.unwrap_or_else(|| link.jitter(RETRY_AFTER));
        answer.with(HeaderName::RetryAfter, seconds.min(RETRY_AFTER_MAX))
    }

    /// Ends an attempt with an answer of our own.
    pub(super) fn fail(
        &mut self,
        id: BindingId,
        reason: RegistrationFailure,
        rejection: Rejection,
        link: &mut Link,
    ) {
        if let Some(attempt) = self.take_attempt(id) {
            self.turn_down(id, &attempt, reason, rejection, link);
        }
    }

    fn turn_down(
        &mut self,
        id: BindingId,
        attempt: &Attempt,
        reason: RegistrationFailure,
        rejection: Rejection,
        link: &mut Link,
    ) {
        link.counters.registrations_failed += 1;
        if let Some(flow) = attempt.flow() {
            link.event(Event::RegistrationFailed {
                flow,
                identity: Some(attempt.asked.key.identity.clone()),
                status: rejection.status().code(),
                reason,
            });
        }
        self.answer(&attempt.origin, rejection, link);
        self.come_to_nothing(id, attempt, None, link);
    }

    /// After an attempt that failed: a registration that stands stays, unless its user
    /// wanted it to end.
    fn come_to_nothing(
        &mut self,
        id: BindingId,
        attempt: &Attempt,
        status: Option<u16>,
        link: &mut Link,
    ) {
        self.security_failed(id, link);
        let binding = self.table.get(&id);
        let is_kept = binding.is_some_and(|binding| binding.on_behalf.is_some());
        match attempt.origin {
            Origin::Refresh => self.refresh_failed(id, status, link),
            Origin::Browser { .. } if is_kept && attempt.asked.is_farewell() => {
                self.end(id, DeregistrationCause::Browser, link);
            }
            Origin::Browser { .. } | Origin::Farewell => self.settle(id, link),
        }
    }

    /// Turns a REGISTER away before it has become an attempt.
    pub(super) fn reject(
        &mut self,
        origin: &Origin,
        identity: Option<&PublicIdentity>,
        rejection: Rejection,
        link: &mut Link,
    ) {
        link.counters.registrations_failed += 1;
        if let Origin::Browser { flow, .. } = origin {
            link.event(Event::RegistrationFailed {
                flow: *flow,
                identity: identity.cloned(),
                status: rejection.status().code(),
                reason: failure_of(&rejection),
            });
        }
        self.answer(origin, rejection, link);
    }

    fn answer(&mut self, origin: &Origin, rejection: Rejection, link: &mut Link) {
        if let Origin::Browser { flow, request, .. } = origin {
            let response = rejection.response(request, link.jitter(RETRY_AFTER));
            self.respond(origin, response, link);
            self.changes.push_back(Change::Failed(*flow));
        }
    }

    pub(super) fn respond(&mut self, origin: &Origin, response: Response, link: &mut Link) {
        if let Origin::Browser { transaction, .. } = origin {
            let tag = link.token();
            link.respond(*transaction, response.with_to_tag(&tag));
        }
    }

    pub(super) fn take_attempt(&mut self, id: BindingId) -> Option<Attempt> {
        self.unresolved.remove(&id);
        let attempt = self.table.get_mut(&id)?.attempt.take()?;
        if let Some(asked) = attempt.proving.asked() {
            self.asking.remove(&asked);
        }
        Some(attempt)
    }
}

impl Registered {
    /// Reads a 200 to REGISTER; none without a Contact to reach the browser by.
    pub(super) fn read(
        asked: &Asked,
        response: &Response,
        token: &str,
        until: Instant,
    ) -> Option<Self> {
        let associated = response.headers.p_associated_uris().unwrap_or_default();
        let mut identities: Vec<_> = associated
            .iter()
            .filter_map(|address| PublicIdentity::of_uri(&address.uri))
            .collect();
        if let Some(user) = &asked.proven {
            identities.retain(|identity| user.impus.contains(identity));
        }
        if identities.is_empty() {
            identities.push(asked.key.identity.clone());
        }
        Some(Registered {
            until,
            service_route: response.headers.service_routes().unwrap_or_default(),
            identities,
            access_contact: asked.contact.as_ref()?.uri.clone(),
            integrity: Integrity {
                is_bound: true,
                ..asked.integrity
            },
            proven: asked.proven.clone(),
            gruu: Gruu::read(response, token).filter(|_| asked.wants_gruu()),
            credentials: asked.credentials.clone(),
        })
    }
}

/// Counts a wrong password against who tried it.
fn note_wrong_password(attempt: &Attempt, link: &mut Link) {
    let Some((flow, source)) = attempt.credentials_from() else {
        return;
    };
    link.counters.passwords_wrong += 1;
    let (who, now) = (&attempt.asked.key.identity, link.instant());
    if let Some(lock) = link.guard.attempts.handle_failure(who, source, now) {
        link.event(Event::Security {
            origin: EventOrigin::Flow(flow),
            breach: Breach::WrongPasswords(lock.as_secs()),
        });
    }
}

/// What a rejection of our own is called in a report.
fn failure_of(rejection: &Rejection) -> RegistrationFailure {
    match rejection {
        Rejection::ForeignDomain => RegistrationFailure::ForeignDomain,
        Rejection::Token(refusal) => RegistrationFailure::Token(*refusal),
        Rejection::TokenMissing => RegistrationFailure::TokenMissing,
        Rejection::NotProven => RegistrationFailure::NotProven,
        Rejection::NoCapacity | Rejection::InProgress => RegistrationFailure::NoCapacity,
        Rejection::Draining => RegistrationFailure::Draining,
        Rejection::CoreSilent => RegistrationFailure::CoreSilent,
        Rejection::CoreBusy(_) => RegistrationFailure::CoreBusy,
        Rejection::TooFast(_) => RegistrationFailure::TooFast,
        Rejection::Unresolved => RegistrationFailure::Unresolved,
        Rejection::CredentialsRefused => RegistrationFailure::Unproven,
        _ => RegistrationFailure::Invalid,
    }
}

/// When to come back after a failure: scattered, so that not all come at once.
const RETRY_AFTER: Range<u32> = 5..30;
const RETRY_AFTER_MAX: u32 = 300;

/// More than any core asks for in Min-Expires: a week.
const LONGEST_EXPIRES: u32 = 7 * 86_400;
