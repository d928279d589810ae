//! A browser calls: from its INVITE to the answer, with early media and failures.

use iq::{Leg, Refusal, Reply};

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;
use crate::transaction::Failure;

#[test]
fn a_browser_calls_a_telephone() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 180, "phone", None);
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.ack(BROWSER, None);
    call.request(BROWSER, Method::Bye, None, "");
    call.answer_with(IMS, &Method::Bye, 200, "phone", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 180
        browser < 180
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 200 [8 126 sendrecv wAlT v1]
        browser > ACK
        browser > BYE
        browser < 200 BYE
        ims < BYE
        media < Release
        ims > 200 BYE
        media > Released
        record < ended by Access
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3264 §4 | Whatever comes early, the browser sees one answer.
#[test]
fn early_media_is_heard_and_the_answer_stays_the_same() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 183, "phone", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 180, "phone", None);
    call.answer(IMS, 183, "phone", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 183 [8 101 sendrecv v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > 180
        browser < 180
        ims > 183 [8 101 sendrecv v1]
        browser < 183
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 200 [8 126 sendrecv wAlT v1]
        "#,
    );
}

// Conforms: RFC 3262 §4 | A reliable provisional response is acknowledged by PRACK, once.
#[test]
fn a_reliable_answer_is_acknowledged_once_and_counts_until_the_end() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    let reliable = "Require: 100rel\nRSeq: 5";
    let early = Some(Phone::PCMA.sdp());
    call.answer_with(IMS, &Method::Invite, 183, "phone", early.clone(), reliable);
    call.answer_with(IMS, &Method::Invite, 183, "phone", early, reliable);
    call.answer_with(
        IMS,
        &Method::Invite,
        180,
        "phone",
        None,
        "Require: 100rel\nRSeq: 7",
    );
    call.answer_with(
        IMS,
        &Method::Invite,
        180,
        "phone",
        None,
        "Require: 100rel\nRSeq: 6",
    );
    call.answer(IMS, 200, "phone", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 183 [8 101 sendrecv v1] {Require: 100rel} {RSeq: 5}
        ims < PRACK {RAck: 5 1 INVITE}
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > 183 [8 101 sendrecv v1] {Require: 100rel} {RSeq: 5}
        ims > 180 {Require: 100rel} {RSeq: 7}
        ims > 180 {Require: 100rel} {RSeq: 6}
        ims < PRACK {RAck: 6 1 INVITE}
        browser < 180
        ims > 200
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 200 [8 126 sendrecv wAlT v1]
        "#,
    );
}

#[test]
fn an_answer_without_a_description_ends_the_call() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 200, "phone", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 200
        ims < ACK
        ims < BYE
        browser < 488
        media < Release
        "#,
    );
}

#[test]
fn a_busy_telephone_is_busy_for_the_browser_too() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer_with(
        IMS,
        &Method::Invite,
        486,
        "phone",
        None,
        "Reason: Q.850;cause=17",
    );
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 486 {Reason: Q.850;cause=17}
        browser < 486 {Reason: Q.850;cause=17}
        media < Release
        media > Released
        record < ended by Ims 486
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3261 §16.7 | A 503 of the core is not relayed.
#[test]
fn an_overloaded_core_does_not_make_the_browser_leave_the_box() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer_with(
        IMS,
        &Method::Invite,
        503,
        "phone",
        None,
        "Warning: 399 core.test \"x\"",
    );
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 503 {Warning: 399 core.test "x"}
        browser < 500 {Reason: SIP;cause=503;text="Service Unavailable"} {Retry-After: 10}
        media < Release
        "#,
    );
}

#[test]
fn a_core_that_does_not_answer_is_a_time_out() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.fail(IMS, &Method::Invite, Failure::TimedOut);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > (INVITE: TimedOut)
        browser < 504 {Reason: SIP;cause=408;text="Request Timeout"}
        media < Release
        "#,
    );
}

#[test]
fn a_challenge_reaches_the_browser() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 407, "phone", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 407
        browser < 407
        media < Release
        "#,
    );
}

