//! Calls in progress when a token's time is over.

use std::time::Duration;

use zeroize::Zeroizing;

use super::calls::{call, from_core, inside, invite};
use super::mw;
use super::registration::register;
use super::tokens::{bearer, lasting, log_in, mw_world, token_world};
use super::world::{Asked, World, wire};
use crate::auth::Credential;
use crate::message::{Method, Response};

const SECOND: Duration = Duration::from_secs(1);

/// In a call, on either way into the IMS, with a token for 100 s.
fn in_a_call(mut world: World) -> (World, Asked, Response) {
    let password = Zeroizing::new("alice-secret".to_owned());
    let name = "alice_web@ims.test".to_owned();
    world
        .credentials
        .insert(name, Credential::Password(password));
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 100)));
    mw::resolve(&mut world, 1);
    let (asked, answer) = call(&mut world, 1, "alice");
    world.forget();
    (world, asked, answer)
}

fn both() -> [World; 2] {
    [mw_world(), token_world(|_| {})]
}

fn registrations(world: &World) -> u64 {
    world.signaling.counters().registrations
}

/// The next REGISTER that the core gets ends the registration.
fn is_signed_off(world: &mut World) -> bool {
    let register = std::iter::from_fn(|| world.next_core_request())
        .find(|asked| asked.request.method == Method::Register);
    register.is_some_and(|it| it.request.headers.expires().unwrap().unwrap().0 == 0)
}

// Conforms: RFC 8898 §2.2 | When a token is over its user's calls go on, but he makes no new ones, and the core is told when they have ended.
#[test]
fn calls_go_on_when_a_token_is_over_and_their_end_signs_the_user_off() {
    for world in both() {
        let (mut world, asked, answer) = in_a_call(world);
        world.pass(95 * SECOND);
        assert!(!is_signed_off(&mut world));
        assert_eq!(registrations(&world), 1);
        world.forget();
        world.browser(1, &invite("alice", "late"));
        assert_eq!(world.browser_response(1).status.code(), 403);
        // Both sides still speak inside the call.
        world.core(1, &wire(&from_core("INFO", &asked, 7)));
        world.browser(1, &inside("BYE", 2, &answer, "bye"));
        let bye = world.core_request();
        assert_eq!(bye.request.method, Method::Bye);
        world.answer(&bye, bye.response(200));
        assert!(is_signed_off(&mut world), "{}", world.ladder());
        assert_eq!(registrations(&world), 0);
    }
}

#[test]
fn calls_that_outlast_the_limit_are_ended() {
    for world in both() {
        let (mut world, ..) = in_a_call(world);
        world.pass(89 * SECOND + 299 * SECOND);
        assert_eq!(registrations(&world), 1);
        world.forget();
        world.pass(2 * SECOND);
        assert_eq!(registrations(&world), 0);
        let bye = world.browser_request(1);
        assert_eq!(bye.method, Method::Bye);
        assert!(is_signed_off(&mut world));
    }
}

#[test]
fn without_a_limit_calls_end_with_the_token() {
    let world = token_world(|config| config.calls.token_grace = Duration::ZERO);
    let (mut world, ..) = in_a_call(world);
    world.pass(91 * SECOND);
    assert_eq!(world.browser_request(1).method, Method::Bye);
    assert!(is_signed_off(&mut world));
}

#[test]
fn a_fresh_token_in_time_lets_its_user_call_again() {
    let limit = 100 * SECOND;
    let (mut world, ..) = in_a_call(token_world(|config| config.calls.token_grace = limit));
    world.pass(95 * SECOND);
    world.forget();
    let fresh = bearer(&lasting("alice", 900));
    world.browser(1, &register("alice", 2, &fresh));
    world.provide("{}");
    assert_eq!(world.browser_response(1).status.code(), 200);
    world.pass(limit);
    assert_eq!(registrations(&world), 1);
    world.forget();
    world.browser(1, &invite("alice", "again"));
    assert_eq!(world.core_request().request.method, Method::Invite);
}

#[test]
fn nobody_reaches_a_user_whose_token_is_over() {
    let (mut world, ..) = in_a_call(token_world(|_| {}));
    world.pass(95 * SECOND);
    world.forget();
    let called = to_alice();
    world.core(1, &called);
    assert_eq!(world.core_response().status.code(), 480);
    assert!(world.browser_got_nothing(1));
}

/// A message to alice.
fn to_alice() -> String {
    super::services::from_core("MESSAGE", 1, "Content-Type: text/plain", "hello")
}
