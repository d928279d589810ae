//! The end of a call, at every moment and from every side.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::event::EndReason;
use crate::message::Method;
use crate::transaction::Failure;

#[test]
fn a_call_is_cancelled_while_media_is_reserved() {
    let mut call = Call::from_browser();
    call.cancel(BROWSER, "");
    call.reserved("wAlT");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        browser > CANCEL
        browser < 487
        media < Release
        media > Reserved
        media > Released
        record < ended by Access 487
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_browser_cancels_while_it_rings() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 180, "phone", None);
    call.cancel(BROWSER, "Reason: SIP;cause=200");
    call.released();
    assert!(!call.session.is_over(), "the INVITE waits for its 487");
    call.answer(IMS, 487, "phone", None);
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2]
        media < Reserve
        media > Reserved
        ims < INVITE [8 0 101 sendrecv v1]
        ims > 180
        browser < 180
        browser > CANCEL {Reason: SIP;cause=200}
        browser < 487
        ims < CANCEL {Reason: SIP;cause=200}
        media < Release
        media > Released
        record < ended by Access 487
        ims > 487
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3261 §9.1 | A 200 that crosses the CANCEL is acknowledged and ended.
#[test]
fn a_telephone_that_answers_after_the_cancel_is_hung_up() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 180, "phone", None);
    call.cancel(BROWSER, "");
    call.released();
    call.take_ladder();
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.answer_with(IMS, &Method::Bye, 200, "phone", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        ims < BYE
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        ims > 200 BYE
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_cancel_that_nobody_answers_is_forgotten_in_time() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.cancel(BROWSER, "");
    call.released();
    call.pass(Duration::from_secs(33));
    assert!(call.session.is_over());
}

#[test]
fn a_telephone_cancels_while_the_browser_rings() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.cancel(
        IMS,
        "Reason: SIP;cause=200;text=\"Call completed elsewhere\"",
    );
    call.answer(BROWSER, 487, "page", None);
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1]
        media < Reserve
        media > Reserved
        browser < INVITE [8 101 sendrecv wAlT v1]
        browser > 180
        ims < 180
        ims > CANCEL {Reason: SIP;cause=200;text="Call completed elsewhere"}
        ims < 487
        browser < CANCEL {Reason: SIP;cause=200;text="Call completed elsewhere"}
        media < Release
        browser > 487
        media > Released
        record < ended by Ims 487
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_browser_that_answers_after_the_cancel_is_hung_up() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.cancel(IMS, "");
    call.take_ladder();
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.answer_with(BROWSER, &Method::Bye, 200, "page", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > 200 [8 0 101 sendrecv Byrc v2]
        browser < ACK
        browser < BYE
        browser > 200 BYE
        media > Released
        record < ended by Ims 487
        "#,
    );
    assert!(call.session.is_over());
}

// Conforms: RFC 3261 §15 | A caller may end an early dialog by BYE.
#[test]
fn a_caller_may_end_an_early_dialog_by_bye() {
    let mut call = Call::from_ims();
    call.reserved("wAlT");
    call.answer(BROWSER, 180, "page", None);
    call.take_ladder();
    call.request(IMS, Method::Bye, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > BYE
        ims < 200 BYE
        ims < 487
        browser < CANCEL
        media < Release
        "#,
    );
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Bye, None, "");
    call.request(IMS, Method::Bye, None, "");
    call.answer_with(IMS, &Method::Bye, 481, "phone", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > BYE
        browser < 200 BYE
        ims < BYE
        media < Release
        ims > BYE
        ims < 200 BYE
        ims > 481 BYE
        media > Released
        record < ended by Access
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_caller_hangs_up_before_it_acknowledges() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.take_ladder();
    call.request(BROWSER, Method::Bye, None, "");
    call.pass(Duration::from_secs(1));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > BYE
        browser < 200 BYE
        ims < BYE
        media < Release
        "#,
    );
}

#[test]
fn a_called_side_hangs_up_before_the_caller_acknowledges() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.take_ladder();
    call.request(IMS, Method::Bye, None, "");
    call.ack(BROWSER, None);
    call.answer_with(BROWSER, &Method::Bye, 200, "caller", None, "");
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > BYE
        ims < 200 BYE
        media < Release
        browser > ACK
        browser < BYE
        browser > 200 BYE
        media > Released
        record < ended by Ims
        "#,
    );
    assert!(call.session.is_over());
}

