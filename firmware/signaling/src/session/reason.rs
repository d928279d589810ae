//! Reason (RFC 3326), Warning (RFC 3261 §20.43) and Retry-After: what is said beside a
//! status.

use iq::Leg;

use crate::event::EndReason;
use crate::message::headers::Reason;
use crate::message::{HeaderName, Headers, StatusCode};

/// The status that a call which was not answered yet gets when the box ends it.
#[must_use]
pub(super) fn status(reason: EndReason, caller: Leg) -> StatusCode {
    match reason {
        // The core would turn away from a whole box that says 503, a browser only from
        // what it talks to.
        EndReason::Media if caller == Leg::Access => StatusCode::SERVICE_UNAVAILABLE,
        EndReason::AccessMediaLost | EndReason::RegistrationEnded => {
            StatusCode::TEMPORARILY_UNAVAILABLE
        }
        EndReason::ImsMediaLost
        | EndReason::Protocol
        | EndReason::Media
        | EndReason::MediaFailed => StatusCode::SERVER_INTERNAL_ERROR,
        EndReason::SessionExpired | EndReason::Unacknowledged | EndReason::DialogLost => {
            StatusCode::SERVER_TIME_OUT
        }
        EndReason::DurationReached | EndReason::Shutdown => StatusCode::TEMPORARILY_UNAVAILABLE,
    }
}

/// Why the box ends a call, for a BYE or a final response. A lost bearer is a 503,
/// TS 24.229 §5.2.8.1.2.
#[must_use]
pub(super) fn of_end(reason: EndReason) -> Reason {
    let (status, text) = match reason {
        EndReason::AccessMediaLost => (StatusCode::SERVICE_UNAVAILABLE, "Browser media lost"),
        EndReason::ImsMediaLost => (StatusCode::SERVICE_UNAVAILABLE, "No media"),
        EndReason::RegistrationEnded => (StatusCode::TEMPORARILY_UNAVAILABLE, "Registration ended"),
        EndReason::SessionExpired => (StatusCode::REQUEST_TIMEOUT, "Session expired"),
        EndReason::DurationReached => (StatusCode::TEMPORARILY_UNAVAILABLE, "Longest call time"),
        EndReason::Unacknowledged => (StatusCode::REQUEST_TIMEOUT, "No ACK"),
        EndReason::DialogLost => (
            StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST,
            "Far end lost the call",
        ),
        EndReason::Protocol => (StatusCode::NOT_ACCEPTABLE_HERE, "Protocol error"),
        EndReason::Media => (StatusCode::SERVICE_UNAVAILABLE, "No media capacity"),
        EndReason::MediaFailed => (StatusCode::SERVICE_UNAVAILABLE, "Media failed"),
        EndReason::Shutdown => (StatusCode::SERVICE_UNAVAILABLE, "Shutting down"),
    };
    Reason::sip(status, text)
}

/// Names the status that another one stands for.
#[must_use]
pub(super) fn of_status(status: StatusCode) -> Reason {
    Reason::sip(status, status.reason())
}

/// Adds a reason.
pub(super) fn push(headers: &mut Headers, reason: Reason) {
    headers.push(HeaderName::Reason, reason.to_string());
}

/// Adds a reason unless one was given already, by whoever knows better.
pub(super) fn push_if_absent(headers: &mut Headers, reason: Reason) {
    if !headers.has(&HeaderName::Reason) {
        push(headers, reason);
    }
}

/// Adds a Warning in the box's name.
pub(super) fn warn(headers: &mut Headers, code: u16, text: &str) {
    let text: String = text
        .chars()
        .map(|c| {
            if c == '"' || c == '\\' || c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    headers.push(HeaderName::Warning, format!("{code} gatehouse \"{text}\""));
}

/// Drops what a response says about the hop it came from, not about the call.
pub(super) fn forget_hop(headers: &mut Headers) {
    for name in [
        HeaderName::Warning,
        HeaderName::Unsupported,
        HeaderName::Accept,
        HeaderName::MinSe,
    ] {
        headers.remove(&name);
    }
}

/// Asks for another try a little later.
pub(super) fn retry_later(headers: &mut Headers) {
    if !headers.has(&HeaderName::RetryAfter) {
        headers.push(HeaderName::RetryAfter, RETRY_AFTER);
    }
}

/// Seconds until a call may be tried again.
const RETRY_AFTER: u32 = 10;
