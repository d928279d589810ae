//! The peer calls: its INVITE until the box's final answer. RFC 3261 §13.3.

use iq::Leg;
use rand_core::Rng;

use super::build;
use super::capabilities::PRECONDITION;
use super::provisional::Reliable;
use super::{SipLeg, State};
use crate::dialog::Dialog;
use crate::message::{HeaderName, Headers, Request, Response, StatusCode};
use crate::sdp::PreconditionUse;
use crate::session::leg::{Final, LegEvent, Sdp};
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// An INVITE of the peer's.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) transaction: ServerTransactionId,
    pub(super) request: Request,
    /// Whether the offer came with the INVITE.
    pub(super) has_offer: bool,
    /// Whether preconditions are in use, RFC 3312.
    uses_preconditions: bool,
    /// Where reliable provisional responses stand.
    pub(super) reliable: Reliable,
    /// The acceptance that waits for a PRACK, RFC 3262 §3.
    pub(super) acceptance: Option<(Sdp, Headers)>,
}

impl Called {
    /// What is done about preconditions.
    pub(super) fn precondition_use(&self) -> PreconditionUse {
        match (self.uses_preconditions, self.has_offer) {
            (false, _) => PreconditionUse::Ignored,
            (true, true) => PreconditionUse::Answered,
            (true, false) => PreconditionUse::Offered,
        }
    }
}

impl SipLeg {
    /// A leg whose peer calls, and its offer. `None` if the INVITE cannot be served and
    /// was answered so.
    pub(in crate::session) fn called(
        leg: Leg,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) -> Option<(Self, Option<Sdp>)> {
        let mut this = SipLeg::new(leg, outside);
        if let Err(refusal) = this.check_invite(&request) {
            this.refuse(transaction, &request, &refusal, outside);
            return None;
        }
        let offer = build::description(&request.headers, &request.body);
        this.state = State::Called;
        this.called = Some(Called {
            transaction,
            has_offer: offer.is_some(),
            uses_preconditions: this.capabilities.uses_preconditions(&request.headers),
            reliable: Reliable::of(&request, outside.rng().next_u32() % RSEQ_RANGE),
            request,
            acceptance: None,
        });
        Some((this, offer))
    }

    fn check_invite(&mut self, request: &Request) -> Result<(), Final> {
        self.capabilities.check(&request.headers)?;
        if build::has_foreign_body(&request.headers, &request.body) {
            let mut refusal = Final::new(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            refusal.headers.push(HeaderName::Accept, "application/sdp");
            return Err(refusal);
        }
        self.check_interval(request)?;
        let dialog = Dialog::from_request(request, &self.local_tag);
        self.dialog = Some(dialog.map_err(|fault| Final::new(fault.status()))?);
        Ok(())
    }

    /// Tells the peer how its call is going.
    pub(super) fn ring(
        &mut self,
        status: StatusCode,
        description: Option<Sdp>,
        headers: &Headers,
        outside: &mut impl Outside,
    ) {
        let Some(called) = self.called.as_ref().filter(|_| self.state == State::Called) else {
            return;
        };
        let is_reliable = called
            .reliable
            .is_wanted(description.is_some() && self.leg == Leg::Ims);
        // An offer in an unreliable response is none, RFC 3261 §13.2.1.
        let description = description.filter(|_| is_reliable || called.has_offer);
        let mut response = self.dialog_response(&called.request, status, outside);
        for header in outside.carry(self.leg, headers).iter() {
            response.headers.push_header(header.clone());
        }
        if let Some(description) = description {
            if called.uses_preconditions {
                response.headers.push(HeaderName::Require, PRECONDITION);
            }
            build::set_body(&mut response.headers, &mut response.body, description);
        }
        if is_reliable {
            self.send_reliably(response, outside);
        } else {
            outside.respond(self.leg, called.transaction, response);
        }
    }

    /// Accepts the peer's call, as soon as PRACK allows it.
    pub(super) fn accept(
        &mut self,
        description: Sdp,
        headers: &Headers,
        outside: &mut impl Outside,
    ) {
        let Some(called) = self.called.as_mut().filter(|_| self.state == State::Called) else {
            return;
        };
        if called.reliable.delays_acceptance() {
            called.acceptance = Some((description, headers.clone()));
            return;
        }
        let Some(called) = self.called.take() else {
            return;
        };
        let mut response = self.dialog_response(&called.request, StatusCode::OK, outside);
        self.capabilities.write(&mut response.headers);
        let now = outside.now().monotonic;
        self.timer
            .prepare_response(&called.request, &mut response, now);
        for header in outside.carry(self.leg, headers).iter() {
            response.headers.push_header(header.clone());
        }
        if !called.reliable.is_description_settled() {
            build::set_body(&mut response.headers, &mut response.body, description);
        }
        let awaits_answer = !called.has_offer && !called.reliable.is_description_settled();
        self.state = State::Confirmed;
        if let Some(dialog) = &mut self.dialog {
            dialog.confirm();
        }
        self.send_acceptance(called.transaction, response, awaits_answer, true, outside);
    }

    /// Turns the peer's call down.
    pub(super) fn reject(
        &mut self,
        status: StatusCode,
        headers: &Headers,
        outside: &mut impl Outside,
    ) {
        if let Some(called) = self.called.take() {
            let carried = outside.carry(self.leg, headers);
            let response =
                Response::to_request(&called.request, status).with_to_tag(&self.local_tag);
            outside.respond(
                self.leg,
                called.transaction,
                with_all(response, &carried, headers),
            );
        }
        self.close(outside.now().monotonic);
    }

    /// The peer took its call back.
    pub(in crate::session) fn handle_cancelled(
        &mut self,
        invite: ServerTransactionId,
        cancel: &Request,
        outside: &mut impl Outside,
    ) {
        if self
            .called
            .as_ref()
            .is_some_and(|called| called.transaction == invite)
        {
            self.reject(StatusCode::REQUEST_TERMINATED, &Headers::new(), outside);
            self.push(LegEvent::Cancelled {
                headers: cancel.headers.clone(),
            });
        } else {
            self.cancel_re_offer(invite, outside);
        }
    }

    /// A response that makes or keeps a dialog, RFC 3261 §12.1.1.
    pub(super) fn dialog_response(
        &self,
        request: &Request,
        status: StatusCode,
        outside: &impl Outside,
    ) -> Response {
        let mut response = Response::to_request(request, status).with_to_tag(&self.local_tag);
        response
            .headers
            .copy(&request.headers, &HeaderName::RecordRoute);
        response
            .headers
            .push(HeaderName::Contact, self.contact(outside).to_string());
        response
    }
}

/// Adds what crosses from the other leg, and what is the box's own to say.
fn with_all(mut response: Response, carried: &Headers, own: &Headers) -> Response {
    for header in carried.iter() {
        response.headers.push_header(header.clone());
    }
    for name in OWN_IN_FINAL {
        response.headers.copy(own, &name);
    }
    response
}

/// What the policy calls a leg's own and a final failure still takes along.
const OWN_IN_FINAL: [HeaderName; 5] = [
    HeaderName::Warning,
    HeaderName::RetryAfter,
    HeaderName::Unsupported,
    HeaderName::Accept,
    HeaderName::MinSe,
];

/// The first RSeq leaves room for those after it, RFC 3262 §3.
const RSEQ_RANGE: u32 = 1 << 30;
