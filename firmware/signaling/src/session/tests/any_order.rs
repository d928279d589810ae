//! Whatever happens in whatever order: nothing panics, every request is answered once,
//! nobody is offered twice at a time, and the call ends without a trace.

use std::time::Duration;

use iq::{AccessLoss, Leg, Refusal, Reply};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS};
use crate::event::EndReason;
use crate::message::Method;
use crate::transaction::Failure;

#[test]
fn a_call_survives_any_order_of_events_and_ends() {
    for seed in 0..SEEDS {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut call = start(&mut rng);
        for _ in 0..1 + rng.next_u32() % 40 {
            step(&mut call, &mut rng);
            call.world.check(seed);
        }
        call.end(EndReason::Shutdown);
        call.answer_everything();
        call.released();
        call.pass(Duration::from_secs(70));
        call.answer_everything();
        call.pass(Duration::from_secs(70));
        call.world.check(seed);
        assert!(
            call.session.is_over(),
            "seed {seed}:\n{}",
            call.take_ladder()
        );
        assert!(call.world.record.is_some(), "seed {seed}");
    }
}

fn start(rng: &mut ChaCha20Rng) -> Call {
    let extensions = [
        "",
        "Require: 100rel",
        "Supported: 100rel, timer",
        "Supported: 100rel\nRequire: precondition",
    ];
    let headers = extensions[pick(rng, 4)];
    match rng.next_u32() % 9 {
        0 => Call::start(World::new(), IMS, None, headers),
        1..=3 => Call::up_from_browser(),
        4 | 5 => Call::up_from_ims(),
        6 => Call::start(World::new(), IMS, offer_of_caller(rng), headers),
        7 => Call::to_browsers(offer_of_caller(rng), headers, 2 + pick(rng, 2)),
        _ => {
            let headers = extensions[pick(rng, 3)];
            Call::start(World::new(), BROWSER, Some(Browser::OFFER.sdp()), headers)
        }
    }
}

fn offer_of_caller(rng: &mut ChaCha20Rng) -> Option<bytes::Bytes> {
    let ready = ["", "none", "sendrecv"][pick(rng, 3)];
    Some(
        Phone {
            ready,
            ..Phone::PCMA
        }
        .sdp(),
    )
}

fn step(call: &mut Call, rng: &mut ChaCha20Rng) {
    let leg = if rng.next_u32().is_multiple_of(2) {
        BROWSER
    } else {
        IMS
    };
    let count = call
        .world
        .devices
        .values()
        .max()
        .map_or(1, |last| last.0 + 1);
    call.at(u8::try_from(pick(rng, usize::from(count))).unwrap());
    match rng.next_u32() % 21 {
        0 => call.reserved("wAlT"),
        1..=5 => answer_something(call, leg, rng),
        6 => call.request(leg, Method::Invite, offer(leg, rng), ""),
        7 => call.request(leg, Method::Update, offer(leg, rng), ""),
        8 => call.request(leg, Method::Info, Some("Signal=1".into()), ""),
        9 => {
            let rack = call
                .last_rseq(leg)
                .map(|rseq| format!("RAck: {rseq} 1 INVITE"));
            if let Some(rack) = rack {
                call.request(leg, Method::Prack, offer(leg, rng), &rack);
            }
        }
        10 | 11 => call.try_ack(leg, offer(leg, rng)),
        12 => {
            let longest = [500, 4_000, 4_000, 40_000][pick(rng, 4)];
            call.pass(Duration::from_millis(u64::from(rng.next_u32() % longest)));
        }
        13 => {
            if call.world.away.contains(&call.at) {
                call.restore_flow();
            } else {
                call.lose_flow();
            }
        }
        14 if rng.next_u32().is_multiple_of(4) => {
            let session = call.session.id();
            let losses = [
                AccessLoss::ConsentExpired,
                AccessLoss::Closed,
                AccessLoss::IceTimeout,
            ];
            let loss = losses[pick(rng, 3)];
            call.media(Reply::AccessLost { session, loss });
        }
        15 if rng.next_u32().is_multiple_of(8) => {
            let session = call.session.id();
            let reason = Refusal::NoCapacity;
            call.media(Reply::Refused { session, reason });
        }
        16 if rng.next_u32().is_multiple_of(12) => call.request(leg, Method::Bye, None, ""),
        17 if rng.next_u32().is_multiple_of(4) => call.try_cancel(),
        18 => call.request(leg, Method::Refer, None, "Refer-To: <sip:carol@ims.test>"),
        19 => {
            let state = ["active", "terminated"][pick(rng, 2)];
            let headers = format!("Event: refer\nSubscription-State: {state}");
            call.request(leg, Method::Notify, Some("SIP/2.0 180 x".into()), &headers);
        }
        20 if rng.next_u32().is_multiple_of(3) => {
            // What says that it cannot be done has not touched the call.
            let _ = call.replace(leg, offer(leg, rng));
        }
        _ => {}
    }
}

