//! The box as the P-CSCF of a network: one port for all users, and what a core expects to
//! hear from it (TS 24.229 §5.2).

use std::net::SocketAddr;
use std::time::Duration;

use super::calls::{PHONE, inside, invite, with_body};
use super::registration::{credentials, register};
use super::world::{Asked, World, wire};
use crate::config::{ForeignIdentity, HostName, MwConfig, Profile};
use crate::event::{Charging, Event};
use crate::message::{HeaderName, Response};
use crate::reach::{Records, Resolution};
use crate::{EndpointId, Input, OpenFailure, QueryId};

const SECOND: Duration = Duration::from_secs(1);
const SCSCF: &str = "192.0.2.12:6060";
/// The world opens endpoint 1 there.
const BOX: &str = "pcscf.gw.test:6001";

pub(super) fn mw() -> MwConfig {
    MwConfig {
        host: HostName::parse("pcscf.gw.test"),
        watches_registrations: false,
        ..MwConfig::new("gw.test")
    }
}

pub(super) fn world_with(mw: MwConfig) -> World {
    let mut world = World::with(|config| config.tenants[0].profile = Profile::Mw(Box::new(mw)));
    // What is asked for at the start is given with the first input.
    world.open(99);
    assert_eq!(world.ladder(), "0s port1 open\n");
    world
}

fn header<'a>(asked: &'a Asked, name: &HeaderName) -> &'a str {
    asked.request.headers.text(name).unwrap_or_default()
}

