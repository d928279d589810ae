//! Telephone events in RTP, RFC 4733.

use std::time::{Duration, Instant};

use iq::Private;

use crate::packet::rtp;
use crate::rewrite::Rewriter;

/// Hears the keys pressed in one incoming stream.
#[derive(Default)]
pub struct Listener {
    _private: (),
}

impl Listener {
    /// Takes a telephone-event packet; answers with the key, once per event even if its
    /// first or last packets are lost.
    pub fn handle_rtp(&mut self, header: &rtp::Header, payload: &[u8]) -> Option<Private<u8>> {
        let _ = (header, payload);
        todo!()
    }
}

/// Plays keys into one outgoing stream, in place of its audio.
pub struct Player {
    _private: (),
}

impl Player {
    /// A player for a stream with this clock.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        let _ = clock_rate;
        todo!()
    }

    /// Queues a key behind those that wait.
    ///
    /// # Errors
    /// [`QueueFull`] when too many wait.
    pub fn play(
        &mut self,
        event: Private<u8>,
        duration: Duration,
        now: Instant,
    ) -> Result<(), QueueFull> {
        let _ = (event, duration, now);
        todo!()
    }

    /// While a key is being played the stream's audio must not be sent.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        todo!()
    }

    /// When [`Player::poll`] has the next packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Writes the packet that is due; the packet to send is `buffer[..payload_end]`. To be
    /// called until it returns `None`.
    pub fn poll(
        &mut self,
        buffer: &mut [u8],
        rewriter: &mut Rewriter,
        payload_type: u8,
        now: Instant,
    ) -> Option<rtp::Header> {
        let _ = (buffer, rewriter, payload_type, now);
        todo!()
    }
}

/// Too many keys wait to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many keys wait to be played")]
pub struct QueueFull;
