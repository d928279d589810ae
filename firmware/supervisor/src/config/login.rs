//! `[[issuer]]` and `[[identity_map]]`: whose access tokens log users in, and who those
//! users are in the IMS.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use iq::Private;
use signaling::auth::{
    Algorithm, AuthConfig, Discovery, HttpsUrl, IdentityRule, IntrospectionConfig, IssuerConfig,
    IssuerId, Selector, Template, Test, TokenCheck,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault;
use super::reader::{Fault, Reader, Section, Value, check_keys, section, text_value};

section! {
    /// An identity provider whose access tokens log users in, one [[issuer]] table for each.
    Issuer = "issuer"
    /// Its name exactly as `iss` in its tokens has it, like
    /// "https://idp.example.com/realms/acme". Has no default.
    url: Option<Url> = None,
    /// What tokens for this box name in `aud`, one of these. Has no default, but may be left
    /// out where check is "introspection".
    audience: Vec<String> = Vec::new(),
    /// How its tokens are checked: "signature" (they are JWTs) or "introspection" (the
    /// issuer is asked about each, RFC 7662).
    check: CheckName = CheckName(TokenCheck::Signature),
    /// Signature algorithms that are accepted: "RS256", "PS256", "ES256", "EdDSA".
    algorithms: Vec<AlgorithmName> = Algorithm::ALL.map(AlgorithmName).to_vec(),
    /// The `typ` that its tokens must have, like "at+jwt" (RFC 9068). Unset: any.
    token_type: Option<String> = None,
    /// Whether ID tokens are taken for access tokens.
    id_tokens: bool = false,
    /// Scopes or roles that a token must have, all of them.
    scopes: Vec<String> = Vec::new(),
    /// Applications whose tokens are taken (`azp`, `client_id`). Empty: any.
    clients: Vec<String> = Vec::new(),
    /// How far the issuer's clock may be off; at most "2m".
    clock_skew: Duration = Duration::from_secs(30),
    /// How long ago a token may have been issued. Unset: as long as it is valid.
    longest_age: Option<Duration> = None,
    /// Where its keys are (JWKS). Unset: its discovery document says it.
    keys: Option<Url> = None,
    /// Which discovery document it has: "openid" or "oauth" (RFC 8414).
    discovery: DiscoveryName = DiscoveryName(Discovery::OpenId),
    /// Where it is asked about tokens. Unset: its discovery document says it.
    introspection: Option<Url> = None,
    /// Who the box is when it asks about tokens. With it, registered users' tokens are also
    /// looked at again from time to time, to find the revoked ones.
    client_id: Option<String> = None,
    /// A file that holds the box's password there, and nothing else.
    client_secret_file: Option<PathBuf> = None,
    /// How often a registered user's token is looked at again.
    recheck: Duration = Duration::from_secs(5 * 60),
    /// Certificates, PEM, of the authorities that vouch for its servers.
    authorities: PathBuf = PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
    /// Whether its servers may have addresses of private networks.
    private_addresses: bool = false,
}

section! {
    /// Who the users of tokens are in the IMS, one [[identity_map]] table for each rule; the
    /// first that fits decides. {name} stands for a claim, {n} for a number from the pool.
    IdentityMap = "identity_map"
    /// Whose tokens it is for: the url of an [[issuer]]. Has no default.
    issuer: Option<Url> = None,
    /// What their claims must be, all of it, like { claim = "groups", contains = "voice" } or
    /// { claim = "sub", equals = "4711" }. Dots lead into objects: "realm_access.roles".
    when: Vec<When> = Vec::new(),
    /// The private identity, like "{sub}@private.ims.example.com". Has no default.
    impi: Option<Text> = None,
    /// The public identities, the first is the default, like
    /// ["sip:{phone_number}@ims.example.com", "tel:{phone_number}"]. A wildcarded one has a
    /// regular expression between exclamation marks. Has no default.
    impu: Vec<Text> = Vec::new(),
    /// The numbers that {n} stands for, like "1-100": each person gets one. His page learns it by
    /// POST /v1/session, or registers as sip:me@ and the domain.
    pool: Option<Numbers> = None,
    /// How long a number is kept after its last use: for its user, and from everybody else.
    pool_kept: Duration = Duration::from_secs(10 * 60),
}

macro_rules! named {
    ($name:ident($inner:ty), $wanted:literal, $($word:literal => $value:expr,)*) => {
        /// A choice by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $($word => Ok($name($value)),)*
                    _ => Err(()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(if self.0 == $value {
                    return f.write_str($word);
                })*
                Ok(())
            }
        }

        text_value!($name, $wanted);
    };
}

