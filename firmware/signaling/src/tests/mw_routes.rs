//! Where the box as a P-CSCF sends what its users begin: to a server of the host that their
//! Service-Route names, and to another one of them if that does not take it.

use std::net::SocketAddr;
use std::time::Duration;

use super::calls::{accepted, inside, invite};
use super::mw::{log_in, mw, path_of, world_with};
use super::services::{answer, from_browser};
use super::world::{Asked, World};
use crate::message::{HeaderName, Method, Response};
use crate::reach::{Records, Resolution};
use crate::{Input, QueryId};

const SECOND: Duration = Duration::from_secs(1);
const ONE: &str = "192.0.2.12:6060";
const TWO: &str = "192.0.2.13:6060";

/// A user is registered, and the S-CSCF of his Service-Route has two addresses.
fn two_servers() -> (World, Asked) {
    let mut world = world_with(mw());
    let asked = log_in(&mut world, 1, "alice");
    let addresses = [ONE, TWO].map(|it| it.parse::<SocketAddr>().unwrap().ip());
    world.input(Input::Resolved {
        query: QueryId(1),
        resolution: Resolution::Found {
            records: Records::Addresses(addresses.to_vec()),
            ttl: 600 * SECOND,
        },
    });
    world.forget();
    (world, asked)
}

fn sent_to(asked: &Asked) -> String {
    asked.to.to_string()
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

fn final_answer(world: &mut World) -> Response {
    loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            return response;
        }
    }
}

// Conforms: RFC 3263 §4.3 | On Mw a call moves on to the next server of its Route when one says nothing.
#[test]
fn a_call_that_nobody_answers_goes_to_the_next_server_of_its_route() {
    let (mut world, _) = two_servers();
    world.browser(1, &invite("alice", "b1"));
    let first = next_invite(&mut world);
    assert_eq!(sent_to(&first), ONE);
    world.pass(4 * SECOND);
    let second = loop {
        let asked = next_invite(&mut world);
        if sent_to(&asked) == TWO {
            break asked;
        }
    };
    let route = |asked: &Asked| {
        asked
            .request
            .headers
            .text(&HeaderName::Route)
            .map(str::to_owned)
    };
    assert_eq!(route(&first), route(&second), "the Route names both");
    assert_eq!(world.signaling.counters().next_hop_failovers, 1);

    // What belongs to the call stays with the server that took it.
    let mut answer = accepted(&second);
    answer
        .headers
        .replace(HeaderName::RecordRoute, "<sip:mo@192.0.2.13:6060;lr>");
    world.answer(&second, answer);
    let answer = final_answer(&mut world);
    world.browser(1, &inside("ACK", 1, &answer, "b1"));
    assert_eq!(sent_to(&world.core_request()), TWO);
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    assert_eq!(sent_to(&world.core_request()), TWO);

    // The silent one is tried last from now on.
    world.forget();
    world.browser(1, &invite("alice", "b2"));
    assert_eq!(sent_to(&next_invite(&mut world)), TWO);
}

#[test]
fn a_503_moves_a_call_on_to_the_next_server_of_its_route_and_is_never_relayed() {
    let (mut world, _) = two_servers();
    world.browser(1, &invite("alice", "b1"));
    let first = next_invite(&mut world);
    world.answer(&first, first.response(503).with(HeaderName::RetryAfter, 30));
    let second = next_invite(&mut world);
    assert_eq!(sent_to(&second), TWO);
    world.answer(
        &second,
        second.response(503).with(HeaderName::RetryAfter, 30),
    );
    let failed = final_answer(&mut world);
    assert_eq!(failed.status.code(), 500);

    // Both rest: the next call is not sent at all.
    world.forget();
    world.browser(1, &invite("alice", "b2"));
    let refused = final_answer(&mut world);
    assert_eq!(refused.status.code(), 500);
    assert!(refused.headers.has(&HeaderName::RetryAfter));
    assert!(world.core_got_nothing());
}

