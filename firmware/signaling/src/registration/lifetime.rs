//! How registrations end: by expiring, by losing their browser, at shutdown.

use std::time::{Duration, Instant};

use crate::auth::AuthenticationFailure;
use crate::config::HostName;
use crate::event::{DeregistrationCause, Event, RegistrationFailure};
use crate::flow::Closing;
use crate::id::FlowId;
use crate::link::Link;
use crate::output::Output;
use crate::rejection::Rejection;

use super::asked::Asked;
use super::attempt::{Attempt, Origin};
use super::binding::{Binding, BindingId, Instance, Kind, State};
use super::{Change, Registrations};

impl Registrations {
    /// A browser's connection is gone.
    pub(crate) fn handle_flow_closed(&mut self, flow: FlowId, link: &mut Link) {
        self.door.forget(flow);
        for id in self.by_flow.remove(&flow).unwrap_or_default() {
            let is_trying = |binding: &Binding| {
                let attempt = binding.attempt.as_ref();
                attempt.is_some_and(|attempt| attempt.flow() == Some(flow))
            };
            if self.table.get(&id).is_some_and(is_trying) {
                self.drop_attempt(id, link);
            }
            let Some(binding) = self.table.get_mut(&id) else {
                continue;
            };
            binding.touched_by.remove(&flow);
            let is_owner = binding.flow == Some(flow);
            if is_owner {
                binding.flow = None;
            }
            match &binding.state {
                State::Registered(registered) if is_owner => {
                    let grace = link.config.tenant(binding.tenant).registration.grace;
                    let until = link.instant() + grace;
                    let registered = registered.clone();
                    binding.state = State::Grace { registered, until };
                    let endpoint = binding.endpoint;
                    link.event(Event::FlowLost {
                        flow,
                        endpoint,
                        grace,
                    });
                    self.changes.push_back(Change::Away(id));
                    self.reschedule(id);
                }
                State::New { .. } if is_owner => self.settle(id, link),
                State::New { .. }
                | State::Registered(_)
                | State::Grace { .. }
                | State::Lingering { .. } => self.reschedule(id),
            }
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, link: &mut Link) {
        let now = link.instant();
        while let Some(id) = self.deadlines.take_due(now) {
            self.wake(id, now, link);
            self.reschedule(id);
        }
        self.refresh_watches(now, link);
        self.shared.handle_timeout(link);
        self.unprotected.handle_timeout(link);
        if self.leave_at.is_some_and(|at| at <= now) {
            self.leave_some(link);
        }
    }

    fn wake(&mut self, id: BindingId, now: Instant, link: &mut Link) {
        self.age_security(id, link);
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        if let Some(attempt) = &binding.attempt
            && attempt.not_before.is_some_and(|at| at <= now)
        {
            return self.have_turn(id, link);
        }
        if let Some(attempt) = &binding.attempt
            && attempt.give_up_at <= now
        {
            return self.give_up(id, link);
        }
        if let Some(until) = binding.winding_up {
            if until <= now || binding.is_given_up(now) {
                self.wound_up(id, link);
            }
            return;
        }
        if self.keep_registered(id, now, link) {
            return;
        }
        self.end_of_state(id, now, link);
    }

    /// A REGISTER has waited too long: for its answer, its credentials, or a way to go.
    fn give_up(&mut self, id: BindingId, link: &mut Link) {
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let Some(attempt) = &binding.attempt else {
            return;
        };
        let (failure, rejection) = match (attempt.sent, binding.local) {
            (Some(_), _) => return self.unanswered(id, None, link),
            (None, Some(_)) if attempt.proving.is_asking() => {
                let failure = AuthenticationFailure::Unavailable;
                let failure = RegistrationFailure::Credentials(failure);
                (failure, Rejection::CredentialsRefused)
            }
            (None, Some(_)) => (RegistrationFailure::Unresolved, Rejection::Unresolved),
            (None, None) => (RegistrationFailure::NoCapacity, Rejection::NoCapacity),
        };
        self.fail(id, failure, rejection, link);
    }

    /// What a registration is may be over.
    fn end_of_state(&mut self, id: BindingId, now: Instant, link: &mut Link) {
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        match &binding.state {
            State::New { until } if *until <= now => match binding.is_trunk() {
                true => self.register_trunk(id, link),
                false => self.settle(id, link),
            },
            State::Registered(registered) | State::Grace { registered, .. }
                if registered.until <= now =>
            {
                // For a user who logged in by token the box can speak itself.
                if registered.proven.is_some() {
                    self.expire(id, link);
                } else {
                    link.counters.deregistered_by_expiry += 1;
                    self.end(id, DeregistrationCause::Expired, link);
                }
            }
            State::Grace { until, .. } if *until <= now => {
                link.counters.deregistered_by_grace += 1;
                self.bid_farewell(id, DeregistrationCause::GraceEnded, link);
            }
            State::Lingering { until } if *until <= now => self.remove(id, false, link),
            State::New { .. }
            | State::Registered(_)
            | State::Grace { .. }
            | State::Lingering { .. } => {}
        }
    }

    /// Takes no new registrations.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Ends every registration, a few at a time.
    pub(crate) fn leave(&mut self, link: &mut Link) {
        self.is_draining = true;
        let registered = self.table.values().filter(|it| it.registered().is_some());
        self.leaving = registered.map(Binding::id).collect();
        self.leave_some(link);
    }

    /// Whether no registration stands and no farewell is under way.
    pub(crate) fn has_left(&self) -> bool {
        let is_done =
            |binding: &Binding| binding.registered().is_none() && binding.attempt.is_none();
        self.leaving.is_empty() && self.table.values().all(is_done)
    }

    fn leave_some(&mut self, link: &mut Link) {
        let batch = self.leaving.len().min(LEAVE_BATCH);
        for id in self.leaving.drain(..batch).collect::<Vec<_>>() {
            if self
                .table
                .get(&id)
                .is_some_and(|binding| binding.registered().is_some())
            {
                self.bid_farewell(id, DeregistrationCause::Shutdown, link);
            }
        }
        let at = link.instant() + LEAVE_PAUSE;
        self.leave_at = (!self.leaving.is_empty()).then_some(at);
    }

    /// Ends a registration, and closes the connection that it was on.
    pub(crate) fn dismiss(&mut self, id: BindingId, cause: DeregistrationCause, link: &mut Link) {
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let flow = binding.flow();
        self.bid_farewell(id, cause, link);
        if let Some(flow) = flow {
            self.changes
                .push_back(Change::Close(flow, Closing::Dismissed));
        }
    }

    /// Ends a registration for browser and calls, and tries to end it in the core with the
    /// credentials that are stored for the user, or else those of the last REGISTER. A core whose nonces are good only once challenges
    /// that, and then the core's half ends by expiring.
    pub(super) fn bid_farewell(
        &mut self,
        id: BindingId,
        cause: DeregistrationCause,
        link: &mut Link,
    ) {
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let credentials = binding.registered().and_then(|it| it.credentials.clone());
        let proven = binding.registered().and_then(|it| it.proven.clone());
        let (key, tenant) = (binding.key.clone(), binding.tenant);
        let domain = key.identity.domain().and_then(HostName::parse);
        let integrity = binding.registered().map(|it| it.integrity);
        let has_core =
            link.config.tenant(tenant).profile.trunk().is_none() || key.instance == Instance::Trunk;
        self.drop_attempt(id, link);
        self.end(id, cause, link);
        let domain = domain.filter(|_| has_core);
        if let (Some(domain), Some(integrity)) = (domain, integrity) {
            let asked = Asked::farewell(key, tenant, domain, integrity, credentials, proven);
            self.begin(id, Origin::Farewell, asked, link);
        }
    }

    /// The registration is over for browser and calls; the port lingers.
    pub(super) fn end(&mut self, id: BindingId, cause: DeregistrationCause, link: &mut Link) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if binding.registered().is_none() {
            return self.settle(id, link);
        }
        if binding.is_trunk() && !self.is_draining {
            return self.trunk_lost(id, link);
        }
        let now = link.instant();
        let last_words = now + LAST_WORDS;
        let until = binding
            .core_until
            .map_or(last_words, |at| at.max(last_words));
        binding.state = State::Lingering { until };
        binding.winding_up = None;
        link.event(Event::Deregistered {
            endpoint: binding.endpoint,
            identity: binding.key.identity.clone(),
            cause,
        });
        self.changes.push_back(Change::Ended(id, cause));
        self.reschedule(id);
    }

