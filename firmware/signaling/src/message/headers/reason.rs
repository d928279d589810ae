//! Reason, RFC 3326.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::{is_token, number, trim};

/// Why a request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `SIP`, `Q.850` or another.
    pub protocol: String,
    /// `cause` and `text`.
    pub params: Params,
}

impl Reason {
    /// A SIP status with a text.
    #[must_use]
    pub fn sip(status: crate::message::StatusCode, text: &str) -> Self {
        let mut params = Params::new();
        params.set("cause", status);
        params.set("text", crate::message::scan::quote(text));
        Reason {
            protocol: "SIP".to_owned(),
            params,
        }
    }

    /// The cause, a number of the protocol's.
    #[must_use]
    pub fn cause(&self) -> Option<u16> {
        self.params.get("cause").and_then(number)
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.params.unquoted("text")
    }
}

impl Typed for Reason {
    const NAME: HeaderName = HeaderName::Reason;

    fn parse(value: &str) -> Option<Self> {
        let (protocol, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let protocol = trim(protocol);
        is_token(protocol).then_some(())?;
        Some(Reason {
            protocol: protocol.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.protocol, self.params)
    }
}
