//! Calls through the whole control plane: whose they are, what crosses, what is left.

use std::time::Duration;

use super::registration::{credentials, log_in, register};
use super::world::{Asked, CORE, World};
use crate::event::{Breach, EndReason, Event};
use crate::message::{HeaderName, Method, Request, Response, StatusCode};
use crate::{Input, SipTransport};

const SECOND: Duration = Duration::from_secs(1);

pub(super) const OFFER: &str = "v=0
o=- 7666821458748777192 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=audio 41507 UDP/TLS/RTP/SAVPF 111 0 8 126
c=IN IP4 10.11.12.13
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122194687 10.11.12.13 41507 typ host
a=ice-ufrag:Byrc
a=ice-pwd:6IuG8zVK4O1M78n2Wshh6ytL
a=fingerprint:sha-256 1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:126 telephone-event/8000
";

pub(super) const PHONE: &str = "v=0
o=- 1 1 IN IP4 192.0.2.77
s=-
c=IN IP4 192.0.2.77
t=0 0
m=audio 40000 RTP/AVP 8 101
a=rtpmap:101 telephone-event/8000
a=sendrecv
";

pub(super) fn with_body(head: &str, body: &str) -> String {
    let body = body.replace('\n', "\r\n");
    let head: Vec<&str> = head.trim().lines().map(str::trim).collect();
    format!(
        "{}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        head.join("\r\n"),
        body.len()
    )
}

/// An INVITE as JsSIP writes it.
pub(super) fn invite(user: &str, branch: &str) -> String {
    with_body(
        &format!(
            "INVITE sip:carol@ims.test;transport=ws SIP/2.0
            Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{branch}
            Max-Forwards: 69
            Route: <sip:10.0.0.1;lr>
            To: <sip:carol@ims.test>
            From: \"Alice\" <sip:{user}@ims.test>;tag=near-{branch}
            Call-ID: call-{branch}
            CSeq: 1 INVITE
            Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws;ob>
            P-Asserted-Identity: <sip:boss@ims.test>
            P-Served-User: <sip:boss@ims.test>
            Supported: timer,ice,replaces,outbound
            Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY
            User-Agent: JsSIP 3.13.8"
        ),
        OFFER,
    )
}

/// A request of the browser inside the call that its INVITE began.
pub(super) fn inside(method: &str, cseq: u32, answer: &Response, branch: &str) -> String {
    let number = if method == "ACK" { 1 } else { cseq };
    format!(
        "{method} sip:gatehouse.invalid;transport=ws SIP/2.0
        Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{method}{branch}
        Max-Forwards: 69
        To: {}
        From: {}
        Call-ID: {}
        CSeq: {number} {method}
        Content-Length: 0",
        answer.headers.text(&HeaderName::To).unwrap(),
        answer.headers.text(&HeaderName::From).unwrap(),
        answer.headers.text(&HeaderName::CallId).unwrap(),
    )
}

pub(super) fn accepted(asked: &Asked) -> Response {
    asked
        .response(200)
        .with(HeaderName::Contact, "<sip:carol@192.0.2.77:5060>")
        .with(HeaderName::RecordRoute, "<sip:192.0.2.10:5060;lr>")
        .with_body("application/sdp", PHONE.replace('\n', "\r\n").into_bytes())
}

/// A registered browser calls and is answered; gives the INVITE that the core got, and the
/// answer that the browser got.
pub(super) fn call(world: &mut World, flow: u64, user: &str) -> (Asked, Response) {
    call_as(world, flow, user, &format!("b{flow}"))
}

/// The same under another name, for a user with several calls.
pub(super) fn call_as(world: &mut World, flow: u64, user: &str, branch: &str) -> (Asked, Response) {
    world.browser(flow, &invite(user, branch));
    let asked = loop {
        let asked = world.core_request();
        if asked.request.method == Method::Invite {
            break asked;
        }
    };
    world.answer(&asked, accepted(&asked));
    let answer = loop {
        let response = world.browser_response(flow);
        if response.status.is_success() {
            break response;
        }
    };
    world.browser(flow, &inside("ACK", 1, &answer, branch));
    (asked, answer)
}

