//! The box's end of an SDP session with the IMS: plain RTP/AVP, and nothing that
//! a browser brought. TS 24.229 §6.7, RFC 3264.

use bytes::Bytes;
use iq::{ImsAddress, ImsRemote};

use super::codecs::CodecPolicy;
use super::error::SdpError;
use super::ims::ImsDescription;
use super::interwork::Audio;
use super::model::{Attribute, Bandwidth, Description, Host, Media, MediaKind};
use super::precondition::{PreconditionUse, Preconditions};
use super::side::Side;
use super::slot::{self, SlotLine};

/// The box's end of the SDP session of one IMS dialog; it knows what is done about
/// preconditions, and says it. A fork of a call gets a clone of the side that wrote
/// the offer, and each takes its own answer.
pub type ImsSide = Side<ImsDescription, Vec<Attribute>, PreconditionUse>;

type Written = super::side::Written<Vec<Attribute>>;

impl ImsSide {
    /// The same, with preconditions in use.
    #[must_use]
    pub fn with_preconditions(mut self, preconditions: PreconditionUse) -> Self {
        self.own = preconditions;
        self
    }

    /// Writes an offer. Numbers once bound to a format stay bound (RFC 3264 §8.3.2),
    /// and every media line keeps its position.
    pub fn offer(&mut self, audio: &Audio, address: ImsAddress) -> Bytes {
        let written = self.offered(audio, |_| own_slot(), self.offered_preconditions());
        let bytes = self.write(&written, address);
        self.open(written);
        bytes
    }

    /// Takes the answer to the offer that [`ImsSide::offer`] wrote.
    ///
    /// # Errors
    ///
    /// When there is no such offer, or the answer does not fit it.
    pub fn handle_answer(&mut self, answer: ImsDescription) -> Result<(), SdpError> {
        self.close(answer)
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
        let preconditions = match (self.own, &offer.audio.preconditions) {
            (PreconditionUse::Ignored, _) | (_, None) => Vec::new(),
            (_, Some(preconditions)) => preconditions.answer(),
        };
        let (written, agreed) = self.answered(offer, audio, preconditions)?;
        let bytes = self.write(&written, address);
        self.settle(written, offer.clone(), agreed);
        Ok(bytes)
    }

    /// Where the peer receives.
    #[must_use]
    pub fn remote(&self) -> Option<ImsRemote> {
        self.peer().and_then(|peer| peer.audio.remote)
    }

    /// Whether RTCP is spoken with the peer.
    #[must_use]
    pub fn is_rtcp_on(&self) -> bool {
        self.peer().is_some_and(|peer| peer.audio.is_rtcp_on)
    }

    /// Every format that may be offered on the access leg for this peer, best
    /// first by the operator's order.
    #[must_use]
    pub fn offerable(policy: &CodecPolicy, offer: &ImsDescription) -> Vec<iq::PayloadFormat> {
        policy.of(&offer.audio.formats)
    }

    /// Once the peer has spoken, it is spoken to as it speaks.
    fn offered_preconditions(&self) -> Vec<Attribute> {
        let peer = self.peer().map(|peer| &peer.audio.preconditions);
        match (self.own, peer) {
            (PreconditionUse::Offered, None) => Preconditions::offer(None),
            (PreconditionUse::Offered | PreconditionUse::Answered, Some(Some(peer))) => {
                Preconditions::offer(Some(peer))
            }
            (PreconditionUse::Ignored, _) | (_, None | Some(None)) => Vec::new(),
        }
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
    attributes.extend(audio.words.iter().cloned());
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
