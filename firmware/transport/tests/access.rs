//! The access listener, over real sockets on loopback.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use transport::admission::Limits;
use transport::counters::AccessCounters;
use transport::flow::{Arrival, FlowSender, Keepalive};
use transport::http::{Policy, Refusal};
use transport::pulse::Pulse;
use transport::tls::{self, CertificateSource, Certificates};
use transport::web_root::WebRoot;
use transport::websocket::{Access, AccessError, Listen, Settings};

const GOOD: &str = "GET /sip HTTP/1.1\r\nHost: gw.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
    Origin: https://app.example.com\r\n\r\n";

struct Gateway {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    counters: Arc<AccessCounters>,
    _running: tokio::task::JoinHandle<()>,
}

fn on(address: &str, tls: Option<TlsAcceptor>) -> Listen {
    Listen {
        address: address.parse().unwrap(),
        tls,
    }
}

fn settings() -> Settings {
    Settings {
        listen: vec![on("127.0.0.1:0", None)],
        policy: Policy {
            server_names: vec!["gw.example.com".into()],
            origins: vec!["https://app.example.com".into()],
            path: "/sip".into(),
            gives_tickets: true,
        },
        web_root: WebRoot {
            folder: None,
            config_json: Bytes::from_static(b"{}"),
        },
        limits: Limits {
            connections: 1000,
            flows: 100,
            flows_per_source: 3,
            accepts_per_second: 1000,
        },
        handshake_time: Duration::from_millis(300),
        keepalive: Keepalive {
            interval: Duration::from_secs(60),
            answer_time: Duration::from_secs(60),
        },
    }
}

fn start(settings: Settings) -> Gateway {
    let (sender, arrivals) = mpsc::channel(100);
    let counters = Arc::new(AccessCounters::default());
    let access = Access::bind(settings, sender, Arc::default(), Arc::clone(&counters)).unwrap();
    Gateway {
        address: access.addresses()[0],
        arrivals,
        counters,
        _running: tokio::spawn(async move {
            access.run(Pulse::default()).await;
        }),
    }
}

