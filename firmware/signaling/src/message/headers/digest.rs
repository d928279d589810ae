//! Challenges and their answers, RFC 3261 §20.7, §20.27, §20.28 and §20.44; the
//! parameters of Digest are kept as they came (RFC 7616, RFC 3310).

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::scan::{List, is_token, quote, trim, unquote};

/// A scheme and its parameters, in order. `Debug` hides the values.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest {
    /// `Digest`, or another scheme such as `Bearer`.
    pub scheme: String,
    /// Names and raw values, quotes included. What is not `name=value` (a bearer
    /// token) is a name with an empty value.
    params: Vec<(String, String)>,
}

impl Digest {
    /// A scheme without parameters.
    #[must_use]
    pub fn new(scheme: impl Into<String>) -> Self {
        Digest {
            scheme: scheme.into(),
            params: Vec::new(),
        }
    }

    /// Whether the scheme is Digest.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }

    /// What a parameter says, quotes and escapes resolved.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        self.raw(name).map(unquote)
    }

    /// A parameter as it came, quotes included.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All parameters in order, raw.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds or replaces a parameter that is written in quotes.
    pub fn set_quoted(&mut self, name: &str, value: &str) {
        self.set(name, &quote(value));
    }

    /// Adds or replaces a parameter that is written as it is.
    pub fn set(&mut self, name: &str, value: &str) {
        self.params
            .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.params.push((name.to_owned(), value.to_owned()));
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        is_token(scheme).then_some(())?;
        let mut digest = Digest::new(scheme);
        for param in List::new(rest) {
            let param = param.ok()?;
            if param.is_empty() {
                continue; // Commas in a row are common and harmless.
            }
            if digest.params.len() == MAX_PARAMS {
                return None;
            }
            let is_digest = digest.is_digest();
            let (name, value) = match param.split_once('=') {
                Some((name, value)) if is_token(trim(name)) && !trim(value).is_empty() => {
                    (trim(name), trim(value))
                }
                _ if is_digest => return None,
                _ => (param, ""),
            };
            digest.params.push((name.to_owned(), value.to_owned()));
        }
        Some(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (index, (name, value)) in self.params.iter().enumerate() {
            f.write_str(if index == 0 { " " } else { ", " })?;
            f.write_str(name)?;
            if !value.is_empty() {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <private>", self.scheme)
    }
}

macro_rules! digest_headers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name(pub Digest);

            impl Typed for $name {
                const NAME: HeaderName = HeaderName::$name;

                fn parse(value: &str) -> Option<Self> {
                    Digest::parse(value).map($name)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }
        )*
    };
}

digest_headers! {
    /// RFC 3261 §20.44.
    WwwAuthenticate;
    /// RFC 3261 §20.27.
    ProxyAuthenticate;
    /// RFC 3261 §20.7.
    Authorization;
    /// RFC 3261 §20.28.
    ProxyAuthorization;
}

/// More than any scheme has.
const MAX_PARAMS: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn challenge_is_read_and_written_verbatim() {
        let text =
            r#"Digest realm="ims, \"x\"", nonce="a=b", algorithm=AKAv1-MD5, qop="auth,auth-int""#;
        let digest = Digest::parse(text).unwrap();
        assert_eq!(digest.get("Realm").unwrap(), "ims, \"x\"");
        assert_eq!(digest.get("algorithm").unwrap(), "AKAv1-MD5");
        assert_eq!(digest.raw("qop").unwrap(), "\"auth,auth-int\"");
        assert_eq!(digest.to_string(), text);
    }

    #[test]
    fn bearer_token_is_kept_whole() {
        let digest = Digest::parse("Bearer eyJh.bC-d_e~+/==").unwrap();
        assert_eq!(digest.scheme, "Bearer");
        assert_eq!(digest.to_string(), "Bearer eyJh.bC-d_e~+/==");
    }
}
