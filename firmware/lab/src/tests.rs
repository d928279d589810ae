//! Fed by hand in virtual time.

use std::time::Duration;

use rand_core::SeedableRng;
use signaling::message::headers::{Authorization, Digest};

use super::*;

#[test]
fn a_user_registers_after_one_challenge() {
    let mut world = World::new();

    let challenge = world.ask(&world.alice.clone(), register("alice", 1, ""));
    assert_eq!(code(&challenge), 401);
    let proof = proof(&challenge, "alice", "alice-secret");
    let accepted = world.ask(&world.alice.clone(), register("alice", 2, &proof));

    assert_eq!(code(&accepted), 200);
    let text = |name| accepted.headers.text(&name).unwrap().to_owned();
    assert_eq!(
        text(HeaderName::ServiceRoute),
        "<sip:orig@192.0.2.1:5060;lr>"
    );
    assert_eq!(
        text(HeaderName::PAssociatedUri),
        "<sip:alice@ims.test>, <tel:+390405550101>"
    );
    assert_eq!(
        text(HeaderName::Contact),
        "<sip:alice@192.0.2.10:6001>;expires=600"
    );
    assert!(world.lab.is_registered("alice", world.now));
    assert!(
        !world
            .lab
            .is_registered("alice", world.now + Duration::from_secs(600))
    );
}

#[test]
fn a_challenge_is_good_once() {
    let mut world = World::new();
    let alice = world.alice;
    let challenge = world.ask(&alice, register("alice", 1, ""));
    let proof = proof(&challenge, "alice@ims.test", "alice-secret");
    assert_eq!(code(&world.ask(&alice, register("alice", 2, &proof))), 200);

    let again = world.ask(&alice, register("alice", 3, &proof));

    assert_eq!(code(&again), 401);
    let digest = again.headers.www_authenticate().next().unwrap().0;
    assert_eq!(digest.get("stale").as_deref(), Some("TRUE"));
}

#[test]
fn a_wrong_password_and_a_stranger_are_forbidden() {
    let mut world = World::new();
    let alice = world.alice;
    let challenge = world.ask(&alice, register("alice", 1, ""));
    let wrong = proof(&challenge, "alice", "guess");
    assert_eq!(code(&world.ask(&alice, register("alice", 2, &wrong))), 403);
    assert_eq!(code(&world.ask(&alice, register("mallory", 1, ""))), 403);
    assert!(!world.lab.is_registered("alice", world.now));
}

#[test]
fn de_registration_takes_the_binding_away() {
    let mut world = World::registered();
    let alice = world.alice;
    let challenge = world.ask(&alice, register("alice", 3, ""));
    let leave = format!(
        "{}Expires: 0\r\n",
        proof(&challenge, "alice", "alice-secret")
    );
    assert_eq!(code(&world.ask(&alice, register("alice", 4, &leave))), 200);
    assert!(!world.lab.is_registered("alice", world.now));
}

#[test]
fn only_registered_users_call() {
    let mut world = World::new();
    assert_eq!(
        code(&world.ask(&world.alice.clone(), invite("600", 1))),
        403
    );
}

#[test]
fn who_is_not_there_is_told_apart_from_who_does_not_exist() {
    let mut world = World::new();
    world.register("alice");
    let alice = world.alice;
    assert_eq!(code(&world.ask(&alice, invite("bob", 1))), 480);
    assert_eq!(code(&world.ask(&alice, invite("carol", 2))), 604);
    assert_eq!(code(&world.ask(&alice, invite("5551234", 3))), 404);
}

