//! Content-Type, RFC 3261 §20.15.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::{find_outside, is_token, trim};

/// What a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// `application`, in lower case.
    pub kind: String,
    /// `sdp`, in lower case.
    pub subtype: String,
    /// Such as `charset` or `boundary`.
    pub params: Params,
}

impl ContentType {
    /// Whether it is this type and subtype, such as `application/sdp`.
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, subtype)| {
            self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
        })
    }
}

impl Typed for ContentType {
    const NAME: HeaderName = HeaderName::ContentType;

    fn parse(value: &str) -> Option<Self> {
        let end = find_outside(value, b';').ok()?.unwrap_or(value.len());
        let (kind, subtype) = value[..end].split_once('/')?;
        let (kind, subtype) = (trim(kind), trim(subtype));
        (is_token(kind) && is_token(subtype)).then_some(())?;
        Some(ContentType {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            params: Params::parse(&value[end..])?,
        })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.kind, self.subtype, self.params)
    }
}
