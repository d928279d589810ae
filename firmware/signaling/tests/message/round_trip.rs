//! Random messages: what is written is read back the same, and no bytes at all make
//! the parser or a typed view panic.

use bytes::Bytes;
use proptest::prelude::*;
use signaling::message::{
    Framed, Framing, HeaderName, Message, Method, NameAddr, Request, Response, StatusCode,
    StreamFramer, Uri, parse_datagram, parse_websocket,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn message_is_read_back_as_it_was_written(message in message()) {
        let bytes = message.to_bytes();
        for framing in [Framing::Datagram, Framing::WebSocket, Framing::Stream] {
            let again = Message::parse(&bytes, framing);
            prop_assert_eq!(again.as_ref(), Ok(&message));
        }
    }

    #[test]
    fn stream_gives_the_same_messages_however_it_is_cut(
        messages in prop::collection::vec(message(), 1..4),
        cut in 1_usize..200,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| message.to_bytes()).collect();
        let mut framer = StreamFramer::new();
        let mut seen = Vec::new();
        for chunk in bytes.chunks(cut) {
            framer.push(chunk);
            while let Some(frame) = framer.next_frame() {
                if let Framed::Message(bytes) = frame.unwrap() {
                    seen.push(Message::parse(&bytes, Framing::Stream).unwrap());
                }
            }
        }
        prop_assert_eq!(seen, messages);
    }

    #[test]
    fn mutated_message_never_panics(
        message in message(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), odd_bytes()), 1..6),
    ) {
        let mut bytes = message.to_bytes().to_vec();
        for (at, odd) in edits {
            let at = at.index(bytes.len());
            bytes.splice(at..at, odd);
        }
        look_at_everything(&bytes.into());
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        look_at_everything(&bytes.into());
    }

    #[test]
    fn uri_is_the_same_after_being_written(text in uri()) {
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!(uri.as_str(), text.as_str());
        prop_assert!(uri.is_equivalent(&Uri::parse(&uri.to_string()).unwrap()));
    }

    #[test]
    fn uri_keeps_what_an_edit_does_not_touch(text in uri(), user in "\\PC{1,12}") {
        if let Uri::Sip(sip) = Uri::parse(&text).unwrap() {
            let edited = sip.with_user(Some(&user)).with_param("x-new", &user);
            let again = Uri::parse(edited.as_str()).unwrap();
            prop_assert_eq!(again.as_sip(), Some(&edited));
            prop_assert_eq!(edited.unescaped_user(), Some(user));
            prop_assert_eq!(edited.host_text(), sip.host_text());
            prop_assert_eq!(edited.headers(), sip.headers());
        }
    }

    #[test]
    fn address_is_the_same_after_being_written(
        display in prop::option::of("[^\r\n\0]{1,20}"),
        uri in uri(),
        tag in "[a-z0-9.]{1,8}",
    ) {
        let mut address = NameAddr::new(Uri::parse(&uri).unwrap()).with_tag(&tag);
        address.display = display;
        prop_assert_eq!(NameAddr::parse(&address.to_string()), Some(address));
    }
}

