//! A telephone calls a user with several browsers, where the box is his registrar: all of
//! them ring, and the caller sees one call. RFC 3261 §16.7.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::{BROWSER, IMS, assert_ladder};
use crate::event::EndReason;
use crate::message::Method;
use crate::transaction::Failure;

/// The browser whose answer has this user name fragment.
fn answer(ufrag: &'static str) -> Option<bytes::Bytes> {
    let browser = Browser {
        ufrag,
        ..Browser::ANSWER
    };
    Some(browser.sdp())
}

/// A call that has reached so many browsers.
fn ringing(count: usize) -> Call {
    let mut call = Call::to_browsers(Some(Phone::PCMA.sdp()), "", count);
    call.reserved("wAlT");
    for device in (0..).take(count) {
        call.at(device).answer(BROWSER, 180, "page", None);
    }
    call
}

// Conforms: RFC 3261 §16.7 | Where the box is the registrar all browsers of a user ring, the first 2xx wins, and the others are cancelled.
#[test]
fn all_browsers_ring_and_the_first_that_answers_has_the_call() {
    let mut call = ringing(2);
    call.at(1).answer(BROWSER, 200, "page", answer("two2"));
    call.ack(IMS, None);
    call.at(0).answer(BROWSER, 487, "page", None);
    call.at(1).request(BROWSER, Method::Bye, None, "");
    call.answer_with(IMS, &Method::Bye, 200, "caller", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        media < Reserve, shared
        media > Reserved
        second < INVITE [8 101 sendrecv wAlT v1]
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 180
        ims < 180
        second > 180
        second > 200 [8 0 101 sendrecv two2 v2]
        second < ACK
        browser < CANCEL {Reason: SIP;cause=200;text="Call completed elsewhere"}
        media < Configure two2 Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        ims > ACK
        browser > 487
        second > BYE
        second < 200 BYE
        ims < BYE
        media < Release
        ims > 200 BYE
        media > Released
        record < ended by Access
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3261 §16.7 | A browser that answers when another one has the call is acknowledged and hung up.
#[test]
fn of_two_that_answer_at_once_the_second_is_hung_up() {
    let mut call = ringing(2);
    call.take_ladder();
    call.at(0).answer(BROWSER, 200, "page", answer("one1"));
    call.at(1).answer(BROWSER, 200, "page", answer("two2"));
    call.at(1)
        .answer_with(BROWSER, &Method::Bye, 200, "page", None, "");
    call.ack(IMS, None);
    call.at(1).lose_flow();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > 200 [8 0 101 sendrecv one1 v2]
        browser < ACK
        second < CANCEL {Reason: SIP;cause=200;text="Call completed elsewhere"}
        media < Configure one1 Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        second > 200 [8 0 101 sendrecv two2 v2]
        second < ACK
        second < BYE
        second > 200 BYE
        ims > ACK
        second > (connection lost)
        "#,
    );
    assert!(call.session.is_up(), "it is the other's call");
}

// Conforms: RFC 3261 §16.7 | A busy browser does not end the ringing of the others; a decline for the user does.
#[test]
fn one_that_is_busy_leaves_the_others_ringing_and_one_that_declines_for_the_user_does_not() {
    let mut call = ringing(3);
    call.take_ladder();
    call.at(0).answer(BROWSER, 486, "page", None);
    call.pass(Duration::from_secs(5));
    call.at(1).answer(BROWSER, 603, "page", None);
    call.at(2).answer(BROWSER, 487, "page", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > 486
        after 5.0 s
        second > 603
        third < CANCEL {Reason: SIP;cause=603;text="Decline"}
        ims < 603
        media < Release
        third > 487
        "#,
    );
}

// Conforms: RFC 3261 §16.7 | When no browser takes the call, the caller is told the best of their answers.
#[test]
fn when_nobody_takes_the_call_the_best_answer_is_told() {
    for (codes, told) in [
        ([480, 486, 500], "486"),
        ([500, 486, 480], "486"),
        ([500, 503, 480], "480"),
        ([486, 484, 488], "484"),
        ([488, 480, 408], "488"),
        ([500, 500, 500], "500"),
    ] {
        let mut call = ringing(3);
        for (device, code) in (0..).zip(codes) {
            call.take_ladder();
            call.at(device).answer(BROWSER, code, "page", None);
        }
        let ladder = call.take_ladder();
        assert!(
            ladder.contains(&format!("ims < {told}")),
            "{codes:?}: {ladder}"
        );
    }
}

#[test]
fn browsers_that_go_away_or_are_silent_leave_the_call_to_the_others() {
    let mut call = ringing(3);
    call.take_ladder();
    call.at(0).lose_flow();
    call.at(0).restore_flow();
    call.at(1).fail(BROWSER, &Method::Invite, Failure::TimedOut);
    call.at(2).answer(BROWSER, 200, "page", answer("thr3"));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        browser < CANCEL
        browser > (connection back)
        second > (INVITE: TimedOut)
        third > 200 [8 0 101 sendrecv thr3 v2]
        third < ACK
        media < Configure thr3 Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        "#,
    );
}

