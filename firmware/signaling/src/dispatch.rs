//! Who gets what arrives: flows, registrations, or a session.

use std::net::SocketAddr;

use bytes::Bytes;
use iq::Leg;

use crate::Signaling;
use crate::calls::dialog_tag;
use crate::challenged::Challenge;
use crate::event::{Breach, DeregistrationCause, EndReason, Event, Origin};
use crate::flow::Closing;
use crate::id::{EndpointId, FlowId, SipTransport};
use crate::link::{Heard, Owner};
use crate::message::headers::{OptionTag, Require};
use crate::message::{
    Framing, HeaderName, Message, Method, ParseError, Parsed, Request, Response, StatusCode,
    parse_datagram, parse_websocket,
};
use crate::output::Output;
use crate::registration::Change;
use crate::rejection::{ALLOWED, Rejection};
use crate::transaction::{self, ClientTransactionId, Failure, Peer, ServerTransactionId};

impl Signaling {
    /// Works off all that follows from an input.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(output) = self.link.transactions.poll_output() {
                self.take_transaction_output(output);
            } else if let Some(transaction) = self.link.pop_stranded() {
                self.take_failure(transaction, Failure::Transport);
            } else if let Some(change) = self.registrations.pop_change() {
                self.apply(change);
            } else if let Some((flow, closing)) = self.closings.pop_front() {
                self.close(flow, closing);
            } else if !self.settle_logins() {
                break;
            }
        }
    }

    pub(crate) fn take_flow_message(&mut self, flow: FlowId, bytes: &Bytes) {
        if !self.flows.is_open(flow) {
            return; // It was closed while this was under way.
        }
        if let Err(closing) = self.flows.handle_message(flow, self.link.instant()) {
            return self.closings.push_back((flow, closing));
        }
        let peer = Peer::Flow(flow);
        match parse_websocket(bytes) {
            Ok(Parsed::Message(message)) => {
                self.link.counters.access_messages += 1;
                if let Message::Request(request) = &message
                    && !self.admit_request(flow, request)
                {
                    return;
                }
                let now = self.link.instant();
                self.link.transactions.handle_message(peer, message, now);
            }
            // RFC 5626 §3.5.1: a double CRLF is answered with a single one.
            Ok(Parsed::Ping) => {
                self.link.counters.keepalives += 1;
                self.link.deliver(&peer, Bytes::from_static(b"\r\n"));
            }
            Ok(Parsed::Pong) => {}
            Err(error) => {
                self.link.counters.access_malformed += 1;
                self.refuse_malformed(&peer, error, Origin::Flow(flow));
                if let Err(closing) = self.flows.handle_malformed(flow) {
                    self.closings.push_back((flow, closing));
                }
            }
        }
    }

    pub(crate) fn take_ims_message(
        &mut self,
        endpoint: EndpointId,
        transport: SipTransport,
        from: SocketAddr,
        bytes: &Bytes,
    ) {
        let is_trusted = self.registrations.is_core(endpoint, from.ip(), &self.link);
        if !is_trusted {
            self.link.counters.ims_untrusted += 1;
            return self.link.event(Event::Security {
                origin: Origin::Endpoint(endpoint),
                breach: Breach::UntrustedSource,
            });
        }
        self.registrations.handle_heard(endpoint, from, &self.link);
        let peer = Peer::Ims {
            endpoint,
            transport,
            remote: from,
        };
        let parsed = match transport {
            SipTransport::Udp => parse_datagram(bytes),
            SipTransport::Tcp | SipTransport::Tls => {
                Message::parse(bytes, Framing::Stream).map(Parsed::Message)
            }
        };
        match parsed {
            Ok(Parsed::Message(message)) => {
                self.link.counters.ims_messages += 1;
                let now = self.link.instant();
                self.link.transactions.handle_message(peer, message, now);
            }
            Ok(Parsed::Ping | Parsed::Pong) => {}
            Err(error) => {
                self.link.counters.ims_malformed += 1;
                self.refuse_malformed(&peer, error, Origin::Endpoint(endpoint));
            }
        }
    }

    fn refuse_malformed(&mut self, peer: &Peer, error: ParseError, origin: Origin) {
        self.link.event(Event::Security {
            origin,
            breach: Breach::Malformed,
        });
        if let Some(response) = error.into_response() {
            self.link.deliver(peer, response.to_bytes());
        }
    }

    fn take_transaction_output(&mut self, output: transaction::Output) {
        use transaction::Output as Tx;
        match output {
            Tx::Transmit { peer, bytes } => self.link.deliver(&peer, bytes),
            Tx::Request {
                transaction,
                peer,
                request,
            } => {
                self.take_request(transaction, &peer, request);
            }
            Tx::Response {
                transaction,
                response,
            } => self.take_response(transaction, response),
            Tx::Failed {
                transaction,
                failure,
            } => self.take_failure(transaction, failure),
            Tx::Ack { peer, request } => self.take_ack(&peer, &request),
            Tx::Cancelled { invite, request } => {
                self.cancel_waiting(invite);
                let (link, registrations) = (&mut self.link, &self.registrations);
                self.sessions
                    .handle_cancelled(invite, &request, link, registrations);
            }
            Tx::StrayResponse { .. } => self.link.counters.stray_responses += 1,
            Tx::Ended { transaction } => self.sessions.handle_ended(transaction),
            Tx::Unacknowledged { .. } => {} // A failure that nobody acknowledged is still one.
        }
    }

    fn take_response(&mut self, transaction: ClientTransactionId, response: Response) {
        let response = match self.link.take_challenge(transaction, &response) {
            Challenge::None => response,
            Challenge::Answering => return,
            Challenge::Refused(session, name, response) => {
                let call = (session, Leg::Ims);
                let (link, registrations) = (&mut self.link, &self.registrations);
                return self
                    .sessions
                    .handle_response(call, name, *response, link, registrations);
            }
        };
        let hop = self.link.client(transaction).and_then(|client| client.hop);
        let heard = self.link.owner_of_response(transaction, &response);
        if let Heard::By(owner, name) = heard
            && let Some(user) = self.user_of(owner, name)
        {
            let link = &mut self.link;
            self.registrations.heed_restoration(user, &response, link);
        }
        let link = &mut self.link;
        match heard {
            Heard::By(Owner::Binding(binding), name) => {
                self.registrations
                    .handle_response(binding, name, &response, link);
            }
            Heard::By(Owner::Session(session, leg), name) => {
                let call = (session, leg);
                self.sessions.handle_hop(call, hop);
                self.sessions
                    .handle_response(call, name, response, link, &self.registrations);
            }
            Heard::By(Owner::Subscription(id), name) => {
                self.take_subscription_response(id, name, &response);
            }
            Heard::By(Owner::Exchange, name) => self.take_exchange_response(name, &response),
            Heard::By(Owner::Watch(id), name) => {
                let registrations = &mut self.registrations;
                registrations.handle_watch_answer(id, name, Some(&response), link);
            }
            Heard::By(Owner::Probe, _) | Heard::Nobody => {}
            Heard::Stray => link.counters.stray_responses += 1,
        }
    }

    fn take_failure(&mut self, transaction: ClientTransactionId, failure: Failure) {
        let heard = self.link.owner_of_failure(transaction, failure);
        let link = &mut self.link;
        match heard {
            Heard::By(Owner::Binding(binding), name) => {
                self.registrations
                    .handle_failure(binding, name, failure, link);
            }
            Heard::By(Owner::Session(session, leg), name) => {
                let call = (session, leg);
                self.sessions
                    .handle_failed(call, name, failure, link, &self.registrations);
            }
            Heard::By(Owner::Subscription(id), name) => {
                self.take_subscription_failure(id, name, failure);
            }
            Heard::By(Owner::Exchange, name) => self.take_exchange_failure(name, failure),
            Heard::By(Owner::Watch(id), name) => {
                self.registrations.handle_watch_answer(id, name, None, link);
            }
            Heard::By(Owner::Probe, _) | Heard::Nobody | Heard::Stray => {}
        }
    }

    fn take_request(&mut self, transaction: ServerTransactionId, peer: &Peer, request: Request) {
        let checked = self.check(peer, &request);
        let taken = checked.and_then(|()| match *peer {
            Peer::Flow(flow) => self.take_access_request(transaction, flow, request.clone()),
            Peer::Ims { endpoint, .. } => {
                self.take_ims_request(transaction, peer, endpoint, request.clone())
            }
        });
        if let Err(rejection) = taken {
            self.turn_away(transaction, peer, &request, &rejection);
        }
    }

    /// What holds for every request, RFC 3261 §8.2.1, §8.2.2 and §16.3.
    fn check(&self, peer: &Peer, request: &Request) -> Result<(), Rejection> {
        let is_served = match request.method {
            Method::Register => matches!(peer, Peer::Flow(_)),
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Prack
            | Method::Update
            | Method::Info
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Subscribe => true,
            Method::Publish => matches!(peer, Peer::Flow(_)),
            Method::Other(_) => false,
        };
        if !is_served {
            return Err(Rejection::MethodNotAllowed);
        }
        if request
            .headers
            .max_forwards()?
            .is_some_and(|hops| hops.0 == 0)
        {
            return Err(Rejection::TooManyHops);
        }
        let required = request
            .headers
            .require()?
            .into_iter()
            .map(|Require(tag)| tag);
        let unknown: Vec<OptionTag> = required
            .filter(|tag| !EXTENSIONS.iter().any(|known| tag.is(known)))
            .collect();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Rejection::BadExtension(unknown))
        }
    }

    fn take_access_request(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
    ) -> Result<(), Rejection> {
        if request.method == Method::Register {
            self.take_register(transaction, flow, request);
            return Ok(());
        }
        if request.method == Method::Invite
            && dialog_tag(&request).is_none()
            && let Some(taken) = self.take_emergency(transaction, flow, &request)
        {
            return taken;
        }
        if !self.flows.is_registered(flow) {
            return Err(Rejection::Unregistered);
        }
        match self.check_token(transaction, flow, request)? {
            Some(request) => self.take_own_request(transaction, flow, request),
            None => Ok(()), // It goes on when its token was looked at.
        }
    }

    /// A request of a connection that speaks for its own user.
    pub(crate) fn take_own_request(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        request: Request,
    ) -> Result<(), Rejection> {
        match (&request.method, dialog_tag(&request)) {
            (_, Some(tag)) => self.take_in_dialog(transaction, &Peer::Flow(flow), &tag, request),
            (Method::Options, None) if !self.is_about_another(flow, &request) => {
                self.answer_options(transaction, &request)
            }
            (Method::Message | Method::Publish | Method::Options, None) => {
                self.take_access_exchange(transaction, flow, request)
            }
            (Method::Subscribe, None) => {
                self.take_subscribe(transaction, &Peer::Flow(flow), request)
            }
            (Method::Invite, None) => self.take_access_invite(transaction, flow, request, None),
            (Method::Refer, None) => Err(Rejection::OnlyInCall),
            (_, None) => Err(Rejection::NoDialog),
        }
    }

    fn take_ims_request(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        endpoint: EndpointId,
        request: Request,
    ) -> Result<(), Rejection> {
        match (&request.method, dialog_tag(&request)) {
            (_, Some(tag)) => self.take_in_dialog(transaction, peer, &tag, request),
            (Method::Options, None) => self.answer_options(transaction, &request),
            (Method::Message, None) => self.take_ims_exchange(transaction, peer, request),
            (Method::Subscribe, None) => self.take_subscribe(transaction, peer, request),
            (Method::Invite, None) => self.take_ims_invite(transaction, peer, endpoint, request),
            (Method::Refer, None) => Err(Rejection::OnlyInCall),
            (_, None) => Err(Rejection::NoDialog),
        }
    }

    /// RFC 3261 §11.2: alive, and what it can do.
    fn answer_options(
        &mut self,
        transaction: ServerTransactionId,
        request: &Request,
    ) -> Result<(), Rejection> {
        self.link.counters.options_answered += 1;
        let tag = self.link.token();
        let response = Response::to_request(request, StatusCode::OK)
            .with_to_tag(&tag)
            .with(HeaderName::Allow, ALLOWED)
            .with(HeaderName::Accept, "application/sdp")
            .with(HeaderName::Supported, "100rel, timer, replaces");
        self.link.respond(transaction, response);
        Ok(())
    }

    pub(crate) fn turn_away(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        request: &Request,
        rejection: &Rejection,
    ) {
        let counters = &mut self.link.counters;
        match rejection {
            Rejection::Unregistered => counters.requests_unregistered += 1,
            Rejection::MethodNotAllowed => counters.requests_method_not_allowed += 1,
            Rejection::BadExtension(_) => counters.requests_bad_extension += 1,
            Rejection::TooManyHops => counters.requests_too_many_hops += 1,
            Rejection::NoDialog => counters.requests_no_dialog += 1,
            Rejection::NoCapacity => counters.calls_refused += 1,
            Rejection::Barred(_) => counters.calls_barred += 1,
            Rejection::TooFast(_) => counters.calls_too_fast += 1,
            _ => {}
        }
        let (tag, retry_after) = (self.link.token(), self.link.jitter(RETRY_AFTER));
        let response = rejection.response(request, retry_after).with_to_tag(&tag);
        self.link.respond(transaction, response);
        if let Peer::Flow(flow) = *peer {
            let breach = match rejection {
                Rejection::Unregistered => Some(Breach::Unregistered),
                Rejection::Barred(barred) => Some(Breach::BarredNumber(*barred)),
                Rejection::TooFast(_) => Some(Breach::CallRate),
                _ => None,
            };
            if let Some(breach) = breach {
                let origin = Origin::Flow(flow);
                self.link.event(Event::Security { origin, breach });
            }
            self.count_failure(flow);
        }
    }

    pub(crate) fn count_failure(&mut self, flow: FlowId) {
        if let Err(closing) = self.flows.handle_failed_request(flow) {
            self.closings.push_back((flow, closing));
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Away(binding) => {
                let (link, registrations) = (&mut self.link, &self.registrations);
                self.sessions.handle_away(binding, link, registrations);
            }
            Change::Back(binding) => {
                let (link, registrations) = (&mut self.link, &self.registrations);
                self.sessions.handle_back(binding, link, registrations);
            }
            Change::Proven(binding) => self.note_proven(binding),
            Change::Ended(binding, cause) => {
                self.note_ended(binding);
                let reason = match cause {
                    DeregistrationCause::Shutdown => EndReason::Shutdown,
                    _ => EndReason::RegistrationEnded,
                };
                let (link, registrations) = (&mut self.link, &self.registrations);
                self.sessions.end_of(binding, reason, link, registrations);
                self.subscriptions.end_of(binding, &mut self.link);
                self.exchanges.forget(binding);
                self.registrations.let_go(binding);
            }
            Change::Leaving(binding) => {
                let (link, registrations) = (&mut self.link, &self.registrations);
                let reason = EndReason::RegistrationEnded;
                self.sessions.end_of(binding, reason, link, registrations);
            }
            Change::Carries(flow, count) => {
                self.flows.set_bindings(flow, count, self.link.instant());
            }
            Change::Close(flow, closing) => self.closings.push_back((flow, closing)),
            Change::Failed(flow) => self.count_failure(flow),
        }
    }

    /// Closes a connection.
    fn close(&mut self, flow: FlowId, closing: Closing) {
        if self.flows.is_open(flow) {
            self.say_goodbye(flow, closing);
            self.forget_flow(flow);
        }
    }

    pub(crate) fn say_goodbye(&mut self, flow: FlowId, closing: Closing) {
        let (code, reason) = (closing.code(), closing.reason());
        self.link.push(Output::CloseFlow { flow, code, reason });
        self.link.event(Event::FlowClosed { flow, code, reason });
        let counters = &mut self.link.counters;
        match closing {
            Closing::Unauthenticated => counters.flows_unauthenticated_timeout += 1,
            Closing::FailedRequests | Closing::MalformedMessages | Closing::Flood => {
                counters.flows_flooded += 1;
            }
            Closing::Superseded => counters.flows_superseded += 1,
            Closing::Idle
            | Closing::BadTicket
            | Closing::Dismissed
            | Closing::RegisterAgain
            | Closing::RegisterLater
            | Closing::Full
            | Closing::Restart => {}
        }
    }

    pub(crate) fn forget_flow(&mut self, flow: FlowId) {
        if self.flows.handle_closed(flow) {
            self.link.counters.flows_closed += 1;
            self.logins.handle_flow_closed(flow);
            let now = self.link.instant();
            self.link
                .transactions
                .handle_transport_failure(&Peer::Flow(flow), now);
            self.registrations.handle_flow_closed(flow, &mut self.link);
        }
    }
}

/// The extensions that a peer may require; a call turns away what its network does not do.
const EXTENSIONS: [&str; 8] = [
    "100rel",
    "timer",
    "path",
    "outbound",
    "gruu",
    "precondition",
    "replaces",
    "norefersub",
];

/// When to come back after a refusal for lack of room.
const RETRY_AFTER: std::ops::Range<u32> = 5..30;
