//! Offers within a call: who must be asked before an offer is answered, and what
//! happens when both sides offer at once. RFC 3264 §8, RFC 3261 §14.
//!
//! A side's offer is answered here where it changes nothing for the other side; else
//! the other side is offered first. What is left over is put right by an offer of the
//! box's own once both sides are quiet.

use std::time::{Duration, Instant};

use iq::{Command, Leg};

use super::{Coupling, State, Step};
use crate::event::EndReason;
use crate::message::StatusCode;
use crate::session::hold::Directions;
use crate::session::leg::{Final, LegAction, Sdp};
use crate::session::mapping;

/// A re-offer under way.
#[derive(Debug)]
pub(super) struct ReOffer {
    /// The side that waits for an answer; none if the box offers of itself.
    from: Option<Leg>,
    /// What both sides wished before it.
    before: Directions,
    /// Whether the browser's new ICE credentials are part of it.
    restarts_ice: bool,
    pub(super) waits_for: Awaited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// New ICE credentials of the box.
    Ice,
    /// The other side's answer.
    Answer(Leg),
}

impl Coupling {
    pub(super) fn re_offered(&mut self, leg: Leg, offer: Option<&Sdp>, now: Instant) {
        self.reconciled = 0;
        let Some(offer) = offer else {
            // Its answer comes as `OfferAnswered`.
            let offer = self.negotiation.offer(leg);
            return self.answer_re_offer(leg, offer);
        };
        if self.state != State::Up && self.negotiation.has_offer_of(leg) {
            // RFC 3311 §5.2: its first offer is not answered yet.
            let refusal = Final::new(StatusCode::SERVER_INTERNAL_ERROR);
            return self.act(leg, LegAction::RejectReOffer(refusal));
        }
        let before = self.negotiation.directions();
        let changes = match self.negotiation.offered(leg, offer) {
            Ok(changes) => changes,
            Err(refusal) => return self.refuse_re_offer(leg, refusal),
        };
        let is_new = self.is_replacing(leg);
        let restarts_ice = leg == Leg::Access && (changes.ice_restart || is_new);
        if restarts_ice {
            self.restart_ice(now);
        }
        if self.re_offer.is_some() || self.state != State::Up {
            // One thing at a time: this side is answered from what is known, and the
            // other one hears of it when its own offer is settled.
            self.answers_on_ice = restarts_ice;
            if !restarts_ice {
                self.settle(leg);
            }
            if self.state == State::Preparing && !self.negotiation.awaits_resources() {
                self.invite(now);
            }
            return;
        }
        self.re_offer = Some(ReOffer {
            from: Some(leg),
            before,
            restarts_ice,
            waits_for: Awaited::Ice,
        });
        if !restarts_ice {
            self.go_on_with_re_offer();
        }
    }

    fn restart_ice(&mut self, now: Instant) {
        // The browser is looking for a path: its time counts from here.
        if self.loss_at.is_some() {
            self.loss_at = Some(now + ICE_PATIENCE);
        }
        self.steps.push_back(Step::Iq(Command::RestartIce {
            session: self.session,
        }));
    }

    /// Asks the other side if it must be asked, else answers.
    pub(super) fn go_on_with_re_offer(&mut self) {
        let Some(re_offer) = &mut self.re_offer else {
            return;
        };
        let Some(from) = re_offer.from else {
            self.re_offer = None;
            return;
        };
        let other = from.other();
        if self.negotiation.is_stale(other) {
            re_offer.waits_for = Awaited::Answer(other);
            if let Ok(offer) = self.negotiation.offer(other) {
                return self.act(other, LegAction::ReOffer(offer));
            }
        }
        self.re_offer = None;
        self.settle(from);
        self.reconcile();
    }

    /// Answers a side from what is known.
    pub(super) fn settle(&mut self, leg: Leg) {
        let answer = self.negotiation.answer(leg);
        self.answer_re_offer(leg, answer);
        self.configure();
    }

