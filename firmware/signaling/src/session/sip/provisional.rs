//! Reliable provisional responses of the box's own, RFC 3262 §3: one at a time, sent
//! again until PRACK.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::build;
use super::unacked::T1;
use super::{SipLeg, State};
use crate::event::EndReason;
use crate::message::{HeaderName, Headers, Request, Response, StatusCode};
use crate::session::leg::{Final, LegEvent};
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// Where the reliable responses to one INVITE stand.
#[derive(Debug)]
pub(super) struct Reliable {
    is_required: bool,
    is_supported: bool,
    rseq: u32,
    pending: Option<Pending>,
    queue: VecDeque<Response>,
    /// Whether a description went out reliably: it is not repeated in the 2xx.
    has_description: bool,
}

#[derive(Debug)]
struct Pending {
    response: Response,
    retransmit_after: Duration,
    retransmit_at: Instant,
    give_up_at: Instant,
}

impl Reliable {
    /// As the INVITE asks for it.
    pub(super) fn of(headers: &Headers) -> Self {
        let is_required = headers.lists_token(&HeaderName::Require, "100rel");
        Reliable {
            is_required,
            is_supported: is_required || headers.lists_token(&HeaderName::Supported, "100rel"),
            rseq: 0,
            pending: None,
            queue: VecDeque::new(),
            has_description: false,
        }
    }

    /// Whether the next response goes out reliably.
    pub(super) fn is_wanted(&self, has_description: bool) -> bool {
        self.is_required || (self.is_supported && has_description)
    }

    /// Whether the 2xx must wait: a description is out that was not acknowledged.
    pub(super) fn delays_acceptance(&self) -> bool {
        let holds_description = |response: &Response| !response.body.is_empty();
        self.pending
            .as_ref()
            .is_some_and(|pending| holds_description(&pending.response))
            || self.queue.iter().any(holds_description)
    }

    /// Whether the peer has the box's description already.
    pub(super) fn is_description_settled(&self) -> bool {
        self.has_description
    }

    fn next(&mut self, now: Instant) -> Option<Response> {
        if self.pending.is_some() {
            return None;
        }
        let response = self.queue.pop_front()?;
        self.pending = Some(Pending {
            response: response.clone(),
            retransmit_after: T1,
            retransmit_at: now + T1,
            give_up_at: now + GIVE_UP,
        });
        Some(response)
    }
}

impl SipLeg {
    /// Sends a provisional response reliably, after those before it.
    pub(super) fn send_reliably(&mut self, mut response: Response, outside: &mut impl Outside) {
        let Some(called) = &mut self.called else {
            return;
        };
        let reliable = &mut called.reliable;
        if reliable.queue.len() >= QUEUE_MAX {
            return;
        }
        reliable.rseq += 1;
        response.headers.push(HeaderName::Require, "100rel");
        response.headers.push(HeaderName::RSeq, reliable.rseq);
        reliable.has_description |= !response.body.is_empty();
        reliable.queue.push_back(response);
        self.send_next_reliable(outside);
    }

    fn send_next_reliable(&mut self, outside: &mut impl Outside) {
        let now = outside.now().monotonic;
        if let Some(called) = &mut self.called
            && let Some(response) = called.reliable.next(now)
        {
            let transaction = called.transaction;
            outside.respond(self.leg, transaction, response);
        }
    }

    /// PRACK: the peer has a response; an answer may come with it, or a new offer.
    pub(super) fn handle_prack(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        let pending = self
            .called
            .as_mut()
            .and_then(|called| {
                let cseq = called.request.headers.cseq().ok()?;
                let rack = request.headers.rack().ok()??;
                let is_match = |pending: &mut Pending| {
                    rack.cseq == cseq
                        && pending
                            .response
                            .headers
                            .rseq()
                            .ok()
                            .flatten()
                            .map(|rseq| rseq.0)
                            == Some(rack.rseq)
                };
                called.reliable.pending.take_if(is_match)
            })
            .filter(|_| self.state == State::Called);
        let Some(pending) = pending else {
            let refusal = Final::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
            return self.refuse(transaction, &request, &refusal, outside);
        };
        let has_offer = self.called.as_ref().is_some_and(|called| called.has_offer);
        let description = build::description(&request.headers, &request.body);
        match description {
            // RFC 3262 §5: after an answer that went out reliably PRACK may offer again.
            Some(_) if has_offer => self.handle_offer(transaction, request, outside),
            description => {
                let response =
                    Response::to_request(&request, StatusCode::OK).with_to_tag(&self.local_tag);
                outside.respond(self.leg, transaction, response);
                let was_offer = !has_offer && !pending.response.body.is_empty();
                match description {
                    Some(answer) if was_offer => self.push(LegEvent::OfferAnswered(answer)),
                    None if was_offer => self.push(LegEvent::Lost(EndReason::Protocol)),
                    Some(_) | None => {}
                }
            }
        }
        self.send_next_reliable(outside);
        self.accept_what_waits(outside);
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
        let Some(called) = &mut self.called else {
            return;
        };
        let Some(pending) = &mut called.reliable.pending else {
            return;
        };
        if pending.give_up_at <= now {
            called.reliable.pending = None;
            self.push(LegEvent::Lost(EndReason::Unacknowledged));
        } else if pending.retransmit_at <= now {
            pending.retransmit_after *= 2;
            pending.retransmit_at = now + pending.retransmit_after;
            let (transaction, response) = (called.transaction, pending.response.clone());
            outside.respond(self.leg, transaction, response);
        }
    }

    pub(super) fn provisional_deadline(&self) -> Option<Instant> {
        let pending = self.called.as_ref()?.reliable.pending.as_ref()?;
        Some(pending.retransmit_at.min(pending.give_up_at))
    }
}

/// How long a PRACK is waited for: 64*T1, RFC 3262 §3.
const GIVE_UP: Duration = Duration::from_secs(32);

/// More provisional responses than this do not wait for a PRACK.
const QUEUE_MAX: usize = 8;
