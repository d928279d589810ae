//! RTCP of one leg, ended here and rebuilt: RFC 3550 §6. Each media line has a
//! [`Reporter`] on each of its legs; nothing of one leg's RTCP reaches the other. Feedback
//! (RFC 4585), extended reports and bandwidth estimates are heard and come to nothing: no
//! audio sender could follow them.

mod ntp;

use std::time::{Duration, Instant};

use iq::{DirectionReport, LegReport};
pub use ntp::NtpClock;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::clock::{is_later, span, ticks};
use crate::packet::rtcp::{
    Blocks, CNAME_LENGTH, Compound, Packet, ReportBlock, SenderInfo, Writer,
};
use crate::packet::{Malformed, rtp};
use crate::quality::Receiver;

/// Reports about one leg of a media line, and hears its reports.
pub struct Reporter {
    ssrc: u32,
    clock_rate: u32,
    cname: Cname,
    clock: NtpClock,
    receiver: Receiver,
    sent: Sent,
    /// The last sender report: whose, the middle of its wall clock, when it arrived.
    heard_report: Option<(u32, u32, Instant)>,
    round_trip: Option<Duration>,
    due: Option<Instant>,
    has_reported: bool,
    spread: Spread,
}

impl Reporter {
    /// Starts to report in the name of `ssrc`, which is the rewriter's of the same leg.
    #[must_use]
    pub fn new(
        ssrc: u32,
        clock_rate: u32,
        cname: Cname,
        clock: NtpClock,
        rng: &mut ChaCha20Rng,
        now: Instant,
    ) -> Self {
        let mut spread = Spread(rng.next_u64());
        Reporter {
            ssrc,
            clock_rate,
            cname,
            clock,
            receiver: Receiver::new(clock_rate, now),
            sent: Sent::default(),
            heard_report: None,
            round_trip: None,
            due: Some(now + spread.around(FIRST_INTERVAL)),
            has_reported: false,
            spread,
        }
    }

    /// Takes note of an RTP packet that arrived on this leg from the agreed source, also
    /// of one that is then not sent on.
    pub fn handle_received(&mut self, header: &rtp::Header, now: Instant) {
        self.receiver.handle_rtp(header, now);
    }

    /// Takes note of an RTP packet that leaves on this leg, as it leaves.
    pub fn handle_sent(&mut self, header: &rtp::Header, now: Instant) {
        self.sent.note(header, self.clock_rate, now);
    }

    /// Hears a compound RTCP packet (opened, if it came as SRTCP).
    ///
    /// # Errors
    /// [`Malformed`]; it has then had no effect.
    pub fn handle_rtcp(&mut self, packet: &[u8], now: Instant) -> Result<(), Malformed> {
        for packet in Compound::parse(packet)?.packets() {
            match packet {
                Packet::SenderReport { ssrc, info, blocks } => {
                    self.heard_report = Some((ssrc, ntp::middle(info.ntp), now));
                    self.hear_blocks(blocks, now);
                }
                Packet::ReceiverReport { blocks, .. } => self.hear_blocks(blocks, now),
                Packet::Goodbye(leaving) => {
                    for ssrc in leaving.iter() {
                        self.receiver.handle_goodbye(ssrc);
                    }
                }
                Packet::Other { .. } => {}
            }
        }
        Ok(())
    }

    /// Stops (`b=RS:0` with `b=RR:0`) or resumes our own reports.
    pub fn set_enabled(&mut self, enabled: bool, now: Instant) {
        if !enabled {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(now + self.spread.around(FIRST_INTERVAL));
        }
    }

    /// When [`Reporter::poll`] has something to send next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the compound packet that is due, and returns its length; `buffer` has
    /// room for [`MAX_COMPOUND`] octets, and for the tag of SRTCP behind it.
    pub fn poll(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        if self.due? > now {
            return None;
        }
        self.due = Some(now + self.spread.around(INTERVAL));
        self.has_reported = true;
        let mut writer = Writer::new(buffer);
        self.write_report(&mut writer, now);
        Some(writer.length())
    }

    /// Writes the last compound packet, with BYE (RFC 3550 §6.6), and returns its length;
    /// `None` if nothing was ever sent, or reports are off.
    pub fn goodbye(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        self.due?;
        if !self.has_reported && self.sent.packets == 0 {
            return None;
        }
        self.due = None;
        let mut writer = Writer::new(buffer);
        self.write_report(&mut writer, now);
        writer.goodbye(self.ssrc);
        Some(writer.length())
    }

    /// The figures so far; what was thrown away is the relay's to fill in.
    #[must_use]
    pub fn report(&self) -> LegReport {
        LegReport {
            received: self.receiver.report(),
            sent: DirectionReport {
                packets: self.sent.packets,
                octets: self.sent.octets,
                lost: self.sent.lost,
                jitter: span(self.sent.jitter, self.clock_rate),
            },
            round_trip: self.round_trip,
            discarded: 0,
        }
    }

