//! ICE and DTLS with a browser, in every weather.

use std::time::Duration;

use iq::{Command, Fingerprint, FingerprintHash, Reply, SrtpProfile};
use media::{Discard, Socket, Verdict};

use crate::browser::Browser;
use crate::world::{BOX, DELAY, Datagram, World, addr, configure};

const BROWSER: &str = "192.0.2.7:40000";

#[test]
fn a_browser_connects_within_a_second() {
    let mut world = World::new();
    world.call(1, Browser::new(BROWSER, world.now()));

    world.run(Duration::from_secs(1));

    assert_eq!(world.timeline(), "0s reserved, 0s connected");
    assert!(world.browsers[0].connected);
    let connected = world.replies.iter().find_map(|(_, reply)| match reply {
        Reply::Connected(connected) => Some(*connected),
        _ => None,
    });
    assert_eq!(connected.unwrap().profile, SrtpProfile::AeadAes256Gcm);
    assert!(connected.unwrap().handshake > 2 * DELAY);
}

#[test]
fn a_browser_that_waits_for_our_handshake_gets_it() {
    let mut world = World::new();
    world.call(1, Browser::passive(BROWSER, world.now()));
    world.run(Duration::from_secs(2));
    assert_eq!(world.timeline(), "0s reserved, 0s connected");
    assert!(world.browsers[0].connected);
}

#[test]
fn dtls_1_3_is_spoken_where_the_setting_allows_it() {
    let mut world = World::with(|config| config.dtls_13 = true);
    world.call(1, Browser::with_dtls_13(BROWSER, world.now()));
    world.call(2, Browser::new("192.0.2.8:40000", world.now()));
    world.run(Duration::from_secs(1));
    assert_eq!(world.relays.counters().handshakes_established, 2);

    let mut world = World::new();
    world.call(1, Browser::with_dtls_13(BROWSER, world.now()));
    world.run(Duration::from_secs(12));
    assert!(world.timeline().ends_with("lost: DTLS handshake failed"));
}

#[test]
fn keys_wait_for_a_description_that_comes_after_the_handshake() {
    let mut world = World::new();
    let mut browser = Browser::new(BROWSER, world.now());
    let reserved = world.reserve(1);
    browser.learn(&reserved.access);
    world.browsers.push(browser);

    world.run(Duration::from_secs(15));
    assert!(world.browsers[0].connected);
    assert_eq!(world.timeline(), "0s reserved");
    let audio = world.browsers[0].rtp(8, &[0xd5; 160]);
    let sealed = world.browsers[0].seal(&audio);
    assert_eq!(
        world.arrive(Socket::Access(0), addr(BROWSER), &sealed),
        Verdict::Discarded(Discard::NoKeys)
    );

    let wanted = configure(1, &world.browsers[0]);
    world.command(Command::Configure(wanted));
    assert_eq!(world.timeline(), "0s reserved, 15s connected");
}

#[test]
fn another_certificate_than_the_promised_one_is_shown_the_door() {
    let mut world = World::new();
    let mut browser = Browser::new(BROWSER, world.now());
    let reserved = world.reserve(1);
    let mut wanted = configure(1, &browser);
    wanted.access.as_mut().unwrap().fingerprints[0].value[7] ^= 1;
    world.command(Command::Configure(wanted));
    browser.learn(&reserved.access);
    world.browsers.push(browser);

    world.run(Duration::from_secs(5));

    assert_eq!(
        world.timeline(),
        "0s reserved, 0s lost: DTLS fingerprint mismatch"
    );
    let sealed = world.browsers[0].srtp_probe();
    assert_eq!(
        world.arrive(Socket::Access(0), addr(BROWSER), &sealed),
        Verdict::Discarded(Discard::NoKeys)
    );
}

#[test]
fn only_the_strongest_hash_counts() {
    let mut world = World::new();
    let browser = Browser::new(BROWSER, world.now());
    let mut wanted = configure(1, &browser);
    let strongest = Fingerprint {
        hash: FingerprintHash::Sha512,
        value: vec![0; 64],
    };
    let access = wanted.access.as_mut().unwrap();
    access.fingerprints.push(strongest);
    world.call(1, browser);
    world.command(Command::Configure(wanted));
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s lost: DTLS fingerprint mismatch"
    );
}

#[test]
fn dtls_before_any_check_gets_silence() {
    let mut world = World::new();
    world.weather = Box::new(|datagram| {
        // Connectivity checks are lost, everything else arrives.
        match datagram.bytes[0] {
            0..=3 => vec![],
            _ => vec![(DELAY, datagram.clone())],
        }
    });
    world.call(1, Browser::new(BROWSER, world.now()));
    let hello = [
        &[22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1][..],
        &[0; 60],
    ]
    .concat();
    assert_eq!(
        world.arrive(Socket::Access(0), addr(BROWSER), &hello),
        Verdict::Discarded(Discard::UnvalidatedSource)
    );
    world.run(Duration::from_secs(25));
    assert!(world.access_sent.is_empty());
    assert_eq!(
        world.timeline(),
        "0s reserved, 20s lost: ICE never connected"
    );
}

