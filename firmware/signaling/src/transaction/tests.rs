//! Timelines of the table of transactions, in virtual time.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::message::headers::Via;
use crate::message::{Framing, Header, HeaderName, Message, Method, Request, StatusCode};

// Conforms: RFC 3261 §17.1.1.2 | An INVITE by datagram is sent again after T1, 2·T1, …, and given up after 64·T1.
#[test]
fn unanswered_invite_is_resent_ever_more_slowly_and_then_given_up() {
    let mut world = World::new(udp());
    world.send(request("INVITE", "b1"));
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0.5s >INVITE, 1.5s >INVITE, 3.5s >INVITE, 7.5s >INVITE, 15.5s >INVITE, \
         31.5s >INVITE, 32s 1 timed out"
    );
}

// Conforms: RFC 3261 §17.1.2.2 | Other requests are sent again up to every T2, and given up after 64·T1.
#[test]
fn unanswered_register_is_resent_ever_more_slowly_and_then_given_up() {
    let mut world = World::new(udp());
    world.send(request("REGISTER", "b1"));
    assert_eq!(
        world.run_until_idle(),
        "0s >REGISTER, 0.5s >REGISTER, 1.5s >REGISTER, 3.5s >REGISTER, 7.5s >REGISTER, \
         11.5s >REGISTER, 15.5s >REGISTER, 19.5s >REGISTER, 23.5s >REGISTER, 27.5s >REGISTER, \
         31.5s >REGISTER, 32s 1 timed out"
    );
}

// Conforms: RFC 3261 §17.1.1.2 | On a reliable transport, as a WebSocket is, nothing is sent twice.
#[test]
fn nothing_is_sent_twice_on_a_websocket() {
    let mut world = World::new(flow());
    world.send(request("INVITE", "b1"));
    world.send(request("OPTIONS", "b2"));
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0s >OPTIONS, 32s 1 timed out, 32s 2 timed out"
    );
}

#[test]
fn ringing_stops_the_copies_and_waits_for_as_long_as_it_takes() {
    let mut world = World::new(udp());
    let invite = world.send(request("INVITE", "b1"));
    world.pass(0.7);
    world.receive(answer(&invite, StatusCode::RINGING));
    world.pass(600.0);
    world.receive(answer(&invite, StatusCode::BUSY_HERE));
    world.receive(answer(&invite, StatusCode::BUSY_HERE));
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0.5s >INVITE, 0.7s 1 180, 600.7s >ACK, 600.7s 1 486, 600.7s >ACK"
    );
    assert!(world.transactions.is_empty());
}

// Conforms: RFC 6026 §7.2 | Every 2xx of every fork reaches the caller for 64·T1 after the first.
#[test]
fn every_fork_may_accept_while_copies_can_come() {
    let mut world = World::new(udp());
    let invite = world.send(request("INVITE", "b1"));
    world.receive(answer(&invite, StatusCode::OK));
    world.pass(31.0);
    world.receive(answer(&invite, StatusCode::OK));
    world.pass(2.0);
    world.receive(answer(&invite, StatusCode::OK));
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0s 1 200, 31s 1 200, 33s stray 200"
    );
}

// Conforms: RFC 3261 §17.1.1.3 | The ACK to a failure has the Via, the route and the tag that it must have.
#[test]
fn ack_to_a_failure_goes_the_way_of_the_invite() {
    let mut world = World::new(udp());
    let mut invite = request("INVITE", "b1");
    invite.headers.push(HeaderName::Route, "<sip:p.example;lr>");
    world.send(invite.clone());
    world.receive(answer(&invite, StatusCode::NOT_FOUND));
    let ack = world.sent.last().unwrap().clone();
    let Message::Request(ack) = ack else { panic!() };
    let line = |name| ack.headers.text(&name).unwrap().to_owned();
    assert_eq!(ack.uri, invite.uri);
    assert_eq!(
        line(HeaderName::Via),
        invite.headers.text(&HeaderName::Via).unwrap()
    );
    assert_eq!(line(HeaderName::Route), "<sip:p.example;lr>");
    assert_eq!(line(HeaderName::CSeq), "7 ACK");
    assert_eq!(ack.headers.to().unwrap().tag(), Some("b"));
}

// Conforms: RFC 3261 §9.1 | A CANCEL waits for a provisional response.
#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut world = World::new(udp());
    let invite = world.send(request("INVITE", "b1"));
    let reason = Header::new(HeaderName::Reason, "SIP;cause=200");
    let id = ClientTransactionId(1);
    world.transactions.cancel(id, vec![reason], world.now);
    world.pass(0.1);
    world.receive(answer(&invite, StatusCode::TRYING));
    let Some(Message::Request(cancel)) = world.sent.last().cloned() else {
        panic!()
    };
    assert_eq!(
        cancel.headers.text(&HeaderName::Reason),
        Some("SIP;cause=200")
    );
    world.receive(answer(&cancel, StatusCode::OK));
    world.receive(answer(&invite, StatusCode::REQUEST_TERMINATED));
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0.1s 1 100, 0.1s >CANCEL, 0.1s >ACK, 0.1s 1 487"
    );
}