    /// After the calls of a registration that is over have said goodbye to its browser.
    pub(crate) fn let_go(&mut self, id: BindingId) {
        let binding = self.table.get_mut(&id);
        let over = binding.filter(|binding| matches!(binding.state, State::Lingering { .. }));
        if let Some(flow) = over.and_then(|binding| binding.flow.take()) {
            self.tell_carried(flow);
        }
    }

    /// After an attempt came to nothing: a registration that never was goes away.
    pub(super) fn settle(&mut self, id: BindingId, link: &mut Link) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if matches!(binding.state, State::New { .. }) {
            match binding.core_until.filter(|until| *until > link.instant()) {
                Some(until) => binding.state = State::Lingering { until },
                None => return self.remove(id, false, link),
            }
        }
        self.reschedule(id);
    }

    /// Stops waiting for the answer to a REGISTER, whose sender has left or sent another.
    pub(super) fn drop_attempt(&mut self, id: BindingId, link: &mut Link) {
        let now = link.instant();
        if let Some(binding) = self.table.get_mut(&id) {
            binding.expect_effect(now);
        }
        if let Some(sent) = self.take_attempt(id).and_then(|attempt| attempt.sent) {
            link.abandon(sent.transaction);
        }
        self.security_failed(id, link);
    }

    /// Forgets a registration and gives its port back; `lingers` leaves the port open for
    /// the last words of calls.
    pub(super) fn remove(&mut self, id: BindingId, lingers: bool, link: &mut Link) {
        if lingers && let Some(binding) = self.table.get_mut(&id) {
            let until = link.instant() + LAST_WORDS;
            binding.state = State::Lingering { until };
            return self.reschedule(id);
        }
        self.security_over(id, link);
        let Some(binding) = self.table.remove(&id) else {
            return;
        };
        self.touched.insert(id);
        self.trunk_ids.retain(|it| *it != id);
        self.unwatch(id);
        self.tally.count(binding.counted, Kind::Unregistered);
        self.held[binding.tenant.0] -= 1;
        self.deadlines.set(id, None);
        self.unresolved.remove(&id);
        self.by_key.remove(&binding.key);
        self.by_endpoint.remove(&binding.endpoint);
        if let Some(name) = &binding.flow_name {
            self.by_flow_name.remove(name);
        }
        for flow in &binding.touched_by {
            if let Some(ids) = self.by_flow.get_mut(flow) {
                ids.remove(&id);
            }
        }
        if let Some(sent) = binding.attempt.and_then(|attempt| attempt.sent) {
            link.abandon(sent.transaction);
        }
        if binding.flow_name.is_none() {
            let endpoint = binding.endpoint;
            link.push(Output::Close { endpoint });
        }
    }
}

impl Binding {
    /// The core may act on a REGISTER whose answer nobody waits for any more, if it answers
    /// a challenge.
    pub(super) fn expect_effect(&mut self, now: Instant) {
        if let Some(attempt) = &self.attempt
            && attempt.sent.is_some()
            && attempt.asked.expires > 0
            && (attempt.proving.is_proven() || self.is_challenged(attempt))
        {
            let until = now + Duration::from_secs(u64::from(attempt.asked.expires));
            self.core_until = Some(self.core_until.map_or(until, |at| at.max(until)));
        }
    }

    /// Whether a REGISTER answers a challenge that its connection got.
    fn is_challenged(&self, attempt: &Attempt) -> bool {
        let nonce = attempt.asked.nonce.as_deref();
        let flow = attempt.flow();
        flow.is_some_and(|flow| self.challenges.was_challenged(flow, nonce))
    }
}

/// How long a port stays open after its registration for the BYEs of its calls: their
/// Timer F, RFC 3261 §17.1.2.2.
const LAST_WORDS: Duration = Duration::from_secs(32);

/// How many registrations are ended at once, and the pause after it.
const LEAVE_BATCH: usize = 50;
const LEAVE_PAUSE: Duration = Duration::from_millis(50);
