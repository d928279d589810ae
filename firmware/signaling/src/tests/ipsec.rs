//! Users whose messages go by IPsec (TS 33.203 §7): what goes in the open, what by which
//! associations, and that none is left.

use std::time::Duration;

use super::calls::{accepted, call, from_core, inside, invite};
use super::registration::register;
use super::tokens::{lasting_with, token_world};
use super::world::{Asked, CORE, World, wire};
use crate::auth::aka::tests::{nonce, user};
use crate::auth::{Credential, Token};
use crate::config::{IpsecConfig, Security};
use crate::event::{Event, RegistrationFailure};
use crate::message::{HeaderName, Response};
use crate::sec_agree::{Cipher, Disagreement, SecurityFailure};
use crate::{EndpointId, FlowId, Input, SaFailure};

const SECOND: Duration = Duration::from_secs(1);

/// The port of what nothing protects, alice's port-us, and her first two port-uc.
const OPEN: EndpointId = EndpointId(1);
const SERVER: EndpointId = EndpointId(2);
const CLIENT: EndpointId = EndpointId(3);
const NEXT: EndpointId = EndpointId(4);

/// A world whose users have ISIMs and whose P-CSCF wants IPsec; `alice` is on connection 1.
fn world() -> World {
    world_with(Credential::Isim(Box::new(user())))
}

fn world_with(credential: Credential) -> World {
    let mut world = token_world(|config| {
        config.tenants[0].security = Security::Ipsec(IpsecConfig {
            port: 5060,
            ciphers: vec![Cipher::AesCbc, Cipher::Null],
        });
    });
    let impi = "alice_web@ims.test".to_owned();
    world.credentials.insert(impi, credential);
    world.open(1);
    let token = Token::parse(&lasting_with("alice", 7200, &[])).unwrap();
    let flow = FlowId(1);
    world.input(Input::FlowToken { flow, token });
    world
}

/// Sends the browser's REGISTER, and fetches the provider's keys for it.
fn begin(world: &mut World) -> Asked {
    world.browser(1, &register("alice", 1, ""));
    world.provide("{}");
    world.core_request()
}

/// A challenge of the network's, the P-CSCF's ports being these.
fn challenge(asked: &Asked, sqn: u64, port: u16) -> Response {
    let digest = format!(
        r#"Digest realm="ims.test", nonce="{}", algorithm=AKAv1-MD5, qop="auth""#,
        nonce(sqn)
    );
    let server = format!(
        "ipsec-3gpp;q=0.1;prot=esp;mod=trans;spi-c={};spi-s={};port-c={port};port-s=5200;\
         alg=hmac-sha-1-96;ealg=aes-cbc",
        20_000 + u32::from(port),
        30_000 + u32::from(port),
    );
    let response = asked.response(401);
    response
        .with(HeaderName::WwwAuthenticate, digest)
        .with(HeaderName::SecurityServer, server)
}

/// Answers come to port-us from the P-CSCF's client port.
fn answer(world: &mut World, response: &Response, port: u16) {
    let from = format!("192.0.2.10:{port}");
    world.from(&from, SERVER.0, response.to_bytes());
}

/// Logs alice in; returns what the core was asked inside the associations.
fn log_in(world: &mut World, granted: u32) -> Asked {
    let first = begin(world);
    world.answer(&first, challenge(&first, 32, 5101));
    let second = world.core_request();
    answer(world, &second.granted(granted), 5101);
    assert_eq!(world.browser_response(1).status.code(), 200);
    second
}

fn text(asked: &Asked, name: HeaderName) -> String {
    let found = asked.request.headers.items(&name);
    found.map(Result::unwrap).collect::<Vec<_>>().join(" | ")
}

fn insecure(world: &World) -> Option<SecurityFailure> {
    world.events.iter().find_map(|event| match event {
        Event::RegistrationFailed {
            reason: RegistrationFailure::Security(failure),
            ..
        } => Some(*failure),
        _ => None,
    })
}

