//! From the INVITE to its answer: what the called side's forks say, and what the calling
//! side hears of it. RFC 3261 §13, RFC 3960, RFC 5009.
//!
//! However many forks there are, the calling side sees one early dialog with one answer of
//! the box's; behind it media is pointed from fork to fork.

use std::time::{Duration, Instant};

use iq::Leg;

use super::{Coupling, State};
use crate::event::EndReason;
use crate::message::{Headers, StatusCode};
use crate::session::early_media::{Authorization, Fork};
use crate::session::leg::{Final, LegAction, Rejected, RejectedBy, Sdp};
use crate::session::mapping;
use crate::session::reason;

impl Coupling {
    /// Calls the called side.
    pub(super) fn invite(&mut self, now: Instant) {
        let callee = self.caller.other();
        match self.negotiation.invite(callee) {
            Ok(offer) => {
                self.state = State::Inviting;
                self.patience = Some(now + self.limits.ring_time);
                let headers = std::mem::take(&mut self.headers);
                self.act(callee, LegAction::Invite { offer, headers });
            }
            Err(refusal) => self.turn_down(refusal, now),
        }
    }

    /// The calling side is answered without the called side, for it will not get its
    /// resources ready before; nobody is alerted until it has said that they are. RFC 3312
    /// §7, TS 24.229 §5.1.4.1.
    pub(super) fn prepare(&mut self, now: Instant) {
        match self.negotiation.answer(self.caller) {
            Ok(answer) => {
                self.state = State::Preparing;
                self.patience = Some(now + RESOURCE_PATIENCE);
                self.told = Some(answer.clone());
                self.ring(StatusCode::SESSION_PROGRESS, Some(answer), Headers::new());
            }
            Err(refusal) => self.turn_down(refusal, now),
        }
    }

    /// The calling side did not get its resources ready.
    pub(super) fn end_of_preparing(&mut self, now: Instant) {
        self.turn_down(Final::new(StatusCode::PRECONDITION_FAILURE), now);
    }

    pub(super) fn progress(
        &mut self,
        fork: Fork,
        status: StatusCode,
        answer: Option<&Sdp>,
        authorization: Authorization,
        headers: Headers,
        now: Instant,
    ) {
        if self.state != State::Inviting {
            return;
        }
        // Timer C starts again with every sign of life, RFC 3261 §16.7 step 2; the box
        // is the end of both calls, so its own limit stays.
        let callee = self.caller.other();
        let is_answered = answer
            .is_some_and(|answer| self.negotiation.fork_answered(callee, fork, answer).is_ok());
        if is_answered {
            self.early.answered(fork);
        }
        self.early.authorize(fork, authorization);
        let description = self.hear_early_media();
        let status = match status {
            // What may not be heard does not silence the browser's own ringback tone.
            StatusCode::SESSION_PROGRESS if self.early.is_withheld() => StatusCode::RINGING,
            StatusCode::RINGING
            | StatusCode::CALL_IS_BEING_FORWARDED
            | StatusCode::QUEUED
            | StatusCode::SESSION_PROGRESS => status,
            _ => return,
        };
        if status == StatusCode::RINGING {
            self.chronicle.ringing(now);
        }
        self.ring(status, description, headers);
    }

    fn ring(&mut self, status: StatusCode, description: Option<Sdp>, headers: Headers) {
        if description.is_some() || self.rung != Some(status) {
            self.rung = Some(status);
            let description = description.or_else(|| self.early_offer());
            self.act(
                self.caller,
                LegAction::Ring {
                    status,
                    description,
                    headers,
                },
            );
        }
    }

    /// The network's word about a fork's early media came without a response.
    pub(super) fn authorized(&mut self, fork: Fork, authorization: Authorization) {
        if self.state == State::Inviting {
            self.early.authorize(fork, authorization);
            let description = self.hear_early_media();
            if description.is_some() {
                self.ring(StatusCode::SESSION_PROGRESS, description, Headers::new());
            }
        }
    }

    /// A fork is over, the call is not.
    pub(super) fn fork_ended(&mut self, fork: Fork) {
        if self.state == State::Inviting {
            self.early.ended(fork);
            let description = self.hear_early_media();
            if description.is_some() {
                self.ring(StatusCode::SESSION_PROGRESS, description, Headers::new());
            }
        }
    }

    /// Points media to the fork that is to be heard by now; gives the caller's answer if
    /// this is the first.
    fn hear_early_media(&mut self) -> Option<Sdp> {
        if let Some(fork) = self.early.choose()
            && self.negotiation.hear(fork)
        {
            let description = self.early_description();
            self.configure();
            return description;
        }
        if self.early.is_muted() != self.is_muted {
            self.configure();
        }
        None
    }

