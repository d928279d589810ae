//! SRTP and SRTCP, RFC 3711 and RFC 7714: contexts over a [`SrtpCipher`](crate::crypto::SrtpCipher).

mod dtls_keys;

use std::time::Instant;

pub use dtls_keys::{EXPORTER_LABEL, Keys, WrongLength, exported_length};
use iq::{Private, SrtpProfile};

/// Master key and master salt of one direction.
#[derive(Clone, Debug)]
pub struct MasterKey {
    key: Private<Vec<u8>>,
    salt: Private<Vec<u8>>,
}

/// What arrives protected on a leg.
pub struct Inbound;

impl Inbound {
    /// Starts with the peer's keys and no source known.
    #[must_use]
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let _ = (profile, master);
        todo!()
    }

    /// Opens an SRTP packet in place; what it returns is the length of the RTP packet.
    ///
    /// # Errors
    /// [`OpenError`]; the packet's contents are then undefined.
    pub fn open_rtp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, OpenError> {
        let _ = (packet, now);
        todo!()
    }

    /// Opens an SRTCP packet in place; what it returns is the length of the RTCP packet.
    ///
    /// # Errors
    /// [`OpenError`]; the packet's contents are then undefined.
    pub fn open_rtcp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, OpenError> {
        let _ = (packet, now);
        todo!()
    }
}

/// What leaves protected on a leg.
pub struct Outbound;

impl Outbound {
    /// Starts with our own keys and nothing sent.
    #[must_use]
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let _ = (profile, master);
        todo!()
    }

    /// Seals the RTP packet in `buffer[..length]` in place; returns the length of the SRTP
    /// packet, which is up to [`MAX_OVERHEAD`] longer.
    ///
    /// # Errors
    /// [`SealError`]; nothing may then be sent.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealError> {
        let _ = (buffer, length);
        todo!()
    }

    /// Seals the RTCP packet in `buffer[..length]` in place; returns the length of the SRTCP
    /// packet, which is up to [`MAX_OVERHEAD`] longer.
    ///
    /// # Errors
    /// [`SealError`]; nothing may then be sent.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealError> {
        let _ = (buffer, length);
        todo!()
    }
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short, or not of version 2.
    #[error("malformed packet")]
    Malformed,
    /// Its tag is wrong.
    #[error("authentication failed")]
    Unauthentic,
    /// It was opened before, or is older than the window.
    #[error("replayed packet")]
    Replayed,
    /// It is authentic, and of one source more than a stream may have.
    #[error("too many sources")]
    TooManySources,
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not RTP or RTCP, or no room for the tag.
    #[error("malformed packet")]
    Malformed,
    /// Its index has been used with this key, or the key has none left.
    #[error("packet index used up")]
    IndexUsed,
    /// It is of one source more than a stream may have.
    #[error("too many sources")]
    TooManySources,
}

/// The most that sealing adds to a packet: a GCM tag and the SRTCP index.
pub const MAX_OVERHEAD: usize = 20;
