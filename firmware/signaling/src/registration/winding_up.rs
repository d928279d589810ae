//! What becomes of a registration at the end of its user's token: there are no new calls,
//! those that go on may end by themselves within a limit, and then the core is told.

use std::time::Instant;

use crate::event::DeregistrationCause;
use crate::link::Link;

use super::Registrations;
use super::asked::AHEAD;
use super::binding::{Binding, BindingId, Registered, State};

impl Registrations {
    /// The time of a proven user's registration is over.
    pub(super) fn expire(&mut self, id: BindingId, link: &mut Link) {
        let now = link.instant();
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let is_over = match &binding.state {
            State::Registered(registered) => registered.is_token_over(now),
            State::New { .. } | State::Grace { .. } | State::Lingering { .. } => false,
        };
        let grace = link.config.calls.token_grace;
        if !is_over || grace.is_zero() {
            return self.wound_up(id, link);
        }
        self.drop_attempt(id, link);
        if let Some(binding) = self.table.get_mut(&id) {
            binding.winding_up = Some(now + grace);
        }
        self.winding_up.insert(id);
        self.reschedule(id);
    }

    /// Nothing holds a registration whose time is over any more.
    pub(crate) fn wound_up(&mut self, id: BindingId, link: &mut Link) {
        link.counters.deregistered_by_expiry += 1;
        self.bid_farewell(id, DeregistrationCause::Expired, link);
    }

    /// Those that stand for the sake of their calls alone, but for users who are just
    /// registering with another token.
    pub(crate) fn winding_up(&mut self) -> Vec<BindingId> {
        let table = &self.table;
        let is_winding_up = |id: &BindingId| table.get(id).is_some_and(Binding::is_winding_up);
        self.winding_up.retain(is_winding_up);
        let is_idle = |id: &&BindingId| table.get(*id).is_some_and(|it| it.attempt.is_none());
        self.winding_up.iter().filter(is_idle).copied().collect()
    }
}

impl Binding {
    /// Whether its browser has been away for too long.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        matches!(&self.state, State::Grace { until, .. } if *until <= now)
    }
}

impl Registered {
    /// Whether its user's token is worth nothing any more.
    pub(super) fn is_token_over(&self, now: Instant) -> bool {
        let proven = self.proven.as_ref();
        proven.is_some_and(|user| user.until.saturating_duration_since(now) <= AHEAD)
    }
}
