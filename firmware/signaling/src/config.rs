//! What an operator decides about the control plane, already checked and typed.

mod mw;
mod services;
mod tenant;
mod trunk;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use iq::Private;

use crate::auth::AuthConfig;
use crate::id::SipTransport;
use crate::sdp::CodecPolicy;

pub use mw::{ForeignIdentity, MwConfig};
pub use services::{PreconditionPolicy, ServiceConfig};
pub use tenant::{
    IpsecConfig, Login, PrivateIdentityRule, Profile, RegistrationConfig, Security, Tenant,
    TenantId, TokenLogin,
};
pub use trunk::{CallerHeader, TrunkConfig, TrunkRegistration, UserNumber};

/// The settings of the whole control plane.
#[derive(Clone, Debug)]
pub struct Config {
    /// The networks that are served; at least one, and [`TenantId`] counts them from 0.
    pub tenants: Vec<Tenant>,
    /// What the User-Agent and Server headers say on both sides.
    pub product: String,
    /// The host name that browsers see in Contact and Via of the box. It is never
    /// resolved: RFC 7118 §5.2 routes by the connection.
    pub access_host: HostName,
    /// Seals the flow tokens in Path. What was registered before the box started anew is
    /// still reached by it; without one the box makes a key of its own at each start.
    pub flow_key: Option<Private<[u8; 32]>>,
    /// Who is believed about users who log in by access token.
    pub auth: AuthConfig,
    /// WebSocket connections.
    pub flows: FlowConfig,
    /// Calls.
    pub calls: CallConfig,
    /// Floods.
    pub guard: GuardConfig,
}

impl Config {
    /// The defaults around one tenant with the two settings that have none.
    #[must_use]
    pub fn new(home_domain: HostName, next_hop: NextHop) -> Self {
        Config::of(vec![Tenant::new("ims", home_domain, next_hop)])
    }

    /// The defaults around some tenants.
    #[must_use]
    pub fn of(tenants: Vec<Tenant>) -> Self {
        Config {
            tenants,
            product: concat!("Gatehouse/", env!("CARGO_PKG_VERSION")).to_owned(),
            access_host: HostName::parse("gatehouse.invalid")
                .expect("a literal that is a host name"),
            flow_key: None,
            auth: AuthConfig::default(),
            flows: FlowConfig::default(),
            calls: CallConfig::default(),
            guard: GuardConfig::default(),
        }
    }

    /// A tenant that [`Config::tenant_of`] named.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> &Tenant {
        &self.tenants[id.0]
    }

    /// Whose users a domain's are.
    #[must_use]
    pub fn tenant_of(&self, domain: &HostName) -> Option<TenantId> {
        let is_his = |tenant: &Tenant| tenant.domains.contains(domain);
        self.tenants.iter().position(is_his).map(TenantId)
    }
}

/// Limits on WebSocket connections, mostly on those that nobody has logged in on.
#[derive(Clone, Debug)]
pub struct FlowConfig {
    /// How long a connection may stay without a registration; then close code 4001.
    pub authentication_time: Duration,
    /// How long a connection may stay after its last registration has ended.
    pub idle_time: Duration,
    /// How many requests may be turned away before the first registration; then close
    /// code 1008. A log-in takes two REGISTERs, and a mistyped password two or three more.
    pub failed_requests: u32,
    /// How many messages may be malformed on a connection's whole life; then close code 1008.
    pub malformed_messages: u32,
    /// How many connections there may be.
    pub count: usize,
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            authentication_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(600),
            failed_requests: 10,
            malformed_messages: 10,
            count: 20_000,
        }
    }
}

/// How many requests may come.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// From one address (or IPv6 /64) on connections that nobody has logged in on, a second;
    /// four times as many at once.
    pub requests_per_source: u32,
    /// Of one user and one kind that is no call, a minute.
    pub requests_per_minute: u32,
    /// Calls that one user may begin, a minute.
    pub calls_per_minute: u32,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            requests_per_source: 100,
            requests_per_minute: 120,
            calls_per_minute: 20,
        }
    }
}