named!(CheckName(TokenCheck), "\"signature\" or \"introspection\"",
    "signature" => TokenCheck::Signature,
    "introspection" => TokenCheck::Introspection,
);
named!(DiscoveryName(Discovery), "\"openid\" or \"oauth\"",
    "openid" => Discovery::OpenId,
    "oauth" => Discovery::OAuth,
);
named!(AlgorithmName(Algorithm), "\"RS256\", \"PS256\", \"ES256\" or \"EdDSA\"",
    "RS256" => Algorithm::Rs256,
    "PS256" => Algorithm::Ps256,
    "ES256" => Algorithm::Es256,
    "EdDSA" => Algorithm::EdDsa,
);

/// A URL of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(pub(crate) HttpsUrl);

impl std::str::FromStr for Url {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        HttpsUrl::parse(text).map(Url).ok_or(())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(
    Url,
    "an https URL without query, like \"https://idp.example.com/realms/acme\""
);

/// A text with claims in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Template);

impl std::str::FromStr for Text {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Template::parse(text).map(Text).map_err(|_| ())
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(
    Text,
    "an identity with claims in braces, like \"sip:{sub}@ims.example.com\""
);

/// Numbers of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers(RangeInclusive<u32>);

impl std::str::FromStr for Numbers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').ok_or(())?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| ());
        let (first, last) = (number(first)?, number(last)?);
        let count = last.checked_sub(first).ok_or(())?;
        (count < LARGEST_POOL)
            .then_some(Numbers(first..=last))
            .ok_or(())
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

text_value!(Numbers, "a range of up to 100000 numbers, like \"1-100\"");

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When(Selector);

impl Value for When {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let wanted = || "must be like { claim = \"groups\", contains = \"voice\" }".to_owned();
        let table = value.as_table().ok_or_else(wanted)?;
        let text = |key: &str| table.get(key)?.get_ref().as_str().map(str::to_owned);
        let test = match (text("equals"), text("contains")) {
            (Some(text), None) => Test::Equals(text),
            (None, Some(text)) => Test::Contains(text),
            _ => return Err(wanted()),
        };
        let claim = text("claim").filter(|claim| !claim.is_empty());
        match claim.filter(|_| table.len() == 2) {
            Some(claim) => Ok(When(Selector { claim, test })),
            None => Err(wanted()),
        }
    }

    fn show(&self) -> Option<String> {
        let (word, text) = match &self.0.test {
            Test::Equals(text) => ("equals", text),
            Test::Contains(text) => ("contains", text),
        };
        Some(format!(
            "{{ claim = {:?}, {word} = {text:?} }}",
            self.0.claim
        ))
    }
}

/// Reads every table of this name.
pub(super) fn read<S: Section>(text: &str, root: &DeTable<'_>, faults: &mut Vec<Fault>) -> Vec<S> {
    let name = S::NAME;
    let tables = match root.get(name).map(Spanned::get_ref) {
        None => return Vec::new(),
        Some(DeValue::Array(tables)) => tables,
        Some(_) => {
            faults.push(fault(format!(
                "[{name}] must stand in double brackets: [[{name}]]"
            )));
            return Vec::new();
        }
    };
    let known: Vec<&str> = S::keys().iter().map(|key| key.name).collect();
    let tables = tables.iter().filter_map(|table| table.get_ref().as_table());
    tables
        .enumerate()
        .map(|(at, table)| {
            let place = place(name, at);
            check_keys(text, &place, table, &known, faults);
            S::read_over(
                &mut Reader::new(text, place, Some(table), faults),
                &S::default(),
            )
        })
        .collect()
}

/// How messages call a table, which has no name of its own.
fn place(table: &str, at: usize) -> String {
    format!("[[{table}]] number {}", at + 1)
}

/// Finds what is missing or does not go together.
pub(super) fn check(issuers: &[Issuer], rules: &[IdentityMap], faults: &mut Vec<Fault>) {
    for (at, issuer) in issuers.iter().enumerate() {
        let mut fault =
            |message: &str| faults.push(fault(format!("{} {message}", place("issuer", at))));
        issuer.check(&mut fault);
        if issuers[..at].iter().any(|other| other.url == issuer.url) && issuer.url.is_some() {
            fault("url: is there twice; one table says all about an issuer");
        }
    }
    for (at, rule) in rules.iter().enumerate() {
        let mut fault =
            |message: &str| faults.push(fault(format!("{} {message}", place("identity_map", at))));
        rule.check(issuers, &mut fault);
    }
}

impl Issuer {
    fn check(&self, fault: &mut impl FnMut(&str)) {
        if self.url.is_none() {
            fault("url: is missing; say what `iss` in its tokens says");
        }
        let is_asked = self.check.0 == TokenCheck::Introspection;
        if self.audience.is_empty() && !is_asked {
            fault("audience: is missing; say what `aud` of tokens for this box says");
        }
        if self.algorithms.is_empty() {
            fault("algorithms: give at least one");
        }
        if self.clock_skew > LONGEST_SKEW {
            fault("clock_skew: must not be above \"2m\"; set the clocks instead");
        }
        if self.recheck < SHORTEST_RECHECK {
            fault("recheck: must not be below \"10s\"");
        }
        match (&self.client_id, &self.client_secret_file) {
            (Some(_), Some(file)) => {
                if let Err(error) = secret(file) {
                    fault(&format!("client_secret_file: {}: {error}", file.display()));
                }
            }
            (None, None) if is_asked => {
                fault("client_id: check = \"introspection\" needs it, and client_secret_file");
            }
            (None, None) => {}
            _ => fault("client_id and client_secret_file: give both or none"),
        }
    }

