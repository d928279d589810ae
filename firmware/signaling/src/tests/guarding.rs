//! What is refused: numbers, guessed passwords, floods and storms.

use std::collections::BTreeSet;
use std::time::Duration;

use iq::Private;

use super::calls::invite;
use super::registration::{credentials, log_in, register};
use super::world::World;
use crate::event::{Breach, Event};
use crate::guard::Pressure;
use crate::guard::dial_plan::{Barred, Rule};
use crate::message::{HeaderName, Method};
use crate::{FlowId, Input};

const SECOND: Duration = Duration::from_secs(1);

fn breaches(world: &World) -> Vec<Breach> {
    let told = world.events.iter().filter_map(|event| match event {
        Event::Security { breach, .. } => Some(*breach),
        _ => None,
    });
    told.collect()
}

fn dial(world: &mut World, flow: u64, number: &str, branch: &str) {
    let target = format!("sip:{number}@ims.test;user=phone");
    let text =
        invite("alice", branch).replace("INVITE sip:carol@ims.test", &format!("INVITE {target}"));
    world.browser(flow, &text);
}

/// The final response to what a browser asked last.
fn final_status(world: &mut World, flow: u64) -> u16 {
    loop {
        let response = world.browser_response(flow);
        if response.status.is_final() {
            return response.status.code();
        }
    }
}

fn open_from(world: &mut World, flow: u64, address: &str) {
    let remote = Private::new(format!("{address}:4711").parse().unwrap());
    let flow = FlowId(flow);
    world.input(Input::FlowOpened {
        flow,
        remote,
        is_secure: true,
    });
}

/// A log-in with a wrong password; the status of its end.
fn guess(world: &mut World, flow: u64, user: &str, cseq: u32) -> u16 {
    world.forget();
    let nonce = format!("n{cseq}");
    world.browser(flow, &register(user, cseq, &credentials(user, &nonce)));
    if let Some(asked) = world.next_core_request() {
        world.answer(&asked, asked.challenge(&format!("x{cseq}")));
    }
    final_status(world, flow)
}

#[test]
fn a_number_that_the_dial_plan_denies_is_refused_and_told() {
    let mut world = World::with(|config| {
        let plan = &mut config.tenants[0].dial_plan;
        plan.country_code = Some("49".to_owned());
        plan.rules.extend(Rule::parse("deny 4711"));
    });
    log_in(&mut world, 1, "alice");
    for (n, number) in ["09001234567", "0039061234567", "4711"]
        .into_iter()
        .enumerate()
    {
        dial(&mut world, 1, number, &format!("b{n}"));
        assert_eq!(final_status(&mut world, 1), 403, "{number}");
    }
    assert!(world.core_got_nothing());
    let barred = [Barred::Premium, Barred::International, Barred::Rule(1)];
    assert_eq!(breaches(&world), barred.map(Breach::BarredNumber));
    assert_eq!(world.signaling.counters().calls_barred, 3);
    dial(&mut world, 1, "0301234567", "good");
    assert_eq!(world.core_request().request.method, Method::Invite);
}

#[test]
fn without_any_setting_a_user_calls_the_country_of_his_own_number_and_no_other() {
    let mut world = World::new();
    // The core says that +39 040 1234567 is hers.
    log_in(&mut world, 1, "alice");
    for (n, number) in ["+493012345678", "00493012345678"].into_iter().enumerate() {
        dial(&mut world, 1, number, &format!("b{n}"));
        assert_eq!(final_status(&mut world, 1), 403, "{number}");
    }
    assert!(world.core_got_nothing());
    let abroad = Breach::BarredNumber(Barred::International);
    assert_eq!(breaches(&world), [abroad, abroad]);
    dial(&mut world, 1, "+390407654321", "home");
    assert_eq!(world.core_request().request.method, Method::Invite);
}

#[test]
fn one_user_begins_no_more_calls_a_minute_than_allowed() {
    let mut world = World::with(|config| {
        config.guard.calls_per_minute = 2;
        config.calls.per_registration = 99;
    });
    log_in(&mut world, 1, "alice");
    for n in 0..2 {
        dial(&mut world, 1, "100", &format!("b{n}"));
        assert_eq!(world.core_request().request.method, Method::Invite);
    }
    world.forget();
    dial(&mut world, 1, "100", "b3");
    let refused = world.browser_response(1);
    assert_eq!(refused.status.code(), 503);
    assert!(refused.headers.has(&HeaderName::RetryAfter));
    assert_eq!(breaches(&world), [Breach::CallRate]);
    world.pass(31 * SECOND);
    world.forget();
    dial(&mut world, 1, "100", "b4");
    assert_eq!(world.core_request().request.method, Method::Invite);
}

