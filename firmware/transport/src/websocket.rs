//! The access listener, W2: a page and SIP over WebSocket (RFC 6455, RFC 7118) on one
//! port, one task for each connection.
//!
//! Everything up to the end of the handshake is bounded in time and size, and nobody
//! is trusted: the checks are those of [`crate::http`].

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use iq::Private;
use signaling::auth::{Token, TokenRefusal};
use signaling::{FlowId, Session};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::admission::{Admission, Limits, Place};
use crate::counters::AccessCounters;
use crate::flow::{self, Arrival, Keepalive, Strangers};
use crate::http::{self, Credential, Decision, Head, PageRequest, Policy, Refusal};
use crate::pulse::Pulse;
use crate::web_root::WebRoot;

/// What the access listener needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where browsers connect, each address with or without TLS.
    pub listen: Vec<Listen>,
    /// Names, origins and path.
    pub policy: Policy,
    /// The page.
    pub web_root: WebRoot,
    /// How many may come, and how fast.
    pub limits: Limits,
    /// How long a TLS handshake or a request's head may take.
    pub handshake_time: Duration,
    /// How a dead network is noticed.
    pub keepalive: Keepalive,
}

/// An address to listen on, and how.
#[derive(Clone)]
pub struct Listen {
    /// The address.
    pub address: SocketAddr,
    /// TLS; `None` is plain HTTP and allowed on loopback addresses only.
    pub tls: Option<TlsAcceptor>,
}

/// Why the access listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Browsers keep microphones from plain HTTP pages, and passwords would be readable.
    #[error("{0}: plain HTTP is served on loopback addresses only; give a certificate")]
    PlainBeyondLoopback(SocketAddr),
    /// The system refused the address.
    #[error("{address}: {error}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// The bound listener.
pub struct Access {
    listeners: Vec<Listener>,
    shared: Arc<Shared>,
}

/// One bound address.
struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// What all connections of the listener share.
struct Shared {
    settings: Settings,
    admission: Admission,
    handshakes: Semaphore,
    arrivals: mpsc::Sender<Arrival>,
    strangers: Strangers,
    next_flow: Arc<AtomicU64>,
    counters: Arc<AccessCounters>,
}

/// A connection whose handshake is answered.
struct Upgraded<S> {
    stream: S,
    /// What came right behind the handshake.
    early: BytesMut,
    place: Place,
    credential: Option<Credential>,
}

impl Access {
    /// Binds every address, or none. `next_flow` outlives the listener, so that a flow's
    /// number is never used twice.
    pub fn bind(
        settings: Settings,
        arrivals: mpsc::Sender<Arrival>,
        next_flow: Arc<AtomicU64>,
        counters: Arc<AccessCounters>,
    ) -> Result<Self, AccessError> {
        let listeners = settings
            .listen
            .iter()
            .map(|Listen { address, tls }| {
                let address = *address;
                if tls.is_none() && !address.ip().to_canonical().is_loopback() {
                    return Err(AccessError::PlainBeyondLoopback(address));
                }
                let socket =
                    listen(address).map_err(|error| AccessError::Bind { address, error })?;
                let tls = tls.clone();
                Ok(Listener { socket, tls })
            })
            .collect::<Result<_, _>>()?;
        Ok(Access {
            listeners,
            shared: Arc::new(Shared {
                admission: Admission::new(settings.limits),
                handshakes: Semaphore::new(HANDSHAKES_AT_ONCE),
                settings,
                arrivals,
                strangers: Strangers::default(),
                next_flow,
                counters,
            }),
        })
    }

    /// The addresses as the system gave them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.socket.local_addr().ok())
            .collect()
    }

    /// Accepts connections until it is dropped; flows that are up live on.
    pub async fn run(self, pulse: Pulse) -> io::Error {
        loop {
            let accepted = timeout(Pulse::LONGEST_TURN, accept(&self.listeners)).await;
            pulse.beat();
            match accepted {
                Err(_no_one_came) => {}
                Ok(Ok((stream, remote, tls))) => self.shared.welcome(stream, remote, tls),
                Ok(Err(error)) if is_transient(&error) => {
                    self.shared.counters.accept_errors.add_one();
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
                Ok(Err(error)) => return error,
            }
        }
    }
}

