//! `name-addr` and `addr-spec` with their header parameters, RFC 3261 §20.10 and
//! §25.1: From, To, Contact, Route and their kin.

use std::fmt;

use super::params::{self, Params};
use super::scan::{find_outside, quote, quoted_len, trim, unquote};
use super::uri::Uri;

/// An address with a display name and parameters. `Debug` hides who it is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name, quotes and escapes resolved.
    pub display: Option<String>,
    /// Who or where.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without a display name and parameters.
    #[must_use]
    pub fn new(uri: impl Into<Uri>) -> Self {
        NameAddr {
            display: None,
            uri: uri.into(),
            params: Params::new(),
        }
    }

    /// Reads one address; `None` if it breaks the grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = Parts::of(text)?;
        Some(NameAddr {
            display: parts.display.map(unquote),
            uri: Uri::parse(parts.uri)?,
            params: Params::parse(parts.params)?,
        })
    }

    /// Whether [`NameAddr::parse`] would take the text, and the tag if so.
    pub(super) fn checked_tag(text: &str) -> Option<Option<&str>> {
        let parts = Parts::of(text)?;
        (Uri::is_well_formed(parts.uri) && Params::is_well_formed(parts.params))
            .then(|| params::find(parts.params, "tag").flatten())
    }

    /// The tag that makes it one end of a dialog, RFC 3261 §19.3.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The same with another tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", tag);
        self
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>{:?}", self.uri, self.params)
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        NameAddr::new(uri)
    }
}

/// The raw parts of an address.
struct Parts<'a> {
    /// Quoted, or bare words.
    display: Option<&'a str>,
    uri: &'a str,
    /// Empty, or from the first `;` on.
    params: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let text = trim(text);
        let (display, rest) = match quoted_len(text) {
            Some(end) => (Some(&text[..end]), trim(&text[end..])),
            None => match find_outside(text, b'<').ok()? {
                Some(at) => (bare_display(&text[..at])?, &text[at..]),
                None => return Parts::addr_spec(text),
            },
        };
        let (uri, params) = rest.strip_prefix('<')?.split_once('>')?;
        let params = trim(params);
        Some(Parts {
            display,
            uri,
            params,
        })
    }

    /// Without angle brackets every parameter is the header's, and the URI may hold
    /// neither `;` nor `?` nor `,`; RFC 3261 §20.10.
    fn addr_spec(text: &'a str) -> Option<Self> {
        let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        let uri = trim(uri);
        (!uri.contains([',', '?'])).then_some(Parts {
            display: None,
            uri,
            params,
        })
    }
}

/// Words before `<`. RFC 3261 wants tokens; what cannot be mistaken for another
/// part of the header, such as bare UTF-8, is taken too.
fn bare_display(text: &str) -> Option<Option<&str>> {
    let words = trim(text);
    if words.contains([',', ';', '"', '>', '=']) {
        return None;
    }
    Some((!words.is_empty()).then_some(words))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quoted_name_may_hold_what_would_end_an_address() {
        let address =
            NameAddr::parse(r#""Smith, <x>; \"J\" \\" <sip:j@x;p=1>;tag=9;q=0.3"#).unwrap();
        assert_eq!(address.display.as_deref(), Some(r#"Smith, <x>; "J" \"#));
        assert_eq!(address.uri.as_str(), "sip:j@x;p=1");
        assert_eq!(address.tag(), Some("9"));
        assert_eq!(NameAddr::parse(&address.to_string()).unwrap(), address);
    }

    #[test]
    fn bare_address_leaves_its_parameters_to_the_header() {
        let address = NameAddr::parse("sip:j@x ; tag = 1").unwrap();
        assert_eq!(address.uri.as_str(), "sip:j@x");
        assert_eq!(address.tag(), Some("1"));
        assert_eq!(
            NameAddr::parse("Jörg X<tel:+1>").unwrap().display.unwrap(),
            "Jörg X"
        );
    }

    #[test]
    fn broken_addresses_are_refused() {
        for bad in [
            "",
            "<>",
            "<sip:a@b",
            "\"a <sip:a@b>",
            "a, b <sip:a@b>",
            "sip:a@b?x=y",
            "< sip:a@b>",
            "<sip:a@b> x",
            "<sip:a@b>;;",
            "\"a\" sip:a@b",
        ] {
            assert!(NameAddr::parse(bad).is_none(), "{bad}");
            assert!(NameAddr::checked_tag(bad).is_none(), "{bad}");
        }
    }
}
