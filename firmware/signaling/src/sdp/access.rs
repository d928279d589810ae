//! What the box needs to know of a browser's description. RFC 8829, RFC 8843,
//! RFC 8839, RFC 8842.

use iq::{Fingerprint, FingerprintHash, IceCredentials, Private};
use serde::{Deserialize, Serialize};

use super::codecs::{self, Format};
use super::error::SdpError;
use super::model::{Description, Direction, Media};
use super::side::PeerDescription;
use super::slot::{self, SlotLine};
use super::{Part, interwork::Changes};

/// A browser's description, read for what the box carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessDescription {
    /// Every media line, by position.
    pub lines: Vec<SlotLine>,
    /// The audio line that is carried.
    pub audio: AccessAudio,
}

/// The audio line that is carried, with its transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessAudio {
    /// Its position among all media lines.
    pub position: usize,
    /// Whether it stands in a BUNDLE group.
    pub is_bundled: bool,
    /// Its formats that the box knows, in the browser's order.
    pub formats: Vec<Format>,
    /// The browser's direction.
    pub direction: Direction,
    /// The browser's ICE credentials.
    pub ice: IceCredentials,
    /// The fingerprints of its certificate that are good enough; never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// Its part in the DTLS handshake.
    pub setup: Setup,
}

/// Who starts the DTLS handshake, as one end puts it. RFC 4145 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setup {
    /// The writer starts.
    Active,
    /// The writer waits.
    Passive,
    /// The writer does either.
    ActPass,
}

impl AccessDescription {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// When no audio line of it can be carried: the reason of the first one.
    pub fn read(description: &Description, part: Part) -> Result<Self, SdpError> {
        let is_in_use =
            |media: &Media| media.port != 0 || (part == Part::Offer && media.has("bundle-only"));
        let read = |media: &Media, position| AccessAudio::read(description, media, position);
        Ok(AccessDescription {
            audio: slot::carried_audio(description, part, is_in_use, read)?,
            lines: SlotLine::all(description),
        })
    }
}

impl PeerDescription for AccessDescription {
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

    fn changes(&self, in_force: &AccessDescription) -> Changes {
        let (new, old) = (&self.audio, &in_force.audio);
        Changes {
            transport: new.fingerprints != old.fingerprints,
            ice_restart: new.ice != old.ice,
            direction: new.direction != old.direction,
            formats: new.formats != old.formats,
        }
    }
}

impl AccessAudio {
    fn read(description: &Description, media: &Media, position: usize) -> Result<Self, SdpError> {
        if !PROTOCOLS.contains(&media.protocol.as_str()) {
            return Err(SdpError::Protocol(media.protocol.clone()));
        }
        let formats = codecs::formats_of(media);
        if !formats.iter().any(Format::is_codec) {
            return Err(SdpError::NoCommonCodec);
        }
        let group = group_of(description, media);
        let transport = Transport {
            description,
            media,
            tagged: group.and_then(|group| tagged_line(description, group)),
        };
        if !transport.has_rtcp_mux() {
            return Err(SdpError::NoRtcpMux);
        }
        Ok(AccessAudio {
            position,
            is_bundled: group.is_some(),
            formats,
            direction: description.direction_of(media),
            ice: transport.ice()?,
            fingerprints: transport.fingerprints()?,
            setup: transport.setup()?,
        })
    }
}

/// Where the transport of a line may be described: on the line, on the line that
/// its BUNDLE group names first (RFC 8843 §7.1.3), or for the session.
struct Transport<'a> {
    description: &'a Description,
    media: &'a Media,
    tagged: Option<&'a Media>,
}

