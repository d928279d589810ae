//! Several networks on one box.

use super::registration::register;
use super::world::{CORE, OTHER_CORE, World, wire};
use crate::SipTransport;
use crate::config::{HostName, NextHop, Tenant};
use crate::message::HeaderName;

fn two_networks() -> World {
    World::with(|config| {
        let hop = NextHop::address(OTHER_CORE.parse().unwrap(), SipTransport::Tcp);
        let domain = HostName::parse("other.test").unwrap();
        let mut other = Tenant::new("other", domain, hop);
        other.passed_headers = vec!["X-Ticket".to_owned()];
        other.registration.count = 1;
        config.tenants.push(other);
    })
}

fn register_at_other(user: &str) -> String {
    register(user, 1, "X-Ticket: 17").replace("ims.test", "other.test")
}

#[test]
fn a_users_domain_says_which_network_he_is_taken_to_and_by_which_rules() {
    let mut world = two_networks();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Ticket: 17"));
    let ticket = HeaderName::from_static("X-Ticket");
    let asked = world.core_request();
    assert_eq!(
        (asked.to, asked.transport),
        (CORE.parse().unwrap(), SipTransport::Udp)
    );
    assert_eq!(asked.request.headers.text(&ticket), None);

    world.open(2);
    world.browser(2, &register_at_other("bob"));
    let asked = world.core_request();
    let hop = (OTHER_CORE.parse().unwrap(), SipTransport::Tcp);
    assert_eq!((asked.to, asked.transport), hop);
    assert_eq!(asked.request.headers.text(&ticket), Some("17"));
}

#[test]
fn one_networks_core_has_no_say_in_another() {
    let mut world = two_networks();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    let options = "OPTIONS sip:a@198.51.100.1 SIP/2.0
        Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKo
        Max-Forwards: 70
        From: <sip:x@other.test>;tag=x
        To: <sip:a@ims.test>
        Call-ID: o
        CSeq: 1 OPTIONS
        Content-Length: 0";
    world.from(OTHER_CORE, 1, wire(options).into());
    assert_eq!(world.signaling.counters().ims_untrusted, 1);
    world.from(CORE, 1, wire(options).into());
    assert_eq!(world.signaling.counters().ims_untrusted, 1);
}

#[test]
fn a_full_network_leaves_room_in_the_other() {
    let mut world = two_networks();
    for (flow, user) in [(1, "bob"), (2, "carol")] {
        world.open(flow);
        world.browser(flow, &register_at_other(user));
    }
    assert_eq!(world.browser_response(2).status.code(), 503);
    world.open(3);
    world.browser(3, &register("alice", 1, "X-Any: 1"));
    assert_eq!(world.core_request().to, OTHER_CORE.parse().unwrap());
    assert_eq!(world.core_request().to, CORE.parse().unwrap());
}
