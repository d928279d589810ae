//! Strangers, storms, nonsense, and the end.

use std::time::Duration;

use bytes::Bytes;

use super::registration::log_in;
use super::world::{CORE, World, wire};
use crate::event::{Breach, Event};
use crate::{FlowId, Input};

const SECOND: Duration = Duration::from_secs(1);

fn request(method: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} sip:bob@ims.test SIP/2.0
        Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{branch}
        Max-Forwards: 69
        To: <sip:bob@ims.test>
        From: <sip:alice@ims.test>;tag=1
        Call-ID: {branch}
        CSeq: 1 {method}
        {extra}
        Content-Length: 0"
    )
}

fn core_request(method: &str, to: &str, extra: &str) -> String {
    format!(
        "{method} sip:someone@198.51.100.1:6001 SIP/2.0
        Via: SIP/2.0/UDP {CORE};branch=z9hG4bK{method}{}
        Max-Forwards: 60
        To: {to}
        From: <sip:carol@ims.test>;tag=9
        Call-ID: core-{method}
        CSeq: 7 {method}
        {extra}
        Content-Length: 0",
        extra.len()
    )
}

// Conforms: TS 24.229 §5.2.6.3 | Requests of a connection without a registration get 403.
#[test]
fn a_stranger_is_told_to_register_first() {
    let mut world = World::new();
    world.open(1);
    for method in ["INVITE", "OPTIONS", "BYE", "INFO"] {
        world.browser(1, &request(method, method, "X-Any: 1"));
        let response = world.browser_response(1);
        assert_eq!(response.status.code(), 403, "{method}");
        assert_eq!(&*response.reason, "Register First");
    }
    assert_eq!(world.signaling.counters().requests_unregistered, 4);
}

// Conforms: RFC 3261 §8.2.1 | Methods that are not served get 405 with Allow.
// Conforms: RFC 3261 §8.2.2.3 | Extensions that are not known get 420 with Unsupported.
// Conforms: RFC 3261 §16.3 | A request without hops left gets 483.
#[test]
fn what_is_not_served_is_refused_by_its_reason() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    for (method, extra, status) in [
        ("PUBLISH", "Event: presence", 405),
        ("DANCE", "X-Any: 1", 405),
        ("INVITE", "Require: 100rel, x-wings", 420),
        ("BYE", "X-Any: 2", 481),
        ("CANCEL", "X-Any: 2", 481),
    ] {
        world.browser(1, &request(method, method, extra));
        let response = world.browser_response(1);
        assert_eq!(response.status.code(), status, "{method}");
    }
    let loops =
        request("INVITE", "loop", "X-Any: 1").replace("Max-Forwards: 69", "Max-Forwards: 0");
    world.browser(1, &loops);
    assert_eq!(world.browser_response(1).status.code(), 483);
}

// Conforms: RFC 3261 §11.2 | OPTIONS gets what the box can do.
#[test]
fn the_core_asks_whether_we_are_alive() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.core(
        1,
        &core_request("OPTIONS", "<sip:alice@ims.test>", "X-Any: 1"),
    );
    assert_eq!(world.core_response().status.code(), 200);
    world.core(
        1,
        &core_request("NOTIFY", "<sip:alice@ims.test>", "Event: reg"),
    );
    assert_eq!(world.core_response().status.code(), 481);
    world.core(
        1,
        &core_request("BYE", "<sip:alice@ims.test>;tag=none", "X-Any: 1"),
    );
    assert_eq!(world.core_response().status.code(), 481);
    // Not the Contact that we registered, and none of her identities.
    world.core(
        1,
        &core_request("INVITE", "<sip:alice@ims.test>", "X-Any: 1"),
    );
    assert_eq!(world.core_response().status.code(), 404);
}

#[test]
fn only_the_core_is_heard_on_an_endpoint() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    let forged = wire(&core_request("OPTIONS", "<sip:alice@ims.test>", "X-Any: 1"));
    world.from("203.0.113.66:5060", 1, Bytes::from(forged));
    assert_eq!(world.ladder(), "");
    assert_eq!(world.signaling.counters().ims_untrusted, 1);
    let is_reported = |event: &Event| {
        matches!(
            event,
            Event::Security {
                breach: Breach::UntrustedSource,
                ..
            }
        )
    };
    assert!(world.events.iter().any(is_reported));
}

// Conforms: RFC 5626 §3.5.1 | A double CRLF is answered with a single one.
#[test]
fn keepalives_are_answered() {
    let mut world = World::new();
    world.open(1);
    world.input(Input::FlowMessage {
        flow: FlowId(1),
        bytes: Bytes::from_static(b"\r\n\r\n"),
    });
    assert_eq!(world.ladder(), "0s flow1 <- Ok(Pong)\n");
    world.input(Input::FlowMessage {
        flow: FlowId(1),
        bytes: Bytes::from_static(b"\r\n"),
    });
    assert_eq!(world.ladder(), "");
}

#[test]
fn malformed_messages_are_answered_and_then_enough_is_enough() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    let broken =
        request("OPTIONS", "x", "X-Any: 1").replace("Content-Length: 0", "Content-Length: 9");
    for _ in 0..10 {
        world.browser(1, &broken);
        assert_eq!(world.browser_response(1).status.code(), 400);
    }
    world.browser(1, &broken);
    assert!(world.ladder().ends_with("0s flow1 closed 1008\n"));
    // Whoever it was comes back within his grace.
    assert_eq!(world.signaling.counters().registrations_in_grace, 1);
}

#[test]
fn a_storm_of_messages_closes_the_connection() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    for n in 0..300 {
        world.browser(1, &request("OPTIONS", &format!("s{n}"), "X-Any: 1"));
    }
    assert!(world.ladder().contains("0s flow1 closed 1008\n"));
}

#[test]
fn too_many_connections_are_turned_away() {
    let mut world = World::with(|config| config.flows.count = 2);
    for flow in 1..=3 {
        world.open(flow);
    }
    assert_eq!(world.ladder(), "0s flow3 closed 1013\n");
}

#[test]
fn draining_without_calls_de_registers_everybody_and_stops() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    log_in(&mut world, 2, "bob");
    world.open(3);
    world.forget();
    world.input(Input::Drain);
    for confirmed in [true, false] {
        let farewell = world.core_request();
        let response = if confirmed {
            farewell.response(200)
        } else {
            farewell.challenge("n9")
        };
        world.answer(&farewell, response);
    }
    world.pass(SECOND);
    assert_eq!(
        world.ladder(),
        "0s port1 -> UDP REGISTER\n\
         0s port2 -> UDP REGISTER\n\
         0s flow1 closed 1012\n\
         0s flow2 closed 1012\n\
         0s flow3 closed 1012\n\
         0s idle\n"
    );
}

#[test]
fn a_silent_core_does_not_keep_the_box_from_stopping() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.input(Input::Deregister);
    world.pass(11 * SECOND);
    let ladder = world.ladder();
    assert!(ladder.contains("0s flow1 closed 1012\n"), "{ladder}");
    assert!(ladder.ends_with("8s idle\n"), "{ladder}");
}

#[test]
fn nothing_panics_before_its_time() {
    let mut world = World::new();
    world.closed(9);
    world.browser(9, &request("OPTIONS", "x", "X-Any: 1"));
    world.core(
        9,
        &core_request("OPTIONS", "<sip:alice@ims.test>", "X-Any: 1"),
    );
    assert_eq!(world.ladder(), "0s port9 -> UDP 200 OPTIONS\n");
}
