//! Log-in, refresh, loss, return and log-out.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::{Asked, CORE, OTHER_CORE, World};
use crate::config::{Host, HostName};
use crate::message::{HeaderName, Response};
use crate::reach::Records;
use crate::{EndpointId, Input, OpenFailure, SipTransport};

const SECOND: Duration = Duration::from_secs(1);

/// A REGISTER as JsSIP writes it.
pub(super) fn register(user: &str, cseq: u32, extra: &str) -> String {
    format!(
        "REGISTER sip:ims.test SIP/2.0
        Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK{user}{cseq}
        Max-Forwards: 69
        To: <sip:{user}@ims.test>
        From: \"{user}\" <sip:{user}@ims.test>;tag=65bnmj
        Call-ID: aiuy7k9njasd-{user}
        CSeq: {cseq} REGISTER
        Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws>;+sip.instance=\"<urn:uuid:{user}-1>\";reg-id=1;expires=600
        Supported: path,gruu,outbound
        User-Agent: JsSIP 3.13.8
        {extra}
        Content-Length: 0"
    )
}

pub(super) fn credentials(user: &str, nonce: &str) -> String {
    format!(
        "Authorization: Digest username=\"{user}@ims.test\", realm=\"ims.test\", nonce=\"{nonce}\", \
         uri=\"sip:ims.test\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5, \
         cnonce=\"x\", qop=auth, nc=00000001"
    )
}

/// Logs a user in on a flow; his port is the next one.
pub(super) fn log_in(world: &mut World, flow: u64, user: &str) -> Asked {
    world.open(flow);
    world.browser(flow, &register(user, 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(flow, &register(user, 2, &credentials(user, "n1")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    world.forget();
    asked
}

// Conforms: TS 33.203 §X.2 | Digest is passed through; the box adds nothing to it and learns no password.
// Conforms: RFC 3608 §5 | Service-Route is kept here and not shown to the browser.
#[test]
fn a_browser_logs_in_with_its_own_digest_and_sees_nothing_of_the_core() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));

    let first = world.core_request();
    let text = String::from_utf8(first.request.to_bytes().to_vec()).unwrap();
    assert!(text.contains("REGISTER sip:ims.test SIP/2.0\r\n"), "{text}");
    assert!(
        text.contains("Via: SIP/2.0/UDP 198.51.100.1:6001;branch=z9hG4bK"),
        "{text}"
    );
    assert!(text.contains("username=\"alice@ims.test\""), "{text}");
    assert!(text.contains("nonce=\"\""), "{text}");
    for browser in [
        "invalid",
        "transport=ws",
        "WSS",
        "JsSIP",
        "X-Any",
        "qk3xxx",
        "aiuy7k9njasd",
    ] {
        assert!(!text.contains(browser), "{browser} leaks: {text}");
    }

    world.answer(&first, first.challenge("n1"));
    let challenged = world.browser_response(1);
    assert_eq!(challenged.status.code(), 401);
    let challenge = challenged
        .headers
        .text(&HeaderName::WwwAuthenticate)
        .unwrap();
    assert!(
        challenge.contains("nonce=\"n1\"") && challenge.contains("qop=\"auth\""),
        "{challenge}"
    );

    let answer = credentials("alice", "n1");
    world.browser(1, &register("alice", 2, &answer));
    let second = world.core_request();
    let sent = second
        .request
        .headers
        .text(&HeaderName::Authorization)
        .unwrap();
    assert_eq!(format!("Authorization: {sent}"), answer);
    let cseq = |asked: &Asked| asked.request.headers.cseq().unwrap().number;
    assert_eq!((cseq(&first), cseq(&second)), (1, 2));
    assert_eq!(
        first.request.headers.call_id().unwrap(),
        second.request.headers.call_id().unwrap()
    );

    world.answer(&second, second.granted(270));
    let registered = world.browser_response(1);
    let text = String::from_utf8(registered.to_bytes().to_vec()).unwrap();
    assert_eq!(registered.status.code(), 200);
    assert_eq!(registered.headers.vias().unwrap().len(), 1);
    assert!(
        text.contains("Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws>;+sip.instance=\"<urn:uuid:alice-1>\";reg-id=1;expires=270\r\n"),
        "{text}"
    );
    assert!(
        text.contains("P-Associated-URI: <sip:alice@ims.test>, <tel:+390401234567>"),
        "{text}"
    );
    for core in [
        "192.0.2",
        "198.51.100.1",
        "scscf",
        "pcscf",
        "Kamailio",
        "203.0.113",
    ] {
        assert!(!text.contains(core), "{core} leaks: {text}");
    }
    assert_eq!(
        world.ladder(),
        "0s port1 open\n\
         0s port1 -> UDP REGISTER\n\
         0s flow1 <- 401 REGISTER\n\
         0s port1 -> UDP REGISTER\n\
         0s flow1 <- 200 REGISTER\n"
    );
    assert_eq!(world.signaling.counters().registrations, 1);
    world.pass(60 * SECOND);
    assert_eq!(world.ladder(), "");
}

#[test]
fn a_wrong_password_ends_in_a_challenge_that_is_no_longer_stale() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let mut marks = Vec::new();
    for (n, nonce) in ["n1", "n2", "n3"].into_iter().enumerate() {
        let asked = world.core_request();
        world.answer(&asked, asked.challenge(nonce));
        let response = world.browser_response(1);
        let challenge = response.headers.text(&HeaderName::WwwAuthenticate).unwrap();
        marks.push(challenge.contains("stale=true"));
        let cseq = 2 + u32::try_from(n).unwrap();
        world.browser(1, &register("alice", cseq, &credentials("alice", nonce)));
    }
    // Kamailio's double challenge is worth one more try, and no more.
    assert_eq!(marks, [false, true, false]);

    let asked = world.core_request();
    world.answer(
        &asked,
        asked.response(403).with_reason("Authentication Failed"),
    );
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 403);
    assert_eq!(&*response.reason, "Authentication Failed");
    assert!(
        world
            .ladder()
            .ends_with("port1 close\n0s flow1 <- 403 REGISTER\n")
    );
    assert_eq!(world.signaling.counters().registrations, 0);
    assert_eq!(world.signaling.counters().endpoints, 0);
}

