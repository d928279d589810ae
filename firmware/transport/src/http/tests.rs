use std::time::Duration;

use signaling::identity::PublicIdentity;
use signaling::message::Uri;

use super::*;

fn policy() -> Policy {
    Policy {
        server_names: vec!["gw.example.com".into(), "[::1]".into()],
        origins: vec!["https://app.example.com".into()],
        path: "/sip".into(),
        gives_tickets: true,
    }
}

const GOOD: &str = "GET /sip HTTP/1.1\r\nHost: gw.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
    Origin: https://app.example.com\r\n\r\n";

fn refused(head: &str) -> Option<Refusal> {
    match decide(head.as_bytes(), &policy()) {
        Decision::Refuse(refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn the_handshake_of_the_rfc_is_answered_with_its_accept_key() {
    assert_eq!(
        decide(GOOD.as_bytes(), &policy()),
        Decision::Upgrade {
            accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into(),
            credential: None,
        }
    );
}

#[test]
fn each_flaw_has_its_own_refusal() {
    let cases = [
        ("GET /sip", "POST /sip", Refusal::Method),
        ("HTTP/1.1", "HTTP/1.0", Refusal::Method),
        ("HTTP/1.1", "HTTP/2.0", Refusal::Method),
        ("Host: gw.example.com\r\n", "", Refusal::Host),
        ("Host: gw.example.com", "Host: evil.example", Refusal::Host),
        (
            "Host: gw.example.com",
            "Host: gw.example.com\r\nHost: gw.example.com",
            Refusal::Host,
        ),
        ("Upgrade: websocket\r\n", "", Refusal::NoUpgrade),
        ("keep-alive, Upgrade", "keep-alive", Refusal::NoUpgrade),
        ("Version: 13", "Version: 8", Refusal::Version),
        ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Version),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", Refusal::Key),
        (
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version",
            Refusal::Key,
        ),
        ("Protocol: sip", "Protocol: msrp", Refusal::SubProtocol),
        ("Sec-WebSocket-Protocol: sip\r\n", "", Refusal::SubProtocol),
        ("https://app", "http://app", Refusal::Origin),
        (".com\r\n\r\n", ".com.evil\r\n\r\n", Refusal::Origin),
        (".com\r\n\r\n", ".com:444\r\n\r\n", Refusal::Origin),
        ("https://app.example.com", "null", Refusal::Origin),
        ("Origin: https://app.example.com\r\n", "", Refusal::Origin),
        (
            "\r\n\r\n",
            "\r\nOrigin: https://app.example.com\r\n\r\n",
            Refusal::Origin,
        ),
        ("Host:", "Content-Length: 5\r\nHost:", Refusal::Malformed),
        ("Host:", "Ho st:", Refusal::Malformed),
    ];
    for (from, to, refusal) in cases {
        let head = GOOD.replacen(from, to, 1);
        assert_eq!(refused(&head), Some(refusal), "{from:?} -> {to:?}");
    }
}

#[test]
fn a_handshake_may_bring_a_token_or_a_ticket_and_not_both() {
    let credential =
        |from: &str, to: &str| match decide(GOOD.replacen(from, to, 1).as_bytes(), &policy()) {
            Decision::Upgrade { credential, .. } => Ok(credential),
            Decision::Refuse(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        };
    let token = Token::parse("eyJ.eyJ.sig").unwrap();
    let list = "Protocol: sip, bearer.eyJ.eyJ.sig";
    assert_eq!(
        credential("Protocol: sip", list),
        Ok(Some(Credential::Token(token)))
    );
    let ticket = Credential::Ticket(Private::new("abc123".to_owned()));
    assert_eq!(
        credential("/sip", "/sip?x=1&ticket=abc123"),
        Ok(Some(ticket))
    );
    assert_eq!(
        credential("/sip", "/sip?access_token=eyJ"),
        Ok(None),
        "never from the URL"
    );
    for (from, to) in [
        ("Protocol: sip", "Protocol: sip, bearer.a, bearer.b"),
        ("Protocol: sip", "Protocol: sip, bearer."),
        ("/sip", "/sip?ticket=a&ticket=b"),
        ("/sip", "/sip?ticket=a%20b"),
    ] {
        assert_eq!(credential(from, to), Err(Refusal::Token), "{to}");
    }
    let response = String::from_utf8(upgrade_response("x")).unwrap();
    assert!(
        response.contains("Sec-WebSocket-Protocol: sip\r\n"),
        "never echoed"
    );
}

#[test]
fn a_page_of_a_listed_origin_may_want_a_ticket() {
    const POST: &str = "POST /v1/session HTTP/1.1\r\nHost: gw.example.com\r\n\
        Origin: https://app.example.com\r\nAuthorization: Bearer eyJ.eyJ.sig\r\n\
        Content-Length: 0\r\n\r\n";
    let origin = "https://app.example.com".to_owned();
    let session = Decision::Session {
        token: Token::parse("eyJ.eyJ.sig").unwrap(),
        origin: origin.clone(),
    };
    assert_eq!(decide(POST.as_bytes(), &policy()), session);
    let asks = POST.replace("POST", "OPTIONS");
    assert_eq!(
        decide(asks.as_bytes(), &policy()),
        Decision::Preflight { origin }
    );
    for (from, to, refusal) in [
        ("POST", "GET", Refusal::Method),
        ("https://app", "https://evil", Refusal::Origin),
        ("Origin: https://app.example.com\r\n", "", Refusal::Origin),
        ("Content-Length: 0", "Content-Length: 7", Refusal::Malformed),
        ("gw.example.com", "evil.example.com", Refusal::Host),
    ] {
        let head = POST.replacen(from, to, 1);
        assert_eq!(refused(&head), Some(refusal), "{from} -> {to}");
    }
    for (from, to) in [
        ("Authorization: Bearer eyJ.eyJ.sig\r\n", ""),
        ("Bearer", "Basic"),
        ("eyJ.eyJ.sig", "a b"),
    ] {
        let head = POST.replacen(from, to, 1);
        let origin = "https://app.example.com".to_owned();
        let told = Decision::NoToken { origin };
        assert_eq!(decide(head.as_bytes(), &policy()), told, "{from} -> {to}");
    }
    let off = Policy {
        gives_tickets: false,
        ..policy()
    };
    assert_eq!(
        decide(POST.as_bytes(), &off),
        Decision::Refuse(Refusal::Method)
    );
}

fn identity(text: &str) -> PublicIdentity {
    PublicIdentity::of_uri(&Uri::parse(text).unwrap()).unwrap()
}

#[test]
fn a_page_is_told_who_its_user_is() {
    let body = |session: &Session| {
        let answer = session_response("https://a.test", Ok(session), 7);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        body.to_owned()
    };
    let lent = Session {
        ticket: Private::new("abc".to_owned()),
        address: Some(identity("sip:web-1@ims.test")),
        identities: vec![
            identity("tel:+390401234567"),
            identity("sip:web-1@ims.test"),
        ],
        lent_for: Some(Duration::from_secs(660)),
    };
    assert_eq!(
        body(&lent),
        "{\"ticket\":\"abc\",\"expires_in\":60,\"uri\":\"sip:web-1@ims.test\",\
         \"identities\":[\"tel:+390401234567\",\"sip:web-1@ims.test\"],\"lease_expires_in\":660}\n"
    );
    let wild = Session {
        address: None,
        identities: Vec::new(),
        lent_for: None,
        ..lent
    };
    assert_eq!(
        body(&wild),
        "{\"ticket\":\"abc\",\"expires_in\":60,\"identities\":[]}\n"
    );
}

#[test]
fn a_page_may_read_every_answer_to_its_wish_for_a_ticket() {
    let refused = |refusal| session_response("https://a.test", Err(refusal), 7);
    let answers = [
        ("401", "invalid_token", refused(TokenRefusal::Expired)),
        (
            "403",
            "insufficient_scope",
            refused(TokenRefusal::MissingScope),
        ),
        ("403", "access_denied", refused(TokenRefusal::NoIdentity)),
        (
            "503",
            "the pool of identities is exhausted",
            refused(TokenRefusal::PoolExhausted),
        ),
        ("401", "token_missing", no_token_response("https://a.test")),
    ];
    for (status, said, answer) in answers {
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(said), "{answer}");
        for header in [
            "Access-Control-Allow-Origin: https://a.test\r\n",
            "Vary: Origin\r\n",
            "Access-Control-Expose-Headers: WWW-Authenticate, Retry-After\r\n",
        ] {
            assert!(answer.contains(header), "{answer}");
        }
        assert_eq!(answer.contains("Retry-After: 7\r\n"), status == "503");
        assert_eq!(answer.contains("WWW-Authenticate: Bearer"), status == "401");
    }
}

#[test]
fn checks_run_in_their_order() {
    // Everything is wrong; each repair uncovers the next flaw.
    let flawed = [
        ("POST", "GET", Refusal::Method),
        ("Host: x", "Host: gw.example.com:8443", Refusal::Host),
        ("Upgrade: h2c", "Upgrade: WebSocket", Refusal::NoUpgrade),
        ("Version: 7", "Version: 13", Refusal::Version),
        ("Key: short", "Key: dGhlIHNhbXBsZSBub25jZQ==", Refusal::Key),
        ("Protocol: x", "Protocol: token, sip", Refusal::SubProtocol),
        (
            "Origin: null",
            "Origin: https://app.example.com",
            Refusal::Origin,
        ),
    ];
    let mut head = "POST /sip?x=1 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Protocol: x\r\n\
        Origin: null\r\n\r\n"
        .to_owned();
    for (wrong, right, refusal) in flawed {
        assert_eq!(refused(&head), Some(refusal));
        head = head.replacen(wrong, right, 1);
    }
    assert_eq!(refused(&head), None);
}

#[test]
fn another_path_is_a_request_for_the_page() {
    let head = "GET /app.js?v=2 HTTP/1.1\r\nHost: [::1]:8443\r\nIf-None-Match: \"1\"\r\n\r\n";
    assert_eq!(
        decide(head.as_bytes(), &policy()),
        Decision::Page(PageRequest {
            path: "/app.js".into(),
            if_none_match: Some("\"1\"".into()),
            keep_alive: true,
        })
    );
}

#[test]
fn a_head_is_found_whole_or_found_too_large() {
    assert_eq!(find_head(b"GET / HT"), Head::Partial);
    assert_eq!(
        find_head(b"GET / HTTP/1.1\r\n\r\nrest"),
        Head::Complete { len: 18 }
    );
    assert_eq!(
        find_head(GOOD.as_bytes()),
        Head::Complete { len: GOOD.len() }
    );
    let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_REQUEST_LINE));
    assert_eq!(find_head(line.as_bytes()), Head::TooLarge);
    let block = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(MAX_HEADERS_SIZE));
    assert_eq!(find_head(block.as_bytes()), Head::TooLarge);
    let endless = vec![b'a'; MAX_HEAD];
    assert_eq!(find_head(&endless), Head::TooLarge);
}

#[test]
fn more_than_64_headers_are_too_many() {
    let extra: String = (0..64).map(|n| format!("X-{n}: y\r\n")).collect();
    let head = GOOD.replacen("Host:", &format!("{extra}Host:"), 1);
    assert_eq!(refused(&head), Some(Refusal::HeadTooLarge));
}

#[test]
fn an_unknown_sub_protocol_is_refused_by_name() {
    let response = String::from_utf8(Refusal::SubProtocol.response(0)).unwrap();
    assert!(response.starts_with("HTTP/1.1 400 "));
    assert!(response.contains("\r\nSec-WebSocket-Protocol: sip\r\n"));
    let response = String::from_utf8(Refusal::Overload.response(7)).unwrap();
    assert!(response.contains("\r\nRetry-After: 7\r\n"));
}
