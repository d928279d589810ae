//! What a network accepts as proof of who a user is: kept by the operator of the box on his
//! behalf, and used for one answer at a time.

use std::fmt;

use zeroize::Zeroizing;

use super::aka::Isim;
use super::digest::Hash;

/// The secret of one private identity. `Debug` hides it, and it is wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A Digest password. It answers every algorithm.
    Password(Zeroizing<String>),
    /// Hashes of a Digest password that nobody keeps, one for each algorithm and realm.
    Hashes(Vec<PasswordHash>),
    /// What an ISIM holds, TS 33.203 §6.1.
    Isim(Box<Isim>),
}

/// `H(username:realm:password)`, RFC 7616 §3.4.2: called HA1.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// Of which algorithm.
    pub hash: Hash,
    /// In which realm it is good.
    pub realm: String,
    /// In small hexadecimal digits.
    hex: Zeroizing<String>,
}

impl PasswordHash {
    /// Takes a hash as a provisioning system writes it: hexadecimal digits, as many as the
    /// algorithm has. `None` if it is none.
    #[must_use]
    pub fn parse(hash: Hash, realm: &str, hex: &str) -> Option<Self> {
        let is_hash = hex.len() == hash.digits() && hex.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| PasswordHash {
            hash,
            realm: realm.to_owned(),
            hex: Zeroizing::new(hex.to_ascii_lowercase()),
        })
    }

    /// The digits.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.hex
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password(_) => "Password <private>",
            Credential::Hashes(_) => "Hashes <private>",
            Credential::Isim(_) => "Isim <private>",
        })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <private>", self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_the_digits_of_its_algorithm() {
        let md5 = "939e7578ed9e3c518a452acee763bce9";
        assert!(PasswordHash::parse(Hash::Md5, "ims.test", md5).is_some());
        assert!(PasswordHash::parse(Hash::Sha256, "ims.test", md5).is_none());
        assert!(PasswordHash::parse(Hash::Md5, "ims.test", &md5.replace('9', "g")).is_none());
    }

    #[test]
    fn a_credential_never_prints() {
        let password = Credential::Password(Zeroizing::new("secret".to_owned()));
        let hash = PasswordHash::parse(Hash::Md5, "ims.test", &"ab".repeat(16));
        for text in [format!("{password:?}"), format!("{hash:?}")] {
            assert!(!text.contains("secret") && !text.contains("abab"), "{text}");
        }
    }
}
