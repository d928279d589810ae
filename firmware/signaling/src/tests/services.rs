//! Messages, subscriptions, publications and OPTIONS through the whole control plane.

use std::time::Duration;

use super::registration::{credentials, log_in, register};
use super::world::{Asked, CORE, World};
use crate::message::{HeaderName, Method, Request, Response};

/// A request of a browser outside calls.
pub(super) fn from_browser(method: &str, target: &str, n: u32, more: &str, body: &str) -> String {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("{more}\r\n")
    };
    format!(
        "{method} {target} SIP/2.0\r\n\
         Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{method}{n}\r\n\
         Max-Forwards: 70\r\nTo: <{target}>\r\nFrom: <sip:alice@ims.test>;tag=near\r\n\
         Call-ID: near-{n}\r\nCSeq: {n} {method}\r\nContact: <sip:a@b.invalid>\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request of the core to the Contact that alice registered.
pub(super) fn from_core(method: &str, n: u32, more: &str, body: &str) -> String {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("{more}\r\n")
    };
    format!(
        "{method} sip:alice@ims.test SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CORE};branch=z9hG4bKcore{method}{n}\r\nMax-Forwards: 60\r\n\
         To: <sip:alice@ims.test>\r\nFrom: <sip:bob@ims.test>;tag=far\r\n\
         Call-ID: far-{n}\r\nCSeq: {n} {method}\r\nContact: <sip:bob@192.0.2.77>\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const TEXT: &str = "Content-Type: text/plain\r\nP-Asserted-Identity: <sip:boss@ims.test>";

fn logged_in() -> World {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    world
}

#[test]
fn a_message_of_a_browser_reaches_the_core_in_the_users_name() {
    let mut world = logged_in();
    world.browser(
        1,
        &from_browser("MESSAGE", "sip:bob@ims.test", 1, TEXT, "hello"),
    );
    let asked = world.core_request();
    let headers = &asked.request.headers;
    assert_eq!(asked.request.body, "hello");
    assert_eq!(headers.text(&HeaderName::ContentType), Some("text/plain"));
    assert_eq!(
        headers.text(&HeaderName::PPreferredIdentity),
        Some("<sip:alice@ims.test>")
    );
    assert!(!headers.has(&HeaderName::PAssertedIdentity));
    assert_eq!(headers.routes().unwrap().len(), 2);
    world.answer(&asked, asked.response(202));
    assert_eq!(world.browser_response(1).status.code(), 202);

    world.browser(
        1,
        &from_browser("MESSAGE", "sip:bob@ims.test", 2, TEXT, "again"),
    );
    world.pass(Duration::from_secs(40));
    assert_eq!(world.browser_response(1).status.code(), 504);
}

#[test]
fn a_message_of_the_core_reaches_the_browser() {
    let mut world = logged_in();
    let message = from_core("MESSAGE", 1, TEXT, "hello");
    world.core(1, &message);
    let message = world.browser_request(1);
    assert_eq!(message.method, Method::Message);
    assert_eq!(message.body, "hello");
    let from = message.headers.from().unwrap();
    assert_eq!(from.uri.to_string(), "sip:bob@ims.test");
    world.browser(1, &answer(&message, "200 OK", ""));
    assert_eq!(world.core_response().status.code(), 200);
}

/// A browser's answer.
pub(super) fn answer(request: &Request, status: &str, more: &str) -> String {
    let text = |name| request.headers.text(&name).unwrap();
    let tag = match request.headers.to().unwrap().tag() {
        Some(_) => "",
        None => ";tag=page",
    };
    let more = if more.is_empty() {
        String::new()
    } else {
        format!("{more}\r\n")
    };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nTo: {}{tag}\r\nFrom: {}\r\nCall-ID: {}\r\n\
         CSeq: {}\r\n{more}Content-Length: 0\r\n\r\n",
        text(HeaderName::Via),
        text(HeaderName::To),
        text(HeaderName::From),
        text(HeaderName::CallId),
        text(HeaderName::CSeq),
    )
}

#[test]
fn messages_that_are_long_or_of_another_type_or_too_many_are_turned_away() {
    let mut world = World::with(|config| config.tenants[0].services.messages_per_minute = 2);
    log_in(&mut world, 1, "alice");
    world.forget();
    let to = "sip:bob@ims.test";
    let long = "x".repeat(1301);
    world.browser(1, &from_browser("MESSAGE", to, 1, TEXT, &long));
    assert_eq!(world.browser_response(1).status.code(), 513);
    let binary = "Content-Type: application/vnd.3gpp.sms";
    world.browser(1, &from_browser("MESSAGE", to, 2, binary, "x"));
    let refusal = world.browser_response(1);
    assert_eq!(refusal.status.code(), 415);
    let accept = refusal.headers.text(&HeaderName::Accept);
    assert_eq!(accept, Some("text/plain, message/cpim"));
    for n in 3..5 {
        world.browser(1, &from_browser("MESSAGE", to, n, TEXT, "x"));
        world.core_request();
    }
    world.browser(1, &from_browser("MESSAGE", to, 5, TEXT, "x"));
    let refusal = world.browser_response(1);
    assert_eq!(refusal.status.code(), 503);
    assert!(refusal.headers.has(&HeaderName::RetryAfter));
    world.pass(Duration::from_secs(60));
    world.forget();
    world.browser(1, &from_browser("MESSAGE", to, 6, TEXT, "x"));
    world.core_request();
}

#[test]
fn options_are_answered_here_or_by_whom_they_are_about() {
    let mut world = logged_in();
    world.browser(1, &from_browser("OPTIONS", "sip:ims.test", 1, "", ""));
    assert_eq!(world.browser_response(1).status.code(), 200);
    world.browser(1, &from_browser("OPTIONS", "sip:alice@ims.test", 2, "", ""));
    assert_eq!(world.browser_response(1).status.code(), 200);
    assert!(world.core_got_nothing());
    world.browser(1, &from_browser("OPTIONS", "sip:bob@ims.test", 3, "", ""));
    let asked = world.core_request();
    let able = asked.response(200).with(HeaderName::Allow, "INVITE, X");
    world.answer(&asked, able);
    let answer = world.browser_response(1);
    assert_eq!(answer.status.code(), 200);
    assert!(!answer.headers.lists_token(&HeaderName::Allow, "X"));
}

#[test]
fn users_publish_their_own_state_where_the_operator_lets_them() {
    let event = "Event: presence\r\nExpires: 600";
    let own = "sip:alice@ims.test";
    let mut world = logged_in();
    world.browser(1, &from_browser("PUBLISH", own, 1, event, "x"));
    assert_eq!(world.browser_response(1).status.code(), 405);

    let mut world = World::with(|config| config.tenants[0].services.publish = true);
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &from_browser("PUBLISH", own, 2, event, "x"));
    let asked = world.core_request();
    assert_eq!(
        asked.request.headers.text(&HeaderName::Event),
        Some("presence")
    );
    let done = asked.response(200).with(HeaderName::SipETag, "dx200xyz");
    world.answer(&asked, done);
    let tag = world.browser_response(1);
    assert_eq!(tag.headers.text(&HeaderName::SipETag), Some("dx200xyz"));
    world.browser(
        1,
        &from_browser("PUBLISH", "sip:bob@ims.test", 3, event, "x"),
    );
    assert_eq!(world.browser_response(1).status.code(), 403);
}

