//! A played browser: a page's SIP client over WebSocket (RFC 7118), with Chromium's
//! descriptions and no media.

use std::collections::VecDeque;

use bytes::Bytes;
use signaling::message::headers::{Authorization, CSeq, Digest};
use signaling::message::{
    HeaderName, Message, Method, NameAddr, Parsed, Request, Response, StatusCode, Uri,
    parse_websocket,
};

/// A page with one user and at most one call.
#[derive(Debug)]
pub struct Browser {
    name: String,
    password: String,
    domain: String,
    cseq: u32,
    output: VecDeque<Bytes>,
    /// Whether the last REGISTER was accepted, once it is answered.
    registered: Option<bool>,
    call: Option<Call>,
    /// Whether a call that comes in is answered at once.
    pub answers: bool,
    calls: u32,
}

#[derive(Debug)]
struct Call {
    id: String,
    local: NameAddr,
    remote: NameAddr,
    target: Uri,
    routes: Vec<String>,
    cseq: u32,
    invite: Request,
    state: CallState,
}

/// How far a call is, as its page sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// INVITE sent, no answer yet.
    Calling,
    /// Somewhere it rings.
    Ringing,
    /// INVITE received and not answered.
    Incoming,
    /// Up.
    Up,
    /// Refused or ended, with the status if it was refused.
    Over(u16),
}

impl Browser {
    pub(crate) fn new(name: &str, password: &str, domain: &str) -> Self {
        Browser {
            name: name.to_owned(),
            password: password.to_owned(),
            domain: domain.to_owned(),
            cseq: 0,
            output: VecDeque::new(),
            registered: None,
            call: None,
            answers: true,
            calls: 0,
        }
    }

    /// Its column in a ladder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is registered; `None` while nobody has said.
    #[must_use]
    pub fn is_registered(&self) -> Option<bool> {
        self.registered
    }

    /// How far its call is.
    #[must_use]
    pub fn call_state(&self) -> Option<CallState> {
        self.call.as_ref().map(|call| call.state)
    }

    /// Sends REGISTER, for so many seconds; 0 signs off.
    pub fn register(&mut self, seconds: u32) {
        self.registered = None;
        let request = self.registration(seconds);
        self.send(request);
    }

    /// Sends an INVITE.
    pub fn call(&mut self, to: &str) {
        self.calls += 1;
        let mut call = Call {
            id: format!("{}-{}", self.name, self.calls),
            local: self.own_address().with_tag(&format!("t{}", self.calls)),
            remote: NameAddr::new(uri(&format!("sip:{to}@{}", self.domain))),
            target: uri(&format!("sip:{to}@{}", self.domain)),
            routes: Vec::new(),
            cseq: 0,
            invite: Request::new(Method::Invite, uri("sip:nobody.invalid")),
            state: CallState::Calling,
        };
        let invite = call
            .request(Method::Invite)
            .with(HeaderName::Contact, self.contact())
            .with_body(SDP, OFFER);
        let invite = self.on_its_way(invite);
        call.invite = invite.clone();
        self.call = Some(call);
        self.send(invite);
    }

    /// Offers again, with this direction.
    pub fn offer(&mut self, direction: &str) {
        let contact = self.contact();
        let Some(call) = &mut self.call else { return };
        let body = OFFER.replace("a=sendrecv", &format!("a={direction}"));
        let invite = call
            .request(Method::Invite)
            .with(HeaderName::Contact, contact)
            .with_body(SDP, body.into_bytes());
        let invite = self.on_its_way(invite);
        if let Some(call) = &mut self.call {
            call.invite = invite.clone();
        }
        self.send(invite);
    }

    /// Ends the call: BYE when it is up, CANCEL before.
    pub fn hang_up(&mut self) {
        let Some(call) = &mut self.call else { return };
        let request = match call.state {
            CallState::Up => call.request(Method::Bye),
            CallState::Calling | CallState::Ringing => call.cancel(),
            CallState::Incoming | CallState::Over(_) => return,
        };
        if call.state == CallState::Up {
            call.state = CallState::Over(0);
        }
        self.send(request);
    }

