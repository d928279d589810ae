//! What reading and writing a message costs.

#![allow(missing_docs)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use signaling::message::{Framing, Message};

fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    for (name, bytes) in [("invite", invite()), ("register", register())] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("parse {name}"), |b| {
            b.iter(|| Message::parse(black_box(&bytes), Framing::Datagram).expect("well formed"));
        });
        group.bench_function(format!("parse, look and write {name}"), |b| {
            b.iter(|| look_and_write(black_box(&bytes)));
        });
    }
    group.finish();
}

/// What a gateway does to each message at the least.
fn look_and_write(bytes: &Bytes) -> Bytes {
    let message = Message::parse(bytes, Framing::Datagram).expect("well formed");
    let headers = message.headers();
    let _ = black_box((headers.via(), headers.from(), headers.to()));
    let _ = black_box((headers.contacts(), headers.cseq(), headers.call_id()));
    message.to_bytes()
}

fn invite() -> Bytes {
    let body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 30000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:40\r\na=sendrecv\r\na=rtcp:30001\r\n";
    let text = format!(
        "INVITE tel:+358555123456 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKnashds8a7f6;rport\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:pcscf.ims.example.com:5060;lr>\r\n\
         Route: <sip:orig@scscf.ims.example.com:6060;lr>\r\n\
         P-Preferred-Identity: \"Alice Example\" <sip:alice@ims.example.com>\r\n\
         P-Access-Network-Info: IEEE-802.3\r\n\
         Privacy: none\r\n\
         From: \"Alice Example\" <sip:alice@ims.example.com>;tag=a73kszlfl\r\n\
         To: <tel:+358555123456>\r\n\
         Call-ID: cb03a0s09a2sdfglkj490333@192.0.2.1\r\n\
         CSeq: 127 INVITE\r\n\
         Supported: 100rel, timer, replaces, norefersub, histinfo\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO, OPTIONS, MESSAGE\r\n\
         Accept: application/sdp, application/3gpp-ims+xml\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n\
         P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel\r\n\
         P-Early-Media: supported\r\n\
         Session-Expires: 1800;refresher=uac\r\n\
         Min-SE: 90\r\n\
         Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n\
         User-Agent: Gatehouse\r\n\
         Contact: <sip:u17-6f1d@192.0.2.1:5070>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp\"\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    text.into()
}

fn register() -> Bytes {
    Bytes::from_static(
        b"REGISTER sip:ims.example.com SIP/2.0\r\n\
        Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKasudf\r\n\
        From: <sip:alice@ims.example.com>;tag=65bnmj.34asd\r\n\
        To: <sip:alice@ims.example.com>\r\n\
        Call-ID: aiuy7k9njasd\r\n\
        CSeq: 1 REGISTER\r\n\
        Max-Forwards: 70\r\n\
        Supported: path, gruu, outbound\r\n\
        Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>;reg-id=1;\
        +sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
        Content-Length: 0\r\n\r\n",
    )
}

criterion_group!(benches, message);
criterion_main!(benches);
