//! What goes into a cipher beside key and packet, the same for every engine: where its
//! keystream begins, its nonce, and what it authenticates with the packet.

use super::{Index, RTCP_CLEAR, srtcp_word};

/// (salt * 2^16) XOR (SSRC * 2^64) XOR (index * 2^16). RFC 3711 §4.1.1.
#[inline]
#[must_use]
pub fn counter_block(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    (u128::from_be_bytes(block) ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16).to_be_bytes()
}

/// Two zero octets, SSRC, six octets of index, XOR salt. RFC 7714 §8.1 and §9.1.
#[inline]
#[must_use]
pub fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut block = [0; 16];
    block[4..].copy_from_slice(salt);
    let block = u128::from_be_bytes(block) ^ u128::from(ssrc) << 48 ^ u128::from(index);
    let [_, _, _, _, nonce @ ..] = block.to_be_bytes();
    nonce
}

/// What counter mode authenticates behind the packet: the rollover counter, or the word
/// with the SRTCP index. RFC 3711 §4.2.
#[inline]
#[must_use]
pub fn trailer(index: Index) -> [u8; 4] {
    match index {
        Index::Rtp { index, .. } => {
            let [_, _, rollover @ .., _, _] = index.to_be_bytes();
            rollover
        }
        Index::Rtcp { index } => srtcp_word(index),
    }
}

/// The associated data of SRTCP with GCM: the clear header, and the word with the index.
/// RFC 7714 §9.2.
///
/// # Panics
/// When `header` is not the [`RTCP_CLEAR`] octets at the front of the packet.
#[inline]
#[must_use]
pub fn rtcp_associated(header: &[u8], index: u32) -> [u8; RTCP_CLEAR + 4] {
    let mut associated = [0; RTCP_CLEAR + 4];
    associated[..RTCP_CLEAR].copy_from_slice(header);
    associated[RTCP_CLEAR..].copy_from_slice(&srtcp_word(index));
    associated
}
