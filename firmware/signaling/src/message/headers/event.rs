//! Event, RFC 6665 §8.2.1.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::{is_token, trim};

/// What a subscription is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The package, with its template if it has one, such as `reg` or `refer`.
    pub package: String,
    /// Such as `id`.
    pub params: Params,
}

impl Typed for Event {
    const NAME: HeaderName = HeaderName::Event;

    fn parse(value: &str) -> Option<Self> {
        let (package, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let package = trim(package);
        is_token(package).then_some(())?;
        Some(Event {
            package: package.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.package, self.params)
    }
}
