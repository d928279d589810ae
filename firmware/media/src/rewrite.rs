//! One outgoing RTP stream: whatever arrives for it leaves with our own SSRC, our own
//! unbroken sequence and one continuous timestamp. RFC 3550 §7.1 calls this a translator.

use std::time::Instant;

use rand_chacha::ChaCha20Rng;

use crate::packet::rtp;

/// Turns the packets of changing sources into one stream.
pub struct Rewriter {
    ssrc: u32,
}

impl Rewriter {
    /// A stream with a random SSRC, sequence and timestamp.
    #[must_use]
    pub fn new(clock_rate: u32, rng: &mut ChaCha20Rng) -> Self {
        let _ = (clock_rate, rng);
        todo!()
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
        let _ = (packet, header, payload_type, now);
        todo!()
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
