//! Between the time of timers and the time of records.

use std::time::{Duration, Instant};

use iq::{Now, UnixTime};

/// One moment known by both clocks. It moves only when the wall clock is set, so that the
/// same deadline is written the same way every time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock(Option<(Instant, UnixTime)>);

impl Clock {
    /// Learns what time it is.
    pub(crate) fn set(&mut self, now: Now) {
        let Some(wall) = now.wall else {
            return;
        };
        let expected = self.wall(now.monotonic);
        let is_off = expected
            .is_none_or(|expected| expected.since(wall).max(wall.since(expected)) > DIFFERENCE);
        if is_off {
            self.0 = Some((now.monotonic, wall));
        }
    }

    /// A moment as it is written down; none while the wall clock is not set.
    pub(crate) fn wall(&self, at: Instant) -> Option<UnixTime> {
        let (instant, wall) = self.0?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let millis = match at.checked_duration_since(instant) {
            Some(later) => wall.millis().saturating_add(millis(later)),
            None => wall.millis().saturating_sub(millis(instant - at)),
        };
        Some(UnixTime::from_millis(millis))
    }

    /// A moment that was written down; none while the wall clock is not set, or if it is
    /// further off than this system can say.
    pub(crate) fn instant(&self, at: UnixTime) -> Option<Instant> {
        let (instant, wall) = self.0?;
        if at >= wall {
            instant.checked_add(at.since(wall))
        } else {
            instant.checked_sub(wall.since(at))
        }
    }
}

/// Wall clocks are nudged all the time; only more than this counts as set anew.
const DIFFERENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_deadline_is_written_the_same_way_until_the_clock_is_set_anew() {
        let start = Instant::now();
        let now = |millis, wall| Now {
            monotonic: start + Duration::from_millis(millis),
            wall: Some(UnixTime::from_millis(wall)),
        };
        let deadline = start + Duration::from_secs(60);
        let mut clock = Clock::default();
        assert_eq!(clock.wall(deadline), None);
        clock.set(now(0, 1_000_000));
        let written = clock.wall(deadline).unwrap();
        assert_eq!(written.millis(), 1_060_000);
        clock.set(now(500, 1_000_740));
        assert_eq!(clock.wall(deadline), Some(written));
        assert_eq!(clock.instant(written), Some(deadline));
        clock.set(now(600, 5_000_600));
        assert_eq!(clock.wall(deadline).unwrap().millis(), 5_060_000);
    }
}
