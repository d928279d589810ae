//! Access tokens on their way to a verdict: which issuer judges, what is remembered, what
//! waits for an answer of an identity provider.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use iq::{Now, Private};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::deadlines::Deadlines;

use super::claims::Accepted;
use super::config::{IssuerConfig, TokenCheck};
use super::fetch::{FetchFailure, FetchId, FetchRequest, Fetched, IssuerId};
use super::issuer::{Issuer, Outcome, Progress, Wanted};
use super::json::Json;
use super::jws::{Jws, LONGEST_TOKEN};
use super::refusal::TokenRefusal;

/// An access token as it came, which nothing prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Private<String>);

/// What a token is known by without being kept: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// Somebody who wants a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Whose token it is, and what it says.
#[derive(Clone, Debug)]
pub struct Believed {
    /// Who vouches for it.
    pub issuer: IssuerId,
    /// What it says.
    pub accepted: Accepted,
}

/// What comes out of [`Tokens`].
#[derive(Debug)]
pub enum Output {
    /// Ask a provider; answered by [`Tokens::handle_fetched`].
    Fetch {
        /// The question's name.
        query: FetchId,
        /// The question.
        request: FetchRequest,
    },
    /// This is what is thought of a token.
    Verdict {
        /// Who wanted to know.
        ask: AskId,
        /// Whose it is, or what is wrong with it.
        verdict: Result<Believed, TokenRefusal>,
    },
    /// A provider has not answered properly.
    Unanswered {
        /// Which.
        issuer: IssuerId,
        /// How many times in a row.
        times: u32,
        /// Why, if it did not answer at all.
        failure: Option<FetchFailure>,
    },
}

/// Every issuer, and every token that is looked at.
#[derive(Debug)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    verdicts: BTreeMap<Subject, Result<Accepted, TokenRefusal>>,
    /// When verdicts are forgotten.
    forgetting: Deadlines<Subject>,
    waiting: BTreeMap<Subject, Waiting>,
    giving_up: Deadlines<Subject>,
    fetches: BTreeMap<FetchId, (IssuerId, Wanted, Option<Subject>)>,
    asked: u64,
    output: VecDeque<Output>,
}

/// A token before one issuer.
type Subject = (IssuerId, Fingerprint);

/// A token without a verdict yet.
#[derive(Debug)]
struct Waiting {
    token: Token,
    asks: Vec<AskId>,
    is_introspecting: bool,
}

impl Token {
    /// A token of the characters that RFC 6750 §2.1 allows, and no longer than any.
    ///
    /// # Errors
    /// If it is longer, or not of these characters.
    pub fn parse(text: &str) -> Result<Self, TokenRefusal> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if text.len() > LONGEST_TOKEN {
            Err(TokenRefusal::TooLong)
        } else if text.is_empty() || !text.bytes().all(is_token) {
            Err(TokenRefusal::NotThreeParts)
        } else {
            Ok(Token(Private::new(text.to_owned())))
        }
    }

    /// What it is known by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let hash = digest::digest(&digest::SHA256, self.0.reveal().as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.as_ref());
        Fingerprint(fingerprint)
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<private>")
    }
}

impl Tokens {
    /// Issuers of which nothing is known yet.
    #[must_use]
    pub fn new(issuers: &[IssuerConfig]) -> Self {
        let numbered = issuers.iter().cloned().enumerate();
        Tokens {
            issuers: numbered
                .map(|(n, config)| Issuer::new(IssuerId(n), config))
                .collect(),
            verdicts: BTreeMap::new(),
            forgetting: Deadlines::new(),
            waiting: BTreeMap::new(),
            giving_up: Deadlines::new(),
            fetches: BTreeMap::new(),
            asked: 0,
            output: VecDeque::new(),
        }
    }

    /// What the operator says about an issuer.
    #[must_use]
    pub fn config(&self, issuer: IssuerId) -> Option<&IssuerConfig> {
        self.issuers.get(issuer.0).map(|issuer| &issuer.config)
    }

