//! Token buckets: how much of something may come at once, and how much in the long run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How fast something may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many may come at once.
    pub(crate) burst: u32,
    /// How long it takes until one more may come.
    pub(crate) interval: Duration,
}

impl Rate {
    /// So many within a time, all at once if need be.
    pub(crate) fn per(count: u32, time: Duration) -> Self {
        Rate {
            burst: count,
            interval: time / count.max(1),
        }
    }
}

/// What may still come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full again; in the past if it is.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one; if there is none, the error says how long until there is.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let room = rate.interval * rate.burst;
        let after = full_at + rate.interval;
        if rate.burst == 0 || after > now + room {
            return Err(after
                .saturating_duration_since(now + room)
                .max(rate.interval.min(LEAST)));
        }
        self.full_at = Some(after);
        Ok(())
    }

    /// Takes one, and says how long to wait for it; the error is how long that would be
    /// if it is longer than allowed, and then nothing is taken.
    pub(crate) fn book(
        &mut self,
        rate: Rate,
        longest: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let after = full_at + rate.interval;
        let wait = after.saturating_duration_since(now + rate.interval * rate.burst);
        if wait > longest {
            return Err(wait);
        }
        self.full_at = Some(after);
        Ok(wait)
    }

    /// Whether it takes longer than that until it is full again.
    pub(crate) fn is_late(&self, time: Duration, now: Instant) -> bool {
        self.full_at.is_some_and(|at| at > now + time)
    }

    /// Whether it is as if it had never been used.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

/// A bucket for each of many; only those that are not full take room.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    table: BTreeMap<K, Bucket>,
    cap: usize,
}

impl<K: Ord> Buckets<K> {
    /// None yet, and never more than so many.
    pub(crate) const fn new(cap: usize) -> Self {
        Buckets {
            table: BTreeMap::new(),
            cap,
        }
    }

    /// Takes one from a bucket. Where there is no room for one more bucket, its owner gets
    /// nothing.
    pub(crate) fn take(&mut self, key: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        if self.table.len() >= self.cap && !self.table.contains_key(&key) {
            self.table.retain(|_, bucket| !bucket.is_full(now));
            if self.table.len() >= self.cap {
                return Err(rate.interval.max(LEAST));
            }
        }
        self.table.entry(key).or_default().take(rate, now)
    }
}

/// No wait is told shorter.
const LEAST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_may_come_at_once_and_then_one_at_a_time() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let rate = Rate::per(4, 2 * SECOND);
        for _ in 0..4 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        assert_eq!(bucket.take(rate, start), Err(SECOND / 2));
        assert_eq!(bucket.take(rate, start + SECOND / 2), Ok(()));
        assert!(bucket.take(rate, start + SECOND / 2).is_err());
        let later = start + 60 * SECOND;
        assert!(bucket.is_full(later));
        assert_eq!(
            (0..9).filter(|_| bucket.take(rate, later).is_ok()).count(),
            4
        );
    }

    #[test]
    fn a_rate_of_none_lets_nothing_through() {
        let rate = Rate::per(0, SECOND);
        assert!(Bucket::default().take(rate, Instant::now()).is_err());
    }

    #[test]
    fn a_queue_has_its_turn_one_after_the_other_and_an_end() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let rate = Rate::per(2, SECOND);
        let waits: Vec<_> = (0..6).map(|_| bucket.book(rate, SECOND, start)).collect();
        let half = SECOND / 2;
        let zero = Duration::ZERO;
        assert_eq!(
            waits,
            [
                Ok(zero),
                Ok(zero),
                Ok(half),
                Ok(SECOND),
                Err(3 * half),
                Err(3 * half)
            ]
        );
        assert!(bucket.is_late(SECOND, start));
        assert_eq!(bucket.book(rate, SECOND, start + half), Ok(SECOND));
    }

    #[test]
    fn full_buckets_make_room_for_others() {
        let (mut buckets, start) = (Buckets::new(2), Instant::now());
        let rate = Rate::per(1, SECOND);
        assert!(buckets.take("a", rate, start).is_ok());
        assert!(buckets.take("b", rate, start).is_ok());
        assert!(buckets.take("c", rate, start).is_err(), "no room");
        assert!(buckets.take("c", rate, start + SECOND).is_ok());
        assert_eq!(buckets.table.len(), 1);
    }
}
