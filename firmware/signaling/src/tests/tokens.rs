//! Users who log in by access token: what the core gets, what it never gets, and how a
//! token's end is a registration's.

use std::time::Duration;

use iq::Private;

use super::calls::invite;
use super::registration::register;
use super::world::{Asked, World};
use crate::auth::tests::provider::{self, Signer, claims, key_set, sign};
use crate::auth::{
    FetchFailure, Fetched, IdentityRule, IntrospectionConfig, IssuerConfig, IssuerId, Template,
    Token, TokenRefusal,
};
use crate::config::{Config, HostName, Login, MwConfig, Profile, Tenant, TokenLogin};
use crate::event::{Breach, DeregistrationCause, Event, RegistrationFailure};
use crate::identity::PublicIdentity;
use crate::message::HeaderName;
use crate::{FlowId, Input, TicketId};

const SECOND: Duration = Duration::from_secs(1);
/// The wall clock of these tests.
const NOW: i64 = 1_700_000_000;

fn token(user: &str) -> String {
    lasting(user, 600)
}

pub(super) fn lasting(user: &str, seconds: i64) -> String {
    lasting_with(user, seconds, &[])
}

/// A token with more claims.
pub(super) fn lasting_with(user: &str, seconds: i64, more: &[(&str, String)]) -> String {
    let (exp, iat) = ((NOW + seconds).to_string(), NOW.to_string());
    let sub = format!("\"{user}\"");
    let mut changes = vec![("sub", sub.as_str()), ("exp", &exp), ("iat", &iat)];
    changes.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    sign(Signer::Es256, header, &claims(&changes))
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn world_of(issuer: IssuerConfig) -> World {
    token_world(|config| config.auth.issuers = vec![issuer])
}

/// A world whose users log in by token.
pub(super) fn token_world(change: impl FnOnce(&mut Config)) -> World {
    let template = |text: &str| Template::parse(text).unwrap();
    World::with(|config| {
        config.auth.issuers = vec![provider::config()];
        config.auth.identities = vec![IdentityRule {
            issuer: IssuerId(0),
            when: Vec::new(),
            impi: template("{sub}_web@ims.test"),
            impus: vec![
                template("sip:{sub}@ims.test"),
                template("tel:+390401234567"),
            ],
            pool: None,
            pool_kept: 600 * SECOND,
        }];
        config.tenants[0].login = Login::Token(TokenLogin {
            issuers: vec![IssuerId(0)],
            realm: "gw.test".to_owned(),
        });
        change(config);
    })
}

pub(super) fn world() -> World {
    world_of(provider::config())
}

/// A world in which the box is the P-CSCF.
pub(super) fn mw_world() -> World {
    token_world(|config| {
        config.tenants[0].profile = Profile::Mw(Box::new(MwConfig {
            watches_registrations: false,
            ..MwConfig::new("gw.test")
        }));
    })
}

impl World {
    /// The provider answers everything that it was asked.
    pub(super) fn provide(&mut self, introspection: &str) {
        while let Some((query, request)) = self.asked.pop_front() {
            let body = match request.url.path() {
                "/keys" => key_set(),
                "/introspect" => introspection.to_owned(),
                _ => format!(
                    r#"{{"issuer":"{}","jwks_uri":"https://idp.test/keys",
                    "introspection_endpoint":"https://idp.test/introspect"}}"#,
                    provider::ISSUER
                ),
            };
            let result = Ok(Fetched {
                status: 200,
                max_age: None,
                body: Private::new(body.into()),
            });
            self.input(Input::Fetched { query, result });
        }
    }

    fn failure(&self) -> RegistrationFailure {
        let mut failures = self.events.iter().rev().filter_map(|event| match event {
            Event::RegistrationFailed { reason, .. } => Some(*reason),
            _ => None,
        });
        failures.next().expect("a failed registration")
    }
}

/// Logs a user in; what the core was asked.
pub(super) fn log_in(world: &mut World, flow: u64, user: &str, extra: &str) -> Asked {
    world.open(flow);
    world.browser(flow, &register(user, 1, extra));
    world.provide("{}");
    let asked = world.core_request();
    world.answer(&asked, asked.granted(3600));
    assert_eq!(world.browser_response(flow).status.code(), 200);
    world.forget();
    asked
}

// Conforms: RFC 8898 §4 | Who must log in by token and has none is told by 401 where tokens are to be had.
#[test]
fn a_register_without_a_token_is_told_where_to_get_one() {
    let mut world = world();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 401);
    assert_eq!(
        response.headers.text(&HeaderName::WwwAuthenticate).unwrap(),
        r#"Bearer realm="gw.test", scope="voice", authz_server="https://idp.test/realms/acme""#
    );
    assert!(world.core_got_nothing());
    assert_eq!(world.failure(), RegistrationFailure::TokenMissing);
}

