//! The cipher behind SRTP: one trait, shaped for batches so that a device can be handed
//! many packets at a time, and the CPU's own implementation. What a cipher is told is
//! already decided: the packet's index, and where its tag goes.

pub mod blocks;
pub mod conformance;
pub mod cpu;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use iq::SrtpProfile;

/// Seals and opens packets in place with keys that it has expanded before.
pub trait SrtpCipher {
    /// The session keys of one direction of RTP or of RTCP, ready for use.
    type Key;

    /// Expands session keys; happens at the end of a handshake, not per packet.
    fn key(&self, profile: SrtpProfile, session: &SessionKey) -> Self::Key;

    /// Encrypts each packet in place and writes its tag.
    fn seal(&self, jobs: &mut [Job<'_, Self::Key>]);

    /// Checks each packet's tag in constant time, and decrypts it in place. A packet that is
    /// refused may hold anything afterwards.
    fn open(&self, jobs: &mut [Job<'_, Self::Key>]);
}

/// One packet for a cipher.
pub struct Job<'a, K> {
    /// The keys of its direction.
    pub key: &'a K,
    /// The packet without tag and without SRTCP index.
    pub packet: &'a mut [u8],
    /// What goes behind it, as long as the profile's tag.
    pub tag: &'a mut [u8],
    /// Who sends it.
    pub ssrc: u32,
    /// Its number.
    pub index: Index,
    /// Set by the cipher.
    pub outcome: Outcome,
}

/// What became of a packet that a cipher was handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The cipher could not do its work, which says nothing of the packet: packet and tag
    /// are as they were, and another cipher may be asked. The CPU never fails.
    #[default]
    Failed,
    /// The packet is not authentic.
    Refused,
    /// It is sealed, or it is authentic and open.
    Done,
}

impl<'a, K> Job<'a, K> {
    /// The same packet for a cipher with keys of another kind.
    pub fn with_key<'b, L>(&'b mut self, key: &'b L) -> Job<'b, L>
    where
        'a: 'b,
    {
        Job {
            key,
            packet: self.packet,
            tag: self.tag,
            ssrc: self.ssrc,
            index: self.index,
            outcome: Outcome::Failed,
        }
    }

    /// Octets at the front of the packet that are authenticated and stay readable.
    #[inline]
    #[must_use]
    pub fn clear(&self) -> usize {
        match self.index {
            Index::Rtp { header, .. } => header,
            Index::Rtcp { .. } => RTCP_CLEAR,
        }
    }
}

/// A packet's number under its key, and what else the number decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// SRTP.
    Rtp {
        /// Rollover counter and sequence, 48 bits. RFC 3711 §3.3.1.
        index: u64,
        /// Octets of the RTP header, with contributing sources and extension.
        header: usize,
    },
    /// SRTCP: 31 bits. RFC 3711 §3.4.
    Rtcp {
        /// Without the flag for encryption, which is always set.
        index: u32,
    },
}

impl Index {
    /// The number as the initialisation vectors of both kinds of cipher take it.
    #[inline]
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Index::Rtp { index, .. } => index,
            Index::Rtcp { index } => u64::from(index),
        }
    }
}

/// What session keys are for. RFC 3711 §4.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// SRTP: a packet every few milliseconds.
    Rtp,
    /// SRTCP: a packet every few seconds.
    Rtcp,
}

/// Keys out of the key derivation, RFC 3711 §4.3.
#[derive(Clone)]
pub struct SessionKey {
    /// For which packets.
    pub purpose: Purpose,
    /// Encrypts: 16 or 32 octets.
    pub encryption: Vec<u8>,
    /// Authenticates: 20 octets, or none with GCM.
    pub authentication: Vec<u8>,
    /// Goes into the initialisation vectors: 14 octets, or 12 with GCM.
    pub salt: Vec<u8>,
}

/// Every profile, the dearest last.
pub const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

/// Octets of a profile's tag, the same for RTP and RTCP. RFC 5764 §4.1.2, RFC 7714 §14.2.
#[must_use]
pub const fn tag_length(profile: SrtpProfile) -> usize {
    match profile {
        SrtpProfile::Aes128CmSha1_80 => 10,
        SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 16,
    }
}

/// Whether two tags are the same, in a time that does not tell where they differ.
#[inline]
#[must_use]
pub fn is_same_tag(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// The word that carries an SRTCP index, with the flag for encryption. RFC 3711 §3.4.
#[must_use]
pub(crate) const fn srtcp_word(index: u32) -> [u8; 4] {
    (SRTCP_ENCRYPTED | index).to_be_bytes()
}

/// The flag E of SRTCP.
pub(crate) const SRTCP_ENCRYPTED: u32 = 1 << 31;

/// Octets of an RTCP packet that are never encrypted: the first header and its SSRC.
pub const RTCP_CLEAR: usize = 8;
