//! A signed token taken apart: JWS compact serialization, RFC 7515 §7.1, and what its
//! header may say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, NotJson, Object};
use super::jwk::Algorithm;
use super::refusal::TokenRefusal;

/// A token whose structure is right. Nothing in it is believed yet.
pub(crate) struct Jws<'a> {
    header: Object,
    /// The claims, as somebody wrote them.
    pub(crate) claims: Object,
    /// What the signature is over.
    pub(crate) signed: &'a [u8],
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

/// What of the header decides how the signature is checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// How it is signed.
    pub(crate) algorithm: Algorithm,
    /// The name of the key.
    pub(crate) key_id: Option<&'a str>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(crate) fn read(token: &'a str) -> Result<Self, TokenRefusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenRefusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenRefusal::NotThreeParts);
        };
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenRefusal::NotBase64Url)
        };
        let object = |part: &[u8], refusal| {
            json::object(part).map_err(|error| match error {
                NotJson::Grammar => refusal,
                NotJson::Duplicate => TokenRefusal::DuplicateMember,
            })
        };
        let signed_len = header.len() + 1 + claims.len();
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        Ok(Jws {
            header: object(&header, TokenRefusal::HeaderNotJson)?,
            claims: object(&claims, TokenRefusal::ClaimsNotJson)?,
            signed: &token.as_bytes()[..signed_len],
            signature,
        })
    }

    /// Judges the header. `token_type` is the `typ` that is demanded, if one is.
    pub(crate) fn header(
        &self,
        algorithms: &[Algorithm],
        token_type: Option<&str>,
    ) -> Result<Header<'_>, TokenRefusal> {
        let algorithm = self
            .header
            .get("alg")
            .and_then(Json::text)
            .and_then(Algorithm::of_name)
            .filter(|algorithm| algorithms.contains(algorithm))
            .ok_or(TokenRefusal::AlgorithmNotAllowed)?;
        if KEYS_IN_HEADER
            .iter()
            .any(|name| self.header.contains_key(*name))
        {
            return Err(TokenRefusal::KeyInHeader);
        }
        // `b64` (RFC 7797) changes what is signed, and must come with `crit`.
        if ["crit", "b64"]
            .iter()
            .any(|name| self.header.contains_key(*name))
        {
            return Err(TokenRefusal::CriticalExtension);
        }
        if let Some(wanted) = token_type {
            let said = self
                .header
                .get("typ")
                .and_then(Json::text)
                .unwrap_or_default();
            if !is_type(said, wanted) {
                return Err(TokenRefusal::WrongType);
            }
        }
        let key_id = match self.header.get("kid") {
            None => None,
            Some(Json::Text(id)) if (1..=LONGEST_KEY_ID).contains(&id.len()) => Some(id.as_str()),
            Some(_) => return Err(TokenRefusal::BadKeyId),
        };
        Ok(Header { algorithm, key_id })
    }
}

/// RFC 7515 §4.1.9: media types compare without case, `application/` may be left out.
fn is_type(said: &str, wanted: &str) -> bool {
    let short = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.strip_prefix("application/")
            .map(str::to_owned)
            .unwrap_or(text)
    };
    short(said) == short(wanted)
}

/// Longer tokens are not read.
pub(crate) const LONGEST_TOKEN: usize = 8 * 1024;
const LONGEST_KEY_ID: usize = 256;
/// Where a token would bring its own key, RFC 7515 §4.1.2, §4.1.3, §4.1.5 and §4.1.6.
const KEYS_IN_HEADER: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];
