//! Users whom the box registers by itself, with credentials that are stored for them.

use std::time::Duration;

use zeroize::Zeroizing;

use super::calls::{accepted, inside, invite};
use super::registration::register;
use super::tokens::{lasting_with, token_world};
use super::world::{Asked, World};
use crate::auth::{Credential, Template, Token};
use crate::event::{DeregistrationCause, Event, RegistrationFailure};
use crate::message::headers::{Authorization, Digest};
use crate::message::{HeaderName, Response};
use crate::{FlowId, Input, TicketId};

const SECOND: Duration = Duration::from_secs(1);

/// A world in which `alice` proved who she is on connection 1, for this long.
pub(super) fn world(proven_for: Duration) -> World {
    let mut world = token_world(|config| {
        let rule = &mut config.auth.identities[0];
        rule.impi = Template::parse("{impi}").unwrap();
        rule.impus = vec![
            Template::parse("sip:{sub}@ims.test").unwrap(),
            Template::parse("tel:+390401234567").unwrap(),
        ];
    });
    let password = Zeroizing::new("alice-secret".to_owned());
    let impi = "alice_web@ims.test";
    world
        .credentials
        .insert(impi.to_owned(), Credential::Password(password));
    world.open(1);
    prove(&mut world, 1, "alice", impi, proven_for);
    world.input(Input::TicketWanted {
        ticket: TicketId(1),
        token: token("alice", impi, proven_for),
    });
    world.provide("{}");
    world.forget();
    world
}

/// The connection brings a token that stays good until 10 s after this time: that much
/// sooner does the registration end.
fn prove(world: &mut World, flow: u64, user: &str, impi: &str, time: Duration) {
    let (flow, token) = (FlowId(flow), token(user, impi, time));
    world.input(Input::FlowToken { flow, token });
}

fn token(user: &str, impi: &str, time: Duration) -> Token {
    let seconds = i64::try_from(time.as_secs()).unwrap() + 10;
    let claims = [("impi", format!("\"{impi}\""))];
    Token::parse(&lasting_with(user, seconds, &claims)).unwrap()
}

pub(super) fn log_in(world: &mut World, granted: u32) -> Asked {
    world.browser(1, &register("alice", 1, ""));
    let first = world.core_request();
    world.answer(&first, first.challenge("n1"));
    let second = world.core_request();
    world.answer(&second, second.granted(granted));
    second
}

pub(super) fn credentials(asked: &Asked) -> Digest {
    let mut found = asked.request.headers.authorization();
    let Authorization(digest) = found.next().unwrap();
    assert!(found.next().is_none(), "one header");
    digest
}

fn expires(asked: &Asked) -> u32 {
    asked.request.headers.expires().unwrap().unwrap().0
}

fn stale(asked: &Asked, nonce: &str) -> Response {
    let challenge = format!(
        r#"Digest realm="ims.test", nonce="{nonce}", stale=true, algorithm=MD5, qop="auth""#
    );
    let response = asked.response(401);
    response.with(HeaderName::WwwAuthenticate, challenge)
}

#[test]
fn a_proven_user_is_registered_and_his_browser_sees_no_challenge() {
    let mut world = world(3600 * SECOND);
    world.browser(1, &register("alice", 1, ""));

    let first = world.core_request();
    assert_eq!(
        credentials(&first).to_string(),
        "Digest username=\"alice_web@ims.test\", realm=\"ims.test\", nonce=\"\", \
         uri=\"sip:ims.test\", response=\"\""
    );
    assert_eq!(expires(&first), 3600);
    world.answer(&first, first.challenge("n1"));
    let second = world.core_request();
    let proof = credentials(&second);
    assert_eq!(proof.get("username").unwrap(), "alice_web@ims.test");
    assert_eq!(proof.raw("nc"), Some("00000001"));
    let expected = expected(&proof);
    assert_eq!(proof.get("response").unwrap(), expected);
    let wire = String::from_utf8(second.request.to_bytes().to_vec()).unwrap();
    assert!(!wire.contains("eyJ") && !wire.contains("Bearer"), "{wire}");

    world.answer(&second, second.granted(3600));
    let registered = world.browser_response(1);
    assert_eq!(registered.status.code(), 200);
    let text = String::from_utf8(registered.to_bytes().to_vec()).unwrap();
    assert!(text.contains(";expires=300\r\n"), "{text}");
    assert_eq!(
        world.ladder(),
        "0s port1 open\n\
         0s port1 -> UDP REGISTER\n\
         0s ask alice_web@ims.test nc=1\n\
         0s port1 -> UDP REGISTER\n\
         0s flow1 <- 200 REGISTER\n"
    );
}

