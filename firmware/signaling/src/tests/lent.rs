//! Users to whom an identity of a pool is lent: how they learn which, and how they use it.

use std::time::Duration;

use super::calls::invite;
use super::registration::register;
use super::tokens::{bearer, lasting, lasting_with, token_world};
use super::world::World;
use crate::auth::{Template, Token, TokenRefusal};
use crate::config::{MwConfig, Profile};
use crate::message::{HeaderName, Response};
use crate::reach::Records;
use crate::{Input, Session, TicketId};

/// A pool of two numbers, on Gm.
fn world() -> World {
    token_world(|config| {
        let template = |text: &str| Template::parse(text).unwrap();
        let rule = &mut config.auth.identities[0];
        rule.impi = template("web-{n}@ims.test");
        rule.impus = vec![
            template("tel:+39040000000{n}"),
            template("sip:web-{n}@ims.test"),
        ];
        rule.pool = Some(1..=2);
    })
}

/// The same where the box is the P-CSCF.
fn mw_world() -> World {
    let mut config = world().config.clone();
    config.tenants[0].profile = Profile::Mw(Box::new(MwConfig {
        watches_registrations: false,
        ..MwConfig::new("gw.test")
    }));
    World::with(|it| *it = config)
}

fn addresses() -> Records {
    Records::Addresses(vec!["192.0.2.30".parse().unwrap()])
}

/// What a page gets for the token of a user.
fn session(world: &mut World, token: &str) -> Result<Session, TokenRefusal> {
    let token = Token::parse(token).unwrap();
    let ticket = TicketId(1);
    world.input(Input::TicketWanted { ticket, token });
    world.provide("{}");
    world.tickets.pop().unwrap()
}

fn lent(world: &mut World, user: &str) -> String {
    let session = session(world, &lasting(user, 600)).unwrap();
    session.address.unwrap().reveal().to_owned()
}

/// Registers a user as whomever his token says; what he is told.
fn log_in_as_me(world: &mut World, flow: u64, user: &str) -> Response {
    world.open(flow);
    world.browser(flow, &register("me", 1, &bearer(&lasting(user, 600))));
    world.provide("{}");
    let asked = world.core_request();
    let text = String::from_utf8(asked.request.to_bytes().to_vec()).unwrap();
    assert!(!text.contains("sip:me@"), "{text}");
    let mut granted = asked.granted(3600);
    let own = asked.request.headers.to().unwrap().uri.to_string();
    let own = format!("<{own}>, <tel:+390400000001>");
    granted.headers.replace(HeaderName::PAssociatedUri, own);
    world.answer(&asked, granted);
    world.browser_response(flow)
}

#[test]
fn a_page_learns_with_its_ticket_who_its_user_is_and_for_how_long() {
    let mut world = world();
    let session = session(&mut world, &lasting("zoe", 600)).unwrap();
    let of = |text: &str| session.identities.iter().position(|it| it.reveal() == text);
    assert_eq!(of("tel:+390400000001"), Some(0));
    assert_eq!(of("sip:web-1@ims.test"), Some(1));
    assert_eq!(session.address, Some(session.identities[1].clone()));
    // Sixty seconds to register, and the rest that the pool keeps it for.
    assert_eq!(session.lent_for, Some(Duration::from_secs(60 + 600)));
    assert_eq!(lent(&mut world, "yan"), "sip:web-2@ims.test");
    assert_eq!(lent(&mut world, "zoe"), "sip:web-1@ims.test");
    let ladder = world.ladder();
    assert!(!ladder.contains("web-"), "{ladder}");
}

#[test]
fn a_user_by_claim_learns_who_he_is_and_nothing_of_a_lease() {
    let mut world = super::tokens::world();
    let session = session(&mut world, &lasting("alice", 600)).unwrap();
    assert_eq!(session.address.unwrap().reveal(), "sip:alice@ims.test");
    assert_eq!(session.identities.len(), 2);
    assert_eq!(session.lent_for, None);
}

#[test]
fn an_identity_of_a_domain_without_log_in_by_token_is_no_address() {
    let mut world = token_world(|config| {
        let foreign = Template::parse("sip:{sub}@elsewhere.test").unwrap();
        config.auth.identities[0].impus = vec![foreign];
    });
    let session = session(&mut world, &lasting("alice", 600)).unwrap();
    assert_eq!(session.address, None);
    assert_eq!(session.identities.len(), 1);
}

#[test]
fn a_page_whose_user_is_nobody_gets_no_ticket() {
    let mut world = token_world(|config| {
        config.auth.identities[0].impi = Template::parse("{nick}@ims.test").unwrap();
    });
    let token = lasting("alice", 600);
    assert_eq!(session(&mut world, &token), Err(TokenRefusal::NoIdentity));
    let token = lasting_with("alice", 600, &[("nick", "\"al\"".to_owned())]);
    assert!(session(&mut world, &token).is_ok());
}

#[test]
fn an_exhausted_pool_is_told_to_pages_and_to_browsers() {
    let mut world = world();
    lent(&mut world, "zoe");
    lent(&mut world, "yan");
    let token = lasting("xia", 600);
    let refused = session(&mut world, &token);
    assert_eq!(refused, Err(TokenRefusal::PoolExhausted));
    world.open(1);
    world.browser(1, &register("me", 1, &bearer(&token)));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 503);
    assert!(response.headers.has(&HeaderName::RetryAfter));
    assert!(world.core_got_nothing());
}

