//! Log-in, refresh, loss, return and log-out.

use std::time::Duration;

use super::world::{Asked, World};
use crate::message::HeaderName;

const SECOND: Duration = Duration::from_secs(1);

/// A REGISTER as JsSIP writes it.
fn register(user: &str, cseq: u32, extra: &str) -> String {
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

fn credentials(user: &str, nonce: &str) -> String {
    format!(
        "Authorization: Digest username=\"{user}@ims.test\", realm=\"ims.test\", nonce=\"{nonce}\", \
         uri=\"sip:ims.test\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5, \
         cnonce=\"x\", qop=auth, nc=00000001"
    )
}

/// Logs a user in on a flow; his port is the next one.
fn log_in(world: &mut World, flow: u64, user: &str) -> Asked {
    world.open(flow);
    world.browser(flow, &register(user, 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(flow, &register(user, 2, &credentials(user, "n1")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    asked
}

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
