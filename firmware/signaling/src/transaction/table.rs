//! The table of all transactions: finds the one that a message belongs to, makes new
//! ones, keeps their timers, and forgets them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Instant;

use super::entry::{Cancel, Client, ClientMachine, Server, ServerMachine};
use super::key::{ClientKey, Scope, ServerKey};
use super::{ClientTransactionId, Failure, Output, Peer, ServerTransactionId};
use crate::id::{EndpointId, SipTransport};
use crate::message::headers::{RetryAfter, Via};
use crate::message::{Header, HeaderName, Message, Method, Request, Response, StatusCode};

/// How many transactions may be open at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that came, over all peers.
    pub server: usize,
    /// Requests that were sent, over all peers.
    pub client: usize,
    /// Requests that came by one flow, or to one endpoint.
    pub server_per_scope: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            server: 20_000,
            client: 20_000,
            server_per_scope: 128,
        }
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub struct Transactions {
    limits: Limits,
    next: u64,
    clients: BTreeMap<ClientTransactionId, Client>,
    servers: BTreeMap<ServerTransactionId, Server>,
    by_client_key: HashMap<ClientKey, ClientTransactionId>,
    by_server_key: HashMap<ServerKey, ServerTransactionId>,
    by_scope: BTreeMap<Scope, BTreeSet<Slot>>,
    timers: BTreeSet<(Instant, Slot)>,
    /// Endpoints of many users: no single one's share is limited there.
    shared: BTreeSet<EndpointId>,
    /// Endpoints that requests leave from whose answers come to another one, and that.
    homes: BTreeMap<EndpointId, EndpointId>,
    output: VecDeque<Output>,
}

/// One entry of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Client(ClientTransactionId),
    Server(ServerTransactionId),
}