pub(super) fn from_core(method: &str, asked: &Asked, cseq: u32) -> String {
    let headers = &asked.request.headers;
    let to = headers.text(&HeaderName::From).unwrap();
    let from = headers.to().unwrap().with_tag("core");
    let target = headers.contacts().unwrap()[0]
        .address()
        .unwrap()
        .uri
        .clone();
    format!(
        "{method} {target} SIP/2.0
        Via: SIP/2.0/UDP {CORE};branch=z9hG4bKcore{method}{cseq}
        Max-Forwards: 60
        To: {to}
        From: {from}
        Call-ID: {}
        CSeq: {cseq} {method}
        Content-Length: 0",
        headers.text(&HeaderName::CallId).unwrap(),
    )
}

fn text(request: &Request) -> String {
    String::from_utf8(request.to_bytes().to_vec()).unwrap()
}

// Conforms: RFC 3325 §6 | What a browser asserts of itself does not reach the core.
#[test]
fn a_browser_calls_as_nobody_but_itself_and_shows_nothing_of_itself() {
    let mut world = World::new();
    let registered = log_in(&mut world, 1, "alice");
    world.browser(1, &invite("boss", "b1"));

    let asked = world.core_request();
    let sent = text(&asked.request);
    assert_eq!(asked.endpoint, registered.endpoint);
    assert_eq!(asked.request.uri.as_str(), "sip:carol@ims.test");
    let routes: Vec<_> = asked.request.headers.routes().unwrap();
    let routes: Vec<_> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        [
            "<sip:192.0.2.10:5060;lr>",
            "<sip:orig@scscf.ims.test:6060;lr>"
        ]
    );
    assert!(
        sent.contains("From: \"Alice\" <sip:alice@ims.test>;tag="),
        "{sent}"
    );
    assert!(
        sent.contains("P-Preferred-Identity: <sip:alice@ims.test>\r\n"),
        "{sent}"
    );
    for browser in [
        "invalid",
        "transport=ws",
        "WSS",
        "JsSIP",
        "boss",
        "10.0.0.1",
        "qk3xxx",
        "call-b1",
        "near-b1",
        "candidate",
        "fingerprint",
        "SAVPF",
        "10.11.12.13",
        "127.0.0.1",
        "ice-ufrag",
        "BUNDLE",
    ] {
        assert!(!sent.contains(browser), "{browser} leaks: {sent}");
    }

    world.answer(&asked, accepted(&asked));
    let answer = loop {
        let response = world.browser_response(1);
        if response.status.is_success() {
            break response;
        }
    };
    let heard = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    for core in [
        "192.0.2",
        "198.51.100.1",
        "scscf",
        "Record-Route",
        "tag=core",
    ] {
        assert!(!heard.contains(core), "{core} leaks: {heard}");
    }
    assert_eq!(answer.headers.vias().unwrap().len(), 1);
}

#[test]
fn a_caller_who_wants_to_be_anonymous_is_known_to_the_core_alone() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    let anonymous = invite("alice", "b1").replace(
        "From: \"Alice\" <sip:alice@ims.test>",
        "Privacy: id\r\nP-Preferred-Identity: <sip:alice@ims.test>\r\n\
         From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    world.browser(1, &anonymous);
    let asked = world.core_request().request;
    let header = |name| asked.headers.text(&name).unwrap();
    assert!(header(HeaderName::From).contains("<sip:anonymous@anonymous.invalid>"));
    assert_eq!(header(HeaderName::Privacy), "id");
    assert_eq!(
        header(HeaderName::PPreferredIdentity),
        "<sip:alice@ims.test>"
    );
}

