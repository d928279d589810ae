//! A call as it outlives the control process: both dialogs, what was negotiated, timers
//! and history. Only a call that is up is kept. What was under way at the moment (an
//! offer, a refresh) is not: whoever began it tries again, or finds the call as it was.

use iq::{Leg, PayloadFormat, Private, SessionId, UnixTime};
use serde::{Deserialize, Serialize};

use super::Session;
use super::couple::Coupling;
use super::negotiation::Negotiation;
use super::outside::Outside;
use super::record::Chronicle;
use super::rivals::Rivals;
use super::sip::{KeptLeg, SipLeg};
use crate::kept::Clock;

/// What is kept of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptSession {
    pub(crate) id: SessionId,
    access: KeptLeg,
    ims: KeptLeg,
    call: KeptCoupling,
}

/// What is kept of the rules at work.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptCoupling {
    pub(super) caller: Leg,
    pub(super) negotiation: Negotiation,
    /// When the call has lasted long enough; none while the wall clock is not set.
    pub(super) duration_until: Option<UnixTime>,
    /// Whether the browser's media was gone, and the call waited for it.
    pub(super) is_access_lost: bool,
    pub(super) history: KeptHistory,
}

/// What is kept for the call's record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptHistory {
    pub(super) caller: Private<String>,
    pub(super) called: Private<String>,
    pub(super) started: Option<UnixTime>,
    /// Milliseconds after the start.
    pub(super) ringing_after: Option<u64>,
    pub(super) answered_after: Option<u64>,
    pub(super) codec: Option<PayloadFormat>,
}

impl Session {
    /// What is to be kept of the call; none unless it is up.
    pub(crate) fn record(&self, clock: &Clock) -> Option<KeptSession> {
        Some(KeptSession {
            id: self.id,
            access: self.access.record(clock)?,
            ims: self.ims.record(clock)?,
            call: self.coupling.record(clock)?,
        })
    }

    /// A call of an earlier life; none if its record makes no sense.
    pub(crate) fn restore(
        kept: KeptSession,
        clock: &Clock,
        outside: &mut impl Outside,
    ) -> Option<Self> {
        let now = outside.now();
        let history = kept.call.history;
        let chronicle = Chronicle::restore(kept.id, kept.call.caller, history, clock, now);
        let config = outside.config();
        let negotiation = kept.call.negotiation.with_policy(config.codecs.clone());
        if !negotiation.is_sound() {
            return None;
        }
        let until = kept.call.duration_until.and_then(|at| clock.instant(at));
        let coupling = Coupling::restore(
            kept.id,
            kept.call.caller,
            negotiation,
            chronicle,
            until.unwrap_or(now.monotonic + config.duration),
            kept.call
                .is_access_lost
                .then(|| now.monotonic + config.media_grace),
            config.into(),
        );
        Some(Session {
            id: kept.id,
            access: SipLeg::restore(Leg::Access, kept.access, clock, outside),
            ims: SipLeg::restore(Leg::Ims, kept.ims, clock, outside),
            former: Vec::new(),
            rivals: Rivals::default(),
            coupling,
            is_recorded: false,
        })
    }
}
