//! New calls and requests inside calls: whose they are, and how the other side is called
//! (TS 24.229 §5.1.3, §5.1.4).

use std::net::IpAddr;
use std::time::Duration;

use iq::Leg;

use crate::Signaling;
use crate::config::{CallerHeader, ForeignIdentity, HostName, MwConfig, Profile, TenantId};
use crate::emergency::Sos;
use crate::event::{Breach, Event, Origin};
use crate::id::{EndpointId, FlowId};
use crate::identity::{PublicIdentity, is_anonymous};
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, SipUri, Uri};
use crate::reach::{Way, Ways};
use crate::registration::{Binding, BindingId};
use crate::rejection::Rejection;
use crate::session::Target;
use crate::sessions::NewCall;
use crate::shutdown::Phase;
use crate::transaction::{Peer, ServerTransactionId};
use crate::visited::Visited;

impl Signaling {
    /// A request inside a call, from either side. It must come from the call's own user:
    /// a tag that was guessed or overheard is worth nothing on another connection.
    pub(crate) fn take_in_dialog(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        tag: &str,
        mut request: Request,
    ) -> Result<(), Rejection> {
        let leg = leg_of(peer);
        if let Peer::Ims { endpoint, .. } = *peer {
            let (registrations, link) = (&mut self.registrations, &mut self.link);
            let taken = registrations.take_reg_notify(endpoint, tag, transaction, &request, link);
            if let Some(taken) = taken {
                return taken;
            }
        }
        let Some((session, binding)) = self.sessions.find(leg, tag) else {
            return self.take_in_subscription(transaction, peer, leg, tag, request);
        };
        if !self.is_own(peer, self.registrations.get(binding)) {
            self.report_foreign(peer);
            return Err(Rejection::NoDialog);
        }
        let may_refer = leg == Leg::Access || self.services_of(binding)?.refer_from_ims;
        if request.method == Method::Refer && may_refer {
            self.translate_referral(peer, binding, &mut request)?;
        }
        self.sessions.handle_request(
            session,
            leg,
            transaction,
            request,
            &mut self.link,
            &self.registrations,
        );
        Ok(())
    }

    /// An ACK to a 2xx.
    pub(crate) fn take_ack(&mut self, peer: &Peer, request: &Request) {
        let leg = leg_of(peer);
        let to = request.headers.to().ok();
        let found = to.and_then(|to| self.sessions.find(leg, to.tag()?));
        match found {
            Some((session, binding)) if self.is_own(peer, self.registrations.get(binding)) => {
                let (link, registrations) = (&mut self.link, &self.registrations);
                self.sessions
                    .handle_ack(session, leg, request, link, registrations);
            }
            Some(_) => self.report_foreign(peer),
            None => self.link.counters.stray_acks += 1,
        }
    }

    /// Ends the registrations of users whose token is over and who have no more calls.
    pub(crate) fn wind_up(&mut self) {
        let mut is_settled = true;
        for id in self.registrations.winding_up() {
            if !self.sessions.has_call(id) {
                self.registrations.wound_up(id, &mut self.link);
                is_settled = false;
            }
        }
        if !is_settled {
            self.settle();
        }
    }

