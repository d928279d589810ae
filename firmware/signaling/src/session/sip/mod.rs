//! A leg that speaks SIP: its dialogs, who asked what, and the offers under way.
//! RFC 3261 §12 to §15, RFC 3262, RFC 3311, RFC 4028.
//!
//! Both sides speak through this file: the browser's leg differs from the IMS leg by
//! what [`Outside`] adds to its messages and by what each peer lists as supported.
//! Left out: REFER outside a call.

mod build;
mod called;
mod calling;
mod capabilities;
mod dtmf;
mod in_dialog;
mod kept;
mod offers;
mod provisional;
mod referral;
mod unacked;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iq::Leg;

pub use build::Target;
pub(super) use calling::FORK_MAX;
pub(super) use kept::KeptLeg;

use super::leg::{Ask, Final, LegAction, LegEvent};
use super::outside::Outside;
use super::rivals::Device;
use crate::dialog::Dialog;
use crate::dialog::session_timer::{SessionTimer, Wishes};
use crate::identity::is_anonymous;
use crate::message::{Headers, NameAddr, Request, Response, StatusCode};
use crate::sdp::PreconditionUse;
use crate::transaction::{ClientTransactionId, Failure};
use called::Called;
use calling::Calling;
use capabilities::Capabilities;
use offers::{Acknowledged, Inbound, Outbound};
use referral::{Asked, Handed};
use unacked::Unacked;

/// One side of a call, in SIP.
#[derive(Debug)]
pub(in crate::session) struct SipLeg {
    leg: Leg,
    /// Which browser of the user's it speaks with, on the access side.
    device: Device,
    capabilities: Capabilities,
    local_tag: String,
    state: State,
    /// Whom to call, for the side that is called.
    target: Option<Target>,
    /// Whether the Call-ID is the box's: it made the call.
    owns_call_id: bool,
    calling: Option<Calling>,
    called: Option<Called>,
    /// The dialog of the call, once it is answered.
    dialog: Option<Dialog>,
    timer: SessionTimer,
    /// Whether the peer turned an UPDATE down although it lists the method.
    refuses_update: bool,
    /// The peer's offer that waits for the box's answer.
    inbound: Option<Inbound>,
    /// The box's offer that waits for the peer's answer.
    outbound: Option<Outbound>,
    /// The request that carries it.
    offered: Option<Request>,
    acknowledged: Option<Acknowledged>,
    /// How many requests of the peer were handed on.
    asks: u32,
    /// Requests of the peer that were handed on to the other side.
    asked: Vec<Asked>,
    /// Requests of the other side that were handed on to the peer.
    handed: Vec<Handed>,
    /// A 2xx to an INVITE that waits for its ACK.
    unacked: Option<Unacked>,
    /// What BYE will say once it may be sent, RFC 3261 §15.
    farewell: Option<Headers>,
    requests: Vec<(ClientTransactionId, Purpose)>,
    events: VecDeque<LegEvent>,
    /// When a leg that is closing is no longer waited for.
    close_by: Option<Instant>,
}

/// Where a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody called yet.
    Idle,
    /// The box's INVITE has no final answer.
    Calling,
    /// The peer's INVITE has no final answer.
    Called,
    /// The call is answered.
    Confirmed,
    /// The call is over; transactions may still be under way.
    Closing,
}

/// What a request of the box's own is about, other than the first INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Prack,
    Bye,
    /// An offer in a re-INVITE or an UPDATE.
    Offer,
    /// An UPDATE without a description.
    Refresh,
    /// A request of the other side.
    Ask(Ask),
    Notify,
}

impl SipLeg {
    /// A leg whose peer will be called.
    pub(in crate::session) fn idle(leg: Leg, target: Target, outside: &mut impl Outside) -> Self {
        SipLeg {
            target: Some(target),
            owns_call_id: true,
            ..SipLeg::new(leg, outside)
        }
    }