#[test]
fn an_echo_answers_and_is_hung_up() {
    let mut world = World::registered();
    let alice = world.alice;

    world.send(&alice, invite("600", 1));
    let ladder = world.run(1000);
    assert_eq!(
        ladder,
        "0 alice < 100 INVITE\n0 alice < 180 INVITE\n400 alice < 200 INVITE\n900 alice < 200 INVITE\n"
    );
    let answer = world.last_response.clone().unwrap();
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains("m=audio 40000 RTP/AVP 8 101"), "{body}");
    world.send(&alice, in_dialog("ACK", &answer, 1));
    assert_eq!(world.run(5000), "");

    let speech: Vec<u8> = [0x80, 8, 0, 1, 0, 0, 0, 0, 9, 9, 9, 9]
        .into_iter()
        .chain([0x42; 160])
        .collect();
    world.lab.handle_media(
        40000,
        "192.0.2.10:7000".parse().unwrap(),
        &speech,
        world.now,
    );
    world.run(40);
    let echoed = world
        .media
        .iter()
        .any(|(_, packet)| packet[12..] == [0x42; 160]);
    assert!(echoed);

    world.send(&alice, in_dialog("BYE", &answer, 2));
    assert_eq!(world.run(100), "0 alice < 200 BYE\n");
    assert_eq!(world.lab.live_calls(), 0);
    world.media.clear();
    world.run(1000);
    assert_eq!(world.media.len(), 0);
}

#[test]
fn ringing_is_cancelled() {
    let mut world = World::registered();
    let alice = world.alice;
    world.send(&alice, invite("602", 1));
    assert_eq!(
        world.run(60_000),
        "0 alice < 100 INVITE\n0 alice < 180 INVITE\n"
    );

    let mut cancel = invite("602", 1).replace("INVITE", "CANCEL");
    cancel.truncate(cancel.find("Content-Type").unwrap());
    world.send(&alice, format!("{cancel}Content-Length: 0\r\n\r\n"));
    assert_eq!(
        world.run(700),
        "0 alice < 200 CANCEL\n0 alice < 487 INVITE\n500 alice < 487 INVITE\n"
    );
    let refusal = world.last_response.clone().unwrap();
    world.send(&alice, in_dialog("ACK", &refusal, 1));
    assert_eq!(world.run(60_000), "");
}

#[test]
fn refusals_are_repeated_until_they_are_acknowledged() {
    for (number, status) in [("603", 486), ("604", 603)] {
        let mut world = World::registered();
        let alice = world.alice;
        world.send(&alice, invite(number, 1));
        let ladder = world.run(1600);
        let expected = [0, 500, 1500].map(|at| format!("{at} alice < {status} INVITE\n"));
        assert_eq!(
            ladder,
            format!("0 alice < 100 INVITE\n{}", expected.concat())
        );
        let refusal = world.last_response.clone().unwrap();
        world.send(&alice, in_dialog("ACK", &refusal, 1));
        assert_eq!(world.run(60_000), "");
    }
}

#[test]
fn early_media_is_reliable_for_who_can() {
    let mut world = World::registered();
    let alice = world.alice;
    world.send(
        &alice,
        invite("605", 1).replace("Max-Forwards", "Supported: 100rel\r\nMax-Forwards"),
    );
    assert_eq!(
        world.run(600),
        "0 alice < 100 INVITE\n0 alice < 183 INVITE\n500 alice < 183 INVITE\n"
    );
    assert!(
        world.media.len() > 20,
        "the tone is heard before the answer"
    );
    let progress = world.last_response.clone().unwrap();
    assert!(progress.headers.lists_token(&HeaderName::Require, "100rel"));
    let prack = in_dialog("PRACK", &progress, 2)
        .replace("Max-Forwards", "RAck: 1 1 INVITE\r\nMax-Forwards");
    world.send(&alice, prack);
    assert_eq!(
        world.run(3000),
        "0 alice < 200 PRACK\n2400 alice < 200 INVITE\n2900 alice < 200 INVITE\n"
    );
}

#[test]
fn the_hash_key_hangs_up() {
    let mut world = World::registered();
    let alice = world.alice;
    let answer = world.call("606");
    let key = |event: u8, timestamp: u8| {
        [
            0x80, 101, 0, 1, 0, 0, 0, timestamp, 9, 9, 9, 9, event, 10, 0, 160,
        ]
    };
    let phone: SocketAddr = "192.0.2.10:7000".parse().unwrap();

    world.lab.handle_media(40000, phone, &key(5, 1), world.now);
    assert_eq!(world.run(400), "");
    world.lab.handle_media(40000, phone, &key(11, 2), world.now);
    assert_eq!(world.run(600), "0 alice < BYE\n500 alice < BYE\n");
    let bye = world.last_request.clone().unwrap();
    world.send(
        &alice,
        Response::to_request(&bye, StatusCode::OK).to_bytes(),
    );
    assert_eq!(world.run(60_000), "");
    assert_eq!(code(&answer), 200);
}

