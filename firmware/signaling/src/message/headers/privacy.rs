//! Privacy, RFC 3323 §4.2 and RFC 3325 §9.3.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::scan::{is_token, trim};

/// What a user wants hidden. `none` is a value, and not the same as no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy(Vec<String>);

impl Privacy {
    /// Whether a value such as `id`, `user`, `header`, `none` is there.
    #[must_use]
    pub fn has(&self, value: &str) -> bool {
        self.0.iter().any(|other| other.eq_ignore_ascii_case(value))
    }
}

impl Typed for Privacy {
    const NAME: HeaderName = HeaderName::Privacy;

    fn parse(value: &str) -> Option<Self> {
        // RFC 3323 §4.2 separates with `;`, and stacks are seen that write `,`.
        let values: Vec<_> = value.split([';', ',']).map(trim).collect();
        values
            .iter()
            .all(|value| is_token(value))
            .then(|| Privacy(values.into_iter().map(str::to_owned).collect()))
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(";"))
    }
}
