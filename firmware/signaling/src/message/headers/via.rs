//! Via, RFC 3261 §20.42, with rport of RFC 3581 and the WebSocket transports of
//! RFC 7118.

use std::fmt;
use std::net::IpAddr;

use super::Typed;
use crate::id::SipTransport;
use crate::message::header_name::HeaderName;
use crate::message::host::{Host, split_port};
use crate::message::params::{self, Params};
use crate::message::scan::{is_token, number, trim};

/// One hop that a request took.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Via {
    /// How the request was sent.
    pub transport: ViaTransport,
    /// Who sent it, as it names itself.
    pub host: Host,
    /// Its port, if not the default.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params,
}

/// The transport of a Via.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViaTransport {
    /// `UDP`.
    Udp,
    /// `TCP`.
    Tcp,
    /// `TLS`.
    Tls,
    /// `WS`.
    Ws,
    /// `WSS`.
    Wss,
    /// Any other token.
    Other(Box<str>),
}

impl ViaTransport {
    fn parse(text: &str) -> Self {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        if is("UDP") {
            ViaTransport::Udp
        } else if is("TCP") {
            ViaTransport::Tcp
        } else if is("TLS") {
            ViaTransport::Tls
        } else if is("WS") {
            ViaTransport::Ws
        } else if is("WSS") {
            ViaTransport::Wss
        } else {
            ViaTransport::Other(text.into())
        }
    }

    /// The token on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            ViaTransport::Udp => "UDP",
            ViaTransport::Tcp => "TCP",
            ViaTransport::Tls => "TLS",
            ViaTransport::Ws => "WS",
            ViaTransport::Wss => "WSS",
            ViaTransport::Other(name) => name,
        }
    }
}

impl From<SipTransport> for ViaTransport {
    fn from(transport: SipTransport) -> Self {
        match transport {
            SipTransport::Udp => ViaTransport::Udp,
            SipTransport::Tcp => ViaTransport::Tcp,
            SipTransport::Tls => ViaTransport::Tls,
        }
    }
}

impl Via {
    /// A hop of our own; `branch` without the magic cookie, which is put before it.
    #[must_use]
    pub fn new(
        transport: impl Into<ViaTransport>,
        host: Host,
        port: Option<u16>,
        branch: &str,
    ) -> Self {
        let mut params = Params::new();
        params.set("branch", format_args!("{MAGIC_COOKIE}{branch}"));
        Via {
            transport: transport.into(),
            host,
            port,
            params,
        }
    }

    /// What names the transaction, RFC 3261 §8.1.1.7.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is unique over space and time, which peers older than
    /// RFC 3261 do not promise.
    #[must_use]
    pub fn has_magic_cookie(&self) -> bool {
        self.branch().is_some_and(|branch| {
            let cookie = branch.as_bytes().get(..MAGIC_COOKIE.len());
            cookie.is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE.as_bytes()))
                && branch.len() > MAGIC_COOKIE.len()
        })
    }

    /// Where the request really came from, RFC 3261 §18.2.1; with or without brackets
    /// around IPv6 (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether the sender wants its answers at the port it sent from, RFC 3581.
    #[must_use]
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The port that the request came from, once it is filled in.
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport").and_then(number)
    }

    /// The branch of a well-formed Via, without keeping the rest.
    pub(in crate::message) fn checked(text: &str) -> bool {
        Parts::of(text).is_some_and(|parts| Params::is_well_formed(parts.params))
    }
}

impl Typed for Via {
    const NAME: HeaderName = HeaderName::Via;

    fn parse(value: &str) -> Option<Self> {
        let parts = Parts::of(value)?;
        Some(Via {
            transport: ViaTransport::parse(parts.transport),
            host: Host::parse(parts.host)?,
            port: parts.port,
            params: Params::parse(parts.params)?,
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport.as_str(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branch = params::find(self.params.as_str(), "branch").flatten();
        write!(f, "{} branch={branch:?}", self.transport.as_str())
    }
}

/// The raw parts of a Via.
struct Parts<'a> {
    transport: &'a str,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        let rest = trim(rest);
        let (transport, sent_by) = rest.split_once([' ', '\t'])?;
        let (sent_by, params) = sent_by.split_at(sent_by.find(';').unwrap_or(sent_by.len()));
        let (host, port) = split_port(trim(sent_by))?;
        let good = trim(protocol).eq_ignore_ascii_case("SIP")
            && trim(version) == "2.0"
            && is_token(transport);
        good.then_some(Parts {
            transport,
            host,
            port,
            params,
        })
    }
}

/// How branches start since RFC 3261 §8.1.1.7.
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spaces_around_slashes_and_colon_do_not_matter() {
        let via =
            Via::parse("SIP  / 2.0  / UDP     [2001:db8::9] : 5070 ; branch = z9hG4bKx ;rport")
                .unwrap();
        assert_eq!(
            via.to_string(),
            "SIP/2.0/UDP [2001:db8::9]:5070; branch = z9hG4bKx ;rport"
        );
        assert_eq!(via.branch(), Some("z9hG4bKx"));
        assert!(via.has_magic_cookie() && via.wants_rport());
        assert_eq!(via.rport(), None);
    }

    #[test]
    fn received_is_read_with_and_without_brackets() {
        for text in ["2001:db8::1", "[2001:db8::1]"] {
            let via = Via::parse(&format!("SIP/2.0/WSS x.invalid;received={text}")).unwrap();
            assert_eq!(via.received().unwrap().to_string(), "2001:db8::1");
        }
    }
}
