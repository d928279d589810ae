//! A registration as it outlives the control process. The credentials that the core
//! accepted last are not part of it: a browser that does not come back after a restart is
//! forgotten by the core in its own time. Who proved himself to the box is part of it, but
//! not how: the box signs him off itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use iq::UnixTime;
use serde::{Deserialize, Serialize};

use super::Registrations;
use super::binding::{Binding, BindingId, BindingKey, Instance, Kind, Registered, State};
use super::challenge::Challenges;
use super::gruu::Gruu;
use super::mw::Integrity;
use super::on_behalf::OnBehalf;
use crate::auth::ProvenUser;
use crate::config::{HostName, Login, Profile, TenantId};
use crate::flow_token::FlowName;
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::kept::Clock;
use crate::link::Link;
use crate::message::{NameAddr, Uri};
use crate::output::{EndpointKind, Output};
use crate::reach::Hop;

/// What is kept of a registration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptRegistration {
    id: u64,
    identity: PublicIdentity,
    instance: Instance,
    /// What the IMS sees of its port, which must stay the same.
    local: SocketAddr,
    next_hop: Option<Hop>,
    /// What his flow token names, if he shares the port.
    #[serde(default)]
    flow_name: Option<FlowName>,
    token: String,
    call_id: String,
    from_tag: String,
    cseq: u32,
    was_challenged: bool,
    min_expires: Option<u32>,
    /// None while the wall clock is not set.
    core_until: Option<UnixTime>,
    /// None once it is over for the browser and only its port lingers.
    granted: Option<KeptGrant>,
}

/// What the core granted.
#[derive(Debug, Serialize, Deserialize)]
struct KeptGrant {
    /// None while the wall clock is not set.
    until: Option<UnixTime>,
    service_route: Vec<NameAddr>,
    identities: Vec<PublicIdentity>,
    access_contact: Uri,
    integrity: Integrity,
    #[serde(default)]
    gruu: Option<Gruu>,
    /// Who proved himself to the box.
    #[serde(default)]
    proven: Option<KeptUser>,
}

/// A user who proved himself to the box.
#[derive(Debug, Serialize, Deserialize)]
struct KeptUser {
    impi: PrivateIdentity,
    impus: Vec<PublicIdentity>,
    /// None while the wall clock is not set.
    until: Option<UnixTime>,
}

impl KeptGrant {
    fn registered(self, until: Instant, proven: Option<ProvenUser>) -> Registered {
        Registered {
            until,
            service_route: self.service_route,
            identities: self.identities,
            access_contact: self.access_contact,
            integrity: self.integrity,
            proven,
            gruu: self.gruu,
            credentials: None,
        }
    }
}

impl KeptUser {
    /// A time that nobody knows is over: his next token says it anew.
    fn user(&self, clock: &Clock, now: Instant) -> ProvenUser {
        let until = self.until.and_then(|at| clock.instant(at));
        ProvenUser {
            impi: self.impi.clone(),
            impus: self.impus.clone(),
            until: until.unwrap_or(now),
        }
    }
}

impl Binding {
    /// What is to be kept of it; none while the core knows nothing of it.
    pub(crate) fn record(&self, clock: &Clock) -> Option<KeptRegistration> {
        if self.is_trunk() {
            return None; // It begins anew at each start.
        }
        // Its associations end with the process, as their keys are kept nowhere: its browser
        // registers anew.
        if self.is_secured() {
            return None;
        }
        let granted = self.registered().map(|registered| KeptGrant {
            until: clock.wall(registered.until),
            service_route: registered.service_route.clone(),
            identities: registered.identities.clone(),
            access_contact: registered.access_contact.clone(),
            integrity: registered.integrity,
            gruu: registered.gruu.clone(),
            proven: self.proven_user().map(|user| KeptUser {
                impi: user.impi.clone(),
                impus: user.impus.clone(),
                until: clock.wall(user.until),
            }),
        });
        let core_until = match (&granted, self.core_until) {
            (_, Some(until)) => clock.wall(until),
            (Some(granted), None) => granted.until,
            (None, None) => return None,
        };
        Some(KeptRegistration {
            id: self.id.0,
            identity: self.key.identity.clone(),
            instance: self.key.instance.clone(),
            local: self.local?,
            next_hop: self.next_hop,
            flow_name: self.flow_name,
            token: self.token.clone(),
            call_id: self.call_id.clone(),
            from_tag: self.from_tag.clone(),
            cseq: self.cseq,
            was_challenged: self.was_challenged,
            min_expires: self.min_expires,
            core_until,
            granted,
        })
    }
}

