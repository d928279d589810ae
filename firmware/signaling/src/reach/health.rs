//! Which servers answer. One that was silent once is suspect and is tried last; one that
//! was silent several times is down; one that asked to be left alone (503 with
//! Retry-After, RFC 3261 §21.5.4) gets nothing until then. Suspects, those that are down
//! and those that have been quiet are asked by OPTIONS whether they are there (RFC 3261
//! §11), and one that comes back gets its share little by little.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::choice::Hop;

/// What is known of every server.
#[derive(Debug, Default)]
pub(crate) struct Health {
    targets: BTreeMap<Hop, Target>,
}

#[derive(Debug)]
struct Target {
    standing: Standing,
    /// Silences in a row.
    silences: u32,
    since: Instant,
    /// It asked for no more requests until then.
    resting_until: Option<Instant>,
    /// It is back since then, and gets its share little by little.
    back_since: Option<Instant>,
    probe: Probe,
    /// Whether it ever answered a probe: a core may take none from strangers.
    answers_probes: bool,
}

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It answers, as far as is known.
    Up,
    /// It did not answer lately.
    Suspect,
    /// It has not answered several times, or asked to be left alone.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Due(Instant),
    Sent,
}

impl Health {
    /// Sets which servers there are. What is known of those that stay is kept.
    pub(crate) fn set_targets(
        &mut self,
        hops: &BTreeSet<Hop>,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) {
        self.targets.retain(|hop, _| hops.contains(hop));
        for hop in hops {
            self.targets.entry(*hop).or_insert_with(|| Target {
                standing: Standing::Up,
                silences: 0,
                since: now,
                resting_until: None,
                back_since: None,
                probe: Probe::Due(now + scattered(FIRST_PROBE, rng)),
                answers_probes: false,
            });
        }
    }

    /// Learns that a server answers; says so if that is news.
    pub(crate) fn handle_answer(
        &mut self,
        hop: Hop,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        let target = self.targets.get_mut(&hop)?;
        target.silences = 0;
        if target.probe != Probe::Sent {
            target.probe = Probe::Due(now + scattered(PROBE_IDLE, rng));
        }
        if target.resting_until.is_some_and(|until| now < until) {
            return None; // What it answers now was sent before it asked for peace.
        }
        target.resting_until = None;
        let before = target.standing;
        if before == Standing::Down {
            target.back_since = Some(now);
        }
        target.stand(Standing::Up, now)
    }

    /// Learns that a server did not answer, or could not be connected to.
    pub(crate) fn handle_silence(
        &mut self,
        hop: Hop,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        let target = self.targets.get_mut(&hop)?;
        target.silences = target.silences.saturating_add(1);
        if target.probe != Probe::Sent {
            let soon = now + scattered(PROBE_FAILING, rng);
            target.probe = Probe::Due(soon);
        }
        let standing = match target.silences {
            0..DOWN_AFTER => target.standing.max(Standing::Suspect),
            DOWN_AFTER.. => Standing::Down,
        };
        target.stand(standing, now)
    }

    /// Learns that a server wants no more requests for a time.
    pub(crate) fn handle_overload(
        &mut self,
        hop: Hop,
        retry_after: Duration,
        now: Instant,
    ) -> Option<Standing> {
        let target = self.targets.get_mut(&hop)?;
        let until = now + retry_after.min(LONGEST_REST);
        target.resting_until = target.resting_until.max(Some(until));
        if target.probe != Probe::Sent {
            target.probe = Probe::Due(until);
        }
        target.stand(Standing::Down, now)
    }

