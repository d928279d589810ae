//! The box's end of an SDP session with a browser: DTLS-SRTP, ICE-lite, one
//! transport. RFC 8829, RFC 8839, RFC 8842, RFC 8843.

use bytes::Bytes;
use iq::{AccessRemote, AccessTransport, DtlsRole, Fingerprint};
use serde::{Deserialize, Serialize};

use super::access::{AccessDescription, HASHES, Setup};
use super::codecs::{self, Format};
use super::error::SdpError;
use super::interwork::{Agreed, Audio, Changes, answer_direction};
use super::model::{Attribute, Description, Direction, Host, Media, MediaKind};
use super::slot::{self, SlotLine};
use super::write::Origin;

/// The box's end of the SDP session of one access dialog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessSide {
    origin: Origin,
    slots: Vec<SlotLine>,
    carried: Option<usize>,
    /// The offer of ours that waits for its answer.
    #[serde(skip)]
    pending: Option<Written>,
    local: Option<Written>,
    peer: Option<AccessDescription>,
    remote: Option<AccessRemote>,
    agreed: Option<Agreed>,
}

/// The audio of a description that the box wrote.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    position: usize,
    slots: Vec<SlotLine>,
    formats: Vec<Format>,
    direction: Direction,
    setup: Setup,
    is_bundled: bool,
}

impl AccessSide {
    /// Starts an SDP session; the random number names it.
    #[must_use]
    pub fn new(random: u64) -> Self {
        AccessSide {
            origin: Origin::new(random),
            slots: Vec::new(),
            carried: None,
            pending: None,
            local: None,
            peer: None,
            remote: None,
            agreed: None,
        }
    }

    /// Writes an offer. It says `actpass` (RFC 8842 §5.2), so that the browser
    /// keeps the part it has. Its one line stands in a BUNDLE group of its own,
    /// since a page with the policy `max-bundle` takes no offer without one; a
    /// group that the browser did not want is not tried again.
    pub fn offer(&mut self, audio: &Audio, transport: &AccessTransport) -> Bytes {
        let mut slots = self.slots.clone();
        let fresh = own_slot(&slots);
        let position = slot::place_for_audio(&mut slots, self.carried, fresh);
        let bound = self.local.as_ref().map(|local| local.formats.as_slice());
        let written = Written {
            position,
            slots,
            formats: codecs::numbered(&audio.formats, bound.unwrap_or_default()),
            direction: audio.direction,
            setup: Setup::ActPass,
            is_bundled: self.peer.as_ref().is_none_or(|peer| peer.audio.is_bundled),
        };
        let bytes = self.write(&written, transport);
        self.pending = Some(written);
        bytes
    }

    /// Takes the browser's answer to the offer that [`AccessSide::offer`] wrote.
    ///
    /// # Errors
    ///
    /// When there is no such offer, or the answer does not fit it.
    pub fn handle_answer(&mut self, answer: AccessDescription) -> Result<(), SdpError> {
        let Some(offer) = &self.pending else {
            return Err(SdpError::AnswerMismatch("no offer is open"));
        };
        if answer.lines.len() != offer.slots.len() {
            return Err(SdpError::AnswerMismatch("another number of media lines"));
        }
        if answer.audio.position != offer.position {
            return Err(SdpError::AnswerMismatch("audio on another media line"));
        }
        let role = match answer.audio.setup {
            Setup::Active => DtlsRole::Server,
            Setup::Passive => DtlsRole::Client,
            Setup::ActPass => self.role().unwrap_or(DtlsRole::Server),
        };
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
        self.settle(offer, answer, agreed, role);
        Ok(())
    }

