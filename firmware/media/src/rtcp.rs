//! RTCP of one leg, ended here and rebuilt: RFC 3550 §6. Each media line has a
//! [`Reporter`] on each of its legs; nothing of one leg's RTCP reaches the other.

use std::time::Instant;

use iq::{LegReport, Now};
use rand_chacha::ChaCha20Rng;

use crate::packet::{Malformed, rtp};

/// Reports about one leg of a media line, and hears its reports.
pub struct Reporter {
    _private: (),
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
        let _ = (ssrc, clock_rate, cname, clock, rng, now);
        todo!()
    }

    /// Takes note of an RTP packet that arrived on this leg and passed all checks.
    pub fn handle_received(&mut self, header: &rtp::Header, now: Instant) {
        let _ = (header, now);
        todo!()
    }

    /// Takes note of an RTP packet that leaves on this leg, as it leaves.
    pub fn handle_sent(&mut self, header: &rtp::Header, now: Instant) {
        let _ = (header, now);
        todo!()
    }

    /// Hears a compound RTCP packet (opened, if it came as SRTCP).
    ///
    /// # Errors
    /// [`Malformed`]; it has then had no effect.
    pub fn handle_rtcp(&mut self, packet: &[u8], now: Instant) -> Result<(), Malformed> {
        let _ = (packet, now);
        todo!()
    }

    /// Stops (`b=RS:0` with `b=RR:0`, hold without RTCP) or resumes our own reports.
    pub fn set_enabled(&mut self, enabled: bool, now: Instant) {
        let _ = (enabled, now);
        todo!()
    }

    /// When [`Reporter::poll`] has something to send next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Writes the compound packet that is due, and returns its length; `buffer` has
    /// room for [`MAX_COMPOUND`] octets, and for the tag of SRTCP behind it.
    pub fn poll(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        let _ = (buffer, now);
        todo!()
    }

    /// Writes the last compound packet, with BYE (RFC 3550 §6.6), and returns its length;
    /// `None` if nothing was ever sent.
    pub fn goodbye(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        let _ = (buffer, now);
        todo!()
    }

    /// The figures so far; what was thrown away is the relay's to fill in.
    #[must_use]
    pub fn report(&self) -> LegReport {
        todo!()
    }
}

/// A name for one leg of one session that tells nothing, RFC 7022 §4.2.
#[derive(Clone, Copy, Debug)]
pub struct Cname([u8; 16]);

impl Cname {
    /// 96 random bits.
    #[must_use]
    pub fn random(rng: &mut ChaCha20Rng) -> Self {
        let _ = rng;
        todo!()
    }
}

/// Wall-clock time as RTCP writes it, carried on by the monotonic clock from one reading,
/// so that a step of the wall clock does not tear sound and picture apart.
#[derive(Clone, Copy, Debug)]
pub struct NtpClock {
    _at: Instant,
}

impl NtpClock {
    /// Reads both clocks once.
    #[must_use]
    pub fn new(now: Now) -> Self {
        let _ = now;
        todo!()
    }
}

/// The longest compound packet that [`Reporter`] writes.
pub const MAX_COMPOUND: usize = 128;