    /// A browser calls.
    pub(crate) fn take_access_invite(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        invite: Request,
        emergency: Option<Sos>,
    ) -> Result<(), Rejection> {
        let peer = Peer::Flow(flow);
        if let Some(taken) = self.take_replacement(&peer, Leg::Access, transaction, &invite) {
            return taken;
        }
        let icid = self.link.token();
        let from = invite.headers.from()?;
        let wish = wish_of(&invite.headers, &from);
        let binding = self.speaker(flow, &wish).ok_or(Rejection::Unregistered)?;
        if binding.is_winding_up() && emergency.is_none() {
            return Err(Rejection::Unregistered);
        }
        let mut callee = self.ims_target(binding, &invite, from, &wish)?;
        let asserted = binding.asserted(binding.served_identity(Some(&wish)));
        let (mw, at) = (self.mw_of(binding), binding.address());
        let visited = mw
            .zip(at)
            .map(|(mw, at)| Visited::calling(&mw, at, &icid, asserted));
        let (tenant, identity) = (binding.tenant(), binding.identity().clone());
        let binding = binding.id();
        match emergency {
            // No limit stands in its way.
            Some(sos) => sos.redirect(&mut callee, visited.is_some()),
            None => {
                self.admit(binding)?;
                let user = self.registrations.get(binding);
                let user = user.ok_or(Rejection::Unregistered)?;
                self.link.may_call(user, &callee.uri)?;
                self.link.begin_call(&identity)?;
                if let Some(time) = self.rest(tenant, &callee) {
                    return Err(Rejection::busy(time));
                }
            }
        }
        let call = NewCall {
            tenant,
            visited,
            binding,
            hop: None,
            caller: Leg::Access,
            transaction,
            invite,
            callee,
            others: Vec::new(),
        };
        self.sessions
            .start(call, &mut self.link, &self.registrations);
        Ok(())
    }

    /// For how long every server that a call could go to wants to be left alone.
    fn rest(&mut self, tenant: TenantId, callee: &Target) -> Option<Duration> {
        if self.link.config.tenant(tenant).profile.mw().is_some() {
            let route = callee.routes.first();
            let next = route.map_or_else(|| callee.uri.clone(), |route| route.uri.clone());
            match self.link.way_by_route(tenant, next) {
                Way::Resting(_, time) => return Some(time),
                Way::To(_) | Way::Wait | Way::Nowhere => return None,
                Way::Unnamed => {} // It goes to the next hop.
            }
        }
        match self.link.ways(tenant) {
            Ways::Resting(time) => Some(time),
            Ways::Known(_) | Ways::Wait | Ways::Nowhere => None,
        }
    }

    /// The IMS calls.
    pub(crate) fn take_ims_invite(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        endpoint: EndpointId,
        invite: Request,
    ) -> Result<(), Rejection> {
        if let Some(taken) = self.take_replacement(peer, Leg::Ims, transaction, &invite) {
            return taken;
        }
        if invite.headers.has(&HeaderName::Replaces) {
            return Err(Rejection::NoDialog); // RFC 3891 §3.
        }
        let icid = self.link.token();
        let binding = self
            .registrations
            .target_of(endpoint, &invite, &self.link)?;
        let target = binding
            .access_target()
            .ok_or(Rejection::FlowFailed)?
            .clone();
        binding.flow().ok_or(Rejection::FlowFailed)?;
        let called = called_identity(binding, &invite).clone();
        let callee = self.access_target(binding, target, &called, &invite)?;
        let mut others = Vec::new();
        for other in self.registrations.beside(binding, &self.link.config) {
            if let Some(target) = other.access_target() {
                let callee = self.access_target(other, target.clone(), &called, &invite)?;
                others.push((other.id(), callee));
            }
        }
        let (mw, at) = (self.mw_of(binding), binding.address());
        let asserted = binding.asserted(&called);
        let visited = mw
            .zip(at)
            .map(|(mw, at)| Visited::called(&mw, at, &icid, &invite.headers, asserted));
        let (tenant, binding) = (binding.tenant(), binding.id());
        self.admit(binding)?;
        let call = NewCall {
            tenant,
            visited,
            binding,
            hop: hop_of(peer).and_then(|from| self.link.reach.hop_at(tenant, from)),
            caller: Leg::Ims,
            transaction,
            invite,
            callee,
            others,
        };
        self.sessions
            .start(call, &mut self.link, &self.registrations);
        Ok(())
    }

