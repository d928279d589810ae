//! A browser's REGISTER, read once and checked (RFC 3261 §10.3, RFC 5626 §4.2), and the
//! REGISTER and the 200 that are made of it.

use std::time::{Duration, Instant};

use iq::Leg;

use crate::auth::{ProvenUser, TokenRefusal};
use crate::config::{Config, HostName, Login, PrivateIdentityRule, Profile, Tenant, TenantId};
use crate::id::SipTransport;
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::message::headers::{Authorization, CSeq, Contact, Digest, FlowTimer, SecurityClient};
use crate::message::{
    Header, HeaderName, Headers, Host, Method, NameAddr, Request, Response, SipUri, StatusCode, Uri,
};
use crate::policy::Policies;
use crate::protected::agreed;
use crate::rejection::Rejection;

use super::binding::{BindingKey, Instance, contact_uri};
use super::gruu::Gruu;
use super::mw::{self, Integrity};
use super::security::Security;

/// What a browser asks for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: BindingKey,
    pub(super) tenant: TenantId,
    domain: HostName,
    /// The browser's Contact, without `expires`; `None` for `*`.
    pub(super) contact: Option<NameAddr>,
    /// The user, if he logged in by token, or the box itself has let him in.
    pub(super) proven: Option<ProvenUser>,
    /// In seconds; 0 ends the registration.
    pub(super) expires: u32,
    /// How it came.
    pub(super) integrity: Integrity,
    /// The Digest credentials, as they came.
    pub(super) credentials: Option<Header>,
    pub(super) nonce: Option<String>,
    max_forwards: u8,
    /// Which of the extensions of a registration the browser knows.
    knows: Extensions,
    /// What else of the request may cross.
    carried: Headers,
}

/// Extensions that a browser's REGISTER says it supports.
#[derive(Clone, Copy, Debug, Default)]
struct Extensions {
    /// RFC 5626.
    outbound: bool,
    /// RFC 5627.
    gruu: bool,
}

/// What a REGISTER that was accepted is told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grant<'a> {
    /// In seconds.
    pub(super) expires: u32,
    pub(super) gruu: Option<&'a Gruu>,
    /// Whether the registrar keeps flows, RFC 5626 §6.
    pub(super) keeps_flows: bool,
}

/// What the box itself puts into a REGISTER.
pub(super) struct Sender<'a> {
    pub(super) token: &'a str,
    pub(super) local: std::net::SocketAddr,
    pub(super) transport: SipTransport,
    pub(super) call_id: &'a str,
    pub(super) from_tag: &'a str,
    pub(super) cseq: u32,
    pub(super) min_expires: Option<u32>,
    /// What a P-CSCF adds, if the box is one.
    pub(super) additions: Option<mw::Additions<'a>>,
    /// What proves a user whom the box keeps registered.
    pub(super) credentials: Option<Authorization>,
    /// What protects the user, where that is IPsec.
    pub(super) security: Option<&'a Security>,
    /// How long the box asks for, whatever the browser wants.
    pub(super) expires: Option<u32>,
}

impl Asked {
    /// Reads a REGISTER that came by TLS, or not. `policies` say what the trust boundary lets
    /// through of it; `proven` is the user behind its token; `known` finds the instance of a
    /// registration that `Contact: *` means.
    pub(super) fn read(
        request: &Request,
        is_secure: bool,
        config: &Config,
        policies: &Policies,
        proven: Option<ProvenUser>,
        now: Instant,
        known: impl Fn(&PublicIdentity) -> Option<Instance>,
    ) -> Result<Self, Rejection> {
        let headers = &request.headers;
        let to = headers.to().map_err(Rejection::from)?;
        let from = headers.from().map_err(Rejection::from)?;
        let (said, domain) = address_of_record(&to.uri)?;
        if address_of_record(&from.uri)?.0 != said {
            return Err(Rejection::ForeignIdentity);
        }
        let identity = match &proven {
            Some(user) => user.meant_by(&said).cloned(),
            None => Some(said),
        };
        let identity = identity.ok_or(Rejection::ForeignIdentity)?;
        let registrar = request.uri.as_sip().ok_or(Rejection::UnsupportedScheme)?;
        let is_registrar = HostName::parse(registrar.host_text()).as_ref() == Some(&domain);
        let tenant = config.tenant_of(&domain).filter(|_| is_registrar);
        let tenant = tenant.ok_or(Rejection::ForeignDomain)?;
        let (contact, instance, expires) = contact_of(headers, || known(&identity))?;
        let longest = config.tenant(tenant).registration.expires.as_secs();
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let expires = expires.unwrap_or(longest).min(longest);
        let expires = match (&config.tenant(tenant).login, &proven) {
            (Login::Token(_), None) => return Err(Rejection::TokenMissing),
            (_, Some(user)) if expires > 0 => expires.min(life_of(user, now)?),
            _ => expires,
        };
        let mut carried = policies.carry(tenant, headers, Leg::Ims);
        if proven.is_some() {
            // This box speaks for him; what he says to the core himself is not asked for.
            carried.remove(&HeaderName::Authorization);
            carried.remove(&HeaderName::ProxyAuthorization);
        }
        let credentials = carried.get(&HeaderName::Authorization).cloned();
        let supports = |tag| headers.lists_token(&HeaderName::Supported, tag);
        let digest = headers
            .authorization()
            .map(|it| it.0)
            .find(Digest::is_digest);
        Ok(Asked {
            key: BindingKey { identity, instance },
            tenant,
            domain,
            contact,
            expires,
            nonce: digest
                .and_then(|digest| digest.get("nonce"))
                .filter(|_| credentials.is_some()),
            credentials,
            integrity: Integrity {
                is_secure,
                is_bound: false,
                is_proven: proven.is_some(),
            },
            max_forwards: headers
                .max_forwards()
                .map_err(Rejection::from)?
                .map_or(70, |hops| hops.0),
            proven,
            knows: Extensions {
                outbound: supports("outbound"),
                gruu: supports("gruu"),
            },
            carried,
        })
    }