/// Answers some request of the box, perhaps one that was answered before.
fn answer_something(call: &mut Call, leg: Leg, rng: &mut ChaCha20Rng) {
    let Some(method) = call.some_request(leg, rng) else {
        return;
    };
    if rng.next_u32().is_multiple_of(24) {
        let failures = [Failure::TimedOut, Failure::Transport];
        return call.fail(leg, &method, failures[pick(rng, 2)]);
    }
    let codes = [
        100, 180, 183, 200, 200, 200, 200, 200, 200, 200, 200, 200, 422, 481, 486, 488, 491, 500,
        603,
    ];
    let code = codes[pick(rng, codes.len())];
    let body = match method {
        Method::Invite if !rng.next_u32().is_multiple_of(5) => answer(leg, rng),
        _ => None,
    };
    let tags: &[&str] = match leg {
        Leg::Access => &["page"],
        Leg::Ims => &["phone", "phone", "other"],
    };
    let headers = [
        "",
        "",
        "Require: 100rel\nRSeq: 1",
        "P-Early-Media: sendrecv",
    ];
    let tag = call.tag_of(leg, tags[pick(rng, tags.len())]);
    call.answer_with(leg, &method, code, &tag, body, headers[pick(rng, 4)]);
}

fn offer(leg: Leg, rng: &mut ChaCha20Rng) -> Option<bytes::Bytes> {
    let direction = DIRECTIONS[pick(rng, 4)];
    match (rng.next_u32() % 8, leg) {
        (0, _) => None,
        (1, _) => Some("v=0\r\nnonsense".into()),
        (2, Leg::Access) => Some(
            Browser {
                ufrag: "new1",
                direction,
                ..Browser::OFFER
            }
            .sdp(),
        ),
        (_, Leg::Access) => Some(
            Browser {
                direction,
                ..Browser::OFFER
            }
            .sdp(),
        ),
        (3, Leg::Ims) => Some(
            Phone {
                formats: "0 101",
                direction,
                ..Phone::PCMA
            }
            .sdp(),
        ),
        (4, Leg::Ims) => offer_of_caller(rng),
        (_, Leg::Ims) => Some(
            Phone {
                direction,
                ..Phone::PCMA
            }
            .sdp(),
        ),
    }
}

fn answer(leg: Leg, rng: &mut ChaCha20Rng) -> Option<bytes::Bytes> {
    let direction = DIRECTIONS[pick(rng, 4)];
    Some(match leg {
        Leg::Access => Browser {
            direction,
            ..Browser::ANSWER
        }
        .sdp(),
        Leg::Ims => Phone {
            direction,
            ..Phone::PCMA
        }
        .sdp(),
    })
}

fn pick(rng: &mut ChaCha20Rng, count: usize) -> usize {
    rng.next_u32() as usize % count
}

const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

/// A second or so of seeds.
const SEEDS: u64 = 3000;