/// What lab's registrar, an implementation of its own, would take.
fn expected(proof: &Digest) -> String {
    use md5::{Digest as _, Md5};
    let hex = |text: String| -> String {
        let bytes = Md5::digest(text.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let get = |name: &str| proof.get(name).unwrap();
    let ha1 = hex("alice_web@ims.test:ims.test:alice-secret".to_owned());
    let ha2 = hex("REGISTER:sip:ims.test".to_owned());
    let (nonce, nc, cnonce) = (get("nonce"), get("nc"), get("cnonce"));
    hex(format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"))
}

#[test]
fn a_core_that_challenges_twice_is_answered_once_more_and_then_it_is_meant() {
    let mut world = world(3600 * SECOND);
    world.browser(1, &register("alice", 1, ""));
    let first = world.core_request();
    world.answer(&first, first.challenge("n1"));
    // Kamailio's race: a new nonce, and no word of a stale one.
    for nonce in ["n2", "n3"] {
        let again = world.core_request();
        world.answer(&again, again.challenge(nonce));
    }
    let last = world.core_request();
    assert_eq!(credentials(&last).get("nonce").unwrap(), "n3");
    world.forget();
    world.answer(&last, last.challenge("n4"));
    assert!(world.core_got_nothing());
    let refused = world.browser_response(1);
    assert_eq!(refused.status.code(), 403);
    assert_eq!(&*refused.reason, "Credentials Not Accepted");
    assert!(refused.headers.text(&HeaderName::WwwAuthenticate).is_none());
    let told = world.events.iter().any(|event| {
        let reason = RegistrationFailure::Unproven;
        matches!(event, Event::RegistrationFailed { reason: it, .. } if *it == reason)
    });
    assert!(told, "{:?}", world.events);
}

#[test]
fn a_user_without_stored_credentials_hears_it_and_the_core_nothing_more() {
    let mut world = world(3600 * SECOND);
    world.credentials.clear();
    world.browser(1, &register("alice", 1, ""));
    let first = world.core_request();
    world.answer(&first, first.challenge("n1"));
    assert!(world.core_got_nothing());
    assert_eq!(world.browser_response(1).status.code(), 403);
}

#[test]
fn refusals_of_the_core_reach_the_browser() {
    for (core, browser) in [(403, 403), (404, 404), (500, 500), (503, 500)] {
        let mut world = world(3600 * SECOND);
        world.browser(1, &register("alice", 1, ""));
        let first = world.core_request();
        world.answer(&first, first.response(core));
        assert_eq!(world.browser_response(1).status.code(), browser, "{core}");
    }
}

#[test]
fn the_box_refreshes_by_itself_and_the_browser_hears_nothing_of_it() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.forget();
    // The browser keeps its own, shorter time; the box answers that by itself.
    for turn in 0..11 {
        world.pass(250 * SECOND);
        world.browser(1, &register("alice", 2 + turn, ""));
        let renewed = world.browser_response(1);
        assert_eq!(renewed.status.code(), 200);
        let identities = renewed.headers.p_associated_uris().unwrap();
        assert_eq!(identities.len(), 2);
        assert!(world.core_got_nothing(), "{turn}: {}", world.ladder());
    }
    world.forget();
    // 600 s before the end of its 3600 s.
    world.pass(250 * SECOND);
    let refresh = world.core_request();
    let proof = credentials(&refresh);
    assert_eq!(proof.get("nonce").unwrap(), "n1");
    assert_eq!(proof.raw("nc"), Some("00000002"));
    world.answer(&refresh, stale(&refresh, "n2"));
    let refresh = world.core_request();
    assert_eq!(credentials(&refresh).raw("nc"), Some("00000001"));
    world.answer(&refresh, refresh.granted(3600));
    assert_eq!(
        world.ladder(),
        "3000s ask alice_web@ims.test nc=2\n\
         3000s port1 -> UDP REGISTER\n\
         3000s ask alice_web@ims.test nc=1\n\
         3000s port1 -> UDP REGISTER\n"
    );
    assert_eq!(world.signaling.counters().registrations, 1);
}

#[test]
fn a_short_registration_is_refreshed_half_way() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 200);
    world.forget();
    world.pass(99 * SECOND);
    assert!(world.core_got_nothing());
    world.pass(SECOND);
    let refresh = world.core_request();
    assert_eq!(expires(&refresh), 3600);
}

