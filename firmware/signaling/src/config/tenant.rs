//! Whose users are served, and which network each of them is at home in: several operators,
//! or several ways into one operator's network, share a box as tenants.

use std::net::IpAddr;
use std::time::Duration;

use super::{ForeignIdentity, HostName, MwConfig, NextHop, ServiceConfig, TrunkConfig};
use crate::auth::IssuerId;
use crate::emergency::EmergencyConfig;
use crate::guard::dial_plan::DialPlan;
use crate::message::Host;
use crate::sec_agree::Cipher;

/// A tenant, by its place in [`Config::tenants`](super::Config::tenants).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub usize);

/// A network, its users, and how they are taken there.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// What logs and metrics call it.
    pub name: String,
    /// Domains whose users may register. A REGISTER for a domain of no tenant is turned
    /// away; a domain has one tenant.
    pub domains: Vec<HostName>,
    /// What the box is in this network.
    pub profile: Profile,
    /// How its users prove who they are.
    pub login: Login,
    /// How what is said to the P-CSCF is protected, beside TLS.
    pub security: Security,
    /// Where requests towards the IMS go.
    pub next_hop: NextHop,
    /// Whether the servers of the next hop are asked by OPTIONS if they are there.
    pub probes: bool,
    /// Hosts besides the next hop whose messages are taken on the tenant's endpoints.
    pub trusted_peers: Vec<IpAddr>,
    /// Headers that no rule knows and that pass nevertheless, both ways.
    pub passed_headers: Vec<String>,
    /// Emergency calls.
    pub emergency: EmergencyConfig,
    /// Registrations.
    pub registration: RegistrationConfig,
    /// What its users may do beside a plain call.
    pub services: ServiceConfig,
    /// Which numbers may be called.
    pub dial_plan: DialPlan,
}

impl Tenant {
    /// The defaults around what has none.
    #[must_use]
    pub fn new(name: &str, domain: HostName, next_hop: NextHop) -> Self {
        Tenant {
            name: name.to_owned(),
            domains: vec![domain],
            profile: Profile::Gm,
            login: Login::Digest,
            security: Security::None,
            next_hop,
            probes: true,
            trusted_peers: Vec::new(),
            passed_headers: Vec::new(),
            emergency: EmergencyConfig::default(),
            registration: RegistrationConfig::default(),
            services: ServiceConfig::default(),
            dial_plan: DialPlan::default(),
        }
    }

    /// How the box calls itself in this network when it sends from an address.
    pub(crate) fn own_host(&self, address: IpAddr) -> Host {
        let name = match &self.profile {
            Profile::Gm => None,
            Profile::Mw(mw) => mw.host.as_ref(),
            Profile::Trunk(trunk) => trunk.host.as_ref(),
        };
        name.and_then(|name| Host::parse(name.as_str()))
            .unwrap_or_else(|| Host::from(address))
    }
}

/// What the box is in a tenant's network: it picks the table of header rules, and how a
/// REGISTER and an INVITE are dressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A terminal in front of a P-CSCF, one for each user: option 2 of TS 23.228 Annex U.
    Gm,
    /// The P-CSCF itself, in front of an I-CSCF, with one port for all users: option 1.
    Mw(Box<MwConfig>),
    /// The end of a SIP trunk, with one port for all users: they log in to the box itself,
    /// and the peer at the other end (an IBCF, a session border controller, a PBX) hears of
    /// their calls alone.
    Trunk(Box<TrunkConfig>),
}

impl Profile {
    /// What it is told as a P-CSCF.
    #[must_use]
    pub fn mw(&self) -> Option<&MwConfig> {
        match self {
            Profile::Mw(mw) => Some(mw),
            Profile::Gm | Profile::Trunk(_) => None,
        }
    }

    /// What it is told as the end of a trunk.
    #[must_use]
    pub fn trunk(&self) -> Option<&TrunkConfig> {
        match self {
            Profile::Trunk(trunk) => Some(trunk),
            Profile::Gm | Profile::Mw(_) => None,
        }
    }

    /// The port that all users share, where they do.
    #[must_use]
    pub fn shared_port(&self) -> Option<u16> {
        match self {
            Profile::Gm => None,
            Profile::Mw(mw) => Some(mw.port),
            Profile::Trunk(trunk) => Some(trunk.port),
        }
    }

    /// What becomes of a caller's wish to be somebody else.
    #[must_use]
    pub fn foreign_identity(&self) -> ForeignIdentity {
        match self {
            Profile::Gm => ForeignIdentity::Replace,
            Profile::Mw(mw) => mw.foreign_identity,
            Profile::Trunk(trunk) => trunk.foreign_identity,
        }
    }
}

/// How the users of a tenant prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By SIP Digest, which passes through the box between browser and core. On a trunk
    /// there is no such core: the box itself asks, with the passwords that it keeps.
    Digest,
    /// By an access token that this box verifies; it registers them on their behalf.
    Token(TokenLogin),
}

/// Log-in by access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLogin {
    /// Whose tokens are taken. Never empty; the first is where a challenge sends a user.
    pub issuers: Vec<IssuerId>,
    /// What a challenge calls this box.
    pub realm: String,
}

/// What protects users' messages on Gm beside the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing: there is no security agreement.
    None,
    /// IPsec associations between each user and the P-CSCF, TS 33.203 §7. Their keys come
    /// from AKA, so the box needs the users' ISIM credentials.
    Ipsec(IpsecConfig),
}

/// IPsec on Gm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsecConfig {
    /// The port of REGISTERs that nothing protects yet, of all users. Kamailio's P-CSCF
    /// takes a REGISTER for a first one by its port 5060.
    pub port: u16,
    /// What is proposed, best first; not empty.
    pub ciphers: Vec<Cipher>,
}

impl Security {
    /// What is said of IPsec, if that is used.
    #[must_use]
    pub fn ipsec(&self) -> Option<&IpsecConfig> {
        match self {
            Security::None => None,
            Security::Ipsec(ipsec) => Some(ipsec),
        }
    }
}

/// How browsers are registered in the IMS.
#[derive(Clone, Debug)]
pub struct RegistrationConfig {
    /// The longest registration that is asked for. Kept short because a registration
    /// that nobody can de-register (Digest needs the browser) ends by expiring.
    pub expires: Duration,
    /// The registration that is asked for where the box keeps users registered by itself.
    pub kept_expires: Duration,
    /// How long a registration and its calls outlive their WebSocket.
    pub grace: Duration,
    /// What a REGISTER without credentials says about the private identity.
    pub private_identity: PrivateIdentityRule,
    /// How long the core may take for an answer before the next address is tried.
    pub answer_time: Duration,
    /// How many registrations the tenant may have.
    pub count: usize,
    /// How many registrations one connection may have (several identities in one page).
    pub per_flow: usize,
    /// How many users may begin to register a second; more wait for their turn.
    pub per_second: u32,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        RegistrationConfig {
            expires: Duration::from_secs(300),
            kept_expires: Duration::from_secs(3600),
            grace: Duration::from_secs(60),
            private_identity: PrivateIdentityRule::Implied,
            answer_time: Duration::from_secs(8),
            count: 20_000,
            per_flow: 8,
            per_second: 100,
        }
    }
}

/// What a REGISTER without credentials says about the private identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrivateIdentityRule {
    /// Nothing: the registrar derives it from To, TS 24.229 §5.4.1.2.2.
    Absent,
    /// An Authorization header with empty nonce and response whose user name is the
    /// public identity without its scheme, TS 24.229 §5.1.1.2.2. Kamailio's S-CSCF
    /// answers 403 without it.
    #[default]
    Implied,
}
