//! Identities that are lent (TS 23.228 Annex U.2.3.3, a pool of a WWSF's): each person gets
//! one, keeps it over a reload of his page, and nobody else gets it too soon after him.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use iq::Private;

use super::fetch::IssuerId;

/// Who has, or had, a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) issuer: IssuerId,
    pub(crate) subject: Private<String>,
}

/// The numbers of one rule.
#[derive(Debug)]
pub(crate) struct Pool {
    range: RangeInclusive<u32>,
    /// How long a number is kept after its last use: for its holder, and from others.
    kept: Duration,
    leases: BTreeMap<u32, Lease>,
    by_holder: BTreeMap<Holder, u32>,
    /// Numbers whose lease may have changed.
    touched: BTreeSet<u32>,
}

#[derive(Debug)]
struct Lease {
    holder: Holder,
    /// In use until then at least.
    until: Instant,
}

impl Pool {
    pub(crate) fn new(range: RangeInclusive<u32>, kept: Duration) -> Self {
        Pool {
            range,
            kept,
            leases: BTreeMap::new(),
            by_holder: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The number of a person: the one he has or had last, else one that nobody had for
    /// the longest time. `None` if every number is in use or kept for somebody.
    pub(crate) fn lend(&mut self, holder: &Holder, now: Instant) -> Option<u32> {
        let until = now + UNTIL_REGISTERED;
        if let Some(number) = self.by_holder.get(holder).copied() {
            self.extend(number, until);
            return Some(number);
        }
        let unused = || self.range.clone().find(|n| !self.leases.contains_key(n));
        let free = |(_, lease): &(&u32, &Lease)| lease.until + self.kept <= now;
        let number = unused().or_else(|| {
            let mut free = self.leases.iter().filter(free).collect::<Vec<_>>();
            free.sort_by_key(|(_, lease)| lease.until);
            free.first().map(|(number, _)| **number)
        })?;
        let lease = Lease {
            holder: holder.clone(),
            until,
        };
        if let Some(old) = self.leases.insert(number, lease) {
            self.by_holder.remove(&old.holder);
        }
        self.by_holder.insert(holder.clone(), number);
        self.touched.insert(number);
        Some(number)
    }

    /// Takes up a lease of an earlier life of the box. No if there is no such number, or it
    /// is lent already.
    pub(crate) fn restore(&mut self, number: u32, holder: Holder, until: Instant) -> bool {
        let is_free = !self.leases.contains_key(&number) && !self.by_holder.contains_key(&holder);
        if !is_free || !self.range.contains(&number) {
            return false;
        }
        self.by_holder.insert(holder.clone(), number);
        self.leases.insert(number, Lease { holder, until });
        true
    }

    /// The leases that may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.touched)
    }

    /// Has every lease looked at again.
    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.leases.keys());
    }

    /// Who has, or had, a number, and until when.
    pub(crate) fn lease(&self, number: u32) -> Option<(&Holder, Instant)> {
        let lease = self.leases.get(&number)?;
        Some((&lease.holder, lease.until))
    }

    /// A number is in use for longer.
    pub(crate) fn extend(&mut self, number: u32, until: Instant) {
        if let Some(lease) = self.leases.get_mut(&number) {
            lease.until = lease.until.max(until);
            self.touched.insert(number);
        }
    }

    /// A number is not registered any more. Whoever was told just now that it is his may
    /// still register it.
    pub(crate) fn release(&mut self, number: u32, now: Instant) {
        if let Some(lease) = self.leases.get_mut(&number) {
            lease.until = lease.until.min(now + UNTIL_REGISTERED);
            self.touched.insert(number);
        }
    }

    /// How many numbers are in use.
    pub(crate) fn in_use(&self, now: Instant) -> usize {
        let is_used = |lease: &&Lease| now < lease.until;
        self.leases.values().filter(is_used).count()
    }
}

/// How long a number waits for its first registration.
const UNTIL_REGISTERED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn holder(name: &str) -> Holder {
        Holder {
            issuer: IssuerId(0),
            subject: Private::new(name.to_owned()),
        }
    }

    #[test]
    fn a_person_gets_his_number_back_after_a_reload_and_a_stranger_does_not() {
        let start = Instant::now();
        let mut pool = Pool::new(7..=8, 10 * MINUTE);
        assert_eq!(pool.lend(&holder("a"), start), Some(7));
        pool.extend(7, start + 5 * MINUTE);
        assert_eq!(pool.lend(&holder("a"), start + 14 * MINUTE), Some(7));
        assert_eq!(pool.lend(&holder("b"), start + 14 * MINUTE), Some(8));
        assert_eq!(pool.in_use(start + 14 * MINUTE), 2);
    }

    #[test]
    fn an_exhausted_pool_lends_nothing_until_a_number_has_rested() {
        let start = Instant::now();
        let mut pool = Pool::new(1..=2, 10 * MINUTE);
        pool.lend(&holder("a"), start);
        pool.lend(&holder("b"), start);
        pool.extend(1, start + 20 * MINUTE);
        pool.extend(2, start + 5 * MINUTE);
        assert_eq!(
            pool.lend(&holder("c"), start + 15 * MINUTE - MINUTE / 60),
            None
        );
        assert_eq!(pool.lend(&holder("c"), start + 15 * MINUTE), Some(2));
        assert_eq!(
            pool.lend(&holder("b"), start + 15 * MINUTE),
            None,
            "his is gone"
        );
        assert_eq!(pool.lend(&holder("a"), start + 15 * MINUTE), Some(1));
    }

    #[test]
    fn a_number_whose_user_has_left_is_kept_for_him_and_then_free() {
        let start = Instant::now();
        let mut pool = Pool::new(1..=1, 10 * MINUTE);
        pool.lend(&holder("a"), start);
        pool.extend(1, start + 600 * MINUTE);
        pool.release(1, start + MINUTE);
        assert_eq!(pool.take_touched().len(), 1);
        let kept = start + 12 * MINUTE;
        assert_eq!(pool.lend(&holder("b"), kept - MINUTE / 60), None);
        assert_eq!(pool.lend(&holder("b"), kept), Some(1));
        pool.release(1, kept);
        assert_eq!(pool.in_use(kept), 1, "he may just have been told");
        pool.release(2, kept);
    }

    #[test]
    fn a_number_that_was_never_registered_is_free_again_soon() {
        let start = Instant::now();
        let mut pool = Pool::new(1..=1, Duration::ZERO);
        assert_eq!(pool.lend(&holder("a"), start), Some(1));
        assert_eq!(pool.lend(&holder("b"), start), None);
        assert_eq!(pool.lend(&holder("b"), start + MINUTE), Some(1));
    }
}
