//! What the box needs to know of a description from the IMS side. TS 24.229 §6,
//! RFC 3264, RFC 3605.

use std::net::SocketAddr;

use iq::ImsRemote;
use serde::{Deserialize, Serialize};

use super::codecs::{self, Format};
use super::error::SdpError;
use super::model::{Description, Direction, Media};
use super::precondition::Preconditions;
use super::side::PeerDescription;
use super::slot::{self, SlotLine};
use super::{Part, interwork::Changes};

/// A description from the IMS side, read for what the box carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImsDescription {
    /// Every media line, by position.
    pub lines: Vec<SlotLine>,
    /// The audio line that is carried.
    pub audio: ImsAudio,
}

/// The audio line that is carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImsAudio {
    /// Its position among all media lines.
    pub position: usize,
    /// Its formats that the box knows, in the peer's order.
    pub formats: Vec<Format>,
    /// The peer's direction; `Inactive` for the hold of RFC 2543, an address of
    /// zeros.
    pub direction: Direction,
    /// Where the peer receives; `None` while its address is zeros.
    pub remote: Option<ImsRemote>,
    /// Whether the peer speaks RTCP: `b=RS:0` with `b=RR:0` says no, RFC 3556 §2.
    pub is_rtcp_on: bool,
    /// Milliseconds of audio in a packet, as the peer likes it.
    pub ptime: Option<u32>,
    /// What the peer's segment of the network needs before anybody is alerted.
    pub preconditions: Option<Preconditions>,
}

impl ImsDescription {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// When no audio line of it can be carried: the reason of the first one.
    pub fn read(description: &Description, part: Part) -> Result<Self, SdpError> {
        let is_in_use = |media: &Media| media.port != 0;
        let read = |media: &Media, position| ImsAudio::read(description, media, position);
        Ok(ImsDescription {
            audio: slot::carried_audio(description, part, is_in_use, read)?,
            lines: SlotLine::all(description),
        })
    }
}

impl PeerDescription for ImsDescription {
    fn lines(&self) -> &[SlotLine] {
        &self.lines
    }

    fn position(&self) -> usize {
        self.audio.position
    }

    fn formats(&self) -> &[Format] {
        &self.audio.formats
    }

    fn direction(&self) -> Direction {
        self.audio.direction
    }

    fn changes(&self, in_force: &ImsDescription) -> Changes {
        let (new, old) = (&self.audio, &in_force.audio);
        Changes {
            transport: new.remote != old.remote || new.is_rtcp_on != old.is_rtcp_on,
            ice_restart: false,
            direction: new.direction != old.direction,
            formats: new.formats != old.formats,
        }
    }
}

impl ImsAudio {
    fn read(description: &Description, media: &Media, position: usize) -> Result<Self, SdpError> {
        if !PROTOCOLS.contains(&media.protocol.as_str()) {
            return Err(SdpError::Protocol(media.protocol.clone()));
        }
        let formats = codecs::formats_of(media);
        if !formats.iter().any(Format::is_codec) {
            return Err(SdpError::NoCommonCodec);
        }
        let host = description.connection_of(media).ok_or(SdpError::Address)?;
        let is_on_hold = host.is_unspecified();
        if !is_on_hold && host.unicast().is_none() {
            return Err(SdpError::Address);
        }
        Ok(ImsAudio {
            position,
            formats,
            direction: if is_on_hold {
                Direction::Inactive
            } else {
                description.direction_of(media)
            },
            remote: host.unicast().map(|ip| {
                let rtp = SocketAddr::new(ip, media.port);
                ImsRemote {
                    rtp,
                    rtcp: rtcp_address(media, rtp),
                }
            }),
            is_rtcp_on: !(media.bandwidth("RS") == Some(0) && media.bandwidth("RR") == Some(0)),
            ptime: media
                .attribute("ptime")
                .and_then(|ptime| ptime.trim().parse().ok()),
            preconditions: Preconditions::read(media),
        })
    }
}

/// `a=rtcp:port [IN IP4 address]`, RFC 3605 §2.1; else the next port.
fn rtcp_address(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let mut words = media
        .attribute("rtcp")
        .unwrap_or_default()
        .split_ascii_whitespace();
    let port = words.next().and_then(|port| port.parse::<u16>().ok());
    let ip = words.nth(2).and_then(|ip| ip.parse().ok());
    SocketAddr::new(
        ip.unwrap_or(rtp.ip()),
        port.filter(|port| *port != 0)
            .unwrap_or(rtp.port().saturating_add(1)),
    )
}

/// What the box speaks towards the IMS. AVPF is AVP to it: it offers no feedback,
/// so none is ever due (RFC 4585 §3.6.2).
const PROTOCOLS: [&str; 2] = ["RTP/AVP", "RTP/AVPF"];
