//! A dialog that takes the place of another on one leg, RFC 3891: a page that was loaded
//! anew takes its call up again, or somebody beyond the core takes over from the far end.
//!
//! The rest of the call sees a re-offer; the old dialog ends once the new one is answered.

use std::time::Instant;

use iq::Leg;

use super::re_offer::Awaited;
use super::{Coupling, State, Step};
use crate::message::{Headers, StatusCode};
use crate::session::leg::{Final, LegAction, LegEvent, Sdp};
use crate::session::negotiation::End;

/// A leg that is being replaced.
#[derive(Debug)]
pub(super) struct Replacement {
    leg: Leg,
    /// The SDP session that it had.
    before: End,
}

impl Coupling {
    /// Whether a leg's dialog may be replaced now.
    ///
    /// # Errors
    ///
    /// The status that the one who asks gets: 481 before the call is answered, 500 while
    /// offers are under way.
    pub(in crate::session) fn check_replaceable(&self) -> Result<(), StatusCode> {
        if self.state != State::Up {
            Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)
        } else if self.re_offer.is_some() || self.replacement.is_some() {
            Err(StatusCode::SERVER_INTERNAL_ERROR)
        } else {
            Ok(())
        }
    }

    /// Another dialog calls in a leg's place; `random` names its SDP session.
    pub(in crate::session) fn replace(
        &mut self,
        leg: Leg,
        offer: Option<&Sdp>,
        random: u64,
        now: Instant,
    ) {
        let before = self.negotiation.renew(leg, random);
        self.replacement = Some(Replacement { leg, before });
        if leg == Leg::Access && offer.is_none() {
            // As for a first call: no browser waits for an offer of ours.
            let refusal = Final::new(StatusCode::NOT_ACCEPTABLE_HERE);
            return self.refuse_replacement(refusal);
        }
        self.re_offered(leg, offer, now);
    }

    pub(super) fn is_replacing(&self, leg: Leg) -> bool {
        let replacement = self.replacement.as_ref();
        replacement.is_some_and(|replacement| replacement.leg == leg)
    }

    /// The new dialog is answered, if it is one that waits on this leg.
    pub(super) fn accept_replacement(&mut self, leg: Leg, description: Sdp) -> Option<Sdp> {
        if !self.is_replacing(leg) {
            return Some(description);
        }
        self.replacement = None;
        let headers = Headers::new();
        self.act(
            leg,
            LegAction::Accept {
                description,
                headers,
            },
        );
        self.steps.push_back(Step::Replaced(leg));
        None
    }

    /// The new dialog comes to nothing: the old one stays.
    pub(super) fn refuse_replacement(&mut self, refusal: Final) {
        let Some(Replacement { leg, before }) = self.replacement.take() else {
            return;
        };
        self.re_offer_cancelled(leg);
        let waits = self.re_offer.as_ref().map(|re_offer| re_offer.waits_for);
        if waits == Some(Awaited::Ice) {
            self.re_offer = None;
        }
        self.negotiation.put_back(before);
        self.steps.push_back(Step::Kept(leg, refusal));
    }
}

impl LegEvent {
    /// Whether the side is gone.
    pub(super) fn is_farewell(&self) -> bool {
        matches!(
            self,
            LegEvent::Cancelled { .. } | LegEvent::HungUp { .. } | LegEvent::Lost(_)
        )
    }
}
