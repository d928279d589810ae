//! Guessed passwords. Failures count for a pair of an identity and a source, and for a
//! source alone: never for an identity alone, so that nobody can lock a user out by
//! guessing at his password from elsewhere. A user who is registered keeps his connection
//! whatever others do, and where he has logged in before he is slowed down and never
//! locked out, even if somebody guesses from behind the same address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::bucket::{Buckets, Rate};
use crate::identity::PublicIdentity;

/// Who failed to log in, and from where.
#[derive(Debug)]
pub(crate) struct Attempts {
    pairs: BTreeMap<(PublicIdentity, IpAddr), Strikes>,
    sources: BTreeMap<IpAddr, Strikes>,
    /// From where a user has logged in, and when.
    homes: BTreeMap<(PublicIdentity, IpAddr), Instant>,
    /// How fast passwords may be tried from where a user has logged in.
    at_home: Buckets<(PublicIdentity, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Strikes {
    count: u32,
    last: Instant,
    locked_until: Option<Instant>,
}

/// What becomes of an attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Go,
    /// It has to wait so long.
    Wait(Duration),
}

impl Attempts {
    pub(crate) const fn new() -> Self {
        Attempts {
            pairs: BTreeMap::new(),
            sources: BTreeMap::new(),
            homes: BTreeMap::new(),
            at_home: Buckets::new(ENTRIES),
        }
    }

    /// Whether somebody may try a password now. The connection of a registered user is
    /// not asked.
    pub(crate) fn admit(&mut self, who: &PublicIdentity, from: IpAddr, now: Instant) -> Verdict {
        let from = source(from);
        let pair = (who.clone(), from);
        let wait = |strikes: Option<&Strikes>| {
            let until = strikes.and_then(|it| it.locked_until)?;
            (now < until).then(|| until - now)
        };
        let pair_wait = wait(self.pairs.get(&pair));
        if self.homes.contains_key(&pair) {
            return match pair_wait.map(|_| self.at_home.take(pair, HOME_RATE, now)) {
                None | Some(Ok(())) => Verdict::Go,
                Some(Err(wait)) => Verdict::Wait(wait),
            };
        }
        match pair_wait.max(wait(self.sources.get(&from))) {
            Some(wait) => Verdict::Wait(wait),
            None => Verdict::Go,
        }
    }

    /// A password was wrong. Says so when this locks somebody out: for how long.
    pub(crate) fn handle_failure(
        &mut self,
        who: &PublicIdentity,
        from: IpAddr,
        now: Instant,
    ) -> Option<Duration> {
        let from = source(from);
        make_room(&mut self.pairs, |strikes| strikes.last);
        make_room(&mut self.sources, |strikes| strikes.last);
        let pair = self.pairs.entry((who.clone(), from));
        let pair = pair.or_insert(Strikes::none(now)).strike(PAIR_FREE, now);
        let source = self.sources.entry(from);
        let source = source
            .or_insert(Strikes::none(now))
            .strike(SOURCE_FREE, now);
        pair.max(source)
    }

    /// A password was right.
    pub(crate) fn handle_success(&mut self, who: &PublicIdentity, from: IpAddr, now: Instant) {
        let pair = (who.clone(), source(from));
        self.pairs.remove(&pair);
        make_room(&mut self.homes, |at| *at);
        self.homes.insert(pair, now);
    }
}

impl Strikes {
    fn none(now: Instant) -> Self {
        Strikes {
            count: 0,
            last: now,
            locked_until: None,
        }
    }

