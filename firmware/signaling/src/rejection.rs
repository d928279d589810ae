//! Why a request is turned away, and the response that it becomes; and what becomes of
//! a failure of one side on the other (spec of the error mapping: RFC 3261 §16.7 and
//! TS 24.229 §5.2.6).

use std::time::Duration;

use crate::auth::{Hearing, TokenRefusal};
use crate::guard::dial_plan::Barred;
use crate::message::headers::OptionTag;
use crate::message::{HeaderError, HeaderName, Request, Response, StatusCode};

/// Why this gateway turns a request away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    // The peer's turn.
    /// The request breaks the grammar or the protocol.
    #[error("Malformed {0}")]
    Malformed(HeaderName),
    /// The connection has no registration.
    #[error("Register First")]
    Unregistered,
    /// From and To of a REGISTER differ: nobody registers for somebody else.
    #[error("Register Yourself Only")]
    ForeignIdentity,
    /// The user logs in by token, and there is none.
    #[error("Token Required")]
    TokenMissing,
    /// The token is not believed.
    #[error("Token Refused")]
    Token(TokenRefusal),
    /// The token is another user's.
    #[error("Token Of Another User")]
    ForeignToken,
    /// The domain is not served here.
    #[error("Domain Not Served")]
    ForeignDomain,
    /// Another connection holds this registration, and the core did not ask for proof.
    #[error("Registered On Another Connection")]
    NotProven,
    /// A flow token that this box has not made.
    #[error("Bad Flow Token")]
    BadFlowToken,
    /// The caller is not whom he wants to be.
    #[error("Identity Not Yours")]
    NotYours,
    /// Nobody of this name is here.
    #[error("Not Here")]
    NotHere,
    /// The method is not served.
    #[error("Method Not Allowed")]
    MethodNotAllowed,
    /// An identity that is neither SIP nor tel.
    #[error("Unsupported URI Scheme")]
    UnsupportedScheme,
    /// Demands extensions that are not there; these ones.
    #[error("Bad Extension")]
    BadExtension(Vec<OptionTag>),
    /// Inside a dialog that does not exist, or belongs to somebody else.
    #[error("Call Does Not Exist")]
    NoDialog,
    /// Wants to replace a call only before it is answered, RFC 3891 §3.
    #[error("Already Answered")]
    AlreadyAnswered,
    /// The method is served inside calls only.
    #[error("Only Inside A Call")]
    OnlyInCall,
    /// A subscription to, or a publication of, something that is not on the list; this is.
    #[error("Bad Event")]
    BadEvent(String),
    /// A message of a type that is not on the list; this is.
    #[error("Unsupported Message Type")]
    UnsupportedMessage(String),
    /// A message that is too long for a page.
    #[error("Message Too Large")]
    MessageTooLarge,
    /// Went through too many hands.
    #[error("Too Many Hops")]
    TooManyHops,

    // The operator's turn.
    /// A configured limit, or the port range, is used up.
    #[error("Out Of Capacity")]
    NoCapacity,
    /// The core does not answer.
    #[error("Core Does Not Answer")]
    CoreSilent,
    /// Every server of the core asked to be left alone; for so many seconds.
    #[error("Core Overloaded")]
    CoreBusy(u32),
    /// The next hop's name has no address.
    #[error("Core Not Found")]
    Unresolved,

    /// The core does not take what the box knows of the user, or the box knows nothing.
    #[error("Credentials Not Accepted")]
    CredentialsRefused,
    /// Box and core do not agree on what protects the user.
    #[error("No Security Agreement")]
    NoSecurity,
    /// The core demands a proof that no browser can give through this box.
    #[error("Challenge Not Supported")]
    UnusableChallenge,

    /// The core challenges a user for whom this box vouches, TS 33.203 Annex U.
    #[error("Core Refused Trusted Node Authentication")]
    CoreDistrusts,

    // Ours.
    /// The box is shutting down.
    #[error("Shutting Down")]
    Draining,
    /// The user has sent as many messages as he may.
    #[error("Too Many Messages")]
    TooManyMessages,
    /// The user has as many subscriptions as he may have.
    #[error("Too Many Subscriptions")]
    TooManySubscriptions,
    /// A number that the dial plan does not allow.
    #[error("Number Not Allowed")]
    Barred(Barred),
    /// Too many calls or log-ins in too short a time; for so many seconds.
    #[error("Too Many Attempts")]
    TooFast(u32),
    /// The user has as many calls as he may have.
    #[error("Too Many Calls")]
    TooManyCalls,
    /// The user's browser is away.
    #[error("Browser Away")]
    FlowFailed,
    /// The browser's connection that a flow token names is gone, RFC 5626 §5.3.1.
    #[error("Flow Failed")]
    FlowGone,
    /// An earlier REGISTER of the same user is still under way.
    #[error("Registration In Progress")]
    InProgress,
}

