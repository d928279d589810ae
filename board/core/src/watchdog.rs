//! When the watchdog is fed: while every pulse beats. A pulse is a count of loops that a
//! service finished, so a service that hangs cannot pretend to live.

use core::time::Duration;

use heapless::Vec;

/// The pulses of up to `N` services.
#[derive(Clone, Debug, Default)]
pub struct Watchdog<const N: usize> {
    services: Vec<Service, N>,
}

#[derive(Clone, Copy, Debug)]
struct Service {
    name: &'static str,
    longest_silence: Duration,
    beats: u64,
    changed_at: Duration,
}

/// One watched service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched(usize);

/// What to do with the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything lives.
    Pet,
    /// Something stands still: let the watchdog starve.
    Starve {
        /// The service that has been silent for longest.
        name: &'static str,
        /// For how long.
        silent_for: Duration,
    },
}

impl<const N: usize> Watchdog<N> {
    /// Nothing to watch yet.
    pub const fn new() -> Self {
        Watchdog {
            services: Vec::new(),
        }
    }

    /// Watches a service that may be silent for so long; `None` if there are too many.
    pub fn watch(
        &mut self,
        name: &'static str,
        longest_silence: Duration,
        now: Duration,
    ) -> Option<Watched> {
        let service = Service {
            name,
            longest_silence,
            beats: 0,
            changed_at: now,
        };
        self.services.push(service).ok()?;
        Some(Watched(self.services.len() - 1))
    }

    /// Takes the count of loops that a service has finished so far. A count that stands
    /// still is silence; one that falls is a new life of the service.
    pub fn handle_pulse(&mut self, watched: Watched, beats: u64, now: Duration) {
        if let Some(service) = self.services.get_mut(watched.0)
            && service.beats != beats
        {
            service.beats = beats;
            service.changed_at = now;
        }
    }

    /// Whether to pet the watchdog now.
    pub fn verdict(&self, now: Duration) -> Verdict {
        let silent = self.services.iter().filter_map(|service| {
            let silent_for = now.saturating_sub(service.changed_at);
            (silent_for > service.longest_silence).then_some((silent_for, service.name))
        });
        match silent.max_by_key(|(silent_for, _)| *silent_for) {
            Some((silent_for, name)) => Verdict::Starve { name, silent_for },
            None => Verdict::Pet,
        }
    }

    /// When a service that stays silent will be dead.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let ends = self.services.iter();
        ends.map(|service| service.changed_at + service.longest_silence)
            .min()
    }
}

/// How often to pet a watchdog that bites after so long: it may miss two.
pub fn period(bites_after: Duration) -> Duration {
    bites_after / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_while_all_beat_and_the_most_silent_one_is_named() {
        let mut watchdog = Watchdog::<4>::new();
        let signaling = watchdog.watch("signaling", s(5), s(0)).unwrap();
        let media = watchdog.watch("media", s(2), s(0)).unwrap();
        for second in 1..=10 {
            watchdog.handle_pulse(signaling, second, s(second));
            watchdog.handle_pulse(media, second.min(4), s(second));
            if second <= 6 {
                assert_eq!(watchdog.verdict(s(second)), Verdict::Pet);
            }
        }
        let (name, silent_for) = ("media", s(6));
        assert_eq!(
            watchdog.verdict(s(10)),
            Verdict::Starve { name, silent_for }
        );
        let (name, silent_for) = ("media", s(16));
        assert_eq!(
            watchdog.verdict(s(20)),
            Verdict::Starve { name, silent_for }
        );
        watchdog.handle_pulse(signaling, 11, s(20));
        watchdog.handle_pulse(media, 5, s(20));
        assert_eq!(watchdog.verdict(s(21)), Verdict::Pet);
    }

    #[test]
    fn a_service_that_never_beats_gets_its_longest_silence_and_no_more() {
        let mut watchdog = Watchdog::<1>::new();
        let stuck = watchdog.watch("stuck", s(5), s(100)).unwrap();
        watchdog.handle_pulse(stuck, 0, s(103));
        assert_eq!(watchdog.poll_timeout(), Some(s(105)));
        assert_eq!(watchdog.verdict(s(105)), Verdict::Pet);
        assert_ne!(watchdog.verdict(s(106)), Verdict::Pet);
    }

    #[test]
    fn a_service_that_was_started_anew_lives_although_its_count_fell() {
        let mut watchdog = Watchdog::<1>::new();
        let service = watchdog.watch("service", s(5), s(0)).unwrap();
        watchdog.handle_pulse(service, 900, s(4));
        watchdog.handle_pulse(service, 1, s(8));
        assert_eq!(watchdog.verdict(s(12)), Verdict::Pet);
    }

    #[test]
    fn one_service_too_many_is_refused() {
        let mut watchdog = Watchdog::<1>::new();
        assert!(watchdog.watch("one", s(5), s(0)).is_some());
        assert_eq!(watchdog.watch("two", s(5), s(0)), None);
    }

    #[test]
    fn the_watchdog_may_miss_two_meals() {
        assert_eq!(period(s(30)), s(10));
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
