//! A 2xx to an INVITE until its ACK: sent again by the one who accepted, whatever the
//! transport. RFC 3261 §13.3.1.4 and §14.2.

use std::time::{Duration, Instant};

use super::build;
use super::{SipLeg, State};
use crate::event::EndReason;
use crate::message::{Headers, Request, Response};
use crate::session::leg::LegEvent;
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// An acceptance that was not acknowledged yet.
#[derive(Debug)]
pub(super) struct Unacked {
    transaction: ServerTransactionId,
    response: Response,
    /// Whether it made an offer, whose answer the ACK brings.
    awaits_answer: bool,
    /// Whether it accepted the call itself, and not a re-INVITE.
    is_first: bool,
    retransmit_after: Duration,
    retransmit_at: Instant,
    give_up_at: Instant,
}

impl Unacked {
    /// The call was accepted.
    pub(super) fn first(
        transaction: ServerTransactionId,
        response: Response,
        awaits_answer: bool,
        now: Instant,
    ) -> Self {
        Unacked {
            transaction,
            response,
            awaits_answer,
            is_first: true,
            retransmit_after: T1,
            retransmit_at: now + T1,
            give_up_at: now + GIVE_UP,
        }
    }

    /// Whether the ACK brings an answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.awaits_answer
    }

    /// A re-INVITE was accepted.
    pub(super) fn again(
        transaction: ServerTransactionId,
        response: Response,
        awaits_answer: bool,
        now: Instant,
    ) -> Self {
        Unacked {
            is_first: false,
            ..Unacked::first(transaction, response, awaits_answer, now)
        }
    }
}

impl SipLeg {
    /// An ACK to a 2xx of this leg.
    pub(in crate::session) fn handle_ack(&mut self, request: &Request, outside: &mut impl Outside) {
        let is_ours = self
            .unacked
            .as_ref()
            .is_some_and(|unacked| cseq(&request.headers) == cseq(&unacked.response.headers));
        let is_dialog = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.is_of(request));
        if !is_ours || !is_dialog {
            return;
        }
        let Some(unacked) = self.unacked.take() else {
            return;
        };
        if let Some(headers) = self.farewell.take() {
            return self.hang_up(headers, outside);
        }
        if self.state == State::Confirmed && unacked.awaits_answer {
            match build::description(&request.headers, &request.body) {
                Some(answer) => self.push(LegEvent::OfferAnswered(answer)),
                None => self.push(LegEvent::Lost(EndReason::Protocol)),
            }
        }
        self.offer_what_waits();
    }

    /// Whether BYE must wait for an ACK, RFC 3261 §15.
    pub(super) fn must_await_ack(&self) -> bool {
        self.unacked
            .as_ref()
            .is_some_and(|unacked| unacked.is_first)
    }

    pub(super) fn handle_unacked_timeout(&mut self, now: Instant, outside: &mut impl Outside) {
        let Some(unacked) = &mut self.unacked else {
            return;
        };
        if unacked.give_up_at <= now {
            self.unacked = None;
            if let Some(headers) = self.farewell.take() {
                return self.hang_up(headers, outside);
            }
            self.push(LegEvent::Lost(EndReason::Unacknowledged));
        } else if unacked.retransmit_at <= now {
            unacked.retransmit_after = (2 * unacked.retransmit_after).min(T2);
            unacked.retransmit_at = now + unacked.retransmit_after;
            let (transaction, response) = (unacked.transaction, unacked.response.clone());
            outside.respond(self.leg, transaction, response);
        }
    }

    pub(super) fn unacked_deadline(&self) -> Option<Instant> {
        self.unacked
            .as_ref()
            .map(|unacked| unacked.retransmit_at.min(unacked.give_up_at))
    }
}

fn cseq(headers: &Headers) -> Option<u32> {
    headers.cseq().ok().map(|cseq| cseq.number)
}

/// First pause between retransmissions. RFC 3261 §17.1.1.1.
pub(super) const T1: Duration = Duration::from_millis(500);

/// Longest pause. RFC 3261 §17.1.2.2.
const T2: Duration = Duration::from_secs(4);

/// How long an ACK is waited for: 64*T1.
const GIVE_UP: Duration = Duration::from_secs(32);
