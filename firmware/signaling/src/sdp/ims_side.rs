//! The box's end of an SDP session with the IMS: plain RTP/AVP, and nothing that
//! a browser brought. TS 24.229 §6.7, RFC 3264.

use bytes::Bytes;
use iq::{ImsAddress, ImsRemote};
use serde::{Deserialize, Serialize};

use super::codecs::{self, CodecPolicy, Format};
use super::error::SdpError;
use super::ims::ImsDescription;
use super::interwork::{Agreed, Audio, Changes, answer_direction};
use super::model::{Attribute, Bandwidth, Description, Direction, Host, Media, MediaKind};
use super::precondition::{PreconditionUse, Preconditions};
use super::slot::{self, SlotLine};
use super::write::Origin;

/// The box's end of the SDP session of one IMS dialog. A fork of a call gets a
/// clone of the side that wrote the offer, and each takes its own answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImsSide {
    origin: Origin,
    preconditions: PreconditionUse,
    slots: Vec<SlotLine>,
    carried: Option<usize>,
    /// The offer of ours that waits for its answer.
    #[serde(skip)]
    pending: Option<Written>,
    local: Option<Written>,
    remote: Option<ImsDescription>,
    agreed: Option<Agreed>,
}

/// The audio of a description that the box wrote.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    position: usize,
    slots: Vec<SlotLine>,
    formats: Vec<Format>,
    direction: Direction,
    /// What is said about preconditions.
    preconditions: Vec<Attribute>,
}

impl ImsSide {
    /// Starts an SDP session; the random number names it.
    #[must_use]
    pub fn new(random: u64) -> Self {
        ImsSide {
            origin: Origin::new(random),
            preconditions: PreconditionUse::Ignored,
            slots: Vec::new(),
            carried: None,
            pending: None,
            local: None,
            remote: None,
            agreed: None,
        }
    }

    /// The same, with preconditions in use.
    #[must_use]
    pub fn with_preconditions(self, preconditions: PreconditionUse) -> Self {
        ImsSide {
            preconditions,
            ..self
        }
    }

    /// Writes an offer. Numbers once bound to a format stay bound (RFC 3264 §8.3.2),
    /// and every media line keeps its position.
    pub fn offer(&mut self, audio: &Audio, address: ImsAddress) -> Bytes {
        let mut slots = self.slots.clone();
        let position = slot::place_for_audio(&mut slots, self.carried, own_slot());
        let formats = self.numbered(&audio.formats);
        let written = Written {
            position,
            slots,
            formats,
            direction: audio.direction,
            preconditions: self.offered_preconditions(),
        };
        let bytes = self.write(&written, address);
        self.pending = Some(written);
        bytes
    }

    /// Takes the answer to the offer that [`ImsSide::offer`] wrote.
    ///
    /// # Errors
    ///
    /// When there is no such offer, or the answer does not fit it.
    pub fn handle_answer(&mut self, answer: ImsDescription) -> Result<(), SdpError> {
        let Some(offer) = &self.pending else {
            return Err(SdpError::AnswerMismatch("no offer is open"));
        };
        if answer.lines.len() != offer.slots.len() {
            return Err(SdpError::AnswerMismatch("another number of media lines"));
        }
        if answer.audio.position != offer.position {
            return Err(SdpError::AnswerMismatch("audio on another media line"));
        }
        let agreed = Agreed::new(
            (&offer.formats, offer.direction),
            (&answer.audio.formats, answer.audio.direction),
            &answer.audio.formats,
        );
        if !agreed.has_codec() {
            return Err(SdpError::NoCommonCodec);
        }
        let offer = offer.clone();
        self.pending = None;
        self.settle(offer, answer, agreed);
        Ok(())
    }

    /// Writes the answer to an offer: of its audio line the formats that `audio`
    /// names, under the offer's numbers; port 0 for every other line.
    ///
    /// # Errors
    ///
    /// [`SdpError::NoCommonCodec`] when the offer has no codec that `audio` names.
    pub fn answer(
        &mut self,
        offer: &ImsDescription,
        audio: &Audio,
        address: ImsAddress,
    ) -> Result<Bytes, SdpError> {
        let formats = codecs::numbered_as(&offer.audio.formats, &audio.formats);
        let written = Written {
            position: offer.audio.position,
            slots: offer.lines.clone(),
            direction: answer_direction(offer.audio.direction, audio.direction),
            formats,
            preconditions: match (self.preconditions, &offer.audio.preconditions) {
                (PreconditionUse::Ignored, _) | (_, None) => Vec::new(),
                (_, Some(preconditions)) => preconditions.answer(),
            },
        };
        let agreed = Agreed::new(
            (&written.formats, written.direction),
            (&offer.audio.formats, offer.audio.direction),
            &written.formats,
        );
        if !agreed.has_codec() {
            return Err(SdpError::NoCommonCodec);
        }
        let bytes = self.write(&written, address);
        self.settle(written, offer.clone(), agreed);
        Ok(bytes)
    }

    /// Forgets an offer that was refused; what was agreed before stands.
    /// RFC 3261 §14.1.
    pub fn abandon_offer(&mut self) {
        self.pending = None;
    }