impl Rejection {
    /// The core wants no requests for so long.
    pub(crate) fn busy(time: Duration) -> Self {
        Rejection::CoreBusy(whole_seconds(time))
    }

    /// It was too much; for so long.
    pub(crate) fn too_fast(time: Duration) -> Self {
        Rejection::TooFast(whole_seconds(time))
    }

    /// The status of the final response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Rejection::Malformed(_) => StatusCode::BAD_REQUEST,
            Rejection::TokenMissing => StatusCode::UNAUTHORIZED,
            Rejection::Token(refusal) => match refusal.hearing() {
                Hearing::InvalidToken => StatusCode::UNAUTHORIZED,
                Hearing::InsufficientScope | Hearing::Forbidden => StatusCode::FORBIDDEN,
                Hearing::Later => StatusCode::SERVICE_UNAVAILABLE,
            },
            Rejection::Unregistered
            | Rejection::ForeignToken
            | Rejection::ForeignIdentity
            | Rejection::ForeignDomain
            | Rejection::BadFlowToken
            | Rejection::NotYours
            | Rejection::CredentialsRefused
            | Rejection::NotProven
            | Rejection::Barred(_) => StatusCode::FORBIDDEN,
            Rejection::NotHere => StatusCode::NOT_FOUND,
            Rejection::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Rejection::UnsupportedScheme => StatusCode::UNSUPPORTED_URI_SCHEME,
            Rejection::BadExtension(_) => StatusCode::BAD_EXTENSION,
            Rejection::NoDialog => StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST,
            Rejection::TooManyHops => StatusCode::TOO_MANY_HOPS,
            Rejection::NoCapacity | Rejection::Draining | Rejection::TooFast(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Rejection::CoreSilent | Rejection::Unresolved => StatusCode::SERVER_TIME_OUT,
            Rejection::TooManyCalls | Rejection::AlreadyAnswered => StatusCode::BUSY_HERE,
            Rejection::OnlyInCall | Rejection::TooManySubscriptions => StatusCode::FORBIDDEN,
            Rejection::BadEvent(_) => StatusCode::BAD_EVENT,
            Rejection::UnsupportedMessage(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Rejection::MessageTooLarge => StatusCode::MESSAGE_TOO_LARGE,
            Rejection::TooManyMessages => StatusCode::SERVICE_UNAVAILABLE,
            Rejection::FlowFailed => StatusCode::TEMPORARILY_UNAVAILABLE,
            Rejection::FlowGone => StatusCode::FLOW_FAILED,
            // Not 503: the browser would turn away from the box (RFC 3261 §16.7).
            Rejection::InProgress
            | Rejection::NoSecurity
            | Rejection::UnusableChallenge
            | Rejection::CoreDistrusts
            | Rejection::CoreBusy(_) => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }
}

impl Rejection {
    /// The whole response, but for the tag in To. `retry_after` goes with what may be
    /// over soon.
    #[must_use]
    pub fn response(&self, request: &Request, retry_after: u32) -> Response {
        let response = Response::to_request(request, self.status()).with_reason(&self.to_string());
        match self {
            Rejection::MethodNotAllowed => response.with(HeaderName::Allow, ALLOWED),
            Rejection::BadExtension(tags) => tags.iter().fold(response, |response, tag| {
                response.with(HeaderName::Unsupported, tag.as_str())
            }),
            Rejection::BadEvent(packages) => {
                response.with(HeaderName::AllowEvents, packages.as_str())
            }
            Rejection::Token(refusal) if refusal.hearing() == Hearing::Later => {
                response.with(HeaderName::RetryAfter, retry_after)
            }
            Rejection::UnsupportedMessage(types) => {
                response.with(HeaderName::Accept, types.as_str())
            }
            Rejection::NoCapacity
            | Rejection::Draining
            | Rejection::InProgress
            | Rejection::TooManyMessages => response.with(HeaderName::RetryAfter, retry_after),
            // All who were told the same would come back at once: not before, and spread.
            Rejection::CoreBusy(seconds) | Rejection::TooFast(seconds) => {
                response.with(HeaderName::RetryAfter, seconds.saturating_add(retry_after))
            }
            Rejection::Malformed(_)
            | Rejection::TokenMissing
            | Rejection::Token(_)
            | Rejection::ForeignToken
            | Rejection::Unregistered
            | Rejection::ForeignIdentity
            | Rejection::ForeignDomain
            | Rejection::NotProven
            | Rejection::BadFlowToken
            | Rejection::NotYours
            | Rejection::FlowGone
            | Rejection::NotHere
            | Rejection::UnsupportedScheme
            | Rejection::NoDialog
            | Rejection::AlreadyAnswered
            | Rejection::OnlyInCall
            | Rejection::MessageTooLarge
            | Rejection::TooManySubscriptions
            | Rejection::TooManyHops
            | Rejection::CoreSilent
            | Rejection::Unresolved
            | Rejection::CredentialsRefused
            | Rejection::NoSecurity
            | Rejection::UnusableChallenge
            | Rejection::CoreDistrusts
            | Rejection::TooManyCalls
            | Rejection::Barred(_)
            | Rejection::FlowFailed => response,
        }
    }
}

fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs().saturating_add(1)).unwrap_or(u32::MAX)
}

