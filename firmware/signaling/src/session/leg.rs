//! The words in which a leg and the rest of a session speak: calls, offers and
//! answers, whatever protocol carries them. [`sip`](super::sip) speaks them in SIP.

use std::time::Duration;

use bytes::Bytes;
use iq::{Leg, Private};

use super::early_media::{Authorization, Fork};
use crate::event::EndReason;
use crate::message::headers::SubscriptionState;
use crate::message::{Headers, Method, StatusCode};

/// A session description as text, to be read by [`sdp`](crate::sdp) only.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sdp(pub(super) Bytes);

impl std::fmt::Debug for Sdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sdp({} bytes)", self.0.len())
    }
}

/// What a leg tells the session.
#[derive(Clone, Debug)]
pub(super) enum LegEvent {
    /// The called side shows a sign of life before its final answer.
    Progress {
        /// Which branch of the call.
        fork: Fork,
        /// 180 to 189.
        status: StatusCode,
        /// Its answer to the offer of `Invite`, if it came with it.
        answer: Option<Sdp>,
        /// What the network says about early media.
        authorization: Authorization,
        /// What else the other side may be told.
        headers: Headers,
    },
    /// The called side took the call.
    Answered {
        /// Which branch of the call.
        fork: Fork,
        /// Its answer, unless it came earlier.
        answer: Option<Sdp>,
        /// What else the other side may be told.
        headers: Headers,
    },
    /// The called side will not take the call.
    Rejected(Rejected),
    /// The calling side answered an offer that the box made in its acceptance or in a
    /// provisional answer.
    OfferAnswered(Sdp),
    /// The calling side gave up before its call was answered.
    Cancelled {
        /// What it said about it.
        headers: Headers,
    },
    /// The side ended the call.
    HungUp {
        /// What it said about it.
        headers: Headers,
    },
    /// The leg is gone without the side having said so.
    Lost(EndReason),
    /// A branch of the call is over, and others go on (RFC 6228).
    ForkEnded(Fork),
    /// The network changed its mind about the early media of a branch (RFC 5009).
    EarlyMedia {
        /// Which branch of the call.
        fork: Fork,
        /// What it says now.
        authorization: Authorization,
    },
    /// The side offers again within the call.
    ReOffered {
        /// Its offer; without one it asks for the box's.
        offer: Option<Sdp>,
        /// Which branch of the call, as long as it is not answered.
        fork: Option<Fork>,
    },
    /// The side took back what it re-offered before it was answered.
    ReOfferCancelled,
    /// The side answered what the box re-offered.
    ReAnswered(Sdp),
    /// The side turned down what the box re-offered, or did not answer it.
    ReOfferRejected(StatusCode),
    /// Both sides of the leg offered at once; the time to wait is over (RFC 3261 §14.1).
    ReOfferDue,
    /// The session timer wants an offer that changes nothing, RFC 4028 §7.4.
    RefreshDue,
    /// The side asks the other side for something that the box has no part in.
    Asked(Question),
    /// The side answered such a request.
    Replied {
        /// Which one.
        ask: Ask,
        /// The final answer.
        reply: Final,
    },
    /// The side tells how a request of the other side is going (RFC 3515).
    Notified {
        /// Which one.
        ask: Ask,
        /// What it tells.
        notice: Notice,
    },
    /// A key was pressed, told by signalling.
    Dtmf {
        /// Its code in RFC 4733.
        event: Private<u8>,
        /// How long it was pressed.
        duration: Duration,
    },
}

/// A request of one side for the other, by the leg that it came on and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) from: Leg,
    pub(super) number: u32,
}

/// What one side asks of the other.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Its name.
    pub(super) ask: Ask,
    /// REFER or MESSAGE.
    pub(super) method: Method,
    /// All that came with it.
    pub(super) headers: Headers,
    /// What a MESSAGE says.
    pub(super) body: Bytes,
}

/// How a referral is going, RFC 3515 §2.4.5.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// The status that the referred call has.
    pub(super) status: StatusCode,
    /// Subscription-State as it came.
    pub(super) state: SubscriptionState,
}

/// A final answer that is none.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    /// Its status.
    pub(super) status: StatusCode,
    /// All that came with it.
    pub(super) headers: Headers,
    /// Where it comes from.
    pub(super) origin: RejectedBy,
}

/// Who or what turned a call down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RejectedBy {
    /// The peer, by a final response.
    Peer,
    /// Nobody: the peer did not answer in time, or could not be reached.
    Silence,
    /// The browser's connection is gone.
    NoFlow,
}

/// What the session asks of a leg.
#[derive(Clone, Debug)]
pub(super) enum LegAction {
    /// Call the side.
    Invite {
        /// The offer.
        offer: Sdp,
        /// What else the other side said that may be told here.
        headers: Headers,
    },
    /// Tell the calling side how its call is going.
    Ring {
        /// 180 to 189.
        status: StatusCode,
        /// The box's answer to the side's offer, or its offer if the side made none.
        description: Option<Sdp>,
        /// What else the other side said that may be told here.
        headers: Headers,
    },
    /// Take the call that the side makes.
    Accept {
        /// The answer to its offer, or an offer if it made none. Also if it went out
        /// before: the leg knows where it must be repeated.
        description: Sdp,
        /// What else the other side said that may be told here.
        headers: Headers,
    },
    /// Offer again within the call.
    ReOffer(Sdp),
    /// Answer the side's re-offer, or offer if it asked for one.
    AnswerReOffer(Sdp),
    /// Turn the side's re-offer down.
    RejectReOffer(Final),
    /// Hand a request of the other side on.
    Ask(Question),
    /// Answer the side's own request as the other side did.
    Reply {
        /// Which one.
        ask: Ask,
        /// The final answer.
        reply: Final,
    },
    /// Tell the side how its request is going.
    Notify {
        /// Which one.
        ask: Ask,
        /// What the other side told.
        notice: Notice,
    },
    /// End the call whatever its state: cancel it, hang up, or turn it down.
    HangUp(Farewell),
}

/// A final failure and what goes with it.
#[derive(Clone, Debug)]
pub(super) struct Final {
    /// Its status.
    pub(super) status: StatusCode,
    /// Header fields besides those of every response.
    pub(super) headers: Headers,
}

impl Final {
    /// A bare status.
    #[must_use]
    pub(super) fn new(status: StatusCode) -> Self {
        Final {
            status,
            headers: Headers::new(),
        }
    }
}

/// How a leg is ended by the box.
#[derive(Clone, Debug)]
pub(super) struct Farewell {
    /// The status if the side's call was not answered yet.
    pub(super) status: StatusCode,
    /// Reason headers (RFC 3326) and what else is told.
    pub(super) headers: Headers,
}
