//! An identity provider played by hand: it signs tokens and answers what the box asks.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iq::{Now, Private, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::auth::tokens::{AskId, Believed, Output, Tokens};
use crate::auth::{
    FetchFailure, FetchId, FetchRequest, Fetched, HttpsUrl, IssuerConfig, IssuerId, Token,
    TokenRefusal,
};

pub(crate) const ISSUER: &str = "https://idp.test/realms/acme";
pub(crate) const AUDIENCE: &str = "https://gw.test";
/// 2027-01-15, the wall clock of these tests.
pub(crate) const TODAY: i64 = 1_800_000_000;

static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static OTHER_RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// Who signs, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signer {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
    /// An RSA key that no issuer has.
    Stranger,
    /// HMAC with what everybody knows of the RSA key as its secret.
    Hmac,
    Nobody,
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn rsa_modulus() -> Vec<u8> {
    // RSAPublicKey of RFC 8017 §A.1.1: two headers and a zero stand before its 256 octets.
    RSA.public_key().as_ref()[9..265].to_vec()
}

/// The key set: one key of each kind, and some that are good for nothing.
pub(crate) fn key_set() -> String {
    let n = b64(rsa_modulus());
    let point: Vec<u8> = EC.public_key().as_ref().to_vec();
    let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
    let ed: Vec<u8> = ED.public_key().as_ref().to_vec();
    let ed = b64(ed);
    let short = b64(&rsa_modulus()[..128]);
    format!(
        r#"{{"keys":[
        {{"kty":"RSA","kid":"rsa","n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"rsa-rs","alg":"RS256","use":"sig","key_ops":["verify"],"n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"rsa-enc","use":"enc","n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"rsa-ops","key_ops":["encrypt"],"n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"rsa-512","alg":"RS512","n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"rsa-short","n":"{short}","e":"AQAB"}},
        {{"kty":"EC","kid":"ec","crv":"P-256","x":"{x}","y":"{y}"}},
        {{"kty":"EC","kid":"ec-384","crv":"P-384","x":"{x}","y":"{y}"}},
        {{"kty":"EC","kid":"ec-off","crv":"P-256","x":"{y}","y":"{x}"}},
        {{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"{ed}"}},
        {{"kty":"OKP","kid":"x25519","crv":"X25519","x":"{ed}"}},
        {{"kty":"oct","kid":"oct","k":"c2VjcmV0"}},
        {{"kty":"RSA","kid":"twice","n":"{n}","e":"AQAB"}},
        {{"kty":"RSA","kid":"twice","n":"{n}","e":"AQAB","alg":"RS256"}}]}}"#
    )
}

/// Signs what is given, whatever it is.
pub(crate) fn sign(signer: Signer, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let random = SystemRandom::new();
    let rsa = |key: &RsaKeyPair, rules| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(rules, &random, signed.as_bytes(), &mut signature)
            .unwrap();
        signature
    };
    let signature = match signer {
        Signer::Rs256 => rsa(&RSA, &RSA_PKCS1_SHA256),
        Signer::Ps256 => rsa(&RSA, &RSA_PSS_SHA256),
        Signer::Stranger => rsa(&OTHER_RSA, &RSA_PKCS1_SHA256),
        Signer::Es256 => EC
            .sign(&random, signed.as_bytes())
            .unwrap()
            .as_ref()
            .to_vec(),
        Signer::EdDsa => ED.sign(signed.as_bytes()).as_ref().to_vec(),
        Signer::Hmac => {
            let secret = b64(rsa_modulus());
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
            aws_lc_rs::hmac::sign(&key, signed.as_bytes())
                .as_ref()
                .to_vec()
        }
        Signer::Nobody => Vec::new(),
    };
    format!("{signed}.{}", b64(signature))
}