impl Registrations {
    /// The registrations that may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<BindingId> {
        std::mem::take(&mut self.touched)
    }

    /// Has every registration looked at again.
    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.table.keys());
    }

    /// Takes up a registration of an earlier life: its port is opened again, and its
    /// browser has as long to come back as after a lost connection. No if it is over.
    pub(crate) fn restore(&mut self, kept: KeptRegistration, link: &mut Link) -> bool {
        let now = link.instant();
        // A tenant may have left the box meanwhile.
        let domain = kept.identity.domain().and_then(HostName::parse);
        let Some(id_of_tenant) = domain.and_then(|it| link.config.tenant_of(&it)) else {
            return false;
        };
        let tenant = link.config.tenant(id_of_tenant);
        if tenant.security.ipsec().is_some() {
            return false; // It was made without.
        }
        let longest = now + tenant.registration.expires;
        let later = |at: Option<UnixTime>| match at {
            // Nobody knows how long the box was away: the core may hold it still.
            None => Some(longest),
            Some(at) => link.clock.instant(at).filter(|at| *at > now),
        };
        let core_until = later(kept.core_until);
        let proven = kept.granted.as_ref().and_then(|it| it.proven.as_ref());
        let is_proven = proven.is_some();
        let user = proven.map(|it| it.user(&link.clock, now));
        // The peer of a trunk knows no users: the box itself lets them in.
        let wants_proof =
            matches!(tenant.login, Login::Token(_)) || tenant.profile.trunk().is_some();
        if wants_proof != is_proven && kept.granted.is_some() {
            return false; // The tenant's users log in another way now.
        }
        let is_p_cscf = tenant.profile.mw().is_some();
        let on_behalf = user.clone().filter(|_| tenant.profile == Profile::Gm);
        let on_behalf = on_behalf.map(|user| OnBehalf::new(user, now));
        let granted = kept.granted.and_then(|it| Some((later(it.until)?, it)));
        let state = match (granted, core_until) {
            (Some((until, granted)), _) => State::Grace {
                registered: granted.registered(until, user),
                until: now + tenant.registration.grace,
            },
            (None, Some(until)) => State::Lingering { until },
            (None, None) => return false,
        };
        let key = BindingKey {
            identity: kept.identity,
            instance: kept.instance,
        };
        let id = BindingId(kept.id);
        let shared = self.shared.of_tenant(id_of_tenant);
        if shared.is_some() != kept.flow_name.is_some() {
            return false; // The tenant is reached another way now.
        }
        let is_new = !self.by_key.contains_key(&key) && !self.table.contains_key(&id);
        let TenantId(place) = id_of_tenant;
        if !is_new || self.held[place] >= tenant.registration.count {
            return false;
        }
        self.held[place] += 1;
        let local = shared.and_then(|shared| shared.local);
        let endpoint = shared.map_or_else(|| link.endpoint(), |shared| shared.endpoint);
        let binding = Binding {
            id,
            tenant: id_of_tenant,
            key: key.clone(),
            endpoint,
            flow_name: kept.flow_name,
            local,
            next_hop: kept.next_hop,
            token: kept.token,
            flow: None,
            touched_by: BTreeSet::new(),
            call_id: kept.call_id,
            from_tag: kept.from_tag,
            cseq: kept.cseq.saturating_add(CSEQ_GAP),
            attempt: None,
            challenges: Challenges::default(),
            was_challenged: kept.was_challenged,
            on_behalf,
            security: None,
            state,
            counted: Kind::Unregistered,
            winding_up: None,
            core_until,
            min_expires: kept.min_expires,
        };
        if let (true, Some(registered)) = (is_p_cscf, binding.registered())
            && let Some(next) = registered.service_route.first()
        {
            link.name_core(id_of_tenant, &next.uri);
        }
        self.made = self.made.max(kept.id);
        self.table.insert(id, binding);
        self.by_key.insert(key, id);
        self.reschedule(id);
        match kept.flow_name {
            Some(name) => {
                self.by_flow_name.insert(name, id);
                self.watch_again(id, link);
            }
            None => {
                self.by_endpoint.insert(endpoint, id);
                let port = kept.local.port();
                link.push(Output::Open {
                    endpoint,
                    tenant: id_of_tenant,
                    kind: EndpointKind::Again { port },
                });
            }
        }
        true
    }
}

/// Requests may have left after the record was written: the next number is above theirs.
/// RFC 3261 §12.2.2 lets numbers be left out.
const CSEQ_GAP: u32 = 16;
