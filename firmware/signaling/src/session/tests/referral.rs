//! REFER both ways, and dialogs that take another's place: RFC 3515, RFC 3891.

use std::time::Duration;

use iq::AccessLoss;

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, assert_ladder, status};
use crate::message::{HeaderName, Method};

const CAROL: &str = "Refer-To: <sip:carol@ims.test>";

#[test]
fn a_browser_refers_the_far_end_and_hears_how_it_goes() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Refer, None, CAROL);
    call.answer_with(IMS, &Method::Refer, 202, "phone", None, "");
    let notice = |call: &mut Call, text: &'static str, state| {
        let headers = format!("Event: refer;id=2\nSubscription-State: {state}");
        call.request(IMS, Method::Notify, Some(text.into()), &headers);
    };
    notice(&mut call, "SIP/2.0 100 Trying\r\n", "active;expires=60");
    let done = "SIP/2.0 200 Fine\r\nContact: <sip:10.0.0.1>\r\n";
    notice(&mut call, done, "terminated;reason=noresource;x=y");
    notice(&mut call, done, "terminated");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > REFER {Refer-To: <sip:carol@ims.test>}
        ims < REFER {Refer-To: <sip:carol@ims.test>} {Referred-By: <sip:alice@ims.test>}
        ims > 202 REFER
        browser < 202 REFER
        ims > NOTIFY "SIP/2.0 100 Trying" {Event: refer;id=2} {Subscription-State: active;expires=60}
        ims < 200 NOTIFY
        browser < NOTIFY "SIP/2.0 100 Trying" {Event: refer;id=2} {Subscription-State: active;expires=60}
        ims > NOTIFY "SIP/2.0 200 Fine\r\nContact: <sip:10.0.0.1>" {Event: refer;id=2} {Subscription-State: terminated;reason=noresource;x=y}
        ims < 200 NOTIFY
        browser < NOTIFY "SIP/2.0 200 OK" {Event: refer;id=2} {Subscription-State: terminated;reason=noresource}
        ims > NOTIFY "SIP/2.0 200 Fine\r\nContact: <sip:10.0.0.1>" {Event: refer;id=2} {Subscription-State: terminated}
        ims < 481 NOTIFY
        "#,
    );
}

#[test]
fn a_notify_that_overtakes_the_answer_to_its_refer_says_that_it_was_accepted() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Refer, None, CAROL);
    call.take_ladder();
    call.request(
        IMS,
        Method::Notify,
        Some("SIP/2.0 200 OK\r\n".into()),
        "Event: refer;id=2\nSubscription-State: terminated",
    );
    call.answer_with(IMS, &Method::Refer, 202, "phone", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > NOTIFY "SIP/2.0 200 OK" {Event: refer;id=2} {Subscription-State: terminated}
        ims < 200 NOTIFY
        browser < 202 REFER
        browser < NOTIFY "SIP/2.0 200 OK" {Event: refer;id=2} {Subscription-State: terminated}
        ims > 202 REFER
        "#,
    );
}

#[test]
fn a_message_inside_a_call_is_handed_on() {
    let mut call = Call::up_from_browser();
    let text = "Content-Type: text/plain";
    call.request(BROWSER, Method::Message, Some("hello".into()), text);
    assert_eq!(call.last_request(IMS).body, "hello");
    call.answer_with(IMS, &Method::Message, 200, "phone", None, "");
    assert_eq!(call.last_response(BROWSER).status.code(), 200);
    let long = Some("x".repeat(1301).into());
    call.request(IMS, Method::Message, long, text);
    assert_eq!(call.last_response(IMS).status.code(), 513);
}

#[test]
fn a_far_end_that_takes_no_referral_says_so() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Refer, None, CAROL);
    call.answer_with(IMS, &Method::Refer, 603, "phone", None, "");
    assert_eq!(call.last_response(BROWSER).status.code(), 603);
    call.request(
        IMS,
        Method::Notify,
        Some("SIP/2.0 100 Trying\r\n".into()),
        "Event: refer\nSubscription-State: active",
    );
    assert_eq!(call.last_response(IMS).status.code(), 481);
}

#[test]
fn a_referral_that_waits_when_the_call_ends_is_answered() {
    let mut call = Call::up_from_browser();
    call.request(BROWSER, Method::Refer, None, CAROL);
    call.take_ladder();
    call.request(BROWSER, Method::Bye, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > BYE
        browser < 200 BYE
        browser < 487 REFER
        ims < BYE
        media < Release
        "#,
    );
}