    /// Whether a side that was written down and read back names lines that it has.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let has = |position: usize| position < self.slots.len();
        let local = self.local.as_ref();
        self.carried.is_none_or(has) && local.is_none_or(|local| local.position < local.slots.len())
    }

    /// Whether an offer of ours waits for its answer.
    #[must_use]
    pub fn has_open_offer(&self) -> bool {
        self.pending.is_some()
    }

    /// What is agreed, if anything is yet.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// The peer's description that is in force.
    #[must_use]
    pub fn peer(&self) -> Option<&ImsDescription> {
        self.remote.as_ref()
    }

    /// Where the peer receives.
    #[must_use]
    pub fn remote(&self) -> Option<ImsRemote> {
        self.remote.as_ref().and_then(|peer| peer.audio.remote)
    }

    /// Whether RTCP is spoken with the peer.
    #[must_use]
    pub fn is_rtcp_on(&self) -> bool {
        self.remote
            .as_ref()
            .is_some_and(|peer| peer.audio.is_rtcp_on)
    }

    /// What the box said of itself last: the way to write the same again, for a
    /// session refresh or an answer of its own to a re-INVITE that concerns nobody
    /// else.
    #[must_use]
    pub fn current(&self) -> Option<Audio> {
        self.local.as_ref().map(|local| Audio {
            formats: local.formats.iter().map(|format| format.format).collect(),
            direction: local.direction,
        })
    }

    /// What a new offer of the peer changes. Its formats count as changed only when
    /// the codec in use, or the events, are no longer among them.
    #[must_use]
    pub fn changes(&self, offer: &ImsDescription) -> Changes {
        let (Some(in_force), Some(agreed)) = (&self.remote, &self.agreed) else {
            return Changes::everything();
        };
        Changes {
            formats: !agreed.is_still_in(&offer.audio.formats),
            ..offer.changes(in_force)
        }
    }

    /// Every format that may be offered on the access leg for this peer, best
    /// first by the operator's order.
    #[must_use]
    pub fn offerable(policy: &CodecPolicy, offer: &ImsDescription) -> Vec<iq::PayloadFormat> {
        policy.of(&offer.audio.formats)
    }

    /// Once the peer has spoken, it is spoken to as it speaks.
    fn offered_preconditions(&self) -> Vec<Attribute> {
        let peer = self.remote.as_ref().map(|peer| &peer.audio.preconditions);
        match (self.preconditions, peer) {
            (PreconditionUse::Offered, None) => Preconditions::offer(None),
            (PreconditionUse::Offered | PreconditionUse::Answered, Some(Some(peer))) => {
                Preconditions::offer(Some(peer))
            }
            (PreconditionUse::Ignored, _) | (_, None | Some(None)) => Vec::new(),
        }
    }

    fn settle(&mut self, local: Written, remote: ImsDescription, agreed: Agreed) {
        self.slots = local.slots.clone();
        self.carried = Some(local.position);
        self.local = Some(local);
        self.remote = Some(remote);
        self.agreed = Some(agreed);
    }

    fn numbered(&self, formats: &[iq::PayloadFormat]) -> Vec<Format> {
        let bound = self.local.as_ref().map(|local| local.formats.as_slice());
        codecs::numbered(formats, bound.unwrap_or_default())
    }

    fn write(&mut self, audio: &Written, address: ImsAddress) -> Bytes {
        let host = Host::Ip(address.rtp.ip());
        let media = audio.slots.iter().enumerate().map(|(position, slot)| {
            if position == audio.position {
                audio_line(slot, audio, address)
            } else {
                slot.without_mid().refused()
            }
        });
        let description = Description {
            session_id: String::new(),
            version: 0,
            origin: host.clone(),
            connection: Some(host),
            bandwidths: Vec::new(),
            attributes: Vec::new(),
            media: media.collect(),
        };
        self.origin.write(description)
    }
}

fn audio_line(slot: &SlotLine, audio: &Written, address: ImsAddress) -> Media {
    let (formats, mut attributes) = slot::write_formats(&audio.formats);
    if address.rtcp.port() != address.rtp.port().saturating_add(1) {
        attributes.push(Attribute::new("rtcp", address.rtcp.port()));
    }
    attributes.push(Attribute::new("ptime", PTIME));
    attributes.push(Attribute::flag(audio.direction.as_str()));
    attributes.extend(audio.preconditions.iter().cloned());
    let as_kbit = if address.rtp.is_ipv4() {
        AS_IPV4
    } else {
        AS_IPV6
    };
    Media {
        kind: MediaKind::Audio,
        port: address.rtp.port(),
        protocol: slot.protocol.clone(),
        formats,
        connection: None,
        bandwidths: [("AS", as_kbit), ("RS", RS), ("RR", RR)]
            .into_iter()
            .map(|(modifier, value)| Bandwidth {
                modifier: modifier.to_owned(),
                value,
            })
            .collect(),
        attributes,
    }
}

fn own_slot() -> SlotLine {
    SlotLine {
        kind: MediaKind::Audio,
        protocol: "RTP/AVP".to_owned(),
        formats: Vec::new(),
        mid: None,
        is_removed: false,
    }
}

/// Milliseconds of audio in a packet.
const PTIME: u8 = 20;

/// G.711 in packets of 20 ms over IPv4, kbit/s: (160 + 40) octets x 50. TS 24.229
/// §6.1 wants b=AS on every line in use.
const AS_IPV4: u64 = 80;

/// The same over IPv6: (160 + 60) octets x 50.
const AS_IPV6: u64 = 88;

/// RTCP bandwidth of senders, bit/s. TS 26.114 §7.3.1.
const RS: u64 = 600;

/// RTCP bandwidth of receivers, bit/s. TS 26.114 §7.3.1.
const RR: u64 = 2000;