    /// A sender report if RTP was sent since the one before the last (RFC 3550 §6.4), else
    /// a receiver report; then who we are.
    fn write_report(&mut self, writer: &mut Writer<'_>, now: Instant) {
        let mut block = self.receiver.report_block();
        if let Some(block) = &mut block
            && let Some((ssrc, middle, at)) = self.heard_report
            && ssrc == block.ssrc
        {
            block.last_report = middle;
            block.delay = ntp::short(now.saturating_duration_since(at));
        }
        match self.sent.begin_interval() {
            Some((timestamp, at)) => {
                let passed = ticks(now.saturating_duration_since(at), self.clock_rate);
                let info = SenderInfo {
                    ntp: self.clock.at(now),
                    rtp: timestamp.wrapping_add(passed),
                    packets: self.sent.packets as u32,
                    octets: self.sent.octets as u32,
                };
                writer.sender_report(self.ssrc, &info, block.as_ref());
            }
            None => writer.receiver_report(self.ssrc, block.as_ref()),
        }
        writer.canonical_name(self.ssrc, &self.cname.0);
    }

    fn hear_blocks(&mut self, blocks: Blocks<'_>, now: Instant) {
        for block in blocks.iter().filter(|block| block.ssrc == self.ssrc) {
            self.sent.lost = block.lost.max(0) as u64;
            self.sent.jitter = block.jitter;
            self.round_trip = self.measure(&block, now).or(self.round_trip);
        }
    }

    /// Arrival, minus when our report left, minus what the peer held it for. RFC 3550 §6.4.1.
    fn measure(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_report == 0 {
            return None;
        }
        let arrived = ntp::middle(self.clock.at(now));
        let trip = arrived
            .wrapping_sub(block.last_report)
            .wrapping_sub(block.delay);
        // The peer's clock may tick a little faster than the round trip is long.
        (trip < MAX_ROUND_TRIP).then(|| ntp::long(trip))
    }
}

/// What has left on this leg, and what the peer said about it.
#[derive(Default)]
struct Sent {
    packets: u64,
    octets: u64,
    lost: u64,
    jitter: u32,
    /// Which moment an RTP timestamp stands for: that of the packet which spent the least
    /// time on its way to us, in this interval and before it.
    anchor: Option<(u32, Instant)>,
    best: Option<(u32, Instant)>,
    /// Reports since the last RTP packet.
    idle_reports: u8,
}

impl Sent {
    fn note(&mut self, header: &rtp::Header, clock_rate: u32, now: Instant) {
        self.packets += 1;
        self.octets += header.payload_len() as u64;
        self.idle_reports = 0;
        let is_best = self.best.is_none_or(|(timestamp, at)| {
            let passed = ticks(now.saturating_duration_since(at), clock_rate);
            is_later(header.timestamp, timestamp.wrapping_add(passed))
        });
        if is_best {
            self.best = Some((header.timestamp, now));
        }
    }

    /// The anchor for a sender report, or `None` when nothing was sent lately.
    fn begin_interval(&mut self) -> Option<(u32, Instant)> {
        self.anchor = self.best.take().or(self.anchor);
        let sends = self.idle_reports < 2;
        self.idle_reports = self.idle_reports.saturating_add(1);
        self.anchor.filter(|_| sends)
    }
}

/// A name for one leg of one session that tells nothing, RFC 7022 §4.2.
#[derive(Clone, Copy, Debug)]
pub struct Cname([u8; CNAME_LENGTH]);

impl Cname {
    /// 96 random bits.
    #[must_use]
    pub fn random(rng: &mut ChaCha20Rng) -> Self {
        let mut name = [0; CNAME_LENGTH];
        rng.fill_bytes(&mut name);
        Cname(name.map(|octet| BASE64[usize::from(octet & 0x3f)]))
    }
}

/// Chance enough to keep reports of many calls apart, in eight octets (SplitMix64).
struct Spread(u64);

impl Spread {
    /// Between half and one and a half of a time. RFC 3550 §6.2.
    fn around(&mut self, middle: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        middle / 2 + middle * (mixed >> 44) as u32 / (1 << 20)
    }
}

/// The longest compound packet that [`Reporter`] writes.
pub const MAX_COMPOUND: usize = 128;

/// Between two reports. RFC 3550 §6.2.
const INTERVAL: Duration = Duration::from_secs(5);
/// Before the first report. RFC 3550 §6.2.
const FIRST_INTERVAL: Duration = Duration::from_millis(2500);
/// One minute: what is above comes of a clock that went back, or is made up.
const MAX_ROUND_TRIP: u32 = 60 << 16;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests;
