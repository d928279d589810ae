//! Users whom the box itself lets in, on a trunk: the peer at its other end knows nothing of
//! them. The box is the registrar (RFC 3261 §10.3), asks for their password (RFC 7616,
//! RFC 3261 §22) and has the answer checked by whoever keeps the passwords.
//!
//! A nonce is good on the connection that it was given to alone, so what is overheard is
//! worth nothing elsewhere; and an unknown user is answered as a known one is whose
//! password was wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use iq::Private;

use crate::auth::digest::{Answer, Question, Verdict as Proof};
use crate::auth::{AuthenticationFailure, AuthenticationId, ProvenUser};
use crate::config::{Config, HostName, Tenant, TenantId};
use crate::event::{Breach, DeregistrationCause, Event, Origin as EventOrigin};
use crate::guard::Verdict;
use crate::id::FlowId;
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::kept::{RecordKey, RecordKind};
use crate::link::Link;
use crate::message::headers::Digest;
use crate::message::{
    HeaderName, Headers, Method, NameAddr, Request, Response, SipUri, StatusCode, Uri,
};
use crate::output::Output;
use crate::reach::Hop;
use crate::rejection::Rejection;

use super::asked::{Asked, Grant};
use super::attempt::{Attempt, Origin};
use super::binding::{Binding, BindingId, BindingKey, Instance, Registered};
use super::mw::Integrity;
use super::on_behalf::seconds;
use super::{Change, Registrations};

/// What was asked of connections, and what they answered.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    /// The question that each connection was asked last.
    nonces: BTreeMap<FlowId, Nonce>,
    checking: BTreeMap<AuthenticationId, Checking>,
}

#[derive(Debug)]
struct Nonce {
    value: String,
    until: Instant,
    /// How many answers it had, RFC 7616 §3.4: none comes twice.
    count: u32,
}

/// A REGISTER whose credentials are being looked at.
#[derive(Debug)]
struct Checking {
    origin: Origin,
    asked: Asked,
    user: PrivateIdentity,
    response: Private<String>,
}

/// What a browser answered.
struct Reply {
    nonce: String,
    count: u32,
    client_nonce: String,
    algorithm: &'static str,
    uri: String,
    response: String,
}

impl Reply {
    /// Reads credentials for this realm; none if they lack what a check needs.
    fn read(request: &Request, realm: &HostName) -> Option<Self> {
        let mut found = request.headers.authorization().map(|it| it.0);
        let digest = found.find(|digest| {
            let said = digest.get("realm").and_then(|it| HostName::parse(&it));
            digest.is_digest() && said.as_ref() == Some(realm)
        })?;
        let is_plain = |text: &String| (1..=LONGEST_VALUE).contains(&text.len());
        let said = digest.get("algorithm").unwrap_or_else(|| "MD5".to_owned());
        let mut known = ALGORITHMS.iter();
        let uri = digest.get("uri").filter(is_plain)?;
        let is_same = Uri::parse(&uri).is_some_and(|uri| uri.is_equivalent(&request.uri));
        let is_auth = digest.get("qop").as_deref() == Some("auth");
        (is_same && is_auth).then_some(())?;
        Some(Reply {
            nonce: digest.get("nonce").filter(is_plain)?,
            count: u32::from_str_radix(digest.raw("nc")?, 16).ok()?,
            client_nonce: digest.get("cnonce").filter(is_plain)?,
            algorithm: known.find(|known| known.eq_ignore_ascii_case(&said))?,
            uri,
            response: digest.get("response").filter(is_plain)?,
        })
    }
}

impl Doorkeeper {
    /// Whether this connection was asked that, and has not answered so far yet.
    fn take(&mut self, flow: FlowId, reply: &Reply, now: Instant) -> bool {
        let Some(nonce) = self.nonces.get_mut(&flow) else {
            return false;
        };
        let is_good = nonce.value == reply.nonce && now < nonce.until && reply.count > nonce.count;
        if is_good {
            nonce.count = reply.count;
        }
        is_good
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, flow: FlowId) {
        self.nonces.remove(&flow);
        let is_its = |it: &Checking| it.origin.flow() == Some(flow);
        self.checking.retain(|_, it| !is_its(it));
    }
}