#[test]
fn a_silent_core_is_a_504_after_every_address_was_tried() {
    let mut world = World::with(|config| {
        config.tenants[0].next_hop.host = Host::Name(HostName::parse("pcscf.ims.test").unwrap());
    });
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let hosts = [CORE, OTHER_CORE].map(|core| core.parse::<SocketAddr>().unwrap().ip());
    world.resolved(1, Some(Records::Addresses(hosts.to_vec())));
    world.pass(20 * SECOND);
    assert_eq!(
        world.ladder(),
        "0s port1 open\n\
         0s resolve1 A pcscf.ims.test\n\
         0s port1 -> UDP REGISTER\n\
         0.5s port1 -> UDP REGISTER\n\
         1.5s port1 -> UDP REGISTER\n\
         3.5s port1 -> UDP REGISTER\n\
         7.5s port1 -> UDP REGISTER\n\
         8s port1 -> UDP REGISTER\n\
         8.5s port1 -> UDP REGISTER\n\
         9.5s port1 -> UDP REGISTER\n\
         11.5s port1 -> UDP REGISTER\n\
         15.5s port1 -> UDP REGISTER\n\
         16s port1 close\n\
         16s flow1 <- 504 REGISTER\n"
    );
    assert_eq!(world.signaling.counters().next_hop_failovers, 1);
}

#[test]
fn a_name_without_addresses_is_a_504() {
    let mut world = World::with(|config| {
        config.tenants[0].next_hop.host = Host::Name(HostName::parse("pcscf.ims.test").unwrap());
    });
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    world.resolved(1, None);
    assert_eq!(world.browser_response(1).status.code(), 504);
}

#[test]
fn an_overloaded_core_is_a_500_that_says_when_to_come_back() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.response(503).with(HeaderName::RetryAfter, 7));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 500);
    assert_eq!(response.headers.retry_after().unwrap().unwrap().0, 7);
}