impl Shared {
    fn welcome(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, tls: Option<TlsAcceptor>) {
        self.counters.connections_accepted.add_one();
        let Some(place) = self.admission.connection(remote.ip(), Instant::now()) else {
            self.counters.connections_refused.add_one();
            return;
        };
        if set_up(&stream).is_err() {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            match tls {
                None => {
                    let upgraded = shared.converse(stream, remote).await;
                    shared.hand_over(upgraded, remote, false, place);
                }
                Some(acceptor) => {
                    if let Some(stream) = shared.secure(&acceptor, stream).await {
                        let upgraded = shared.converse(stream, remote).await;
                        shared.hand_over(upgraded, remote, true, place);
                    }
                }
            }
        });
    }

    /// Gives a flow a task of its own: what the handshake needed is not kept for its
    /// whole life.
    fn hand_over<S>(
        self: &Arc<Self>,
        upgraded: Option<Upgraded<S>>,
        remote: SocketAddr,
        is_secure: bool,
        place: Place,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(upgraded) = upgraded {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                let _place = place;
                shared.run_flow(upgraded, remote, is_secure).await;
            });
        }
    }

    async fn secure(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
    ) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
        let handshake = async {
            // The dear part of a handshake waits for its turn; the time runs meanwhile.
            let _turn = self.handshakes.acquire().await.ok()?;
            acceptor.accept(stream).await.ok()
        };
        let secured = timeout(self.settings.handshake_time, handshake)
            .await
            .ok()
            .flatten();
        if secured.is_none() {
            self.counters.tls_failures.add_one();
        }
        secured
    }

    /// Answers requests until one of them turns the connection into a flow.
    async fn converse<S>(&self, mut stream: S, remote: SocketAddr) -> Option<Upgraded<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = BytesMut::with_capacity(USUAL_HEAD);
        for asked in 0..REQUESTS_PER_CONNECTION {
            let decision = match self.read_head(&mut stream, &mut buffer, asked > 0).await {
                Ok(Some(len)) => http::decide(&buffer.split_to(len), &self.settings.policy),
                Ok(None) => return None,
                Err(refusal) => Decision::Refuse(refusal),
            };
            let refusal = match decision {
                Decision::Refuse(refusal) => refusal,
                Decision::Page(request) => match self.serve(&mut stream, &request).await {
                    Ok(()) if request.keep_alive => continue,
                    Ok(()) => break,
                    Err(refusal) => refusal,
                },
                Decision::Session { token, origin } => {
                    let given = self.ticket(token).await;
                    let given = given.as_ref().map_err(|refusal| *refusal);
                    let response = http::session_response(&origin, given, retry_after());
                    let _ = self.write(&mut stream, &response).await;
                    break;
                }
                Decision::NoToken { origin } => {
                    let response = http::no_token_response(&origin);
                    self.refuse_with(&mut stream, Refusal::Token, &response)
                        .await;
                    return None;
                }
                Decision::Preflight { origin } => {
                    let response = http::preflight_response(&origin);
                    let _ = self.write(&mut stream, &response).await;
                    break;
                }
                Decision::Upgrade { accept, credential } => {
                    match self.admission.flow(remote.ip()) {
                        None => Refusal::Overload,
                        Some(place) => {
                            let response = http::upgrade_response(&accept);
                            self.write(&mut stream, &response).await.ok()?;
                            return Some(Upgraded {
                                stream,
                                early: buffer,
                                place,
                                credential,
                            });
                        }
                    }
                }
            };
            self.refuse(&mut stream, refusal).await;
            return None;
        }
        let _ = timeout(self.settings.handshake_time, stream.shutdown()).await;
        None
    }

    /// Reads up to the end of a head: its length, or nothing if the client has no more
    /// to ask.
    async fn read_head<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buffer: &mut BytesMut,
        may_be_idle: bool,
    ) -> Result<Option<usize>, Refusal> {
        let read = async {
            loop {
                match http::find_head(buffer) {
                    Head::Complete { len } => return Ok(Some(len)),
                    Head::TooLarge => return Err(Refusal::HeadTooLarge),
                    Head::Partial => {}
                }
                match stream.read_buf(buffer).await {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => {}
                }
            }
        };
        match timeout(self.settings.handshake_time, read).await {
            Ok(result) => result,
            Err(_) if may_be_idle && buffer.is_empty() => Ok(None),
            Err(_) => Err(Refusal::HeadTooSlow),
        }
    }

    /// Asks signaling for a ticket.
    async fn ticket(&self, token: Token) -> Result<Session, TokenRefusal> {
        let (answer, given) = oneshot::channel();
        let wanted = Arrival::TicketWanted { token, answer };
        let later = TokenRefusal::ProviderUnavailable;
        self.arrivals.send(wanted).await.map_err(|_| later)?;
        match timeout(TICKET_TIME, given).await {
            Ok(Ok(given)) => given,
            Ok(Err(_)) | Err(_) => Err(later),
        }
    }

    async fn serve<S>(&self, stream: &mut S, request: &PageRequest) -> Result<(), Refusal>
    where
        S: AsyncWrite + Unpin,
    {
        let (web_root, asked) = (self.settings.web_root.clone(), request.clone());
        let response = tokio::task::spawn_blocking(move || web_root.answer(&asked))
            .await
            .map_err(|_| Refusal::Path)??;
        self.counters.pages_served.add_one();
        let mut content = bytes::Bytes::from(response.head).chain(response.body);
        while content.has_remaining() {
            let written = timeout(WRITE_TIME, stream.write_buf(&mut content)).await;
            if !matches!(written, Ok(Ok(octets)) if octets > 0) {
                return Err(Refusal::HeadTooSlow);
            }
        }
        let _ = timeout(WRITE_TIME, stream.flush()).await;
        Ok(())
    }

    async fn write<S>(&self, stream: &mut S, bytes: &[u8]) -> io::Result<()>
    where
        S: AsyncWrite + Unpin,
    {
        timeout(WRITE_TIME, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        })
        .await?
    }

    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, refusal: Refusal) {
        let response = refusal.response(retry_after());
        self.refuse_with(stream, refusal, &response).await;
    }

    /// Answers, and reads on for a moment: closing with unread bytes would reset the
    /// connection and take the answer with it (RFC 9112 §9.6).
    async fn refuse_with<S>(&self, stream: &mut S, refusal: Refusal, response: &[u8])
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.counters.refused(refusal);
        tracing::debug!(%refusal, "handshake refused");
        if self.write(stream, response).await.is_ok() {
            let _ = stream.shutdown().await;
            let mut rest = [0; 1024];
            let _ = timeout(LINGER, async {
                for _ in 0..LINGER_READS {
                    if !matches!(stream.read(&mut rest).await, Ok(octets) if octets > 0) {
                        break;
                    }
                }
            })
            .await;
        }
    }

    async fn run_flow<S>(&self, upgraded: Upgraded<S>, remote: SocketAddr, is_secure: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _place = upgraded.place;
        let id = FlowId(self.next_flow.fetch_add(1, Ordering::Relaxed));
        let (sender, queue) = flow::queue(&self.strangers);
        let opened = Arrival::Opened {
            flow: id,
            remote: Private::new(remote),
            is_secure,
            sender,
        };
        if self.arrivals.send(opened).await.is_err() {
            return;
        }
        if let Some(credential) = upgraded.credential {
            let said = Arrival::Credential {
                flow: id,
                credential,
            };
            let _ = self.arrivals.send(said).await;
        }
        let ending = flow::run(
            id,
            upgraded.stream,
            upgraded.early,
            queue,
            &self.arrivals,
            self.settings.keepalive,
            &self.counters,
        )
        .await;
        tracing::debug!(flow = id.0, %ending, "flow ended");
        self.counters.flow_ended(ending);
        let _ = self.arrivals.send(Arrival::Closed { flow: id }).await;
    }
}

