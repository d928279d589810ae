//! Offers within a call: hold, resume, refreshes, glare, DTMF and what else may come.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;
use crate::transaction::Failure;

const HOLD: Browser = Browser {
    direction: "sendonly",
    ..Browser::OFFER
};
const PHONE_HOLDS: Phone = Phone {
    direction: "sendonly",
    ..Phone::PCMA
};
const PHONE_HELD: Phone = Phone {
    direction: "recvonly",
    ..Phone::PCMA
};

#[test]
fn a_browser_holds_and_resumes() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    call.answer(IMS, 200, "phone", Some(PHONE_HELD.sdp()));
    call.ack(BROWSER, None);
    call.request(BROWSER, Method::Invite, Some(Browser::OFFER.sdp()), "");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.ack(BROWSER, None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendonly Byrc v2]
        ims < INVITE [8 101 sendonly v2]
        ims > 200 [8 101 recvonly v1]
        ims < ACK
        browser < 200 [8 126 recvonly wAlT v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser > ims < 198.51.100.7:40000
        browser > ACK
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        ims < INVITE [8 101 sendrecv v3]
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        browser < 200 [8 126 sendrecv wAlT v3]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        browser > ACK
        "#,
    );
}

#[test]
fn a_telephone_holds_with_music_and_resumes() {
    let mut call = Call::up_from_ims();
    call.request(IMS, Method::Invite, Some(PHONE_HOLDS.sdp()), "");
    let listening = Browser {
        direction: "recvonly",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "page", Some(listening.sdp()));
    call.ack(IMS, None);
    call.request(IMS, Method::Invite, Some(Phone::PCMA.sdp()), "");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.ack(IMS, None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendonly v1]
        browser < INVITE [8 101 sendonly wAlT v2]
        browser > 200 [8 0 101 recvonly Byrc v2]
        browser < ACK
        ims < 200 [8 101 recvonly v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser < ims > 198.51.100.7:40000
        ims > ACK
        ims > INVITE [8 101 sendrecv v1]
        browser < INVITE [8 101 sendrecv wAlT v3]
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        ims < 200 [8 101 sendrecv v3]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims > ACK
        "#,
    );
}

