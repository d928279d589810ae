//! One browser user in the IMS: an identity, a browser instance, and a port towards the
//! core that is his alone (RFC 3261 §10, TS 24.229 §5.1.1).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::auth::ProvenUser;
use crate::config::{Config, Profile, TenantId};
use crate::flow_token::FlowName;
use crate::id::{EndpointId, FlowId, SipTransport};
use crate::identity::PublicIdentity;
use crate::message::{Header, Host, NameAddr, SipUri, Uri};
use crate::reach::Hop;
use crate::transaction::Peer;

use super::attempt::Attempt;
use super::challenge::Challenges;
use super::gruu::Gruu;
use super::mw::Integrity;
use super::on_behalf::OnBehalf;
use super::security::Security;

/// One registration, by the order of their making; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub u64);

/// Who registers, from which browser. Instances are told apart within an identity only,
/// so that nobody gets at another's registration by naming his instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BindingKey {
    pub(crate) identity: PublicIdentity,
    pub(crate) instance: Instance,
}

/// What a browser is known by when it comes back on another connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Instance {
    /// `+sip.instance` and `reg-id`, RFC 5626 §4.1.
    Outbound {
        instance: String,
        reg_id: Option<u32>,
    },
    /// A client without an instance: the user and host it made up for its Contact.
    Contact { user: String, host: String },
    /// No browser: the box itself, for a whole trunk.
    Trunk,
}

impl Instance {
    /// Before all others in their order.
    pub(super) fn first() -> Self {
        Instance::Outbound {
            instance: String::new(),
            reg_id: None,
        }
    }
}

/// One registration of a browser user.
#[derive(Debug)]
pub struct Binding {
    pub(super) id: BindingId,
    pub(super) key: BindingKey,
    pub(super) tenant: TenantId,
    pub(super) endpoint: EndpointId,
    /// What his flow token names, if he shares the port.
    pub(super) flow_name: Option<FlowName>,
    /// The address that the IMS sees, once the endpoint is open.
    pub(super) local: Option<SocketAddr>,
    /// The server that took the registration, or challenged it last.
    pub(super) next_hop: Option<Hop>,
    /// User part of the Contact towards the IMS; tells that a request is meant for us.
    pub(super) token: String,
    /// The connection it belongs to. `None` while the browser is away.
    pub(super) flow: Option<FlowId>,
    /// Every connection that has, or has tried for, this registration.
    pub(super) touched_by: BTreeSet<FlowId>,
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) cseq: u32,
    /// The REGISTER that is under way.
    pub(super) attempt: Option<Attempt>,
    pub(super) challenges: Challenges,
    /// Whether the core ever challenged a REGISTER that it then accepted.
    pub(super) was_challenged: bool,
    pub(super) state: State,
    /// What the box keeps him registered by; `None` if his browser does it.
    pub(super) on_behalf: Option<OnBehalf>,
    /// What protects it towards the P-CSCF, where that is IPsec.
    pub(super) security: Option<Security>,
    /// As what it is counted just now.
    pub(super) counted: Kind,
    /// Until when its calls may go on at most, once its user's token is over.
    pub(super) winding_up: Option<Instant>,
    /// Until when the core may hold our Contact, as far as we know.
    pub(super) core_until: Option<Instant>,
    /// The smallest interval that the core takes, RFC 3261 §10.2.8.
    pub(super) min_expires: Option<u32>,
}

/// Where a registration stands.
#[derive(Debug)]
pub(super) enum State {
    /// The core has not accepted it yet; given up at this time.
    New { until: Instant },
    /// The core accepted it.
    Registered(Registered),
    /// The browser is away, and may come back until then.
    Grace {
        registered: Registered,
        until: Instant,
    },
    /// It is over for the browser and for new calls. The port stays ours until the last
    /// words of calls are said and the core has forgotten it: it would take the next user
    /// of this port for this one.
    Lingering { until: Instant },
}

/// The kinds of states that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unregistered,
    Registered,
    Grace,
}

impl State {
    pub(super) fn kind(&self) -> Kind {
        match self {
            State::New { .. } | State::Lingering { .. } => Kind::Unregistered,
            State::Registered(_) => Kind::Registered,
            State::Grace { .. } => Kind::Grace,
        }
    }
}

/// What the core granted.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) until: Instant,
    pub(super) service_route: Vec<NameAddr>,
    /// Never empty; the first is the default.
    pub(super) identities: Vec<PublicIdentity>,
    /// The browser's own Contact, the target of requests to it.
    pub(super) access_contact: Uri,
    /// How the accepted REGISTER came.
    pub(super) integrity: Integrity,
    /// The user, if he logged in by token.
    pub(super) proven: Option<ProvenUser>,
    /// What the core calls this device alone.
    pub(super) gruu: Option<Gruu>,
    /// The credentials that the core accepted last, for a farewell.
    pub(super) credentials: Option<Header>,
}