/// How calls are treated.
#[derive(Clone, Debug)]
pub struct CallConfig {
    /// How many calls there may be.
    pub count: usize,
    /// How many calls one user may have, on all his devices together.
    pub per_registration: usize,
    /// How long the called side may ring.
    pub ring_time: Duration,
    /// How long a call may last.
    pub duration: Duration,
    /// How long a call outlives the browser's media while its connection stands: the
    /// browser may be on its way to another network.
    pub media_grace: Duration,
    /// How long a call whose browser's connection and media are both gone waits for the
    /// page to come back and take it up again (RFC 3891): it may be being loaded anew.
    pub page_grace: Duration,
    /// How long the calls of a user whose token's time is over may go on.
    pub token_grace: Duration,
    /// How long the far end may send nothing although it should.
    pub ims_silence: Duration,
    /// Audio codecs that are offered, best first.
    pub codecs: CodecPolicy,
    /// Session-Expires that is asked for, RFC 4028.
    pub session_expires: Duration,
    /// Min-SE that is insisted on, RFC 4028 §5: never below 90 s.
    pub min_session_expires: Duration,
}

impl Default for CallConfig {
    fn default() -> Self {
        CallConfig {
            count: 2_000,
            per_registration: 4,
            ring_time: Duration::from_secs(120),
            duration: Duration::from_secs(4 * 3600),
            media_grace: Duration::from_secs(5),
            page_grace: Duration::from_secs(5),
            token_grace: Duration::from_secs(300),
            ims_silence: Duration::from_secs(120),
            codecs: CodecPolicy::default(),
            session_expires: Duration::from_secs(1800),
            min_session_expires: Duration::from_secs(90),
        }
    }
}

/// Where requests towards the IMS go: the P-CSCF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// An address, or a name that is looked up.
    pub host: Host,
    /// Its port. A name without one is a domain: NAPTR and SRV records say where its
    /// servers are (RFC 3263 §4).
    pub port: Option<u16>,
    /// The transports that may be used, at least one; the first where nothing says which.
    /// UDP is left for TCP by messages above 1300 bytes.
    pub transports: Vec<SipTransport>,
    /// Which addresses of a name can be sent to.
    pub family: AddressFamily,
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl AddressFamily {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => AddressFamily::V4,
            IpAddr::V6(_) => AddressFamily::V6,
        }
    }
}

impl NextHop {
    /// A next hop that needs no look-up.
    #[must_use]
    pub fn address(address: SocketAddr, transport: SipTransport) -> Self {
        NextHop {
            host: Host::Address(address.ip()),
            port: Some(address.port()),
            transports: vec![transport],
            family: AddressFamily::of(address.ip()),
        }
    }

    /// The transport where nothing says which.
    #[must_use]
    pub fn usual_transport(&self) -> SipTransport {
        self.transports
            .first()
            .copied()
            .unwrap_or(SipTransport::Udp)
    }
}

/// An address, or a name that stands for some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(HostName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Name(name) => write!(f, "{name}"),
        }
    }
}

/// A host name of RFC 1123 §2.1, kept in small letters and without the dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Checks and folds a name. `None` if it is none, or if it is an IPv4 address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let is_name = !text.is_empty()
            && text.len() <= 253
            && text.parse::<std::net::Ipv4Addr>().is_err()
            && text.split('.').all(is_label);
        is_name.then(|| HostName(text.to_ascii_lowercase()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_folded_and_checked() {
        assert_eq!(
            HostName::parse("IMS.Test.").map(|n| n.to_string()),
            Some("ims.test".to_owned())
        );
        for wrong in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a b",
            "127.0.0.1",
            "a/b",
            &"x".repeat(64),
        ] {
            assert_eq!(HostName::parse(wrong), None, "{wrong:?}");
        }
    }
}