    /// Writes the answer to a browser's offer: of its audio line the formats that
    /// `audio` names, under the browser's numbers; port 0 for every other line.
    ///
    /// # Errors
    ///
    /// [`SdpError::NoCommonCodec`] when the offer has no codec that `audio` names.
    pub fn answer(
        &mut self,
        offer: &AccessDescription,
        audio: &Audio,
        transport: &AccessTransport,
    ) -> Result<Bytes, SdpError> {
        let role = self.role_for(offer);
        let written = Written {
            position: offer.audio.position,
            slots: offer.lines.clone(),
            formats: codecs::numbered_as(&offer.audio.formats, &audio.formats),
            direction: answer_direction(offer.audio.direction, audio.direction),
            setup: match role {
                DtlsRole::Server => Setup::Passive,
                DtlsRole::Client => Setup::Active,
            },
            is_bundled: offer.audio.is_bundled,
        };
        let agreed = Agreed::new(
            (&written.formats, written.direction),
            (&offer.audio.formats, offer.audio.direction),
            &written.formats,
        );
        if !agreed.has_codec() {
            return Err(SdpError::NoCommonCodec);
        }
        let bytes = self.write(&written, transport);
        self.settle(written, offer.clone(), agreed, role);
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

    /// The browser's description that is in force.
    #[must_use]
    pub fn peer(&self) -> Option<&AccessDescription> {
        self.peer.as_ref()
    }

    /// The browser's end of W3, as media is told of it.
    #[must_use]
    pub fn remote(&self) -> Option<&AccessRemote> {
        self.remote.as_ref()
    }

    /// The browser's end of W3 as an offer puts it, before it is answered: what
    /// media needs to be ready when the answer arrives.
    #[must_use]
    pub fn remote_of(&self, offer: &AccessDescription) -> AccessRemote {
        remote(offer, self.role_for(offer))
    }

    /// What the box said of itself last: the way to write the same again, for a
    /// session refresh or an answer to an ICE restart.
    #[must_use]
    pub fn current(&self) -> Option<Audio> {
        self.local.as_ref().map(|local| Audio {
            formats: local.formats.iter().map(|format| format.format).collect(),
            direction: local.direction,
        })
    }

    /// What a new offer of the browser changes. Its formats count as changed only
    /// when the codec in use, or the events, are no longer among them.
    #[must_use]
    pub fn changes(&self, offer: &AccessDescription) -> Changes {
        let (Some(in_force), Some(agreed)) = (&self.peer, &self.agreed) else {
            return Changes::everything();
        };
        Changes {
            formats: !agreed.is_still_in(&offer.audio.formats),
            ..offer.changes(in_force)
        }
    }

    /// An offer that leaves the part open keeps the one in force, since nothing
    /// asks for a new handshake (RFC 8842 §5.3); the first one makes the box the
    /// server, for the browser knows first when ICE works.
    fn role_for(&self, offer: &AccessDescription) -> DtlsRole {
        match offer.audio.setup {
            Setup::Active => DtlsRole::Server,
            Setup::Passive => DtlsRole::Client,
            Setup::ActPass => self.role().unwrap_or(DtlsRole::Server),
        }
    }

    fn role(&self) -> Option<DtlsRole> {
        self.remote.as_ref().map(|remote| remote.dtls_role)
    }

    fn settle(&mut self, local: Written, peer: AccessDescription, agreed: Agreed, role: DtlsRole) {
        self.slots = local.slots.clone();
        self.carried = Some(local.position);
        self.local = Some(local);
        self.remote = Some(remote(&peer, role));
        self.peer = Some(peer);
        self.agreed = Some(agreed);
    }

    fn write(&mut self, audio: &Written, transport: &AccessTransport) -> Bytes {
        let host = match transport.candidates.first() {
            Some(candidate) => Host::Ip(candidate.ip()),
            None => Host::Ip(std::net::Ipv4Addr::UNSPECIFIED.into()),
        };
        let mut attributes = vec![Attribute::flag("ice-lite")];
        let mid = audio.slots[audio.position].mid.as_deref();
        if let Some(mid) = mid.filter(|_| audio.is_bundled) {
            attributes.push(Attribute::new("group", format_args!("BUNDLE {mid}")));
        }
        let media = audio.slots.iter().enumerate().map(|(position, slot)| {
            if position == audio.position {
                audio_line(slot, audio, transport)
            } else {
                slot.refused()
            }
        });
        let description = Description {
            session_id: String::new(),
            version: 0,
            origin: host.clone(),
            connection: Some(host),
            bandwidths: Vec::new(),
            attributes,
            media: media.collect(),
        };
        self.origin.write(description)
    }
}

fn remote(peer: &AccessDescription, dtls_role: DtlsRole) -> AccessRemote {
    AccessRemote {
        ice: peer.audio.ice.clone(),
        fingerprints: peer.audio.fingerprints.clone(),
        dtls_role,
    }
}

fn audio_line(slot: &SlotLine, audio: &Written, transport: &AccessTransport) -> Media {
    let (formats, mut attributes) = slot::write_formats(&audio.formats);
    attributes.push(Attribute::new("ptime", PTIME));
    attributes.extend(slot.mid.iter().map(|mid| Attribute::new("mid", mid)));
    attributes.push(Attribute::flag("rtcp-mux"));
    attributes.push(Attribute::flag(audio.direction.as_str()));
    if audio.direction.sends() {
        attributes.push(Attribute::new("msid", MSID));
    }
    let ice = &transport.ice;
    attributes.push(Attribute::new("ice-ufrag", &ice.ufrag));
    attributes.push(Attribute::new("ice-pwd", ice.pwd.reveal()));
    attributes.push(Attribute::new(
        "fingerprint",
        fingerprint(&transport.fingerprint),
    ));
    attributes.push(Attribute::new("setup", setup(audio.setup)));
    attributes.extend(candidates(transport));
    attributes.push(Attribute::flag("end-of-candidates"));
    let port = transport.candidates.first().map(std::net::SocketAddr::port);
    Media {
        kind: MediaKind::Audio,
        port: port.unwrap_or(DISCARD),
        protocol: slot.protocol.clone(),
        formats,
        connection: None,
        bandwidths: Vec::new(),
        attributes,
    }
}

/// Host candidates, component 1 only since RTCP shares the port. RFC 8839 §5.1;
/// priorities of RFC 8445 §5.1.2.1.
fn candidates(transport: &AccessTransport) -> impl Iterator<Item = Attribute> {
    (1..=u16::MAX)
        .zip(&transport.candidates)
        .map(|(foundation, candidate)| {
            let local_preference = u32::from(u16::MAX - (foundation - 1));
            let priority = (HOST_PREFERENCE << 24) + (local_preference << 8) + 255;
            let (ip, port) = (candidate.ip(), candidate.port());
            Attribute::new(
                "candidate",
                format_args!("{foundation} 1 udp {priority} {ip} {port} typ host"),
            )
        })
}

/// RFC 8122 §5.
fn fingerprint(fingerprint: &Fingerprint) -> String {
    let name = HASHES
        .into_iter()
        .find(|(_, hash, _)| *hash == fingerprint.hash)
        .map_or("sha-256", |(name, _, _)| name);
    let octets: Vec<String> = fingerprint
        .value
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    format!("{name} {}", octets.join(":"))
}

fn setup(setup: Setup) -> &'static str {
    match setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::ActPass => "actpass",
    }
}

/// A new media line of ours, with a name that no other line has (RFC 8843 §7.5.2).
fn own_slot(slots: &[SlotLine]) -> SlotLine {
    let mid = (0..=slots.len())
        .map(|n| n.to_string())
        .find(|name| slots.iter().all(|slot| slot.mid.as_ref() != Some(name)))
        .expect("one more name than lines");
    SlotLine {
        kind: MediaKind::Audio,
        protocol: "UDP/TLS/RTP/SAVPF".to_owned(),
        formats: Vec::new(),
        mid: Some(mid),
        is_removed: false,
    }
}

/// Milliseconds of audio in a packet.
const PTIME: u8 = 20;

/// The stream and the track that pages find the far end's voice under, RFC 8830.
const MSID: &str = "gatehouse audio";

/// The port that stands for none yet, RFC 8840 §4.1.1.
const DISCARD: u16 = 9;

/// Type preference of host candidates, RFC 8445 §5.1.2.2.
const HOST_PREFERENCE: u32 = 126;