// Conforms: RFC 3329 §2.3.1 | The first REGISTER proposes security in the open; what follows says back what the proxy answered.
#[test]
fn the_first_register_proposes_in_the_open_and_the_second_goes_by_ipsec() {
    let mut world = world();
    let first = begin(&mut world);
    assert_eq!((first.endpoint, first.to), (OPEN, CORE.parse().unwrap()));
    let via = first.request.headers.via().unwrap();
    assert_eq!(via.port, Some(6001), "{via:?}");
    let contact = text(&first, HeaderName::Contact);
    assert!(contact.contains("@198.51.100.1:6002>"), "{contact}");
    let proposed = text(&first, HeaderName::SecurityClient);
    assert!(
        proposed.contains("ealg=aes-cbc") && proposed.contains("ealg=null"),
        "{proposed}"
    );
    assert!(proposed.contains("port-c=6003;port-s=6002"), "{proposed}");
    assert_eq!(text(&first, HeaderName::Require), "sec-agree");
    assert_eq!(text(&first, HeaderName::ProxyRequire), "sec-agree");
    assert!(text(&first, HeaderName::Supported).contains("sec-agree"));
    assert_eq!(text(&first, HeaderName::SecurityVerify), "");

    let asked = challenge(&first, 32, 5101);
    world.answer(&first, asked.clone());
    let second = world.core_request();
    let protected = "192.0.2.10:5200".parse().unwrap();
    assert_eq!((second.endpoint, second.to), (CLIENT, protected));
    let via = second.request.headers.via().unwrap();
    assert_eq!(via.port, Some(6002), "answers come to port-us");
    assert_eq!(text(&second, HeaderName::SecurityClient), proposed);
    let server = asked.headers.text(&HeaderName::SecurityServer).unwrap();
    assert_eq!(text(&second, HeaderName::SecurityVerify), server);
    assert_eq!(text(&second, HeaderName::Require), "sec-agree");

    answer(&mut world, &second.granted(600), 5101);
    assert_eq!(world.browser_response(1).status.code(), 200);
    assert_eq!(world.associations.len(), 1);
    let ladder = world.ladder();
    assert!(ladder.contains("port3 sa lasts 630s"), "{ladder}");
}

#[test]
fn calls_go_to_the_protected_port_and_say_back_what_was_agreed() {
    let mut world = world();
    log_in(&mut world, 600);
    world.browser(1, &invite("alice", "out"));
    let asked = world.core_request();
    let protected = "192.0.2.10:5200".parse().unwrap();
    assert_eq!((asked.endpoint, asked.to), (CLIENT, protected));
    assert!(text(&asked, HeaderName::SecurityVerify).contains("spi-s=35101"));
    assert!(text(&asked, HeaderName::Require).contains("sec-agree"));
    assert_eq!(text(&asked, HeaderName::ProxyRequire), "sec-agree");
    let route = text(&asked, HeaderName::Route);
    assert!(route.starts_with("<sip:192.0.2.10:5200;lr>"), "{route}");
    answer(&mut world, &accepted(&asked), 5101);
    let ok = world.browser_response(1);
    world.browser(1, &inside("ACK", 1, &ok, "ack"));
    let ack = world.core_request();
    assert_eq!((ack.endpoint, ack.to), (CLIENT, protected));
    assert_eq!(text(&ack, HeaderName::SecurityVerify), "", "RFC 3329 §2.6");
}

// Conforms: TS 33.203 §7.4 | Each authentication makes new associations from another client port before the old ones go.
#[test]
fn a_refresh_makes_new_associations_and_a_call_moves_to_them() {
    let mut world = world();
    log_in(&mut world, 200);
    let (call, _) = call(&mut world, 1, "alice");
    world.forget();
    world.pass(100 * SECOND);
    let refresh = world.core_request();
    assert_eq!(refresh.endpoint, CLIENT, "by those that stand");
    let proposed = text(&refresh, HeaderName::SecurityClient);
    assert!(proposed.contains("port-c=6004;port-s=6002"), "{proposed}");
    assert!(text(&refresh, HeaderName::SecurityVerify).contains("port-c=5101"));
    answer(&mut world, &challenge(&refresh, 64, 5102), 5101);
    let proof = world.core_request();
    assert_eq!(proof.endpoint, NEXT);
    assert_eq!(world.associations.len(), 2, "before the old ones break");
    assert!(text(&proof, HeaderName::SecurityVerify).contains("port-c=5102"));
    answer(&mut world, &proof.granted(600), 5102);

    let hang_up = from_core("BYE", &call, 1);
    world.from("192.0.2.10:5102", SERVER.0, wire(&hang_up).into());
    let (answer, to) = world.core_response_to();
    assert_eq!(answer.headers.cseq().unwrap().method.to_string(), "BYE");
    assert_eq!(
        to,
        "192.0.2.10:5102".parse().unwrap(),
        "whatever its Via says"
    );
    assert_eq!(world.browser_request(1).method.to_string(), "BYE");
    world.pass(31 * SECOND);
    assert_eq!(world.associations.len(), 2, "old transactions may end");
    world.pass(SECOND);
    assert_eq!(
        world.associations.keys().copied().collect::<Vec<_>>(),
        [NEXT]
    );
    let ladder = world.ladder();
    assert!(ladder.contains("port3 close"), "{ladder}");
}

