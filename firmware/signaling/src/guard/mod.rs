//! What the box refuses so that nobody pays for what he did not ask for, and nobody takes
//! what is others': numbers that may not be dialled, guessed passwords, and floods.

mod attempts;
mod bucket;
pub mod dial_plan;
mod load;

pub(crate) use attempts::{Attempts, Verdict};
pub(crate) use bucket::{Bucket, Rate};
pub use load::Pressure;
pub(crate) use load::{Load, Shed, is_for_help};

use std::time::{Duration, Instant};

use crate::config::TenantId;
use crate::identity::PublicIdentity;
use bucket::Buckets;

/// Everything that is counted to refuse something.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Guessed passwords.
    pub(crate) attempts: Attempts,
    /// Requests of anybody.
    pub(crate) load: Load,
    calls: Buckets<PublicIdentity>,
    /// New registrations of each tenant.
    registrations: Vec<Bucket>,
}

impl Guard {
    pub(crate) fn new(tenants: usize) -> Self {
        Guard {
            attempts: Attempts::new(),
            load: Load::new(),
            calls: Buckets::new(USERS),
            registrations: vec![Bucket::default(); tenants],
        }
    }

    /// A user begins a call; the error says how long he has to wait.
    pub(crate) fn begin_call(
        &mut self,
        who: &PublicIdentity,
        per_minute: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let rate = Rate::per(per_minute, Duration::from_secs(60));
        self.calls.take(who.clone(), rate, now)
    }

    /// Somebody wants to register who is not yet: when he may go on. The error says how
    /// long the queue is, if it is too long to wait in.
    pub(crate) fn queue_registration(
        &mut self,
        TenantId(tenant): TenantId,
        per_second: u32,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let rate = Rate::per(per_second, Duration::from_secs(1));
        self.registrations[tenant].book(rate, LONGEST_QUEUE, now)
    }

    /// Whether many register just now.
    pub(crate) fn is_storm(&self, TenantId(tenant): TenantId, now: Instant) -> bool {
        self.registrations[tenant].is_late(STORM, now)
    }
}

/// Users whose calls are counted at once.
const USERS: usize = 32 * 1024;
/// Well below the patience of a client with its REGISTER (Timer F, RFC 3261 §17.1.2.2).
const LONGEST_QUEUE: Duration = Duration::from_secs(8);
/// When the registrations of so long have come at once, it is a storm.
const STORM: Duration = Duration::from_millis(500);
