//! Formats, their payload type numbers, and which of them is used. RFC 3551,
//! RFC 4733, RFC 3264 §6.1.

use iq::PayloadFormat;
use serde::{Deserialize, Serialize};

use super::model::{Attribute, Media};

/// A format that the box carries, with the number that its writer wants to
/// receive it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// What the packets hold.
    pub format: PayloadFormat,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Payload type number.
    pub number: u8,
}

impl Format {
    /// Whether this is speech, and not events.
    #[must_use]
    pub fn is_codec(&self) -> bool {
        is_codec(self.format)
    }
}

/// Which audio codecs are offered, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecPolicy {
    audio: Vec<PayloadFormat>,
}

impl CodecPolicy {
    /// The operator's order. Events are not a codec: they are offered whenever both
    /// ends know them, whatever stands here; an empty list means the default.
    #[must_use]
    pub fn new(audio: impl IntoIterator<Item = PayloadFormat>) -> Self {
        let mut policy = CodecPolicy { audio: Vec::new() };
        for format in audio {
            if is_codec(format) && !policy.audio.contains(&format) {
                policy.audio.push(format);
            }
        }
        if policy.audio.is_empty() {
            return CodecPolicy::default();
        }
        policy
    }

    /// What to offer on one leg when nothing is known of the other: everything.
    #[must_use]
    pub fn everything(&self) -> Vec<PayloadFormat> {
        let mut formats = self.audio.clone();
        formats.push(PayloadFormat::TelephoneEvent);
        formats
    }

    /// What to offer on one leg of what the other one can do, in the operator's
    /// order. Without a codec in it there is nothing to talk about.
    #[must_use]
    pub fn of(&self, other_leg: &[Format]) -> Vec<PayloadFormat> {
        let mut formats = self.everything();
        formats.retain(|format| other_leg.iter().any(|other| other.format == *format));
        formats
    }
}

impl Default for CodecPolicy {
    /// A-law before mu-law: the networks this box serves are A-law inside.
    fn default() -> Self {
        CodecPolicy {
            audio: vec![PayloadFormat::Pcma, PayloadFormat::Pcmu],
        }
    }
}

/// What one leg was offered and the other one answered, in the order of the
/// answer: every codec in it may arrive from whoever answered.
#[must_use]
pub fn common(offered: &[Format], answered: &[Format]) -> Vec<PayloadFormat> {
    let mut formats: Vec<PayloadFormat> = Vec::new();
    for answer in answered {
        let is_offered = offered.iter().any(|offer| offer.format == answer.format);
        if is_offered && !formats.contains(&answer.format) {
            formats.push(answer.format);
        }
    }
    formats
}

/// The first codec, and the events if they are there: what is answered to a core
/// whose telephones expect one codec.
#[must_use]
pub fn single(formats: &[PayloadFormat]) -> Vec<PayloadFormat> {
    let codec = formats.iter().find(|format| is_codec(**format));
    let events = formats.iter().find(|format| !is_codec(**format));
    codec.into_iter().chain(events).copied().collect()
}

/// The formats of a media line that the box carries, in their order. RFC 8866 §6.6.
pub(super) fn formats_of(media: &Media) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for written in &media.formats {
        let Ok(number) = written.parse::<u8>() else {
            continue;
        };
        let is_new = formats.iter().all(|format| format.number != number);
        if number <= 127 && !RTCP_NUMBERS.contains(&number) && is_new {
            formats.extend(format_of(media, number));
        }
    }
    formats
}

fn format_of(media: &Media, number: u8) -> Option<Format> {
    let mapped = media.attributes("rtpmap").find_map(|map| {
        let (mapped, encoding) = map.split_once(' ')?;
        (mapped.parse() == Ok(number)).then_some(encoding.trim())
    });
    let format = match (mapped, number) {
        (Some(encoding), _) => by_encoding(encoding)?,
        (None, PCMU) => PayloadFormat::Pcmu,
        (None, PCMA) => PayloadFormat::Pcma,
        (None, _) => return None,
    };
    Some(Format {
        format,
        clock_rate: CLOCK_RATE,
        number,
    })
}

