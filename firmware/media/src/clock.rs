//! RTP clocks count ticks; everything else here counts time.

use std::time::Duration;

/// Ticks of an RTP clock in a span of time; RTP counts them modulo 2^32.
pub(crate) fn ticks(span: Duration, rate: u32) -> u32 {
    let rate = u64::from(rate);
    let whole = span.as_secs().wrapping_mul(rate);
    let part = u64::from(span.subsec_nanos()) * rate / 1_000_000_000;
    whole.wrapping_add(part) as u32
}

/// The span of time that a number of ticks takes.
pub(crate) fn span(ticks: u32, rate: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) * 1_000_000_000 / u64::from(rate.max(1)))
}

/// Whether an RTP timestamp is later than another, on a circle of 2^32.
pub(crate) fn is_later(timestamp: u32, than: u32) -> bool {
    (timestamp.wrapping_sub(than) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_spans_agree() {
        assert_eq!(ticks(Duration::from_millis(20), 8000), 160);
        assert_eq!(ticks(Duration::from_micros(20_125), 48_000), 966);
        assert_eq!(span(160, 8000), Duration::from_millis(20));
        assert_eq!(
            ticks(Duration::from_secs(u64::MAX), 90_000),
            u64::MAX.wrapping_mul(90_000) as u32
        );
    }

    #[test]
    fn later_goes_over_the_wrap() {
        assert!(is_later(5, u32::MAX - 5));
        assert!(!is_later(u32::MAX - 5, 5));
        assert!(!is_later(5, 5));
    }
}
