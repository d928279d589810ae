//! The one place where the shells look at a clock for the protocols.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use iq::{Now, UnixTime};

/// This moment, as protocols are told it.
#[must_use]
pub fn now() -> Now {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|passed| u64::try_from(passed.as_millis()).ok())
        .filter(|&millis| millis >= CLOCK_IS_SET);
    Now {
        monotonic: Instant::now(),
        wall: wall.map(UnixTime::from_millis),
    }
}

/// 2026-01-01: a clock that shows an earlier time has not been set since power-on.
const CLOCK_IS_SET: u64 = 1_767_225_600_000;
