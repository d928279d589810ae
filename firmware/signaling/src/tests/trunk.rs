//! The box as the end of a SIP trunk: users whom it lets in itself, one registration with
//! the peer, and calls both ways.

use std::time::Duration;

use zeroize::Zeroizing;

use super::calls::{PHONE, accepted, call, inside, invite, with_body};
use super::registration::register;
use super::tokens::{lasting_with, token_world};
use super::world::{Asked, World};
use crate::auth::Credential;
use crate::auth::digest::{self, Question};
use crate::config::{
    CallerHeader, ForeignIdentity, Host, HostName, Profile, TrunkConfig, TrunkRegistration,
    UserNumber,
};
use crate::event::{Breach, Event};
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::message::headers::{Authorization, Digest, WwwAuthenticate};
use crate::message::{HeaderName, Method, Response};
use iq::Private;

const SECOND: Duration = Duration::from_secs(1);

fn user(name: &str) -> PublicIdentity {
    PublicIdentity::sip(name, &HostName::parse("ims.test").unwrap()).unwrap()
}

fn password(text: &str) -> Credential {
    Credential::Password(Zeroizing::new(text.to_owned()))
}

pub(super) fn config() -> TrunkConfig {
    let peer = Host::Name(HostName::parse("provider.test").unwrap());
    TrunkConfig {
        numbers: vec![UserNumber {
            number: "+390401234567".to_owned(),
            user: user("alice"),
        }],
        ..TrunkConfig::new(peer)
    }
}

fn registering() -> TrunkConfig {
    let domain = HostName::parse("provider.test").unwrap();
    TrunkConfig {
        registration: Some(TrunkRegistration {
            address: PublicIdentity::sip("+390401234500", &domain).unwrap(),
            user: PrivateIdentity::new("trunk-17"),
        }),
        ..config()
    }
}

pub(super) fn world_with(config: TrunkConfig) -> World {
    let mut world = World::with(|all| {
        all.tenants[0].profile = Profile::Trunk(Box::new(config));
        all.tenants[0].dial_plan.country_code = Some("39".to_owned());
        all.tenants[0].dial_plan.national_prefix = String::new();
    });
    for (name, secret) in [
        ("alice@ims.test", "alice-secret"),
        ("bob@ims.test", "bob-secret"),
        ("trunk-17", "trunk-secret"),
    ] {
        world.credentials.insert(name.to_owned(), password(secret));
    }
    world.open(99);
    world
}

pub(super) fn world() -> World {
    let mut world = world_with(config());
    world.forget();
    world
}

pub(super) fn challenge_of(response: &Response) -> Digest {
    assert_eq!(response.status.code(), 401);
    // JsSIP and SIP.js keep the last of several.
    let WwwAuthenticate(last) = response.headers.www_authenticate().last().unwrap();
    assert_eq!(last.get("algorithm").as_deref(), Some("MD5"));
    last
}

/// The Authorization that a browser makes of a challenge.
pub(super) fn answer_to(challenge: &Digest, name: &str, secret: &str, count: u32) -> String {
    let question = Question {
        method: Method::Register,
        uri: Private::new("sip:ims.test".to_owned()),
        challenges: vec![challenge.clone()],
        count,
        client_nonce: "chance".to_owned(),
    };
    let name = PrivateIdentity::new(name);
    let answer = digest::answer(&mut password(secret), &name, &question).unwrap();
    format!("Authorization: {}", answer.credentials)
}

fn try_in(world: &mut World, flow: u64, name: &str, secret: &str) -> Response {
    world.browser(flow, &register(name, 1, "X-Any: 1"));
    let challenge = challenge_of(&world.browser_response(flow));
    let answer = answer_to(&challenge, &format!("{name}@ims.test"), secret, 1);
    world.browser(flow, &register(name, 2, &answer));
    world.browser_response(flow)
}

fn log_in(world: &mut World, flow: u64, name: &str) -> Response {
    world.open(flow);
    let response = try_in(world, flow, name, &format!("{name}-secret"));
    assert_eq!(response.status.code(), 200, "{}", world.ladder());
    response
}

fn text(asked: &Asked) -> String {
    String::from_utf8(asked.request.to_bytes().to_vec()).unwrap()
}

