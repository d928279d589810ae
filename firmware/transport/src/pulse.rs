//! Proof of life: a service counts the turns of its loop that it has finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The count of one service's finished turns; the service beats, others read.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// A loop that has nothing to do turns at least this often.
    pub const LONGEST_TURN: Duration = Duration::from_secs(1);

    /// Says that a turn is finished. Only the service's own loop may call it.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Turns finished so far.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
