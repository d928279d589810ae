//! The home network's side of AKA: vectors by Milenage (TS 33.102 §6.3, TS 35.206).

use md5::{Digest, Md5};
use milenage::Milenage;

/// One authentication vector.
#[derive(Debug)]
pub(super) struct Vector {
    /// RAND and AUTN, as a challenge's nonce carries them.
    pub(super) challenge: [u8; 32],
    /// What the ISIM must answer.
    pub(super) expected: [u8; 8],
    /// CK.
    pub(super) confidentiality_key: [u8; 16],
    /// IK.
    pub(super) integrity_key: [u8; 16],
}

/// The secret that a user's ISIM shares with the HSS.
pub fn key(user: &str) -> [u8; 16] {
    Md5::digest(format!("{user} K")).into()
}

/// The operator's constant, already combined with a user's key.
pub fn operator_key(user: &str) -> [u8; 16] {
    Md5::digest(format!("{user} OPc")).into()
}

/// The vector of a user for a sequence number.
pub(super) fn vector(user: &str, sequence: u64) -> Vector {
    let mut milenage = Milenage::new_with_opc(key(user), operator_key(user));
    let random: [u8; 16] = Md5::digest(format!("{user} RAND {sequence}")).into();
    let [_, _, counter @ ..] = sequence.to_be_bytes();
    let mac = milenage.f1(&random, &counter, &AMF);
    let (expected, confidentiality_key, integrity_key, anonymity_key) = milenage.f2345(&random);
    let mut challenge = [0; 32];
    challenge[..16].copy_from_slice(&random);
    for (at, byte) in counter.iter().enumerate() {
        challenge[16 + at] = byte ^ anonymity_key[at];
    }
    challenge[22..24].copy_from_slice(&AMF);
    challenge[24..].copy_from_slice(&mac);
    Vector {
        challenge,
        expected,
        confidentiality_key,
        integrity_key,
    }
}

/// The authentication management field; its first bit is for other networks than IMS.
const AMF: [u8; 2] = [0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_isim_finds_its_own_network_in_the_vector() {
        let vector = vector("isim1", 33);
        let mut isim = Milenage::new_with_opc(key("isim1"), operator_key("isim1"));
        let mut random = [0; 16];
        random.copy_from_slice(&vector.challenge[..16]);
        let (answer, _, _, anonymity_key) = isim.f2345(&random);
        let mut counter = [0; 6];
        for (at, byte) in counter.iter_mut().enumerate() {
            *byte = vector.challenge[16 + at] ^ anonymity_key[at];
        }

        assert_eq!(counter, [0, 0, 0, 0, 0, 33]);
        assert_eq!(answer, vector.expected);
        assert_eq!(
            isim.f1(&random, &counter, &AMF),
            vector.challenge[24..],
            "AUTN carries the network's proof"
        );
    }
}
