//! The messages that other parsers were measured with before this one was written,
//! by their numbers.

use bytes::Bytes;
use signaling::message::headers::Contact;
use signaling::message::{
    Framing, HeaderName, Message, Method, Parsed, Request, Response, Uri, parse_datagram,
    parse_websocket,
};

#[test]
fn number_1_baseline() {
    let invite = request(BASE);
    assert_eq!(invite.method, Method::Invite);
    assert_eq!(invite.uri.as_str(), "sip:bob@example.com");
    assert_eq!(invite.headers.cseq().unwrap().number, 314_159);
    assert_eq!(invite.body.len(), 4);
}

#[test]
fn number_2_folded_header() {
    let invite = with("Subject: one\r\n two\r\n\t three \r\n");
    assert_eq!(
        invite.headers.text(&HeaderName::Subject),
        Some("one two three")
    );
}

#[test]
fn number_3_compact_forms() {
    let text = BASE
        .replace("Via:", "v:")
        .replace("From:", "f:")
        .replace("To:", "t:")
        .replace("Call-ID:", "i:")
        .replace("Contact:", "m:");
    let invite = request(&text);
    assert_eq!(invite.headers.vias().unwrap().len(), 1);
    assert_eq!(invite.headers.call_id().unwrap().as_str(), "a84b4c76e66710");
    assert_eq!(invite.headers.contacts().unwrap().len(), 1);
    assert!(String::from_utf8_lossy(&invite.to_bytes()).contains("\r\nm: <sip:alice@"));
}

#[test]
fn number_4_two_vias_in_one_line() {
    let mut invite = request(&BASE.replace(
        "Via: ",
        "Via: SIP/2.0/UDP p.example.com;branch=z9hG4bKa;x=\"1,2\" , ",
    ));
    assert_eq!(invite.headers.vias().unwrap().len(), 2);
    assert_eq!(invite.headers.via().unwrap().branch(), Some("z9hG4bKa"));
    invite.headers.remove_first_item(&HeaderName::Via);
    assert_eq!(
        invite.headers.via().unwrap().branch(),
        Some("z9hG4bK776asdhds")
    );
}

#[test]
fn number_5_two_contacts_in_one_line() {
    let text = BASE.replace(
        "Contact: <sip:alice@pc33.example.com>",
        "Contact: \"A, B\" <sip:a@x;p=1,2>;q=0.5, <sip:b@y>",
    );
    let contacts = request(&text).headers.contacts().unwrap();
    assert_eq!(contacts.len(), 2);
    assert_eq!(contacts[1].address().unwrap().uri.as_str(), "sip:b@y");
}