// Conforms: RFC 7315 §4.1 | Who registers as `me` is told by P-Associated-URI which identity is his.
#[test]
fn who_registers_as_me_is_registered_as_himself_and_told_so() {
    for mut world in [world(), mw_world()] {
        lent(&mut world, "zoe");
        let told = log_in_as_me(&mut world, 1, "yan");
        // Where the box is the P-CSCF, the Service-Route's name is looked up.
        world.resolved(1, Some(addresses()));
        world.forget();
        assert_eq!(told.status.code(), 200);
        let to = told.headers.to().unwrap().uri.to_string();
        assert_eq!(to, "sip:me@ims.test", "RFC 3261 §8.2.6.2");
        let associated = told.headers.p_associated_uris().unwrap();
        assert_eq!(associated[0].uri.to_string(), "sip:web-2@ims.test");
        assert_eq!(associated.len(), 2);

        world.browser(1, &invite("me", "out"));
        let sent = world.core_request().request;
        let text = String::from_utf8(sent.to_bytes().to_vec()).unwrap();
        assert!(
            text.contains("From: \"Alice\" <sip:web-2@ims.test>"),
            "{text}"
        );
        assert!(!text.contains("sip:me@"), "{text}");
    }
}

#[test]
fn a_core_that_says_nothing_of_identities_leaves_it_to_the_box() {
    let mut world = mw_world();
    world.open(1);
    world.browser(1, &register("me", 1, &bearer(&lasting("zoe", 600))));
    world.provide("{}");
    let asked = world.core_request();
    let mut granted = asked.granted(3600);
    granted.headers.remove(&HeaderName::PAssociatedUri);
    world.answer(&asked, granted);
    let told = world.browser_response(1);
    let associated = told.headers.p_associated_uris().unwrap();
    assert_eq!(associated.len(), 1);
    assert_eq!(associated[0].uri.to_string(), "sip:web-1@ims.test");
}

#[test]
fn who_says_me_also_refreshes_and_leaves_as_himself() {
    let mut world = world();
    log_in_as_me(&mut world, 1, "zoe");
    world.forget();
    let bye = register("me", 2, &bearer(&lasting("zoe", 600))).replace("expires=600", "expires=0");
    world.browser(1, &bye);
    let farewell = world.core_request();
    assert_eq!(farewell.request.headers.expires().unwrap().unwrap().0, 0);
    let to = farewell.request.headers.to().unwrap().uri.to_string();
    assert_eq!(to, "sip:web-1@ims.test");
    world.answer(&farewell, farewell.response(200));
    let told = world.browser_response(1);
    assert_eq!(told.status.code(), 200);
    assert!(!told.headers.has(&HeaderName::PAssociatedUri));
}

#[test]
fn who_signs_off_gives_his_identity_back_after_its_rest_unless_another_device_has_it() {
    let mut config = world().config.clone();
    config.auth.identities[0].pool_kept = Duration::ZERO;
    let mut world = World::with(|it| *it = config);
    lent(&mut world, "yan");
    let long = |user: &str| bearer(&lasting(user, 7200));
    let device = |text: String, name: &str| text.replace("uuid:me", &format!("uuid:{name}"));
    for (flow, name) in [(1, "desk"), (2, "car")] {
        world.open(flow);
        let request = device(register("me", 1, &long("zoe")), name).replace("BKme", name);
        world.browser(flow, &request);
        world.provide("{}");
        let asked = world.core_request();
        let mut granted = asked.granted(3600);
        let own = "<sip:web-2@ims.test>";
        granted.headers.replace(HeaderName::PAssociatedUri, own);
        world.answer(&asked, granted);
        assert_eq!(world.browser_response(flow).status.code(), 200);
    }
    let leave = |world: &mut World, flow: u64, name: &str| {
        let request = device(register("me", 2, &long("zoe")), name).replace("BKme", name);
        world.browser(flow, &request.replace("expires=600", "expires=0"));
        let farewell = world.core_request();
        world.answer(&farewell, farewell.response(200));
        assert_eq!(world.browser_response(flow).status.code(), 200);
    };
    let is_free = |world: &mut World, user: &str| session(world, &lasting(user, 7200)).is_ok();
    let minute = Duration::from_secs(60);
    leave(&mut world, 1, "desk");
    world.pass(minute);
    // The one that was only told of is free, the other one is still registered.
    assert!(is_free(&mut world, "xia"));
    assert!(!is_free(&mut world, "wim"));
    leave(&mut world, 2, "car");
    assert!(!is_free(&mut world, "wim"), "he may come back");
    world.pass(minute);
    assert!(is_free(&mut world, "wim"));
}

#[test]
fn nobody_is_me_without_a_token_or_in_another_domain() {
    let mut world = world();
    world.open(1);
    world.browser(1, &register("me", 1, "X-Any: 1"));
    assert_eq!(world.browser_response(1).status.code(), 401);
    let elsewhere = register("me", 2, &bearer(&lasting("zoe", 600)));
    world.browser(
        1,
        &elsewhere.replace("From: \"me\" <sip:me@", "From: <sip:web-1@"),
    );
    world.provide("{}");
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert!(world.core_got_nothing());
}
