//! Preconditions of quality of service, RFC 3312: the box answers for a browser that knows
//! nothing of them.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::config::PreconditionPolicy;
use crate::message::{HeaderName, Method};

/// A telephone whose bearer is not there yet.
const WAITING: Phone = Phone {
    ready: "none",
    ..Phone::PCMA
};
const READY: Phone = Phone {
    ready: "sendrecv",
    ..Phone::PCMA
};

/// A core that calls and demands preconditions.
const DEMANDS: &str = "Require: precondition\nSupported: 100rel";

fn with(preconditions: PreconditionPolicy) -> World {
    let mut world = World::new();
    world.services.preconditions = preconditions;
    world
}

#[test]
fn a_browser_is_alerted_when_the_callers_side_is_ready() {
    let mut call = Call::start(World::new(), IMS, Some(WAITING.sdp()), DEMANDS);
    call.reserved("wAlT");
    let rack = format!("RAck: {} 1 INVITE", call.last_rseq(IMS).unwrap());
    call.request(IMS, Method::Prack, None, &rack);
    call.request(IMS, Method::Update, Some(READY.sdp()), "");
    call.answer(BROWSER, 180, "page", None);
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.ack(IMS, None);
    let ladder = call.take_ladder();
    let rseq = call.first_rseq(IMS);
    assert_ladder(
        &ladder,
        &r#"
        ims > INVITE [8 101 sendrecv qos none/none v1] {Require: precondition}
        media < Reserve
        media > Reserved
        ims < 183 [8 101 sendrecv qos sendrecv/none? v1] {Require: precondition} {Require: 100rel} {RSeq: FIRST}
        ims > PRACK {RAck: FIRST 1 INVITE}
        ims < 200 PRACK
        ims > UPDATE [8 101 sendrecv qos sendrecv/none v1]
        ims < 200 UPDATE [8 101 sendrecv qos sendrecv/sendrecv v2]
        media < Configure -
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 180
        ims < 180
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200
        ims > ACK
        "#
        .replace("FIRST", &rseq.to_string()),
    );
}

#[test]
fn a_caller_that_is_ready_already_alerts_the_browser_at_once() {
    let mut call = Call::start(World::new(), IMS, Some(READY.sdp()), DEMANDS);
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv qos sendrecv/none v1] {Require: precondition}
        media < Reserve
        media > Reserved
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv qos sendrecv/sendrecv v1]
        "#,
    );
}

#[test]
fn a_caller_that_never_gets_ready_is_told_so() {
    let mut call = Call::start(World::new(), IMS, Some(WAITING.sdp()), DEMANDS);
    call.reserved("wAlT");
    let rack = format!("RAck: {} 1 INVITE", call.last_rseq(IMS).unwrap());
    call.request(IMS, Method::Prack, None, &rack);
    call.request(IMS, Method::Update, Some(WAITING.sdp()), "");
    call.take_ladder();
    call.pass(Duration::from_secs(40));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 32.0 s
        ims < 580
        media < Release
        after 34.0 s
        record < ended by box 580
        "#,
    );
}

#[test]
fn a_caller_may_give_up_while_it_gets_ready() {
    let mut call = Call::start(World::new(), IMS, Some(WAITING.sdp()), DEMANDS);
    call.reserved("wAlT");
    call.take_ladder();
    call.cancel(IMS, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > CANCEL
        ims < 487
        media < Release
        media > Released
        record < ended by Ims 487
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_network_without_preconditions_turns_a_demand_away_and_ignores_a_wish() {
    let world = with(PreconditionPolicy::None);
    let mut world = Call::try_start(world, IMS, Some(WAITING.sdp()), DEMANDS)
        .err()
        .unwrap();
    assert_ladder(
        &world.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv qos none/none v1] {Require: precondition}
        ims < 420 {Unsupported: precondition}
        "#,
    );
    let world = with(PreconditionPolicy::None);
    let wishes = "Supported: 100rel, precondition";
    let mut call = Call::start(world, IMS, Some(WAITING.sdp()), wishes);
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    let body = call.last_response(IMS).body.clone();
    assert!(!String::from_utf8_lossy(&body).contains("qos"));
}

#[test]
fn a_browser_that_demands_preconditions_is_turned_away() {
    let demand = "Require: precondition";
    let offer = Some(Browser::OFFER.sdp());
    let world = Call::try_start(World::new(), BROWSER, offer, demand);
    let mut world = world.err().unwrap();
    assert!(world.take_ladder().contains("420"));
}

#[test]
fn a_call_of_the_boxs_own_says_that_its_side_is_ready_where_the_network_wants_it() {
    let world = with(PreconditionPolicy::Offer);
    let mut call = Call::start(world, BROWSER, Some(Browser::OFFER.sdp()), "");
    call.reserved("wAlT");
    let invite = call.last_request(IMS);
    assert!(
        invite
            .headers
            .lists_token(&HeaderName::Supported, "precondition")
    );
    call.answer(IMS, 183, "phone", Some(WAITING.sdp()));
    call.request(IMS, Method::Update, Some(READY.sdp()), "");
    call.answer(IMS, 180, "phone", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv qos sendrecv/none v1]
        ims > 183 [8 101 sendrecv qos none/none v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > UPDATE [8 101 sendrecv qos sendrecv/none v1]
        ims < 200 UPDATE [8 101 sendrecv qos sendrecv/sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        ims > 180
        browser < 180
        "#,
    );
}
