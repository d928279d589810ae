//! What is kept of a call for its record.

use std::time::{Duration, Instant};

use iq::{Leg, Now, PayloadFormat, Private, SessionId, SessionReport};

use super::kept::KeptHistory;
use crate::event::{CallEnd, CallRecord, EndReason, Event};
use crate::kept::Clock;
use crate::message::StatusCode;

/// A call's history, told as it happens.
#[derive(Debug)]
pub(super) struct Chronicle {
    session: SessionId,
    from: Leg,
    caller: Private<String>,
    called: Private<String>,
    started: Now,
    ringing_after: Option<Duration>,
    answered_after: Option<Duration>,
    ended_after: Option<Duration>,
    cause: CallEnd,
    codec: Option<PayloadFormat>,
    report: Option<Box<SessionReport>>,
    news: Vec<Event>,
}

impl Chronicle {
    /// An INVITE was taken.
    pub(super) fn new(
        session: SessionId,
        from: Leg,
        caller: Private<String>,
        called: Private<String>,
        started: Now,
    ) -> Self {
        Chronicle {
            session,
            from,
            caller,
            called,
            started,
            ringing_after: None,
            answered_after: None,
            ended_after: None,
            cause: CallEnd {
                by: None,
                status: None,
                reason: None,
            },
            codec: None,
            report: None,
            news: vec![Event::CallStarted { session, from }],
        }
    }

    /// What is kept of it over a restart, with the codec that is spoken.
    pub(super) fn history(&self, codec: Option<PayloadFormat>) -> KeptHistory {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        KeptHistory {
            caller: self.caller.clone(),
            called: self.called.clone(),
            started: self.started.wall,
            ringing_after: self.ringing_after.map(millis),
            answered_after: self.answered_after.map(millis),
            codec,
        }
    }

    /// The history of a call of an earlier life.
    pub(super) fn restore(
        session: SessionId,
        from: Leg,
        kept: KeptHistory,
        clock: &Clock,
        now: Now,
    ) -> Self {
        let began = kept.started.and_then(|at| clock.instant(at));
        let started = Now {
            monotonic: began.map_or(now.monotonic, |at| at.min(now.monotonic)),
            wall: kept.started,
        };
        Chronicle {
            ringing_after: kept.ringing_after.map(Duration::from_millis),
            answered_after: kept.answered_after.map(Duration::from_millis),
            codec: kept.codec,
            news: Vec::new(),
            ..Chronicle::new(session, from, kept.caller, kept.called, started)
        }
    }

    /// The called side rings; the first time counts.
    pub(super) fn ringing(&mut self, now: Instant) {
        if self.ringing_after.is_none() {
            self.ringing_after = Some(self.after(now));
            self.news.push(Event::CallRinging {
                session: self.session,
            });
        }
    }

    /// The called side answered.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered_after = Some(self.after(now));
        self.news.push(Event::CallAnswered {
            session: self.session,
        });
    }

    /// The call ended; the first cause counts.
    pub(super) fn ended(
        &mut self,
        by: Option<Leg>,
        reason: Option<EndReason>,
        status: Option<StatusCode>,
        now: Instant,
    ) {
        if self.ended_after.is_none() {
            self.ended_after = Some(self.after(now));
            let status = status.filter(|_| self.answered_after.is_none());
            self.cause = CallEnd {
                by,
                status: status.map(StatusCode::code),
                reason,
            };
        }
    }

    /// The codec that was spoken last.
    pub(super) fn codec(&mut self, codec: Option<PayloadFormat>) {
        self.codec = codec;
    }

    /// The media plane's figures.
    pub(super) fn report(&mut self, report: Box<SessionReport>) {
        self.report = Some(report);
    }

    /// What an operator may be told since the last look.
    pub(super) fn take_news(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.news)
    }

    /// The record of the finished call.
    pub(super) fn record(&mut self, now: Instant) -> Box<CallRecord> {
        Box::new(CallRecord {
            session: self.session,
            from: self.from,
            caller: self.caller.clone(),
            called: self.called.clone(),
            started: self.started.wall,
            ringing_after: self.ringing_after,
            answered_after: self.answered_after,
            ended_after: self.ended_after.unwrap_or_else(|| self.after(now)),
            cause: self.cause,
            codec: self.codec,
            report: self.report.take(),
            charging: None,
        })
    }

    fn after(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started.monotonic)
    }
}
