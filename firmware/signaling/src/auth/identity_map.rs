//! Who the user of a token is in the IMS: ordered rules from an issuer and its claims to
//! identities (TS 33.203 Annex X.4, TS 23.003 §13). The first rule that fits decides, and
//! one that fits but cannot be filled in is an end, not a reason to try the next.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use iq::Private;

use crate::config::HostName;
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::message::Uri;

use super::ProvenUser;
use super::claims::Claims;
use super::fetch::IssuerId;
use super::json::Json;
use super::pool::{Holder, Pool};
use super::refusal::TokenRefusal;
use super::template::Template;
use super::tokens::Believed;
use super::wildcard::Wildcard;

/// One rule.
#[derive(Clone, Debug)]
pub struct IdentityRule {
    /// Whose tokens it is for.
    pub issuer: IssuerId,
    /// What their claims must be, all of it.
    pub when: Vec<Selector>,
    /// The private identity, `user@realm`.
    pub impi: Template,
    /// The public identities, `sip:` or `tel:`; the first is the default. Wildcarded ones
    /// have a regular expression between exclamation marks.
    pub impus: Vec<Template>,
    /// The numbers that `{n}` stands for, one for each person.
    pub pool: Option<RangeInclusive<u32>>,
    /// How long a number is kept for the person who had it.
    pub pool_kept: Duration,
}

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Its name; dots lead into objects where there is no claim of the whole name.
    pub claim: String,
    /// What it must be.
    pub test: Test,
}

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// This text.
    Equals(String),
    /// A list with this text in it.
    Contains(String),
}

/// Who a user is.
#[derive(Clone, Debug)]
pub struct Identities {
    impi: PrivateIdentity,
    impus: Vec<PublicIdentity>,
    wildcards: Vec<Wildcard>,
    until: Instant,
    /// What was lent to him.
    pub lease: Option<Lease>,
}

/// A number from a pool: which rule's, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    rule: usize,
    number: u32,
}

impl Lease {
    pub(crate) fn number(self) -> u32 {
        self.number
    }
}

/// The rules and their pools.
#[derive(Debug)]
pub struct IdentityMap {
    rules: Vec<(IdentityRule, Option<Pool>)>,
}

impl IdentityMap {
    /// The rules, in their order.
    #[must_use]
    pub fn new(rules: &[IdentityRule]) -> Self {
        let with_pool = |rule: &IdentityRule| {
            let pool = rule.pool.clone();
            (
                rule.clone(),
                pool.map(|range| Pool::new(range, rule.pool_kept)),
            )
        };
        IdentityMap {
            rules: rules.iter().map(with_pool).collect(),
        }
    }

    /// Who the user of a token is.
    ///
    /// # Errors
    /// If no rule fits, its claims are not usable, or its pool is exhausted.
    pub fn identify(
        &mut self,
        believed: &Believed,
        now: Instant,
    ) -> Result<Identities, TokenRefusal> {
        let claims = &believed.accepted.claims;
        let fits = |rule: &IdentityRule| {
            rule.issuer == believed.issuer && rule.when.iter().all(|it| it.fits(claims))
        };
        let (at, (rule, pool)) = self
            .rules
            .iter_mut()
            .enumerate()
            .find(|(_, (rule, _))| fits(rule))
            .ok_or(TokenRefusal::NoIdentity)?;
        let number = match pool {
            None => None,
            Some(pool) => {
                let holder = Holder {
                    issuer: believed.issuer,
                    subject: believed.accepted.subject.clone(),
                };
                Some(pool.lend(&holder, now).ok_or(TokenRefusal::PoolExhausted)?)
            }
        };
        let impi = private_identity(&rule.impi.fill(claims, number)?)?;
        let (mut impus, mut wildcards) = (Vec::new(), Vec::new());
        for template in &rule.impus {
            let text = template.fill(claims, number)?;
            match Wildcard::parse(&text) {
                Some(wildcard) => wildcards.push(wildcard),
                None => impus.push(public_identity(&text)?),
            }
        }
        Ok(Identities {
            impi,
            impus,
            wildcards,
            until: believed.accepted.until,
            lease: number.map(|number| Lease { rule: at, number }),
        })
    }

    /// A lent identity is in use for longer.
    pub fn extend(&mut self, lease: Lease, until: Instant) {
        if let Some((_, Some(pool))) = self.rules.get_mut(lease.rule) {
            pool.extend(lease.number, until);
        }
    }

    /// A lent identity is not registered any more.
    pub(crate) fn release(&mut self, lease: Lease, now: Instant) {
        if let Some((_, Some(pool))) = self.rules.get_mut(lease.rule) {
            pool.release(lease.number, now);
        }
    }