#[test]
fn a_telephone_holds_and_resumes() {
    let mut world = World::registered();
    let alice = world.alice;
    world.call("608");
    let mut directions = Vec::new();
    for _ in 0..2 {
        world.run(2000);
        let invite = world.last_request.take().unwrap();
        let offer = String::from_utf8(invite.body.to_vec()).unwrap();
        directions.push(
            offer
                .lines()
                .find(|line| line.starts_with("a=send"))
                .unwrap()
                .to_owned(),
        );
        let answer = ALICE_SDP.replace("a=sendrecv", &offer_reversed(&offer));
        let response = Response::to_request(&invite, StatusCode::OK)
            .with(HeaderName::Contact, "<sip:alice@192.0.2.10:6001>")
            .with_body("application/sdp", answer.into_bytes());
        world.send(&alice, response.to_bytes());
    }
    assert_eq!(directions, ["a=sendonly", "a=sendrecv"]);
    assert!(world.run(10_000).contains("ACK"));
}

#[test]
fn the_caller_is_called_back() {
    for (number, has_offer) in [("607", true), ("609", false)] {
        let mut world = World::registered();
        let alice = world.alice;
        world.call(number);
        assert!(world.run(2100).contains("< BYE"));
        let bye = world.last_request.clone().unwrap();
        world.send(
            &alice,
            Response::to_request(&bye, StatusCode::OK).to_bytes(),
        );

        let ladder = world.run(1600);
        assert!(
            ladder.starts_with("1400 alice < INVITE") || ladder.contains("alice < INVITE"),
            "{ladder}"
        );
        let invite = world.last_request.clone().unwrap();
        assert_eq!(invite.body.is_empty(), !has_offer);
        let ok = Response::to_request(&invite, StatusCode::OK)
            .with_to_tag("a2")
            .with(HeaderName::Contact, "<sip:alice@192.0.2.10:6001>")
            .with_body("application/sdp", ALICE_SDP);
        world.send(&alice, ok.to_bytes());
        world.run(100);
        let ack = world.last_request.clone().unwrap();
        assert_eq!(ack.method, Method::Ack);
        assert_eq!(ack.body.is_empty(), has_offer);
        assert!(!world.media.is_empty());
    }
}

#[test]
fn two_users_call_each_other_through_the_core() {
    let mut world = World::registered();
    let (alice, bob) = (world.alice, world.bob);

    world.send(&alice, invite("bob", 1));
    assert_eq!(world.run(10), "0 bob < INVITE\n");
    let invite = world.last_request.clone().unwrap();
    assert_eq!(invite.uri.as_str(), "sip:bob@192.0.2.20:6002");
    let text = |name| invite.headers.text(&name).unwrap().to_owned();
    assert_eq!(
        text(HeaderName::PAssertedIdentity),
        "<sip:alice@ims.test>, <tel:+390405550101>"
    );
    assert_eq!(text(HeaderName::PCalledPartyId), "<sip:bob@ims.test>");
    assert_eq!(
        text(HeaderName::RecordRoute),
        "<sip:proxy@192.0.2.1:5060;lr>"
    );
    assert_eq!(text(HeaderName::MaxForwards), "69");

    let mut ok = Response::to_request(&invite, StatusCode::OK)
        .with_to_tag("b1")
        .with(HeaderName::Contact, "<sip:bob@192.0.2.20:6002>");
    ok.headers.copy(&invite.headers, &HeaderName::RecordRoute);
    world.send(&bob, ok.to_bytes());
    assert_eq!(world.run(10), "0 alice < 200 INVITE\n");
    let answer = world.last_response.clone().unwrap();
    assert_eq!(answer.headers.vias().unwrap().len(), 1);

    let route = "Route: <sip:proxy@192.0.2.1:5060;lr>\r\nMax-Forwards";
    world.send(
        &alice,
        in_dialog("ACK", &answer, 1).replace("Max-Forwards", route),
    );
    world.send(
        &alice,
        in_dialog("BYE", &answer, 2).replace("Max-Forwards", route),
    );
    assert_eq!(world.run(10), "0 bob < ACK\n0 bob < BYE\n");
    let bye = world.last_request.clone().unwrap();
    assert!(!bye.headers.has(&HeaderName::Route));
}

