//! Telephone events in RTP, RFC 4733: the keys 0 to 9, *, #, A to D. Tones (§4) and the
//! many other events are not spoken here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iq::Private;

use crate::clock::ticks;
use crate::packet::{rtp, u16_at};
use crate::rewrite::Rewriter;

/// Hears the keys pressed in one incoming stream.
#[derive(Default)]
pub struct Listener {
    last: Option<Heard>,
}

/// The event that was heard last.
struct Heard {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    ended: bool,
}

impl Listener {
    /// Takes a telephone-event packet; answers with the key, once per event even if its
    /// first or last packets are lost.
    pub fn handle_rtp(&mut self, header: &rtp::Header, payload: &[u8]) -> Option<Private<u8>> {
        if payload.len() < PAYLOAD {
            return None;
        }
        let (event, ended) = (payload[0], payload[1] & END_BIT != 0);
        if event > LAST_KEY {
            return None;
        }
        let is_new = match &mut self.last {
            Some(last) if last.ssrc == header.ssrc => {
                let later = header.timestamp.wrapping_sub(last.timestamp);
                if later == 0 {
                    last.ended |= ended;
                }
                // RFC 4733 §2.5.1.3: a key held for longer than a duration can say goes on
                // as a second segment, when the first is full and has not ended.
                let goes_on = later == LONGEST && event == last.event && !last.ended;
                if goes_on {
                    last.timestamp = header.timestamp;
                    last.ended = ended;
                }
                let is_late = later.wrapping_neg() < LATE;
                !is_late && !goes_on
            }
            _ => true,
        };
        if !is_new {
            return None;
        }
        self.last = Some(Heard {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            event,
            ended,
        });
        Some(Private::new(event))
    }
}

/// Plays keys into one outgoing stream, in place of its audio.
pub struct Player {
    clock_rate: u32,
    waiting: VecDeque<(Private<u8>, Duration)>,
    playing: Option<Playing>,
    /// When the next key may begin.
    free_at: Option<Instant>,
}

/// The key that is being played.
struct Playing {
    event: Private<u8>,
    timestamp: u32,
    /// Of the whole event, in ticks.
    duration: u16,
    /// Up to the packet that is due.
    played: u16,
    due: Instant,
    /// How often the last packet was sent.
    ends: u8,
}

impl Player {
    /// A player for a stream with this clock.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Player {
            clock_rate,
            waiting: VecDeque::new(),
            playing: None,
            free_at: None,
        }
    }

    /// Queues a key behind those that wait.
    ///
    /// # Errors
    /// [`NotPlayed`] when it is no key, or too many wait.
    pub fn play(
        &mut self,
        event: Private<u8>,
        duration: Duration,
        now: Instant,
    ) -> Result<(), NotPlayed> {
        if *event.reveal() > LAST_KEY {
            return Err(NotPlayed::NoKey);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(NotPlayed::QueueFull);
        }
        self.waiting
            .push_back((event, duration.clamp(SHORTEST_KEY, LONGEST_KEY)));
        self.free_at = Some(self.free_at.map_or(now, |free| free.max(now)));
        Ok(())
    }

    /// Forgets the key that is being played, and those that wait.
    pub fn stop(&mut self) {
        self.waiting.clear();
        self.playing = None;
    }

    /// While a key is being played the stream's audio must not be sent.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// When [`Player::poll`] has the next packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.playing {
            Some(playing) => Some(playing.due),
            None if self.waiting.is_empty() => None,
            None => self.free_at,
        }
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
        if self.playing.is_none() {
            self.playing = Some(self.begin(rewriter, now)?);
        }
        let clock_rate = self.clock_rate;
        let playing = self.playing.as_mut().filter(|playing| playing.due <= now)?;
        let is_first = playing.played == 0;
        if playing.ends == 0 {
            playing.played = playing
                .played
                .saturating_add(ticks(PACKET, clock_rate) as u16)
                .min(playing.duration);
        }
        let is_end = playing.played == playing.duration;
        let header = rewriter.next_header(is_first, payload_type, playing.timestamp, PAYLOAD, now);
        header.write(buffer);
        let end_bit = if is_end { END_BIT } else { 0 };
        let payload = &mut buffer[header.payload_start..header.payload_end];
        payload[..2].copy_from_slice(&[*playing.event.reveal(), end_bit | VOLUME]);
        payload[2..].copy_from_slice(&playing.played.to_be_bytes());

        // A late poll does not make up for it with a burst.
        playing.due = (playing.due + PACKET).max(now);
        playing.ends += u8::from(is_end);
        if playing.ends == END_COPIES {
            self.free_at = Some(now + PAUSE);
            self.playing = None;
        }
        Some(header)
    }

    fn begin(&mut self, rewriter: &Rewriter, now: Instant) -> Option<Playing> {
        if self.free_at.is_some_and(|free| free > now) {
            return None;
        }
        let (event, duration) = self.waiting.pop_front()?;
        let duration = ticks(duration, self.clock_rate);
        Some(Playing {
            event,
            timestamp: rewriter.timestamp_at(now),
            duration: u16::try_from(duration).unwrap_or(u16::MAX),
            played: 0,
            due: now,
            ends: 0,
        })
    }
}

