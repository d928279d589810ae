//! A 2xx of the box's own to an INVITE until its ACK, RFC 3261 §13.3.1.4 and §14.2.

use std::time::Instant;

use super::build;
use super::{SipLeg, State};
use crate::dialog::DialogId;
use crate::dialog::answer::{Output, UnacknowledgedAnswer};
use crate::event::EndReason;
use crate::message::{Request, Response};
use crate::session::leg::LegEvent;
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// An acceptance that was not acknowledged yet.
#[derive(Debug)]
pub(super) struct Unacked {
    transaction: ServerTransactionId,
    answer: UnacknowledgedAnswer,
    /// Whether it made an offer, whose answer the ACK brings.
    awaits_answer: bool,
    /// Whether it accepted the call itself, and not a re-INVITE.
    is_first: bool,
}

impl Unacked {
    /// Whether the ACK brings an answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.awaits_answer
    }
}

impl SipLeg {
    /// Sends a 2xx to an INVITE until it is acknowledged.
    pub(super) fn send_acceptance(
        &mut self,
        transaction: ServerTransactionId,
        response: Response,
        awaits_answer: bool,
        is_first: bool,
        outside: &mut impl Outside,
    ) {
        self.unacked = Some(Unacked {
            transaction,
            answer: UnacknowledgedAnswer::start(response, outside.now().monotonic),
            awaits_answer,
            is_first,
        });
        self.drain_unacked(outside);
    }

    /// An ACK to a 2xx of this leg.
    pub(in crate::session) fn handle_ack(&mut self, request: &Request, outside: &mut impl Outside) {
        let id = DialogId::of_request(request);
        let is_dialog = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| Some(dialog.id()) == id.as_ref());
        let acknowledged = self
            .unacked
            .take_if(|unacked| is_dialog && unacked.answer.handle_ack(request));
        let Some(unacked) = acknowledged else {
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
        if let Some(unacked) = &mut self.unacked {
            unacked.answer.handle_timeout(now);
            self.drain_unacked(outside);
        }
    }

    fn drain_unacked(&mut self, outside: &mut impl Outside) {
        while let Some(unacked) = &mut self.unacked
            && let Some(output) = unacked.answer.poll_output()
        {
            match output {
                Output::Send(response) => {
                    outside.respond(self.leg, unacked.transaction, response);
                }
                Output::GaveUp => {
                    self.unacked = None;
                    match self.farewell.take() {
                        Some(headers) => self.hang_up(headers, outside),
                        None => self.push(LegEvent::Lost(EndReason::Unacknowledged)),
                    }
                }
            }
        }
    }

    pub(super) fn unacked_deadline(&self) -> Option<Instant> {
        self.unacked.as_ref()?.answer.poll_timeout()
    }
}
