//! SIP and SIPS URIs, RFC 3261 §19.1: one text with marks on it.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use super::host::{Host, split_port};
use super::params::{self, Params};
use super::uri::is_opaque;

/// A `sip:` or `sips:` URI. Edits give a new value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipUri {
    text: Arc<str>,
    marks: Marks,
}

impl SipUri {
    /// A URI of a host alone.
    #[must_use]
    pub fn new(host: &Host, port: Option<u16>) -> Self {
        let host = host.to_string();
        Pieces {
            scheme: "sip",
            userinfo: None,
            host: &host,
            port,
            params: "",
            headers: None,
        }
        .compose()
    }

    /// Reads the whole text; the caller has looked at the scheme.
    pub(super) fn parse(text: &str, secure: bool) -> Option<Self> {
        Marks::of(text, secure).map(|marks| SipUri {
            text: text.into(),
            marks,
        })
    }

    pub(super) fn is_well_formed(text: &str) -> bool {
        Marks::of(text, false).is_some()
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is `sips`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.marks.secure
    }

    /// The user as it is written, escapes included.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        let userinfo = self.userinfo()?;
        Some(userinfo.split_once(':').map_or(userinfo, |(user, _)| user))
    }

    /// The user with its escapes resolved; `None` too if that is not UTF-8.
    #[must_use]
    pub fn unescaped_user(&self) -> Option<String> {
        unescape(self.user()?)
    }

    /// The password, which RFC 3261 §19.1.1 advises against.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.userinfo()?
            .split_once(':')
            .map(|(_, password)| password)
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> Host {
        Host::parse(self.host_text()).expect("checked when the URI was read")
    }

    /// The host as it is written.
    #[must_use]
    pub fn host_text(&self) -> &str {
        &self.text[self.marks.host.clone()]
    }

    /// The port, if it is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.marks.port
    }

    /// All parameters in order, raw.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        params::iter(self.params_text())
    }

    /// The raw value of a parameter; an empty text if it is a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        params::find(self.params_text(), name).map(Option::unwrap_or_default)
    }

    /// Whether a parameter is there.
    #[must_use]
    pub fn has_param(&self, name: &str) -> bool {
        params::find(self.params_text(), name).is_some()
    }

    /// Whether the URI is that of a loose router, RFC 3261 §19.1.1.
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.has_param("lr")
    }

    /// The headers after `?`, raw.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        self.text[self.marks.params.end..].strip_prefix('?')
    }

    /// A header after `?`, its escapes resolved.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers()?.split('&');
        let mut named = headers.filter_map(|header| header.split_once('='));
        let (_, value) = named.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        unescape(value)
    }

    /// The same with this header alone after `?`; what a URI cannot hold is escaped.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let header = format!("{name}={}", escape(value, HEADER_MARKS));
        Pieces {
            headers: Some(&header),
            ..self.pieces()
        }
        .compose()
    }

    /// The same with another user, which is escaped; `None` takes the user away.
    #[must_use]
    pub fn with_user(&self, user: Option<&str>) -> Self {
        let escaped = user.map(escape_user);
        Pieces {
            userinfo: escaped.as_deref(),
            ..self.pieces()
        }
        .compose()
    }

    /// The same with another host and port.
    #[must_use]
    pub fn with_host(&self, host: &Host, port: Option<u16>) -> Self {
        let host = host.to_string();
        Pieces {
            host: &host,
            port,
            ..self.pieces()
        }
        .compose()
    }

    /// The same as `sips:` or as `sip:`.
    #[must_use]
    pub fn with_secure(&self, secure: bool) -> Self {
        Pieces {
            scheme: if secure { "sips" } else { "sip" },
            ..self.pieces()
        }
        .compose()
    }

    /// The same with a parameter set; what a URI cannot hold is escaped.
    #[must_use]
    pub fn with_param(&self, name: &str, value: &str) -> Self {
        self.with_params(|params| params.set_escaped(name, &escape(value, PARAM_MARKS)))
    }

    /// The same with a parameter that has no value, such as `lr`.
    #[must_use]
    pub fn with_flag(&self, name: &str) -> Self {
        self.with_params(|params| params.set_flag(name))
    }

    /// The same without a parameter.
    #[must_use]
    pub fn without_param(&self, name: &str) -> Self {
        self.with_params(|params| params.remove(name))
    }

    /// The same without any parameter.
    #[must_use]
    pub fn without_params(&self) -> Self {
        Pieces {
            params: "",
            ..self.pieces()
        }
        .compose()
    }

    /// The same without `?` and what follows.
    #[must_use]
    pub fn without_headers(&self) -> Self {
        Pieces {
            headers: None,
            ..self.pieces()
        }
        .compose()
    }

    /// RFC 3261 §19.1.4.
    pub(super) fn is_equivalent(&self, other: &SipUri) -> bool {
        self.is_secure() == other.is_secure()
            && same_escaped(self.user(), other.user())
            && same_escaped(self.password(), other.password())
            && self.host() == other.host()
            && self.port() == other.port()
            && self.params_match(other)
            && other.params_match(self)
            && sorted_headers(self) == sorted_headers(other)
    }

    /// Parameters in both must agree; some must be in both or in none.
    fn params_match(&self, other: &SipUri) -> bool {
        self.params().all(
            |(name, value)| match params::find(other.params_text(), name) {
                Some(theirs) => match (
                    unescape(value.unwrap_or("")),
                    unescape(theirs.unwrap_or("")),
                ) {
                    (Some(one), Some(two)) => one.eq_ignore_ascii_case(&two),
                    _ => value == theirs,
                },
                None => !NEVER_ALONE
                    .iter()
                    .any(|never| never.eq_ignore_ascii_case(name)),
            },
        )
    }

    fn with_params(&self, edit: impl FnOnce(&mut Params)) -> Self {
        let mut params = Params::parse(self.params_text()).expect("checked when the URI was read");
        edit(&mut params);
        Pieces {
            params: params.as_str(),
            ..self.pieces()
        }
        .compose()
    }

    fn userinfo(&self) -> Option<&str> {
        self.marks.userinfo.clone().map(|range| &self.text[range])
    }

    fn params_text(&self) -> &str {
        &self.text[self.marks.params.clone()]
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces {
            scheme: if self.is_secure() { "sips" } else { "sip" },
            userinfo: self.userinfo(),
            host: self.host_text(),
            port: self.port(),
            params: self.params_text(),
            headers: self.headers(),
        }
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sip:<private>")
    }
}

