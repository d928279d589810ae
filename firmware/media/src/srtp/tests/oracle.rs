//! The same packets through `rtc-srtp`, both ways, with loss, reordering and rollover.

use rtc_srtp::context::Context;
use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::crypto::providers::AwsLcRsProvider;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

#[test]
fn the_oracle_opens_what_we_seal() {
    for profile in PROFILES {
        let (_, mut outbound) = pair(profile);
        let mut oracle = oracle(profile);
        let mut stream = Stream::new(1);
        for _ in 0..ROUNDS {
            let sealed: Vec<_> = stream
                .next_packets()
                .into_iter()
                .map(|plain| (seal_rtp(&mut outbound, &plain), plain))
                .collect();
            for (sealed, plain) in stream.disorder(sealed) {
                let opened = oracle.decrypt_rtp(&sealed).unwrap();
                assert_eq!(opened, plain, "{profile:?}");
            }
            let report = stream.report();
            let sealed = seal_rtcp(&mut outbound, &report);
            assert_eq!(oracle.decrypt_rtcp(&sealed).unwrap(), report, "{profile:?}");
        }
        assert!(stream.rollovers >= 2);
    }
}

#[test]
fn we_open_what_the_oracle_seals_and_nothing_twice() {
    for profile in PROFILES {
        let (mut inbound, _) = pair(profile);
        let mut oracle = oracle(profile);
        let mut stream = Stream::new(2);
        let now = Instant::now();
        for _ in 0..ROUNDS {
            let sealed: Vec<_> = stream
                .next_packets()
                .into_iter()
                .map(|plain| (oracle.encrypt_rtp(&plain).unwrap(), plain))
                .collect();
            for (sealed, plain) in stream.disorder(sealed) {
                let mut packet = sealed.to_vec();
                let length = inbound.open_rtp(&mut packet, now).unwrap();
                assert_eq!(packet[..length], plain, "{profile:?}");
                let again = inbound.open_rtp(&mut sealed.to_vec(), now);
                assert_eq!(again, Err(OpenError::Replayed));
            }
            let report = stream.report();
            let mut sealed = oracle.encrypt_rtcp(&report).unwrap().to_vec();
            let length = inbound.open_rtcp(&mut sealed, now).unwrap();
            assert_eq!(sealed[..length], report, "{profile:?}");
        }
        assert!(stream.rollovers >= 2);
    }
}

fn oracle(profile: SrtpProfile) -> Context {
    let master = master(profile);
    let profile = match profile {
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let provider = AwsLcRsProvider::new();
    let (key, salt) = (master.key.reveal(), master.salt.reveal());
    Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
}

/// A source whose sequence jumps ahead now and then, as after loss.
struct Stream {
    rng: ChaCha20Rng,
    sequence: u16,
    rollovers: u32,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Stream {
            rng: ChaCha20Rng::seed_from_u64(seed),
            sequence: 20_000,
            rollovers: 0,
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.rng.next_u32() % limit
    }

    /// Eight packets in order, with gaps.
    fn next_packets(&mut self) -> Vec<Vec<u8>> {
        (0..8)
            .map(|_| {
                let lost = if self.below(4) == 0 {
                    self.below(200)
                } else {
                    0
                };
                let (sequence, rolled) = self.sequence.overflowing_add(1 + lost as u16);
                self.rollovers += u32::from(rolled);
                self.sequence = sequence;
                self.packet()
            })
            .collect()
    }

    /// With up to three contributing sources, sometimes an extension, any payload.
    fn packet(&mut self) -> Vec<u8> {
        let sources = self.below(4) as u8;
        let extension = self.below(3) == 0;
        let mut payload = vec![0; self.below(300) as usize];
        self.rng.fill_bytes(&mut payload);
        let mut packet = packet_with(0x1234_5678, self.sequence, &[]);
        packet[0] |= sources | u8::from(extension) << 4;
        packet.extend(vec![7; 4 * usize::from(sources)]);
        if extension {
            packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        }
        packet.extend(payload);
        packet
    }

    fn report(&mut self) -> Vec<u8> {
        let mut report = receiver_report(0x1234_5678);
        report.extend(vec![0xab; 4 * self.below(20) as usize]);
        report
    }

    /// Drops some, and swaps neighbours.
    fn disorder<T>(&mut self, mut packets: Vec<T>) -> Vec<T> {
        for at in 1..packets.len() {
            if self.below(4) == 0 {
                packets.swap(at - 1, at);
            }
        }
        packets.retain(|_| self.below(10) != 0);
        packets
    }
}

const ROUNDS: usize = 800;
