//! The speaking half of a played telephone: RTP in packets of 20 ms (RFC 3550),
//! G.711 (RFC 3551) and key presses (RFC 4733). RTCP is left out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{Flow, PayloadFormat, PayloadNumbers};

use crate::g711;
use crate::tone::{SAMPLE_RATE, Tone};

/// What a telephone plays to its caller.
#[derive(Clone, Debug)]
pub(crate) enum Sound {
    /// Nothing: packets of silence.
    Silence,
    /// A tone.
    Tone(Tone),
    /// What was heard, late by a few packets; keys heard are pressed in return.
    Echo(VecDeque<Vec<u8>>),
}

impl Sound {
    pub(crate) fn tone(hertz: u32) -> Self {
        Sound::Tone(Tone::new(hertz))
    }

    pub(crate) fn echo() -> Self {
        Sound::Echo(VecDeque::new())
    }
}

/// Where packets go and how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) remote: SocketAddr,
    pub(crate) codec: PayloadFormat,
    pub(crate) audio: PayloadNumbers,
    pub(crate) events: Option<PayloadNumbers>,
    pub(crate) flow: Flow,
}

/// A telephone that speaks and listens.
#[derive(Debug)]
pub(crate) struct Telephone {
    sound: Sound,
    path: Option<Path>,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    is_first: bool,
    next_packet_at: Option<Instant>,
    beep: Tone,
    /// Samples of the beep that are still to be played.
    beep_left: u32,
    keys: VecDeque<u8>,
    pressing: Option<Press>,
    /// The timestamp that names the last event heard.
    heard_event: Option<u32>,
    output: VecDeque<(SocketAddr, Bytes)>,
}

/// A key that is held down.
#[derive(Debug)]
struct Press {
    event: u8,
    timestamp: u32,
    packets: u16,
}

impl Telephone {
    /// A silent telephone; the random number is where its counters start.
    pub(crate) fn new(random: u64) -> Self {
        Telephone {
            sound: Sound::Silence,
            path: None,
            ssrc: (random >> 32) as u32,
            sequence: (random >> 16) as u16,
            timestamp: random as u32,
            is_first: true,
            next_packet_at: None,
            beep: Tone::new(BEEP_HERTZ),
            beep_left: 0,
            keys: VecDeque::new(),
            pressing: None,
            heard_event: None,
            output: VecDeque::new(),
        }
    }

    /// Chooses what is played.
    pub(crate) fn play(&mut self, sound: Sound) {
        self.sound = sound;
    }

    /// Plays a short tone in place of the sound.
    pub(crate) fn beep(&mut self) {
        self.beep_left = BEEP_SAMPLES;
    }

    /// Presses a key, after those that wait.
    pub(crate) fn press(&mut self, event: u8) {
        if self.keys.len() < MAX_KEYS {
            self.keys.push_back(event);
        }
    }

    /// Follows what the descriptions agreed on; `None` stops everything.
    pub(crate) fn configure(&mut self, path: Option<Path>, now: Instant) {
        self.path = path;
        match path {
            Some(path) if path.flow.send => {
                self.next_packet_at.get_or_insert(now);
            }
            Some(_) | None => self.next_packet_at = None,
        }
    }

    /// Takes a packet; says which key was pressed, once for each press.
    pub(crate) fn handle_rtp(&mut self, from: SocketAddr, packet: &[u8]) -> Option<u8> {
        let path = self.path?;
        if from != path.remote || !path.flow.receive {
            return None;
        }
        let (header, payload) = split_rtp(packet)?;
        let number = header[1] & 0x7f;
        if number == path.audio.receive {
            if let Sound::Echo(heard) = &mut self.sound
                && heard.len() < MAX_ECHO
            {
                heard.push_back(payload.to_vec());
            }
            return None;
        }
        let timestamp = u32::from_be_bytes(header[4..8].try_into().ok()?);
        let is_event = path.events.is_some_and(|events| number == events.receive);
        if !is_event || payload.len() < 4 || self.heard_event == Some(timestamp) {
            return None;
        }
        self.heard_event = Some(timestamp);
        if matches!(self.sound, Sound::Echo(_)) {
            self.press(payload[0]);
        }
        Some(payload[0])
    }

