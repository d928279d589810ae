//! Offers inside a dialog: re-INVITE and UPDATE both ways, glare, and what must wait.
//! RFC 3261 §14, RFC 3311 §5, RFC 6141.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::build;
use super::calling::authorization;
use super::unacked::Unacked;
use super::{Purpose, SipLeg, State};
use crate::event::EndReason;
use crate::message::headers::MinSe;
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::session::early_media::Fork;
use crate::session::leg::{Final, LegEvent, Sdp};
use crate::session::outside::Outside;
use crate::transaction::{ClientTransactionId, Failure, ServerTransactionId};

/// An offer of the peer's.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) transaction: ServerTransactionId,
    pub(super) request: Request,
    /// Whether it asks for an offer instead.
    is_offerless: bool,
}

/// An offer of the box's.
#[derive(Debug)]
pub(super) enum Outbound {
    /// It waits until the leg is free.
    Waiting,
    /// It was sent.
    Sent,
    /// The peer offered at the same time; tried again at this time.
    Glare(Instant),
}

/// The last re-INVITE of the box's that was accepted, in case its ACK got lost.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) transaction: ClientTransactionId,
    pub(super) ack: Request,
}

impl SipLeg {
    /// Offers again, or as soon as the leg is free.
    pub(super) fn re_offer(&mut self, offer: Sdp, outside: &mut impl Outside) {
        if self.state != State::Confirmed {
            return;
        }
        if !self.is_free() {
            self.outbound = Some(Outbound::Waiting);
            return;
        }
        let Some(mut request) = self.dialog_request(Method::Invite, outside) else {
            return;
        };
        self.capabilities.write(&mut request.headers);
        self.timer.prepare_request(&mut request);
        build::set_body(&mut request.headers, &mut request.body, offer);
        self.offered = Some(request.clone());
        if self.send(request, Purpose::Offer, outside) {
            self.outbound = Some(Outbound::Sent);
        } else {
            self.outbound = None;
            self.push(LegEvent::ReOfferRejected(StatusCode::FLOW_FAILED));
        }
    }

    /// Nothing is under way that an offer would have to wait for.
    fn is_free(&self) -> bool {
        self.unacked.is_none()
            && self.inbound.is_none()
            && !matches!(self.outbound, Some(Outbound::Sent | Outbound::Glare(_)))
    }

    /// Asks for the offer that waited, made anew.
    pub(super) fn offer_what_waits(&mut self) {
        if matches!(self.outbound, Some(Outbound::Waiting)) && self.is_free() {
            self.outbound = None;
            self.push(LegEvent::ReOfferDue);
        }
    }

    /// A re-INVITE or an UPDATE of the peer's.
    pub(super) fn handle_offer(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        if let Err(refusal) = self.check_offer(&request, outside) {
            return self.refuse(transaction, &request, &refusal, outside);
        }
        // A new INVITE shows that the peer has the answer to the one before.
        if request.method == Method::Invite {
            self.unacked = None;
        }
        let fork = self.early_fork(&request);
        if let Some(fork) = fork {
            self.push(LegEvent::EarlyMedia {
                fork,
                authorization: authorization(&request.headers),
            });
        }
        let offer = build::description(&request.headers, &request.body);
        if request.method == Method::Update && offer.is_none() {
            let mut response = self.dialog_response(&request, StatusCode::OK, outside);
            let now = outside.now().monotonic;
            self.timer.prepare_response(&request, &mut response, now);
            return outside.respond(self.leg, transaction, response);
        }
        self.inbound = Some(Inbound {
            transaction,
            is_offerless: offer.is_none(),
            request,
        });
        self.push(LegEvent::ReOffered { offer, fork });
    }

    /// The fork that a request of the peer comes from, while none has answered.
    fn early_fork(&self, request: &Request) -> Option<Fork> {
        let calling = self.calling.as_ref();
        let calling = calling.filter(|_| self.state == State::Calling);
        calling.and_then(|calling| calling.fork_of(request))
    }

