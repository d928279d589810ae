//! What arrives from the shell, handed to whom it concerns.

use std::net::SocketAddr;

use iq::{Leg, Private};

use crate::Signaling;
use crate::auth::digest::Answer;
use crate::auth::{AuthenticationFailure, AuthenticationId};
use crate::id::{EndpointId, FlowId, QueryId};
use crate::input::{Input, OpenFailure};
use crate::reach::Resolution;
use crate::transaction::Peer;

impl Signaling {
    /// Takes one input, without what follows from it.
    pub(crate) fn take(&mut self, input: Input) {
        let now = self.link.instant();
        match input {
            Input::FlowOpened {
                flow,
                remote,
                is_secure,
            } => self.take_flow_opened(flow, remote, is_secure),
            Input::FlowMessage { flow, bytes } => self.take_flow_message(flow, &bytes),
            Input::FlowClosed { flow } => self.forget_flow(flow),
            Input::FlowToken { flow, token } => self.take_flow_token(flow, token),
            Input::FlowTicket { flow, ticket } => self.take_flow_ticket(flow, &ticket),
            Input::TicketWanted { ticket, token } => {
                let now = self.link.now();
                self.logins.handle_ticket_wanted(ticket, token, now);
            }
            Input::Fetched { query, result } => {
                let now = self.link.now();
                self.logins
                    .handle_fetched(query, result, now, &mut self.link.rng);
            }
            Input::EndRegistrations { identity } => self.end_registrations(&identity),
            Input::Opened { endpoint, local } => self.take_opened(endpoint, local),
            Input::OpenFailed { endpoint, reason } => self.take_open_failed(endpoint, reason),
            Input::ImsMessage {
                endpoint,
                transport,
                from,
                bytes,
            } => {
                self.take_ims_message(endpoint, transport, from, &bytes);
            }
            Input::ImsTransportFailed {
                endpoint,
                transport,
                to,
            } => {
                let peer = Peer::Ims {
                    endpoint,
                    transport,
                    remote: to,
                };
                self.link.transactions.handle_transport_failure(&peer, now);
            }
            Input::Resolved { query, resolution } => self.take_resolved(query, &resolution),
            Input::Authenticated { id, answer } => self.take_authenticated(id, answer),
            Input::SaInstalled { client, result } => {
                let link = &mut self.link;
                self.registrations.handle_installed(client, result, link);
            }
            Input::Pressure(pressure) => self.link.guard.load.pressure = pressure,
            Input::Iq(reply) => {
                self.sessions
                    .handle_reply(reply, &mut self.link, &self.registrations);
            }
            Input::Stored { write } => self.link.handle_stored(write),
            Input::KeepAgain => self.keep_again(),
            Input::Drain => self.drain(),
            Input::Deregister => self.deregister(),
        }
    }

    fn take_flow_opened(&mut self, flow: FlowId, remote: Private<SocketAddr>, is_secure: bool) {
        let now = self.link.instant();
        self.link.counters.flows_opened += 1;
        if let Err(closing) = self.flows.handle_opened(flow, remote, is_secure, now) {
            self.say_goodbye(flow, closing);
        }
    }

    /// A port towards the IMS is there: of a prober, or of registrations.
    fn take_opened(&mut self, endpoint: EndpointId, local: SocketAddr) {
        let link = &mut self.link;
        match link.reach.tenant_of_prober(endpoint) {
            Some(tenant) => link.reach.handle_opened(tenant, endpoint, Some(local)),
            None => self.registrations.handle_opened(endpoint, local, link),
        }
    }

    fn take_open_failed(&mut self, endpoint: EndpointId, reason: OpenFailure) {
        let link = &mut self.link;
        match link.reach.tenant_of_prober(endpoint) {
            Some(tenant) => link.reach.handle_opened(tenant, endpoint, None),
            None => self
                .registrations
                .handle_open_failed(endpoint, reason, link),
        }
    }

    fn take_resolved(&mut self, query: QueryId, resolution: &Resolution) {
        let now = self.link.instant();
        let reach = &mut self.link.reach;
        if let Some(tenant) = reach.handle_resolved(query, resolution, now) {
            self.link.go_on(tenant);
            self.registrations.handle_resolved(tenant, &mut self.link);
        }
    }

    /// The keeper of the credentials answers: for a registration, or for a call.
    fn take_authenticated(
        &mut self,
        id: AuthenticationId,
        answer: Result<Box<Answer>, AuthenticationFailure>,
    ) {
        let (link, registrations) = (&mut self.link, &mut self.registrations);
        if !registrations.handle_authenticated(id, &answer, link)
            && let Some((session, name, response)) = link.handle_authenticated(id, answer)
        {
            let call = (session, Leg::Ims);
            self.sessions
                .handle_response(call, name, response, link, registrations);
        }
    }
}