#[test]
fn a_guesser_is_locked_out_and_his_victim_is_not() {
    let mut world = World::with(|config| config.flows.failed_requests = 99);
    log_in(&mut world, 1, "alice");
    open_from(&mut world, 2, "203.0.113.66");
    // Each first repetition of a challenge is marked stale and does not count.
    let answers: Vec<u16> = (1..20).map(|n| guess(&mut world, 2, "alice", n)).collect();
    assert_eq!(answers.first(), Some(&401));
    assert_eq!(answers.last(), Some(&503), "{answers:?}");
    assert!(world.signaling.counters().log_ins_locked > 0);

    // The connection that she is registered on, and a new one from where she was.
    world.forget();
    world.browser(1, &register("alice", 3, &credentials("alice", "n1")));
    let asked = world.core_request();
    world.answer(&asked, asked.granted(300));
    assert_eq!(final_status(&mut world, 1), 200);
    world.open(3);
    assert_eq!(guess(&mut world, 3, "alice", 50), 401);
    // And from anywhere else.
    open_from(&mut world, 4, "203.0.113.99");
    assert_eq!(guess(&mut world, 4, "alice", 60), 401);
}

#[test]
fn strangers_who_flood_are_told_to_wait_and_users_are_served() {
    let mut world = World::with(|config| {
        config.guard.requests_per_source = 1;
        config.flows.failed_requests = 99;
    });
    log_in(&mut world, 1, "alice");
    open_from(&mut world, 2, "203.0.113.66");
    let options = "OPTIONS sip:ims.test SIP/2.0
        Via: SIP/2.0/WSS x.invalid;branch=z9hG4bKBRANCH
        Max-Forwards: 69
        To: <sip:x@ims.test>
        From: <sip:x@ims.test>;tag=x
        Call-ID: x
        CSeq: 1 OPTIONS
        Content-Length: 0";
    let answers: Vec<u16> = (0..6)
        .map(|n| {
            world.browser(2, &options.replace("BRANCH", &n.to_string()));
            world.browser_response(2).status.code()
        })
        .collect();
    assert_eq!(answers, [403, 403, 403, 403, 503, 503]);
    assert_eq!(world.signaling.counters().requests_too_many, 2);
    dial(&mut world, 1, "100", "b1");
    assert_eq!(world.core_request().request.method, Method::Invite);
}

#[test]
fn a_box_that_is_short_of_time_takes_no_new_registrations_and_keeps_the_old_ones() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    world.input(Input::Pressure(Pressure::High));
    world.open(2);
    world.browser(2, &register("bob", 1, "X-Any: 1"));
    let refused = world.browser_response(2);
    assert_eq!(refused.status.code(), 503);
    let after = refused.headers.retry_after().unwrap().unwrap().0;
    assert!((5..30).contains(&after), "{after}");
    world.browser(1, &register("alice", 3, "X-Any: 1"));
    assert_eq!(world.core_request().request.method, Method::Register);
    assert_eq!(world.signaling.counters().requests_shed, 1);
}

#[test]
fn after_an_outage_registrations_reach_the_core_at_its_pace() {
    let mut world = World::with(|config| config.tenants[0].registration.per_second = 2);
    for n in 1..=24 {
        world.open(n);
        world.browser(n, &register(&format!("user{n}"), 1, "X-Any: 1"));
    }
    let put_off: Vec<u16> = (21..=24).map(|n| final_status(&mut world, n)).collect();
    assert!(put_off.contains(&503), "{put_off:?}");
    let (mut sent, mut seen) = (Vec::new(), BTreeSet::new());
    for _ in 0..12 {
        let mut now = 0;
        while let Some(asked) = world.next_core_request() {
            // Copies that went out before the answer came do not count.
            if seen.insert(asked.endpoint) {
                world.answer(&asked, asked.challenge("n"));
                now += 1;
            }
        }
        sent.push(now);
        world.pass(SECOND);
    }
    assert_eq!(sent[0], 2, "{sent:?}");
    assert!(sent[1..].iter().all(|now| *now <= 2), "{sent:?}");
    assert_eq!(sent.iter().sum::<u32>(), 18, "{sent:?}");
    let counters = world.signaling.counters();
    assert_eq!(
        (
            counters.registrations_queued,
            counters.registrations_put_off
        ),
        (16, 6)
    );
}
