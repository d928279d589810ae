//! Time as RTCP writes it, RFC 3550 §4.

use std::time::{Duration, Instant};

use iq::Now;

/// Wall-clock time as RTCP writes it, carried on by the monotonic clock from one reading,
/// so that a step of the wall clock does not tear sound and picture apart.
#[derive(Clone, Copy, Debug)]
pub struct NtpClock {
    at: Instant,
    ntp: u64,
}

impl NtpClock {
    /// Reads both clocks once. While the wall clock is not set, time counts from now on:
    /// RFC 3550 §6.4.1 asks for no more.
    #[must_use]
    pub fn new(now: Now) -> Self {
        let ntp = now.wall.map_or(1 << 32, |wall| {
            let seconds = wall.millis() / 1000 + SECONDS_1900_TO_1970;
            seconds << 32 | fraction(wall.millis() % 1000, 1000)
        });
        NtpClock {
            at: now.monotonic,
            ntp,
        }
    }

    #[cfg(test)]
    pub(super) fn fixed(ntp: u64, at: Instant) -> Self {
        NtpClock { at, ntp }
    }

    /// 32.32 bits of seconds since 1900.
    pub(super) fn at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at);
        self.ntp
            .wrapping_add(passed.as_secs() << 32)
            .wrapping_add(fraction(u64::from(passed.subsec_nanos()), 1_000_000_000))
    }
}

/// The middle 16.16 bits of a time.
pub(super) fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A span as 16.16 bits of seconds; the longest there is, if it is longer.
pub(super) fn short(span: Duration) -> u32 {
    let nanos = u64::from(span.subsec_nanos());
    let whole = span.as_secs().saturating_mul(1 << 16);
    let units = whole.saturating_add((nanos << 16) / 1_000_000_000);
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The span that 16.16 bits of seconds stand for.
pub(super) fn long(short: u32) -> Duration {
    Duration::from_nanos((u64::from(short) * 1_000_000_000) >> 16)
}

fn fraction(part: u64, of: u64) -> u64 {
    (part << 32) / of
}

/// RFC 5905 §6.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use iq::UnixTime;

    use super::*;

    #[test]
    fn the_wall_clock_is_read_once_and_carried_on() {
        let start = Instant::now();
        let clock = NtpClock::new(Now {
            monotonic: start,
            wall: Some(UnixTime::from_millis(1_500)),
        });
        let later = clock.at(start + Duration::from_millis(750));
        assert_eq!(later, (SECONDS_1900_TO_1970 + 2) << 32 | 1 << 30);
    }

    #[test]
    fn without_a_wall_clock_time_counts_from_the_start() {
        let start = Instant::now();
        let clock = NtpClock::new(Now {
            monotonic: start,
            wall: None,
        });
        let passed = clock.at(start + Duration::from_secs(7)) - clock.at(start);
        assert_eq!(passed, 7 << 32);
        assert_ne!(middle(clock.at(start)), 0);
    }

    #[test]
    fn short_times_are_there_and_back() {
        assert_eq!(short(Duration::from_millis(1500)), 0x1_8000);
        assert_eq!(long(0x1_8000), Duration::from_millis(1500));
        assert_eq!(short(Duration::MAX), u32::MAX);
    }
}
