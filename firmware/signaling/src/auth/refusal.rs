//! Why a token is not believed, and what the client hears of it (RFC 6750 §3.1, RFC 8898
//! §2.3).

/// Why an access token is turned away. Nothing of the token is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum TokenRefusal {
    // What the token is.
    /// Longer than any honest token.
    #[error("the token is too long")]
    TooLong,
    /// Neither three parts nor a token that the provider could be asked about.
    #[error("the token is not a JWT")]
    NotThreeParts,
    /// A part is not base64url without padding, RFC 7515 §2.
    #[error("a part of the token is not base64url")]
    NotBase64Url,
    /// The JOSE header is not a JSON object.
    #[error("the token's header is not a JSON object")]
    HeaderNotJson,
    /// The claims are not a JSON object.
    #[error("the token's claims are not a JSON object")]
    ClaimsNotJson,
    /// A member comes twice, RFC 7515 §4.
    #[error("a member of the token comes twice")]
    DuplicateMember,

    // What the header says.
    /// No algorithm, `none`, a symmetric one, or one that the issuer does not use.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// The token brings or names its own key.
    #[error("the token brings its own key")]
    KeyInHeader,
    /// `crit`: the token demands what this box does not understand, RFC 7515 §4.1.11.
    #[error("the token demands an extension")]
    CriticalExtension,
    /// Another `typ` than the configured one.
    #[error("the token is of another type")]
    WrongType,
    /// The key id is not a text, or longer than any.
    #[error("the token's key id is not usable")]
    BadKeyId,

    // The key.
    /// The issuer has no such key.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// The token names no key, or one name stands for several.
    #[error("it is not clear which key the token means")]
    AmbiguousKey,
    /// The key is not for signatures of this algorithm.
    #[error("the key is not for this algorithm")]
    KeyMismatch,
    /// RSA below 2048 bits.
    #[error("the issuer's key is too short")]
    KeyTooShort,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    BadSignature,

    // What the claims say.
    /// Not from an issuer that this tenant believes.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// Not meant for this box.
    #[error("the token is for another audience")]
    WrongAudience,
    /// An ID token (OpenID Connect Core §2) where an access token belongs.
    #[error("an ID token is no access token")]
    IdToken,
    /// No `exp`, or none that is a time.
    #[error("the token has no usable expiry")]
    NoExpiry,
    /// Its time is over, or too short to register for.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Issued in the future, or at no time.
    #[error("the token's time of issue makes no sense")]
    BadIssueTime,
    /// Issued longer ago than the operator allows.
    #[error("the token is too old")]
    TooOld,
    /// It lacks a scope or role that is needed.
    #[error("the token lacks a scope")]
    MissingScope,
    /// Issued to an application that is not on the list.
    #[error("the token was issued to another application")]
    WrongClient,
    /// Bound to a key of the client (RFC 9449, RFC 8705), whose possession this box cannot
    /// check.
    #[error("the token is bound to a key")]
    BoundToKey,
    /// It does not say who it is about.
    #[error("the token has no subject")]
    NoSubject,
    /// The provider says that it is not active, RFC 7662 §2.2.
    #[error("the provider says that the token is not active")]
    Inactive,

    // Who it is.
    /// No rule gives this user an identity in the IMS, or the rule's claims are not usable.
    #[error("no identity in the IMS for this user")]
    NoIdentity,
    /// Every identity of the pool is in use.
    #[error("the pool of identities is exhausted")]
    PoolExhausted,

    // Not the token's fault.
    /// The box does not know what time it is.
    #[error("the gateway's clock is not set")]
    ClockUnset,
    /// Keys or a verdict cannot be had.
    #[error("the identity provider does not answer")]
    ProviderUnavailable,
    /// Too many tokens wait for their verdict.
    #[error("too many log-ins at once")]
    TooMany,
}

/// What the client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// 401 with `error="invalid_token"`: get another token.
    InvalidToken,
    /// 403 with `error="insufficient_scope"`: get one that allows more.
    InsufficientScope,
    /// 403: no token of this user will do.
    Forbidden,
    /// 503 with Retry-After: the same token may do later.
    Later,
}

impl TokenRefusal {
    /// What the client hears.
    #[must_use]
    pub fn hearing(self) -> Hearing {
        match self {
            TokenRefusal::MissingScope => Hearing::InsufficientScope,
            TokenRefusal::NoIdentity | TokenRefusal::WrongClient => Hearing::Forbidden,
            TokenRefusal::PoolExhausted
            | TokenRefusal::ClockUnset
            | TokenRefusal::ProviderUnavailable
            | TokenRefusal::TooMany => Hearing::Later,
            _ => Hearing::InvalidToken,
        }
    }
}
