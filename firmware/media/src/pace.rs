//! How fast something may come: a leaky bucket in one instant (the virtual scheduling of
//! ITU-T I.371).

use std::time::{Duration, Instant};

/// What has come so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    due: Option<Instant>,
}

/// How fast it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// One in this time, over long.
    pub(crate) interval: Duration,
    /// How many of these times may be used up at once.
    pub(crate) burst: u32,
}

impl Pace {
    /// Whether one more may come; if so it is taken into account.
    pub(crate) fn admits(&mut self, limit: Limit, now: Instant) -> bool {
        let due = self.due.unwrap_or(now).max(now);
        let next = due + limit.interval;
        let admitted = next <= now + limit.interval * limit.burst;
        if admitted {
            self.due = Some(next);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let limit = Limit {
            interval: Duration::from_millis(10),
            burst: 5,
        };
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut admitted = |after: u64, offered: usize| {
            let now = start + Duration::from_millis(after);
            (0..offered).filter(|_| pace.admits(limit, now)).count()
        };
        assert_eq!(admitted(0, 20), 5);
        assert_eq!(admitted(9, 20), 0);
        assert_eq!(admitted(10, 20), 1);
        assert_eq!(admitted(30, 20), 2);
        assert_eq!(admitted(10_000, 20), 5);
    }
}