// Conforms: RFC 8898 §2.2 | A token is checked here, and handed on to nobody.
#[test]
fn a_token_s_user_is_registered_by_the_box_and_the_core_sees_no_token() {
    let mut world = world();
    world.open(1);
    let token = token("alice");
    let digest = "Authorization: Digest username=\"mallory\", realm=\"x\", nonce=\"n\", \
         uri=\"sip:ims.test\", response=\"0123\"";
    let extra = format!("{}\n{digest}", bearer(&token));
    world.browser(1, &register("alice", 1, &extra));
    assert!(world.core_got_nothing(), "not before the verdict");
    world.provide("{}");
    let asked = world.core_request();
    let text = String::from_utf8(asked.request.to_bytes().to_vec()).unwrap();
    assert!(!text.contains("eyJ") && !text.contains("Bearer"), "{text}");
    assert!(!text.contains("mallory"), "{text}");
    assert!(text.contains("username=\"alice_web@ims.test\""), "{text}");
    assert!(text.contains("response=\"\""), "{text}");
    world.answer(&asked, asked.granted(3600));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 200);
    let text = String::from_utf8(response.to_bytes().to_vec()).unwrap();
    assert!(
        text.contains("expires=300"),
        "no more than was asked for: {text}"
    );
    let ladder = world.ladder();
    let told = format!("{:?}{ladder}", world.events);
    assert!(!told.contains("eyJ") && !told.contains("alice"), "{told}");
}

// Conforms: TS 33.203 §U | The box vouches to the core for a user whom it has authenticated, by `auth-done`.
#[test]
fn a_p_cscf_vouches_for_a_token_s_user_to_the_core() {
    let mut world = mw_world();
    let asked = log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 100)));
    let vouched = "Digest username=\"alice_web@ims.test\", realm=\"ims.test\", nonce=\"\", \
         uri=\"sip:ims.test\", response=\"\", integrity-protected=\"auth-done\"";
    let said = |asked: &Asked| {
        let text = asked.request.headers.text(&HeaderName::Authorization);
        text.unwrap().to_owned()
    };
    assert_eq!(said(&asked), vouched);
    world.pass(90 * SECOND);
    let farewell = world.core_request();
    assert_eq!(farewell.request.headers.expires().unwrap().unwrap().0, 0);
    assert_eq!(said(&farewell), vouched);
}

// Conforms: RFC 8898 §2.2 | A registration never outlives its token.
#[test]
fn a_registration_ends_before_its_token_and_the_core_is_told() {
    let mut world = mw_world();
    let extra = bearer(&lasting("alice", 100));
    let asked = log_in(&mut world, 1, "alice", &extra);
    assert_eq!(asked.request.headers.expires().unwrap().unwrap().0, 90);
    world.pass(89 * SECOND);
    assert!(world.core_got_nothing());
    world.pass(SECOND);
    let farewell = world.core_request();
    assert_eq!(farewell.request.headers.expires().unwrap().unwrap().0, 0);
    let text = String::from_utf8(farewell.request.to_bytes().to_vec()).unwrap();
    assert!(text.contains("username=\"alice_web@ims.test\""), "{text}");
    world.forget();
    world.browser(1, &invite("alice", "late"));
    assert_eq!(world.browser_response(1).status.code(), 403, "no new calls");

    let mut world = super::tokens::world();
    world.open(1);
    world.browser(1, &register("alice", 1, &bearer(&lasting("alice", 10))));
    world.provide("{}");
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 401);
    let challenge = response.headers.text(&HeaderName::WwwAuthenticate);
    assert!(
        challenge.is_some_and(|it| it.contains("invalid_token")),
        "{challenge:?}"
    );
}

#[test]
fn a_fresh_token_keeps_a_registration_going() {
    let mut world = mw_world();
    log_in(&mut world, 1, "alice", &bearer(&lasting("alice", 100)));
    world.pass(60 * SECOND);
    world.browser(1, &register("alice", 2, &bearer(&lasting("alice", 600))));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(3600));
    world.forget();
    world.pass(60 * SECOND);
    assert!(world.core_got_nothing());
}

#[test]
fn an_evil_token_costs_the_core_nothing() {
    let stranger = sign(
        Signer::Stranger,
        r#"{"alg":"RS256","kid":"rsa"}"#,
        &claims(&[]),
    );
    let evil = [
        (stranger, 401, TokenRefusal::BadSignature),
        (lasting("alice", -40), 401, TokenRefusal::Expired),
        ("rubbish".to_owned(), 401, TokenRefusal::NotThreeParts),
        ("A".repeat(9000), 401, TokenRefusal::TooLong),
    ];
    for (token, status, refusal) in evil {
        let mut world = world();
        world.open(1);
        world.browser(1, &register("alice", 1, &bearer(&token)));
        world.provide("{}");
        assert_eq!(world.browser_response(1).status.code(), status);
        assert_eq!(world.failure(), RegistrationFailure::Token(refusal));
        assert!(world.core_got_nothing());
        assert!(!world.ladder().contains("port1 open"), "no port was opened");
    }
}

