//! Session timers, one on each leg.

use std::time::Duration;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;

/// JsSIP asks for 90 s and takes UPDATE.
const JSSIP: &str = "Supported: timer\nSession-Expires: 90\nAllow: INVITE,ACK,BYE,CANCEL,UPDATE";

/// SIP.js as it comes: no timer, no UPDATE.
const SIP_JS: &str = "Allow: INVITE,ACK,BYE,CANCEL";

fn up(browser: &str, core: &str) -> Call {
    let offer = Some(Browser::OFFER.sdp());
    let mut call = Call::start(World::new(), BROWSER, offer, browser);
    call.reserved("wAlT");
    let answer = Some(Phone::PCMA.sdp());
    call.answer_with(IMS, &Method::Invite, 200, "phone", answer, core);
    call.ack(BROWSER, None);
    call.take_ladder();
    call
}

// Conforms: RFC 4028 §7.4 | Sessions are refreshed by UPDATE where the other side takes it.
#[test]
fn a_browser_that_takes_update_is_refreshed_without_a_description() {
    let mut call = up(JSSIP, "");
    call.pass(Duration::from_secs(45));
    call.answer_with(
        BROWSER,
        &Method::Update,
        200,
        "caller",
        None,
        "Session-Expires: 90;refresher=uac",
    );
    call.pass(Duration::from_secs(45));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 45.0 s
        browser < UPDATE
        browser > 200 UPDATE
        after 90.0 s
        browser < UPDATE
        "#,
    );
}

#[test]
fn a_browser_that_does_not_answer_the_refresh_loses_the_call() {
    let mut call = up(JSSIP, "");
    call.pass(Duration::from_secs(59));
    call.take_ladder();
    call.pass(Duration::from_secs(2));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 60.0 s
        ims < BYE {Reason: SIP;cause=408;text="Session expired"}
        browser < BYE {Reason: SIP;cause=408;text="Session expired"}
        media < Release
        "#,
    );
}

#[test]
fn a_core_without_update_is_refreshed_by_an_unchanged_offer() {
    let core = "Supported: timer\nRequire: timer\nSession-Expires: 100;refresher=uac\n\
                Allow: INVITE, ACK, BYE";
    let mut call = up(SIP_JS, core);
    call.pass(Duration::from_secs(50));
    let agreed = "Session-Expires: 100;refresher=uac";
    let answer = Some(Phone::PCMA.sdp());
    call.answer_with(IMS, &Method::Invite, 200, "phone", answer, agreed);
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 50.0 s
        ims < INVITE [8 101 sendrecv v2]
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

// Conforms: RFC 4028 §10 | A session that nobody refreshes is ended before its interval is over.
#[test]
fn a_core_that_refreshes_itself_and_stops_loses_the_call() {
    let core = "Supported: timer\nRequire: timer\nSession-Expires: 90;refresher=uas";
    let mut call = up(SIP_JS, core);
    call.pass(Duration::from_secs(50));
    call.request(
        IMS,
        Method::Update,
        None,
        "Session-Expires: 90;refresher=uac\nSupported: timer",
    );
    call.pass(Duration::from_secs(59));
    assert!(call.session.is_up());
    call.take_ladder();
    call.pass(Duration::from_secs(2));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 110.0 s
        ims < BYE {Reason: SIP;cause=408;text="Session expired"}
        browser < BYE {Reason: SIP;cause=408;text="Session expired"}
        media < Release
        "#,
    );
}

#[test]
fn a_refresh_that_finds_no_dialog_ends_the_call() {
    let mut call = up(JSSIP, "");
    call.pass(Duration::from_secs(45));
    call.take_ladder();
    call.answer_with(BROWSER, &Method::Update, 481, "caller", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > 481 UPDATE
        ims < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        browser < BYE {Reason: SIP;cause=481;text="Far end lost the call"}
        media < Release
        "#,
    );
}

#[test]
fn a_refresh_waits_for_a_page_that_is_away() {
    let mut call = up(JSSIP, "");
    call.pass(Duration::from_secs(40));
    call.lose_flow();
    call.pass(Duration::from_secs(10));
    call.restore_flow();
    call.take_ladder();
    call.pass(Duration::from_secs(8));
    let ladder = call.take_ladder();
    assert!(ladder.contains("browser < UPDATE"), "{ladder}");
    assert!(call.session.is_up());
}