// Conforms: TS 24.229 §5.1.1.6 | After the de-registration no association is left.
#[test]
fn who_logs_out_leaves_no_association() {
    let mut world = world();
    log_in(&mut world, 600);
    let out = register("alice", 2, "").replace("expires=600", "expires=0");
    world.browser(1, &out);
    let farewell = world.core_request();
    assert_eq!(farewell.endpoint, CLIENT);
    answer(&mut world, &challenge(&farewell, 64, 5102), 5101);
    let proof = world.core_request();
    assert_eq!(proof.endpoint, NEXT);
    answer(&mut world, &proof.granted(0), 5102);
    assert_eq!(world.browser_response(1).status.code(), 200);
    assert!(world.associations.is_empty());
    let ladder = world.ladder();
    assert!(
        ladder.contains("port3 close") && ladder.contains("port4 close"),
        "{ladder}"
    );
}

#[test]
fn a_p_cscf_that_forgot_the_associations_is_asked_again_in_the_open() {
    let mut world = world();
    log_in(&mut world, 200);
    world.pass(100 * SECOND);
    assert_eq!(world.core_request().endpoint, CLIENT);
    world.forget();
    world.pass(9 * SECOND);
    let open = loop {
        let asked = world.core_request();
        if asked.endpoint == OPEN {
            break asked;
        }
    };
    assert_eq!(text(&open, HeaderName::SecurityVerify), "");
    world.answer(&open, challenge(&open, 64, 5102));
    let proof = loop {
        let asked = world.core_request();
        if asked.endpoint == NEXT {
            break asked;
        }
    };
    answer(&mut world, &proof.granted(600), 5102);
    world.pass(60 * SECOND);
    assert_eq!(
        world.associations.keys().copied().collect::<Vec<_>>(),
        [NEXT]
    );
}

#[test]
fn without_an_agreement_nobody_is_registered_and_it_is_said_why() {
    type Answer = fn(&Asked) -> Response;
    let refusals: [(Answer, SecurityFailure); 5] = [
        (
            |asked| {
                let mut response = challenge(asked, 32, 5101);
                response.headers.remove(&HeaderName::SecurityServer);
                response
            },
            SecurityFailure::Disagreement(Disagreement::NothingInCommon),
        ),
        (
            |asked| {
                let mut response = challenge(asked, 32, 5101);
                let broken = "ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;spi-c=1;spi-s=2";
                response.headers.replace(HeaderName::SecurityServer, broken);
                response
            },
            SecurityFailure::Disagreement(Disagreement::Broken),
        ),
        (|asked| asked.response(494), SecurityFailure::Refused),
        (|asked| asked.response(421), SecurityFailure::Refused),
        (
            |asked| {
                let response = asked.response(420);
                response.with(HeaderName::Unsupported, "sec-agree")
            },
            SecurityFailure::Unknown,
        ),
    ];
    for (response, expected) in refusals {
        let mut world = world();
        let first = begin(&mut world);
        world.answer(&first, response(&first));
        let refused = world.browser_response(1);
        assert_eq!(refused.status.code(), 500, "{expected:?}");
        assert_eq!(&*refused.reason, "No Security Agreement");
        assert_eq!(insecure(&world), Some(expected));
        assert!(world.core_got_nothing() && world.associations.is_empty());
    }
}

#[test]
fn a_password_makes_no_keys() {
    let password = zeroize::Zeroizing::new("alice-secret".to_owned());
    let mut world = world_with(Credential::Password(password));
    let first = begin(&mut world);
    world.answer(&first, first.challenge("n1"));
    assert_eq!(world.browser_response(1).status.code(), 500);
    assert_eq!(insecure(&world), Some(SecurityFailure::NoKeys));
}

#[test]
fn a_kernel_without_esp_sends_nothing_in_the_open() {
    let mut world = world();
    world.kernel = Err(SaFailure::Unsupported);
    let first = begin(&mut world);
    world.answer(&first, challenge(&first, 32, 5101));
    assert_eq!(world.browser_response(1).status.code(), 500);
    let failure = SecurityFailure::Sa(SaFailure::Unsupported);
    assert_eq!(insecure(&world), Some(failure));
    assert!(world.core_got_nothing());
}

#[test]
fn a_p_cscf_that_wants_an_agreement_where_there_is_none_is_named() {
    let mut world = World::new();
    world.open(1);
    world.browser(1, &register("alice", 1, ""));
    let first = world.core_request();
    world.answer(&first, first.response(421));
    assert_eq!(world.browser_response(1).status.code(), 500);
    assert_eq!(insecure(&world), Some(SecurityFailure::Demanded));
}

#[test]
fn a_restart_keeps_nothing_that_associations_protected() {
    let mut world = world();
    log_in(&mut world, 600);
    let restored = world.restart(SECOND, true);
    assert_eq!((restored.registrations, restored.calls), (0, 0));
}
