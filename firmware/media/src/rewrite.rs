//! One outgoing RTP stream: whatever arrives for it leaves with our own SSRC, our own
//! unbroken sequence and one continuous timestamp, so that neither losses nor changes of
//! source on one leg are seen on the other. RFC 3550 §7.1 calls this a translator.
//!
//! A packet that comes late takes the next sequence number and keeps its time: its old
//! place in the sequence was closed when the gap was.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::clock::{is_later, ticks};
use crate::packet::rtp;
use crate::sequence::{Place, Sequence};
use crate::srtp::ReplayWindow;

/// Turns the packets of changing sources into one stream.
pub struct Rewriter {
    ssrc: u32,
    clock_rate: u32,
    next_sequence: u16,
    /// The latest timestamp that was sent, and when first.
    latest: (u32, Option<Instant>),
    source: Option<Source>,
    /// The source before the present one, and when it was left.
    left: Option<(u32, Instant)>,
}

/// The source that the stream follows at present.
struct Source {
    ssrc: u32,
    /// From its timestamps to ours.
    offset: u32,
    sequence: Sequence,
    seen: ReplayWindow<2>,
}

impl Rewriter {
    /// A stream with a random SSRC, sequence and timestamp.
    #[must_use]
    pub fn new(clock_rate: u32, rng: &mut ChaCha20Rng) -> Self {
        Rewriter {
            ssrc: rng.next_u32(),
            clock_rate,
            // Far from the wrap: a receiver of SRTP that misses the first packets still
            // knows the rollover counter.
            next_sequence: (rng.next_u32() >> 17) as u16,
            latest: (rng.next_u32(), None),
            source: None,
            left: None,
        }
    }

    /// The SSRC of everything this stream sends, RTCP too.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Rewrites in place a packet that arrived with `header`, and strips contributing
    /// sources, header extension and padding. What it returns is the header as it leaves:
    /// the packet to send is `packet[..payload_end]`.
    ///
    /// # Errors
    /// [`Unwanted`]: the packet must not be sent.
    pub fn rewrite(
        &mut self,
        packet: &mut [u8],
        header: &rtp::Header,
        payload_type: u8,
        now: Instant,
    ) -> Result<rtp::Header, Unwanted> {
        let switched = self.follow(header, now)?;
        let source = self.source.as_ref().expect("follow leaves a source");
        let timestamp = header.timestamp.wrapping_add(source.offset);
        packet.copy_within(header.payload_start..header.payload_end, rtp::FIXED_HEADER);
        let rewritten = self.next_header(
            header.marker || switched,
            payload_type,
            timestamp,
            header.payload_len(),
            now,
        );
        rewritten.write(packet);
        Ok(rewritten)
    }

    /// The timestamp of something of our own that begins now: after everything sent.
    pub(crate) fn timestamp_at(&self, now: Instant) -> u32 {
        let (timestamp, sent) = self.latest;
        let Some(sent) = sent else { return timestamp };
        let passed = now.saturating_duration_since(sent).max(SHORTEST_STEP);
        timestamp.wrapping_add(ticks(passed, self.clock_rate))
    }

    /// The header of the next packet of this stream.
    pub(crate) fn next_header(
        &mut self,
        marker: bool,
        payload_type: u8,
        timestamp: u32,
        payload_len: usize,
        now: Instant,
    ) -> rtp::Header {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        if self.latest.1.is_none() || is_later(timestamp, self.latest.0) {
            self.latest = (timestamp, Some(now));
        }
        rtp::Header {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            payload_start: rtp::FIXED_HEADER,
            payload_end: rtp::FIXED_HEADER + payload_len,
        }
    }

    /// Finds the packet's place in the present source, or makes its source the present one;
    /// says whether it did.
    fn follow(&mut self, header: &rtp::Header, now: Instant) -> Result<bool, Unwanted> {
        let present = self.source.as_mut();
        if let Some(source) = present.filter(|source| source.ssrc == header.ssrc) {
            if source.accept(header.sequence)? {
                return Ok(false);
            }
        } else if self.left.is_some_and(|(ssrc, at)| {
            ssrc == header.ssrc && now.saturating_duration_since(at) < STRAGGLERS
        }) {
            return Err(Unwanted::Stray);
        }
        self.left = self.source.as_ref().map(|source| (source.ssrc, now));
        let offset = self.timestamp_at(now).wrapping_sub(header.timestamp);
        self.source = Some(Source::new(header, offset));
        Ok(true)
    }
}

impl Source {
    fn new(header: &rtp::Header, offset: u32) -> Self {
        let sequence = Sequence::new(header.sequence);
        let mut seen = ReplayWindow::new();
        seen.insert(sequence.highest());
        Source {
            ssrc: header.ssrc,
            offset,
            sequence,
            seen,
        }
    }

    /// Takes a packet of this source; false when it has started anew.
    fn accept(&mut self, sequence: u16) -> Result<bool, Unwanted> {
        match self.sequence.place(sequence) {
            Place::Running(index) if self.seen.is_fresh(index) => {
                self.seen.insert(index);
                Ok(true)
            }
            Place::Running(_) => Err(Unwanted::Duplicate),
            Place::Astray => Err(Unwanted::Stray),
            Place::Restarted => Ok(false),
        }
    }
}

/// Why a packet is not sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// It has been sent on before.
    #[error("duplicate packet")]
    Duplicate,
    /// It is of a source that has just been replaced, or far off the running sequence.
    #[error("stray packet")]
    Stray,
}

