//! The gate that requests of token users go through, and what happens when a verdict is
//! there.

use std::time::Instant;

use iq::Private;

use crate::Signaling;
use crate::auth::{Hearing, IssuerId, ProvenUser, Token};
use crate::config::{HostName, Login, TenantId, TokenLogin};
use crate::event::{Breach, DeregistrationCause, Event, Origin, RegistrationFailure};
use crate::flow::Closing;
use crate::id::FlowId;
use crate::identity::PublicIdentity;
use crate::message::headers::Contact;
use crate::message::{HeaderName, Method, Request, Response};
use crate::output::{Output, Session};
use crate::registration::{Binding, BindingId, life_of};
use crate::rejection::Rejection;
use crate::transaction::{Peer, ServerTransactionId};

use super::{Held, Outcome, Waiting, bearer};

impl Signaling {
    /// A REGISTER. Where users log in by token it waits for the verdict.
    pub(crate) fn take_register(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
    ) {
        let Some((tenant, wanted)) = self.token_tenant(&request) else {
            return self.register(transaction, flow, request, None);
        };
        let waiting = Waiting {
            flow,
            transaction,
            request: Box::new(request),
        };
        let token = bearer::token_of(&waiting.request.headers)
            .map(|token| token.or_else(|| self.logins.carried.get(&flow).cloned()));
        match token {
            Ok(Some(token)) => {
                let believed = self.token_login(tenant).map(|login| login.issuers.clone());
                let held = Held::Register {
                    waiting,
                    tenant,
                    wanted,
                    token: token.clone(),
                };
                let now = self.link.now();
                self.logins
                    .ask(held, &token, &believed.unwrap_or_default(), now);
            }
            Ok(None) => self.refuse_register(&waiting, tenant, &Rejection::TokenMissing),
            Err(rejection) => self.refuse_register(&waiting, tenant, &rejection),
        }
    }

    fn register(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
        user: Option<ProvenUser>,
    ) {
        let (is_secure, source) = (self.flows.is_secure(flow), self.flows.source(flow));
        let (from, link) = ((flow, source), &mut self.link);
        self.registrations
            .handle_register(from, is_secure, transaction, request, user, link);
    }

    /// The tenant whose users log in by token, and who wants to register there.
    fn token_tenant(&self, request: &Request) -> Option<(TenantId, PublicIdentity)> {
        let to = request.headers.to().ok()?;
        let wanted = PublicIdentity::of_uri(&to.uri)?;
        let domain = HostName::parse(wanted.domain()?)?;
        let tenant = self.link.config.tenant_of(&domain)?;
        self.token_login(tenant)?;
        Some((tenant, wanted))
    }

    fn token_login(&self, tenant: TenantId) -> Option<&TokenLogin> {
        match &self.link.config.tenant(tenant).login {
            Login::Token(login) => Some(login),
            Login::Digest => None,
        }
    }

    /// Turns a REGISTER away, and says where a token is to be had.
    fn refuse_register(&mut self, waiting: &Waiting, tenant: TenantId, rejection: &Rejection) {
        self.link.counters.registrations_failed += 1;
        let reason = match rejection {
            Rejection::Token(refusal) => RegistrationFailure::Token(*refusal),
            Rejection::TokenMissing => RegistrationFailure::TokenMissing,
            Rejection::ForeignIdentity => RegistrationFailure::ForeignIdentity,
            _ => RegistrationFailure::Invalid,
        };
        self.link.event(Event::RegistrationFailed {
            flow: waiting.flow,
            identity: None,
            status: rejection.status().code(),
            reason,
        });
        self.refuse(waiting, tenant, rejection);
        self.count_failure(waiting.flow);
    }

    fn refuse(&mut self, waiting: &Waiting, tenant: TenantId, rejection: &Rejection) {
        let retry_after = self.link.jitter(RETRY_AFTER);
        let mut response = rejection.response(&waiting.request, retry_after);
        if let Some(challenge) = self.challenge(tenant, rejection) {
            response
                .headers
                .push(HeaderName::WwwAuthenticate, challenge);
        }
        self.respond_to(waiting, response);
    }

    fn respond_to(&mut self, waiting: &Waiting, response: Response) {
        let tag = self.link.token();
        self.link
            .respond(waiting.transaction, response.with_to_tag(&tag));
    }