impl Gateway {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that the box answers until it closes.
    async fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        String::from_utf8(answer).unwrap()
    }

    async fn flow(&mut self) -> (WebSocketStream<TcpStream>, FlowSender) {
        let stream = self.connect().await;
        self.upgrade(stream).await
    }

    async fn upgrade<S>(&mut self, mut stream: S) -> (WebSocketStream<S>, FlowSender)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(GOOD.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        match self.next().await {
            Arrival::Opened { sender, .. } => (socket, sender),
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> Arrival {
        timeout(Duration::from_secs(5), self.arrivals.recv())
            .await
            .expect("an arrival in time")
            .unwrap()
    }

    async fn next_message(&mut self) -> Bytes {
        match self.next().await {
            Arrival::Message { bytes, .. } => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn refusals(&self, refusal: Refusal) -> u64 {
        let at = Refusal::ALL.iter().position(|&r| r == refusal).unwrap();
        self.counters.refusals.0[at].value()
    }
}

/// The close code and reason that the browser sees.
async fn closed<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
) -> Option<(u16, String)> {
    loop {
        match timeout(Duration::from_secs(5), socket.next())
            .await
            .unwrap()
        {
            Some(Ok(Message::Close(frame))) => {
                return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

#[tokio::test]
async fn each_flaw_of_a_handshake_is_answered_and_the_connection_closed() {
    let gateway = start(settings());
    let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
    let long_headers = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(17_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    let cases = [
        (long_line, "431", ""),
        (long_headers, "431", ""),
        (many_headers, "431", ""),
        (GOOD.replace("GET", "OPTIONS"), "405", "Allow: GET"),
        (GOOD.replace("gw.example.com", "evil.example"), "403", ""),
        (GOOD.replace("/sip", "/other"), "404", ""),
        (GOOD.replace("Upgrade: websocket\r\n", ""), "400", ""),
        (
            GOOD.replace("Version: 13", "Version: 12"),
            "426",
            "Sec-WebSocket-Version: 13",
        ),
        (GOOD.replace("dGhl", "dG"), "400", ""),
        (
            GOOD.replace("Protocol: sip", "Protocol: xmpp"),
            "400",
            "Sec-WebSocket-Protocol: sip",
        ),
        (GOOD.replace("https://app", "https://evil"), "403", ""),
        ("\u{0}\u{1}garbage\r\n\r\n".to_owned(), "400", ""),
    ];
    for (request, status, header) in cases {
        let answer = gateway.answer(request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {answer}"
        );
        assert!(answer.contains(header), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_dribbles_is_told_and_dropped_and_others_go_on() {
    let mut gateway = start(settings());
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = gateway.connect().await;
        stream.write_all(b"GET /sip HT").await.unwrap();
        slow.push(stream);
    }
    let (_socket, _sender) = gateway.flow().await;
    for stream in &mut slow {
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(Duration::from_secs(3), read)
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert_eq!(gateway.refusals(Refusal::HeadTooSlow), 50);
}

#[tokio::test]
async fn one_source_has_its_share_of_flows_and_is_told_to_come_back() {
    let mut gateway = start(settings());
    let mut flows = Vec::new();
    for _ in 0..3 {
        flows.push(gateway.flow().await);
    }
    let answer = gateway.answer(GOOD.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");

    flows.pop();
    assert!(matches!(gateway.next().await, Arrival::Closed { .. }));
    // The place is given back just after the end was told.
    tokio::time::sleep(Duration::from_millis(50)).await;
    gateway.flow().await;
}

#[tokio::test]
async fn messages_pass_whole_and_are_answered_in_the_kind_the_browser_speaks() {
    let mut gateway = start(settings());
    let (mut socket, sender) = gateway.flow().await;
    let long = "x".repeat(60_000);
    socket.send(Message::text(long.clone())).await.unwrap();
    assert_eq!(gateway.next_message().await, long.as_bytes());
    sender.send(Bytes::from_static(b"answer")).unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("answer")
    );
    sender.send(Bytes::from_static(b"\xff")).unwrap();
    let message = socket.next().await.unwrap().unwrap();
    assert_eq!(message, Message::binary(&b"\xff"[..]), "it cannot be text");

    socket.send(Message::binary(&b"\xfe"[..])).await.unwrap();
    assert_eq!(&gateway.next_message().await[..], b"\xfe");
    sender.send(Bytes::from_static(b"answer")).unwrap();
    let message = socket.next().await.unwrap().unwrap();
    assert_eq!(message, Message::binary(&b"answer"[..]));
}

#[tokio::test]
async fn broken_frames_get_the_close_codes_of_the_rfc() {
    // Frames as bytes: unmasked, reserved bit, text that is not UTF-8, a length over the limit.
    let cases: [(&[u8], u16); 4] = [
        (b"\x81\x02hi", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\xff\0\0\0\0\0\x01\x00\x01\0\0\0\0", 1009),
    ];
    for (frame, code) in cases {
        let mut gateway = start(settings());
        let (socket, _sender) = gateway.flow().await;
        let mut stream = socket.into_inner();
        stream.write_all(frame).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], 0x88, "a close frame");
        assert_eq!(
            u16::from_be_bytes([answer[2], answer[3]]),
            code,
            "{frame:?}"
        );
        drop(stream);
        assert!(matches!(gateway.next().await, Arrival::Closed { .. }));
    }
}

#[tokio::test]
async fn a_silent_network_is_noticed_by_two_missing_pongs() {
    let mut settings = settings();
    settings.keepalive = Keepalive {
        interval: Duration::from_millis(100),
        answer_time: Duration::from_millis(50),
    };
    let mut gateway = start(settings);
    // This one reads and pongs.
    let (mut alive, _alive_sender) = gateway.flow().await;
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = alive.next().await {} });
    // This one does not.
    let (_silent, _silent_sender) = gateway.flow().await;
    let before = tokio::time::Instant::now();
    assert!(matches!(gateway.next().await, Arrival::Closed { .. }));
    let after = before.elapsed();
    assert!(after < Duration::from_secs(2), "noticed after {after:?}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(gateway.arrivals.try_recv().is_err(), "the other goes on");
    reader.abort();
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_dropped_and_costs_nobody_else_anything() {
    let mut gateway = start(settings());
    let (_socket, sender) = gateway.flow().await;
    let message = Bytes::from(vec![b'x'; 60_000]);
    let mut sent = 0;
    while sender.send(message.clone()).is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(sent < 10_000, "the queue has no end");
    }
    drop(sender);
    // Its end waits for the write that hangs; others are served meanwhile.
    let (mut other, other_sender) = gateway.flow().await;
    other_sender.send(Bytes::from_static(b"hello")).unwrap();
    assert_eq!(other.next().await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn users_do_not_wait_behind_strangers_and_each_stranger_has_his_turn() {
    let mut gateway = start(settings());
    let (mut flooder, _kept) = gateway.flow().await;
    let (mut newcomer, _kept) = gateway.flow().await;
    let (mut user, sender) = gateway.flow().await;
    sender.set_user(true);
    for _ in 0..200 {
        flooder.send(Message::text("flood")).await.unwrap();
    }
    // Nobody looks at them: they hold their places.
    let mut held = Vec::new();
    while let Ok(arrival) = timeout(Duration::from_millis(300), gateway.arrivals.recv()).await {
        held.push(arrival.unwrap());
    }
    assert_eq!(held.len(), 64);
    newcomer.send(Message::text("newcomer")).await.unwrap();
    user.send(Message::text("user")).await.unwrap();
    assert_eq!(gateway.next_message().await, "user");
    assert!(gateway.arrivals.try_recv().is_err());

    held.pop();
    let next = gateway.next().await;
    assert!(matches!(&next, Arrival::Message { bytes, .. } if bytes == "flood"));
    held.pop();
    // However fast the other one sends.
    assert_eq!(gateway.next_message().await, "newcomer");
    assert!(gateway.counters.strangers_waited.value() >= 2);
}

#[tokio::test]
async fn the_box_says_why_it_closes_and_hears_a_browser_close() {
    let mut gateway = start(settings());
    let (mut socket, sender) = gateway.flow().await;
    sender.send(Bytes::from_static(b"last words")).unwrap();
    sender.close(1012, "the gateway restarts");
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("last words")
    );
    assert_eq!(
        closed(&mut socket).await,
        Some((1012, "the gateway restarts".to_owned()))
    );
    assert!(matches!(gateway.next().await, Arrival::Closed { .. }));

    let (mut socket, _sender) = gateway.flow().await;
    socket.close(None).await.unwrap();
    assert!(closed(&mut socket).await.is_none());
    assert!(matches!(gateway.next().await, Arrival::Closed { .. }));
}

#[tokio::test]
async fn a_page_is_served_on_a_connection_that_is_kept() {
    let gateway = start(settings());
    let page = "GET /config.json HTTP/1.1\r\nHost: gw.example.com\r\n\r\n";
    let last = page.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = gateway.answer(format!("{page}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
}

#[tokio::test]
async fn plain_http_is_for_loopback_only() {
    let mut settings = settings();
    settings.listen = vec![on("0.0.0.0:0", None)];
    let (sender, _arrivals) = mpsc::channel(1);
    let refused = Access::bind(settings, sender, Arc::default(), Arc::default());
    assert!(matches!(
        refused.err(),
        Some(AccessError::PlainBeyondLoopback(_))
    ));
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let folder = Folder::new("reload");
    let source = CertificateSource::SelfSigned {
        folder: folder.0.clone(),
        names: vec!["gw.example.com".into()],
    };
    let certificates = Certificates::load(source).unwrap();
    let mut settings = settings();
    settings.listen = vec![on("127.0.0.1:0", Some(certificates.acceptor().unwrap()))];
    let mut gateway = start(settings);
    let first = folder.0.join("first.crt");
    std::fs::copy(folder.0.join("self-signed.crt"), &first).unwrap();

    let stream = folder.connect(&gateway, &first).await.unwrap();
    let alpn = stream.get_ref().1.alpn_protocol();
    assert_eq!(alpn, Some(&b"http/1.1"[..]), "and never h2");
    let (mut socket, sender) = gateway.upgrade(stream).await;

    std::fs::remove_file(folder.0.join("self-signed.key")).unwrap();
    assert!(certificates.reload(false).unwrap(), "made anew");
    assert!(folder.connect(&gateway, &first).await.is_err());
    let second = folder.0.join("self-signed.crt");
    assert!(folder.connect(&gateway, &second).await.is_ok());

    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(&gateway.next_message().await[..], b"still here");
    sender.send(Bytes::from_static(b"so am I")).unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("so am I")
    );
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("access-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    async fn connect(
        &self,
        gateway: &Gateway,
        authority: &std::path::Path,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut config = tls::client_config(authority).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("gw.example.com").unwrap();
        connector.connect(name, gateway.connect().await).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