#[test]
fn cancelled_invite_that_nobody_ends_is_given_up() {
    let mut world = World::new(flow());
    let invite = world.send(request("INVITE", "b1"));
    world.receive(answer(&invite, StatusCode::RINGING));
    world.pass(60.0);
    let id = ClientTransactionId(1);
    world.transactions.cancel(id, Vec::new(), world.now);
    world.transactions.cancel(id, Vec::new(), world.now);
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0s 1 180, 60s >CANCEL, 92s 1 timed out"
    );
}

// Conforms: RFC 3261 §17.2.1 | A 100 goes out when nobody answers within 200 ms, and copies of an INVITE get the last answer.
#[test]
fn silent_user_gets_a_trying_sent_and_copies_repeat_the_last_answer() {
    let mut world = World::new(udp());
    let invite = request("INVITE", "b1");
    world.receive(invite.clone());
    world.pass(0.3);
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::RINGING));
    world.receive(invite);
    assert_eq!(
        world.log,
        "0s 1 INVITE, 0.2s >100, 0.3s >100, 0.3s >180, 0.3s >180"
    );
}

// Conforms: RFC 3261 §17.2.1 | A failure is sent again until its ACK comes.
#[test]
fn failure_is_repeated_until_it_is_acknowledged() {
    let mut world = World::new(udp());
    let invite = request("INVITE", "b1");
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::BUSY_HERE));
    world.pass(4.0);
    world.receive(request("ACK", "b1"));
    world.receive(request("ACK", "b1"));
    assert_eq!(
        world.run_until_idle(),
        "0s 1 INVITE, 0s >486, 0.5s >486, 1.5s >486, 3.5s >486, 9s 1 ended"
    );
}

#[test]
fn failure_that_nobody_acknowledges_is_reported() {
    let mut world = World::new(flow());
    let invite = request("INVITE", "b1");
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::BUSY_HERE));
    assert_eq!(
        world.run_until_idle(),
        "0s 1 INVITE, 0s >486, 32s 1 unacknowledged, 32s 1 ended"
    );
}

#[test]
fn acceptance_absorbs_copies_and_passes_acks_on() {
    let mut world = World::new(udp());
    let invite = request("INVITE", "b1");
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::OK));
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::OK));
    world.respond(1, answer(&invite, StatusCode::BUSY_HERE));
    world.receive(request("ACK", "b2"));
    world.receive(request("ACK", "b1"));
    assert_eq!(
        world.run_until_idle(),
        "0s 1 INVITE, 0s >200, 0s >200, 0s ACK, 0s ACK, 32s 1 ended"
    );
}

#[test]
fn cancel_is_answered_here_and_told_while_it_matters() {
    let mut world = World::new(flow());
    let invite = request("INVITE", "b1");
    world.receive(invite.clone());
    world.respond(1, answer(&invite, StatusCode::RINGING));
    world.receive(request("CANCEL", "b1"));
    let Some(Message::Response(ok)) = world.sent.last().cloned() else {
        panic!()
    };
    assert_eq!(ok.headers.to().unwrap().tag(), Some("b"));
    world.respond(1, answer(&invite, StatusCode::REQUEST_TERMINATED));
    world.receive(request("CANCEL", "b9"));
    assert_eq!(
        world.log,
        "0s 1 INVITE, 0s >180, 0s >200, 0s 1 cancelled, 0s >487, 0s >481"
    );
}

// Conforms: RFC 3261 §17.2.2 | Copies of a request get the answer that the first one got.
#[test]
fn copies_of_a_request_get_the_same_answer_for_as_long_as_they_can_come() {
    let mut world = World::new(udp());
    let message = request("MESSAGE", "b1");
    world.receive(message.clone());
    world.receive(message.clone());
    world.respond(1, answer(&message, StatusCode::OK));
    world.respond(1, answer(&message, StatusCode::FORBIDDEN));
    world.pass(31.9);
    world.receive(message);
    assert_eq!(
        world.run_until_idle(),
        "0s 1 MESSAGE, 0s >200, 31.9s >200, 32s 1 ended"
    );
}

