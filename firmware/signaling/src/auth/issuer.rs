//! One issuer of tokens: where its things are (OpenID Connect Discovery §4, RFC 8414 §3),
//! its keys, and what it says about a token when it is asked (RFC 7662).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iq::{Now, Private};

use super::claims::{self, Accepted};
use super::config::{HttpsUrl, IntrospectionConfig, IssuerConfig};
use super::fetch::{FetchRequest, Fetched, IssuerId};
use super::json::{self, Json};
use super::jwk;
use super::jws::Jws;
use super::keys::{KeyCache, Missing};
use super::refusal::TokenRefusal;

/// One configured issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    id: IssuerId,
    pub(crate) config: IssuerConfig,
    keys: KeyCache,
    document: Option<Document>,
    /// Whether the document is being fetched for its own sake.
    is_asking_document: bool,
    /// When the document may be asked for again after a failure.
    document_retry_at: Option<Instant>,
}

/// What a discovery document says.
#[derive(Debug)]
struct Document {
    keys: Option<HttpsUrl>,
    introspection: Option<HttpsUrl>,
    fresh_until: Instant,
}

/// How far a token's check has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// This is the verdict.
    Done(Result<Accepted, TokenRefusal>),
    /// An answer is awaited that is already asked for.
    Wait,
    /// This must be asked first.
    Fetch(Wanted, FetchRequest),
}

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The discovery document.
    Document,
    /// The key set.
    Keys,
    /// A word about one token.
    Introspection,
}

/// What came of fetching a document or keys.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is there; tokens may be looked at again.
    Learnt,
    /// One more thing has to be fetched for it.
    Fetch(Wanted, FetchRequest),
    /// Nothing usable came, so many times in a row.
    Failed(u32),
}

impl Issuer {
    pub(crate) fn new(id: IssuerId, config: IssuerConfig) -> Self {
        Issuer {
            id,
            config,
            keys: KeyCache::default(),
            document: None,
            is_asking_document: false,
            document_retry_at: None,
        }
    }

    /// Checks a signed token as far as it can be checked now.
    pub(crate) fn verify(&mut self, token: &str, now: Now) -> Progress {
        let verified = Jws::read(token).map(|jws| self.verify_signature(jws, now));
        match verified {
            Ok(Ok(claims)) => Progress::Done(claims::judge(claims, &self.config, now)),
            Ok(Err(Missing::Refused(refusal))) | Err(refusal) => Progress::Done(Err(refusal)),
            Ok(Err(Missing::Wait)) => Progress::Wait,
            Ok(Err(Missing::Ask)) => {
                let (wanted, request) = self.ask_keys(now.monotonic);
                Progress::Fetch(wanted, request)
            }
        }
    }

    fn verify_signature(&mut self, jws: Jws<'_>, now: Now) -> Result<json::Object, Missing> {
        let header = jws
            .header(&self.config.algorithms, self.config.token_type.as_deref())
            .map_err(Missing::Refused)?;
        let key = self
            .keys
            .find(header.key_id, header.algorithm, now.monotonic)?;
        key.verify(header.algorithm, jws.signed, &jws.signature)
            .map_err(Missing::Refused)?;
        Ok(jws.claims)
    }

    /// What is fetched to get the keys: the document first, if only it knows where.
    fn ask_keys(&mut self, now: Instant) -> (Wanted, FetchRequest) {
        self.keys.handle_asked();
        match self.keys_url(now) {
            Some(url) => (Wanted::Keys, self.get(url)),
            None => (Wanted::Document, self.get(self.document_url())),
        }
    }

    fn keys_url(&self, now: Instant) -> Option<HttpsUrl> {
        self.config.keys.clone().or_else(|| {
            let document = self.document.as_ref()?;
            let url = document.keys.as_ref()?;
            (now < document.fresh_until).then(|| url.clone())
        })
    }

    fn document_url(&self) -> HttpsUrl {
        self.config.issuer.discovery(self.config.discovery)
    }

    fn get(&self, url: HttpsUrl) -> FetchRequest {
        FetchRequest {
            issuer: self.id,
            url,
            authorization: None,
            form: None,
        }
    }

