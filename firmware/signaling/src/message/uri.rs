//! URIs as SIP carries them: sip and sips (RFC 3261 §19.1), tel (RFC 3966), urn
//! (RFC 8141), and any other scheme kept as it came.

use std::fmt;
use std::sync::Arc;

use super::scan::is_token_bytes;
pub use super::sip_uri::SipUri;

/// A URI. Its text is exactly what was parsed, until it is edited; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(SipUri),
    /// `tel:`.
    Tel(TelUri),
    /// `urn:`, such as `urn:service:sos`.
    Urn(OtherUri),
    /// Any other scheme.
    Other(OtherUri),
}

impl Uri {
    /// Reads a URI; `None` if it breaks the grammar of its scheme.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = split_scheme(text)?;
        Some(if scheme.eq_ignore_ascii_case("sip") {
            Uri::Sip(SipUri::parse(text, false)?)
        } else if scheme.eq_ignore_ascii_case("sips") {
            Uri::Sip(SipUri::parse(text, true)?)
        } else if scheme.eq_ignore_ascii_case("tel") {
            Uri::Tel(TelUri::parse(text)?)
        } else if !is_opaque(rest) {
            return None;
        } else if scheme.eq_ignore_ascii_case("urn") {
            Uri::Urn(OtherUri(text.into()))
        } else {
            Uri::Other(OtherUri(text.into()))
        })
    }

    /// Whether [`Uri::parse`] would take the text; cheaper, as nothing is kept.
    pub(super) fn is_well_formed(text: &str) -> bool {
        let Some((scheme, rest)) = split_scheme(text) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
            SipUri::is_well_formed(text)
        } else if scheme.eq_ignore_ascii_case("tel") {
            is_tel(rest)
        } else {
            is_opaque(rest)
        }
    }

    /// The text as it stands on the wire, without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Uri::Sip(uri) => uri.as_str(),
            Uri::Tel(uri) => uri.as_str(),
            Uri::Urn(uri) | Uri::Other(uri) => uri.as_str(),
        }
    }

    /// The part before the colon, as it came.
    #[must_use]
    pub fn scheme(&self) -> &str {
        split_scheme(self.as_str()).map_or("", |(scheme, _)| scheme)
    }

    /// The SIP or SIPS URI that it is, if it is one.
    #[must_use]
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Uri::Sip(uri) => Some(uri),
            Uri::Tel(_) | Uri::Urn(_) | Uri::Other(_) => None,
        }
    }

    /// The tel URI that it is, if it is one.
    #[must_use]
    pub fn as_tel(&self) -> Option<&TelUri> {
        match self {
            Uri::Tel(uri) => Some(uri),
            Uri::Sip(_) | Uri::Urn(_) | Uri::Other(_) => None,
        }
    }

    /// Whether both name the same thing: RFC 3261 §19.1.4, RFC 3966 §4. Derived
    /// equality compares the text instead.
    #[must_use]
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        match (self, other) {
            _ if self == other => true,
            (Uri::Sip(one), Uri::Sip(two)) => one.is_equivalent(two),
            (Uri::Tel(one), Uri::Tel(two)) => one.is_equivalent(two),
            (Uri::Urn(one), Uri::Urn(two)) => {
                // RFC 8141 §3: the namespace has no case; services (RFC 5031 §4) neither.
                one.as_str().eq_ignore_ascii_case(two.as_str())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:<private>", self.scheme())
    }
}

impl From<SipUri> for Uri {
    fn from(uri: SipUri) -> Self {
        Uri::Sip(uri)
    }
}

/// A telephone number, RFC 3966.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TelUri {
    text: Arc<str>,
}

impl TelUri {
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = split_scheme(text)?;
        is_tel(rest).then(|| TelUri { text: text.into() })
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number as it is written, separators included.
    #[must_use]
    pub fn number(&self) -> &str {
        self.parts().0
    }

    /// The number without visual separators, RFC 3966 §5.1.1.
    #[must_use]
    pub fn digits(&self) -> String {
        strip_separators(self.number())
    }

