//! The browser's half of ICE, just enough to be the controlling agent of one pair (RFC 8445).

use aws_lc_rs::hmac;

/// What a datagram with a STUN header is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Binding request of the other side (a full ICE agent checks us too).
    Request,
    /// A Binding success response.
    Success,
    /// Anything else.
    Other,
}

/// Classifies a datagram by its first byte and message type; `None` when it is not STUN.
pub(crate) fn kind(datagram: &[u8]) -> Option<Kind> {
    if datagram.len() < 20 || datagram[0] > 3 || datagram[4..8] != COOKIE {
        return None;
    }
    Some(match u16::from_be_bytes([datagram[0], datagram[1]]) {
        0x0001 => Kind::Request,
        0x0101 => Kind::Success,
        _ => Kind::Other,
    })
}

/// A connectivity check that nominates its pair.
pub(crate) fn nominating_check(transaction: [u8; 12], username: &str, password: &str) -> Vec<u8> {
    let mut message = Message::new(0x0001, transaction);
    message.attribute(0x0006, username.as_bytes());
    message.attribute(0x0024, &0x6e7f_1eff_u32.to_be_bytes());
    message.attribute(0x802a, &0x0123_4567_89ab_cdef_u64.to_be_bytes());
    message.attribute(0x0025, &[]);
    message.protect(password)
}

/// The answer to a check of the other side.
pub(crate) fn answer(request: &[u8], from: std::net::SocketAddr, password: &str) -> Vec<u8> {
    let transaction = request[8..20].try_into().expect("kind() saw 20 bytes");
    let mut message = Message::new(0x0101, transaction);
    let mut mapped = vec![0, 1];
    mapped.extend((from.port() ^ 0x2112).to_be_bytes());
    if let std::net::IpAddr::V4(ip) = from.ip() {
        mapped.extend(ip.octets().iter().zip(COOKIE).map(|(a, b)| a ^ b));
    }
    message.attribute(0x0020, &mapped);
    message.protect(password)
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, transaction: [u8; 12]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(transaction);
        Message(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn set_length(&mut self, length: usize) {
        self.0[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    }

    fn protect(mut self, password: &str) -> Vec<u8> {
        self.set_length(self.0.len() - 20 + 24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &self.0);
        self.attribute(0x0008, tag.as_ref());
        self.set_length(self.0.len() - 20 + 8);
        let checksum = crc32(&self.0) ^ 0x5354_554e;
        self.attribute(0x8028, &checksum.to_be_bytes());
        self.0
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