    /// Whether the browser registers a flow, RFC 5626 §4.2.
    pub(super) fn is_outbound(&self) -> bool {
        matches!(&self.key.instance, Instance::Outbound { reg_id, .. } if reg_id.is_some())
    }

    /// Whether it wants names for its device alone, RFC 5627 §4.2.
    pub(super) fn wants_gruu(&self) -> bool {
        self.knows.gruu && matches!(self.key.instance, Instance::Outbound { .. })
    }

    /// The Request-URI of the REGISTER to the core.
    pub(super) fn registrar(&self) -> String {
        format!("sip:{}", self.domain)
    }

    /// The domain, which is the realm until the core says another.
    pub(super) fn domain(&self) -> &HostName {
        &self.domain
    }

    /// Whether the browser wants to end its registration.
    pub(super) fn is_farewell(&self) -> bool {
        self.expires == 0
    }

    /// The same wish with nothing of the browser but the credentials that were accepted
    /// last, to end a registration whose browser is away.
    pub(super) fn farewell(
        key: BindingKey,
        tenant: TenantId,
        domain: HostName,
        integrity: Integrity,
        credentials: Option<Header>,
        proven: Option<ProvenUser>,
    ) -> Self {
        let mut carried = Headers::new();
        if let Some(header) = &credentials {
            carried.push_header(header.clone());
        }
        Asked {
            key,
            tenant,
            domain,
            contact: None,
            proven,
            expires: 0,
            integrity,
            credentials,
            nonce: None,
            max_forwards: 70,
            knows: Extensions::default(),
            carried,
        }
    }

    /// What the box asks of the peer of a trunk for itself.
    pub(super) fn of_trunk(key: BindingKey, tenant: TenantId, domain: HostName) -> Self {
        let own = Uri::parse(key.identity.reveal()).expect("an identity is a URI");
        let integrity = Integrity {
            is_secure: false,
            is_bound: false,
            is_proven: false,
        };
        Asked {
            contact: Some(NameAddr::new(own)),
            expires: 1, // As long as the settings say.
            ..Asked::farewell(key, tenant, domain, integrity, None, None)
        }
    }

