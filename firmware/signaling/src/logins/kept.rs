//! A lent identity as it outlives the control process: the one who had it gets it back, and
//! nobody else is called by his number.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use iq::{Private, UnixTime};
use serde::{Deserialize, Serialize};

use super::Logins;
use crate::auth::IssuerId;
use crate::auth::identity_map::Lease;
use crate::auth::pool::Holder;
use crate::kept::Clock;

/// What is kept of a lease.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptLease {
    issuer: String,
    /// The private identity of its rule, with claims in braces.
    rule: String,
    number: u32,
    subject: Private<String>,
    /// None while the wall clock is not set.
    until: Option<UnixTime>,
}

impl Logins {
    /// The leases that may have changed since the last time.
    pub(crate) fn take_touched(&mut self, clock: &Clock) -> Vec<KeptLease> {
        let touched = self.identities.take_touched();
        let record = |lease| self.record(lease, clock);
        touched.into_iter().filter_map(record).collect()
    }

    fn record(&self, lease: Lease, clock: &Clock) -> Option<KeptLease> {
        let (rule, holder, until) = self.identities.lease(lease)?;
        let issuer = self.issuer(holder.issuer)?.issuer.to_string();
        Some(KeptLease {
            issuer,
            rule: rule.impi.to_string(),
            number: lease.number(),
            subject: holder.subject.clone(),
            until: clock.wall(until),
        })
    }

    /// Has every lease looked at again.
    pub(crate) fn touch_all(&mut self) {
        self.identities.touch_all();
    }

    /// Takes up a lease of an earlier life. No if its rule or its number is gone.
    pub(crate) fn restore(&mut self, kept: &KeptLease, clock: &Clock) -> bool {
        let mut every = (0..)
            .map(IssuerId)
            .map_while(|id| Some((id, self.issuer(id)?)));
        let Some((issuer, _)) = every.find(|(_, it)| it.issuer.as_str() == kept.issuer) else {
            return false;
        };
        let Some(until) = kept.until.and_then(|at| clock.instant(at)) else {
            return false; // Nobody knows since when it is free.
        };
        let holder = Holder {
            issuer,
            subject: kept.subject.clone(),
        };
        self.identities
            .restore(&kept.rule, kept.number, &holder, until)
    }
}

impl KeptLease {
    /// Its name: the same in every life, wherever its rule stands in the file.
    pub(crate) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.issuer, &self.rule).hash(&mut hasher);
        format!("{:016x}-{}", hasher.finish(), self.number)
    }
}
