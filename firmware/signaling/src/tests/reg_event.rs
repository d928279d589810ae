//! Registrations that the network ends or shortens by itself, on Mw.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::calls::call;
use super::registration::{credentials, register};
use super::world::{Asked, World, wire};
use crate::config::{HostName, MwConfig, Profile};
use crate::event::{DeregistrationCause, Event};
use crate::message::{HeaderName, Method, Response};
use crate::reach::{Records, Resolution};
use crate::{Input, QueryId};

const SECOND: Duration = Duration::from_secs(1);
const SCSCF: &str = "192.0.2.12:6060";

fn world() -> World {
    let mut world = World::with(|config| {
        config.tenants[0].profile = Profile::Mw(Box::new(MwConfig {
            host: HostName::parse("pcscf.gw.test"),
            ..MwConfig::new("gw.test")
        }));
    });
    world.open(99);
    world.forget();
    world
}

/// Logs a user in: his REGISTER, and the SUBSCRIBE that followed it.
fn log_in(world: &mut World, flow: u64, user: &str) -> (Asked, Asked) {
    world.open(flow);
    world.browser(flow, &register(user, 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(flow, &register(user, 2, &credentials(user, "n1")));
    let registered = world.core_request();
    let mut granted = registered.granted(270);
    let own = format!("<sip:{user}@ims.test>, <tel:+390401234567>");
    granted.headers.replace(HeaderName::PAssociatedUri, own);
    world.answer(&registered, granted);
    let subscribe = world.core_request();
    assert_eq!(
        subscribe.request.method,
        Method::Subscribe,
        "{}",
        world.ladder()
    );
    found(world);
    (registered, subscribe)
}

/// The name of the S-CSCF is found.
fn found(world: &mut World) {
    world.input(Input::Resolved {
        query: QueryId(1),
        resolution: Resolution::Found {
            records: Records::Addresses(vec![SCSCF.parse::<SocketAddr>().unwrap().ip()]),
            ttl: 3600 * SECOND,
        },
    });
}

fn accepted(subscribe: &Asked, expires: u32) -> Response {
    subscribe
        .response(200)
        .with(HeaderName::Expires, expires)
        .with(HeaderName::Contact, "<sip:scscf.ims.test:6060>")
        .with(HeaderName::RecordRoute, "<sip:192.0.2.12:6060;lr>")
}

fn watched(flow: u64) -> (World, Asked, Asked) {
    let mut world = world();
    let (registered, subscribe) = log_in(&mut world, flow, "alice");
    world.answer(&subscribe, accepted(&subscribe, 4000));
    world.forget();
    (world, registered, subscribe)
}

fn contact_of(register: &Asked) -> String {
    let contacts = register.request.headers.contacts().unwrap();
    contacts[0].address().unwrap().uri.to_string()
}

/// A NOTIFY of the S-CSCF's.
fn notify(subscribe: &Asked, cseq: u32, state: &str, body: &str) -> String {
    let headers = &subscribe.request.headers;
    let body = body.replace('\n', "");
    format!(
        "NOTIFY {} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {SCSCF};branch=z9hG4bKn{cseq}\r\n\
         Max-Forwards: 70\r\n\
         To: {}\r\n\
         From: {};tag=core\r\n\
         Call-ID: {}\r\n\
         CSeq: {cseq} NOTIFY\r\n\
         Contact: <sip:scscf.ims.test:6060>\r\n\
         Event: reg\r\n\
         Subscription-State: {state}\r\n\
         Content-Type: application/reginfo+xml\r\n\
         Content-Length: {}\r\n\r\n{body}",
        headers.contacts().unwrap()[0].address().unwrap().uri,
        headers.text(&HeaderName::From).unwrap(),
        headers.text(&HeaderName::To).unwrap(),
        headers.text(&HeaderName::CallId).unwrap(),
        body.len()
    )
}

fn reginfo(version: u32, contact: &str, state: &str, more: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" \
         version=\"{version}\" state=\"partial\">\n<registration aor=\"sip:alice@ims.test\" \
         id=\"a\" state=\"active\">\n<contact id=\"c\" state=\"{state}\" {more}>\n\
         <uri>{contact}</uri>\n</contact>\n</registration>\n</reginfo>"
    )
}

fn tell(world: &mut World, text: &str) -> u16 {
    world.from(SCSCF, 1, wire(text).into());
    world.core_response().status.code()
}

fn registrations(world: &World) -> u64 {
    world.signaling.counters().registrations
}

// Conforms: TS 24.229 §5.2.3 | A P-CSCF subscribes to the registration events of its users, by the URI of its Path, for longer than they are registered.
#[test]
fn a_registered_user_is_watched_once_however_many_devices_he_has() {
    let mut world = world();
    let (registered, subscribe) = log_in(&mut world, 1, "alice");
    let sent = String::from_utf8(subscribe.request.to_bytes().to_vec()).unwrap();
    assert!(
        sent.starts_with("SUBSCRIBE sip:alice@ims.test SIP/2.0\r\n"),
        "{sent}"
    );
    assert!(
        sent.contains("Event: reg\r\nAccept: application/reginfo+xml\r\nExpires: 7200\r\n"),
        "{sent}"
    );
    let path = registered.request.headers.text(&HeaderName::Path).unwrap();
    let own = path.split(';').next().unwrap();
    assert!(
        sent.contains(&format!("P-Asserted-Identity: {own}>\r\n")),
        "{path}: {sent}"
    );
    assert!(sent.contains("P-Charging-Vector: icid-value="), "{sent}");
    world.answer(&subscribe, accepted(&subscribe, 4000));
    world.forget();
    world.browser(1, &register("alice", 3, &credentials("alice", "n1")));
    let refresh = world.core_request();
    world.answer(&refresh, refresh.granted(270));
    assert!(world.core_got_nothing(), "{}", world.ladder());
}

// Conforms: TS 24.229 §5.2.5.2 | A registration that the network ends is over: its calls end, and its connection is closed with 4003.
#[test]
fn a_registration_that_the_network_ends_takes_its_calls_and_its_connection_along() {
    for (event, reason) in [
        ("rejected", "the registration was ended"),
        ("deactivated", "the network asks to register again"),
        ("expired", "the network asks to register again"),
    ] {
        let (mut world, registered, subscribe) = watched(1);
        call(&mut world, 1, "alice");
        world.forget();
        let contact = contact_of(&registered);
        let more = format!("event=\"{event}\"");
        let text = notify(
            &subscribe,
            1,
            "active;expires=4000",
            &reginfo(0, &contact, "terminated", &more),
        );
        world.from(SCSCF, 1, text.into_bytes().into());
        let ladder = world.ladder();
        assert!(ladder.contains("200 NOTIFY"), "{ladder}");
        assert!(ladder.contains("-> UDP BYE"), "{ladder}");
        // The browser is told before its connection is closed.
        let (told, closed) = (
            ladder.find("flow1 <- BYE"),
            ladder.find("flow1 closed 4003"),
        );
        assert!(told.is_some() && told < closed, "{ladder}");
        let told = world
            .events
            .iter()
            .any(|it| matches!(it, Event::FlowClosed { reason: it, .. } if *it == reason));
        assert!(told, "{event}: {:?}", world.events);
        let cause = DeregistrationCause::Network;
        assert!(
            world
                .events
                .iter()
                .any(|it| matches!(it, Event::Deregistered { cause: it, .. } if *it == cause))
        );
        assert_eq!(registrations(&world), 0);
    }
}

#[test]
fn who_is_on_probation_may_come_back_later() {
    let (mut world, registered, subscribe) = watched(1);
    let more = "event=\"probation\" retry-after=\"20\"";
    let body = reginfo(0, &contact_of(&registered), "terminated", more);
    assert_eq!(
        tell(&mut world, &notify(&subscribe, 1, "active", &body)),
        200
    );
    assert!(world.ladder().contains("flow1 closed 4003"));
    world.open(2);
    world.browser(2, &register("alice", 1, "X-Any: 1"));
    let refused = world.browser_response(2);
    assert_eq!(refused.status.code(), 503);
    let after = refused.headers.retry_after().unwrap().unwrap();
    assert!(after.0 >= 20, "{after:?}");
    world.pass(21 * SECOND);
    world.forget();
    world.browser(2, &register("alice", 2, "X-Any: 1"));
    assert_eq!(world.core_request().request.method, Method::Register);
}

#[test]
fn a_shortened_registration_is_over_when_the_network_says() {
    let (mut world, registered, subscribe) = watched(1);
    let more = "event=\"shortened\" expires=\"60\"";
    let body = reginfo(0, &contact_of(&registered), "active", more);
    assert_eq!(
        tell(&mut world, &notify(&subscribe, 1, "active", &body)),
        200
    );
    world.pass(59 * SECOND);
    assert_eq!(registrations(&world), 1);
    world.pass(2 * SECOND);
    assert_eq!(registrations(&world), 0);
}

#[test]
fn others_contacts_old_documents_and_ones_own_farewell_end_nothing() {
    let (mut world, registered, subscribe) = watched(1);
    let contact = contact_of(&registered);
    let ended = "event=\"rejected\"";
    let other = reginfo(4, "sip:other@203.0.113.1", "terminated", ended);
    let old = reginfo(3, &contact, "terminated", ended);
    let foreign = reginfo(5, &contact, "terminated", ended).replace("alice@", "bob@");
    for (at, body) in [other, old, foreign, "<x/>".to_owned(), String::new()]
        .iter()
        .enumerate()
    {
        let text = notify(&subscribe, 1 + u32::try_from(at).unwrap(), "active", body);
        assert_eq!(tell(&mut world, &text), 200);
    }
    assert_eq!(registrations(&world), 1);
    world.forget();
    let goodbye =
        register("alice", 3, &credentials("alice", "n1")).replace("expires=600", "expires=0");
    world.browser(1, &goodbye);
    let farewell = world.core_request();
    let own = reginfo(6, &contact, "terminated", "event=\"unregistered\"");
    assert_eq!(
        tell(&mut world, &notify(&subscribe, 9, "terminated", &own)),
        200
    );
    assert!(!world.ladder().contains("closed"));
    world.answer(&farewell, farewell.response(200));
    assert_eq!(world.browser_response(1).status.code(), 200);
}

// Conforms: RFC 3680 §5 | A document that is missed has the whole state asked for anew.
#[test]
fn a_subscription_is_refreshed_tried_again_and_begun_anew() {
    let (mut world, registered, subscribe) = watched(1);
    // A document between was lost.
    for version in [0, 2] {
        let body = reginfo(
            version,
            &contact_of(&registered),
            "active",
            "event=\"refreshed\"",
        );
        assert_eq!(
            tell(
                &mut world,
                &notify(&subscribe, version + 1, "active", &body)
            ),
            200
        );
    }
    world.pass(SECOND / 10);
    let again = world.core_request();
    assert_eq!(again.request.method, Method::Subscribe);
    assert_eq!(again.to.to_string(), SCSCF);
    let route = again.request.headers.text(&HeaderName::Route).unwrap();
    assert_eq!(route, "<sip:192.0.2.12:6060;lr>");
    // The registrar has forgotten it.
    world.answer(&again, again.response(481));
    world.forget();
    world.pass(2 * SECOND);
    let anew = world.core_request();
    assert!(!anew.request.headers.has(&HeaderName::Route));
    world.answer(&anew, anew.response(403));
    world.forget();
    world.pass(100 * SECOND);
    assert!(world.core_got_nothing());
    world.pass(60 * SECOND);
    let tried = world.core_request();
    assert_eq!(tried.request.method, Method::Subscribe);
}

#[test]
fn a_notify_of_no_subscription_or_from_elsewhere_is_turned_away() {
    let (mut world, registered, subscribe) = watched(1);
    let body = reginfo(
        0,
        &contact_of(&registered),
        "terminated",
        "event=\"rejected\"",
    );
    let good = notify(&subscribe, 1, "active", &body);
    let tag = subscribe
        .request
        .headers
        .from()
        .unwrap()
        .tag()
        .unwrap()
        .to_owned();
    assert_eq!(tell(&mut world, &good.replace(&tag, "guessed")), 481);
    let call = subscribe
        .request
        .headers
        .text(&HeaderName::CallId)
        .unwrap()
        .to_owned();
    assert_eq!(
        tell(
            &mut world,
            &good
                .replace(&call, "another")
                .replace("z9hG4bKn1", "z9hG4bKn2")
        ),
        481
    );
    world.from("198.51.100.99:5060", 1, good.clone().into_bytes().into());
    assert!(world.core_got_nothing());
    assert_eq!(registrations(&world), 1);
}

#[test]
fn users_of_before_a_restart_are_watched_again_soon_and_not_all_at_once() {
    let mut world = world();
    let users = [(1, "alice"), (2, "bob"), (3, "carol")];
    let contacts = users.map(|(flow, user)| {
        let (registered, subscribe) = log_in(&mut world, flow, user);
        world.answer(&subscribe, accepted(&subscribe, 4000));
        contact_of(&registered)
    });
    let restored = world.restart(SECOND, true);
    assert_eq!(restored.registrations, 3);
    assert!(world.core_got_nothing());
    found(&mut world);
    let mut asked = Vec::new();
    for second in 0..30 {
        world.pass(SECOND);
        while let Some(subscribe) = world.next_core_request() {
            assert_eq!(subscribe.request.method, Method::Subscribe);
            world.answer(&subscribe, accepted(&subscribe, 4000));
            asked.push((second, subscribe));
        }
    }
    let user = |asked: &Asked| asked.request.uri.to_string();
    let users: BTreeSet<_> = asked.iter().map(|(_, it)| user(it)).collect();
    assert_eq!(users.len(), 3);
    let seconds: BTreeSet<_> = asked.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds.len(), 3);

    // What the network ends is over, though its browser is not back yet.
    let mut asked = asked.iter();
    let (_, alices) = asked
        .find(|(_, it)| user(it) == "sip:alice@ims.test")
        .unwrap();
    let ended = reginfo(0, &contacts[0], "terminated", "event=\"rejected\"");
    assert_eq!(tell(&mut world, &notify(alices, 1, "active", &ended)), 200);
    assert_eq!(registrations(&world), 2);
}