#[test]
fn a_call_ends_with_nothing_left_but_the_registration() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (_, answer) = call(&mut world, 1, "alice");
    world.pass(40 * SECOND);
    assert_eq!(world.signaling.counters().sessions, 1);

    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    assert_eq!(world.browser_response(1).status.code(), 200);
    let bye = loop {
        let asked = world.core_request();
        if asked.request.method == Method::Bye {
            break asked;
        }
    };
    world.answer(&bye, bye.response(200));
    world.pass(40 * SECOND);
    let counters = world.signaling.counters();
    assert_eq!((counters.sessions, counters.registrations), (0, 1));
    assert_eq!(
        (counters.calls_from_access, counters.calls_answered),
        (1, 1)
    );
    let is_record = |event: &Event| matches!(event, Event::CallEnded(_));
    assert_eq!(
        world.events.iter().filter(|event| is_record(event)).count(),
        1
    );
}

#[test]
fn a_bye_of_the_far_end_finds_the_browser_on_its_new_connection() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (asked, _) = call(&mut world, 1, "alice");
    world.forget();
    world.closed(1);
    world.open(2);
    world.browser(2, &register("alice", 3, "X-Any: 1"));
    let again = world.core_request();
    world.answer(&again, again.challenge("n8"));
    world.browser(2, &register("alice", 4, &credentials("alice", "n8")));
    let again = world.core_request();
    world.answer(&again, again.granted(270));
    world.forget();

    world.core(1, &from_core("BYE", &asked, 1));
    assert_eq!(world.browser_request(2).method, Method::Bye);
    assert_eq!(world.core_response().status.code(), 200);
}

#[test]
fn nobody_hangs_up_the_call_of_another() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    log_in(&mut world, 2, "bob");
    let (asked, answer) = call(&mut world, 1, "alice");
    world.forget();
    world.browser(2, &inside("BYE", 2, &answer, "forged"));
    assert_eq!(world.browser_response(2).status.code(), 481);
    // Nor through another user's port.
    world.core(2, &from_core("BYE", &asked, 1));
    assert_eq!(world.core_response().status.code(), 481);
    let is_reported = |event: &&Event| {
        matches!(
            event,
            Event::Security {
                breach: Breach::ForeignDialog,
                ..
            }
        )
    };
    assert_eq!(world.events.iter().filter(is_reported).count(), 2);
    assert_eq!(world.signaling.counters().sessions, 1);
}

#[test]
fn a_call_outlives_a_lost_connection_by_the_grace_and_no_longer() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    world.forget();
    world.closed(1);
    world.pass(59 * SECOND);
    assert_eq!(world.signaling.counters().sessions, 1);
    world.pass(2 * SECOND);
    let ladder = world.ladder();
    assert!(ladder.contains("60s port1 -> UDP BYE"), "{ladder}");
    let ended = world.events.iter().find_map(|event| match event {
        Event::CallEnded(record) => Some(record.cause.reason),
        _ => None,
    });
    assert_eq!(ended, Some(Some(EndReason::RegistrationEnded)));
    world.pass(400 * SECOND);
    let counters = world.signaling.counters();
    assert_eq!((counters.sessions, counters.endpoints), (0, 0));
}