    fn signaling(&self) -> Option<IssuerConfig> {
        let url = |url: &Option<Url>| url.as_ref().map(|url| url.0.clone());
        let introspection = match (&self.client_id, &self.client_secret_file) {
            (Some(client_id), Some(file)) => Some(IntrospectionConfig {
                endpoint: url(&self.introspection),
                client_id: client_id.clone(),
                client_secret: secret(file).ok()?,
                interval: self.recheck,
            }),
            _ => None,
        };
        Some(IssuerConfig {
            issuer: url(&self.url)?,
            check: self.check.0,
            audiences: self.audience.clone(),
            algorithms: self.algorithms.iter().map(|name| name.0).collect(),
            token_type: self.token_type.clone(),
            id_tokens: self.id_tokens,
            scopes: self.scopes.clone(),
            clients: self.clients.clone(),
            skew: self.clock_skew,
            longest_age: self.longest_age,
            keys: url(&self.keys),
            discovery: self.discovery.0,
            introspection,
        })
    }
}

impl IdentityMap {
    fn check(&self, issuers: &[Issuer], fault: &mut impl FnMut(&str)) {
        match &self.issuer {
            None => fault("issuer: is missing; give the url of an [[issuer]]"),
            Some(_) if self.issuer_id(issuers).is_none() => {
                fault("issuer: there is no [[issuer]] with this url");
            }
            Some(_) => {}
        }
        if self.impi.is_none() {
            fault("impi: is missing; say what the private identity is, like \"{sub}@example.com\"");
        }
        if self.impu.is_empty() {
            fault("impu: is missing; say what the public identities are");
        }
        let wants_number = self
            .impi
            .iter()
            .chain(&self.impu)
            .any(|text| text.0.wants_number());
        match (&self.pool, wants_number) {
            (None, true) => fault("pool: {n} needs it, like \"1-100\""),
            (Some(_), false) => fault("pool: without {n} in impi and impu everybody is the same"),
            _ => {}
        }
    }

    fn issuer_id(&self, issuers: &[Issuer]) -> Option<IssuerId> {
        let at = issuers
            .iter()
            .position(|issuer| issuer.url == self.issuer)?;
        self.issuer.as_ref().map(|_| IssuerId(at))
    }

    fn signaling(&self, issuers: &[Issuer]) -> Option<IdentityRule> {
        Some(IdentityRule {
            issuer: self.issuer_id(issuers)?,
            when: self.when.iter().map(|when| when.0.clone()).collect(),
            impi: self.impi.as_ref()?.0.clone(),
            impus: self.impu.iter().map(|text| text.0.clone()).collect(),
            pool: self.pool.as_ref().map(|numbers| numbers.0.clone()),
            pool_kept: self.pool_kept,
        })
    }
}

/// Both, as signaling knows them.
pub(super) fn signaling(issuers: &[Issuer], rules: &[IdentityMap]) -> Option<AuthConfig> {
    Some(AuthConfig {
        issuers: issuers
            .iter()
            .map(Issuer::signaling)
            .collect::<Option<_>>()?,
        identities: rules
            .iter()
            .map(|rule| rule.signaling(issuers))
            .collect::<Option<_>>()?,
    })
}

fn secret(file: &std::path::Path) -> std::io::Result<Private<String>> {
    let text = std::fs::read_to_string(file)?;
    Ok(Private::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// How users of a network log in, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginName {
    /// SIP Digest.
    Digest,
    /// Access tokens.
    Token,
}

impl std::str::FromStr for LoginName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "digest" => Ok(LoginName::Digest),
            "token" => Ok(LoginName::Token),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for LoginName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LoginName::Digest => "digest",
            LoginName::Token => "token",
        })
    }
}

text_value!(LoginName, "\"digest\" or \"token\"");

/// The issuers that a network takes tokens of: the named ones, or all.
pub(super) fn believed(named: &[Url], issuers: &[Issuer]) -> Vec<IssuerId> {
    let is_named = |issuer: &Issuer| {
        named.is_empty() || issuer.url.as_ref().is_some_and(|url| named.contains(url))
    };
    let places = issuers.iter().enumerate();
    places
        .filter(|(_, issuer)| is_named(issuer))
        .map(|(at, _)| IssuerId(at))
        .collect()
}