/// Reads the bytes in every framing and asks for every typed view.
fn look_at_everything(bytes: &Bytes) {
    let _ = (parse_datagram(bytes), parse_websocket(bytes));
    let mut framer = StreamFramer::new();
    framer.push(bytes);
    for _ in 0..10 {
        let _ = framer.next_frame();
    }
    match Message::parse(bytes, Framing::Datagram) {
        Ok(message) => {
            let headers = message.headers();
            let _ = (
                headers.via(),
                headers.from(),
                headers.to(),
                headers.call_id(),
            );
            assert!(headers.cseq().is_ok() || matches!(message, Message::Response(_)));
            let _ = (
                headers.vias(),
                headers.contacts(),
                headers.routes(),
                headers.reasons(),
            );
            let _ = (
                headers.session_expires(),
                headers.rack(),
                headers.content_type(),
            );
            let _ = headers.www_authenticate().count() + headers.authorization().count();
            let _ = Message::parse(&message.to_bytes(), Framing::Stream).unwrap();
        }
        Err(error) => {
            if let Some(response) = error.into_response() {
                let _ = response.to_bytes();
            }
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let request = (method(), uri(), fields(), body()).prop_map(|(method, uri, fields, body)| {
        let uri = Uri::parse(&uri).unwrap();
        let uri = match uri {
            Uri::Sip(uri) => Uri::Sip(uri.without_headers()),
            other => other,
        };
        let mut request = needed(Request::new(method, uri));
        for (name, value) in fields {
            request.headers.push(HeaderName::from_static(name), value);
        }
        request.body = body;
        Message::Request(request)
    });
    let response = (100_u16..700, fields(), body()).prop_map(|(code, fields, body)| {
        let request = needed(Request::new(Method::Invite, Uri::parse("sip:x").unwrap()));
        let status = StatusCode::new(code).unwrap();
        let mut response = Response::to_request(&request, status).with_to_tag("b");
        for (name, value) in fields {
            response.headers.push(HeaderName::from_static(name), value);
        }
        response.body = body;
        Message::Response(response)
    });
    prop_oneof![request, response]
}

fn needed(request: Request) -> Request {
    let cseq = format!("1 {}", request.method);
    request
        .with(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKx")
        .with(HeaderName::From, "<sip:a@b>;tag=1")
        .with(HeaderName::To, "<sip:c@d>")
        .with(HeaderName::CallId, "x@y")
        .with(HeaderName::CSeq, cseq)
}

fn method() -> impl Strategy<Value = Method> {
    let names = prop_oneof![
        Just("INVITE".to_owned()),
        Just("REGISTER".to_owned()),
        "[A-Z.!%]{1,10}"
    ];
    names.prop_map(|name| Method::parse(&name).unwrap())
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let names = prop::sample::select(vec![
        "Route",
        "Contact",
        "Subject",
        "X-Unknown",
        "P-Asserted-Identity",
        "Supported",
        "Session-Expires",
        "WWW-Authenticate",
    ]);
    prop::collection::vec((names, "[^\r\n\0]{0,40}"), 0..12)
}

fn body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn uri() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-zA-Z][a-zA-Z0-9]{0,8}(\\.[a-z]{2,5}){0,2}",
        Just("192.0.2.1".to_owned()),
        Just("[2001:db8::1]".to_owned()),
    ];
    let sip = (
        "sips?:",
        "([a-zA-Z0-9.!~*'()&=+$,;?/-]{1,10}(:[a-z0-9]{1,5})?@)?",
        host,
        "(:[1-9][0-9]{0,3})?",
        "(;[a-z]{1,5}(=[a-z0-9:/%]{0}[a-z0-9]{1,5})?){0,3}",
        "(\\?[a-z]{1,5}=[a-z]{0,5}(&[a-z]{1,5}=[a-z]{0,5})?)?",
    );
    let sip = sip.prop_map(|(scheme, user, host, port, params, headers)| {
        format!("{scheme}{user}{host}{port}{params}{headers}")
    });
    prop_oneof![
        4 => sip,
        1 => "tel:\\+[0-9]([0-9.()-]){0,12}(;[a-z]{1,5}=[a-z0-9]{1,5})?",
        1 => "urn:service:sos(\\.[a-z]{1,8})?",
        1 => "[a-z]{4,8}:[a-z0-9/:@.]{1,12}",
    ]
}

/// What breaks parsers.
fn odd_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::sample::select(vec![
            &b"\r\n"[..],
            b"\r\n\r\n",
            b"\n",
            b"\"",
            b"<",
            b">",
            b";",
            b",",
            b":",
            b"%",
            b"\\",
            b"\r\n ",
            b"Content-Length: 99999999999999999999\r\n",
            b"[::1",
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}
