//! The one registration that the box itself keeps with the peer of a trunk (RFC 3261 §10.2):
//! one address of record for the whole trunk, refreshed, proved with the password that is
//! stored for it, and tried again for ever, ever more slowly (RFC 5626 §4.5).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::auth::ProvenUser;
use crate::config::{HostName, TenantId};
use crate::event::Event;
use crate::flow_token::FlowName;
use crate::link::Link;

use super::Registrations;
use super::asked::Asked;
use super::attempt::Origin;
use super::binding::{Binding, BindingId, BindingKey, Instance, Kind, Registered, State};
use super::challenge::Challenges;
use super::on_behalf::OnBehalf;

/// How many trunks there are that register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trunks {
    /// Those whose peer holds their registration.
    pub(crate) registered: usize,
    /// Those whose peer does not.
    pub(crate) unregistered: usize,
}

impl Registrations {
    /// The port of a trunk is open: its registration begins, if it has one and has not
    /// begun.
    pub(super) fn start_trunk(&mut self, tenant: TenantId, link: &mut Link) {
        let trunk = link.config.tenant(tenant).profile.trunk();
        let Some(registration) = trunk.and_then(|it| it.registration.clone()) else {
            return;
        };
        let domain = registration.address.domain().and_then(HostName::parse);
        let (Some(domain), Some(shared)) = (domain, self.shared.of_tenant(tenant)) else {
            return;
        };
        let key = BindingKey {
            identity: registration.address.clone(),
            instance: Instance::Trunk,
        };
        if self.by_key.contains_key(&key) || self.is_draining {
            return;
        }
        let now = link.instant();
        let user = ProvenUser {
            impi: registration.user,
            impus: vec![key.identity.clone()],
            until: now + FOR_EVER,
        };
        let (local, endpoint) = (shared.local, shared.endpoint);
        let asked = Asked::of_trunk(key.clone(), tenant, domain);
        let mut on_behalf = OnBehalf::new(user, now);
        on_behalf.keep(asked, now + FOR_EVER);
        self.made += 1;
        let id = BindingId(self.made);
        let binding = Binding {
            local,
            flow: None,
            // The same after a restart: the peer replaces what it held (RFC 3261 §10.3).
            token: key.identity.user().reveal().to_string(),
            state: State::New {
                until: now + FOR_EVER,
            },
            on_behalf: Some(on_behalf),
            security: None,
            id,
            key: key.clone(),
            tenant,
            endpoint,
            flow_name: Some(FlowName(link.chance())),
            next_hop: None,
            touched_by: BTreeSet::new(),
            call_id: link.token(),
            from_tag: link.token(),
            cseq: 0,
            attempt: None,
            challenges: Challenges::default(),
            was_challenged: false,
            counted: Kind::Unregistered,
            winding_up: None,
            core_until: None,
            min_expires: None,
        };
        self.table.insert(id, binding);
        self.by_key.insert(key, id);
        self.held[tenant.0] += 1;
        self.trunk_ids.push(id);
        self.register_trunk(id, link);
    }

    /// Sends the REGISTER.
    pub(super) fn register_trunk(&mut self, id: BindingId, link: &mut Link) {
        let until = link.instant() + FOR_EVER;
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if self.is_draining {
            return self.remove(id, false, link);
        }
        binding.state = State::New { until };
        let asked = binding.on_behalf.as_ref().and_then(OnBehalf::asked);
        if let Some(asked) = asked {
            self.begin(id, Origin::Refresh, asked, link);
        }
    }

    /// The peer holds the registration now, and did not before.
    pub(super) fn trunk_registered(
        &mut self,
        id: BindingId,
        registered: Registered,
        link: &mut Link,
    ) {
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        link.event(Event::TrunkRegistered {
            tenant: link.config.tenant(binding.tenant).name.clone(),
            expires: registered.until.saturating_duration_since(now),
        });
        binding.state = State::Registered(registered);
        self.reschedule(id);
    }

    /// A REGISTER came to nothing: the next follows after a while. A registration that
    /// stands stays for its time.
    pub(super) fn trunk_refused(&mut self, id: BindingId, status: Option<u16>, link: &mut Link) {
        let now = link.instant();
        let Some(on_behalf) = self.table.get_mut(&id).and_then(|it| it.on_behalf.as_mut()) else {
            return;
        };
        let pause = pause_after(on_behalf.note_refusal());
        let pause = pause / 2 + pause * link.jitter(0..100) / 200;
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        link.counters.trunk_failures += 1;
        link.event(Event::TrunkFailed {
            tenant: link.config.tenant(binding.tenant).name.clone(),
            status,
            pause,
        });
        match (&mut binding.state, &mut binding.on_behalf) {
            (State::Registered(_) | State::Grace { .. }, Some(on_behalf)) => {
                on_behalf.refresh_at = Some(now + pause);
            }
            (state, _) => *state = State::New { until: now + pause },
        }
        self.reschedule(id);
    }

    /// The peer does not hold the registration any more: it begins anew.
    pub(super) fn trunk_lost(&mut self, id: BindingId, link: &mut Link) {
        let until = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        link.event(Event::TrunkLost {
            tenant: link.config.tenant(binding.tenant).name.clone(),
        });
        binding.state = State::New { until };
        binding.core_until = None;
        self.reschedule(id);
    }

    /// How many there are.
    pub(crate) fn trunks(&self) -> Trunks {
        let mut trunks = Trunks::default();
        for binding in self.trunk_ids.iter().filter_map(|id| self.table.get(id)) {
            match binding.registered() {
                Some(_) => trunks.registered += 1,
                None => trunks.unregistered += 1,
            }
        }
        trunks
    }
}

impl Binding {
    /// Whether it is a trunk's own, and no user's.
    pub(super) fn is_trunk(&self) -> bool {
        self.key.instance == Instance::Trunk
    }
}

/// RFC 5626 §4.5: twice as long after each failure, up to half an hour.
fn pause_after(refusals: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << refusals.saturating_sub(1).min(10));
    doubled.min(LONGEST_PAUSE)
}

const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);

/// Nobody's registration ends by this: ten years.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_refuses_is_asked_ever_more_slowly() {
        let pauses: Vec<_> = (1..=9).map(|it| pause_after(it).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
