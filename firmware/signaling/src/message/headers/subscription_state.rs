//! Subscription-State, RFC 6665 §8.2.3.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::{is_token, number, trim};

/// How a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// `active`, `pending`, `terminated` or an extension.
    pub state: String,
    /// `expires`, `reason`, `retry-after`.
    pub params: Params,
}

impl SubscriptionState {
    /// Whether the subscription is over.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.state.eq_ignore_ascii_case("terminated")
    }

    /// Seconds that are left.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").and_then(number)
    }
}

impl Typed for SubscriptionState {
    const NAME: HeaderName = HeaderName::SubscriptionState;

    fn parse(value: &str) -> Option<Self> {
        let (state, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let state = trim(state);
        is_token(state).then_some(())?;
        Some(SubscriptionState {
            state: state.to_owned(),
            params: Params::parse(params)?,
        })
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.state, self.params)
    }
}