/// Longer ones hide a clock that is wrong.
const LONGEST_SKEW: Duration = Duration::from_secs(120);
const SHORTEST_RECHECK: Duration = Duration::from_secs(10);
const LARGEST_POOL: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const LEAST: &str = "[ims]\npcscf = \"192.0.2.10:5060\"\nhome_domains = [\"ims.test\"]\n";
    const ISSUER: &str = "[[issuer]]\nurl = \"https://idp.test/realms/acme\"\n\
        audience = \"https://gw.test\"\nscopes = [\"voice\"]\nlongest_age = \"1h\"\n";
    const RULE: &str = "[[identity_map]]\nissuer = \"https://idp.test/realms/acme\"\n\
        when = { claim = \"groups\", contains = \"voice\" }\nimpi = \"web-{n}@ims.test\"\n\
        impu = [\"sip:web-{n}@ims.test\", \"tel:{phone_number}\"]\npool = \"1-100\"\n";

    fn faults(text: &str) -> Vec<String> {
        let faults = Config::parse(text).expect_err("a faulty file");
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn issuers_and_rules_are_read() {
        let config = Config::parse(&format!("{LEAST}{ISSUER}{RULE}")).expect("a good file");
        let told = config.signaling().expect("a whole file").auth;
        assert_eq!(
            told.issuers[0].issuer.as_str(),
            "https://idp.test/realms/acme"
        );
        assert_eq!(told.issuers[0].audiences, ["https://gw.test"]);
        assert_eq!(told.issuers[0].longest_age, Some(Duration::from_secs(3600)));
        let rule = &told.identities[0];
        assert_eq!(rule.pool, Some(1..=100));
        let test = Test::Contains("voice".to_owned());
        let claim = "groups".to_owned();
        assert_eq!(rule.when, [Selector { claim, test }]);
        assert_eq!(rule.impus[1].to_string(), "tel:{phone_number}");
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_told_at_once() {
        let text = format!(
            "{LEAST}{ISSUER}{ISSUER}[[issuer]]\ncheck = \"introspection\"\nclock_skew = \"5m\"\n\
             [[issuer]]\nurl = \"http://idp.test\"\nkeis = 1\n[[identity_map]]\n\
             issuer = \"https://other.test\"\nimpi = \"{{n}}@ims.test\"\n\
             when = {{ claim = \"a\" }}\n"
        );
        assert_eq!(
            faults(&text),
            [
                "[[identity_map]] number 1 impu: is missing; say what the public identities are",
                "[[identity_map]] number 1 issuer: there is no [[issuer]] with this url",
                "[[identity_map]] number 1 pool: {n} needs it, like \"1-100\"",
                "[[issuer]] number 2 url: is there twice; one table says all about an issuer",
                "[[issuer]] number 3 client_id: check = \"introspection\" needs it, and \
                 client_secret_file",
                "[[issuer]] number 3 clock_skew: must not be above \"2m\"; set the clocks instead",
                "[[issuer]] number 3 url: is missing; say what `iss` in its tokens says",
                "[[issuer]] number 4 audience: is missing; say what `aud` of tokens for this box \
                 says",
                "[[issuer]] number 4 url: is missing; say what `iss` in its tokens says",
                "line 18: [[issuer]] number 4 url: must be an https URL without query, like \
                 \"https://idp.example.com/realms/acme\"",
                "line 19: unknown key `keis` in [[issuer]] number 4; the nearest known one is \
                 `keys`",
                "line 23: [[identity_map]] number 1 when: must be a list in square brackets, or \
                 one item, which must be like { claim = \"groups\", contains = \"voice\" }",
            ]
        );
    }

    #[test]
    fn token_login_on_gm_needs_the_key_of_stored_credentials() {
        let faults = faults(&format!(
            "{LEAST}login = \"token\"\nissuers = \"https://x.test\"\n"
        ));
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].starts_with("[ims] issuers: there is no [[issuer]] with the url"));
        assert!(faults[1].starts_with("[ims] login: \"token\" needs an [[issuer]]"));
        assert!(faults[2].contains("needs [credentials] key_credential or key_file"));
        let mw = LEAST.replace("pcscf", "profile = \"mw\"\nicscf");
        let key = "[credentials]\nkey_file = \"/etc/gatehouse/key\"\n";
        for (head, tail) in [(mw.as_str(), ""), (LEAST, key)] {
            let text = format!("{head}login = \"token\"\n{ISSUER}{RULE}{tail}");
            assert!(Config::parse(&text).is_ok(), "{text}");
        }
    }
}