    /// Whose request it is that a browser makes outside a dialog, and how the IMS is told.
    pub(crate) fn outgoing(
        &self,
        flow: FlowId,
        request: &Request,
    ) -> Result<(BindingId, Target), Rejection> {
        let from = request.headers.from()?;
        let wish = wish_of(&request.headers, &from);
        let speaker = self.speaker(flow, &wish);
        let binding = speaker.filter(|it| !it.is_winding_up());
        let binding = binding.ok_or(Rejection::Unregistered)?;
        let target = self.ims_target(binding, request, from, &wish)?;
        Ok((binding.id(), target))
    }

    /// Whom the IMS means by a request outside a dialog, and how the browser is told.
    pub(crate) fn incoming(
        &self,
        peer: &Peer,
        request: &Request,
    ) -> Result<(BindingId, Target), Rejection> {
        let Peer::Ims { endpoint, .. } = *peer else {
            return Err(Rejection::NotHere);
        };
        let binding = self
            .registrations
            .target_of(endpoint, request, &self.link)?;
        let target = binding.access_target().cloned();
        let target = target.ok_or(Rejection::FlowFailed)?;
        binding.flow().ok_or(Rejection::FlowFailed)?;
        let called = called_identity(binding, request).clone();
        let target = self.access_target(binding, target, &called, request)?;
        Ok((binding.id(), target))
    }

    /// What the box says in the core as a user's P-CSCF beside such a request, if it is that.
    pub(crate) fn visited(
        &mut self,
        binding: BindingId,
        from: Leg,
        request: &Request,
    ) -> Option<Visited> {
        let icid = self.link.token();
        let binding = self.registrations.get(binding)?;
        let (mw, at) = (self.mw_of(binding)?, binding.address()?);
        Some(match from {
            Leg::Access => {
                let sender = request.headers.from().ok();
                let wish = sender.map(|from| wish_of(&request.headers, &from));
                let asserted = binding.asserted(binding.served_identity(wish.as_ref()));
                Visited::calling(&mw, at, &icid, asserted)
            }
            Leg::Ims => {
                let asserted = binding.asserted(called_identity(binding, request));
                Visited::called(&mw, at, &icid, &request.headers, asserted)
            }
        })
    }

    /// Whether there is room for one more call.
    fn admit(&self, binding: BindingId) -> Result<(), Rejection> {
        let calls = &self.link.config.calls;
        if self.phase != Phase::Serving {
            Err(Rejection::Draining)
        } else if self.sessions.len() >= calls.count {
            Err(Rejection::NoCapacity)
        } else if self.calls_of_user(binding) >= calls.per_registration {
            Err(Rejection::TooManyCalls)
        } else {
            Ok(())
        }
    }

    /// What the box is told as this user's P-CSCF, if it is that.
    fn mw_of(&self, binding: &Binding) -> Option<MwConfig> {
        let tenant = self.link.config.tenant(binding.tenant());
        tenant.profile.mw().cloned()
    }

    /// How many calls a user has, on all his devices together.
    fn calls_of_user(&self, binding: crate::registration::BindingId) -> usize {
        let devices = self.registrations.of_same_user(binding);
        self.sessions.count_of(devices)
    }

    /// Which registration of a connection a call is made by: the one whose identity is
    /// wished for, else the first. The wish decides nothing but that.
    fn speaker(&self, flow: FlowId, wish: &Uri) -> Option<&Binding> {
        let owns = |binding: &&Binding| binding.owns(wish);
        let mut bindings = self.registrations.of_flow(flow);
        self.registrations
            .of_flow(flow)
            .find(owns)
            .or_else(|| bindings.next())
    }

