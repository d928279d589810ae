//! Directions across a call, RFC 3264 §8.4: what each side wishes to send and to
//! receive, and what that leaves to flow on each leg.
//!
//! A wish is what a peer says when it is free to say it: in an offer of its own, or
//! in an answer to an offer that left the choice open. An answer that was forced
//! (`recvonly` to a `sendonly`) says nothing about the wish, so two holds need two
//! resumes.

use iq::{Flow, Leg};
use serde::{Deserialize, Serialize};

/// What a peer would like to do, whatever the other side allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    /// The peer has something to send.
    pub(super) sends: bool,
    /// The peer wants to be sent something.
    pub(super) receives: bool,
}

impl Wish {
    /// A call that nobody holds.
    pub(super) const TALK: Self = Wish {
        sends: true,
        receives: true,
    };

    /// The wish behind a direction seen from the box (`receive`: the peer sends).
    #[must_use]
    pub(super) const fn of(flow: Flow) -> Self {
        Wish {
            sends: flow.receive,
            receives: flow.send,
        }
    }
}

/// Wishes and agreements of both sides of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directions {
    access: Side,
    ims: Side,
}

/// One side's wish, and what flows on its leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    wish: Wish,
    agreed: Flow,
}

impl Default for Side {
    fn default() -> Self {
        Side {
            wish: Wish::TALK,
            agreed: Flow::BOTH,
        }
    }
}

impl Directions {
    /// A peer offered this direction (seen from the box).
    pub(super) fn offered(&mut self, leg: Leg, flow: Flow) {
        self.side_mut(leg).wish = Wish::of(flow);
    }

    /// A peer answered our offer; both directions are seen from the box.
    pub(super) fn answered(&mut self, leg: Leg, offer: Flow, answer: Flow) {
        let side = self.side_mut(leg);
        if offer.send {
            side.wish.receives = answer.send;
        }
        if offer.receive {
            side.wish.sends = answer.receive;
        }
        side.agreed = Flow {
            send: offer.send && answer.send,
            receive: offer.receive && answer.receive,
        };
    }

    /// The direction that the box offers on a leg: all that the other side wishes,
    /// so that a side that is held may end its own part of the hold in the answer.
    #[must_use]
    pub(super) fn offer(&self, leg: Leg) -> Flow {
        let other = self.side(leg.other()).wish;
        Flow {
            send: other.sends,
            receive: other.receives,
        }
    }

    /// The direction that the box answers on a leg: what both sides wish.
    #[must_use]
    pub(super) fn answer(&self, leg: Leg) -> Flow {
        let (near, far) = (self.side(leg).wish, self.side(leg.other()).wish);
        Flow {
            send: near.receives && far.sends,
            receive: near.sends && far.receives,
        }
    }

    /// The box answered on a leg with [`Directions::answer`].
    pub(super) fn settle(&mut self, leg: Leg) {
        self.side_mut(leg).agreed = self.answer(leg);
    }

    /// What flows on a leg by the last answer on it.
    #[must_use]
    pub(super) fn agreed(&self, leg: Leg) -> Flow {
        self.side(leg).agreed
    }

    /// Whether what is agreed on a leg is no longer what both sides wish.
    #[must_use]
    pub(super) fn is_stale(&self, leg: Leg) -> bool {
        self.agreed(leg) != self.answer(leg)
    }

    /// Puts another end in a side's place, as one fork of a call gives way to another.
    pub(super) fn replace(&mut self, leg: Leg, side: Side) -> Side {
        std::mem::replace(self.side_mut(leg), side)
    }

    /// A side's wish and agreement.
    #[must_use]
    pub(super) fn side(&self, leg: Leg) -> &Side {
        match leg {
            Leg::Access => &self.access,
            Leg::Ims => &self.ims,
        }
    }

    fn side_mut(&mut self, leg: Leg) -> &mut Side {
        match leg {
            Leg::Access => &mut self.access,
            Leg::Ims => &mut self.ims,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND_ONLY: Flow = Flow {
        send: true,
        receive: false,
    };
    const RECEIVE_ONLY: Flow = Flow {
        send: false,
        receive: true,
    };

    /// A peer offers; where the other side's direction goes stale it is offered the
    /// new one and answers as freely as `answers` allows; then the peer is answered.
    fn offer(call: &mut Directions, leg: Leg, from_peer: Flow, other_wish: Flow) -> String {
        call.offered(leg, from_peer);
        let other = leg.other();
        let mut said = String::new();
        if call.is_stale(other) {
            let offer = call.offer(other);
            let answer = Flow {
                send: offer.send && other_wish.send,
                receive: offer.receive && other_wish.receive,
            };
            call.answered(other, offer, answer);
            said = format!("{other:?} offered {}, ", name(offer));
        }
        call.settle(leg);
        said + &format!("{leg:?} answered {}", name(call.agreed(leg)))
    }

    fn name(flow: Flow) -> &'static str {
        match (flow.send, flow.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    // Conforms: RFC 3264 §8.4 | Hold and resume by direction attributes.
    #[test]
    fn a_browser_holds_and_resumes() {
        let mut call = Directions::default();
        assert_eq!(
            offer(&mut call, Leg::Access, RECEIVE_ONLY, Flow::BOTH),
            "Ims offered sendonly, Access answered recvonly"
        );
        assert_eq!(
            offer(&mut call, Leg::Access, Flow::BOTH, Flow::BOTH),
            "Ims offered sendrecv, Access answered sendrecv"
        );
    }

    #[test]
    fn two_holds_need_two_resumes() {
        let mut call = Directions::default();
        offer(&mut call, Leg::Access, RECEIVE_ONLY, Flow::BOTH);
        // The telephone holds too (it only sends), and the browser goes on holding.
        assert_eq!(
            offer(&mut call, Leg::Ims, RECEIVE_ONLY, RECEIVE_ONLY),
            "Access offered sendonly, Ims answered inactive"
        );
        assert_eq!(
            offer(&mut call, Leg::Access, Flow::BOTH, RECEIVE_ONLY),
            "Ims offered sendrecv, Access answered sendonly"
        );
        assert_eq!(
            offer(&mut call, Leg::Ims, Flow::BOTH, Flow::BOTH),
            "Access offered sendrecv, Ims answered sendrecv"
        );
    }

    #[test]
    fn an_offer_that_changes_nothing_for_the_other_side_is_answered_here() {
        let mut call = Directions::default();
        offer(&mut call, Leg::Ims, RECEIVE_ONLY, Flow::BOTH);
        // Chromium says sendrecv in every offer, also while it is held.
        assert_eq!(
            offer(&mut call, Leg::Access, Flow::BOTH, Flow::BOTH),
            "Access answered sendonly"
        );
        assert_eq!(
            offer(&mut call, Leg::Ims, RECEIVE_ONLY, Flow::BOTH),
            "Ims answered recvonly"
        );
    }

    #[test]
    fn a_forced_answer_says_nothing_about_the_wish() {
        let mut call = Directions::default();
        call.answered(Leg::Ims, SEND_ONLY, SEND_ONLY);
        assert_eq!(call.answer(Leg::Access), Flow::BOTH);
    }
}