    /// The REGISTER to the core, but for its Via. It has no Route: the P-CSCF is where it
    /// is sent, and Kamailio's would relay a Route of its own to the I-CSCF.
    pub(super) fn request(&self, sender: Sender<'_>, config: &Config) -> Request {
        let registrar = SipUri::new(
            &Host::parse(self.domain.as_str()).expect("a host name is a host"),
            None,
        );
        let own = Uri::parse(self.key.identity.reveal()).expect("an identity is a URI");
        let expires = match self.expires {
            0 => 0,
            asked => {
                let asked = sender.expires.unwrap_or(asked);
                asked.max(sender.min_expires.unwrap_or(0))
            }
        };
        let mut headers = Headers::new();
        headers.push(
            HeaderName::MaxForwards,
            u32::from(self.max_forwards.saturating_sub(1)),
        );
        let from = NameAddr::new(own.clone()).with_tag(sender.from_tag);
        headers.push(HeaderName::From, from.to_string());
        headers.push(HeaderName::To, NameAddr::new(own).to_string());
        headers.push(HeaderName::CallId, sender.call_id);
        headers.push_typed(&CSeq {
            number: sender.cseq,
            method: Method::Register,
        });
        let tenant = config.tenant(self.tenant);
        let contact = self.contact_to_core(&sender, expires, tenant);
        headers.push(HeaderName::Contact, contact.to_string());
        headers.push(HeaderName::Expires, expires);
        let is_terminal = tenant.profile == Profile::Gm;
        if is_terminal {
            // S-CSCFs want it because P-CSCFs add a Path, RFC 3327 §5.1.
            let gruu = self.wants_gruu().then_some("gruu");
            let sec_agree = sender.security.map(|_| "sec-agree");
            let supported: Vec<_> = ["path"].into_iter().chain(gruu).chain(sec_agree).collect();
            headers.push(HeaderName::Supported, supported.join(", "));
        }
        if let Some(security) = sender.security {
            // RFC 3329 §2.3.1; one to a line, because Kamailio's P-CSCF reads no list.
            for mechanism in security.client() {
                headers.push_typed(&SecurityClient(mechanism));
            }
            let verify = security.register_way().map(|way| way.verify);
            agreed(verify.unwrap_or_default(), &mut headers);
        }
        headers.push(HeaderName::UserAgent, config.product.as_str());
        for header in &self.carried {
            headers.push_header(header.clone());
        }
        if let Some(credentials) = &sender.credentials {
            headers.push_typed(credentials);
        } else if let Some(identity) = self.identity_to_say(tenant) {
            headers.push(HeaderName::Authorization, self.empty_credentials(&identity));
        }
        if let Some(additions) = sender.additions {
            additions.add(&mut headers);
        }
        Request {
            method: Method::Register,
            uri: registrar.into(),
            headers,
            body: bytes::Bytes::new(),
        }
    }

    /// Our Contact, with the browser's instance; its flow is the core's matter on Mw alone.
    fn contact_to_core(&self, sender: &Sender<'_>, expires: u32, tenant: &Tenant) -> NameAddr {
        let host = tenant.own_host(sender.local.ip());
        let uri = contact_uri(sender.token, &host, sender.local.port(), sender.transport);
        let mut contact = NameAddr::new(uri);
        contact.params.set("expires", expires);
        if let Instance::Outbound { instance, reg_id } = &self.key.instance {
            let instance = format!("\"<{instance}>\"");
            contact.params.set("+sip.instance", instance);
            if let Some(reg_id) = reg_id.filter(|_| sender.additions.is_some()) {
                contact.params.set("reg-id", reg_id);
            }
        }
        contact
    }

    /// Whose private identity a REGISTER without credentials says; none if it has some.
    fn identity_to_say(&self, tenant: &Tenant) -> Option<PrivateIdentity> {
        if let Some(user) = &self.proven {
            return Some(user.impi.clone());
        }
        let is_implied = self.credentials.is_none()
            && tenant.profile.trunk().is_none()
            && tenant.registration.private_identity == PrivateIdentityRule::Implied;
        is_implied
            .then(|| PrivateIdentity::implied_by(&self.key.identity))
            .flatten()
    }

    /// The 200 that the browser gets: its own Contact, and nothing of the core's routes.
    /// JsSIP and SIP.js look for their Contact by its user part or as a whole.
    pub(super) fn success(
        &self,
        request: &Request,
        grant: Grant<'_>,
        carried: &Headers,
    ) -> Response {
        let mut response = Response::to_request(request, StatusCode::OK);
        let headers = &mut response.headers;
        if let Some(contact) = self.contact.as_ref().filter(|_| grant.expires > 0) {
            let mut contact = contact.clone();
            contact.params.set("expires", grant.expires);
            if let Some(gruu) = grant.gruu.filter(|_| self.wants_gruu()) {
                gruu.add(&mut contact);
            }
            headers.push(HeaderName::Contact, contact.to_string());
            if grant.keeps_flows && self.knows.outbound && self.is_outbound() {
                headers.push(HeaderName::Require, "outbound");
                headers.push_typed(&FlowTimer(FLOW_TIMER));
            }
        }
        for header in carried {
            headers.push_header(header.clone());
        }
        if grant.expires > 0 && !self.is_named_in(headers) {
            let own = Uri::parse(self.key.identity.reveal()).expect("an identity is a URI");
            headers.push(HeaderName::PAssociatedUri, NameAddr::new(own).to_string());
        }
        response
    }

    /// Whether an answer says whom it has registered: in To, or among all his identities
    /// (RFC 7315 §4.1).
    fn is_named_in(&self, headers: &Headers) -> bool {
        let is_own = |uri: &Uri| PublicIdentity::of_uri(uri).as_ref() == Some(&self.key.identity);
        let associated = headers.p_associated_uris().unwrap_or_default();
        headers.to().is_ok_and(|to| is_own(&to.uri)) || associated.iter().any(|it| is_own(&it.uri))
    }