/// Where the parts are in the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Marks {
    secure: bool,
    userinfo: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    /// With the first `;`; what follows are the headers.
    params: Range<usize>,
}

impl Marks {
    fn of(text: &str, secure: bool) -> Option<Self> {
        let start = text.find(':')? + 1;
        // The user may hold `;` and `?`, and nothing after it may hold `@`.
        let userinfo = text[start..].find('@').map(|at| start..start + at);
        let host_start = userinfo.as_ref().map_or(start, |range| range.end + 1);
        let rest = &text[host_start..];
        let host_len = rest.find([';', '?']).unwrap_or(rest.len());
        let (host, port) = split_port(&rest[..host_len])?;
        let tail = &rest[host_len..];
        let params_len = tail.find('?').unwrap_or(tail.len());
        let params = host_start + host_len..host_start + host_len + params_len;
        let good = is_opaque(&text[start..])
            && !rest.contains('@')
            && userinfo
                .clone()
                .is_none_or(|range| is_userinfo(&text[range]))
            && Params::is_well_formed(&text[params.clone()])
            && has_good_escapes(rest);
        good.then(|| Marks {
            secure,
            userinfo,
            host: host_start..host_start + host.len(),
            port,
            params,
        })
    }
}

impl PartialOrd for Marks {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Marks {
    /// Marks follow from the text, which has been compared before them.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.host.start.cmp(&other.host.start)
    }
}

/// What a URI is written from.
struct Pieces<'a> {
    scheme: &'a str,
    userinfo: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    params: &'a str,
    headers: Option<&'a str>,
}

impl Pieces<'_> {
    fn compose(&self) -> SipUri {
        let mut text = format!("{}:", self.scheme);
        let userinfo = self.userinfo.map(|userinfo| {
            let start = text.len();
            text.push_str(userinfo);
            text.push('@');
            start..text.len() - 1
        });
        let host = text.len()..text.len() + self.host.len();
        text.push_str(self.host);
        if let Some(port) = self.port {
            write!(text, ":{port}").expect("a string takes any text");
        }
        let params = text.len()..text.len() + self.params.len();
        text.push_str(self.params);
        if let Some(headers) = self.headers {
            text.push('?');
            text.push_str(headers);
        }
        SipUri {
            text: text.into(),
            marks: Marks {
                secure: self.scheme == "sips",
                userinfo,
                host,
                port: self.port,
                params,
            },
        }
    }
}

