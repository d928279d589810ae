//! What the box asks identity providers for, and what they answer.

use std::time::Duration;

use bytes::Bytes;
use iq::Private;

use super::config::HttpsUrl;

/// One of the configured issuers, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerId(pub usize);

/// One question to an identity provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// An HTTPS request; its answer is JSON.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// On whose behalf; says which authorities vouch for the server.
    pub issuer: IssuerId,
    /// What is asked for. No redirection to another host is followed.
    pub url: HttpsUrl,
    /// The Authorization header.
    pub authorization: Option<Private<String>>,
    /// A form to POST; without one it is a GET.
    pub form: Option<Private<String>>,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// How long the answer is good, `max-age` of Cache-Control.
    pub max_age: Option<Duration>,
    /// The whole body.
    pub body: Private<Bytes>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FetchFailure {
    /// No connection, or one that broke.
    #[error("cannot be reached")]
    Unreachable,
    /// Its address is one of a private network, which the operator has not allowed.
    #[error("has a private address; allow it with private_addresses = true")]
    PrivateAddress,
    /// Its certificate is not believed.
    #[error("has a certificate that is not believed")]
    Untrusted,
    /// It took too long.
    #[error("takes too long")]
    TimedOut,
    /// The answer is too long.
    #[error("answers too much")]
    TooBig,
    /// It is not HTTP, or a redirection that is not followed.
    #[error("does not answer properly")]
    Improper,
}
