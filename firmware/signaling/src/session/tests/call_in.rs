//! A telephone calls: from the core's INVITE to the browser's answer.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;
use crate::session::Device;
use crate::transaction::Failure;

#[test]
fn a_telephone_calls_a_browser() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 100, "page", None);
    call.answer(BROWSER, 180, "page", None);
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.ack(IMS, None);
    call.request(IMS, Method::Bye, None, "Reason: Q.850;cause=16");
    call.answer_with(BROWSER, &Method::Bye, 200, "page", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        media < Reserve
        media > Reserved
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 100
        browser > 180
        ims < 180
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        ims > ACK
        ims > BYE {Reason: Q.850;cause=16}
        ims < 200 BYE
        browser < BYE {Reason: Q.850;cause=16}
        media < Release
        browser > 200 BYE
        media > Released
        record < ended by Ims
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3262 §3 | A provisional response is reliable where the caller requires it.
#[test]
fn ringing_is_reliable_where_the_core_demands_it() {
    let offer = Some(Phone::PCMA.sdp());
    let mut call = Call::start(World::new(), IMS, offer, "Require: 100rel");
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.pass(Duration::from_millis(1600));
    let rseq = call.last_response(IMS).headers.rseq().unwrap().unwrap().0;
    call.request(
        IMS,
        Method::Prack,
        None,
        &format!("RAck: {} 1 INVITE", rseq + 1),
    );
    call.request(IMS, Method::Prack, None, &format!("RAck: {rseq} 1 INVITE"));
    call.pass(Duration::from_secs(3));
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    assert_ladder(
        &call.take_ladder().replace(&rseq.to_string(), "N"),
        r#"
        ims > INVITE [8 101 sendrecv v1] {Require: 100rel}
        media < Reserve
        media > Reserved
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 180
        ims < 180 {Require: 100rel} {RSeq: N}
        after 0.5 s
        ims < 180 {Require: 100rel} {RSeq: N}
        after 1.5 s
        ims < 180 {Require: 100rel} {RSeq: N}
        after 1.6 s
        ims > PRACK {RAck: 369595793 1 INVITE}
        ims < 481 PRACK
        ims > PRACK {RAck: N 1 INVITE}
        ims < 200 PRACK
        after 4.6 s
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        "#,
    );
}

#[test]
fn a_core_that_never_acknowledges_the_ringing_gives_the_call_up() {
    let offer = Some(Phone::PCMA.sdp());
    let mut call = Call::start(World::new(), IMS, offer, "Require: 100rel");
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.take_ladder();
    call.pass(Duration::from_secs(33));
    let ladder = call.take_ladder();
    let end = ladder.find("after 32.0 s").unwrap();
    assert_ladder(
        &ladder[end..],
        r#"
        after 32.0 s
        browser < CANCEL {Reason: SIP;cause=408;text="No ACK"}
        ims < 504 {Reason: SIP;cause=408;text="No ACK"}
        media < Release
        "#,
    );
}

// Conforms: RFC 3261 §13.2.1 | An INVITE without an offer gets one in the answer, and the ACK brings the other description.
#[test]
fn a_core_without_an_offer_is_offered_to_in_the_answer() {
    let mut call = Call::start(World::new(), IMS, None, "");
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.ack(IMS, Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE
        media < Reserve
        media > Reserved
        browser < INVITE [8 0 101 sendrecv wAlT v1]
        browser > 180
        ims < 180
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc
        ims < 200 [8 0 101 sendrecv v1]
        ims > ACK [8 101 sendrecv v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_core_without_an_offer_that_demands_reliability_answers_while_it_rings() {
    let mut call = Call::start(World::new(), IMS, None, "Require: 100rel");
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    let rseq = call.last_response(IMS).headers.rseq().unwrap().unwrap().0;
    // The page answers first: the 200 has to wait for the PRACK.
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    let rack = format!("RAck: {rseq} 1 INVITE");
    call.request(IMS, Method::Prack, Some(Phone::PCMA.sdp()), &rack);
    call.ack(IMS, None);
    assert_ladder(
        &call.take_ladder().replace(&rseq.to_string(), "N"),
        r#"
        ims > INVITE {Require: 100rel}
        media < Reserve
        media > Reserved
        browser < INVITE [8 0 101 sendrecv wAlT v1]
        browser > 180
        ims < 180 [8 0 101 sendrecv v1] {Require: 100rel} {RSeq: N}
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc
        ims > PRACK [8 101 sendrecv v1] {RAck: N 1 INVITE}
        ims < 200 PRACK
        ims < 200
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims > ACK
        "#,
    );
}

#[test]
fn an_answer_that_does_not_fit_the_offer_ends_the_call() {
    let mut call = Call::start(World::new(), IMS, None, "");
    call.reserved("wAlT");
    let answer = Browser {
        formats: "8 101",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "page", Some(answer.sdp()));
    call.take_ladder();
    let answer = Phone {
        formats: "0 101",
        ..Phone::PCMA
    };
    call.ack(IMS, Some(answer.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > ACK [0 101 sendrecv v1]
        browser < BYE {Reason: SIP;cause=488;text="Protocol error"}
        ims < BYE {Reason: SIP;cause=488;text="Protocol error"}
        media < Release
        "#,
    );
}

#[test]
fn a_core_that_answers_before_the_browser_does_decides_the_codec() {
    let mut call = Call::start(World::new(), IMS, None, "Require: 100rel");
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    let rseq = call.last_response(IMS).headers.rseq().unwrap().unwrap().0;
    let mulaw = Phone {
        formats: "0 101",
        ..Phone::PCMA
    };
    let rack = format!("RAck: {rseq} 1 INVITE");
    call.request(IMS, Method::Prack, Some(mulaw.sdp()), &rack);
    let answer = Browser {
        formats: "8 101",
        ..Browser::ANSWER
    };
    call.take_ladder();
    call.answer(BROWSER, 200, "page", Some(answer.sdp()));
    call.ack(IMS, None);
    let answer = Browser {
        formats: "0 101",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "page", Some(answer.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > 200 [8 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200
        browser < INVITE [0 101 sendrecv wAlT v2]
        ims > ACK
        browser > 200 [0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcmu=0,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn an_acknowledgement_without_the_answer_ends_the_call() {
    let mut call = Call::start(World::new(), IMS, None, "");
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.take_ladder();
    call.ack(IMS, None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > ACK
        browser < BYE {Reason: SIP;cause=488;text="Protocol error"}
        ims < BYE {Reason: SIP;cause=488;text="Protocol error"}
        media < Release
        "#,
    );
}

#[test]
fn a_busy_or_declining_browser_is_told_to_the_core() {
    for (code, told) in [
        (486, "< 486"),
        (603, "< 603"),
        (480, "< 480"),
        (408, "< 480"),
    ] {
        let mut call = Call::from_ims();
        call.reserved("wAlT");
        call.answer(BROWSER, code, "page", None);
        call.released();
        let ladder = call.take_ladder();
        assert!(ladder.contains(told), "{code}: {ladder}");
        assert!(call.session.is_over());
    }
}

#[test]
fn a_browser_that_is_away_cannot_be_reached() {
    let mut world = World::new();
    world.away.insert(Device::default());
    let mut call = Call::start(world, IMS, Some(Phone::PCMA.sdp()), "");
    call.reserved("wAlT");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        media < Reserve
        media > Reserved
        ims < 480 {Reason: SIP;cause=430;text="Flow Failed"}
        media < Release
        media > Released
        record < ended by Access 480
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_browser_that_leaves_while_it_rings_cannot_be_reached() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.take_ladder();
    call.fail(BROWSER, &Method::Invite, Failure::Transport);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (INVITE: Transport)
        ims < 480 {Reason: SIP;cause=430;text="Flow Failed"}
        media < Release
        "#,
    );
}

// Conforms: RFC 3261 §13.3.1.4 | A 2xx is sent again until its ACK comes.
#[test]
fn an_acceptance_is_sent_again_until_it_is_acknowledged() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.take_ladder();
    call.pass(Duration::from_millis(4000));
    call.ack(IMS, None);
    call.pass(Duration::from_secs(10));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 0.5 s
        ims < 200 [8 101 sendrecv v1]
        after 1.5 s
        ims < 200 [8 101 sendrecv v1]
        after 3.5 s
        ims < 200 [8 101 sendrecv v1]
        after 4.0 s
        ims > ACK
        "#,
    );
}

// Conforms: RFC 3261 §13.3.1.4 | A call whose 2xx is never acknowledged is ended by BYE.
#[test]
fn an_acceptance_that_nobody_acknowledges_is_ended() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.pass(Duration::from_secs(31));
    call.take_ladder();
    call.pass(Duration::from_secs(2));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 31.5 s
        ims < 200 [8 101 sendrecv v1]
        after 32.0 s
        browser < BYE {Reason: SIP;cause=408;text="No ACK"}
        ims < BYE {Reason: SIP;cause=408;text="No ACK"}
        media < Release
        "#,
    );
}

#[test]
fn a_browser_that_answers_early_is_heard_early() {
    let offer = Some(Phone::PCMA.sdp());
    let mut call = Call::start(World::new(), IMS, offer, "Supported: 100rel");
    call.reserved("wAlT");
    call.answer(BROWSER, 183, "page", Some(Browser::ANSWER.sdp()));
    let rseq = call.last_response(IMS).headers.rseq().unwrap().unwrap().0;
    call.request(IMS, Method::Prack, None, &format!("RAck: {rseq} 1 INVITE"));
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    assert_ladder(
        &call.take_ladder().replace(&rseq.to_string(), "N"),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        media < Reserve
        media > Reserved
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 183 [8 0 101 sendrecv Byrc v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 183 [8 101 sendrecv v1] {Require: 100rel} {RSeq: N}
        ims > PRACK {RAck: N 1 INVITE}
        ims < 200 PRACK
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200
        "#,
    );
}

#[test]
fn a_telephone_without_a_codec_in_common_is_told_so() {
    let offer = Phone {
        formats: "18 101",
        ..Phone::PCMA
    };
    let mut call = Call::start(World::new(), IMS, Some(offer.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [18 101 sendrecv v1]
        ims < 488 {Warning: 305 gatehouse "no common audio codec"}
        record < ended by box 488
        "#,
    );
}