    /// Whether the number holds all over the world, RFC 3966 §5.1.4.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.number().starts_with('+')
    }

    /// The raw value of a parameter, such as `phone-context`.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        super::params::find(self.parts().1, name).map(Option::unwrap_or_default)
    }

    /// All parameters in order.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        super::params::iter(self.parts().1)
    }

    fn is_equivalent(&self, other: &TelUri) -> bool {
        let matches = |one: &TelUri, two: &TelUri| {
            one.params().all(|(name, value)| {
                match (value, super::params::find(two.parts().1, name)) {
                    (value, Some(other)) => strip_separators(value.unwrap_or_default())
                        .eq_ignore_ascii_case(&strip_separators(other.unwrap_or_default())),
                    (_, None) => false,
                }
            })
        };
        self.digits().eq_ignore_ascii_case(&other.digits())
            && matches(self, other)
            && matches(other, self)
    }

    /// Number, and parameters with the first `;`.
    fn parts(&self) -> (&str, &str) {
        let rest = split_scheme(&self.text).map_or("", |(_, rest)| rest);
        rest.split_at(rest.find(';').unwrap_or(rest.len()))
    }
}

impl fmt::Debug for TelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tel:<private>")
    }
}

/// A URI whose scheme this gateway does not take apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherUri(Arc<str>);

impl OtherUri {
    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the scheme and its colon.
    #[must_use]
    pub fn opaque(&self) -> &str {
        split_scheme(&self.0).map_or("", |(_, rest)| rest)
    }
}

impl fmt::Debug for OtherUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}

/// Cuts at the colon after the scheme, RFC 3986 §3.1.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let good = scheme.as_bytes().first()?.is_ascii_alphabetic()
        && is_token_bytes(scheme.as_bytes())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    good.then_some((scheme, rest))
}

/// Printable ASCII without what ends a URI inside a header.
pub(super) fn is_opaque(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'))
}

/// RFC 3966 §3: digits and separators, `+` in front of a global number; local
/// numbers also hold letters up to F, `*` and `#`.
fn is_tel(rest: &str) -> bool {
    let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    let digits = number.strip_prefix('+').unwrap_or(number);
    is_opaque(rest)
        && super::params::Params::is_well_formed(params)
        && digits.bytes().any(|byte| !SEPARATORS.contains(&byte))
        && digits.bytes().all(|byte| {
            byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#') || SEPARATORS.contains(&byte)
        })
}

fn strip_separators(number: &str) -> String {
    let kept = number.bytes().filter(|byte| !SEPARATORS.contains(byte));
    kept.map(char::from).collect()
}

/// RFC 3966 §3 `visual-separator`.
const SEPARATORS: &[u8] = b"-.()";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap()
    }

    #[test]
    fn every_scheme_comes_out_as_it_went_in() {
        for text in [
            "sip:alice@example.com",
            "SIPS:Alice:pw@Example.COM:05061;lr;X=%41?Subject=a%20b&b=",
            "tel:+1-201-555-0123;phone-context=x",
            "tel:863-1234;phone-context=example.com",
            "urn:service:sos.fire",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "nobodyKnowsThisScheme:totallyopaquecontent",
            "mailto:a@b.c",
        ] {
            assert_eq!(uri(text).to_string(), text);
            assert!(Uri::is_well_formed(text));
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":x",
            "1sip:a@b",
            "sip:@host",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:a@b:99999",
            "sip:a@b;;",
            "sip:a@<b>",
            "tel:",
            "tel:+",
            "tel:hello",
            "urn:",
            "x:a b",
            "sip:a@2001:db8::1",
            "sip:a@[2001:db8::1",
            "sip:a@b;=x",
            "sip:%zz@b",
        ] {
            assert!(Uri::parse(text).is_none(), "{text}");
            assert!(!Uri::is_well_formed(text), "{text}");
        }
    }

    #[test]
    fn telephone_numbers_are_the_same_whatever_their_separators() {
        assert!(uri("tel:+1-201-555-0123").is_equivalent(&uri("TEL:+1(201)555.0123")));
        assert!(!uri("tel:+12015550123").is_equivalent(&uri("tel:12015550123")));
        assert!(!uri("tel:123;phone-context=a.b").is_equivalent(&uri("tel:123;phone-context=c.d")));
        assert_eq!(uri("tel:+1-2").as_tel().unwrap().digits(), "+12");
    }
}
