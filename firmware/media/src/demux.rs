//! Whose datagram is it: RFC 7983 by the first octet, RFC 5761 §4 for RTCP, then by
//! what ICE learnt. A source address is believed only after a check from it passed.

use std::collections::HashMap;
use std::net::SocketAddr;

use iq::LineIndex;

use crate::PairId;
use crate::packet::stun::is_stun;

/// What a datagram on the browsers' socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A STUN message.
    Stun,
    /// DTLS records.
    Dtls,
    /// An RTP packet, sealed.
    Rtp,
    /// An RTCP packet, sealed.
    Rtcp,
    /// ZRTP, TURN, QUIC and what else is not spoken here.
    Unknown,
}

/// Tells by the first octets what a datagram is.
pub(crate) fn classify(datagram: &[u8]) -> Class {
    let (Some(&first), Some(&second)) = (datagram.first(), datagram.get(1)) else {
        return Class::Unknown;
    };
    match first {
        0..=3 if is_stun(datagram) => Class::Stun,
        20..=63 if datagram.len() >= DTLS_HEADER => Class::Dtls,
        // RFC 5761 §4: payload types 64 to 95 are never RTP's here.
        128..=191 if (192..=223).contains(&second) && datagram.len() >= RTCP_HEADER => Class::Rtcp,
        128..=191 if datagram.len() >= RTP_HEADER => Class::Rtp,
        _ => Class::Unknown,
    }
}

/// Where a relay lies in its worker's table.
pub(crate) type Slot = u32;

/// Finds relays by what a datagram shows.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_fragment: HashMap<Box<[u8]>, Slot>,
    by_source: HashMap<SocketAddr, Slot>,
    by_pair: Vec<Option<(Slot, LineIndex)>>,
}

impl Directory {
    /// Whose our user name fragment is.
    pub(crate) fn of_fragment(&self, ufrag: &[u8]) -> Option<Slot> {
        self.by_fragment.get(ufrag).copied()
    }

    /// Whose validated address this is.
    pub(crate) fn of_source(&self, from: SocketAddr) -> Option<Slot> {
        self.by_source.get(&from).copied()
    }

    /// Whose port pair this is.
    pub(crate) fn of_pair(&self, pair: PairId) -> Option<(Slot, LineIndex)> {
        self.by_pair.get(pair.0 as usize).copied().flatten()
    }

    pub(crate) fn add_fragment(&mut self, ufrag: &str, slot: Slot) {
        self.by_fragment.insert(ufrag.as_bytes().into(), slot);
    }

    pub(crate) fn remove_fragment(&mut self, ufrag: &str) {
        self.by_fragment.remove(ufrag.as_bytes());
    }

    pub(crate) fn add_source(&mut self, from: SocketAddr, slot: Slot) {
        self.by_source.insert(from, slot);
    }

    /// Forgets an address, unless it is another relay's by now.
    pub(crate) fn remove_source(&mut self, from: SocketAddr, slot: Slot) {
        if self.of_source(from) == Some(slot) {
            self.by_source.remove(&from);
        }
    }

    pub(crate) fn add_pair(&mut self, pair: PairId, slot: Slot, line: LineIndex) {
        let at = pair.0 as usize;
        if self.by_pair.len() <= at {
            self.by_pair.resize(at + 1, None);
        }
        self.by_pair[at] = Some((slot, line));
    }

    pub(crate) fn remove_pair(&mut self, pair: PairId) {
        if let Some(entry) = self.by_pair.get_mut(pair.0 as usize) {
            *entry = None;
        }
    }
}

/// Octets of a DTLS record's header. RFC 6347 §4.1.
const DTLS_HEADER: usize = 13;
/// RFC 3550 §5.1.
const RTP_HEADER: usize = 12;
/// RFC 3550 §6.4.2.
const RTCP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    // Conforms: RFC 7983 §7 | STUN, DTLS, RTP and RTCP share a port and are told apart by the first octet.
    #[test]
    fn the_first_octets_tell_the_protocol() {
        let classes: String = (0..=255u8)
            .map(|first| {
                let mut datagram = [0; 40];
                datagram[0] = first;
                datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
                match classify(&datagram) {
                    Class::Stun => 'S',
                    Class::Dtls => 'D',
                    Class::Rtp => 'R',
                    Class::Rtcp => 'C',
                    Class::Unknown => '.',
                }
            })
            .collect();

        assert_eq!(
            classes,
            [
                "S".repeat(4),
                ".".repeat(16),
                "D".repeat(44),
                ".".repeat(64),
                "R".repeat(64),
                ".".repeat(64)
            ]
            .concat()
        );
    }

    // Conforms: RFC 5761 §4 | RTCP is told from RTP by its packet type.
    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        for second in 0..=255u8 {
            let mut datagram = [0; 12];
            datagram[..2].copy_from_slice(&[0x80, second]);
            let expected = match second {
                192..=223 => Class::Rtcp,
                _ => Class::Rtp,
            };
            assert_eq!(classify(&datagram), expected, "{second}");
        }
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        assert_eq!(classify(&[]), Class::Unknown);
        assert_eq!(classify(&[0x80]), Class::Unknown);
        assert_eq!(classify(&[0x80; 11]), Class::Unknown);
        assert_eq!(classify(&[22; 12]), Class::Unknown);
        assert_eq!(classify(&[0; 20]), Class::Unknown);
    }
}