const MWI: &str = "Event: message-summary;id=7\r\nExpires: 600\r\n\
    Accept: application/simple-message-summary";

/// A subscription of alice's, accepted by the core.
fn subscribed(world: &mut World) -> (Asked, Response) {
    world.browser(
        1,
        &from_browser("SUBSCRIBE", "sip:alice@ims.test", 1, MWI, ""),
    );
    let asked = world.core_request();
    let accepted = asked
        .response(200)
        .with(HeaderName::Expires, 300)
        .with(HeaderName::Contact, "<sip:mwi@192.0.2.50>");
    world.answer(&asked, accepted);
    let answer = world.browser_response(1);
    assert_eq!(answer.status.code(), 200);
    (asked, answer)
}

/// A NOTIFY of the notifier that has this tag.
fn notify(asked: &Asked, tag: &str, n: u32, state: &str) -> String {
    let headers = &asked.request.headers;
    let body = "Messages-Waiting: yes\r\n";
    format!(
        "NOTIFY sip:x@198.51.100.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {CORE};branch=z9hG4bKn{tag}{n}\r\nMax-Forwards: 60\r\n\
         To: {}\r\nFrom: <sip:alice@ims.test>;tag={tag}\r\nCall-ID: {}\r\n\
         CSeq: {n} NOTIFY\r\nContact: <sip:mwi@192.0.2.50>\r\n\
         Event: message-summary;id=7\r\nSubscription-State: {state}\r\n\
         Content-Type: application/simple-message-summary\r\n\
         Content-Length: {}\r\n\r\n{body}",
        headers.text(&HeaderName::From).unwrap(),
        headers.text(&HeaderName::CallId).unwrap(),
        body.len()
    )
}

