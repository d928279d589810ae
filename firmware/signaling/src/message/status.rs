//! Status codes, RFC 3261 §21 and the IANA registry.

use std::fmt;

/// The code of a response, 100 to 699.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// A code from its number; `None` outside 100 to 699.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 699 {
            Some(StatusCode(code))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 1xx.
    #[must_use]
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 200 && self.0 < 300
    }

    /// Anything but 1xx.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.0 >= 200
    }

    /// 3xx to 6xx.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.0 >= 300
    }

    /// The phrase that the registry gives this code.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TRYING => "Trying",
            Self::RINGING => "Ringing",
            Self::CALL_IS_BEING_FORWARDED => "Call Is Being Forwarded",
            Self::QUEUED => "Queued",
            Self::SESSION_PROGRESS => "Session Progress",
            Self::EARLY_DIALOG_TERMINATED => "Early Dialog Terminated",
            Self::OK => "OK",
            Self::ACCEPTED => "Accepted",
            Self::NO_NOTIFICATION => "No Notification",
            Self::MULTIPLE_CHOICES => "Multiple Choices",
            Self::MOVED_PERMANENTLY => "Moved Permanently",
            Self::MOVED_TEMPORARILY => "Moved Temporarily",
            Self::USE_PROXY => "Use Proxy",
            Self::ALTERNATIVE_SERVICE => "Alternative Service",
            Self::BAD_REQUEST => "Bad Request",
            Self::UNAUTHORIZED => "Unauthorized",
            Self::PAYMENT_REQUIRED => "Payment Required",
            Self::FORBIDDEN => "Forbidden",
            Self::NOT_FOUND => "Not Found",
            Self::METHOD_NOT_ALLOWED => "Method Not Allowed",
            Self::NOT_ACCEPTABLE => "Not Acceptable",
            Self::PROXY_AUTHENTICATION_REQUIRED => "Proxy Authentication Required",
            Self::REQUEST_TIMEOUT => "Request Timeout",
            Self::GONE => "Gone",
            Self::CONDITIONAL_REQUEST_FAILED => "Conditional Request Failed",
            Self::REQUEST_ENTITY_TOO_LARGE => "Request Entity Too Large",
            Self::REQUEST_URI_TOO_LONG => "Request-URI Too Long",
            Self::UNSUPPORTED_MEDIA_TYPE => "Unsupported Media Type",
            Self::UNSUPPORTED_URI_SCHEME => "Unsupported URI Scheme",
            Self::UNKNOWN_RESOURCE_PRIORITY => "Unknown Resource-Priority",
            Self::BAD_EXTENSION => "Bad Extension",
            Self::EXTENSION_REQUIRED => "Extension Required",
            Self::SESSION_INTERVAL_TOO_SMALL => "Session Interval Too Small",
            Self::INTERVAL_TOO_BRIEF => "Interval Too Brief",
            Self::USE_IDENTITY_HEADER => "Use Identity Header",
            Self::PROVIDE_REFERRER_IDENTITY => "Provide Referrer Identity",
            Self::FLOW_FAILED => "Flow Failed",
            Self::ANONYMITY_DISALLOWED => "Anonymity Disallowed",
            Self::BAD_IDENTITY_INFO => "Bad Identity Info",
            Self::UNSUPPORTED_CREDENTIAL => "Unsupported Credential",
            Self::INVALID_IDENTITY_HEADER => "Invalid Identity Header",
            Self::FIRST_HOP_LACKS_OUTBOUND_SUPPORT => "First Hop Lacks Outbound Support",
            Self::MAX_BREADTH_EXCEEDED => "Max-Breadth Exceeded",
            Self::BAD_INFO_PACKAGE => "Bad Info Package",
            Self::CONSENT_NEEDED => "Consent Needed",
            Self::TEMPORARILY_UNAVAILABLE => "Temporarily Unavailable",
            Self::CALL_OR_TRANSACTION_DOES_NOT_EXIST => "Call/Transaction Does Not Exist",
            Self::LOOP_DETECTED => "Loop Detected",
            Self::TOO_MANY_HOPS => "Too Many Hops",
            Self::ADDRESS_INCOMPLETE => "Address Incomplete",
            Self::AMBIGUOUS => "Ambiguous",
            Self::BUSY_HERE => "Busy Here",
            Self::REQUEST_TERMINATED => "Request Terminated",
            Self::NOT_ACCEPTABLE_HERE => "Not Acceptable Here",
            Self::BAD_EVENT => "Bad Event",
            Self::REQUEST_PENDING => "Request Pending",
            Self::UNDECIPHERABLE => "Undecipherable",
            Self::SECURITY_AGREEMENT_REQUIRED => "Security Agreement Required",
            Self::SERVER_INTERNAL_ERROR => "Server Internal Error",
            Self::NOT_IMPLEMENTED => "Not Implemented",
            Self::BAD_GATEWAY => "Bad Gateway",
            Self::SERVICE_UNAVAILABLE => "Service Unavailable",
            Self::SERVER_TIME_OUT => "Server Time-out",
            Self::VERSION_NOT_SUPPORTED => "Version Not Supported",
            Self::MESSAGE_TOO_LARGE => "Message Too Large",
            Self::PUSH_NOTIFICATION_SERVICE_NOT_SUPPORTED => {
                "Push Notification Service Not Supported"
            }
            Self::PRECONDITION_FAILURE => "Precondition Failure",
            Self::BUSY_EVERYWHERE => "Busy Everywhere",
            Self::DECLINE => "Decline",
            Self::DOES_NOT_EXIST_ANYWHERE => "Does Not Exist Anywhere",
            Self::NOT_ACCEPTABLE_ANYWHERE => "Not Acceptable",
            Self::UNWANTED => "Unwanted",
            Self::REJECTED => "Rejected",
            _ => match self.0 / 100 {
                1 => "Progress",
                2 => "Success",
                3 => "Redirection",
                4 => "Request Failure",
                5 => "Server Failure",
                _ => "Global Failure",
            },
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.reason())
    }
}