    /// The same with another browser of the user's.
    pub(in crate::session) fn at_device(self, device: Device) -> Self {
        SipLeg { device, ..self }
    }

    /// Which browser of the user's it speaks with.
    pub(in crate::session) fn device(&self) -> Device {
        self.device
    }

    /// The box's own Contact on this leg, which says no more than From does.
    fn contact(&self, outside: &impl Outside) -> NameAddr {
        let target = self.target.as_ref().map(|target| &target.from);
        let from = target.or(self.dialog.as_ref().map(Dialog::local));
        let is_anonymous = from.is_some_and(|from| is_anonymous(&from.uri));
        outside.contact(self.leg, is_anonymous)
    }

    fn is_first_invite(&self, transaction: ClientTransactionId) -> bool {
        self.calling
            .as_ref()
            .is_some_and(|calling| calling.transaction == transaction)
    }

    fn new(leg: Leg, outside: &mut impl Outside) -> Self {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let config = outside.config();
        let wishes = Wishes {
            interval: seconds(config.session_expires),
            min_se: seconds(config.min_session_expires),
        };
        SipLeg {
            leg,
            device: Device::default(),
            capabilities: Capabilities::of(leg, outside.services()),
            local_tag: build::token(outside.rng()),
            state: State::Idle,
            target: None,
            owns_call_id: false,
            calling: None,
            called: None,
            dialog: None,
            timer: SessionTimer::new(wishes),
            refuses_update: false,
            inbound: None,
            outbound: None,
            offered: None,
            acknowledged: None,
            asks: 0,
            asked: Vec::new(),
            handed: Vec::new(),
            unacked: None,
            farewell: None,
            requests: Vec::new(),
            events: VecDeque::new(),
            close_by: None,
        }
    }

    /// What is done about preconditions in the SDP session of this leg.
    pub(in crate::session) fn precondition_use(&self) -> PreconditionUse {
        match &self.called {
            Some(called) => called.precondition_use(),
            None => self.capabilities.precondition_use(),
        }
    }

    /// The tag that every request of the peer inside this leg's dialogs carries in To.
    pub(in crate::session) fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// Which side it speaks with.
    pub(in crate::session) fn leg(&self) -> Leg {
        self.leg
    }

    /// The dialog of the call, once there is one.
    pub(in crate::session) fn dialog(&self) -> Option<&Dialog> {
        self.dialog.as_ref()
    }

    /// Whether a request is one of this leg's own.
    pub(in crate::session) fn owns(&self, transaction: ClientTransactionId) -> bool {
        let acknowledged = self.acknowledged.as_ref();
        self.is_first_invite(transaction)
            || acknowledged.is_some_and(|it| it.transaction == transaction)
            || self.requests.iter().any(|(id, _)| *id == transaction)
    }

    /// The next thing that the rest of the session should know.
    pub(in crate::session) fn poll_event(&mut self) -> Option<LegEvent> {
        self.events.pop_front()
    }

    /// Whether nothing of this leg is left to be done.
    pub(in crate::session) fn is_over(&self) -> bool {
        let is_calling = self.calling.as_ref().is_some_and(Calling::is_pending);
        match self.state {
            State::Idle | State::Calling | State::Called | State::Confirmed => false,
            State::Closing => {
                let is_waiting = is_calling || !self.requests.is_empty();
                self.farewell.is_none() && !(is_waiting && self.close_by.is_some())
            }
        }
    }

