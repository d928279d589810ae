//! What has been received already, RFC 3711 §3.3.2.

/// The highest index so far and a bit for each of the `64 * WORDS` indexes up to it.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow<const WORDS: usize> {
    highest: Option<u64>,
    /// A ring: the bit of an index is where the index says, modulo the size.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    const SIZE: u64 = 64 * WORDS as u64;

    pub(crate) const fn new() -> Self {
        ReplayWindow {
            highest: None,
            seen: [0; WORDS],
        }
    }

    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether the index is new, and not too old to tell.
    pub(crate) fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else {
            return true;
        };
        index > highest || highest - index < Self::SIZE && !self.is_seen(index)
    }

    /// Remembers an index that is fresh; only after its packet proved authentic.
    pub(crate) fn insert(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index > highest => {
                if index - highest >= Self::SIZE {
                    self.seen = [0; WORDS];
                } else {
                    for skipped in highest + 1..index {
                        self.set(skipped, false);
                    }
                }
                self.highest = Some(index);
            }
            Some(_) => {}
            None => self.highest = Some(index),
        }
        self.set(index, true);
    }

    fn is_seen(&self, index: u64) -> bool {
        let bit = index % Self::SIZE;
        self.seen[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, index: u64, seen: bool) {
        let bit = index % Self::SIZE;
        let word = &mut self.seen[(bit / 64) as usize];
        *word = *word & !(1 << (bit % 64)) | u64::from(seen) << (bit % 64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    // Conforms: RFC 3711 §3.3.2 | A packet passes once, and only inside the replay window.
    #[test]
    fn an_index_passes_once_and_only_inside_the_window() {
        let mut window = ReplayWindow::<2>::new();
        for index in [1000, 1001, 1005, 1003] {
            assert!(window.is_fresh(index));
            window.insert(index);
            assert!(!window.is_fresh(index));
        }
        assert!(window.is_fresh(1002));
        assert!(window.is_fresh(1005 - 127));
        assert!(!window.is_fresh(1005 - 128));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_that_was_seen(
            steps in proptest::collection::vec(-200i64..200, 1..400),
        ) {
            let mut window = ReplayWindow::<2>::new();
            let mut seen = BTreeSet::new();
            let mut at = 100_000i64;
            for step in steps {
                at += step;
                let index = at as u64;
                let highest = seen.last().copied().unwrap_or(index);
                let fresh = !seen.contains(&index) && index + 128 > highest;
                prop_assert_eq!(window.is_fresh(index), fresh);
                if fresh {
                    window.insert(index);
                    seen.insert(index);
                }
            }
        }
    }
}