    fn strike(&mut self, free: u32, now: Instant) -> Option<Duration> {
        if now >= self.last + FORGET_AFTER {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
        let over = self.count.checked_sub(free)?;
        let time = FIRST_LOCK
            .saturating_mul(1 << over.min(16))
            .min(LONGEST_LOCK);
        self.locked_until = Some(now + time);
        Some(time)
    }
}

/// Drops the oldest entry when there is no room.
fn make_room<K: Ord + Clone, V>(table: &mut BTreeMap<K, V>, age: impl Fn(&V) -> Instant) {
    if table.len() >= ENTRIES {
        let oldest = table.iter().min_by_key(|(_, value)| age(value));
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            table.remove(&key);
        }
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, which one subscriber has.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Wrong passwords for one identity from one source until it has to wait.
const PAIR_FREE: u32 = 5;
/// Wrong passwords for any identities from one source until it has to wait: many users
/// may share an address.
const SOURCE_FREE: u32 = 30;
/// The first wait; each further failure doubles it.
const FIRST_LOCK: Duration = Duration::from_secs(4);
const LONGEST_LOCK: Duration = Duration::from_secs(900);
/// Failures count until there was none for so long.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// From where a user has logged in, passwords may be tried this fast after too many were
/// wrong.
const HOME_RATE: Rate = Rate {
    burst: 2,
    interval: Duration::from_secs(5),
};
/// Pairs and sources remembered at once.
const ENTRIES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostName;

    const SECOND: Duration = Duration::from_secs(1);

    fn user(name: &str) -> PublicIdentity {
        let domain = HostName::parse("ims.test").expect("a domain");
        PublicIdentity::sip(name, &domain).expect("an identity")
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_guesser_waits_longer_and_longer() {
        let (mut attempts, start) = (Attempts::new(), Instant::now());
        let mut locks = Vec::new();
        for _ in 0..8 {
            locks.push(attempts.handle_failure(&user("alice"), ip(1), start));
        }
        assert_eq!(locks[..4], [None; 4]);
        assert_eq!(
            locks[4..],
            [4, 8, 16, 32].map(|seconds| Some(seconds * SECOND))
        );
        let verdict = attempts.admit(&user("alice"), ip(1), start + SECOND);
        assert_eq!(verdict, Verdict::Wait(31 * SECOND));
        let verdict = attempts.admit(&user("alice"), ip(1), start + 32 * SECOND);
        assert_eq!(verdict, Verdict::Go);
        for _ in 0..100 {
            let lock = attempts.handle_failure(&user("alice"), ip(1), start);
            assert!(lock <= Some(LONGEST_LOCK));
        }
    }

    #[test]
    fn guessing_at_a_users_password_does_not_lock_him_out_elsewhere() {
        let (mut attempts, start) = (Attempts::new(), Instant::now());
        for n in 0..200 {
            attempts.handle_failure(&user("alice"), ip(n), start);
            attempts.handle_failure(&user("alice"), ip(1), start);
        }
        assert_ne!(attempts.admit(&user("alice"), ip(1), start), Verdict::Go);
        assert_eq!(attempts.admit(&user("alice"), ip(250), start), Verdict::Go);
    }

    #[test]
    fn where_a_user_has_logged_in_he_is_slowed_down_and_not_locked_out() {
        let (mut attempts, start) = (Attempts::new(), Instant::now());
        attempts.handle_success(&user("alice"), ip(1), start);
        for _ in 0..100 {
            attempts.handle_failure(&user("alice"), ip(1), start);
        }
        let admitted = (0..60).filter(|second| {
            let at = start + *second * SECOND;
            attempts.admit(&user("alice"), ip(1), at) == Verdict::Go
        });
        assert_eq!(
            admitted.count(),
            2 + 11,
            "two at once, then one in five seconds"
        );
        // Somebody else behind the same address, who guessed, is locked out.
        assert_ne!(attempts.admit(&user("bob"), ip(1), start), Verdict::Go);
    }

    #[test]
    fn one_who_tries_many_users_waits_for_all_of_them() {
        let (mut attempts, start) = (Attempts::new(), Instant::now());
        for n in 0..SOURCE_FREE {
            attempts.handle_failure(&user(&format!("user{n}")), ip(1), start);
        }
        assert_ne!(attempts.admit(&user("alice"), ip(1), start), Verdict::Go);
        assert_eq!(attempts.admit(&user("alice"), ip(2), start), Verdict::Go);
    }

    #[test]
    fn a_right_password_and_time_make_good() {
        let (mut attempts, start) = (Attempts::new(), Instant::now());
        for _ in 0..4 {
            attempts.handle_failure(&user("alice"), ip(1), start);
        }
        attempts.handle_success(&user("alice"), ip(1), start);
        assert_eq!(attempts.handle_failure(&user("alice"), ip(1), start), None);
        for _ in 0..3 {
            attempts.handle_failure(&user("alice"), ip(1), start);
        }
        let much_later = start + FORGET_AFTER;
        assert_eq!(
            attempts.handle_failure(&user("alice"), ip(1), much_later),
            None
        );
    }

    #[test]
    fn a_subscribers_ipv6_network_is_one_source() {
        let one: IpAddr = "2001:db8:1:2::1".parse().expect("an address");
        let two: IpAddr = "2001:db8:1:2:ffff::9".parse().expect("an address");
        let other: IpAddr = "2001:db8:1:3::1".parse().expect("an address");
        assert_eq!(source(one), source(two));
        assert_ne!(source(one), source(other));
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(source(mapped), ip(1));
    }
}
