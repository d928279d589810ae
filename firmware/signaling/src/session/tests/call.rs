//! A call in the played world, and what its peers do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use iq::{
    AccessTransport, Fingerprint, FingerprintHash, IceCredentials, ImsAddress, Leg, Private, Reply,
    Reserved, SessionId, SessionReport,
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::ladder::{describe_request, describe_response};
use super::sdp_text::{Browser, Phone};
use super::world::World;
use super::{BROWSER, IMS, status};
use crate::event::EndReason;
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, Response, StatusCode};
use crate::session::{Device, Outside as _, Session, Target};
use crate::transaction::{ClientTransactionId, Failure, ServerTransactionId};

/// A call with everything around it.
pub(super) struct Call {
    pub(super) session: Session,
    pub(super) world: World,
    next_cseq: u32,
    /// Which of the browsers acts.
    pub(super) at: Device,
    /// The leg whose dialog was replaced.
    moved: Option<Leg>,
}

/// Starting calls.
impl Call {
    pub(super) fn from_browser() -> Call {
        Call::start(World::new(), BROWSER, Some(Browser::OFFER.sdp()), "")
    }

    pub(super) fn from_ims() -> Call {
        Call::start(World::new(), IMS, Some(Phone::PCMA.sdp()), "")
    }

    /// A call whose INVITE has these further headers.
    pub(super) fn start(world: World, caller: Leg, offer: Option<Bytes>, headers: &str) -> Call {
        Call::try_start(world, caller, offer, headers).ok().unwrap()
    }

    pub(super) fn try_start(
        world: World,
        caller: Leg,
        offer: Option<Bytes>,
        headers: &str,
    ) -> Result<Call, Box<World>> {
        Call::try_start_at(world, caller, offer, headers, 1)
    }

    /// A telephone's call to a user with so many browsers.
    pub(super) fn to_browsers(offer: Option<Bytes>, headers: &str, count: usize) -> Call {
        let call = Call::try_start_at(World::new(), IMS, offer, headers, count);
        call.ok().unwrap()
    }

    fn try_start_at(
        mut world: World,
        caller: Leg,
        offer: Option<Bytes>,
        headers: &str,
        count: usize,
    ) -> Result<Call, Box<World>> {
        let mut invite = Request::new(
            Method::Invite,
            crate::message::Uri::parse("sip:bob@ims.test").unwrap(),
        );
        invite
            .headers
            .push(HeaderName::From, "<sip:alice@ims.test>;tag=caller");
        invite.headers.push(HeaderName::To, "<sip:bob@ims.test>");
        invite
            .headers
            .push(HeaderName::CallId, "call-of-the-caller");
        invite.headers.push(HeaderName::CSeq, "1 INVITE");
        invite
            .headers
            .push(HeaderName::Contact, peer_contact(caller, "caller"));
        add_headers(&mut invite.headers, headers);
        if let Some(offer) = offer {
            invite
                .headers
                .push(HeaderName::ContentType, "application/sdp");
            invite.body = offer;
        }
        world.leg_line(caller, ">", &describe_request(&invite));
        let target = Target {
            uri: crate::message::Uri::parse("sip:bob@target.test").unwrap(),
            from: NameAddr::parse("<sip:alice@ims.test>").unwrap(),
            to: NameAddr::parse("<sip:bob@ims.test>").unwrap(),
            routes: Vec::new(),
            headers: Headers::new(),
        };
        let id = SessionId { epoch: 1, n: 1 };
        let transaction = ServerTransactionId(FIRST_INVITE);
        world
            .asked
            .insert(transaction, (caller, Method::Invite, None));
        let others = vec![target.clone(); count - 1];
        match Session::start(id, caller, transaction, invite, target, others, &mut world) {
            Some(session) => Ok(Call {
                at: Device::default(),
                session,
                world,
                next_cseq: 1,
                moved: None,
            }),
            None => Err(Box::new(world)),
        }
    }

    /// A browser's call to a telephone that rings and answers.
    pub(super) fn up_from_browser() -> Call {
        let mut call = Call::from_browser();
        call.reserved("wAlT");
        call.answer(IMS, 180, "phone", None);
        call.answer(IMS, 200, "phone", Some(Phone::PCMA.sdp()));
        call.ack(BROWSER, None);
        call.take_ladder();
        call
    }

