//! STUN as ICE-lite needs it, RFC 8489 and RFC 8445: reading Binding requests and
//! writing their answers. Long-term credentials and other methods are left out.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

use super::{Malformed, u16_at};

/// Whether a datagram claims to be STUN, by its magic cookie (RFC 8489 §5).
#[must_use]
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER && bytes[0] < 4 && bytes[4..8] == MAGIC_COOKIE.to_be_bytes()
}

/// A STUN message seen in place, with its attributes found once.
#[derive(Clone, Copy, Debug)]
pub struct StunMessage<'a> {
    bytes: &'a [u8],
    username: Option<&'a [u8]>,
    integrity_at: Option<usize>,
    fingerprint: Option<u32>,
    use_candidate: bool,
    controlled: bool,
    unknown: [u16; MAX_UNKNOWN],
    unknown_count: usize,
}

/// What a message is (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Binding request.
    BindingRequest,
    /// A Binding indication: a keepalive that wants no answer.
    BindingIndication,
    /// A response, or another method.
    Other,
}

impl<'a> StunMessage<'a> {
    /// Checks the header and walks the attributes.
    ///
    /// # Errors
    /// When the message is not STUN or is cut.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if !is_stun(bytes) {
            return Err(Malformed);
        }
        let length = usize::from(u16_at(bytes, 2));
        if !length.is_multiple_of(4) || HEADER + length != bytes.len() {
            return Err(Malformed);
        }
        let mut message = StunMessage {
            bytes,
            username: None,
            integrity_at: None,
            fingerprint: None,
            use_candidate: false,
            controlled: false,
            unknown: [0; MAX_UNKNOWN],
            unknown_count: 0,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let value_at = at + 4;
            let length = usize::from(u16_at(bytes, at + 2));
            let value = bytes.get(value_at..value_at + length).ok_or(Malformed)?;
            message.take_attribute(u16_at(bytes, at), at, value)?;
            at = value_at + length.next_multiple_of(4);
        }
        Ok(message)
    }

    /// Notes one attribute. What follows MESSAGE-INTEGRITY is not covered by it and
    /// is ignored, but for FINGERPRINT, which must be the last one (RFC 8489 §14.5, §14.7).
    fn take_attribute(&mut self, kind: u16, at: usize, value: &'a [u8]) -> Result<(), Malformed> {
        if self.fingerprint.is_some() {
            return Err(Malformed);
        }
        if kind == FINGERPRINT {
            let value: [u8; 4] = value.try_into().map_err(|_| Malformed)?;
            self.fingerprint = Some(u32::from_be_bytes(value));
            return Ok(());
        }
        if self.integrity_at.is_some() {
            return Ok(());
        }
        match kind {
            USERNAME if self.username.is_none() => self.username = Some(value),
            MESSAGE_INTEGRITY if value.len() == INTEGRITY_LENGTH => self.integrity_at = Some(at),
            MESSAGE_INTEGRITY => return Err(Malformed),
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLED => self.controlled = true,
            PRIORITY | USERNAME => {}
            optional if optional >= FIRST_OPTIONAL => {}
            unknown => {
                if self.unknown_count < MAX_UNKNOWN {
                    self.unknown[self.unknown_count] = unknown;
                    self.unknown_count += 1;
                }
            }
        }
        Ok(())
    }

    /// Which message it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match u16_at(self.bytes, 0) {
            BINDING_REQUEST => Kind::BindingRequest,
            BINDING_INDICATION => Kind::BindingIndication,
            _ => Kind::Other,
        }
    }

    /// The two halves of the USERNAME: the receiver's user name fragment and the
    /// sender's (RFC 8445 §7.2.2).
    #[must_use]
    pub fn user_fragments(&self) -> Option<(&'a [u8], &'a [u8])> {
        let username = self.username?;
        let colon = username.iter().position(|&byte| byte == b':')?;
        Some((&username[..colon], &username[colon + 1..]))
    }

    /// Whether the sender nominates the pair (RFC 8445 §7.1.2).
    #[must_use]
    pub fn has_use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// Whether the sender believes that it is the controlled agent.
    #[must_use]
    pub fn is_from_controlled(&self) -> bool {
        self.controlled
    }

    /// Attributes that the receiver must understand and does not.
    #[must_use]
    pub fn unknown_attributes(&self) -> &[u16] {
        &self.unknown[..self.unknown_count]
    }

    /// Whether FINGERPRINT is absent or right (RFC 8489 §14.7).
    #[must_use]
    pub fn has_sound_fingerprint(&self) -> bool {
        self.fingerprint.is_none_or(|given| {
            let covered = self.bytes.len() - FINGERPRINT_ATTRIBUTE;
            given == crc32(&self.bytes[..covered]) ^ FINGERPRINT_MASK
        })
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with this key (RFC 8489 §14.5).
    #[must_use]
    pub fn verifies(&self, key: &hmac::Key) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let given = &self.bytes[at + 4..at + 4 + INTEGRITY_LENGTH];
        let computed = integrity(&self.bytes[..at], key);
        aws_lc_rs::constant_time::verify_slices_are_equal(given, computed.as_ref()).is_ok()
    }

    fn transaction(&self) -> &'a [u8] {
        &self.bytes[8..HEADER]
    }

    /// The success answer: where the request was seen to come from.
    #[must_use]
    pub fn success(&self, from: SocketAddr, key: &hmac::Key) -> Vec<u8> {
        let mut answer = Answer::begin(BINDING_SUCCESS, self.transaction());
        let mut value = [0; 20];
        let length = xor_address(from, self.transaction(), &mut value);
        answer.attribute(XOR_MAPPED_ADDRESS, &value[..length]);
        answer.finish(key)
    }

    /// The answer 420, naming the attributes that are not understood.
    #[must_use]
    pub fn unknown_attribute(&self, key: &hmac::Key) -> Vec<u8> {
        let mut answer = Answer::begin(BINDING_ERROR, self.transaction());
        answer.attribute(ERROR_CODE, &[0, 0, 4, 20]);
        let mut list = [0; 2 * MAX_UNKNOWN];
        for (slot, attribute) in list.chunks_exact_mut(2).zip(self.unknown_attributes()) {
            slot.copy_from_slice(&attribute.to_be_bytes());
        }
        answer.attribute(UNKNOWN_ATTRIBUTES, &list[..2 * self.unknown_count]);
        answer.finish(key)
    }

    /// The answer 487: the sender must take the controlling role (RFC 8445 §7.3.1.1).
    #[must_use]
    pub fn role_conflict(&self, key: &hmac::Key) -> Vec<u8> {
        let mut answer = Answer::begin(BINDING_ERROR, self.transaction());
        answer.attribute(ERROR_CODE, &[0, 0, 4, 87]);
        answer.finish(key)
    }
}

