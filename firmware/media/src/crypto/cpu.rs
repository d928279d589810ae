//! SRTP on the CPU by aws-lc: AES-GCM (RFC 7714), and AES counter mode with HMAC-SHA1
//! (RFC 3711 §4.1.1, §4.2.1) whose pad states are computed once per key.

mod raw;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use iq::SrtpProfile;

use super::blocks::{counter_block, gcm_nonce, rtcp_associated, trailer};
use super::{Index, Job, Outcome, SessionKey, SrtpCipher, is_same_tag, tag_length};

/// The cipher that is always there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

/// Expanded session keys.
pub struct CpuKey(Suite);

enum Suite {
    CounterMode(Box<CounterMode>),
    Gcm { aead: LessSafeKey, salt: [u8; 12] },
}

struct CounterMode {
    aes: raw::Aes,
    mac: raw::HmacSha1,
    salt: [u8; 14],
}

impl SrtpCipher for Cpu {
    type Key = CpuKey;

    fn key(&self, profile: SrtpProfile, session: &SessionKey) -> CpuKey {
        let gcm = |algorithm| Suite::Gcm {
            aead: LessSafeKey::new(
                UnboundKey::new(algorithm, &session.encryption)
                    .expect("the key derivation gives the profile's key length"),
            ),
            salt: fixed(&session.salt),
        };
        CpuKey(match profile {
            SrtpProfile::Aes128CmSha1_80 => Suite::CounterMode(Box::new(CounterMode {
                aes: raw::Aes::new(&session.encryption),
                mac: raw::HmacSha1::new(&fixed(&session.authentication)),
                salt: fixed(&session.salt),
            })),
            SrtpProfile::AeadAes128Gcm => gcm(&AES_128_GCM),
            SrtpProfile::AeadAes256Gcm => gcm(&AES_256_GCM),
        })
    }

    fn seal(&self, jobs: &mut [Job<'_, CpuKey>]) {
        for job in jobs {
            job.outcome = self.seal_one(job.key, job);
        }
    }

    fn open(&self, jobs: &mut [Job<'_, CpuKey>]) {
        for job in jobs {
            job.outcome = self.open_one(job.key, job);
        }
    }
}

impl Cpu {
    /// Seals a packet with these keys, whatever cipher its own are for.
    #[inline]
    pub fn seal_one<K>(self, key: &CpuKey, job: &mut Job<'_, K>) -> Outcome {
        match &key.0 {
            Suite::CounterMode(key) => key.seal(job),
            Suite::Gcm { aead, salt } => seal_gcm(aead, salt, job),
        }
    }

    /// Opens a packet with these keys, whatever cipher its own are for.
    #[inline]
    pub fn open_one<K>(self, key: &CpuKey, job: &mut Job<'_, K>) -> Outcome {
        match &key.0 {
            Suite::CounterMode(key) => key.open(job),
            Suite::Gcm { aead, salt } => open_gcm(aead, salt, job),
        }
    }
}

impl CounterMode {
    fn seal<K>(&self, job: &mut Job<'_, K>) -> Outcome {
        self.apply(job);
        let tag = self.mac.authenticate(job.packet, &trailer(job.index));
        job.tag.copy_from_slice(&tag[..CM_TAG]);
        Outcome::Done
    }

    fn open<K>(&self, job: &mut Job<'_, K>) -> Outcome {
        let tag = self.mac.authenticate(job.packet, &trailer(job.index));
        if !is_same_tag(&tag[..CM_TAG], job.tag) {
            return Outcome::Refused;
        }
        self.apply(job);
        Outcome::Done
    }

    fn apply<K>(&self, job: &mut Job<'_, K>) {
        let clear = job.clear();
        let counter = counter_block(&self.salt, job.ssrc, job.index.number());
        self.aes.counter_mode(counter, &mut job.packet[clear..]);
    }
}

fn seal_gcm<K>(aead: &LessSafeKey, salt: &[u8; 12], job: &mut Job<'_, K>) -> Outcome {
    let nonce = gcm_nonce(salt, job.ssrc, job.index.number());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let clear = job.clear();
    let (header, body) = job.packet.split_at_mut(clear);
    let sealed = match job.index {
        Index::Rtp { .. } => aead.seal_in_place_separate_tag(nonce, Aad::from(&*header), body),
        Index::Rtcp { index } => {
            aead.seal_in_place_separate_tag(nonce, Aad::from(rtcp_associated(header, index)), body)
        }
    };
    match sealed {
        Ok(tag) => {
            job.tag.copy_from_slice(tag.as_ref());
            Outcome::Done
        }
        // Longer than GCM goes: no engine could.
        Err(_) => Outcome::Refused,
    }
}

fn open_gcm<K>(aead: &LessSafeKey, salt: &[u8; 12], job: &mut Job<'_, K>) -> Outcome {
    let nonce = gcm_nonce(salt, job.ssrc, job.index.number());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let clear = job.clear();
    let (header, body) = job.packet.split_at_mut(clear);
    let opened = match job.index {
        Index::Rtp { .. } => aead
            .open_in_place_separate_tag(nonce, Aad::from(&*header), job.tag, body)
            .is_ok(),
        Index::Rtcp { index } => aead
            .open_in_place_separate_tag(
                nonce,
                Aad::from(rtcp_associated(header, index)),
                job.tag,
                body,
            )
            .is_ok(),
    };
    if opened {
        Outcome::Done
    } else {
        Outcome::Refused
    }
}

/// Keystream of AES counter mode from a given block on: the pseudo-random function of the
/// key derivation. RFC 3711 §4.3.3.
pub(crate) fn keystream(key: &[u8], counter: [u8; 16], length: usize) -> Vec<u8> {
    let mut stream = vec![0; length];
    raw::Aes::new(key).counter_mode(counter, &mut stream);
    stream
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes
        .try_into()
        .expect("the key derivation gives the profile's lengths")
}

/// Octets of the tag `HMAC_SHA1_80`.
const CM_TAG: usize = tag_length(SrtpProfile::Aes128CmSha1_80);

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::*;
    use crate::crypto::conformance::unhex;

    #[test]
    fn the_keystream_is_that_of_rfc_3711_appendix_b2() {
        let key = unhex("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = fixed(&unhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let stream = keystream(&key, counter_block(&salt, 0, 0), 0xff02 * 16);

        for (block, expected) in [
            (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            assert_eq!(stream[block * 16..][..16], unhex(expected), "{block:#x}");
        }
    }

    #[test]
    fn the_mac_is_hmac_sha1_at_every_length() {
        let key = [0x0b; 20];
        let ours = raw::HmacSha1::new(&key);
        let theirs = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        for length in 0..300 {
            let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let trailer = [1, 2, 3, length as u8];
            let expected = hmac::sign(&theirs, &[&message[..], &trailer].concat());
            assert_eq!(ours.authenticate(&message, &trailer), expected.as_ref());
        }
    }
}
