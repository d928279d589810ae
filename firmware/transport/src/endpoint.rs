//! The endpoints towards the IMS, as many as signaling asks for: each is one port number,
//! for UDP and for streams from and to it, so that a core can tell users apart by it. A
//! protected one talks by IPsec associations only ([`protected`]).

mod protected;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rustls_pki_types::ServerName;
use signaling::config::TenantId;
use signaling::reach::Question;
use signaling::sec_agree::Associations;
use signaling::{EndpointId, EndpointKind, Input, OpenFailure, QueryId, SipTransport};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::counters::ImsCounters;
use crate::resolver::NameService;
use crate::sip_stream::{self, Origin, Stream};
use crate::sip_udp::SipUdp;

use protected::Protected;

/// What endpoints are made from.
#[derive(Clone)]
pub struct Settings {
    /// One for each tenant of signaling's, in their order.
    pub tenants: Vec<Network>,
    /// The seed of the order in which port numbers are used.
    pub seed: [u8; 32],
}

/// The box in one tenant's network.
#[derive(Clone)]
pub struct Network {
    /// The box's address towards the IMS; a real one, since messages name it.
    pub address: IpAddr,
    /// Port numbers for endpoints. Tenants with the same address and range share it.
    pub ports: RangeInclusive<u16>,
    /// Whether users have IPsec associations with the P-CSCF.
    pub has_ipsec: bool,
    /// TLS towards the IMS.
    pub tls: Option<Tls>,
    /// Whom to ask where servers are.
    pub names: NameService,
}

/// How the IMS is reached by TLS.
#[derive(Clone)]
pub struct Tls {
    /// Believes the operator's authorities.
    pub connector: TlsConnector,
    /// The name that the other side's certificate must have.
    pub server_name: ServerName<'static>,
}

/// All endpoints; the task around signaling owns them.
pub struct Endpoints {
    settings: Settings,
    pools: Vec<Pool>,
    table: BTreeMap<EndpointId, Endpoint>,
    protected: Protected,
    next_serial: u64,
    happenings: mpsc::Receiver<Happening>,
    happened: mpsc::Sender<Happening>,
    counters: Arc<ImsCounters>,
}

/// The numbers of one address and range that are not in use, the longest unused first.
struct Pool {
    address: IpAddr,
    range: RangeInclusive<u16>,
    ports: VecDeque<u16>,
}

struct Endpoint {
    tenant: TenantId,
    kind: EndpointKind,
    local: SocketAddr,
    udp: SipUdp,
    acceptor: AbortHandle,
    streams: BTreeMap<(SipTransport, SocketAddr), Stream>,
}

/// What the tasks of the endpoints report.
pub(crate) enum Happening {
    /// Something for signaling.
    Input(Input),
    /// Somebody connected.
    Accepted {
        endpoint: EndpointId,
        stream: TcpStream,
        remote: SocketAddr,
    },
    /// A stream is over.
    Ended {
        endpoint: EndpointId,
        transport: SipTransport,
        remote: SocketAddr,
        serial: u64,
        /// Messages were not delivered.
        pending: bool,
    },
}

impl Endpoints {
    /// None open yet.
    #[must_use]
    pub fn new(settings: Settings, counters: Arc<ImsCounters>) -> Self {
        let (happened, happenings) = mpsc::channel(QUEUED_HAPPENINGS);
        let with_ipsec = settings.tenants.iter().filter(|tenant| tenant.has_ipsec);
        let own: Vec<IpAddr> = with_ipsec.map(|tenant| tenant.address).collect();
        Endpoints {
            pools: pools(&settings),
            protected: Protected::new(&own),
            settings,
            table: BTreeMap::new(),
            next_serial: 0,
            happenings,
            happened,
            counters,
        }
    }

