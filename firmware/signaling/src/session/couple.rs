//! What happening on one leg means for the other: the rules of a call (spec of the
//! B2BUA after RFC 7092), without a word of SIP.
//!
//! The side that calls and the side that is called may each be the browser or the
//! IMS; the rules are the same but where they name a leg. Left out: transfer.

mod inviting;
mod passing;
mod re_offer;
mod replace;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iq::{AccessLoss, Command, Leg, Refusal, Reply, Reserve, SessionId};

use re_offer::{Awaited, ReOffer};
use replace::Replacement;

use super::early_media::EarlyMedia;
use super::kept::KeptCoupling;
use super::leg::{Farewell, Final, LegAction, LegEvent, Sdp};
use super::negotiation::Negotiation;
use super::reason;
use super::record::Chronicle;
use crate::config::CallConfig;
use crate::event::EndReason;
use crate::kept::Clock;
use crate::message::{Headers, StatusCode};

/// What the rules want to be done.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Ask a leg for something.
    Leg(Leg, LegAction),
    /// Ask the media plane for something.
    Iq(Command),
    /// The dialog that was replaced on a leg is to be ended.
    Replaced(Leg),
    /// The dialog that was to be replaced on a leg stays, and the new one is turned down.
    Kept(Leg, Final),
}

/// The rules of one call at work.
#[derive(Debug)]
pub(super) struct Coupling {
    session: SessionId,
    caller: Leg,
    state: State,
    /// What came with the INVITE.
    headers: Headers,
    negotiation: Negotiation,
    early: EarlyMedia,
    /// Whether media was told to keep early media from the browser.
    is_muted: bool,
    /// What the caller was last told before the answer.
    rung: Option<StatusCode>,
    /// The box's description that the caller already has.
    told: Option<Sdp>,
    re_offer: Option<ReOffer>,
    /// Another dialog that wants a leg's place.
    replacement: Option<Replacement>,
    /// The browser restarted ICE while another re-offer was under way: it is answered
    /// when the media plane has its new credentials.
    answers_on_ice: bool,
    /// Re-offers that the box made of itself since a side last spoke.
    reconciled: u8,
    /// When the called side has rung long enough, or the media plane has kept quiet.
    patience: Option<Instant>,
    /// When a call without media from the browser ends.
    loss_at: Option<Instant>,
    /// When the longest allowed call ends.
    duration_at: Option<Instant>,
    /// When the media plane's last report is no longer waited for.
    release_by: Option<Instant>,
    is_reserved: bool,
    limits: Limits,
    chronicle: Chronicle,
    steps: VecDeque<Step>,
}

/// What the calling side came with.
#[derive(Debug)]
pub(super) struct Call {
    /// Its offer, if it made one.
    pub(super) offer: Option<Sdp>,
    /// Everything else of its INVITE.
    pub(super) headers: Headers,
    /// Whether several browsers are called, of which one will answer.
    pub(super) is_forked: bool,
}

/// Where the call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The media plane was asked for transports.
    Reserving,
    /// The calling side was answered, and is getting its resources ready before the called
    /// side may be alerted (RFC 3312).
    Preparing,
    /// The called side was invited and has not answered.
    Inviting,
    /// The called side answered, and the calling side was told.
    Up,
    /// Both sides were told that it is over; the media plane's report is awaited.
    Ending,
    /// The report came, or it was given up.
    Over,
}

/// The settings that bound a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    ring_time: Duration,
    duration: Duration,
    media_grace: Duration,
    page_grace: Duration,
    ims_silence: Duration,
}

impl From<&CallConfig> for Limits {
    fn from(config: &CallConfig) -> Self {
        Limits {
            ring_time: config.ring_time,
            duration: config.duration,
            media_grace: config.media_grace,
            page_grace: config.page_grace,
            ims_silence: config.ims_silence,
        }
    }
}

impl Coupling {
    /// A side calls. An offer that cannot be served, or none from a browser, is
    /// turned down at once.
    pub(super) fn start(
        session: SessionId,
        caller: Leg,
        call: Call,
        negotiation: Negotiation,
        limits: Limits,
        chronicle: Chronicle,
        now: Instant,
    ) -> Self {
        let mut coupling = Coupling {
            patience: Some(now + MEDIA_PATIENCE),
            ..Coupling::new(
                session,
                caller,
                call.headers,
                negotiation,
                limits,
                chronicle,
            )
        };
        coupling.invited(call.offer.as_ref(), call.is_forked, now);
        coupling
    }

