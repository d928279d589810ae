//! Requests outside calls that leave nothing behind but their answer: MESSAGE in page mode
//! (RFC 3428), PUBLISH (RFC 3903), and OPTIONS to somebody else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iq::Leg;

use crate::Signaling;
use crate::config::ServiceConfig;
use crate::crossing;
use crate::id::FlowId;
use crate::link::Owner;
use crate::message::{HeaderName, Method, Request, Response, StatusCode};
use crate::registration::BindingId;
use crate::rejection::{ALLOWED, Rejection};
use crate::session::Target;
use crate::transaction::{ClientTransactionId, Failure, Peer, ServerTransactionId};
use crate::visited::Visited;

/// Everything that waits for an answer.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    table: BTreeMap<ClientTransactionId, Exchange>,
    /// How many messages each user has sent in his current minute.
    sent: BTreeMap<BindingId, (Instant, u32)>,
}

/// A request that was handed on.
#[derive(Debug)]
struct Exchange {
    binding: BindingId,
    /// The side that asked.
    from: Leg,
    transaction: ServerTransactionId,
    request: Request,
    visited: Option<Visited>,
}

impl Exchanges {
    /// Whether a user may send one more message now.
    fn admit(&mut self, binding: BindingId, services: &ServiceConfig, now: Instant) -> bool {
        let (since, count) = self.sent.entry(binding).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= services.messages_per_minute
    }

    /// Whose request it is that went to the core under this name.
    pub(crate) fn user_of(&self, sent: ClientTransactionId) -> Option<BindingId> {
        let exchange = self.table.get(&sent)?;
        (exchange.from == Leg::Access).then_some(exchange.binding)
    }

    /// A registration is over.
    pub(crate) fn forget(&mut self, binding: BindingId) {
        self.sent.remove(&binding);
    }
}

impl Signaling {
    /// MESSAGE, PUBLISH or OPTIONS of a browser.
    pub(crate) fn take_access_exchange(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
    ) -> Result<(), Rejection> {
        let (binding, target) = self.outgoing(flow, &request)?;
        let user = self.registrations.get(binding).ok_or(Rejection::NotHere)?;
        let services = &self.link.config.tenant(user.tenant()).services;
        match request.method {
            Method::Message => {
                services.check_message(&request)?;
                let now = self.link.instant();
                if !self.exchanges.admit(binding, services, now) {
                    return Err(Rejection::TooManyMessages);
                }
            }
            Method::Publish => {
                if !services.publish {
                    return Err(Rejection::MethodNotAllowed);
                }
                services.check_package(&request)?;
                if !user.owns(&request.uri) {
                    return Err(Rejection::ForeignIdentity);
                }
            }
            _ => {}
        }
        self.hand_on(transaction, Leg::Ims, binding, &target, request)
    }

    /// MESSAGE of the core.
    pub(crate) fn take_ims_exchange(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        request: Request,
    ) -> Result<(), Rejection> {
        let (binding, target) = self.incoming(peer, &request)?;
        self.services_of(binding)?.check_message(&request)?;
        self.hand_on(transaction, Leg::Access, binding, &target, request)
    }

    /// What a user may do.
    pub(crate) fn services_of(&self, binding: BindingId) -> Result<&ServiceConfig, Rejection> {
        let user = self.registrations.get(binding).ok_or(Rejection::NotHere)?;
        Ok(&self.link.config.tenant(user.tenant()).services)
    }

    /// Whether an OPTIONS of a browser is about somebody else.
    pub(crate) fn is_about_another(&self, flow: FlowId, request: &Request) -> bool {
        let names_user = request.uri.as_sip().is_none_or(|uri| uri.user().is_some());
        let mut bindings = self.registrations.of_flow(flow);
        names_user && !bindings.any(|binding| binding.owns(&request.uri))
    }

    fn hand_on(
        &mut self,
        transaction: ServerTransactionId,
        towards: Leg,
        binding: BindingId,
        target: &Target,
        request: Request,
    ) -> Result<(), Rejection> {
        if self.exchanges.table.len() >= EXCHANGE_MAX {
            return Err(Rejection::NoCapacity);
        }
        let visited = self.visited(binding, towards.other(), &request);
        let user = self.registrations.get(binding).ok_or(Rejection::NotHere)?;
        let link = &mut self.link;
        let own = &own_headers(&request.method).0;
        let sent = crossing::renewed(link, user, towards, target, &request, own);
        let (owner, at) = (Owner::Exchange, visited.as_ref());
        let sent = crossing::send(link, user, owner, towards, sent, at);
        let sent = sent.ok_or(Rejection::FlowFailed)?;
        link.counters.exchanges += 1;
        let exchange = Exchange {
            binding,
            from: towards.other(),
            transaction,
            request,
            visited,
        };
        self.exchanges.table.insert(sent, exchange);
        Ok(())
    }