    /// Sorts servers: those that answer first. Those that asked to be left alone are left
    /// out; if that leaves none, the error says when the first may be asked again.
    pub(crate) fn sort(
        &self,
        hops: Vec<Hop>,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<Hop>, Option<Instant>> {
        let mut ranked = Vec::with_capacity(hops.len());
        let mut first_back = None;
        for hop in hops {
            let target = self.targets.get(&hop);
            match target.and_then(|it| it.resting_until.filter(|until| now < *until)) {
                Some(until) => {
                    first_back = Some(first_back.map_or(until, |it: Instant| it.min(until)))
                }
                None => ranked.push((target.map_or(0, |it| it.rank(now, rng)), hop)),
            }
        }
        if ranked.is_empty() {
            return Err(first_back);
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(ranked.into_iter().map(|(_, hop)| hop).collect())
    }

    /// How a server stands; up, if it is not known.
    pub(crate) fn standing(&self, hop: Hop) -> Standing {
        self.targets
            .get(&hop)
            .map_or(Standing::Up, |target| target.standing)
    }

    /// How many servers stand so.
    pub(crate) fn count(&self, standing: Standing) -> usize {
        let stand_so = |target: &&Target| target.standing == standing;
        self.targets.values().filter(stand_so).count()
    }

    /// A server that shall be asked whether it is there.
    pub(crate) fn take_probe(&mut self, now: Instant) -> Option<Hop> {
        let is_due = |target: &Target| matches!(target.probe, Probe::Due(at) if at <= now);
        let (hop, target) = self.targets.iter_mut().find(|(_, target)| is_due(target))?;
        target.probe = Probe::Sent;
        Some(*hop)
    }

    /// A server that was taken to be asked cannot be asked yet.
    pub(crate) fn postpone_probe(&mut self, hop: Hop, now: Instant) {
        if let Some(target) = self.targets.get_mut(&hop) {
            target.probe = Probe::Due(now + PROBE_LATER);
        }
    }

    /// Learns what became of a probe.
    pub(crate) fn handle_probed(
        &mut self,
        hop: Hop,
        is_answered: bool,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Option<Standing> {
        let target = self.targets.get_mut(&hop)?;
        target.probe = Probe::Due(now);
        if is_answered {
            target.answers_probes = true;
            return self.handle_answer(hop, now, rng);
        }
        if target.answers_probes {
            return self.handle_silence(hop, now, rng);
        }
        // It may take no probes at all: only requests of users say anything about it, and
        // they must come to it again some time.
        target.probe = Probe::Due(now + scattered(PROBE_FAILING, rng));
        let is_long_ago = now >= target.since + TRIAL_AFTER;
        if target.standing != Standing::Up && target.resting_until.is_none() && is_long_ago {
            target.back_since = Some(now);
            target.silences = DOWN_AFTER - 1;
            return target.stand(Standing::Up, now);
        }
        None
    }

    /// When `take_probe` has something to give.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = self
            .targets
            .values()
            .filter_map(|target| match target.probe {
                Probe::Due(at) => Some(at),
                Probe::Sent => None,
            });
        due.min()
    }
}

impl Target {
    fn stand(&mut self, standing: Standing, now: Instant) -> Option<Standing> {
        let is_news = self.standing != standing;
        if is_news {
            self.standing = standing;
            self.since = now;
        }
        is_news.then_some(standing)
    }

    /// Lower is tried sooner.
    fn rank(&self, now: Instant, rng: &mut ChaCha20Rng) -> u8 {
        match self.standing {
            Standing::Up => u8::from(self.back_since.is_some_and(|since| {
                let passed = now.saturating_duration_since(since);
                let share = passed.as_secs_f64() / RAMP_UP.as_secs_f64();
                f64::from(rng.next_u32()) / f64::from(u32::MAX) > share
            })),
            Standing::Suspect => 2,
            Standing::Down => 3,
        }
    }
}

/// An interval, shortened by chance to no less than a half: many boxes ask one server.
fn scattered(interval: Duration, rng: &mut ChaCha20Rng) -> Duration {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis / 2 + rng.next_u64() % (millis / 2).max(1))
}

/// Silences in a row that make a server count as down.
const DOWN_AFTER: u32 = 3;
/// When a new server is first asked whether it is there.
const FIRST_PROBE: Duration = Duration::from_secs(20);
/// How often a suspect, or one that is down, is asked.
const PROBE_FAILING: Duration = Duration::from_secs(20);
/// How long a server may be quiet before it is asked.
const PROBE_IDLE: Duration = Duration::from_secs(60);
/// When a probe that could not be sent is tried again.
const PROBE_LATER: Duration = Duration::from_secs(1);
/// How long a server that takes no probes is spared after its silence.
const TRIAL_AFTER: Duration = Duration::from_secs(30);
/// How long a server that comes back takes to get its whole share.
const RAMP_UP: Duration = Duration::from_secs(30);
/// No server rests longer, whatever it asks for: it may be the only one.
const LONGEST_REST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::id::SipTransport;

    const SECOND: Duration = Duration::from_secs(1);

    fn hop(last: u8) -> Hop {
        Hop {
            address: ([192, 0, 2, last], 5060).into(),
            transport: SipTransport::Udp,
        }
    }

    fn two() -> (Health, ChaCha20Rng, Instant) {
        let (mut health, mut rng) = (Health::default(), ChaCha20Rng::seed_from_u64(3));
        let start = Instant::now();
        health.set_targets(&BTreeSet::from([hop(1), hop(2)]), start, &mut rng);
        (health, rng, start)
    }

