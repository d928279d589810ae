//! The keys of one issuer as the box holds them: fresh for a while, good for longer while
//! the issuer is away, and never asked for too often.

use std::time::{Duration, Instant};

use super::jwk::{self, Algorithm, Key};
use super::refusal::TokenRefusal;

/// Held keys, and when they are asked for again.
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    held: Vec<Held>,
    fetched_at: Option<Instant>,
    fresh_until: Option<Instant>,
    is_asking: bool,
    /// When an unknown key last made us ask.
    asked_for_unknown: Option<Instant>,
    failures: u32,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    key: Key,
    /// Since when the issuer does not list it any more.
    gone_since: Option<Instant>,
}

/// Why there is no key yet, or none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Ask the issuer, then look again.
    Ask,
    /// The issuer is being asked.
    Wait,
    /// That is all there is to say.
    Refused(TokenRefusal),
}

impl KeyCache {
    /// Looks for the key that a token means.
    pub(crate) fn find(
        &mut self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Key, Missing> {
        if !self.is_usable(now) {
            return Err(self.ask_or(TokenRefusal::ProviderUnavailable, now));
        }
        let is_held = |held: &&Held| held.gone_since.is_none_or(|since| now < since + AFTERLIFE);
        let keys = self.held.iter().filter(is_held).map(|held| &held.key);
        match jwk::find(keys, id, algorithm) {
            Ok(key) => Ok(key.clone()),
            Err(TokenRefusal::UnknownKey) => {
                let is_too_soon = self
                    .asked_for_unknown
                    .is_some_and(|at| now < at + BETWEEN_UNKNOWN);
                // While the issuer is away nobody knows whether it has the key.
                let refusal = match self.failures {
                    0 => TokenRefusal::UnknownKey,
                    _ => TokenRefusal::ProviderUnavailable,
                };
                if !self.is_asking && is_too_soon {
                    return Err(Missing::Refused(refusal));
                }
                let missing = self.ask_or(refusal, now);
                if missing == Missing::Ask {
                    self.asked_for_unknown = Some(now);
                }
                Err(missing)
            }
            Err(refusal) => Err(Missing::Refused(refusal)),
        }
    }

    fn ask_or(&self, refusal: TokenRefusal, now: Instant) -> Missing {
        if self.is_asking {
            Missing::Wait
        } else if self.retry_at.is_some_and(|at| now < at) {
            Missing::Refused(refusal)
        } else {
            Missing::Ask
        }
    }

    /// Whether the keys may be used although they may be old.
    fn is_usable(&self, now: Instant) -> bool {
        self.fetched_at.is_some_and(|at| now < at + STALE_MAX)
    }

    /// When the keys are to be fetched without anybody waiting for them.
    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        if self.is_asking {
            return None;
        }
        let fresh_until = self.fresh_until?;
        Some(self.retry_at.map_or(fresh_until, |at| at.max(fresh_until)))
    }

    /// The issuer is being asked.
    pub(crate) fn handle_asked(&mut self) {
        self.is_asking = true;
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// The issuer's keys of this moment.
    pub(crate) fn handle_keys(&mut self, keys: Vec<Key>, max_age: Option<Duration>, now: Instant) {
        let old = std::mem::take(&mut self.held);
        let is_renamed = |held: &Held| {
            let same_name = |key: &Key| key.id.is_some() && key.id == held.key.id;
            keys.contains(&held.key) || keys.iter().any(same_name)
        };
        let gone = old
            .into_iter()
            .filter(|held| !is_renamed(held))
            .map(|held| Held {
                gone_since: held.gone_since.or(Some(now)),
                ..held
            })
            .filter(|held| held.gone_since.is_none_or(|since| now < since + AFTERLIFE));
        let gone: Vec<Held> = gone.collect();
        self.held = keys
            .into_iter()
            .map(|key| Held {
                key,
                gone_since: None,
            })
            .chain(gone.into_iter().take(MOST_GONE))
            .collect();
        let fresh = max_age.unwrap_or(FRESH_MAX).clamp(FRESH_MIN, FRESH_MAX);
        self.fetched_at = Some(now);
        self.fresh_until = Some(now + fresh);
        self.is_asking = false;
        self.failures = 0;
        self.retry_at = None;
    }

    /// The issuer did not answer, or nothing usable. `jitter` is from 0 to 1. Says how
    /// many times that was in a row.
    pub(crate) fn handle_failure(&mut self, jitter: f64, now: Instant) -> u32 {
        self.is_asking = false;
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(10);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        self.retry_at = Some(now + pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0));
        self.failures
    }
}

