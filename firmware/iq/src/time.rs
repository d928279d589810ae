//! Time as an argument.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The moment at which something is handled, handed in by the shell.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For every timer of a protocol.
    pub monotonic: Instant,
    /// For records and for what is kept over a restart; `None` while the clock
    /// is not set.
    pub wall: Option<UnixTime>,
}

/// Wall-clock time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        UnixTime(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