    /// The next thing that signaling wants to know. Nothing is lost when the wait for it
    /// is given up.
    pub async fn next(&mut self) -> Input {
        loop {
            let happening = self.happenings.recv().await;
            match happening.expect("this value holds a sender itself") {
                Happening::Input(Input::ImsMessage { endpoint, from, .. })
                    if !self.may_talk(endpoint, from) =>
                {
                    self.counters.unprotected.add_one();
                }
                Happening::Input(input) => return input,
                Happening::Accepted {
                    endpoint,
                    stream,
                    remote,
                } if self.may_talk(endpoint, remote) => self.adopt(endpoint, stream, remote),
                Happening::Accepted { .. } => self.counters.unprotected.add_one(),
                Happening::Ended {
                    endpoint,
                    transport,
                    remote,
                    serial,
                    pending,
                } => {
                    self.forget(endpoint, transport, remote, serial);
                    if pending {
                        self.counters.connections_failed.add_one();
                        return Input::ImsTransportFailed {
                            endpoint,
                            transport,
                            to: remote,
                        };
                    }
                }
            }
        }
    }

    /// Does [`signaling::Output::Open`]; the answer is for signaling.
    pub fn open(&mut self, id: EndpointId, tenant: TenantId, kind: EndpointKind) -> Input {
        match kind {
            EndpointKind::Own | EndpointKind::Protected => self.open_own(id, tenant, kind),
            EndpointKind::Again { port } => self.open_again(id, tenant, port),
            EndpointKind::Shared { port } => self.open_shared(id, tenant, port),
        }
    }

    fn open_shared(&mut self, id: EndpointId, tenant: TenantId, port: u16) -> Input {
        match self.bind(id, tenant, port) {
            Ok(mut endpoint) => {
                let local = endpoint.local;
                endpoint.kind = EndpointKind::Shared { port };
                self.table.insert(id, endpoint);
                Input::Opened {
                    endpoint: id,
                    local,
                }
            }
            Err(error) => {
                tracing::warn!(port, %error, "the port towards the IMS could not be opened");
                self.not_opened(id, OpenFailure::Refused)
            }
        }
    }

    fn open_own(&mut self, id: EndpointId, tenant: TenantId, kind: EndpointKind) -> Input {
        let pool = self.pool_of(tenant);
        for _ in 0..ATTEMPTS.min(self.pools[pool].ports.len()) {
            let Some(port) = self.pools[pool].ports.pop_front() else {
                break;
            };
            match self.bind(id, tenant, port) {
                Ok(mut endpoint) => {
                    let local = endpoint.local;
                    endpoint.kind = kind;
                    self.table.insert(id, endpoint);
                    return Input::Opened {
                        endpoint: id,
                        local,
                    };
                }
                Err(error) => {
                    self.pools[pool].ports.push_back(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::warn!(port, %error, "no endpoint towards the IMS");
                        return self.not_opened(id, OpenFailure::Refused);
                    }
                }
            }
        }
        self.not_opened(id, OpenFailure::NoPorts)
    }

    /// Opens an endpoint under the number that it had in an earlier life of the box, which
    /// need not be one of today's range.
    fn open_again(&mut self, id: EndpointId, tenant: TenantId, port: u16) -> Input {
        let pool = self.pool_of(tenant);
        let ports = &mut self.pools[pool].ports;
        let place = ports.iter().position(|free| *free == port);
        let was_free = place.and_then(|at| ports.remove(at)).is_some();
        match self.bind(id, tenant, port) {
            Ok(opened) => {
                let local = opened.local;
                self.table.insert(id, opened);
                Input::Opened {
                    endpoint: id,
                    local,
                }
            }
            Err(error) => {
                tracing::warn!(port, %error, "a user's port of before the restart cannot be had");
                if was_free {
                    self.pools[pool].ports.push_back(port);
                }
                self.not_opened(id, OpenFailure::Refused)
            }
        }
    }

    /// Does [`signaling::Output::Close`]. Streams send what they have queued.
    pub fn close(&mut self, id: EndpointId) {
        self.protected.close(id);
        if let Some(endpoint) = self.table.remove(&id)
            && matches!(endpoint.kind, EndpointKind::Own | EndpointKind::Protected)
        {
            let pool = self.pool_of(endpoint.tenant);
            let (pool, port) = (&mut self.pools[pool], endpoint.local.port());
            if pool.range.contains(&port) {
                pool.ports.push_back(port);
            }
        }
    }

