//! A user with several browsers: the core calls each at its own Contact, and the others are
//! told that one has answered. RFC 5626 §3, RFC 3326.

use super::calls::{PHONE, with_body};
use super::registration::{credentials, register};
use super::world::{Asked, CORE, World};
use crate::message::{HeaderName, Method};

/// Logs alice in from a browser of this number.
fn log_in_from(world: &mut World, device: u64) -> Asked {
    let mine = |text: String| {
        text.replace("alice-1", &format!("alice-{device}"))
            .replace("z9hG4bKalice", &format!("z9hG4bKalice{device}x"))
            .replace("aiuy7k9njasd", &format!("call{device}"))
    };
    world.open(device);
    world.browser(device, &mine(register("alice", 1, "X-Any: 1")));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(
        device,
        &mine(register("alice", 2, &credentials("alice", "n1"))),
    );
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    world.forget();
    asked
}

/// A request of one branch of a forked call.
fn branch(method: &str, registered: &Asked, more: &str) -> String {
    let contacts = registered.request.headers.contacts().unwrap();
    let target = &contacts[0].address().unwrap().uri;
    let head = format!(
        "{method} {target} SIP/2.0
        Via: SIP/2.0/UDP {CORE};branch=z9hG4bKfork{}
        Max-Forwards: 60
        To: <sip:alice@ims.test>
        From: <sip:bob@ims.test>;tag=far
        Call-ID: forked
        CSeq: 1 {method}
        Contact: <sip:bob@192.0.2.77>
        {more}",
        registered.endpoint.0
    );
    match method {
        "INVITE" => with_body(&head, PHONE),
        _ => head,
    }
}

#[test]
fn every_browser_of_a_user_rings_and_the_losers_are_told_who_won() {
    let mut world = World::new();
    let devices = [1, 2].map(|device| log_in_from(&mut world, device));
    for device in &devices {
        let endpoint = device.endpoint.0;
        world.core(endpoint, &branch("INVITE", device, "Supported: 100rel"));
        let invite = world.browser_request(endpoint);
        let text = |name| invite.headers.text(&name).unwrap().to_owned();
        let ringing = format!(
            "SIP/2.0 180 Ringing
            Via: {}
            To: {};tag=page{endpoint}
            From: {}
            Call-ID: {}
            CSeq: {}
            Contact: <sip:a@b.invalid>
            Content-Length: 0",
            text(HeaderName::Via),
            text(HeaderName::To),
            text(HeaderName::From),
            text(HeaderName::CallId),
            text(HeaderName::CSeq),
        );
        world.browser(endpoint, &ringing);
    }
    assert_eq!(world.signaling.counters().sessions, 2);
    world.forget();
    let reason = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"";
    world.core(2, &branch("CANCEL", &devices[1], reason));
    let cancel = world.browser_request(2);
    assert_eq!(cancel.method, Method::Cancel);
    assert_eq!(
        cancel.headers.text(&HeaderName::Reason),
        Some("SIP;cause=200;text=\"Call completed elsewhere\"")
    );
    let statuses = [world.core_response(), world.core_response()];
    assert_eq!(statuses.map(|it| it.status.code()), [200, 487]);
}
