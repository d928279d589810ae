//! Compound RTCP packets in place, RFC 3550 §6, and with feedback packets of RFC 4585 and
//! XR of RFC 3611 stepped over. Packets of reduced size (RFC 5506) are taken too.

use super::{Malformed, u16_at, u32_at};

/// A compound packet whose lengths have all been checked.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks a compound packet once: versions, lengths, counts and the padding.
    ///
    /// # Errors
    /// [`Malformed`] when one is wrong, and then nothing of it is to be believed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = check_one(rest)?;
        }
        if bytes.is_empty() {
            return Err(Malformed);
        }
        Ok(Compound { bytes })
    }

    /// The packets in it, in order.
    pub fn packets(self) -> impl Iterator<Item = Packet<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (packet, behind) = rest.split_at(length_of(rest));
            rest = behind;
            Some(Packet::of(packet))
        })
    }
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// RFC 3550 §6.4.1.
    SenderReport {
        /// Who reports.
        ssrc: u32,
        /// What it has sent.
        info: SenderInfo,
        /// What it has received.
        blocks: Blocks<'a>,
    },
    /// RFC 3550 §6.4.2.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// What it has received.
        blocks: Blocks<'a>,
    },
    /// RFC 3550 §6.6.
    Goodbye(Leaving<'a>),
    /// Anything else: SDES, APP, feedback, XR.
    Other {
        /// Its packet type.
        packet_type: u8,
    },
}

impl<'a> Packet<'a> {
    fn of(packet: &'a [u8]) -> Self {
        let count = usize::from(packet[0] & COUNT_MASK);
        match packet[1] {
            SENDER_REPORT => Packet::SenderReport {
                ssrc: u32_at(packet, 4),
                info: SenderInfo {
                    ntp: u64::from(u32_at(packet, 8)) << 32 | u64::from(u32_at(packet, 12)),
                    rtp: u32_at(packet, 16),
                    packets: u32_at(packet, 20),
                    octets: u32_at(packet, 24),
                },
                blocks: Blocks(&packet[SENDER_HEADER..SENDER_HEADER + count * BLOCK]),
            },
            RECEIVER_REPORT => Packet::ReceiverReport {
                ssrc: u32_at(packet, 4),
                blocks: Blocks(&packet[RECEIVER_HEADER..RECEIVER_HEADER + count * BLOCK]),
            },
            GOODBYE => Packet::Goodbye(Leaving(&packet[HEADER..HEADER + 4 * count])),
            packet_type => Packet::Other { packet_type },
        }
    }
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock, seconds since 1900 in 32.32.
    pub ntp: u64,
    /// The same moment on the stream's RTP clock.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Octets of payload sent so far.
    pub octets: u32,
}

/// One reception report, RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whom it is about.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost so far, 24 bits with sign; duplicates may make it negative.
    pub lost: i32,
    /// Highest sequence, with the count of cycles above it.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// Middle of the last sender report's wall clock, 16.16, or zero.
    pub last_report: u32,
    /// Since that report arrived, in 1/65536 s.
    pub delay: u32,
}

impl ReportBlock {
    fn read(block: &[u8]) -> Self {
        let lost = u32_at(block, 4);
        ReportBlock {
            ssrc: u32_at(block, 0),
            fraction_lost: block[4],
            // The shift up and down carries the sign of 24 bits over to 32.
            lost: ((lost << 8) as i32) >> 8,
            highest_sequence: u32_at(block, 8),
            jitter: u32_at(block, 12),
            last_report: u32_at(block, 16),
            delay: u32_at(block, 20),
        }
    }

    fn words(&self) -> [u32; 6] {
        let lost = self.lost.clamp(-(1 << 23), (1 << 23) - 1) as u32 & 0x00ff_ffff;
        [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_report,
            self.delay,
        ]
    }
}

/// The reception reports of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        self.0.chunks_exact(BLOCK).map(ReportBlock::read)
    }
}

/// The sources that a goodbye names.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a>(&'a [u8]);

impl Leaving<'_> {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.chunks_exact(4).map(|source| u32_at(source, 0))
    }
}