#[test]
fn a_browser_subscribes_is_notified_and_refreshes() {
    let mut world = logged_in();
    let (asked, answer_200) = subscribed(&mut world);
    let text = |name| asked.request.headers.text(&name);
    assert_eq!(text(HeaderName::Event), Some("message-summary;id=7"));
    assert_eq!(text(HeaderName::Expires), Some("600"));
    assert_eq!(answer_200.headers.text(&HeaderName::Expires), Some("300"));
    assert!(
        !answer_200
            .headers
            .text(&HeaderName::Contact)
            .unwrap()
            .contains("192.0.2")
    );
    assert_eq!(world.signaling.counters().subscriptions, 1);

    world.core(1, &notify(&asked, "core", 1, "active;expires=300"));
    let notified = world.browser_request(1);
    assert_eq!(notified.method, Method::Notify);
    assert_eq!(notified.body, "Messages-Waiting: yes\r\n");
    let state = notified.headers.text(&HeaderName::SubscriptionState);
    assert_eq!(state, Some("active;expires=300"));
    assert_eq!(notified.headers.call_id().unwrap().to_string(), "near-1");
    assert!(world.core_got_nothing());
    world.browser(1, &answer(&notified, "200 OK", ""));
    assert_eq!(world.core_response().status.code(), 200);

    let to = answer_200.headers.text(&HeaderName::To).unwrap();
    let refresh = from_browser("SUBSCRIBE", "sip:alice@ims.test", 2, MWI, "")
        .replace("To: <sip:alice@ims.test>", &format!("To: {to}"))
        .replace("near-2", "near-1");
    world.browser(1, &refresh);
    let refreshed = world.core_request();
    let tag = refreshed.request.headers.to().unwrap();
    assert_eq!(tag.tag(), Some("core"));
    assert_eq!(refreshed.request.uri.to_string(), "sip:mwi@192.0.2.50");
    world.answer(
        &refreshed,
        refreshed.response(200).with(HeaderName::Expires, 0),
    );
    assert_eq!(world.browser_response(1).status.code(), 200);
    world.core(1, &notify(&asked, "core", 2, "terminated;reason=timeout"));
    let last = world.browser_request(1);
    world.browser(1, &answer(&last, "200 OK", ""));
    assert_eq!(world.signaling.counters().subscriptions, 0);
}

/// A SUBSCRIBE of alice's that the core has not answered yet.
fn subscribing(world: &mut World, n: u32) -> Asked {
    let subscribe = from_browser("SUBSCRIBE", "sip:alice@ims.test", n, MWI, "");
    world.browser(1, &subscribe);
    world.core_request()
}

/// The core accepts it.
fn accept(world: &mut World, asked: &Asked) {
    let accepted = asked.response(200);
    let contact = "<sip:mwi@192.0.2.50>";
    world.answer(asked, accepted.with(HeaderName::Contact, contact));
}

// Conforms: RFC 6665 §4.1.2.4 | A NOTIFY that overtakes the answer to its SUBSCRIBE waits, and reaches the browser after it.
#[test]
fn a_notify_that_overtakes_the_answer_waits_for_it_and_a_second_notifier_is_turned_away() {
    let mut world = logged_in();
    let asked = subscribing(&mut world, 1);
    world.core(1, &notify(&asked, "core", 1, "active"));
    world.core(1, &notify(&asked, "other", 1, "active"));
    world.core(1, &notify(&asked, "core", 2, "active"));
    world.pass(Duration::from_millis(400));
    assert!(world.browser_got_nothing(1));
    assert!(world.core_got_nothing());
    accept(&mut world, &asked);
    assert_eq!(world.browser_response(1).status.code(), 200);
    let notified = [world.browser_request(1), world.browser_request(1)];
    let refusal = world.core_response();
    assert_eq!(refusal.status.code(), 481);
    assert_eq!(refusal.headers.from().unwrap().tag(), Some("other"));
    for (n, notified) in (1..).zip(notified) {
        world.browser(1, &answer(&notified, "200 OK", ""));
        let answer = world.core_response();
        assert_eq!(answer.status.code(), 200);
        assert_eq!(answer.headers.cseq().unwrap().number, n);
    }

    world.core(1, &notify(&asked, "other", 2, "active"));
    assert_eq!(world.core_response().status.code(), 481);
    world.core(1, &notify(&asked, "core", 3, "active"));
    let notified = world.browser_request(1);
    world.browser(1, &answer(&notified, "481 Gone", ""));
    assert_eq!(world.core_response().status.code(), 481);
    assert_eq!(world.signaling.counters().subscriptions, 0);
}

