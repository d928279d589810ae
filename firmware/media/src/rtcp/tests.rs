//! Two reporters against each other, and against the examples of RFC 3550.

use iq::{Now, UnixTime};
use proptest::prelude::*;
use rand_core::SeedableRng;

use super::*;
use crate::rewrite::Rewriter;

#[test]
fn reports_come_about_every_five_seconds_and_the_first_one_sooner() {
    let mut end = End::new(1, 0);
    let mut at = end.start;
    let mut gaps = Vec::new();
    for _ in 0..500 {
        let due = end.reporter.poll_timeout().unwrap();
        gaps.push(due.duration_since(at));
        at = due;
        assert!(end.poll(due - Duration::from_millis(1)).is_none());
        assert!(end.poll(due).is_some());
        assert!(end.poll(due).is_none());
    }
    assert!(gaps[0] >= FIRST_INTERVAL / 2 && gaps[0] < FIRST_INTERVAL * 3 / 2);
    let later = &gaps[1..];
    assert!(
        later
            .iter()
            .all(|&gap| gap >= INTERVAL / 2 && gap < INTERVAL * 3 / 2)
    );
    let mean = later.iter().sum::<Duration>() / later.len() as u32;
    assert!((4800..5200).contains(&mean.as_millis()), "{mean:?}");
}

#[test]
fn who_has_sent_nothing_writes_a_receiver_report_and_its_name() {
    let mut end = End::new(1, 0);
    let report = end.poll_when_due();
    let packets: Vec<_> = Compound::parse(&report).unwrap().packets().collect();

    assert!(matches!(
        packets[..],
        [
            Packet::ReceiverReport { ssrc: 1, blocks },
            Packet::Other { packet_type: 202 },
        ] if blocks.iter().count() == 0
    ));
    assert_eq!(report[8 + 8..8 + 10], [1, 16]);
    assert!(report[8 + 10..8 + 26].iter().all(u8::is_ascii_graphic));
    assert_eq!(report.len() % 4, 0);
}

#[test]
fn a_sender_report_says_which_timestamp_stands_for_now() {
    let mut end = End::new(1, 0);
    // The third packet spent the least time on its way: its clock is the true one.
    for (arrives, timestamp) in [(0, 1000), (25, 1160), (38, 1320), (64, 1480), (80, 1480)] {
        let now = end.start + Duration::from_millis(arrives);
        end.reporter.handle_sent(&header(1, 0, timestamp), now);
    }
    let due = end.reporter.poll_timeout().unwrap();
    let report = end.poll(due).unwrap();
    let Some(Packet::SenderReport { ssrc: 1, info, .. }) = first(&report) else {
        panic!("no sender report");
    };
    let passed = due.duration_since(end.start);
    assert_eq!(info.packets, 5);
    assert_eq!(info.octets, 5 * 160);
    assert_eq!(info.ntp, end.reporter.clock.at(due));
    assert_eq!(
        info.rtp,
        1320 + ticks(passed - Duration::from_millis(38), 8000)
    );
}

#[test]
fn who_stops_sending_turns_into_a_receiver_at_the_third_report() {
    let mut end = End::new(1, 0);
    end.reporter.handle_sent(&header(1, 0, 0), end.start);
    let kinds: Vec<_> = (0..4)
        .map(|_| {
            matches!(
                first(&end.poll_when_due()),
                Some(Packet::SenderReport { .. })
            )
        })
        .collect();
    assert_eq!(kinds, [true, true, false, false]);
}

