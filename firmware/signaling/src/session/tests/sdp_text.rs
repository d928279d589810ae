//! Descriptions of the played peers, and a short name for any description.

use bytes::Bytes;

use crate::sdp;

/// What a browser says: formats, direction, ICE user name fragment, part in DTLS.
#[derive(Clone, Copy)]
pub(super) struct Browser {
    pub(super) formats: &'static str,
    pub(super) direction: &'static str,
    pub(super) ufrag: &'static str,
    pub(super) setup: &'static str,
}

impl Browser {
    pub(super) const OFFER: Self = Browser {
        formats: "111 0 8 126",
        direction: "sendrecv",
        ufrag: "Byrc",
        setup: "actpass",
    };

    pub(super) const ANSWER: Self = Browser {
        formats: "8 0 101",
        setup: "active",
        ..Browser::OFFER
    };

    pub(super) fn sdp(self) -> Bytes {
        let Browser {
            formats,
            direction,
            ufrag,
            setup,
        } = self;
        let fingerprint = ["1E"; 32].join(":");
        let events = formats.rsplit(' ').next().unwrap();
        Bytes::from(format!(
            "v=0\r\no=- 7666821458748777192 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE 0\r\nm=audio 41507 UDP/TLS/RTP/SAVPF {formats}\r\n\
             c=IN IP4 192.0.2.2\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:6IuG8zVK4O1M78n2Wshh6ytL\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\na=mid:0\r\n\
             a={direction}\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:{events} telephone-event/8000\r\n",
        ))
    }
}

/// What a telephone says: formats, direction, address and port, and how much of its
/// segment is ready (nothing said about it if empty).
#[derive(Clone, Copy)]
pub(super) struct Phone {
    pub(super) formats: &'static str,
    pub(super) direction: &'static str,
    pub(super) address: &'static str,
    pub(super) port: u16,
    pub(super) ready: &'static str,
}

impl Phone {
    pub(super) const PCMA: Self = Phone {
        formats: "8 101",
        direction: "sendrecv",
        address: "198.51.100.7",
        port: 40000,
        ready: "",
    };

    pub(super) fn sdp(self) -> Bytes {
        let Phone {
            formats,
            direction,
            address,
            port,
            ready,
        } = self;
        let events = formats.rsplit(' ').next().unwrap();
        let preconditions = match ready {
            "" => String::new(),
            ready => format!(
                "a=curr:qos local {ready}\r\na=curr:qos remote none\r\n\
                 a=des:qos mandatory local sendrecv\r\na=des:qos none remote sendrecv\r\n"
            ),
        };
        Bytes::from(format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\na=rtpmap:{events} telephone-event/8000\r\n\
             a={direction}\r\n{preconditions}"
        ))
    }
}

/// A short name: formats, direction, and the version of a description of the box.
pub(super) fn name(body: &[u8]) -> String {
    let Ok(description) = sdp::parse(body) else {
        return "garbage".to_owned();
    };
    let lines = description.media.iter().map(|media| {
        let direction = description.direction_of(media).as_str();
        let direction = format!("{direction}{}", preconditions(media));
        let formats = media.formats.join(" ");
        match (media.port, media.attribute("ice-ufrag")) {
            (0, _) => "refused".to_owned(),
            (_, Some(ufrag)) => format!("{formats} {direction} {ufrag}"),
            (_, None) => format!("{formats} {direction}"),
        }
    });
    let lines: Vec<_> = lines.collect();
    format!("[{} v{}]", lines.join(" | "), description.version)
}

/// What is ready of both segments; a question mark asks to be told about the other one.
fn preconditions(media: &sdp::Media) -> String {
    let current: Vec<&str> = media.attributes("curr").collect();
    let ready = |segment: &str| {
        let prefix = format!("qos {segment} ");
        current.iter().find_map(|it| it.strip_prefix(&*prefix))
    };
    match (ready("local"), ready("remote")) {
        (Some(local), Some(remote)) if media.has("conf") => format!(" qos {local}/{remote}?"),
        (Some(local), Some(remote)) => format!(" qos {local}/{remote}"),
        _ => String::new(),
    }
}