#[test]
fn a_vanished_user_is_really_signed_off() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.closed(1);
    world.forget();
    world.pass(60 * SECOND);
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    assert_eq!(credentials(&farewell).raw("nc"), Some("00000002"));
    // A core whose nonces are good once challenges that, and gets its answer.
    world.answer(&farewell, farewell.challenge("n2"));
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    assert_eq!(credentials(&farewell).get("nonce").unwrap(), "n2");
    world.answer(&farewell, farewell.response(200));
    assert_eq!(world.signaling.counters().deregistrations_unconfirmed, 0);
    world.forget();
    world.pass(32 * SECOND);
    assert_eq!(world.ladder(), "92s port1 close\n");
}

#[test]
fn a_browser_that_does_not_ask_again_is_signed_off_and_so_is_one_whose_proof_ran_out() {
    for (proven_for, end) in [(7200, 300), (120, 120)] {
        let mut world = world(proven_for * SECOND);
        log_in(&mut world, 3600);
        let granted = world.browser_response(1);
        let text = String::from_utf8(granted.to_bytes().to_vec()).unwrap();
        assert!(text.contains(&format!(";expires={end}\r\n")), "{text}");
        world.forget();
        world.pass((end - 1) * SECOND);
        assert!(world.core_got_nothing());
        world.pass(SECOND);
        assert_eq!(expires(&world.core_request()), 0);
        let is_over = world.events.iter().any(|event| {
            let over = DeregistrationCause::Expired;
            matches!(event, Event::Deregistered { cause, .. } if *cause == over)
        });
        assert!(is_over, "{:?}", world.events);
    }
}

#[test]
fn a_browser_that_logs_out_is_signed_off_with_the_boxs_credentials() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.forget();
    let farewell = register("alice", 2, "").replace("expires=600", "expires=0");
    world.browser(1, &farewell);
    let asked = world.core_request();
    assert_eq!(expires(&asked), 0);
    world.answer(&asked, asked.challenge("n2"));
    let asked = world.core_request();
    world.answer(&asked, asked.response(200));
    assert_eq!(world.browser_response(1).status.code(), 200);
    assert_eq!(world.signaling.counters().registrations, 0);
}

#[test]
fn a_browser_comes_back_on_another_connection_without_a_word_to_the_core() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.closed(1);
    world.forget();
    world.pass(10 * SECOND);
    world.open(2);
    prove(&mut world, 2, "alice", "alice_web@ims.test", 7200 * SECOND);
    world.browser(2, &register("alice", 1, ""));
    assert_eq!(world.browser_response(2).status.code(), 200);
    assert!(world.core_got_nothing());
    assert_eq!(world.signaling.counters().registrations_in_grace, 0);
}

#[test]
fn somebody_elses_identity_or_registration_is_not_given_away() {
    let mut world = world(7200 * SECOND);
    world.browser(1, &register("bob", 1, ""));
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert!(world.core_got_nothing());
    log_in(&mut world, 3600);
    world.forget();
    // Another subscription that may use the same public identity.
    world.open(2);
    prove(&mut world, 2, "alice", "other@ims.test", 7200 * SECOND);
    world.browser(2, &register("alice", 1, ""));
    assert_eq!(world.browser_response(2).status.code(), 403);
    assert!(world.core_got_nothing());
}

#[test]
fn a_refresh_that_fails_is_tried_again_and_one_that_is_refused_twice_ends_it() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 200);
    world.forget();
    world.pass(100 * SECOND);
    let refresh = world.core_request();
    world.answer(&refresh, refresh.response(500));
    assert_eq!(world.signaling.counters().registrations, 1);
    let refresh = next_refresh(&mut world);
    // TS 24.229 §5.1.1.4: after 403 the whole authentication anew.
    world.answer(&refresh, refresh.response(403));
    let anew = next_refresh(&mut world);
    assert_eq!(credentials(&anew).get("nonce").unwrap(), "");
    world.forget();
    world.answer(&anew, anew.response(403));
    let ladder = world.ladder();
    assert!(ladder.ends_with("flow1 closed 4003\n"), "{ladder}");
    assert_eq!(world.signaling.counters().registrations, 0);
}

/// Waits for the REGISTER that the box tries again, and looks at its first copy.
fn next_refresh(world: &mut World) -> Asked {
    world.forget();
    for _ in 0..45 {
        world.pass(SECOND);
        if !world.core_got_nothing() {
            break;
        }
    }
    let refresh = world.core_request();
    world.forget();
    refresh
}