#[test]
fn when_the_last_one_goes_away_the_caller_is_told_what_another_had_said() {
    for (first, told) in [(Some(486), "486"), (None, "480")] {
        let mut call = ringing(2);
        match first {
            Some(code) => call.at(0).answer(BROWSER, code, "page", None),
            None => call.at(0).lose_flow(),
        }
        call.take_ladder();
        call.at(1).lose_flow();
        let ladder = call.take_ladder();
        assert!(ladder.contains(&format!("ims < {told}")), "{ladder}");
    }
}

#[test]
fn one_whose_registration_ends_stops_ringing_alone() {
    let mut call = ringing(2);
    call.take_ladder();
    let reason = EndReason::RegistrationEnded;
    let device = call.at;
    call.session.end_at(device, reason, &mut call.world);
    call.at(0).answer(BROWSER, 200, "page", answer("one1"));
    let ladder = call.take_ladder();
    assert!(ladder.contains("second < CANCEL"), "{ladder}");
    assert!(ladder.contains("ims < 200"), "{ladder}");
}

// Conforms: RFC 3261 §16.7 | What one of several browsers says before it answers is no answer: the caller has one early dialog, and media none.
#[test]
fn early_answers_count_only_once_their_browser_has_the_call() {
    let mut call = Call::to_browsers(Some(Phone::PCMA.sdp()), "Require: 100rel", 2);
    call.reserved("wAlT");
    call.at(0).answer(BROWSER, 183, "page", answer("one1"));
    let rseq = call.last_rseq(IMS).unwrap();
    let rack = format!("RAck: {rseq} 1 INVITE");
    call.request(IMS, Method::Prack, None, &rack);
    call.at(1).answer(BROWSER, 183, "page", answer("two2"));
    call.at(1).answer(BROWSER, 180, "page", None);
    call.at(1).answer(BROWSER, 200, "page", None);
    assert_ladder(
        &call.take_ladder().replace(&rseq.to_string(), "N"),
        r#"
        ims > INVITE [8 101 sendrecv v1] {Require: 100rel}
        media < Reserve, shared
        media > Reserved
        second < INVITE [8 101 sendrecv wAlT v1]
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 183 [8 0 101 sendrecv one1 v2]
        ims < 180 {Require: 100rel} {RSeq: N}
        ims > PRACK {RAck: N 1 INVITE}
        ims < 200 PRACK
        second > 183 [8 0 101 sendrecv two2 v2]
        second > 180
        second > 200
        second < ACK
        browser < CANCEL {Reason: SIP;cause=200;text="Call completed elsewhere"}
        media < Configure two2 Pcma=8,TelephoneEvent=101 browser <> ims <> 198.51.100.7:40000
        ims < 200 [8 101 sendrecv v1]
        "#,
    );
}

#[test]
fn a_caller_who_gives_up_or_rings_too_long_ends_the_ringing_everywhere() {
    let mut call = ringing(2);
    call.take_ladder();
    call.cancel(IMS, "Reason: SIP;cause=487");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > CANCEL {Reason: SIP;cause=487}
        ims < 487
        second < CANCEL {Reason: SIP;cause=487}
        browser < CANCEL {Reason: SIP;cause=487}
        media < Release
        "#,
    );
    let mut call = ringing(2);
    call.take_ladder();
    call.pass(Duration::from_secs(600));
    let ladder = call.take_ladder();
    for who in ["browser < CANCEL", "second < CANCEL", "ims < 480"] {
        assert!(ladder.contains(who), "{ladder}");
    }
}
