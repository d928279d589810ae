//! SIP from either side: datagrams, WebSocket messages, streams; and what the
//! transactions make of it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use signaling::dialog::Dialog;
use signaling::id::{EndpointId, FlowId, SipTransport};
use signaling::message::headers::Contact;
use signaling::message::{
    Framed, Framing, HeaderName, Message, NameAddr, Parsed, Request, Response, StatusCode,
    StreamFramer, Uri, parse_datagram, parse_websocket,
};
use signaling::transaction::{Limits, Output, Peer, Transactions};

/// Reads the bytes as one message of each framing and as a stream, asks for every typed
/// view, and lets the transactions take what is understood.
///
/// # Panics
///
/// When what is written is not read back the same.
pub fn sip(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    stream(data);
    for parsed in [parse_datagram(&bytes), parse_websocket(&bytes)] {
        match parsed {
            Ok(Parsed::Message(message)) => {
                let again = Message::parse(&message.to_bytes(), Framing::Stream);
                assert_eq!(again.as_ref(), Ok(&message), "written and read again");
                look(&message);
                transact(message);
            }
            Ok(Parsed::Ping | Parsed::Pong) => {}
            Err(error) => {
                let _ = error.into_response().map(|response| response.to_bytes());
            }
        }
    }
}

fn stream(data: &[u8]) {
    let mut framer = StreamFramer::new();
    let middle = data.len() / 2;
    for half in [&data[..middle], &data[middle..]] {
        framer.push(half);
        while let Some(Ok(frame)) = framer.next_frame() {
            if let Framed::Message(bytes) = frame {
                let _ = Message::parse(&bytes, Framing::Stream);
            }
        }
    }
}

/// Asks for everything that the plane asks for.
fn look(message: &Message) {
    let headers = message.headers();
    let _ = (headers.vias(), headers.routes(), headers.record_routes());
    let _ = (headers.paths(), headers.service_routes(), headers.reasons());
    let _ = (headers.max_forwards(), headers.expires(), headers.rseq());
    let _ = (headers.session_expires(), headers.min_se(), headers.rack());
    let _ = (headers.content_type(), headers.retry_after());
    let _ = (headers.replaces(), headers.event(), headers.privacy());
    let _ = (headers.p_early_media(), headers.subscription_state());
    let _ = (headers.require(), headers.supported(), headers.allow());
    let _ = headers.p_asserted_identities();
    let digests = headers.authorization().count() + headers.www_authenticate().count();
    assert!(digests <= headers.len());
    headers.from().iter().for_each(address);
    headers.to().iter().for_each(address);
    for contact in headers.contacts().unwrap_or_default() {
        let _ = (contact.expires(), contact.reg_id(), contact.instance());
        if let Contact::Address(contact) = contact {
            address(&contact);
        }
    }
    let mut fewer = headers.clone();
    fewer.remove_first_item(&HeaderName::Via);
    fewer.remove_first_item(&HeaderName::Route);
}

fn address(address: &NameAddr) {
    let again = NameAddr::parse(&address.to_string()).expect("what is written can be read");
    assert_eq!(again.uri, address.uri);
    assert!(again.uri.is_equivalent(&address.uri));
    if let Uri::Sip(uri) = &address.uri {
        let edited = uri
            .with_user(uri.user())
            .with_param("x", "a b")
            .with_flag("lr");
        assert!(
            Uri::parse(edited.as_str()).is_some(),
            "an edit keeps the grammar"
        );
        let _ = (uri.host(), uri.unescaped_user(), uri.headers());
    }
}

/// Lets transactions take the message from a browser and from the IMS, answer it, and
/// grow old.
fn transact(message: Message) {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = *START.get_or_init(Instant::now);
    let ims = Peer::Ims {
        endpoint: EndpointId(1),
        transport: SipTransport::Udp,
        remote: ([192, 0, 2, 1], 5060).into(),
    };
    for peer in [Peer::Flow(FlowId(1)), ims] {
        let mut transactions = Transactions::new(Limits::default());
        transactions.handle_message(peer.clone(), message.clone(), now);
        transactions.handle_message(peer, message.clone(), now);
        let mut requests = Vec::new();
        while let Some(output) = transactions.poll_output() {
            if let Output::Request {
                transaction,
                request,
                ..
            } = output
            {
                requests.push((transaction, request));
            }
        }
        for (transaction, request) in requests {
            let response = answer(&request);
            transactions.respond(transaction, response, now);
        }
        transactions.handle_timeout(now + Duration::from_secs(1));
        transactions.handle_timeout(now + Duration::from_secs(100));
        transactions.handle_timeout(now + Duration::from_secs(200));
        while let Some(output) = transactions.poll_output() {
            if let Output::Transmit { bytes, .. } = output {
                assert!(Message::parse(&bytes, Framing::Stream).is_ok());
            }
        }
        assert!(transactions.is_empty(), "everything ends");
    }
}

fn answer(request: &Request) -> Response {
    let Ok(mut dialog) = Dialog::from_request(request, "tag") else {
        return Response::to_request(request, StatusCode::BAD_REQUEST).with_to_tag("tag");
    };
    let _ = dialog.handle_request(request);
    let bye = dialog.request(signaling::message::Method::Bye);
    let bye = bye.with(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKx");
    let again = Message::parse(&bye.to_bytes(), Framing::Stream);
    assert!(again.is_ok(), "a request of a dialog is well formed");
    dialog.response(request, StatusCode::BUSY_HERE)
}
