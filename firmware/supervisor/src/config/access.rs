//! `[access]` and `[limits]`: where browsers come in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use signaling::config::GuardConfig;
use transport::admission::Limits;
use transport::flow::Keepalive;
use transport::http::Policy;
use transport::tls::CertificateSource;

use super::reader::{Fault, section};
use super::{State, fault};

section! {
    /// Browsers: the page and SIP over WebSocket, on one port.
    Access = "access"
    /// Addresses and ports to listen on. "[::]" takes IPv4 too.
    listen: Vec<SocketAddr> = vec![([0, 0, 0, 0, 0, 0, 0, 0], 443).into()],
    /// TLS on `listen`. Without it only loopback addresses are listened on: browsers give
    /// no microphone to plain http pages of other machines.
    tls: bool = true,
    /// Loopback addresses and ports on which the same is served without TLS besides, for a
    /// browser or a proxy on this machine: "127.0.0.1:8080" is http://localhost:8080.
    plain_listen: Vec<SocketAddr> = Vec::new(),
    /// Certificate chain, PEM, and its private key. Both are read again when they
    /// change; connections stay. Without them the box makes a self-signed certificate.
    certificate: Option<PathBuf> = None,
    /// Private key of the certificate, PEM.
    key: Option<PathBuf> = None,
    /// Host names and addresses as they stand in the page's address; requests for others
    /// are refused. Empty: the machine's name, localhost and the addresses of `listen`.
    server_names: Vec<String> = Vec::new(),
    /// Origins whose pages may open the WebSocket, like "https://app.example.com".
    /// Compared exactly. Empty: the pages of the box itself.
    origins: Vec<String> = Vec::new(),
    /// Path of the WebSocket.
    path: String = "/sip".to_owned(),
    /// Folder with the page that browsers are served; "none" serves no page.
    web_root: PathBuf = PathBuf::from("/usr/share/gatehouse/web"),
    /// STUN and TURN servers the page shall use, like "stun:stun.example.com:3478".
    /// The box needs none of them itself.
    ice_servers: Vec<String> = Vec::new(),
    /// How long a TLS handshake, or the head of a request, may take.
    handshake_time: Duration = Duration::from_secs(5),
    /// Silence on a WebSocket after which it is pinged.
    ping_after: Duration = Duration::from_secs(10),
    /// How long a pong may take. Two missing pongs mean a dead network.
    pong_time: Duration = Duration::from_secs(5),
}

section! {
    /// How much of the box anybody may take.
    Limited = "limits"
    /// Connections of any kind.
    connections: usize = 24_000,
    /// WebSockets.
    flows: usize = 20_000,
    /// WebSockets from one IPv4 address or IPv6 /64.
    flows_per_source: usize = 1_000,
    /// New connections a second from one IPv4 /24 or IPv6 /56.
    accepts_per_second: u32 = 200,
    /// Requests a second from one address (or IPv6 /64) on WebSockets that nobody has
    /// logged in on; four times as many at once. Those beyond are told to come back later.
    requests_per_source: u32 = GuardConfig::default().requests_per_source,
    /// Requests of each kind that is no call, that one user may make in a minute.
    requests_per_minute: u32 = GuardConfig::default().requests_per_minute,
    /// Calls that one user may begin in a minute.
    calls_per_minute: u32 = GuardConfig::default().calls_per_minute,
    /// How long a WebSocket may stay without a log-in.
    authentication_time: Duration = Duration::from_secs(30),
}