/// Logs a user in; the core's Service-Route is looked up.
pub(super) fn log_in(world: &mut World, flow: u64, user: &str) -> Asked {
    world.open(flow);
    world.browser(flow, &register(user, 1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser(flow, &register(user, 2, &credentials(user, "n1")));
    let asked = world.core_request();
    let granted = asked.granted(270);
    let own = format!("<sip:{user}@ims.test>, <tel:+390401234567>");
    let mut granted = granted;
    granted.headers.replace(HeaderName::PAssociatedUri, own);
    world.answer(&asked, granted);
    asked
}

pub(super) fn resolve(world: &mut World, query: u64) {
    world.input(Input::Resolved {
        query: QueryId(query),
        resolution: Resolution::Found {
            records: Records::Addresses(vec![SCSCF.parse::<SocketAddr>().unwrap().ip()]),
            ttl: 60 * SECOND,
        },
    });
}

fn registered(flow: u64, user: &str) -> (World, Asked) {
    let mut world = world_with(mw());
    let asked = log_in(&mut world, flow, user);
    resolve(&mut world, 1);
    world.forget();
    (world, asked)
}

/// The Path that the core was given, as it comes back in a Route.
pub(super) fn path_of(register: &Asked) -> String {
    header(register, &HeaderName::Path).to_owned()
}

/// An INVITE of the S-CSCF's to a registered user.
pub(super) fn incoming(register: &Asked, route: &str, extra: &str) -> String {
    let contact = register.request.headers.contacts().unwrap();
    let target = contact[0].address().unwrap().uri.clone();
    with_body(
        &format!(
            "INVITE {target} SIP/2.0
            Via: SIP/2.0/UDP {SCSCF};branch=z9hG4bKin
            Max-Forwards: 60
            Route: {route}
            Record-Route: <sip:mt@scscf.ims.test:6060;lr>
            To: <sip:alice@ims.test>
            From: <sip:carol@ims.test>;tag=far
            Call-ID: in
            CSeq: 1 INVITE
            Contact: <sip:carol@192.0.2.77:5060>
            {extra}
            Supported: timer"
        ),
        PHONE,
    )
}

pub(super) fn from_scscf(world: &mut World, text: &str) {
    world.from(SCSCF, 1, wire(text).into());
}

#[test]
fn a_register_says_all_that_a_core_wants_of_its_p_cscf() {
    let mut world = world_with(mw());
    world.open(1);
    let forged = "P-Visited-Network-ID: \"evil\"
        P-Charging-Vector: icid-value=1
        P-Access-Network-Info: 3GPP-UTRAN;network-provided
        Path: <sip:evil.test;lr>
        Service-Route: <sip:evil.test;lr>
        P-Asserted-Identity: <sip:boss@ims.test>";
    world.browser(1, &register("alice", 1, forged));
    let first = world.core_request();
    assert_eq!(first.endpoint, EndpointId(1));
    let via = header(&first, &HeaderName::Via);
    assert!(
        via.starts_with(&format!("SIP/2.0/UDP {BOX};branch=z9hG4bK")),
        "{via}"
    );
    let path = header(&first, &HeaderName::Path);
    assert!(path.starts_with("<sip:"), "{path}");
    assert!(path.ends_with(&format!("@{BOX};lr;ob>")), "{path}");
    assert_eq!(header(&first, &HeaderName::Require), "path");
    assert_eq!(
        header(&first, &HeaderName::Supported),
        "path, outbound, gruu"
    );
    assert_eq!(
        header(&first, &HeaderName::PVisitedNetworkId),
        "\"gw.test\""
    );
    assert_eq!(
        header(&first, &HeaderName::PAccessNetworkInfo),
        "IEEE-802.11;network-provided"
    );
    let contact = header(&first, &HeaderName::Contact);
    assert!(contact.contains(&format!("@{BOX}>")), "{contact}");
    assert!(contact.contains(";reg-id=1"), "{contact}");
    let vector = first.request.headers.p_charging_vector().unwrap().unwrap();
    assert_eq!(vector.orig_ioi().as_deref(), Some("gw.test"));
    assert_eq!(vector.params.get("icid-generated-at"), Some("198.51.100.1"));
    let text = String::from_utf8(first.request.to_bytes().to_vec()).unwrap();
    for forged in ["evil", "boss", "3GPP-UTRAN", "invalid", "Service-Route"] {
        assert!(!text.contains(forged), "{forged}: {text}");
    }

    world.answer(&first, first.challenge("n1"));
    world.browser(1, &register("alice", 2, &credentials("alice", "n1")));
    let second = world.core_request();
    let icid = |asked: &Asked| {
        let vector = asked.request.headers.p_charging_vector().unwrap().unwrap();
        vector.icid().unwrap()
    };
    assert_ne!(icid(&first), icid(&second), "each REGISTER has its own");
    assert_eq!(path, header(&second, &HeaderName::Path));
}

#[test]
fn the_box_vouches_for_how_a_user_came_and_nobody_else_does() {
    let mut world = world_with(mw());
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let first = world.core_request();
    let proof = |asked: &Asked| {
        let text = header(asked, &HeaderName::Authorization);
        text.rsplit_once(", ").unwrap().1.to_owned()
    };
    assert_eq!(proof(&first), "integrity-protected=\"tls-pending\"");
    world.answer(&first, first.challenge("n1"));
    let own = credentials("alice", "n1");
    world.browser(1, &register("alice", 2, &own));
    let second = world.core_request();
    let sent = header(&second, &HeaderName::Authorization);
    let as_it_came = sent.strip_suffix(", integrity-protected=\"tls-pending\"");
    assert_eq!(
        as_it_came.map(|text| format!("Authorization: {text}")),
        Some(own)
    );
    world.answer(&second, second.granted(270));
    world.browser(1, &register("alice", 3, &credentials("alice", "n1")));
    let refresh = world.core_request();
    assert_eq!(proof(&refresh), "integrity-protected=\"tls-yes\"");
    world.answer(&refresh, refresh.granted(270));
    // Another connection of the same browser has to be accepted first.
    world.open(2);
    world.browser(2, &register("alice", 4, &credentials("alice", "n1")));
    assert_eq!(
        proof(&world.core_request()),
        "integrity-protected=\"tls-pending\""
    );
    let forged = format!(
        "{}, integrity-protected=\"auth-done\"",
        credentials("bob", "n")
    );
    world.browser(2, &register("bob", 1, &forged));
    let text = header(&world.core_request(), &HeaderName::Authorization).to_owned();
    assert!(
        text.contains("response=\"\""),
        "credentials that claim it do not cross: {text}"
    );
}

#[test]
fn a_call_goes_where_the_service_route_leads_in_the_name_that_is_registered() {
    let (mut world, _) = registered(1, "alice");
    world.browser(1, &invite("boss", "b1"));
    let asked = world.core_request();
    assert_eq!(asked.to, SCSCF.parse().unwrap());
    assert_eq!(
        header(&asked, &HeaderName::Route),
        "<sip:orig@scscf.ims.test:6060;lr>",
        "the browser's own is not followed"
    );
    let own = "<sip:alice@ims.test>";
    assert_eq!(header(&asked, &HeaderName::PAssertedIdentity), own);
    assert!(header(&asked, &HeaderName::From).contains(own));
    assert_eq!(header(&asked, &HeaderName::PEarlyMedia), "supported");
    assert_eq!(
        header(&asked, &HeaderName::PAccessNetworkInfo),
        "IEEE-802.11;network-provided"
    );
    let vector = header(&asked, &HeaderName::PChargingVector).to_owned();
    let text = String::from_utf8(asked.request.to_bytes().to_vec()).unwrap();
    for absent in [
        "boss",
        "P-Preferred-Identity",
        "P-Visited-Network-ID",
        "P-Served-User",
    ] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }

    let accepted = asked
        .response(200)
        .with(HeaderName::Contact, "<sip:carol@192.0.2.77:5060>")
        .with(HeaderName::RecordRoute, "<sip:mo@scscf.ims.test:6060;lr>")
        .with(
            HeaderName::PChargingVector,
            format!("{vector};term-ioi=\"home.test\""),
        )
        .with_body("application/sdp", PHONE.replace('\n', "\r\n").into_bytes());
    world.answer(&asked, accepted);
    let answer = loop {
        let response = world.browser_response(1);
        if response.status.is_success() {
            break response;
        }
    };
    let text = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    for core in ["icid", "home.test", "scscf", "192.0.2", "gw.test"] {
        assert!(!text.contains(core), "{core}: {text}");
    }
    world.browser(1, &inside("ACK", 1, &answer, "b1"));
    assert_eq!(world.core_request().to, SCSCF.parse().unwrap());
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    let bye = world.core_request();
    assert_eq!(bye.to, SCSCF.parse().unwrap());
    assert_eq!(
        header(&bye, &HeaderName::PChargingVector),
        vector,
        "one ICID a dialog"
    );
    world.answer(&bye, bye.response(200));
    let record = world.events.iter().find_map(|event| match event {
        Event::CallEnded(record) => record.charging.clone(),
        _ => None,
    });
    let icid = record
        .as_ref()
        .map(|charging| charging.icid.clone())
        .unwrap();
    assert!(vector.contains(&icid));
    let joined = Charging {
        icid,
        orig_ioi: Some("gw.test".to_owned()),
        term_ioi: Some("home.test".to_owned()),
    };
    assert_eq!(record, Some(joined));
}

#[test]
fn a_name_that_is_not_known_yet_holds_a_call_up_and_one_that_is_not_found_ends_it() {
    for is_found in [true, false] {
        let mut world = world_with(mw());
        log_in(&mut world, 1, "alice");
        world.forget();
        world.browser(1, &invite("alice", "b1"));
        assert!(world.core_got_nothing());
        if is_found {
            resolve(&mut world, 1);
            assert_eq!(world.core_request().to, SCSCF.parse().unwrap());
        } else {
            world.pass(9 * SECOND);
            let last = loop {
                let response = world.browser_response(1);
                if response.status.is_final() {
                    break response;
                }
            };
            assert_eq!(last.status.code(), 504);
            assert!(world.core_got_nothing());
        }
    }
}

#[test]
fn who_wants_to_be_somebody_else_is_refused_where_the_operator_says_so() {
    let mut world = world_with(MwConfig {
        foreign_identity: ForeignIdentity::Refuse,
        ..mw()
    });
    log_in(&mut world, 1, "alice");
    resolve(&mut world, 1);
    world.forget();
    world.browser(1, &invite("boss", "b1"));
    let refused = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(refused.status.code(), 403);
    assert!(world.core_got_nothing());

    let anonymous = invite("alice", "b2").replace(
        "From: \"Alice\" <sip:alice@ims.test>",
        "Privacy: id\r\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    world.browser(1, &anonymous);
    let asked = world.core_request();
    assert!(header(&asked, &HeaderName::From).contains("anonymous@anonymous.invalid"));
    assert_eq!(header(&asked, &HeaderName::Privacy), "id");
    assert_eq!(
        header(&asked, &HeaderName::PAssertedIdentity),
        "<sip:alice@ims.test>",
        "the core knows him"
    );

    // Browsers say beside it who they are.
    let named = anonymous
        .replace(
            "Privacy: id",
            "Privacy: id\r\nP-Preferred-Identity: <sip:alice@ims.test>",
        )
        .replace("b2", "b3");
    world.forget();
    world.browser(1, &named);
    let asked = world.core_request();
    assert!(header(&asked, &HeaderName::From).contains("anonymous@anonymous.invalid"));
    let boss = named
        .replace(
            "P-Preferred-Identity: <sip:alice",
            "P-Preferred-Identity: <sip:boss",
        )
        .replace("b3", "b4");
    world.forget();
    world.browser(1, &boss);
    let refused = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(refused.status.code(), 403);
}

#[test]
fn a_call_finds_its_user_by_the_token_in_the_path() {
    let (mut world, alice) = registered(1, "alice");
    let bob = log_in(&mut world, 2, "bob");
    world.forget();
    let extra = "P-Charging-Vector: icid-value=\"far-1\";icid-generated-at=192.0.2.12;orig-ioi=\"home.test\"
        P-Called-Party-ID: <tel:+390401234567>
        P-Asserted-Identity: <sip:carol@ims.test>";
    from_scscf(&mut world, &incoming(&alice, &path_of(&bob), extra));
    let got = world.browser_request(2);
    assert_eq!(got.headers.to().unwrap().uri.as_str(), "tel:+390401234567");
    let text = String::from_utf8(got.to_bytes().to_vec()).unwrap();
    for core in ["icid", "home.test", "scscf", "192.0.2.12", "gw.test"] {
        assert!(!text.contains(core), "{core}: {text}");
    }
    assert!(
        text.contains("P-Asserted-Identity: <sip:carol@ims.test>"),
        "{text}"
    );
    world.browser(2, &ringing(&got));
    let ringing = loop {
        let response = world.core_response();
        if response.status.code() == 180 {
            break response;
        }
    };
    assert_eq!(
        ringing.headers.text(&HeaderName::PChargingVector),
        Some(
            "icid-value=\"far-1\";icid-generated-at=192.0.2.12;orig-ioi=\"home.test\";term-ioi=\"gw.test\""
        )
    );
    assert_eq!(
        ringing.headers.text(&HeaderName::PAssertedIdentity),
        Some("<sip:bob@ims.test>")
    );
    assert_eq!(
        ringing.headers.text(&HeaderName::PAccessNetworkInfo),
        Some("IEEE-802.11;network-provided")
    );
}

fn ringing(invite: &crate::message::Request) -> String {
    let value = |name| invite.headers.text(&name).unwrap();
    format!(
        "SIP/2.0 180 Ringing
        Via: {}
        To: {};tag=near
        From: {}
        Call-ID: {}
        CSeq: 1 INVITE
        Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws>
        Content-Length: 0",
        value(HeaderName::Via),
        value(HeaderName::To),
        value(HeaderName::From),
        value(HeaderName::CallId),
    )
}

#[test]
fn a_token_that_was_made_up_or_whose_browser_is_gone_leads_to_nobody() {
    let (mut world, alice) = registered(1, "alice");
    let path = path_of(&alice);
    let status = |world: &mut World| {
        let response: Response = loop {
            let response = world.core_response();
            if response.status.is_final() {
                break response;
            }
        };
        world.forget();
        response.status.code()
    };
    let changed = path.replacen("<sip:A", "<sip:B", 1);
    assert_ne!(changed, path);
    for (route, expected) in [
        (changed.as_str(), 403),
        ("<sip:term@pcscf.gw.test:6001;lr>", 403),
        ("<sip:pcscf.gw.test:6001;lr>", 404),
    ] {
        from_scscf(&mut world, &incoming(&alice, route, "X-Any: 1"));
        assert_eq!(status(&mut world), expected, "{route}");
        world.pass(40 * SECOND);
        world.forget();
    }
    world.closed(1);
    from_scscf(&mut world, &incoming(&alice, &path, "X-Any: 1"));
    assert_eq!(status(&mut world), 430, "the S-CSCF may try another flow");
}

#[test]
fn who_has_signed_off_is_not_there_even_if_the_core_still_thinks_so() {
    let (mut world, alice) = registered(1, "alice");
    let farewell = register("alice", 3, &credentials("alice", "n1"));
    world.browser(1, &farewell.replace("expires=600", "expires=0"));
    let asked = world.core_request();
    world.answer(&asked, asked.response(200));
    world.forget();
    from_scscf(&mut world, &incoming(&alice, &path_of(&alice), "X-Any: 1"));
    assert_eq!(world.core_response().status.code(), 480);
}

#[test]
fn only_the_core_is_listened_to_and_the_service_route_says_who_that_is() {
    let mut world = world_with(mw());
    let alice = log_in(&mut world, 1, "alice");
    from_scscf(&mut world, &incoming(&alice, &path_of(&alice), "X-Any: 1"));
    assert_eq!(world.signaling.counters().ims_untrusted, 1);
    resolve(&mut world, 1);
    from_scscf(&mut world, &incoming(&alice, &path_of(&alice), "X-Any: 1"));
    assert_eq!(world.signaling.counters().ims_untrusted, 1);
    world.browser_request(1);
    world.from("192.0.2.66:5060", 1, wire("OPTIONS sip:a SIP/2.0").into());
    assert_eq!(world.signaling.counters().ims_untrusted, 2);
}

#[test]
fn the_shared_port_is_asked_for_again_until_it_is_there() {
    let mut world = World::with(|config| {
        config.tenants[0].profile = Profile::Mw(Box::new(mw()));
    });
    world.answers_open = false;
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    assert!(world.core_got_nothing());
    world.input(Input::OpenFailed {
        endpoint: EndpointId(1),
        reason: OpenFailure::Refused,
    });
    world.answers_open = true;
    world.pass(5 * SECOND);
    assert_eq!(
        world.ladder(),
        "0s port1 open\n5s port1 open\n5s port1 -> UDP REGISTER\n"
    );
}

#[test]
fn early_media_is_heard_when_the_network_grants_it_and_not_before() {
    let (mut world, _) = registered(1, "alice");
    world.browser(1, &invite("alice", "b1"));
    let asked = world.core_request();
    let body = PHONE.replace('\n', "\r\n").into_bytes();
    let progress = asked
        .response(183)
        .with(HeaderName::Contact, "<sip:carol@192.0.2.77:5060>")
        .with_body("application/sdp", body);
    world.answer(&asked, progress.clone());
    let ringing = next_progress(&mut world);
    assert_eq!((ringing.status.code(), ringing.body.len()), (180, 0));
    let granted = progress.with(HeaderName::PEarlyMedia, "sendrecv");
    world.answer(&asked, granted);
    let early = next_progress(&mut world);
    assert_eq!(early.status.code(), 183);
    assert!(!early.body.is_empty());
    assert!(!early.headers.has(&HeaderName::PEarlyMedia));
}

fn next_progress(world: &mut World) -> Response {
    loop {
        let response = world.browser_response(1);
        if response.status.code() > 100 {
            break response;
        }
    }
}
