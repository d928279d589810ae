//! Whether the gateway lives, as the front panel sees it from outside: a gateway that has
//! not said for a while how it is stands still, and that is shown.

use std::time::Duration;

use board_core::condition::{Condition, Phase, Update};

use super::state::State;

/// What the front panel knows of the gateway.
#[derive(Clone, Debug)]
pub(super) struct Supervision {
    last: Option<State>,
    /// Until when silence means nothing.
    patient_until: Duration,
}

impl Supervision {
    /// Knows nothing yet, and waits for the gateway to start.
    pub(super) fn new(now: Duration) -> Self {
        Supervision {
            last: None,
            patient_until: now + START,
        }
    }

    /// Takes what the gateway's file says now.
    pub(super) fn handle_state(&mut self, state: Option<State>, now: Duration) {
        if let Some(state) = &state {
            // A file of the future is one of a clock that ran otherwise: it was read just now.
            let written_at = Duration::from_millis(state.written_at_ms).min(now);
            let silence = match state.phase {
                Phase::Stopping => STOP,
                Phase::Starting | Phase::NeedsSetup | Phase::Running => SILENCE,
            };
            // Who starts may still take all the time that starting takes.
            let patient = written_at + silence;
            self.patient_until = match state.phase {
                Phase::Starting => patient.max(self.patient_until),
                _ => patient,
            };
        }
        self.last = state;
    }

    /// How the box is.
    pub(super) fn condition(&self, update: Update, now: Duration) -> Condition {
        let is_dead = now > self.patient_until;
        let mut condition = Condition {
            update,
            ..Condition::default()
        };
        if let Some(state) = self.last.as_ref().filter(|_| !is_dead) {
            condition.phase = state.phase;
            condition.network = state.network;
            condition.core = state.core;
            condition.calls = state.calls;
            condition.capacity = state.capacity;
            condition.faults = state.faults;
        }
        condition.faults.supervisor |= is_dead;
        condition
    }
}

/// A loaded board starts within this time.
const START: Duration = Duration::from_secs(150);
/// It writes each second.
const SILENCE: Duration = Duration::from_secs(5);
/// Calls that are up may end before it stops, and it may be started again.
const STOP: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use board_core::condition::Core;
    use board_core::led::State as Led;

    #[test]
    fn a_gateway_that_falls_silent_is_a_fault_within_seconds_and_well_again_when_it_speaks() {
        let mut supervision = Supervision::new(s(20));
        supervision.handle_state(Some(running(s(30))), s(30));
        assert_eq!(first(&supervision, s(35)), Led::Ready);
        supervision.handle_state(Some(running(s(30))), s(36));
        assert_eq!(first(&supervision, s(36)), Led::SupervisorFault);
        supervision.handle_state(Some(running(s(60))), s(60));
        assert_eq!(first(&supervision, s(60)), Led::Ready);
    }

    #[test]
    fn a_gateway_that_never_starts_is_a_fault_once_no_start_takes_so_long() {
        let mut supervision = Supervision::new(s(20));
        for second in 20..300 {
            supervision.handle_state(None, s(second));
            let expected = if second <= 170 {
                Led::Starting
            } else {
                Led::SupervisorFault
            };
            assert_eq!(first(&supervision, s(second)), expected, "{second}");
        }
    }

    #[test]
    fn one_that_is_gone_after_it_ran_has_no_second_grace() {
        let mut supervision = Supervision::new(s(20));
        supervision.handle_state(Some(running(s(30))), s(30));
        supervision.handle_state(None, s(31));
        assert_eq!(first(&supervision, s(31)), Led::Starting);
        assert_eq!(first(&supervision, s(36)), Led::SupervisorFault);
    }

    #[test]
    fn one_that_was_told_to_stop_may_take_its_time() {
        let mut supervision = Supervision::new(s(20));
        let stopping = State {
            phase: Phase::Stopping,
            ..running(s(30))
        };
        supervision.handle_state(Some(stopping), s(30));
        supervision.handle_state(None, s(40));
        assert_eq!(first(&supervision, s(150)), Led::Starting);
        assert_eq!(first(&supervision, s(151)), Led::SupervisorFault);
    }

    #[test]
    fn an_update_is_shown_whatever_the_gateway_does() {
        let supervision = Supervision::new(s(20));
        let condition = supervision.condition(Update::Trial, s(21));
        assert!(condition.states().contains(Led::Trial));
        let condition = supervision.condition(Update::Updating, s(900));
        assert_eq!(condition.states().first(), Led::Updating);
    }

    fn first(supervision: &Supervision, now: Duration) -> Led {
        supervision.condition(Update::Idle, now).states().first()
    }

    fn running(written_at: Duration) -> State {
        State {
            written_at_ms: u64::try_from(written_at.as_millis()).unwrap(),
            phase: Phase::Running,
            core: Core::Reachable,
            ..State::default()
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