#[test]
fn the_ims_calls_a_browser_by_its_token_and_the_browser_sees_no_core() {
    let mut world = World::new();
    let registered = log_in(&mut world, 1, "alice");
    let target = registered.request.headers.contacts().unwrap()[0]
        .address()
        .unwrap()
        .uri
        .clone();
    let invite = with_body(
        &format!(
            "INVITE {target} SIP/2.0
            Via: SIP/2.0/UDP {CORE};branch=z9hG4bKin1
            Via: SIP/2.0/UDP 192.0.2.99:5060;branch=z9hG4bKin0
            Record-Route: <sip:192.0.2.10:5060;lr>
            Max-Forwards: 60
            To: <sip:alice@ims.test>
            From: \"Carol\" <sip:carol@192.0.2.55:5080;user=phone>;tag=far
            Call-ID: far@192.0.2.55
            CSeq: 1 INVITE
            Contact: <sip:carol@192.0.2.55:5080>
            P-Asserted-Identity: <sip:carol@ims.test>
            P-Charging-Vector: icid-value=secret;icid-generated-at=192.0.2.55
            User-Agent: Far 1.0"
        ),
        PHONE,
    );
    world.core(1, &invite);
    let ring = world.browser_request(1);
    let seen = text(&ring);
    assert_eq!(
        ring.uri.as_str(),
        "sip:qk3xxx@df7jal23ls0d.invalid;transport=ws"
    );
    assert!(
        seen.contains("From: \"Carol\" <sip:carol@ims.test;user=phone>;tag="),
        "{seen}"
    );
    assert!(
        seen.contains("P-Asserted-Identity: <sip:carol@ims.test>"),
        "{seen}"
    );
    for core in [
        "192.0.2",
        "198.51.100.1",
        "icid",
        "Far 1.0",
        "tag=far",
        "Record-Route",
    ] {
        assert!(!seen.contains(core), "{core} leaks: {seen}");
    }
    assert_eq!(ring.headers.vias().unwrap().len(), 1);
    assert_eq!(world.signaling.counters().calls_from_ims, 1);

    // The far end gives up: the browser stops ringing.
    let trying = Response::to_request(&ring, StatusCode::RINGING).with_to_tag("b");
    world.browser(1, std::str::from_utf8(&trying.to_bytes()).unwrap());
    let cancel = invite
        .lines()
        .filter(|line| {
            line.contains("in1")
                || ["To", "From", "Call-ID"]
                    .iter()
                    .any(|h| line.starts_with(h))
        })
        .collect::<Vec<_>>()
        .join("\r\n");
    world.core(
        1,
        &format!(
            "CANCEL {target} SIP/2.0\r\n{cancel}\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n"
        ),
    );
    assert_eq!(world.browser_request(1).method, Method::Cancel);
}

#[test]
fn a_browser_that_is_away_cannot_be_called() {
    let mut world = World::new();
    let registered = log_in(&mut world, 1, "alice");
    world.closed(1);
    world.forget();
    let asked = Asked { ..registered };
    world.core(1, &from_core("INVITE", &asked, 1).replace(";tag=", ";was="));
    assert_eq!(world.core_response().status.code(), 480);
}

#[test]
fn one_user_has_no_more_calls_than_his_share() {
    let mut world = World::with(|config| config.calls.per_registration = 1);
    log_in(&mut world, 1, "alice");
    call(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "second"));
    assert_eq!(world.browser_response(1).status.code(), 486);
    assert!(world.core_got_nothing());
}

#[test]
fn while_draining_calls_go_on_and_none_begins() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (asked, _) = call(&mut world, 1, "alice");
    world.input(Input::Drain);
    world.forget();
    world.browser(1, &invite("alice", "second"));
    assert_eq!(world.browser_response(1).status.code(), 503);

    world.core(1, &from_core("BYE", &asked, 1));
    let bye = world.browser_request(1);
    let ok = Response::to_request(&bye, StatusCode::OK);
    world.browser(1, std::str::from_utf8(&ok.to_bytes()).unwrap());
    world.pass(50 * SECOND);
    assert!(world.ladder().ends_with("idle\n"));
}

// Conforms: RFC 3261 §18.1.1 | A request above 1300 bytes goes by TCP, and by datagram if TCP is refused.
// Conforms: TS 24.229 §4.2A | Above 1300 bytes SIP goes by TCP.
#[test]
fn a_long_invite_goes_by_tcp_and_falls_back_to_udp() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let long = invite("alice", "b1").replace(
        "User-Agent: JsSIP 3.13.8",
        &format!("Subject: {}", "x".repeat(900)),
    );
    world.browser(1, &long);
    let asked = world.core_request();
    assert_eq!(asked.transport, SipTransport::Tcp);
    world.input(Input::ImsTransportFailed {
        endpoint: asked.endpoint,
        transport: SipTransport::Tcp,
        to: asked.to,
    });
    let again = world.core_request();
    assert_eq!(again.transport, SipTransport::Udp);
    world.answer(&again, again.response(486));
    let last = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(last.status.code(), 486);
}
