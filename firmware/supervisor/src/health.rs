//! Whether every service is alive, judged by its pulse: the count of turns that its own
//! loop finished. A service that stands still makes the box unready and leaves the
//! watchdog hungry, so that systemd starts the box anew; before that happens it is named in
//! a file, so that `gatehouse cause` can say later what it was.
//!
//! The judge is a thread of its own: he sees when the tasks' threads are blocked as well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use board_core::condition::Phase;
use transport::pulse::Pulse;

use crate::notify;
use crate::silent::{Process, Silent, run_folder};

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
    longest_silence: Duration,
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
    /// A pulse for a service whose loop turns each second, watched from now on.
    pub(crate) fn watch(&self, name: impl Into<String>) -> Pulse {
        self.watch_for(name, LONGEST_SILENCE)
    }

    /// A pulse for a service that waits for a disk, which may be slow for a while.
    pub(crate) fn watch_at_disk(&self, name: impl Into<String>) -> Pulse {
        self.watch_for(name, LONGEST_SILENCE_AT_DISK)
    }

    /// A pulse for a service that may be silent for so long. One that was started anew
    /// keeps its pulse.
    pub(crate) fn watch_for(&self, name: impl Into<String>, longest_silence: Duration) -> Pulse {
        let name = name.into();
        let mut state = self.state();
        if let Some(service) = state.services.iter().find(|it| it.name == name) {
            return service.pulse.clone();
        }
        let pulse = Pulse::default();
        state.services.push(Service {
            name,
            pulse: pulse.clone(),
            longest_silence,
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

    /// All services were started. What they were silent for until now is forgiven.
    pub(crate) fn started(&self) {
        self.state().started = true;
        self.forgive(Instant::now());
    }

    /// Counts every silence from now on.
    fn forgive(&self, now: Instant) {
        for service in &mut self.state().services {
            service.changed_at = now;
        }
    }

    /// Where the box is in its life.
    pub(crate) fn phase(&self) -> Phase {
        let state = self.state();
        match (state.draining, state.started) {
            (true, _) => Phase::Stopping,
            (false, true) => Phase::Running,
            (false, false) => Phase::Starting,
        }
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
            if silent > service.longest_silence {
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

    /// Starts the thread that judges again and again, and pets the watchdog while all
    /// services live. Those that do not are named in a file of the runtime folder.
    pub(crate) fn start_judging(&self, process: Process) -> std::io::Result<()> {
        let judge = Judge {
            health: self.clone(),
            silent: Silent::new(run_folder(), process),
            last: Verdict::default(),
            looked_at: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("health".to_owned());
        thread.spawn(move || judge.run()).map(drop)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who says what the pulses mean.
struct Judge {
    health: Health,
    silent: Silent,
    last: Verdict,
    looked_at: Instant,
}

impl Judge {
    fn run(mut self) {
        let period = notify::watchdog_interval().map_or(LONGEST_PERIOD, |interval| {
            board_core::watchdog::period(interval).min(LONGEST_PERIOD)
        });
        loop {
            std::thread::sleep(period);
            self.look(Instant::now());
        }
    }

    fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked_at) > LONGEST_SILENCE {
            // The whole process stood still, or the whole machine: it was nobody's fault.
            self.health.forgive(now);
        }
        self.looked_at = now;
        let verdict = self.health.verdict(now);
        if verdict.dead.is_empty() {
            notify::pet_watchdog();
        }
        let is_news = |reason: &&String| {
            let name = reason.split(':').next();
            self.last.dead.iter().all(|it| it.split(':').next() != name)
        };
        for reason in verdict.dead.iter().filter(is_news) {
            tracing::error!(reason, "a service stands still");
        }
        if verdict == self.last {
            return;
        }
        self.silent.name(&verdict.dead);
        match verdict.unready.first() {
            Some(reason) => notify::status(reason),
            None => notify::status("running"),
        }
        self.last = verdict;
    }
}

/// Loops turn at least once a second.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
/// Cheap flash memory tidies up for seconds when it is full.
const LONGEST_SILENCE_AT_DISK: Duration = Duration::from_secs(30);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
    fn a_service_at_a_slow_disk_has_more_patience_and_not_for_ever() {
        let health = Health::default();
        health.watch_at_disk("store");
        health.started();
        let start = Instant::now();
        let at = |seconds| health.verdict(start + Duration::from_secs(seconds));
        assert_eq!(at(29), Verdict::default());
        assert_eq!(at(40).dead.len(), 1);
    }

    #[test]
    fn the_silent_are_named_in_a_file_until_they_beat_and_a_pause_of_all_is_forgiven() {
        let folder = std::env::temp_dir().join(format!("gatehouse-judge-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let health = Health::default();
        let pulse = health.watch("signaling");
        health.started();
        let start = Instant::now();
        let mut judge = Judge {
            health,
            silent: Silent::new(Some(folder.clone()), Process::Media),
            last: Verdict::default(),
            looked_at: start,
        };
        for second in 1..8 {
            judge.look(start + Duration::from_secs(second));
        }
        let named = crate::silent::read(&folder);
        assert!(named[0].starts_with("signaling: no pulse for"), "{named:?}");
        pulse.beat();
        judge.look(start + Duration::from_secs(8));
        assert_eq!(crate::silent::read(&folder), [""; 0]);
        // A machine that was suspended: nobody is to blame.
        judge.look(start + Duration::from_secs(600));
        assert_eq!(judge.last.dead, [""; 0]);
        let _ = std::fs::remove_dir_all(folder);
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