impl Transactions {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Transactions {
            limits,
            ..Transactions::default()
        }
    }

    /// How many are open: sent, and received.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.servers.is_empty()
    }

    /// Learns that many users share an endpoint.
    pub fn share(&mut self, endpoint: EndpointId) {
        self.shared.insert(endpoint);
    }

    /// Learns that the answers to what leaves from an endpoint come to another one: with
    /// IPsec they come to port-us, TS 33.203 §7.1. What is said of one holds for both until
    /// [`Transactions::part`].
    pub fn join(&mut self, client: EndpointId, server: EndpointId) {
        self.homes.insert(client, server);
    }

    /// That endpoint is closed.
    pub fn part(&mut self, client: EndpointId) {
        self.homes.remove(&client);
    }

    fn scope(&self, peer: &Peer) -> Scope {
        Scope::of(peer, &self.homes)
    }

    /// A name for a request that is sent later, or never.
    pub fn reserve(&mut self) -> ClientTransactionId {
        ClientTransactionId(self.fresh())
    }

    /// Takes a message from a peer.
    pub fn handle_message(&mut self, peer: Peer, message: Message, now: Instant) {
        match message {
            Message::Request(request) => self.handle_request(peer, request, now),
            Message::Response(response) => self.handle_response(peer, response, now),
        }
    }

    /// Sends a request other than ACK. Its topmost Via has a fresh branch.
    ///
    /// # Panics
    /// If the request is our own and has no Via with a branch, or is an ACK.
    pub fn send_request(
        &mut self,
        peer: Peer,
        request: Request,
        now: Instant,
    ) -> ClientTransactionId {
        debug_assert_ne!(request.method, Method::Ack, "an ACK is no transaction");
        let id = ClientTransactionId(self.fresh());
        let key = ClientKey::of_request(self.scope(&peer), &request);
        let Some(key) = key.filter(|_| self.clients.len() < self.limits.client) else {
            self.output.push_back(Output::Failed {
                transaction: id,
                failure: Failure::Overloaded,
            });
            return id;
        };
        let machine = ClientMachine::start(request, peer.is_reliable(), now);
        self.insert_client(id, Client::new(machine, peer, key, Cancel::No));
        id
    }

    /// Cancels an INVITE: at once, or as soon as a provisional response allows it (RFC
    /// 3261 §9.1). The INVITE still gets its final response or fails. `extra` are
    /// headers for the CANCEL, such as Reason.
    pub fn cancel(&mut self, id: ClientTransactionId, extra: Vec<Header>, now: Instant) {
        if let Some(client) = self.clients.get_mut(&id)
            && client.cancel == Cancel::No
            && matches!(client.machine, ClientMachine::Invite(_))
        {
            client.cancel = Cancel::Wanted(extra);
            self.send_wanted_cancel(id, now);
        }
    }

    /// Forgets a request other than INVITE that nobody wants an answer to any more: it is
    /// not sent again, and a late answer is a stray one.
    pub fn abandon(&mut self, id: ClientTransactionId) {
        self.remove_client(id);
    }

    /// Answers a request; may be called again for more 1xx, and for copies of a 2xx to
    /// an INVITE.
    pub fn respond(&mut self, id: ServerTransactionId, response: Response, now: Instant) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.respond(&response, now);
        }
        self.settle_server(id);
    }

    /// The flow is gone, or the peer refused what was sent to it.
    pub fn handle_transport_failure(&mut self, peer: &Peer, _now: Instant) {
        let slots = self.by_scope.get(&self.scope(peer));
        let slots: Vec<_> = slots.into_iter().flatten().copied().collect();
        for slot in slots {
            match slot {
                Slot::Client(id) => {
                    let client = self.clients.get_mut(&id);
                    if let Some(client) = client.filter(|client| client.peer == *peer) {
                        client.machine.handle_transport_failure();
                    }
                    self.settle_client(id);
                }
                // On the IMS side an answer may still find its way later, RFC 3261
                // §18.2.2; a WebSocket does not come back (RFC 7118 §5.1).
                Slot::Server(id) => {
                    let server = self.servers.get_mut(&id);
                    if let Some(server) = server.filter(|_| matches!(peer, Peer::Flow(_))) {
                        server.machine.handle_transport_failure();
                    }
                    self.settle_server(id);
                }
            }
        }
    }

    /// Lets every timer fire that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, slot)) = self.timers.first().copied()
            && at <= now
        {
            match slot {
                Slot::Client(id) => {
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.machine.handle_timeout(now);
                    }
                    self.settle_client(id);
                }
                Slot::Server(id) => {
                    if let Some(server) = self.servers.get_mut(&id) {
                        server.machine.handle_timeout(now);
                    }
                    self.settle_server(id);
                }
            }
        }
    }

    /// When [`Transactions::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    fn handle_request(&mut self, peer: Peer, mut request: Request, now: Instant) {
        let Ok(via) = request.headers.via() else {
            return; // The parser has seen one; only a caller of ours can come here.
        };
        let key = ServerKey::of(self.scope(&peer), &request, &via);
        let answer_to = stamp(&peer, &mut request, via);
        match self.by_server_key.get(&key).copied() {
            Some(id) if request.method == Method::Ack => self.handle_ack(id, peer, request, now),
            None if request.method == Method::Ack => {
                self.output.push_back(Output::Ack { peer, request });
            }
            Some(id) => self.handle_copy(id),
            None if !self.has_room(&peer, &request.method) => self.turn_away(answer_to, &request),
            None if request.method == Method::Cancel => {
                self.handle_cancel(answer_to, key, request, now);
            }
            None => self.accept(peer, answer_to, key, request, now),
        }
    }

    fn accept(
        &mut self,
        peer: Peer,
        answer_to: Peer,
        key: ServerKey,
        request: Request,
        now: Instant,
    ) {
        let machine = ServerMachine::start(&request, answer_to.is_reliable(), now);
        let transaction = self.insert_server(Server::new(machine, answer_to, key));
        self.output.push_back(Output::Request {
            transaction,
            peer,
            request,
        });
    }

    fn handle_ack(&mut self, id: ServerTransactionId, peer: Peer, request: Request, now: Instant) {
        if let Some(server) = self.servers.get_mut(&id)
            && let ServerMachine::Invite(machine) = &mut server.machine
            && machine.handle_ack(now)
        {
            self.output.push_back(Output::Ack { peer, request });
        }
        self.settle_server(id);
    }

    fn handle_copy(&mut self, id: ServerTransactionId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.machine.handle_copy();
        }
        self.settle_server(id);
    }

    /// RFC 3261 §9.2: the CANCEL is a transaction of its own, and is answered at once.
    fn handle_cancel(&mut self, answer_to: Peer, key: ServerKey, request: Request, now: Instant) {
        let invite = self.by_server_key.get(&key.invite()).copied();
        let found = invite.and_then(|id| Some((id, self.servers.get(&id)?)));
        let mut response = match found {
            Some(_) => Response::to_request(&request, StatusCode::OK),
            None => {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                Response::to_request(&request, status)
            }
        };
        let tag = found.and_then(|(_, server)| server.to_tag.clone());
        response = response.with_to_tag(&tag.unwrap_or_else(|| request.stateless_tag()));
        let pending = found.filter(|(_, server)| server.can_be_cancelled());
        let pending = pending.map(|(id, _)| id);
        let machine = ServerMachine::start(&request, answer_to.is_reliable(), now);
        let id = self.insert_server(Server::new(machine, answer_to, key));
        self.respond(id, response, now);
        if let Some(invite) = pending {
            self.output.push_back(Output::Cancelled { invite, request });
        }
    }

    fn handle_response(&mut self, peer: Peer, response: Response, now: Instant) {
        // RFC 3261 §8.1.3.3: with a second Via it was meant for someone else.
        if response.headers.items(&HeaderName::Via).nth(1).is_some() {
            return;
        }
        let key = ClientKey::of_response(self.scope(&peer), &response);
        let Some(id) = key.and_then(|key| self.by_client_key.get(&key).copied()) else {
            self.output
                .push_back(Output::StrayResponse { peer, response });
            return;
        };
        if let Some(client) = self.clients.get_mut(&id) {
            client.machine.handle_response(response, now);
        }
        self.send_wanted_cancel(id, now);
        self.settle_client(id);
    }

    /// Sends the CANCEL that waits for a provisional response, if there was one.
    fn send_wanted_cancel(&mut self, id: ClientTransactionId, now: Instant) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Some(cancel) = client.take_wanted_cancel(now) else {
            return;
        };
        let peer = client.peer.clone();
        self.settle_client(id);
        if let Some(key) = ClientKey::of_request(self.scope(&peer), &cancel) {
            let machine = ClientMachine::start(cancel, peer.is_reliable(), now);
            let id = ClientTransactionId(self.fresh());
            self.insert_client(id, Client::new(machine, peer, key, Cancel::Itself));
        }
    }

    /// What ends something gets twice the room of what starts something.
    fn has_room(&self, peer: &Peer, method: &Method) -> bool {
        let is_shared =
            matches!(peer, Peer::Ims { endpoint, .. } if self.shared.contains(endpoint));
        let slots = self.by_scope.get(&self.scope(peer));
        let here = slots.filter(|_| !is_shared).map_or(0, BTreeSet::len);
        let share = match method {
            Method::Bye | Method::Cancel | Method::Prack => 2,
            _ => 1,
        };
        self.servers.len() < share * self.limits.server
            && here < share * self.limits.server_per_scope
    }

    /// Answers without remembering anything, RFC 3261 §8.2.7.
    fn turn_away(&mut self, peer: Peer, request: &Request) {
        let response = Response::to_request(request, StatusCode::SERVICE_UNAVAILABLE)
            .with_to_tag(&request.stateless_tag())
            .with_typed(&RetryAfter(RETRY_AFTER));
        let bytes = response.to_bytes();
        self.output.push_back(Output::Transmit { peer, bytes });
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn insert_client(&mut self, id: ClientTransactionId, client: Client) {
        let slots = self.by_scope.entry(client.key.scope()).or_default();
        slots.insert(Slot::Client(id));
        self.by_client_key.insert(client.key.clone(), id);
        self.clients.insert(id, client);
        self.settle_client(id);
    }

    fn insert_server(&mut self, server: Server) -> ServerTransactionId {
        let id = ServerTransactionId(self.fresh());
        let slots = self.by_scope.entry(server.key.scope()).or_default();
        slots.insert(Slot::Server(id));
        self.by_server_key.insert(server.key.clone(), id);
        self.servers.insert(id, server);
        self.settle_server(id);
        id
    }

    /// Passes on what a machine wants, and sets its timer anew or forgets it.
    fn settle_client(&mut self, id: ClientTransactionId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        while let Some(output) = client.poll_output(id) {
            self.output.push_back(output);
        }
        let slot = Slot::Client(id);
        let timeout = client.poll_timeout();
        reschedule(&mut self.timers, slot, &mut client.scheduled, timeout);
        if client.is_over() {
            self.remove_client(id);
        }
    }

    fn remove_client(&mut self, id: ClientTransactionId) {
        let Some(mut client) = self.clients.remove(&id) else {
            return;
        };
        let slot = Slot::Client(id);
        reschedule(&mut self.timers, slot, &mut client.scheduled, None);
        if self.by_client_key.get(&client.key) == Some(&id) {
            self.by_client_key.remove(&client.key);
            give_back(&mut self.by_client_key);
        }
        self.leave_scope(client.key.scope(), slot);
    }

    /// Passes on what a machine wants, and sets its timer anew or forgets it.
    fn settle_server(&mut self, id: ServerTransactionId) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        while let Some(output) = server.poll_output(id) {
            self.output.push_back(output);
        }
        let slot = Slot::Server(id);
        let timeout = server.poll_timeout();
        reschedule(&mut self.timers, slot, &mut server.scheduled, timeout);
        if server.is_over()
            && let Some(server) = self.servers.remove(&id)
        {
            self.by_server_key.remove(&server.key);
            give_back(&mut self.by_server_key);
            self.leave_scope(server.key.scope(), slot);
            self.output.push_back(Output::Ended { transaction: id });
        }
    }

    fn leave_scope(&mut self, scope: Scope, slot: Slot) {
        if let Some(slots) = self.by_scope.get_mut(&scope) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
    }
}

