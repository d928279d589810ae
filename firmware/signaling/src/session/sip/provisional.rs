//! Reliable provisional responses of the box's own on a leg, RFC 3262 §3 and §5.

use std::time::Instant;

use super::build;
use super::{SipLeg, State};
use crate::dialog::rel100::{OPTION_TAG, Output, ReliableProvisionals};
use crate::event::EndReason;
use crate::message::{HeaderName, Request, Response, StatusCode};
use crate::session::leg::{Final, LegEvent};
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// Where the reliable responses to one INVITE stand.
#[derive(Debug)]
pub(super) struct Reliable {
    is_required: bool,
    is_supported: bool,
    responses: ReliableProvisionals,
    /// Whether a description went out reliably: it is not repeated in the 2xx.
    has_description: bool,
}

impl Reliable {
    /// As the INVITE asks for it.
    pub(super) fn of(invite: &Request, first_rseq: u32) -> Self {
        let lists = |name| invite.headers.lists_token(&name, OPTION_TAG);
        let is_required = lists(HeaderName::Require);
        Reliable {
            is_required,
            is_supported: is_required || lists(HeaderName::Supported),
            responses: ReliableProvisionals::new(invite, first_rseq),
            has_description: false,
        }
    }

    /// Whether the next response goes out reliably.
    pub(super) fn is_wanted(&self, has_description: bool) -> bool {
        self.is_required || (self.is_supported && has_description)
    }

    /// Whether the 2xx must wait: a description is out that was not acknowledged.
    pub(super) fn delays_acceptance(&self) -> bool {
        self.has_description && self.responses.is_waiting()
    }

    /// Whether the peer has the box's description already.
    pub(super) fn is_description_settled(&self) -> bool {
        self.has_description
    }
}

impl SipLeg {
    /// Sends a provisional response reliably, after those before it.
    pub(super) fn send_reliably(&mut self, response: Response, outside: &mut impl Outside) {
        if let Some(called) = &mut self.called {
            let reliable = &mut called.reliable;
            reliable.has_description |= !response.body.is_empty();
            reliable.responses.send(response, outside.now().monotonic);
        }
        self.drain_provisional(outside);
    }

    /// PRACK: the peer has a response; an answer may come with it, or a new offer.
    pub(super) fn handle_prack(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        let now = outside.now().monotonic;
        let Some(called) = &mut self.called else {
            return self.refuse_stray_prack(transaction, &request, outside);
        };
        let had_description = called.reliable.delays_acceptance();
        if !called.reliable.responses.handle_prack(&request, now) {
            return self.refuse_stray_prack(transaction, &request, outside);
        }
        let has_offer = called.has_offer;
        let description = build::description(&request.headers, &request.body);
        if has_offer && description.is_some() {
            // RFC 3262 §5: after an answer that went out reliably PRACK may offer again.
            self.handle_offer(transaction, request, outside);
        } else {
            let response =
                Response::to_request(&request, StatusCode::OK).with_to_tag(&self.local_tag);
            outside.respond(self.leg, transaction, response);
            if let Some(answer) = description {
                self.push(LegEvent::OfferAnswered(answer));
            } else if !has_offer && had_description && !self.awaits_prack() {
                // The offer of the box was acknowledged and never answered.
                self.push(LegEvent::Lost(EndReason::Protocol));
            }
        }
        self.drain_provisional(outside);
        self.accept_what_waits(outside);
    }

    fn refuse_stray_prack(
        &self,
        transaction: ServerTransactionId,
        request: &Request,
        outside: &mut impl Outside,
    ) {
        let refusal = Final::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        self.refuse(transaction, request, &refusal, outside);
    }

    fn awaits_prack(&self) -> bool {
        self.called
            .as_ref()
            .is_some_and(|called| called.reliable.responses.is_waiting())
    }

    fn accept_what_waits(&mut self, outside: &mut impl Outside) {
        let acceptance = self
            .called
            .as_mut()
            .filter(|called| !called.reliable.delays_acceptance())
            .and_then(|called| called.acceptance.take());
        if let Some((description, headers)) = acceptance {
            self.accept(description, &headers, outside);
        }
    }

    pub(super) fn handle_provisional_timeout(&mut self, now: Instant, outside: &mut impl Outside) {
        if let Some(called) = &mut self.called {
            called.reliable.responses.handle_timeout(now);
            self.drain_provisional(outside);
        }
    }

    fn drain_provisional(&mut self, outside: &mut impl Outside) {
        if self.state != State::Called {
            return;
        }
        while let Some(called) = &mut self.called
            && let Some(output) = called.reliable.responses.poll_output()
        {
            match output {
                Output::Send(response) => {
                    outside.respond(self.leg, called.transaction, response);
                }
                Output::GaveUp => self.push(LegEvent::Lost(EndReason::Unacknowledged)),
            }
        }
    }

    pub(super) fn provisional_deadline(&self) -> Option<Instant> {
        self.called.as_ref()?.reliable.responses.poll_timeout()
    }
}
