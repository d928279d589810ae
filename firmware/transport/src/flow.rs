//! One flow: a WebSocket after its handshake. One SIP message is one WebSocket message
//! (RFC 7118 §5); silence is broken by pings; a reader that is too slow is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use iq::Private;
use signaling::auth::{Token, TokenRefusal};
use signaling::{FlowId, Session};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::counters::AccessCounters;
use crate::http::Credential;

/// What flows tell the shell around signaling.
#[derive(Debug)]
pub enum Arrival {
    /// A handshake is done.
    Opened {
        /// The flow's name.
        flow: FlowId,
        /// Who connected.
        remote: Private<std::net::SocketAddr>,
        /// Whether it came by TLS.
        is_secure: bool,
        /// The way back; dropping it ends the flow.
        sender: FlowSender,
    },
    /// What its handshake said about its user.
    Credential {
        /// The flow's name.
        flow: FlowId,
        /// What it was.
        credential: Credential,
    },
    /// A page wants a ticket for its token.
    TicketWanted {
        /// The token.
        token: Token,
        /// The way back.
        answer: oneshot::Sender<Result<Session, TokenRefusal>>,
    },
    /// A whole WebSocket message.
    Message {
        /// On which flow.
        flow: FlowId,
        /// Its content.
        bytes: Bytes,
        /// The place that a stranger's message takes; dropping it lets the next stranger's come.
        place: Option<OwnedSemaphorePermit>,
    },
    /// The flow is gone.
    Closed {
        /// Which.
        flow: FlowId,
    },
}

/// How a dead network is noticed; browsers cannot ping, so the box does.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Silence after which a ping is sent.
    pub interval: Duration,
    /// How long its pong may take. After the second unanswered ping the flow is dead.
    pub answer_time: Duration,
}

/// Puts messages into a flow's queue, never waiting.
#[derive(Debug)]
pub struct FlowSender {
    queue: mpsc::Sender<ToFlow>,
    octets: Arc<AtomicUsize>,
    is_user: Arc<AtomicBool>,
}

/// The places that messages of strangers take while they wait to be looked at. Users do not wait
/// behind more strangers than there are places, and strangers get a place in turn, each flow
/// one at a time, whoever sends how fast: who wants to log in is not lost among them.
#[derive(Clone, Debug)]
pub(crate) struct Strangers(Arc<Semaphore>);

impl Strangers {
    /// Waits for a place.
    async fn place(&self, counters: &AccessCounters) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.0);
        if places.available_permits() == 0 {
            counters.strangers_waited.add_one();
        }
        places.acquire_owned().await.ok()
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers(Arc::new(Semaphore::new(STRANGERS_WAITING)))
    }
}

/// The reader does not keep up, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the browser does not read")]
pub struct Clogged;

#[derive(Debug)]
enum ToFlow {
    Message(Bytes),
    Close { code: u16, reason: &'static str },
}

/// The flow's end of its queue.
pub(crate) struct Queue {
    messages: mpsc::Receiver<ToFlow>,
    octets: Arc<AtomicUsize>,
    is_user: Arc<AtomicBool>,
    strangers: Strangers,
}

pub(crate) fn queue(strangers: &Strangers) -> (FlowSender, Queue) {
    let (sender, messages) = mpsc::channel(QUEUED_MESSAGES);
    let octets = Arc::new(AtomicUsize::new(0));
    let is_user = Arc::new(AtomicBool::new(false));
    let queue = Queue {
        messages,
        octets: Arc::clone(&octets),
        is_user: Arc::clone(&is_user),
        strangers: strangers.clone(),
    };
    let sender = FlowSender {
        queue: sender,
        octets,
        is_user,
    };
    (sender, queue)
}

impl FlowSender {
    /// Queues one message. On an error the flow is lost: drop the sender.
    pub fn send(&self, bytes: Bytes) -> Result<(), Clogged> {
        let len = bytes.len();
        if self.octets.load(Ordering::Relaxed) + len > QUEUED_OCTETS {
            return Err(Clogged);
        }
        self.queue
            .try_send(ToFlow::Message(bytes))
            .map_err(|_| Clogged)?;
        self.octets.fetch_add(len, Ordering::Relaxed);
        Ok(())
    }