impl Registrations {
    /// A REGISTER of somebody who has not proved himself.
    pub(super) fn ask_password(
        &mut self,
        (flow, source): (FlowId, Option<IpAddr>),
        origin: Origin,
        asked: Asked,
        link: &mut Link,
    ) {
        let Origin::Browser { request, .. } = &origin else {
            return;
        };
        let Some(reply) = Reply::read(request, asked.domain()) else {
            return self.challenge(flow, &origin, &asked, false, link);
        };
        let identity = asked.key.identity.clone();
        let now = link.instant();
        let verdict = source.map(|source| link.guard.attempts.admit(&identity, source, now));
        if let Some(Verdict::Wait(time)) = verdict {
            link.counters.log_ins_locked += 1;
            return self.reject(&origin, Some(&identity), Rejection::too_fast(time), link);
        }
        if !self.door.take(flow, &reply, now) {
            return self.challenge(flow, &origin, &asked, true, link);
        }
        let Some(user) = PrivateIdentity::implied_by(&identity) else {
            return self.challenge(flow, &origin, &asked, false, link);
        };
        let id = link.authentication();
        let question = Question {
            method: Method::Register,
            uri: Private::new(reply.uri),
            challenges: vec![question(asked.domain(), &reply.nonce, reply.algorithm)],
            count: reply.count,
            client_nonce: reply.client_nonce,
        };
        link.push(Output::Authenticate {
            id,
            user: user.clone(),
            question: Box::new(question),
        });
        let checking = Checking {
            origin,
            asked,
            user,
            response: Private::new(reply.response),
        };
        self.door.checking.insert(id, checking);
    }

    /// Learns what the right answer is. `false` if it was not asked for here.
    pub(super) fn handle_checked(
        &mut self,
        id: AuthenticationId,
        answer: &Result<Box<Answer>, AuthenticationFailure>,
        link: &mut Link,
    ) -> bool {
        let Some(checking) = self.door.checking.remove(&id) else {
            return false;
        };
        let Checking {
            origin,
            asked,
            user,
            response,
        } = checking;
        let Some((flow, source)) = origin.sender() else {
            return true;
        };
        let identity = &asked.key.identity;
        if matches!(answer, Err(AuthenticationFailure::Unavailable)) {
            self.reject(&origin, Some(identity), Rejection::NoCapacity, link);
            return true;
        }
        let is_right = answer.as_ref().is_ok_and(|answer| {
            let right = answer.credentials.get("response").unwrap_or_default();
            let said = response.reveal().to_ascii_lowercase();
            answer.verdict == Proof::Proven
                && verify_slices_are_equal(right.as_bytes(), said.as_bytes()).is_ok()
        });
        let now = link.instant();
        if !is_right {
            link.counters.passwords_wrong += 1;
            let lock =
                source.and_then(|source| link.guard.attempts.handle_failure(identity, source, now));
            if let Some(lock) = lock {
                link.event(Event::Security {
                    origin: EventOrigin::Flow(flow),
                    breach: Breach::WrongPasswords(lock.as_secs()),
                });
            }
            self.challenge(flow, &origin, &asked, false, link);
            return true;
        }
        if let Some(source) = source {
            link.guard.attempts.handle_success(identity, source, now);
        }
        let user = ProvenUser {
            impi: user,
            impus: vec![identity.clone()],
            until: now + LONG,
        };
        self.take_asked(flow, origin, asked, Some(user), link);
        true
    }

