//! The positions of media lines, which never vanish. RFC 3264 §8.

use serde::{Deserialize, Serialize};

use super::Part;
use super::codecs::{self, Format};
use super::error::SdpError;
use super::model::{Attribute, Description, Media, MediaKind};

/// A media line as far as its position must be remembered: enough to write it
/// again with port 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLine {
    /// What it carries.
    pub kind: MediaKind,
    /// Its protocol, echoed.
    pub protocol: String,
    /// Its formats, echoed.
    pub formats: Vec<String>,
    /// Its name on the access leg, RFC 5888.
    pub mid: Option<String>,
    /// Whether the peer gave it port 0 and did not mean BUNDLE by it.
    pub is_removed: bool,
}

impl SlotLine {
    /// Every media line of a description.
    pub(super) fn all(description: &Description) -> Vec<SlotLine> {
        description.media.iter().map(SlotLine::of).collect()
    }

    fn of(media: &Media) -> Self {
        SlotLine {
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            formats: media.formats.clone(),
            mid: media
                .attribute("mid")
                .filter(|mid| is_token(mid))
                .map(str::to_owned),
            is_removed: media.port == 0 && !media.has("bundle-only"),
        }
    }

    /// The same for the IMS side, which knows no names of lines.
    pub(super) fn without_mid(&self) -> Self {
        SlotLine {
            mid: None,
            ..self.clone()
        }
    }

    /// The line with port 0: kind, protocol and formats echoed, its name kept
    /// (RFC 8843 §7.3.3), and nothing else.
    pub(super) fn refused(&self) -> Media {
        Media {
            kind: self.kind.clone(),
            port: 0,
            protocol: self.protocol.clone(),
            formats: self.formats.clone(),
            connection: None,
            bandwidths: Vec::new(),
            attributes: self
                .mid
                .iter()
                .map(|mid| Attribute::new("mid", mid))
                .collect(),
        }
    }
}

/// The format list and the attributes that name each format.
pub(super) fn write_formats(formats: &[Format]) -> (Vec<String>, Vec<Attribute>) {
    let numbers = formats.iter().map(|f| f.number.to_string()).collect();
    let attributes = formats.iter().flat_map(codecs::attributes).collect();
    (numbers, attributes)
}

/// Finds the line to offer audio on: the one that carries it, else one that was
/// given up and can be used again (RFC 3264 §8.1), else a new one at the end.
pub(super) fn place_for_audio(
    slots: &mut Vec<SlotLine>,
    carried: Option<usize>,
    new: SlotLine,
) -> usize {
    let place = carried
        .or_else(|| slots.iter().position(|slot| slot.is_removed))
        .unwrap_or(slots.len());
    match slots.get_mut(place) {
        Some(slot) if carried.is_none() => *slot = new,
        Some(_) => {}
        None => slots.push(new),
    }
    place
}

/// The first audio line in use that can be carried, as `read` reads it.
///
/// # Errors
///
/// When there is none: why the first one cannot be.
pub(super) fn carried_audio<Audio>(
    description: &Description,
    part: Part,
    is_in_use: impl Fn(&Media) -> bool,
    read: impl Fn(&Media, usize) -> Result<Audio, SdpError>,
) -> Result<Audio, SdpError> {
    let mut refusal = None;
    for (position, media) in description.media.iter().enumerate() {
        if media.kind != MediaKind::Audio || !is_in_use(media) {
            continue;
        }
        match read(media, position) {
            Ok(audio) => return Ok(audio),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or(match part {
        Part::Offer => SdpError::NoAudio,
        Part::Answer => SdpError::AudioRefused,
    }))
}

/// RFC 8866 §9, as far as it keeps a value inside its line.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}
