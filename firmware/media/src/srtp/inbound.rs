//! The receiving side of SRTP and SRTCP, RFC 3711 §3.3 and §3.4.

use std::time::{Duration, Instant};

use iq::SrtpProfile;

use super::kdf::session_key;
use super::replay::ReplayWindow;
use super::{Layout, MAX_SOURCES, MasterKey};
use crate::crypto::cpu::Cpu;
use crate::crypto::{Index, Job, Outcome, Purpose, SRTCP_ENCRYPTED, SrtpCipher};
use crate::packet::{rtp, u16_at, u32_at};

/// What arrives protected on a leg: the peer's keys, and for each of its sources the
/// rollover counter and what was seen already.
pub struct Inbound<C: SrtpCipher = Cpu> {
    cipher: C,
    layout: Layout,
    rtp: C::Key,
    rtcp: C::Key,
    sources: Vec<Source>,
}

/// One synchronisation source of the peer.
struct Source {
    ssrc: u32,
    heard: Instant,
    rtp: ReplayWindow<RTP_WINDOW_WORDS>,
    rtcp: ReplayWindow<RTCP_WINDOW_WORDS>,
}

impl Inbound {
    /// Starts with the peer's keys and no source known, on the CPU.
    #[must_use]
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        Inbound::with_cipher(Cpu, profile, master)
    }
}

impl<C: SrtpCipher> Inbound<C> {
    /// Starts with the peer's keys and no source known.
    #[must_use]
    pub fn with_cipher(cipher: C, profile: SrtpProfile, master: &MasterKey) -> Self {
        let key = |purpose| cipher.key(profile, &session_key(profile, master, purpose));
        Inbound {
            rtp: key(Purpose::Rtp),
            rtcp: key(Purpose::Rtcp),
            layout: Layout::of(profile),
            sources: Vec::new(),
            cipher,
        }
    }

    /// Opens an SRTP packet in place; what it returns is the length of the RTP packet.
    ///
    /// # Errors
    /// [`OpenError`]; the packet's contents are then undefined.
    pub fn open_rtp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, OpenError> {
        let header = rtp::header_length(packet).map_err(|_| OpenError::Malformed)?;
        let length = packet.len().checked_sub(self.layout.tag);
        let length = length.filter(|&length| length >= header);
        let length = length.ok_or(OpenError::Malformed)?;
        let (ssrc, sequence) = (u32_at(packet, 8), u16_at(packet, 2));

        let known = self.position(ssrc);
        let window = known.map(|at| &self.sources[at].rtp);
        let index = estimate_index(window.and_then(ReplayWindow::highest), sequence);
        if window.is_some_and(|window| !window.is_fresh(index)) {
            return Err(OpenError::Replayed);
        }

        let (packet, tag) = packet.split_at_mut(length);
        self.authenticate(Job {
            key: &self.rtp,
            packet,
            tag,
            ssrc,
            index: Index::Rtp { index, header },
            outcome: Outcome::Failed,
        })?;
        self.source(known, ssrc, now)?.rtp.insert(index);
        Ok(length)
    }

    /// Opens an SRTCP packet in place; what it returns is the length of the RTCP packet.
    /// Each packet must be encrypted: DTLS-SRTP has no profile in which RTCP is not.
    ///
    /// # Errors
    /// [`OpenError`]; the packet's contents are then undefined.
    pub fn open_rtcp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, OpenError> {
        let length = self.layout.rtcp_length(packet.len());
        let length = length.ok_or(OpenError::Malformed)?;
        let word = u32_at(packet, length + self.layout.rtcp_word().start);
        let ssrc = u32_at(packet, 4);
        if word & SRTCP_ENCRYPTED == 0 {
            return Err(OpenError::Unauthentic);
        }
        let index = word & !SRTCP_ENCRYPTED;

        let known = self.position(ssrc);
        if known.is_some_and(|at| !self.sources[at].rtcp.is_fresh(u64::from(index))) {
            return Err(OpenError::Replayed);
        }

        let (packet, rest) = packet.split_at_mut(length);
        self.authenticate(Job {
            key: &self.rtcp,
            packet,
            tag: &mut rest[self.layout.rtcp_tag()],
            ssrc,
            index: Index::Rtcp { index },
            outcome: Outcome::Failed,
        })?;
        self.source(known, ssrc, now)?.rtcp.insert(u64::from(index));
        Ok(length)
    }