// Conforms: RFC 4028 §7.4 | 422 is answered with the interval that the far end wants, once.
#[test]
fn a_longer_session_interval_and_fewer_extensions_are_tried_once_each() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer_with(IMS, &Method::Invite, 422, "phone", None, "Min-SE: 3600");
    let invite = call.last_request(IMS).clone();
    assert_eq!(
        invite.headers.session_expires().unwrap().unwrap().interval,
        3600
    );
    assert_eq!(invite.headers.cseq().unwrap().number, 2);
    call.answer_with(
        IMS,
        &Method::Invite,
        420,
        "phone",
        None,
        "Unsupported: 100rel",
    );
    let invite = call.last_request(IMS);
    assert_eq!(
        invite.headers.text(&crate::message::HeaderName::Supported),
        Some("timer, replaces, 199")
    );
    call.answer_with(
        IMS,
        &Method::Invite,
        420,
        "phone",
        None,
        "Unsupported: timer",
    );
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 422
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 420 {Unsupported: 100rel}
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 420
        browser < 500 {Reason: SIP;cause=420;text="Bad Extension"}
        media < Release
        "#,
    );
}

#[test]
fn nobody_answers_in_time() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 180, "phone", None);
    call.pass(call.world.config.ring_time);
    call.answer(IMS, 487, "phone", None);
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 180
        browser < 180
        after 120.0 s
        ims < CANCEL {Reason: SIP;cause=408;text="Request Timeout"}
        browser < 480 {Reason: SIP;cause=408;text="Request Timeout"}
        media < Release
        ims > 487
        media > Released
        record < ended by box 480
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_box_without_media_ports_says_so() {
    let mut call = Call::from_browser();
    let session = call.session.id();
    let reason = Refusal::NoPorts;
    call.media(Reply::Refused { session, reason });
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Refused: out of IMS media ports
        browser < 503 {Reason: SIP;cause=503;text="No media capacity"} {Retry-After: 10}
        record < ended by box 503 media plane refused
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_media_plane_that_keeps_quiet_is_given_up() {
    let mut call = Call::from_browser();
    call.pass(std::time::Duration::from_secs(5));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        after 2.0 s
        browser < 503 {Reason: SIP;cause=503;text="No media capacity"} {Retry-After: 10}
        media < Release
        after 4.0 s
        record < ended by box 503 media plane refused
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn offers_that_cannot_be_carried_are_turned_down_with_a_warning() {
    let refused =
        |offer, headers: &str| match Call::try_start(World::new(), BROWSER, offer, headers) {
            Ok(mut call) => call.take_ladder(),
            Err(mut world) => world.take_ladder(),
        };
    let opus = Browser {
        formats: "111 126",
        ..Browser::OFFER
    };
    assert_ladder(
        &refused(Some(opus.sdp()), ""),
        r#"
        browser > INVITE [111 126 sendrecv Byrc v2]
        browser < 488 {Warning: 305 gatehouse "no common audio codec"}
        record < ended by box 488
        "#,
    );
    assert_ladder(
        &refused(Some("v=0\r\nm=audio".into()), ""),
        r#"
        browser > INVITE garbage
        browser < 400 {Warning: 399 gatehouse "malformed session description: Missing field Media port in line 2"}
        record < ended by box 400
        "#,
    );
    assert_ladder(
        &refused(None, ""),
        r#"
        browser > INVITE
        browser < 488
        record < ended by box 488
        "#,
    );
    let preconditions = "Require: 100rel, precondition";
    assert_ladder(
        &refused(Some(Browser::OFFER.sdp()), preconditions),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2] {Require: 100rel, precondition}
        browser < 420 {Unsupported: precondition}
        "#,
    );
    let short = "Session-Expires: 30\nSupported: timer";
    assert_ladder(
        &refused(Some(Browser::OFFER.sdp()), short),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        browser < 422
        "#,
    );
}

#[test]
fn the_record_tells_when_and_what() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.pass(std::time::Duration::from_secs(1));
    call.answer(IMS, 180, "phone", None);
    call.pass(std::time::Duration::from_secs(3));
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.ack(BROWSER, None);
    call.pass(std::time::Duration::from_secs(60));
    call.request(BROWSER, Method::Bye, None, "");
    call.released();
    let record = call.world.record.take().unwrap();
    assert_eq!(record.from, Leg::Access);
    assert_eq!(record.caller.reveal(), "sip:alice@ims.test");
    assert_eq!(record.called.reveal(), "sip:bob@ims.test");
    let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs());
    assert_eq!(seconds(record.ringing_after), Some(1));
    assert_eq!(seconds(record.answered_after), Some(4));
    assert_eq!(seconds(Some(record.ended_after)), Some(64));
    assert_eq!(record.codec, Some(iq::PayloadFormat::Pcma));
    assert!(record.report.is_some());
}
