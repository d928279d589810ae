//! What registrations and sessions reach the outside through: transactions and who owns
//! them, output, chance and time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{Leg, Now, Private, SessionId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::auth::AuthenticationId;
use crate::challenged::Challenged;
use crate::config::{Config, TenantId};
use crate::counters::Counters;
use crate::deadlines::Deadlines;
use crate::event::Event;
use crate::flow_token::FlowTokens;
use crate::guard::Guard;
use crate::id::{EndpointId, FlowId, SipTransport};
use crate::kept::{Clock, Ledger};
use crate::message::headers::{Via, ViaTransport};
use crate::message::{HeaderName, Headers, Host, Method, Request, Response};
use crate::output::Output;
use crate::policy::Policies;
use crate::protected::{ProtectedWays, agreed};
use crate::reach::{Hop, Reach};
use crate::reaching::Spare;
use crate::registration::{BindingId, ImsPath, WatchId};
use crate::sec_agree::Protected;
use crate::subscription::SubscriptionId;
use crate::transaction::{ClientTransactionId, Failure, Peer, ServerTransactionId, Transactions};

mod by_route;

use by_route::Parked;

/// The way out.
#[derive(Debug)]
pub(crate) struct Link {
    now: Option<Now>,
    pub(crate) config: Config,
    pub(crate) policies: Policies,
    pub(crate) counters: Counters,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) flow_tokens: FlowTokens,
    parked: BTreeMap<ClientTransactionId, Parked>,
    /// Requests that nobody knew the way for.
    stranded: VecDeque<ClientTransactionId>,
    /// Tells what is written down what time it is.
    pub(crate) clock: Clock,
    pub(crate) ledger: Ledger,
    pub(crate) transactions: Transactions,
    pub(crate) reach: Reach,
    pub(crate) challenged: Challenged,
    pub(crate) guard: Guard,
    /// What goes by IPsec.
    ways: ProtectedWays,
    endpoints: u64,
    authentications: u64,
    output: VecDeque<Output>,
    clients: BTreeMap<ClientTransactionId, Client>,
    /// Under which transaction a request runs that was sent anew, by its first name.
    renamed: BTreeMap<ClientTransactionId, ClientTransactionId>,
    /// INVITEs that were answered: more answers may come for a while.
    retiring: Deadlines<ClientTransactionId>,
    /// How long a server may say nothing to what another could be asked as well.
    pub(crate) patience: Deadlines<ClientTransactionId>,
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Binding(BindingId),
    Session(SessionId, Leg),
    Subscription(SubscriptionId),
    /// The box's own subscription to a user's registrations.
    Watch(WatchId),
    /// A request that leaves nothing behind but its answer.
    Exchange,
    /// The box itself: an OPTIONS that asks whether a server is there.
    Probe,
}

/// Who hears of a response or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// He does, and this is the name by which he knows the request.
    By(Owner, ClientTransactionId),
    /// Nobody: the request was sent again another way, or is not wanted any more.
    Nobody,
    /// Nobody: there was no such request.
    Stray,
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) owner: Owner,
    /// The name that the owner knows it by.
    pub(crate) first: ClientTransactionId,
    pub(crate) is_invite: bool,
    /// The server it went to; none towards a browser.
    pub(crate) hop: Option<Hop>,
    /// What to send by datagram if the stream it was moved to cannot be had.
    fallback: Option<Box<(ImsPath, Request)>>,
    /// What to send to another server if this one does not take it.
    pub(crate) spare: Option<Box<Spare>>,
    /// Another server was asked meanwhile.
    pub(crate) is_superseded: bool,
}

impl Link {
    pub(crate) fn new(config: Config, rng: ChaCha20Rng) -> Self {
        let key = config.flow_key.unwrap_or_else(|| fresh_key(&rng));
        Link {
            now: None,
            flow_tokens: FlowTokens::new(&key),
            parked: BTreeMap::new(),
            stranded: VecDeque::new(),
            policies: Policies::new(&config),
            counters: Counters::default(),
            rng,
            clock: Clock::default(),
            ledger: Ledger::default(),
            transactions: Transactions::default(),
            challenged: Challenged::default(),
            ways: ProtectedWays::default(),
            endpoints: 0,
            authentications: 0,
            reach: Reach::new(&config),
            guard: Guard::new(config.tenants.len()),
            output: VecDeque::new(),
            clients: BTreeMap::new(),
            renamed: BTreeMap::new(),
            retiring: Deadlines::new(),
            patience: Deadlines::new(),
            config,
        }
    }