// Conforms: RFC 3264 §8.4 | Hold by 0.0.0.0 is understood.
#[test]
fn the_old_hold_with_an_address_of_zeros_stops_the_browser() {
    let mut call = Call::up_from_ims();
    let zeros = Phone {
        address: "0.0.0.0",
        ..Phone::PCMA
    };
    call.request(IMS, Method::Invite, Some(zeros.sdp()), "");
    let inactive = Browser {
        direction: "inactive",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "page", Some(inactive.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        browser < INVITE [8 101 inactive wAlT v2]
        browser > 200 [8 0 101 inactive Byrc v2]
        browser < ACK
        ims < 200 [8 101 inactive v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser x ims x nowhere
        "#,
    );
}

#[test]
fn a_telephone_that_moves_is_answered_without_asking_the_browser() {
    let mut call = Call::up_from_browser();
    let moved = Phone {
        address: "198.51.100.9",
        port: 45000,
        ..Phone::PCMA
    };
    call.request(IMS, Method::Invite, Some(moved.sdp()), "");
    call.ack(IMS, None);
    call.request(IMS, Method::Update, Some(Phone::PCMA.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        ims < 200 [8 101 sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.9:45000
        ims > ACK
        ims > UPDATE [8 101 sendrecv v1]
        ims < 200 UPDATE [8 101 sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

// Conforms: RFC 3264 §8 | A description that did not change keeps its version.
#[test]
fn a_refresh_is_answered_with_the_same_description() {
    let mut call = Call::up_from_browser();
    call.request(IMS, Method::Invite, Some(Phone::PCMA.sdp()), "");
    call.ack(IMS, None);
    call.request(BROWSER, Method::Invite, Some(Browser::OFFER.sdp()), "");
    call.ack(BROWSER, None);
    call.request(IMS, Method::Update, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        ims < 200 [8 101 sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        ims > ACK
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        browser < 200 [8 126 sendrecv wAlT v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser > ACK
        ims > UPDATE
        ims < 200 UPDATE
        "#,
    );
}

#[test]
fn a_core_asks_for_an_offer_within_the_call() {
    let mut call = Call::up_from_browser();
    call.request(IMS, Method::Invite, None, "");
    let moved = Phone {
        port: 46000,
        ..Phone::PCMA
    };
    call.ack(IMS, Some(moved.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE
        ims < 200 [8 101 sendrecv v2]
        ims > ACK [8 101 sendrecv v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:46000
        "#,
    );
}

#[test]
fn a_resume_by_an_offerless_invite_reaches_the_browser() {
    let mut call = Call::up_from_ims();
    call.request(IMS, Method::Invite, Some(PHONE_HOLDS.sdp()), "");
    let listening = Browser {
        direction: "recvonly",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "page", Some(listening.sdp()));
    call.ack(IMS, None);
    call.take_ladder();
    call.request(IMS, Method::Invite, None, "");
    call.ack(IMS, Some(Phone::PCMA.sdp()));
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE
        ims < 200 [8 101 sendrecv v3]
        ims > ACK [8 101 sendrecv v1]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser < ims <> 198.51.100.7:40000
        browser < INVITE [8 101 sendrecv wAlT v3]
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    call.answer(IMS, 488, "phone", None);
    call.request(IMS, Method::Invite, Some(Phone::PCMA.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendonly Byrc v2]
        ims < INVITE [8 101 sendonly v2]
        ims > 488
        browser < 488
        ims > INVITE [8 101 sendrecv v1]
        ims < 200 [8 101 sendrecv v3]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

// Conforms: RFC 3261 §14.1 | After 491 an offer is tried again at a random moment.
#[test]
fn offers_that_cross_on_the_core_are_tried_again() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    call.request(IMS, Method::Invite, Some(Phone::PCMA.sdp()), "");
    call.answer(IMS, 491, "phone", None);
    call.take_ladder();
    call.pass(Duration::from_millis(2090));
    assert_ladder(&call.take_ladder(), "");
    call.pass(Duration::from_millis(1910));
    call.answer(IMS, 200, "phone", Some(PHONE_HELD.sdp()));
    let ladder = call.take_ladder();
    assert_ladder(
        &ladder[ladder.find("    ims").unwrap()..],
        r#"
        ims < INVITE [8 101 sendonly v2]
        after 4.0 s
        ims > 200 [8 101 recvonly v1]
        ims < ACK
        browser < 200 [8 126 recvonly wAlT v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser > ims < 198.51.100.7:40000
        "#,
    );
}

// Conforms: RFC 3261 §14.2 | A second offer before the first is answered gets 500 with Retry-After.
#[test]
fn a_second_offer_before_the_first_is_answered_has_to_wait() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    call.take_ladder();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    let ladder = call.take_ladder();
    assert!(ladder.contains("browser < 500 {Retry-After: "), "{ladder}");
}

#[test]
fn a_page_that_is_away_does_not_keep_the_core_waiting() {
    let mut call = Call::up_from_ims();
    call.lose_flow();
    call.request(IMS, Method::Invite, Some(PHONE_HOLDS.sdp()), "");
    call.ack(IMS, None);
    call.restore_flow();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        ims > INVITE [8 101 sendonly v1]
        ims < 200 [8 101 recvonly v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims > 198.51.100.7:40000
        ims > ACK
        browser > (connection back)
        browser < INVITE [8 101 sendonly wAlT v2]
        "#,
    );
}

#[test]
fn a_page_that_goes_away_while_it_is_asked_does_not_keep_the_core_waiting() {
    let mut call = Call::up_from_ims();
    call.request(IMS, Method::Invite, Some(PHONE_HOLDS.sdp()), "");
    call.lose_flow();
    call.fail(BROWSER, &Method::Invite, Failure::Transport);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendonly v1]
        browser < INVITE [8 101 sendonly wAlT v2]
        browser > (connection lost)
        browser > (INVITE: Transport)
        ims < 200 [8 101 recvonly v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=101 browser <> ims > 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_re_offer_that_is_cancelled_is_undone() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Invite, Some(HOLD.sdp()), "");
    call.cancel_re_offer(BROWSER);
    call.answer(IMS, 200, "phone", Some(PHONE_HELD.sdp()));
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendonly Byrc v2]
        ims < INVITE [8 101 sendonly v2]
        browser > CANCEL
        browser < 487
        ims > 200 [8 101 recvonly v1]
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims < 198.51.100.7:40000
        ims < INVITE [8 101 sendrecv v3]
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_page_that_adds_video_keeps_its_audio() {
    let mut call = Call::up_from_browser();
    let mut offer = String::from_utf8(Browser::OFFER.sdp().to_vec()).unwrap();
    offer.push_str("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=mid:1\r\n");
    call.request(BROWSER, Method::Invite, Some(offer.into()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc | 96 sendrecv v2]
        browser < 200 [8 126 sendrecv wAlT | refused v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_core_that_changes_the_codec_takes_the_browser_along() {
    let mut call = Call::up_from_browser();
    let mulaw = Phone {
        formats: "0 101",
        ..Phone::PCMA
    };
    call.request(IMS, Method::Invite, Some(mulaw.sdp()), "");
    let answer = Browser {
        formats: "0 126",
        ..Browser::ANSWER
    };
    call.answer(BROWSER, 200, "caller", Some(answer.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [0 101 sendrecv v1]
        browser < INVITE [0 126 sendrecv wAlT v2]
        browser > 200 [0 126 sendrecv Byrc v2] from caller
        browser < ACK
        ims < 200 [0 101 sendrecv v2]
        media < Configure Byrc Pcmu=0,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn a_garbled_offer_is_turned_down_and_the_call_goes_on() {
    let mut call = Call::up_from_browser();
    call.request(IMS, Method::Invite, Some("v=0\r\nnonsense".into()), "");
    call.request(BROWSER, Method::Update, Some("v=0\r\nnonsense".into()), "");
    assert!(call.session.is_up());
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE garbage
        ims < 400 {Warning: 399 gatehouse "malformed session description: Invalid formatted line 2:  Line not in key=value format "}
        browser > UPDATE garbage
        browser < 400 UPDATE {Warning: 399 gatehouse "malformed session description: Invalid formatted line 2:  Line not in key=value format "}
        "#,
    );
}

#[test]
fn an_announcement_may_move_before_the_answer() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    let reliable = "Require: 100rel\nRSeq: 5";
    let early = Some(Phone::PCMA.sdp());
    call.answer_with(IMS, &Method::Invite, 183, "phone", early, reliable);
    call.take_ladder();
    let moved = Phone {
        port: 47000,
        ..Phone::PCMA
    };
    call.request(IMS, Method::Update, Some(moved.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > UPDATE [8 101 sendrecv v1]
        ims < 200 UPDATE [8 101 sendrecv v2]
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:47000
        "#,
    );
}

// Conforms: RFC 4733 §2.5 | Keys that come in INFO leave as telephone events.
#[test]
fn key_presses_in_info_are_played_on_the_other_leg() {
    let mut call = Call::up_from_browser();
    let body = |text: &'static str| Some(text.into());
    call.request(
        BROWSER,
        Method::Info,
        body("Signal=5\r\nDuration=200\r\n"),
        "",
    );
    call.request(IMS, Method::Info, body("Signal=#\r\n"), "");
    call.request(IMS, Method::Info, body("Signal=xyz\r\n"), "");
    call.request(IMS, Method::Info, None, "");
    call.request(IMS, Method::Info, None, "Info-Package: foo");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INFO
        browser < 200 INFO
        media < SendDtmf 5 200 ms to Ims
        ims > INFO
        ims < 200 INFO
        media < SendDtmf 11 160 ms to Access
        ims > INFO
        ims < 400 INFO
        ims > INFO
        ims < 200 INFO
        ims > INFO
        ims < 469 INFO
        "#,
    );
}

#[test]
fn methods_that_are_not_served_are_named() {
    let mut call = Call::up_from_browser();
    call.request(IMS, Method::Options, None, "");
    call.request(IMS, Method::Refer, None, "");
    call.request(BROWSER, Method::Publish, None, "");
    let allow = call
        .last_response(BROWSER)
        .headers
        .text(&crate::message::HeaderName::Allow)
        .unwrap();
    assert!(!allow.contains("PUBLISH"));
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > OPTIONS
        ims < 200 OPTIONS
        ims > REFER
        ims < 405 REFER
        browser > PUBLISH
        browser < 405 PUBLISH
        "#,
    );
}

// Conforms: RFC 3261 §12.2.2 | Requests of an unknown dialog get 481.
#[test]
fn requests_of_an_unknown_dialog_are_not_served() {
    let mut call = Call::start(World::new(), IMS, Some(Phone::PCMA.sdp()), "");
    call.reserved("wAlT");
    call.take_ladder();
    // The browser has not answered: there is no dialog with it.
    call.request(BROWSER, Method::Bye, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > BYE
        browser < 481 BYE
        "#,
    );
}
