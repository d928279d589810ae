//! What a stranger can send to the browsers' socket before any key is agreed: STUN and
//! DTLS, and whatever pretends to be one of them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use iq::{DtlsRole, Fingerprint, FingerprintHash};
use media::packet::stun::{StunMessage, integrity_key};
use media::peer::dtls::{Association, Output, Settings};
use media::{Certificate, Config};

/// Reads the bytes as a STUN message and answers it in every way there is.
///
/// # Panics
///
/// When an answer is more than 40 octets longer than its request could be, or cannot
/// be read.
pub fn stun(data: &[u8]) {
    let Ok(message) = StunMessage::parse(data) else {
        return;
    };
    let key = integrity_key("a password of 24 letters");
    let _ = (
        message.kind(),
        message.user_fragments(),
        message.has_sound_fingerprint(),
        message.verifies(&key),
    );
    let from = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 40_000).into();
    for answer in [
        message.success(from, &key),
        message.unknown_attribute(&key),
        message.role_conflict(&key),
    ] {
        // A request that is answered at all holds a user name and an integrity.
        assert!(answer.len() <= data.len().max(SMALLEST_CHECK) + 40);
        let answer = StunMessage::parse(&answer).expect("our answers can be read");
        assert!(answer.verifies(&key) && answer.has_sound_fingerprint());
    }
}

/// Feeds an association with datagrams: the first octet chooses the role, then each
/// datagram stands behind two octets of length, and an odd one lets time pass first.
///
/// # Panics
///
/// When strangers get keys.
pub fn dtls_edge(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else {
        return;
    };
    let role = match first & 1 {
        0 => DtlsRole::Server,
        _ => DtlsRole::Client,
    };
    let mut now = *START.get_or_init(Instant::now);
    let mut association = Association::new(role, settings(), now);
    let mut outputs = Vec::new();
    let promised = Fingerprint {
        hash: FingerprintHash::Sha256,
        value: vec![0; 32],
    };
    association.set_fingerprints(&[promised], &mut outputs);
    association.handle_timeout(now, &mut outputs);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length % 2 == 1 {
            now += Duration::from_millis(130);
            association.handle_timeout(now, &mut outputs);
        }
        let (datagram, after) = after.split_at(length.min(after.len()));
        association.handle_packet(datagram, now, &mut outputs);
        rest = after;
    }
    for _ in 0..40 {
        now += Duration::from_secs(1);
        association.handle_timeout(now, &mut outputs);
    }
    for output in outputs {
        match output {
            Output::Transmit(datagram) => assert!(datagram.len() <= 1200),
            Output::Established(_) => panic!("nobody has a certificate with that hash"),
            Output::Lost(_) => {}
        }
    }
}

fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let certificate = Certificate::generate().expect("the system has a random source");
        Settings::new(&Config::new(vec![], Arc::new(certificate)))
    })
}

static START: OnceLock<Instant> = OnceLock::new();

/// Header, a user name of both fragments, and MESSAGE-INTEGRITY.
const SMALLEST_CHECK: usize = 20 + 20 + 24;