    /// TS 24.229 §5.1.1.2.2: says who it is, and nothing that could be right.
    fn empty_credentials(&self, identity: &PrivateIdentity) -> String {
        let mut digest = Digest::new("Digest");
        digest.set_quoted("username", identity.reveal());
        digest.set_quoted("realm", self.domain.as_str());
        digest.set_quoted("nonce", "");
        digest.set_quoted("uri", &format!("sip:{}", self.domain));
        digest.set_quoted("response", "");
        digest.to_string()
    }
}

/// How long the core granted, in seconds: what it says beside our Contact, else beside
/// all of them, else what was asked for.
pub(super) fn granted(response: &Response, token: &str, asked: u32) -> u32 {
    let contacts = response.headers.contacts().unwrap_or_default();
    let ours = own_contact(&contacts, token);
    let header = response
        .headers
        .expires()
        .ok()
        .flatten()
        .map(|expires| expires.0);
    ours.and_then(Contact::expires).or(header).unwrap_or(asked)
}

/// The Contact of ours among all that the core has.
pub(super) fn own_contact<'a>(contacts: &'a [Contact], token: &str) -> Option<&'a Contact> {
    contacts.iter().find(|contact| {
        let uri = contact.address().and_then(|address| address.uri.as_sip());
        uri.and_then(SipUri::user) == Some(token)
    })
}

/// How long a user may be registered before his token's time is over, in seconds. Spec of
/// the lifetimes: a little less, so that the box is never late.
pub(crate) fn life_of(user: &ProvenUser, now: Instant) -> Result<u32, Rejection> {
    let left = user
        .until
        .saturating_duration_since(now)
        .saturating_sub(AHEAD);
    match u32::try_from(left.as_secs()).unwrap_or(u32::MAX) {
        0 => Err(Rejection::Token(TokenRefusal::Expired)),
        seconds => Ok(seconds),
    }
}

/// Whose address of record it is, and in which domain.
fn address_of_record(uri: &Uri) -> Result<(PublicIdentity, HostName), Rejection> {
    let sip = uri
        .as_sip()
        .filter(|uri| !uri.is_secure())
        .ok_or(Rejection::UnsupportedScheme)?;
    let domain = HostName::parse(sip.host_text()).ok_or(Rejection::ForeignDomain)?;
    let identity = PublicIdentity::of_uri(uri).ok_or(Rejection::Malformed(HeaderName::To))?;
    Ok((identity, domain))
}

/// The Contact, what it tells the browser's instances apart by, and for how long. One
/// Contact, or `*` which means the browser's own.
fn contact_of(
    headers: &Headers,
    known: impl FnOnce() -> Option<Instance>,
) -> Result<(Option<NameAddr>, Instance, Option<u32>), Rejection> {
    let header = headers
        .expires()
        .map_err(Rejection::from)?
        .map(|expires| expires.0);
    let contacts = headers.contacts().map_err(Rejection::from)?;
    let [contact] = contacts.as_slice() else {
        return Err(Rejection::Malformed(HeaderName::Contact));
    };
    let Contact::Address(address) = contact else {
        if header != Some(0) {
            return Err(Rejection::Malformed(HeaderName::Expires)); // RFC 3261 §10.2.2.
        }
        let none = || Instance::Contact {
            user: String::new(),
            host: String::new(),
        };
        return Ok((None, known().unwrap_or_else(none), Some(0)));
    };
    let uri = address
        .uri
        .as_sip()
        .ok_or(Rejection::Malformed(HeaderName::Contact))?;
    let instance = match contact.instance().filter(|instance| is_instance(instance)) {
        Some(instance) => Instance::Outbound {
            instance,
            reg_id: contact.reg_id(),
        },
        None => Instance::Contact {
            user: uri.user().unwrap_or_default().to_owned(),
            host: uri.host_text().to_ascii_lowercase(),
        },
    };
    let expires = contact.expires().or(header);
    let mut address = address.clone();
    address.params.remove("expires");
    Ok((Some(address), instance, expires))
}

/// A URN that can stand in a quoted string as it is; RFC 5626 §4.1.
fn is_instance(text: &str) -> bool {
    (1..=INSTANCE_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte))
}

/// How long before its token a registration ends.
pub(super) const AHEAD: Duration = Duration::from_secs(10);

/// Within how many seconds a browser should let itself be heard, RFC 5626 §4.4.1; the box asks by
/// Ping more often itself.
const FLOW_TIMER: u32 = 120;

/// Longer than any URN that names a device.
const INSTANCE_MAX: usize = 128;