#[test]
fn the_core_refers_a_browser_only_where_the_operator_lets_it() {
    let mut call = Call::up_from_ims();
    call.request(IMS, Method::Refer, None, CAROL);
    let refusal = call.last_response(IMS);
    assert_eq!(refusal.status.code(), 405);
    assert!(!refusal.headers.lists_token(&HeaderName::Allow, "REFER"));

    let mut world = World::new();
    world.services.refer_from_ims = true;
    let mut call = Call::start(world, IMS, Some(Phone::PCMA.sdp()), "");
    call.reserved("wAlT");
    call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
    call.ack(IMS, None);
    call.take_ladder();
    call.request(IMS, Method::Refer, None, CAROL);
    call.answer_with(BROWSER, &Method::Refer, 202, "page", None, "");
    call.request(
        BROWSER,
        Method::Notify,
        Some("SIP/2.0 200 OK\r\n".into()),
        "Event: refer\nSubscription-State: terminated",
    );
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > REFER {Refer-To: <sip:carol@ims.test>}
        browser < REFER {Refer-To: <sip:carol@ims.test>} {Referred-By: <sip:alice@ims.test>}
        browser > 202 REFER
        ims < 202 REFER
        browser > NOTIFY "SIP/2.0 200 OK" {Event: refer} {Subscription-State: terminated}
        browser < 200 NOTIFY
        ims < NOTIFY "SIP/2.0 200 OK" {Event: refer;id=2} {Subscription-State: terminated}
        "#,
    );
}

#[test]
fn a_page_that_was_loaded_anew_takes_its_call_up_again() {
    let mut call = Call::up_from_browser();
    call.lose_flow();
    let session = call.session.id();
    let loss = AccessLoss::Closed;
    call.media(iq::Reply::AccessLost { session, loss });
    call.pass(Duration::from_secs(3));
    call.restore_flow();
    let again = Browser {
        ufrag: "new1",
        ..Browser::OFFER
    };
    call.replace(BROWSER, Some(again.sdp())).unwrap();
    call.reserved("NeWu");
    call.ack(BROWSER, None);
    call.answer_with(BROWSER, &Method::Bye, 481, "caller", None, "");
    call.pass(Duration::from_secs(10));
    call.request(BROWSER, Method::Bye, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        media > AccessLost: closed by the browser
        after 3.0 s
        browser > (connection back)
        browser > INVITE [111 0 8 126 sendrecv new1 v2] instead
        media < RestartIce
        media > Reserved
        browser < 200 [8 126 sendrecv NeWu v1]
        browser < BYE
        media < Configure new1 Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser > ACK
        browser > 481 BYE
        after 13.0 s
        browser > BYE
        browser < 200 BYE
        ims < BYE
        media < Release
        "#,
    );
}

#[test]
fn a_page_that_comes_back_without_its_hold_ends_it() {
    let mut call = Call::up_from_browser();
    let hold = Browser {
        direction: "sendonly",
        ..Browser::OFFER
    };
    let held = Phone {
        direction: "recvonly",
        ..Phone::PCMA
    };
    call.request(BROWSER, Method::Invite, Some(hold.sdp()), "");
    call.answer(IMS, 200, "phone", Some(held.sdp()));
    call.ack(BROWSER, None);
    call.take_ladder();
    call.replace(BROWSER, Some(Browser::OFFER.sdp())).unwrap();
    call.reserved("NeWu");
    call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2] instead
        media < RestartIce
        media > Reserved
        ims < INVITE [8 101 sendrecv v3]
        ims > 200 [8 101 sendrecv v1]
        ims < ACK
        browser < 200 [8 126 sendrecv NeWu v1]
        browser < BYE
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        "#,
    );
}

#[test]
fn somebody_beyond_the_core_takes_over_from_the_far_end() {
    let mut call = Call::up_from_browser();
    let other = Phone {
        port: 46000,
        ..Phone::PCMA
    };
    call.replace(IMS, Some(other.sdp())).unwrap();
    call.ack(IMS, None);
    call.answer_with(IMS, &Method::Bye, 200, "phone", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        ims > INVITE [8 101 sendrecv v1] instead
        ims < 200 [8 101 sendrecv v1]
        ims < BYE
        media < Configure Byrc Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:46000
        ims > ACK
        ims > 200 BYE
        "#,
    );
    assert!(call.session.is_up());
}

#[test]
fn a_call_stays_as_it_is_when_it_cannot_be_taken_over() {
    let mut call = Call::up_from_browser();
    let foreign = Phone {
        formats: "9 101",
        ..Phone::PCMA
    };
    call.replace(IMS, Some(foreign.sdp())).unwrap();
    call.request(IMS, Method::Update, None, "");
    assert!(call.take_ladder().contains("ims < 488"));

    call.replace(BROWSER, None).unwrap();
    assert!(call.take_ladder().contains("browser < 488"));
    assert!(call.session.is_up());

    let mut ringing = Call::from_browser();
    ringing.reserved("wAlT");
    let verdict = ringing.replace(IMS, Some(Phone::PCMA.sdp()));
    assert_eq!(verdict, Err(status(481)));
}

#[test]
fn a_page_that_gives_up_while_it_comes_back_leaves_the_call_as_it_is() {
    let mut call = Call::up_from_browser();
    call.replace(BROWSER, Some(Browser::OFFER.sdp())).unwrap();
    call.cancel_re_offer(BROWSER);
    call.reserved("NeWu");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > INVITE [111 0 8 126 sendrecv Byrc v2] instead
        media < RestartIce
        browser > CANCEL
        browser < 487
        media > Reserved
        "#,
    );
    assert!(call.session.is_up());
}
