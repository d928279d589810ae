//! The first offer and answer of a call.

use super::*;

#[test]
fn a_browsers_offer_reaches_the_ims_as_plain_rtp() {
    let browser = access(OFFER_AUDIO, Part::Offer).unwrap();
    let mut ims = ImsSide::new(3_876_541 << 12);

    let offer = ims.offer(&everything_of(&browser.audio.formats), ims_address());

    insta::assert_snapshot!(text(&offer), @r"
    v=0
    o=- 3876541 1 IN IP4 198.51.100.10
    s=-
    c=IN IP4 198.51.100.10
    t=0 0
    m=audio 30000 RTP/AVP 8 0 101
    b=AS:80
    b=RS:600
    b=RR:2000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:0 PCMU/8000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-15
    a=ptime:20
    a=sendrecv
    ");
}

#[test]
fn a_core_answer_reaches_the_browser_as_one_bundled_ice_lite_line() {
    let (browser, core, bytes) = call_out(OFFER_AUDIO, CORE_ANSWER);

    insta::assert_snapshot!(text(&bytes), @r"
    v=0
    o=- 7 1 IN IP4 203.0.113.5
    s=-
    c=IN IP4 203.0.113.5
    t=0 0
    a=ice-lite
    a=group:BUNDLE 0
    m=audio 50000 UDP/TLS/RTP/SAVPF 8 126
    a=rtpmap:8 PCMA/8000
    a=rtpmap:126 telephone-event/8000
    a=fmtp:126 0-15
    a=ptime:20
    a=mid:0
    a=rtcp-mux
    a=sendrecv
    a=msid:gatehouse audio
    a=ice-ufrag:x7Qp
    a=ice-pwd:0123456789abcdefghijklmn
    a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
    a=setup:passive
    a=candidate:1 1 udp 2130706431 203.0.113.5 50000 typ host
    a=candidate:2 1 udp 2130706175 2001:db8::5 50000 typ host
    a=end-of-candidates
    ");
    assert_eq!(browser.remote().unwrap().dtls_role, DtlsRole::Server);
    assert_eq!(
        lines(&browser, &core),
        [iq::Line {
            index: 0,
            payloads: vec![
                payload(PayloadFormat::Pcma, (8, 8), (8, 8)),
                payload(PayloadFormat::TelephoneEvent, (126, 126), (101, 99)),
            ],
            access: Flow::BOTH,
            ims: Flow::BOTH,
            ims_remote: Some(iq::ImsRemote {
                rtp: addr("198.51.100.77:40000"),
                rtcp: addr("198.51.100.77:40001"),
            }),
            ims_rtcp: true,
        }]
    );
}

#[test]
fn an_offer_of_the_core_reaches_the_browser_with_one_codec() {
    let offer = ims(CORE_OFFER, Part::Offer).unwrap();
    let policy = CodecPolicy::default();
    let mut browser = AccessSide::new(7 << 12);

    let audio = Audio {
        formats: single(&ImsSide::offerable(&policy, &offer)),
        direction: offer.audio.direction,
    };
    let bytes = browser.offer(&audio, &transport());

    insta::assert_snapshot!(text(&bytes), @r"
    v=0
    o=- 7 1 IN IP4 203.0.113.5
    s=-
    c=IN IP4 203.0.113.5
    t=0 0
    a=ice-lite
    a=group:BUNDLE 0
    m=audio 50000 UDP/TLS/RTP/SAVPF 8 101
    a=rtpmap:8 PCMA/8000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-15
    a=ptime:20
    a=mid:0
    a=rtcp-mux
    a=sendrecv
    a=msid:gatehouse audio
    a=ice-ufrag:x7Qp
    a=ice-pwd:0123456789abcdefghijklmn
    a=fingerprint:sha-256 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
    a=setup:actpass
    a=candidate:1 1 udp 2130706431 203.0.113.5 50000 typ host
    a=candidate:2 1 udp 2130706175 2001:db8::5 50000 typ host
    a=end-of-candidates
    ");
}

#[test]
fn a_core_is_answered_with_one_codec_and_a_refusal_of_every_other_line() {
    let (_, _, bytes) = call_in();

    insta::assert_snapshot!(text(&bytes), @r"
    v=0
    o=- 9 1 IN IP4 198.51.100.10
    s=-
    c=IN IP4 198.51.100.10
    t=0 0
    m=video 0 RTP/AVP 99
    m=audio 30000 RTP/AVP 8 97
    b=AS:80
    b=RS:600
    b=RR:2000
    a=rtpmap:8 PCMA/8000
    a=rtpmap:97 telephone-event/8000
    a=fmtp:97 0-15
    a=ptime:20
    a=sendrecv
    m=image 0 udptl t38
    ");
}

#[test]
fn video_and_data_are_refused_in_their_place_with_their_name_and_out_of_the_group() {
    let (_, _, bytes) = call_out(OFFER_ALL, CORE_ANSWER);

    let answer = parse(&bytes).unwrap();
    assert_eq!(answer.attribute("group"), Some("BUNDLE 0"));
    let shape: Vec<_> = answer
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
    assert_eq!(answer.media[2].protocol, "UDP/DTLS/SCTP");
    assert_eq!(answer.media[1].attributes.len(), 1, "nothing but the mid");
}

#[test]
fn audio_inside_a_bundle_takes_its_transport_from_the_line_that_is_tagged() {
    for (offer, mid, position) in [
        (OFFER_MAX_BUNDLE, "0", 0),
        (OFFER_VIDEO_FIRST, "1", 1),
        (OFFER_BUNDLE_ONLY, "1", 1),
    ] {
        let browser = access(offer, Part::Offer).unwrap();
        assert_eq!(browser.audio.position, position);
        assert!(browser.audio.is_bundled);
        let (_, _, bytes) = call_out(offer, CORE_ANSWER);
        let answer = parse(&bytes).unwrap();
        assert_eq!(
            answer.attribute("group"),
            Some(format!("BUNDLE {mid}").as_str())
        );
        assert_ne!(answer.media[position].port, 0);
    }
}

#[test]
fn a_line_that_is_bundle_only_is_neither_removed_nor_held() {
    let offer: String = OFFER_VIDEO_FIRST
        .replace("m=audio 9", "a=x-audio-from-here\r\nm=audio 0")
        .replace("a=mid:1", "a=mid:1\r\na=bundle-only");
    let (head, audio) = offer.split_once("a=x-audio-from-here").unwrap();
    let audio: String = audio
        .lines()
        .filter(|line| {
            !["a=ice", "a=fing", "a=setup", "a=rtcp-mux"]
                .iter()
                .any(|s| line.starts_with(s))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let offer = format!("{}{}", head, audio.trim_start());

    let browser = access(&offer, Part::Offer).unwrap();

    assert_eq!(browser.audio.position, 1);
    assert_eq!(browser, access(OFFER_VIDEO_FIRST, Part::Offer).unwrap());
}

#[test]
fn a_browser_that_cannot_be_served_is_told_why() {
    let without = |needle: &str| -> String {
        let lines = OFFER_AUDIO.lines().filter(|line| !line.contains(needle));
        lines.map(|line| format!("{line}\r\n")).collect()
    };
    let cases = [
        (without("a=rtcp-mux"), SdpError::NoRtcpMux),
        (without("a=fingerprint"), SdpError::NoFingerprint),
        (without("a=ice-pwd"), SdpError::NoIce),
        (
            OFFER_AUDIO.replace("a=ice-pwd:", "a=ice-pwd:x\r\na=y:"),
            SdpError::BadIce,
        ),
        (
            OFFER_AUDIO.replace("sha-256", "sha-1"),
            SdpError::WeakFingerprint,
        ),
        (
            OFFER_AUDIO.replace("sha-256 ", "sha-256 AA:"),
            SdpError::BadFingerprint,
        ),
        (
            OFFER_AUDIO.replace("setup:actpass", "setup:holdconn"),
            SdpError::BadSetup,
        ),
        (
            OFFER_AUDIO.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            SdpError::Protocol("RTP/AVP".to_owned()),
        ),
        (
            OFFER_AUDIO
                .replace("111 63 9 0 8 13", "111 63 9 13")
                .replace("PCMU", "x")
                .replace("PCMA", "y"),
            SdpError::NoCommonCodec,
        ),
        (
            OFFER_AUDIO.replace("m=audio 5", "m=text 5"),
            SdpError::NoAudio,
        ),
    ];
    for (offer, expected) in cases {
        let error = access(&offer, Part::Offer).unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(error.status_code(), 488);
    }
}

#[test]
fn every_fingerprint_that_is_strong_enough_is_kept() {
    let sha512 = ["AB"; 64].join(":");
    let offer = OFFER_AUDIO.replace(
        "a=fingerprint",
        &format!("a=fingerprint:sha-512 {sha512}\r\na=fingerprint:md5 00:01\r\na=fingerprint"),
    );

    let browser = access(&offer, Part::Offer).unwrap();

    let hashes: Vec<_> = browser.audio.fingerprints.iter().map(|f| f.hash).collect();
    assert_eq!(hashes, [FingerprintHash::Sha512, FingerprintHash::Sha256]);
}

#[test]
fn credentials_at_session_level_serve_as_well() {
    let mut session = String::new();
    let mut media = String::new();
    for line in OFFER_AUDIO.lines() {
        let is_transport = ["a=ice-", "a=fingerprint", "a=setup"]
            .iter()
            .any(|start| line.starts_with(start));
        let is_head = !media.starts_with("m=") && !line.starts_with("m=");
        let part = if is_transport || is_head {
            &mut session
        } else {
            &mut media
        };
        *part += &format!("{line}\n");
    }

    let moved = access(&format!("{session}{media}"), Part::Offer).unwrap();

    assert_eq!(moved, access(OFFER_AUDIO, Part::Offer).unwrap());
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let offered = || {
        let browser = access(OFFER_AUDIO, Part::Offer).unwrap();
        let mut core = ImsSide::new(1);
        core.offer(&everything_of(&browser.audio.formats), ims_address());
        core
    };
    let two_lines = format!("{CORE_ANSWER}m=video 0 RTP/AVP 99\r\n");
    let mut core = offered();
    let answer = ims(&two_lines, Part::Answer).unwrap();
    assert!(matches!(
        core.handle_answer(answer),
        Err(SdpError::AnswerMismatch(_))
    ));
    let refused = CORE_ANSWER.replace("m=audio 40000", "m=audio 0");
    assert_eq!(ims(&refused, Part::Answer), Err(SdpError::AudioRefused));
    let answer = ims(CORE_ANSWER, Part::Answer).unwrap();
    assert_eq!(core.handle_answer(answer.clone()), Ok(()));
    assert!(matches!(
        core.handle_answer(answer),
        Err(SdpError::AnswerMismatch(_))
    ));
}

#[test]
fn each_fork_takes_its_own_answer_to_the_same_offer() {
    let browser = access(OFFER_AUDIO, Part::Offer).unwrap();
    let mut first = ImsSide::new(1);
    first.offer(&everything_of(&browser.audio.formats), ims_address());
    let mut second = first.clone();

    first
        .handle_answer(ims(CORE_ANSWER, Part::Answer).unwrap())
        .unwrap();
    let other = CORE_ANSWER.replace("RTP/AVP 8 99", "RTP/AVP 0 99");
    second
        .handle_answer(ims(&other, Part::Answer).unwrap())
        .unwrap();

    assert_eq!(first.agreed().unwrap().codec(), Some(PayloadFormat::Pcma));
    assert_eq!(second.agreed().unwrap().codec(), Some(PayloadFormat::Pcmu));
}

#[test]
fn rtcp_goes_where_the_core_says() {
    let at = |extra: &str| {
        let body = format!("{CORE_ANSWER}{extra}\r\n");
        ims(&body, Part::Answer).unwrap().audio.remote.unwrap().rtcp
    };
    assert_eq!(at("a=rtcp:40009"), addr("198.51.100.77:40009"));
    assert_eq!(
        at("a=rtcp:40009 IN IP4 198.51.100.99"),
        addr("198.51.100.99:40009")
    );
    assert_eq!(at("a=rtcp-mux"), addr("198.51.100.77:40001"));
    let silent = CORE_ANSWER.replace("a=rtpmap:8", "b=RS:0\r\nb=RR:0\r\na=rtpmap:8");
    assert!(!ims(&silent, Part::Answer).unwrap().audio.is_rtcp_on);
}

#[test]
fn an_ipv6_core_gets_ipv6_figures() {
    let browser = access(OFFER_AUDIO, Part::Offer).unwrap();
    let address = ImsAddress {
        rtp: addr("[2001:db8::10]:30000"),
        rtcp: addr("[2001:db8::10]:30001"),
    };
    let offer = ImsSide::new(1).offer(&everything_of(&browser.audio.formats), address);
    assert!(text(&offer).contains("c=IN IP6 2001:db8::10"));
    assert!(text(&offer).contains("b=AS:88"));
}

#[test]
fn nothing_of_a_browser_reaches_the_core() {
    let (_, mut core, _) = call_out(OFFER_ALL, CORE_ANSWER);
    let written = text(&core.offer(&core.current().unwrap(), ims_address()));
    for leak in [
        "candidate",
        "ice-",
        "fingerprint",
        "setup",
        "SAVPF",
        "mid",
        "mux",
        "group",
        "extmap",
        "ssrc",
        "rtcp-fb",
        "opus",
        "red",
        "192.0.2.2",
        "WMS",
    ] {
        assert!(!written.contains(leak), "{leak}");
    }
}
