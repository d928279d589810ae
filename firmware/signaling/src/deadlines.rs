//! When each of many things wants to be woken, earliest first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One deadline for each key; setting and taking cost the logarithm of how many there are.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Deadlines<K> {
    pub(crate) const fn new() -> Self {
        Deadlines {
            by_time: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }

    /// Sets, moves or (with `None`) removes a key's deadline.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

impl<K: Copy + Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moved_deadline_is_due_only_once_and_at_its_new_time() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut deadlines = Deadlines::new();
        deadlines.set("a", Some(start + second));
        deadlines.set("b", Some(start + 2 * second));
        deadlines.set("a", Some(start + 3 * second));

        assert_eq!(deadlines.next(), Some(start + 2 * second));
        assert_eq!(deadlines.take_due(start + second), None);
        assert_eq!(deadlines.take_due(start + 3 * second), Some("b"));
        assert_eq!(deadlines.take_due(start + 3 * second), Some("a"));
        assert_eq!(deadlines.take_due(start + 9 * second), None);
        assert_eq!(deadlines.next(), None);
    }
}
