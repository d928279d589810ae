//! The ICE-lite agent of one browser transport, RFC 8445 §2.5, with consent as
//! RFC 7675 means it: a lite agent sends no checks, so what it hears is what it knows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iq::{IceCredentials, Private};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::packet::stun::{StunMessage, integrity_key};
use crate::{Discard, Path};

/// One browser transport: our credentials, and every address that proved to know them.
#[derive(Debug)]
pub struct IceLite {
    local: IceCredentials,
    /// Our credentials before a restart: good until the browser nominates with the new ones.
    previous: Option<IceCredentials>,
    /// The browser's user name fragment; `None` until its description is known, after
    /// a restart again.
    remote: Option<String>,
    previous_remote: Option<String>,
    /// Whether others than the browser know our credentials, until its description is there.
    is_shared: bool,
    pairs: Vec<Pair>,
    selected: Option<Pair>,
    first_check: Option<Instant>,
    last_check: Option<Instant>,
}

/// An address of the browser's that passed a check.
#[derive(Clone, Copy, Debug)]
struct Pair {
    path: Path,
    checked: Instant,
}

/// What a connectivity check led to.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// What to answer, to where the check came from.
    pub answer: Vec<u8>,
    /// Whether the address passed: false for an answer that is an error.
    pub passed: bool,
    /// An address that was dropped to make room for it.
    pub forgotten: Option<SocketAddr>,
    /// A user name fragment of ours that is good no more.
    pub retired: Option<String>,
}

impl IceLite {
    /// An agent with these credentials of ours and no browser yet.
    #[must_use]
    pub fn new(local: IceCredentials) -> Self {
        IceLite {
            local,
            previous: None,
            remote: None,
            previous_remote: None,
            is_shared: false,
            pairs: Vec::new(),
            selected: None,
            first_check: None,
            last_check: None,
        }
    }

    /// Our credentials were offered to several browsers: which of them it is only its
    /// description says.
    #[must_use]
    pub fn shared(self, is_shared: bool) -> Self {
        IceLite { is_shared, ..self }
    }

    /// Our credentials.
    #[must_use]
    pub fn local(&self) -> &IceCredentials {
        &self.local
    }