    /// A telephone's call to a browser that rings and answers.
    pub(super) fn up_from_ims() -> Call {
        let mut call = Call::from_ims();
        call.reserved("wAlT");
        call.answer(BROWSER, 180, "page", None);
        call.answer(BROWSER, 200, "page", Some(Browser::ANSWER.sdp()));
        call.ack(IMS, None);
        call.take_ladder();
        call
    }
}

/// What the played peers do.
impl Call {
    pub(super) fn take_ladder(&mut self) -> String {
        std::mem::take(&mut self.world.ladder)
    }

    /// The media plane sets transports aside.
    pub(super) fn reserved(&mut self, ufrag: &str) {
        let rtp: SocketAddr = "198.51.100.10:30000".parse().unwrap();
        self.media(Reply::Reserved(Reserved {
            session: self.session.id(),
            access: AccessTransport {
                candidates: vec!["203.0.113.5:50000".parse().unwrap()],
                ice: IceCredentials {
                    ufrag: ufrag.to_owned(),
                    pwd: Private::new("0123456789012345678901".to_owned()),
                },
                fingerprint: Fingerprint {
                    hash: FingerprintHash::Sha256,
                    value: vec![0xab; 32],
                },
            },
            ims: vec![ImsAddress {
                rtp,
                rtcp: SocketAddr::new(rtp.ip(), 30001),
            }],
        }));
    }

    pub(super) fn released(&mut self) {
        self.media(Reply::Released {
            session: self.session.id(),
            report: Box::new(SessionReport::default()),
        });
    }

    pub(super) fn media(&mut self, reply: Reply) {
        let text = match &reply {
            Reply::Reserved(_) => "Reserved".to_owned(),
            Reply::Refused { reason, .. } => format!("Refused: {reason}"),
            Reply::Released { .. } => "Released".to_owned(),
            Reply::AccessLost { loss, .. } => format!("AccessLost: {loss}"),
            Reply::ImsSilent { silent_for, .. } => format!("ImsSilent {silent_for:?}"),
            Reply::Connected(_) => "Connected".to_owned(),
            Reply::FirstMedia { .. } => "FirstMedia".to_owned(),
            Reply::DtmfReceived(_) => "DtmfReceived".to_owned(),
            Reply::Audited { .. } => "Audited".to_owned(),
        };
        self.world.line("  media", ">", &text);
        self.session.handle_reply(reply, &mut self.world);
    }

    /// A peer answers the last INVITE to it.
    pub(super) fn answer(&mut self, leg: Leg, code: u16, tag: &str, body: Option<Bytes>) {
        self.answer_with(leg, &Method::Invite, code, tag, body, "");
    }

    /// Another browser acts from now on.
    pub(super) fn at(&mut self, device: u8) -> &mut Call {
        self.at = Device(device);
        self
    }

    fn last_to(&self, leg: Leg, method: &Method) -> &(Leg, ClientTransactionId, Request) {
        let mut last = self.world.requests.iter().rev();
        last.find(|(to, id, request)| {
            *to == leg && request.method == *method && self.is_its(leg, *id)
        })
        .unwrap()
    }

    /// Whether a request went to the browser that acts, if to a browser.
    fn is_its(&self, leg: Leg, id: ClientTransactionId) -> bool {
        leg == IMS || self.world.devices.get(&id) == Some(&self.at)
    }

    /// A peer answers the last request of this method to it.
    pub(super) fn answer_with(
        &mut self,
        leg: Leg,
        method: &Method,
        code: u16,
        tag: &str,
        body: Option<Bytes>,
        headers: &str,
    ) {
        let (_, id, request) = self.last_to(leg, method);
        let id = *id;
        let mut response = Response::to_request(request, status(code)).with_to_tag(tag);
        if *method == Method::Invite || *method == Method::Update {
            response
                .headers
                .push(HeaderName::Contact, peer_contact(leg, tag));
        }
        add_headers(&mut response.headers, headers);
        if let Some(body) = body {
            response = response.with_body("application/sdp", body);
        }
        let fork = match (method, tag) {
            (Method::Invite, "phone" | "page") => String::new(),
            (Method::Invite, tag) => format!(" from {tag}"),
            _ => String::new(),
        };
        let text = format!("{}{fork}", describe_response(&response));
        self.world.turn_to(self.at);
        self.world.leg_line(leg, ">", &text);
        if response.status.is_final() {
            self.world.open_invites.remove(&(leg, id));
            self.world.answered.insert(id);
        }
        self.session
            .handle_response(leg, id, response, &mut self.world);
    }

