//! SRTP and SRTCP, RFC 3711 and RFC 7714, over a [`SrtpCipher`](crate::crypto::SrtpCipher).
//! No master key identifier, no key derivation rate, no unencrypted SRTCP: DTLS-SRTP
//! (RFC 5764) negotiates none of them here.

mod dtls_keys;
mod inbound;
mod kdf;
mod outbound;
mod replay;

use std::ops::Range;

pub use dtls_keys::{EXPORTER_LABEL, Keys, WrongLength, exported_length};
pub use inbound::{Inbound, OpenError};
use iq::{Private, SrtpProfile};
pub use outbound::{Outbound, SealError};
pub(crate) use replay::ReplayWindow;

use crate::crypto::{RTCP_CLEAR, tag_length};

/// Master key and master salt of one direction.
#[derive(Clone, Debug)]
pub struct MasterKey {
    key: Private<Vec<u8>>,
    salt: Private<Vec<u8>>,
}

/// What follows a packet: its tag, and with SRTCP its index. RFC 3711 §3.4 puts the tag
/// last, RFC 7714 §9.2 the index.
#[derive(Clone, Copy)]
struct Layout {
    tag: usize,
    word_last: bool,
}

impl Layout {
    fn of(profile: SrtpProfile) -> Self {
        Layout {
            tag: tag_length(profile),
            word_last: match profile {
                SrtpProfile::Aes128CmSha1_80 => false,
                SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => true,
            },
        }
    }

    /// Length of the RTCP packet within an SRTCP packet of this length, if there is one.
    fn rtcp_length(self, sealed: usize) -> Option<usize> {
        let length = sealed.checked_sub(self.tag + SRTCP_WORD)?;
        (length >= RTCP_CLEAR).then_some(length)
    }

    /// Where behind the RTCP packet its index is.
    fn rtcp_word(self) -> Range<usize> {
        if self.word_last {
            self.tag..self.tag + SRTCP_WORD
        } else {
            0..SRTCP_WORD
        }
    }

    /// Where behind the RTCP packet its tag is.
    fn rtcp_tag(self) -> Range<usize> {
        if self.word_last {
            0..self.tag
        } else {
            SRTCP_WORD..SRTCP_WORD + self.tag
        }
    }
}

/// The most that sealing adds to a packet: a GCM tag and the SRTCP index.
pub const MAX_OVERHEAD: usize = 20;

/// Sources that one direction of a leg may have.
const MAX_SOURCES: usize = 32;

/// Octets of the word with the SRTCP index.
const SRTCP_WORD: usize = 4;

#[cfg(test)]
mod tests;
