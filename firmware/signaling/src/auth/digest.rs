//! Digest challenges answered on a user's behalf: RFC 7616, with SHA-2 as RFC 8760 has it in
//! SIP, and RFC 3261 §22.4. `auth-int` is left out, because everything on the way changes
//! bodies; so is RFC 2617's `qop`-less form with `-sess`, which nobody uses.

use std::fmt;

use aws_lc_rs::digest::{SHA256, SHA512_256, digest};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use iq::Private;

use super::aka::{self, AkaKeys};
use super::credential::Credential;
use crate::identity::PrivateIdentity;
use crate::message::Method;
use crate::message::headers::Digest;

/// A hash function by which a challenge may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// RFC 1321; what most cores ask for.
    Md5,
    /// FIPS 180-4.
    Sha256,
    /// SHA-512 cut to 256 bits, with its own start values: FIPS 180-4 §5.3.6.
    Sha512t256,
}

/// A request that must carry credentials, and the challenges that say so.
#[derive(Clone, Debug)]
pub struct Question {
    /// The request's method.
    pub method: Method,
    /// What stands in `uri`: the Request-URI.
    pub uri: Private<String>,
    /// The challenges as they came, in their order.
    pub challenges: Vec<Digest>,
    /// How many requests carry an answer to this challenge, this one included.
    pub count: u32,
    /// Some chance of our own, never the same for two challenges; no quotes in it.
    pub client_nonce: String,
}

/// The credentials of one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What goes into Authorization or Proxy-Authorization. `Debug` hides it.
    pub credentials: Digest,
    /// Which of the challenges it answers.
    pub challenge: usize,
    /// What it says.
    pub verdict: Verdict,
}

/// What the holder of the credentials made of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Here is the proof.
    Proven,
    /// Here is the proof, and the keys that IPsec shall use from now on.
    Keyed(AkaKeys),
    /// The network's count is behind: it is told ours and will challenge anew, RFC 3310 §3.4.
    OutOfStep,
    /// The challenge is not our network's: it is told so, TS 24.229 §5.1.1.5.3.
    ForeignNetwork,
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unanswerable {
    /// No challenge is one that these credentials are for: another scheme, algorithm or
    /// realm, or only `auth-int`.
    #[error("the core asks for something else than the user's stored credentials")]
    NoFit,
    /// A challenge lacks a realm or a nonce, or its AKA nonce is too short.
    #[error("the core's challenge is broken")]
    Broken,
}

/// Answers the first challenge that the credentials can answer: RFC 8760 §2.4 has the
/// server's order decide. An ISIM counts on: it must be kept before the answer is used.
///
/// # Errors
/// If there is none.
pub fn answer(
    credential: &mut Credential,
    user: &PrivateIdentity,
    question: &Question,
) -> Result<Answer, Unanswerable> {
    let mut reason = Unanswerable::NoFit;
    for (index, challenge) in question.challenges.iter().enumerate() {
        match answer_one(credential, user, question, challenge) {
            Ok((credentials, verdict)) => {
                return Ok(Answer {
                    credentials,
                    challenge: index,
                    verdict,
                });
            }
            Err(Unanswerable::Broken) => reason = Unanswerable::Broken,
            Err(Unanswerable::NoFit) => {}
        }
    }
    Err(reason)
}

/// Credentials that only say who somebody is, for the first REGISTER: TS 24.229 §5.1.1.2.2.
#[must_use]
pub fn nameplate(user: &PrivateIdentity, realm: &str, uri: &str) -> Digest {
    let mut credentials = Digest::new("Digest");
    credentials.set_quoted("username", user.reveal());
    credentials.set_quoted("realm", realm);
    credentials.set_quoted("nonce", "");
    credentials.set_quoted("uri", uri);
    credentials.set_quoted("response", "");
    credentials
}

fn answer_one(
    credential: &mut Credential,
    user: &PrivateIdentity,
    question: &Question,
    challenge: &Digest,
) -> Result<(Digest, Verdict), Unanswerable> {
    let sheet = Sheet::read(user, question, challenge)?;
    let hash = sheet.algorithm.hash;
    match (credential, sheet.algorithm.is_aka) {
        (Credential::Password(password), false) => {
            let ha1 = sheet.password_hash(password.as_bytes());
            Ok((sheet.fill_in(&ha1, None), Verdict::Proven))
        }
        (Credential::Hashes(hashes), false) => {
            let mut hashes = hashes.iter();
            let kept = hashes
                .find(|kept| kept.hash == hash && kept.realm == sheet.realm)
                .ok_or(Unanswerable::NoFit)?;
            Ok((sheet.fill_in(kept.reveal(), None), Verdict::Proven))
        }
        (Credential::Isim(isim), true) => {
            let challenge = aka::Challenge::parse(&sheet.nonce).ok_or(Unanswerable::Broken)?;
            Ok(match isim.authenticate(&challenge) {
                aka::Outcome::Proven { res, keys } => {
                    let ha1 = sheet.password_hash(&res[..]);
                    (sheet.fill_in(&ha1, None), Verdict::Keyed(keys))
                }
                aka::Outcome::OutOfStep { auts } => {
                    let ha1 = sheet.password_hash(b"");
                    (sheet.fill_in(&ha1, Some(&auts)), Verdict::OutOfStep)
                }
                aka::Outcome::ForeignNetwork => (sheet.leave_empty(), Verdict::ForeignNetwork),
            })
        }
        (Credential::Password(_) | Credential::Hashes(_), true) | (Credential::Isim(_), false) => {
            Err(Unanswerable::NoFit)
        }
    }
}

