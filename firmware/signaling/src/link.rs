//! What registrations and sessions reach the outside through: transactions and who owns
//! them, output, chance and time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{Leg, Now, SessionId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::config::Config;
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::event::Event;
use crate::id::{FlowId, QueryId, SipTransport};
use crate::message::headers::{Via, ViaTransport};
use crate::message::{HeaderName, Headers, Host, Method, Request, Response, StatusCode};
use crate::output::Output;
use crate::policy::Policies;
use crate::registration::{BindingId, ImsPath};
use crate::transaction::{ClientTransactionId, Failure, Peer, ServerTransactionId, Transactions};

/// The way out.
#[derive(Debug)]
pub(crate) struct Link {
    now: Option<Now>,
    pub(crate) config: Config,
    pub(crate) policies: Policies,
    pub(crate) counters: Counters,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) transactions: Transactions,
    queries: u64,
    output: VecDeque<Output>,
    clients: BTreeMap<ClientTransactionId, Client>,
    /// Under which transaction a request runs that was sent anew, by its first name.
    renamed: BTreeMap<ClientTransactionId, ClientTransactionId>,
    /// INVITEs that were answered: more answers may come for a while.
    retiring: Deadlines<ClientTransactionId>,
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Binding(BindingId),
    Session(SessionId, Leg),
}

/// A request that was sent.
#[derive(Debug)]
struct Client {
    owner: Owner,
    /// The name that the owner knows it by.
    first: ClientTransactionId,
    is_invite: bool,
    /// What to send by datagram if the stream it was moved to cannot be had.
    fallback: Option<Box<(ImsPath, Request)>>,
}

impl Link {
    pub(crate) fn new(config: Config, rng: ChaCha20Rng) -> Self {
        Link {
            now: None,
            policies: Policies::new(&config),
            config,
            counters: Counters::default(),
            rng,
            transactions: Transactions::default(),
            queries: 0,
            output: VecDeque::new(),
            clients: BTreeMap::new(),
            renamed: BTreeMap::new(),
            retiring: Deadlines::new(),
        }
    }

