//! A called user with several browsers, where the box itself is his registrar: all of them
//! ring, and the first that answers has the call. RFC 3261 §16.6 and §16.7.
//!
//! Every browser is a leg of its own with its own Call-ID, and all of them are offered the
//! same transport, as a forking proxy would hand one offer to many. The rules of the call
//! see them as the forks of one leg, so the caller has one early dialog. None of their
//! answers is in force before one browser has the call: two DTLS associations cannot share
//! a transport, and the media plane lets in nobody before it knows whom
//! ([`iq::Reserve::is_shared`]).

use super::early_media::Fork;
use super::leg::{Farewell, Final, LegAction, LegEvent, Rejected, RejectedBy, Sdp};
use super::mapping;
use super::outside::Outside;
use super::reason;
use super::sip::{FORK_MAX, SipLeg};
use super::{Session, Target};
use crate::message::headers::Reason;
use crate::message::{Headers, StatusCode};
use iq::Leg;

/// One of the browsers that a call rings at, by its place in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(pub u8);

/// The browsers that ring beside the one in front, and what was heard of all.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// Whether several were called and none has the call yet.
    is_open: bool,
    waiting: Vec<SipLeg>,
    /// The best of the answers that turned the call down.
    best: Option<Rejected>,
    /// Answers that came before the call was taken; the first of a fork counts.
    early: Vec<(Fork, Sdp)>,
}

impl Rivals {
    /// Those who are called beside the first.
    pub(super) fn new(leg: Leg, others: Vec<Target>, outside: &mut impl Outside) -> Self {
        let numbered = (1..DEVICE_MAX).map(Device).zip(others);
        let waiting: Vec<_> = numbered
            .map(|(device, target)| SipLeg::idle(leg, target, outside).at_device(device))
            .collect();
        Rivals {
            is_open: !waiting.is_empty(),
            waiting,
            ..Rivals::default()
        }
    }

    /// Whether several browsers were called and none has the call yet.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The legs beside the one in front.
    pub(super) fn legs(&self) -> &[SipLeg] {
        &self.waiting
    }

    pub(super) fn legs_mut(&mut self) -> &mut [SipLeg] {
        &mut self.waiting
    }

    fn note(&mut self, rejected: Rejected) {
        let is_better = |best: &Rejected| rank(&rejected) < rank(best);
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(rejected);
        }
    }
}

impl Session {
    /// The next thing that a browser says, and which.
    pub(super) fn poll_access_event(&mut self) -> Option<(Device, LegEvent)> {
        let mut legs = std::iter::once(&mut self.access).chain(self.rivals.legs_mut());
        legs.find_map(|leg| Some((leg.device(), leg.poll_event()?)))
    }

    /// A browser says something.
    pub(super) fn handle_access_event(
        &mut self,
        device: Device,
        event: LegEvent,
        outside: &mut impl Outside,
    ) {
        if !self.rivals.is_open {
            let now = outside.now().monotonic;
            return self.coupling.handle_event(Leg::Access, event, now);
        }
        match event {
            LegEvent::Progress {
                fork,
                answer,
                authorization,
                headers,
                ..
            } => {
                let fork = number(device, fork);
                let is_first = self.rivals.early.iter().all(|(known, _)| *known != fork);
                if let Some(answer) = answer.filter(|_| is_first) {
                    self.rivals.early.push((fork, answer));
                }
                // What is not heard does not silence the caller's own ringback tone.
                self.couple(
                    LegEvent::Progress {
                        fork,
                        status: StatusCode::RINGING,
                        answer: None,
                        authorization,
                        headers,
                    },
                    outside,
                );
            }
            LegEvent::Answered {
                fork,
                answer,
                headers,
            } => {
                let fork = number(device, fork);
                let early = std::mem::take(&mut self.rivals.early);
                let mut early = early.into_iter().filter(|(from, _)| *from == fork);
                let answer = early.next().map(|(_, answer)| answer).or(answer);
                self.put_in_front(device);
                let elsewhere = Reason::sip(StatusCode::OK, ELSEWHERE);
                self.cancel_others(elsewhere, outside);
                self.couple(
                    LegEvent::Answered {
                        fork,
                        answer,
                        headers,
                    },
                    outside,
                );
            }
            LegEvent::Rejected(rejected) => self.device_failed(device, rejected, outside),
            LegEvent::Lost(_) => self.device_failed(device, gone(), outside),
            LegEvent::ReOffered { .. } => {
                let refusal = Final::new(StatusCode::REQUEST_PENDING);
                self.tell_device(device, LegAction::RejectReOffer(refusal), outside);
            }
            LegEvent::Asked(question) => {
                let reply = Final::new(StatusCode::TEMPORARILY_UNAVAILABLE);
                let ask = question.ask;
                self.tell_device(device, LegAction::Reply { ask, reply }, outside);
            }
            // Nothing else means something before the call is answered.
            LegEvent::OfferAnswered(_)
            | LegEvent::Cancelled { .. }
            | LegEvent::HungUp { .. }
            | LegEvent::ForkEnded(_)
            | LegEvent::EarlyMedia { .. }
            | LegEvent::ReOfferCancelled
            | LegEvent::ReAnswered(_)
            | LegEvent::ReOfferRejected(_)
            | LegEvent::ReOfferDue
            | LegEvent::RefreshDue
            | LegEvent::Replied { .. }
            | LegEvent::Notified { .. }
            | LegEvent::Dtmf { .. } => {}
        }
    }

