//! P-Early-Media, RFC 5009.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::scan::{List, is_token};

/// What the network allows before the answer; a list, one for each media line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PEarlyMedia {
    /// Whether the sender understands the header.
    pub is_supported: bool,
    /// Whether early media may be cut through only at the answer, RFC 5009 §8.
    pub is_gated: bool,
    /// For each media line in order; the last one goes for all that follow.
    pub directions: Vec<EarlyMedia>,
}

/// What may flow on one media line, as the sender of the header sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyMedia {
    /// Both ways.
    SendRecv,
    /// From the sender of the header.
    SendOnly,
    /// To the sender of the header.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl EarlyMedia {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EarlyMedia::SendRecv => "sendrecv",
            EarlyMedia::SendOnly => "sendonly",
            EarlyMedia::RecvOnly => "recvonly",
            EarlyMedia::Inactive => "inactive",
        }
    }
}

impl Typed for PEarlyMedia {
    const NAME: HeaderName = HeaderName::PEarlyMedia;

    fn parse(value: &str) -> Option<Self> {
        let mut media = PEarlyMedia::default();
        for word in List::new(value).take(crate::message::MAX_ITEMS) {
            let word = word.ok()?;
            match word.to_ascii_lowercase().as_str() {
                "supported" => media.is_supported = true,
                "gated" => media.is_gated = true,
                "sendrecv" => media.directions.push(EarlyMedia::SendRecv),
                "sendonly" => media.directions.push(EarlyMedia::SendOnly),
                "recvonly" => media.directions.push(EarlyMedia::RecvOnly),
                "inactive" => media.directions.push(EarlyMedia::Inactive),
                "" => {}
                other if is_token(other) => {} // An extension, RFC 5009 §8.
                _ => return None,
            }
        }
        Some(media)
    }
}

impl fmt::Display for PEarlyMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directions = self.directions.iter().map(|direction| direction.as_str());
        let words = directions
            .chain(self.is_supported.then_some("supported"))
            .chain(self.is_gated.then_some("gated"));
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}
