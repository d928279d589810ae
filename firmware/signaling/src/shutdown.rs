//! How the control plane stops: calls may end, then registrations are ended, then there
//! is nothing left.

use std::time::{Duration, Instant};

use crate::Signaling;
use crate::flow::Closing;
use crate::output::Output;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everything is served.
    Serving,
    /// No new calls and registrations; what is there goes on.
    Draining,
    /// Calls are being ended, until then at the latest.
    Hanging { until: Instant },
    /// Registrations are being ended, until then at the latest.
    Leaving { until: Instant },
    /// Nothing is left.
    Stopped,
}

impl Phase {
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Phase::Hanging { until } | Phase::Leaving { until } => Some(until),
            Phase::Serving | Phase::Draining | Phase::Stopped => None,
        }
    }
}

impl Signaling {
    /// SIGTERM: no new calls and registrations; the end follows the last call.
    pub(crate) fn drain(&mut self) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Draining;
            self.registrations.drain();
        }
    }

    /// The time for calls is over.
    pub(crate) fn deregister(&mut self) {
        if matches!(self.phase, Phase::Serving | Phase::Draining) {
            let until = self.link.instant() + HANG_UP_TIME;
            self.phase = Phase::Hanging { until };
            self.registrations.drain();
            self.sessions.end_all(&mut self.link, &self.registrations);
        }
    }

    fn begin_leaving(&mut self) {
        let until = self.link.instant() + LEAVE_TIME;
        self.phase = Phase::Leaving { until };
        self.registrations.leave(&mut self.link);
        for flow in self.flows.ids() {
            self.closings.push_back((flow, Closing::Restart));
        }
    }

    /// Goes on with the end as far as it can.
    pub(crate) fn shut_down(&mut self) {
        loop {
            let before = self.phase;
            self.shut_down_further();
            self.settle();
            if self.phase == before {
                break;
            }
        }
    }

    fn shut_down_further(&mut self) {
        let now = self.link.instant();
        let has_calls = self.sessions.len() > 0;
        match self.phase {
            Phase::Draining if !has_calls => self.begin_leaving(),
            Phase::Hanging { until } if !has_calls || until <= now => self.begin_leaving(),
            Phase::Leaving { until } if self.registrations.has_left() || until <= now => {
                self.phase = Phase::Stopped;
                self.link.push(Output::Idle);
            }
            Phase::Serving
            | Phase::Draining
            | Phase::Hanging { .. }
            | Phase::Leaving { .. }
            | Phase::Stopped => {}
        }
    }
}

/// How long the BYEs may take.
const HANG_UP_TIME: Duration = Duration::from_secs(2);

/// How long the farewells to the core may take.
const LEAVE_TIME: Duration = Duration::from_secs(10);