    /// The other side answers.
    pub(crate) fn take_exchange_response(
        &mut self,
        sent: ClientTransactionId,
        response: &Response,
    ) {
        if response.status.is_provisional() {
            return;
        }
        if let Some(exchange) = self.exchanges.table.remove(&sent) {
            let mut answer = crossing::answer(&exchange.request, response.status, exchange.from);
            let own = &own_headers(&exchange.request.method).1;
            if let Some(user) = self.registrations.get(exchange.binding) {
                let (link, to) = (&self.link, &mut answer.headers);
                crossing::copy_crossing(link, user, exchange.from, &response.headers, own, to);
            }
            if exchange.request.method == Method::Options && answer.is_success() {
                // What the far end can do, as far as it can be done through this box.
                answer = answer
                    .with(HeaderName::Allow, ALLOWED)
                    .with(HeaderName::Accept, "application/sdp");
            }
            self.reply(&exchange, answer);
        }
    }

    /// The other side does not answer.
    pub(crate) fn take_exchange_failure(&mut self, sent: ClientTransactionId, failure: Failure) {
        let status = match failure {
            Failure::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Failure::Transport => StatusCode::FLOW_FAILED,
            Failure::Overloaded => StatusCode::SERVER_INTERNAL_ERROR,
        };
        if let Some(exchange) = self.exchanges.table.remove(&sent) {
            let answer = crossing::answer(&exchange.request, status, exchange.from);
            self.reply(&exchange, answer);
        }
    }

    fn reply(&mut self, exchange: &Exchange, answer: Response) {
        let answer = answer.with_to_tag(&self.link.token());
        let visited = exchange.visited.as_ref();
        let (link, towards) = (&mut self.link, exchange.from);
        crossing::respond(link, exchange.transaction, towards, answer, visited);
    }
}

impl ServiceConfig {
    /// Whether a MESSAGE is one that crosses, RFC 3428 §8 and TS 24.341.
    ///
    /// # Errors
    /// 513 for a long one, 415 for a type that is not on the list.
    pub(crate) fn check_message(&self, request: &Request) -> Result<(), Rejection> {
        if request.body.len() > MESSAGE_MAX {
            return Err(Rejection::MessageTooLarge);
        }
        let content_type = request.headers.content_type()?;
        let is_taken = content_type.is_none_or(|content_type| {
            let is_it = |known: &String| content_type.is(known);
            self.message_types.iter().any(is_it)
        });
        if is_taken {
            Ok(())
        } else {
            let types = self.message_types.join(", ");
            Err(Rejection::UnsupportedMessage(types))
        }
    }

    /// Whether an event package is on the list, RFC 6665 §4.2.1.1.
    ///
    /// # Errors
    /// 489 if it is not, 400 if none is named.
    pub(crate) fn check_package(&self, request: &Request) -> Result<(), Rejection> {
        let event = request.headers.event()?;
        let event = event.ok_or(Rejection::Malformed(HeaderName::Event))?;
        let is_it = |known: &String| event.package.eq_ignore_ascii_case(known);
        if self.event_packages.iter().any(is_it) {
            Ok(())
        } else {
            Err(Rejection::BadEvent(self.event_packages.join(", ")))
        }
    }
}

/// What a request and its answer say of themselves, besides what a policy lets through.
fn own_headers(method: &Method) -> (Vec<HeaderName>, Vec<HeaderName>) {
    let body = [HeaderName::ContentType, HeaderName::ContentDisposition];
    let (asked, answered): (&[HeaderName], &[HeaderName]) = match method {
        Method::Publish => (
            &[
                HeaderName::Event,
                HeaderName::Expires,
                HeaderName::SipIfMatch,
            ],
            &[
                HeaderName::SipETag,
                HeaderName::Expires,
                HeaderName::MinExpires,
            ],
        ),
        _ => (&[HeaderName::Expires], &[]),
    };
    let asked = body.iter().chain(asked).cloned().collect();
    (asked, answered.to_vec())
}

/// The longest body of a MESSAGE, RFC 3428 §8.
const MESSAGE_MAX: usize = 1300;

/// Requests that wait for an answer at a time.
const EXCHANGE_MAX: usize = 10_000;

const MINUTE: Duration = Duration::from_secs(60);