/// How to reach the IMS for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImsPath {
    /// In whose network.
    pub tenant: TenantId,
    /// His port.
    pub endpoint: EndpointId,
    /// What the IMS sees of it.
    pub local: SocketAddr,
    /// The P-CSCF.
    pub remote: SocketAddr,
    /// The transport of messages that fit.
    pub transport: SipTransport,
}

impl Binding {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> BindingId {
        self.id
    }

    /// In whose network.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The identity it was registered under.
    #[must_use]
    pub fn identity(&self) -> &PublicIdentity {
        &self.key.identity
    }

    /// The browser's connection; `None` while it is away.
    #[must_use]
    pub fn flow(&self) -> Option<FlowId> {
        self.registered().and(self.flow)
    }

    /// The connection to its browser, which a registration that is over has until its calls have
    /// said goodbye.
    pub(crate) fn connection(&self) -> Option<FlowId> {
        self.flow
    }

    /// The port towards the IMS.
    #[must_use]
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Until when it is registered.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        Some(self.registered()?.until)
    }

    /// The identities that the user may speak for, P-Associated-URI of RFC 7315 §4.1;
    /// the first is the default. Empty while not registered.
    #[must_use]
    pub fn identities(&self) -> &[PublicIdentity] {
        self.registered()
            .map_or(&[], |registered| &registered.identities)
    }

    /// The identity to speak for: the one that is wished for, if it is the user's own,
    /// or the one he registered. Never somebody else's.
    #[must_use]
    pub fn served_identity(&self, wish: Option<&Uri>) -> &PublicIdentity {
        let wished = wish.and_then(PublicIdentity::of_uri);
        let own = wished.and_then(|wished| self.identities().iter().find(|own| **own == wished));
        let registered = || {
            self.identities()
                .iter()
                .find(|own| **own == self.key.identity)
        };
        own.or_else(registered)
            .or_else(|| self.identities().first())
            .unwrap_or(&self.key.identity)
    }

    /// What the box asserts of a user who speaks for one of his identities: exactly one SIP
    /// URI (RFC 3325 §9.1 allows a tel URI beside it, which the S-CSCF knows better).
    pub(crate) fn asserted(&self, identity: &PublicIdentity) -> Uri {
        let own = std::iter::once(identity).chain(self.identities());
        let mut sip = own.filter(|own| own.domain().is_some());
        let asserted = sip.next().unwrap_or(&self.key.identity);
        Uri::parse(asserted.reveal()).expect("an identity is a URI")
    }

    /// The address that the IMS sees.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip())
    }

    /// Whether a URI spells one of the user's identities.
    #[must_use]
    pub fn owns(&self, uri: &Uri) -> bool {
        PublicIdentity::of_uri(uri).is_some_and(|it| self.identities().contains(&it))
    }

    /// How to reach the IMS; also for the last words after the registration has ended.
    /// `None` before the first one.
    #[must_use]
    pub fn ims_path(&self, config: &Config) -> Option<ImsPath> {
        let (endpoint, remote) = match self.protected_way() {
            Some(way) => way.map(|way| (way.client, way.to))?,
            None => (self.endpoint, self.next_hop?.address),
        };
        Some(ImsPath {
            tenant: self.tenant,
            endpoint,
            local: self.local?,
            remote,
            transport: self.transport(config),
        })
    }

    /// The Contact towards the IMS: an address, because Kamailio's P-CSCF looks users up
    /// by it, and a user part that nobody guesses.
    #[must_use]
    pub fn ims_contact(&self, config: &Config) -> Option<Uri> {
        let host = config.tenant(self.tenant).own_host(self.local?.ip());
        let port = self.local?.port();
        Some(contact_uri(&self.token, &host, port, self.transport(config)).into())
    }

    /// What dialogs and requests of this device call it towards the IMS: the name that the core gave
    /// it (RFC 5627 §4.4), of which one who wants to be anonymous has another, or our Contact.
    #[must_use]
    pub(crate) fn ims_name(&self, is_anonymous: bool, config: &Config) -> Option<Uri> {
        let gruu = self.registered().and_then(|it| it.gruu.as_ref());
        let name = gruu.and_then(|gruu| match is_anonymous {
            true => gruu.temporary.clone(),
            false => Some(gruu.public.clone()),
        });
        name.or_else(|| self.ims_contact(config))
    }

    /// The route set of a request outside a dialog: on Gm the P-CSCF, then the Service-Route
    /// (RFC 3608 §6.1, TS 24.229 §5.1.2A.1.1, §5.2.6.3.1). A trunk's peer is an end itself.
    #[must_use]
    pub fn routes(&self, config: &Config) -> Vec<NameAddr> {
        let (Some(registered), Some(next_hop)) = (self.registered(), self.next_hop) else {
            return Vec::new();
        };
        if config.tenant(self.tenant).profile != Profile::Gm {
            return registered.service_route.clone();
        }
        // TS 24.229 §5.1.2A.1.1: with its protected server port.
        let address = match self.protected_way() {
            Some(Some(way)) => way.to,
            Some(None) | None => next_hop.address,
        };
        let next_hop = Hop {
            address,
            ..next_hop
        };
        let mut routes = vec![NameAddr::new(next_hop.uri().with_flag("lr"))];
        routes.extend(registered.service_route.iter().cloned());
        routes
    }

    /// Where a request to the browser is addressed: the Contact it registered.
    #[must_use]
    pub fn access_target(&self) -> Option<&Uri> {
        Some(&self.registered()?.access_contact)
    }

    /// Whether a request's target names this user: the token of our Contact, or one of
    /// his identities.
    #[must_use]
    pub fn is_target(&self, uri: &Uri) -> bool {
        let token = uri
            .as_sip()
            .and_then(SipUri::user)
            .is_some_and(|user| user == self.token);
        token || self.owns(uri)
    }

    /// The transport of messages that fit.
    fn transport(&self, config: &Config) -> SipTransport {
        let usual = || config.tenant(self.tenant).next_hop.usual_transport();
        self.next_hop.map_or_else(usual, |hop| hop.transport)
    }

    /// Whether it stands for the sake of its calls alone.
    #[must_use]
    pub(crate) fn is_winding_up(&self) -> bool {
        self.winding_up.is_some()
    }

    /// As what it is counted. A trunk is nobody's.
    pub(super) fn kind(&self) -> Kind {
        match self.is_trunk() {
            true => Kind::Unregistered,
            false => self.state.kind(),
        }
    }

    pub(super) fn registered(&self) -> Option<&Registered> {
        match &self.state {
            State::Registered(registered) | State::Grace { registered, .. } => Some(registered),
            State::New { .. } | State::Lingering { .. } => None,
        }
    }

    /// Whether another connection than `flow` must show that the core challenged it before
    /// it is given this registration. A core may let a port that it knows refresh without
    /// a challenge (TS 33.203 Annex N), whoever is behind it.
    pub(super) fn needs_proof(&self, flow: FlowId) -> bool {
        self.flow() != Some(flow) && self.core_until.is_some() && self.was_challenged
    }

    /// When this registration wants to be woken.
    pub(super) fn deadline(&self) -> Instant {
        let state = match &self.state {
            State::New { until } | State::Lingering { until } => *until,
            State::Registered(registered) => self.winding_up.unwrap_or(registered.until),
            State::Grace { registered, until } => {
                self.winding_up.unwrap_or(registered.until).min(*until)
            }
        };
        let attempt = self.attempt.as_ref().map(Attempt::deadline);
        let kept = self.registered().and(self.on_behalf.as_ref());
        let kept = kept.filter(|_| !self.is_winding_up());
        let is_away = matches!(self.state, State::Grace { .. });
        let kept = kept.map(|it| it.deadline(is_away, attempt.is_some()));
        let security = self.security.as_ref().and_then(Security::poll_timeout);
        [attempt, kept, security]
            .into_iter()
            .flatten()
            .fold(state, Instant::min)
    }
}

impl ImsPath {
    /// The server at its other end.
    #[must_use]
    pub fn hop(&self) -> Hop {
        Hop {
            address: self.remote,
            transport: self.transport,
        }
    }

    /// The same from this end to another server.
    #[must_use]
    pub(crate) fn to(&self, hop: Hop) -> Self {
        ImsPath {
            remote: hop.address,
            transport: hop.transport,
            ..*self
        }
    }

    /// The other end, by one of its transports.
    pub(crate) fn peer(&self, transport: SipTransport) -> Peer {
        Peer::Ims {
            endpoint: self.endpoint,
            transport,
            remote: self.remote,
        }
    }
}

/// `sip:<token>@<host>:<port>`.
pub(super) fn contact_uri(token: &str, host: &Host, port: u16, transport: SipTransport) -> SipUri {
    let uri = SipUri::new(host, Some(port)).with_user(Some(token));
    match transport {
        SipTransport::Udp => uri,
        SipTransport::Tcp => uri.with_param("transport", "tcp"),
        SipTransport::Tls => uri.with_param("transport", "tls"),
    }
}

/// How long a browser may take to answer a challenge: reg-await-auth of TS 24.229 §7.
pub(super) const CHALLENGE_TIME: Duration = Duration::from_secs(240);