    /// Says whether somebody is registered on the flow; until then it is a stranger's.
    pub fn set_user(&self, is_user: bool) {
        self.is_user.store(is_user, Ordering::Relaxed);
    }

    /// Closes the flow after what is queued, with a close code of RFC 6455 §7.4.
    pub fn close(self, code: u16, reason: &'static str) {
        // A queue that is full belongs to a dead reader: dropping the sender ends it.
        let _ = self.queue.try_send(ToFlow::Close { code, reason });
    }
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ending {
    /// The browser closed it.
    #[error("closed by the browser")]
    Browser,
    /// The box closed it, with a code.
    #[error("closed by the box")]
    Box,
    /// The connection broke.
    #[error("connection lost")]
    Lost,
    /// Two pings were not answered.
    #[error("pings unanswered")]
    Silent,
    /// The browser does not read what it is sent.
    #[error("reader too slow")]
    SlowReader,
    /// A frame broke RFC 6455.
    #[error("protocol error")]
    Protocol,
    /// A text message is not UTF-8.
    #[error("text is not UTF-8")]
    NotText,
    /// A message is over the limit.
    #[error("message too big")]
    TooBig,
}

impl Ending {
    /// Every way.
    pub const ALL: [Ending; 8] = [
        Ending::Browser,
        Ending::Box,
        Ending::Lost,
        Ending::Silent,
        Ending::SlowReader,
        Ending::Protocol,
        Ending::NotText,
        Ending::TooBig,
    ];
}

/// Carries messages both ways until one side ends it.
pub(crate) async fn run<S>(
    id: FlowId,
    stream: S,
    early: BytesMut,
    queue: Queue,
    arrivals: &mpsc::Sender<Arrival>,
    keepalive: Keepalive,
    counters: &AccessCounters,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = Some(web_socket_config());
    let socket = if early.is_empty() {
        WebSocketStream::from_raw_socket(stream, Role::Server, config).await
    } else {
        WebSocketStream::from_partially_read(stream, early.to_vec(), Role::Server, config).await
    };
    drop(early);
    let mut flow = Flow {
        id,
        socket,
        queue,
        speaks_binary: false,
        unanswered: 0,
        counters,
    };
    let ending = flow.carry(arrivals, keepalive).await;
    match ending {
        (ending, Some(frame)) => flow.say_goodbye(frame, ending).await,
        (ending, None) => ending,
    }
}

struct Flow<'a, S> {
    id: FlowId,
    socket: WebSocketStream<S>,
    queue: Queue,
    /// The browser's last message was binary, so the next one to it is too.
    speaks_binary: bool,
    unanswered: u32,
    counters: &'a AccessCounters,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Flow<'_, S> {
    /// Runs the flow; the close frame, if any, is still to be sent.
    async fn carry(
        &mut self,
        arrivals: &mpsc::Sender<Arrival>,
        keepalive: Keepalive,
    ) -> (Ending, Option<CloseFrame>) {
        let mut wake_at = Instant::now() + keepalive.interval;
        loop {
            tokio::select! {
                incoming = self.socket.next() => {
                    self.unanswered = 0;
                    wake_at = Instant::now() + keepalive.interval;
                    match incoming {
                        None => return (Ending::Lost, None),
                        Some(Err(error)) => return judge(&error),
                        Some(Ok(Message::Close(_))) => {
                            self.finish().await;
                            return (Ending::Browser, None);
                        }
                        Some(Ok(message)) => self.take(message, arrivals).await,
                    }
                }
                outgoing = self.queue.messages.recv() => match outgoing {
                    None => return (Ending::SlowReader, None),
                    Some(ToFlow::Close { code, reason }) => {
                        return (Ending::Box, Some(close_frame(code, reason)));
                    }
                    Some(ToFlow::Message(bytes)) => {
                        self.queue.octets.fetch_sub(bytes.len(), Ordering::Relaxed);
                        let message = self.frame(bytes);
                        self.counters.messages_sent.add_one();
                        if let Some(ending) = self.send(message).await {
                            return (ending, None);
                        }
                    }
                },
                () = tokio::time::sleep_until(wake_at) => {
                    if self.unanswered >= PINGS_UNANSWERED {
                        return (Ending::Silent, None);
                    }
                    self.unanswered += 1;
                    self.counters.pings.add_one();
                    if let Some(ending) = self.send(Message::Ping(Bytes::new())).await {
                        return (ending, None);
                    }
                    wake_at = Instant::now() + keepalive.answer_time;
                }
            }
        }
    }

    async fn take(&mut self, message: Message, arrivals: &mpsc::Sender<Arrival>) {
        let bytes = match message {
            Message::Text(text) => {
                self.speaks_binary = false;
                Bytes::from(text)
            }
            Message::Binary(bytes) => {
                self.speaks_binary = true;
                bytes
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => return,
        };
        self.counters.messages_received.add_one();
        let flow = self.id;
        let is_user = self.queue.is_user.load(Ordering::Relaxed);
        let place = match is_user {
            true => None,
            // Not reading on meanwhile slows the sender down.
            false => self.queue.strangers.place(self.counters).await,
        };
        let message = Arrival::Message { flow, bytes, place };
        let _ = arrivals.send(message).await;
    }

    /// Text if the browser speaks text and the message is, else binary.
    fn frame(&self, bytes: Bytes) -> Message {
        if self.speaks_binary {
            return Message::Binary(bytes);
        }
        match Utf8Bytes::try_from(bytes.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(bytes),
        }
    }

    async fn send(&mut self, message: Message) -> Option<Ending> {
        match timeout(WRITE_TIME, self.socket.send(message)).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) => Some(Ending::Lost),
            Err(_) => Some(Ending::SlowReader),
        }
    }