fn is_userinfo(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(':') && has_good_escapes(text)
}

/// Whether each `%` is followed by two hexadecimal digits.
fn has_good_escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes
            .get(at + 1..at + 3)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut said = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            said.push((high * 16 + low) as u8);
        } else {
            said.push(byte);
        }
    }
    String::from_utf8(said).ok()
}

fn escape_user(user: &str) -> String {
    escape(user, USER_MARKS)
}

fn escape(text: &str, marks: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || marks.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes any text");
        }
    }
    escaped
}

fn same_escaped(one: Option<&str>, two: Option<&str>) -> bool {
    one == two
        || matches!((one, two), (Some(one), Some(two))
            if unescape(one).is_some() && unescape(one) == unescape(two))
}

fn sorted_headers(uri: &SipUri) -> Vec<String> {
    let mut headers: Vec<_> = uri
        .headers()
        .into_iter()
        .flat_map(|headers| headers.split('&'))
        .map(|header| unescape(header).unwrap_or_else(|| header.to_owned()))
        .collect();
    headers.sort_unstable();
    headers
}

/// Parameters that never match when only one URI has them, RFC 3261 §19.1.4.
const NEVER_ALONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// RFC 3261 §25.1 `unreserved` and `user-unreserved`.
const USER_MARKS: &[u8] = b"-_.!~*'()&=+$,;?/";

/// What stands for itself in the value of a header of a URI, RFC 3261 §25.1.
const HEADER_MARKS: &[u8] = b"-_.!~*'()[]/?:+$";

/// RFC 3261 §25.1 `unreserved` and `param-unreserved`.
const PARAM_MARKS: &[u8] = b"-_.!~*'()[]/:&+$";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::uri::Uri;
    use super::*;

    fn sip(text: &str) -> SipUri {
        Uri::parse(text).unwrap().as_sip().unwrap().clone()
    }

    #[test]
    fn parts_of_a_uri_are_told_apart() {
        let uri = sip("sips:al;x?ice:se%40cret@[2001:db8::1]:5061;transport=tcp;lr?a=b&c=d");
        assert_eq!(uri.user(), Some("al;x?ice"));
        assert_eq!(uri.password(), Some("se%40cret"));
        assert_eq!(uri.host().to_string(), "[2001:db8::1]");
        assert_eq!(uri.port(), Some(5061));
        assert_eq!(uri.param("Transport"), Some("tcp"));
        assert!(uri.is_loose_router() && uri.is_secure());
        assert_eq!(uri.headers(), Some("a=b&c=d"));
    }

    #[test]
    fn edits_leave_the_rest_as_it_was() {
        let uri = sip("sip:alice@example.com:5070;a=1;lr?h=v");
        assert_eq!(
            uri.with_user(Some("b b")).as_str(),
            "sip:b%20b@example.com:5070;a=1;lr?h=v"
        );
        assert_eq!(
            uri.with_host(&Host::parse("[::1]").unwrap(), None).as_str(),
            "sip:alice@[::1];a=1;lr?h=v"
        );
        assert_eq!(
            uri.with_param("a", "x y").without_param("lr").as_str(),
            "sip:alice@example.com:5070;a=x%20y?h=v"
        );
        assert_eq!(
            uri.without_params().without_headers().with_user(None),
            sip("sip:example.com:5070")
        );
        assert_eq!(
            uri.with_flag("ob"),
            sip("sip:alice@example.com:5070;a=1;lr;ob?h=v")
        );
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn equivalence_is_that_of_the_rfc() {
        let same =
            |one, two| sip(one).is_equivalent(&sip(two)) && sip(two).is_equivalent(&sip(one));
        assert!(same(
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp"
        ));
        assert!(same(
            "sip:carol@chicago.com",
            "sip:carol@chicago.com;newparam=5"
        ));
        assert!(same(
            "sip:carol@chicago.com;newparam=5",
            "sip:carol@chicago.com;security=on"
        ));
        assert!(same(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(same(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
        assert!(!same(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP"
        ));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same(
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com;transport=udp"
        ));
        assert!(!same(
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp"
        ));
        assert!(!same(
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting"
        ));
        assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!same(
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off"
        ));
    }
}