    /// The last request of this method gets no answer.
    pub(super) fn fail(&mut self, leg: Leg, method: &Method, failure: Failure) {
        let (_, id, _) = self.last_to(leg, method);
        let id = *id;
        self.world.turn_to(self.at);
        self.world
            .leg_line(leg, ">", &format!("({method}: {failure:?})"));
        self.world.open_invites.remove(&(leg, id));
        self.world.answered.insert(id);
        self.session
            .handle_failed(leg, id, failure, &mut self.world);
    }

    /// A peer sends a request inside the call.
    pub(super) fn request(&mut self, leg: Leg, method: Method, body: Option<Bytes>, headers: &str) {
        let tag = self.peer_tag(leg);
        self.request_from(leg, tag, method, body, headers);
    }

    /// A fork of a peer sends a request inside the call.
    pub(super) fn request_from(
        &mut self,
        leg: Leg,
        tag: &str,
        method: Method,
        body: Option<Bytes>,
        headers: &str,
    ) {
        self.next_cseq += 1;
        let number = self.next_cseq;
        let mut request = self.build(leg, method, number, body, headers);
        let from = format!("<sip:peer@ims.test>;tag={tag}");
        request.headers.replace(HeaderName::From, from);
        self.world.turn_to(self.at);
        self.world.leg_line(leg, ">", &describe_request(&request));
        let transaction = ServerTransactionId(u64::from(number) + 1000);
        let asked = (leg, request.method.clone(), None);
        self.world.asked.insert(transaction, asked);
        self.session
            .handle_request(leg, transaction, request, &mut self.world);
    }

    /// Another dialog calls in place of a leg's.
    pub(super) fn replace(&mut self, leg: Leg, offer: Option<Bytes>) -> Result<(), StatusCode> {
        self.next_cseq += 1;
        let number = self.next_cseq;
        let mut request = self.build(leg, Method::Invite, number, offer, "");
        let put = &mut request.headers;
        put.replace(HeaderName::From, "<sip:peer@ims.test>;tag=again");
        put.replace(HeaderName::To, "<sip:box@ims.test>");
        put.replace(HeaderName::CallId, "call-again");
        put.replace(HeaderName::Contact, peer_contact(leg, "again"));
        let text = format!("{} instead", describe_request(&request));
        self.world.turn_to(self.at);
        self.world.leg_line(leg, ">", &text);
        let transaction = ServerTransactionId(u64::from(number) + 1000);
        let asked = (leg, Method::Invite, None);
        self.world.asked.insert(transaction, asked);
        let before = self.session.local_tag(leg).to_owned();
        let verdict = self
            .session
            .replace(leg, transaction, request, &mut self.world);
        if self.session.local_tag(leg) != before {
            self.moved = Some(leg);
        }
        if verdict.is_err() {
            self.world.asked.remove(&transaction);
        }
        verdict
    }

    /// A peer acknowledges the last INVITE of its own.
    pub(super) fn ack(&mut self, leg: Leg, body: Option<Bytes>) {
        let cseq = self
            .world
            .responses
            .iter()
            .rev()
            .filter(|(to, _, response)| *to == leg && response.is_success())
            .map(|(_, _, response)| response.headers.cseq().unwrap())
            .find(|cseq| cseq.method == Method::Invite)
            .unwrap();
        let request = self.build(leg, Method::Ack, cseq.number, body, "");
        self.world.turn_to(self.at);
        self.world.leg_line(leg, ">", &describe_request(&request));
        self.session.handle_ack(leg, &request, &mut self.world);
    }

    /// The caller takes its call back.
    pub(super) fn cancel(&mut self, leg: Leg, headers: &str) {
        self.cancel_transaction(leg, FIRST_INVITE, headers);
    }

    /// A peer takes its last re-INVITE back.
    pub(super) fn cancel_re_offer(&mut self, leg: Leg) {
        self.cancel_transaction(leg, u64::from(self.next_cseq) + 1000, "");
    }