    fn authenticate(&self, mut job: Job<'_, C::Key>) -> Result<(), OpenError> {
        self.cipher.open(std::slice::from_mut(&mut job));
        if job.outcome == Outcome::Done {
            Ok(())
        } else {
            Err(OpenError::Unauthentic)
        }
    }

    #[cfg(test)]
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    fn position(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.ssrc == ssrc)
    }

    /// The source of a packet that proved authentic; makes room for a new one if another has
    /// been silent for long.
    fn source(
        &mut self,
        known: Option<usize>,
        ssrc: u32,
        now: Instant,
    ) -> Result<&mut Source, OpenError> {
        let at = match known {
            Some(at) => at,
            None => {
                if self.sources.len() >= MAX_SOURCES {
                    self.forget_idle(now)?;
                }
                self.sources.push(Source {
                    ssrc,
                    heard: now,
                    rtp: ReplayWindow::new(),
                    rtcp: ReplayWindow::new(),
                });
                self.sources.len() - 1
            }
        };
        let source = &mut self.sources[at];
        source.heard = now;
        Ok(source)
    }

    /// Forgets the source that has been silent for longest. With it goes what protects from
    /// a replay of its packets, therefore only when the room is needed.
    fn forget_idle(&mut self, now: Instant) -> Result<(), OpenError> {
        let idle = self
            .sources
            .iter()
            .enumerate()
            .min_by_key(|(_, source)| source.heard);
        match idle {
            Some((at, source)) if now.saturating_duration_since(source.heard) >= IDLE => {
                self.sources.swap_remove(at);
                Ok(())
            }
            _ => Err(OpenError::TooManySources),
        }
    }
}

/// The index that a sequence number most likely stands for: of the three rollover counters
/// around the highest index, the one that brings it nearest. RFC 3711 §3.3.1. A first packet
/// starts with a rollover counter of zero, and no guess goes below it.
fn estimate_index(highest: Option<u64>, sequence: u16) -> u64 {
    let Some(highest) = highest else {
        return u64::from(sequence);
    };
    let distance = i64::from(sequence.wrapping_sub(highest as u16) as i16);
    highest
        .checked_add_signed(distance)
        .filter(|index| index >> 48 == 0)
        .unwrap_or(u64::from(sequence))
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

/// 1024 packets: about a second of video at 8 Mbit/s.
const RTP_WINDOW_WORDS: usize = 16;
/// 128 packets: ten minutes of RTCP.
const RTCP_WINDOW_WORDS: usize = 2;
/// Silence after which a source may be forgotten.
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rollover_counter_is_guessed() {
        let index = |rollover: u64, sequence: u64| rollover << 16 | sequence;
        for (highest, sequence, guess) in [
            (None, 65_000, index(0, 65_000)),
            (Some(index(0, 65_535)), 0, index(1, 0)),
            (Some(index(1, 0)), 65_535, index(0, 65_535)),
            (Some(index(5, 40_000)), 40_001, index(5, 40_001)),
            (Some(index(5, 40_000)), 39_999, index(5, 39_999)),
            (Some(index(5, 40_000)), 7_000, index(6, 7_000)),
            (Some(index(5, 40_000)), 7_300, index(5, 7_300)),
            (Some(index(5, 100)), 65_000, index(4, 65_000)),
            (Some(index(0, 100)), 65_000, index(0, 65_000)),
            (Some(index(0xffff_ffff, 65_535)), 0, index(0, 0)),
        ] {
            assert_eq!(estimate_index(highest, sequence), guess);
        }
    }
}
