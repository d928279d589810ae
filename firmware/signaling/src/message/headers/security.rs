//! Security-Client, Security-Server and Security-Verify, RFC 3329 §2.2 and its mechanism
//! `ipsec-3gpp`, TS 33.203 Annex H.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::{is_token, number, trim};

/// One mechanism and its parameters, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// `ipsec-3gpp` or another.
    pub name: String,
    /// `alg`, `spi-c` and so on.
    pub params: Params,
}

impl Mechanism {
    /// A mechanism without parameters.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Mechanism {
            name: name.to_owned(),
            params: Params::new(),
        }
    }

    /// Whether it is the IPsec of 3GPP.
    #[must_use]
    pub fn is_ipsec(&self) -> bool {
        self.name.eq_ignore_ascii_case("ipsec-3gpp")
    }

    /// A parameter that is a number: `spi-c`, `spi-s`, `port-c` or `port-s`.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        number(self.params.get(name)?)
    }

    /// `q` in thousandths, 1000 if it is absent: RFC 3329 §2.2.
    #[must_use]
    pub fn preference(&self) -> u16 {
        let Some(value) = self.params.get("q") else {
            return 1000;
        };
        let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
        let thousandths: u16 = match rest.len() {
            0 => 0,
            len @ 1..=3 => number::<u16>(rest).unwrap_or(0) * [100, 10, 1][len - 1],
            _ => return 0,
        };
        (number::<u16>(whole).unwrap_or(0).min(1) * 1000 + thousandths).min(1000)
    }

    fn parse(value: &str) -> Option<Self> {
        let (name, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let name = trim(name);
        is_token(name).then_some(())?;
        Some(Mechanism {
            name: name.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.params)
    }
}

macro_rules! security_headers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name(pub Mechanism);

            impl Typed for $name {
                const NAME: HeaderName = HeaderName::$name;

                fn parse(value: &str) -> Option<Self> {
                    Mechanism::parse(value).map($name)
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

security_headers! {
    /// What a terminal can do.
    SecurityClient;
    /// What the first proxy can do.
    SecurityServer;
    /// What the first proxy said, said back.
    SecurityVerify;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_mechanism_is_read_and_said_back_letter_by_letter() {
        let text = "ipsec-3gpp; Q=0.1;prot=esp;mod=trans;spi-c=3000;spi-s=4294967295;port-c=5101;\
                    port-s=5100;alg=hmac-sha-1-96;ealg=aes-cbc";
        let SecurityServer(mechanism) = SecurityServer::parse(text).unwrap();
        assert!(mechanism.is_ipsec());
        assert_eq!(mechanism.number("spi-s"), Some(u32::MAX));
        assert_eq!(mechanism.number("port-c"), Some(5101_u16));
        assert_eq!(mechanism.preference(), 100);
        assert_eq!(mechanism.to_string(), text);
        assert_eq!(SecurityServer::parse("ipsec 3gpp;alg=x"), None);
    }

    #[test]
    fn preferences_compare_as_the_numbers_they_are() {
        for (text, expected) in [
            ("tls", 1000),
            ("tls;q=1", 1000),
            ("tls;q=1.000", 1000),
            ("tls;q=0.5", 500),
            ("tls;q=0.05", 50),
            ("tls;q=0.005", 5),
            ("tls;q=0", 0),
            ("tls;q=x", 0),
            ("tls;q=9.9999", 0),
        ] {
            let SecurityServer(mechanism) = SecurityServer::parse(text).unwrap();
            assert_eq!(mechanism.preference(), expected, "{text}");
        }
    }
}
