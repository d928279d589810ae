//! A core that has lost a user, and says so in a 504.

use std::time::Duration;

use super::calls::{call_as, inside, invite};
use super::mw::{log_in, mw, resolve, world_with};
use super::services::from_browser;
use super::world::{Asked, World};
use super::{on_behalf, registration};
use crate::event::Event;
use crate::message::{HeaderName, Method, Response};

const SECOND: Duration = Duration::from_secs(1);
const SCSCF: &str = "<sip:scscf.ims.test:6060>";
const XML: &str = "application/3gpp-ims+xml;version=\"1,2\"";
const BODY: &str = "<?xml version=\"1.0\"?>\n<ims-3gpp version=\"1\"><alternative-service>\
    <type>restoration</type><reason/><action>initial-registration</action>\
    </alternative-service></ims-3gpp>";

fn lost(asked: &Asked, asserted: &str, content_type: &str, body: &str) -> Response {
    let response = asked.response(504);
    let response = response.with(HeaderName::PAssertedIdentity, asserted);
    response.with_body(content_type, body.as_bytes().to_vec())
}

/// The next INVITE that the core gets.
fn next_invite(world: &mut World) -> Asked {
    loop {
        let asked = world.core_request();
        if asked.request.method == Method::Invite {
            return asked;
        }
    }
}

fn on_mw() -> World {
    let mut world = world_with(mw());
    log_in(&mut world, 1, "alice");
    resolve(&mut world, 1);
    world.forget();
    world
}

fn times_lost(world: &World) -> u64 {
    world.signaling.counters().registrations_lost_by_core
}

// Conforms: TS 24.229 §5.1.2A.1.6 | A user whom the core has lost registers afresh: his browser is told by the close of its connection, and his calls go on.
#[test]
fn a_browser_whose_user_the_core_has_lost_hears_the_failure_and_then_that_it_shall_register() {
    let mut world = on_mw();
    let (_, answer) = call_as(&mut world, 1, "alice", "first");
    world.forget();
    world.browser(1, &invite("alice", "second"));
    let asked = next_invite(&mut world);
    world.answer(&asked, lost(&asked, SCSCF, XML, BODY));
    let ladder = world.ladder();
    let (told, closed) = (
        ladder.find("flow1 <- 504 INVITE"),
        ladder.find("flow1 closed 4003"),
    );
    assert!(told.is_some() && told < closed, "{ladder}");
    assert!(!ladder.contains("BYE"), "{ladder}");
    let reason = "the network asks to register again";
    let is_told =
        |event: &Event| matches!(event, Event::FlowClosed { reason: it, .. } if *it == reason);
    assert!(world.events.iter().any(is_told), "{:?}", world.events);

    // He comes back, proves himself to the core's new server, and his call is still there.
    world.open(2);
    world.forget();
    world.browser(2, &registration::register("alice", 3, "X-Any: 1"));
    let first = world.core_request();
    assert_eq!(first.request.method, Method::Register);
    world.answer(&first, first.challenge("n2"));
    let proof = registration::credentials("alice", "n2");
    world.browser(2, &registration::register("alice", 4, &proof));
    let second = world.core_request();
    world.answer(&second, second.granted(270));
    assert_eq!(times_lost(&world), 1);
    world.forget();
    world.browser(2, &inside("BYE", 2, &answer, "first"));
    let ladder = world.ladder();
    assert!(ladder.contains("BYE"), "{ladder}");
}

// Conforms: TS 24.229 §5.1.1.2.1 | A user whom the box keeps registered is registered afresh by the box when the core has lost him.
#[test]
fn the_box_registers_afresh_whom_it_keeps_registered() {
    let mut world = on_behalf::world(3600 * SECOND);
    on_behalf::log_in(&mut world, 3600);
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let asked = next_invite(&mut world);
    world.answer(&asked, lost(&asked, SCSCF, XML, BODY));
    assert_eq!(world.core_request().request.method, Method::Ack);
    let first = world.core_request();
    assert_eq!(first.request.method, Method::Register);
    let plate = on_behalf::credentials(&first);
    assert_eq!(plate.get("nonce").unwrap(), "", "nothing of the old proof");
    world.answer(&first, first.challenge("n2"));
    let second = world.core_request();
    world.answer(&second, second.granted(3600));
    let ladder = world.ladder();
    assert!(ladder.contains("flow1 <- 504 INVITE"), "{ladder}");
    assert!(!ladder.contains("closed"), "{ladder}");
    assert_eq!(times_lost(&world), 1);
    assert_eq!(world.signaling.counters().registrations, 1);
    // The next call goes out by what the core granted now.
    world.forget();
    world.browser(1, &invite("alice", "b2"));
    next_invite(&mut world);
}

#[test]
fn a_message_that_the_core_cannot_place_says_it_as_well() {
    let mut world = on_mw();
    let text = "Content-Type: text/plain";
    world.browser(
        1,
        &from_browser("MESSAGE", "sip:bob@ims.test", 1, text, "hello"),
    );
    let asked = world.core_request();
    world.answer(&asked, lost(&asked, SCSCF, XML, BODY));
    let ladder = world.ladder();
    assert!(ladder.contains("flow1 <- 504 MESSAGE"), "{ladder}");
    assert!(ladder.contains("flow1 closed 4003"), "{ladder}");
}

#[test]
fn nobody_else_has_a_user_register_afresh() {
    let emergency = BODY.replace("restoration", "emergency");
    for (asserted, content_type, body) in [
        ("<sip:carol@elsewhere.test>", XML, BODY),
        ("<tel:+390401234567>", XML, BODY),
        (SCSCF, "text/xml", BODY),
        (SCSCF, XML, emergency.as_str()),
        (SCSCF, XML, "<ims-3gpp"),
    ] {
        let mut world = on_mw();
        world.browser(1, &invite("alice", "b1"));
        let asked = next_invite(&mut world);
        world.answer(&asked, lost(&asked, asserted, content_type, body));
        let ladder = world.ladder();
        assert!(ladder.contains("flow1 <- 504 INVITE"), "{ladder}");
        assert!(!ladder.contains("closed"), "{asserted} {body}: {ladder}");
        assert_eq!(times_lost(&world), 0);
    }
}
