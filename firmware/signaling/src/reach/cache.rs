//! What the name service has answered, for as long as it is good: positive and negative
//! answers by their TTL (RFC 2308), and old ones while no name server answers (RFC 8767).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::records::{Question, Records, Resolution};
use crate::id::QueryId;

/// Answers, and the questions that are on their way.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: BTreeMap<Question, Entry>,
    next_query: u64,
    step: u64,
    asked: VecDeque<(QueryId, Question)>,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    asking: Option<(QueryId, Instant)>,
    /// The name service failed: it is asked again then.
    ask_again_at: Option<Instant>,
    used_at: Instant,
}

#[derive(Debug)]
struct Known {
    /// None: it is known that there are none.
    records: Option<Records>,
    good_until: Instant,
    stale_until: Instant,
}

/// What is known of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Its records; maybe old ones, which are being asked for anew.
    Records(&'a Records),
    /// It has none.
    Nothing,
    /// It was asked, and is not answered yet.
    Pending,
    /// The name service does not answer, and never did.
    Failed,
}

impl Cache {
    /// Knows nothing yet. Its questions are numbered from `first` in steps of `step`, so
    /// that those of several caches are told apart.
    pub(crate) const fn new(first: u64, step: u64) -> Self {
        Cache {
            entries: BTreeMap::new(),
            next_query: first,
            step,
            asked: VecDeque::new(),
        }
    }

    /// What is known; asks when that is nothing, or old.
    pub(crate) fn find(&mut self, question: &Question, now: Instant) -> Found<'_> {
        if !self.entries.contains_key(question) {
            self.make_room();
            let entry = Entry {
                known: None,
                asking: None,
                ask_again_at: None,
                used_at: now,
            };
            self.entries.insert(question.clone(), entry);
        }
        let entry = self
            .entries
            .get_mut(question)
            .expect("it was put in if it was not there");
        entry.used_at = now;
        if entry
            .asking
            .is_some_and(|(_, since)| since + ANSWER_TIME <= now)
        {
            entry.fail(now);
        }
        if entry.wants_asking(now) {
            let query = QueryId(self.next_query);
            self.next_query += self.step;
            entry.asking = Some((query, now));
            self.asked.push_back((query, question.clone()));
        }
        match &entry.known {
            Some(known) if now < known.stale_until || entry.asking.is_some() => known
                .records
                .as_ref()
                .map_or(Found::Nothing, Found::Records),
            _ if entry.asking.is_some() => Found::Pending,
            _ => Found::Failed,
        }
    }

    /// The next question for the name service.
    pub(crate) fn pop_query(&mut self) -> Option<(QueryId, Question)> {
        self.asked.pop_front()
    }

    /// Takes an answer; `false` if nobody asked, or it came too late.
    pub(crate) fn handle_resolved(
        &mut self,
        query: QueryId,
        resolution: Resolution,
        now: Instant,
    ) -> bool {
        let is_its = |entry: &&mut Entry| entry.asking.is_some_and(|(asked, _)| asked == query);
        let Some(entry) = self.entries.values_mut().find(is_its) else {
            return false;
        };
        let (records, ttl) = match resolution {
            Resolution::Found { records, ttl } => {
                (Some(records), ttl.clamp(SHORTEST_TTL, LONGEST_TTL))
            }
            Resolution::Nothing { ttl } => (None, ttl.clamp(SHORTEST_TTL, LONGEST_NEGATIVE_TTL)),
            Resolution::Failed => {
                entry.fail(now);
                return true;
            }
        };
        // That there is nothing is not worth keeping beyond its time.
        let stale = if records.is_some() {
            STALE_TIME
        } else {
            Duration::ZERO
        };
        entry.asking = None;
        entry.ask_again_at = None;
        entry.known = Some(Known {
            records,
            good_until: now + ttl,
            stale_until: now + ttl + stale,
        });
        true
    }

    /// When a question counts as failed, or is worth asking again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let asking = self.entries.values().filter_map(|entry| entry.asking);
        asking.map(|(_, since)| since + ANSWER_TIME).min()
    }

    /// Gives questions up that were not answered in time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            if entry
                .asking
                .is_some_and(|(_, since)| since + ANSWER_TIME <= now)
            {
                entry.fail(now);
            }
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() >= ENTRIES {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used_at);
            if let Some(question) = oldest.map(|(question, _)| question.clone()) {
                self.entries.remove(&question);
            }
        }
    }
}

impl Entry {
    fn wants_asking(&self, now: Instant) -> bool {
        let is_good = self
            .known
            .as_ref()
            .is_some_and(|known| now < known.good_until);
        let waits = self.ask_again_at.is_some_and(|at| now < at);
        self.asking.is_none() && !is_good && !waits
    }

    fn fail(&mut self, now: Instant) {
        self.asking = None;
        self.ask_again_at = Some(now + FAILURE_TIME);
    }
}