#[test]
fn a_full_port_range_is_a_503() {
    let mut world = World::new();
    world.answers_open = false;
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    world.input(Input::OpenFailed {
        endpoint: EndpointId(1),
        reason: OpenFailure::NoPorts,
    });
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 503);
    assert!(response.headers.retry_after().unwrap().is_some());
}

// Conforms: RFC 3261 §10.2.8 | 423 is answered with the interval that the registrar wants, once.
#[test]
fn a_core_that_wants_longer_intervals_gets_them() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let asked = world.core_request();
    assert_eq!(expires(&asked), 300);
    world.answer(
        &asked,
        asked.response(423).with(HeaderName::MinExpires, 900),
    );
    let asked = world.core_request();
    assert_eq!(expires(&asked), 900);
    world.answer(&asked, asked.granted(900));
    let response = world.browser_response(1);
    assert_eq!(contact_expires(&response), Some(900));
}

#[test]
fn a_refresh_uses_the_same_call_and_a_missed_one_ends_the_registration() {
    let mut world = World::new();
    let first = log_in(&mut world, 1, "alice");
    world.pass(200 * SECOND);
    world.browser(1, &register("alice", 3, &credentials("alice", "n2")));
    let refresh = world.core_request();
    let dialog = |asked: &Asked| {
        let headers = &asked.request.headers;
        (
            headers.call_id().unwrap(),
            headers.from().unwrap().to_string(),
            headers.contacts().unwrap()[0]
                .address()
                .unwrap()
                .uri
                .clone(),
        )
    };
    assert_eq!(dialog(&first), dialog(&refresh));
    world.answer(&refresh, refresh.granted(270));
    assert_eq!(world.signaling.counters().registrations_refreshed, 1);
    world.forget();

    world.pass(269 * SECOND);
    assert_eq!(world.ladder(), "");
    world.pass(40 * SECOND);
    assert_eq!(world.ladder(), "502s port1 close\n");
    assert_eq!(world.signaling.counters().deregistered_by_expiry, 1);
    assert_eq!(world.signaling.counters().registrations, 0);
}

