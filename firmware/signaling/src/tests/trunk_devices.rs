//! A user of a trunk with several browsers: the box is his registrar and forks his calls.

use std::time::Duration;

use super::calls::{OFFER, with_body};
use super::registration::register;
use super::trunk::{answer_to, challenge_of, incoming, world};
use super::world::World;
use crate::id::FlowId;
use crate::message::{HeaderName, Method, Request, Response};

const NUMBER: &str = "sip:+390401234567@198.51.100.1";
const SECOND: Duration = Duration::from_secs(1);

/// Logs alice in from a browser of this number.
fn log_in_from(world: &mut World, device: u64) {
    let mine = |text: String| {
        text.replace("alice-1", &format!("alice-{device}"))
            .replace("z9hG4bKalice", &format!("z9hG4bKalice{device}x"))
            .replace("aiuy7k9njasd", &format!("call{device}"))
    };
    world.open(device);
    world.browser(device, &mine(register("alice", 1, "X-Any: 1")));
    let challenge = challenge_of(&world.browser_response(device));
    let answer = answer_to(&challenge, "alice@ims.test", "alice-secret", 1);
    world.browser(device, &mine(register("alice", 2, &answer)));
    assert_eq!(world.browser_response(device).status.code(), 200);
}

/// A world with so many browsers of alice's, all of which ring; gives their INVITEs.
fn ringing<const COUNT: usize>() -> (World, [Request; COUNT]) {
    let mut world = world();
    for device in (1..).take(COUNT) {
        log_in_from(&mut world, device);
    }
    world.forget();
    world.core(1, &incoming(NUMBER, "sip:any@provider.test", "X-Any: 1"));
    let mut device = 0;
    let invites = [(); COUNT].map(|()| {
        device += 1;
        take_request(&mut world, device)
    });
    for (device, invite) in (1..).zip(&invites) {
        assert_eq!(invite.method, Method::Invite);
        world.browser(device, &response(invite, "180 Ringing"));
    }
    let mut told = Vec::new();
    while !world.core_got_nothing() {
        told.push(world.core_response().status.code());
    }
    assert_eq!(told, [180], "one early dialog");
    (world, invites)
}

/// The next request of one browser, while others have got some too.
fn take_request(world: &mut World, device: u64) -> Request {
    let found = world.take_to_flow(device);
    found.unwrap_or_else(|| panic!("browser {device} got nothing:\n{}", world.ladder()))
}

fn response(request: &Request, status: &str) -> String {
    let text = |name| request.headers.text(&name).unwrap().to_owned();
    let device = text(HeaderName::CallId);
    let head = format!(
        "SIP/2.0 {status}
        Via: {}
        To: {};tag=page-{device}
        From: {}
        Call-ID: {device}
        CSeq: {}
        Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws;ob>",
        text(HeaderName::Via),
        text(HeaderName::To),
        text(HeaderName::From),
        text(HeaderName::CSeq),
    );
    match status {
        "200 OK" => with_body(&head, &OFFER.replace("actpass", "active")),
        _ => format!("{head}\r\nContent-Length: 0"),
    }
}

/// A request of the peer inside the call that it was answered.
fn inside(method: &str, cseq: u32, answer: &Response) -> String {
    let text = |name| answer.headers.text(&name).unwrap().to_owned();
    format!(
        "{method} sip:alice@198.51.100.1:6001 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{method}
        Max-Forwards: 60
        To: {}
        From: {}
        Call-ID: {}
        CSeq: {cseq} {method}
        Content-Length: 0",
        text(HeaderName::To),
        text(HeaderName::From),
        text(HeaderName::CallId),
    )
}

