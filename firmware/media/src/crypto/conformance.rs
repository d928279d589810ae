//! What every [`SrtpCipher`] must do, to the byte: the vectors of RFC 3711 and RFC 7714,
//! packets of all lengths, mixed batches, and a refusal of everything that was touched. It
//! is called by the tests of each cipher, and may be called on a device before it is used.

use iq::SrtpProfile;

use super::cpu::Cpu;
use super::{Index, Job, Outcome, Purpose, SessionKey, SrtpCipher, tag_length};

/// Tries the whole suite on a cipher that has the profiles named.
///
/// # Errors
/// [`Nonconforming`] with the first thing that it did otherwise.
pub fn check<C: SrtpCipher>(cipher: &C, profiles: &[SrtpProfile]) -> Result<(), Nonconforming> {
    for vector in vectors(profiles) {
        known_answer(cipher, vector)?;
    }
    for vector in vectors(profiles) {
        every_length(cipher, vector)?;
        every_touched_octet(cipher, vector)?;
    }
    mixed_batch(cipher, profiles)
}

/// Tries the known answers alone, some twenty packets: for every start of the box, on a
/// device that the whole suite would keep busy for long.
///
/// # Errors
/// [`Nonconforming`] with the first thing that it did otherwise.
pub fn check_briefly<C: SrtpCipher>(
    cipher: &C,
    profiles: &[SrtpProfile],
) -> Result<(), Nonconforming> {
    for vector in vectors(profiles) {
        known_answer(cipher, vector)?;
    }
    mixed_batch(cipher, profiles)
}

fn vectors(profiles: &[SrtpProfile]) -> impl Iterator<Item = &'static Vector> {
    VECTORS
        .iter()
        .filter(|vector| profiles.contains(&vector.profile))
}

/// What a cipher did otherwise than the suite demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cipher does not conform: {profile:?}, {what}")]
pub struct Nonconforming {
    /// With which profile.
    pub profile: SrtpProfile,
    /// What.
    pub what: &'static str,
}

fn known_answer<C: SrtpCipher>(cipher: &C, vector: &Vector) -> Result<(), Nonconforming> {
    let key = cipher.key(vector.profile, &vector.session_key());
    let mut packet = unhex(vector.plain);
    let mut tag = vec![0; tag_length(vector.profile)];

    let sealed = run(C::seal, cipher, &key, vector, &mut packet, &mut tag);
    vector.demand(sealed == Outcome::Done, "sealing failed")?;
    vector.demand(packet == unhex(vector.sealed), "other ciphertext")?;
    vector.demand(tag == unhex(vector.tag), "other tag")?;

    let opened = run(C::open, cipher, &key, vector, &mut packet, &mut tag);
    vector.demand(opened == Outcome::Done, "an authentic packet was refused")?;
    vector.demand(packet == unhex(vector.plain), "other plaintext")
}

fn every_length<C: SrtpCipher>(cipher: &C, vector: &Vector) -> Result<(), Nonconforming> {
    let key = cipher.key(vector.profile, &vector.session_key());
    let cpu_key = Cpu.key(vector.profile, &vector.session_key());
    let front = unhex(&vector.plain[..2 * vector.clear()]);
    for length in (0..=300).chain([1023, 1200, 1460]) {
        let mut plain = front.clone();
        plain.extend((0..length).map(|at| (at * 7) as u8));
        let (mut packet, mut expected) = (plain.clone(), plain.clone());
        let mut tag = vec![0; tag_length(vector.profile)];
        let mut expected_tag = tag.clone();

        let sealed = run(C::seal, cipher, &key, vector, &mut packet, &mut tag);
        vector.demand(sealed == Outcome::Done, "sealing failed")?;
        vector.demand(
            packet[..front.len()] == front,
            "the readable part was changed",
        )?;
        vector.demand(
            length < 16 || packet[front.len()..] != plain[front.len()..],
            "nothing was encrypted",
        )?;
        let packets = (&mut expected[..], &mut expected_tag[..]);
        run(Cpu::seal, &Cpu, &cpu_key, vector, packets.0, packets.1);
        let is_same = packet == expected && tag == expected_tag;
        vector.demand(is_same, "other octets than the CPU's")?;
        let opened = run(C::open, cipher, &key, vector, &mut packet, &mut tag);
        let is_same = opened == Outcome::Done && packet == plain;
        vector.demand(is_same, "sealed and opened, it differs")?;
    }
    Ok(())
}

