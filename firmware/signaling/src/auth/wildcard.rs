//! Wildcarded public identities, TS 23.003 §13.4A: an extended regular expression between
//! two exclamation marks, which stands for part of an identity.

use regex::Regex;

use crate::identity::PublicIdentity;

/// A wildcarded identity.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard(Regex);

impl Wildcard {
    /// Reads `sip:chatlist!.*!@example.com`. `None` if it has no expression, or one that
    /// cannot be read.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (before, rest) = text.split_once('!')?;
        let (expression, after) = rest.rsplit_once('!')?;
        let pattern = format!(
            "^{}(?:{expression}){}$",
            regex::escape(before),
            regex::escape(&after.to_ascii_lowercase())
        );
        let regex = regex::RegexBuilder::new(&pattern)
            .size_limit(LARGEST)
            .build()
            .ok()?;
        Some(Wildcard(regex))
    }

    /// Whether a real identity is below this one.
    pub(crate) fn matches(&self, identity: &PublicIdentity) -> bool {
        self.0.is_match(identity.reveal())
    }
}

/// Octets of a compiled expression.
const LARGEST: usize = 64 * 1024;
