//! A played IMS core with telephones: what `cargo xtask demo` and the simulation
//! call. P-CSCF, registrar and proxy behind one SIP address, numbers that answer by
//! themselves, and nothing else of a core.
//!
//! [`Lab`] is a value that is fed messages and packets, and drained of them.

mod call;
pub mod g711;
mod numbers;
mod proxy;
mod registrar;
mod resend;
mod sip;
mod telephone;
mod tone;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use iq::ImsAddress;
use rand_chacha::ChaCha20Rng;
use signaling::SipTransport;
use signaling::message::{
    Framing, HeaderName, Message, Method, NameAddr, Parsed, Request, Response, StatusCode,
    parse_datagram,
};

use call::Call;
pub use numbers::Service;
use registrar::Registrar;
pub use registrar::{User, answer as digest_answer};
use sip::Bench;
pub use sip::Hop;

/// What a lab is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The home domain and the realm of its users.
    pub domain: String,
    /// Where it takes SIP, over UDP and TCP.
    pub sip: SocketAddr,
    /// Where its telephones speak.
    pub media: IpAddr,
    /// An even port for each call at a time; the next one is its RTCP.
    pub media_ports: Vec<u16>,
    /// Who may register.
    pub users: Vec<User>,
}

impl Settings {
    /// alice and bob on one host. Their passwords are their names with `-secret`.
    #[must_use]
    pub fn new(sip: SocketAddr, media_ports: Vec<u16>) -> Self {
        let user = |name: &str, number: &str| User {
            name: name.to_owned(),
            password: format!("{name}-secret"),
            number: number.to_owned(),
        };
        Settings {
            domain: "ims.test".to_owned(),
            sip,
            media: sip.ip(),
            media_ports,
            users: vec![user("alice", "+390405550101"), user("bob", "+390405550102")],
        }
    }
}

