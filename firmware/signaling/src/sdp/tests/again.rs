//! Offers after the first: hold, refresh, ICE restart.

use super::*;

#[test]
fn a_browsers_hold_and_resume_pass_to_the_core_and_back() {
    let (mut browser, mut core, _) = call_out(OFFER_AUDIO, CORE_ANSWER);

    let hold = access(
        &OFFER_AUDIO.replace("a=sendrecv", "a=sendonly"),
        Part::Offer,
    )
    .unwrap();
    let changes = browser.changes(&hold);
    assert_eq!(
        changes,
        Changes {
            direction: true,
            ..Changes::default()
        }
    );
    let audio = Audio {
        direction: hold.audio.direction,
        ..core.current().unwrap()
    };
    let offer = parse(&core.offer(&audio, ims_address())).unwrap();
    assert_eq!(offer.version, 2);
    assert!(offer.media[0].has("sendonly"));
    assert_eq!(offer.media[0].formats, ["8", "0", "101"]);
    let answer = CORE_ANSWER.replace("a=sendrecv", "a=recvonly");
    core.handle_answer(ims(&answer, Part::Answer).unwrap())
        .unwrap();
    let audio = Audio {
        direction: core.peer().unwrap().audio.direction,
        ..browser.current().unwrap()
    };
    let answer = parse(&browser.answer(&hold, &audio, &transport()).unwrap()).unwrap();

    assert!(answer.media[0].has("recvonly"));
    let line = &lines(&browser, &core)[0];
    assert_eq!(
        line.access,
        Flow {
            send: false,
            receive: true
        }
    );
    assert_eq!(
        line.ims,
        Flow {
            send: true,
            receive: false
        }
    );
}

/// What the far end says of itself, and what the box then says of itself on the
/// other leg; the rows are spec.md D.5.10 and RFC 3264 §8.4.
#[test]
fn hold_maps_between_the_legs() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let table = [
        // (offered, answered by the far end, written to the offerer)
        (SendRecv, SendRecv, SendRecv),
        (SendOnly, RecvOnly, RecvOnly),
        (SendOnly, Inactive, Inactive),
        (SendOnly, SendRecv, RecvOnly), // A far end that does not know hold.
        (RecvOnly, SendOnly, SendOnly),
        (RecvOnly, SendRecv, SendOnly),
        (Inactive, Inactive, Inactive),
        (Inactive, SendRecv, Inactive),
        (SendRecv, SendOnly, SendOnly), // Resumed while the far end holds.
        (SendRecv, Inactive, Inactive),
    ];
    for (offered, answered, written) in table {
        assert_eq!(answer_direction(offered, answered), written);
    }
}

#[test]
fn an_address_of_zeros_is_a_hold() {
    let (_, mut core, _) = call_out(OFFER_AUDIO, CORE_ANSWER);
    let old_hold = CORE_ANSWER.replace("198.51.100.77", "0.0.0.0");

    let offer = ims(&old_hold, Part::Offer).unwrap();
    assert_eq!(offer.audio.direction, Direction::Inactive);
    assert_eq!(offer.audio.remote, None);
    assert!(core.changes(&offer).concern_other_leg());
    let audio = core.current().unwrap();
    let answer = core.answer(&offer, &audio, ims_address()).unwrap();

    assert!(text(&answer).contains("a=inactive"));
    assert!(!text(&answer).contains("0.0.0.0"));
}

#[test]
fn the_version_goes_up_only_when_something_changed() {
    let (mut browser, mut core, _) = call_out(OFFER_AUDIO, CORE_ANSWER);
    let version = |bytes: &[u8]| parse(bytes).unwrap().version;

    let same = core.current().unwrap();
    let refresh = |core: &mut ImsSide, audio: &Audio| {
        let bytes = core.offer(audio, ims_address());
        core.handle_answer(ims(CORE_ANSWER, Part::Answer).unwrap())
            .unwrap();
        version(&bytes)
    };
    assert_eq!(refresh(&mut core, &same), 1);
    assert_eq!(refresh(&mut core, &same), 1);
    let hold = Audio {
        direction: Direction::SendOnly,
        ..same.clone()
    };
    assert_eq!(refresh(&mut core, &hold), 2);
    assert_eq!(refresh(&mut core, &same), 3);

    let again = access(OFFER_AUDIO, Part::Offer).unwrap();
    let audio = browser.current().unwrap();
    let answer = browser.answer(&again, &audio, &transport()).unwrap();
    assert_eq!(version(&answer), 1);
}