#[test]
fn loss_jitter_and_round_trip_reach_the_other_side() {
    let mut near = End::new(1, 0);
    let mut far = End::new(2, 1);
    let trip = Duration::from_millis(40);
    let start = near.start;

    for sequence in 0..100u16 {
        let now = start + Duration::from_millis(20 * u64::from(sequence));
        let packet = header(1, sequence, u32::from(sequence) * 160);
        near.reporter.handle_sent(&packet, now);
        if sequence % 20 != 3 {
            far.reporter.handle_received(&packet, now + trip / 2);
        }
    }
    let left = start + Duration::from_secs(4);
    let report = near.poll(left).unwrap();
    far.reporter.handle_rtcp(&report, left + trip / 2).unwrap();
    let answered = left + trip / 2 + Duration::from_millis(1234);
    let answer = far.poll(answered).unwrap();
    near.reporter
        .handle_rtcp(&answer, answered + trip / 2)
        .unwrap();

    let figures = near.reporter.report();
    assert_eq!(figures.sent.packets, 100);
    assert_eq!(figures.sent.lost, 5);
    assert_eq!(figures.sent.jitter, Duration::ZERO);
    let measured = figures.round_trip.unwrap();
    let error = measured.abs_diff(trip);
    assert!(error < Duration::from_micros(100), "{measured:?}");
    assert_eq!(far.reporter.report().received.lost, 5);
}

#[test]
fn five_percent_lost_on_one_leg_are_seen_on_that_leg_alone() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut rewriter = Rewriter::new(8000, &mut rng);
    let mut ims = End::new(1, 0);
    let mut browser = End::new(2, 1);
    for (lost_before, lost_behind) in [(50, 0), (0, 50)] {
        let (mut ims_seen, mut browser_seen) = (0, 0);
        for sequence in 0..1000u16 {
            let now = ims.start + Duration::from_millis(20 * u64::from(sequence));
            let mut packet = [0; 172];
            let arriving = header(7 + lost_before, sequence, u32::from(sequence) * 160);
            if u32::from(sequence) % 20 == 7 && lost_before > 0 {
                continue;
            }
            ims.reporter.handle_received(&arriving, now);
            ims_seen += 1;
            let leaving = rewriter.rewrite(&mut packet, &arriving, 0, now).unwrap();
            if u32::from(sequence) % 20 == 9 && lost_behind > 0 {
                continue;
            }
            browser.reporter.handle_received(&leaving, now);
            browser_seen += 1;
        }
        assert_eq!(ims_seen, 1000 - lost_before);
        assert_eq!(browser_seen, 1000 - lost_before - lost_behind);
        let (ims_lost, browser_lost) = (ims.lost(), browser.lost());
        assert_eq!((ims_lost, browser_lost), (50, u64::from(lost_behind)));
    }
}

#[test]
fn the_example_of_rfc_3550_gives_its_round_trip() {
    // RFC 3550 §6.4.1, figure 2: SR at 0xb44d:b705.2000 0000, LSR 0xb705:2000,
    // DLSR 5.250 s, arrival at 0xb710:8000; the round trip is 6.125 s.
    let mut end = End::new(1, 0);
    end.reporter.clock = NtpClock::fixed(0xb44d_b710_8000_0000, end.start);
    let mut report = [0; 32];
    let block = ReportBlock {
        ssrc: 1,
        last_report: 0xb705_2000,
        delay: 0x0005_4000,
        fraction_lost: 0,
        lost: 0,
        highest_sequence: 0,
        jitter: 0,
    };
    Writer::new(&mut report).receiver_report(2, Some(&block));
    end.reporter.handle_rtcp(&report, end.start).unwrap();
    let round_trip = end.reporter.report().round_trip;
    assert_eq!(round_trip, Some(Duration::from_millis(6125)));
}

#[test]
fn a_report_about_another_source_or_from_the_future_measures_nothing() {
    let mut end = End::new(1, 0);
    for (ssrc, last_report) in [
        (9, 1),
        (1, 0),
        (1, ntp::middle(end.reporter.clock.at(end.start)) + 9),
    ] {
        let mut report = [0; 32];
        let block = ReportBlock {
            ssrc,
            last_report,
            lost: -3,
            fraction_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            delay: 0,
        };
        Writer::new(&mut report).receiver_report(2, Some(&block));
        end.reporter.handle_rtcp(&report, end.start).unwrap();
    }
    assert_eq!(end.reporter.report().round_trip, None);
    assert_eq!(end.reporter.report().sent.lost, 0);
}