/// Writes a compound packet into a buffer that is long enough for it.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Begins at the front.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Writer { buffer, length: 0 }
    }

    /// Octets written.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Adds a sender report.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, block: Option<&ReportBlock>) {
        let blocks = usize::from(block.is_some());
        self.header(blocks as u8, SENDER_REPORT, SENDER_HEADER + blocks * BLOCK);
        let [high, low] = [(info.ntp >> 32) as u32, info.ntp as u32];
        self.words(&[ssrc, high, low, info.rtp, info.packets, info.octets]);
        self.block(block);
    }

    /// Adds a receiver report.
    pub fn receiver_report(&mut self, ssrc: u32, block: Option<&ReportBlock>) {
        let blocks = usize::from(block.is_some());
        self.header(
            blocks as u8,
            RECEIVER_REPORT,
            RECEIVER_HEADER + blocks * BLOCK,
        );
        self.words(&[ssrc]);
        self.block(block);
    }

    /// Adds a source description with nothing but the canonical name. RFC 3550 §6.5.1.
    pub fn canonical_name(&mut self, ssrc: u32, name: &[u8; CNAME_LENGTH]) {
        let end = HEADER + 4 + 2 + CNAME_LENGTH;
        // At least one zero octet ends the list, up to the next word.
        let length = (end + 4) / 4 * 4;
        self.header(1, SOURCE_DESCRIPTION, length);
        self.words(&[ssrc]);
        self.octets(&[CNAME_ITEM, CNAME_LENGTH as u8]);
        self.octets(name);
        self.octets(&[0; 4][..length - end]);
    }

    /// Adds a goodbye of one source.
    pub fn goodbye(&mut self, ssrc: u32) {
        self.header(1, GOODBYE, HEADER + 4);
        self.words(&[ssrc]);
    }

    fn header(&mut self, count: u8, packet_type: u8, length: usize) {
        let words = (length / 4 - 1) as u16;
        self.octets(&[VERSION_2 | count, packet_type]);
        self.octets(&words.to_be_bytes());
    }

    fn block(&mut self, block: Option<&ReportBlock>) {
        if let Some(block) = block {
            self.words(&block.words());
        }
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.octets(&word.to_be_bytes());
        }
    }

    fn octets(&mut self, octets: &[u8]) {
        self.buffer[self.length..self.length + octets.len()].copy_from_slice(octets);
        self.length += octets.len();
    }
}

/// Checks the first packet of what is left, and returns what is behind it.
fn check_one(rest: &[u8]) -> Result<&[u8], Malformed> {
    if rest.len() < HEADER || rest[0] & VERSION_MASK != VERSION_2 || !TYPES.contains(&rest[1]) {
        return Err(Malformed);
    }
    let length = length_of(rest);
    if rest.len() < length {
        return Err(Malformed);
    }
    let (packet, behind) = rest.split_at(length);
    let padding = if packet[0] & PADDING_BIT == 0 {
        0
    } else {
        // RFC 3550 §6.4.1: only the last packet is padded, by whole words.
        match packet[length - 1] {
            count if count != 0 && count % 4 == 0 && behind.is_empty() => usize::from(count),
            _ => return Err(Malformed),
        }
    };
    let count = usize::from(packet[0] & COUNT_MASK);
    let least = match packet[1] {
        SENDER_REPORT => SENDER_HEADER + count * BLOCK,
        RECEIVER_REPORT => RECEIVER_HEADER + count * BLOCK,
        GOODBYE => HEADER + 4 * count,
        _ => HEADER,
    };
    if length < least + padding {
        return Err(Malformed);
    }
    Ok(behind)
}

/// Length of the packet whose header is at the front.
fn length_of(packet: &[u8]) -> usize {
    4 + 4 * usize::from(u16_at(packet, 2))
}

/// Octets of a canonical name: 96 random bits as base64. RFC 7022 §4.2.
pub const CNAME_LENGTH: usize = 16;