#[test]
fn a_refresh_of_the_core_or_its_new_address_is_no_concern_of_the_browser() {
    let (_, mut core, _) = call_in();

    let refresh = ims(CORE_OFFER, Part::Offer).unwrap();
    assert!(core.changes(&refresh).is_none());
    let moved = ims(
        &CORE_OFFER.replace("198.51.100.77", "198.51.100.78"),
        Part::Offer,
    )
    .unwrap();
    let changes = core.changes(&moved);
    assert!(changes.transport && !changes.concern_other_leg());
    let audio = core.current().unwrap();
    let answer = core.answer(&moved, &audio, ims_address()).unwrap();

    assert_eq!(
        parse(&answer).unwrap().version,
        1,
        "the box itself did not change"
    );
    assert_eq!(core.remote().unwrap().rtp, addr("198.51.100.78:40000"));
}

#[test]
fn an_ice_restart_is_seen_and_keeps_the_dtls_part() {
    let (mut browser, _, _) = call_out(
        &OFFER_AUDIO.replace("setup:actpass", "setup:passive"),
        CORE_ANSWER,
    );
    let restarted: String = OFFER_AUDIO
        .lines()
        .map(|line| match line.split_once("ufrag:") {
            Some(_) => "a=ice-ufrag:neww\r\n".to_owned(),
            None => format!("{line}\r\n"),
        })
        .collect();

    let offer = access(&restarted, Part::Offer).unwrap();
    let changes = browser.changes(&offer);
    assert!(changes.ice_restart && !changes.transport && !changes.concern_other_leg());
    let audio = browser.current().unwrap();
    let answer = browser.answer(&offer, &audio, &transport()).unwrap();

    assert!(text(&answer).contains("a=setup:active"));
    assert_eq!(browser.remote().unwrap().ice.ufrag, "neww");
    assert_eq!(browser.remote().unwrap().dtls_role, DtlsRole::Client);
}

#[test]
fn re_offers_of_the_box_keep_positions_names_numbers_and_group() {
    let (mut browser, _, _) = call_out(OFFER_ALL, CORE_ANSWER);
    let audio = Audio {
        direction: Direction::SendOnly,
        ..browser.current().unwrap()
    };

    let offer = parse(&browser.offer(&audio, &transport())).unwrap();

    let shape: Vec<_> = offer
        .media
        .iter()
        .map(|media| (media.kind.as_str(), media.port != 0, media.attribute("mid")))
        .collect();
    assert_eq!(
        shape,
        [
            ("audio", true, Some("0")),
            ("video", false, Some("1")),
            ("application", false, Some("2")),
        ]
    );
    assert_eq!(offer.media[0].formats, ["8", "126"]);
    assert_eq!(offer.attribute("group"), Some("BUNDLE 0"));
    assert_eq!(offer.media[0].attribute("setup"), Some("actpass"));
}

#[test]
fn a_refused_re_offer_changes_nothing_but_the_version() {
    let (_, mut core, _) = call_out(OFFER_AUDIO, CORE_ANSWER);
    let before = core.agreed().cloned();
    let hold = Audio {
        direction: Direction::SendOnly,
        ..core.current().unwrap()
    };

    core.offer(&hold, ims_address());
    core.abandon_offer();

    assert_eq!(core.agreed().cloned(), before);
    assert!(!core.has_open_offer());
    let again = parse(&core.offer(&core.current().unwrap(), ims_address())).unwrap();
    assert_eq!(again.version, 3);
}