    fn cancel_transaction(&mut self, leg: Leg, transaction: u64, headers: &str) {
        let mut cancel = self.build(leg, Method::Cancel, 1, None, "");
        add_headers(&mut cancel.headers, headers);
        self.world.turn_to(self.at);
        self.world.leg_line(leg, ">", &describe_request(&cancel));
        let transaction = ServerTransactionId(transaction);
        self.session
            .handle_cancelled(leg, transaction, &cancel, &mut self.world);
    }

    /// Time passes, and everything that becomes due is done when it is.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.world.now.monotonic + time;
        for _ in 0..1000 {
            match self.session.poll_timeout() {
                Some(at) if at <= end => {
                    self.world.now.monotonic = at.max(self.world.now.monotonic);
                    self.session.handle_timeout(&mut self.world);
                }
                Some(_) | None => {
                    self.world.now.monotonic = end;
                    return;
                }
            }
        }
        panic!("the session wants to be woken for ever");
    }

    pub(super) fn lose_flow(&mut self) {
        self.world.away.insert(self.at);
        self.world.turn_to(self.at);
        self.world.leg_line(BROWSER, ">", "(connection lost)");
        self.session.handle_flow_lost(self.at, &mut self.world);
    }

    pub(super) fn restore_flow(&mut self) {
        self.world.away.remove(&self.at);
        self.world.turn_to(self.at);
        self.world.leg_line(BROWSER, ">", "(connection back)");
        self.session.handle_flow_restored(self.at, &mut self.world);
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.session.end(reason, &mut self.world);
    }

    /// A request of a peer inside the call's dialog, with the tags that the box and the
    /// peer have used on this leg.
    fn build(
        &mut self,
        leg: Leg,
        method: Method,
        number: u32,
        body: Option<Bytes>,
        headers: &str,
    ) -> Request {
        let call_id = match self.invite_to(leg) {
            _ if self.moved == Some(leg) => "call-again".to_owned(),
            Some(invite) => invite.headers.call_id().unwrap().to_string(),
            None => "call-of-the-caller".to_owned(),
        };
        let peer_tag = self.peer_tag(leg);
        let mut tags = self.session.device_tags();
        let its = tags.find(|(device, _)| leg == BROWSER && *device == self.at);
        let box_tag = its.map_or(self.session.local_tag(leg), |(_, tag)| tag);
        let mut request = Request::new(
            method.clone(),
            crate::message::Uri::parse("sip:box.test").unwrap(),
        );
        let put = &mut request.headers;
        put.push(
            HeaderName::From,
            format!("<sip:peer@ims.test>;tag={peer_tag}"),
        );
        put.push(HeaderName::To, format!("<sip:box@ims.test>;tag={box_tag}"));
        put.push(HeaderName::CallId, call_id);
        put.push(HeaderName::CSeq, format!("{number} {method}"));
        if matches!(method, Method::Invite | Method::Update) {
            put.push(HeaderName::Contact, peer_contact(leg, peer_tag));
        }
        let content_type = match method {
            Method::Info => "application/dtmf-relay",
            Method::Notify => "message/sipfrag;version=2.0",
            _ => "application/sdp",
        };
        add_headers(put, headers);
        match body {
            Some(body) if headers.contains("Content-Type") => Request { body, ..request },
            Some(body) => request.with_body(content_type, body),
            None => request,
        }
    }

    /// The box's first INVITE to a peer, if it did not call itself.
    fn invite_to(&self, leg: Leg) -> Option<&Request> {
        let is_its = |(to, id, request): &&(Leg, ClientTransactionId, Request)| {
            *to == leg && request.headers.to().unwrap().tag().is_none() && self.is_its(leg, *id)
        };
        self.world.requests.iter().find(is_its).map(|it| &it.2)
    }

    /// The tag of a peer: its own if it called, else the one of its usual fork.
    fn peer_tag(&self, leg: Leg) -> &'static str {
        match (self.invite_to(leg), leg) {
            _ if self.moved == Some(leg) => "again",
            (None, _) => "caller",
            (Some(_), Leg::Access) => "page",
            (Some(_), Leg::Ims) => "phone",
        }
    }

    /// The last response to a peer.
    pub(super) fn last_response(&self, leg: Leg) -> &Response {
        let last = self
            .world
            .responses
            .iter()
            .rev()
            .find(|(to, _, _)| *to == leg);
        &last.unwrap().2
    }

    /// The last request to a peer.
    pub(super) fn last_request(&self, leg: Leg) -> &Request {
        let last = self
            .world
            .requests
            .iter()
            .rev()
            .find(|(to, _, _)| *to == leg);
        &last.unwrap().2
    }
}