#[test]
fn an_isim_is_asked_once_and_its_answer_is_shown_again_at_a_refresh() {
    use crate::auth::aka::Isim;
    let mut world = world(7200 * SECOND);
    let block = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        Zeroizing::new(std::array::from_fn(byte))
    };
    let isim = Isim::new(
        block("465b5ce8b199b49faa5f0a2ee238a6bc"),
        block("cd63cb71954a9f4e48a5994e37a02baf"),
    );
    let isim = Credential::Isim(Box::new(isim));
    world
        .credentials
        .insert("alice_web@ims.test".to_owned(), isim);
    let aka = |asked: &Asked| {
        let challenge = "Digest realm=\"ims.test\", algorithm=AKAv1-MD5, qop=\"auth\", \
            nonce=\"I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M=\"";
        let response = asked.response(401);
        response.with(HeaderName::WwwAuthenticate, challenge)
    };
    world.browser(1, &register("alice", 1, ""));
    let first = world.core_request();
    world.answer(&first, aka(&first));
    let second = world.core_request();
    let proof = credentials(&second);
    world.answer(&second, second.granted(200));
    world.pass(100 * SECOND);
    let refresh = world.core_request();
    assert_eq!(credentials(&refresh), proof);
    // The same vector again is used up: the network is told where the count is.
    world.answer(&refresh, aka(&refresh));
    let told = credentials(&world.core_request());
    assert!(told.get("auts").is_some(), "{told}");
}

fn challenge(asked: &Asked, status: u16, nonce: &str) -> Response {
    let header = match status {
        401 => HeaderName::WwwAuthenticate,
        _ => HeaderName::ProxyAuthenticate,
    };
    let challenge = format!(r#"Digest realm="ims.test", nonce="{nonce}", qop="auth""#);
    asked.response(status).with(header, challenge)
}

fn cseq(asked: &Asked) -> u32 {
    asked.request.headers.cseq().unwrap().number
}

/// The next request of this method that the core got.
fn core_got(world: &mut World, method: &str) -> Asked {
    loop {
        let asked = world.core_request();
        if asked.request.method.as_str() == method {
            return asked;
        }
    }
}

#[test]
fn a_challenged_call_is_made_and_ended_without_a_word_to_the_browser() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let first = core_got(&mut world, "INVITE");
    world.answer(&first, challenge(&first, 407, "c1"));
    let second = core_got(&mut world, "INVITE");
    assert_eq!(cseq(&second), cseq(&first) + 1);
    assert_eq!(
        second.request.headers.call_id().unwrap(),
        first.request.headers.call_id().unwrap()
    );
    let proof = second
        .request
        .headers
        .text(&HeaderName::ProxyAuthorization)
        .unwrap()
        .to_owned();
    assert!(proof.contains("username=\"alice_web@ims.test\""), "{proof}");
    assert!(proof.contains("uri=\"sip:carol@ims.test\""), "{proof}");
    world.answer(&second, accepted(&second));
    // RFC 3261 §13.2.2.4: the ACK has the number and the credentials of its INVITE.
    let ack = core_got(&mut world, "ACK");
    assert_eq!(cseq(&ack), cseq(&second));
    let shown = ack.request.headers.text(&HeaderName::ProxyAuthorization);
    assert_eq!(shown, Some(proof.as_str()));
    let answer = loop {
        let response = world.browser_response(1);
        assert!(![401, 407].contains(&response.status.code()));
        if response.status.code() == 200 {
            break response;
        }
    };
    world.browser(1, &inside("ACK", 1, &answer, "b1"));
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    let bye = core_got(&mut world, "BYE");
    assert_eq!(cseq(&bye), cseq(&second) + 1);
    world.answer(&bye, challenge(&bye, 401, "c2"));
    let again = core_got(&mut world, "BYE");
    assert_eq!(cseq(&again), cseq(&bye) + 1);
    assert!(
        again
            .request
            .headers
            .text(&HeaderName::Authorization)
            .is_some()
    );
    world.answer(&again, again.response(200));
    world.pass(64 * SECOND);
    assert_eq!(world.signaling.counters().sessions, 0);
}

#[test]
fn a_call_whose_credentials_the_core_does_not_take_is_refused_without_a_challenge() {
    let mut world = world(7200 * SECOND);
    log_in(&mut world, 3600);
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    for nonce in ["c1", "c2", "c3"] {
        let asked = core_got(&mut world, "INVITE");
        world.answer(&asked, challenge(&asked, 407, nonce));
    }
    let refused = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(refused.status.code(), 403);
    let proxy = refused.headers.text(&HeaderName::ProxyAuthenticate);
    assert_eq!(proxy, None);
}
