#![allow(clippy::unwrap_used)]

use super::*;

const K: Block = [0x11; 16];
const OPC: Block = [0x22; 16];

fn isim() -> Isim {
    Isim::new(Zeroizing::new(K), Zeroizing::new(OPC))
}

/// What a home network sends with this sequence number.
fn challenge(sqn: u64) -> Challenge {
    let rand = [0x33; 16];
    let milenage = Milenage::new(&K, &OPC);
    let [_, _, sqn @ ..] = sqn.to_be_bytes();
    let amf = [0x80, 0];
    let ak = milenage.vector(&rand).ak;
    let (mac, _) = milenage.macs(&rand, &sqn, amf);
    let mut autn = [0; 16];
    for at in 0..6 {
        autn[at] = sqn[at] ^ ak[at];
    }
    autn[6..8].copy_from_slice(&amf);
    autn[8..].copy_from_slice(&mac);
    Challenge { rand, autn }
}

/// The ISIM of these tests, and what its network sends as a nonce with a sequence number.
pub(crate) fn user() -> Isim {
    isim()
}

pub(crate) fn nonce(sqn: u64) -> String {
    let Challenge { rand, autn } = challenge(sqn);
    base64(&[rand, autn].concat())
}

/// What the home network reads out of AUTS, after it checked MAC-S.
fn heard(auts: [u8; 14]) -> u64 {
    let rand = [0x33; 16];
    let milenage = Milenage::new(&K, &OPC);
    let ak = milenage.resynchronisation_ak(&rand);
    let sqn: [u8; 6] = std::array::from_fn(|at| auts[at] ^ ak[at]);
    let (_, mac) = milenage.macs(&rand, &sqn, [0; 2]);
    assert_eq!(auts[6..], mac);
    number(sqn)
}

fn is_proven(isim: &mut Isim, sqn: u64) -> bool {
    matches!(isim.authenticate(&challenge(sqn)), Outcome::Proven { .. })
}

#[test]
fn a_sequence_number_is_good_once() {
    let mut isim = isim();
    assert!(is_proven(&mut isim, 64));
    let Outcome::OutOfStep { auts } = isim.authenticate(&challenge(64)) else {
        panic!("it was used");
    };
    assert_eq!(heard(auts), 64);
    assert!(is_proven(&mut isim, 96));
}

#[test]
fn numbers_of_another_index_may_come_late() {
    let mut isim = isim();
    assert!(is_proven(&mut isim, 10 * 32 + 1));
    assert!(is_proven(&mut isim, 9 * 32 + 2), "IND 2 has seen less");
    assert!(!is_proven(&mut isim, 9 * 32 + 2));
    assert!(!is_proven(&mut isim, 10 * 32 + 1));
}

#[test]
fn a_number_that_leaps_too_far_is_out_of_step() {
    let mut isim = isim();
    assert!(is_proven(&mut isim, 32));
    assert!(!is_proven(&mut isim, (2 + (1 << 28)) * 32));
    assert!(is_proven(&mut isim, (1 + (1 << 28)) * 32));
}

#[test]
fn the_first_number_of_all_may_be_any() {
    for first in [0, 1, 31, (1 << 48) - 1] {
        assert!(is_proven(&mut isim(), first), "{first}");
    }
}

#[test]
fn a_changed_autn_is_a_foreign_networks() {
    for at in 0..16 {
        let mut challenge = challenge(64);
        challenge.autn[at] ^= 1;
        let mut isim = isim();
        assert!(matches!(
            isim.authenticate(&challenge),
            Outcome::ForeignNetwork
        ));
        assert_eq!(*isim.seen(), Seen::default(), "nothing is learnt from it");
    }
}

#[test]
fn what_was_seen_is_kept_with_the_keys() {
    let mut first = isim();
    assert!(is_proven(&mut first, 77));
    let mut again = Isim::from_bytes(&first.to_bytes()).unwrap();
    assert_eq!(again, first);
    assert!(!is_proven(&mut again, 77));
    assert_eq!(Isim::from_bytes(&first.to_bytes()[1..]), None);
}

#[test]
fn a_nonce_may_carry_server_data_and_lack_its_padding() {
    let bytes: Vec<u8> = (0..40).collect();
    let padded = base64(&bytes);
    let parsed = Challenge::parse(&padded).unwrap();
    assert_eq!(parsed.rand[15], 15);
    assert_eq!(parsed.autn[0], 16);
    assert_eq!(Challenge::parse(padded.trim_end_matches('=')), Some(parsed));
    for wrong in ["", "abc", &base64(&bytes[..31]), "no base64 at all!"] {
        assert_eq!(Challenge::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn nothing_of_it_prints() {
    let mut isim = isim();
    let outcome = isim.authenticate(&challenge(1));
    let Outcome::Proven { keys, .. } = outcome else {
        panic!("a good challenge");
    };
    assert_eq!(
        format!("{isim:?} {keys:?}"),
        "Isim <private> AkaKeys <private>"
    );
}