    /// The next thing to be done or to be known.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let refreshes = self.issuers.iter().filter_map(Issuer::refresh_at);
        [self.forgetting.next(), self.giving_up.next()]
            .into_iter()
            .flatten()
            .chain(refreshes)
            .min()
    }

    /// Wants a verdict on a token from one of these issuers; it comes as
    /// [`Output::Verdict`], at once or later.
    pub fn handle_token(&mut self, ask: AskId, token: &Token, believed: &[IssuerId], now: Now) {
        match self.judge_of(token, believed) {
            Ok(issuer) => self.ask(ask, token, issuer, now),
            Err(refusal) => self.tell(ask, Err(refusal)),
        }
    }

    /// Wants a new verdict of an issuer that may have revoked a token.
    pub fn handle_recheck(&mut self, ask: AskId, token: &Token, issuer: IssuerId, now: Now) {
        self.forget((issuer, token.fingerprint()));
        let can_ask = self
            .config(issuer)
            .is_some_and(|config| config.introspection.is_some());
        let subject = (issuer, token.fingerprint());
        if can_ask && !self.waiting.contains_key(&subject) {
            self.wait(subject, token, ask, true, now);
            self.look_at(subject, now);
        } else {
            self.ask(ask, token, issuer, now);
        }
    }

    /// Which of these issuers judges a token.
    fn judge_of(&self, token: &Token, believed: &[IssuerId]) -> Result<IssuerId, TokenRefusal> {
        let of_kind = |check: TokenCheck| {
            believed
                .iter()
                .copied()
                .filter(move |id| self.config(*id).is_some_and(|config| config.check == check))
        };
        match Jws::read(token.0.reveal()) {
            Ok(jws) => {
                let said = jws.claims.get("iss").and_then(Json::text);
                let is_said = |id: &IssuerId| {
                    let config = self.config(*id);
                    config.is_some_and(|config| Some(config.issuer.as_str()) == said)
                };
                // It only picks who judges; nothing is believed before the signature is.
                of_kind(TokenCheck::Signature)
                    .chain(of_kind(TokenCheck::Introspection))
                    .find(is_said)
                    .ok_or(TokenRefusal::WrongIssuer)
            }
            Err(TokenRefusal::TooLong) => Err(TokenRefusal::TooLong),
            Err(refusal) => of_kind(TokenCheck::Introspection).next().ok_or(refusal),
        }
    }

    fn ask(&mut self, ask: AskId, token: &Token, issuer: IssuerId, now: Now) {
        let subject = (issuer, token.fingerprint());
        if let Some(verdict) = self.verdicts.get(&subject) {
            let is_over = |accepted: &Accepted| accepted.until <= now.monotonic;
            let verdict = match verdict {
                Ok(accepted) if is_over(accepted) => Err(TokenRefusal::Expired),
                Ok(accepted) => Ok(Believed {
                    issuer,
                    accepted: accepted.clone(),
                }),
                Err(refusal) => Err(*refusal),
            };
            return self.tell(ask, verdict);
        }
        let is_full = self.waiting.len() >= MOST_WAITING;
        match self.waiting.get_mut(&subject) {
            Some(waiting) if waiting.asks.len() < MOST_ASKS => waiting.asks.push(ask),
            Some(_) => self.tell(ask, Err(TokenRefusal::TooMany)),
            None if is_full => self.tell(ask, Err(TokenRefusal::TooMany)),
            None => {
                let is_introspecting = self
                    .config(issuer)
                    .is_some_and(|config| config.check == TokenCheck::Introspection);
                self.wait(subject, token, ask, is_introspecting, now);
                self.look_at(subject, now);
            }
        }
    }

    fn wait(
        &mut self,
        subject: Subject,
        token: &Token,
        ask: AskId,
        is_introspecting: bool,
        now: Now,
    ) {
        let waiting = Waiting {
            token: token.clone(),
            asks: vec![ask],
            is_introspecting,
        };
        self.waiting.insert(subject, waiting);
        self.giving_up.set(subject, Some(now.monotonic + PATIENCE));
    }

    /// Takes a token's check as far as it goes.
    fn look_at(&mut self, subject: Subject, now: Now) {
        let Some(waiting) = self.waiting.get(&subject) else {
            return;
        };
        let Some(issuer) = self.issuers.get_mut(subject.0.0) else {
            return;
        };
        let token = waiting.token.0.reveal();
        let progress = if waiting.is_introspecting {
            issuer.introspect(token, now.monotonic)
        } else {
            issuer.verify(token, now)
        };
        match progress {
            Progress::Done(verdict) => self.decide(subject, verdict, now),
            Progress::Wait => {}
            Progress::Fetch(wanted, request) => self.fetch(wanted, request, Some(subject)),
        }
    }

    fn fetch(&mut self, wanted: Wanted, request: FetchRequest, subject: Option<Subject>) {
        self.asked += 1;
        let query = FetchId(self.asked);
        let subject = subject.filter(|_| wanted == Wanted::Introspection);
        self.fetches
            .insert(query, (request.issuer, wanted, subject));
        self.output.push_back(Output::Fetch { query, request });
    }

    /// Takes a provider's answer.
    pub fn handle_fetched(
        &mut self,
        query: FetchId,
        result: Result<Fetched, FetchFailure>,
        now: Now,
        rng: &mut ChaCha20Rng,
    ) {
        let Some((id, wanted, subject)) = self.fetches.remove(&query) else {
            return;
        };
        let Some(issuer) = self.issuers.get_mut(id.0) else {
            return;
        };
        let fetched = result.as_ref().ok();
        let jitter = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        let outcome = match wanted {
            Wanted::Document => issuer.handle_document(fetched, jitter, now.monotonic),
            Wanted::Keys => issuer.handle_keys(fetched, jitter, now.monotonic),
            Wanted::Introspection => {
                let verdict = issuer.judge_introspection(fetched, now);
                if verdict.as_ref().err() == Some(&TokenRefusal::ProviderUnavailable) {
                    self.report(id, 1, result.err());
                }
                if let Some(subject) = subject.filter(|it| self.waiting.contains_key(it)) {
                    self.decide(subject, verdict, now);
                }
                return;
            }
        };
        match outcome {
            Outcome::Fetch(wanted, request) => return self.fetch(wanted, request, None),
            Outcome::Learnt => {}
            Outcome::Failed(times) => self.report(id, times, result.err()),
        }
        let waiting: Vec<Subject> = self
            .waiting
            .range((id, Fingerprint([0; 32]))..=(id, Fingerprint([0xff; 32])))
            .map(|(subject, _)| *subject)
            .collect();
        for subject in waiting {
            self.look_at_again(subject, now);
        }
    }

    /// A token whose own question is under way is not asked about twice.
    fn look_at_again(&mut self, subject: Subject, now: Now) {
        let is_asked = self
            .fetches
            .values()
            .any(|(_, _, about)| *about == Some(subject));
        if !is_asked {
            self.look_at(subject, now);
        }
    }

    fn report(&mut self, issuer: IssuerId, times: u32, failure: Option<FetchFailure>) {
        self.output.push_back(Output::Unanswered {
            issuer,
            times,
            failure,
        });
    }

    /// Tells everybody who waits, and remembers the verdict for a while.
    fn decide(&mut self, subject: Subject, verdict: Result<Accepted, TokenRefusal>, now: Now) {
        self.giving_up.set(subject, None);
        let Some(waiting) = self.waiting.remove(&subject) else {
            return;
        };
        let until = match &verdict {
            Ok(accepted) => Some(accepted.until.min(now.monotonic + REMEMBERED)),
            // Only what had to be asked for is worth remembering.
            Err(TokenRefusal::ProviderUnavailable | TokenRefusal::ClockUnset) => None,
            Err(_) if !waiting.is_introspecting => None,
            // Its signature alone would let it in again.
            Err(_) if self.is_signed_by(subject.0) => Some(now.monotonic + REMEMBERED_REVOCATION),
            Err(_) => Some(now.monotonic + REMEMBERED_REFUSAL),
        };
        if let Some(until) = until {
            self.remember(subject, verdict.clone(), until);
        }
        for ask in waiting.asks {
            let verdict = verdict.clone().map(|accepted| Believed {
                issuer: subject.0,
                accepted,
            });
            self.tell(ask, verdict);
        }
    }

    fn is_signed_by(&self, issuer: IssuerId) -> bool {
        self.config(issuer)
            .is_some_and(|config| config.check == TokenCheck::Signature)
    }

    fn remember(
        &mut self,
        subject: Subject,
        verdict: Result<Accepted, TokenRefusal>,
        until: Instant,
    ) {
        if self.verdicts.len() >= MOST_REMEMBERED {
            // The one that would be forgotten first goes.
            let first = self.forgetting.next();
            if let Some(first) = first.and_then(|at| self.forgetting.take_due(at)) {
                self.verdicts.remove(&first);
            }
        }
        self.verdicts.insert(subject, verdict);
        self.forgetting.set(subject, Some(until));
    }

    fn forget(&mut self, subject: Subject) {
        self.verdicts.remove(&subject);
        self.forgetting.set(subject, None);
    }

    fn tell(&mut self, ask: AskId, verdict: Result<Believed, TokenRefusal>) {
        self.output.push_back(Output::Verdict { ask, verdict });
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(subject) = self.forgetting.take_due(now.monotonic) {
            self.verdicts.remove(&subject);
        }
        while let Some(subject) = self.giving_up.take_due(now.monotonic) {
            self.decide(subject, Err(TokenRefusal::ProviderUnavailable), now);
        }
        for id in 0..self.issuers.len() {
            if let Some((wanted, request)) = self.issuers[id].refresh(now.monotonic) {
                self.fetch(wanted, request, None);
            }
        }
    }
}

/// How long a verdict is good without a new look.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a provider's no is good.
const REMEMBERED_REFUSAL: Duration = Duration::from_secs(8);
/// How long a revoked token stays revoked: longer than access tokens live.
const REMEMBERED_REVOCATION: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_REMEMBERED: usize = 20_000;
/// How long anybody waits for a verdict: a discovery document and a key set, 5 s each.
const PATIENCE: Duration = Duration::from_secs(11);
/// Tokens without a verdict at one time, and how often one of them may be asked about.
const MOST_WAITING: usize = 1_000;
const MOST_ASKS: usize = 16;
