//! Hosts of URIs and of Via, RFC 3261 §25.1 `host`, RFC 5118 for IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Where a URI or a Via points.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A domain name.
    Name(HostName),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; in brackets on the wire.
    V6(Ipv6Addr),
}

impl Host {
    /// Reads a host; `None` if it is neither a name nor an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            return parse_v6(rest.strip_suffix(']')?).map(Host::V6);
        }
        if text.as_bytes().first()?.is_ascii_digit()
            && let Ok(address) = text.parse()
        {
            return Some(Host::V4(address));
        }
        HostName::parse(text).map(Host::Name)
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// A domain name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Reads a name; `None` if a letter cannot be part of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_name(text).then(|| HostName(text.to_ascii_lowercase().into()))
    }

    /// The name.
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

/// Splits `host[:port]`, white space allowed around the colon as in a Via.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = if text.starts_with('[') {
        text.split_at(text.find(']')? + 1)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let host = super::scan::trim(host);
    if !is_host(host) {
        return None;
    }
    let rest = super::scan::trim(rest);
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = super::scan::trim(rest.strip_prefix(':')?);
    super::scan::number(port).map(|port| (host, Some(port)))
}

/// Whether [`Host::parse`] takes the text.
fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|inner| parse_v6(inner).is_some()),
        None => is_name(text),
    }
}

/// The grammar of RFC 3261 lets `:::` through in front of a mapped IPv4 address, and RFC
/// 5118 §4.10 wants it understood.
fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    let address = text.parse().ok();
    address.or_else(|| text.replacen(":::", "::", 1).parse().ok())
}

/// Letters, digits, dots and dashes, and the underscore that RFC 3261 forbids and
/// that operators' names hold all the same.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_NAME
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// RFC 1035 §2.3.4.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        let host = |text| Host::parse(text).map(|host| host.to_string());
        assert_eq!(host("Example.COM").unwrap(), "example.com");
        assert_eq!(host("192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(host("[2001:DB8::9:1]").unwrap(), "[2001:db8::9:1]");
        assert_eq!(host("3com.com").unwrap(), "3com.com");
        for bad in ["", "a b", "2001:db8::1", "[::1", "[x]", "a/b", ".x"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn port_is_told_from_an_ipv6_address() {
        assert_eq!(split_port("[::1]:5070"), Some(("[::1]", Some(5070))));
        assert_eq!(split_port("[::1]"), Some(("[::1]", None)));
        assert_eq!(split_port("a.b : 1"), Some(("a.b", Some(1))));
        for bad in ["::1", "a:", "a:65536", "a:x", "[::1]x", "a:-1"] {
            assert_eq!(split_port(bad), None, "{bad}");
        }
    }
}
