//! What a stranger sends to the access listener before it is a flow.

use std::path::Path;

use transport::http::{Decision, Head, MAX_HEAD, Policy, decide, find_head};
use transport::web_root::WebRoot;

/// Reads the bytes as the head of a request, as it arrives and whole, and answers it.
///
/// # Panics
///
/// When a head is found where none is, or a handshake is let in that must not be.
pub fn websocket_upgrade(data: &[u8]) {
    let policy = Policy {
        server_names: vec!["gw.example.com".to_owned()],
        origins: vec!["https://app.example.com".to_owned()],
        path: "/sip".to_owned(),
        gives_tickets: true,
    };
    // A head that arrives in two pieces is the head that arrives in one.
    let half = find_head(&data[..data.len() / 2]);
    let whole = find_head(data);
    if half != Head::Partial {
        assert_eq!(half, whole, "a verdict stands");
    }
    let head = match whole {
        Head::Complete { len } => {
            assert!(len <= MAX_HEAD && data[..len].ends_with(b"\r\n\r\n"));
            &data[..len]
        }
        Head::Partial => {
            assert!(data.len() <= MAX_HEAD, "nobody waits for ever");
            data
        }
        Head::TooLarge => data,
    };
    match decide(head, &policy) {
        Decision::Upgrade { accept, .. } => {
            assert_eq!(accept.len(), 28, "a SHA-1 in base64");
            for needed in ["GET ", "/sip", "https://app.example.com", "sip", "13"] {
                let found = head.windows(needed.len()).any(|w| w == needed.as_bytes());
                assert!(found, "let in without {needed:?}");
            }
        }
        Decision::Page(request) => {
            let root = WebRoot {
                folder: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")),
                config_json: bytes::Bytes::new(),
            };
            match root.answer(&request) {
                Ok(response) => assert!(response.head.ends_with(b"\r\n\r\n")),
                Err(refusal) => assert_eq!(refusal.status().0, 404),
            }
        }
        Decision::Session { origin, .. }
        | Decision::NoToken { origin }
        | Decision::Preflight { origin } => {
            assert_eq!(origin, "https://app.example.com");
            assert!(head.windows(11).any(|w| w == b"/v1/session"));
        }
        Decision::Refuse(refusal) => {
            let response = refusal.response(5);
            assert!(response.starts_with(b"HTTP/1.1 4"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_and_every_flipped_octet_of_a_handshake_has_an_answer() {
        let good = b"GET /sip?v=1 HTTP/1.1\r\nHost: gw.example.com:8443\r\nUpgrade: websocket\r\n\
            Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
            Origin: https://app.example.com\r\n\r\n";
        for cut in 0..=good.len() {
            websocket_upgrade(&good[..cut]);
        }
        for at in 0..good.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                websocket_upgrade(&bad);
            }
        }
    }
}
