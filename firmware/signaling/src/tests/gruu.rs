//! Flows and devices: what a browser is granted besides its time, and what the core calls it.

use super::calls::invite;
use super::mw::{mw, world_with};
use super::registration::{credentials, register};
use super::world::{Asked, World};
use crate::message::{HeaderName, Response};

const PUBLIC: &str = "sip:alice@ims.test;gr=urn:uuid:alice-1";
const TEMPORARY: &str = "sip:tgruu.7hs==jd7vnzga5w@ims.test;gr";

/// What a registrar that knows devices and flows says.
fn granted(asked: &Asked) -> Response {
    let contacts = asked.request.headers.contacts().unwrap();
    let uri = contacts[0].address().unwrap().uri.clone();
    let mut response = asked.granted(270);
    response.headers.remove(&HeaderName::Contact);
    response.with(
        HeaderName::Contact,
        format!(
            "<sip:other@203.0.113.1>;expires=9;pub-gruu=\"sip:alice@ims.test;gr=other\", \
             <{uri}>;expires=270;pub-gruu=\"{PUBLIC}\";temp-gruu=\"{TEMPORARY}\""
        ),
    )
}

fn log_in_with(world: &mut World, supported: &str) -> (Asked, Response) {
    let register =
        |cseq, extra: &str| register("alice", cseq, extra).replace("path,gruu,outbound", supported);
    world.open(1);
    world.browser(1, &register(1, "X-Any: 1"));
    let asked = world.core_request();
    world.answer(&asked, asked.challenge("n1"));
    world.browser_response(1);
    world.browser(1, &register(2, &credentials("alice", "n1")));
    let asked = world.core_request();
    world.answer(&asked, granted(&asked));
    let answer = world.browser_response(1);
    (asked, answer)
}

fn text(response: &Response, name: &HeaderName) -> String {
    response.headers.text(name).unwrap_or_default().to_owned()
}

// Conforms: RFC 5627 §5.3 | The names that the core gives one device are asked for and told to its browser.
// Conforms: RFC 5626 §6 | A browser that registers a flow hears that flows are kept, and how often to be heard.
#[test]
fn a_browser_hears_of_its_flow_and_of_the_names_of_its_device() {
    let mut world = World::new();
    let (asked, answer) = log_in_with(&mut world, "path,gruu,outbound");
    let supported = asked.request.headers.text(&HeaderName::Supported).unwrap();
    assert_eq!(supported, "path, gruu");
    let contact = text(&answer, &HeaderName::Contact);
    assert!(
        contact.contains(&format!("pub-gruu=\"{PUBLIC}\";temp-gruu=\"{TEMPORARY}\"")),
        "{contact}"
    );
    assert_eq!(text(&answer, &HeaderName::Require), "outbound");
    assert_eq!(text(&answer, &HeaderName::FlowTimer), "120");
}

#[test]
fn a_browser_that_knows_neither_hears_of_neither() {
    let mut world = World::new();
    let (asked, answer) = log_in_with(&mut world, "path");
    let supported = asked.request.headers.text(&HeaderName::Supported).unwrap();
    assert_eq!(supported, "path");
    assert!(!text(&answer, &HeaderName::Contact).contains("gruu"));
    assert!(!answer.headers.has(&HeaderName::Require));
    assert!(!answer.headers.has(&HeaderName::FlowTimer));
    world.browser(1, &invite("alice", "b1"));
    assert!(contact_of_call(&mut world).starts_with("<sip:"));
}

// Conforms: RFC 5627 §4.4 | Calls of a device go out under its own name, those of an anonymous caller under one that does not say whose it is.
#[test]
fn a_call_goes_out_under_the_name_of_the_device() {
    let mut world = World::new();
    log_in_with(&mut world, "path,gruu,outbound");
    world.browser(1, &invite("alice", "b1"));
    assert_eq!(contact_of_call(&mut world), format!("<{PUBLIC}>"));
    let anonymous = invite("alice", "b2").replace(
        "From: \"Alice\" <sip:alice@ims.test>",
        "Privacy: id\r\nFrom: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    world.browser(1, &anonymous);
    assert_eq!(contact_of_call(&mut world), format!("<{TEMPORARY}>"));
}

fn contact_of_call(world: &mut World) -> String {
    let asked = world.core_request();
    asked
        .request
        .headers
        .text(&HeaderName::Contact)
        .unwrap()
        .to_owned()
}

// Conforms: RFC 5626 §5.1 | Where the core is the registrar, only it can say that flows are kept.
#[test]
fn a_p_cscf_says_of_flows_what_its_registrar_says() {
    for (required, expected) in [(None, ""), (Some("outbound"), "outbound")] {
        let mut world = world_with(mw());
        world.open(1);
        world.browser(1, &register("alice", 1, &credentials("alice", "n1")));
        let asked = world.core_request();
        let mut answer = asked.granted(270);
        if let Some(required) = required {
            answer.headers.push(HeaderName::Require, required);
        }
        world.answer(&asked, answer);
        let told = world.browser_response(1);
        assert_eq!(told.status.code(), 200);
        assert_eq!(text(&told, &HeaderName::Require), expected);
    }
}