const VERSION_MASK: u8 = 0xc0;
const VERSION_2: u8 = 0x80;
const PADDING_BIT: u8 = 0x20;
const COUNT_MASK: u8 = 0x1f;
const HEADER: usize = 4;
const SENDER_HEADER: usize = 28;
const RECEIVER_HEADER: usize = 8;
const BLOCK: usize = 24;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const CNAME_ITEM: u8 = 1;
/// What RFC 5761 §4 sets aside for RTCP on a port shared with RTP.
const TYPES: std::ops::RangeInclusive<u8> = 192..=223;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(7, &INFO, Some(&BLOCK_OF_9));
        writer.receiver_report(7, None);
        writer.canonical_name(7, b"0123456789abcdef");
        writer.goodbye(7);
        let length = writer.length();

        let compound = Compound::parse(&buffer[..length]).unwrap();
        let packets: Vec<_> = compound.packets().collect();
        let Packet::SenderReport {
            ssrc: 7,
            info: INFO,
            blocks,
        } = packets[0]
        else {
            panic!("{packets:?}");
        };
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [BLOCK_OF_9]);
        assert!(
            matches!(packets[1], Packet::ReceiverReport { ssrc: 7, blocks } if blocks.iter().count() == 0)
        );
        assert!(matches!(packets[2], Packet::Other { packet_type: 202 }));
        assert!(matches!(packets[3], Packet::Goodbye(leaving) if leaving.iter().eq([7])));
        assert_eq!(packets.len(), 4);
    }

    #[test]
    fn loss_is_a_number_of_24_bits_with_sign() {
        for (lost, read) in [
            (0, 0),
            (-1, -1),
            (9_000_000, (1 << 23) - 1),
            (-9_000_000, -(1 << 23)),
        ] {
            let mut buffer = [0; 32];
            Writer::new(&mut buffer).receiver_report(7, Some(&ReportBlock { lost, ..BLOCK_OF_9 }));
            let compound = Compound::parse(&buffer).unwrap();
            let Some(Packet::ReceiverReport { blocks, .. }) = compound.packets().next() else {
                panic!("no report");
            };
            assert_eq!(blocks.iter().next().unwrap().lost, read);
            assert_eq!(blocks.iter().next().unwrap().fraction_lost, 64);
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        for bytes in [
            &[][..],
            &[0x80, 201, 0],
            &[0x80, 201, 0, 1, 0, 0, 0],
            &[0x40, 201, 0, 1, 0, 0, 0, 7],
            &[0x80, 191, 0, 1, 0, 0, 0, 7],
            &[0x81, 201, 0, 1, 0, 0, 0, 7],
            &[0x80, 200, 0, 1, 0, 0, 0, 7],
            &[0x80, 201, 0, 0],
            &[0x82, 203, 0, 1, 0, 0, 0, 7],
            &[0xa0, 201, 0, 1, 0, 0, 0, 4],
            &[0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0],
            &[
                0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 7,
            ],
        ] {
            assert_eq!(Compound::parse(bytes).err(), Some(Malformed), "{bytes:?}");
        }
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
        assert!(Compound::parse(&padded).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_checked_is_read_to_the_end_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            types in proptest::collection::vec(200u8..208, 0..8),
        ) {
            let mut plausible: Vec<u8> = Vec::new();
            for (packet_type, chunk) in types.iter().zip(bytes.chunks(24)) {
                let words = (chunk.len() / 4) as u8;
                plausible.extend([0x80 | chunk[0] & 3, *packet_type, 0, words]);
                plausible.extend(&chunk[..4 * usize::from(words)]);
            }
            for bytes in [bytes, plausible] {
                let Ok(compound) = Compound::parse(&bytes) else { continue };
                for packet in compound.packets() {
                    match packet {
                        Packet::SenderReport { blocks, .. }
                        | Packet::ReceiverReport { blocks, .. } => {
                            prop_assert!(blocks.iter().count() < 32);
                        }
                        Packet::Goodbye(leaving) => prop_assert!(leaving.iter().count() < 32),
                        Packet::Other { .. } => {}
                    }
                }
            }
        }
    }

    const INFO: SenderInfo = SenderInfo {
        ntp: 0x0123_4567_89ab_cdef,
        rtp: 160,
        packets: 3,
        octets: 480,
    };
    const BLOCK_OF_9: ReportBlock = ReportBlock {
        ssrc: 9,
        fraction_lost: 64,
        lost: -2,
        highest_sequence: 0x0001_0005,
        jitter: 12,
        last_report: 0x4567_89ab,
        delay: 65_536,
    };
}