/// The key of MESSAGE-INTEGRITY for short-term credentials (RFC 8489 §9.1.1).
#[must_use]
pub fn integrity_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// An answer under construction.
struct Answer {
    bytes: Vec<u8>,
}

impl Answer {
    fn begin(kind: u16, transaction: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(transaction);
        Answer { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes
            .extend_from_slice(&u16_of(value.len()).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(0);
    }

    /// Writes the header's length as if `more` octets were to follow.
    fn set_length(&mut self, more: usize) {
        let length = u16_of(self.bytes.len() - HEADER + more);
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }

    fn finish(mut self, key: &hmac::Key) -> Vec<u8> {
        let tag = integrity(&self.bytes, key);
        self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
        self.set_length(FINGERPRINT_ATTRIBUTE);
        let fingerprint = crc32(&self.bytes) ^ FINGERPRINT_MASK;
        self.attribute(FINGERPRINT, &fingerprint.to_be_bytes());
        self.bytes
    }
}

/// HMAC over a message up to its MESSAGE-INTEGRITY, with the length that the message
/// has when it ends there.
fn integrity(covered: &[u8], key: &hmac::Key) -> hmac::Tag {
    let length = u16_of(covered.len() - HEADER + 4 + INTEGRITY_LENGTH);
    let mut context = hmac::Context::with_key(key);
    context.update(&covered[..2]);
    context.update(&length.to_be_bytes());
    context.update(&covered[4..]);
    context.sign()
}

/// Writes an XOR-MAPPED-ADDRESS value (RFC 8489 §14.2) and says how long it is.
fn xor_address(address: SocketAddr, transaction: &[u8], value: &mut [u8; 20]) -> usize {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    let port = address.port().to_be_bytes();
    value[2] = port[0] ^ mask[0];
    value[3] = port[1] ^ mask[1];
    let mut xor = |octets: &[u8]| {
        for ((slot, octet), mask) in value[4..].iter_mut().zip(octets).zip(mask) {
            *slot = octet ^ mask;
        }
        4 + octets.len()
    };
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let length = xor(&ip.octets());
            value[1] = 1;
            length
        }
        IpAddr::V6(ip) => {
            let length = xor(&ip.octets());
            value[1] = 2;
            length
        }
    }
}

fn u16_of(length: usize) -> u16 {
    u16::try_from(length).expect("a STUN message of ours is below 64 KiB")
}

/// CRC-32 of ISO 3309, as FINGERPRINT wants it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc = CRC_TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    }
    !crc
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// Octets of the header. RFC 8489 §5.
const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// Attribute types. RFC 8489 §18.3, RFC 8445 §16.1.
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
/// From here on an attribute may be ignored. RFC 8489 §14.
const FIRST_OPTIONAL: u16 = 0x8000;

const INTEGRITY_LENGTH: usize = 20;
const FINGERPRINT_ATTRIBUTE: usize = 8;
const FINGERPRINT_MASK: u32 = 0x5354_554e;
/// Unknown attributes that an answer names; more add nothing to the message.
const MAX_UNKNOWN: usize = 8;