    /// RFC 8898 §2.1: with every answer that another token could change.
    fn challenge(&self, tenant: TenantId, rejection: &Rejection) -> Option<String> {
        let refusal = match rejection {
            Rejection::TokenMissing => None,
            Rejection::Token(refusal) => match refusal.hearing() {
                Hearing::InvalidToken | Hearing::InsufficientScope => Some(*refusal),
                Hearing::Forbidden | Hearing::Later => return None,
            },
            _ => return None,
        };
        let login = self.token_login(tenant)?;
        let issuer = self.logins.issuer(*login.issuers.first()?)?;
        Some(bearer::challenge(&login.realm, issuer, refusal))
    }

    /// Any other request of a connection: a token in it must be its own user's. Without a
    /// token the connection speaks for itself (TS 24.371 §7.2.1 has one in every request).
    pub(crate) fn check_token(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
    ) -> Result<Option<Request>, Rejection> {
        let bindings = self.bindings_of(flow);
        let users = || bindings.iter().filter_map(|id| self.logins.users.get(id));
        if users().next().is_none() {
            return Ok(Some(request));
        }
        let Some(token) = bearer::token_of(&request.headers)? else {
            return Ok(Some(request));
        };
        let fingerprint = token.fingerprint();
        if users().any(|user| user.known.contains(&fingerprint)) {
            return Ok(Some(request));
        }
        let mut believed: Vec<_> = users().map(|user| user.issuer).collect();
        believed.dedup();
        let waiting = Waiting {
            flow,
            transaction,
            request: Box::new(request),
        };
        let held = Held::Other {
            waiting,
            token: token.clone(),
        };
        let now = self.link.now();
        self.logins.ask(held, &token, &believed, now);
        Ok(None)
    }

    /// Does what has come of looking at tokens; `false` if there was nothing.
    pub(crate) fn settle_logins(&mut self) -> bool {
        let now = self.link.now();
        let Some(outcome) = self.logins.poll_outcome(now, &mut self.link.rng) else {
            return false;
        };
        match outcome {
            Outcome::Fetch(query, request) => self.link.push(Output::Fetch { query, request }),
            Outcome::Register {
                waiting,
                tenant,
                user,
            } => match user.and_then(|user| check_life(&waiting, user, now.monotonic)) {
                Ok(user) => {
                    let Waiting {
                        flow,
                        transaction,
                        request,
                    } = waiting;
                    self.register(transaction, flow, *request, Some(user));
                }
                Err(rejection) => self.refuse_register(&waiting, tenant, &rejection),
            },
            Outcome::Other {
                waiting,
                token,
                verdict,
            } => {
                let users = self.bindings_of(waiting.flow);
                let is_own = self.logins.compare(&users, &token, verdict);
                self.take_checked(waiting, is_own);
            }
            // Its provider believes in a token no more whose time is over.
            Outcome::Revoked(binding, _) if self.is_winding_up(binding) => {}
            Outcome::Revoked(binding, refusal) => {
                self.link.counters.registrations_revoked += 1;
                self.link.event(Event::TokenRevoked { refusal });
                let cause = DeregistrationCause::TokenRevoked;
                self.registrations.dismiss(binding, cause, &mut self.link);
            }
            Outcome::Ticket(ticket, result) => {
                let counters = &mut self.link.counters;
                counters.tickets_given += u64::from(result.is_ok());
                counters.tickets_refused += u64::from(result.is_err());
                let result = result.map(|(issuer, session)| Session {
                    address: self.address_among(&session.identities, issuer),
                    ..session
                });
                self.link.push(Output::Ticket { ticket, result });
            }
            Outcome::Unanswered(issuer, times, failure) => {
                let name = self.logins.issuer(issuer).map(|it| it.issuer.to_string());
                self.link.counters.providers_unanswered += 1;
                self.link.event(Event::ProviderSilent {
                    issuer: name.unwrap_or_default(),
                    times,
                    failure,
                });
            }
        }
        true
    }

    /// The first identity of a domain whose users log in with tokens of this issuer.
    fn address_among(
        &self,
        identities: &[PublicIdentity],
        issuer: IssuerId,
    ) -> Option<PublicIdentity> {
        let is_address = |identity: &&PublicIdentity| {
            let domain = identity.domain().and_then(HostName::parse);
            let tenant = domain.and_then(|domain| self.link.config.tenant_of(&domain));
            let login = tenant.and_then(|tenant| self.token_login(tenant));
            login.is_some_and(|login| login.issuers.contains(&issuer))
        };
        identities.iter().find(is_address).cloned()
    }

