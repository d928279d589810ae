//! Whom the box believes about a user, as the operator decides it.

use std::fmt;
use std::time::Duration;

use iq::Private;

use super::identity_map::IdentityRule;
use super::jwk::Algorithm;

/// Who is believed about users, and who they are in the IMS.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// The issuers of access tokens.
    pub issuers: Vec<IssuerConfig>,
    /// The rules from claims to identities, in their order.
    pub identities: Vec<IdentityRule>,
}

/// One issuer of access tokens.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// Its name, exactly as `iss` has it.
    pub issuer: HttpsUrl,
    /// How a token of it is checked.
    pub check: TokenCheck,
    /// What `aud` must name one of. May be empty only where the issuer is asked.
    pub audiences: Vec<String>,
    /// Algorithms it signs with.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` that its tokens must have, like `at+jwt` of RFC 9068.
    pub token_type: Option<String>,
    /// Whether an ID token is taken for an access token.
    pub id_tokens: bool,
    /// Scopes or roles that a token must have, all of them.
    pub scopes: Vec<String>,
    /// Applications whose tokens are taken (`azp`, `client_id`); empty means any.
    pub clients: Vec<String>,
    /// How far its clock and ours may differ.
    pub skew: Duration,
    /// How long ago a token may have been issued.
    pub longest_age: Option<Duration>,
    /// Where its keys are, if discovery is not to be asked.
    pub keys: Option<HttpsUrl>,
    /// Which document says where things are.
    pub discovery: Discovery,
    /// How it is asked about tokens, RFC 7662.
    pub introspection: Option<IntrospectionConfig>,
}

impl IssuerConfig {
    /// An issuer of signed tokens, with the defaults of every other setting.
    #[must_use]
    pub fn new(issuer: HttpsUrl, audience: impl Into<String>) -> Self {
        IssuerConfig {
            issuer,
            check: TokenCheck::Signature,
            audiences: vec![audience.into()],
            algorithms: Algorithm::ALL.to_vec(),
            token_type: None,
            id_tokens: false,
            scopes: Vec::new(),
            clients: Vec::new(),
            skew: Duration::from_secs(30),
            longest_age: None,
            keys: None,
            discovery: Discovery::OpenId,
            introspection: None,
        }
    }
}

/// How a token is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// By its signature: it is a JWT.
    Signature,
    /// By asking the issuer, whatever it looks like.
    Introspection,
}

/// Which document says where an issuer's things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// OpenID Connect Discovery §4.
    OpenId,
    /// RFC 8414 §3.
    OAuth,
}

/// How an issuer is asked about tokens.
#[derive(Clone, Debug)]
pub struct IntrospectionConfig {
    /// Where, if discovery is not to be asked.
    pub endpoint: Option<HttpsUrl>,
    /// Who the box is there.
    pub client_id: String,
    /// Its password there.
    pub client_secret: Private<String>,
    /// How often a registered user's token is asked about again.
    pub interval: Duration,
}

/// An `https` URL without user, query and fragment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpsUrl {
    text: String,
    path_at: usize,
}

impl HttpsUrl {
    /// Checks a URL; it is kept as it is written. `None` if it is not `https`, has a part
    /// that no endpoint needs, or characters that no URL has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let is_plain = text.len() <= LONGEST_URL
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>^`{|}".contains(&byte));
        let end = rest.find('/').unwrap_or(rest.len());
        let url = HttpsUrl {
            text: text.to_owned(),
            path_at: text.len() - rest.len() + end,
        };
        let (host, port) = url.host_and_port()?;
        (is_plain && !host.is_empty() && port != 0).then_some(url)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host, and port if one is written: what a Host header says.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text["https://".len()..self.path_at]
    }

    /// The host, an IPv6 address without its brackets, and the port.
    #[must_use]
    pub fn host(&self) -> (&str, u16) {
        self.host_and_port().expect("checked when it was made")
    }

    /// The path, never empty.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.text[self.path_at..] {
            "" => "/",
            path => path,
        }
    }

    /// Where an issuer of this name has its discovery document.
    #[must_use]
    pub fn discovery(&self, kind: Discovery) -> HttpsUrl {
        let base = &self.text[..self.path_at];
        let path = self.text[self.path_at..].trim_end_matches('/');
        // RFC 8414 §3.1 puts the well-known part before the path, OpenID behind it.
        let text = match kind {
            Discovery::OpenId => format!("{base}{path}/.well-known/openid-configuration"),
            Discovery::OAuth => format!("{base}/.well-known/oauth-authorization-server{path}"),
        };
        HttpsUrl {
            text,
            path_at: self.path_at,
        }
    }

    fn host_and_port(&self) -> Option<(&str, u16)> {
        let authority = self.authority();
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let (host, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                host.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
                    .then_some((host, port))?
            }
        };
        match port.strip_prefix(':') {
            None if port.is_empty() => Some((host, 443)),
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some((host, digits.parse().ok()?))
            }
            Some(_) => None,
        }
    }
}

impl fmt::Debug for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Longer URLs are refused.
const LONGEST_URL: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_issuers_discovery_document_is_where_its_standard_says() {
        let plain = HttpsUrl::parse("https://idp.example.com").unwrap();
        let realm = HttpsUrl::parse("https://idp.example.com:8443/realms/acme").unwrap();
        let found = |url: &HttpsUrl, kind| url.discovery(kind).to_string();
        assert_eq!(
            found(&plain, Discovery::OpenId),
            "https://idp.example.com/.well-known/openid-configuration"
        );
        assert_eq!(
            found(&realm, Discovery::OpenId),
            "https://idp.example.com:8443/realms/acme/.well-known/openid-configuration"
        );
        assert_eq!(
            found(&realm, Discovery::OAuth),
            "https://idp.example.com:8443/.well-known/oauth-authorization-server/realms/acme"
        );
        assert_eq!(
            realm.discovery(Discovery::OAuth).path(),
            "/.well-known/oauth-authorization-server/realms/acme"
        );
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = HttpsUrl::parse("https://[::1]:8443/a").unwrap();
        assert_eq!((url.host(), url.path()), (("::1", 8443), "/a"));
        assert_eq!(url.authority(), "[::1]:8443");
        let url = HttpsUrl::parse("https://idp.example.com").unwrap();
        assert_eq!((url.host(), url.path()), (("idp.example.com", 443), "/"));
    }

    #[test]
    fn what_is_no_plain_https_url_is_refused() {
        for wrong in [
            "http://idp.example.com",
            "https://",
            "https://a@idp.example.com",
            "https://idp.example.com?x=1",
            "https://idp.example.com/#x",
            "https://idp.example.com:0",
            "https://idp.example.com:",
            "https://idp.example.com:99999",
            "https://idp.example.com:80a",
            "https://[::1",
            "https://[::1]x",
            "https://idp .example.com",
            "https://idp.example.com/\r\nHost: x",
        ] {
            assert_eq!(HttpsUrl::parse(wrong), None, "{wrong}");
        }
    }
}