    pub(super) fn answer_re_offer(&mut self, leg: Leg, description: Result<Sdp, Final>) {
        match description {
            Ok(description) => {
                if let Some(description) = self.accept_replacement(leg, description) {
                    self.act(leg, LegAction::AnswerReOffer(description));
                }
            }
            Err(refusal) => self.refuse_re_offer(leg, refusal),
        }
    }

    fn refuse_re_offer(&mut self, leg: Leg, refusal: Final) {
        if self.is_replacing(leg) {
            self.refuse_replacement(refusal);
        } else {
            self.act(leg, LegAction::RejectReOffer(refusal));
        }
    }

    pub(super) fn re_answered(&mut self, leg: Leg, answer: &Sdp, now: Instant) {
        let Some(re_offer) = self.awaited(leg) else {
            return;
        };
        if self.negotiation.answered(leg, answer).is_err() {
            // RFC 6337 §3.1: an answer that makes no sense leaves nothing to go on with.
            return self.end_by_box(EndReason::Protocol, now);
        }
        match re_offer.from {
            Some(from) => self.settle(from),
            None => self.configure(),
        }
        self.reconcile();
    }

    pub(super) fn re_offer_rejected(&mut self, leg: Leg, status: StatusCode) {
        let Some(re_offer) = self.awaited(leg) else {
            return;
        };
        let Some(from) = re_offer.from else {
            self.negotiation.offer_rejected(leg);
            return;
        };
        // A browser that is away for the moment must not keep the core waiting, and
        // credentials that were already changed cannot be changed back.
        let is_away = from == Leg::Ims && status == StatusCode::FLOW_FAILED;
        if is_away || re_offer.restarts_ice {
            self.negotiation.offer_rejected(leg);
            return self.settle(from);
        }
        self.negotiation.offer_rejected(leg);
        self.negotiation.forget_offer(from, re_offer.before);
        self.refuse_re_offer(from, Final::new(mapping::re_offer(status)));
    }

    pub(super) fn re_offer_due(&mut self, leg: Leg) {
        let waits = self.re_offer.as_ref().map(|re_offer| re_offer.waits_for);
        if waits != Some(Awaited::Answer(leg)) {
            return;
        }
        self.negotiation.offer_rejected(leg);
        if self.negotiation.is_stale(leg)
            && let Ok(offer) = self.negotiation.offer(leg)
        {
            return self.act(leg, LegAction::ReOffer(offer));
        }
        // What the other side offered meanwhile has settled it.
        if let Some(from) = self.re_offer.take().and_then(|re_offer| re_offer.from) {
            self.settle(from);
        }
    }

    pub(super) fn re_offer_cancelled(&mut self, leg: Leg) {
        if let Some(re_offer) = &mut self.re_offer
            && re_offer.from == Some(leg)
        {
            re_offer.from = None;
            self.negotiation.forget_offer(leg, re_offer.before);
        }
    }

    fn awaited(&mut self, leg: Leg) -> Option<ReOffer> {
        self.re_offer
            .take_if(|re_offer| re_offer.waits_for == Awaited::Answer(leg))
    }

    /// Offers to a side whose agreement is no longer what both sides want.
    pub(super) fn reconcile(&mut self) {
        if self.state != State::Up || self.re_offer.is_some() {
            return;
        }
        for leg in [Leg::Access, Leg::Ims] {
            if self.negotiation.is_stale(leg) && self.reconciled < RECONCILE_MAX {
                self.reconciled += 1;
                return self.re_offer_of_itself(leg);
            }
        }
    }

    pub(super) fn re_offer_of_itself(&mut self, leg: Leg) {
        let before = self.negotiation.directions();
        if let Ok(offer) = self.negotiation.offer(leg) {
            self.re_offer = Some(ReOffer {
                from: None,
                before,
                restarts_ice: false,
                waits_for: Awaited::Answer(leg),
            });
            self.act(leg, LegAction::ReOffer(offer));
        }
    }
}

/// How long a browser that restarts ICE may take to find a path; the media plane
/// gives up after the same time.
const ICE_PATIENCE: Duration = Duration::from_secs(20);

/// How often the box offers of itself before it waits for a side to speak.
const RECONCILE_MAX: u8 = 3;