impl From<HeaderError> for Rejection {
    fn from(error: HeaderError) -> Self {
        Rejection::Malformed(error.name().clone())
    }
}

/// What becomes of the core's failure on the browser's side. A 503 would make a client
/// give up this whole box (RFC 3261 §16.7), a redirection would lead it past it.
#[must_use]
pub fn relayed_to_access(status: StatusCode) -> StatusCode {
    match status.code() {
        300..=379 | 381..=399 => StatusCode::TEMPORARILY_UNAVAILABLE,
        408 => StatusCode::SERVER_TIME_OUT,
        // Between the box and the core: no browser can do anything about them.
        421 | 430 | 439 | 494 | 502 | 503 => StatusCode::SERVER_INTERNAL_ERROR,
        _ => status,
    }
}

/// The methods that are served.
pub const ALLOWED: &str = "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, OPTIONS, NOTIFY, REFER, MESSAGE, \
     SUBSCRIBE";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_core_failure_never_tells_a_browser_to_leave() {
        let relayed = |code| relayed_to_access(StatusCode::new(code).unwrap()).code();
        let table = [
            (302, 480),
            (380, 380),
            (401, 401),
            (403, 403),
            (404, 404),
            (408, 504),
            (480, 480),
            (486, 486),
            (488, 488),
            (494, 500),
            (500, 500),
            (502, 500),
            (503, 500),
            (504, 504),
            (603, 603),
        ];
        for (core, browser) in table {
            assert_eq!(relayed(core), browser, "{core}");
        }
    }
}