#[test]
fn a_bye_for_a_caller_that_never_acknowledges_goes_out_in_the_end() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.request(IMS, Method::Bye, None, "");
    call.released();
    call.pass(Duration::from_secs(31));
    call.take_ladder();
    call.pass(Duration::from_secs(2));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 31.5 s
        browser < 200 [8 126 sendrecv wAlT v1]
        after 32.0 s
        browser < BYE
        "#,
    );
}

#[test]
fn requests_after_the_end_are_not_served() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Bye, None, "");
    call.take_ladder();
    call.request(BROWSER, Method::Info, None, "");
    call.request(IMS, Method::Invite, Some(Phone::PCMA.sdp()), "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INFO
        browser < 481 INFO
        ims > INVITE [8 101 sendrecv v1]
        ims < 481
        "#,
    );
}

#[test]
fn a_core_that_restarted_ends_the_call() {
    let mut call = Call::up_from_browser();
    let hold = Browser {
        direction: "sendonly",
        ..Browser::OFFER
    };
    call.request(BROWSER, Method::Invite, Some(hold.sdp()), "");
    call.answer_with(IMS, &Method::Invite, 481, "phone", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendonly Byrc v2]
        ims < INVITE [8 101 sendonly v2]
        ims > 481
        ims < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        browser < 487
        browser < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        media < Release
        "#,
    );
}

#[test]
fn a_core_that_answers_no_more_ends_the_call() {
    let mut call = Call::up_from_browser();
    let hold = Browser {
        direction: "sendonly",
        ..Browser::OFFER
    };
    call.request(BROWSER, Method::Invite, Some(hold.sdp()), "");
    call.take_ladder();
    call.fail(IMS, &Method::Invite, Failure::TimedOut);
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > (INVITE: TimedOut)
        ims < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        browser < 487
        browser < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        media < Release
        "#,
    );
}

#[test]
fn the_box_ends_a_call_in_any_state() {
    let mut reserving = Call::from_browser();
    let mut ringing = Call::from_ims();
    ringing.reserved("wAlT");
    ringing.take_ladder();
    reserving.take_ladder();
    let mut up = Call::up_from_browser();
    for call in [&mut reserving, &mut ringing, &mut up] {
        call.end(EndReason::Shutdown);
        call.end(EndReason::Shutdown);
    }
    assert_ladder(
        &reserving.take_ladder(),
        r#"
        browser < 480 {Reason: SIP;cause=503;text="Shutting down"}
        media < Release
        "#,
    );
    assert_ladder(
        &ringing.take_ladder(),
        r#"
        browser < CANCEL {Reason: SIP;cause=503;text="Shutting down"}
        ims < 480 {Reason: SIP;cause=503;text="Shutting down"}
        media < Release
        "#,
    );
    assert_ladder(
        &up.take_ladder(),
        r#"
        ims < BYE {Reason: SIP;cause=503;text="Shutting down"}
        browser < BYE {Reason: SIP;cause=503;text="Shutting down"}
        media < Release
        "#,
    );
}

#[test]
fn the_longest_allowed_call_ends() {
    let mut world = World::new();
    world.config.session_expires = Duration::from_secs(86_400);
    let mut call = Call::start(world, BROWSER, Some(Browser::OFFER.sdp()), "");
    call.reserved("wAlT");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    call.ack(BROWSER, None);
    call.take_ladder();
    call.pass(call.world.config.duration);
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 14400.0 s
        ims < BYE {Reason: SIP;cause=480;text="Longest call time"}
        browser < BYE {Reason: SIP;cause=480;text="Longest call time"}
        media < Release
        "#,
    );
}

#[test]
fn a_media_plane_that_lost_the_call_ends_it() {
    let mut call = Call::up_from_browser();
    call.released();
    assert_ladder(
        &call.take_ladder(),
        r#"
        media > Released
        ims < BYE {Reason: SIP;cause=503;text="No media capacity"}
        browser < BYE {Reason: SIP;cause=503;text="No media capacity"}
        record < ended by box media plane refused
        "#,
    );
}

#[test]
fn a_report_that_does_not_come_is_not_waited_for() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Bye, None, "");
    call.answer_with(IMS, &Method::Bye, 200, "phone", None, "");
    assert!(!call.session.is_over());
    call.pass(Duration::from_secs(2));
    assert!(call.session.is_over());
    assert!(call.world.record.take().unwrap().report.is_none());
}
