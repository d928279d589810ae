//! A call that forks beyond the core: what the browser sees of it, and whom it hears.
//! RFC 3261 §13.2.2.4, RFC 3311, RFC 5009, RFC 6228.

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;

/// Another telephone, which speaks mu-law.
const OTHER: Phone = Phone {
    formats: "0 101",
    address: "198.51.100.8",
    port: 42000,
    ..Phone::PCMA
};

#[test]
fn a_browser_sees_one_answer_whatever_fork_wins() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 183, "a", Some(Phone::PCMA.sdp()));
    let b = Phone {
        port: 42000,
        ..Phone::PCMA
    };
    call.answer(IMS, 183, "b", Some(b.sdp()));
    call.answer(IMS, 180, "b", None);
    call.answer(IMS, 200, "b", Some(b.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 183 [8 101 sendrecv v1] from a
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > 183 [8 101 sendrecv v1] from b
        ims > 180 from b
        browser < 180
        ims > 200 [8 101 sendrecv v1] from b
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:42000
        browser < 200 [8 126 sendrecv wAlT v1]
        "#,
    );
}

#[test]
fn a_fork_that_wins_with_another_codec_is_offered_to_the_browser_again() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 183, "a", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 200, "b", Some(OTHER.sdp()));
    call.ack(BROWSER, None);
    let answer = Browser {
        formats: "0 126",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "caller", Some(answer.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 183 [8 101 sendrecv v1] from a
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > 200 [0 101 sendrecv v1] from b
        ims < ACK
        media < Configure Byrc TelephoneEvent=126 browser <> ims <> 198.51.100.8:42000
        browser < 200 [8 126 sendrecv wAlT v1]
        browser > ACK
        browser < INVITE [0 126 sendrecv wAlT v2]
        browser > 200 [0 126 sendrecv Byrc v2] from caller
        browser < ACK
        media < Configure Byrc Pcmu=0,TelephoneEvent=126 browser <> ims <> 198.51.100.8:42000
        "#,
    );
}

#[test]
fn a_fork_that_the_network_vouches_for_is_heard_before_others() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    let early = |call: &mut Call, tag, phone: Phone, header| {
        call.answer_with(IMS, &Method::Invite, 183, tag, Some(phone.sdp()), header);
    };
    early(&mut call, "muted", Phone::PCMA, "P-Early-Media: inactive");
    early(&mut call, "first", Phone::PCMA, "");
    let vouched = Phone {
        port: 44000,
        ..Phone::PCMA
    };
    early(&mut call, "vouched", vouched, "P-Early-Media: sendrecv");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 183 [8 101 sendrecv v1] from muted
        browser < 183
        ims > 183 [8 101 sendrecv v1] from first
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 183 [8 126 sendrecv wAlT v1]
        ims > 183 [8 101 sendrecv v1] from vouched
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:44000
        "#,
    );
}

// Conforms: RFC 3261 §13.2.2.4 | A second fork that answers is acknowledged and ended.
#[test]
fn a_second_fork_that_answers_is_sent_away() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 200, "a", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 200, "b", Some(OTHER.sdp()));
    call.answer(IMS, 200, "b", Some(OTHER.sdp()));
    call.answer(IMS, 200, "a", Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 200 [8 101 sendrecv v1] from a
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 200 [8 126 sendrecv wAlT v1]
        ims > 200 [0 101 sendrecv v1] from b
        ims < ACK
        ims < BYE
        ims > 200 [0 101 sendrecv v1] from b
        ims < ACK
        ims > 200 [8 101 sendrecv v1] from a
        ims < ACK
        "#,
    );
}

// Conforms: RFC 3261 §13.2.2.4 | Forks are followed up to a limit.
#[test]
fn more_than_eight_forks_are_not_followed() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    for fork in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        let reliable = "Require: 100rel\nRSeq: 1";
        call.answer_with(IMS, &Method::Invite, 183, fork, None, reliable);
    }
    let pracks = call.take_ladder().matches("PRACK").count();
    assert_eq!(pracks, 8);
}

/// Forks a and b, which give an answer each; a is heard.
fn two_forks() -> Call {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 183, "a", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 183, "b", Some(SECOND.sdp()));
    call.take_ladder();
    call
}

const SECOND: Phone = Phone {
    port: 42000,
    ..Phone::PCMA
};

#[test]
fn a_fork_wins_with_the_answer_that_it_gave_before() {
    let mut call = two_forks();
    call.answer(IMS, 200, "b", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > 200 from b
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:42000
        browser < 200 [8 126 sendrecv wAlT v1]
        "#,
    );
}

#[test]
fn the_next_fork_is_heard_when_one_is_over() {
    let mut call = two_forks();
    call.answer(IMS, 199, "a", None);
    call.answer(IMS, 199, "b", None);
    call.answer(IMS, 200, "c", Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > 199 from a
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:42000
        ims > 199 from b
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser > ims <> 198.51.100.7:42000
        ims > 200 [8 101 sendrecv v1] from c
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser < 200 [8 126 sendrecv wAlT v1]
        "#,
    );
}

#[test]
fn the_network_grants_and_withholds_early_media_as_it_goes() {
    let mut call = two_forks();
    let says = |call: &mut Call, tag, what| {
        let header = format!("P-Early-Media: {what}");
        call.answer_with(IMS, &Method::Invite, 180, tag, None, &header);
    };
    says(&mut call, "b", "sendrecv");
    says(&mut call, "b", "inactive");
    call.request_from(IMS, "a", Method::Update, None, "P-Early-Media: inactive");
    call.request_from(IMS, "b", Method::Update, None, "P-Early-Media: sendonly");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > 180 from b
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:42000
        browser < 180
        ims > 180 from b
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        ims > UPDATE
        ims < 200 UPDATE
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser > ims <> 198.51.100.7:40000
        ims > UPDATE
        ims < 200 UPDATE
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:42000
        "#,
    );
}

#[test]
fn each_fork_renegotiates_for_itself() {
    let mut call = two_forks();
    let quiet = Phone {
        direction: "sendonly",
        ..SECOND
    };
    call.request_from(IMS, "b", Method::Update, Some(quiet.sdp()), "");
    call.request_from(IMS, "a", Method::Update, Some(Phone::PCMA.sdp()), "");
    call.answer(IMS, 200, "b", None);
    call.ack(BROWSER, None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > UPDATE [8 101 sendonly v1]
        ims < 200 UPDATE [8 101 recvonly v2]
        ims > UPDATE [8 101 sendrecv v1]
        ims < 200 UPDATE [8 101 sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        ims > 200 from b
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims > 198.51.100.7:42000
        browser < 200 [8 126 sendrecv wAlT v1]
        browser > ACK
        browser < INVITE [8 126 sendonly wAlT v2]
        "#,
    );
}

#[test]
fn a_fork_that_has_not_answered_may_not_offer() {
    let mut call = two_forks();
    call.answer(IMS, 180, "c", None);
    call.request_from(IMS, "c", Method::Update, Some(Phone::PCMA.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > 180 from c
        browser < 180
        ims > UPDATE [8 101 sendrecv v1]
        ims < 491 UPDATE
        "#,
    );
}

#[test]
fn a_caller_that_was_not_answered_may_not_offer_again() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.request(IMS, Method::Update, Some(Phone::PCMA.sdp()), "");
    let response = call.last_response(IMS);
    assert_eq!(response.status.code(), 500);
    let pause = response.headers.retry_after().unwrap().unwrap();
    assert!(pause.0 <= 10);
}