fn reschedule(
    timers: &mut BTreeSet<(Instant, Slot)>,
    slot: Slot,
    scheduled: &mut Option<Instant>,
    timeout: Option<Instant>,
) {
    if *scheduled != timeout {
        timers.extend(timeout.map(|at| (at, slot)));
        if let Some(at) = std::mem::replace(scheduled, timeout) {
            timers.remove(&(at, slot));
        }
    }
}

/// Shrinks a table that was much fuller.
fn give_back<Key: Eq + Hash, Value>(table: &mut HashMap<Key, Value>) {
    if table.len() < table.capacity() / 8 && table.capacity() > KEPT_CAPACITY {
        table.shrink_to((2 * table.len()).max(KEPT_CAPACITY));
    }
}

/// Entries that a table keeps room for.
const KEPT_CAPACITY: usize = 448;

/// Writes into the topmost Via where the request came from (RFC 3261 §18.2.1, RFC
/// 3581 §4) and says where its answers go (§18.2.2). On a WebSocket nothing is
/// written (RFC 7118 §5.1). `maddr` is not followed: nobody tells this gateway to send
/// to third parties.
fn stamp(peer: &Peer, request: &mut Request, mut via: Via) -> Peer {
    let Peer::Ims {
        endpoint,
        transport,
        remote,
    } = *peer
    else {
        return peer.clone();
    };
    let items = request.headers.items(&HeaderName::Via).next();
    let hop = items.and_then(Result::ok).unwrap_or_default();
    let hop = hop.split(';').next().unwrap_or_default().to_owned();
    let wants_rport = via.wants_rport();
    if wants_rport {
        via.params.set("rport", remote.port());
    }
    if wants_rport || via.host.address() != Some(remote.ip()) {
        via.params.set("received", remote.ip());
    }
    let port = match transport {
        SipTransport::Udp if !wants_rport => via.port.unwrap_or(DEFAULT_PORT),
        SipTransport::Udp | SipTransport::Tcp | SipTransport::Tls => remote.port(),
    };
    request.headers.remove_first_item(&HeaderName::Via);
    // The hop's own words stay as they are: it may compare them byte for byte.
    let stamped = format!("{}{}", hop.trim_end(), via.params);
    request.headers.prepend(HeaderName::Via, stamped);
    Peer::Ims {
        endpoint,
        transport,
        remote: SocketAddr::new(remote.ip(), port),
    }
}

/// Where SIP is listened for, RFC 3261 §19.1.2.
const DEFAULT_PORT: u16 = 5060;

/// Seconds that a peer is asked to wait when there is no room.
const RETRY_AFTER: u32 = 5;
