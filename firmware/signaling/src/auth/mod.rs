//! Who users are, and how the box proves it: the answers to a core's challenges that it
//! gives on a user's behalf, and access tokens (RFC 6750, RFC 8898, TS 24.371 §7.2) that it
//! verifies itself. A token that is not understood to the last member is turned away.

pub mod aka;
pub mod claims;
pub mod config;
pub mod credential;
pub mod digest;
pub mod fetch;
pub mod identity_map;
mod issuer;
mod json;
mod jwk;
mod jws;
mod keys;
mod milenage;
pub(crate) mod pool;
pub mod refusal;
mod template;
pub mod tokens;
mod wildcard;

use std::time::Instant;

use crate::identity::{PrivateIdentity, PublicIdentity};

pub use config::{AuthConfig, Discovery, HttpsUrl, IntrospectionConfig, IssuerConfig, TokenCheck};
pub use credential::Credential;
pub use fetch::{FetchFailure, FetchId, FetchRequest, Fetched, IssuerId};
pub use identity_map::{IdentityRule, Selector, Test};
pub use jwk::Algorithm;
pub use refusal::{Hearing, TokenRefusal};
pub use template::{BadTemplate, Template};
pub use tokens::Token;

/// A user whose web credential is verified, and who he is in the IMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUser {
    /// His private identity.
    pub impi: PrivateIdentity,
    /// The public identities that he may use. Never empty; the first is the default.
    pub impus: Vec<PublicIdentity>,
    /// When his credential's time is over: nothing that is made of it lasts longer.
    pub until: Instant,
}

impl ProvenUser {
    /// Which of his identities a user registers who says this one: it, if it is his own. Who
    /// does not know which one is his, as that of a pool is lent to him, says
    /// [`OWN_NAME`]: the first one of the domain.
    #[must_use]
    pub fn meant_by(&self, said: &PublicIdentity) -> Option<&PublicIdentity> {
        let is_said = |own: &&PublicIdentity| *own == said;
        let is_of_domain = |own: &&PublicIdentity| own.domain() == said.domain();
        let is_own_name = said.domain().is_some() && *said.user().reveal() == OWN_NAME;
        let of_own_name = || self.impus.iter().find(is_of_domain);
        let own = self.impus.iter().find(is_said);
        own.or_else(|| is_own_name.then(of_own_name).flatten())
    }
}

/// The user part that stands for whoever the token is about: `sip:me@…`.
pub const OWN_NAME: &str = "me";

/// One question to whoever keeps credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthenticationId(pub u64);

/// Why there are no credentials for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthenticationFailure {
    /// None are kept for this user.
    #[error("no credentials are stored for the user")]
    Unknown,
    /// They are there, and not for what the core asks.
    #[error(transparent)]
    Unanswerable(digest::Unanswerable),
    /// The store is closed, damaged or busy.
    #[error("the stored credentials cannot be used")]
    Unavailable,
}

#[cfg(test)]
pub(crate) mod tests;