#[test]
fn copies_of_a_request_take_the_same_way() {
    let mut world = World::registered();
    let alice = world.alice;
    let mut branches = Vec::new();
    for text in [
        invite("bob", 1),
        invite("bob", 1),
        invite("bob", 1).replace("INVITE", "CANCEL"),
    ] {
        world.send(&alice, text);
        world.run(0);
        let request = world.last_request.clone().unwrap();
        branches.push(request.headers.via().unwrap().branch().unwrap().to_owned());
    }
    assert_eq!(branches[0], branches[1]);
    assert_eq!(branches[0], branches[2]);
}

#[test]
fn nonsense_does_not_disturb() {
    let mut world = World::registered();
    let alice = world.alice;
    for text in [
        "",
        "\r\n\r\n",
        "garbage",
        "INVITE sip:600@ims.test SIP/2.0\r\n\r\n",
    ] {
        world.send(&alice, text.to_owned());
    }
    let broken = invite("601", 1).replace(
        "m=audio 7000 RTP/AVP 8 0 101",
        "m=audio xxxx RTP/AVP 8 0 101",
    );
    world.send(&alice, broken);
    assert_eq!(
        world.run(450),
        "0 alice < 100 INVITE\n0 alice < 400 INVITE\n"
    );
}

/// A lab, two users who may register at it, and a clock.
struct World {
    lab: Lab,
    start: Instant,
    now: Instant,
    alice: Hop,
    bob: Hop,
    last_request: Option<Request>,
    last_response: Option<Response>,
    media: Vec<(SocketAddr, Bytes)>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let hop = |address: &str| Hop {
            transport: SipTransport::Udp,
            address: address.parse().unwrap(),
        };
        let settings = Settings::new("192.0.2.1:5060".parse().unwrap(), vec![40000, 40002]);
        World {
            lab: Lab::new(settings, ChaCha20Rng::seed_from_u64(7)),
            start: now,
            now,
            alice: hop("192.0.2.10:6001"),
            bob: hop("192.0.2.20:6002"),
            last_request: None,
            last_response: None,
            media: Vec::new(),
        }
    }

    fn registered() -> Self {
        let mut world = World::new();
        world.register("alice");
        world.register("bob");
        world
    }

    fn register(&mut self, name: &str) {
        let hop = if name == "alice" {
            self.alice
        } else {
            self.bob
        };
        let challenge = self.ask(&hop, register(name, 1, ""));
        let proof = proof(&challenge, name, &format!("{name}-secret"));
        assert_eq!(code(&self.ask(&hop, register(name, 2, &proof))), 200);
    }

    /// Calls a number, waits until it answers and acknowledges.
    fn call(&mut self, number: &str) -> Response {
        let alice = self.alice;
        self.send(&alice, invite(number, 1));
        self.run(450);
        let answer = self.last_response.clone().unwrap();
        assert_eq!(code(&answer), 200);
        self.send(&alice, in_dialog("ACK", &answer, 1));
        assert_eq!(self.run(0), "");
        answer
    }

    fn send(&mut self, from: &Hop, text: impl Into<Bytes>) {
        self.lab.handle_message(*from, &text.into(), self.now);
    }

    /// Sends a request and returns the last response that came at once.
    fn ask(&mut self, from: &Hop, text: String) -> Response {
        self.send(from, text);
        self.run(0);
        self.last_response.take().unwrap()
    }

    /// Lets time pass and prints what the lab sent in it.
    fn run(&mut self, millis: u64) -> String {
        let begin = self.now;
        let end = self.now + Duration::from_millis(millis);
        let mut ladder = String::new();
        loop {
            while let Some(output) = self.lab.poll_output() {
                let at = self.now.duration_since(begin).as_millis();
                ladder += &self.note(at, output);
            }
            match self.lab.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = at.max(self.now);
                    self.lab.handle_timeout(self.now);
                }
                Some(_) | None => break,
            }
        }
        self.now = end;
        assert!(self.now >= self.start);
        ladder
    }

    fn note(&mut self, at: u128, output: Output) -> String {
        let (to, bytes) = match output {
            Output::Transmit { to, bytes, .. } => (to, bytes),
            Output::Media { to, bytes, .. } => {
                self.media.push((to, bytes));
                return String::new();
            }
        };
        let who = if to == self.alice.address {
            "alice"
        } else {
            "bob"
        };
        let Ok(Parsed::Message(message)) = parse_datagram(&bytes) else {
            panic!("the lab wrote nonsense");
        };
        match message {
            Message::Request(request) => {
                let line = format!("{at} {who} < {}\n", request.method);
                self.last_request = Some(request);
                line
            }
            Message::Response(response) => {
                let method = response.headers.cseq().unwrap().method;
                let line = format!("{at} {who} < {} {method}\n", response.status.code());
                self.last_response = Some(response);
                line
            }
        }
    }
}