fn every_touched_octet<C: SrtpCipher>(cipher: &C, vector: &Vector) -> Result<(), Nonconforming> {
    let key = cipher.key(vector.profile, &vector.session_key());
    let (sealed, tag) = (unhex(vector.sealed), unhex(vector.tag));
    for at in 0..sealed.len() + tag.len() {
        let (mut packet, mut tag) = (sealed.clone(), tag.clone());
        match packet.get_mut(at) {
            Some(octet) => *octet ^= 0x10,
            None => tag[at - sealed.len()] ^= 0x10,
        }
        let opened = run(C::open, cipher, &key, vector, &mut packet, &mut tag);
        vector.demand(
            opened == Outcome::Refused,
            "a packet that was touched was accepted",
        )?;
    }
    let other = Vector {
        index: match vector.index {
            Index::Rtp { index, header } => Index::Rtp {
                index: index + (1 << 16),
                header,
            },
            Index::Rtcp { index } => Index::Rtcp { index: index + 1 },
        },
        ..*vector
    };
    let opened = run(
        C::open,
        cipher,
        &key,
        &other,
        &mut sealed.clone(),
        &mut tag.clone(),
    );
    vector.demand(
        opened == Outcome::Refused,
        "a packet with another index was accepted",
    )
}

/// All vectors at once, each second one touched: each job has a verdict of its own.
fn mixed_batch<C: SrtpCipher>(cipher: &C, profiles: &[SrtpProfile]) -> Result<(), Nonconforming> {
    let keys: Vec<C::Key> = vectors(profiles)
        .map(|vector| cipher.key(vector.profile, &vector.session_key()))
        .collect();
    let mut buffers: Vec<(Vec<u8>, Vec<u8>)> = vectors(profiles)
        .map(|vector| (unhex(vector.sealed), unhex(vector.tag)))
        .collect();
    for (_, tag) in buffers.iter_mut().step_by(2) {
        tag[0] ^= 1;
    }
    let mut jobs: Vec<Job<'_, C::Key>> = vectors(profiles)
        .zip(&keys)
        .zip(&mut buffers)
        .map(|((vector, key), (packet, tag))| vector.job(key, packet, tag))
        .collect();

    cipher.open(&mut jobs);
    for (at, (vector, job)) in vectors(profiles).zip(&jobs).enumerate() {
        let expected = [Outcome::Refused, Outcome::Done][at % 2];
        vector.demand(job.outcome == expected, "a batch has one verdict for all")?;
        vector.demand(
            expected == Outcome::Refused || job.packet == unhex(vector.plain),
            "other plaintext in a batch",
        )?;
    }
    cipher.seal(&mut []);
    cipher.open(&mut []);
    Ok(())
}

fn run<C: SrtpCipher>(
    work: impl FnOnce(&C, &mut [Job<'_, C::Key>]),
    cipher: &C,
    key: &C::Key,
    vector: &Vector,
    packet: &mut [u8],
    tag: &mut [u8],
) -> Outcome {
    let mut job = vector.job(key, packet, tag);
    work(cipher, std::slice::from_mut(&mut job));
    job.outcome
}

/// A packet whose every byte is known; all numbers are in hexadecimal.
#[derive(Clone, Copy)]
struct Vector {
    profile: SrtpProfile,
    encryption: &'static str,
    authentication: &'static str,
    salt: &'static str,
    ssrc: u32,
    index: Index,
    plain: &'static str,
    sealed: &'static str,
    tag: &'static str,
}

impl Vector {
    fn session_key(&self) -> SessionKey {
        SessionKey {
            purpose: match self.index {
                Index::Rtp { .. } => Purpose::Rtp,
                Index::Rtcp { .. } => Purpose::Rtcp,
            },
            encryption: unhex(self.encryption),
            authentication: unhex(self.authentication),
            salt: unhex(self.salt),
        }
    }

    fn job<'a, K>(&self, key: &'a K, packet: &'a mut [u8], tag: &'a mut [u8]) -> Job<'a, K> {
        Job {
            key,
            packet,
            tag,
            ssrc: self.ssrc,
            index: self.index,
            outcome: Outcome::Failed,
        }
    }

    fn clear(&self) -> usize {
        match self.index {
            Index::Rtp { header, .. } => header,
            Index::Rtcp { .. } => super::RTCP_CLEAR,
        }
    }

    fn demand(&self, held: bool, what: &'static str) -> Result<(), Nonconforming> {
        let profile = self.profile;
        if held {
            Ok(())
        } else {
            Err(Nonconforming { profile, what })
        }
    }
}

/// Octets out of hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let digit = |at: usize| (pair[at] as char).to_digit(16);
            let octet = digit(0).zip(digit(1)).map(|(high, low)| high << 4 | low);
            octet.expect("the vectors are written in pairs of digits") as u8
        })
        .collect()
}

