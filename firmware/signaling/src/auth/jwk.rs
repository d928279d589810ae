//! An issuer's public keys (RFC 7517, RFC 7518 §6, RFC 8037) and the signatures that are
//! checked with them.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, Object};
use super::refusal::TokenRefusal;

/// A signature algorithm, RFC 7518 §3.1 and RFC 8037 §3.1. Symmetric ones and `none` have
/// no place here: whoever can read an issuer's public key could use it as the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 4] = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ];

    /// The algorithm of this name, spelled exactly.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Its name in `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Ps256 => "PS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }
}

/// One key of a set.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    /// The one algorithm that it is for, if the set says so.
    algorithm: Option<String>,
    /// Whether `use` and `key_ops` allow checking signatures.
    is_for_signatures: bool,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point, SEC 1 §2.3.3.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
    /// A kind that no allowed algorithm uses.
    Other,
}

/// Reads a JWK set, RFC 7517 §5. `None` if it is none, or has too many keys.
pub(crate) fn read_set(body: &[u8]) -> Option<Vec<Key>> {
    let set = json::object(body).ok()?;
    let keys = set.get("keys")?.list()?;
    if keys.len() > MOST_KEYS {
        return None;
    }
    let read = |key: &Json| match key {
        Json::Object(key) => Some(Key::read(key)),
        _ => None,
    };
    keys.iter().map(read).collect()
}

/// The key that a token means.
pub(crate) fn find<'a>(
    keys: impl Iterator<Item = &'a Key> + Clone,
    id: Option<&str>,
    algorithm: Algorithm,
) -> Result<&'a Key, TokenRefusal> {
    let named = keys.filter(|key| id.is_none() || key.id.as_deref() == id);
    if named.clone().next().is_none() {
        return Err(TokenRefusal::UnknownKey);
    }
    let mut fitting = named.filter(|key| key.fits(algorithm));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(TokenRefusal::AmbiguousKey),
        (None, _) => Err(TokenRefusal::KeyMismatch),
    }
}

impl Key {
    fn read(key: &Object) -> Self {
        let text = |name: &str| key.get(name).and_then(Json::text);
        let octets = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let material = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => match (octets("n"), octets("e")) {
                (Some(modulus), Some(exponent)) => Material::Rsa { modulus, exponent },
                _ => Material::Other,
            },
            (Some("EC"), Some("P-256")) => match (octets("x"), octets("y")) {
                (Some(x), Some(y)) if x.len() == 32 && y.len() == 32 => {
                    Material::P256([&[4][..], &x, &y].concat())
                }
                _ => Material::Other,
            },
            (Some("OKP"), Some("Ed25519")) => match octets("x") {
                Some(x) if x.len() == 32 => Material::Ed25519(x),
                _ => Material::Other,
            },
            _ => Material::Other,
        };
        let is_for_use = key.get("use").is_none_or(|it| it.text() == Some("sig"));
        let is_for_verifying = key.get("key_ops").is_none_or(|operations| {
            operations
                .texts()
                .is_some_and(|operations| operations.contains(&"verify"))
        });
        Key {
            id: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            is_for_signatures: is_for_use && is_for_verifying,
            material,
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_kind = matches!(
            (algorithm, &self.material),
            (Algorithm::Rs256 | Algorithm::Ps256, Material::Rsa { .. })
                | (Algorithm::Es256, Material::P256(_))
                | (Algorithm::EdDsa, Material::Ed25519(_))
        );
        let is_named = self
            .algorithm
            .as_deref()
            .is_none_or(|name| name == algorithm.name());
        is_kind && is_named && self.is_for_signatures
    }

    /// Checks a signature.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenRefusal> {
        let checked = match &self.material {
            Material::Rsa { modulus, exponent } => {
                if bits(modulus) < SHORTEST_RSA {
                    return Err(TokenRefusal::KeyTooShort);
                }
                let rules = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(rules, signed, signature)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            Material::Other => return Err(TokenRefusal::KeyMismatch),
        };
        checked.map_err(|_| TokenRefusal::BadSignature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.id)
    }
}

/// How many bits a number has.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = &number[zeros..];
    let first = number.first().map_or(0, |octet| octet.leading_zeros());
    number.len() * 8 - first as usize
}

/// More keys than an issuer needs.
const MOST_KEYS: usize = 32;
/// NIST SP 800-131A.
const SHORTEST_RSA: usize = 2048;