    /// Does what the session asks.
    pub(in crate::session) fn perform(&mut self, action: LegAction, outside: &mut impl Outside) {
        match action {
            LegAction::Invite { offer, headers } => self.invite(offer, &headers, outside),
            LegAction::Ring {
                status,
                description,
                headers,
            } => self.ring(status, description, &headers, outside),
            LegAction::Accept {
                description,
                headers,
            } => self.accept(description, &headers, outside),
            LegAction::ReOffer(offer) => self.re_offer(offer, outside),
            LegAction::AnswerReOffer(answer) => self.answer_re_offer(answer, outside),
            LegAction::RejectReOffer(refusal) => self.reject_re_offer(&refusal, outside),
            LegAction::Ask(question) => self.ask(&question, outside),
            LegAction::Reply { ask, reply } => self.reply(ask, &reply, outside),
            LegAction::Notify { ask, notice } => self.notify(ask, &notice, outside),
            LegAction::HangUp(farewell) => match self.state {
                State::Idle => self.close(outside.now().monotonic),
                State::Calling => {
                    let headers = outside.carry(self.leg, &farewell.headers);
                    self.cancel(headers, outside);
                }
                State::Called => self.reject(farewell.status, &farewell.headers, outside),
                State::Confirmed => {
                    let headers = outside.carry(self.leg, &farewell.headers);
                    self.hang_up(headers, outside);
                }
                State::Closing => {}
            },
        }
    }

    /// A response to a request of this leg.
    pub(in crate::session) fn handle_response(
        &mut self,
        transaction: ClientTransactionId,
        response: Response,
        outside: &mut impl Outside,
    ) {
        if self.is_first_invite(transaction) {
            return self.handle_invite_response(response, outside);
        }
        if let Some(acknowledged) = &self.acknowledged
            && acknowledged.transaction == transaction
            && response.status.is_success()
        {
            // A copy: our ACK was lost.
            return outside.send_ack(self.leg, acknowledged.ack.clone());
        }
        let is_asked = |(id, _): &(ClientTransactionId, Purpose)| *id == transaction;
        let Some(at) = self.requests.iter().position(is_asked) else {
            return;
        };
        if response.status.is_provisional() {
            return;
        }
        let (_, purpose) = self.requests.swap_remove(at);
        match purpose {
            // A PRACK that was not taken shows in the INVITE's own answer.
            Purpose::Prack | Purpose::Bye | Purpose::Notify => {}
            Purpose::Ask(ask) => {
                let (status, headers) = (response.status, response.headers);
                self.handle_reply(ask, Final { status, headers });
            }
            Purpose::Offer => self.handle_offer_response(transaction, response, outside),
            Purpose::Refresh => self.handle_refresh_response(&response, outside),
        }
    }

    /// A request of this leg that nobody answered.
    pub(in crate::session) fn handle_failed(
        &mut self,
        transaction: ClientTransactionId,
        failure: Failure,
        outside: &mut impl Outside,
    ) {
        if self.is_first_invite(transaction) {
            return self.handle_invite_failed(failure, outside);
        }
        let Some(at) = self.requests.iter().position(|(id, _)| *id == transaction) else {
            return;
        };
        let (_, purpose) = self.requests.swap_remove(at);
        match purpose {
            Purpose::Prack | Purpose::Bye | Purpose::Notify => {}
            Purpose::Ask(ask) => self.handle_reply(ask, Final::new(StatusCode::SERVER_TIME_OUT)),
            Purpose::Offer => self.handle_offer_failed(failure),
            Purpose::Refresh => self.handle_refresh_failed(failure, outside),
        }
    }

    /// Does what is due.
    pub(in crate::session) fn handle_timeout(&mut self, outside: &mut impl Outside) {
        let now = outside.now().monotonic;
        self.handle_unacked_timeout(now, outside);
        self.handle_provisional_timeout(now, outside);
        self.handle_offers_timeout(now);
        self.handle_session_timeout(now, outside);
        if self.close_by.is_some_and(|at| at <= now) {
            self.close_by = None;
            self.calling = None;
            self.farewell = None;
            self.requests.clear();
        }
    }

    /// When `handle_timeout` wants to be called.
    pub(in crate::session) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.unacked_deadline(),
            self.provisional_deadline(),
            self.offers_deadline(),
            self.timer.poll_timeout(),
            self.close_by,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
