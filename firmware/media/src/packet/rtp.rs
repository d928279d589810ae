//! RTP packets in place, RFC 3550 §5.1 and §5.3.1. Contributing sources and header
//! extensions are stepped over and not read.

use super::{Malformed, u16_at, u32_at};

/// The fields of an RTP packet, and where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Meaning depends on the payload; for audio, the first packet after silence.
    pub marker: bool,
    /// Seven bits.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: u16,
    /// Counts the clock of the payload.
    pub timestamp: u32,
    /// Who sent it.
    pub ssrc: u32,
    /// Where the payload starts: after contributing sources and extension.
    pub payload_start: usize,
    /// Where the payload ends: before the padding.
    pub payload_end: usize,
}

impl Header {
    /// Checks a packet once: version, and that CSRC list, extension and padding fit.
    ///
    /// # Errors
    /// [`Malformed`] when they do not.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let payload_start = header_length(packet)?;
        let padding = if packet[0] & PADDING_BIT == 0 {
            0
        } else {
            // RFC 3550 §5.1: the last octet counts itself, so zero is nonsense.
            match packet[packet.len() - 1] {
                0 => return Err(Malformed),
                count => usize::from(count),
            }
        };
        let payload_end = packet.len().checked_sub(padding).ok_or(Malformed)?;
        if payload_end < payload_start {
            return Err(Malformed);
        }
        Ok(Header {
            marker: packet[1] & MARKER_BIT != 0,
            payload_type: packet[1] & !MARKER_BIT,
            sequence: u16_at(packet, 2),
            timestamp: u32_at(packet, 4),
            ssrc: u32_at(packet, 8),
            payload_start,
            payload_end,
        })
    }

    /// The payload within the packet this header was read from.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        &packet[self.payload_start..self.payload_end]
    }

    /// How long the payload is.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.payload_end - self.payload_start
    }

    /// Writes the twelve fixed octets: no padding, extension or contributing source.
    pub fn write(&self, packet: &mut [u8]) {
        packet[0] = VERSION_2;
        packet[1] = u8::from(self.marker) << 7 | self.payload_type & !MARKER_BIT;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Length of the header with contributing sources and extension. It is all that can
/// be known of an SRTP packet before it is opened: padding is encrypted.
///
/// # Errors
/// [`Malformed`] when it is not RTP version 2, or shorter than its header says.
pub fn header_length(packet: &[u8]) -> Result<usize, Malformed> {
    if packet.len() < FIXED_HEADER || packet[0] & VERSION_MASK != VERSION_2 {
        return Err(Malformed);
    }
    let mut length = FIXED_HEADER + 4 * usize::from(packet[0] & CSRC_COUNT_MASK);
    if packet[0] & EXTENSION_BIT != 0 {
        if packet.len() < length + 4 {
            return Err(Malformed);
        }
        length += 4 + 4 * usize::from(u16_at(packet, length + 2));
    }
    if packet.len() < length {
        return Err(Malformed);
    }
    Ok(length)
}

/// Octets of a header without contributing sources and extension.
pub const FIXED_HEADER: usize = 12;

const VERSION_MASK: u8 = 0xc0;
const VERSION_2: u8 = 0x80;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT_MASK: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contributing_sources_extension_and_padding_are_stepped_over() {
        let mut packet = vec![0xb2, 0xe0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7];
        packet.extend([1; 8]);
        packet.extend([0xbe, 0xde, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
        packet.extend(*b"sound");
        packet.extend([0, 0, 3]);

        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), b"sound");
        assert_eq!(
            header,
            Header {
                marker: true,
                payload_type: 96,
                sequence: 5,
                timestamp: 9,
                ssrc: 7,
                payload_start: 32,
                payload_end: 37,
            }
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fixed = [0x80, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
        let with = |first: u8, rest: &[u8]| [&[first][..], &fixed[1..], rest].concat();
        for packet in [
            fixed[..11].to_vec(),
            with(0x40, &[]),
            with(0x81, &[0; 3]),
            with(0x90, &[0; 3]),
            with(0x90, &[0, 0, 0, 1, 0, 0, 0]),
            with(0xa0, &[0]),
            with(0xa0, &[2]),
        ] {
            assert_eq!(Header::parse(&packet), Err(Malformed), "{packet:?}");
        }
        assert_eq!(Header::parse(&fixed).unwrap().payload_len(), 0);
        let only_padding = with(0xa0, &[0, 0, 0, 4]);
        assert_eq!(Header::parse(&only_padding).unwrap().payload_len(), 0);
    }

    proptest! {
        #[test]
        fn a_header_that_was_written_is_read_again(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            payload in 0usize..50,
        ) {
            let header = Header {
                marker, payload_type, sequence, timestamp, ssrc,
                payload_start: 12,
                payload_end: 12 + payload,
            };
            let mut packet = vec![0; 12 + payload];
            header.write(&mut packet);
            prop_assert_eq!(Header::parse(&packet), Ok(header));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.payload(&bytes).len() <= bytes.len() - 12);
            }
        }
    }
}
