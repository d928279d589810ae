//! Transfers and replaced dialogs through the whole control plane: each side is told of a
//! call by the identifiers of its own leg.

use super::calls::{OFFER, PHONE, call, call_as, from_core, inside, with_body};
use super::registration::log_in;
use super::world::{CORE, World};
use crate::message::{HeaderName, Method, Response};

/// `Replaces` for the dialog that an answer to a browser made.
fn replaces(answer: &Response) -> String {
    let headers = &answer.headers;
    format!(
        "{};to-tag={};from-tag={}",
        headers.call_id().unwrap(),
        headers.to().unwrap().tag().unwrap(),
        headers.from().unwrap().tag().unwrap()
    )
}

fn escaped(text: &str) -> String {
    text.replace(';', "%3B").replace('=', "%3D")
}

fn refer(answer: &Response, refer_to: &str) -> String {
    let head = format!("Contact: <sip:x@y.invalid>\nRefer-To: {refer_to}\nContent-Length");
    inside("REFER", 2, answer, "refer").replace("Content-Length", &head)
}

/// A new page's INVITE.
fn again(user: &str, replaces: &str) -> String {
    with_body(
        &format!(
            "INVITE sip:carol@ims.test SIP/2.0
            Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKagain{user}
            Max-Forwards: 69
            To: <sip:carol@ims.test>
            From: <sip:{user}@ims.test>;tag=again
            Call-ID: call-again
            CSeq: 1 INVITE
            Contact: <sip:qk3xxx@df7jal23ls0d.invalid;transport=ws>
            Require: replaces
            Replaces: {replaces}"
        ),
        OFFER,
    )
}

#[test]
fn an_attended_transfer_names_the_far_ends_own_dialog() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (_, first) = call_as(&mut world, 1, "alice", "one");
    let (asked, second) = call_as(&mut world, 1, "alice", "two");
    let target = format!(
        "<sip:x@gatehouse.invalid?Replaces={}>",
        escaped(&replaces(&second))
    );
    world.forget();
    world.browser(1, &refer(&first, &target));
    let refer = world.core_request();
    assert_eq!(refer.request.method, Method::Refer);
    let headers = &asked.request.headers;
    let known = format!(
        "{};to-tag=core;from-tag={}",
        headers.call_id().unwrap(),
        headers.from().unwrap().tag().unwrap()
    );
    assert_eq!(
        refer.request.headers.text(&HeaderName::ReferTo).unwrap(),
        format!("<sip:carol@192.0.2.77:5060?Replaces={}>", escaped(&known))
    );
    let by = refer.request.headers.text(&HeaderName::ReferredBy).unwrap();
    assert_eq!(by, "<sip:alice@ims.test>");
    world.answer(&refer, refer.response(202));
    assert_eq!(world.browser_response(1).status.code(), 202);
}

#[test]
fn a_transfer_goes_to_whom_the_user_may_call_and_to_dialogs_of_his_own() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    log_in(&mut world, 2, "bob");
    let (_, own) = call(&mut world, 1, "alice");
    let (_, foreign) = call(&mut world, 2, "bob");
    world.forget();
    let foreign = format!(
        "<sip:x@y.invalid?Replaces={}>",
        escaped(&replaces(&foreign))
    );
    for (target, status) in [
        ("<sip:dora@ims.test;method=BYE>", 400),
        ("<sip:dora@ims.test?Replaces=nonsense>", 400),
        ("<http://example.com/>", 416),
        (foreign.as_str(), 481),
    ] {
        world.browser(1, &refer(&own, target));
        assert_eq!(world.browser_response(1).status.code(), status, "{target}");
        assert!(world.core_got_nothing());
        world.pass(std::time::Duration::from_secs(33));
        world.forget();
    }
    world.browser(
        1,
        &refer(&own, "<sip:dora@ims.test;maddr=10.0.0.1?Subject=x>"),
    );
    let refer = world.core_request().request;
    let target = refer.headers.text(&HeaderName::ReferTo).unwrap();
    assert_eq!(target, "<sip:dora@ims.test>");
}

#[test]
fn a_new_page_takes_its_call_up_again_and_nobody_elses() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    log_in(&mut world, 2, "bob");
    let (_, answer) = call(&mut world, 1, "alice");
    world.forget();
    world.browser(2, &again("bob", &replaces(&answer)));
    assert_eq!(world.browser_response(2).status.code(), 481);
    let early = format!("{};early-only", replaces(&answer));
    world.browser(1, &again("alice", &early));
    assert_eq!(world.browser_response(1).status.code(), 486);
    world.pass(std::time::Duration::from_secs(33));
    world.forget();

    world.browser(1, &again("alice", &replaces(&answer)));
    let taken = world.browser_response(1);
    assert_eq!(taken.status.code(), 200);
    assert_eq!(world.browser_request(1).method, Method::Bye);
    assert!(world.core_got_nothing());
    assert_eq!(world.signaling.counters().calls_replaced, 1);
    // The new dialog is the call's from now on.
    world.browser(1, &inside("ACK", 1, &taken, "again"));
    world.browser(1, &inside("BYE", 2, &taken, "again"));
    assert_eq!(world.core_request().request.method, Method::Bye);
}

#[test]
fn somebody_beyond_the_core_takes_a_call_over() {
    let mut world = World::new();
    log_in(&mut world, 1, "alice");
    let (asked, _) = call(&mut world, 1, "alice");
    world.forget();
    let headers = &asked.request.headers;
    let known = format!(
        "{};to-tag={};from-tag=core",
        headers.call_id().unwrap(),
        headers.from().unwrap().tag().unwrap()
    );
    let target = from_core("BYE", &asked, 9);
    let target = target.split(' ').nth(1).unwrap();
    let invite = |replaces: &str, branch: &str| {
        with_body(
            &format!(
                "INVITE {target} SIP/2.0
                Via: SIP/2.0/UDP {CORE};branch=z9hG4bK{branch}
                Max-Forwards: 60
                To: <sip:alice@ims.test>
                From: <sip:dora@ims.test>;tag=dora
                Call-ID: call-of-dora
                CSeq: 1 INVITE
                Contact: <sip:dora@192.0.2.78:5060>
                Replaces: {replaces}"
            ),
            &PHONE.replace("192.0.2.77", "192.0.2.78"),
        )
    };
    world.core(1, &invite("unknown;to-tag=a;from-tag=b", "x1"));
    assert_eq!(world.core_response().status.code(), 481);
    world.core(1, &invite(&known, "x2"));
    assert_eq!(world.core_request().request.method, Method::Bye);
}

#[test]
fn the_core_refers_a_browser_to_nothing_but_a_telephone() {
    let mut world = World::with(|config| config.tenants[0].services.refer_from_ims = true);
    log_in(&mut world, 1, "alice");
    let (asked, _) = call(&mut world, 1, "alice");
    for (n, (target, status)) in [
        ("<http://www.example.com/>", 416),
        ("<sip:dora@ims.test;method=BYE>", 400),
        ("<sip:dora@ims.test?Replaces=nothing>", 400),
    ]
    .into_iter()
    .enumerate()
    {
        world.forget();
        let refer_to = format!("Refer-To: {target}\nContent-Length");
        let number = 20 + u32::try_from(n).unwrap();
        let refer = from_core("REFER", &asked, number).replacen("Content-Length", &refer_to, 1);
        world.core(1, &refer);
        assert_eq!(world.core_response().status.code(), status, "{target}");
    }
}