#[test]
fn nobody_registers_as_somebody_else() {
    let mut world = world();
    world.open(1);
    world.browser(1, &register("alice", 1, &bearer(&token("bob"))));
    world.provide("{}");
    assert_eq!(world.browser_response(1).status.code(), 403);
    assert_eq!(world.failure(), RegistrationFailure::ForeignIdentity);
    assert!(world.core_got_nothing());
}

#[test]
fn a_token_of_one_tenant_s_issuer_is_nothing_in_another() {
    let mut world = World::with(|config| {
        let next_hop = config.tenants[0].next_hop.clone();
        let other = HostName::parse("other.test").unwrap();
        let mut other = Tenant::new("other", other, next_hop);
        config.auth.issuers = vec![provider::config(), provider::config()];
        config.auth.issuers[1].issuer = crate::auth::HttpsUrl::parse("https://x.test").unwrap();
        other.login = Login::Token(TokenLogin {
            issuers: vec![IssuerId(1)],
            realm: "gw.test".to_owned(),
        });
        config.tenants.push(other);
    });
    world.open(1);
    let text = register("alice", 1, &bearer(&token("alice"))).replace("ims.test", "other.test");
    world.browser(1, &text);
    assert_eq!(world.browser_response(1).status.code(), 401);
    let refusal = RegistrationFailure::Token(TokenRefusal::WrongIssuer);
    assert_eq!(world.failure(), refusal);
}

#[test]
fn a_provider_that_is_away_means_later_and_costs_nobody_his_registration() {
    let mut world = world();
    world.open(1);
    world.browser(1, &register("alice", 1, &bearer(&token("alice"))));
    let (query, _) = world.asked.pop_front().unwrap();
    let result = Err(FetchFailure::Unreachable);
    world.input(Input::Fetched { query, result });
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 503);
    assert!(response.headers.has(&HeaderName::RetryAfter));
    let silent = |event: &Event| matches!(event, Event::ProviderSilent { times: 1, .. });
    assert!(world.events.iter().any(silent));
}

// Conforms: TS 24.371 §7.2.1 | A token in any request must be the one of the connection’s own user.
#[test]
fn a_token_in_another_request_must_be_the_user_s_own() {
    let mut world = world();
    log_in(&mut world, 1, "alice", &bearer(&token("alice")));
    let with = |branch: &str, token: &str| {
        invite("alice", branch).replacen(
            "Content-Type",
            &format!("{}\r\nContent-Type", bearer(token)),
            1,
        )
    };
    world.browser(1, &with("other", &token("bob")));
    assert_eq!(world.browser_response(1).status.code(), 403);
    let breach = |event: &Event| {
        matches!(
            event,
            Event::Security {
                breach: Breach::ForeignToken,
                ..
            }
        )
    };
    assert!(world.events.iter().any(breach));
    assert!(world.core_got_nothing());

    world.browser(1, &with("old", &lasting("alice", -99)));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 401);
    assert!(response.headers.has(&HeaderName::WwwAuthenticate));

    world.forget();
    world.browser(1, &with("own", &token("alice")));
    let sent = world.core_request().request;
    assert!(!sent.headers.has(&HeaderName::Authorization));
    world.browser(1, &with("fresh", &lasting("alice", 500)));
    assert_eq!(world.core_request().request.method.as_str(), "INVITE");
}

#[test]
fn a_token_may_come_in_the_handshake() {
    let mut world = world();
    world.open(1);
    let token = Token::parse(&token("alice")).unwrap();
    let flow = FlowId(1);
    world.input(Input::FlowToken { flow, token });
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    world.provide("{}");
    assert_eq!(world.core_request().request.method.as_str(), "REGISTER");
}

#[test]
fn a_ticket_stands_for_its_token_once() {
    let mut world = world();
    let token = Token::parse(&token("alice")).unwrap();
    let ticket = TicketId(1);
    world.input(Input::TicketWanted { ticket, token });
    world.provide("{}");
    let given = world.tickets.pop().unwrap().unwrap().ticket;
    for flow in [1, 2] {
        world.open(flow);
        let (flow, ticket) = (FlowId(flow), given.clone());
        world.input(Input::FlowTicket { flow, ticket });
    }
    assert!(world.ladder().contains("flow2 closed 4001"));
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    assert_eq!(world.core_request().request.method.as_str(), "REGISTER");

    let token = Token::parse("rubbish").unwrap();
    world.input(Input::TicketWanted { ticket, token });
    assert_eq!(
        world.tickets.pop().unwrap(),
        Err(TokenRefusal::NotThreeParts)
    );
}