    /// 401, with a nonce of this connection's own.
    fn challenge(
        &mut self,
        flow: FlowId,
        origin: &Origin,
        asked: &Asked,
        is_stale: bool,
        link: &mut Link,
    ) {
        let Origin::Browser { request, .. } = origin else {
            return;
        };
        let nonce = Nonce {
            value: link.token(),
            until: link.instant() + NONCE_LIFE,
            count: 0,
        };
        let mut response = Response::to_request(request, StatusCode::UNAUTHORIZED);
        for algorithm in ALGORITHMS {
            let mut question = question(asked.domain(), &nonce.value, algorithm);
            if is_stale {
                question.set("stale", "true");
            }
            response
                .headers
                .push(HeaderName::WwwAuthenticate, question.to_string());
        }
        self.door.nonces.insert(flow, nonce);
        link.counters.challenges += 1;
        self.respond(origin, response, link);
        self.changes.push_back(Change::Failed(flow));
    }

    /// What a REGISTER of a user of the box's own asks for is granted: `hop` is where the
    /// peer is.
    pub(super) fn grant(&mut self, id: BindingId, hop: Hop, link: &mut Link) {
        let Some(attempt) = self.take_attempt(id) else {
            return;
        };
        let Attempt { origin, asked, .. } = attempt;
        let (Origin::Browser { flow, request, .. }, Some(user)) = (&origin, &asked.proven) else {
            return self.settle(id, link);
        };
        if asked.is_farewell() {
            let answer = asked.success(request, Grant::default(), &Headers::new());
            link.counters.deregistered_by_browser += 1;
            self.respond(&origin, answer, link);
            return self.end(id, DeregistrationCause::Browser, link);
        }
        let now = link.instant();
        let wanted = Duration::from_secs(asked.expires.into());
        let granted = wanted.min(user.until.saturating_duration_since(now));
        let identities = identities_of(user, &asked, &link.config);
        let mut carried = Headers::new();
        for identity in &identities {
            let uri = Uri::parse(identity.reveal()).expect("an identity is a URI");
            carried.push(HeaderName::PAssociatedUri, NameAddr::new(uri).to_string());
        }
        let grant = Grant {
            expires: link.spread_refresh(asked.tenant, seconds(granted)),
            gruu: None,
            keeps_flows: true,
        };
        let answer = asked.success(request, grant, &carried);
        let Some(contact) = &asked.contact else {
            return self.settle(id, link);
        };
        let registered = Registered {
            until: now + granted,
            service_route: Vec::new(),
            identities,
            access_contact: contact.uri.clone(),
            integrity: Integrity {
                is_bound: true,
                ..asked.integrity
            },
            proven: Some(user.clone()),
            gruu: None,
            credentials: None,
        };
        self.keep(id, *flow, hop, registered, granted, link);
        self.changes.push_back(Change::Proven(id));
        if let Some(binding) = self.table.get_mut(&id) {
            binding.core_until = None; // Nobody else holds it.
        }
        if let Origin::Browser { transaction, .. } = &origin {
            let key = RecordKey::new(RecordKind::Registration, id.0);
            let tag = link.token();
            link.respond_when_kept(key, *transaction, answer.with_to_tag(&tag));
        }
        self.reschedule(id);
    }
}

impl Registrations {
    /// The user whom a trunk's peer calls: by the Request-URI, or by To where that names the
    /// trunk's own Contact (SIPconnect 2.0 §12). Of several browsers of his the one that
    /// came last; a call rings [beside](Registrations::beside) it too.
    pub(super) fn called_by_trunk(
        &self,
        tenant: TenantId,
        request: &Request,
        link: &Link,
    ) -> Result<&Binding, Rejection> {
        let to = request.headers.to()?;
        let called = request.headers.p_called_party_id().ok().flatten();
        let called = called.map(|it| it.0.uri);
        let uris = [Some(request.uri.clone()), called, Some(to.uri)];
        let mut is_known = false;
        for uri in uris.iter().flatten() {
            for user in users_of(uri, link.config.tenant(tenant)) {
                is_known |= user.1;
                if let Some(binding) = self.browser_of(&user.0) {
                    return Ok(binding);
                }
            }
        }
        Err(match is_known {
            true => Rejection::FlowFailed,
            false => Rejection::NotHere,
        })
    }

