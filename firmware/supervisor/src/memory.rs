//! Gives freed memory back to the system: after a busy hour the allocator would keep its
//! peak for ever, scattered over pages that nobody uses.

use std::time::Duration;

use transport::pulse::Pulse;

/// Looks now and then whether much was freed, and gives it back.
pub(crate) async fn give_back(pulse: Pulse) -> anyhow::Result<()> {
    let mut surplus = Surplus::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        pulse.beat();
        // Both calls take the allocator's locks for up to milliseconds: not on a task's thread.
        surplus = tokio::task::spawn_blocking(move || {
            if surplus.is_worth_it(allocator::free_bytes()) {
                allocator::trim();
            }
            surplus
        })
        .await?;
    }
}

/// Free memory that the allocator has, compared with the least of late.
///
/// What was given back still counts as free (its addresses are kept), so only growth tells
/// that there is something new to give.
#[derive(Clone, Copy, Debug, Default)]
struct Surplus {
    least: usize,
}

impl Surplus {
    fn is_worth_it(&mut self, free: usize) -> bool {
        let is_worth_it = free > self.least + WORTHWHILE;
        if is_worth_it || free < self.least {
            self.least = free;
        }
        is_worth_it
    }
}

const PERIOD: Duration = Duration::from_secs(5);
/// A turn that takes longer than this will not end.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// Bytes.
const WORTHWHILE: usize = 2 << 20;

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
mod allocator {
    /// Bytes that were freed and not yet used again.
    pub(super) fn free_bytes() -> usize {
        // SAFETY: takes nothing and returns plain numbers.
        unsafe { libc::mallinfo2() }.fordblks
    }

    /// Gives free pages back to the system.
    pub(super) fn trim() {
        // SAFETY: touches free memory only, under the allocator's own locks.
        unsafe { libc::malloc_trim(0) };
    }
}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
mod allocator {
    pub(super) fn free_bytes() -> usize {
        0
    }

    pub(super) fn trim() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_given_back_once() {
        let mut surplus = Surplus::default();
        assert!(!surplus.is_worth_it(WORTHWHILE));
        assert!(surplus.is_worth_it(10 * WORTHWHILE));
        assert!(!surplus.is_worth_it(10 * WORTHWHILE));
        assert!(!surplus.is_worth_it(3 * WORTHWHILE));
        assert!(surplus.is_worth_it(5 * WORTHWHILE));
    }
}