    pub(crate) fn handle_message(&mut self, bytes: &Bytes) {
        match parse_websocket(bytes) {
            Ok(Parsed::Message(Message::Request(request))) => self.handle_request(&request),
            Ok(Parsed::Message(Message::Response(response))) => self.handle_response(&response),
            Ok(Parsed::Ping | Parsed::Pong) | Err(_) => {}
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    fn handle_request(&mut self, request: &Request) {
        match request.method {
            Method::Invite => self.handle_invite(request),
            Method::Ack => {}
            Method::Bye => {
                self.end(0);
                self.respond(request, StatusCode::OK, None);
            }
            Method::Cancel => {
                self.respond(request, StatusCode::OK, None);
                if let Some(call) = self.call.take() {
                    self.respond(&call.invite, StatusCode::REQUEST_TERMINATED, None);
                    self.call = Some(call);
                }
                self.end(487);
            }
            _ => self.respond(request, StatusCode::OK, None),
        }
    }

    fn handle_invite(&mut self, invite: &Request) {
        let Some(mut call) = Call::from_invite(invite) else {
            return self.respond(invite, StatusCode::BAD_REQUEST, None);
        };
        let is_known = self
            .call
            .as_ref()
            .is_some_and(|known| known.id == call.id && known.state == CallState::Up);
        if is_known || self.answers {
            if !is_known {
                self.respond(invite, StatusCode::RINGING, None);
            }
            call.state = CallState::Up;
            self.respond(invite, StatusCode::OK, Some(answer_to(invite)));
        } else {
            self.respond(invite, StatusCode::RINGING, None);
        }
        if !is_known {
            call.local = call.local.with_tag(&self.tag());
            self.call = Some(call);
        }
    }

    fn handle_response(&mut self, response: &Response) {
        let Ok(cseq) = response.headers.cseq() else {
            return;
        };
        match cseq.method {
            Method::Register => self.handle_registered(response),
            Method::Invite => self.handle_answer(response, cseq.number),
            _ => {}
        }
    }

    fn handle_registered(&mut self, response: &Response) {
        if response.status != StatusCode::UNAUTHORIZED {
            self.registered = Some(response.is_success());
            return;
        }
        let Some(challenge) = response.headers.www_authenticate().next() else {
            return;
        };
        if self.registered.is_some() {
            return;
        }
        let mut digest = Digest::new("Digest");
        digest.set_quoted("username", &self.name);
        for name in ["realm", "nonce"] {
            digest.set_quoted(name, &challenge.0.get(name).unwrap_or_default());
        }
        digest.set_quoted("uri", &format!("sip:{}", self.domain));
        digest.set("qop", "auth");
        digest.set("nc", "00000001");
        digest.set_quoted("cnonce", "browser");
        let answer = lab::digest_answer(&digest, &self.name, &self.password, "REGISTER");
        digest.set_quoted("response", &answer);
        let expires = response
            .headers
            .to()
            .ok()
            .and_then(|to| to.params.get("x")?.parse().ok());
        let request = self
            .registration(expires.unwrap_or(300))
            .with_typed(&Authorization(digest));
        self.send(request);
    }

    fn handle_answer(&mut self, response: &Response, number: u32) {
        let Some(call) = &mut self.call else { return };
        if response.is_provisional() {
            if call.state == CallState::Calling && response.status != StatusCode::TRYING {
                call.state = CallState::Ringing;
            }
            return;
        }
        if !response.is_success() {
            let ack = call.ack_of_refusal(response);
            if call.state != CallState::Up {
                call.state = CallState::Over(response.status.code());
            }
            return self.send(ack);
        }
        if let Ok(to) = response.headers.to() {
            call.remote = to;
        }
        let contact = response
            .headers
            .contacts()
            .ok()
            .and_then(|list| list.into_iter().next());
        if let Some(uri) = contact.and_then(|contact| contact.address().map(|it| it.uri.clone())) {
            call.target = uri;
        }
        let routes = response.headers.record_routes().unwrap_or_default();
        call.routes = routes.iter().rev().map(ToString::to_string).collect();
        call.state = CallState::Up;
        let ack = call.in_dialog(Method::Ack, number);
        self.send(ack);
    }

    fn end(&mut self, status: u16) {
        if let Some(call) = &mut self.call {
            call.state = CallState::Over(status);
        }
    }

    fn respond(&mut self, request: &Request, status: StatusCode, body: Option<String>) {
        let mut response = Response::to_request(request, status)
            .with_to_tag(&self.tag())
            .with(HeaderName::Contact, self.contact());
        response
            .headers
            .copy(&request.headers, &HeaderName::RecordRoute);
        if let Some(body) = body {
            response = response.with_body(SDP, body.into_bytes());
        }
        self.output.push_back(response.to_bytes());
    }

    fn send(&mut self, request: Request) {
        let request = if request.headers.has(&HeaderName::Via) {
            request
        } else {
            self.on_its_way(request)
        };
        self.output.push_back(request.to_bytes());
    }

    /// The request with a Via of its own.
    fn on_its_way(&mut self, mut request: Request) -> Request {
        self.cseq += 1;
        let (name, number) = (&self.name, self.cseq);
        let via = format!("SIP/2.0/WSS {name}.invalid;branch=z9hG4bK{name}{number}");
        request.headers.prepend(HeaderName::Via, via);
        request
    }

    fn registration(&mut self, seconds: u32) -> Request {
        let cseq = CSeq {
            number: self.cseq + 1,
            method: Method::Register,
        };
        let own = self.own_address();
        Request::new(Method::Register, uri(&format!("sip:{}", self.domain)))
            .with(HeaderName::MaxForwards, 70_u32)
            .with(HeaderName::From, own.clone().with_tag("r").to_string())
            .with(HeaderName::To, format!("<{}>;x={seconds}", own.uri))
            .with(HeaderName::CallId, format!("r-{}", self.name))
            .with_typed(&cseq)
            .with(
                HeaderName::Contact,
                format!("{};expires={seconds}", self.contact()),
            )
            .with(HeaderName::Supported, "path, outbound")
    }

    /// For dialogs that others begin.
    fn tag(&self) -> String {
        format!("{}{}", self.name, self.calls)
    }

    fn own_address(&self) -> NameAddr {
        NameAddr::new(uri(&format!("sip:{}@{}", self.name, self.domain)))
    }

    fn contact(&self) -> String {
        let name = &self.name;
        format!(
            "<sip:{name}@{name}.invalid;transport=ws>;+sip.instance=\"<urn:uuid:{name}>\";reg-id=1"
        )
    }
}

impl Call {
    fn from_invite(invite: &Request) -> Option<Self> {
        let contact = invite.headers.contacts().ok()?.into_iter().next()?;
        let routes = invite.headers.record_routes().unwrap_or_default();
        Some(Call {
            id: invite.headers.call_id().ok()?.as_str().to_owned(),
            local: invite.headers.to().ok()?,
            remote: invite.headers.from().ok()?,
            target: contact.address()?.uri.clone(),
            routes: routes.iter().map(ToString::to_string).collect(),
            cseq: 0,
            invite: invite.clone(),
            state: CallState::Incoming,
        })
    }

    fn request(&mut self, method: Method) -> Request {
        self.cseq += 1;
        self.in_dialog(method, self.cseq)
    }

    fn in_dialog(&self, method: Method, number: u32) -> Request {
        let cseq = CSeq {
            number,
            method: method.clone(),
        };
        let mut request = Request::new(method, self.target.clone());
        for route in &self.routes {
            request.headers.push(HeaderName::Route, route.as_str());
        }
        request
            .with(HeaderName::MaxForwards, 70_u32)
            .with(HeaderName::From, self.local.to_string())
            .with(HeaderName::To, self.remote.to_string())
            .with(HeaderName::CallId, self.id.as_str())
            .with_typed(&cseq)
    }

    /// RFC 3261 §9.1 and §17.1.1.3: the same hop as the INVITE.
    fn same_hop(&self, method: Method) -> Request {
        let mut request = Request::new(method.clone(), self.invite.uri.clone());
        for name in [
            HeaderName::Via,
            HeaderName::MaxForwards,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
        ] {
            request.headers.copy(&self.invite.headers, &name);
        }
        let number = self.invite.headers.cseq().map_or(1, |cseq| cseq.number);
        request.headers.set(&CSeq { number, method });
        request
    }

    fn cancel(&self) -> Request {
        self.same_hop(Method::Cancel)
    }

    fn ack_of_refusal(&self, response: &Response) -> Request {
        let mut ack = self.same_hop(Method::Ack);
        ack.headers.remove(&HeaderName::To);
        ack.headers.copy(&response.headers, &HeaderName::To);
        ack
    }
}

/// An answer that takes the first codec, in the direction that the offer leaves.
fn answer_to(invite: &Request) -> String {
    let offer = String::from_utf8_lossy(&invite.body);
    let directions = [
        ("a=sendonly", "a=recvonly"),
        ("a=recvonly", "a=sendonly"),
        ("a=inactive", "a=inactive"),
    ];
    let direction = directions
        .into_iter()
        .find(|(offered, _)| offer.contains(offered))
        .map_or("a=sendrecv", |(_, answered)| answered);
    OFFER
        .replace("111 63 9 0 8 13 110 126", "8 101")
        .replace("a=rtpmap:126", "a=rtpmap:101")
        .replace("a=setup:actpass", "a=setup:active")
        .replace("a=sendrecv", direction)
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).expect("a URI of the script")
}

const SDP: &str = "application/sdp";

/// What Chromium sends.
const OFFER: &str = include_str!("../../fixtures/chromium-156/offer-audio.sdp");