#[test]
fn number_6_quoted_display_name() {
    let invite = from(r#""Smith, J. <x>; \"Q\"" <sip:alice@example.com>;tag=1"#);
    let from = invite.headers.from().unwrap();
    assert_eq!(from.display.as_deref(), Some("Smith, J. <x>; \"Q\""));
    assert_eq!(from.uri.as_str(), "sip:alice@example.com");
    assert_eq!(from.tag(), Some("1"));
}

#[test]
fn number_7_telephone_numbers() {
    let text = BASE.replace(
        "INVITE sip:bob@example.com",
        "INVITE tel:+358-555-1234567;x=y",
    );
    let invite = request(&text.replace("<sip:alice@example.com>", "<tel:+39040123>"));
    assert_eq!(invite.uri.as_tel().unwrap().digits(), "+3585551234567");
    assert!(invite.headers.from().unwrap().uri.as_tel().is_some());
}

#[test]
fn number_8_ipv6() {
    let text = BASE
        .replace(
            "sip:bob@example.com SIP",
            "sip:bob@[2001:db8::1]:5070;transport=tcp SIP",
        )
        .replace(
            "UDP pc33.example.com;",
            "UDP [2001:db8::9]:5061;received=2001:db8::7;",
        );
    let invite = request(&text);
    let uri = invite.uri.as_sip().unwrap();
    assert_eq!(
        (uri.port(), uri.param("transport")),
        (Some(5070), Some("tcp"))
    );
    let via = invite.headers.via().unwrap();
    assert_eq!(via.port, Some(5061));
    assert_eq!(via.received().unwrap().to_string(), "2001:db8::7");
}

#[test]
fn number_9_uri_parameters_and_headers() {
    let text = "sip:bob@example.com;p=sip%3Ax:1;q=a:b?Subject=a%20b&Route=%3Csip:x%3E";
    let contact = format!("Contact: <{text}>\r\n");
    let invite = with(&contact);
    let Contact::Address(address) = &invite.headers.contacts().unwrap()[1] else {
        panic!()
    };
    assert_eq!(address.uri.as_str(), text);
    let uri = address.uri.as_sip().unwrap();
    assert_eq!(uri.param("p"), Some("sip%3Ax:1"));
    assert_eq!(uri.headers(), Some("Subject=a%20b&Route=%3Csip:x%3E"));
}

#[test]
fn number_10_unknown_method() {
    let invite = request(&BASE.replace("INVITE", "FLY.AWAY"));
    assert_eq!(invite.method, Method::Other("FLY.AWAY".into()));
}

#[test]
fn number_11_unknown_and_empty_headers() {
    let lines =
        "X-Odd:   a ,, b;;c=\"  \r\nP-Future-Thing: \r\nSecurity-Client: ipsec-3gpp;alg=x\r\n";
    let invite = with(lines);
    let written = invite.to_bytes();
    let written = String::from_utf8_lossy(&written);
    assert!(written.contains("\r\nX-Odd: a ,, b;;c=\"\r\n"));
    assert!(written.contains("\r\nP-Future-Thing: \r\n"));
    assert!(written.contains("\r\nSecurity-Client: ipsec-3gpp;alg=x\r\n"));
}

#[test]
fn number_12_binary_body() {
    let body: Vec<u8> = (0..=255).collect();
    let head = BASE
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .replace(": 4", ": 256");
    let bytes = [head.as_bytes(), b"\r\n\r\n", &body].concat();
    let Ok(Message::Request(invite)) = Message::parse(&bytes.into(), Framing::Datagram) else {
        panic!()
    };
    assert_eq!(invite.body, body);
}

#[test]
fn number_13_no_content_length() {
    let text = BASE.replace("Content-Length: 4\r\n", "");
    let bytes = Bytes::from(text);
    for parsed in [parse_datagram(&bytes), parse_websocket(&bytes)] {
        let Ok(Parsed::Message(message)) = parsed else {
            panic!()
        };
        assert_eq!(message.body(), "body");
        let written = message.to_bytes();
        assert!(String::from_utf8_lossy(&written).contains("\r\nContent-Length: 4\r\n"));
    }
    assert!(Message::parse(&bytes, Framing::Stream).is_err());
}

#[test]
fn number_14_odd_case_and_spaces_before_the_colon() {
    let text = BASE
        .replace("From:", "fRoM  \t:")
        .replace("Call-ID:", "CALL-id :");
    let invite = request(&text);
    assert_eq!(invite.headers.from().unwrap().tag(), Some("1928301774"));
    assert!(invite.headers.call_id().is_ok());
}

#[test]
fn number_15_very_many_headers() {
    let line = "X-Pad: some value that is not short\r\n";
    assert_eq!(with(&line.repeat(248)).headers.len(), 248 + 7);
    let text = BASE.replace("Max-Forwards", &format!("{}Max-Forwards", line.repeat(400)));
    let error = Message::parse(&text.into(), Framing::Datagram).unwrap_err();
    assert_eq!(error.to_string(), "too many header fields");
}

#[test]
fn number_17_multipart_with_a_body_that_looks_like_headers() {
    let body = "--b\r\nContent-Length: 9\r\n\r\nVia: x\r\n--b--\r\n";
    let head = BASE.split("\r\n\r\n").next().unwrap();
    let text = format!("{head}\r\n\r\n{body}");
    let invite = request(&text.replace("Length: 4", &format!("Length: {}", body.len())));
    assert_eq!(invite.body, body);
    assert_eq!(invite.headers.vias().unwrap().len(), 1);
}

#[test]
fn number_18_leading_line_ends_and_keepalives() {
    assert_eq!(request(&format!("\r\n\r\n{BASE}")).method, Method::Invite);
    let keepalive = |bytes: &'static [u8]| parse_websocket(&Bytes::from_static(bytes));
    assert_eq!(keepalive(b"\r\n\r\n"), Ok(Parsed::Ping));
    assert_eq!(keepalive(b"\r\n"), Ok(Parsed::Pong));
    assert_eq!(keepalive(b""), Ok(Parsed::Pong));
    assert_eq!(keepalive(b"\0\0\0\0"), Ok(Parsed::Pong));
}

#[test]
fn number_19_bare_utf8_display_name() {
    let invite = from("Jörg Müller <sip:alice@example.com>;tag=1");
    assert_eq!(
        invite.headers.from().unwrap().display.as_deref(),
        Some("Jörg Müller")
    );
}

#[test]
fn number_20_latin_1_in_an_unknown_header() {
    let bytes = BASE.replace("Contact:", "X-Name: J@rg\r\nContact:");
    let mut bytes = bytes.into_bytes();
    let at = bytes
        .windows(4)
        .position(|window| window == b"J@rg")
        .unwrap();
    bytes[at + 1] = 0xf6;
    let message = Message::parse(&bytes.into(), Framing::Datagram).unwrap();
    let written = message.to_bytes();
    assert!(written.windows(4).any(|window| window == b"J\xf6rg"));
}

#[test]
fn number_21_contact_star() {
    let text = BASE.replace("Contact: <sip:alice@pc33.example.com>", "Contact: *");
    assert_eq!(request(&text).headers.contacts().unwrap(), [Contact::All]);
}

#[test]
fn number_22_outbound_and_gruu() {
    let invite = with(
        "Contact: <sip:a@x.invalid;transport=ws;ob>;reg-id=1;+sip.instance=\"<urn:uuid:0C67446E>\"\r\n",
    );
    let contacts = invite.headers.contacts().unwrap();
    assert_eq!(contacts[1].reg_id(), Some(1));
    assert_eq!(contacts[1].instance().unwrap(), "urn:uuid:0C67446E");
}

#[test]
fn number_23_dot_in_the_user() {
    let uri = Uri::parse("sip:alice.b.c@example.com").unwrap();
    assert_eq!(uri.as_sip().unwrap().user(), Some("alice.b.c"));
}

#[test]
fn number_24_gruu_request_uri() {
    let text = "sip:bob@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let invite = request(&BASE.replace("sip:bob@example.com SIP", &format!("{text} SIP")));
    let gr = invite.uri.as_sip().unwrap().param("gr");
    assert_eq!(gr, Some("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"));
}

#[test]
fn number_25_emergency_urn() {
    let invite =
        request(&BASE.replace("INVITE sip:bob@example.com", "INVITE urn:service:sos.fire"));
    assert!(matches!(&invite.uri, Uri::Urn(urn) if urn.opaque() == "service:sos.fire"));
}

#[test]
fn broken_request_is_answered_from_what_could_be_read() {
    let text = BASE.replace("CSeq: 314159 INVITE", "CSeq: many INVITE");
    let error = Message::parse(&text.into(), Framing::Datagram).unwrap_err();
    let response = error.into_response().unwrap();
    assert_eq!(
        print(&response),
        [
            "400 Bad Request (malformed CSeq)",
            "Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds",
            "From: \"Alice\" <sip:alice@example.com>;tag=1928301774",
            "To: \"Bob\" <sip:bob@example.com>;tag=TAG",
            "Call-ID: a84b4c76e66710",
            "CSeq: many INVITE",
        ]
    );
}

#[test]
fn nobody_answers_a_broken_ack_or_response() {
    for (from, to) in [
        ("INVITE ", "ACK "),
        ("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK"),
    ] {
        let text = BASE
            .replace(from, to)
            .replace("Call-ID: ", "Call-ID: two words ");
        let error = Message::parse(&text.into(), Framing::Datagram).unwrap_err();
        assert_eq!(error.into_response(), None);
    }
}

#[test]
fn line_ends_that_some_read_otherwise_are_refused() {
    for bad in [
        "X: a\rb\r\n",
        "X: a\nInjected: b\r\n",
        "X: a\0b\r\n",
        " X: starts with a space\r\n",
        ": no name\r\n",
        "no colon\r\n",
        "X y: two words\r\n",
    ] {
        let text = BASE.replace("Via:", &format!("{bad}Via:"));
        assert!(
            Message::parse(&text.into(), Framing::Datagram).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn more_than_64_kib_is_refused() {
    let text = format!("{BASE}{}", "x".repeat(64 * 1024));
    let error = Message::parse(&text.into(), Framing::Datagram).unwrap_err();
    assert_eq!(error.to_string(), "message too large");
}

fn with(lines: &str) -> Request {
    request(&BASE.replace("Content-Length", &format!("{lines}Content-Length")))
}

fn from(value: &str) -> Request {
    request(&BASE.replace("\"Alice\" <sip:alice@example.com>;tag=1928301774", value))
}

fn request(text: &str) -> Request {
    let bytes = Bytes::from(text.to_owned());
    match Message::parse(&bytes, Framing::Datagram) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn print(response: &Response) -> Vec<String> {
    let mut lines = vec![format!("{} {}", response.status, response.reason)];
    lines.extend(response.headers.iter().map(|header| {
        let text = header.text().unwrap();
        let text = match text.split_once(";tag=") {
            Some((start, tag)) if tag.len() == 16 => format!("{start};tag=TAG"),
            _ => text.to_owned(),
        };
        format!("{}: {text}", header.name())
    }));
    lines
}

const BASE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds\r\n\
    Max-Forwards: 70\r\n\
    To: \"Bob\" <sip:bob@example.com>\r\n\
    From: \"Alice\" <sip:alice@example.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.example.com>\r\n\
    Content-Length: 4\r\n\r\nbody";