#[test]
fn a_handshake_survives_loss_duplicates_and_disorder() {
    for seed in 0..60u64 {
        let mut world = World::new();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        world.weather = Box::new(move |datagram| {
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let is_check = datagram.bytes[0] < 4;
            let copies = match random() % 10 {
                0..=2 if !is_check => 0,
                3..=4 => 2,
                _ => 1,
            };
            (0..copies)
                .map(|_| {
                    let delay = Duration::from_millis(5 + random() % 60);
                    (delay, datagram.clone())
                })
                .collect()
        });
        world.call(1, Browser::new(BROWSER, world.now()));
        world.run(Duration::from_secs(9));
        assert!(
            world.timeline().starts_with("0s reserved, ") && world.timeline().contains("connected"),
            "seed {seed}: {}",
            world.timeline()
        );
    }
}

#[test]
fn a_client_hello_in_pieces_in_any_order_is_understood() {
    for reversed in [false, true] {
        for size in [100, 50, 20] {
            let mut world = World::new();
            world.weather = Box::new(move |datagram| cut_client_hello(datagram, size, reversed));
            world.call(1, Browser::new(BROWSER, world.now()));
            world.run(Duration::from_secs(3));
            assert_eq!(
                world.timeline(),
                "0s reserved, 0s connected",
                "pieces of {size}, reversed: {reversed}"
            );
        }
    }
}

#[test]
fn one_browsers_flood_does_not_cost_another_its_consent() {
    let mut world = World::new();
    world.call(1, Browser::new(BROWSER, world.now()));
    world.call(2, Browser::new("192.0.2.8:40000", world.now()));
    world.run(Duration::from_secs(1));
    // A thousand records a second, each worth a decryption.
    for _ in 0..20_000 {
        world.arrive(Socket::Access(0), addr(BROWSER), &[23; 100]);
        world.run(Duration::from_millis(1));
    }
    let timeline = world.timeline();
    let lost = world
        .replies
        .iter()
        .any(|(_, reply)| matches!(reply, Reply::AccessLost { session, .. } if session.n == 2));
    assert!(!lost, "{timeline}");
    assert!(world.relays.counters().discarded.over_budget > 15_000);
}

#[test]
fn a_batch_costs_a_bounded_number_of_handshakes() {
    let mut world = World::new();
    world.call(1, Browser::new(BROWSER, world.now()));
    world.run(Duration::from_secs(1));
    let mut verdicts = Vec::new();
    world.relays.begin_batch();
    for _ in 0..200 {
        let mut slot = media::PacketBuffer::new();
        slot.fill(&[23; 100]);
        let arrival = media::Arrival {
            socket: Socket::Access(0),
            from: addr(BROWSER),
        };
        let now = world.now();
        verdicts.push(world.relays.handle_packet(arrival, &mut slot, now));
    }
    let over = Verdict::Discarded(Discard::OverBudget);
    assert_eq!(verdicts.iter().filter(|&&v| v == over).count(), 200 - 16);
}

/// Cuts the ClientHello of a datagram into handshake fragments, one a datagram
/// (RFC 6347 §4.2.3).
fn cut_client_hello(datagram: &Datagram, size: usize, reversed: bool) -> Vec<(Duration, Datagram)> {
    let bytes = &datagram.bytes;
    let is_client_hello = datagram.to == addr(BOX) && bytes[0] == 22 && bytes[13] == 1;
    if !is_client_hello {
        return vec![(DELAY, datagram.clone())];
    }
    let body = &bytes[25..];
    let mut pieces: Vec<_> = body
        .chunks(size)
        .enumerate()
        .map(|(at, piece)| {
            let mut bytes = bytes[..25].to_vec();
            // Record sequence, record length, fragment offset and length.
            bytes[9..11].copy_from_slice(&u16::try_from(at + 1000).unwrap().to_be_bytes());
            let record = u16::try_from(12 + piece.len()).unwrap();
            bytes[11..13].copy_from_slice(&record.to_be_bytes());
            let offset = u32::try_from(at * size).unwrap().to_be_bytes();
            bytes[19..22].copy_from_slice(&offset[1..]);
            let length = u32::try_from(piece.len()).unwrap().to_be_bytes();
            bytes[22..25].copy_from_slice(&length[1..]);
            bytes.extend(piece);
            Datagram {
                bytes,
                ..datagram.clone()
            }
        })
        .collect();
    if reversed {
        pieces.reverse();
    }
    pieces.into_iter().map(|piece| (DELAY, piece)).collect()
}
