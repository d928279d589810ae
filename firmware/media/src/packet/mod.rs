//! Views on the bytes of a datagram: each is checked once, and what was checked cannot
//! fail later.

pub mod buffer;
pub mod rtcp;
pub mod rtp;
pub mod stun;

/// A packet whose lengths contradict each other, or that is of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet")]
pub struct Malformed;

/// Reads a 16-bit number in network order; the caller has checked the length.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a 32-bit number in network order; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