#[test]
fn a_leg_says_goodbye_once_and_only_after_it_said_something() {
    let mut silent = End::new(1, 0);
    assert_eq!(
        silent
            .reporter
            .goodbye(&mut [0; MAX_COMPOUND], silent.start),
        None
    );

    let mut end = End::new(1, 0);
    end.reporter.handle_sent(&header(1, 0, 0), end.start);
    end.reporter.handle_received(&header(2, 0, 0), end.start);
    let mut buffer = [0; MAX_COMPOUND];
    let length = end.reporter.goodbye(&mut buffer, end.start).unwrap();
    let packets: Vec<_> = Compound::parse(&buffer[..length])
        .unwrap()
        .packets()
        .collect();
    assert!(matches!(
        packets[..],
        [Packet::SenderReport { .. }, Packet::Other { .. }, Packet::Goodbye(leaving)]
            if leaving.iter().eq([1])
    ));
    assert_eq!(end.reporter.goodbye(&mut buffer, end.start), None);
    assert_eq!(end.reporter.poll_timeout(), None);
}

#[test]
fn a_leg_without_rtcp_says_nothing_until_it_may() {
    let mut end = End::new(1, 0);
    end.reporter.set_enabled(false, end.start);
    assert_eq!(end.reporter.poll_timeout(), None);
    assert!(end.poll(end.start + Duration::from_secs(60)).is_none());

    let resumed = end.start + Duration::from_secs(60);
    end.reporter.set_enabled(true, resumed);
    let due = end.reporter.poll_timeout().unwrap();
    assert!(due > resumed);
    end.reporter
        .set_enabled(true, resumed + Duration::from_secs(1));
    assert_eq!(end.reporter.poll_timeout(), Some(due));
}

#[test]
fn feedback_is_heard_and_changes_nothing() {
    let mut end = End::new(1, 0);
    let feedback = [
        // A report of nothing, then PLI, a generic NACK, transport-wide feedback, XR.
        &[0x80, 201, 0, 1, 0, 0, 0, 2][..],
        &[0x81, 206, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1],
        &[0x81, 205, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 9, 0, 0],
        &[0x8f, 205, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 9, 0, 0],
        &[0x80, 207, 0, 1, 0, 0, 0, 2],
    ]
    .concat();
    assert_eq!(end.reporter.handle_rtcp(&feedback, end.start), Ok(()));
    assert_eq!(end.reporter.report(), LegReport::default());
}

proptest! {
    #[test]
    fn no_bytes_panic_a_reporter(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        touched in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut end = End::new(1, 0);
        end.reporter.handle_sent(&header(1, 0, 0), end.start);
        end.reporter.handle_received(&header(2, 0, 0), end.start);
        let mut report = end.poll_when_due();
        for (at, octet) in touched {
            let at = at.index(report.len());
            report[at] = octet;
        }
        let _ = end.reporter.handle_rtcp(&bytes, end.start);
        let _ = end.reporter.handle_rtcp(&report, end.start);
        let _ = end.reporter.report();
    }
}

/// One end of a leg.
struct End {
    reporter: Reporter,
    start: Instant,
}

impl End {
    fn new(ssrc: u32, seed: u64) -> Self {
        let start = Instant::now();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let clock = NtpClock::new(Now {
            monotonic: start,
            wall: Some(UnixTime::from_millis(1_700_000_000_000)),
        });
        let cname = Cname::random(&mut rng);
        End {
            reporter: Reporter::new(ssrc, 8000, cname, clock, &mut rng, start),
            start,
        }
    }

    /// Over all sources.
    fn lost(&self) -> u64 {
        self.reporter.report().received.lost
    }

    fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut buffer = [0; MAX_COMPOUND];
        let length = self.reporter.poll(&mut buffer, now)?;
        Some(buffer[..length].to_vec())
    }

    fn poll_when_due(&mut self) -> Vec<u8> {
        let due = self.reporter.poll_timeout().unwrap();
        self.poll(due).unwrap()
    }
}

fn first(report: &[u8]) -> Option<Packet<'_>> {
    Compound::parse(report).unwrap().packets().next()
}

fn header(ssrc: u32, sequence: u16, timestamp: u32) -> rtp::Header {
    rtp::Header {
        marker: false,
        payload_type: 8,
        sequence,
        timestamp,
        ssrc,
        payload_start: 12,
        payload_end: 172,
    }
}