    /// The leases that may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> Vec<Lease> {
        let mut touched = Vec::new();
        for (rule, (_, pool)) in self.rules.iter_mut().enumerate() {
            let numbers = pool.as_mut().map(Pool::take_touched).unwrap_or_default();
            touched.extend(numbers.into_iter().map(|number| Lease { rule, number }));
        }
        touched
    }

    /// Has every lease looked at again.
    pub(crate) fn touch_all(&mut self) {
        for pool in self.rules.iter_mut().filter_map(|(_, pool)| pool.as_mut()) {
            pool.touch_all();
        }
    }

    /// Whose a lease is, by which rule, and until when.
    pub(crate) fn lease(&self, lease: Lease) -> Option<(&IdentityRule, &Holder, Instant)> {
        let (rule, pool) = self.rules.get(lease.rule)?;
        let (holder, until) = pool.as_ref()?.lease(lease.number)?;
        Some((rule, holder, until))
    }

    /// Takes up a lease of an earlier life of the box, by a rule with this private identity.
    pub(crate) fn restore(
        &mut self,
        impi: &str,
        number: u32,
        holder: &Holder,
        until: Instant,
    ) -> bool {
        let fits =
            |rule: &IdentityRule| rule.issuer == holder.issuer && rule.impi.to_string() == impi;
        let mut found = self.rules.iter_mut().filter(|(rule, _)| fits(rule));
        let pool = found.next().and_then(|(_, pool)| pool.as_mut());
        pool.is_some_and(|pool| pool.restore(number, holder.clone(), until))
    }

    /// Until when a lent identity is its holder's, if he does not register it again.
    pub(crate) fn kept_until(&self, lease: Lease) -> Option<Instant> {
        let (rule, _, until) = self.lease(lease)?;
        Some(until + rule.pool_kept)
    }

    /// How many lent identities are in use.
    #[must_use]
    pub fn lent(&self, now: Instant) -> usize {
        let pools = self.rules.iter().filter_map(|(_, pool)| pool.as_ref());
        pools.map(|pool| pool.in_use(now)).sum()
    }
}

impl Identities {
    /// The user as the one he wants to register as, if he may.
    #[must_use]
    pub fn as_user(&self, wanted: &PublicIdentity) -> Option<ProvenUser> {
        let is_listed = self.impus.contains(wanted);
        let is_below = !is_listed && self.wildcards.iter().any(|it| it.matches(wanted));
        // A wildcarded identity never goes anywhere: only the real one does, TS 23.003 §13.4A.
        let own = is_below.then(|| wanted.clone());
        let user = ProvenUser {
            impi: self.impi.clone(),
            impus: own.into_iter().chain(self.impus.iter().cloned()).collect(),
            until: self.until,
        };
        user.meant_by(wanted).is_some().then_some(user)
    }

    /// His public identities, but for the wildcarded ones; the first is the default.
    #[must_use]
    pub fn public(&self) -> &[PublicIdentity] {
        &self.impus
    }
}

impl Selector {
    fn fits(&self, claims: &Claims) -> bool {
        let Some(claim) = claims.get(&self.claim) else {
            return false;
        };
        match &self.test {
            Test::Equals(wanted) => claim.text() == Some(wanted),
            Test::Contains(wanted) => claim
                .list()
                .is_some_and(|list| list.iter().any(|item: &Json| item.text() == Some(wanted))),
        }
    }
}

/// `user@realm`, TS 23.003 §13.3.
fn private_identity(text: &str) -> Result<PrivateIdentity, TokenRefusal> {
    let (user, realm) = text.split_once('@').ok_or(TokenRefusal::NoIdentity)?;
    let is_user = user
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+~".contains(&byte));
    let is_good = (1..=LONGEST_USER).contains(&user.len()) && is_user;
    match HostName::parse(realm).filter(|_| is_good) {
        Some(_) => Ok(PrivateIdentity::new(text)),
        None => Err(TokenRefusal::NoIdentity),
    }
}