impl Access {
    pub(super) fn check(&self, faults: &mut Vec<Fault>) {
        if self.listen.is_empty() && self.plain_listen.is_empty() {
            faults.push(fault("[access] listen: give at least one address"));
        }
        for address in self.plain_listen.iter().filter(|a| !is_loopback(a)) {
            faults.push(fault(format!(
                "[access] plain_listen: {address} is not a loopback address; it can stand in \
                 `listen`, with TLS"
            )));
        }
        if self.certificate.is_some() != self.key.is_some() {
            faults.push(fault("[access] certificate and key: give both or none"));
        }
        if !self.tls {
            for address in self.listen.iter().filter(|a| !is_loopback(a)) {
                faults.push(fault(format!(
                    "[access] listen: {address} is not a loopback address, so it needs tls = true"
                )));
            }
        }
        if !self.path.starts_with('/') || self.path == "/" || self.path.contains(['?', '#', ' ']) {
            faults.push(fault(
                "[access] path: must begin with a slash and name something, like \"/sip\"",
            ));
        }
        for origin in &self.origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
                faults.push(fault(format!(
                    "[access] origins: {origin:?} must be a scheme, a host and maybe a port, \
                     like \"https://app.example.com\", without a path"
                )));
            }
        }
        if self.ping_after.is_zero() || self.pong_time.is_zero() || self.handshake_time.is_zero() {
            faults.push(fault(
                "[access] ping_after, pong_time and handshake_time: must not be zero",
            ));
        }
    }

    /// Names that the box answers to.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.server_names.clone();
        if names.is_empty() {
            names.extend(machine_name());
            names.push(LOCALHOST.to_owned());
            let specific = self.listen.iter().filter(|a| !a.ip().is_unspecified());
            names.extend(specific.map(literal));
        }
        names
            .iter_mut()
            .for_each(|name| *name = name.to_ascii_lowercase());
        for name in self.plain_names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Names of `plain_listen`: this machine's for itself.
    fn plain_names(&self) -> Vec<String> {
        let addresses = self.plain_listen.iter().map(literal);
        let named = (!self.plain_listen.is_empty()).then(|| LOCALHOST.to_owned());
        named.into_iter().chain(addresses).collect()
    }

    /// Who may open a WebSocket.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            server_names: self.names(),
            origins: if self.origins.is_empty() {
                self.own_origins()
            } else {
                self.origins.clone()
            },
            path: self.path.clone(),
            gives_tickets: false,
        }
    }

    /// The origins of the box's own pages, as browsers write them: RFC 6454 §6.2.
    pub(crate) fn own_origins(&self) -> Vec<String> {
        let scheme = if self.tls { HTTPS } else { HTTP };
        let mut all = origins(scheme, &self.listen, &self.names());
        all.extend(origins(HTTP, &self.plain_listen, &self.plain_names()));
        all
    }

    pub(crate) fn certificate_source(&self, state: &State) -> Option<CertificateSource> {
        if !self.tls {
            return None;
        }
        Some(match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => CertificateSource::Files {
                certificate: certificate.clone(),
                key: key.clone(),
            },
            _ => CertificateSource::SelfSigned {
                folder: state.folder.clone(),
                names: self.names(),
            },
        })
    }

    pub(crate) fn web_folder(&self) -> Option<PathBuf> {
        (self.web_root.as_os_str() != "none").then(|| self.web_root.clone())
    }

    pub(crate) fn keepalive(&self) -> Keepalive {
        Keepalive {
            interval: self.ping_after,
            answer_time: self.pong_time,
        }
    }
}

impl Limited {
    /// As signaling knows them.
    pub(crate) fn guard(&self) -> GuardConfig {
        GuardConfig {
            requests_per_source: self.requests_per_source,
            requests_per_minute: self.requests_per_minute,
            calls_per_minute: self.calls_per_minute,
        }
    }

    pub(crate) fn admission(&self) -> Limits {
        Limits {
            connections: self.connections,
            flows: self.flows,
            flows_per_source: self.flows_per_source,
            accepts_per_second: self.accepts_per_second,
        }
    }
}

/// A scheme and its usual port.
type Scheme = (&'static str, u16);
const HTTPS: Scheme = ("https", 443);
const HTTP: Scheme = ("http", 80);
const LOCALHOST: &str = "localhost";

fn origins((scheme, usual): Scheme, addresses: &[SocketAddr], names: &[String]) -> Vec<String> {
    let mut ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
        .iter()
        .flat_map(|&port| {
            names.iter().map(move |name| match port {
                port if port == usual => format!("{scheme}://{name}"),
                port => format!("{scheme}://{name}:{port}"),
            })
        })
        .collect()
}

/// An address as it stands in a page's address.
fn literal(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn machine_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty() && name != "(none)").then(|| name.to_owned())
}