// Conforms: RFC 3261 §16.6 | On a trunk the box forks a call to every browser of its user.
#[test]
fn on_a_trunk_all_browsers_of_a_user_ring_and_one_has_the_call() {
    for winner in [1, 2] {
        let loser = 3 - winner;
        let (mut world, invites) = ringing::<2>();
        assert_eq!(world.signaling.counters().sessions, 1);
        world.forget();
        let taken = &invites[usize::try_from(winner - 1).unwrap()];
        world.browser(winner, &response(taken, "200 OK"));
        assert_eq!(take_request(&mut world, winner).method, Method::Ack);
        let cancel = take_request(&mut world, loser);
        assert_eq!(cancel.method, Method::Cancel);
        assert_eq!(
            cancel.headers.text(&HeaderName::Reason),
            Some("SIP;cause=200;text=\"Call completed elsewhere\"")
        );
        let answer = world.core_response();
        assert_eq!(answer.status.code(), 200);
        world.core(1, &inside("ACK", 1, &answer));
        let has_call = |device| {
            let signaling = &world.signaling;
            let binding = signaling.registrations.of_flow(FlowId(device)).next();
            signaling.sessions.has_call(binding.unwrap().id())
        };
        assert!(has_call(winner) && !has_call(loser));
        // That the other browser goes does not concern the call.
        world.closed(loser);
        world.pass(61 * SECOND);
        assert_eq!(world.signaling.counters().sessions, 1);
        world.forget();
        world.core(1, &inside("BYE", 2, &answer));
        assert_eq!(take_request(&mut world, winner).method, Method::Bye);
    }
}

#[test]
fn a_browser_that_goes_while_it_rings_leaves_the_call_to_the_others() {
    let (mut world, invites) = ringing::<3>();
    world.closed(3);
    world.pass(61 * SECOND);
    world.browser(2, &response(&invites[1], "486 Busy Here"));
    assert!(world.core_got_nothing(), "{}", world.ladder());
    world.browser(1, &response(&invites[0], "200 OK"));
    assert_eq!(world.core_response().status.code(), 200);
}

#[test]
fn a_decline_ends_the_ringing_everywhere() {
    let (mut world, invites) = ringing::<2>();
    world.forget();
    world.browser(1, &response(&invites[0], "603 Decline"));
    assert_eq!(take_request(&mut world, 1).method, Method::Ack);
    assert_eq!(take_request(&mut world, 2).method, Method::Cancel);
    assert_eq!(world.core_response().status.code(), 603);
}

#[test]
fn a_browser_cannot_speak_in_the_call_of_another() {
    let (mut world, invites) = ringing::<2>();
    world.browser(2, &response(&invites[1], "200 OK"));
    world.forget();
    let forged = |invite: &Request| {
        let text = |name| invite.headers.text(&name).unwrap().to_owned();
        format!(
            "BYE sip:gatehouse.invalid;transport=ws SIP/2.0
            Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKforged
            Max-Forwards: 69
            To: {}
            From: {};tag=page-{}
            Call-ID: {}
            CSeq: 2 BYE
            Content-Length: 0",
            text(HeaderName::From),
            text(HeaderName::To),
            text(HeaderName::CallId),
            text(HeaderName::CallId),
        )
    };
    world.browser(1, &forged(&invites[1]));
    assert_eq!(world.browser_response(1).status.code(), 481);
    assert_eq!(world.signaling.counters().sessions, 1);
    world.browser(2, &forged(&invites[1]));
    assert_eq!(world.browser_response(2).status.code(), 200);
}

#[test]
fn a_call_that_one_of_several_browsers_has_goes_on_after_a_restart() {
    let (mut world, invites) = ringing::<2>();
    world.forget();
    world.browser(1, &response(&invites[0], "200 OK"));
    let answer = world.core_response();
    world.restart(SECOND, true);
    assert_eq!(world.signaling.counters().sessions, 1);
    for device in [3, 4] {
        let instance = device - 2;
        world.open(device);
        let mine = |text: String| text.replace("alice-1", &format!("alice-{instance}"));
        world.browser(device, &mine(register("alice", 5, "X-Any: 1")));
        let challenge = challenge_of(&world.browser_response(device));
        let proof = answer_to(&challenge, "alice@ims.test", "alice-secret", 1);
        world.browser(device, &mine(register("alice", 6, &proof)));
        assert_eq!(world.browser_response(device).status.code(), 200);
    }
    world.forget();
    world.core(1, &inside("BYE", 2, &answer));
    assert_eq!(take_request(&mut world, 3).method, Method::Bye);
}