/// A SIP or tel URI that means one thing in every spelling, TS 23.003 §13.4.
fn public_identity(text: &str) -> Result<PublicIdentity, TokenRefusal> {
    let scheme = text.split(':').next().unwrap_or_default();
    let identity = Uri::parse(text)
        .filter(|_| ["sip", "tel"].contains(&scheme) && !text.contains(['%', '?']))
        .and_then(|uri| PublicIdentity::of_uri(&uri))
        .ok_or(TokenRefusal::NoIdentity)?;
    let user: Private<&str> = identity.user();
    let is_number = |digits: &str| {
        (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    // What looks like a number must be one, ITU-T E.164 §6.
    match user.reveal().strip_prefix('+') {
        Some(digits) if !is_number(digits) => Err(TokenRefusal::NoIdentity),
        _ => Ok(identity),
    }
}

const LONGEST_USER: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::claims::Accepted;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn rule(impi: &str, impus: &[&str]) -> IdentityRule {
        IdentityRule {
            issuer: IssuerId(0),
            when: Vec::new(),
            impi: template(impi),
            impus: impus.iter().map(|text| template(text)).collect(),
            pool: None,
            pool_kept: Duration::from_secs(600),
        }
    }

    fn believed(claims: &str) -> Believed {
        let claims = Claims::of(claims);
        let subject = claims.get("sub").and_then(Json::text).unwrap_or("alice");
        Believed {
            issuer: IssuerId(0),
            accepted: Accepted {
                subject: Private::new(subject.to_owned()),
                until: Instant::now(),
                claims,
            },
        }
    }

    fn identify(rules: &[IdentityRule], claims: &str) -> Result<Identities, TokenRefusal> {
        IdentityMap::new(rules).identify(&believed(claims), Instant::now())
    }

    fn identity(text: &str) -> PublicIdentity {
        PublicIdentity::of_uri(&Uri::parse(text).unwrap()).unwrap()
    }

    /// What the first rule makes of claims: private identity and public ones.
    fn made(rules: &[IdentityRule], claims: &str) -> Option<(String, Vec<String>)> {
        let found = identify(rules, claims).ok()?;
        let impus = found.impus.iter().map(|it| it.reveal().to_owned());
        Some((found.impi.reveal().to_owned(), impus.collect()))
    }

    #[test]
    fn claims_become_identities() {
        let rule = rule(
            "{preferred_username}@acme.private.ims.test",
            &[
                "sip:{phone_number}@IMS.test;user=phone",
                "tel:{phone_number}",
            ],
        );
        let claims = r#"{"preferred_username":"alice","phone_number":"+390401234567"}"#;
        let (impi, impus) = made(&[rule], claims).unwrap();
        assert_eq!(impi, "alice@acme.private.ims.test");
        assert_eq!(impus, ["sip:+390401234567@ims.test", "tel:+390401234567"]);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let when = |claim: &str, test| {
            vec![Selector {
                claim: claim.into(),
                test,
            }]
        };
        let of = |impi: &str, when| IdentityRule {
            when,
            ..rule(impi, &["sip:x@ims.test"])
        };
        let rules = [
            of("table@r.test", when("sub", Test::Equals("u-1".into()))),
            of(
                "voice@r.test",
                when("groups", Test::Contains("voice".into())),
            ),
            of(
                "role@r.test",
                when("realm_access.roles", Test::Contains("sip".into())),
            ),
            IdentityRule {
                issuer: IssuerId(1),
                ..rule("other@r.test", &["sip:x@ims.test"])
            },
        ];
        let impi = |claims: &str| made(&rules, claims).map(|(impi, _)| impi);
        assert_eq!(
            impi(r#"{"sub":"u-1","groups":["voice"]}"#).unwrap(),
            "table@r.test"
        );
        assert_eq!(
            impi(r#"{"sub":"u-2","groups":["a","voice"]}"#).unwrap(),
            "voice@r.test"
        );
        let nested = r#"{"realm_access":{"roles":["sip"]}}"#;
        assert_eq!(impi(nested).unwrap(), "role@r.test");
        for nobody in [r#"{"groups":"voice"}"#, r#"{"sub":["u-1"]}"#, "{}"] {
            assert_eq!(
                identify(&rules, nobody).unwrap_err(),
                TokenRefusal::NoIdentity
            );
        }
    }

    #[test]
    fn a_rule_that_fits_and_cannot_be_filled_is_the_end() {
        let rules = [
            rule("{nick}@r.test", &["sip:x@ims.test"]),
            rule("anybody@r.test", &["sip:anybody@ims.test"]),
        ];
        assert_eq!(
            identify(&rules, "{}").unwrap_err(),
            TokenRefusal::NoIdentity
        );
    }

    #[test]
    fn no_claim_can_change_what_an_identity_means() {
        let rules = [rule("{c}@r.test", &["sip:{c}@ims.test"])];
        assert!(made(&rules, r#"{"c":"alice"}"#).is_some());
        for evil in [
            r#""""#,
            r#""a b""#,
            r#""a\r\nVia: x""#,
            r#""a\u0000""#,
            r#""a>""#,
            r#""a\"""#,
            r#""a%40b""#,
            r#""mallory@evil.test""#,
            r#""a:b""#,
            r#""a;user=phone""#,
            r#""a?x=1""#,
            r#""a/b""#,
            r#""!.*!""#,
            r#""älice""#,
            r#""{sub}""#,
            r#"["alice"]"#,
            r#"{"a":1}"#,
            "null",
            "true",
            "-7",
            "1.5",
            r#""+12""#,
            r#""+1234567890123456""#,
            r#""+39x0401234567""#,
        ] {
            let claims = format!(r#"{{"c":{evil}}}"#);
            assert_eq!(made(&rules, &claims), None, "{evil}");
        }
        let long = format!(r#"{{"c":"{}"}}"#, "a".repeat(129));
        assert_eq!(made(&rules, &long), None);
        let tel = [rule("a@r.test", &["tel:{c}"])];
        for evil in ["112", "+112", "+390401234567;phone-context=x", "+39-040-1"] {
            assert_eq!(made(&tel, &format!(r#"{{"c":"{evil}"}}"#)), None, "{evil}");
        }
    }

    #[test]
    fn an_address_counts_only_when_it_is_verified() {
        let rules = [rule("{email}", &["sip:x@ims.test"])];
        let claims = r#"{"email":"alice@acme.test","email_verified":true}"#;
        assert_eq!(made(&rules, claims).unwrap().0, "alice@acme.test");
        for more in [
            "",
            r#","email_verified":false"#,
            r#","email_verified":"true""#,
        ] {
            let claims = format!(r#"{{"email":"alice@acme.test"{more}}}"#);
            assert_eq!(made(&rules, &claims), None, "{more}");
        }
    }

    #[test]
    fn a_user_registers_as_one_of_his_own_only() {
        let rules = [rule("a@r.test", &["sip:a@ims.test", "tel:+390401234567"])];
        let found = identify(&rules, "{}").unwrap();
        let user = found.as_user(&identity("tel:+39-040-1234567")).unwrap();
        assert_eq!(user.impus[0], identity("sip:a@ims.test"));
        assert_eq!(found.as_user(&identity("sip:b@ims.test")), None);
    }

    #[test]
    fn who_calls_himself_me_is_his_first_identity_of_the_domain() {
        let listed = ["tel:+390401234567", "sip:x@b.test", "sip:a@ims.test"];
        let rules = [rule("a@r.test", &listed)];
        let found = identify(&rules, "{}").unwrap();
        let meant = |said: &str| {
            let user = found.as_user(&identity(said))?;
            user.meant_by(&identity(said)).cloned()
        };
        assert_eq!(meant("sip:me@ims.test"), Some(identity("sip:a@ims.test")));
        assert_eq!(meant("sip:me@b.test"), Some(identity("sip:x@b.test")));
        assert_eq!(meant("sip:me@evil.test"), None);
        assert_eq!(meant("sip:Me@ims.test"), None);
        assert_eq!(found.public().len(), 3);
    }

    #[test]
    fn a_user_whose_name_is_me_is_himself() {
        let rules = [rule("a@r.test", &["sip:a@ims.test", "sip:me@ims.test"])];
        let me = identity("sip:me@ims.test");
        let user = identify(&rules, "{}").unwrap().as_user(&me).unwrap();
        assert_eq!(user.meant_by(&me), Some(&me));
        let below = [rule("a@r.test", &["sip:a@ims.test", "sip:!m.*!@ims.test"])];
        let user = identify(&below, "{}").unwrap().as_user(&me).unwrap();
        assert_eq!(user.meant_by(&me), Some(&me));
        let alone = [rule("a@r.test", &["sip:!x.*!@ims.test"])];
        assert_eq!(identify(&alone, "{}").unwrap().as_user(&me), None);
    }

    #[test]
    fn a_wildcarded_identity_stands_for_those_below_it() {
        let rules = [rule("a@r.test", &["sip:chat-{room}!.*!@ims.test"])];
        let found = identify(&rules, r#"{"room":"x.y"}"#).unwrap();
        let user = found.as_user(&identity("sip:chat-x.y7@ims.test")).unwrap();
        assert_eq!(
            user.impus,
            [identity("sip:chat-x.y7@ims.test")],
            "the real one"
        );
        for other in [
            "sip:chat-x7@ims.test",
            "sip:chat-xzy7@ims.test",
            "sip:chat-x.y7@evil.test",
        ] {
            assert_eq!(found.as_user(&identity(other)), None, "{other}");
        }
    }

    #[test]
    fn a_pool_gives_each_person_a_number_and_the_last_one_none() {
        let rule = IdentityRule {
            pool: Some(1..=2),
            ..rule("web-{n}@r.test", &["sip:web-{n}@ims.test"])
        };
        let mut map = IdentityMap::new(&[rule]);
        let now = Instant::now();
        let mut impi = |sub: &str| {
            let claims = believed(&format!(r#"{{"sub":"{sub}"}}"#));
            let found = map.identify(&claims, now);
            found.map(|it| it.impi.reveal().to_owned())
        };
        assert_eq!(impi("a").unwrap(), "web-1@r.test");
        assert_eq!(impi("b").unwrap(), "web-2@r.test");
        assert_eq!(impi("a").unwrap(), "web-1@r.test");
        assert_eq!(impi("c"), Err(TokenRefusal::PoolExhausted));
    }
}