    /// Sends what is due. After a long pause of the caller it starts anew and does
    /// not send what was missed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let (Some(at), Some(path)) = (self.next_packet_at, self.path) {
            if at > now {
                return;
            }
            let packet = self.next_packet(&path);
            self.output.push_back((path.remote, packet));
            let is_far_behind = now.duration_since(at) > MAX_BEHIND;
            let from = if is_far_behind { now } else { at };
            self.next_packet_at = Some(from + PACKET_TIME);
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.output.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_packet_at
    }

    fn next_packet(&mut self, path: &Path) -> Bytes {
        if self.pressing.is_none()
            && let Some(event) = self.keys.pop_front()
        {
            let timestamp = self.timestamp;
            self.pressing = Some(Press {
                event,
                timestamp,
                packets: 0,
            });
        }
        let events = path.events.filter(|_| self.pressing.is_some());
        let packet = match (events, self.pressing.take()) {
            (Some(events), Some(press)) => self.event_packet(events.send, press),
            _ => self.audio_packet(path),
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(SAMPLES_IN_PACKET);
        self.is_first = false;
        packet
    }

    fn audio_packet(&mut self, path: &Path) -> Bytes {
        let payload = self.next_payload(path.codec);
        self.packet(path.audio.send, self.is_first, self.timestamp, &payload)
    }

    /// RFC 4733 §2.5.1: one timestamp for the whole press, a duration that grows,
    /// and the last packet three times.
    fn event_packet(&mut self, number: u8, mut press: Press) -> Bytes {
        let is_start = press.packets == 0;
        press.packets += 1;
        let growing = press.packets.min(PRESS_PACKETS);
        let is_end = press.packets >= PRESS_PACKETS;
        let duration = growing * SAMPLES_IN_PACKET as u16;
        let [high, low] = duration.to_be_bytes();
        let end = if is_end { 0x80 } else { 0 };
        let payload = [press.event, end | EVENT_VOLUME, high, low];
        let packet = self.packet(number, is_start, press.timestamp, &payload);
        let is_over = press.packets >= PRESS_PACKETS + END_PACKETS - 1;
        self.pressing = (!is_over).then_some(press);
        packet
    }

    fn packet(&self, number: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Bytes {
        let mut packet = Vec::with_capacity(RTP_HEADER + payload.len());
        packet.extend([0x80, u8::from(marker) << 7 | number]);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        Bytes::from(packet)
    }

    fn next_payload(&mut self, codec: PayloadFormat) -> Vec<u8> {
        let encode = match codec {
            PayloadFormat::Pcma => g711::linear_to_alaw,
            PayloadFormat::Pcmu | PayloadFormat::TelephoneEvent => g711::linear_to_mulaw,
        };
        if self.beep_left > 0 {
            self.beep_left = self.beep_left.saturating_sub(SAMPLES_IN_PACKET);
            let beep = &mut self.beep;
            return (0..SAMPLES_IN_PACKET)
                .map(|_| encode(beep.next_sample()))
                .collect();
        }
        let silence = || vec![encode(0); SAMPLES_IN_PACKET as usize];
        match &mut self.sound {
            Sound::Silence => silence(),
            Sound::Tone(tone) => (0..SAMPLES_IN_PACKET)
                .map(|_| encode(tone.next_sample()))
                .collect(),
            Sound::Echo(heard) => heard.pop_front().unwrap_or_else(silence),
        }
    }
}

/// Header and payload of an RTP packet, RFC 3550 §5.1; padding taken off.
fn split_rtp(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = packet.split_at_checked(RTP_HEADER)?;
    if header[0] >> 6 != 2 {
        return None;
    }
    let mut payload = rest.get(4 * usize::from(header[0] & 0x0f)..)?;
    if header[0] & 0x10 != 0 {
        let words = u16::from_be_bytes(payload.get(2..4)?.try_into().ok()?);
        payload = payload.get(4 + 4 * usize::from(words)..)?;
    }
    if header[0] & 0x20 != 0 {
        let padding = usize::from(*payload.last()?);
        payload = payload.get(..payload.len().checked_sub(padding)?)?;
    }
    Some((header, payload))
}

/// Fixed part of the header.
const RTP_HEADER: usize = 12;

/// RFC 3551 §4.2: the default for audio.
const PACKET_TIME: Duration = Duration::from_millis(20);

const SAMPLES_IN_PACKET: u32 = SAMPLE_RATE / 50;

/// More than this late is a pause of the machine.
const MAX_BEHIND: Duration = Duration::from_millis(200);

/// Packets that an echo keeps: what is older is not worth hearing.
const MAX_ECHO: usize = 10;

/// Keys that wait to be pressed.
const MAX_KEYS: usize = 32;

/// Packets of a press up to its end, 100 ms, and how often the last one is sent.
const PRESS_PACKETS: u16 = 5;
const END_PACKETS: u16 = 3;

/// -10 dBm0, RFC 4733 §2.3.3.
const EVENT_VOLUME: u8 = 10;

/// The tone that confirms a key.
const BEEP_HERTZ: u32 = 880;
const BEEP_SAMPLES: u32 = SAMPLE_RATE / 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(flow: Flow) -> Path {
        let same = |number| PayloadNumbers {
            receive: number,
            send: number,
        };
        Path {
            remote: ([192, 0, 2, 9], 4000).into(),
            codec: PayloadFormat::Pcma,
            audio: same(8),
            events: Some(same(101)),
            flow,
        }
    }

    /// Runs for so many milliseconds and returns every packet with its time.
    fn run(telephone: &mut Telephone, from: Instant, millis: u64) -> Vec<(u64, Bytes)> {
        let mut packets = Vec::new();
        while let Some(at) = telephone.poll_timeout() {
            let passed = at.duration_since(from).as_millis() as u64;
            if passed >= millis {
                break;
            }
            telephone.handle_timeout(at);
            while let Some((_, packet)) = telephone.poll_output() {
                packets.push((passed, packet));
            }
        }
        packets
    }

    #[test]
    fn a_tone_leaves_in_even_packets_of_the_agreed_codec() {
        let start = Instant::now();
        let mut telephone = Telephone::new(0x0102_0304_0506_0708);
        telephone.play(Sound::tone(440));
        telephone.configure(Some(path(Flow::BOTH)), start);

        let packets = run(&mut telephone, start, 200);

        assert_eq!(packets.len(), 10);
        for (n, (at, packet)) in packets.iter().enumerate() {
            assert_eq!(*at, 20 * n as u64);
            assert_eq!(packet.len(), 172);
            assert_eq!(packet[1], if n == 0 { 0x88 } else { 0x08 });
        }
        let samples: Vec<i16> = packets
            .iter()
            .flat_map(|(_, packet)| packet[12..].iter().map(|code| g711::alaw_to_linear(*code)))
            .collect();
        let crossings = samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!(
            (86..=88).contains(&crossings),
            "440 Hz for 0.2 s: {crossings}"
        );
    }

    #[test]
    fn an_echo_returns_what_it_hears_under_its_own_numbers() {
        let start = Instant::now();
        let path = path(Flow::BOTH);
        let mut telephone = Telephone::new(7);
        telephone.play(Sound::echo());
        telephone.configure(Some(path), start);
        let heard: Vec<u8> = [0x80, 8, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9]
            .into_iter()
            .chain([0x42; 160])
            .collect();

        telephone.handle_rtp(path.remote, &heard);
        telephone.handle_rtp(([192, 0, 2, 66], 4000).into(), &heard);
        let packets = run(&mut telephone, start, 40);

        assert_eq!(packets[0].1[12..], [0x42; 160]);
        assert_ne!(packets[0].1[8..12], [9, 9, 9, 9]);
        assert_eq!(
            packets[1].1[12..],
            [g711::linear_to_alaw(0); 160],
            "a stranger is not heard"
        );
    }

    #[test]
    fn a_key_is_pressed_by_the_book_and_heard_once() {
        let start = Instant::now();
        let path = path(Flow::BOTH);
        let mut telephone = Telephone::new(7);
        telephone.press(5);
        telephone.configure(Some(path), start);
        let packets = run(&mut telephone, start, 160);
        let events: Vec<_> = packets.iter().filter(|(_, p)| p[1] & 0x7f == 101).collect();

        assert_eq!(events.len(), 7);
        assert_eq!(events[0].1[1], 0x80 | 101);
        assert!(
            events
                .iter()
                .all(|(_, packet)| packet[4..8] == events[0].1[4..8])
        );
        assert_eq!(events[6].1[12..], [5, 0x80 | 10, 3, 32]);

        let mut other = Telephone::new(8);
        other.configure(Some(path), start);
        let keys: Vec<u8> = events
            .iter()
            .filter_map(|(_, packet)| other.handle_rtp(path.remote, packet))
            .collect();
        assert_eq!(keys, [5]);
    }

    #[test]
    fn a_telephone_on_hold_is_silent_and_deaf() {
        let start = Instant::now();
        let mut telephone = Telephone::new(7);
        telephone.configure(Some(path(Flow::NONE)), start);
        assert_eq!(telephone.poll_timeout(), None);
        let key = [0x80, 101, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9, 1, 10, 0, 160];
        assert_eq!(
            telephone.handle_rtp(([192, 0, 2, 9], 4000).into(), &key),
            None
        );
    }
}