/// Why a key is not played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlayed {
    /// Its code is not that of a key.
    #[error("no such key")]
    NoKey,
    /// Too many wait.
    #[error("too many keys wait to be played")]
    QueueFull,
}

/// Carries an event's duration from one clock over to another. RFC 4733 §2.1: the clock of
/// an event is that of the audio around it.
pub fn rescale(payload: &mut [u8], from_rate: u32, to_rate: u32) {
    if payload.len() >= PAYLOAD {
        let duration = u64::from(u16_at(payload, 2));
        let scaled = duration * u64::from(to_rate) / u64::from(from_rate.max(1));
        let scaled = u16::try_from(scaled).unwrap_or(u16::MAX);
        payload[2..PAYLOAD].copy_from_slice(&scaled.to_be_bytes());
    }
}

/// Octets of an event's payload. RFC 4733 §2.3.
const PAYLOAD: usize = 4;
const END_BIT: u8 = 0x80;
/// -10 dBm0, as telephones send.
const VOLUME: u8 = 10;
/// Event codes 0 to 15 are keys. RFC 4733 §3.2.
const LAST_KEY: u8 = 15;
/// The most that a duration can say.
const LONGEST: u32 = 0xffff;
/// An event this far back, in ticks, is a late packet and not a new beginning: eight
/// seconds of the usual clock.
const LATE: u32 = 1 << 16;
/// Between two packets of an event: that of the audio it stands for. RFC 4733 §2.5.1.2.
const PACKET: Duration = Duration::from_millis(20);
/// How often the last packet is sent. RFC 4733 §2.5.1.4.
const END_COPIES: u8 = 3;
/// Silence between two keys that every receiver takes for two. ITU-T Q.24 asks for 40 ms.
const PAUSE: Duration = Duration::from_millis(50);
/// What every receiver takes for a key. ITU-T Q.24.
const SHORTEST_KEY: Duration = Duration::from_millis(40);
/// As long as browsers let a page hold a key.
const LONGEST_KEY: Duration = Duration::from_secs(6);
/// Keys that may wait.
const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_event_is_heard_once_at_its_first_packet() {
        let mut listener = Listener::default();
        let heard: Vec<_> = [(5, 160), (5, 320), (5, 480), (5, END | 480), (5, END | 480)]
            .into_iter()
            .map(|(event, duration)| listen(&mut listener, 1, 1000, event, duration))
            .collect();
        assert_eq!(heard, [Some(5), None, None, None, None]);
    }

    #[test]
    fn an_event_whose_beginning_or_end_was_lost_is_heard_once() {
        let mut listener = Listener::default();
        assert_eq!(listen(&mut listener, 1, 1000, 5, END | 800), Some(5));
        assert_eq!(listen(&mut listener, 1, 3000, 5, 160), Some(5));
        assert_eq!(listen(&mut listener, 1, 6000, 5, 160), Some(5));
        assert_eq!(listen(&mut listener, 1, 6000, 5, END | 320), None);
    }

    #[test]
    fn a_late_packet_of_the_event_before_is_not_heard_again() {
        let mut listener = Listener::default();
        assert_eq!(listen(&mut listener, 1, 1000, 1, 160), Some(1));
        assert_eq!(listen(&mut listener, 1, 3000, 2, 160), Some(2));
        assert_eq!(listen(&mut listener, 1, 1000, 1, END | 800), None);
        assert_eq!(listen(&mut listener, 1, 3000, 2, END | 800), None);
    }

    #[test]
    fn a_new_source_or_a_new_clock_starts_anew() {
        let mut listener = Listener::default();
        assert_eq!(listen(&mut listener, 1, 1000, 1, 160), Some(1));
        assert_eq!(listen(&mut listener, 2, 1000, 1, 160), Some(1));
        assert_eq!(listen(&mut listener, 2, 1000 + (1 << 31), 1, 160), Some(1));
    }

    #[test]
    fn a_key_held_for_nine_seconds_is_one_key() {
        let mut listener = Listener::default();
        assert_eq!(listen(&mut listener, 1, 0, 7, 0xff00), Some(7));
        assert_eq!(listen(&mut listener, 1, 0, 7, 0xffff), None);
        assert_eq!(listen(&mut listener, 1, 0xffff, 7, 160), None);
        assert_eq!(listen(&mut listener, 1, 0xffff, 7, END | 7000), None);
        assert_eq!(listen(&mut listener, 1, 2 * 0xffff, 7, 160), Some(7));
    }

    #[test]
    fn what_is_no_key_is_not_heard() {
        let mut listener = Listener::default();
        assert_eq!(listen(&mut listener, 1, 0, 16, 160), None);
        assert!(listener.handle_rtp(&header(1, 0), &[5, 0, 0]).is_none());
    }

    #[test]
    fn a_key_is_played_on_the_clock_with_a_marker_and_three_ends() {
        let mut stream = Stream::new(8000);
        stream
            .player
            .play(5.into(), Duration::from_millis(70), stream.start)
            .unwrap();

        assert_eq!(
            stream.timeline(),
            "0ms key 5 marker 160, 20ms key 5 320, 40ms key 5 480, 60ms key 5 end 560, \
             80ms key 5 end 560, 100ms key 5 end 560"
        );
        assert!(!stream.player.is_playing());
    }

    #[test]
    fn keys_wait_for_each_other_and_keep_a_pause() {
        let mut stream = Stream::new(8000);
        for key in [1, 2] {
            stream
                .player
                .play(key.into(), Duration::ZERO, stream.start)
                .unwrap();
        }
        assert_eq!(
            stream.timeline(),
            "0ms key 1 marker 160, 20ms key 1 end 320, 40ms key 1 end 320, 60ms key 1 end 320, \
             110ms key 2 marker 160, 130ms key 2 end 320, 150ms key 2 end 320, 170ms key 2 end 320"
        );
    }

    #[test]
    fn the_packets_of_a_key_share_a_timestamp_and_continue_the_sequence() {
        let mut stream = Stream::new(8000);
        stream
            .player
            .play(1.into(), Duration::from_millis(100), stream.start)
            .unwrap();
        stream
            .player
            .play(2.into(), Duration::from_millis(100), stream.start)
            .unwrap();
        let sent = stream.run();

        for pair in sent.windows(2) {
            assert_eq!(pair[1].1.sequence, pair[0].1.sequence.wrapping_add(1));
            let step = pair[1].1.timestamp.wrapping_sub(pair[0].1.timestamp);
            // 120 ms up to the first key's third end, 50 ms of pause.
            let expected = if pair[1].1.marker { 170 * 8 } else { 0 };
            assert_eq!(step, expected);
        }
    }

    #[test]
    fn our_own_listener_hears_what_our_player_plays() {
        let mut stream = Stream::new(48_000);
        for key in [1, 1, 9] {
            stream
                .player
                .play(key.into(), Duration::from_secs(3), stream.start)
                .unwrap();
        }
        let mut listener = Listener::default();
        let heard: Vec<u8> = stream
            .run()
            .into_iter()
            .filter_map(|(_, header, payload)| listener.handle_rtp(&header, &payload))
            .map(Private::into_revealed)
            .collect();
        assert_eq!(heard, [1, 1, 9]);
    }

    #[test]
    fn a_late_poll_makes_no_burst() {
        let mut stream = Stream::new(8000);
        stream
            .player
            .play(5.into(), Duration::from_millis(200), stream.start)
            .unwrap();
        let late = stream.start + Duration::from_secs(1);
        assert!(stream.poll(stream.start).is_some());
        assert!(stream.poll(late).is_some());
        assert!(stream.poll(late).is_some());
        assert!(stream.poll(late).is_none());
    }

    #[test]
    fn a_player_that_is_stopped_plays_nothing_more() {
        let mut stream = Stream::new(8000);
        for key in [1, 2] {
            stream
                .player
                .play(key.into(), Duration::from_millis(200), stream.start)
                .unwrap();
        }
        assert!(stream.poll(stream.start).is_some());
        stream.player.stop();
        assert!(!stream.player.is_playing());
        assert_eq!(stream.timeline(), "");
    }

    #[test]
    fn the_queue_has_an_end_and_takes_keys_only() {
        let mut player = Player::new(8000);
        let now = Instant::now();
        assert_eq!(player.play(16.into(), PACKET, now), Err(NotPlayed::NoKey));
        for _ in 0..64 {
            player.play(1.into(), PACKET, now).unwrap();
        }
        assert_eq!(
            player.play(1.into(), PACKET, now),
            Err(NotPlayed::QueueFull)
        );
    }

    #[test]
    fn a_duration_is_carried_over_to_another_clock() {
        let mut payload = [5, 10, 0, 160];
        rescale(&mut payload, 8000, 48_000);
        assert_eq!(payload, [5, 10, 3, 192]);
        rescale(&mut payload, 48_000, 8000);
        assert_eq!(payload, [5, 10, 0, 160]);
        let mut long = [5, 10, 0xff, 0xff];
        rescale(&mut long, 8000, 48_000);
        assert_eq!(long, [5, 10, 0xff, 0xff]);
        rescale(&mut [5, 10, 0], 8000, 0);
    }

    proptest! {
        #[test]
        fn no_payload_panics_a_listener(
            packets in proptest::collection::vec(
                (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..6)), 0..50),
        ) {
            let mut listener = Listener::default();
            for (timestamp, mut payload) in packets {
                listener.handle_rtp(&header(1, timestamp), &payload);
                rescale(&mut payload, timestamp, 48_000);
            }
        }
    }

    const END: u32 = 1 << 16;

    fn listen(
        listener: &mut Listener,
        ssrc: u32,
        timestamp: u32,
        event: u8,
        duration: u32,
    ) -> Option<u8> {
        let end_bit = if duration & END == 0 { 0 } else { END_BIT };
        let [_, _, high, low] = duration.to_be_bytes();
        listener
            .handle_rtp(
                &header(ssrc, timestamp),
                &[event, end_bit | VOLUME, high, low],
            )
            .map(Private::into_revealed)
    }

    fn header(ssrc: u32, timestamp: u32) -> rtp::Header {
        rtp::Header {
            marker: false,
            payload_type: 101,
            sequence: 0,
            timestamp,
            ssrc,
            payload_start: 12,
            payload_end: 16,
        }
    }

    struct Stream {
        player: Player,
        rewriter: Rewriter,
        start: Instant,
    }

    impl Stream {
        fn new(clock_rate: u32) -> Self {
            Stream {
                player: Player::new(clock_rate),
                rewriter: Rewriter::new(clock_rate, &mut ChaCha20Rng::seed_from_u64(1)),
                start: Instant::now(),
            }
        }

        fn poll(&mut self, now: Instant) -> Option<(Duration, rtp::Header, Vec<u8>)> {
            let mut buffer = [0; 64];
            let header = self
                .player
                .poll(&mut buffer, &mut self.rewriter, 101, now)?;
            let packet = &buffer[..header.payload_end];
            assert_eq!(rtp::Header::parse(packet), Ok(header));
            let payload = header.payload(packet).to_vec();
            Some((now.duration_since(self.start), header, payload))
        }

        fn run(&mut self) -> Vec<(Duration, rtp::Header, Vec<u8>)> {
            let mut sent = Vec::new();
            while let Some(now) = self.player.poll_timeout() {
                while let Some(packet) = self.poll(now) {
                    sent.push(packet);
                }
            }
            sent
        }

        fn timeline(&mut self) -> String {
            let lines = self.run().into_iter().map(|(at, header, payload)| {
                let marker = if header.marker { " marker" } else { "" };
                let end = if payload[1] & END_BIT == 0 {
                    ""
                } else {
                    " end"
                };
                let duration = u16_at(&payload, 2);
                format!(
                    "{}ms key {}{marker}{end} {duration}",
                    at.as_millis(),
                    payload[0]
                )
            });
            lines.collect::<Vec<_>>().join(", ")
        }
    }
}