    fn new(
        session: SessionId,
        caller: Leg,
        headers: Headers,
        negotiation: Negotiation,
        limits: Limits,
        chronicle: Chronicle,
    ) -> Self {
        Coupling {
            session,
            caller,
            state: State::Reserving,
            headers,
            negotiation,
            early: EarlyMedia::default(),
            is_muted: false,
            rung: None,
            told: None,
            re_offer: None,
            replacement: None,
            answers_on_ice: false,
            reconciled: 0,
            patience: None,
            loss_at: None,
            duration_at: None,
            release_by: None,
            is_reserved: false,
            limits,
            chronicle,
            steps: VecDeque::new(),
        }
    }

    /// What is to be kept over a restart; none unless both sides are talking.
    pub(super) fn record(&self, clock: &Clock) -> Option<KeptCoupling> {
        if self.state != State::Up {
            return None;
        }
        Some(KeptCoupling {
            caller: self.caller,
            negotiation: self.negotiation.clone(),
            duration_until: self.duration_at.and_then(|at| clock.wall(at)),
            is_access_lost: self.loss_at.is_some(),
            history: self.chronicle.history(self.negotiation.codec()),
        })
    }

    /// The rules of a call of an earlier life, which was up.
    pub(super) fn restore(
        session: SessionId,
        caller: Leg,
        negotiation: Negotiation,
        chronicle: Chronicle,
        duration_at: Instant,
        loss_at: Option<Instant>,
        limits: Limits,
    ) -> Self {
        Coupling {
            state: State::Up,
            patience: None,
            loss_at,
            duration_at: Some(duration_at),
            is_reserved: true,
            ..Coupling::new(
                session,
                caller,
                Headers::new(),
                negotiation,
                limits,
                chronicle,
            )
        }
    }

    /// Only what the network grants is heard before the answer.
    pub(super) fn gate_early_media(&mut self) {
        self.early.gate();
    }

    /// The next thing to do.
    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The call's own history.
    pub(super) fn chronicle(&mut self) -> &mut Chronicle {
        &mut self.chronicle
    }