#[test]
fn nobody_touches_a_transaction_of_another_flow() {
    let mut world = World::new(flow());
    let invite = world.send(request("INVITE", "b1"));
    world.peer = Peer::Flow(FlowId(2));
    world.receive(answer(&invite, StatusCode::OK));
    world.receive(request("INVITE", "b1"));
    world.peer = Peer::Flow(FlowId(3));
    world.receive(request("CANCEL", "b1"));
    world.receive(request("INVITE", "b1"));
    assert_eq!(
        world.log,
        "0s >INVITE, 0s stray 200, 0s 2 INVITE, 0s >481, 0s 4 INVITE"
    );
}

#[test]
fn lost_flow_fails_what_was_sent_and_forgets_what_came() {
    let mut world = World::new(flow());
    world.send(request("INVITE", "b1"));
    world.receive(request("OPTIONS", "b2"));
    let peer = world.peer.clone();
    world
        .transactions
        .handle_transport_failure(&peer, world.now);
    assert_eq!(
        world.run_until_idle(),
        "0s >INVITE, 0s 2 OPTIONS, 0s 1 transport failure, 0s 2 ended"
    );
    assert!(world.transactions.is_empty());
}

// Conforms: RFC 3261 §18.2.1, §18.2.2 | `received` is added, and responses go there.
// Conforms: RFC 3581 §4 | `rport` is filled in, and responses go there.
#[test]
fn answers_go_where_the_request_came_from() {
    for (via, to, stamped) in [
        (
            "SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bKx",
            "192.0.2.1:5080",
            "SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bKx",
        ),
        (
            "SIP/2.0/UDP PC.Example.org;branch=z9hG4bKx",
            "192.0.2.1:5060",
            "SIP/2.0/UDP PC.Example.org;branch=z9hG4bKx;received=192.0.2.1",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:9;rport;branch=z9hG4bKx, SIP/2.0/TCP b;branch=z9hG4bKy",
            "192.0.2.1:6000",
            "SIP/2.0/UDP 10.0.0.1:9;rport=6000;branch=z9hG4bKx;received=192.0.2.1",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;maddr=198.51.100.9;branch=z9hG4bKx",
            "192.0.2.1:5060",
            "SIP/2.0/UDP 10.0.0.1;maddr=198.51.100.9;branch=z9hG4bKx;received=192.0.2.1",
        ),
    ] {
        let mut world = World::new(udp());
        let mut options = request("OPTIONS", "b1");
        options.headers.replace(HeaderName::Via, via);
        world.receive(options);
        let Some(Output::Request { request, .. }) = world.last.clone() else {
            panic!()
        };
        assert_eq!(request.headers.text(&HeaderName::Via), Some(stamped));
        world.respond(1, answer(&request, StatusCode::OK));
        let Some(Output::Transmit { peer, .. }) = world.last.clone() else {
            panic!()
        };
        assert_eq!(peer, ims(to), "{via}");
    }
}

#[test]
fn websocket_client_gets_its_via_back_untouched() {
    let mut world = World::new(flow());
    let mut options = request("OPTIONS", "b1");
    let via = "SIP/2.0/WSS Df7jal23ls0d.invalid;branch=z9hG4bKasudf;rport";
    options.headers.replace(HeaderName::Via, via);
    world.receive(options);
    let Some(Output::Request { request, .. }) = world.last.clone() else {
        panic!()
    };
    assert_eq!(request.headers.text(&HeaderName::Via), Some(via));
}

#[test]
fn flood_is_turned_away_but_a_hangup_still_gets_through() {
    let mut world = World::new(flow());
    world.transactions = Transactions::new(Limits {
        server_per_scope: 2,
        ..Limits::default()
    });
    for branch in ["b1", "b2", "b3"] {
        world.receive(request("OPTIONS", branch));
    }
    world.receive(request("BYE", "b4"));
    world.receive(request("ACK", "b5"));
    world.peer = Peer::Flow(FlowId(2));
    world.receive(request("OPTIONS", "b3"));
    assert_eq!(
        world.log,
        "0s 1 OPTIONS, 0s 2 OPTIONS, 0s >503, 0s 3 BYE, 0s ACK, 0s 4 OPTIONS"
    );
}