#[test]
fn a_last_notify_that_overtakes_the_answer_to_the_unsubscribe_comes_after_it() {
    let mut world = logged_in();
    let (asked, answer_200) = subscribed(&mut world);
    let to = answer_200.headers.text(&HeaderName::To).unwrap();
    let last = from_browser("SUBSCRIBE", "sip:alice@ims.test", 2, MWI, "")
        .replace("To: <sip:alice@ims.test>", &format!("To: {to}"))
        .replace("near-2", "near-1")
        .replace("Expires: 600", "Expires: 0");
    world.browser(1, &last);
    let unsubscribed = world.core_request();
    world.core(1, &notify(&asked, "core", 1, "terminated"));
    assert!(world.browser_got_nothing(1));
    accept(&mut world, &unsubscribed);
    assert_eq!(world.browser_response(1).status.code(), 200);
    let notified = world.browser_request(1);
    world.browser(1, &answer(&notified, "200 OK", ""));
    assert_eq!(world.core_response().status.code(), 200);
    assert_eq!(world.signaling.counters().subscriptions, 0);
}

#[test]
fn notifies_of_a_subscription_that_fails_belong_to_nothing() {
    let mut world = logged_in();
    let asked = subscribing(&mut world, 1);
    world.core(1, &notify(&asked, "core", 1, "active"));
    world.answer(&asked, asked.response(403));
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert_eq!(world.core_response().status.code(), 481);
    assert!(world.browser_got_nothing(1));

    let asked = subscribing(&mut world, 2);
    world.core(1, &notify(&asked, "core", 2, "active"));
    let farewell = register("alice", 3, &credentials("alice", "n1"));
    world.browser(1, &farewell.replace("expires=600", "expires=0"));
    let farewell = world.core_request();
    world.answer(&farewell, farewell.response(200));
    assert_eq!(world.core_response().status.code(), 481);
    assert_eq!(world.signaling.counters().subscriptions, 0);
}

#[test]
fn notifies_wait_neither_long_nor_in_crowds() {
    let mut world = logged_in();
    let asked = subscribing(&mut world, 1);
    for n in 1..=4 {
        world.core(1, &notify(&asked, "core", n, "active"));
    }
    let refusal = world.core_response();
    assert_eq!(refusal.status.code(), 500);
    assert!(refusal.headers.has(&HeaderName::RetryAfter));
    assert_eq!(refusal.headers.cseq().unwrap().number, 4);
    world.pass(Duration::from_millis(5001));
    let notified = world.browser_request(1);
    world.browser(1, &answer(&notified, "200 OK", ""));
    assert_eq!(world.core_response().status.code(), 200);
}

#[test]
fn what_is_not_on_the_list_and_what_is_others_business_is_turned_away() {
    let mut world = logged_in();
    let subscribe =
        |to: &str, n, event: &str| from_browser("SUBSCRIBE", to, n, &format!("Event: {event}"), "");
    world.browser(1, &subscribe("sip:bob@ims.test", 1, "dialog"));
    let refusal = world.browser_response(1);
    assert_eq!(refusal.status.code(), 489);
    let events = refusal.headers.text(&HeaderName::AllowEvents);
    assert_eq!(events, Some("reg, message-summary, presence, conference"));
    world.browser(1, &subscribe("sip:bob@ims.test", 2, "reg"));
    assert_eq!(world.browser_response(1).status.code(), 403);
    world.browser(1, &subscribe("sip:alice@ims.test", 3, "reg"));
    assert_eq!(world.core_request().request.method, Method::Subscribe);
}

#[test]
fn a_refused_subscription_leaves_nothing_and_a_forgotten_one_ends() {
    let mut world = logged_in();
    world.browser(
        1,
        &from_browser("SUBSCRIBE", "sip:bob@ims.test", 9, MWI, ""),
    );
    let asked = world.core_request();
    world.answer(&asked, asked.response(403));
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert_eq!(world.signaling.counters().subscriptions, 0);

    subscribed(&mut world);
    world.pass(Duration::from_secs(200));
    assert_eq!(world.signaling.counters().subscriptions, 1);
    world.pass(Duration::from_secs(140));
    assert_eq!(world.signaling.counters().subscriptions, 0);
}

#[test]
fn nobody_sits_in_on_a_subscription_of_another() {
    let mut world = logged_in();
    let (asked, _) = subscribed(&mut world);
    log_in(&mut world, 2, "bob");
    world.forget();
    world.core(2, &notify(&asked, "core", 1, "active"));
    assert_eq!(world.core_response().status.code(), 481);
}