impl Transport<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.media
            .attribute(name)
            .or_else(|| self.tagged.and_then(|tagged| tagged.attribute(name)))
            .or_else(|| self.description.attribute(name))
    }

    /// RFC 5761 §5.1.1; the -only form of RFC 8858 says as much.
    fn has_rtcp_mux(&self) -> bool {
        std::iter::once(self.media)
            .chain(self.tagged)
            .any(|media| media.has("rtcp-mux") || media.has("rtcp-mux-only"))
    }

    fn ice(&self) -> Result<IceCredentials, SdpError> {
        let ufrag = self.attribute("ice-ufrag").ok_or(SdpError::NoIce)?.trim();
        let pwd = self.attribute("ice-pwd").ok_or(SdpError::NoIce)?.trim();
        if !is_ice_text(ufrag, 4) || !is_ice_text(pwd, 22) {
            return Err(SdpError::BadIce);
        }
        Ok(IceCredentials {
            ufrag: ufrag.to_owned(),
            pwd: Private::new(pwd.to_owned()),
        })
    }

    /// Those of the line; without any, those of the tagged line; without any, those
    /// of the session.
    fn fingerprints(&self) -> Result<Vec<Fingerprint>, SdpError> {
        let of = |media: &Media| media.attributes("fingerprint").map(str::to_owned).collect();
        let mut written: Vec<String> = of(self.media);
        if let Some(tagged) = self.tagged.filter(|_| written.is_empty()) {
            written = of(tagged);
        }
        if written.is_empty() {
            let session = self.description.attributes("fingerprint");
            written = session.map(str::to_owned).collect();
        }
        if written.is_empty() {
            return Err(SdpError::NoFingerprint);
        }
        if written.len() > MAX_FINGERPRINTS {
            return Err(SdpError::BadFingerprint);
        }
        let mut fingerprints = Vec::new();
        for value in &written {
            fingerprints.extend(fingerprint(value)?);
        }
        if fingerprints.is_empty() {
            return Err(SdpError::WeakFingerprint);
        }
        Ok(fingerprints)
    }

    /// Without the attribute a peer of DTLS-SRTP breaks RFC 5763 §5; it is taken
    /// for one that can play either part.
    fn setup(&self) -> Result<Setup, SdpError> {
        match self.attribute("setup").map(str::trim) {
            Some("active") => Ok(Setup::Active),
            Some("passive") => Ok(Setup::Passive),
            Some("actpass") | None => Ok(Setup::ActPass),
            Some(_) => Err(SdpError::BadSetup),
        }
    }
}

/// The names in the BUNDLE group that this line stands in, RFC 8843 §5.
fn group_of<'a>(description: &'a Description, media: &Media) -> Option<&'a str> {
    let mid = media.attribute("mid")?;
    description
        .attributes("group")
        .filter_map(|group| group.strip_prefix("BUNDLE "))
        .find(|mids| mids.split_ascii_whitespace().any(|name| name == mid))
}

fn tagged_line<'a>(description: &'a Description, group: &str) -> Option<&'a Media> {
    let tag = group.split_ascii_whitespace().next()?;
    let mut media = description.media.iter();
    media.find(|media| media.attribute("mid") == Some(tag))
}

/// `hash AB:CD:…`; `None` for a hash that is too weak or unknown. RFC 8122 §5.
fn fingerprint(value: &str) -> Result<Option<Fingerprint>, SdpError> {
    let (name, hex) = value
        .trim()
        .split_once(' ')
        .ok_or(SdpError::BadFingerprint)?;
    let Some((_, hash, length)) = HASHES
        .into_iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(name))
    else {
        return Ok(None);
    };
    let value = hex
        .trim()
        .split(':')
        .map(|octet| match octet.len() {
            2 if octet.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(octet, 16).ok(),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .filter(|value| value.len() == length)
        .ok_or(SdpError::BadFingerprint)?;
    Ok(Some(Fingerprint { hash, value }))
}

/// RFC 8839 §5.4: letters, digits, `+` and `/`, at most 256 of them. Browsers of
/// old also wrote `-` and `_`.
fn is_ice_text(text: &str, shortest: usize) -> bool {
    (shortest..=256).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b))
}

/// Hashes that are good enough, with the length of each.
pub(super) const HASHES: [(&str, FingerprintHash, usize); 3] = [
    ("sha-256", FingerprintHash::Sha256, 32),
    ("sha-384", FingerprintHash::Sha384, 48),
    ("sha-512", FingerprintHash::Sha512, 64),
];

/// More than any browser has certificates and hashes.
const MAX_FINGERPRINTS: usize = 16;

/// What browsers call DTLS-SRTP, RFC 8829 §5.1.2; the RTP/ forms are old names.
const PROTOCOLS: [&str; 5] = [
    "UDP/TLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "TCP/TLS/RTP/SAVPF",
    "TCP/TLS/RTP/SAVP",
    "RTP/SAVPF",
];
