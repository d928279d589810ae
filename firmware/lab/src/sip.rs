//! Small SIP words that registrar, proxy and telephones share.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use signaling::SipTransport;
use signaling::message::headers::{Via, ViaTransport};
use signaling::message::{HeaderName, Host, Message, Request, Response, SipUri, StatusCode, Uri};

/// A neighbour: how it is reached and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// By which transport.
    pub transport: SipTransport,
    /// Its address.
    pub address: SocketAddr,
}

/// What every part of the lab works with while it handles one thing.
pub(crate) struct Bench<'a> {
    pub(crate) now: Instant,
    pub(crate) rng: &'a mut ChaCha20Rng,
    pub(crate) domain: &'a str,
    /// The one SIP address of the lab, UDP and TCP.
    pub(crate) sip: SocketAddr,
    pub(crate) output: &'a mut std::collections::VecDeque<crate::Output>,
}

impl Bench<'_> {
    pub(crate) fn send(&mut self, hop: Hop, message: impl Into<Message>) -> Bytes {
        let bytes = message.into().to_bytes();
        self.send_bytes(hop, bytes.clone());
        bytes
    }

    pub(crate) fn send_bytes(&mut self, hop: Hop, bytes: Bytes) {
        self.output.push_back(crate::Output::Transmit {
            transport: hop.transport,
            to: hop.address,
            bytes,
        });
    }

    /// Answers a request that nothing is remembered of.
    pub(crate) fn refuse(&mut self, hop: Hop, request: &Request, status: StatusCode) {
        let response = self.response(request, status);
        self.send(hop, response);
    }

    pub(crate) fn response(&mut self, request: &Request, status: StatusCode) -> Response {
        let tag = self.token();
        Response::to_request(request, status)
            .with_to_tag(&tag)
            .with(HeaderName::Server, SERVER)
    }

    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    pub(crate) fn random_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(crate) fn host(&self) -> Host {
        Host::from(self.sip.ip())
    }

    /// The lab's own address with a user part.
    pub(crate) fn own_uri(&self, user: &str) -> SipUri {
        SipUri::new(&self.host(), Some(self.sip.port())).with_user(Some(user))
    }

    /// A user of the lab's domain.
    pub(crate) fn public_uri(&self, user: &str) -> Uri {
        Uri::parse(&format!("sip:{user}@{}", self.domain)).expect("a configured name")
    }

    pub(crate) fn via(&self, transport: SipTransport, branch: &str) -> Via {
        let mut via = Via::new(transport, self.host(), Some(self.sip.port()), branch);
        via.params.set_flag("rport");
        via
    }

    /// Whether a URI is this lab's own address.
    pub(crate) fn is_us(&self, uri: &Uri) -> bool {
        uri.as_sip().is_some_and(|uri| {
            uri.host().address() == Some(self.sip.ip())
                && uri.port().unwrap_or(DEFAULT_PORT) == self.sip.port()
        })
    }

    /// Whether a URI is of the lab's domain or its own address, so that its user part
    /// is a name or a number of ours.
    pub(crate) fn is_home(&self, uri: &Uri) -> bool {
        let host = uri.as_sip().map(|uri| uri.host().to_string());
        host.is_none_or(|host| host.eq_ignore_ascii_case(self.domain)) || self.is_us(uri)
    }
}

/// Where a URI with a literal address points; names are not looked up.
pub(crate) fn hop_of(uri: &Uri) -> Option<Hop> {
    let uri = uri.as_sip()?;
    let transport = match uri.param("transport") {
        Some(name) if name.eq_ignore_ascii_case("tcp") => SipTransport::Tcp,
        Some(name) if name.eq_ignore_ascii_case("tls") => SipTransport::Tls,
        Some(_) | None => SipTransport::Udp,
    };
    Some(Hop {
        transport,
        address: SocketAddr::new(uri.host().address()?, uri.port().unwrap_or(DEFAULT_PORT)),
    })
}

/// Where a response goes: RFC 3261 §18.2.2 with RFC 3581.
pub(crate) fn hop_of_via(via: &Via) -> Option<Hop> {
    let ip = via.received().or_else(|| via.host.address())?;
    let port = via.rport().or(via.port).unwrap_or(DEFAULT_PORT);
    let transport = match via.transport {
        ViaTransport::Udp => SipTransport::Udp,
        ViaTransport::Tcp => SipTransport::Tcp,
        ViaTransport::Tls => SipTransport::Tls,
        ViaTransport::Ws | ViaTransport::Wss | ViaTransport::Other(_) => return None,
    };
    Some(Hop {
        transport,
        address: SocketAddr::new(ip, port),
    })
}

/// Notes in the top Via where a request really came from, RFC 3261 §18.2.1.
pub(crate) fn note_source(request: &mut Request, from: SocketAddr) {
    let Ok(mut via) = request.headers.via() else {
        return;
    };
    if via.wants_rport() {
        via.params.set("rport", from.port());
    }
    via.params.set("received", from.ip());
    request.headers.remove_first_item(&HeaderName::Via);
    request.headers.prepend(HeaderName::Via, via.to_string());
}

/// Who is called: the user part of a SIP URI or the digits of a number.
pub(crate) fn dialled(uri: &Uri) -> Option<String> {
    match uri {
        Uri::Sip(uri) => uri.unescaped_user(),
        Uri::Tel(uri) => Some(uri.digits()),
        Uri::Urn(_) | Uri::Other(_) => None,
    }
}

/// The estimate of a round trip, RFC 3261 §17.1.1.1.
pub(crate) const T1: Duration = Duration::from_millis(500);

/// The longest pause between copies, RFC 3261 §17.1.2.1.
pub(crate) const T2: Duration = Duration::from_secs(4);

/// When copies are given up: 64 times T1.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(32);

/// RFC 3261 §19.1.2.
const DEFAULT_PORT: u16 = 5060;

/// What the lab calls itself.
const SERVER: &str = "Gatehouse lab core";