pub(super) fn incoming(uri: &str, to: &str, extra: &str) -> String {
    with_body(
        &format!(
            "INVITE {uri} SIP/2.0
            Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKin{}
            Max-Forwards: 60
            To: <{to}>
            From: <sip:+4930123456@provider.test>;tag=far
            Call-ID: in-{}
            CSeq: 1 INVITE
            Contact: <sip:192.0.2.10:5060>
            {extra}
            Supported: timer",
            uri.len() + to.len(),
            uri.len() + to.len()
        ),
        PHONE,
    )
}

// Conforms: RFC 7616 §3.3 | On a trunk the box itself asks browsers for their password, and nothing of that goes over the trunk.
#[test]
fn a_browser_logs_in_to_the_box_and_the_peer_hears_nothing_of_it() {
    let mut world = world();
    let registered = log_in(&mut world, 1, "alice");
    let text = String::from_utf8(registered.to_bytes().to_vec()).unwrap();
    assert!(
        text.contains(
            "P-Associated-URI: <sip:alice@ims.test>\r\nP-Associated-URI: <tel:+390401234567>\r\n"
        ) || text.contains("P-Associated-URI: <sip:alice@ims.test>, <tel:+390401234567>"),
        "{text}"
    );
    assert!(text.contains(";expires="), "{text}");
    assert!(world.core_got_nothing(), "{}", world.ladder());
    // It signs off.
    world.browser(
        1,
        &register("alice", 3, "Expires: 0").replace("expires=600", "expires=0"),
    );
    let challenge = challenge_of(&world.browser_response(1));
    let answer = answer_to(&challenge, "alice@ims.test", "alice-secret", 1);
    let goodbye = register("alice", 4, &answer).replace("expires=600", "expires=0");
    world.browser(1, &goodbye);
    assert_eq!(world.browser_response(1).status.code(), 200);
    world.browser(1, &invite("alice", "late"));
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert!(world.core_got_nothing());
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_answered_alike_and_counted() {
    let answers: Vec<_> = [("alice", "wrong"), ("nobody", "alice-secret")]
        .into_iter()
        .map(|(name, secret)| {
            let mut world = world();
            world.open(1);
            let refused = try_in(&mut world, 1, name, secret);
            assert_eq!(world.signaling.counters().passwords_wrong, 1);
            let challenge = challenge_of(&refused);
            assert_eq!(challenge.raw("stale"), None);
            let names: Vec<_> = refused.headers.iter().map(|it| it.name().clone()).collect();
            let next = challenge.get("nonce").unwrap();
            assert!(!next.is_empty());
            names
        })
        .collect();
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn who_guesses_passwords_has_to_wait() {
    let mut world = world();
    let statuses: Vec<_> = (1..=8)
        .map(|flow| {
            world.open(flow);
            world.browser(flow, &register("alice", 1, "X-Any: 1"));
            let challenge = challenge_of(&world.browser_response(flow));
            let answer = answer_to(&challenge, "alice@ims.test", "guess", 1);
            world.browser(flow, &register("alice", 2, &answer));
            world.browser_response(flow).status.code()
        })
        .collect();
    assert_eq!(statuses[0], 401);
    assert_eq!(statuses[7], 503, "{statuses:?}");
    let locked = world.events.iter().any(|event| {
        matches!(
            event,
            Event::Security {
                breach: Breach::WrongPasswords(_),
                ..
            }
        )
    });
    assert!(locked);
}

// Conforms: RFC 7616 §3.4 | An answer is taken once, on the connection that was asked, and not after five minutes.
#[test]
fn an_answer_is_good_once_on_its_own_connection_and_for_a_while() {
    let mut world = world();
    world.open(1);
    world.open(2);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let challenge = challenge_of(&world.browser_response(1));
    let answer = answer_to(&challenge, "alice@ims.test", "alice-secret", 1);
    // Overheard, on another connection.
    world.browser(2, &register("alice", 2, &answer));
    let elsewhere = challenge_of(&world.browser_response(2));
    assert_eq!(elsewhere.raw("stale"), Some("true"));
    world.browser(1, &register("alice", 2, &answer));
    assert_eq!(world.browser_response(1).status.code(), 200);
    // The same again.
    world.browser(1, &register("alice", 3, &answer));
    assert_eq!(
        challenge_of(&world.browser_response(1)).raw("stale"),
        Some("true")
    );
    // Counted on, it is good; but not for ever.
    world.browser(1, &register("alice", 4, "X-Any: 1"));
    let challenge = challenge_of(&world.browser_response(1));
    world.pass(200 * SECOND);
    let early = answer_to(&challenge, "alice@ims.test", "alice-secret", 1);
    world.browser(1, &register("alice", 5, &early));
    assert_eq!(world.browser_response(1).status.code(), 200);
    world.pass(150 * SECOND);
    let late = answer_to(&challenge, "alice@ims.test", "alice-secret", 2);
    world.browser(1, &register("alice", 6, &late));
    assert_eq!(
        challenge_of(&world.browser_response(1)).raw("stale"),
        Some("true")
    );
}

#[test]
fn somebody_elses_password_opens_nobodys_door() {
    let mut world = world();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let challenge = challenge_of(&world.browser_response(1));
    let bobs = answer_to(&challenge, "bob@ims.test", "bob-secret", 1);
    world.browser(1, &register("alice", 2, &bobs));
    challenge_of(&world.browser_response(1));
    assert_eq!(world.signaling.counters().registrations, 0);
}

#[test]
fn a_token_lets_in_as_well_as_a_password() {
    let profile = Profile::Trunk(Box::new(config()));
    let mut world = token_world(|all| {
        all.tenants[0].profile = profile;
        all.calls.token_grace = Duration::ZERO;
    });
    world.open(1);
    let token = lasting_with("alice", 200, &[]);
    let bearer = format!("Authorization: Bearer {token}");
    world.browser(1, &register("alice", 1, &bearer));
    world.provide("{}");
    assert_eq!(world.browser_response(1).status.code(), 200);
    let (asked, _) = call(&mut world, 1, "alice");
    let sent = text(&asked);
    assert!(
        sent.contains("P-Asserted-Identity: <sip:+390401234567@"),
        "{sent}"
    );
    assert!(!sent.contains("Bearer"), "{sent}");
    world.forget();
    world.pass(201 * SECOND);
    assert_eq!(
        world.signaling.counters().registrations,
        0,
        "it lasts as long as its token"
    );
    world.open(2);
    world.browser(2, &register("alice", 2, "X-Any: 1"));
    let refused = world.browser_response(2);
    let asked = refused.headers.text(&HeaderName::WwwAuthenticate).unwrap();
    assert!(asked.starts_with("Bearer"), "{asked}");
}

#[test]
fn a_registration_ends_with_its_time_and_the_peer_hears_nothing() {
    let mut world = world();
    log_in(&mut world, 1, "alice");
    assert_eq!(world.signaling.counters().registrations, 1);
    world.pass(301 * SECOND);
    assert_eq!(world.signaling.counters().registrations, 0);
    log_in(&mut world, 2, "bob");
    world.closed(2);
    world.pass(61 * SECOND);
    assert_eq!(world.signaling.counters().registrations, 0);
    assert!(world.core_got_nothing(), "{}", world.ladder());
}

#[test]
fn a_browser_that_comes_back_has_its_registration_again_also_after_a_restart() {
    let mut world = world();
    log_in(&mut world, 1, "alice");
    world.closed(1);
    log_in(&mut world, 2, "alice");
    assert_eq!(world.signaling.counters().registrations_reattached, 1);
    world.restart(SECOND, true);
    assert_eq!(world.signaling.counters().registrations, 1);
    log_in(&mut world, 3, "alice");
    assert_eq!(world.signaling.counters().registrations, 1);
    call(&mut world, 3, "alice");
}

// Conforms: RFC 3325 §5 | Over a trunk a call carries its caller's number in P-Asserted-Identity and From.
#[test]
fn a_call_out_says_the_callers_number_and_asks_for_the_peers_domain() {
    let mut world = world();
    log_in(&mut world, 1, "alice");
    let (asked, answer) = call(&mut world, 1, "alice");
    let sent = text(&asked);
    assert!(
        sent.starts_with("INVITE sip:carol@provider.test SIP/2.0\r\n"),
        "{sent}"
    );
    let own = "<sip:+390401234567@provider.test;user=phone>";
    assert!(
        sent.contains(&format!("P-Asserted-Identity: {own}\r\n")),
        "{sent}"
    );
    assert!(
        sent.contains(&format!("From: \"Alice\" {own};tag=")),
        "{sent}"
    );
    for absent in [
        "ims.test",
        "P-Preferred",
        "Route:",
        "boss",
        "invalid",
        "P-Served",
    ] {
        assert!(!sent.contains(absent), "{absent}: {sent}");
    }
    assert_eq!(asked.to.to_string(), super::world::CORE);
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    assert_eq!(world.core_request().request.method, Method::Ack);
    assert_eq!(world.core_request().request.method, Method::Bye);
}

#[test]
fn numbers_are_called_as_the_peer_spells_them() {
    let mut world = world();
    log_in(&mut world, 1, "alice");
    for (dialled, called) in [
        ("tel:+39-040-99", "sip:+3904099@provider.test;user=phone"),
        (
            "sip:040999@ims.test;user=phone",
            "sip:040999@provider.test;user=phone",
        ),
        ("sip:carol@elsewhere.test", "sip:carol@elsewhere.test"),
    ] {
        let text = invite("alice", &called.len().to_string());
        let text = text.replace(
            "INVITE sip:carol@ims.test;transport=ws",
            &format!("INVITE {dialled}"),
        );
        world.browser(1, &text);
        let asked = world.core_request();
        assert_eq!(asked.request.uri.to_string(), called);
        world.answer(&asked, asked.response(486));
        world.forget();
    }
}

#[test]
fn who_wants_to_be_anonymous_is_so_to_the_called_and_as_the_peer_agreed_to_it() {
    for (caller, asserted) in [(CallerHeader::Asserted, true), (CallerHeader::From, false)] {
        let mut world = world_with(TrunkConfig { caller, ..config() });
        log_in(&mut world, 1, "alice");
        let hidden = invite("alice", "b1").replace(
            "From: \"Alice\" <sip:alice@ims.test>",
            "From: <sip:anonymous@anonymous.invalid>",
        );
        world.browser(1, &hidden);
        let sent = text(&world.core_request());
        assert!(
            sent.contains("From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="),
            "{sent}"
        );
        assert_eq!(
            sent.contains("P-Asserted-Identity: <sip:+390401234567@"),
            asserted,
            "{sent}"
        );
    }
}

#[test]
fn a_caller_who_wants_to_be_somebody_else_is_not_or_is_refused() {
    let mut world = world();
    log_in(&mut world, 1, "alice");
    let forged = invite("alice", "b1").replace("<sip:alice@ims.test>", "<sip:bob@ims.test>");
    world.browser(1, &forged);
    assert!(text(&world.core_request()).contains("<sip:+390401234567@provider.test;user=phone>"));
    let foreign_identity = ForeignIdentity::Refuse;
    let mut world = world_with(TrunkConfig {
        foreign_identity,
        ..config()
    });
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &forged);
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert!(world.core_got_nothing());
}

#[test]
fn a_call_in_rings_whose_number_it_is_however_the_peer_spells_it() {
    for (uri, to) in [
        (
            "sip:+390401234567@198.51.100.1:6001",
            "sip:any@provider.test",
        ),
        ("sip:00390401234567@198.51.100.1", "sip:any@provider.test"),
        (
            "sip:0401234567@198.51.100.1;user=phone",
            "sip:any@provider.test",
        ),
        (
            "sip:+390401234500@198.51.100.1",
            "sip:+390401234567@provider.test",
        ),
        ("sip:trunk@198.51.100.1", "tel:+39-040-1234567"),
        ("sip:alice@198.51.100.1", "sip:any@provider.test"),
        ("sip:any@198.51.100.1", "sip:alice@provider.test"),
    ] {
        let mut world = world();
        log_in(&mut world, 1, "alice");
        world.core(
            1,
            &incoming(
                uri,
                to,
                "P-Asserted-Identity: <sip:+4930123456@provider.test>",
            ),
        );
        let ringing = world.browser_request(1);
        assert_eq!(ringing.method, Method::Invite, "{uri}");
        let text = String::from_utf8(ringing.to_bytes().to_vec()).unwrap();
        assert!(
            text.contains("From: <sip:+4930123456@provider.test>"),
            "{text}"
        );
        assert!(text.contains("To: <sip:alice@ims.test>"), "{text}");
        assert!(!text.contains("192.0.2.10"), "{text}");
    }
}

#[test]
fn an_unknown_number_is_not_found_and_an_absent_user_is_unavailable() {
    let mut world = world();
    let known = incoming(
        "sip:+390401234567@198.51.100.1",
        "sip:any@provider.test",
        "X-Any: 1",
    );
    world.core(1, &known);
    assert_eq!(world.core_response().status.code(), 480);
    let unknown = incoming(
        "sip:+3904077@198.51.100.1",
        "sip:any@provider.test",
        "X-Any: 1",
    );
    world.core(1, &unknown);
    assert_eq!(world.core_response().status.code(), 404);
}

// Conforms: RFC 3261 §10.2 | The box keeps one registration for a whole trunk, refreshes it and ends it when it leaves.
#[test]
fn the_box_registers_the_trunk_with_its_password_and_keeps_it_so() {
    let mut world = world_with(registering());
    let first = world.core_request();
    let sent = text(&first);
    assert!(
        sent.starts_with("REGISTER sip:provider.test SIP/2.0\r\n"),
        "{sent}"
    );
    assert!(
        sent.contains("To: <sip:+390401234500@provider.test>\r\n"),
        "{sent}"
    );
    assert!(
        sent.contains("Contact: <sip:+390401234500@198.51.100.1:6001>;expires=3600\r\n"),
        "{sent}"
    );
    assert!(
        !sent.contains("Authorization") && !sent.contains("Supported"),
        "{sent}"
    );
    assert_eq!(world.signaling.counters().trunks_unregistered, 1);
    world.answer(&first, first.challenge("n1"));
    let second = world.core_request();
    let Authorization(proof) = second.request.headers.authorization().next().unwrap();
    assert_eq!(proof.get("username").unwrap(), "trunk-17");
    world.answer(&second, second.granted(1800));
    let counters = *world.signaling.counters();
    assert_eq!(
        (counters.trunks_registered, counters.trunks_unregistered),
        (1, 0)
    );
    assert_eq!(counters.registrations, 0, "it is no user's");
    world.pass(1199 * SECOND);
    assert!(world.core_got_nothing());
    world.pass(2 * SECOND);
    let refresh = world.core_request();
    assert_eq!(text(&refresh).matches("Call-ID").count(), 1);
    world.answer(&refresh, refresh.granted(1800));
    world.forget();
    world.input(crate::Input::Deregister);
    let goodbye = world.core_request();
    assert!(
        text(&goodbye).contains(";expires=0\r\n"),
        "{}",
        text(&goodbye)
    );
    world.answer(&goodbye, goodbye.response(200));
    world.pass(SECOND);
    assert!(world.ladder().ends_with("idle\n"));
}

// Conforms: RFC 5626 §4.5 | A trunk whose peer refuses or is silent is registered again, ever more slowly.
#[test]
fn a_trunk_that_is_refused_is_tried_again_ever_more_slowly() {
    let mut world = world_with(registering());
    let mut pauses = Vec::new();
    for _ in 0..5 {
        let asked = world.core_request();
        world.answer(&asked, asked.response(403));
        let told = world.events.iter().rev().find_map(|event| match event {
            Event::TrunkFailed { pause, status, .. } => Some((*pause, *status)),
            _ => None,
        });
        let (pause, status) = told.unwrap();
        assert_eq!(status, Some(403));
        world.forget();
        world.pass(pause - SECOND);
        assert!(world.core_got_nothing());
        world.pass(2 * SECOND);
        pauses.push(pause);
    }
    assert!(
        pauses[0] < 31 * SECOND && pauses[4] > 4 * pauses[0],
        "{pauses:?}"
    );
    let asked = world.core_request();
    world.answer(&asked, asked.granted(600));
    assert_eq!(world.signaling.counters().trunks_registered, 1);
    // The peer falls silent: it stands until its time is over, and then it does not.
    world.pass(700 * SECOND);
    assert_eq!(world.signaling.counters().trunks_unregistered, 1);
    let lost = |event: &Event| matches!(event, Event::TrunkLost { .. });
    assert!(world.events.iter().any(lost));
}

#[test]
fn a_call_that_the_peer_challenges_is_proved_with_the_trunks_password() {
    let mut world = world_with(registering());
    let first = world.core_request();
    world.answer(&first, first.granted(3600));
    log_in(&mut world, 1, "alice");
    world.browser(1, &invite("alice", "b1"));
    let asked = world.core_request();
    let challenge = r#"Digest realm="provider.test", nonce="c1", algorithm=MD5, qop="auth""#;
    let challenged = asked
        .response(407)
        .with(HeaderName::ProxyAuthenticate, challenge);
    world.answer(&asked, challenged);
    assert_eq!(world.core_request().request.method, Method::Ack);
    let again = world.core_request();
    let proof = again
        .request
        .headers
        .text(&HeaderName::ProxyAuthorization)
        .unwrap();
    assert!(proof.contains("username=\"trunk-17\""), "{proof}");
    world.answer(&again, accepted(&again));
    let ok = loop {
        let response = world.browser_response(1);
        if response.status.is_success() {
            break response;
        }
    };
    assert!(!ok.headers.has(&HeaderName::ProxyAuthenticate));
}