/// `name/clock[/channels]`, names without regard to case.
fn by_encoding(encoding: &str) -> Option<PayloadFormat> {
    let mut parts = encoding.split('/');
    let name = parts.next()?;
    let clock = parts.next()?.trim().parse::<u32>().ok()?;
    let is_mono = parts.next().is_none_or(|channels| channels.trim() == "1");
    if clock != CLOCK_RATE || !is_mono {
        return None;
    }
    ALL.into_iter()
        .find(|format| encoding_name(*format).eq_ignore_ascii_case(name.trim()))
}

fn encoding_name(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::Pcmu => "PCMU",
        PayloadFormat::Pcma => "PCMA",
        PayloadFormat::TelephoneEvent => "telephone-event",
    }
}

/// What a format is called in a description of ours.
pub(super) fn attributes(format: &Format) -> Vec<Attribute> {
    let number = format.number;
    let name = encoding_name(format.format);
    let mut attributes = vec![Attribute::new(
        "rtpmap",
        format_args!("{number} {name}/{}", format.clock_rate),
    )];
    if format.format == PayloadFormat::TelephoneEvent {
        attributes.push(Attribute::new("fmtp", format_args!("{number} {EVENTS}")));
    }
    attributes
}

/// Formats for an offer of the box: under the numbers they are bound to, else under
/// the box's own, else under one that is still free.
pub(super) fn numbered(formats: &[PayloadFormat], bound: &[Format]) -> Vec<Format> {
    let mut numbered: Vec<Format> = Vec::new();
    for format in formats {
        let number = bound
            .iter()
            .find(|known| known.format == *format)
            .map_or_else(|| own_number(*format), |known| known.number);
        let is_taken = |number: u8| {
            let others = bound.iter().filter(|known| known.format != *format);
            others.chain(&numbered).any(|known| known.number == number)
        };
        let number = std::iter::once(number)
            .chain(DYNAMIC_NUMBERS)
            .find(|number| !is_taken(*number))
            .expect("there are more dynamic numbers than formats");
        numbered.push(Format {
            format: *format,
            clock_rate: CLOCK_RATE,
            number,
        });
    }
    numbered
}

/// Formats for an answer of the box: those of the offer that are wanted, in the
/// wanted order, under the offer's numbers (RFC 3264 §6.1).
pub(super) fn numbered_as(offer: &[Format], wanted: &[PayloadFormat]) -> Vec<Format> {
    wanted
        .iter()
        .filter_map(|format| offer.iter().find(|offered| offered.format == *format))
        .copied()
        .collect()
}

/// The number under which the box offers a format.
fn own_number(format: PayloadFormat) -> u8 {
    match format {
        PayloadFormat::Pcmu => PCMU,
        PayloadFormat::Pcma => PCMA,
        PayloadFormat::TelephoneEvent => TELEPHONE_EVENT,
    }
}

fn is_codec(format: PayloadFormat) -> bool {
    match format {
        PayloadFormat::Pcmu | PayloadFormat::Pcma => true,
        PayloadFormat::TelephoneEvent => false,
    }
}

const ALL: [PayloadFormat; 3] = [
    PayloadFormat::Pcmu,
    PayloadFormat::Pcma,
    PayloadFormat::TelephoneEvent,
];

/// The clock of G.711, RFC 3551 §4.5.14, and so of the events beside it.
const CLOCK_RATE: u32 = 8000;

/// Static number of mu-law, RFC 3551 §6.
const PCMU: u8 = 0;

/// Static number of A-law, RFC 3551 §6.
const PCMA: u8 = 8;

/// The number that nearly every telephone uses for events.
const TELEPHONE_EVENT: u8 = 101;

/// Free for any format, RFC 3551 §6.
const DYNAMIC_NUMBERS: std::ops::RangeInclusive<u8> = 96..=127;

/// The keys of a telephone: 0-9 * # A-D, RFC 4733 §3.2.
const EVENTS: &str = "0-15";

/// Numbers that look like RTCP where both share a port, RFC 5761 §4.
const RTCP_NUMBERS: std::ops::RangeInclusive<u8> = 64..=95;