    /// Every user name fragment that checks may still name.
    pub fn user_fragments(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.local)
            .chain(&self.previous)
            .map(|credentials| credentials.ufrag.as_str())
    }

    /// Takes new credentials (RFC 8445 §9). Those that are in use stay good until the
    /// browser nominates with the new ones; what this returns is good no more.
    pub fn restart(&mut self, local: IceCredentials) -> Option<IceCredentials> {
        let replaced = std::mem::replace(&mut self.local, local);
        if self.previous.is_some() {
            // A second restart before the first was taken up: what carries is older still.
            self.remote = None;
            return Some(replaced);
        }
        self.previous = Some(replaced);
        self.previous_remote = self.remote.take();
        None
    }

    /// Learns the browser's user name fragment from its description.
    pub fn set_remote(&mut self, ufrag: &str) {
        self.is_shared = false;
        if self.remote.as_deref() == Some(ufrag) || self.previous_remote.as_deref() == Some(ufrag) {
            return;
        }
        if let Some(old) = self.remote.replace(ufrag.to_owned()) {
            self.previous_remote = Some(old);
        }
    }

    /// Answers a Binding request (RFC 8445 §7.3).
    ///
    /// # Errors
    /// The reason why there is no answer: a request that does not prove to know our
    /// password learns nothing from us.
    pub fn handle_check(
        &mut self,
        request: &StunMessage<'_>,
        path: Path,
        now: Instant,
    ) -> Result<Check, Discard> {
        let (ours, theirs) = request.user_fragments().ok_or(Discard::BadCheck)?;
        let is_current = ours == self.local.ufrag.as_bytes();
        let credentials = if is_current {
            &self.local
        } else {
            self.previous
                .as_ref()
                .filter(|previous| ours == previous.ufrag.as_bytes())
                .ok_or(Discard::UnvalidatedSource)?
        };
        if !self.knows_remote(theirs, is_current) {
            return Err(Discard::BadCheck);
        }
        let key = integrity_key(credentials.pwd.reveal());
        if !request.has_sound_fingerprint() || !request.verifies(&key) {
            return Err(Discard::BadCheck);
        }
        if !request.unknown_attributes().is_empty() {
            return Ok(Check::refused(request.unknown_attribute(&key)));
        }
        if request.is_from_controlled() {
            return Ok(Check::refused(request.role_conflict(&key)));
        }
        let answer = request.success(path.remote, &key);
        let nominates = request.has_use_candidate();
        let forgotten = self.note_pair(path, nominates, now);
        Ok(Check {
            answer,
            passed: true,
            forgotten,
            retired: (nominates && is_current)
                .then(|| self.end_restart())
                .flatten(),
        })
    }

    /// Whether the browser may call itself so. Until its description is there, our own
    /// fragment and password are proof enough, unless several browsers have them from us:
    /// the first that checks need not be the one that answers.
    fn knows_remote(&self, theirs: &[u8], is_current: bool) -> bool {
        let matches = |ufrag: &Option<String>| {
            ufrag
                .as_ref()
                .is_some_and(|ufrag| ufrag.as_bytes() == theirs)
        };
        match (is_current, &self.remote) {
            (true, None) => !self.is_shared,
            _ => matches(&self.remote) || matches(&self.previous_remote),
        }
    }

    /// Notes a check that passed. Of several nominated pairs the newest wins: the
    /// browser changes its mind when its network changes. An address that is tried
    /// through several doors keeps the one that it was nominated through.
    fn note_pair(&mut self, path: Path, nominates: bool, now: Instant) -> Option<SocketAddr> {
        self.first_check.get_or_insert(now);
        self.last_check = Some(now);
        let selected = self
            .selected
            .filter(|pair| pair.path.remote == path.remote && !nominates);
        let pair = Pair {
            path: selected.map_or(path, |selected| selected.path),
            checked: now,
        };
        let known = self
            .pairs
            .iter_mut()
            .find(|pair| pair.path.remote == path.remote);
        let forgotten = match known {
            Some(known) => {
                *known = pair;
                None
            }
            None => {
                let forgotten = self.make_room();
                self.pairs.push(pair);
                forgotten
            }
        };
        if nominates || selected.is_some() {
            self.selected = Some(pair);
        }
        forgotten
    }

    /// The browser has nominated with our new credentials: the old ones are over.
    fn end_restart(&mut self) -> Option<String> {
        self.previous_remote = None;
        self.previous.take().map(|previous| previous.ufrag)
    }

    fn make_room(&mut self) -> Option<SocketAddr> {
        if self.pairs.len() < MAX_PAIRS {
            return None;
        }
        let selected = self.selected.map(|pair| pair.path.remote);
        let oldest = (0..self.pairs.len())
            .filter(|&at| Some(self.pairs[at].path.remote) != selected)
            .min_by_key(|&at| self.pairs[at].checked)?;
        Some(self.pairs.swap_remove(oldest).path.remote)
    }

    /// Where to send: the nominated way, or before any nomination the one that was
    /// checked last; `None` once consent to send there is over.
    #[must_use]
    pub fn destination(&self, now: Instant) -> Option<Path> {
        self.selected
            .or_else(|| self.pairs.iter().max_by_key(|pair| pair.checked).copied())
            .filter(|pair| now < pair.checked + CONSENT)
            .map(|pair| pair.path)
    }

    /// Whether the browser has nominated an address.
    #[must_use]
    pub fn has_selected(&self) -> bool {
        self.selected.is_some()
    }

    /// When the first check passed.
    #[must_use]
    pub fn first_check(&self) -> Option<Instant> {
        self.first_check
    }

    /// When the last check passed.
    #[must_use]
    pub fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// When this address last passed a check.
    #[must_use]
    pub fn checked(&self, from: SocketAddr) -> Option<Instant> {
        self.pairs
            .iter()
            .find(|pair| pair.path.remote == from)
            .map(|pair| pair.checked)
    }

    /// Every address that media may come from.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.pairs.iter().map(|pair| pair.path.remote)
    }

    /// Drops an address whose consent is over; to be called until it returns `None`.
    pub fn forget_expired(&mut self, now: Instant) -> Option<SocketAddr> {
        let expired = self
            .pairs
            .iter()
            .position(|pair| pair.checked + CONSENT <= now)?;
        let remote = self.pairs.swap_remove(expired).path.remote;
        if self.selected.is_some_and(|pair| pair.path.remote == remote) {
            self.selected = None;
        }
        Some(remote)
    }

    /// When the next address loses consent.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pairs.iter().map(|pair| pair.checked + CONSENT).min()
    }
}

impl Check {
    fn refused(answer: Vec<u8>) -> Self {
        Check {
            answer,
            passed: false,
            forgotten: None,
            retired: None,
        }
    }
}

