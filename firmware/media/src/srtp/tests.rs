//! Both sides against each other, against published packets, and against `rtc-srtp`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use iq::{DtlsRole, SrtpProfile};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::crypto::conformance::unhex;

mod oracle;

// Conforms: RFC 3711 §4.1 | The published packets are made and opened to the byte.
// Conforms: RFC 7714 §16 | The published AEAD packets are made and opened to the byte.
#[test]
fn a_published_rtp_packet_is_sealed_and_opened_to_the_byte() {
    let (mut inbound, mut outbound) = published_keys();
    let plain = unhex("800f1234decafbadcafebabeabababababababababababababababab");
    let sealed =
        unhex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");

    let mut buffer = [0; 64];
    buffer[..plain.len()].copy_from_slice(&plain);
    let length = outbound.seal_rtp(&mut buffer, plain.len()).unwrap();
    assert_eq!(buffer[..length], sealed);

    let length = inbound.open_rtp(&mut buffer[..length], Instant::now());
    assert_eq!(buffer[..length.unwrap()], plain);
}

#[test]
fn a_published_rtcp_packet_is_opened_to_the_byte() {
    let (mut inbound, mut outbound) = published_keys();
    let plain = unhex("81c8000bcafebabeabababababababababababababababab");
    let sealed =
        unhex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798");

    let mut buffer = [0; 64];
    for _index in 0..=1 {
        buffer[..plain.len()].copy_from_slice(&plain);
        outbound.seal_rtcp(&mut buffer, plain.len()).unwrap();
    }
    assert_eq!(buffer[..sealed.len()], sealed);

    let length = inbound.open_rtcp(&mut buffer[..sealed.len()], Instant::now());
    assert_eq!(buffer[..length.unwrap()], plain);
}

#[test]
fn what_is_sealed_is_opened_once() {
    for profile in PROFILES {
        let (mut inbound, mut outbound) = pair(profile);
        let now = Instant::now();
        for sealed in [
            seal_rtp(&mut outbound, &packet(7, 100)),
            seal_rtp(&mut outbound, &packet(7, 101)),
        ] {
            assert!(inbound.open_rtp(&mut sealed.clone(), now).is_ok());
            assert_eq!(
                inbound.open_rtp(&mut sealed.clone(), now),
                Err(OpenError::Replayed)
            );
        }
        let sealed = seal_rtcp(&mut outbound, &receiver_report(7));
        assert_eq!(inbound.open_rtcp(&mut sealed.clone(), now), Ok(8));
        assert_eq!(
            inbound.open_rtcp(&mut sealed.clone(), now),
            Err(OpenError::Replayed)
        );
    }
}

// Conforms: RFC 3711 §3.3.1 | The rollover of a late packet is guessed right.
#[test]
fn a_late_packet_from_before_the_rollover_is_still_opened() {
    for profile in PROFILES {
        let (mut inbound, mut outbound) = pair(profile);
        let sealed: Vec<_> = [30_000, 60_000, 65_535, 0, 1]
            .into_iter()
            .map(|sequence| seal_rtp(&mut outbound, &packet(7, sequence)))
            .collect();
        for at in [0, 1, 3, 4, 2] {
            let opened = inbound.open_rtp(&mut sealed[at].clone(), Instant::now());
            assert!(opened.is_ok(), "{profile:?} packet {at}");
        }
        let again = inbound.open_rtp(&mut sealed[2].clone(), Instant::now());
        assert_eq!(again, Err(OpenError::Replayed));
    }
}

#[test]
fn each_source_rolls_over_on_its_own() {
    let (mut inbound, mut outbound) = pair(SrtpProfile::AeadAes128Gcm);
    let now = Instant::now();
    for sequence in [20_000, 40_000, 60_000, 5] {
        let mut sealed = seal_rtp(&mut outbound, &packet(1, sequence));
        assert!(inbound.open_rtp(&mut sealed, now).is_ok());
    }
    let mut sealed = seal_rtp(&mut outbound, &packet(2, 5));
    assert!(inbound.open_rtp(&mut sealed, now).is_ok());
    let mut sealed = seal_rtp(&mut outbound, &packet(1, 6));
    assert!(inbound.open_rtp(&mut sealed, now).is_ok());
}