    /// What the rules ask of the called user is asked of each of his browsers.
    pub(super) fn perform_at_rivals(&mut self, action: &LegAction, outside: &mut impl Outside) {
        match action {
            LegAction::Invite { .. } => {
                for leg in self.rivals.legs_mut() {
                    outside.turn_to(leg.device());
                    leg.perform(action.clone(), outside);
                }
            }
            LegAction::HangUp(farewell) => self.dismiss_others(farewell, outside),
            LegAction::Ring { .. }
            | LegAction::Accept { .. }
            | LegAction::ReOffer(_)
            | LegAction::AnswerReOffer(_)
            | LegAction::RejectReOffer(_)
            | LegAction::Ask(_)
            | LegAction::Reply { .. }
            | LegAction::Notify { .. } => {}
        }
    }

    /// A browser is gone while several ring: it is asked no longer.
    pub(super) fn drop_device(&mut self, device: Device, outside: &mut impl Outside) {
        let farewell = Farewell {
            status: StatusCode::TEMPORARILY_UNAVAILABLE,
            headers: Headers::new(),
        };
        self.tell_device(device, LegAction::HangUp(farewell), outside);
        self.device_failed(device, gone(), outside);
    }

    /// A browser does not take the call. The others go on ringing, unless it says that no
    /// other will take it either (RFC 3261 §16.7 step 5).
    fn device_failed(&mut self, device: Device, rejected: Rejected, outside: &mut impl Outside) {
        if rejected.status.code() / 100 == GLOBAL_FAILURE {
            self.put_in_front(device);
            self.cancel_others(reason::of_status(rejected.status), outside);
            return self.couple(LegEvent::Rejected(rejected), outside);
        }
        let waiting = &mut self.rivals.waiting;
        let at = waiting.iter().position(|leg| leg.device() == device);
        let failed = match at {
            Some(at) => waiting.remove(at),
            None if device != self.access.device() => return,
            None if waiting.is_empty() => {
                self.rivals.note(rejected);
                self.rivals.is_open = false;
                if let Some(best) = self.rivals.best.take() {
                    self.couple(LegEvent::Rejected(best), outside);
                }
                return;
            }
            None => std::mem::replace(&mut self.access, waiting.remove(0)),
        };
        self.rivals.note(rejected);
        self.former.push(failed);
    }

    /// Makes a browser the one that the call is with.
    fn put_in_front(&mut self, device: Device) {
        let mut waiting = self.rivals.waiting.iter_mut();
        if let Some(leg) = waiting.find(|leg| leg.device() == device) {
            std::mem::swap(leg, &mut self.access);
        }
    }

    fn cancel_others(&mut self, why: Reason, outside: &mut impl Outside) {
        let mut headers = Headers::new();
        reason::push(&mut headers, why);
        let farewell = Farewell {
            status: StatusCode::REQUEST_TERMINATED,
            headers,
        };
        self.dismiss_others(&farewell, outside);
    }

    /// All but the one in front stop ringing.
    fn dismiss_others(&mut self, farewell: &Farewell, outside: &mut impl Outside) {
        for mut leg in std::mem::take(&mut self.rivals).waiting {
            outside.turn_to(leg.device());
            leg.perform(LegAction::HangUp(farewell.clone()), outside);
            self.former.push(leg);
        }
    }

    fn tell_device(&mut self, device: Device, action: LegAction, outside: &mut impl Outside) {
        let mut legs = std::iter::once(&mut self.access).chain(self.rivals.legs_mut());
        if let Some(leg) = legs.find(|leg| leg.device() == device) {
            outside.turn_to(device);
            leg.perform(action, outside);
        }
    }

    fn couple(&mut self, event: LegEvent, outside: &mut impl Outside) {
        let now = outside.now().monotonic;
        self.coupling.handle_event(Leg::Access, event, now);
    }
}

/// A fork of a browser among those of all.
fn number(device: Device, fork: Fork) -> Fork {
    Fork(device.0 * FORK_MAX + fork.0)
}

/// A browser that is not there any more.
fn gone() -> Rejected {
    Rejected {
        status: StatusCode::FLOW_FAILED,
        headers: Headers::new(),
        origin: RejectedBy::NoFlow,
    }
}

/// Which answer the caller is told when nobody takes the call, the smallest first: by the
/// class of what he would be told, then what he could act on, then that somebody is busy,
/// and last that nobody said anything (RFC 3261 §16.7 step 6).
fn rank(rejected: &Rejected) -> (u16, u8) {
    let status = mapping::to_ims(rejected.status).status;
    let within = match (rejected.origin, status) {
        (RejectedBy::Silence | RejectedBy::NoFlow, _) => 4,
        (
            RejectedBy::Peer,
            StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::BAD_EXTENSION
            | StatusCode::ADDRESS_INCOMPLETE,
        ) => 0,
        (RejectedBy::Peer, StatusCode::BUSY_HERE) => 1,
        (RejectedBy::Peer, StatusCode::TEMPORARILY_UNAVAILABLE) => 3,
        (RejectedBy::Peer, _) => 2,
    };
    (status.code() / 100, within)
}

/// More browsers of a user than this do not ring.
const DEVICE_MAX: u8 = 8;

/// The class of answers that speak for the user, not for one device. RFC 3261 §21.6.
const GLOBAL_FAILURE: u16 = 6;

/// As phones know it that need not count the call as missed.
const ELSEWHERE: &str = "Call completed elsewhere";