    /// How the IMS is called. The caller is one of his own identities, whatever From and
    /// P-Preferred-Identity say; a Route of the browser counts for nothing. Who wants to be
    /// anonymous is so in From alone, RFC 3323 §4.1.1.3: the core knows him.
    fn ims_target(
        &self,
        binding: &Binding,
        invite: &Request,
        from: NameAddr,
        wish: &Uri,
    ) -> Result<Target, Rejection> {
        let identity = binding.served_identity(Some(wish));
        let profile = &self.link.config.tenant(binding.tenant()).profile;
        let own = || Uri::parse(identity.reveal()).expect("an identity is a URI");
        let identity = match profile {
            Profile::Gm | Profile::Mw(_) => own(),
            Profile::Trunk(trunk) => trunk.caller_uri(binding.identity()),
        };
        let uri = self.outward(binding.tenant(), dialled(&invite.uri)?);
        let mut headers = Headers::new();
        self.pass_replaces(binding.tenant(), invite, &mut headers)?;
        let is_refused = profile.foreign_identity() == ForeignIdentity::Refuse;
        if is_refused && !is_anonymous(wish) && !binding.owns(wish) {
            return Err(Rejection::NotYours);
        }
        let preferred = NameAddr::new(identity.clone());
        let name = match profile {
            Profile::Gm => Some(HeaderName::PPreferredIdentity),
            // The P-CSCF's words come with all that it says.
            Profile::Mw(_) => None,
            Profile::Trunk(trunk) => {
                let is_asserted = trunk.caller == CallerHeader::Asserted;
                is_asserted.then_some(HeaderName::PAssertedIdentity)
            }
        };
        if let Some(name) = name {
            headers.push(name, preferred.to_string());
        }
        let from = match NameAddr::parse(ANONYMOUS).filter(|_| is_anonymous(&from.uri)) {
            Some(anonymous) => anonymous,
            None => NameAddr {
                display: from.display,
                ..preferred
            },
        };
        Ok(Target {
            from,
            to: NameAddr::new(uri.clone()),
            uri,
            routes: binding.routes(&self.link.config),
            headers,
        })
    }

    /// How the other end calls whom a browser called. The peer of a trunk knows numbers, and
    /// a domain of its own (RFC 3261 §19.1.6); its users' domain is this box's affair.
    fn outward(&self, tenant: TenantId, dialled: Uri) -> Uri {
        let tenant = self.link.config.tenant(tenant);
        let Some(trunk) = tenant.profile.trunk() else {
            return dialled;
        };
        match &dialled {
            Uri::Tel(tel) if tel.is_global() => trunk.number_uri(&tel.digits()),
            Uri::Sip(sip) => {
                let domain = HostName::parse(sip.host_text());
                let is_ours = domain.is_some_and(|domain| tenant.domains.contains(&domain));
                let host = crate::message::Host::parse(&trunk.domain.to_string());
                match host.filter(|_| is_ours) {
                    Some(host) => sip.with_host(&host, None).into(),
                    None => dialled,
                }
            }
            Uri::Tel(_) | Uri::Urn(_) | Uri::Other(_) => dialled,
        }
    }

    /// A dialog that is not here may be one that the core referred the browser to.
    fn pass_replaces(
        &self,
        tenant: TenantId,
        invite: &Request,
        headers: &mut Headers,
    ) -> Result<(), Rejection> {
        let Some(replaces) = invite.headers.replaces()? else {
            return Ok(());
        };
        if !self.link.config.tenant(tenant).services.refer_from_ims {
            return Err(Rejection::NoDialog);
        }
        headers.push(HeaderName::Replaces, replaces.to_string());
        headers.push(HeaderName::Require, "replaces");
        Ok(())
    }

    /// How a browser is called: at the Contact it registered, in the name of who was
    /// dialled, and without an address of the core.
    fn access_target(
        &self,
        binding: &Binding,
        target: Uri,
        called: &PublicIdentity,
        invite: &Request,
    ) -> Result<Target, Rejection> {
        let from = invite.headers.from()?;
        let from = NameAddr {
            display: from.display,
            ..NameAddr::new(self.shown(&from.uri, binding))
        };
        let own = Uri::parse(called.reveal()).expect("an identity is a URI");
        Ok(Target {
            uri: target,
            from,
            to: NameAddr::new(own),
            routes: Vec::new(),
            headers: Headers::new(),
        })
    }

