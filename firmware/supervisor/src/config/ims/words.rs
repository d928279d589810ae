//! How single settings towards the IMS are written.

use std::net::{IpAddr, SocketAddr};

use iq::PayloadFormat;
use signaling::SipTransport;
use signaling::config::{Host, HostName, PreconditionPolicy, PrivateIdentityRule};
use signaling::guard::dial_plan::Rule;

use crate::config::reader::text_value;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

impl std::str::FromStr for Peer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bare: Result<IpAddr, _> = text.parse();
        let (host, port) = match text.rsplit_once(':').filter(|_| bare.is_err()) {
            Some((host, port)) if !text.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| ())?))
            }
            _ => (text, None),
        };
        if let Ok(address) = bare {
            let host = Host::Address(address);
            return Ok(Peer { host, port });
        }
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match (literal, host.parse()) {
            (Some(v6), _) => Host::Address(IpAddr::V6(v6.parse().map_err(|_| ())?)),
            (None, Ok(v4)) => Host::Address(IpAddr::V4(v4)),
            (None, Err(_)) => Host::Name(HostName::parse(host).ok_or(())?),
        };
        if port == Some(0) {
            return Err(());
        }
        Ok(Peer { host, port })
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

/// A transport by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport(pub(crate) Option<SipTransport>);

impl std::str::FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Transport(None)),
            "udp" => Ok(Transport(Some(SipTransport::Udp))),
            "tcp" => Ok(Transport(Some(SipTransport::Tcp))),
            "tls" => Ok(Transport(Some(SipTransport::Tls))),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            None => "auto",
            Some(SipTransport::Udp) => "udp",
            Some(SipTransport::Tcp) => "tcp",
            Some(SipTransport::Tls) => "tls",
        })
    }
}

/// A name server: an address, and a port if it is not 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl std::str::FromStr for NameServer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let usual = text.parse().map(|address| SocketAddr::new(address, 53));
        usual
            .or_else(|_| text.parse())
            .map(NameServer)
            .map_err(|_| ())
    }
}

impl std::fmt::Display for NameServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A rule of the dial plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialRule(pub(crate) Rule);

impl std::str::FromStr for DialRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Rule::parse(text).map(DialRule).ok_or(())
    }
}

impl std::fmt::Display for DialRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(
    DialRule,
    "\"allow\" or \"deny\" and digits, with \"x\" for any digit and \"*\" for any rest, like \
     \"deny +4990*\""
);

/// A domain of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain(pub(crate) HostName);

impl std::str::FromStr for Domain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        HostName::parse(text).map(Domain).ok_or(())
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A rule by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrivateIdentity(pub(super) PrivateIdentityRule);

impl std::str::FromStr for PrivateIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "implied" => Ok(PrivateIdentity(PrivateIdentityRule::Implied)),
            "absent" => Ok(PrivateIdentity(PrivateIdentityRule::Absent)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for PrivateIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            PrivateIdentityRule::Implied => "implied",
            PrivateIdentityRule::Absent => "absent",
        })
    }
}

text_value!(
    Peer,
    "a host and a port, like \"pcscf.example.com:5060\" or \"192.0.2.10:5060\", or a domain \
     whose records say it, like \"ims.example.com\""
);
text_value!(Transport, "\"auto\", \"udp\", \"tcp\" or \"tls\"");
text_value!(
    NameServer,
    "an address, like \"192.0.2.53\", or one with a port"
);
text_value!(Domain, "a domain, like \"ims.example.com\"");
/// An audio codec by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codec(pub(super) PayloadFormat);

impl std::str::FromStr for Codec {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pcma" => Ok(Codec(PayloadFormat::Pcma)),
            "pcmu" => Ok(Codec(PayloadFormat::Pcmu)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            PayloadFormat::Pcmu => "pcmu",
            _ => "pcma",
        })
    }
}

/// What is done about preconditions, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preconditions(pub(super) PreconditionPolicy);

impl std::str::FromStr for Preconditions {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(Preconditions(PreconditionPolicy::None)),
            "answer" => Ok(Preconditions(PreconditionPolicy::Answer)),
            "offer" => Ok(Preconditions(PreconditionPolicy::Offer)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Preconditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            PreconditionPolicy::None => "none",
            PreconditionPolicy::Answer => "answer",
            PreconditionPolicy::Offer => "offer",
        })
    }
}

text_value!(Preconditions, "\"none\", \"answer\" or \"offer\"");
text_value!(Codec, "\"pcma\" or \"pcmu\"");
text_value!(PrivateIdentity, "\"implied\" or \"absent\"");
