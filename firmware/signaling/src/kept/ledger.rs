//! What was written last, so that only changes are written, and the answers that leave
//! only when a record is safe.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;

use super::{RecordKey, WriteId};
use crate::link::Link;
use crate::message::Response;
use crate::output::Output;
use crate::transaction::ServerTransactionId;

/// The state of all records.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What each record says, as a hash.
    written: BTreeMap<RecordKey, u64>,
    writes: u64,
    /// Answers that wait for a record which this turn may write.
    waiting: Vec<(RecordKey, Answer)>,
    /// Answers that wait for the store.
    held: BTreeMap<WriteId, Vec<Answer>>,
}

#[derive(Debug)]
struct Answer {
    transaction: ServerTransactionId,
    response: Response,
}

impl Ledger {
    /// Learns what the store holds.
    pub(super) fn note(&mut self, key: RecordKey, value: &Bytes) {
        self.written.insert(key, hash(value));
    }

    /// Forgets what was written, so that it is all written again.
    pub(super) fn forget_written(&mut self) {
        self.written.clear();
    }

    /// Whether a record changes, which is noted.
    fn changes(&mut self, key: &RecordKey, value: Option<&Bytes>) -> bool {
        match value {
            Some(value) => {
                let hash = hash(value);
                self.written.insert(key.clone(), hash) != Some(hash)
            }
            None => self.written.remove(key).is_some(),
        }
    }
}

impl Link {
    /// Answers a request as soon as a record is safe, whatever this turn makes of it.
    pub(crate) fn respond_when_kept(
        &mut self,
        key: RecordKey,
        transaction: ServerTransactionId,
        response: Response,
    ) {
        let answer = Answer {
            transaction,
            response,
        };
        self.ledger.waiting.push((key, answer));
    }

    /// Has a record written, or removed, unless it is as it was.
    pub(super) fn write(&mut self, key: RecordKey, value: Option<Bytes>) {
        if !self.ledger.changes(&key, value.as_ref()) {
            return;
        }
        self.ledger.writes += 1;
        let write = WriteId(self.ledger.writes);
        let waiting = std::mem::take(&mut self.ledger.waiting);
        let (held, waiting): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(wanted, _)| *wanted == key);
        self.ledger.waiting = waiting;
        if !held.is_empty() {
            let answers = held.into_iter().map(|(_, answer)| answer);
            self.ledger.held.insert(write, answers.collect());
        }
        self.push(Output::Store { write, key, value });
    }

    /// Sends the answers whose record did not change; says whether there were any.
    pub(super) fn release_unwritten(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.ledger.waiting);
        let is_any = !waiting.is_empty();
        for (_, answer) in waiting {
            self.respond(answer.transaction, answer.response);
        }
        is_any
    }

    /// A record is safe, or cannot be: whoever waited for it is answered.
    pub(crate) fn handle_stored(&mut self, write: WriteId) {
        for answer in self.ledger.held.remove(&write).unwrap_or_default() {
            self.respond(answer.transaction, answer.response);
        }
    }
}

/// The same for the same bytes in every life: its keys are fixed.
fn hash(value: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
