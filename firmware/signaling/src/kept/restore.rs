//! The first thing that a new life of the control plane does: it takes up what the one
//! before it wrote down, and asks media what still stands.

use bytes::Bytes;
use iq::{Command, Now};

use super::{RecordKey, RecordKind, decode};
use crate::Signaling;
use crate::event::Event;
use crate::logins::KeptLease;
use crate::registration::KeptRegistration;
use crate::sessions::KeptCall;

/// What became of the records that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Registrations that wait for their browser.
    pub registrations: usize,
    /// Calls that go on if media still has them.
    pub calls: usize,
    /// Identities of pools that are kept for who had them.
    pub leases: usize,
    /// Records that could not be read, or are of no use any more.
    pub dropped: usize,
}

impl Signaling {
    /// Takes up what an earlier life wrote down; before any input. Media is asked which
    /// calls it holds: those that nobody knows are released, and those that it does not
    /// hold are ended.
    pub fn restore(
        &mut self,
        records: impl IntoIterator<Item = (RecordKey, Bytes)>,
        now: Now,
    ) -> Restored {
        self.link.set_now(now);
        let mut restored = Restored::default();
        let (leases, rest): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|(key, _)| key.kind == RecordKind::Lease);
        for (key, value) in leases {
            self.link.ledger.note(key.clone(), &value);
            let is_taken = decode::<KeptLease>(&value).is_some_and(|record| {
                record.name() == key.id && self.logins.restore(&record, &self.link.clock)
            });
            if is_taken {
                restored.leases += 1;
            } else {
                restored.dropped += 1;
                self.link.write(key, None);
            }
        }
        let (registrations, calls): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|(key, _)| key.kind == RecordKind::Registration);
        for (key, value) in registrations {
            self.link.ledger.note(key.clone(), &value);
            let is_taken = decode::<KeptRegistration>(&value)
                .is_some_and(|record| self.registrations.restore(record, &mut self.link));
            if is_taken {
                restored.registrations += 1;
            } else {
                restored.dropped += 1;
                self.link.write(key, None);
            }
        }
        for (key, value) in calls {
            self.link.ledger.note(key.clone(), &value);
            let (link, registrations) = (&mut self.link, &self.registrations);
            let is_taken = decode::<KeptCall>(&value)
                .is_some_and(|record| self.sessions.restore(record, link, registrations));
            if is_taken {
                restored.calls += 1;
            } else {
                restored.dropped += 1;
                self.link.write(key, None);
            }
        }
        self.link.iq(Command::Audit);
        if restored != Restored::default() {
            self.link.event(Event::Restored(restored));
        }
        self.settle();
        self.keep_books();
        self.gauge();
        restored
    }
}