    fn check_offer(&mut self, request: &Request, outside: &mut impl Outside) -> Result<(), Final> {
        self.capabilities.check(&request.headers)?;
        self.check_interval(request)?;
        if build::has_foreign_body(&request.headers, &request.body) {
            return Err(Final::new(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let awaits_answer = self.unacked.as_ref().is_some_and(Unacked::awaits_answer);
        let is_refresh = request.method == Method::Update && request.body.is_empty();
        if self.inbound.is_some() && !is_refresh {
            return Err(busy(outside.rng()));
        }
        if (awaits_answer || matches!(self.outbound, Some(Outbound::Sent))) && !is_refresh {
            return Err(Final::new(StatusCode::REQUEST_PENDING));
        }
        match self.state {
            State::Confirmed => Ok(()),
            // Before the answer an offer comes by UPDATE.
            State::Called | State::Calling if request.method == Method::Update => Ok(()),
            State::Called | State::Calling => Err(busy(outside.rng())),
            State::Idle | State::Closing => {
                Err(Final::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST))
            }
        }
    }

    /// Answers the peer's offer.
    pub(super) fn answer_re_offer(&mut self, answer: Sdp, outside: &mut impl Outside) {
        let Some(inbound) = self.inbound.take() else {
            return;
        };
        let now = outside.now().monotonic;
        let mut response = self.dialog_response(&inbound.request, StatusCode::OK, outside);
        self.capabilities.write(&mut response.headers);
        self.timer
            .prepare_response(&inbound.request, &mut response, now);
        build::set_body(&mut response.headers, &mut response.body, answer);
        let Inbound {
            transaction,
            is_offerless,
            ..
        } = inbound;
        if inbound.request.method == Method::Invite {
            self.send_acceptance(transaction, response, is_offerless, false, outside);
        } else {
            outside.respond(self.leg, transaction, response);
        }
        self.offer_what_waits();
    }

    /// Turns the peer's offer down.
    pub(super) fn reject_re_offer(&mut self, refusal: &Final, outside: &mut impl Outside) {
        if let Some(inbound) = self.inbound.take() {
            let is_busy = refusal.status == StatusCode::SERVER_INTERNAL_ERROR
                && !refusal.headers.has(&HeaderName::RetryAfter);
            let busy = is_busy.then(|| busy(outside.rng()));
            let refusal = busy.as_ref().unwrap_or(refusal);
            self.refuse(inbound.transaction, &inbound.request, refusal, outside);
            self.offer_what_waits();
        }
    }

    /// The peer took its offer back.
    pub(super) fn cancel_re_offer(
        &mut self,
        invite: ServerTransactionId,
        outside: &mut impl Outside,
    ) {
        let is_known = |inbound: &mut Inbound| inbound.transaction == invite;
        if let Some(inbound) = self.inbound.take_if(is_known) {
            let refusal = Final::new(StatusCode::REQUEST_TERMINATED);
            self.refuse(invite, &inbound.request, &refusal, outside);
            self.push(LegEvent::ReOfferCancelled);
            self.offer_what_waits();
        }
    }

    /// The peer's answer to the box's offer.
    pub(super) fn handle_offer_response(
        &mut self,
        transaction: ClientTransactionId,
        response: Response,
        outside: &mut impl Outside,
    ) {
        let status = response.status;
        if status.is_success() {
            return self.handle_offer_accepted(transaction, &response, outside);
        }
        self.outbound = None;
        if is_end_of_dialog(status) {
            return self.push(LegEvent::Lost(EndReason::DialogLost));
        }
        match status {
            StatusCode::REQUEST_PENDING => {
                let now = outside.now().monotonic;
                let pause = glare_pause(self.owns_call_id, outside.rng());
                self.outbound = Some(Outbound::Glare(now + pause));
            }
            // RFC 4028 §7.4: the next one asks for more.
            StatusCode::SESSION_INTERVAL_TOO_SMALL if self.timer.handle_too_small(&response) => {
                self.push(LegEvent::ReOfferDue);
            }
            _ => self.push(LegEvent::ReOfferRejected(status)),
        }
    }

    fn handle_offer_accepted(
        &mut self,
        transaction: ClientTransactionId,
        response: &Response,
        outside: &mut impl Outside,
    ) {
        let (Some(dialog), Some(request)) = (&mut self.dialog, self.offered.take()) else {
            return;
        };
        // A Contact that cannot be read leaves the target as it was.
        let _ = dialog.handle_response(response);
        let ack = dialog.ack(build::cseq(&request));
        outside.send_ack(self.leg, ack.clone());
        self.acknowledged = Some(Acknowledged { transaction, ack });
        self.outbound = None;
        self.timer.handle_success(response, outside.now().monotonic);
        match build::description(&response.headers, &response.body) {
            Some(answer) => self.push(LegEvent::ReAnswered(answer)),
            None => self.push(LegEvent::Lost(EndReason::Protocol)),
        }
    }

    /// No answer to the box's offer.
    pub(super) fn handle_offer_failed(&mut self, failure: Failure) {
        self.outbound = None;
        self.push(match failure {
            Failure::TimedOut => LegEvent::Lost(EndReason::DialogLost),
            Failure::Transport | Failure::Overloaded => {
                LegEvent::ReOfferRejected(StatusCode::FLOW_FAILED)
            }
        });
    }

    pub(super) fn handle_offers_timeout(&mut self, now: Instant) {
        if let Some(Outbound::Glare(at)) = self.outbound
            && at <= now
        {
            self.outbound = Some(Outbound::Waiting);
            self.offer_what_waits();
        }
    }

    pub(super) fn offers_deadline(&self) -> Option<Instant> {
        match self.outbound {
            Some(Outbound::Glare(at)) => Some(at),
            Some(Outbound::Waiting | Outbound::Sent) | None => None,
        }
    }

    /// Answers a request of the peer's with a failure.
    pub(super) fn refuse(
        &self,
        transaction: ServerTransactionId,
        request: &Request,
        refusal: &Final,
        outside: &mut impl Outside,
    ) {
        let mut response =
            Response::to_request(request, refusal.status).with_to_tag(&self.local_tag);
        for header in refusal.headers.iter() {
            response.headers.push_header(header.clone());
        }
        outside.respond(self.leg, transaction, response);
    }
}

impl SipLeg {
    /// Whether the session interval that the peer asks for is long enough,
    /// RFC 4028 §9.
    pub(super) fn check_interval(&self, request: &Request) -> Result<(), Final> {
        self.timer.check_request(request).map_err(|too_small| {
            let mut refusal = Final::new(StatusCode::SESSION_INTERVAL_TOO_SMALL);
            refusal.headers.push_typed(&MinSe(too_small.min_se));
            refusal
        })
    }
}

/// The peer does not know the call any more, RFC 3261 §12.2.1.2 and RFC 5057 §5.1.
pub(super) fn is_end_of_dialog(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST | StatusCode::REQUEST_TIMEOUT
    )
}

/// 500 with a random Retry-After, RFC 3261 §14.2.
fn busy(rng: &mut ChaCha20Rng) -> Final {
    let mut headers = Headers::new();
    headers.push(HeaderName::RetryAfter, rng.next_u32() % BUSY_SECONDS);
    Final {
        status: StatusCode::SERVER_INTERNAL_ERROR,
        headers,
    }
}

/// How long to wait after 491: the owner of the Call-ID 2.1 to 4 s, the other side up
/// to 2 s, both in steps of 10 ms. RFC 3261 §14.1.
fn glare_pause(owns_call_id: bool, rng: &mut ChaCha20Rng) -> Duration {
    let steps = if owns_call_id {
        210 + rng.next_u32() % 191
    } else {
        rng.next_u32() % 201
    };
    Duration::from_millis(u64::from(10 * steps))
}

/// Retry-After is less than this, RFC 3261 §14.2.
const BUSY_SECONDS: u32 = 11;
