//! What a failure on one leg becomes on the other: the table of final responses, and
//! the Reason (RFC 3326) that goes with a changed one.

use crate::message::StatusCode;

/// A final response as the other leg is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// The status that is sent.
    pub(super) status: StatusCode,
    /// Whether `Retry-After` goes with it although none came.
    pub(super) retry_after: bool,
}

impl Mapped {
    const fn to(status: StatusCode) -> Self {
        Mapped {
            status,
            retry_after: false,
        }
    }
}

/// What the browser is told when the core answers its INVITE so.
#[must_use]
pub(super) fn to_access(status: StatusCode) -> Mapped {
    Mapped::to(match status {
        // The browser has the password: challenges pass.
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => status,
        StatusCode::PAYMENT_REQUIRED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE
        | StatusCode::TEMPORARILY_UNAVAILABLE
        | StatusCode::ADDRESS_INCOMPLETE
        | StatusCode::AMBIGUOUS
        | StatusCode::BUSY_HERE
        | StatusCode::REQUEST_TERMINATED
        | StatusCode::BUSY_EVERYWHERE
        | StatusCode::DECLINE
        | StatusCode::DOES_NOT_EXIST_ANYWHERE
        | StatusCode::UNWANTED
        | StatusCode::REJECTED
        | StatusCode::ALTERNATIVE_SERVICE => status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_ACCEPTABLE_HERE
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_ACCEPTABLE_ANYWHERE => StatusCode::NOT_ACCEPTABLE_HERE,
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVER_TIME_OUT => StatusCode::SERVER_TIME_OUT,
        StatusCode::SERVICE_UNAVAILABLE => {
            // A browser would turn away from the box, which is not what is overloaded.
            return Mapped {
                status: StatusCode::SERVER_INTERNAL_ERROR,
                retry_after: true,
            };
        }
        _ => match status.code() / 100 {
            3 => StatusCode::TEMPORARILY_UNAVAILABLE,
            6 => StatusCode::DECLINE,
            // Whatever is left is between the core and the box.
            _ => StatusCode::SERVER_INTERNAL_ERROR,
        },
    })
}

/// What the core is told when the browser answers an INVITE so.
#[must_use]
pub(super) fn to_ims(status: StatusCode) -> Mapped {
    Mapped::to(match status {
        // The core has nobody to ask for a password, and the box is not overloaded
        // because a browser says so.
        StatusCode::UNAUTHORIZED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::FLOW_FAILED
        | StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::SERVER_TIME_OUT => StatusCode::TEMPORARILY_UNAVAILABLE,
        StatusCode::NOT_ACCEPTABLE | StatusCode::NOT_ACCEPTABLE_ANYWHERE => {
            StatusCode::NOT_ACCEPTABLE_HERE
        }
        _ => match status.code() / 100 {
            3 => StatusCode::TEMPORARILY_UNAVAILABLE,
            4 | 6 => status,
            _ => StatusCode::SERVER_INTERNAL_ERROR,
        },
    })
}

/// What a side that re-offered is told when the other one turned it down: the call
/// goes on, so nothing that would end it (RFC 5057 §5.1).
#[must_use]
pub(super) fn re_offer(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::REQUEST_PENDING => StatusCode::REQUEST_PENDING,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_ACCEPTABLE_HERE
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::NOT_ACCEPTABLE_ANYWHERE => StatusCode::NOT_ACCEPTABLE_HERE,
        StatusCode::DECLINE => StatusCode::DECLINE,
        _ => StatusCode::SERVER_INTERNAL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rows(map: fn(StatusCode) -> Mapped, statuses: &[u16]) -> String {
        let rows = statuses.iter().map(|code| {
            let mapped = map(StatusCode::new(*code).unwrap());
            let wait = if mapped.retry_after { "+" } else { "" };
            format!("{code}:{}{wait}", mapped.status.code())
        });
        rows.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_cores_final_responses_reach_the_browser_as_the_table_says() {
        assert_eq!(rows(to_access, &[401, 407]), "401:401 407:407");
        assert_eq!(rows(to_access, &[403]), "403:403");
        assert_eq!(
            rows(to_access, &[404, 410, 484, 604]),
            "404:404 410:410 484:484 604:604"
        );
        assert_eq!(rows(to_access, &[408]), "408:504");
        assert_eq!(
            rows(to_access, &[420, 421, 494, 422, 423, 491]),
            "420:500 421:500 494:500 422:500 423:500 491:500"
        );
        assert_eq!(
            rows(to_access, &[480, 486, 487, 600, 603]),
            "480:480 486:486 487:487 600:600 603:603"
        );
        assert_eq!(rows(to_access, &[488, 606]), "488:488 606:488");
        assert_eq!(rows(to_access, &[500, 502]), "500:500 502:500");
        assert_eq!(rows(to_access, &[503]), "503:500+");
        assert_eq!(rows(to_access, &[504]), "504:504");
        assert_eq!(rows(to_access, &[300, 302, 305]), "300:480 302:480 305:480");
        assert_eq!(rows(to_access, &[380]), "380:380");
    }

    #[test]
    fn the_browsers_final_responses_reach_the_core_as_the_table_says() {
        assert_eq!(
            rows(to_ims, &[480, 486, 488, 415, 603, 600]),
            "480:480 486:486 488:488 415:415 603:603 600:600"
        );
        assert_eq!(
            rows(to_ims, &[302, 401, 407, 408, 430, 481, 500, 503, 606]),
            "302:480 401:480 407:480 408:480 430:480 481:480 500:500 503:480 606:488"
        );
    }

    #[test]
    fn a_refused_re_offer_never_ends_the_call() {
        let codes = [408, 481, 488, 491, 500, 603].map(|code| {
            let status = StatusCode::new(code).unwrap();
            re_offer(status).code()
        });
        assert_eq!(codes, [500, 500, 488, 491, 500, 603]);
    }
}