    /// Learns what time it is.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = Some(now);
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        self.now
            .expect("every entry of Signaling tells the time first")
    }

    /// What time it is for timers.
    pub(crate) fn instant(&self) -> Instant {
        self.now().monotonic
    }

    /// Sends a request towards the IMS. The Via is put on here, because the transport
    /// depends on the size: RFC 3261 §18.1.1 and TS 24.229 §4.2A want a stream above
    /// 1300 bytes.
    pub(crate) fn send_to_ims(
        &mut self,
        owner: Owner,
        path: &ImsPath,
        request: Request,
    ) -> ClientTransactionId {
        let (peer, request) = self.address(path, request);
        let is_moved = matches!(&peer, Peer::Ims { transport, .. } if *transport != path.transport);
        self.counters.requests_moved_to_stream += u64::from(is_moved);
        let fallback = is_moved.then(|| Box::new((*path, request.clone())));
        self.start(owner, peer, request, fallback, None)
    }

    /// Sends a request to a browser.
    pub(crate) fn send_to_flow(
        &mut self,
        owner: Owner,
        flow: FlowId,
        mut request: Request,
    ) -> ClientTransactionId {
        let via = self.access_via();
        request.headers.prepend(HeaderName::Via, via.to_string());
        self.start(owner, Peer::Flow(flow), request, None, None)
    }

    /// Sends an ACK to a 2xx towards the IMS, RFC 3261 §13.2.2.4.
    pub(crate) fn acknowledge_to_ims(&mut self, path: &ImsPath, request: Request) {
        let (peer, request) = self.address(path, request);
        self.deliver(&peer, request.to_bytes());
    }

    /// Sends an ACK to a 2xx to a browser.
    pub(crate) fn acknowledge_to_flow(&mut self, flow: FlowId, mut request: Request) {
        let via = self.access_via();
        request.headers.prepend(HeaderName::Via, via.to_string());
        self.deliver(&Peer::Flow(flow), request.to_bytes());
    }

    /// Cancels an INVITE, RFC 3261 §9.1; it still gets its final response.
    pub(crate) fn cancel(&mut self, invite: ClientTransactionId, extra: &Headers) {
        let running = self.renamed.get(&invite).copied().unwrap_or(invite);
        let extra = extra.iter().cloned().collect();
        let now = self.instant();
        self.transactions.cancel(running, extra, now);
    }

    /// Answers a request.
    pub(crate) fn respond(&mut self, transaction: ServerTransactionId, mut response: Response) {
        if !response.headers.has(&HeaderName::Server) {
            response
                .headers
                .push(HeaderName::Server, self.config.product.as_str());
        }
        let now = self.instant();
        self.transactions.respond(transaction, response, now);
    }

    /// Hands bytes to the shell.
    pub(crate) fn deliver(&mut self, peer: &Peer, bytes: Bytes) {
        self.output.push_back(match *peer {
            Peer::Flow(flow) => Output::ToFlow { flow, bytes },
            Peer::Ims {
                endpoint,
                transport,
                remote: to,
            } => Output::Transmit {
                endpoint,
                transport,
                to,
                bytes,
            },
        });
    }

    pub(crate) fn iq(&mut self, command: iq::Command) {
        self.output.push_back(Output::Iq(command));
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.output.push_back(output);
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Text that nobody guesses, for tags, tokens, branches and Call-IDs: RFC 3261
    /// §19.3 wants 32 bits, these are 96.
    pub(crate) fn token(&mut self) -> String {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u32());
        format!("{a:016x}{b:08x}")
    }

    /// A moment within an interval, so that many clients do not come back at once.
    pub(crate) fn jitter(&mut self, seconds: std::ops::Range<u32>) -> u32 {
        let width = seconds.end.saturating_sub(seconds.start).max(1);
        seconds.start + self.rng.next_u32() % width
    }

    /// The name of one more question to the name service.
    pub(crate) fn query(&mut self) -> QueryId {
        self.queries += 1;
        QueryId(self.queries)
    }

    /// Who waits for this response, and under which name he knows the request.
    pub(crate) fn owner_of_response(
        &mut self,
        transaction: ClientTransactionId,
        status: StatusCode,
    ) -> Option<(Owner, ClientTransactionId)> {
        let client = self.clients.get(&transaction)?;
        let found = (client.owner, client.first);
        if status.is_success() && client.is_invite {
            // Other forks may answer too, RFC 6026 §7.2.
            let retire_at = self.instant() + TIMER_M;
            self.retiring.set(transaction, Some(retire_at));
        } else if status.is_final() {
            self.forget(transaction);
        }
        Some(found)
    }

    /// Learns that a request failed. `None` if it was sent again another way, or nobody
    /// waits for it.
    pub(crate) fn owner_of_failure(
        &mut self,
        transaction: ClientTransactionId,
        failure: Failure,
    ) -> Option<(Owner, ClientTransactionId)> {
        let client = self.forget(transaction)?;
        let found = (client.owner, client.first);
        match client.fallback {
            // RFC 3261 §18.1.1: refused on a stream, it may go by datagram after all.
            Some(fallback) if failure == Failure::Transport => {
                self.counters.requests_moved_back += 1;
                let (path, mut request) = *fallback;
                request.headers.remove_first_item(&HeaderName::Via);
                let peer = path.peer(path.transport);
                let via = self.ims_via(&path, path.transport);
                request.headers.prepend(HeaderName::Via, via.to_string());
                self.start(client.owner, peer, request, None, Some(client.first));
                None
            }
            _ => Some(found),
        }
    }

    /// Nobody waits for this request any more; not for INVITE.
    pub(crate) fn abandon(&mut self, first: ClientTransactionId) {
        let running = self.renamed.get(&first).copied().unwrap_or(first);
        self.transactions.abandon(running);
        self.forget(running);
    }

    /// Forgets INVITEs whose time for further answers is over.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.instant();
        while let Some(transaction) = self.retiring.take_due(now) {
            self.forget(transaction);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retiring.next()
    }

    fn forget(&mut self, transaction: ClientTransactionId) -> Option<Client> {
        self.retiring.set(transaction, None);
        let client = self.clients.remove(&transaction)?;
        if client.first != transaction {
            self.renamed.remove(&client.first);
        }
        Some(client)
    }

    fn start(
        &mut self,
        owner: Owner,
        peer: Peer,
        request: Request,
        fallback: Option<Box<(ImsPath, Request)>>,
        first: Option<ClientTransactionId>,
    ) -> ClientTransactionId {
        let is_invite = request.method == Method::Invite;
        let now = self.instant();
        let transaction = self.transactions.send_request(peer, request, now);
        let first = first.unwrap_or(transaction);
        if first != transaction {
            self.renamed.insert(first, transaction);
        }
        let client = Client {
            owner,
            first,
            is_invite,
            fallback,
        };
        self.clients.insert(transaction, client);
        first
    }

    /// Puts a Via on a request and chooses its transport.
    fn address(&mut self, path: &ImsPath, mut request: Request) -> (Peer, Request) {
        if !request.headers.has(&HeaderName::UserAgent) {
            request
                .headers
                .push(HeaderName::UserAgent, self.config.product.as_str());
        }
        let via = self.ims_via(path, path.transport);
        request.headers.prepend(HeaderName::Via, via.to_string());
        let is_too_long =
            path.transport == SipTransport::Udp && request.to_bytes().len() > DATAGRAM_MAX;
        let transport = if is_too_long {
            SipTransport::Tcp
        } else {
            path.transport
        };
        if is_too_long {
            let via = Via {
                transport: transport.into(),
                ..via
            };
            request.headers.remove_first_item(&HeaderName::Via);
            request.headers.prepend(HeaderName::Via, via.to_string());
        }
        (path.peer(transport), request)
    }

    fn ims_via(&mut self, path: &ImsPath, transport: SipTransport) -> Via {
        let host = Host::from(path.local.ip());
        let mut via = Via::new(transport, host, Some(path.local.port()), &self.token());
        via.params.set_flag("rport");
        via
    }

    /// RFC 7118 §5.2: a name that nobody resolves.
    fn access_via(&mut self) -> Via {
        let host = Host::parse(self.config.access_host.as_str()).expect("a host name is a host");
        Via::new(ViaTransport::Wss, host, None, &self.token())
    }
}

/// The longest request that goes by datagram, RFC 3261 §18.1.1.
const DATAGRAM_MAX: usize = 1300;

/// How long after the first 2xx others may come, RFC 6026 §7.2.
const TIMER_M: Duration = Duration::from_secs(32);
