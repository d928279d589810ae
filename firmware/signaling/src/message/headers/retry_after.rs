//! Retry-After, RFC 3261 §20.33.

use std::fmt;

use super::Typed;
use super::contact::seconds;
use crate::message::header_name::HeaderName;
use crate::message::scan::trim;

/// How many seconds to wait before trying again; comment and `duration` are read
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u32);

impl Typed for RetryAfter {
    const NAME: HeaderName = HeaderName::RetryAfter;

    fn parse(value: &str) -> Option<Self> {
        seconds(trim(value.split([';', '(']).next()?)).map(RetryAfter)
    }
}

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