    /// Whether nothing is left but what the legs have to finish.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether both sides are talking.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.patience,
            self.loss_at,
            self.duration_at,
            self.release_by,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.patience) {
            self.patience = None;
            match self.state {
                State::Reserving => self.media_refused(Refusal::Unavailable, now),
                State::Preparing => self.end_of_preparing(now),
                State::Inviting => self.end_of_ringing(now),
                State::Up | State::Ending | State::Over => {}
            }
        }
        if is_due(self.loss_at) {
            self.end_by_box(EndReason::AccessMediaLost, now);
        }
        if is_due(self.duration_at) {
            self.end_by_box(EndReason::DurationReached, now);
        }
        if is_due(self.release_by) {
            self.release_by = None;
            self.state = State::Over;
        }
    }

    /// A leg tells something.
    pub(super) fn handle_event(&mut self, leg: Leg, event: LegEvent, now: Instant) {
        if matches!(self.state, State::Ending | State::Over) {
            return;
        }
        if self.is_replacing(leg) && event.is_farewell() {
            let status = StatusCode::REQUEST_TERMINATED;
            return self.refuse_replacement(Final::new(status));
        }
        match event {
            LegEvent::Progress {
                fork,
                status,
                answer,
                authorization,
                headers,
            } => self.progress(fork, status, answer.as_ref(), authorization, headers, now),
            LegEvent::Answered {
                fork,
                answer,
                headers,
            } => self.answered(fork, answer.as_ref(), headers, now),
            LegEvent::Rejected(rejected) => self.rejected(leg, rejected, now),
            LegEvent::OfferAnswered(answer) => self.offer_answered(leg, &answer, now),
            LegEvent::Cancelled { headers } => {
                let status = StatusCode::REQUEST_TERMINATED;
                self.chronicle.ended(Some(leg), None, Some(status), now);
                self.finish(status, headers, now);
            }
            LegEvent::HungUp { headers } => {
                self.chronicle.ended(Some(leg), None, None, now);
                self.finish(StatusCode::TEMPORARILY_UNAVAILABLE, headers, now);
            }
            LegEvent::Lost(reason) => self.end_by_box(reason, now),
            LegEvent::ForkEnded(fork) => self.fork_ended(fork),
            LegEvent::EarlyMedia {
                fork,
                authorization,
            } => self.authorized(fork, authorization),
            LegEvent::ReOffered { offer, fork: None } => {
                self.re_offered(leg, offer.as_ref(), now);
            }
            LegEvent::ReOffered {
                offer,
                fork: Some(fork),
            } => self.early_re_offered(fork, offer.as_ref()),
            LegEvent::ReOfferCancelled => self.re_offer_cancelled(leg),
            LegEvent::ReAnswered(answer) => self.re_answered(leg, &answer, now),
            LegEvent::ReOfferRejected(status) => self.re_offer_rejected(leg, status),
            LegEvent::ReOfferDue => self.re_offer_due(leg),
            LegEvent::RefreshDue => {
                if self.state == State::Up && self.re_offer.is_none() {
                    self.re_offer_of_itself(leg);
                }
            }
            LegEvent::Asked(_)
            | LegEvent::Replied { .. }
            | LegEvent::Notified { .. }
            | LegEvent::Dtmf { .. } => self.pass_on(leg, event),
        }
    }

    /// The media plane answers or reports.
    pub(super) fn handle_reply(&mut self, reply: Reply, is_access_reachable: bool, now: Instant) {
        match reply {
            Reply::Reserved(reserved) => self.reserved(reserved, now),
            Reply::Refused { reason, .. } => self.media_refused(reason, now),
            Reply::Released { report, .. } => {
                self.chronicle.report(report);
                self.release_by = None;
                match self.state {
                    State::Ending => self.state = State::Over,
                    State::Over => {}
                    // The media plane let the call go of itself.
                    State::Reserving | State::Preparing | State::Inviting | State::Up => {
                        self.is_reserved = false;
                        self.end_by_box(EndReason::Media, now);
                    }
                }
            }
            Reply::Connected(_) => self.loss_at = None,
            Reply::AccessLost { loss, .. } => self.access_lost(loss, is_access_reachable, now),
            Reply::ImsSilent { silent_for, .. } => {
                let may_send = self.negotiation.agreed_flow(Leg::Ims).receive;
                if self.state == State::Up && may_send && silent_for >= self.limits.ims_silence {
                    self.end_by_box(EndReason::ImsMediaLost, now);
                }
            }
            Reply::FirstMedia { .. } | Reply::DtmfReceived(_) | Reply::Audited { .. } => {}
        }
    }

    /// The browser is back on another connection.
    pub(super) fn handle_flow_restored(&mut self) {
        self.reconciled = 0;
        self.reconcile();
    }

    /// The browser's connection is gone. A call that is up lives on its media.
    pub(super) fn handle_flow_lost(&mut self, now: Instant) {
        match self.state {
            State::Up if self.loss_at.is_none() => {}
            // The page may be on its way back, and takes its call up again by Replaces.
            State::Up if !self.limits.page_grace.is_zero() => {
                self.loss_at = Some(now + self.limits.page_grace);
            }
            State::Reserving | State::Preparing | State::Inviting | State::Up => {
                self.end_by_box(EndReason::AccessMediaLost, now);
            }
            State::Ending | State::Over => {}
        }
    }

    /// Ends the call from outside.
    pub(super) fn end_by_box(&mut self, reason: EndReason, now: Instant) {
        let status = reason::status(reason, self.caller);
        self.chronicle.ended(None, Some(reason), Some(status), now);
        let mut headers = Headers::new();
        reason::push(&mut headers, reason::of_end(reason));
        if reason == EndReason::Media {
            reason::retry_later(&mut headers);
        }
        self.finish(status, headers, now);
    }

    fn invited(&mut self, offer: Option<&Sdp>, is_forked: bool, now: Instant) {
        let verdict = match (offer, self.caller) {
            (Some(offer), _) => self.negotiation.offered(self.caller, offer).map(|_| ()),
            (None, Leg::Ims) => Ok(()),
            // RFC 3261 §13.2.1 lets a browser wait for our offer; no client does.
            (None, Leg::Access) => Err(Final::new(StatusCode::NOT_ACCEPTABLE_HERE)),
        };
        match verdict {
            Ok(()) => {
                self.is_reserved = true;
                self.steps.push_back(Step::Iq(Command::Reserve(Reserve {
                    session: self.session,
                    lines: 1,
                    is_shared: is_forked,
                })));
            }
            Err(refusal) => self.turn_down(refusal, now),
        }
    }

    fn reserved(&mut self, reserved: iq::Reserved, now: Instant) {
        match self.state {
            State::Reserving => {
                self.negotiation.reserved(reserved);
                if self.negotiation.awaits_resources() {
                    self.prepare(now);
                } else {
                    self.invite(now);
                }
            }
            State::Preparing => self.negotiation.reserved(reserved),
            State::Inviting | State::Up => {
                self.negotiation.reserved(reserved);
                let waits = self.re_offer.as_ref().map(|re_offer| re_offer.waits_for);
                if waits == Some(Awaited::Ice) {
                    self.go_on_with_re_offer();
                } else if std::mem::take(&mut self.answers_on_ice) {
                    self.settle(Leg::Access);
                }
            }
            State::Ending | State::Over => {}
        }
    }

    fn media_refused(&mut self, refusal: Refusal, now: Instant) {
        match self.state {
            State::Ending => {
                self.release_by = None;
                self.state = State::Over;
            }
            State::Over => {}
            State::Reserving | State::Preparing | State::Inviting | State::Up => {
                // A session that was refused is not there to be released.
                self.is_reserved = refusal == Refusal::Unavailable;
                let is_failure = self.state == State::Up;
                self.end_by_box(
                    if is_failure {
                        EndReason::MediaFailed
                    } else {
                        EndReason::Media
                    },
                    now,
                );
            }
        }
    }

    fn offer_answered(&mut self, leg: Leg, answer: &Sdp, now: Instant) {
        match self.negotiation.answered(leg, answer) {
            Ok(()) => {
                self.configure();
                self.reconciled = 0;
                self.reconcile();
            }
            // RFC 3261 §13.2.2.4: an answer in an ACK cannot be turned down, only the call.
            Err(_) => self.end_by_box(EndReason::Protocol, now),
        }
    }

    fn access_lost(&mut self, loss: AccessLoss, is_access_reachable: bool, now: Instant) {
        match self.state {
            State::Reserving | State::Preparing | State::Ending | State::Over => {}
            State::Inviting | State::Up => match loss {
                // The browser may be on its way to another network.
                AccessLoss::ConsentExpired | AccessLoss::Closed if is_access_reachable => {
                    self.loss_at.get_or_insert(now + self.limits.media_grace);
                }
                AccessLoss::ConsentExpired | AccessLoss::Closed
                    if self.state == State::Up && !self.limits.page_grace.is_zero() =>
                {
                    self.loss_at.get_or_insert(now + self.limits.page_grace);
                }
                AccessLoss::ConsentExpired
                | AccessLoss::Closed
                | AccessLoss::IceTimeout
                | AccessLoss::DtlsFailed
                | AccessLoss::FingerprintMismatch => {
                    self.end_by_box(EndReason::AccessMediaLost, now);
                }
            },
        }
    }

    fn turn_down(&mut self, refusal: Final, now: Instant) {
        self.chronicle.ended(None, None, Some(refusal.status), now);
        self.finish(refusal.status, refusal.headers, now);
    }

    /// Tells both sides that it is over; a leg that ended of itself takes no notice.
    fn finish(&mut self, status: StatusCode, headers: Headers, now: Instant) {
        if matches!(self.state, State::Ending | State::Over) {
            return;
        }
        self.refuse_replacement(Final::new(status));
        for leg in [self.caller.other(), self.caller] {
            let headers = headers.clone();
            self.act(leg, LegAction::HangUp(Farewell { status, headers }));
        }
        self.patience = None;
        self.loss_at = None;
        self.duration_at = None;
        self.re_offer = None;
        if self.is_reserved {
            self.state = State::Ending;
            self.release_by = Some(now + RELEASE_PATIENCE);
            self.steps.push_back(Step::Iq(Command::Release {
                session: self.session,
            }));
        } else {
            self.state = State::Over;
        }
        self.chronicle.codec(self.negotiation.codec());
    }

    fn configure(&mut self) {
        if let Some(mut configure) = self.negotiation.configure(self.session) {
            self.is_muted = self.state == State::Inviting && self.early.is_muted();
            if self.is_muted {
                for line in &mut configure.lines {
                    line.access.send = false;
                }
            }
            self.steps
                .push_back(Step::Iq(Command::Configure(configure)));
        }
    }

    fn act(&mut self, leg: Leg, action: LegAction) {
        self.steps.push_back(Step::Leg(leg, action));
    }
}

/// How long the media plane may take to set transports aside.
const MEDIA_PATIENCE: Duration = Duration::from_secs(2);

/// How long the media plane's last report is waited for.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);
