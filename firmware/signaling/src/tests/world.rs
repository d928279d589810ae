//! A control plane in virtual time, with browsers and a P-CSCF played by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{
    AccessTransport, Command, Fingerprint, FingerprintHash, IceCredentials, ImsAddress, Now,
    Private, Reply, Reserve, Reserved, SessionId, UnixTime,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::auth::{AuthenticationFailure, Credential, FetchId, FetchRequest, TokenRefusal, digest};
use crate::config::{Config, HostName, NextHop};
use crate::message::{HeaderName, Message, Parsed, Request, Response, StatusCode, parse_datagram};
use crate::reach::{Question, Records, Resolution};
use crate::sec_agree::Associations;
use crate::{
    EndpointId, EndpointKind, Event, FlowId, Input, Output, QueryId, RecordKey, Restored,
    SaFailure, Session, Signaling, SipTransport, WriteId,
};

pub(super) const CORE: &str = "192.0.2.10:5060";
pub(super) const OTHER_CORE: &str = "192.0.2.11:5060";

/// The world around one `Signaling`.
pub(super) struct World {
    pub(super) signaling: Signaling,
    start: Instant,
    pub(super) now: Instant,
    /// What went to the core and was not looked at yet.
    to_core: VecDeque<(EndpointId, SocketAddr, SipTransport, Message)>,
    /// What went to browsers and was not looked at yet.
    to_flow: VecDeque<(FlowId, Message)>,
    pub(super) events: Vec<Event>,
    /// What identity providers were asked.
    pub(super) asked: VecDeque<(FetchId, FetchRequest)>,
    pub(super) tickets: Vec<Result<Session, TokenRefusal>>,
    /// All that happened, a line each.
    ladder: String,
    pub(super) answers_open: bool,
    /// What the name service knows, and whether it answers by itself.
    pub(super) names: BTreeMap<Question, Records>,
    pub(super) answers_names: bool,
    /// What is stored for users, by their private identity.
    pub(super) credentials: BTreeMap<String, Credential>,
    /// What was written down.
    pub(super) store: BTreeMap<RecordKey, Bytes>,
    pub(super) store_answers: bool,
    pub(super) last_write: Option<WriteId>,
    pub(super) config: Config,
    /// Sessions that media holds.
    held: BTreeSet<SessionId>,
    /// IPsec associations, by their client port, and what the kernel says of new ones.
    pub(super) associations: BTreeMap<EndpointId, Associations>,
    pub(super) kernel: Result<(), SaFailure>,
    protected: BTreeSet<EndpointId>,
}

impl World {
    pub(super) fn new() -> Self {
        World::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let hop = NextHop::address(CORE.parse().unwrap(), SipTransport::Udp);
        let mut config = Config::new(HostName::parse("ims.test").unwrap(), hop);
        config.tenants[0].probes = false;
        change(&mut config);
        let now = Instant::now();
        World {
            signaling: Signaling::new(config.clone(), 1, ChaCha20Rng::seed_from_u64(1)),
            config,
            held: BTreeSet::new(),
            associations: BTreeMap::new(),
            kernel: Ok(()),
            protected: BTreeSet::new(),
            start: now,
            now,
            to_core: VecDeque::new(),
            to_flow: VecDeque::new(),
            events: Vec::new(),
            asked: VecDeque::new(),
            tickets: Vec::new(),
            ladder: String::new(),
            answers_open: true,
            names: BTreeMap::new(),
            answers_names: false,
            credentials: BTreeMap::new(),
            store: BTreeMap::new(),
            store_answers: true,
            last_write: None,
        }
    }

