//! What a token says about itself and its user, judged (RFC 7519 §4, RFC 9068 §4).

use std::fmt;
use std::time::{Duration, Instant};

use iq::{Now, Private};

use super::config::{IssuerConfig, TokenCheck};
use super::json::{Json, Object};
use super::refusal::TokenRefusal;

/// Claims that an issuer vouches for.
#[derive(Clone)]
pub struct Claims(Object);

/// A token that is believed.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Who it is about, in the issuer's words.
    pub subject: Private<String>,
    /// When its time is over.
    pub until: Instant,
    /// All that it says.
    pub claims: Claims,
}

/// Judges claims, in the order in which they matter.
pub(crate) fn judge(
    claims: Object,
    config: &IssuerConfig,
    now: Now,
) -> Result<Accepted, TokenRefusal> {
    let text = |name: &str| claims.get(name).and_then(Json::text);
    if text("iss") != Some(config.issuer.as_str()) {
        return Err(TokenRefusal::WrongIssuer);
    }
    let audiences = claims.get("aud").and_then(Json::texts).unwrap_or_default();
    let is_meant = |audience: &&str| config.audiences.iter().any(|own| own == audience);
    // Without a list the issuer, who was asked by name, has said that the token is for us.
    let is_told = config.audiences.is_empty() && config.check == TokenCheck::Introspection;
    if !is_told && !audiences.iter().any(is_meant) {
        return Err(TokenRefusal::WrongAudience);
    }
    let is_id_token = ID_TOKEN_CLAIMS
        .iter()
        .any(|name| claims.contains_key(*name));
    if is_id_token && !config.id_tokens {
        return Err(TokenRefusal::IdToken);
    }
    let until = judge_times(&claims, config, now)?;
    if !has_scopes(&claims, &config.scopes) {
        return Err(TokenRefusal::MissingScope);
    }
    if !is_of_client(&claims, &config.clients) {
        return Err(TokenRefusal::WrongClient);
    }
    if claims.contains_key("cnf") {
        return Err(TokenRefusal::BoundToKey);
    }
    let subject = text("sub")
        .filter(|subject| (1..=LONGEST_SUBJECT).contains(&subject.len()))
        .ok_or(TokenRefusal::NoSubject)?;
    Ok(Accepted {
        subject: Private::new(subject.to_owned()),
        until,
        claims: Claims(claims),
    })
}

/// `exp`, `nbf` and `iat`; when the token's time is over, by our own clock.
fn judge_times(claims: &Object, config: &IssuerConfig, now: Now) -> Result<Instant, TokenRefusal> {
    let wall = now.wall.ok_or(TokenRefusal::ClockUnset)?;
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let wall = i64::try_from(wall.millis() / 1000).map_err(|_| TokenRefusal::ClockUnset)?;
    let skew = seconds(config.skew);
    let expires = claims
        .get("exp")
        .and_then(Json::numeric_date)
        .ok_or(TokenRefusal::NoExpiry)?;
    if expires.saturating_add(skew) <= wall {
        return Err(TokenRefusal::Expired);
    }
    if let Some(begins) = claims.get("nbf") {
        let begins = begins.numeric_date().ok_or(TokenRefusal::NotYetValid)?;
        if begins > wall.saturating_add(skew) {
            return Err(TokenRefusal::NotYetValid);
        }
    }
    let issued = match claims.get("iat") {
        None => None,
        Some(issued) => Some(issued.numeric_date().ok_or(TokenRefusal::BadIssueTime)?),
    };
    if issued.is_some_and(|issued| issued > wall.saturating_add(skew)) {
        return Err(TokenRefusal::BadIssueTime);
    }
    if let Some(longest) = config.longest_age {
        let issued = issued.ok_or(TokenRefusal::BadIssueTime)?;
        if issued.saturating_add(seconds(longest)).saturating_add(skew) < wall {
            return Err(TokenRefusal::TooOld);
        }
    }
    // The skew lets a token in, and lengthens nothing that is made of it.
    let left = Duration::from_secs(u64::try_from(expires - wall).unwrap_or_default());
    Ok(now.monotonic + left.min(LONGEST_LIFE))
}

/// Scopes come as `scope` (RFC 8693 §4.2), `scp` or `roles`.
fn has_scopes(claims: &Object, wanted: &[String]) -> bool {
    let listed = |name: &str| claims.get(name).and_then(Json::texts).unwrap_or_default();
    let mut has = listed("roles");
    for name in ["scope", "scp"] {
        has.extend(listed(name).into_iter().flat_map(|text| text.split(' ')));
    }
    wanted.iter().all(|scope| has.contains(&scope.as_str()))
}

/// Every name that the token gives its application must be on the list, and there must be
/// one.
fn is_of_client(claims: &Object, allowed: &[String]) -> bool {
    let named: Vec<&Json> = ["azp", "client_id"]
        .iter()
        .filter_map(|name| claims.get(*name))
        .collect();
    let is_allowed = |name: &&Json| {
        name.text()
            .is_some_and(|it| allowed.iter().any(|a| a == it))
    };
    allowed.is_empty() || (!named.is_empty() && named.iter().all(is_allowed))
}

impl Claims {
    /// A claim by its name; where there is no such name, dots lead into objects.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name).or_else(|| {
            let mut steps = name.split('.');
            let mut found = self.0.get(steps.next()?)?;
            for step in steps {
                let Json::Object(members) = found else {
                    return None;
                };
                found = members.get(step)?;
            }
            Some(found)
        })
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Claims(super::json::object(text.as_bytes()).expect("claims in a test"))
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}

/// Claims that only ID tokens have, OpenID Connect Core §3.1.3.6 and §3.3.2.11.
const ID_TOKEN_CLAIMS: [&str; 2] = ["at_hash", "c_hash"];
/// OpenID Connect Core §2.
const LONGEST_SUBJECT: usize = 255;
/// A token is looked at anew after a year at the latest.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 86_400);
