//! Whole negotiations, with what Chromium 156 really sends.

mod again;
mod first;

use std::net::SocketAddr;

use iq::{
    AccessTransport, DtlsRole, Fingerprint, FingerprintHash, Flow, IceCredentials, ImsAddress,
    PayloadFormat, PayloadNumbers, Private,
};

use super::*;

const OFFER_AUDIO: &str =
    include_str!("../../../../../tests/fixtures/chromium-156/offer-audio.sdp");
pub(super) const OFFER_ALL: &str =
    include_str!("../../../../../tests/fixtures/chromium-156/offer-audio-video-data.sdp");
const OFFER_MAX_BUNDLE: &str =
    include_str!("../../../../../tests/fixtures/chromium-156/offer-max-bundle.sdp");
const OFFER_BUNDLE_ONLY: &str = include_str!(
    "../../../../../tests/fixtures/chromium-156/offer-max-bundle-before-gathering.sdp"
);
const OFFER_VIDEO_FIRST: &str =
    include_str!("../../../../../tests/fixtures/chromium-156/offer-max-bundle-video-first.sdp");

/// A browser calls: the browser's offer, the core's answer, and what the browser is
/// answered.
fn call_out(offer: &str, answer: &str) -> (AccessSide, ImsSide, bytes::Bytes) {
    let offer = access(offer, Part::Offer).unwrap();
    let mut core = ImsSide::new(9 << 12);
    core.offer(&everything_of(&offer.audio.formats), ims_address());
    core.handle_answer(ims(answer, Part::Answer).unwrap())
        .unwrap();
    let said = &core.peer().unwrap().audio;
    let audio = Audio {
        formats: common(&offer.audio.formats, &said.formats),
        direction: said.direction,
    };
    let mut browser = AccessSide::new(7 << 12);
    let bytes = browser.answer(&offer, &audio, &transport()).unwrap();
    (browser, core, bytes)
}

/// A browser is called: the core's offer, the browser's answer, and what the core is
/// answered.
fn call_in() -> (AccessSide, ImsSide, bytes::Bytes) {
    let offer = ims(CORE_OFFER, Part::Offer).unwrap();
    let mut browser = AccessSide::new(7 << 12);
    let audio = Audio {
        formats: single(&ImsSide::offerable(&CodecPolicy::default(), &offer)),
        direction: offer.audio.direction,
    };
    browser.offer(&audio, &transport());
    let answer = OFFER_AUDIO
        .replace("111 63 9 0 8 13 110 126", "8 101")
        .replace("a=rtpmap:126", "a=rtpmap:101")
        .replace("actpass", "active");
    browser
        .handle_answer(access(&answer, Part::Answer).unwrap())
        .unwrap();
    let said = &browser.peer().unwrap().audio;
    let audio = Audio {
        formats: single(&common(&offer.audio.formats, &said.formats)),
        direction: said.direction,
    };
    let mut core = ImsSide::new(9 << 12);
    let bytes = core.answer(&offer, &audio, ims_address()).unwrap();
    (browser, core, bytes)
}

const CORE_ANSWER: &str = "v=0\r\no=phone 1 1 IN IP4 198.51.100.77\r\ns=call\r\n\
    c=IN IP4 198.51.100.77\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 99\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:99 telephone-event/8000\r\na=fmtp:99 0-16\r\na=sendrecv\r\n";

const CORE_OFFER: &str = "v=0\r\no=phone 1 1 IN IP4 198.51.100.77\r\ns=call\r\n\
    c=IN IP4 198.51.100.77\r\nt=0 0\r\nm=video 40002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n\
    m=audio 40000 RTP/AVP 96 8 0 97 98\r\na=rtpmap:96 AMR-WB/16000\r\n\
    a=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/16000\r\na=ptime:20\r\n\
    a=curr:qos local none\r\nm=image 40004 udptl t38\r\n";

fn access(body: &str, part: Part) -> Result<AccessDescription, SdpError> {
    AccessDescription::read(&parse(body.as_bytes()).unwrap(), part)
}

fn ims(body: &str, part: Part) -> Result<ImsDescription, SdpError> {
    ImsDescription::read(&parse(body.as_bytes()).unwrap(), part)
}

pub(super) fn everything_of(formats: &[Format]) -> Audio {
    Audio {
        formats: CodecPolicy::default().of(formats),
        direction: Direction::SendRecv,
    }
}

fn payload(format: PayloadFormat, access: (u8, u8), ims: (u8, u8)) -> iq::Payload {
    let numbers = |(receive, send)| PayloadNumbers { receive, send };
    iq::Payload {
        format,
        clock_rate: 8000,
        access: numbers(access),
        ims: numbers(ims),
    }
}

fn ims_address() -> ImsAddress {
    ImsAddress {
        rtp: addr("198.51.100.10:30000"),
        rtcp: addr("198.51.100.10:30001"),
    }
}

pub(super) fn transport() -> AccessTransport {
    AccessTransport {
        candidates: vec![addr("203.0.113.5:50000"), addr("[2001:db8::5]:50000")],
        ice: IceCredentials {
            ufrag: "x7Qp".to_owned(),
            pwd: Private::new("0123456789abcdefghijklmn".to_owned()),
        },
        fingerprint: Fingerprint {
            hash: FingerprintHash::Sha256,
            value: vec![0xab; 32],
        },
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn text(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with("\r\n"));
    text.replace("\r\n", "\n")
}
