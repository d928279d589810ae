//! The box's end of an SDP session with a browser: DTLS-SRTP, ICE-lite, one
//! transport. RFC 8829, RFC 8839, RFC 8842, RFC 8843.

use bytes::Bytes;
use iq::{AccessRemote, AccessTransport, DtlsRole, Fingerprint};
use serde::{Deserialize, Serialize};

use super::access::{AccessDescription, HASHES, Setup};
use super::error::SdpError;
use super::interwork::Audio;
use super::model::{Attribute, Description, Host, Media, MediaKind};
use super::side::Side;
use super::slot::{self, SlotLine};

/// The box's end of the SDP session of one access dialog; of its own it keeps the
/// browser's end of W3, as media is told of it.
pub type AccessSide = Side<AccessDescription, AccessWords, Option<AccessRemote>>;

/// What only descriptions for browsers say.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AccessWords {
    setup: Setup,
    is_bundled: bool,
}

type Written = super::side::Written<AccessWords>;

impl AccessSide {
    /// Writes an offer. It says `actpass` (RFC 8842 §5.2), so that the browser
    /// keeps the part it has. Its one line stands in a BUNDLE group of its own,
    /// since a page with the policy `max-bundle` takes no offer without one; a
    /// group that the browser did not want is not tried again.
    pub fn offer(&mut self, audio: &Audio, transport: &AccessTransport) -> Bytes {
        let words = AccessWords {
            setup: Setup::ActPass,
            is_bundled: self.peer().is_none_or(|peer| peer.audio.is_bundled),
        };
        let written = self.offered(audio, own_slot, words);
        let bytes = self.write(&written, transport);
        self.open(written);
        bytes
    }

    /// Takes the browser's answer to the offer that [`AccessSide::offer`] wrote.
    ///
    /// # Errors
    ///
    /// When there is no such offer, or the answer does not fit it.
    pub fn handle_answer(&mut self, answer: AccessDescription) -> Result<(), SdpError> {
        let remote = self.remote_of(&answer);
        self.close(answer)?;
        self.own = Some(remote);
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
        let remote = self.remote_of(offer);
        let words = AccessWords {
            setup: match remote.dtls_role {
                DtlsRole::Server => Setup::Passive,
                DtlsRole::Client => Setup::Active,
            },
            is_bundled: offer.audio.is_bundled,
        };
        let (written, agreed) = self.answered(offer, audio, words)?;
        let bytes = self.write(&written, transport);
        self.settle(written, offer.clone(), agreed);
        self.own = Some(remote);
        Ok(bytes)
    }

    /// The browser's end of W3, as media is told of it.
    #[must_use]
    pub fn remote(&self) -> Option<&AccessRemote> {
        self.own.as_ref()
    }

    /// The browser's end of W3 as a description puts it, before it is in force: what
    /// media needs to be ready when the answer arrives.
    #[must_use]
    pub fn remote_of(&self, peer: &AccessDescription) -> AccessRemote {
        AccessRemote {
            ice: peer.audio.ice.clone(),
            fingerprints: peer.audio.fingerprints.clone(),
            dtls_role: self.role_for(peer.audio.setup),
        }
    }

    /// A description that leaves the part open keeps the one in force, since nothing
    /// asks for a new handshake (RFC 8842 §5.3); the first one makes the box the
    /// server, for the browser knows first when ICE works.
    fn role_for(&self, peer: Setup) -> DtlsRole {
        match peer {
            Setup::Active => DtlsRole::Server,
            Setup::Passive => DtlsRole::Client,
            Setup::ActPass => {
                let in_force = self.own.as_ref().map(|remote| remote.dtls_role);
                in_force.unwrap_or(DtlsRole::Server)
            }
        }
    }

    fn write(&mut self, audio: &Written, transport: &AccessTransport) -> Bytes {
        let host = match transport.candidates.first() {
            Some(candidate) => Host::Ip(candidate.ip()),
            None => Host::Ip(std::net::Ipv4Addr::UNSPECIFIED.into()),
        };
        let mut attributes = vec![Attribute::flag("ice-lite")];
        let mid = audio.slots[audio.position].mid.as_deref();
        if let Some(mid) = mid.filter(|_| audio.words.is_bundled) {
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
    attributes.push(Attribute::new("setup", setup(audio.words.setup)));
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
