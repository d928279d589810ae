//! A link between two boxes: how late, and how often never.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// What a link does to what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// From one end to the other.
    pub delay: Duration,
    /// What is added to it at random, at most.
    pub jitter: Duration,
    /// Of a thousand datagrams, how many are lost.
    pub loss_per_mille: u32,
}

impl Link {
    /// One that loses nothing.
    #[must_use]
    pub const fn good(delay: Duration) -> Self {
        Link {
            delay,
            jitter: Duration::ZERO,
            loss_per_mille: 0,
        }
    }

    /// How long a datagram takes; `None` if it is lost.
    pub(crate) fn carry(&self, rng: &mut ChaCha20Rng) -> Option<Duration> {
        let is_lost = rng.next_u32() % 1000 < self.loss_per_mille;
        let most = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        let added = rng.next_u64() % (most + 1);
        (!is_lost).then(|| self.delay + Duration::from_micros(added))
    }
}