/// The next connection of any listener, and the TLS that it has to speak.
async fn accept(
    listeners: &[Listener],
) -> io::Result<(TcpStream, SocketAddr, Option<TlsAcceptor>)> {
    std::future::poll_fn(|context| {
        for listener in listeners {
            if let std::task::Poll::Ready(accepted) = listener.socket.poll_accept(context) {
                return std::task::Poll::Ready(
                    accepted.map(|(stream, remote)| (stream, remote, listener.tls.clone())),
                );
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Listens; where the kernel has no IPv6, `[::]` means every IPv4 address.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error)
            if error.raw_os_error() == Some(libc::EAFNOSUPPORT)
                && address.ip() == Ipv6Addr::UNSPECIFIED =>
        {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // [::] takes IPv4 too, as an operator who writes it expects.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIME))
}

/// Errors that say something about one connection, or that pass.
fn is_transient(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    )
}

/// Seconds after which a turned-away browser may try again, spread so that not all
/// come back at once.
fn retry_after() -> u8 {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |passed| passed.subsec_nanos());
    5 + u8::try_from(nanos / 1000 % 26).unwrap_or(0)
}

/// How long signaling may take for a ticket: longer than it waits for a provider.
const TICKET_TIME: Duration = Duration::from_secs(15);
/// TLS handshakes in progress at once.
const HANDSHAKES_AT_ONCE: usize = 256;
/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 1024;
/// A page is a handful of files.
const REQUESTS_PER_CONNECTION: u32 = 100;
/// Room for the head that browsers send.
const USUAL_HEAD: usize = 1024;
/// A response that takes no byte for so long is not wanted.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How long a refused client may go on talking.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_READS: u32 = 64;
/// Out of file descriptors, for instance.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// The kernel gives a connection up whose bytes nobody acknowledged for so long.
const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(20);