// Conforms: RFC 7662 §2.2 | A token that its provider calls inactive ends the registration.
#[test]
fn a_revoked_token_takes_its_registration_along() {
    let mut world = world_of(IssuerConfig {
        introspection: Some(IntrospectionConfig {
            endpoint: None,
            client_id: "gatehouse".to_owned(),
            client_secret: Private::new("secret".to_owned()),
            interval: 60 * SECOND,
        }),
        ..provider::config()
    });
    log_in(&mut world, 1, "alice", &bearer(&token("alice")));
    world.pass(60 * SECOND);
    let exp = NOW + 600;
    let active = claims(&[("active", "true"), ("exp", &exp.to_string()), ("iat", "1")]);
    world.provide(&active);
    assert!(world.core_got_nothing());
    world.pass(60 * SECOND);
    world.provide(r#"{"active":false}"#);
    let farewell = world.core_request();
    assert_eq!(farewell.request.headers.expires().unwrap().unwrap().0, 0);
    assert!(world.ladder().contains("flow1 closed 4003"));
    let cause = |event: &Event| {
        let cause = DeregistrationCause::TokenRevoked;
        matches!(event, Event::Deregistered { cause: c, .. } if *c == cause)
    };
    assert!(world.events.iter().any(cause));
}

#[test]
fn the_administrator_ends_a_user_s_registrations() {
    let mut world = world();
    log_in(&mut world, 1, "alice", &bearer(&token("alice")));
    let identity = PublicIdentity::tel("+390401234567").unwrap();
    world.input(Input::EndRegistrations { identity });
    let farewell = world.core_request();
    assert_eq!(farewell.request.headers.expires().unwrap().unwrap().0, 0);
    assert!(world.ladder().contains("flow1 closed 4003"));
}

// Conforms: TS 33.203 §U.2 | A core that does not take the word of the box is reported, and not asked again.
#[test]
fn a_core_that_challenges_a_proven_user_is_reported_and_not_asked_again() {
    let mut world = mw_world();
    world.open(1);
    world.browser(1, &register("alice", 1, &bearer(&token("alice"))));
    world.provide("{}");
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    let response = world.browser_response(1);
    assert_eq!(response.status.code(), 500);
    assert_eq!(
        &*response.reason,
        "Core Refused Trusted Node Authentication"
    );
    assert!(!response.headers.has(&HeaderName::WwwAuthenticate));
    assert_eq!(world.failure(), RegistrationFailure::CoreDistrusts);
    assert!(world.core_got_nothing());
}

#[test]
fn a_call_that_is_cancelled_while_its_token_is_looked_at_is_not_made() {
    let mut world = world_of(IssuerConfig {
        check: crate::auth::TokenCheck::Introspection,
        introspection: Some(IntrospectionConfig {
            endpoint: crate::auth::HttpsUrl::parse("https://idp.test/introspect"),
            client_id: "gatehouse".to_owned(),
            client_secret: Private::new("secret".to_owned()),
            interval: 600 * SECOND,
        }),
        ..provider::config()
    });
    let exp = NOW + 600;
    let active = claims(&[("active", "true"), ("exp", &exp.to_string()), ("iat", "1")]);
    world.open(1);
    world.browser(1, &register("alice", 1, &bearer("opaque-1")));
    world.provide(&active);
    let asked = world.core_request();
    world.answer(&asked, asked.granted(3600));
    world.forget();
    let invite = invite("alice", "held").replacen(
        "Content-Type",
        &format!("{}\r\nContent-Type", bearer("opaque-2")),
        1,
    );
    world.browser(1, &invite);
    let line = |name: &str| {
        let found = invite
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        found.unwrap().trim().to_owned()
    };
    let cancel = format!(
        "CANCEL sip:carol@ims.test;transport=ws SIP/2.0\n{}\nMax-Forwards: 69\n{}\n{}\n{}\nCSeq: {} CANCEL\nContent-Length: 0",
        line("Via"),
        line("To"),
        line("From"),
        line("Call-ID"),
        line("CSeq").split(' ').nth(1).unwrap()
    );
    world.forget();
    world.browser(1, &cancel);
    let ladder = world.ladder();
    assert!(
        ladder.contains("200 CANCEL") && ladder.contains("487 INVITE"),
        "{ladder}"
    );
    world.provide(&active);
    assert!(world.core_got_nothing());
}