    /// Does [`signaling::Output::InstallSa`]; the answer is for signaling.
    pub fn install(&mut self, set: &Associations) -> Input {
        Input::SaInstalled {
            client: set.client,
            result: self.protected.install(set),
        }
    }

    /// Does [`signaling::Output::ExtendSa`].
    pub fn extend(&mut self, set: &Associations) {
        self.protected.extend(set);
    }

    /// Does [`signaling::Output::DeleteSa`].
    pub fn delete(&mut self, client: EndpointId) {
        self.protected.delete(client);
    }

    /// A protected endpoint talks by associations only.
    fn may_talk(&self, id: EndpointId, with: SocketAddr) -> bool {
        let kind = self.table.get(&id).map(|endpoint| endpoint.kind);
        kind != Some(EndpointKind::Protected) || self.protected.may_talk(id, with)
    }

    /// Does [`signaling::Output::Transmit`]; a failure that is known at once is returned.
    pub fn transmit(
        &mut self,
        id: EndpointId,
        transport: SipTransport,
        to: SocketAddr,
        bytes: Bytes,
    ) -> Option<Input> {
        let sent = match transport {
            _ if !self.may_talk(id, to) => false,
            SipTransport::Udp => self.send_datagram(id, to, &bytes),
            SipTransport::Tcp | SipTransport::Tls => self.send_on_stream(id, transport, to, bytes),
        };
        if sent {
            self.counters.sent.add_one();
            return None;
        }
        self.counters.send_failures.add_one();
        Some(Input::ImsTransportFailed {
            endpoint: id,
            transport,
            to,
        })
    }

    /// Does [`signaling::Output::Resolve`].
    pub fn resolve(&self, query: QueryId, tenant: TenantId, question: Question) {
        let happened = self.happened.clone();
        let names = self.network(tenant).names.clone();
        tokio::spawn(async move {
            let resolution = names.ask(&question).await;
            let answer = Input::Resolved { query, resolution };
            let _ = happened.send(Happening::Input(answer)).await;
        });
    }

    /// Port numbers that are left.
    #[must_use]
    pub fn ports_left(&self) -> usize {
        self.pools.iter().map(|pool| pool.ports.len()).sum()
    }

    fn network(&self, TenantId(tenant): TenantId) -> &Network {
        &self.settings.tenants[tenant]
    }

    fn pool_of(&self, tenant: TenantId) -> usize {
        let network = self.network(tenant);
        let found = self.pools.iter().position(|pool| pool.is_of(network));
        found.expect("there is a pool for every tenant")
    }

    fn bind(&self, id: EndpointId, tenant: TenantId, port: u16) -> io::Result<Endpoint> {
        let local = SocketAddr::new(self.network(tenant).address, port);
        let domain = socket2::Domain::for_address(local);
        let udp = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        udp.bind(&local.into())?;
        let tcp = sip_stream::bound_socket(local)?;
        tcp.listen(BACKLOG)?;
        let listener = TcpListener::from_std(tcp.into())?;
        let accepting = accept(id, listener, self.happened.clone());
        Ok(Endpoint {
            tenant,
            kind: EndpointKind::Own,
            local,
            udp: SipUdp::start(id, udp, self.happened.clone(), Arc::clone(&self.counters))?,
            acceptor: tokio::spawn(accepting).abort_handle(),
            streams: BTreeMap::new(),
        })
    }

    fn not_opened(&self, endpoint: EndpointId, reason: OpenFailure) -> Input {
        self.counters.open_failures.add_one();
        Input::OpenFailed { endpoint, reason }
    }