    /// A fork of the called side offers before the call is answered, RFC 3311 §5.2: it is
    /// answered from what is known, and the caller hears nothing of it before the answer.
    pub(super) fn early_re_offered(&mut self, fork: Fork, offer: Option<&Sdp>) {
        let callee = self.caller.other();
        let heard = self.negotiation.heard();
        if self.state != State::Inviting || !self.negotiation.hear(fork) {
            // The box's own offer to this fork has no answer yet.
            let refusal = Final::new(StatusCode::REQUEST_PENDING);
            return self.act(callee, LegAction::RejectReOffer(refusal));
        }
        let before = self.negotiation.directions();
        let answer = match offer {
            Some(offer) => self
                .negotiation
                .offered(callee, offer)
                .and_then(|_| self.negotiation.answer(callee)),
            None => self.negotiation.offer(callee),
        };
        if answer.is_err() {
            self.negotiation.forget_offer(callee, before);
        }
        self.answer_re_offer(callee, answer);
        match heard {
            Some(heard) if heard != fork => {
                self.negotiation.hear(heard);
            }
            Some(_) => self.configure(),
            None => {}
        }
    }

    /// The box's answer for the caller, the first time there is one: a page takes one
    /// answer, and it must stay the same.
    fn early_description(&mut self) -> Option<Sdp> {
        if self.told.is_some() || !self.negotiation.has_offer_of(self.caller) {
            return None;
        }
        self.told = self.negotiation.answer(self.caller).ok();
        self.told.clone()
    }

    /// The box's offer for a caller that made none: the leg sends it where a
    /// provisional answer must carry one (RFC 3261 §13.2.1).
    fn early_offer(&mut self) -> Option<Sdp> {
        if self.told.is_none() && !self.negotiation.has_offer_of(self.caller) {
            self.told = self.negotiation.offer(self.caller).ok();
            return self.told.clone();
        }
        None
    }

    pub(super) fn answered(
        &mut self,
        fork: Fork,
        answer: Option<&Sdp>,
        headers: Headers,
        now: Instant,
    ) {
        if self.state != State::Inviting {
            return;
        }
        let callee = self.caller.other();
        let verdict = match answer {
            Some(answer) => self.negotiation.fork_answered(callee, fork, answer),
            None => Ok(()),
        };
        // Media follows the fork that answered, whichever was heard until now.
        let verdict = verdict.and_then(|()| match self.negotiation.hear(fork) {
            true => Ok(()),
            false => Err(Final::new(StatusCode::NOT_ACCEPTABLE_HERE)),
        });
        let description = verdict.and_then(|()| self.final_description());
        match description {
            Ok(description) => {
                self.state = State::Up;
                self.negotiation.forget_forks();
                self.patience = None;
                self.duration_at = Some(now + self.limits.duration);
                self.chronicle.answered(now);
                self.configure();
                self.act(
                    self.caller,
                    LegAction::Accept {
                        description,
                        headers,
                    },
                );
                self.reconcile();
            }
            Err(refusal) => {
                self.chronicle
                    .ended(None, Some(EndReason::Protocol), Some(refusal.status), now);
                self.finish(refusal.status, refusal.headers, now);
            }
        }
    }

    fn final_description(&mut self) -> Result<Sdp, Final> {
        match &self.told {
            Some(told) => Ok(told.clone()),
            None if self.negotiation.has_offer_of(self.caller) => {
                self.negotiation.answer(self.caller)
            }
            None => self.negotiation.offer(self.caller),
        }
    }

    pub(super) fn rejected(&mut self, leg: Leg, rejected: Rejected, now: Instant) {
        let mapped = match (rejected.origin, leg) {
            (RejectedBy::Silence | RejectedBy::Peer, Leg::Ims) => {
                mapping::to_access(rejected.status)
            }
            (RejectedBy::Silence | RejectedBy::Peer | RejectedBy::NoFlow, _) => {
                mapping::to_ims(rejected.status)
            }
        };
        let mut headers = rejected.headers;
        reason::forget_hop(&mut headers);
        if mapped.status != rejected.status {
            reason::push_if_absent(&mut headers, reason::of_status(rejected.status));
        }
        if mapped.retry_after {
            reason::retry_later(&mut headers);
        }
        self.chronicle
            .ended(Some(leg), None, Some(mapped.status), now);
        self.finish(mapped.status, headers, now);
    }

    pub(super) fn end_of_ringing(&mut self, now: Instant) {
        let status = StatusCode::TEMPORARILY_UNAVAILABLE;
        self.chronicle.ended(None, None, Some(status), now);
        let mut headers = Headers::new();
        reason::push(&mut headers, reason::of_status(StatusCode::REQUEST_TIMEOUT));
        self.finish(status, headers, now);
    }
}

/// How long a caller may take to get its resources ready.
const RESOURCE_PATIENCE: Duration = Duration::from_secs(32);
