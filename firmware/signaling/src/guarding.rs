//! What users and strangers may do, asked where they do it.

use crate::Signaling;
use crate::config::TenantId;
use crate::event::{Breach, Event, Origin};
use crate::guard::{Shed, is_for_help};
use crate::id::FlowId;
use crate::identity::PublicIdentity;
use crate::link::Link;
use crate::message::{HeaderName, Method, Request, Response, StatusCode, Uri};
use crate::registration::Binding;
use crate::rejection::Rejection;
use crate::transaction::Peer;

impl Signaling {
    /// Whether a browser's request is looked at; if not, it is answered.
    pub(crate) fn admit_request(&mut self, flow: FlowId, request: &Request) -> bool {
        let Some(source) = self.flows.source(flow) else {
            return false;
        };
        let user = self.registrations.of_flow(flow).next();
        let user = user.map(Binding::identity).cloned();
        let now = self.link.instant();
        let link = &mut self.link;
        let config = &link.config.guard;
        let load = &mut link.guard.load;
        let Err(shed) = load.admit(request, source, user.as_ref(), config, now) else {
            return true;
        };
        match shed {
            Shed::TooMany => {
                link.counters.requests_too_many += 1;
                link.event(Event::Security {
                    origin: Origin::Flow(flow),
                    breach: Breach::Flood,
                });
            }
            Shed::Pressure => link.counters.requests_shed += 1,
        }
        if request.method != Method::Ack {
            let (tag, seconds) = (link.token(), link.jitter(RETRY_AFTER));
            let answer = Response::to_request(request, StatusCode::SERVICE_UNAVAILABLE)
                .with_to_tag(&tag)
                .with(HeaderName::RetryAfter, seconds);
            link.deliver(&Peer::Flow(flow), answer.to_bytes());
        }
        self.count_failure(flow);
        false
    }
}

impl Link {
    /// Whether a user may call a number: dialled, or named by a transfer or a redirection.
    pub(crate) fn may_call(&self, user: &Binding, target: &Uri) -> Result<(), Rejection> {
        if is_for_help(target) {
            return Ok(()); // Whatever a rule says.
        }
        let tenant = self.config.tenant(user.tenant());
        let trunk = tenant.profile.trunk();
        let of_trunk = trunk.and_then(|trunk| Some(&trunk.registration.as_ref()?.address));
        let mut own = user.identities().iter().chain(of_trunk);
        let number = own.find_map(PublicIdentity::number);
        let number = number.as_ref().map(|number| *number.reveal());
        let verdict = tenant.dial_plan.check(target, number);
        verdict.map_err(Rejection::Barred)
    }

    /// Whether a user may begin a call after those that he began lately.
    pub(crate) fn begin_call(&mut self, who: &PublicIdentity) -> Result<(), Rejection> {
        let (per_minute, now) = (self.config.guard.calls_per_minute, self.instant());
        let begun = self.guard.begin_call(who, per_minute, now);
        begun.map_err(Rejection::too_fast)
    }

    /// How long a browser is told that its registration is good, in seconds. Those who
    /// registered all at once would refresh all at once for ever.
    pub(crate) fn spread_refresh(&mut self, tenant: TenantId, granted: u32) -> u32 {
        let now = self.instant();
        if granted < SHORTEST_SPREAD || !self.guard.is_storm(tenant, now) {
            return granted;
        }
        granted - self.jitter(0..granted / 4)
    }
}

/// When to come back after a refusal.
const RETRY_AFTER: std::ops::Range<u32> = 5..30;

/// Registrations that are shorter are refreshed often enough as it is.
const SHORTEST_SPREAD: u32 = 40;