    fn send_datagram(&self, id: EndpointId, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(endpoint) = self.table.get(&id) else {
            return false;
        };
        match endpoint.udp.send(bytes, to) {
            Ok(()) => true,
            // No room: lost on the way out, as it may be lost on the way.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    fn send_on_stream(
        &mut self,
        id: EndpointId,
        transport: SipTransport,
        to: SocketAddr,
        bytes: Bytes,
    ) -> bool {
        let Some(endpoint) = self.table.get_mut(&id) else {
            return false;
        };
        let bytes = match endpoint.streams.get(&(transport, to)) {
            None => bytes,
            Some(stream) => match stream.send(bytes) {
                Ok(()) => return true,
                Err(sip_stream::Unsent::Clogged) => return false,
                // It ended a moment ago: a new one takes its place.
                Err(sip_stream::Unsent::Ended(bytes)) => bytes,
            },
        };
        let origin = match transport {
            SipTransport::Tls => match self.settings.tenants[endpoint.tenant.0].tls.clone() {
                Some(tls) => Origin::ConnectTls(endpoint.local, tls),
                None => return false,
            },
            SipTransport::Tcp | SipTransport::Udp => Origin::Connect(endpoint.local),
        };
        self.next_serial += 1;
        let stream = sip_stream::start(
            sip_stream::Name {
                endpoint: id,
                transport,
                remote: to,
                serial: self.next_serial,
            },
            origin,
            self.happened.clone(),
            Arc::clone(&self.counters),
        );
        let queued = stream.send(bytes).is_ok();
        endpoint.streams.insert((transport, to), stream);
        queued
    }

    fn adopt(&mut self, id: EndpointId, accepted: TcpStream, remote: SocketAddr) {
        let Some(endpoint) = self.table.get_mut(&id) else {
            return;
        };
        let limit = match endpoint.kind {
            EndpointKind::Own | EndpointKind::Protected | EndpointKind::Again { .. } => {
                STREAMS_PER_ENDPOINT
            }
            EndpointKind::Shared { .. } => STREAMS_PER_SHARED_ENDPOINT,
        };
        if endpoint.streams.len() >= limit {
            tracing::warn!(endpoint = id.0, "too many connections from the IMS");
            return;
        }
        self.counters.connections_accepted.add_one();
        self.next_serial += 1;
        let stream = sip_stream::start(
            sip_stream::Name {
                endpoint: id,
                transport: SipTransport::Tcp,
                remote,
                serial: self.next_serial,
            },
            Origin::Accepted(accepted),
            self.happened.clone(),
            Arc::clone(&self.counters),
        );
        endpoint.streams.insert((SipTransport::Tcp, remote), stream);
    }

    fn forget(&mut self, id: EndpointId, transport: SipTransport, remote: SocketAddr, serial: u64) {
        if let Some(endpoint) = self.table.get_mut(&id)
            && let Some(stream) = endpoint.streams.get(&(transport, remote))
            && stream.serial == serial
        {
            endpoint.streams.remove(&(transport, remote));
        }
    }
}

impl Pool {
    fn is_of(&self, network: &Network) -> bool {
        self.address == network.address && self.range == network.ports
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(endpoint: EndpointId, listener: TcpListener, happened: mpsc::Sender<Happening>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Happening::Accepted {
                    endpoint,
                    stream,
                    remote,
                };
                if happened.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

fn pools(settings: &Settings) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for network in &settings.tenants {
        if !pools.iter().any(|pool| pool.is_of(network)) {
            pools.push(Pool {
                address: network.address,
                range: network.ports.clone(),
                ports: shuffled(network.ports.clone(), settings.seed),
            });
        }
    }
    pools
}

/// A core that remembers a number from the box's last life meets another user late.
fn shuffled(ports: RangeInclusive<u16>, seed: [u8; 32]) -> VecDeque<u16> {
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut ports: Vec<u16> = ports.collect();
    for at in (1..ports.len()).rev() {
        let other = rng.next_u64() % (at as u64 + 1);
        ports.swap(at, usize::try_from(other).expect("below the length"));
    }
    ports.into()
}

/// Things that wait for signaling.
const QUEUED_HAPPENINGS: usize = 4096;
/// Port numbers tried before giving up.
const ATTEMPTS: usize = 32;
/// A core needs few connections to one user.
const STREAMS_PER_ENDPOINT: usize = 8;
/// All hosts of a core come to a port that all users share.
const STREAMS_PER_SHARED_ENDPOINT: usize = 256;
const BACKLOG: i32 = 8;

#[cfg(test)]
mod tests;