/// How long the name service may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// After a failure it is left in peace for so long, RFC 2308 §7.
const FAILURE_TIME: Duration = Duration::from_secs(5);
/// Records without a lifetime would be asked for with every message.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(86_400);
/// RFC 2308 §5 recommends at most three hours; a core that was just set up is wanted sooner.
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(300);
/// How long old records serve while no name server answers, RFC 8767 §4.
const STALE_TIME: Duration = Duration::from_secs(86_400);
/// Questions remembered at once.
const ENTRIES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostName;
    use crate::reach::records::RecordKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn question() -> Question {
        Question {
            name: HostName::parse("pcscf.ims.test").expect("a name"),
            kind: RecordKind::A,
        }
    }

    fn one() -> Records {
        Records::Addresses(vec![[192, 0, 2, 1].into()])
    }

    fn found(ttl: u64) -> Resolution {
        Resolution::Found {
            records: one(),
            ttl: Duration::from_secs(ttl),
        }
    }

    fn queries(cache: &mut Cache) -> Vec<u64> {
        std::iter::from_fn(|| cache.pop_query())
            .map(|(query, _)| query.0)
            .collect()
    }

    #[test]
    fn an_answer_is_used_for_its_lifetime_and_then_asked_for_again() {
        let (mut cache, start) = (Cache::new(1, 1), Instant::now());
        assert_eq!(cache.find(&question(), start), Found::Pending);
        assert_eq!(cache.find(&question(), start), Found::Pending);
        assert_eq!(queries(&mut cache), [1]);
        assert!(cache.handle_resolved(QueryId(1), found(60), start));
        let later = start + 59 * SECOND;
        assert_eq!(cache.find(&question(), later), Found::Records(&one()));
        assert!(queries(&mut cache).is_empty());
        let old = start + 60 * SECOND;
        assert_eq!(cache.find(&question(), old), Found::Records(&one()));
        assert_eq!(queries(&mut cache), [2]);
    }

    #[test]
    fn old_records_serve_for_a_day_while_no_name_server_answers() {
        let (mut cache, start) = (Cache::new(1, 1), Instant::now());
        cache.find(&question(), start);
        cache.handle_resolved(QueryId(1), found(60), start);
        let hour = 3600 * SECOND;
        let old = start + hour;
        cache.find(&question(), old);
        assert!(cache.handle_resolved(QueryId(2), Resolution::Failed, old));
        assert_eq!(cache.find(&question(), old), Found::Records(&one()));
        assert_eq!(queries(&mut cache), [1, 2], "not at once again");
        let again = old + FAILURE_TIME;
        assert_eq!(cache.find(&question(), again), Found::Records(&one()));
        assert_eq!(queries(&mut cache), [3]);
        cache.handle_timeout(again + ANSWER_TIME);
        let too_old = start + 25 * hour;
        assert_eq!(
            cache.find(&question(), too_old),
            Found::Records(&one()),
            "asking"
        );
        cache.handle_resolved(QueryId(4), Resolution::Failed, too_old);
        assert_eq!(cache.find(&question(), too_old), Found::Failed);
    }

    #[test]
    fn what_does_not_exist_is_not_asked_for_each_time() {
        let (mut cache, start) = (Cache::new(1, 1), Instant::now());
        cache.find(&question(), start);
        let nothing = Resolution::Nothing { ttl: 30 * SECOND };
        cache.handle_resolved(QueryId(1), nothing, start);
        queries(&mut cache);
        let later = start + 29 * SECOND;
        assert_eq!(cache.find(&question(), later), Found::Nothing);
        assert!(queries(&mut cache).is_empty());
        cache.find(&question(), start + 30 * SECOND);
        assert_eq!(queries(&mut cache), [2]);
    }

    #[test]
    fn a_question_that_is_never_answered_fails_and_its_late_answer_is_dropped() {
        let (mut cache, start) = (Cache::new(1, 1), Instant::now());
        cache.find(&question(), start);
        assert_eq!(cache.poll_timeout(), Some(start + ANSWER_TIME));
        let late = start + ANSWER_TIME;
        cache.handle_timeout(late);
        assert_eq!(cache.find(&question(), late), Found::Failed);
        assert!(!cache.handle_resolved(QueryId(1), found(60), late));
        assert_eq!(cache.poll_timeout(), None);
    }

    #[test]
    fn no_more_questions_are_remembered_than_there_is_room_for() {
        let (mut cache, start) = (Cache::new(1, 1), Instant::now());
        for n in 0..ENTRIES + 10 {
            let name = HostName::parse(&format!("h{n}.test")).expect("a name");
            let kind = RecordKind::A;
            cache.find(&Question { name, kind }, start + SECOND);
        }
        assert_eq!(cache.entries.len(), ENTRIES);
    }
}