    #[test]
    fn a_server_is_suspect_after_one_silence_and_down_after_three() {
        let (mut health, mut rng, start) = two();
        assert_eq!(
            health.handle_silence(hop(1), start, &mut rng),
            Some(Standing::Suspect)
        );
        assert_eq!(health.handle_silence(hop(1), start, &mut rng), None);
        assert_eq!(
            health.handle_silence(hop(1), start, &mut rng),
            Some(Standing::Down)
        );
        let order = health.sort(vec![hop(1), hop(2)], start, &mut rng);
        assert_eq!(order, Ok(vec![hop(2), hop(1)]));
        assert_eq!(
            health.handle_answer(hop(1), start, &mut rng),
            Some(Standing::Up)
        );
        assert_eq!(health.count(Standing::Up), 2);
    }

    #[test]
    fn a_server_that_asks_to_be_left_alone_is_left_out_until_then() {
        let (mut health, mut rng, start) = two();
        let news = health.handle_overload(hop(1), 20 * SECOND, start);
        assert_eq!(news, Some(Standing::Down));
        let later = start + 19 * SECOND;
        assert_eq!(
            health.sort(vec![hop(1), hop(2)], later, &mut rng),
            Ok(vec![hop(2)])
        );
        let back = start + 20 * SECOND;
        assert_eq!(health.sort(vec![hop(1)], later, &mut rng), Err(Some(back)));
        assert_eq!(health.sort(vec![hop(1)], back, &mut rng), Ok(vec![hop(1)]));
        // A late answer to what was sent before does not end its rest.
        assert_eq!(health.handle_answer(hop(1), later, &mut rng), None);
        assert_eq!(
            health.handle_answer(hop(1), back, &mut rng),
            Some(Standing::Up)
        );
    }

    #[test]
    fn the_longest_rest_is_limited() {
        let (mut health, mut rng, start) = two();
        health.handle_overload(hop(1), 86_400 * SECOND, start);
        let back = start + LONGEST_REST;
        assert_eq!(health.sort(vec![hop(1)], start, &mut rng), Err(Some(back)));
    }

    #[test]
    fn one_that_comes_back_gets_its_share_little_by_little() {
        let (mut health, mut rng, start) = two();
        for _ in 0..3 {
            health.handle_silence(hop(1), start, &mut rng);
        }
        health.handle_answer(hop(1), start, &mut rng);
        let mut firsts = |at: Instant| {
            let orders = (0..1000).map(|_| health.sort(vec![hop(1), hop(2)], at, &mut rng));
            orders
                .filter(|order| order.as_ref().is_ok_and(|it| it[0] == hop(1)))
                .count()
        };
        assert!(firsts(start) < 10);
        let half = firsts(start + RAMP_UP / 2);
        assert!((400..600).contains(&half), "{half}");
        assert_eq!(firsts(start + RAMP_UP), 1000);
    }

    #[test]
    fn quiet_servers_and_failing_ones_are_asked_whether_they_are_there() {
        let (mut health, mut rng, start) = two();
        let first = health.poll_timeout().expect("a probe");
        assert!((10..=20).contains(&(first - start).as_secs()));
        assert_eq!(health.take_probe(start), None);
        let at = start + 20 * SECOND;
        assert_eq!(health.take_probe(at), Some(hop(1)));
        assert_eq!(health.take_probe(at), Some(hop(2)));
        assert_eq!(health.take_probe(at), None);
        assert_eq!(health.poll_timeout(), None);
        health.handle_probed(hop(1), true, at, &mut rng);
        let next = health.poll_timeout().expect("a probe");
        assert!((30..=60).contains(&(next - at).as_secs()));
        // One that has answered before and does not now is suspect, and asked sooner.
        health.take_probe(next);
        let news = health.handle_probed(hop(1), false, next, &mut rng);
        assert_eq!(news, Some(Standing::Suspect));
        let sooner = health.poll_timeout().expect("a probe");
        assert!((10..=20).contains(&(sooner - next).as_secs()));
    }

    #[test]
    fn one_that_never_took_a_probe_is_judged_by_requests_alone() {
        let (mut health, mut rng, start) = two();
        let mut at = start + 20 * SECOND;
        health.take_probe(at);
        assert_eq!(health.handle_probed(hop(1), false, at, &mut rng), None);
        for _ in 0..3 {
            health.handle_silence(hop(1), at, &mut rng);
        }
        assert_eq!(health.standing(hop(1)), Standing::Down);
        at += 40 * SECOND;
        while health.take_probe(at) != Some(hop(1)) {}
        let news = health.handle_probed(hop(1), false, at, &mut rng);
        assert_eq!(news, Some(Standing::Up));
        // One more silence, and it is down again.
        let news = health.handle_silence(hop(1), at, &mut rng);
        assert_eq!(news, Some(Standing::Down));
    }
}
