//! What the media plane reports, and connections that come and go.

use std::time::Duration;

use iq::{AccessLoss, Reply};

use super::call::Call;
use super::sdp_text::{Browser, Phone};
use super::{BROWSER, IMS, assert_ladder};
use crate::message::Method;

fn lose(call: &mut Call, loss: AccessLoss) {
    let session = call.session.id();
    call.media(Reply::AccessLost { session, loss });
}

#[test]
fn a_closed_tab_frees_the_far_end_when_its_page_does_not_come_back() {
    let mut call = Call::up_from_browser();
    call.lose_flow();
    lose(&mut call, AccessLoss::ConsentExpired);
    call.pass(Duration::from_secs(6));
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        media > AccessLost: consent expired
        after 5.0 s
        ims < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        media < Release
        "#,
    );
}

#[test]
fn a_browser_without_media_may_come_back_within_seconds() {
    let mut call = Call::up_from_browser();
    lose(&mut call, AccessLoss::ConsentExpired);
    call.pass(Duration::from_secs(6));
    assert_ladder(
        &call.take_ladder(),
        r#"
        media > AccessLost: consent expired
        after 5.0 s
        ims < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        browser < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        media < Release
        "#,
    );
}

#[test]
fn media_that_comes_back_saves_the_call() {
    let mut call = Call::up_from_browser();
    lose(&mut call, AccessLoss::ConsentExpired);
    call.pass(Duration::from_secs(3));
    call.media(Reply::Connected(iq::Connected {
        session: call.session.id(),
        profile: iq::SrtpProfile::AeadAes128Gcm,
        handshake: Duration::ZERO,
    }));
    call.pass(Duration::from_secs(10));
    assert!(call.session.is_up());
}

#[test]
fn a_page_that_never_comes_back_is_forgotten_in_time() {
    let mut call = Call::up_from_browser();
    call.lose_flow();
    lose(&mut call, AccessLoss::ConsentExpired);
    call.pass(Duration::from_secs(5));
    call.released();
    call.answer_with(IMS, &Method::Bye, 200, "phone", None, "");
    call.pass(Duration::from_secs(32));
    assert!(call.session.is_over());
}

#[test]
fn a_connection_that_follows_the_media_ends_the_call() {
    let mut call = Call::up_from_browser();
    lose(&mut call, AccessLoss::Closed);
    call.pass(Duration::from_secs(1));
    call.lose_flow();
    call.pass(Duration::from_secs(6));
    assert_ladder(
        &call.take_ladder(),
        r#"
        media > AccessLost: closed by the browser
        after 1.0 s
        browser > (connection lost)
        after 6.0 s
        ims < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        media < Release
        "#,
    );
}

#[test]
fn a_lost_connection_alone_does_not_end_the_call() {
    let mut call = Call::up_from_browser();
    call.lose_flow();
    call.pass(Duration::from_secs(60));
    call.restore_flow();
    call.request(IMS, Method::Bye, None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        after 60.0 s
        browser > (connection back)
        ims > BYE
        ims < 200 BYE
        browser < BYE
        media < Release
        "#,
    );
}

#[test]
fn a_page_that_leaves_before_the_answer_ends_the_call() {
    let mut call = Call::from_browser();
    call.reserved("wAlT");
    call.take_ladder();
    call.lose_flow();
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        ims < CANCEL {Reason: SIP;cause=503;text="Browser media lost"}
        browser < 480 {Reason: SIP;cause=503;text="Browser media lost"}
        media < Release
        "#,
    );
}

#[test]
fn a_browser_restarts_ice_on_another_network() {
    let mut call = Call::up_from_browser();
    lose(&mut call, AccessLoss::ConsentExpired);
    call.pass(Duration::from_secs(3));
    let offer = Browser {
        ufrag: "new1",
        ..Browser::OFFER
    };
    call.request(BROWSER, Method::Invite, Some(offer.sdp()), "");
    call.reserved("NeWu");
    call.ack(BROWSER, None);
    call.pass(Duration::from_secs(10));
    assert_ladder(
        &call.take_ladder(),
        r#"
        media > AccessLost: consent expired
        after 3.0 s
        browser > INVITE [111 0 8 126 sendrecv new1 v2]
        media < RestartIce
        media > Reserved
        browser < 200 [8 126 sendrecv NeWu v2]
        media < Configure new1 Pcma=8,TelephoneEvent=126 browser <> ims <> 198.51.100.7:40000
        browser > ACK
        "#,
    );
    assert!(call.session.is_up());
}

#[test]
fn a_restart_that_finds_no_path_ends_the_call() {
    let mut call = Call::up_from_browser();
    lose(&mut call, AccessLoss::ConsentExpired);
    let offer = Browser {
        ufrag: "new1",
        ..Browser::OFFER
    };
    call.request(BROWSER, Method::Invite, Some(offer.sdp()), "");
    call.reserved("NeWu");
    call.ack(BROWSER, None);
    call.take_ladder();
    call.pass(Duration::from_secs(21));
    assert_ladder(
        &call.take_ladder(),
        r#"
        after 20.0 s
        ims < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        browser < BYE {Reason: SIP;cause=503;text="Browser media lost"}
        media < Release
        "#,
    );
}

#[test]
fn a_wrong_certificate_ends_the_call_at_once() {
    for loss in [
        AccessLoss::FingerprintMismatch,
        AccessLoss::DtlsFailed,
        AccessLoss::IceTimeout,
    ] {
        let mut call = Call::up_from_browser();
        lose(&mut call, loss);
        let ladder = call.take_ladder();
        assert!(ladder.contains("ims < BYE"), "{ladder}");
        assert!(ladder.contains("browser < BYE"), "{ladder}");
    }
}

#[test]
fn a_silent_far_end_ends_the_call_unless_it_holds() {
    let silent = |call: &mut Call, seconds| {
        call.media(Reply::ImsSilent {
            session: call.session.id(),
            line: 0,
            silent_for: Duration::from_secs(seconds),
        });
    };
    let mut call = Call::up_from_browser();
    silent(&mut call, 60);
    assert!(call.session.is_up());
    silent(&mut call, 120);
    assert_ladder(
        &call.take_ladder(),
        r#"
        media > ImsSilent 60s
        media > ImsSilent 120s
        ims < BYE {Reason: SIP;cause=503;text="No media"}
        browser < BYE {Reason: SIP;cause=503;text="No media"}
        media < Release
        "#,
    );

    let mut held = Call::up_from_browser();
    let hold = Phone {
        direction: "recvonly",
        ..Phone::PCMA
    };
    held.request(IMS, Method::Invite, Some(hold.sdp()), "");
    let answer = Browser {
        direction: "sendonly",
        ..Browser::ANSWER
    };
    held.answer(BROWSER, 200, "caller", Some(answer.sdp()));
    held.ack(IMS, None);
    silent(&mut held, 600);
    assert!(held.session.is_up());
}

#[test]
fn a_page_that_comes_back_learns_that_the_far_end_hung_up() {
    let mut call = Call::up_from_browser();
    call.lose_flow();
    call.request(IMS, Method::Bye, None, "");
    call.released();
    call.pass(Duration::from_secs(3));
    call.restore_flow();
    call.answer_with(BROWSER, &Method::Bye, 200, "caller", None, "");
    assert_ladder(
        &call.take_ladder(),
        r#"
        browser > (connection lost)
        ims > BYE
        ims < 200 BYE
        media < Release
        media > Released
        record < ended by Ims
        after 3.0 s
        browser > (connection back)
        browser < BYE
        browser > 200 BYE
        "#,
    );
    assert!(call.session.is_over());
}
