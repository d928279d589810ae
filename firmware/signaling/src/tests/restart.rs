//! What a new life of the control plane takes up of the one before it.

use std::time::Duration;

use super::calls::{OFFER, PHONE, call, from_core, inside, with_body};
use super::registration::{credentials, log_in, register};
use super::world::{Asked, World};
use crate::event::{EndReason, Event};
use crate::message::{HeaderName, Method, Response};
use crate::{Input, RecordKind, Restored};

const SECOND: Duration = Duration::from_secs(1);

/// The browser comes back on another connection, as JsSIP does by itself.
fn come_back(world: &mut World, flow: u64, user: &str, cseq: u32) -> Asked {
    world.open(flow);
    world.browser(flow, &register(user, cseq, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n8"));
    world.browser(flow, &register(user, cseq + 1, &credentials(user, "n8")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    assert_eq!(world.browser_response(flow).status.code(), 401);
    assert_eq!(world.browser_response(flow).status.code(), 200);
    world.forget();
    asked
}

/// A user in a call; the control process is killed, starts again, and he is back.
fn survivor() -> (World, Asked, Response) {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (asked, answer) = call(&mut world, 1, "alice");
    world.pass(5 * SECOND);
    let restored = world.restart(2 * SECOND, true);
    let expected = Restored {
        registrations: 1,
        calls: 1,
        ..Restored::default()
    };
    assert_eq!(restored, expected);
    come_back(&mut world, 2, "alice", 3);
    (world, asked, answer)
}

#[test]
fn a_registration_is_found_again_on_its_port_with_its_contact() {
    let mut world = World::new();
    log_in(&mut world, 1, "bob");
    let before = log_in(&mut world, 2, "alice");
    let restored = world.restart(2 * SECOND, true);
    assert_eq!(restored.registrations, 2);
    assert_eq!(world.signaling.counters().registrations_in_grace, 2);

    let after = come_back(&mut world, 1, "alice", 3);
    assert_eq!(after.endpoint, before.endpoint);
    let header = |asked: &Asked, name| asked.request.headers.text(&name).unwrap().to_owned();
    for name in [HeaderName::Contact, HeaderName::CallId] {
        assert_eq!(header(&before, name.clone()), header(&after, name));
    }
    let cseq = |asked: &Asked| asked.request.headers.cseq().unwrap().number;
    assert!(cseq(&after) > cseq(&before) + 2, "numbers never go back");
    let counters = world.signaling.counters();
    assert_eq!(counters.registrations_reattached, 1);
    assert_eq!(
        (counters.registrations, counters.registrations_in_grace),
        (2, 1)
    );
}

#[test]
fn nobody_gets_at_a_registration_of_before_without_proof() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.restart(SECOND, true);
    world.open(7);
    world.browser(7, &register("alice", 3, "X-Any: 1"));
    let asked = world.core_request();
    // The core knows the port and asks for nothing.
    world.answer(&asked, asked.granted(270));
    assert_ne!(world.browser_response(7).status.code(), 200);
    assert_eq!(world.signaling.counters().registrations_in_grace, 1);
}

#[test]
fn a_browser_that_does_not_come_back_is_signed_off_and_its_port_waits_for_the_core() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.restart(SECOND, true);
    world.pass(61 * SECOND);
    let counters = world.signaling.counters();
    assert_eq!((counters.registrations, counters.endpoints), (0, 1));
    let farewell = world.core_request().request;
    assert!(
        !farewell.headers.has(&HeaderName::Authorization) || {
            let text = farewell.headers.text(&HeaderName::Authorization).unwrap();
            text.contains("response=\"\"")
        }
    );

    // One more restart: the port is still not for anybody else.
    let restored = world.restart(SECOND, true);
    assert_eq!((restored.registrations, restored.dropped), (1, 0));
    world.pass(300 * SECOND);
    assert_eq!(world.signaling.counters().endpoints, 0);
    assert!(world.store.is_empty());
}

#[test]
fn a_registration_that_ran_out_meanwhile_is_dropped() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let restored = world.restart(300 * SECOND, true);
    assert_eq!((restored.registrations, restored.dropped), (0, 1));
    assert!(world.store.is_empty());
}

#[test]
fn a_registration_is_confirmed_only_when_it_is_safe() {
    let mut world = World::new();
    world.store_answers = false;
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(1, &register("alice", 2, &credentials("alice", "n1")));
    let asked = world.core_request();
    assert_eq!(world.browser_response(1).status.code(), 401);
    world.answer(&asked, asked.granted(270));
    assert!(!world.ladder().contains("200 REGISTER"));
    let write = world.last_write.unwrap();
    world.input(Input::Stored { write });
    assert_eq!(world.browser_response(1).status.code(), 200);
}

#[test]
fn the_browser_hangs_up_a_call_of_before_the_restart() {
    let (mut world, asked, answer) = survivor();
    world.browser(2, &inside("BYE", 2, &answer, "b1"));
    assert_eq!(world.browser_response(2).status.code(), 200);
    let bye = world.core_request();
    assert_eq!(bye.request.method, Method::Bye);
    let header = |asked: &Asked, name| asked.request.headers.text(&name).unwrap().to_owned();
    for name in [HeaderName::CallId, HeaderName::From] {
        assert_eq!(header(&bye, name.clone()), header(&asked, name));
    }
    let route = bye.request.headers.text(&HeaderName::Route);
    assert_eq!(route, Some("<sip:192.0.2.10:5060;lr>"));
    world.answer(&bye, bye.response(200));
    let record = world.events.iter().find_map(|event| match event {
        Event::CallEnded(record) => Some(record.clone()),
        _ => None,
    });
    let record = record.unwrap();
    assert_eq!(record.from, iq::Leg::Access);
    assert!(record.answered_after.is_some() && record.codec.is_some());
    assert!(record.ended_after >= 7 * SECOND, "{:?}", record.ended_after);
    world.pass(40 * SECOND);
    assert_eq!(world.signaling.counters().sessions, 0);
}

#[test]
fn the_far_end_hangs_up_a_call_of_before_the_restart() {
    let (mut world, asked, _) = survivor();
    world.core(1, &from_core("BYE", &asked, 7));
    assert_eq!(world.core_response().status.code(), 200);
    assert_eq!(world.browser_request(2).method, Method::Bye);
}

#[test]
fn both_sides_hold_a_call_of_before_the_restart() {
    let (mut world, asked, answer) = survivor();
    // The far end holds.
    let hold = PHONE
        .replace("sendrecv", "sendonly")
        .replace("o=- 1 1", "o=- 1 2");
    let head = from_core("INVITE", &asked, 7).replace("\n        Content-Length: 0", "");
    let head = format!("{head}\nContact: <sip:carol@192.0.2.77:5060>");
    world.core(1, &with_body(&head, &hold));
    let offered = world.browser_request(2);
    assert_eq!(offered.method, Method::Invite);
    let text = String::from_utf8(offered.body.to_vec()).unwrap();
    assert!(text.contains("a=sendonly\r\n"), "{text}");
    assert!(
        text.contains("a=ice-ufrag:gate\r\n"),
        "the same transport: {text}"
    );
    let body = OFFER
        .replace("a=setup:actpass", "a=setup:active")
        .replace("111 0 8 126", "8")
        .replace("a=sendrecv", "a=recvonly");
    let response = Response::to_request(&offered, crate::message::StatusCode::OK)
        .with(
            HeaderName::Contact,
            "<sip:qk3xxx@df7jal23ls0d.invalid;transport=ws;ob>",
        )
        .with_body("application/sdp", body.replace('\n', "\r\n").into_bytes());
    let bytes = response.to_bytes();
    world.browser(2, std::str::from_utf8(&bytes).unwrap());
    let mut held = world.core_response();
    while held.is_provisional() {
        held = world.core_response();
    }
    assert_eq!(held.status.code(), 200);
    let text = String::from_utf8(held.body.to_vec()).unwrap();
    assert!(text.contains("a=recvonly\r\n"), "{text}");
    world.core(1, &from_core("ACK", &asked, 7));
    world.forget();

    // And so does the browser.
    let head = inside("INVITE", 2, &answer, "hold").replace("\n        Content-Length: 0", "");
    let head = format!("{head}\nContact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws;ob>");
    let hold = OFFER.replace("a=sendrecv", "a=inactive");
    world.browser(2, &with_body(&head, &hold));
    let offered = world.core_request();
    assert_eq!(offered.request.method, Method::Invite);
    let text = String::from_utf8(offered.request.body.to_vec()).unwrap();
    assert!(text.contains("a=inactive\r\n"), "{text}");
}

#[test]
fn a_call_whose_media_went_too_is_ended_on_both_sides() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    world.restart(2 * SECOND, false);
    let bye = world.core_request();
    assert_eq!(bye.request.method, Method::Bye);
    let reason = bye.request.headers.text(&HeaderName::Reason).unwrap();
    assert!(reason.contains("Media failed"), "{reason}");
    let cause = world.events.iter().find_map(|event| match event {
        Event::CallEnded(record) => Some(record.cause.reason),
        _ => None,
    });
    assert_eq!(cause, Some(Some(EndReason::MediaFailed)));
    // A browser that comes back within the half minute still hears of it.
    world.open(2);
    world.browser(2, &register("alice", 3, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n8"));
    world.browser(2, &register("alice", 4, &credentials("alice", "n8")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    assert_eq!(world.browser_request(2).method, Method::Bye);
}

#[test]
fn what_media_holds_and_nobody_knows_is_released() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    world.store.retain(|key, _| key.kind != RecordKind::Call);
    world.restart(SECOND, true);
    assert!(world.ladder().contains("media <- Release"));
}

#[test]
fn a_damaged_or_foreign_record_is_dropped_and_the_others_are_taken() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    world.forget();
    log_in(&mut world, 2, "bob");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for (key, value) in &mut world.store {
        *value = match (key.kind, key.id.as_str()) {
            (RecordKind::Registration, "2") => value.slice(..value.len() / 2),
            (RecordKind::Call, _) => text(value).replace("\"v\":1", "\"v\":999").into(),
            _ => continue,
        };
    }
    let restored = world.restart(SECOND, true);
    let expected = Restored {
        registrations: 1,
        dropped: 2,
        ..Restored::default()
    };
    assert_eq!(restored, expected);
    assert_eq!(world.store.len(), 1);
}

#[test]
fn any_octet_of_a_record_may_be_wrong() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    let store = world.store.clone();
    let longest = store.values().map(|value| value.len()).max().unwrap();
    for at in 0..longest {
        world.store = store.clone();
        for value in world.store.values_mut() {
            let mut bytes = value.to_vec();
            if let Some(octet) = bytes.get_mut(at) {
                *octet = if octet.is_ascii_digit() { b'7' } else { b'?' };
            }
            *value = bytes.into();
        }
        world.restart(Duration::ZERO, true);
        world.pass(SECOND);
    }
}

#[test]
fn no_record_holds_what_proves_who_somebody_is() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    for value in world.store.values() {
        let text = String::from_utf8(value.to_vec()).unwrap();
        assert!(!text.contains("0123456789abcdef0123456789abcdef"), "{text}");
    }
}

#[test]
fn a_call_that_is_over_is_not_kept_and_one_that_rings_neither() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let calls = |world: &World| {
        let keys = world.store.keys();
        keys.filter(|key| key.kind == RecordKind::Call).count()
    };
    let (_, answer) = call(&mut world, 1, "alice");
    assert_eq!(calls(&world), 1);
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    assert_eq!(calls(&world), 0);
}

#[test]
fn everything_is_written_down_again_when_the_store_was_lost() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    let store = std::mem::take(&mut world.store);
    assert_eq!(store.len(), 2);
    world.input(Input::KeepAgain);
    assert_eq!(world.store, store);
}