    /// Learns what time it is.
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = Some(now);
        self.clock.set(now);
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
        let going = Going {
            hop: Some(path.hop()),
            fallback,
            ..Going::plain(owner)
        };
        self.start(going, peer, request)
    }

    /// Learns that all users of a tenant share an endpoint.
    pub(crate) fn shares(&mut self, endpoint: EndpointId) {
        self.transactions.share(endpoint);
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
        self.start(Going::plain(owner), Peer::Flow(flow), request)
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
        if self.parked.contains_key(&invite) {
            return self.strand(invite);
        }
        if self.cancel_held(invite) {
            return;
        }
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

    /// From now on this is how the user of a protected server port talks.
    pub(crate) fn protect(&mut self, server: EndpointId, way: &Protected<'_>) {
        self.ways.begin(server, way);
    }

    /// That client port is closed.
    pub(crate) fn unprotect(&mut self, client: EndpointId) {
        self.ways.end(client);
    }

    /// Hands bytes to the shell.
    pub(crate) fn deliver(&mut self, peer: &Peer, bytes: Bytes) {
        self.output.push_back(match self.ways.of(peer.clone()) {
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
        if let Some((tenant, query, question)) = self.reach.pop_query() {
            return Some(Output::Resolve {
                query,
                tenant,
                question,
            });
        }
        self.output.pop_front()
    }

    /// Text that nobody guesses, for tags, tokens, branches and Call-IDs: RFC 3261
    /// §19.3 wants 32 bits, these are 96.
    pub(crate) fn token(&mut self) -> String {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u32());
        format!("{a:016x}{b:08x}")
    }

    /// 128 bits that nobody guesses.
    pub(crate) fn chance(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    /// A moment within an interval, so that many clients do not come back at once.
    pub(crate) fn jitter(&mut self, seconds: std::ops::Range<u32>) -> u32 {
        let width = seconds.end.saturating_sub(seconds.start).max(1);
        seconds.start + self.rng.next_u32() % width
    }

    /// The name of one more port towards the IMS.
    pub(crate) fn endpoint(&mut self) -> EndpointId {
        self.endpoints += 1;
        EndpointId(self.endpoints)
    }

    /// The name of one more question about credentials.
    pub(crate) fn authentication(&mut self) -> AuthenticationId {
        self.authentications += 1;
        AuthenticationId(self.authentications)
    }

    /// Who waits for this response, and under which name he knows the request.
    pub(crate) fn owner_of_response(
        &mut self,
        transaction: ClientTransactionId,
        response: &Response,
    ) -> Heard {
        let Some(client) = self.clients.get(&transaction) else {
            return Heard::Stray;
        };
        let (owner, first, is_invite) = (client.owner, client.first, client.is_invite);
        let status = response.status;
        self.patience.set(transaction, None);
        if self.take_hops_answer(transaction, response) {
            return Heard::Nobody;
        }
        if status.is_success() && is_invite {
            // Other forks may answer too, RFC 6026 §7.2.
            let retire_at = self.instant() + TIMER_M;
            self.retiring.set(transaction, Some(retire_at));
        } else if status.is_final() {
            self.forget(transaction);
        }
        Heard::By(owner, first)
    }

    /// Learns that a request failed, and who hears of it.
    pub(crate) fn owner_of_failure(
        &mut self,
        transaction: ClientTransactionId,
        failure: Failure,
    ) -> Heard {
        let Some(mut client) = self.forget(transaction) else {
            return Heard::Stray;
        };
        match client.fallback.take() {
            // RFC 3261 §18.1.1: refused on a stream, it may go by datagram after all.
            Some(fallback) if failure == Failure::Transport => {
                self.counters.requests_moved_back += 1;
                let (path, mut request) = *fallback;
                request.headers.remove_first_item(&HeaderName::Via);
                let peer = path.peer(path.transport);
                let via = self.ims_via(&path, path.transport);
                request.headers.prepend(HeaderName::Via, via.to_string());
                let going = Going {
                    hop: client.hop,
                    first: Some(client.first),
                    spare: client.spare,
                    ..Going::plain(client.owner)
                };
                self.start(going, peer, request);
                Heard::Nobody
            }
            _ => self.take_hops_failure(client, failure),
        }
    }

    /// Nobody waits for this request any more; not for INVITE.
    pub(crate) fn abandon(&mut self, first: ClientTransactionId) {
        self.parked.remove(&first);
        self.abandon_held(first);
        let running = self.renamed.get(&first).copied().unwrap_or(first);
        self.transactions.abandon(running);
        self.forget(running);
    }

    /// Does what is due; the answer is whose questions to the name service were given up.
    pub(crate) fn handle_timeout(&mut self) -> Vec<TenantId> {
        let now = self.instant();
        let is_due = |(first, parked): (&ClientTransactionId, &Parked)| {
            (parked.give_up_at <= now).then_some(*first)
        };
        for first in self.parked.iter().filter_map(is_due).collect::<Vec<_>>() {
            self.strand(first);
        }
        while let Some(transaction) = self.retiring.take_due(now) {
            self.forget(transaction);
        }
        while let Some(transaction) = self.patience.take_due(now) {
            self.lose_patience(transaction);
        }
        let given_up = self.reach.handle_timeout(now);
        self.send_probes();
        given_up
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = [
            self.retiring.next(),
            self.patience.next(),
            self.reach.poll_timeout(),
        ];
        let parked = self.parked.values().map(|parked| parked.give_up_at);
        parked.chain(next.into_iter().flatten()).min()
    }

    /// A request that was sent and has no final answer yet.
    pub(crate) fn client(&mut self, transaction: ClientTransactionId) -> Option<&mut Client> {
        self.clients.get_mut(&transaction)
    }

    pub(crate) fn forget(&mut self, transaction: ClientTransactionId) -> Option<Client> {
        self.retiring.set(transaction, None);
        self.patience.set(transaction, None);
        let client = self.clients.remove(&transaction)?;
        if self.renamed.get(&client.first) == Some(&transaction) {
            self.renamed.remove(&client.first);
        }
        Some(client)
    }

    /// Sends a request that has its Via; the name is the one that its owner knows.
    pub(crate) fn start(
        &mut self,
        going: Going,
        peer: Peer,
        request: Request,
    ) -> ClientTransactionId {
        let is_invite = request.method == Method::Invite;
        let now = self.instant();
        let transaction = self.transactions.send_request(peer, request, now);
        let first = going.first.unwrap_or(transaction);
        if first != transaction {
            self.renamed.insert(first, transaction);
        }
        let patience = going.patience.map(|time| now + time);
        self.patience.set(transaction, patience);
        let client = Client {
            owner: going.owner,
            first,
            is_invite,
            hop: going.hop,
            fallback: going.fallback,
            spare: going.spare,
            is_superseded: false,
        };
        self.clients.insert(transaction, client);
        first
    }

    /// Puts a Via on a request and chooses its transport.
    pub(crate) fn address(&mut self, path: &ImsPath, mut request: Request) -> (Peer, Request) {
        if !request.headers.has(&HeaderName::UserAgent) {
            request
                .headers
                .push(HeaderName::UserAgent, self.config.product.as_str());
        }
        let says_it = !matches!(
            request.method,
            Method::Register | Method::Ack | Method::Cancel
        );
        if let Some(verify) = self.ways.verify(path.endpoint).filter(|_| says_it) {
            agreed(verify, &mut request.headers);
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
        let host = self.config.tenant(path.tenant).own_host(path.local.ip());
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

/// How a request goes.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) owner: Owner,
    pub(crate) hop: Option<Hop>,
    /// The name that its owner knows, if it was sent before.
    pub(crate) first: Option<ClientTransactionId>,
    pub(crate) fallback: Option<Box<(ImsPath, Request)>>,
    pub(crate) spare: Option<Box<Spare>>,
    /// How long the server may say nothing.
    pub(crate) patience: Option<Duration>,
}

impl Going {
    pub(crate) const fn plain(owner: Owner) -> Self {
        Going {
            owner,
            hop: None,
            first: None,
            fallback: None,
            spare: None,
            patience: None,
        }
    }
}
/// A key for this life of the box alone.
fn fresh_key(rng: &ChaCha20Rng) -> Private<[u8; 32]> {
    let mut rng = rng.clone();
    rng.set_stream(KEY_STREAM);
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    Private::new(key)
}

/// Chance that nothing else is drawn from.
const KEY_STREAM: u64 = 1 << 32;

/// The longest request that goes by datagram, RFC 3261 §18.1.1.
const DATAGRAM_MAX: usize = 1300;

/// How long after the first 2xx others may come, RFC 6026 §7.2.
const TIMER_M: Duration = Duration::from_secs(32);
