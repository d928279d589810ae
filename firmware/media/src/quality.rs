//! What is known of one direction of a leg: loss and jitter as RFC 3550 §A.1, §A.3 and §A.8.

use std::time::Instant;

use iq::DirectionReport;

use crate::clock::{span, ticks};
use crate::packet::rtcp::ReportBlock;
use crate::packet::rtp;
use crate::sequence::{FIRST_CYCLE, Place, Sequence};

/// Figures about what arrives: of the present source for reception reports, and of all
/// sources together for the record of the call.
pub struct Receiver {
    clock_rate: u32,
    /// Where arrival times are counted from.
    start: Instant,
    source: Option<Source>,
    packets: u64,
    octets: u64,
    /// Loss of sources that are gone.
    lost_before: u64,
    /// The last one known, also of a source that is gone.
    jitter: u32,
}

/// The source that was heard last.
struct Source {
    ssrc: u32,
    sequence: Sequence,
    first: u64,
    received: u64,
    /// As they were in the last report.
    expected_before: u64,
    received_before: u64,
    last_timestamp: u32,
    /// Arrival minus timestamp, in ticks.
    transit: u32,
    /// Sixteen times the jitter, in ticks.
    jitter_16: u32,
}

impl Receiver {
    /// Nothing has arrived yet.
    #[must_use]
    pub fn new(clock_rate: u32, now: Instant) -> Self {
        Receiver {
            clock_rate,
            start: now,
            source: None,
            packets: 0,
            octets: 0,
            lost_before: 0,
            jitter: 0,
        }
    }

    /// Takes note of a packet that arrived.
    pub fn handle_rtp(&mut self, header: &rtp::Header, now: Instant) {
        self.packets += 1;
        self.octets += header.payload_len() as u64;
        let arrival = ticks(now.saturating_duration_since(self.start), self.clock_rate);
        let present = self.source.as_mut();
        if let Some(source) = present.filter(|source| source.ssrc == header.ssrc) {
            match source.sequence.place(header.sequence) {
                Place::Running(index) => {
                    source.first = source.first.min(index);
                    source.received += 1;
                    source.note_transit(header, arrival);
                    self.jitter = source.jitter_16 >> 4;
                    return;
                }
                Place::Astray => return,
                Place::Restarted => {}
            }
        }
        self.leave_source();
        self.source = Some(Source::new(header, arrival));
    }

    /// Takes note that a source said goodbye.
    pub fn handle_goodbye(&mut self, ssrc: u32) {
        if self
            .source
            .as_ref()
            .is_some_and(|source| source.ssrc == ssrc)
        {
            self.leave_source();
        }
    }

    /// The reception report that is due, if anything arrived since the last one. Its
    /// times of sender reports are the caller's to fill in.
    pub(crate) fn report_block(&mut self) -> Option<ReportBlock> {
        let source = self.source.as_mut()?;
        if source.received == source.received_before {
            return None;
        }
        let expected = source.expected() - source.expected_before;
        let received = source.received - source.received_before;
        source.expected_before = source.expected();
        source.received_before = source.received;
        let lost = expected.saturating_sub(received);
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: (256 * lost / expected.max(1)).min(255) as u8,
            lost: source.lost().clamp(-(1 << 23), (1 << 23) - 1) as i32,
            highest_sequence: source.sequence.highest().saturating_sub(FIRST_CYCLE) as u32,
            jitter: source.jitter_16 >> 4,
            last_report: 0,
            delay: 0,
        })
    }

    /// The figures so far.
    #[must_use]
    pub fn report(&self) -> DirectionReport {
        let lost = self.source.as_ref().map_or(0, Source::lost);
        DirectionReport {
            packets: self.packets,
            octets: self.octets,
            lost: self.lost_before + lost.max(0) as u64,
            jitter: span(self.jitter, self.clock_rate),
        }
    }

    fn leave_source(&mut self) {
        if let Some(source) = self.source.take() {
            self.lost_before += source.lost().max(0) as u64;
        }
    }
}

impl Source {
    fn new(header: &rtp::Header, arrival: u32) -> Self {
        let sequence = Sequence::new(header.sequence);
        Source {
            ssrc: header.ssrc,
            first: sequence.highest(),
            sequence,
            received: 1,
            expected_before: 0,
            received_before: 0,
            last_timestamp: header.timestamp,
            transit: arrival.wrapping_sub(header.timestamp),
            jitter_16: 0,
        }
    }

    fn note_transit(&mut self, header: &rtp::Header, arrival: u32) {
        // The packets of one key press share the time of its beginning (RFC 4733 §2.5.1.2):
        // that they arrive one after the other is no jitter.
        if header.timestamp == self.last_timestamp {
            return;
        }
        self.last_timestamp = header.timestamp;
        let transit = arrival.wrapping_sub(header.timestamp);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        // A leap of the sender's clock would be heard as jitter for a minute.
        if difference < MAX_DIFFERENCE {
            self.jitter_16 += difference;
            self.jitter_16 -= (self.jitter_16 - difference + 8) >> 4;
        }
    }

