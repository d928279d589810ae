//! Public and private identities, TS 23.003 §13.

use iq::Private;
use serde::{Deserialize, Serialize};

use crate::config::HostName;
use crate::message::{SipUri, Uri};

/// A public user identity (IMPU) in one canonical spelling, so that two spellings of one
/// identity are equal: `sip:user@domain` with the domain in small letters and without
/// parameters, or `tel:+number` without visual separators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicIdentity(Private<String>);

impl PublicIdentity {
    /// `sip:user@domain`. `None` for a user part that RFC 3261 §25.1 does not allow.
    #[must_use]
    pub fn sip(user: &str, domain: &HostName) -> Option<Self> {
        is_user(user).then(|| PublicIdentity(Private::new(format!("sip:{user}@{domain}"))))
    }

    /// `tel:` and a global number, RFC 3966 §5.1.4: `+` and 1 to 15 digits; visual
    /// separators are dropped.
    #[must_use]
    pub fn tel(number: &str) -> Option<Self> {
        let digits: String = number
            .strip_prefix('+')?
            .chars()
            .filter(|c| !"-.()".contains(*c))
            .collect();
        let is_number =
            (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| PublicIdentity(Private::new(format!("tel:+{digits}"))))
    }

    /// The identity that a URI spells: `sip` without its parameters, or a global `tel`.
    #[must_use]
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        match uri {
            Uri::Sip(sip) => PublicIdentity::sip(sip.user()?, &HostName::parse(sip.host_text())?),
            Uri::Tel(tel) => PublicIdentity::tel(tel.number()),
            Uri::Urn(_) | Uri::Other(_) => None,
        }
    }

    /// The identity as a URI, for the wire.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// The user part, or the number with its `+`.
    #[must_use]
    pub fn user(&self) -> Private<&str> {
        let text = self.reveal();
        let rest = text.split_once(':').map_or(text, |(_, rest)| rest);
        Private::new(rest.rsplit_once('@').map_or(rest, |(user, _)| user))
    }

    /// The full number that it is, with its `+`: a tel URI, or a SIP URI with one for its user.
    #[must_use]
    pub fn number(&self) -> Option<Private<&str>> {
        let number = self.user().reveal().split(';').next()?;
        let digits = number.strip_prefix('+')?;
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| Private::new(number))
    }

    /// The domain of a SIP URI.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.reveal().rsplit_once('@').map(|(_, domain)| domain)
    }
}

/// A private user identity (IMPI), `user@realm`: what Digest calls the user name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateIdentity(Private<String>);

impl PrivateIdentity {
    /// The private identity that a public one implies when nothing else is known: the
    /// URI without its scheme, TS 24.229 §5.4.1.2.2.
    #[must_use]
    pub fn implied_by(public: &PublicIdentity) -> Option<Self> {
        let rest = public.reveal().strip_prefix("sip:")?;
        Some(PrivateIdentity(Private::new(rest.to_owned())))
    }

    /// As a client wrote it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        PrivateIdentity(Private::new(text.to_owned()))
    }

    /// The identity, for the wire.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// `user` of RFC 3261 §25.1.
fn is_user(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= USER_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&b))
}

/// Longer user parts than this are not identities that an operator hands out.
const USER_MAX: usize = 128;

/// Whether it is the name of one who wants no name, RFC 3323 §4.1.1.3.
pub(crate) fn is_anonymous(uri: &Uri) -> bool {
    let host = uri.as_sip().map(SipUri::host_text);
    host.is_some_and(|host| host.eq_ignore_ascii_case("anonymous.invalid"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_domain_is_spelled_in_small_letters() {
        let domain = HostName::parse("IMS.Example.COM").unwrap();
        let identity = PublicIdentity::sip("Alice", &domain).unwrap();
        assert_eq!(identity.reveal(), "sip:Alice@ims.example.com");
        assert_eq!(identity.domain(), Some("ims.example.com"));
        assert_eq!(
            PrivateIdentity::implied_by(&identity).unwrap().reveal(),
            "Alice@ims.example.com"
        );
    }

    #[test]
    fn a_number_loses_its_separators() {
        assert_eq!(
            PublicIdentity::tel("+39-040-(123)").unwrap().reveal(),
            "tel:+39040123"
        );
        assert_eq!(PublicIdentity::tel("112"), None);
    }

    #[test]
    fn a_user_part_cannot_smuggle_a_line_or_a_bracket() {
        let domain = HostName::parse("ims.test").unwrap();
        for user in ["", "a>b", "a\r\nVia: x", "a@b", "a b", "a\"b"] {
            assert_eq!(PublicIdentity::sip(user, &domain), None, "{user:?}");
        }
    }

    #[test]
    fn an_identity_never_prints() {
        let domain = HostName::parse("ims.test").unwrap();
        let identity = PublicIdentity::sip("alice", &domain).unwrap();
        assert_eq!(format!("{identity:?}"), "PublicIdentity(<private>)");
    }
}