    /// A request whose token was looked at.
    fn take_checked(&mut self, waiting: Waiting, is_own: Result<(), Rejection>) {
        // Nobody is kept in a call because his token is over.
        let is_ending = waiting.request.method == Method::Bye;
        let is_foreign = is_own == Err(Rejection::ForeignToken);
        match is_own {
            Err(rejection) if is_foreign || !is_ending => {
                if is_foreign {
                    self.link.event(Event::Security {
                        origin: Origin::Flow(waiting.flow),
                        breach: Breach::ForeignToken,
                    });
                }
                let tenant = self.tenant_of_flow(waiting.flow);
                self.refuse(&waiting, tenant, &rejection);
                self.count_failure(waiting.flow);
            }
            Ok(()) | Err(_) => {
                let Waiting {
                    flow,
                    transaction,
                    request,
                } = waiting;
                let copy = (*request).clone();
                if let Err(rejection) = self.take_own_request(transaction, flow, *request) {
                    self.turn_away(transaction, &Peer::Flow(flow), &copy, &rejection);
                }
            }
        }
    }

    fn bindings_of(&self, flow: FlowId) -> Vec<BindingId> {
        let bindings = self.registrations.of_flow(flow);
        bindings.map(Binding::id).collect()
    }

    /// The core has taken the registration of a user who logged in by token.
    pub(crate) fn note_proven(&mut self, id: BindingId) {
        let Some(binding) = self.registrations.get(id) else {
            return;
        };
        if let (Some(flow), Some(until)) = (binding.flow(), binding.until()) {
            let now = self.link.instant();
            self.logins
                .handle_registered(id, flow, binding.identity(), until, now);
        }
    }

    /// A registration is over.
    pub(crate) fn note_ended(&mut self, id: BindingId) {
        let identity = self.registrations.get(id).map(Binding::identity);
        let others = identity.map(|it| self.registrations.of_identity(it));
        let is_last = others.is_none_or(|others| others.iter().all(|other| *other == id));
        let now = self.link.instant();
        self.logins.handle_ended(id, is_last, now);
    }

    fn is_winding_up(&self, id: BindingId) -> bool {
        let binding = self.registrations.get(id);
        binding.is_some_and(Binding::is_winding_up)
    }

    fn tenant_of_flow(&self, flow: FlowId) -> TenantId {
        let mut bindings = self.registrations.of_flow(flow);
        bindings.next().map(Binding::tenant).unwrap_or_default()
    }

    /// A connection brought a token in its handshake.
    pub(crate) fn take_flow_token(&mut self, flow: FlowId, token: Token) {
        if self.flows.is_open(flow) {
            self.logins.handle_carried(flow, token);
        }
    }

    /// A connection brought a ticket in its handshake.
    pub(crate) fn take_flow_ticket(&mut self, flow: FlowId, ticket: &Private<String>) {
        if self.flows.is_open(flow) && !self.logins.handle_ticket(flow, ticket) {
            self.link.counters.tickets_refused += 1;
            self.closings.push_back((flow, Closing::BadTicket));
        }
    }

    /// A request that may wait for a verdict is cancelled, RFC 3261 §9.2.
    pub(crate) fn cancel_waiting(&mut self, invite: ServerTransactionId) {
        if let Some(waiting) = self.logins.take_cancelled(invite) {
            let terminated = crate::message::StatusCode::REQUEST_TERMINATED;
            let response = Response::to_request(&waiting.request, terminated);
            self.respond_to(&waiting, response);
        }
    }

    /// The administrator ends every registration of an identity.
    pub(crate) fn end_registrations(&mut self, identity: &PublicIdentity) {
        for binding in self.registrations.of_identity(identity) {
            let cause = DeregistrationCause::Administrator;
            self.registrations.dismiss(binding, cause, &mut self.link);
        }
    }
}

/// A token whose time is almost over is worth nothing any more, but for a farewell.
fn check_life(waiting: &Waiting, user: ProvenUser, now: Instant) -> Result<ProvenUser, Rejection> {
    let headers = &waiting.request.headers;
    let all = headers.expires().ok().flatten().map(|expires| expires.0);
    let contacts = headers.contacts().unwrap_or_default();
    let is_farewell = match contacts.iter().find_map(Contact::expires) {
        Some(expires) => expires == 0,
        None => all == Some(0),
    };
    if !is_farewell {
        life_of(&user, now)?;
    }
    Ok(user)
}

/// When to come back for what may do later.
const RETRY_AFTER: std::ops::Range<u32> = 5..30;
