//! Flow tokens: the user part of the Path by which a core sends a user's requests to this
//! box, RFC 3327 §5.1 and RFC 5626 §5.2. A token that could be guessed would let one user
//! have another's calls, so each is sealed with a key that nobody else has.
//!
//! base64url(version, 16 random bytes, the first 16 bytes of their HMAC-SHA-256)

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use iq::Private;
use serde::{Deserialize, Serialize};

/// What a token names: chosen by chance, once for each registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct FlowName(pub(crate) [u8; 16]);

/// Seals names into tokens, and opens them again.
pub(crate) struct FlowTokens {
    key: hmac::Key,
}

impl FlowTokens {
    pub(crate) fn new(key: &Private<[u8; 32]>) -> Self {
        FlowTokens {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.reveal()),
        }
    }

    /// The token of a name.
    pub(crate) fn seal(&self, name: FlowName) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&name.0);
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(&tag.as_ref()[..TAG_BYTES]);
        base64url(&bytes)
    }

    /// The name in a token that this box has sealed.
    pub(crate) fn open(&self, token: &str) -> Option<FlowName> {
        let bytes = from_base64url(token)?;
        let (said, tag) = bytes.split_at_checked(TOKEN_BYTES - TAG_BYTES)?;
        let expected = hmac::sign(&self.key, said);
        verify_slices_are_equal(tag, &expected.as_ref()[..TAG_BYTES]).ok()?;
        let (version, name) = said.split_first()?;
        (*version == VERSION).then_some(FlowName(name.try_into().ok()?))
    }
}

impl fmt::Debug for FlowTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlowTokens(<private>)")
    }
}

/// RFC 4648 §5, without padding: all letters may stand in a URI's user part.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for at in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * at)) & 0x3f;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.len() != TOKEN_BYTES * 4 / 3 {
        return None;
    }
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for letter in group {
            let index = LETTERS.iter().position(|known| known == letter)?;
            bits = bits << 6 | u32::try_from(index).ok()?;
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(bytes)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VERSION: u8 = 1;
/// Enough that nobody finds one by trying, RFC 2104 §5.
const TAG_BYTES: usize = 16;
/// A multiple of three: no padding, and one spelling for each token.
const TOKEN_BYTES: usize = 1 + 16 + TAG_BYTES;
const _: () = assert!(TOKEN_BYTES.is_multiple_of(3));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tokens(seed: u8) -> FlowTokens {
        FlowTokens::new(&Private::new([seed; 32]))
    }

    #[test]
    fn a_token_is_opened_by_the_key_that_sealed_it_and_no_other() {
        let name = FlowName(*b"0123456789abcdef");
        let token = tokens(1).seal(name);
        assert_eq!(token.len(), 44);
        assert_eq!(tokens(1).open(&token), Some(name));
        assert_eq!(tokens(2).open(&token), None);
    }

    #[test]
    fn a_token_with_any_letter_changed_is_worth_nothing() {
        let token = tokens(1).seal(FlowName(*b"0123456789abcdef"));
        for at in 0..token.len() {
            for other in ["A", "B", "_", "=", "é"] {
                if token.get(at..=at) != Some(other) {
                    let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
                    assert_eq!(tokens(1).open(&changed), None, "{changed}");
                }
            }
        }
        for wrong in ["", "A", &token[1..], &format!("{token}A")] {
            assert_eq!(tokens(1).open(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn letters_are_those_of_rfc_4648() {
        assert_eq!(base64url(&[0xfb, 0xff, 0xbf]), "-_-_");
        assert_eq!(base64url(b"foob"), "Zm9vYg");
    }
}
