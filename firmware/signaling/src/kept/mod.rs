//! What outlives the control process: a record for each registration, each call that is up
//! and each identity that is lent, written behind whatever made it change, and read back at the next start.
//!
//! A record is JSON with a version. Times in it are wall-clock times. Secrets that can be
//! done without are left out: no credentials, no tokens.

mod clock;
mod ledger;
mod restore;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Signaling;

pub(crate) use clock::Clock;
pub(crate) use ledger::Ledger;
pub use restore::Restored;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// A registration of a browser user.
    Registration,
    /// A call that is up.
    Call,
    /// An identity that is lent from a pool.
    Lease,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [
        RecordKind::Registration,
        RecordKind::Call,
        RecordKind::Lease,
    ];

    /// Its name, which a store may keep.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RecordKind::Registration => "registration",
            RecordKind::Call => "call",
            RecordKind::Lease => "lease",
        }
    }
}

/// Names a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What it is about.
    pub kind: RecordKind,
    /// Which one of them: a number or a name of the box's own, never a person's.
    pub id: String,
}

impl RecordKey {
    pub(crate) fn new(kind: RecordKind, id: impl std::fmt::Display) -> Self {
        let id = id.to_string();
        RecordKey { kind, id }
    }
}

/// One wish to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

impl Signaling {
    /// Writes down what has changed since the last time.
    pub(crate) fn keep_books(&mut self) {
        for id in self.registrations.take_touched() {
            let clock = &self.link.clock;
            let record = self.registrations.get(id).and_then(|it| it.record(clock));
            let key = RecordKey::new(RecordKind::Registration, id.0);
            self.link.write(key, record.as_ref().map(encode));
        }
        for id in self.sessions.take_touched() {
            let record = self.sessions.record(id, &self.link.clock);
            let key = RecordKey::new(RecordKind::Call, id);
            self.link.write(key, record.as_ref().map(encode));
        }
        for lease in self.logins.take_touched(&self.link.clock) {
            let key = RecordKey::new(RecordKind::Lease, lease.name());
            self.link.write(key, Some(encode(&lease)));
        }
        if self.link.release_unwritten() {
            self.settle();
        }
    }

    /// Writes everything down again: what was written is lost.
    pub(crate) fn keep_again(&mut self) {
        self.link.ledger.forget_written();
        self.registrations.touch_all();
        self.sessions.touch_all();
        self.logins.touch_all();
    }
}

/// A record with the version of its form.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    it: T,
}

fn encode<T: Serialize>(it: &T) -> Bytes {
    let record = Versioned { v: VERSION, it };
    let bytes = serde_json::to_vec(&record).expect("records have no maps and no foreign types");
    bytes.into()
}

/// Reads a record; none if it is damaged, or of a form that this program does not know.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let head: Head = serde_json::from_slice(bytes).ok()?;
    if head.v != VERSION {
        return None;
    }
    let record: Versioned<T> = serde_json::from_slice(bytes).ok()?;
    Some(record.it)
}

/// The form of the records. A field that is added with a default leaves it as it is.
const VERSION: u32 = 1;