    /// Sends a close frame and waits a moment for the browser's.
    async fn say_goodbye(&mut self, frame: CloseFrame, ending: Ending) -> Ending {
        if let Ok(Ok(())) = timeout(CLOSE_TIME, self.socket.close(Some(frame))).await {
            self.finish().await;
        }
        ending
    }

    /// Lets the closing handshake end, RFC 6455 §7.1.1.
    async fn finish(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = timeout(CLOSE_TIME, rest).await;
    }
}

/// What a broken stream of frames means, and the code it is closed with.
fn judge(error: &Error) -> (Ending, Option<CloseFrame>) {
    let close = |code: CloseCode, reason| Some(close_frame(code.into(), reason));
    match error {
        Error::Utf8(_) => (
            Ending::NotText,
            close(CloseCode::Invalid, "text is not UTF-8"),
        ),
        Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
            (Ending::TooBig, close(CloseCode::Size, "message too big"))
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => (Ending::Lost, None),
        Error::Protocol(_) => (
            Ending::Protocol,
            close(CloseCode::Protocol, "broken WebSocket frame"),
        ),
        Error::ConnectionClosed | Error::AlreadyClosed => (Ending::Browser, None),
        _ => (Ending::Lost, None),
    }
}

fn close_frame(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame {
        code: code.into(),
        reason: Utf8Bytes::from_static(reason),
    }
}

fn web_socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// Messages of strangers that wait to be looked at, of all flows together.
const STRANGERS_WAITING: usize = 64;
/// A browser's longest offer is some 8 KiB.
const MAX_MESSAGE: usize = 64 * 1024;
/// Held by each flow all its life.
const READ_BUFFER: usize = 2 * 1024;
const WRITE_BUFFER: usize = 256 * 1024;
/// Messages that wait for a reader.
const QUEUED_MESSAGES: usize = 64;
/// Octets that wait for a reader.
const QUEUED_OCTETS: usize = 256 * 1024;
/// Pings without an answer after which the network is dead.
const PINGS_UNANSWERED: u32 = 2;
/// A message that cannot be written for so long meets a dead reader.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// How long the browser's close frame may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);