    /// The other browsers of a called user that ring with this one, the newest first: where
    /// the box is his registrar nobody else forks the call (RFC 3261 §16.6).
    pub(crate) fn beside(&self, binding: &Binding, config: &Config) -> Vec<&Binding> {
        if config.tenant(binding.tenant).profile.trunk().is_none() {
            return Vec::new();
        }
        let others = self.browsers_of(&binding.key.identity);
        let mut others: Vec<_> = others.filter(|it| it.id != binding.id).collect();
        others.sort_by_key(|it| std::cmp::Reverse(it.flow()));
        others
    }

    fn browser_of(&self, user: &PublicIdentity) -> Option<&Binding> {
        self.browsers_of(user).max_by_key(|it| it.flow())
    }

    fn browsers_of(&self, user: &PublicIdentity) -> impl Iterator<Item = &Binding> {
        let first = BindingKey {
            identity: user.clone(),
            instance: Instance::first(),
        };
        let his = self.by_key.range(first..);
        let his = his.take_while(move |(key, _)| key.identity == *user);
        let bindings = his.filter_map(|(_, id)| self.table.get(id));
        bindings.filter(|it| it.flow().is_some() && !it.is_winding_up())
    }
}

/// Whom a URI of the peer's may mean, and whether the settings know him: the user of its
/// number, and the user of its name, whatever host the peer writes beside it.
fn users_of(uri: &Uri, tenant: &Tenant) -> Vec<(PublicIdentity, bool)> {
    let mut users = Vec::new();
    let number = tenant.dial_plan.number_in(uri);
    let trunk = tenant.profile.trunk();
    if let (Some(number), Some(trunk)) = (&number, trunk) {
        users.extend(trunk.user_of(number).map(|user| (user.clone(), true)));
    }
    let name = uri.as_sip().and_then(SipUri::unescaped_user);
    for name in [number, name].into_iter().flatten() {
        let of_domain = |domain| PublicIdentity::sip(&name, domain);
        users.extend(
            tenant
                .domains
                .iter()
                .filter_map(of_domain)
                .map(|it| (it, false)),
        );
    }
    users
}

/// Who a user is: whom he registered as first, then his numbers, then what else he proved.
fn identities_of(user: &ProvenUser, asked: &Asked, config: &Config) -> Vec<PublicIdentity> {
    let own = &asked.key.identity;
    let mut identities = vec![own.clone()];
    let trunk = config.tenant(asked.tenant).profile.trunk();
    let numbers = trunk.into_iter().flat_map(|trunk| trunk.numbers_of(own));
    identities.extend(numbers.filter_map(PublicIdentity::tel));
    for identity in &user.impus {
        if !identities.contains(identity) {
            identities.push(identity.clone());
        }
    }
    identities
}

/// One challenge, RFC 7616 §3.3.
fn question(realm: &HostName, nonce: &str, algorithm: &str) -> Digest {
    let mut digest = Digest::new("Digest");
    digest.set_quoted("realm", realm.as_str());
    digest.set_quoted("nonce", nonce);
    digest.set("algorithm", algorithm);
    digest.set_quoted("qop", "auth");
    digest
}

impl Origin {
    /// Who sent it, and from which address.
    fn sender(&self) -> Option<(FlowId, Option<IpAddr>)> {
        match self {
            Origin::Browser { flow, source, .. } => Some((*flow, *source)),
            Origin::Refresh | Origin::Farewell => None,
        }
    }

    fn flow(&self) -> Option<FlowId> {
        self.sender().map(|(flow, _)| flow)
    }
}

/// RFC 8760 §2.4: in the order of preference. JsSIP and SIP.js know MD5 alone, and of
/// several header fields of this name they keep the last.
const ALGORITHMS: [&str; 2] = ["SHA-256", "MD5"];

/// How long a browser may take to answer.
const NONCE_LIFE: Duration = Duration::from_secs(300);

/// A password is not for some time only.
const LONG: Duration = Duration::from_secs(365 * 86_400);

/// No client writes more into one value.
const LONGEST_VALUE: usize = 256;