static VECTORS: [Vector; 6] = [
    // The keys of RFC 3711 §B.3, on the packets that libsrtp tests itself with.
    Vector {
        profile: SrtpProfile::Aes128CmSha1_80,
        encryption: "c61e7a93744f39ee10734afe3ff7a087",
        authentication: "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
        salt: "30cbbc08863d8c85d49db34a9ae1",
        ssrc: 0xcafe_babe,
        index: RTP_1234,
        plain: "800f1234decafbadcafebabeabababababababababababababababab",
        sealed: "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402",
        tag: "b78d6acc99ea179b8dbb",
    },
    Vector {
        profile: SrtpProfile::Aes128CmSha1_80,
        encryption: "4c1aa45a81f73d61c800bbb00fbb1eaa",
        authentication: "8d54534feb49ae8e7993a6bd0b844fc323a93dfd",
        salt: "9581c7ad87b3e530bf3e4454a8b3",
        ssrc: 0xcafe_babe,
        index: Index::Rtcp { index: 1 },
        plain: "81c8000bcafebabeabababababababababababababababab",
        sealed: "81c8000bcafebabe7128035be487b9bdbef89041f977a5a8",
        tag: "993e08cd54d6c1230798",
    },
    // RFC 7714 §16.1.1, §17.1, §16.2.1, §17.2.
    Vector {
        profile: SrtpProfile::AeadAes128Gcm,
        encryption: "000102030405060708090a0b0c0d0e0f",
        authentication: "",
        salt: QUID_PRO_QUO,
        ssrc: 0x5501_a0b2,
        index: RTP_F17B,
        plain: GALLIA,
        sealed: "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd5\
                 0d294e6f42a5f47a51c7d19b36de3adf8833",
        tag: "899d7f27beb16a9152cf765ee4390cce",
    },
    Vector {
        profile: SrtpProfile::AeadAes128Gcm,
        encryption: "000102030405060708090a0b0c0d0e0f",
        authentication: "",
        salt: QUID_PRO_QUO,
        ssrc: 0x4d61_7273,
        index: RTCP_5D4,
        plain: SENDER_REPORT,
        sealed: "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32d\
                 c676a5f1730d6fda4ce09b4686303ded0bb9275b",
        tag: "c84aa45896cf4d2fc5abf87245d9eade",
    },
    Vector {
        profile: SrtpProfile::AeadAes256Gcm,
        encryption: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        authentication: "",
        salt: QUID_PRO_QUO,
        ssrc: 0x5501_a0b2,
        index: RTP_F17B,
        plain: GALLIA,
        sealed: "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab1801238\
                 9a58e2f3b50b2a0276ffae0f1ba63799b87b",
        tag: "7aa3db36dfffd6b0f9bb7878d7a76c13",
    },
    Vector {
        profile: SrtpProfile::AeadAes256Gcm,
        encryption: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        authentication: "",
        salt: QUID_PRO_QUO,
        ssrc: 0x4d61_7273,
        index: RTCP_5D4,
        plain: SENDER_REPORT,
        sealed: "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50\
                 a2eaa5c1110555be8415f658c61de0476f1b6fad",
        tag: "1d1eb30c4446839f57ff6f6cb26ac3be",
    },
];

const QUID_PRO_QUO: &str = "517569642070726f2071756f";
const GALLIA: &str = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e697320646976\
                      69736120696e207061727465732074726573";
const SENDER_REPORT: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                             deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
const RTP_1234: Index = Index::Rtp {
    index: 0x1234,
    header: 12,
};
const RTP_F17B: Index = Index::Rtp {
    index: 0xf17b,
    header: 12,
};
const RTCP_5D4: Index = Index::Rtcp { index: 0x5d4 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PROFILES;

    #[test]
    fn the_cpu_conforms() {
        assert_eq!(check(&Cpu, &PROFILES), Ok(()));
    }

    #[test]
    fn a_cipher_that_forgets_to_check_does_not_conform() {
        struct Careless;
        impl SrtpCipher for Careless {
            type Key = <Cpu as SrtpCipher>::Key;
            fn key(&self, profile: SrtpProfile, session: &SessionKey) -> Self::Key {
                Cpu.key(profile, session)
            }
            fn seal(&self, jobs: &mut [Job<'_, Self::Key>]) {
                Cpu.seal(jobs);
            }
            fn open(&self, jobs: &mut [Job<'_, Self::Key>]) {
                Cpu.open(jobs);
                jobs.iter_mut().for_each(|job| job.outcome = Outcome::Done);
            }
        }
        let refused = check(&Careless, &PROFILES).unwrap_err();
        assert_eq!(refused.what, "a packet that was touched was accepted");
    }
}