// Conforms: RFC 3711 §3.3 | State changes only for packets that proved authentic.
#[test]
fn a_forged_packet_makes_no_source_and_moves_no_window() {
    let (mut inbound, mut outbound) = pair(SrtpProfile::Aes128CmSha1_80);
    let now = Instant::now();
    let first = seal_rtp(&mut outbound, &packet(7, 1));
    assert!(inbound.open_rtp(&mut first.clone(), now).is_ok());

    for ssrc in 0..100u32 {
        let mut forged = first.clone();
        forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
        forged[2..4].copy_from_slice(&30_000u16.to_be_bytes());
        let refused = inbound.open_rtp(&mut forged, now);
        assert_eq!(refused, Err(OpenError::Unauthentic));
    }
    assert_eq!(inbound.sources(), 1);
    let mut second = seal_rtp(&mut outbound, &packet(7, 2));
    assert!(inbound.open_rtp(&mut second, now).is_ok());
}

#[test]
fn a_source_too_many_is_refused_until_one_has_been_silent_for_a_minute() {
    let (mut inbound, mut outbound) = pair(SrtpProfile::AeadAes256Gcm);
    let (_, mut other_outbound) = pair(SrtpProfile::AeadAes256Gcm);
    let start = Instant::now();
    for ssrc in 0..32 {
        let mut sealed = seal_rtp(&mut outbound, &packet(ssrc, 1));
        assert!(inbound.open_rtp(&mut sealed, start).is_ok());
    }
    let one_more = seal_rtp(&mut other_outbound, &packet(99, 1));

    let soon = start + Duration::from_secs(59);
    let refused = inbound.open_rtp(&mut one_more.clone(), soon);
    assert_eq!(refused, Err(OpenError::TooManySources));

    let mut sealed = seal_rtp(&mut outbound, &packet(0, 2));
    assert!(inbound.open_rtp(&mut sealed, soon).is_ok());
    let later = start + Duration::from_secs(60);
    assert!(inbound.open_rtp(&mut one_more.clone(), later).is_ok());
    assert_eq!(inbound.sources(), 32);
    let mut sealed = seal_rtp(&mut outbound, &packet(0, 3));
    assert!(inbound.open_rtp(&mut sealed, later).is_ok());
}

