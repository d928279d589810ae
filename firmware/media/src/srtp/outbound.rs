//! The sending side of SRTP and SRTCP, RFC 3711 §3.3 and §3.4. No index is used twice with
//! one key, whatever the caller hands in (§9.1).

use iq::SrtpProfile;

use super::kdf::session_key;
use super::{Layout, MAX_SOURCES, MasterKey, SRTCP_WORD};
use crate::crypto::cpu::Cpu;
use crate::crypto::{
    Index, Job, Outcome, Purpose, RTCP_CLEAR, SRTCP_ENCRYPTED, SrtpCipher, srtcp_word,
};
use crate::packet::{rtp, u16_at, u32_at};

/// What leaves protected on a leg: our own keys, and how far each of our sources has come.
pub struct Outbound<C: SrtpCipher = Cpu> {
    cipher: C,
    layout: Layout,
    rtp: C::Key,
    rtcp: C::Key,
    /// Last index used; a source is never forgotten while the key lives.
    sources: Vec<(u32, u64)>,
    /// One count for all sources: each then has its own, with gaps.
    next_rtcp: u32,
}

impl Outbound {
    /// Starts with our own keys and nothing sent, on the CPU.
    #[must_use]
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        Outbound::with_cipher(Cpu, profile, master)
    }
}

impl<C: SrtpCipher> Outbound<C> {
    /// Starts with our own keys and nothing sent.
    #[must_use]
    pub fn with_cipher(cipher: C, profile: SrtpProfile, master: &MasterKey) -> Self {
        let key = |purpose| cipher.key(profile, &session_key(profile, master, purpose));
        Outbound {
            rtp: key(Purpose::Rtp),
            rtcp: key(Purpose::Rtcp),
            layout: Layout::of(profile),
            sources: Vec::new(),
            next_rtcp: 0,
            cipher,
        }
    }

    /// Seals the RTP packet in `buffer[..length]` in place; returns the length of the SRTP
    /// packet, which is up to [`MAX_OVERHEAD`](super::MAX_OVERHEAD) longer. The sequence of a
    /// source must rise, by less than 2^15 each time.
    ///
    /// # Errors
    /// [`SealError`]; nothing may then be sent.
    pub fn seal_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealError> {
        let sealed = length + self.layout.tag;
        if sealed > buffer.len() {
            return Err(SealError::Malformed);
        }
        let header = rtp::header_length(&buffer[..length]).map_err(|_| SealError::Malformed)?;
        let (ssrc, sequence) = (u32_at(buffer, 8), u16_at(buffer, 2));
        let index = self.take_index(ssrc, sequence)?;

        let (packet, rest) = buffer.split_at_mut(length);
        self.seal(Job {
            key: &self.rtp,
            packet,
            tag: &mut rest[..self.layout.tag],
            ssrc,
            index: Index::Rtp { index, header },
            outcome: Outcome::Failed,
        })?;
        Ok(sealed)
    }

    /// Seals the RTCP packet in `buffer[..length]` in place; returns the length of the SRTCP
    /// packet, which is up to [`MAX_OVERHEAD`](super::MAX_OVERHEAD) longer.
    ///
    /// # Errors
    /// [`SealError`]; nothing may then be sent.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SealError> {
        let sealed = length + self.layout.tag + SRTCP_WORD;
        if length < RTCP_CLEAR || sealed > buffer.len() {
            return Err(SealError::Malformed);
        }
        let index = self.next_rtcp;
        if index >= SRTCP_ENCRYPTED {
            return Err(SealError::IndexUsed);
        }
        self.next_rtcp += 1;

        let ssrc = u32_at(buffer, 4);
        let (packet, rest) = buffer.split_at_mut(length);
        rest[self.layout.rtcp_word()].copy_from_slice(&srtcp_word(index));
        self.seal(Job {
            key: &self.rtcp,
            packet,
            tag: &mut rest[self.layout.rtcp_tag()],
            ssrc,
            index: Index::Rtcp { index },
            outcome: Outcome::Failed,
        })?;
        Ok(sealed)
    }

    fn seal(&self, mut job: Job<'_, C::Key>) -> Result<(), SealError> {
        self.cipher.seal(std::slice::from_mut(&mut job));
        if job.outcome == Outcome::Done {
            Ok(())
        } else {
            Err(SealError::Malformed)
        }
    }

    /// The next index of a source with this sequence number: always above the last.
    fn take_index(&mut self, ssrc: u32, sequence: u16) -> Result<u64, SealError> {
        let Some((_, last)) = self.sources.iter_mut().find(|(of, _)| *of == ssrc) else {
            if self.sources.len() >= MAX_SOURCES {
                return Err(SealError::TooManySources);
            }
            self.sources.push((ssrc, u64::from(sequence)));
            return Ok(u64::from(sequence));
        };
        let step = u64::from(sequence.wrapping_sub(*last as u16));
        // A receiver would take a wider step for a step back (RFC 3711 §3.3.1).
        if step == 0 || step >= 1 << 15 || (*last + step) >> 48 != 0 {
            return Err(SealError::IndexUsed);
        }
        *last += step;
        Ok(*last)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_used_beyond_its_last_indexes() {
        let mut outbound = outbound();
        let mut buffer = [0x80; 64];
        outbound.next_rtcp = (1 << 31) - 1;
        assert!(outbound.seal_rtcp(&mut buffer, 24).is_ok());
        for _ in 0..3 {
            let refused = outbound.seal_rtcp(&mut buffer, 24);
            assert_eq!(refused, Err(SealError::IndexUsed));
        }

        outbound.sources.push((7, (1 << 48) - 2));
        assert_eq!(outbound.take_index(7, 0xffff), Ok((1 << 48) - 1));
        assert_eq!(outbound.take_index(7, 0), Err(SealError::IndexUsed));
    }

    #[test]
    fn a_sequence_that_stands_still_or_goes_back_is_refused() {
        let mut outbound = outbound();
        assert_eq!(outbound.take_index(7, 65_000), Ok(65_000));
        assert_eq!(outbound.take_index(7, 65_000), Err(SealError::IndexUsed));
        assert_eq!(outbound.take_index(7, 64_999), Err(SealError::IndexUsed));
        assert_eq!(outbound.take_index(7, 32_232), Err(SealError::IndexUsed));
        assert_eq!(outbound.take_index(7, 5), Ok(65_541));
        assert_eq!(outbound.take_index(8, 65_000), Ok(65_000));
    }

    fn outbound() -> Outbound {
        let profile = SrtpProfile::AeadAes128Gcm;
        let master = MasterKey::new(profile, &[1; 16], &[2; 12]).unwrap();
        Outbound::new(profile, &master)
    }
}