fn code(response: &Response) -> u16 {
    response.status.code()
}

fn register(name: &str, number: u32, extra: &str) -> String {
    let port = if name == "alice" {
        "192.0.2.10:6001"
    } else {
        "192.0.2.20:6002"
    };
    format!(
        "REGISTER sip:ims.test SIP/2.0\r\nVia: SIP/2.0/UDP {port};branch=z9hG4bKr{name}{number}\r\n\
         From: <sip:{name}@ims.test>;tag=r1\r\nTo: <sip:{name}@ims.test>\r\nCall-ID: r-{name}\r\n\
         CSeq: {number} REGISTER\r\nContact: <sip:{name}@{port}>\r\nMax-Forwards: 70\r\n{extra}\
         Content-Length: 0\r\n\r\n"
    )
}

fn proof(challenge: &Response, username: &str, password: &str) -> String {
    let asked = challenge.headers.www_authenticate().next().unwrap().0;
    let mut digest = Digest::new("Digest");
    digest.set_quoted("username", username);
    for name in ["realm", "nonce"] {
        digest.set_quoted(name, &asked.get(name).unwrap());
    }
    digest.set_quoted("uri", "sip:ims.test");
    digest.set("qop", "auth");
    digest.set("nc", "00000001");
    digest.set_quoted("cnonce", "c");
    let response = registrar::answer(&digest, username, password, "REGISTER");
    digest.set_quoted("response", &response);
    format!("Authorization: {}\r\n", Authorization(digest))
}

fn invite(to: &str, number: u32) -> String {
    format!(
        "INVITE sip:{to}@ims.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:6001;rport;branch=z9hG4bKi{number}\r\n\
         Route: <sip:192.0.2.1:5060;lr>, <sip:orig@192.0.2.1:5060;lr>\r\n\
         From: <sip:alice@ims.test>;tag=a1\r\nTo: <sip:{to}@ims.test>\r\nCall-ID: c-{number}\r\n\
         CSeq: {number} INVITE\r\nContact: <sip:alice@192.0.2.10:6001>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{ALICE_SDP}",
        ALICE_SDP.len()
    )
}

/// A request of alice in the dialog of a response to her first INVITE.
fn in_dialog(method: &str, response: &Response, number: u32) -> String {
    let target = response
        .headers
        .contacts()
        .ok()
        .and_then(|list| list.into_iter().next());
    let target = target.and_then(|contact| contact.address().map(|it| it.uri.to_string()));
    let target = target.unwrap_or_else(|| "sip:602@ims.test".to_owned());
    let to = response.headers.text(&HeaderName::To).unwrap();
    let call_id = response.headers.text(&HeaderName::CallId).unwrap();
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:6001;branch=z9hG4bK{method}{number}\r\n\
         From: <sip:alice@ims.test>;tag=a1\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

fn offer_reversed(offer: &str) -> String {
    if offer.contains("a=sendonly") {
        "a=recvonly"
    } else {
        "a=sendrecv"
    }
    .to_owned()
}

const ALICE_SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";
