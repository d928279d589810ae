//! Which server of the core a request goes to, and what follows from its silence.

use std::time::Duration;

use super::calls::{accepted, inside, invite};
use super::registration::{log_in, register};
use super::world::World;
use crate::config::{Host, HostName};
use crate::event::Event;
use crate::message::{HeaderName, Method, StatusCode};
use crate::reach::{Question, RecordKind, Records, Srv, Standing};

const SECOND: Duration = Duration::from_secs(1);
const ONE: &str = "192.0.2.10:5060";
const TWO: &str = "192.0.2.11:5060";

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// A core of two servers behind SRV records, the first preferred.
fn two_servers() -> World {
    let mut world = World::with(|config| {
        let next_hop = &mut config.tenants[0].next_hop;
        next_hop.host = Host::Name(name("ims.test"));
        next_hop.port = None;
        config.tenants[0].probes = true;
    });
    world.answers_names = true;
    let mut know = |owner: &str, kind, records| {
        let name = name(owner);
        world.names.insert(Question { name, kind }, records);
    };
    let server = |priority, target: &str| Srv {
        priority,
        weight: 1,
        port: 5060,
        target: name(target),
    };
    let servers = vec![server(2, "two.test"), server(1, "one.test")];
    know("_sip._udp.ims.test", RecordKind::Srv, Records::Srv(servers));
    for (host, last) in [("one.test", 10), ("two.test", 11)] {
        let address = Records::Addresses(vec![[192, 0, 2, last].into()]);
        know(host, RecordKind::A, address);
    }
    world
}