/// A browser's connectivity check, for tests.
#[cfg(test)]
pub(crate) fn check(username: &str, password: &str, nominates: bool) -> Vec<u8> {
    let mut request = Answer::begin(BINDING_REQUEST, &[7; 12]);
    request.attribute(USERNAME, username.as_bytes());
    request.attribute(PRIORITY, &[0x6e, 0x7f, 0x1e, 0xff]);
    if nominates {
        request.attribute(USE_CANDIDATE, &[]);
    }
    request.finish(&integrity_key(password))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_sample_request_of_rfc_5769_is_understood() {
        let request = StunMessage::parse(&SAMPLE_REQUEST).unwrap();

        assert_eq!(request.kind(), Kind::BindingRequest);
        assert_eq!(request.user_fragments(), Some((&b"evtj"[..], &b"h6vY"[..])));
        assert!(request.has_sound_fingerprint());
        assert!(request.verifies(&integrity_key(PASSWORD)));
        assert!(!request.verifies(&integrity_key("another password, 22 chars")));
        assert!(request.is_from_controlled());
        assert!(request.unknown_attributes().is_empty());
    }

    #[test]
    fn the_answer_says_where_the_request_came_from() {
        let request = StunMessage::parse(&SAMPLE_REQUEST).unwrap();
        let key = integrity_key(PASSWORD);

        let bytes = request.success("192.0.2.1:32853".parse().unwrap(), &key);

        // The XOR-MAPPED-ADDRESS of RFC 5769 §2.2.
        assert_eq!(
            bytes[20..32],
            [
                0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43
            ]
        );
        let answer = StunMessage::parse(&bytes).unwrap();
        assert!(answer.verifies(&key));
        assert!(answer.has_sound_fingerprint());
    }

    #[test]
    fn an_ipv6_answer_is_that_of_rfc_5769() {
        let request = StunMessage::parse(&SAMPLE_REQUEST).unwrap();
        let from = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";

        let bytes = request.success(from.parse().unwrap(), &integrity_key(PASSWORD));

        // RFC 5769 §2.3.
        assert_eq!(
            bytes[20..44],
            [
                0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3,
                0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9
            ]
        );
    }

    #[test]
    fn an_answer_is_at_most_forty_octets_longer_than_its_request() {
        let key = integrity_key(PASSWORD);
        for unknown in 0..20u16 {
            let mut request = Answer::begin(BINDING_REQUEST, &[7; 12]);
            request.attribute(USERNAME, b"abcdefgh:abcd");
            for attribute in 0..unknown {
                request.attribute(0x7000 + attribute, &[]);
            }
            let bytes = request.finish(&key);
            let request = StunMessage::parse(&bytes).unwrap();

            let success = request.success("[2001:db8::1]:1".parse().unwrap(), &key);
            assert!(success.len() <= bytes.len() + 40);
            assert!(request.unknown_attribute(&key).len() <= bytes.len() + 40);
            assert!(request.role_conflict(&key).len() <= bytes.len() + 40);
        }
    }

    // Conforms: RFC 8489 §6.3.1 | Attributes that must be understood and are not are named in a 420.
    #[test]
    fn unknown_attributes_are_named_in_the_answer() {
        let key = integrity_key(PASSWORD);
        let mut request = Answer::begin(BINDING_REQUEST, &[7; 12]);
        request.attribute(0x7001, b"x");
        request.attribute(0xc057, b"optional");
        let bytes = request.finish(&key);

        let request = StunMessage::parse(&bytes).unwrap();
        assert_eq!(request.unknown_attributes(), [0x7001]);
        let answer = request.unknown_attribute(&key);
        assert_eq!(answer[20..28], [0, 9, 0, 4, 0, 0, 4, 20]);
        assert_eq!(answer[28..36], [0, 10, 0, 2, 0x70, 0x01, 0, 0]);
    }

    #[test]
    fn attributes_behind_the_integrity_are_not_believed() {
        let key = integrity_key(PASSWORD);
        let mut request = Answer::begin(BINDING_REQUEST, &[7; 12]);
        request.attribute(USERNAME, b"abcdefgh:abcd");
        let tag = integrity(&request.bytes, &key);
        request.attribute(MESSAGE_INTEGRITY, tag.as_ref());
        request.attribute(USE_CANDIDATE, &[]);

        let message = StunMessage::parse(&request.bytes).unwrap();
        assert!(message.verifies(&key));
        assert!(!message.has_use_candidate());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_under_the_integrity_is_noticed() {
        let key = integrity_key(PASSWORD);
        for length in 0..SAMPLE_REQUEST.len() {
            assert!(StunMessage::parse(&SAMPLE_REQUEST[..length]).is_err());
        }
        // A FINGERPRINT of another type is an optional attribute, so its head may change.
        for bit in 0..(SAMPLE_REQUEST.len() - FINGERPRINT_ATTRIBUTE) * 8 {
            let mut bytes = SAMPLE_REQUEST;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sound = StunMessage::parse(&bytes)
                .is_ok_and(|message| message.has_sound_fingerprint() && message.verifies(&key));
            assert!(!sound, "bit {bit}");
        }
    }

    /// RFC 5769 §2.1.
    const SAMPLE_REQUEST: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6,
        0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74,
        0x65, 0x73, 0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e,
        0x00, 0x01, 0xff, 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
        0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20,
        0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e,
        0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5,
        0x7a, 0x3b, 0xcf,
    ];
}