    fn expected(&self) -> u64 {
        self.sequence.highest() - self.first + 1
    }

    /// Negative when duplicates came. RFC 3550 §A.3.
    fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }
}

/// Two seconds of the fastest clock in use.
const MAX_DIFFERENCE: u32 = 180_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn five_percent_lost_are_reported_as_five_percent() {
        let mut heard = Heard::new();
        for sequence in (65_000..66_000u32).filter(|sequence| sequence % 20 != 7) {
            heard.packet(7, sequence as u16, sequence * 160);
        }
        let block = heard.receiver.report_block().unwrap();

        assert_eq!(block.ssrc, 7);
        assert_eq!(block.lost, 50);
        assert_eq!(block.fraction_lost, 12); // 5 % of 256, rounded down
        assert_eq!(block.highest_sequence, 65_999);
        assert_eq!(heard.receiver.report().lost, 50);
        assert_eq!(heard.receiver.report().packets, 950);
        assert_eq!(heard.receiver.report().octets, 950 * 160);
    }

    #[test]
    fn the_fraction_is_of_the_last_interval_and_the_count_of_all() {
        let mut heard = Heard::new();
        for sequence in [0, 1, 3, 4] {
            heard.packet(7, sequence, 0);
        }
        assert_eq!(heard.receiver.report_block().unwrap().fraction_lost, 51);
        for sequence in 5..10 {
            heard.packet(7, sequence, 0);
        }
        let block = heard.receiver.report_block().unwrap();
        assert_eq!((block.fraction_lost, block.lost), (0, 1));
        assert_eq!(heard.receiver.report_block(), None);
    }

    #[test]
    fn reordering_is_no_loss_and_a_duplicate_counts_against_it() {
        let mut heard = Heard::new();
        for sequence in [10, 12, 11, 9, 13, 13] {
            heard.packet(7, sequence, 0);
        }
        let block = heard.receiver.report_block().unwrap();
        assert_eq!((block.fraction_lost, block.lost), (0, -1));
        assert_eq!(heard.receiver.report().lost, 0);
    }

    #[test]
    fn a_new_source_is_counted_anew_and_the_call_remembers_the_old_loss() {
        let mut heard = Heard::new();
        for (ssrc, sequence) in [(7, 1), (7, 4), (8, 9_000), (8, 9_002)] {
            heard.packet(ssrc, sequence, 0);
        }
        let block = heard.receiver.report_block().unwrap();
        assert_eq!((block.ssrc, block.lost), (8, 1));
        assert_eq!(heard.receiver.report().lost, 3);

        heard.receiver.handle_goodbye(8);
        assert_eq!(heard.receiver.report_block(), None);
        assert_eq!(heard.receiver.report().lost, 3);
    }

    #[test]
    fn a_sequence_that_begins_anew_is_no_loss() {
        let mut heard = Heard::new();
        for sequence in [1, 2, 40_000, 40_001, 40_002] {
            heard.packet(7, sequence, 0);
        }
        assert_eq!(heard.receiver.report().lost, 0);
        assert_eq!(heard.receiver.report_block().unwrap().lost, 0);
    }

    #[test]
    fn jitter_is_a_sixteenth_of_each_difference_as_in_rfc_3550() {
        let mut heard = Heard::new();
        heard.packet(7, 1, 160);
        heard.now += Duration::from_millis(10); // 80 ticks late
        heard.packet(7, 2, 320);
        assert_eq!(heard.receiver.report_block().unwrap().jitter, 80 / 16);

        let mut steady = Heard::new();
        for sequence in 0..1000 {
            let late = if sequence % 2 == 0 { 80 } else { 0 };
            steady.packet(7, sequence, u32::from(sequence) * 160 + late);
        }
        let jitter = steady.receiver.report().jitter;
        assert!((9..=10).contains(&jitter.as_millis()), "{jitter:?}");
    }

    #[test]
    fn the_packets_of_a_key_press_are_no_jitter() {
        let mut heard = Heard::new();
        for sequence in 0..50u16 {
            heard.packet(7, sequence, u32::from(sequence.min(20)) * 160);
        }
        heard.packet(7, 50, 50 * 160);
        assert_eq!(heard.receiver.report_block().unwrap().jitter, 0);
    }

    /// Packets of 160 octets each 20 ms.
    struct Heard {
        receiver: Receiver,
        now: Instant,
    }

    impl Heard {
        fn new() -> Self {
            let now = Instant::now();
            Heard {
                receiver: Receiver::new(8000, now),
                now,
            }
        }

        fn packet(&mut self, ssrc: u32, sequence: u16, timestamp: u32) {
            self.now += Duration::from_millis(20);
            let header = rtp::Header {
                marker: false,
                payload_type: 8,
                sequence,
                timestamp,
                ssrc,
                payload_start: 12,
                payload_end: 172,
            };
            self.receiver.handle_rtp(&header, self.now);
        }
    }
}
