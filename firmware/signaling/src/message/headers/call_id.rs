//! Call-ID, RFC 3261 §20.8.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;

/// What all messages of a dialog, or of a user's registrations, have in common.
/// Compared byte for byte; `Debug` hides it, as it may hold a host of a user.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Box<str>);

impl CallId {
    /// A Call-ID of our own; the text has no space.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        CallId(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text can be a Call-ID.
    pub(in crate::message) fn is_well_formed(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl Typed for CallId {
    const NAME: HeaderName = HeaderName::CallId;

    fn parse(value: &str) -> Option<Self> {
        CallId::is_well_formed(value).then(|| CallId(value.into()))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}
