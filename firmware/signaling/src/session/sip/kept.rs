//! A leg as it outlives the control process: the dialog of the answered call.

use serde::{Deserialize, Serialize};

use iq::Leg;

use super::{SipLeg, State};
use crate::dialog::Dialog;
use crate::dialog::session_timer::KeptTimer;
use crate::kept::Clock;
use crate::session::outside::Outside;

/// What is kept of a leg.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) struct KeptLeg {
    local_tag: String,
    owns_call_id: bool,
    refuses_update: bool,
    dialog: Dialog,
    timer: Option<KeptTimer>,
}

impl SipLeg {
    /// What is to be kept of it; none unless its call is answered.
    pub(in crate::session) fn record(&self, clock: &Clock) -> Option<KeptLeg> {
        if self.state != State::Confirmed {
            return None;
        }
        Some(KeptLeg {
            local_tag: self.local_tag.clone(),
            owns_call_id: self.owns_call_id,
            refuses_update: self.refuses_update,
            dialog: self.dialog.clone()?,
            timer: self.timer.record(clock),
        })
    }

    /// A leg of an earlier life.
    pub(in crate::session) fn restore(
        leg: Leg,
        kept: KeptLeg,
        clock: &Clock,
        outside: &mut impl Outside,
    ) -> Self {
        let now = outside.now().monotonic;
        let mut this = SipLeg::new(leg, outside);
        this.timer.restore(kept.timer, clock, now);
        let mut dialog = kept.dialog;
        dialog.skip(CSEQ_GAP);
        SipLeg {
            local_tag: kept.local_tag,
            state: State::Confirmed,
            owns_call_id: kept.owns_call_id,
            refuses_update: kept.refuses_update,
            dialog: Some(dialog),
            ..this
        }
    }
}

/// Requests may have left after the record was written: the next number is above theirs.
/// RFC 3261 §12.2.2 lets numbers be left out.
const CSEQ_GAP: u32 = 16;
