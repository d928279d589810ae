//! One stream of SIP towards the IMS, TCP or TLS: made when it is needed and kept while
//! it is used (RFC 3261 §18.1.1, §18.3), from and to the endpoint's own port number.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use signaling::message::{Framed, StreamFramer};
use signaling::{EndpointId, Input, SipTransport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::counters::ImsCounters;
use crate::endpoint::{Happening, Tls};

/// A stream as its endpoint knows it; dropping it ends the stream after what is queued.
pub(crate) struct Stream {
    queue: mpsc::Sender<Bytes>,
    pub(crate) serial: u64,
}

/// Which stream it is.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) endpoint: EndpointId,
    pub(crate) transport: SipTransport,
    pub(crate) remote: SocketAddr,
    /// Tells it from an earlier stream to the same place.
    pub(crate) serial: u64,
}

/// How a stream comes to be.
pub(crate) enum Origin {
    Connect(SocketAddr),
    ConnectTls(SocketAddr, Tls),
    Accepted(TcpStream),
}

/// Why a message was not queued.
pub(crate) enum Unsent {
    /// The other side does not read.
    Clogged,
    /// The stream is over.
    Ended(Bytes),
}

impl Stream {
    pub(crate) fn send(&self, bytes: Bytes) -> Result<(), Unsent> {
        self.queue.try_send(bytes).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unsent::Clogged,
            mpsc::error::TrySendError::Closed(bytes) => Unsent::Ended(bytes),
        })
    }
}

/// Starts a stream's task.
pub(crate) fn start(
    name: Name,
    origin: Origin,
    happened: mpsc::Sender<Happening>,
    counters: Arc<ImsCounters>,
) -> Stream {
    let (queue, messages) = mpsc::channel(QUEUED_MESSAGES);
    let mut task = Task {
        name,
        messages,
        happened,
        counters,
    };
    tokio::spawn(async move {
        let delivered = task.live(origin).await;
        task.messages.close();
        let pending = !delivered || task.messages.try_recv().is_ok();
        let ended = Happening::Ended {
            endpoint: name.endpoint,
            transport: name.transport,
            remote: name.remote,
            serial: name.serial,
            pending,
        };
        let _ = task.happened.send(ended).await;
    });
    Stream {
        queue,
        serial: name.serial,
    }
}

/// A socket bound to an endpoint's number, for its listener and for each of its
/// connections alike.
pub(crate) fn bound_socket(local: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(local);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket)
}

struct Task {
    name: Name,
    messages: mpsc::Receiver<Bytes>,
    happened: mpsc::Sender<Happening>,
    counters: Arc<ImsCounters>,
}

impl Task {
    /// Runs the stream to its end; false if a message taken from the queue was lost.
    async fn live(&mut self, origin: Origin) -> bool {
        let (local, tls) = match origin {
            Origin::Accepted(stream) => return self.carry(stream).await,
            Origin::Connect(local) => (local, None),
            Origin::ConnectTls(local, tls) => (local, Some(tls)),
        };
        let connected = timeout(CONNECT_TIME, connect(local, self.name.remote)).await;
        let Ok(Ok(stream)) = connected else {
            return false;
        };
        self.counters.connections_made.add_one();
        let Some(tls) = tls else {
            return self.carry(stream).await;
        };
        let handshake = tls.connector.connect(tls.server_name, stream);
        match timeout(CONNECT_TIME, handshake).await {
            Ok(Ok(stream)) => self.carry(stream).await,
            Ok(Err(error)) => {
                self.counters.tls_failures.add_one();
                let server = self.name.remote;
                tracing::warn!(%server, %error, "TLS with a server of the IMS came to nothing");
                false
            }
            Err(_) => false,
        }
    }

    async fn carry<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut stream: S) -> bool {
        let mut framer = StreamFramer::new();
        let mut buffer = BytesMut::with_capacity(READ_BUFFER);
        let mut quiet = Duration::ZERO;
        loop {
            tokio::select! {
                outgoing = self.messages.recv() => {
                    let Some(bytes) = outgoing else {
                        let _ = timeout(WRITE_TIME, stream.shutdown()).await;
                        return true;
                    };
                    quiet = Duration::ZERO;
                    if !write(&mut stream, &bytes).await {
                        return false;
                    }
                }
                read = stream.read_buf(&mut buffer) => {
                    if !matches!(read, Ok(octets) if octets > 0) {
                        return true;
                    }
                    if buffer.len() > PING.len() {
                        quiet = Duration::ZERO;
                    }
                    framer.push(&buffer);
                    buffer.clear();
                    if !self.take(&mut framer, &mut stream).await {
                        return true;
                    }
                }
                // RFC 5626 §4.4.1: keeps the way open, and shows a core that is gone.
                () = tokio::time::sleep(PING_AFTER) => {
                    quiet += PING_AFTER;
                    if quiet >= IDLE_TIME || !write(&mut stream, PING).await {
                        return true;
                    }
                }
            }
        }
    }

    /// Hands every whole message on; false when the stream can be read no further.
    async fn take<S>(&mut self, framer: &mut StreamFramer, stream: &mut S) -> bool
    where
        S: AsyncWrite + Unpin,
    {
        while let Some(framed) = framer.next_frame() {
            match framed {
                Ok(Framed::Message(bytes)) => {
                    self.counters.received.add_one();
                    let input = Input::ImsMessage {
                        endpoint: self.name.endpoint,
                        transport: self.name.transport,
                        from: self.name.remote,
                        bytes,
                    };
                    if self.happened.send(Happening::Input(input)).await.is_err() {
                        return false;
                    }
                }
                Ok(Framed::Ping) => {
                    if !write(stream, b"\r\n").await {
                        return false;
                    }
                }
                Ok(Framed::Pong) => {}
                Err(error) => {
                    self.counters.framing_errors.add_one();
                    tracing::warn!(%error, "a stream from the IMS cannot be framed");
                    return false;
                }
            }
        }
        true
    }
}

async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = bound_socket(local)?;
    socket.set_keepalive(true)?;
    let stream = TcpSocket::from_std_stream(socket.into())
        .connect(remote)
        .await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> bool {
    let written = timeout(WRITE_TIME, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    matches!(written.await, Ok(Ok(())))
}

/// Messages that wait for a slow core.
const QUEUED_MESSAGES: usize = 256;
const READ_BUFFER: usize = 4 * 1024;
/// Well before Timer F (RFC 3261 §17.1.2.2), so that another way can be tried.
const CONNECT_TIME: Duration = Duration::from_secs(4);
/// A core that takes no byte for so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// A question on a stream that is quiet.
const PING: &[u8] = b"\r\n\r\n";
const PING_AFTER: Duration = Duration::from_secs(30);
/// A connection nobody uses is closed.
const IDLE_TIME: Duration = Duration::from_secs(600);
