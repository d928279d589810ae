//! The trust boundary: which header fields may cross from one side to the other
//! (TS 24.229 §4.4 and Annex of header tables; RFC 3325 §7; RFC 3323).
//!
//! A leg writes what makes its own messages ([`Rule::Own`]); whatever else came from the
//! other side goes through [`Policy::carry`], which knows one table for each kind of peer.
//! What no row names is stripped, both ways, unless the operator lists it.

mod gm;
mod mw;
mod trunk;

use std::collections::BTreeSet;
use std::fmt;

use iq::Leg;

use crate::config::{Config, Profile, Tenant, TenantId};
use crate::message::headers::{Digest, Typed, WwwAuthenticate};
use crate::message::{Header, HeaderName, Headers};

/// The rules that hold for one kind of peer, with the operator's additions.
#[derive(Debug)]
pub struct Policy {
    rows: Vec<&'static Row>,
    passed: BTreeSet<String>,
}

/// One header field and what becomes of it in each direction.
#[derive(Debug)]
pub struct Row {
    /// Which header field.
    pub header: HeaderName,
    /// From a browser to the IMS.
    pub to_ims: Rule,
    /// From the IMS to a browser.
    pub to_access: Rule,
}

/// What becomes of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The leg writes it itself if it needs it; what came is never copied.
    Own,
    /// It does not cross.
    Strip,
    /// It crosses as it is.
    Pass,
    /// It crosses if it passes a check, perhaps changed.
    Check(Check),
}

/// The checks of [`Rule::Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Digest credentials cross byte for byte. Bearer tokens are for this box alone, and
    /// credentials that claim `integrity-protected` are forged: that is the network's to
    /// add (TS 24.229 §7.2A.2).
    DigestCredentials,
    /// Digest challenges cross; `auth-int` is taken out of `qop`, because this box
    /// changes bodies. Other schemes stay behind.
    DigestChallenge,
    /// An asserted identity crosses unless the caller wants privacy, RFC 3325 §9.3.
    UnlessPrivate,
    /// Only `urn:` values: any other URI may name a host of the other side, or make a
    /// browser fetch something.
    UrnOnly,
    /// Only the values of RFC 3261 §20.26: `psap-callback` (RFC 7090) is the network's.
    OrdinaryPriority,
}

/// The rules of every tenant.
#[derive(Debug)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// The rules as the tenants' profiles pick them.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Policies(config.tenants.iter().map(Policy::of).collect())
    }

    /// What of a message's headers crosses towards a leg of a tenant's user.
    #[must_use]
    pub fn carry(&self, tenant: TenantId, headers: &Headers, towards: Leg) -> Headers {
        self.0[tenant.0].carry(headers, towards)
    }
}

impl Policy {
    /// The rules of one tenant.
    #[must_use]
    pub fn of(tenant: &Tenant) -> Self {
        let names = tenant.passed_headers.iter();
        let differences: &'static [Row] = match tenant.profile {
            Profile::Gm => &[],
            Profile::Mw(_) => &mw::DIFFERENCES,
            Profile::Trunk(_) => &trunk::DIFFERENCES,
        };
        let as_it_is_here = |row: &'static Row| {
            let other = differences.iter().find(|it| it.header == row.header);
            other.unwrap_or(row)
        };
        Policy {
            rows: gm::ROWS.iter().map(as_it_is_here).collect(),
            passed: names.map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// What of a message's headers crosses towards a leg.
    #[must_use]
    pub fn carry(&self, headers: &Headers, towards: Leg) -> Headers {
        let is_private = wants_privacy(headers);
        let mut carried = Headers::new();
        for header in headers.iter() {
            match self.rule(header.name(), towards) {
                Rule::Own | Rule::Strip => {}
                Rule::Pass => carried.push_header(header.clone()),
                Rule::Check(check) => {
                    if let Some(header) = check.apply(header, is_private) {
                        carried.push_header(header);
                    }
                }
            }
        }
        carried
    }

    /// The whole table.
    #[must_use]
    pub fn rows(&self) -> &[&'static Row] {
        &self.rows
    }

    fn rule(&self, name: &HeaderName, towards: Leg) -> Rule {
        let row = self.rows.iter().find(|row| row.header == *name);
        match (row, towards) {
            (Some(row), Leg::Ims) => row.to_ims,
            (Some(row), Leg::Access) => row.to_access,
            (None, _) if self.passed.contains(&name.as_str().to_ascii_lowercase()) => Rule::Pass,
            (None, _) => Rule::Strip,
        }
    }
}

/// As the tables' documentation has it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Own => "own",
            Rule::Strip => "strip",
            Rule::Pass => "pass",
            Rule::Check(Check::DigestCredentials) => "Digest only",
            Rule::Check(Check::DigestChallenge) => "Digest, without auth-int",
            Rule::Check(Check::UnlessPrivate) => "unless private",
            Rule::Check(Check::UrnOnly) => "urn: only",
            Rule::Check(Check::OrdinaryPriority) => "RFC 3261 values",
        })
    }
}

const fn row(header: HeaderName, to_ims: Rule, to_access: Rule) -> Row {
    Row {
        header,
        to_ims,
        to_access,
    }
}

impl Check {
    /// The header field as it crosses, if it does.
    fn apply(self, header: &Header, is_private: bool) -> Option<Header> {
        let text = header.text()?;
        match self {
            Check::DigestCredentials => {
                let digest = digest_of(text)?;
                (digest.raw("integrity-protected").is_none()).then(|| header.clone())
            }
            Check::DigestChallenge => without_auth_int(header, digest_of(text)?),
            Check::UnlessPrivate => (!is_private).then(|| header.clone()),
            Check::UrnOnly => is_urn(text).then(|| header.clone()),
            Check::OrdinaryPriority => {
                let is_ordinary = PRIORITIES
                    .iter()
                    .any(|known| text.eq_ignore_ascii_case(known));
                is_ordinary.then(|| header.clone())
            }
        }
    }
}

/// RFC 3323 §4.2 and RFC 3325 §9.3: `id` hides the asserted identity; `user` and `header`
/// ask for more than that.
fn wants_privacy(headers: &Headers) -> bool {
    match headers.privacy() {
        Ok(Some(privacy)) => ["id", "user", "header"]
            .iter()
            .any(|value| privacy.has(value)),
        Ok(None) => false,
        Err(_) => true, // What cannot be read may have asked for it.
    }
}

fn digest_of(text: &str) -> Option<Digest> {
    // All four headers have one grammar, RFC 7616 §3.
    let WwwAuthenticate(digest) = WwwAuthenticate::parse(text)?;
    digest.is_digest().then_some(digest)
}

/// A challenge with `auth` alone as its `qop`. One that offers nothing but `auth-int`
/// cannot be answered through this box.
fn without_auth_int(header: &Header, mut digest: Digest) -> Option<Header> {
    let Some(qop) = digest.get("qop") else {
        return Some(header.clone());
    };
    let mut options = qop.split(',').map(str::trim);
    let is_auth = |option: &str| option.eq_ignore_ascii_case("auth");
    if qop.split(',').all(|option| is_auth(option.trim())) {
        return Some(header.clone());
    }
    options.any(is_auth).then(|| {
        digest.set_quoted("qop", "auth");
        Header::new(header.name().clone(), digest.to_string())
    })
}

fn is_urn(text: &str) -> bool {
    let uri = text.trim_start_matches('<');
    uri.get(..4)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"))
        && !text.contains(',')
}

/// RFC 3261 §20.26.
const PRIORITIES: [&str; 4] = ["emergency", "urgent", "normal", "non-urgent"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