/// Draws credentials: 48 bits of user name fragment, 144 of password (RFC 8445 §5.3
/// wants 24 and 128).
#[must_use]
pub fn credentials(rng: &mut ChaCha20Rng) -> IceCredentials {
    IceCredentials {
        ufrag: ice_chars(8, rng),
        pwd: Private::new(ice_chars(24, rng)),
    }
}

fn ice_chars(count: usize, rng: &mut ChaCha20Rng) -> String {
    let mut random = [0; 24];
    rng.fill_bytes(&mut random[..count]);
    random[..count]
        .iter()
        .map(|octet| char::from(ICE_CHARS[usize::from(octet & 63)]))
        .collect()
}

/// RFC 8839 §5.1.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// How long a check is good for. RFC 7675 §5.1.
pub const CONSENT: Duration = Duration::from_secs(30);

/// Addresses that one browser is known by at once.
const MAX_PAIRS: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::SeedableRng;

    use super::*;
    use crate::packet::stun;

    const BROWSER: &str = "192.0.2.7:40000";

    #[test]
    fn a_check_with_our_password_is_answered_before_the_browser_is_known() {
        let mut ice = agent();
        assert!(check(&mut ice, "abcd", BROWSER, false, at(0)).is_ok());
        assert_eq!(ice.destination(at(0)), Some(path(BROWSER)));
        assert!(!ice.has_selected());
    }

    // Conforms: RFC 8445 §7.3 | Of several browsers that were offered one transport only the one whose answer counts gets in.
    #[test]
    fn credentials_that_several_browsers_have_let_nobody_in_before_one_has_answered() {
        let mut ice = agent().shared(true);
        for theirs in ["abcd", "efgh"] {
            let early = check(&mut ice, theirs, BROWSER, true, at(0));
            assert_eq!(early, Err(Discard::BadCheck));
        }
        assert!(ice.first_check().is_none() && ice.destination(at(0)).is_none());
        ice.set_remote("efgh");
        let other = check(&mut ice, "abcd", "192.0.2.8:40000", true, at(1));
        assert_eq!(other, Err(Discard::BadCheck));
        assert!(check(&mut ice, "efgh", BROWSER, true, at(1)).is_ok());
        // New credentials go to that one alone.
        ice.restart(credentials(&mut rng(2)));
        assert!(check(&mut ice, "ijkl", BROWSER, true, at(2)).is_ok());
    }

    #[test]
    fn a_known_browser_must_use_its_own_name() {
        let mut ice = agent();
        ice.set_remote("abcd");
        assert_eq!(
            check(&mut ice, "evil", BROWSER, true, at(0)),
            Err(Discard::BadCheck)
        );
        assert!(check(&mut ice, "abcd", BROWSER, true, at(0)).is_ok());
    }

    // Conforms: RFC 8445 §7.3 | A check with a wrong password gets no answer that tells anything.
    #[test]
    fn a_wrong_password_learns_nothing() {
        let mut ice = agent();
        let username = format!("{}:abcd", ice.local().ufrag);
        let bytes = stun::check(&username, "another password, 22 chars", true);
        let request = StunMessage::parse(&bytes).unwrap();
        assert_eq!(
            ice.handle_check(&request, path(BROWSER), at(0)),
            Err(Discard::BadCheck)
        );
        assert_eq!(ice.destination(at(0)), None);
    }

    // Conforms: RFC 8445 §8.1.1 | The browser nominates; the newest nomination wins.
    #[test]
    fn the_newest_nomination_wins() {
        let mut ice = agent();
        check(&mut ice, "abcd", BROWSER, true, at(0)).unwrap();
        check(&mut ice, "abcd", "192.0.2.7:50000", false, at(1)).unwrap();
        assert_eq!(ice.destination(at(1)), Some(path(BROWSER)));
        check(&mut ice, "abcd", "192.0.2.7:50000", true, at(2)).unwrap();
        assert_eq!(ice.destination(at(2)), Some(path("192.0.2.7:50000")));
    }

    #[test]
    fn the_door_that_was_nominated_through_stays_while_others_are_tried() {
        let mut ice = agent();
        let through = |ice: &mut IceLite, door, nominates, now| {
            let username = format!("{}:abcd", ice.local().ufrag);
            let bytes = stun::check(&username, ice.local().pwd.reveal(), nominates);
            let request = StunMessage::parse(&bytes).unwrap();
            let path = Path::new(door, addr(BROWSER));
            assert!(ice.handle_check(&request, path, now).is_ok());
            ice.destination(now).unwrap().door
        };
        assert_eq!(through(&mut ice, 0, false, at(0)), 0);
        assert_eq!(through(&mut ice, 1, true, at(1)), 1);
        assert_eq!(through(&mut ice, 0, false, at(2)), 1);
        assert_eq!(through(&mut ice, 0, true, at(3)), 0);
        assert_eq!(ice.addresses().count(), 1);
    }

    // Conforms: RFC 7675 §5.1 | Without consent nothing is sent after 30 s.
    #[test]
    fn nothing_is_sent_thirty_seconds_after_the_last_check() {
        let mut ice = agent();
        check(&mut ice, "abcd", BROWSER, true, at(0)).unwrap();
        check(&mut ice, "abcd", BROWSER, false, at(10)).unwrap();
        assert!(ice.destination(at(39)).is_some());
        assert_eq!(ice.destination(at(40)), None);
        assert_eq!(ice.poll_timeout(), Some(at(40)));
        assert_eq!(ice.forget_expired(at(40)), Some(addr(BROWSER)));
        assert_eq!(ice.forget_expired(at(40)), None);
        assert!(!ice.has_selected());
    }

    // Conforms: RFC 8445 §9 | After an ICE restart the old pair carries until a new one is nominated.
    #[test]
    fn after_a_restart_the_old_pair_carries_until_a_new_one_is_nominated() {
        let mut ice = agent();
        ice.set_remote("abcd");
        check(&mut ice, "abcd", BROWSER, true, at(0)).unwrap();
        let old = ice.local().clone();

        ice.restart(credentials(&mut rng(2)));
        assert!(check_with(&mut ice, &old, "abcd", BROWSER, true, at(2)).is_ok());
        assert_eq!(ice.destination(at(2)), Some(path(BROWSER)));

        // The browser's new checks may overtake its description.
        check(&mut ice, "efgh", "192.0.2.7:50000", true, at(3)).unwrap();
        ice.set_remote("efgh");
        assert_eq!(ice.destination(at(3)), Some(path("192.0.2.7:50000")));
        assert_eq!(
            check_with(&mut ice, &old, "abcd", BROWSER, true, at(4)),
            Err(Discard::UnvalidatedSource)
        );
        assert!(check(&mut ice, "efgh", "192.0.2.7:50000", true, at(5)).is_ok());
    }

    #[test]
    fn a_restart_that_is_not_taken_up_changes_nothing() {
        let mut ice = agent();
        ice.set_remote("abcd");
        let old = ice.local().clone();
        check(&mut ice, "abcd", BROWSER, true, at(0)).unwrap();

        assert!(ice.restart(credentials(&mut rng(2))).is_none());
        let unused = ice.local().clone();
        assert_eq!(ice.restart(credentials(&mut rng(3))), Some(unused));
        ice.set_remote("abcd");

        assert!(check_with(&mut ice, &old, "abcd", BROWSER, true, at(5)).is_ok());
        assert_eq!(ice.destination(at(34)), Some(path(BROWSER)));
        assert_eq!(ice.user_fragments().count(), 2);
    }

    #[test]
    fn one_browser_is_known_by_a_bounded_number_of_addresses() {
        let mut ice = agent();
        check(&mut ice, "abcd", BROWSER, true, at(0)).unwrap();
        for port in 1..200 {
            let from = SocketAddr::new("192.0.2.9".parse().unwrap(), port);
            check(&mut ice, "abcd", &from.to_string(), false, at(1)).unwrap();
        }
        assert_eq!(ice.addresses().count(), MAX_PAIRS);
        assert!(ice.checked(addr(BROWSER)).is_some());
    }

    fn agent() -> IceLite {
        IceLite::new(credentials(&mut rng(1)))
    }

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    fn path(remote: &str) -> Path {
        Path::new(0, addr(remote))
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    fn check(
        ice: &mut IceLite,
        theirs: &str,
        from: &str,
        nominates: bool,
        now: Instant,
    ) -> Result<Check, Discard> {
        let credentials = ice.local().clone();
        check_with(ice, &credentials, theirs, from, nominates, now)
    }

    fn check_with(
        ice: &mut IceLite,
        ours: &IceCredentials,
        theirs: &str,
        from: &str,
        nominates: bool,
        now: Instant,
    ) -> Result<Check, Discard> {
        let username = format!("{}:{theirs}", ours.ufrag);
        let bytes = stun::check(&username, ours.pwd.reveal(), nominates);
        let request = StunMessage::parse(&bytes).unwrap();
        ice.handle_check(&request, path(from), now)
    }
}
