//! Our model of a session description: the parts of RFC 8866 that telephony uses,
//! with every attribute kept, in order, whether we know it or not.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A session description. Its `Debug` shows the shape and no address or key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The number that names this SDP session, as text because peers use any length.
    pub session_id: String,
    /// Counts the versions of the description.
    pub version: u64,
    /// The originator's address.
    pub origin: Host,
    /// Address of every media line that has none of its own.
    pub connection: Option<Host>,
    /// `b=` at session level.
    pub bandwidths: Vec<Bandwidth>,
    /// `a=` at session level.
    pub attributes: Vec<Attribute>,
    /// The media lines, in order; the position is the name of a line.
    pub media: Vec<Media>,
}

impl Description {
    /// The first session-level attribute of this name; a flag has an empty value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// Every session-level attribute of this name.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        find_all(&self.attributes, name)
    }

    /// The address of a media line: its own, else the session's.
    #[must_use]
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Host> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction of a media line: its own, else the session's, else both ways.
    /// RFC 8866 §6.7.
    #[must_use]
    pub fn direction_of(&self, media: &Media) -> Direction {
        Direction::in_attributes(&media.attributes)
            .or_else(|| Direction::in_attributes(&self.attributes))
            .unwrap_or_default()
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("attributes", &self.attributes)
            .field("media", &self.media)
            .finish_non_exhaustive()
    }
}

/// A media line and what belongs to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// What it carries.
    pub kind: MediaKind,
    /// Where it is received; 0 for a line that is refused, removed or bundle-only.
    pub port: u16,
    /// The transport protocol, as written.
    pub protocol: String,
    /// The formats, as written, best first.
    pub formats: Vec<String>,
    /// `c=` of this line.
    pub connection: Option<Host>,
    /// `b=` of this line.
    pub bandwidths: Vec<Bandwidth>,
    /// `a=` of this line.
    pub attributes: Vec<Attribute>,
}

impl Media {
    /// The first attribute of this name on this line; a flag has an empty value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// Every attribute of this name on this line.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        find_all(&self.attributes, name)
    }

    /// Whether the attribute is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// A bandwidth modifier of this line, RFC 8866 §5.8.
    #[must_use]
    pub fn bandwidth(&self, modifier: &str) -> Option<u64> {
        self.bandwidths
            .iter()
            .find(|bandwidth| bandwidth.modifier.eq_ignore_ascii_case(modifier))
            .map(|bandwidth| bandwidth.value)
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("kind", &self.kind)
            .field("port", &self.port)
            .field("protocol", &self.protocol)
            .field("formats", &self.formats)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.name == name)?;
    Some(attribute.value.as_deref().unwrap_or_default())
}

fn find_all<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.name == name)
        .map(|attribute| attribute.value.as_deref().unwrap_or_default())
}

/// What a media line carries, RFC 8866 §5.14.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    /// Speech.
    Audio,
    /// Pictures.
    Video,
    /// Data channels, among others.
    Application,
    /// Any other, as written.
    Other(String),
}

impl MediaKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Application => "application",
            MediaKind::Other(kind) => kind,
        }
    }
}

impl From<&str> for MediaKind {
    fn from(kind: &str) -> Self {
        match kind {
            "audio" => MediaKind::Audio,
            "video" => MediaKind::Video,
            "application" => MediaKind::Application,
            other => MediaKind::Other(other.to_owned()),
        }
    }
}

/// A connection address, RFC 8866 §5.7.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, which the box never looks up.
    Name(String),
}

impl Host {
    /// The address, if it is one that packets can be sent to.
    #[must_use]
    pub fn unicast(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(*ip),
            Host::Ip(_) | Host::Name(_) => None,
        }
    }

    /// Whether this is `0.0.0.0` or `::`, the hold of RFC 2543.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        matches!(self, Host::Ip(ip) if ip.is_unspecified())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}

/// A bandwidth, RFC 8866 §5.8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// `AS`, `TIAS`, `RS`, `RR`, …
    pub modifier: String,
    /// In the modifier's own unit.
    pub value: u64,
}

/// An attribute, RFC 8866 §5.13. Its `Debug` shows the name only, since values
/// hold keys and addresses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Case matters.
    pub name: String,
    /// What follows the colon; `None` for a flag.
    pub value: Option<String>,
}

impl Attribute {
    /// An attribute without a value.
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Attribute {
            name: name.to_owned(),
            value: None,
        }
    }

    /// An attribute with a value.
    #[must_use]
    pub fn new(name: &str, value: impl fmt::Display) -> Self {
        Attribute {
            name: name.to_owned(),
            value: Some(value.to_string()),
        }
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Which way media flows, seen from whoever wrote the description. RFC 3264 §5.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Every direction.
    pub const ALL: [Direction; 4] = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ];

    /// From its two halves.
    #[must_use]
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the writer of the description sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer of the description receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same flow seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Direction::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    fn in_attributes(attributes: &[Attribute]) -> Option<Self> {
        attributes.iter().find_map(|attribute| {
            Direction::ALL
                .into_iter()
                .find(|direction| direction.as_str() == attribute.name)
        })
    }
}