/// How servers were said to stand, one after the other.
fn standings(world: &World) -> Vec<(String, Standing)> {
    let told = world.events.iter().filter_map(|event| match event {
        Event::NextHopStands { hop, standing } => Some((hop.address.to_string(), *standing)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_domain_without_a_port_is_looked_up_and_its_preferred_server_taken() {
    let mut world = two_servers();
    world.open(1);
    world.browser(1, &register("alice", 1, "X-Any: 1"));
    assert_eq!(world.core_request().to.to_string(), ONE);
    let asked: Vec<String> = world
        .ladder()
        .lines()
        .filter_map(|line| Some(line.split_once("resolve")?.1.to_owned()))
        .collect();
    assert_eq!(
        asked,
        [
            "1 Naptr ims.test",
            "2 Srv _sip._udp.ims.test",
            "3 A one.test",
            "4 A two.test"
        ]
    );
}

#[test]
fn an_invite_that_nobody_answers_goes_to_the_next_server_after_four_seconds() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let first = world.core_request();
    assert_eq!(first.to.to_string(), ONE);
    world.pass(4 * SECOND);
    let second = loop {
        let asked = world.core_request();
        if asked.to.to_string() == TWO {
            break asked;
        }
    };
    let route = |asked: &super::world::Asked| {
        let routes = asked.request.headers.routes().unwrap();
        routes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(route(&first)[0], "<sip:192.0.2.10:5060;lr>");
    assert_eq!(route(&second)[0], "<sip:192.0.2.11:5060;lr>");
    assert_eq!(route(&first)[1..], route(&second)[1..]);
    assert_eq!(standings(&world), [(ONE.to_owned(), Standing::Suspect)]);
    assert_eq!(world.signaling.counters().next_hop_failovers, 1);

    // What belongs to the call stays with the server that took it.
    let answer = accepted(&second);
    let answer = {
        let mut answer = answer;
        answer
            .headers
            .replace(HeaderName::RecordRoute, "<sip:192.0.2.11:5060;lr>");
        answer
    };
    world.answer(&second, answer);
    let answer = loop {
        let response = world.browser_response(1);
        if response.status.is_success() {
            break response;
        }
    };
    world.browser(1, &inside("ACK", 1, &answer, "b1"));
    assert_eq!(world.core_request().to.to_string(), TWO);
    world.browser(1, &inside("BYE", 2, &answer, "b1"));
    let bye = world.core_request();
    assert_eq!(
        (bye.to.to_string().as_str(), &bye.request.method),
        (TWO, &Method::Bye)
    );

    // What the first server says after all is cancelled.
    world.forget();
    world.answer(&first, first.response(180));
    let cancel = world.core_request();
    assert_eq!(
        (cancel.to.to_string().as_str(), &cancel.request.method),
        (ONE, &Method::Cancel)
    );
}

#[test]
fn a_late_answer_of_the_first_server_is_a_branch_of_the_same_call() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let first = world.core_request();
    world.pass(4 * SECOND);
    world.forget();
    world.answer(&first, accepted(&first));
    let answer = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(answer.status, StatusCode::OK);
}

#[test]
fn a_503_moves_the_call_on_and_its_server_is_left_alone_for_as_long_as_it_says() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let first = world.core_request();
    world.answer(&first, first.response(503).with(HeaderName::RetryAfter, 30));
    assert_eq!(world.core_request().request.method, Method::Ack);
    let second = world.core_request();
    assert_eq!(second.to.to_string(), TWO);
    world.answer(&second, second.response(486));
    assert_eq!(standings(&world), [(ONE.to_owned(), Standing::Down)]);
    let busy = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(busy.status, StatusCode::BUSY_HERE);

    // The next call does not even try the one that rests.
    world.forget();
    world.browser(1, &invite("alice", "b2"));
    assert_eq!(world.core_request().to.to_string(), TWO);
}

#[test]
fn when_every_server_rests_the_browser_hears_500_and_when_to_come_back() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    for _ in 0..2 {
        let asked = loop {
            let asked = world.core_request();
            if asked.request.method == Method::Invite {
                break asked;
            }
        };
        world.answer(&asked, asked.response(503).with(HeaderName::RetryAfter, 30));
    }
    let failed = loop {
        let response = world.browser_response(1);
        if response.status.is_final() {
            break response;
        }
    };
    assert_eq!(failed.status, StatusCode::SERVER_INTERNAL_ERROR);
    assert!(failed.headers.has(&HeaderName::RetryAfter));
    world.forget();
    world.browser(1, &invite("alice", "b2"));
    let refused = world.browser_response(1);
    assert_eq!(refused.status, StatusCode::SERVER_INTERNAL_ERROR);
    let after = refused.headers.retry_after().unwrap().unwrap().0;
    assert!((31..=61).contains(&after), "{after}");
    assert!(world.core_got_nothing());
}

#[test]
fn a_call_that_rings_is_not_rung_anywhere_else() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    world.browser(1, &invite("alice", "b1"));
    let first = world.core_request();
    world.answer(&first, first.response(180));
    world.answer(&first, first.response(503).with(HeaderName::RetryAfter, 1));
    world.pass(5 * SECOND);
    let others = world.ladder();
    assert_eq!(others.matches("-> UDP INVITE").count(), 1, "{others}");
}

#[test]
fn servers_are_asked_whether_they_are_there_and_a_silent_one_is_avoided() {
    let mut world = two_servers();
    log_in(&mut world, 1, "alice");
    world.forget();
    // Both answer their first OPTIONS, then the first falls silent.
    let mut is_silent = false;
    for _ in 0..300 {
        world.pass(SECOND);
        while let Some(asked) = world.next_core_request() {
            if asked.request.method == Method::Options
                && !(is_silent && asked.to.to_string() == ONE)
            {
                world.answer(&asked, asked.response(200));
            }
        }
        is_silent |= world.signaling.counters().probes_sent >= 4;
    }
    let told = standings(&world);
    assert_eq!(
        told,
        [
            (ONE.to_owned(), Standing::Suspect),
            (ONE.to_owned(), Standing::Down)
        ]
    );
    let counters = world.signaling.counters();
    assert_eq!((counters.next_hops_up, counters.next_hops_down), (1, 1));
    world.open(2);
    world.browser(2, &register("bob", 1, "X-Any: 1"));
    assert_eq!(world.core_request().to.to_string(), TWO);
}
