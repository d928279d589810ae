//! What a new life takes up of users who proved themselves to the box, and of those who
//! share its port.

use std::time::Duration;

use iq::Private;
use zeroize::Zeroizing;

use super::mw;
use super::registration::{credentials, register};
use super::tokens::{bearer, lasting, log_in, mw_world, token_world};
use super::world::{Asked, World};
use crate::auth::{Credential, Template};
use crate::config::Profile;
use crate::message::HeaderName;
use crate::{RecordKind, Restored};

const SECOND: Duration = Duration::from_secs(1);

/// In front of a P-CSCF, with alice's password.
fn gm_world() -> World {
    let mut world = token_world(|_| {});
    let password = Zeroizing::new("alice-secret".to_owned());
    let credential = Credential::Password(password);
    world
        .credentials
        .insert("alice_web@ims.test".to_owned(), credential);
    world
}

fn authorization(asked: &Asked) -> &str {
    let text = asked.request.headers.text(&HeaderName::Authorization);
    text.unwrap_or_default()
}

fn expires(asked: &Asked) -> u32 {
    asked.request.headers.expires().unwrap().unwrap().0
}

fn one_registration() -> Restored {
    Restored {
        registrations: 1,
        ..Restored::default()
    }
}

/// The browser comes back on another connection with its token.
fn come_back(world: &mut World, user: &str, seconds: i64) {
    world.open(7);
    let token = bearer(&lasting(user, seconds));
    world.browser(7, &register("alice", 9, &token));
    world.provide("{}");
}

#[test]
fn a_user_whom_the_box_keeps_registered_comes_back_without_a_word_to_the_core() {
    let mut world = gm_world();
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 7200)));
    assert_eq!(world.restart(2 * SECOND, true), one_registration());
    come_back(&mut world, "alice", 7200);
    assert_eq!(world.browser_response(7).status.code(), 200);
    assert!(world.core_got_nothing());
    let counters = world.signaling.counters();
    assert_eq!(
        (counters.registrations, counters.registrations_in_grace),
        (1, 0)
    );
    // The box refreshes again by itself: 3600 s were granted.
    for cseq in 10..22 {
        world.pass(250 * SECOND);
        world.browser(
            7,
            &register("alice", cseq, &bearer(&lasting("alice", 7200))),
        );
    }
    let refresh = world.core_request();
    assert_eq!(expires(&refresh), 3600);
    assert!(authorization(&refresh).contains("alice_web@ims.test"));
}

#[test]
fn nobody_else_s_token_takes_a_registration_of_before() {
    for mut world in [gm_world(), mw_world()] {
        log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 7200)));
        world.restart(SECOND, true);
        come_back(&mut world, "bob", 7200);
        assert_eq!(world.browser_response(7).status.code(), 403);
        assert!(world.core_got_nothing());
        assert_eq!(world.signaling.counters().registrations_in_grace, 1);
    }
}

#[test]
fn a_user_of_before_who_stays_away_is_signed_off_by_the_box() {
    let mut world = gm_world();
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 7200)));
    world.restart(SECOND, true);
    world.pass(60 * SECOND);
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    world.answer(&farewell, farewell.challenge("n9"));
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    assert!(authorization(&farewell).contains("nonce=\"n9\""));

    let mut world = mw_world();
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 7200)));
    assert_eq!(world.restart(SECOND, true), one_registration());
    world.pass(60 * SECOND);
    let farewell = world.core_request();
    assert_eq!(expires(&farewell), 0);
    let vouched = authorization(&farewell);
    assert!(
        vouched.contains("alice_web@ims.test") && vouched.contains("auth-done"),
        "{vouched}"
    );
}