/// The registered codes.
impl StatusCode {
    /// 100 Trying.
    pub const TRYING: Self = StatusCode(100);
    /// 180 Ringing.
    pub const RINGING: Self = StatusCode(180);
    /// 181 Call Is Being Forwarded.
    pub const CALL_IS_BEING_FORWARDED: Self = StatusCode(181);
    /// 182 Queued.
    pub const QUEUED: Self = StatusCode(182);
    /// 183 Session Progress.
    pub const SESSION_PROGRESS: Self = StatusCode(183);
    /// 199 Early Dialog Terminated.
    pub const EARLY_DIALOG_TERMINATED: Self = StatusCode(199);
    /// 200 OK.
    pub const OK: Self = StatusCode(200);
    /// 202 Accepted.
    pub const ACCEPTED: Self = StatusCode(202);
    /// 204 No Notification.
    pub const NO_NOTIFICATION: Self = StatusCode(204);
    /// 300 Multiple Choices.
    pub const MULTIPLE_CHOICES: Self = StatusCode(300);
    /// 301 Moved Permanently.
    pub const MOVED_PERMANENTLY: Self = StatusCode(301);
    /// 302 Moved Temporarily.
    pub const MOVED_TEMPORARILY: Self = StatusCode(302);
    /// 305 Use Proxy.
    pub const USE_PROXY: Self = StatusCode(305);
    /// 380 Alternative Service.
    pub const ALTERNATIVE_SERVICE: Self = StatusCode(380);
    /// 400 Bad Request.
    pub const BAD_REQUEST: Self = StatusCode(400);
    /// 401 Unauthorized.
    pub const UNAUTHORIZED: Self = StatusCode(401);
    /// 402 Payment Required.
    pub const PAYMENT_REQUIRED: Self = StatusCode(402);
    /// 403 Forbidden.
    pub const FORBIDDEN: Self = StatusCode(403);
    /// 404 Not Found.
    pub const NOT_FOUND: Self = StatusCode(404);
    /// 405 Method Not Allowed.
    pub const METHOD_NOT_ALLOWED: Self = StatusCode(405);
    /// 406 Not Acceptable.
    pub const NOT_ACCEPTABLE: Self = StatusCode(406);
    /// 407 Proxy Authentication Required.
    pub const PROXY_AUTHENTICATION_REQUIRED: Self = StatusCode(407);
    /// 408 Request Timeout.
    pub const REQUEST_TIMEOUT: Self = StatusCode(408);
    /// 410 Gone.
    pub const GONE: Self = StatusCode(410);
    /// 412 Conditional Request Failed.
    pub const CONDITIONAL_REQUEST_FAILED: Self = StatusCode(412);
    /// 413 Request Entity Too Large.
    pub const REQUEST_ENTITY_TOO_LARGE: Self = StatusCode(413);
    /// 414 Request-URI Too Long.
    pub const REQUEST_URI_TOO_LONG: Self = StatusCode(414);
    /// 415 Unsupported Media Type.
    pub const UNSUPPORTED_MEDIA_TYPE: Self = StatusCode(415);
    /// 416 Unsupported URI Scheme.
    pub const UNSUPPORTED_URI_SCHEME: Self = StatusCode(416);
    /// 417 Unknown Resource-Priority.
    pub const UNKNOWN_RESOURCE_PRIORITY: Self = StatusCode(417);
    /// 420 Bad Extension.
    pub const BAD_EXTENSION: Self = StatusCode(420);
    /// 421 Extension Required.
    pub const EXTENSION_REQUIRED: Self = StatusCode(421);
    /// 422 Session Interval Too Small.
    pub const SESSION_INTERVAL_TOO_SMALL: Self = StatusCode(422);
    /// 423 Interval Too Brief.
    pub const INTERVAL_TOO_BRIEF: Self = StatusCode(423);
    /// 428 Use Identity Header.
    pub const USE_IDENTITY_HEADER: Self = StatusCode(428);
    /// 429 Provide Referrer Identity.
    pub const PROVIDE_REFERRER_IDENTITY: Self = StatusCode(429);
    /// 430 Flow Failed.
    pub const FLOW_FAILED: Self = StatusCode(430);
    /// 433 Anonymity Disallowed.
    pub const ANONYMITY_DISALLOWED: Self = StatusCode(433);
    /// 436 Bad Identity Info.
    pub const BAD_IDENTITY_INFO: Self = StatusCode(436);
    /// 437 Unsupported Credential.
    pub const UNSUPPORTED_CREDENTIAL: Self = StatusCode(437);
    /// 438 Invalid Identity Header.
    pub const INVALID_IDENTITY_HEADER: Self = StatusCode(438);
    /// 439 First Hop Lacks Outbound Support.
    pub const FIRST_HOP_LACKS_OUTBOUND_SUPPORT: Self = StatusCode(439);
    /// 440 Max-Breadth Exceeded.
    pub const MAX_BREADTH_EXCEEDED: Self = StatusCode(440);
    /// 469 Bad Info Package.
    pub const BAD_INFO_PACKAGE: Self = StatusCode(469);
    /// 470 Consent Needed.
    pub const CONSENT_NEEDED: Self = StatusCode(470);
    /// 480 Temporarily Unavailable.
    pub const TEMPORARILY_UNAVAILABLE: Self = StatusCode(480);
    /// 481 Call/Transaction Does Not Exist.
    pub const CALL_OR_TRANSACTION_DOES_NOT_EXIST: Self = StatusCode(481);
    /// 482 Loop Detected.
    pub const LOOP_DETECTED: Self = StatusCode(482);
    /// 483 Too Many Hops.
    pub const TOO_MANY_HOPS: Self = StatusCode(483);
    /// 484 Address Incomplete.
    pub const ADDRESS_INCOMPLETE: Self = StatusCode(484);
    /// 485 Ambiguous.
    pub const AMBIGUOUS: Self = StatusCode(485);
    /// 486 Busy Here.
    pub const BUSY_HERE: Self = StatusCode(486);
    /// 487 Request Terminated.
    pub const REQUEST_TERMINATED: Self = StatusCode(487);
    /// 488 Not Acceptable Here.
    pub const NOT_ACCEPTABLE_HERE: Self = StatusCode(488);
    /// 489 Bad Event.
    pub const BAD_EVENT: Self = StatusCode(489);
    /// 491 Request Pending.
    pub const REQUEST_PENDING: Self = StatusCode(491);
    /// 493 Undecipherable.
    pub const UNDECIPHERABLE: Self = StatusCode(493);
    /// 494 Security Agreement Required.
    pub const SECURITY_AGREEMENT_REQUIRED: Self = StatusCode(494);
    /// 500 Server Internal Error.
    pub const SERVER_INTERNAL_ERROR: Self = StatusCode(500);
    /// 501 Not Implemented.
    pub const NOT_IMPLEMENTED: Self = StatusCode(501);
    /// 502 Bad Gateway.
    pub const BAD_GATEWAY: Self = StatusCode(502);
    /// 503 Service Unavailable.
    pub const SERVICE_UNAVAILABLE: Self = StatusCode(503);
    /// 504 Server Time-out.
    pub const SERVER_TIME_OUT: Self = StatusCode(504);
    /// 505 Version Not Supported.
    pub const VERSION_NOT_SUPPORTED: Self = StatusCode(505);
    /// 513 Message Too Large.
    pub const MESSAGE_TOO_LARGE: Self = StatusCode(513);
    /// 555 Push Notification Service Not Supported.
    pub const PUSH_NOTIFICATION_SERVICE_NOT_SUPPORTED: Self = StatusCode(555);
    /// 580 Precondition Failure.
    pub const PRECONDITION_FAILURE: Self = StatusCode(580);
    /// 600 Busy Everywhere.
    pub const BUSY_EVERYWHERE: Self = StatusCode(600);
    /// 603 Decline.
    pub const DECLINE: Self = StatusCode(603);
    /// 604 Does Not Exist Anywhere.
    pub const DOES_NOT_EXIST_ANYWHERE: Self = StatusCode(604);
    /// 606 Not Acceptable.
    pub const NOT_ACCEPTABLE_ANYWHERE: Self = StatusCode(606);
    /// 607 Unwanted.
    pub const UNWANTED: Self = StatusCode(607);
    /// 608 Rejected.
    pub const REJECTED: Self = StatusCode(608);
}
