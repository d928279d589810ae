//! From the model to bytes, and the version that counts its changes.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::model::{Attribute, Bandwidth, Description, Host, Media};

impl Description {
    /// Writes the description with CRLF at every line's end, RFC 8866 §5.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut session = sdp_types::Session::new(
            sdp_types::Origin {
                username: None,
                sess_id: self.session_id.clone(),
                sess_version: self.version,
                nettype: sdp_types::NetType::In,
                addrtype: address_type(&self.origin),
                unicast_address: address(&self.origin),
            },
            "-",
        );
        session.connection = self.connection.as_ref().map(connection);
        session.bandwidths = self.bandwidths.iter().map(bandwidth).collect();
        session.attributes = self.attributes.iter().map(attribute).collect();
        session.medias = self.media.iter().map(media).collect();
        let mut bytes = Vec::with_capacity(1024);
        session
            .write(&mut bytes)
            .expect("writing to memory cannot fail");
        Bytes::from(bytes)
    }
}

fn media(media: &Media) -> sdp_types::Media {
    sdp_types::Media {
        media: media.kind.as_str().to_owned(),
        port: media.port,
        num_ports: None,
        proto: media.protocol.clone(),
        fmt: media.formats.join(" "),
        media_title: None,
        connections: media.connection.iter().map(connection).collect(),
        bandwidths: media.bandwidths.iter().map(bandwidth).collect(),
        key: None,
        attributes: media.attributes.iter().map(attribute).collect(),
    }
}

fn connection(host: &Host) -> sdp_types::Connection {
    sdp_types::Connection {
        nettype: sdp_types::NetType::In,
        addrtype: address_type(host),
        connection_address: address(host),
    }
}

fn address(host: &Host) -> String {
    match host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    }
}

fn address_type(host: &Host) -> sdp_types::AddrType {
    match host {
        Host::Ip(IpAddr::V6(_)) => sdp_types::AddrType::Ip6,
        Host::Ip(IpAddr::V4(_)) | Host::Name(_) => sdp_types::AddrType::Ip4,
    }
}

fn bandwidth(bandwidth: &Bandwidth) -> sdp_types::Bandwidth {
    sdp_types::Bandwidth {
        bwtype: bandwidth.modifier.clone(),
        bandwidth: bandwidth.value,
    }
}

fn attribute(attribute: &Attribute) -> sdp_types::Attribute {
    sdp_types::Attribute {
        attribute: attribute.name.clone(),
        value: attribute.value.clone(),
    }
}

/// The `o=` line of one leg: its version goes up by one when the description
/// differs from the one before, and only then. RFC 3264 §8.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    session_id: u64,
    version: u64,
    last: Option<Description>,
}

impl Origin {
    /// Starts an SDP session with a random number; its top bits are cleared, since
    /// peers keep it in a signed 64-bit integer (RFC 3264 §5) or in a double.
    #[must_use]
    pub fn new(random: u64) -> Self {
        Origin {
            session_id: random >> 12,
            version: 0,
            last: None,
        }
    }

    /// Stamps a description with number and version, and writes it.
    pub(super) fn write(&mut self, mut description: Description) -> Bytes {
        description.session_id = self.session_id.to_string();
        description.version = self.version;
        if self.last.as_ref() != Some(&description) {
            self.version += 1;
            description.version = self.version;
        }
        let bytes = description.to_bytes();
        self.last = Some(description);
        bytes
    }
}