fn peer_contact(leg: Leg, tag: &str) -> String {
    match leg {
        Leg::Access => "<sip:page@abc.invalid;transport=ws>".to_owned(),
        Leg::Ims => format!("<sip:{tag}@198.51.100.7:5060>"),
    }
}

fn add_headers(headers: &mut Headers, lines: &str) {
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        headers.push(HeaderName::known(name.as_bytes()).unwrap(), value);
    }
}

/// For scripts that choose at random among what is possible.
impl Call {
    /// The method of some request of the box to a peer that has no final answer.
    pub(super) fn some_request(&self, leg: Leg, rng: &mut ChaCha20Rng) -> Option<Method> {
        let open: Vec<&Method> = self
            .world
            .requests
            .iter()
            .filter(|(to, id, _)| *to == leg && !self.world.answered.contains(id))
            .filter(|(to, id, _)| self.is_its(*to, *id))
            .map(|(_, _, request)| &request.method)
            .collect();
        let at = usize::try_from(rng.next_u32())
            .unwrap()
            .checked_rem(open.len())?;
        Some(open[at].clone())
    }

    /// The tag of a peer: its own if it called, else the one of a fork.
    pub(super) fn tag_of(&self, leg: Leg, fork: &str) -> String {
        match self.peer_tag(leg) {
            tag @ ("caller" | "again") => tag.to_owned(),
            _ => fork.to_owned(),
        }
    }

    /// RSeq of the last reliable response to a peer.
    pub(super) fn last_rseq(&self, leg: Leg) -> Option<u32> {
        let mut last = self.world.responses.iter().rev();
        let found = last.find(|(to, _, response)| {
            *to == leg && response.headers.rseq().is_ok_and(|rseq| rseq.is_some())
        });
        Some(found?.2.headers.rseq().unwrap()?.0)
    }

    /// RSeq of the first reliable response to a peer.
    pub(super) fn first_rseq(&self, leg: Leg) -> u32 {
        let mut responses = self.world.responses.iter();
        let is_its = |it: &(Leg, ServerTransactionId, Response)| {
            let rseq = it.2.headers.rseq().unwrap();
            rseq.filter(|_| it.0 == leg)
        };
        responses.find_map(is_its).unwrap().0
    }

    /// Acknowledges the last acceptance, if there is one.
    pub(super) fn try_ack(&mut self, leg: Leg, body: Option<Bytes>) {
        let is_accepted = self.world.responses.iter().any(|(to, _, response)| {
            *to == leg
                && response.is_success()
                && response.headers.cseq().unwrap().method == Method::Invite
        });
        if is_accepted {
            self.ack(leg, body);
        }
    }

    /// Takes the first INVITE back, as long as it has no final answer.
    pub(super) fn try_cancel(&mut self) {
        let (leg, _, answered) = &self.world.asked[&ServerTransactionId(FIRST_INVITE)];
        if answered.is_none() {
            self.cancel(*leg, "");
        }
    }

    /// The peers answer all that is open.
    pub(super) fn answer_everything(&mut self) {
        for leg in [BROWSER, IMS] {
            let open: Vec<(ClientTransactionId, Method)> = self
                .world
                .requests
                .iter()
                .filter(|(to, id, _)| *to == leg && !self.world.answered.contains(id))
                .map(|(_, id, request)| (*id, request.method.clone()))
                .collect();
            for (id, method) in open.iter().rev() {
                self.at = self.world.devices.get(id).copied().unwrap_or(self.at);
                let code = if *method == Method::Invite { 487 } else { 200 };
                let tag = self.tag_of(leg, "phone");
                self.answer_with(leg, method, code, &tag, None, "");
            }
        }
    }
}

/// The server transaction of the first INVITE.
const FIRST_INVITE: u64 = 1000;