    /// When keys are to be fetched although nobody waits for them.
    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        self.keys.refresh_at()
    }

    /// Fetches keys that are not fresh any more.
    pub(crate) fn refresh(&mut self, now: Instant) -> Option<(Wanted, FetchRequest)> {
        let is_due = self.keys.refresh_at().is_some_and(|at| at <= now);
        is_due.then(|| self.ask_keys(now))
    }

    /// The discovery document came, or did not.
    pub(crate) fn handle_document(
        &mut self,
        fetched: Option<&Fetched>,
        jitter: f64,
        now: Instant,
    ) -> Outcome {
        self.is_asking_document = false;
        let Some(document) = fetched.and_then(|fetched| self.read_document(fetched, now)) else {
            self.document_retry_at = Some(now + DOCUMENT_PAUSE);
            return Outcome::Failed(self.keys.handle_failure(jitter, now));
        };
        self.document = Some(document);
        match self.keys_url(now).filter(|_| self.keys.is_asking()) {
            Some(url) => Outcome::Fetch(Wanted::Keys, self.get(url)),
            None if self.keys.is_asking() => Outcome::Failed(self.keys.handle_failure(jitter, now)),
            None => Outcome::Learnt,
        }
    }

    /// Reads a discovery document that is this issuer's own.
    fn read_document(&self, fetched: &Fetched, now: Instant) -> Option<Document> {
        let members = json::object(ok_body(fetched)?).ok()?;
        let url = |name: &str| HttpsUrl::parse(members.get(name)?.text()?);
        // OpenID Connect Discovery §4.3, RFC 8414 §3.3: else anybody could name any keys.
        let is_own =
            members.get("issuer").and_then(Json::text) == Some(self.config.issuer.as_str());
        is_own.then(|| Document {
            keys: url("jwks_uri"),
            introspection: url("introspection_endpoint"),
            fresh_until: now + DOCUMENT_FRESH,
        })
    }

    /// The key set came, or did not.
    pub(crate) fn handle_keys(
        &mut self,
        fetched: Option<&Fetched>,
        jitter: f64,
        now: Instant,
    ) -> Outcome {
        let keys = fetched.and_then(|fetched| {
            let keys = jwk::read_set(ok_body(fetched)?)?;
            Some((keys, fetched.max_age))
        });
        match keys {
            Some((keys, max_age)) => {
                self.keys.handle_keys(keys, max_age, now);
                Outcome::Learnt
            }
            None => {
                // The issuer may have moved its keys.
                self.document = None;
                Outcome::Failed(self.keys.handle_failure(jitter, now))
            }
        }
    }

    /// Asks about one token.
    pub(crate) fn introspect(&mut self, token: &str, now: Instant) -> Progress {
        let Some(config) = self.config.introspection.clone() else {
            return Progress::Done(Err(TokenRefusal::ProviderUnavailable));
        };
        let discovered = || self.document.as_ref()?.introspection.clone();
        if let Some(endpoint) = config.endpoint.clone().or_else(discovered) {
            let request = self.introspection(&config, endpoint, token);
            return Progress::Fetch(Wanted::Introspection, request);
        }
        let is_too_soon = self.document_retry_at.is_some_and(|at| now < at);
        if self.is_asking_document {
            Progress::Wait
        } else if self.document.is_some() || is_too_soon {
            // It has no such endpoint, or does not answer.
            Progress::Done(Err(TokenRefusal::ProviderUnavailable))
        } else {
            self.is_asking_document = true;
            Progress::Fetch(Wanted::Document, self.get(self.document_url()))
        }
    }

    /// RFC 7662 §2.1, with the client's password as RFC 6749 §2.3.1 has it.
    fn introspection(
        &self,
        config: &IntrospectionConfig,
        endpoint: HttpsUrl,
        token: &str,
    ) -> FetchRequest {
        let secret = form_encoded(config.client_secret.reveal());
        let pair = format!("{}:{secret}", form_encoded(&config.client_id));
        let token = form_encoded(token);
        FetchRequest {
            issuer: self.id,
            url: endpoint,
            authorization: Some(Private::new(format!("Basic {}", STANDARD.encode(pair)))),
            form: Some(Private::new(format!(
                "token={token}&token_type_hint=access_token"
            ))),
        }
    }

    /// Judges what the issuer says about a token, RFC 7662 §2.2.
    pub(crate) fn judge_introspection(
        &self,
        fetched: Option<&Fetched>,
        now: Now,
    ) -> Result<Accepted, TokenRefusal> {
        let said = fetched
            .and_then(|fetched| json::object(ok_body(fetched)?).ok())
            .ok_or(TokenRefusal::ProviderUnavailable)?;
        if said.get("active") != Some(&Json::Bool(true)) {
            return Err(TokenRefusal::Inactive);
        }
        let mut claims = said;
        // It need not name itself: it was asked by name.
        let issuer = || Json::Text(self.config.issuer.as_str().to_owned());
        claims.entry("iss".to_owned()).or_insert_with(issuer);
        claims::judge(claims, &self.config, now)
    }
}

fn ok_body(fetched: &Fetched) -> Option<&[u8]> {
    (fetched.status == 200).then(|| fetched.body.reveal().as_ref())
}

/// `application/x-www-form-urlencoded`, WHATWG URL §5.2.
fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

/// How long a discovery document is believed.
const DOCUMENT_FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long after a failure the document is asked for again for introspection.
const DOCUMENT_PAUSE: Duration = Duration::from_secs(10);