// Conforms: RFC 5626 §4.2 | The same instance and reg-id on a new connection take the registration over.
#[test]
fn a_browser_that_comes_back_gets_its_registration_and_the_old_connection_is_closed() {
    let mut world = World::new();
    let first = log_in(&mut world, 1, "alice");
    world.forget();

    world.open(2);
    world.browser(2, &register("alice", 1, "X-Any: 2"));
    let asked = world.core_request();
    assert_eq!(asked.endpoint, first.endpoint);
    world.answer(&asked, asked.challenge("n9"));
    world.browser(2, &register("alice", 2, &credentials("alice", "n9")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    assert_eq!(
        world.ladder(),
        "0s port1 -> UDP REGISTER\n\
         0s flow2 <- 401 REGISTER\n\
         0s port1 -> UDP REGISTER\n\
         0s flow1 closed 4002\n\
         0s flow2 <- 200 REGISTER\n"
    );
    let counters = world.signaling.counters();
    assert_eq!((counters.flows, counters.registrations), (1, 1));
    assert_eq!(counters.registrations_reattached, 1);
}

#[test]
fn a_lost_browser_has_its_grace_to_come_back() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.closed(1);
    assert_eq!(world.signaling.counters().registrations_in_grace, 1);
    world.pass(59 * SECOND);
    world.open(2);
    world.browser(2, &register("alice", 1, "X-Any: 2"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n9"));
    // The grace is over while the browser computes: it is refreshed by its coming back.
    world.browser(2, &register("alice", 2, &credentials("alice", "n9")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    let counters = world.signaling.counters();
    assert_eq!(counters.registrations_in_grace, 0);
    assert_eq!(counters.registrations_reattached, 1);
    world.pass(100 * SECOND);
    assert_eq!(world.signaling.counters().registrations, 1);
}

#[test]
fn a_browser_that_stays_away_is_de_registered_and_its_port_waits_for_the_core() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.closed(1);
    world.pass(60 * SECOND);
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    assert!(farewell.request.headers.has(&HeaderName::Authorization));
    world.answer(&farewell, farewell.challenge("n9"));
    assert_eq!(world.signaling.counters().deregistrations_unconfirmed, 1);
    assert_eq!(world.signaling.counters().registrations, 0);
    // The core believes in this port until the 270 s are over.
    world.pass(209 * SECOND);
    assert_eq!(world.ladder(), "60s port1 -> UDP REGISTER\n");
    world.pass(SECOND);
    assert_eq!(world.ladder(), "270s port1 close\n");
}

#[test]
fn a_browser_that_logs_out_is_gone_from_the_core_and_may_come_back() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    let farewell =
        register("alice", 3, &credentials("alice", "n2")).replace("expires=600", "expires=0");
    world.browser(1, &farewell);
    let asked = world.core_request();
    assert_eq!(expires(&asked), 0);
    world.answer(&asked, asked.response(200));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 200);
    assert!(!response.headers.has(&HeaderName::Contact));
    assert_eq!(world.signaling.counters().registrations, 0);

    world.browser(1, &register("alice", 4, &credentials("alice", "n3")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    assert_eq!(world.browser_response(1).status.code(), 200);
    assert_eq!(world.signaling.counters().registrations, 1);
}

// Conforms: RFC 3261 §10.2.2 | `Contact: *` ends the registration, and only with Expires 0.
#[test]
fn a_star_ends_the_browsers_own_registration() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    let star = register("alice", 3, "Expires: 0");
    let line = star.lines().find(|line| line.contains("Contact:")).unwrap();
    let star = star.replace(line, "Contact: *");
    world.browser(1, &star);
    let asked = world.core_request();
    assert_eq!(expires(&asked), 0);
    assert!(
        !asked
            .request
            .headers
            .text(&HeaderName::Contact)
            .unwrap()
            .contains('*')
    );
}

// Conforms: TS 24.229 §5.1.1.2 | Each user has an address and port of his own towards the P-CSCF.
#[test]
fn two_users_have_two_ports() {
    let mut world = World::new();
    let alice = log_in(&mut world, 1, "alice");
    let bob = log_in(&mut world, 2, "bob");
    assert_ne!(alice.endpoint, bob.endpoint);
    assert_eq!(world.signaling.counters().endpoints, 2);
    assert_eq!(world.signaling.counters().flows_registered, 2);
}

// Conforms: TS 33.203 §N | A registration changes hands only to one who answered the core’s challenge.
#[test]
fn nobody_takes_anothers_registration_without_the_cores_challenge() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.open(2);
    world.browser(2, &register("alice", 1, "X-Any: 2"));
    let asked = world.core_request();
    // A core that trusts the port of a registered user (TS 33.203 Annex N).
    world.answer(&asked, asked.granted(270));
    assert_eq!(world.browser_response(2).status.code(), 403);
    assert_eq!(
        world.ladder(),
        "0s port1 -> UDP REGISTER\n0s flow2 <- 403 REGISTER\n"
    );
    assert_eq!(world.signaling.counters().reattachments_refused, 1);

    // Nor is it ended that way: the core never hears of it.
    let farewell = register("alice", 2, "X-Any: 2").replace("expires=600", "expires=0");
    world.browser(2, &farewell);
    assert!(world.core_got_nothing());
    assert_eq!(world.browser_response(2).status.code(), 403);
    assert_eq!(world.signaling.counters().registrations, 1);
}

#[test]
fn registrations_for_others_and_elsewhere_are_turned_away() {
    let mut world = World::new();
    world.open(1);
    let good = register("alice", 1, "X-Any: 1");
    let cases = [
        (good.replace("To: <sip:alice", "To: <sip:bob"), 403),
        (good.replace("ims.test", "evil.test"), 403),
        (
            good.replace("REGISTER sip:ims.test", "REGISTER sip:10.0.0.1"),
            403,
        ),
        (good.replace("<sip:alice", "<sips:alice"), 416),
        (good.replace("Contact: <sip:", "Contact: <mailto:"), 400),
        (good.replace("Supported: path", "Require: sec-agree"), 420),
    ];
    for (n, (request, status)) in cases.into_iter().enumerate() {
        let request = request.replace("z9hG4bK", &format!("z9hG4bK{n}x"));
        world.browser(1, &request);
        assert_eq!(world.browser_response(1).status.code(), status, "{request}");
    }
    assert!(world.core_got_nothing());
}

#[test]
fn a_connection_that_never_logs_in_is_closed() {
    let mut world = World::new();
    world.open(1);
    world.pass(31 * SECOND);
    assert_eq!(world.ladder(), "30s flow1 closed 4001\n");
}

#[test]
fn guessing_passwords_closes_the_connection() {
    let mut world = World::new();
    world.open(1);
    let mut challenges = 0;
    for cseq in 1..20 {
        if world.signaling.counters().flows == 0 {
            break;
        }
        world.browser(1, &register("alice", cseq, &credentials("alice", "n")));
        // After too many the core is not asked any more.
        if let Some(asked) = world.next_core_request() {
            world.answer(&asked, asked.challenge("n"));
            challenges += 1;
        }
    }
    assert_eq!(challenges, 6);
    assert!(
        world
            .ladder()
            .ends_with("flow1 closed 1008\n0s port1 close\n")
    );
}

#[test]
fn a_browser_that_leaves_during_log_in_leaves_nothing_behind() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    world.closed(1);
    assert!(world.ladder().ends_with("port1 close\n"));
    assert_eq!(world.signaling.counters().endpoints, 0);

    world.forget();

    // With an answer under way that the core may accept, the port waits for it to expire.
    world.open(2);
    world.browser(2, &register("alice", 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(2, &register("alice", 2, &credentials("alice", "n1")));
    world.closed(2);
    world.forget();
    world.pass(299 * SECOND);
    assert!(!world.ladder().contains("close"));
    world.pass(SECOND);
    assert_eq!(world.ladder(), "300s port2 close\n");
}

#[test]
fn one_connection_takes_no_more_than_its_share_of_ports() {
    let mut world = World::new();
    world.open(1);
    for n in 1..=9 {
        let user = format!("user{n}");
        world.browser(1, &register(&user, 1, "X-Any: 1"));
    }
    assert_eq!(world.signaling.counters().endpoints, 8);
    assert_eq!(world.browser_response(1).status.code(), 503);
}

#[test]
fn large_registers_go_by_tcp_and_fall_back_to_udp() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    let long = format!(
        "{}, opaque=\"{}\"",
        credentials("alice", "n1"),
        "o".repeat(900)
    );
    world.browser(1, &register("alice", 2, &long));
    let asked = world.core_request();
    assert_eq!(asked.transport, SipTransport::Tcp);
    assert!(
        asked
            .request
            .headers
            .text(&HeaderName::Via)
            .unwrap()
            .starts_with("SIP/2.0/TCP")
    );

    world.input(Input::ImsTransportFailed {
        endpoint: asked.endpoint,
        transport: SipTransport::Tcp,
        to: asked.to,
    });
    let again = world.core_request();
    assert_eq!(again.transport, SipTransport::Udp);
    assert!(
        again
            .request
            .headers
            .text(&HeaderName::Via)
            .unwrap()
            .starts_with("SIP/2.0/UDP")
    );
    world.answer(&again, again.granted(270));
    assert_eq!(world.signaling.counters().registrations, 1);
    assert_eq!(world.signaling.counters().requests_moved_back, 1);
}

fn expires(asked: &Asked) -> u32 {
    let headers = &asked.request.headers;
    let contact = headers.contacts().unwrap()[0].expires();
    let header = headers.expires().unwrap().map(|expires| expires.0);
    assert_eq!(contact, header);
    header.unwrap()
}

fn contact_expires(response: &Response) -> Option<u32> {
    response.headers.contacts().unwrap()[0].expires()
}
