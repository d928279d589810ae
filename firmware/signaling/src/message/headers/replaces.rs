//! Replaces, RFC 3891 §6.1.

use std::fmt;

use super::{CallId, Typed};
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::trim;

/// The dialog that an INVITE takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID of the dialog.
    pub call_id: CallId,
    /// `to-tag`, `from-tag`, `early-only`.
    pub params: Params,
}

impl Replaces {
    /// The tag of the one that is asked.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        self.params.get("to-tag")
    }

    /// The tag of the other end.
    #[must_use]
    pub fn from_tag(&self) -> Option<&str> {
        self.params.get("from-tag")
    }

    /// Whether only a dialog that is not yet confirmed may be replaced.
    #[must_use]
    pub fn is_early_only(&self) -> bool {
        self.params.has("early-only")
    }
}

impl Typed for Replaces {
    const NAME: HeaderName = HeaderName::Replaces;

    fn parse(value: &str) -> Option<Self> {
        let (call_id, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        Some(Replaces {
            call_id: CallId::parse(trim(call_id))?,
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.call_id, self.params)
    }
}
