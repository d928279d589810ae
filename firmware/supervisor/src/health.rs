//! Whether every service is alive, judged by its pulse: the count of turns that its own
//! loop finished. A service that stands still makes the box unready and leaves the
//! watchdog hungry, so that systemd starts the box anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use transport::pulse::Pulse;

use crate::notify;

/// The pulses of all services, and what is said of the whole box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    services: Vec<Service>,
    conditions: Vec<Condition>,
    started: bool,
    draining: bool,
}

#[derive(Debug)]
struct Service {
    name: String,
    pulse: Pulse,
    beats: u64,
    changed_at: Instant,
}

/// Something outside that the box needs; while it says why not, the box is not ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition(Arc<Mutex<Option<&'static str>>>);

impl Condition {
    /// Says what is wrong.
    pub(crate) fn set(&self, reason: &'static str) {
        *self.reason_mut() = Some(reason);
    }

    /// All is well again.
    pub(crate) fn clear(&self) {
        *self.reason_mut() = None;
    }

    /// What is wrong, if anything is.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        *self.reason_mut()
    }

    fn reason_mut(&self) -> std::sync::MutexGuard<'_, Option<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong; nothing if the box is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Services that stand still.
    pub(crate) dead: Vec<String>,
    /// Reasons to send no new work.
    pub(crate) unready: Vec<String>,
}

impl Health {
    /// A pulse for a service, watched from now on.
    pub(crate) fn watch(&self, name: impl Into<String>) -> Pulse {
        let pulse = Pulse::default();
        self.state().services.push(Service {
            name: name.into(),
            pulse: pulse.clone(),
            beats: 0,
            changed_at: Instant::now(),
        });
        pulse
    }

    /// A condition for the box to be ready; well until something else is said.
    pub(crate) fn condition(&self) -> Condition {
        let condition = Condition::default();
        self.state().conditions.push(condition.clone());
        condition
    }

    /// All services were started.
    pub(crate) fn started(&self) {
        self.state().started = true;
    }

    /// The box takes no new calls.
    pub(crate) fn draining(&self) {
        self.state().draining = true;
    }

    /// Looks at every pulse.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let mut state = self.state();
        let mut verdict = Verdict::default();
        for service in &mut state.services {
            let beats = service.pulse.beats();
            if beats != service.beats {
                service.beats = beats;
                service.changed_at = now;
            }
            let silent = now.saturating_duration_since(service.changed_at);
            if silent > LONGEST_SILENCE {
                let seconds = silent.as_secs();
                verdict
                    .dead
                    .push(format!("{}: no pulse for {seconds} s", service.name));
            }
        }
        verdict.unready.clone_from(&verdict.dead);
        let conditions = state.conditions.iter().filter_map(Condition::reason);
        verdict.unready.extend(conditions.map(str::to_owned));
        if !state.started {
            verdict.unready.push("starting".to_owned());
        }
        if state.draining {
            verdict.unready.push("stopping: no new calls".to_owned());
        }
        verdict
    }

    /// Judges again and again, and pets the watchdog while all services live.
    pub(crate) async fn run(self) {
        let period = notify::watchdog_interval().map_or(LONGEST_PERIOD, |interval| {
            (interval / 3).min(LONGEST_PERIOD)
        });
        let mut last = Verdict::default();
        loop {
            tokio::time::sleep(period).await;
            let verdict = self.verdict(Instant::now());
            if verdict.dead.is_empty() {
                notify::pet_watchdog();
            }
            if verdict.dead != last.dead {
                for reason in &verdict.dead {
                    tracing::error!(reason, "a service stands still");
                }
            }
            if verdict != last {
                match verdict.unready.first() {
                    Some(reason) => notify::status(reason),
                    None => notify::status("running"),
                }
                last = verdict;
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loops turn at least once a second.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_stands_still_is_named_and_recovers() {
        let health = Health::default();
        let (signaling, media) = (health.watch("signaling"), health.watch("media-0"));
        health.started();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..7 {
            media.beat();
            health.verdict(at(second));
        }
        let verdict = health.verdict(at(7));
        assert_eq!(verdict.dead, ["signaling: no pulse for 7 s"]);
        signaling.beat();
        assert_eq!(health.verdict(at(8)), Verdict::default());
    }

    #[test]
    fn a_box_that_starts_or_stops_is_alive_but_not_ready() {
        let health = Health::default();
        let verdict = health.verdict(Instant::now());
        assert_eq!((verdict.dead.len(), verdict.unready.len()), (0, 1));
        health.started();
        health.draining();
        let verdict = health.verdict(Instant::now());
        assert_eq!(verdict.unready, ["stopping: no new calls"]);
    }

    #[test]
    fn what_the_box_needs_makes_it_unready_while_it_is_missing_and_never_dead() {
        let health = Health::default();
        health.started();
        let condition = health.condition();
        assert_eq!(health.verdict(Instant::now()), Verdict::default());
        condition.set("the media plane is away");
        let verdict = health.verdict(Instant::now());
        assert_eq!(verdict.unready, ["the media plane is away"]);
        assert_eq!(verdict.dead, [""; 0]);
        condition.clear();
        assert_eq!(health.verdict(Instant::now()), Verdict::default());
    }
}