    /// The control process is killed, and another one starts after a while. Media goes on,
    /// or went with it.
    pub(super) fn restart(&mut self, after: Duration, with_media: bool) -> Restored {
        self.now += after;
        self.forget();
        let rng = ChaCha20Rng::seed_from_u64(2);
        self.signaling = Signaling::new(self.config.clone(), 2, rng);
        if !with_media {
            self.held.clear();
        }
        let now = self.now();
        let restored = self.signaling.restore(self.store.clone(), now);
        self.drain();
        restored
    }

    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        self.signaling.handle_input(input, now);
        self.drain();
    }

    pub(super) fn open(&mut self, flow: u64) {
        let remote = Private::new("198.51.100.7:4711".parse().unwrap());
        self.input(Input::FlowOpened {
            flow: FlowId(flow),
            remote,
            is_secure: true,
        });
    }

    /// The name service answers: that there is nothing, without records.
    pub(super) fn resolved(&mut self, query: u64, records: Option<Records>) {
        let ttl = Duration::from_secs(60);
        let resolution = match records {
            Some(records) => Resolution::Found { records, ttl },
            None => Resolution::Nothing { ttl },
        };
        let query = QueryId(query);
        self.input(Input::Resolved { query, resolution });
    }

    pub(super) fn closed(&mut self, flow: u64) {
        self.input(Input::FlowClosed { flow: FlowId(flow) });
    }

    /// A browser sends.
    pub(super) fn browser(&mut self, flow: u64, text: &str) {
        let bytes = Bytes::from(wire(text));
        self.input(Input::FlowMessage {
            flow: FlowId(flow),
            bytes,
        });
    }

    /// The core sends, to an endpoint.
    pub(super) fn core(&mut self, endpoint: u64, text: &str) {
        self.from(CORE, endpoint, Bytes::from(wire(text)));
    }

    pub(super) fn from(&mut self, from: &str, endpoint: u64, bytes: Bytes) {
        self.input(Input::ImsMessage {
            endpoint: EndpointId(endpoint),
            transport: SipTransport::Udp,
            from: from.parse().unwrap(),
            bytes,
        });
    }

    /// The core answers a request that it got.
    pub(super) fn answer(&mut self, asked: &Asked, response: Response) {
        let from = asked.to.to_string();
        self.input(Input::ImsMessage {
            endpoint: asked.endpoint,
            transport: asked.transport,
            from: from.parse().unwrap(),
            bytes: response.to_bytes(),
        });
    }

    /// The next request that the core got.
    pub(super) fn core_request(&mut self) -> Asked {
        let next = self.next_core_request();
        next.unwrap_or_else(|| panic!("the core got no request:\n{}", self.ladder))
    }

    /// The next request that the core got, if there is one.
    pub(super) fn next_core_request(&mut self) -> Option<Asked> {
        while let Some((endpoint, to, transport, message)) = self.to_core.pop_front() {
            if let Message::Request(request) = message {
                return Some(Asked {
                    endpoint,
                    to,
                    transport,
                    request,
                });
            }
        }
        None
    }

    pub(super) fn core_response(&mut self) -> Response {
        while let Some((.., message)) = self.to_core.pop_front() {
            if let Message::Response(response) = message {
                return response;
            }
        }
        panic!("the core got no response:\n{}", self.ladder);
    }

    /// The next response that the core got, and where.
    pub(super) fn core_response_to(&mut self) -> (Response, SocketAddr) {
        while let Some((_, to, _, message)) = self.to_core.pop_front() {
            if let Message::Response(response) = message {
                return (response, to);
            }
        }
        panic!("the core got no response:\n{}", self.ladder);
    }

    pub(super) fn core_got_nothing(&self) -> bool {
        self.to_core.is_empty()
    }

    /// The next response that a browser got.
    pub(super) fn browser_response(&mut self, flow: u64) -> Response {
        while let Some((to, message)) = self.to_flow.pop_front() {
            if let Message::Response(response) = message
                && to == FlowId(flow)
            {
                return response;
            }
        }
        panic!("browser {flow} got no response:\n{}", self.ladder);
    }

    /// The next request that a browser got.
    pub(super) fn browser_request(&mut self, flow: u64) -> Request {
        while let Some((to, message)) = self.to_flow.pop_front() {
            if let Message::Request(request) = message
                && to == FlowId(flow)
            {
                return request;
            }
        }
        panic!("browser {flow} got no request:\n{}", self.ladder);
    }

    pub(super) fn browser_got_nothing(&self, flow: u64) -> bool {
        self.to_flow.iter().all(|(to, _)| *to != FlowId(flow))
    }

    /// The next request that a browser got, whatever others did before.
    pub(super) fn take_to_flow(&mut self, flow: u64) -> Option<Request> {
        let is_its = |(to, message): &(FlowId, Message)| {
            *to == FlowId(flow) && matches!(message, Message::Request(_))
        };
        let at = self.to_flow.iter().position(is_its)?;
        match self.to_flow.remove(at)?.1 {
            Message::Request(request) => Some(request),
            Message::Response(_) => None,
        }
    }

    /// Lets time pass, with every timer at its own moment.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.signaling.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now();
            self.signaling.handle_timeout(now);
            self.drain();
        }
        self.now = end;
    }

    /// What happened since the last look.
    pub(super) fn ladder(&mut self) -> String {
        std::mem::take(&mut self.ladder)
    }

    pub(super) fn forget(&mut self) {
        self.ladder.clear();
        self.to_core.clear();
        self.to_flow.clear();
        self.events.clear();
    }

    fn now(&self) -> Now {
        let passed = u64::try_from((self.now - self.start).as_millis()).unwrap();
        Now {
            monotonic: self.now,
            wall: Some(UnixTime::from_millis(1_700_000_000_000 + passed)),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.signaling.poll_output() {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        let at = (self.now - self.start).as_secs_f64();
        let ladder = &mut self.ladder;
        match output {
            Output::ToFlow { flow, bytes } => match parse_datagram(&bytes) {
                Ok(Parsed::Message(message)) => {
                    writeln!(ladder, "{at}s flow{} <- {}", flow.0, summary(&message)).unwrap();
                    self.to_flow.push_back((flow, message));
                }
                other => writeln!(ladder, "{at}s flow{} <- {other:?}", flow.0).unwrap(),
            },
            Output::CloseFlow { flow, code, .. } => {
                writeln!(ladder, "{at}s flow{} closed {code}", flow.0).unwrap();
            }
            Output::Transmit {
                endpoint,
                transport,
                to,
                bytes,
            } => {
                let Ok(Parsed::Message(message)) = parse_datagram(&bytes) else {
                    panic!("unreadable output");
                };
                let via = transport.via_token();
                let line = format!("port{} -> {via} {}", endpoint.0, summary(&message));
                writeln!(ladder, "{at}s {line}").unwrap();
                let is_agreed = self.associations.values().any(|set| {
                    let [requests, .., answers] = &set.ways;
                    (set.client, requests.to) == (endpoint, to)
                        || (set.server, answers.to) == (endpoint, to)
                });
                let is_protected = self.protected.contains(&endpoint);
                assert!(is_agreed || !is_protected, "{line} to {to} in the open");
                self.to_core.push_back((endpoint, to, transport, message));
            }
            Output::InstallSa(set) => {
                let (client, result) = (set.client, self.kernel);
                writeln!(ladder, "{at}s port{} sa to {}", client.0, set.ways[0].to).unwrap();
                if result.is_ok() {
                    let before = self.associations.insert(client, *set);
                    assert!(before.is_none(), "one set for a client port");
                }
                self.input(Input::SaInstalled { client, result });
            }
            Output::ExtendSa(set) => {
                let (client, time) = (set.client, set.ways[0].lifetime);
                writeln!(ladder, "{at}s port{} sa lasts {time:?}", client.0).unwrap();
            }
            Output::DeleteSa { client } => {
                writeln!(ladder, "{at}s port{} sa gone", client.0).unwrap();
                self.associations.remove(&client);
            }
            Output::Open { endpoint, kind, .. } => {
                if kind == EndpointKind::Protected {
                    self.protected.insert(endpoint);
                }
                writeln!(ladder, "{at}s port{} open", endpoint.0).unwrap();
                if self.answers_open {
                    let local = local(endpoint);
                    self.input(Input::Opened { endpoint, local });
                }
            }
            Output::Close { endpoint } => {
                writeln!(ladder, "{at}s port{} close", endpoint.0).unwrap();
            }
            Output::Resolve {
                query, question, ..
            } => {
                let Question { name, kind } = &question;
                writeln!(ladder, "{at}s resolve{} {kind:?} {name}", query.0).unwrap();
                let records = self.names.get(&question).cloned();
                if self.answers_names {
                    self.resolved(query.0, records);
                }
            }
            Output::Authenticate { id, user, question } => {
                writeln!(ladder, "{at}s ask {} nc={}", user.reveal(), question.count).unwrap();
                let answer = match self.credentials.get_mut(user.reveal()) {
                    Some(credential) => digest::answer(credential, &user, &question)
                        .map(Box::new)
                        .map_err(AuthenticationFailure::Unanswerable),
                    None => Err(AuthenticationFailure::Unknown),
                };
                self.input(Input::Authenticated { id, answer });
            }
            Output::Store { write, key, value } => {
                match value {
                    Some(value) => self.store.insert(key, value),
                    None => self.store.remove(&key),
                };
                self.last_write = Some(write);
                if self.store_answers {
                    self.input(Input::Stored { write });
                }
            }
            Output::Fetch { query, request } => {
                writeln!(ladder, "{at}s fetch{} {}", query.0, request.url).unwrap();
                self.asked.push_back((query, request));
            }
            Output::Ticket { ticket, result } => {
                writeln!(ladder, "{at}s ticket{} {}", ticket.0, result.is_ok()).unwrap();
                self.tickets.push(result);
            }
            Output::Iq(command) => {
                let text = format!("{command:?}");
                let word = text.split([' ', '(']).next().unwrap_or_default();
                writeln!(ladder, "{at}s media <- {word}").unwrap();
                match &command {
                    Command::Reserve(reserve) => self.held.insert(reserve.session),
                    Command::Release { session } => self.held.remove(session),
                    _ => false,
                };
                let sessions = self.held.iter().copied().collect();
                let audited = Some(Reply::Audited { sessions });
                let audited = audited.filter(|_| command == Command::Audit);
                if let Some(reply) = audited.or_else(|| reply_to(&command)) {
                    self.input(Input::Iq(reply));
                }
            }
            Output::Event(event) => self.events.push(event),
            Output::Idle => writeln!(ladder, "{at}s idle").unwrap(),
        }
    }
}

/// A request that the core got, and how.
pub(super) struct Asked {
    pub(super) endpoint: EndpointId,
    pub(super) to: SocketAddr,
    pub(super) transport: SipTransport,
    pub(super) request: Request,
}

impl Asked {
    pub(super) fn response(&self, status: u16) -> Response {
        let status = StatusCode::new(status).unwrap();
        Response::to_request(&self.request, status).with_to_tag("core")
    }

    pub(super) fn challenge(&self, nonce: &str) -> Response {
        let challenge = format!(
            r#"Digest realm="ims.test", nonce="{nonce}", algorithm=MD5, qop="auth,auth-int""#
        );
        self.response(401)
            .with(HeaderName::WwwAuthenticate, challenge)
    }

    /// A 200 to a REGISTER, as Kamailio's S-CSCF gives it: with another Contact before ours.
    pub(super) fn granted(&self, expires: u32) -> Response {
        let contacts = self.request.headers.contacts().unwrap();
        let uri = contacts[0].address().unwrap().uri.clone();
        self.response(200)
            .with(
                HeaderName::Contact,
                format!("<sip:other@203.0.113.1>;expires=9, <{uri}>;expires={expires}"),
            )
            .with(
                HeaderName::ServiceRoute,
                "<sip:orig@scscf.ims.test:6060;lr>",
            )
            .with(
                HeaderName::PAssociatedUri,
                "<sip:alice@ims.test>, <tel:+390401234567>",
            )
            .with(HeaderName::Server, "Kamailio S-CSCF")
            .with(HeaderName::Path, "<sip:term@pcscf.ims.test;lr>")
    }
}

/// What a media plane with room for everybody answers.
fn reply_to(command: &Command) -> Option<Reply> {
    match command {
        Command::Reserve(Reserve { session, .. }) | Command::RestartIce { session } => {
            Some(Reply::Reserved(Reserved {
                session: *session,
                access: AccessTransport {
                    candidates: vec!["203.0.113.5:50000".parse().unwrap()],
                    ice: IceCredentials {
                        ufrag: "gate".to_owned(),
                        pwd: Private::new("0123456789012345678901".to_owned()),
                    },
                    fingerprint: Fingerprint {
                        hash: FingerprintHash::Sha256,
                        value: vec![0xab; 32],
                    },
                },
                ims: vec![ImsAddress {
                    rtp: "198.51.100.1:30000".parse().unwrap(),
                    rtcp: "198.51.100.1:30001".parse().unwrap(),
                }],
            }))
        }
        Command::Release { session } => Some(Reply::Released {
            session: *session,
            report: Box::default(),
        }),
        _ => None,
    }
}

fn local(endpoint: EndpointId) -> SocketAddr {
    let port = 6000 + u16::try_from(endpoint.0).unwrap();
    SocketAddr::from(([198, 51, 100, 1], port))
}

fn summary(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            let cseq = response.headers.cseq().unwrap();
            format!("{} {}", response.status, cseq.method)
        }
    }
}

/// Text as it is written in a test, as it stands on the wire.
pub(super) fn wire(text: &str) -> String {
    if text.contains("\r\n\r\n") {
        return text.to_owned();
    }
    let mut lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    lines.extend(["", ""]);
    lines.join("\r\n")
}