/// How long keys are fresh, whatever the issuer says.
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
const FRESH_MAX: Duration = Duration::from_secs(60 * 60);
/// How long keys are used while the issuer does not answer.
const STALE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a key is used after the issuer has taken it from its list: tokens that it
/// signed are under way.
const AFTERLIFE: Duration = Duration::from_secs(5 * 60);
const MOST_GONE: usize = 32;
/// How often a stranger's key id may make the box ask.
const BETWEEN_UNKNOWN: Duration = Duration::from_secs(60);
/// Pauses after failures: 5, 10, 20 … 300 s.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn keys(ids: &[&str]) -> Vec<Key> {
        let keys: Vec<String> = ids
            .iter()
            .map(|id| {
                let x = format!("{id:A<43}").replace('-', "A");
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}"}}"#)
            })
            .collect();
        jwk::read_set(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
    }

    fn find(cache: &mut KeyCache, id: &str, now: Instant) -> Result<(), Missing> {
        cache.find(Some(id), Algorithm::EdDsa, now).map(|_| ())
    }

    fn filled(ids: &[&str]) -> (KeyCache, Instant) {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        assert_eq!(find(&mut cache, ids[0], start), Err(Missing::Ask));
        cache.handle_asked();
        assert_eq!(find(&mut cache, ids[0], start), Err(Missing::Wait));
        cache.handle_keys(keys(ids), None, start);
        assert_eq!(find(&mut cache, ids[0], start), Ok(()));
        (cache, start)
    }

    #[test]
    fn an_unknown_key_makes_the_box_ask_once_a_minute_at_most() {
        let (mut cache, start) = filled(&["a"]);
        assert_eq!(find(&mut cache, "b", start), Err(Missing::Ask));
        cache.handle_asked();
        assert_eq!(
            find(&mut cache, "c", start),
            Err(Missing::Wait),
            "single flight"
        );
        cache.handle_keys(keys(&["a"]), None, start);
        let unknown = Err(Missing::Refused(TokenRefusal::UnknownKey));
        assert_eq!(find(&mut cache, "b", start), unknown);
        assert_eq!(find(&mut cache, "c", start + 59 * SECOND), unknown);
        assert_eq!(
            find(&mut cache, "c", start + 60 * SECOND),
            Err(Missing::Ask)
        );
    }

    #[test]
    fn a_key_that_has_disappeared_is_good_for_five_minutes() {
        let (mut cache, start) = filled(&["a"]);
        cache.handle_keys(keys(&["b"]), None, start + MINUTE);
        assert_eq!(find(&mut cache, "b", start + MINUTE), Ok(()));
        assert_eq!(find(&mut cache, "a", start + 6 * MINUTE - SECOND), Ok(()));
        cache.handle_keys(keys(&["b"]), None, start + 2 * MINUTE);
        assert_eq!(find(&mut cache, "a", start + 6 * MINUTE), Err(Missing::Ask));
    }

    #[test]
    fn a_name_that_the_issuer_gives_to_a_new_key_is_not_the_old_key_s_any_more() {
        let (mut cache, start) = filled(&["a"]);
        let mut other = keys(&["x"]);
        other[0].id = Some("a".into());
        cache.handle_keys(other.clone(), None, start);
        assert_eq!(
            cache.find(Some("a"), Algorithm::EdDsa, start),
            Ok(other.remove(0))
        );
    }

    #[test]
    fn keys_stay_in_use_for_a_day_while_the_issuer_is_away() {
        let (mut cache, start) = filled(&["a"]);
        assert_eq!(cache.refresh_at(), Some(start + 60 * MINUTE));
        let mut now = start + 60 * MINUTE;
        let day = start + 24 * 60 * MINUTE;
        while now < day {
            cache.handle_asked();
            cache.handle_failure(0.0, now);
            assert_eq!(find(&mut cache, "a", now), Ok(()));
            now = cache.refresh_at().unwrap();
        }
        cache.handle_asked();
        cache.handle_failure(0.0, day);
        let refused = Err(Missing::Refused(TokenRefusal::ProviderUnavailable));
        assert_eq!(find(&mut cache, "a", day), refused);
    }

    #[test]
    fn failures_make_the_pauses_longer_up_to_five_minutes() {
        let start = Instant::now();
        let mut cache = KeyCache::default();
        let mut now = start;
        let mut pauses = Vec::new();
        for failures in 1..=8 {
            assert_eq!(find(&mut cache, "a", now), Err(Missing::Ask));
            cache.handle_asked();
            assert_eq!(cache.handle_failure(0.0, now), failures);
            let refused = Err(Missing::Refused(TokenRefusal::ProviderUnavailable));
            assert_eq!(find(&mut cache, "a", now), refused);
            let retry = cache.retry_at.unwrap();
            pauses.push((retry - now).as_secs());
            now = retry;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn an_issuer_s_word_about_freshness_is_taken_within_limits() {
        for (said, fresh) in [(0, 300), (600, 600), (86_400, 3600)] {
            let start = Instant::now();
            let mut cache = KeyCache::default();
            cache.handle_keys(keys(&["a"]), Some(Duration::from_secs(said)), start);
            assert_eq!(cache.refresh_at(), Some(start + fresh * SECOND));
        }
    }
}