/// Claims that are good, with changes: a member's new text, or nothing for no member.
pub(crate) fn claims(changes: &[(&str, &str)]) -> String {
    let (exp, iat) = ((TODAY + 3600).to_string(), TODAY.to_string());
    let mut members = vec![
        ("iss", format!("\"{ISSUER}\"")),
        ("aud", format!("\"{AUDIENCE}\"")),
        ("sub", "\"alice\"".to_owned()),
        ("exp", exp),
        ("iat", iat),
        ("azp", "\"webphone\"".to_owned()),
        ("scope", "\"openid voice\"".to_owned()),
    ];
    for (name, value) in changes {
        members.retain(|(other, _)| other != name);
        if !value.is_empty() {
            members.push((name, (*value).to_owned()));
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A token that is good, but for changes of its claims.
pub(crate) fn token(changes: &[(&str, &str)]) -> String {
    sign(
        Signer::Rs256,
        r#"{"alg":"RS256","kid":"rsa"}"#,
        &claims(changes),
    )
}

pub(crate) fn config() -> IssuerConfig {
    IssuerConfig {
        scopes: vec!["voice".to_owned()],
        clients: vec!["webphone".to_owned()],
        ..IssuerConfig::new(HttpsUrl::parse(ISSUER).unwrap(), AUDIENCE)
    }
}

/// Tokens before issuers, and a provider that answers.
pub(crate) struct Bench {
    pub(crate) tokens: Tokens,
    pub(crate) now: Now,
    pub(crate) key_set: String,
    pub(crate) document: String,
    /// What it says about a token that it is asked about.
    pub(crate) introspection: String,
    pub(crate) is_up: bool,
    /// What was asked for, and is not answered yet if the provider is slow.
    pub(crate) asked: Vec<(FetchId, FetchRequest)>,
    pub(crate) is_slow: bool,
    /// Every URL that was asked for.
    pub(crate) log: Vec<String>,
    pub(crate) verdicts: Vec<(u64, Result<Believed, TokenRefusal>)>,
    pub(crate) alarms: Vec<u32>,
    asks: u64,
    rng: ChaCha20Rng,
}

impl Bench {
    pub(crate) fn new(config: IssuerConfig) -> Self {
        let document = format!(
            r#"{{"issuer":"{ISSUER}","jwks_uri":"https://idp.test/keys",
            "introspection_endpoint":"https://idp.test/introspect"}}"#
        );
        Bench {
            tokens: Tokens::new(&[config]),
            now: Now {
                monotonic: Instant::now(),
                wall: Some(UnixTime::from_millis(TODAY.unsigned_abs() * 1000)),
            },
            key_set: key_set(),
            document,
            introspection: r#"{"active":false}"#.to_owned(),
            is_up: true,
            asked: Vec::new(),
            is_slow: false,
            log: Vec::new(),
            verdicts: Vec::new(),
            alarms: Vec::new(),
            asks: 0,
            rng: ChaCha20Rng::seed_from_u64(7),
        }
    }

    /// Shows a token; the verdict if there is one at once.
    pub(crate) fn show(&mut self, token: &str) -> Option<Result<Believed, TokenRefusal>> {
        self.asks += 1;
        let ask = self.asks;
        let token = match Token::parse(token) {
            Ok(token) => token,
            Err(refusal) => return Some(Err(refusal)),
        };
        self.tokens
            .handle_token(AskId(ask), &token, &[IssuerId(0)], self.now);
        self.settle();
        let at = self.verdicts.iter().position(|(of, _)| *of == ask)?;
        Some(self.verdicts.remove(at).1)
    }

    /// The verdict on a token, without what it says.
    pub(crate) fn judge(&mut self, token: &str) -> Result<(), TokenRefusal> {
        self.show(token).expect("a verdict at once").map(|_| ())
    }

    pub(crate) fn recheck(&mut self, token: &str) -> Result<(), TokenRefusal> {
        self.asks += 1;
        let token = Token::parse(token).unwrap();
        self.tokens
            .handle_recheck(AskId(self.asks), &token, IssuerId(0), self.now);
        self.settle();
        self.verdicts.pop().unwrap().1.map(|_| ())
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(at) = self.tokens.poll_timeout().filter(|at| *at <= end) {
            self.set_time(at.max(self.now.monotonic));
            self.tokens.handle_timeout(self.now);
            self.settle();
        }
        self.set_time(end);
    }

    fn set_time(&mut self, at: Instant) {
        let passed = at - self.now.monotonic;
        let passed = u64::try_from(passed.as_millis()).unwrap();
        self.now = Now {
            monotonic: at,
            wall: self
                .now
                .wall
                .map(|wall| UnixTime::from_millis(wall.millis() + passed)),
        };
    }

    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.tokens.poll_output() {
            match output {
                Output::Fetch { query, request } => {
                    self.log.push(request.url.to_string());
                    self.asked.push((query, request));
                    if !self.is_slow {
                        self.answer();
                    }
                }
                Output::Verdict { ask, verdict } => self.verdicts.push((ask.0, verdict)),
                Output::Unanswered { times, .. } => self.alarms.push(times),
            }
        }
    }

    /// Answers everything that was asked.
    pub(crate) fn answer(&mut self) {
        for (query, request) in std::mem::take(&mut self.asked) {
            let body = match request.url.path() {
                "/keys" => &self.key_set,
                "/introspect" => &self.introspection,
                path if path.contains("/.well-known/") => &self.document,
                path => panic!("asked for {path}"),
            };
            let fetched = Fetched {
                status: 200,
                max_age: None,
                body: Private::new(body.clone().into()),
            };
            let result = if self.is_up {
                Ok(fetched)
            } else {
                Err(FetchFailure::Unreachable)
            };
            self.tokens
                .handle_fetched(query, result, self.now, &mut self.rng);
        }
    }
}
