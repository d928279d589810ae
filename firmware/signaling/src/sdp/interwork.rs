//! What both legs agreed on, joined: the media model behind both descriptions, as
//! pure functions.

use iq::{Flow, Line, Payload, PayloadFormat, PayloadNumbers};
use serde::{Deserialize, Serialize};

use super::access_side::AccessSide;
use super::codecs::{self, Format};
use super::ims_side::ImsSide;
use super::model::Direction;

/// What the box says of audio in a description of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Which formats, best first.
    pub formats: Vec<PayloadFormat>,
    /// Which way, seen from the box. What the far end of the other leg said of
    /// itself goes here unchanged: the box stands for it on this leg, so a hold
    /// (`sendonly`, `inactive`) passes through as it came.
    pub direction: Direction,
}

/// The audio of one leg, once offer and answer are both known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The formats in use, best first.
    pub formats: Vec<AgreedFormat>,
    /// What the box said of its own direction.
    pub local: Direction,
    /// What the peer said of its.
    pub remote: Direction,
}

impl Agreed {
    /// Joins what the box wrote with what the peer wrote, in the order of `first`,
    /// the answer.
    pub(super) fn new(
        local: (&[Format], Direction),
        remote: (&[Format], Direction),
        first: &[Format],
    ) -> Self {
        let number = |formats: &[Format], wanted: PayloadFormat| {
            formats
                .iter()
                .find(|format| format.format == wanted)
                .map(|format| format.number)
        };
        let mut formats: Vec<AgreedFormat> = Vec::new();
        for format in first {
            let numbers = number(local.0, format.format).zip(number(remote.0, format.format));
            let is_new = formats.iter().all(|known| known.format != format.format);
            if let Some((receive, send)) = numbers.filter(|_| is_new) {
                formats.push(AgreedFormat {
                    format: format.format,
                    clock_rate: format.clock_rate,
                    numbers: PayloadNumbers { receive, send },
                });
            }
        }
        Agreed {
            formats,
            local: local.1,
            remote: remote.1,
        }
    }

    /// What may flow on this leg: what both ends allow.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let direction = self.local.and(self.remote.reversed());
        Flow {
            send: direction.sends(),
            receive: direction.receives(),
        }
    }

    /// The codec that comes first.
    #[must_use]
    pub fn codec(&self) -> Option<PayloadFormat> {
        single_codec(&self.formats)
    }

    /// Whether the codec in use, and the events if they are in use, are all here.
    pub(super) fn is_still_in(&self, formats: &[Format]) -> bool {
        let names: Vec<_> = self.formats.iter().map(|format| format.format).collect();
        codecs::single(&names)
            .iter()
            .all(|used| formats.iter().any(|format| format.format == *used))
    }

    /// Whether there is a codec at all.
    pub(super) fn has_codec(&self) -> bool {
        self.codec().is_some()
    }
}

fn single_codec(formats: &[AgreedFormat]) -> Option<PayloadFormat> {
    let names: Vec<_> = formats.iter().map(|format| format.format).collect();
    codecs::single(&names)
        .into_iter()
        .find(|format| *format != PayloadFormat::TelephoneEvent)
}

/// A format in use on a leg, with the number for each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedFormat {
    /// What the packets hold.
    pub format: PayloadFormat,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Its numbers.
    pub numbers: PayloadNumbers,
}

/// The direction of an answer: no more than the offer allows, RFC 3264 §6.1.
#[must_use]
pub fn answer_direction(offered: Direction, wanted: Direction) -> Direction {
    wanted.and(offered.reversed())
}

/// The media lines that both legs have agreed on, as media is told about them:
/// none until both have.
#[must_use]
pub fn lines(access: &AccessSide, ims: &ImsSide) -> Vec<Line> {
    let (Some(browser), Some(core)) = (access.agreed(), ims.agreed()) else {
        return Vec::new();
    };
    let payloads = core.formats.iter().filter_map(|ims| {
        let access = browser
            .formats
            .iter()
            .find(|access| access.format == ims.format && access.clock_rate == ims.clock_rate)?;
        Some(Payload {
            format: ims.format,
            clock_rate: ims.clock_rate,
            access: access.numbers,
            ims: ims.numbers,
        })
    });
    vec![Line {
        index: 0,
        payloads: payloads.collect(),
        access: browser.flow(),
        ims: core.flow(),
        ims_remote: ims.remote(),
        ims_rtcp: ims.is_rtcp_on(),
    }]
}

/// How a new description of a peer differs from the one in force. With neither
/// `direction` nor `formats` the other leg need not hear of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another address, other ports, RTCP on or off; on the access leg another
    /// certificate.
    pub transport: bool,
    /// New ICE credentials: a restart, RFC 8839 §4.4.3.1.1.
    pub ice_restart: bool,
    /// Hold, resume.
    pub direction: bool,
    /// Other codecs or other numbers.
    pub formats: bool,
}

impl Changes {
    /// For a peer that nothing is known of yet.
    pub(super) fn everything() -> Self {
        Changes {
            transport: true,
            ice_restart: false,
            direction: true,
            formats: true,
        }
    }

    /// Whether nothing changed: a session refresh.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Changes::default()
    }

    /// Whether the far end of the other leg must be asked.
    #[must_use]
    pub fn concern_other_leg(&self) -> bool {
        self.direction || self.formats
    }
}