/// What a lab wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a SIP message.
    Transmit {
        /// By which transport; a stream is opened if there is none yet.
        transport: SipTransport,
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Send an RTP packet.
    Media {
        /// From which of the media ports.
        port: u16,
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
}

/// The played core.
#[derive(Debug)]
pub struct Lab {
    settings: Settings,
    registrar: Registrar,
    calls: Vec<Call>,
    rng: ChaCha20Rng,
    output: VecDeque<Output>,
}

impl Lab {
    /// A core in which nobody is registered.
    #[must_use]
    pub fn new(settings: Settings, rng: ChaCha20Rng) -> Self {
        Lab {
            registrar: Registrar::new(settings.users.clone()),
            settings,
            calls: Vec::new(),
            rng,
            output: VecDeque::new(),
        }
    }

    /// Takes one datagram, or one framed message of a stream. What cannot be read is
    /// dropped.
    pub fn handle_message(&mut self, from: Hop, bytes: &Bytes, now: Instant) {
        let message = match from.transport {
            SipTransport::Udp => match parse_datagram(bytes) {
                Ok(Parsed::Message(message)) => message,
                Ok(Parsed::Ping | Parsed::Pong) | Err(_) => return,
            },
            SipTransport::Tcp | SipTransport::Tls => match Message::parse(bytes, Framing::Stream) {
                Ok(message) => message,
                Err(_) => return,
            },
        };
        match message {
            Message::Request(request) => self.handle_request(from, request, now),
            Message::Response(response) => self.handle_response(response, now),
        }
        self.drain_telephones();
    }

    /// Takes one RTP packet that arrived on a media port.
    pub fn handle_media(&mut self, port: u16, from: SocketAddr, packet: &[u8], now: Instant) {
        let (calls, mut bench) = self.split(now);
        let mut live = calls.iter_mut().filter(|call| !call.is_over());
        let Some(call) = live.find(|call| call.address.rtp.port() == port) else {
            return;
        };
        if let Some(key) = call.telephone.handle_rtp(from, packet) {
            call.heard_key(key, &mut bench);
        }
        self.drain_telephones();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (calls, mut bench) = self.split(now);
        for call in calls.iter_mut() {
            call.handle_timeout(&mut bench);
            call.telephone.handle_timeout(now);
        }
        let mut call_backs = Vec::new();
        for call in &mut self.calls {
            if call.take_call_back(now) {
                call_backs.push((call.service, call.user.clone()));
            }
        }
        for (service, user) in call_backs {
            self.place(service, &user, now);
        }
        self.calls.retain(|call| !call.is_forgotten(now));
        self.drain_telephones();
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Lab::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.iter().filter_map(Call::poll_timeout).min()
    }

    /// Calls a registered user from a service's number: an incoming call for him.
    /// `false` when he is not registered or no media port is free.
    pub fn place(&mut self, service: Service, user: &str, now: Instant) -> bool {
        let Some(contact) = self.registrar.contact(user, now) else {
            return false;
        };
        let Some(address) = self.free_address() else {
            return false;
        };
        let (calls, mut bench) = self.split(now);
        let call = Call::place(service, user, contact, address, &mut bench);
        calls.push(call);
        true
    }

    /// How many calls are up or on their way.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.calls.iter().filter(|call| !call.is_over()).count()
    }

    /// Whether a user is registered.
    #[must_use]
    pub fn is_registered(&self, user: &str, now: Instant) -> bool {
        self.registrar.contact(user, now).is_some()
    }

    fn handle_request(&mut self, from: Hop, mut request: Request, now: Instant) {
        sip::note_source(&mut request, from.address);
        let (calls, mut bench) = self.split(now);
        if let Some(call) = calls.iter_mut().find(|call| call.owns_request(&request)) {
            return call.handle_request(request, from, &mut bench);
        }
        proxy::take_own_routes(&mut request, &bench);
        let has_to_tag = request
            .headers
            .to()
            .is_ok_and(|to: NameAddr| to.tag().is_some());
        if request.method == Method::Register {
            let (registrar, mut bench) = self.split_registrar(now);
            registrar.handle_register(from, &request, &mut bench);
        } else if has_to_tag && bench.is_us(&request.uri) {
            if request.method != Method::Ack {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                bench.refuse(from, &request, status);
            }
        } else if has_to_tag {
            proxy::forward(from, request, None, &mut bench);
        } else {
            self.handle_initial(from, request, now);
        }
    }

    /// A request that opens something: only of a registered user, TS 24.229 §5.2.6.3.
    fn handle_initial(&mut self, from: Hop, mut request: Request, now: Instant) {
        let caller = self.registrar.user_at(from.address, now).cloned();
        let dialled = sip::dialled(&request.uri).unwrap_or_default();
        let callee = self.registrar.user(&dialled).cloned();
        let contact = callee
            .as_ref()
            .and_then(|user| self.registrar.contact(&user.name, now));
        let (_, mut bench) = self.split(now);
        let is_home = bench.is_home(&request.uri);
        let service = Service::dialled(&dialled).filter(|_| is_home);
        let Some(caller) = caller else {
            if request.method != Method::Ack {
                bench.refuse(from, &request, StatusCode::FORBIDDEN);
            }
            return;
        };
        match (&request.method, service, contact) {
            (Method::Options, _, _) if bench.is_us(&request.uri) || dialled.is_empty() => {
                bench.refuse(from, &request, StatusCode::OK);
            }
            (Method::Subscribe, _, _) => bench.refuse(from, &request, StatusCode::BAD_EVENT),
            (Method::Invite, Some(service), _) => {
                self.answer(service, &caller.name, from, request, now);
            }
            (Method::Cancel, Some(_), _) => {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                bench.refuse(from, &request, status);
            }
            (Method::Ack, Some(_), _) => {}
            (_, None, Some((uri, hop))) if is_home => {
                assert_identity(&mut request, &caller, &bench);
                request.uri = uri;
                proxy::forward(from, request, Some(hop), &mut bench);
            }
            (Method::Ack, _, _) => {}
            (_, _, _) => {
                let is_person = dialled.starts_with(|c: char| c.is_ascii_alphabetic());
                let status = match callee {
                    Some(_) if is_home => StatusCode::TEMPORARILY_UNAVAILABLE,
                    None if is_home && is_person => StatusCode::DOES_NOT_EXIST_ANYWHERE,
                    Some(_) | None => StatusCode::NOT_FOUND,
                };
                bench.refuse(from, &request, status);
            }
        }
    }

    fn answer(
        &mut self,
        service: Service,
        caller: &str,
        from: Hop,
        request: Request,
        now: Instant,
    ) {
        let address = self.free_address().filter(|_| self.calls.len() < MAX_CALLS);
        let (calls, mut bench) = self.split(now);
        let Some(address) = address else {
            return bench.refuse(from, &request, StatusCode::SERVICE_UNAVAILABLE);
        };
        let trying = bench.response(&request, StatusCode::TRYING);
        bench.send(from, trying);
        let call = Call::answer(service, caller, request.clone(), from, address, &mut bench);
        match call {
            Some(call) => calls.push(call),
            None => bench.refuse(from, &request, StatusCode::BAD_REQUEST),
        }
    }

    fn handle_response(&mut self, response: Response, now: Instant) {
        let (calls, mut bench) = self.split(now);
        match calls.iter_mut().find(|call| call.owns_response(&response)) {
            Some(call) => call.handle_response(&response, &mut bench),
            None => proxy::return_response(response, &mut bench),
        }
    }

    fn free_address(&self) -> Option<ImsAddress> {
        let is_free = |port: &u16| {
            let mut live = self.calls.iter().filter(|call| !call.is_over());
            live.all(|call| call.address.rtp.port() != *port)
        };
        let port = self.settings.media_ports.iter().copied().find(is_free)?;
        let ip = self.settings.media;
        Some(ImsAddress {
            rtp: SocketAddr::new(ip, port),
            rtcp: SocketAddr::new(ip, port + 1),
        })
    }

    fn drain_telephones(&mut self) {
        for call in &mut self.calls {
            while let Some((to, bytes)) = call.telephone.poll_output() {
                let port = call.address.rtp.port();
                self.output.push_back(Output::Media { port, to, bytes });
            }
        }
    }

    fn split(&mut self, now: Instant) -> (&mut Vec<Call>, Bench<'_>) {
        let bench = Bench {
            now,
            rng: &mut self.rng,
            domain: &self.settings.domain,
            sip: self.settings.sip,
            output: &mut self.output,
        };
        (&mut self.calls, bench)
    }

    fn split_registrar(&mut self, now: Instant) -> (&mut Registrar, Bench<'_>) {
        let bench = Bench {
            now,
            rng: &mut self.rng,
            domain: &self.settings.domain,
            sip: self.settings.sip,
            output: &mut self.output,
        };
        (&mut self.registrar, bench)
    }
}

/// What a core tells the called side of its caller, RFC 3325 and RFC 7315.
fn assert_identity(request: &mut Request, caller: &User, bench: &Bench<'_>) {
    for name in [
        HeaderName::PPreferredIdentity,
        HeaderName::PAssertedIdentity,
        HeaderName::PAccessNetworkInfo,
        HeaderName::Authorization,
        HeaderName::ProxyAuthorization,
    ] {
        request.headers.remove(&name);
    }
    let identities = caller.identities(bench);
    request
        .headers
        .push(HeaderName::PAssertedIdentity, identities);
    let called = format!("<{}>", request.uri);
    request.headers.replace(HeaderName::PCalledPartyId, called);
}

/// Calls that are up, and those that are remembered for their copies.
const MAX_CALLS: usize = 256;

#[cfg(test)]
mod tests;
