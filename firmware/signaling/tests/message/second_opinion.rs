//! What `rsip` says of messages that it can read. It cannot read folds, compact forms,
//! lists in one line and many URIs, so the messages here have none of these.

use proptest::prelude::*;
use rsip::message::HasHeaders as _;
use rsip::prelude::{HeadersExt as _, ToTypedHeader as _, UntypedHeader as _};
use signaling::message::{Framing, Message};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn second_parser_reads_the_same_facts(text in plain_message()) {
        let theirs = rsip::SipMessage::try_from(text.as_str()).unwrap();
        let ours = Message::parse(&text.clone().into(), Framing::Datagram).unwrap();
        let headers = ours.headers();

        let cseq = headers.cseq().unwrap();
        let their_cseq = theirs.cseq_header().unwrap().typed().unwrap();
        prop_assert_eq!(cseq.number, their_cseq.seq);
        prop_assert_eq!(cseq.method.to_string(), their_cseq.method.to_string());

        let call_id = headers.call_id().unwrap();
        prop_assert_eq!(call_id.as_str(), theirs.call_id_header().unwrap().value());

        let from = headers.from().unwrap();
        let their_from = theirs.from_header().unwrap().typed().unwrap();
        prop_assert_eq!(from.uri.to_string(), their_from.uri.to_string());
        prop_assert_eq!(from.display.clone(), their_from.display_name.clone());
        prop_assert_eq!(from.tag(), their_from.tag().map(|tag| tag.value()));

        let via = headers.via().unwrap();
        let their_via = theirs.via_header().unwrap().typed().unwrap();
        prop_assert_eq!(via.branch(), their_via.branch().map(|branch| branch.value()));
        prop_assert_eq!(via.host.to_string(), their_via.uri.host().to_string());
        let their_port = their_via.uri.port().map(|port| *port.value());
        prop_assert_eq!(via.port, their_port);

        prop_assert_eq!(ours.body(), theirs.body());
        prop_assert_eq!(headers.len() + 1, theirs.headers().iter().count());
    }
}

fn plain_message() -> impl Strategy<Value = String> {
    let start = prop_oneof![
        (
            "(INVITE|REGISTER|BYE|OPTIONS)",
            "[a-z0-9]{1,8}",
            "[a-z]{1,8}\\.(com|org)"
        )
            .prop_map(|(method, user, host)| (
                format!("{method} sip:{user}@{host} SIP/2.0"),
                method
            )),
        (
            prop::sample::select(vec![100, 180, 200, 404, 503]),
            "[A-Z][a-z]{1,8}"
        )
            .prop_map(|(code, reason)| (format!("SIP/2.0 {code} {reason}"), "INVITE".to_owned())),
    ];
    (
        start,
        "z9hG4bK[a-z0-9]{1,8}",
        prop::option::of(1024_u16..65535),
        prop::option::of("[A-Z][a-z]{1,6}"),
        "[a-z0-9]{1,8}",
        "[a-z0-9]{1,12}@[a-z]{1,6}",
        1_u32..1_000_000,
        "[a-z \r\n=]{0,40}",
    )
        .prop_map(
            |((start, method), branch, port, display, tag, call_id, number, body)| {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                let display = display
                    .map(|display| format!("{display} "))
                    .unwrap_or_default();
                format!(
                    "{start}\r\n\
                 Via: SIP/2.0/UDP host.example.com{port};branch={branch}\r\n\
                 From: {display}<sip:{tag}@example.com>;tag={tag}\r\n\
                 To: <sip:bob@example.com>\r\n\
                 Call-ID: {call_id}\r\n\
                 CSeq: {number} {method}\r\n\
                 Max-Forwards: 70\r\n\
                 X-Unknown: {tag}\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            },
        )
}