#[test]
fn a_sender_never_forgets_a_source() {
    let (_, mut outbound) = pair(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..32 {
        seal_rtp(&mut outbound, &packet(ssrc, 1));
    }
    let mut buffer = [0; 256];
    let plain = packet(32, 1);
    buffer[..plain.len()].copy_from_slice(&plain);
    let refused = outbound.seal_rtp(&mut buffer, plain.len());
    assert_eq!(refused, Err(SealError::TooManySources));
}

// Conforms: RFC 3711 §3.4 | RTCP is taken only encrypted.
#[test]
fn rtcp_that_is_not_encrypted_is_refused() {
    for profile in PROFILES {
        let (mut inbound, mut outbound) = pair(profile);
        let mut sealed = seal_rtcp(&mut outbound, &receiver_report(7));
        let word = 8 + Layout::of(profile).rtcp_word().start;
        sealed[word] &= 0x7f;
        let refused = inbound.open_rtcp(&mut sealed, Instant::now());
        assert_eq!(refused, Err(OpenError::Unauthentic));
    }
}

#[test]
fn the_keys_of_rtp_do_not_open_rtcp_of_another_direction() {
    let exported: Vec<u8> = (0..exported_length(SrtpProfile::AeadAes128Gcm) as u8).collect();
    let client = Keys::from_dtls(SrtpProfile::AeadAes128Gcm, &exported, DtlsRole::Client).unwrap();
    let mut outbound = Outbound::new(client.profile, &client.local);
    let mut echo = Inbound::new(client.profile, &client.local);
    let mut wrong = Inbound::new(client.profile, &client.remote);
    let sealed = seal_rtp(&mut outbound, &packet(7, 1));

    let now = Instant::now();
    assert!(wrong.open_rtp(&mut sealed.clone(), now).is_err());
    assert!(echo.open_rtp(&mut sealed.clone(), now).is_ok());
}

#[test]
fn no_room_for_the_tag_and_no_packet_are_refused() {
    let (_, mut outbound) = pair(SrtpProfile::Aes128CmSha1_80);
    let mut plain = packet(7, 1);
    let length = plain.len();
    assert_eq!(
        outbound.seal_rtp(&mut plain, length),
        Err(SealError::Malformed)
    );
    assert_eq!(
        outbound.seal_rtp(&mut [0; 64], 12),
        Err(SealError::Malformed)
    );
    assert_eq!(
        outbound.seal_rtcp(&mut [0; 64], 7),
        Err(SealError::Malformed)
    );
    assert_eq!(
        outbound.seal_rtcp(&mut [0; 21], 8),
        Err(SealError::Malformed)
    );
}

proptest! {
    /// RFC 3711 §9.1: equal plaintexts would show a keystream that is used twice.
    #[test]
    fn no_keystream_is_used_twice_whatever_sequence_is_asked_for(
        asked in proptest::collection::vec((0u32..3, any::<u16>()), 1..200),
        gentle in proptest::collection::vec(0u16..4, 0..200),
        profile in profiles(),
    ) {
        let (_, mut outbound) = pair(profile);
        let mut ciphertexts = BTreeSet::new();
        let mut sequence = 0u16;
        let gentle = gentle.into_iter().map(|step| {
            sequence = sequence.wrapping_add(step);
            (3, sequence)
        });
        for (ssrc, sequence) in asked.into_iter().chain(gentle) {
            let mut buffer = [0; 64];
            let plain = packet_with(ssrc, sequence, &[0; 16]);
            buffer[..28].copy_from_slice(&plain);
            if outbound.seal_rtp(&mut buffer, 28).is_ok() {
                prop_assert!(ciphertexts.insert(buffer[12..28].to_vec()));
            }
        }
        for _ in 0..20 {
            let mut report = [0; 64];
            report[0] = 0x80;
            outbound.seal_rtcp(&mut report, 24).unwrap();
            prop_assert!(ciphertexts.insert(report[8..24].to_vec()));
        }
    }

    #[test]
    fn no_bytes_from_the_network_panic_or_pass(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        profile in profiles(),
    ) {
        let (mut inbound, mut outbound) = pair(profile);
        prop_assert!(inbound.open_rtp(&mut bytes.clone(), Instant::now()).is_err());
        prop_assert!(inbound.open_rtcp(&mut bytes.clone(), Instant::now()).is_err());
        let length = bytes.len();
        bytes.resize(length + MAX_OVERHEAD, 0);
        let _ = outbound.seal_rtp(&mut bytes, length);
        let _ = outbound.seal_rtcp(&mut bytes, length);
    }

    #[test]
    fn a_packet_that_was_touched_never_passes(
        at in any::<proptest::sample::Index>(),
        mask in 1u8..,
        profile in profiles(),
    ) {
        let (mut inbound, mut outbound) = pair(profile);
        let mut sealed = seal_rtp(&mut outbound, &packet(7, 1));
        let touched = at.index(sealed.len());
        sealed[touched] ^= mask;
        prop_assert!(inbound.open_rtp(&mut sealed, Instant::now()).is_err());

        let mut sealed = seal_rtcp(&mut outbound, &receiver_report(7));
        let touched = at.index(sealed.len());
        sealed[touched] ^= mask;
        prop_assert!(inbound.open_rtcp(&mut sealed, Instant::now()).is_err());
    }
}

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::Aes128CmSha1_80,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
];

fn profiles() -> impl Strategy<Value = SrtpProfile> {
    proptest::sample::select(PROFILES.to_vec())
}

fn published_keys() -> (Inbound, Outbound) {
    let master = MasterKey::new(
        SrtpProfile::Aes128CmSha1_80,
        &unhex("e1f97a0d3e018be0d64fa32c06de4139"),
        &unhex("0ec675ad498afeebb6960b3aabe6"),
    )
    .unwrap();
    (
        Inbound::new(SrtpProfile::Aes128CmSha1_80, &master),
        Outbound::new(SrtpProfile::Aes128CmSha1_80, &master),
    )
}

/// What one side sends with, and what the other opens it with.
fn pair(profile: SrtpProfile) -> (Inbound, Outbound) {
    let master = master(profile);
    (
        Inbound::new(profile, &master),
        Outbound::new(profile, &master),
    )
}

fn master(profile: SrtpProfile) -> MasterKey {
    let exported: Vec<u8> = (0..exported_length(profile) as u8).collect();
    Keys::from_dtls(profile, &exported, DtlsRole::Client)
        .unwrap()
        .local
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    packet_with(ssrc, sequence, &[0x55; 160])
}

fn packet_with(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn receiver_report(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1], &ssrc.to_be_bytes()[..]].concat()
}

fn seal_rtp(outbound: &mut Outbound, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; MAX_OVERHEAD]].concat();
    let length = outbound.seal_rtp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn seal_rtcp(outbound: &mut Outbound, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; MAX_OVERHEAD]].concat();
    let length = outbound.seal_rtcp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}