    /// A caller's URI as a browser may see it: an address instead of a domain is a host of
    /// the core, and a user's own domain stands in for it.
    pub(crate) fn shown(&self, uri: &Uri, binding: &Binding) -> Uri {
        let Some(sip) = uri.as_sip() else {
            return uri.clone();
        };
        let bare = bare(sip);
        let is_address = bare.host().address().is_some();
        let domain = binding
            .identity()
            .domain()
            .and_then(crate::message::Host::parse);
        match domain.filter(|_| is_address) {
            Some(domain) => bare.with_host(&domain, None).into(),
            None => bare.into(),
        }
    }

    pub(crate) fn is_own(&self, peer: &Peer, binding: Option<&Binding>) -> bool {
        match *peer {
            Peer::Flow(flow) => binding.and_then(Binding::flow) == Some(flow),
            Peer::Ims { endpoint, .. } => binding.map(Binding::endpoint) == Some(endpoint),
        }
    }

    pub(crate) fn report_foreign(&mut self, peer: &Peer) {
        let origin = match *peer {
            Peer::Flow(flow) => Origin::Flow(flow),
            Peer::Ims { endpoint, .. } => Origin::Endpoint(endpoint),
        };
        let breach = Breach::ForeignDialog;
        self.link.event(Event::Security { origin, breach });
    }
}

/// Which of a user's identities is called: the core says it in P-Called-Party-ID, because the
/// Request-URI is a Contact by then (RFC 7315 §4.2). It must be one of his own.
fn called_identity<'a>(binding: &'a Binding, invite: &Request) -> &'a PublicIdentity {
    let said = invite.headers.p_called_party_id().ok().flatten();
    let said = said.and_then(|said| PublicIdentity::of_uri(&said.0.uri));
    let mut own = binding.identities().iter();
    own.find(|own| Some(*own) == said.as_ref())
        .unwrap_or(binding.identity())
}

const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// The tag in To of a request inside a call; none for what begins something.
pub(crate) fn dialog_tag(request: &Request) -> Option<String> {
    if request.method == Method::Register {
        return None;
    }
    let to = request.headers.to().ok()?;
    to.tag().map(str::to_owned)
}

/// The host of the core that a request comes from.
fn hop_of(peer: &Peer) -> Option<IpAddr> {
    match peer {
        Peer::Ims { remote, .. } => Some(remote.ip()),
        Peer::Flow(_) => None,
    }
}

fn leg_of(peer: &Peer) -> Leg {
    match peer {
        Peer::Flow(_) => Leg::Access,
        Peer::Ims { .. } => Leg::Ims,
    }
}

/// Who a browser wants to be, RFC 3325 §9.2: it may say so apart from From.
fn wish_of(headers: &Headers, from: &NameAddr) -> Uri {
    let preferred = headers.p_preferred_identities().unwrap_or_default();
    let first = preferred.into_iter().next();
    first.map_or_else(|| from.uri.clone(), |preferred| preferred.uri)
}

/// What a browser dialled, without what would steer the request (`maddr`, `transport`, a
/// port) or ride on it (headers).
pub(crate) fn dialled(uri: &Uri) -> Result<Uri, Rejection> {
    match uri {
        Uri::Sip(sip) => Ok(bare(sip).into()),
        Uri::Tel(_) | Uri::Urn(_) => Ok(uri.clone()),
        Uri::Other(_) => Err(Rejection::UnsupportedScheme),
    }
}

/// A SIP URI reduced to who it names.
fn bare(sip: &SipUri) -> SipUri {
    let bare = sip.without_headers().without_params().with_secure(false);
    let bare = bare.with_host(&sip.host(), None);
    let kept = ["user", "phone-context"];
    kept.iter().fold(bare, |uri, name| match sip.param(name) {
        Some(value) if !value.is_empty() => uri.with_param(name, value),
        _ => uri,
    })
}