#[test]
fn peers_older_than_the_magic_cookie_are_matched_by_what_they_have() {
    let mut world = World::new(udp());
    let old = |method| {
        let mut request = request(method, "b1");
        request
            .headers
            .replace(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1");
        request
    };
    world.receive(old("INVITE"));
    world.receive(old("INVITE"));
    world.respond(1, answer(&old("INVITE"), StatusCode::BUSY_HERE));
    let mut ack = old("ACK");
    ack.headers
        .replace(HeaderName::To, "<sip:bob@example.com>;tag=other");
    world.receive(ack);
    assert_eq!(
        world.run_until_idle(),
        "0s 1 INVITE, 0s >100, 0s >486, 5s 1 ended"
    );
}

#[test]
fn response_with_a_second_via_was_meant_for_someone_else() {
    let mut world = World::new(udp());
    let invite = world.send(request("INVITE", "b1"));
    let mut response = answer(&invite, StatusCode::OK);
    response.headers.push(HeaderName::Via, "SIP/2.0/UDP x");
    world.receive(response);
    assert_eq!(world.log, "0s >INVITE");
}

/// Transactions with one peer, and a log of what they do.
struct World {
    transactions: Transactions,
    peer: Peer,
    start: Instant,
    now: Instant,
    log: String,
    sent: Vec<Message>,
    last: Option<Output>,
}

impl World {
    fn new(peer: Peer) -> Self {
        let start = Instant::now();
        World {
            transactions: Transactions::new(Limits::default()),
            peer,
            start,
            now: start,
            log: String::new(),
            sent: Vec::new(),
            last: None,
        }
    }

    fn send(&mut self, request: Request) -> Request {
        let sent = request.clone();
        self.transactions
            .send_request(self.peer.clone(), request, self.now);
        self.drain();
        sent
    }

    fn receive(&mut self, message: impl Into<Message>) {
        let peer = self.peer.clone();
        self.transactions
            .handle_message(peer, message.into(), self.now);
        self.drain();
    }

    fn respond(&mut self, id: u64, response: Response) {
        let id = ServerTransactionId(id);
        self.transactions.respond(id, response, self.now);
        self.drain();
    }

    fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.transactions.poll_timeout()
            && at <= until
        {
            self.now = at.max(self.now);
            self.transactions.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn run_until_idle(&mut self) -> String {
        self.drain();
        while let Some(at) = self.transactions.poll_timeout() {
            self.now = at.max(self.now);
            self.transactions.handle_timeout(self.now);
            self.drain();
        }
        self.log.clone()
    }

    fn drain(&mut self) {
        while let Some(output) = self.transactions.poll_output() {
            let what = match &output {
                Output::Transmit { bytes, .. } => {
                    let message = parse(bytes);
                    let what = match &message {
                        Message::Request(request) => format!(">{}", request.method),
                        Message::Response(response) => format!(">{}", response.status),
                    };
                    self.sent.push(message);
                    what
                }
                Output::Request {
                    transaction,
                    request,
                    ..
                } => format!("{} {}", transaction.0, request.method),
                Output::Ack { .. } => "ACK".to_owned(),
                Output::Cancelled { invite, .. } => format!("{} cancelled", invite.0),
                Output::Response {
                    transaction,
                    response,
                } => format!("{} {}", transaction.0, response.status),
                Output::StrayResponse { response, .. } => format!("stray {}", response.status),
                Output::Failed {
                    transaction,
                    failure,
                } => {
                    let why = match failure {
                        Failure::TimedOut => "timed out",
                        Failure::Transport => "transport failure",
                        Failure::Overloaded => "overloaded",
                    };
                    format!("{} {why}", transaction.0)
                }
                Output::Unacknowledged { transaction } => {
                    format!("{} unacknowledged", transaction.0)
                }
                Output::Ended { transaction } => format!("{} ended", transaction.0),
            };
            let separator = if self.log.is_empty() { "" } else { ", " };
            let passed = self.now.duration_since(self.start).as_millis();
            let seconds = passed as f64 / 1000.0;
            write!(self.log, "{separator}{seconds}s {what}").unwrap();
            self.last = Some(output);
        }
    }
}

fn parse(bytes: &Bytes) -> Message {
    Message::parse(bytes, Framing::Datagram).unwrap()
}

fn ims(remote: &str) -> Peer {
    Peer::Ims {
        endpoint: EndpointId(1),
        transport: SipTransport::Udp,
        remote: remote.parse().unwrap(),
    }
}

fn udp() -> Peer {
    ims("192.0.2.1:6000")
}

fn flow() -> Peer {
    Peer::Flow(FlowId(1))
}

pub(super) fn request(method: &str, branch: &str) -> Request {
    let method = Method::parse(method).unwrap();
    let uri = crate::message::Uri::parse("sip:bob@example.com").unwrap();
    let host = crate::message::Host::parse("192.0.2.1").unwrap();
    Request::new(method.clone(), uri)
        .with_typed(&Via::new(SipTransport::Udp, host, None, branch))
        .with(HeaderName::From, "<sip:alice@example.com>;tag=a")
        .with(HeaderName::To, "<sip:bob@example.com>")
        .with(HeaderName::CallId, "call-1")
        .with(HeaderName::CSeq, format!("7 {method}"))
}

pub(super) fn answer(request: &Request, status: StatusCode) -> Response {
    Response::to_request(request, status).with_to_tag("b")
}