#[test]
fn a_call_that_waited_for_a_name_can_move_on_too() {
    let mut world = world_with(mw());
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    assert!(world.core_got_nothing());
    let addresses = [ONE, TWO].map(|it| it.parse::<SocketAddr>().unwrap().ip());
    world.input(Input::Resolved {
        query: QueryId(1),
        resolution: Resolution::Found {
            records: Records::Addresses(addresses.to_vec()),
            ttl: 600 * SECOND,
        },
    });
    let first = next_invite(&mut world);
    world.answer(&first, first.response(503));
    assert_eq!(sent_to(&next_invite(&mut world)), TWO);
}

// Conforms: TS 24.229 §5.2.6.3 | On Mw messages and subscriptions take the Service-Route too, not the way of a REGISTER.
#[test]
fn messages_and_subscriptions_go_where_the_service_route_leads() {
    let (mut world, register) = two_servers();
    let text = "Content-Type: text/plain";
    let message = from_browser("MESSAGE", "sip:bob@ims.test", 1, text, "hello");
    world.browser(1, &message);
    let asked = world.core_request();
    assert_eq!(sent_to(&asked), ONE);
    let header = |asked: &Asked, name| asked.request.headers.text(&name).map(str::to_owned);
    assert_eq!(
        header(&asked, HeaderName::Route).as_deref(),
        Some("<sip:orig@scscf.ims.test:6060;lr>")
    );
    assert!(header(&asked, HeaderName::PChargingVector).is_some());
    world.answer(&asked, asked.response(202));
    assert_eq!(final_answer(&mut world).status.code(), 202);

    let event = "Event: message-summary\r\nExpires: 600";
    let subscribe = from_browser("SUBSCRIBE", "sip:alice@ims.test", 2, event, "");
    world.browser(1, &subscribe);
    let asked = world.core_request();
    assert_eq!(sent_to(&asked), ONE);
    let accepted = asked
        .response(200)
        .with(HeaderName::Expires, 300)
        .with(HeaderName::RecordRoute, "<sip:mo@192.0.2.13:6060;lr>")
        .with(HeaderName::Contact, "<sip:mwi@192.0.2.50>");
    world.answer(&asked, accepted);
    let granted = final_answer(&mut world);

    // Its refresh goes by the route set, and a NOTIFY finds the browser on the shared port.
    let to = granted.headers.text(&HeaderName::To).unwrap();
    let refresh = from_browser("SUBSCRIBE", "sip:alice@ims.test", 3, event, "")
        .replace("To: <sip:alice@ims.test>", &format!("To: {to}"))
        .replace("near-3", "near-2");
    world.browser(1, &refresh);
    let refreshed = world.core_request();
    assert_eq!(sent_to(&refreshed), TWO);
    world.answer(&refreshed, refreshed.response(200));
    let contact = header(&asked, HeaderName::Contact).unwrap();
    let contact = contact.trim_matches(['<', '>']);
    let notify = format!(
        "NOTIFY {contact} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {TWO};branch=z9hG4bKnotify\r\nMax-Forwards: 60\r\n\
         To: {}\r\nFrom: <sip:alice@ims.test>;tag=core\r\nCall-ID: {}\r\n\
         CSeq: 1 NOTIFY\r\nContact: <sip:mwi@192.0.2.50>\r\nEvent: message-summary\r\n\
         Subscription-State: active\r\nContent-Length: 0\r\n\r\n",
        header(&asked, HeaderName::From).unwrap(),
        header(&asked, HeaderName::CallId).unwrap(),
    );
    world.from(TWO, 1, notify.into());
    assert_eq!(world.browser_request(1).method, Method::Notify);

    // So does a message.
    let message = format!(
        "MESSAGE {contact} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ONE};branch=z9hG4bKmessage\r\nMax-Forwards: 60\r\nRoute: {}\r\n\
         To: <sip:alice@ims.test>\r\nFrom: <sip:bob@ims.test>;tag=far\r\nCall-ID: far\r\n\
         CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        path_of(&register)
    );
    world.from(ONE, 1, message.into());
    let told = world.browser_request(1);
    assert_eq!(
        (told.method.clone(), told.body.as_ref()),
        (Method::Message, &b"hello"[..])
    );
    world.browser(1, &answer(&told, "200 OK", ""));
    assert_eq!(world.core_response().status.code(), 200);
}