/// How long packets of a source that was left may still be on their way.
const STRAGGLERS: Duration = Duration::from_millis(250);
/// Between the last packet of one source and the first of the next: one usual packet.
const SHORTEST_STEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn loss_and_reordering_leave_no_trace_in_the_sequence_and_time_stays() {
        let mut stream = Played::new();
        let sent: Vec<_> = [1, 2, 5, 4, 6, 6, 9]
            .into_iter()
            .filter_map(|sequence| stream.play(7, sequence, u32::from(sequence) * 160).ok())
            .collect();

        let first = sent[0];
        let seen: Vec<_> = sent
            .iter()
            .map(|header| {
                (
                    header.sequence.wrapping_sub(first.sequence),
                    header.timestamp.wrapping_sub(first.timestamp) / 160,
                )
            })
            .collect();
        assert_eq!(seen, [(0, 0), (1, 1), (2, 4), (3, 3), (4, 5), (5, 8)]);
        assert!(sent.iter().all(|header| header.ssrc == first.ssrc));
    }

    #[test]
    fn extension_contributing_sources_and_padding_are_stripped() {
        let mut packet = vec![0xb1, 0x80 | 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend([9; 4]);
        packet.extend([0xbe, 0xde, 0, 1, 0x10, 1, 2, 3]);
        packet.extend(*b"payload");
        packet.extend([0, 0, 3]);
        let header = rtp::Header::parse(&packet).unwrap();

        let mut rewriter = rewriter();
        let sent = rewriter.rewrite(&mut packet, &header, 8, Instant::now());
        let packet = &packet[..sent.unwrap().payload_end];

        assert_eq!(packet[0], 0x80);
        assert_eq!(packet[1], 0x80 | 8);
        assert_eq!(&packet[12..], b"payload");
        assert_eq!(rtp::Header::parse(packet).unwrap(), sent.unwrap());
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_was_with_a_marker() {
        let mut stream = Played::new();
        let old = stream.play(7, 100, 16_000).unwrap();
        let new = stream.play(8, 9_000, 4_000_000_000).unwrap();
        let next = stream.play(8, 9_001, 4_000_000_160).unwrap();

        assert_eq!(new.sequence, old.sequence.wrapping_add(1));
        assert_eq!(new.timestamp, old.timestamp.wrapping_add(160));
        assert!(new.marker);
        assert_eq!(next.timestamp, new.timestamp.wrapping_add(160));
        assert!(!next.marker);
    }

    #[test]
    fn a_pause_between_two_sources_is_kept() {
        let mut stream = Played::new();
        let old = stream.play(7, 100, 16_000).unwrap();
        stream.now += Duration::from_secs(3);
        let new = stream.play(8, 9_000, 0).unwrap();
        assert_eq!(new.timestamp, old.timestamp.wrapping_add(160 + 24_000));
    }

    #[test]
    fn stragglers_of_the_old_source_do_not_win_the_stream_back() {
        let mut stream = Played::new();
        stream.play(7, 100, 0).unwrap();
        stream.play(8, 1, 0).unwrap();
        assert_eq!(stream.play(7, 101, 160), Err(Unwanted::Stray));
        stream.now += Duration::from_millis(250);
        assert!(stream.play(7, 110, 1600).unwrap().marker);
    }

    #[test]
    fn a_source_that_starts_its_sequence_anew_is_followed_at_its_second_packet() {
        let mut stream = Played::new();
        let before = stream.play(7, 100, 16_000).unwrap();
        assert_eq!(stream.play(7, 30_000, 77), Err(Unwanted::Stray));
        let after = stream.play(7, 30_001, 77 + 160).unwrap();
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(320));
        assert!(stream.play(7, 30_002, 77 + 320).is_ok());
        assert_eq!(stream.play(7, 30_001, 77 + 160), Err(Unwanted::Duplicate));
    }

    #[test]
    fn the_first_sequence_is_far_from_the_wrap() {
        for seed in 0..100 {
            let rewriter = Rewriter::new(8000, &mut ChaCha20Rng::seed_from_u64(seed));
            assert!(rewriter.next_sequence < 1 << 15);
        }
    }

    proptest! {
        #[test]
        fn the_sequence_never_breaks_whatever_arrives(
            arrivals in proptest::collection::vec(
                (0u32..3, any::<u16>(), any::<u32>(), 0u64..400), 1..300),
        ) {
            let mut stream = Played::new();
            let mut expected = stream.rewriter.next_sequence;
            for (ssrc, sequence, timestamp, pause) in arrivals {
                stream.now += Duration::from_millis(pause);
                if let Ok(sent) = stream.play(ssrc, sequence, timestamp) {
                    prop_assert_eq!(sent.sequence, expected);
                    expected = expected.wrapping_add(1);
                }
            }
        }
    }

    /// A stream at a packet each 20 ms.
    struct Played {
        rewriter: Rewriter,
        now: Instant,
    }

    impl Played {
        fn new() -> Self {
            Played {
                rewriter: rewriter(),
                now: Instant::now(),
            }
        }

        fn play(
            &mut self,
            ssrc: u32,
            sequence: u16,
            timestamp: u32,
        ) -> Result<rtp::Header, Unwanted> {
            self.now += Duration::from_millis(20);
            let mut packet = [0; 172];
            rtp::Header {
                marker: false,
                payload_type: 0,
                sequence,
                timestamp,
                ssrc,
                payload_start: 12,
                payload_end: 172,
            }
            .write(&mut packet);
            let header = rtp::Header::parse(&packet).unwrap();
            self.rewriter.rewrite(&mut packet, &header, 8, self.now)
        }
    }

    fn rewriter() -> Rewriter {
        Rewriter::new(8000, &mut ChaCha20Rng::seed_from_u64(1))
    }
}