#[test]
fn the_box_vouches_again_for_a_user_of_before() {
    let mut world = mw_world();
    let before = log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 7200)));
    world.restart(SECOND, true);
    come_back(&mut world, "alice", 7200);
    let asked = world.core_request();
    assert!(authorization(&asked).contains("integrity-protected=\"auth-done\""));
    let call_id = |asked: &Asked| asked.request.headers.call_id().unwrap();
    assert_eq!(call_id(&asked), call_id(&before));
    world.answer(&asked, asked.granted(270));
    assert_eq!(world.browser_response(7).status.code(), 200);
}

#[test]
fn a_token_s_end_is_kept_over_a_restart() {
    let mut world = gm_world();
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 40)));
    world.restart(SECOND, true);
    world.pass(39 * SECOND);
    assert_eq!(expires(&world.core_request()), 0);
}

#[test]
fn a_user_who_shares_the_port_is_reached_by_his_path_after_a_restart() {
    let mut world = World::with(|config| {
        config.tenants[0].profile = Profile::Mw(Box::new(mw::mw()));
        config.flow_key = Some(Private::new([7; 32]));
    });
    world.open(99);
    let before = mw::log_in(&mut world, 1, "alice");
    mw::resolve(&mut world, 1);
    assert_eq!(world.restart(SECOND, true), one_registration());
    world.open(2);
    world.browser(2, &register("alice", 3, "X-Any: 1"));
    let asked = world.core_request();
    assert_eq!(asked.endpoint, before.endpoint);
    assert_eq!(mw::path_of(&asked), mw::path_of(&before));
    world.answer(&asked, asked.challenge("n8"));
    world.browser(2, &register("alice", 4, &credentials("alice", "n8")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(270));
    mw::resolve(&mut world, 1);
    world.forget();
    mw::from_scscf(
        &mut world,
        &mw::incoming(&before, &mw::path_of(&before), "X-Any: 1"),
    );
    assert_eq!(world.browser_request(2).method.as_str(), "INVITE");
}

#[test]
fn a_lent_identity_is_still_his_after_a_restart() {
    let pool = |config: &mut crate::config::Config| {
        let rule = &mut config.auth.identities[0];
        rule.impi = Template::parse("web-{n}@ims.test").unwrap();
        rule.impus = vec![Template::parse("sip:!web-.*!@ims.test").unwrap()];
        rule.pool = Some(1..=2);
        config.tenants[0].profile = Profile::Mw(Box::new(mw::mw()));
    };
    let mut world = token_world(pool);
    let log_in = |world: &mut World, flow: u64, user: &str, expected: &str| {
        world.open(flow);
        let token = bearer(&lasting(user, 7200));
        world.browser(flow, &register("web-x", 1, &token));
        world.provide("{}");
        if expected.is_empty() {
            assert_eq!(world.browser_response(flow).status.code(), 503);
            return;
        }
        let asked = world.core_request();
        let said = authorization(&asked).to_owned();
        assert!(said.contains(expected), "{user}: {said}");
        world.answer(&asked, asked.response(404));
        world.forget();
    };
    log_in(&mut world, 1, "anna", "web-1@ims.test");
    log_in(&mut world, 2, "bert", "web-2@ims.test");
    let leases = |world: &World| {
        let kinds = world.store.keys().map(|key| key.kind);
        kinds.filter(|kind| *kind == RecordKind::Lease).count()
    };
    assert_eq!(leases(&world), 2);
    let stored = format!("{:?}", world.store.keys());
    assert!(!stored.contains("anna"), "{stored}");

    let restored = world.restart(SECOND, true);
    assert_eq!((restored.leases, restored.dropped), (2, 0));
    log_in(&mut world, 3, "carl", "");
    log_in(&mut world, 4, "bert", "web-2@ims.test");
    log_in(&mut world, 5, "anna", "web-1@ims.test");

    world.config.auth.identities[0].pool = Some(2..=3);
    let restored = world.restart(SECOND, true);
    assert_eq!((restored.leases, restored.dropped), (1, 1));
    log_in(&mut world, 6, "carl", "web-3@ims.test");
}
