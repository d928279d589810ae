//! `security`: what protects users' messages towards the P-CSCF.

use signaling::SipTransport;
use signaling::config::{IpsecConfig, Security};
use signaling::sec_agree::Cipher;

use super::ims::Ims;
use super::login::LoginName;
use super::mw::ProfileName;
use super::reader::text_value;

/// What protects, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecurityName {
    /// Nothing but the transport.
    None,
    /// IPsec associations of each user's.
    Ipsec,
}

impl std::str::FromStr for SecurityName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(SecurityName::None),
            "ipsec" => Ok(SecurityName::Ipsec),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for SecurityName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SecurityName::None => "none",
            SecurityName::Ipsec => "ipsec",
        })
    }
}

text_value!(
    SecurityName,
    "\"none\" or \"ipsec\" (TLS is transport = \"tls\")"
);

/// A cipher by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CipherName(pub(crate) Cipher);

impl std::str::FromStr for CipherName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut known = [Cipher::AesCbc, Cipher::Null].into_iter();
        let found = known.find(|cipher| cipher.name() == text);
        found.map(CipherName).ok_or(())
    }
}

impl std::fmt::Display for CipherName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

text_value!(CipherName, "\"aes-cbc\" or \"null\"");

impl Ims {
    /// Whether users have IPsec associations with the P-CSCF.
    pub(crate) fn has_ipsec(&self) -> bool {
        self.security == SecurityName::Ipsec
    }

    /// What protects users, as signaling knows it.
    pub(super) fn security(&self) -> Security {
        match self.security {
            SecurityName::None => Security::None,
            SecurityName::Ipsec => Security::Ipsec(IpsecConfig {
                port: self.port,
                ciphers: self.ipsec_ciphers.iter().map(|it| it.0).collect(),
            }),
        }
    }

    /// Finds what does not go together with IPsec.
    pub(super) fn check_security(&self, mut fault: impl FnMut(&str)) {
        if !self.has_ipsec() {
            return;
        }
        if self.profile != ProfileName::Gm {
            fault(
                "security: \"ipsec\" is between a terminal and its P-CSCF (profile = \"gm\"); \
                 otherwise the way to the core is secured below SIP (TS 33.210)",
            );
        } else if self.login != LoginName::Token {
            fault(
                "security: \"ipsec\" takes its keys from AKA, which the box does with stored ISIM \
                 credentials; say login = \"token\"",
            );
        }
        if self.transport.0 == Some(SipTransport::Tls) {
            fault("security: \"ipsec\" and transport = \"tls\" are two ways; choose one");
        }
        if self.ipsec_ciphers.is_empty() {
            fault("ipsec_ciphers: give at least one, like [\"aes-cbc\"]");
        }
        if self.port == 0 || self.ports.0.contains(&self.port) {
            fault(
                "port: first REGISTERs leave there when security is \"ipsec\"; it must not be 0 \
                 nor one of `ports`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Config;
    use super::*;

    const TOKEN: &str = "[[issuer]]\nurl = \"https://idp.test\"\naudience = \"https://gw.test\"\n\
        longest_age = \"1h\"\n[[identity_map]]\nissuer = \"https://idp.test\"\n\
        impi = \"{sub}@ims.test\"\nimpu = [\"sip:{sub}@ims.test\"]\n\
        [credentials]\nkey_file = \"/etc/gatehouse/key\"\n";

    fn file(ims: &str) -> String {
        format!("[ims]\npcscf = \"192.0.2.10:5060\"\nhome_domains = [\"ims.test\"]\n{ims}\n{TOKEN}")
    }

    fn faults(ims: &str) -> Vec<String> {
        let faults = Config::parse(&file(ims)).expect_err("a faulty file");
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ipsec_is_read() {
        let text = file(
            "login = \"token\"\nsecurity = \"ipsec\"\nport = 5062\n\
             ipsec_ciphers = [\"aes-cbc\", \"null\"]",
        );
        let told = Config::parse(&text).unwrap().signaling().unwrap();
        let expected = Security::Ipsec(IpsecConfig {
            port: 5062,
            ciphers: vec![Cipher::AesCbc, Cipher::Null],
        });
        assert_eq!(told.tenants[0].security, expected);
    }

    #[test]
    fn what_ipsec_cannot_be_with_is_a_fault() {
        for (ims, expected) in [
            ("security = \"ipsec\"", "say login = \"token\""),
            (
                "login = \"token\"\nsecurity = \"ipsec\"\nipsec_ciphers = []",
                "ipsec_ciphers: give at least one",
            ),
            (
                "login = \"token\"\nsecurity = \"ipsec\"\nport = 16001",
                "port: first REGISTERs leave there",
            ),
            (
                "login = \"token\"\nsecurity = \"ipsec\"\ntransport = \"tls\"\n\
                 authorities = \"ca.pem\"",
                "two ways; choose one",
            ),
            ("security = \"tls\"", "TLS is transport = \"tls\""),
            (
                "ipsec_ciphers = [\"des\"]",
                "must be \"aes-cbc\" or \"null\"",
            ),
        ] {
            let found = faults(ims);
            assert!(
                found.len() == 1 && found[0].contains(expected),
                "{ims}: {found:?}"
            );
        }
    }
}