/// `algorithm` of a challenge, RFC 7616 §3.3 and RFC 3310 §3.1.
#[derive(Clone, Copy)]
struct Algorithm {
    hash: Hash,
    is_session: bool,
    is_aka: bool,
}

impl Algorithm {
    fn of_name(name: &str) -> Option<Self> {
        let (main, is_session) = match name.len().checked_sub(SESSION.len()) {
            Some(at)
                if name
                    .get(at..)
                    .is_some_and(|it| it.eq_ignore_ascii_case(SESSION)) =>
            {
                (&name[..at], true)
            }
            _ => (name, false),
        };
        let aka = main.eq_ignore_ascii_case("AKAv1-MD5");
        let hash = if aka { Hash::Md5 } else { Hash::of_name(main)? };
        Some(Algorithm {
            hash,
            is_session,
            is_aka: aka,
        })
    }
}

/// An answer half filled in: all but the response.
struct Sheet<'a> {
    user: &'a PrivateIdentity,
    question: &'a Question,
    challenge: &'a Digest,
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    has_qop: bool,
}

impl<'a> Sheet<'a> {
    fn read(
        user: &'a PrivateIdentity,
        question: &'a Question,
        challenge: &'a Digest,
    ) -> Result<Self, Unanswerable> {
        let named = challenge.get("algorithm");
        let algorithm = Algorithm::of_name(named.as_deref().unwrap_or("MD5"))
            .filter(|_| challenge.is_digest())
            .ok_or(Unanswerable::NoFit)?;
        let qop = challenge.get("qop");
        let has_auth = |qop: &String| {
            qop.split(',')
                .any(|option| option.trim().eq_ignore_ascii_case("auth"))
        };
        let is_answerable = match &qop {
            Some(qop) => has_auth(qop),
            None => !algorithm.is_session,
        };
        if !is_answerable {
            return Err(Unanswerable::NoFit);
        }
        let (Some(realm), Some(nonce)) = (challenge.get("realm"), challenge.get("nonce")) else {
            return Err(Unanswerable::Broken);
        };
        Ok(Sheet {
            user,
            question,
            challenge,
            algorithm,
            realm,
            nonce,
            has_qop: qop.is_some(),
        })
    }

    /// HA1 of a password that may be any bytes: RES of AKA is not text.
    fn password_hash(&self, password: &[u8]) -> Zeroizing<String> {
        let user = self.user.reveal().as_bytes();
        let parts = [user, self.realm.as_bytes(), password];
        self.algorithm.hash.joined(&parts)
    }

    fn fill_in(&self, ha1: &str, auts: Option<&[u8]>) -> Digest {
        let Question {
            method,
            uri,
            count,
            client_nonce,
            ..
        } = self.question;
        let hash = self.algorithm.hash;
        let joined = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            hash.joined(&parts)
        };
        let ha1 = if self.algorithm.is_session {
            joined(&[ha1, &self.nonce, client_nonce])
        } else {
            Zeroizing::new(ha1.to_owned())
        };
        let ha2 = joined(&[method.as_str(), uri.reveal()]);
        let count = format!("{count:08x}");
        let response = if self.has_qop {
            joined(&[&ha1, &self.nonce, &count, client_nonce, "auth", &ha2])
        } else {
            joined(&[&ha1, &self.nonce, &ha2])
        };
        let mut credentials = self.signed(&response);
        if self.has_qop {
            credentials.set("qop", "auth");
            credentials.set_quoted("cnonce", client_nonce);
            credentials.set("nc", &count);
        }
        if let Some(auts) = auts {
            credentials.set_quoted("auts", &aka::base64(auts));
        }
        credentials
    }

    /// TS 24.229 §5.1.1.5.3: neither a response nor AUTS.
    fn leave_empty(&self) -> Digest {
        self.signed("")
    }

    fn signed(&self, response: &str) -> Digest {
        let mut credentials = Digest::new("Digest");
        credentials.set_quoted("username", self.user.reveal());
        credentials.set_quoted("realm", &self.realm);
        credentials.set_quoted("nonce", &self.nonce);
        credentials.set_quoted("uri", self.question.uri.reveal());
        credentials.set_quoted("response", response);
        // Cores compare these with what they said, letter by letter.
        for name in ["algorithm", "opaque"] {
            if let Some(said) = self.challenge.raw(name) {
                credentials.set(name, said);
            }
        }
        credentials
    }
}

impl Hash {
    /// Every hash, the weakest first.
    pub const ALL: [Hash; 3] = [Hash::Md5, Hash::Sha256, Hash::Sha512t256];

    /// The hash that `algorithm` names, RFC 7616 §6.1.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let is_named = |hash: &Hash| hash.name().eq_ignore_ascii_case(name);
        Hash::ALL.into_iter().find(is_named)
    }

    /// What `algorithm` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512t256 => "SHA-512-256",
        }
    }

    /// How many hexadecimal digits it has.
    #[must_use]
    pub const fn digits(self) -> usize {
        match self {
            Hash::Md5 => 32,
            Hash::Sha256 | Hash::Sha512t256 => 64,
        }
    }

    /// The hash of the parts with colons between them, in hexadecimal.
    fn joined(self, parts: &[&[u8]]) -> Zeroizing<String> {
        let text = Zeroizing::new(parts.join(&b':'));
        match self {
            Hash::Md5 => hex(&Md5::digest(&text[..])),
            Hash::Sha256 => hex(digest(&SHA256, &text).as_ref()),
            Hash::Sha512t256 => hex(digest(&SHA512_256, &text).as_ref()),
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

/// What marks the algorithms that mix nonces into HA1, RFC 7616 §3.4.2.
const SESSION: &str = "-sess";

#[cfg(test)]
mod tests;
