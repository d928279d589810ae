//! The embedded lab core on real sockets: SIP over UDP and TCP, and the telephones'
//! RTP, all on one address. Decides nothing: [`lab::Lab`] does.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lab::{Hop, Lab, Output, Settings};
use rand_chacha::ChaCha20Rng;
use signaling::SipTransport;
use signaling::message::{Framed, StreamFramer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A lab core whose sockets are bound.
pub(crate) struct LabCore {
    lab: Lab,
    settings: Settings,
    sip: SocketAddr,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    media: HashMap<u16, Arc<UdpSocket>>,
    /// RTCP of the telephones is received by nobody, but its ports are theirs.
    _rtcp: Vec<UdpSocket>,
}

/// What the sockets bring.
enum Arrival {
    Message {
        from: Hop,
        bytes: Bytes,
    },
    Media {
        port: u16,
        from: SocketAddr,
        bytes: Bytes,
    },
    Connected {
        peer: SocketAddr,
        stream: TcpStream,
    },
    Disconnected {
        peer: SocketAddr,
    },
}

impl LabCore {
    /// Binds SIP, at any free port if it is zero, and as many pairs of media ports as there may
    /// be calls at a time; those are always free ones.
    pub(crate) async fn bind(at: SocketAddr, calls: usize, rng: ChaCha20Rng) -> io::Result<Self> {
        let address = at.ip();
        let (udp, tcp) = sip_sockets(at).await?;
        let sip = udp.local_addr()?;
        let mut media = HashMap::new();
        let mut rtcp = Vec::new();
        for _ in 0..calls {
            let (one, next) = media_sockets(address).await?;
            media.insert(one.local_addr()?.port(), Arc::new(one));
            rtcp.push(next);
        }
        let mut ports: Vec<u16> = media.keys().copied().collect();
        ports.sort_unstable();
        let settings = Settings::new(sip, ports);
        Ok(LabCore {
            lab: Lab::new(settings.clone(), rng),
            settings,
            sip,
            udp: Arc::new(udp),
            tcp,
            media,
            _rtcp: rtcp,
        })
    }

    /// Where the core takes SIP.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// What the core is made of.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Plays the core for ever.
    pub(crate) async fn run(self) {
        let (arrivals, mut arrived) = mpsc::channel(QUEUE);
        let mut readers = JoinSet::new();
        readers.spawn(read_sip(Arc::clone(&self.udp), arrivals.clone()));
        readers.spawn(accept(self.tcp, arrivals.clone()));
        for (port, socket) in &self.media {
            readers.spawn(read_media(*port, Arc::clone(socket), arrivals.clone()));
        }
        let mut lab = self.lab;
        let mut sender = Sender {
            sip: self.sip,
            udp: self.udp,
            media: self.media,
            streams: HashMap::new(),
            arrivals,
            tasks: readers,
        };
        loop {
            while let Some(output) = lab.poll_output() {
                sender.perform(output);
            }
            let wake = lab.poll_timeout().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                Some(arrival) = arrived.recv() => match arrival {
                    Arrival::Message { from, bytes } => {
                        lab.handle_message(from, &bytes, Instant::now());
                    }
                    Arrival::Media { port, from, bytes } => {
                        lab.handle_media(port, from, &bytes, Instant::now());
                    }
                    Arrival::Connected { peer, stream } => sender.attach(peer, stream),
                    Arrival::Disconnected { peer } => { sender.streams.remove(&peer); }
                },
                () = tokio::time::sleep_until(wake.into()) => lab.handle_timeout(Instant::now()),
                Some(_) = sender.tasks.join_next() => {}
            }
        }
    }
}

/// The way out.
struct Sender {
    sip: SocketAddr,
    udp: Arc<UdpSocket>,
    media: HashMap<u16, Arc<UdpSocket>>,
    streams: HashMap<SocketAddr, mpsc::Sender<Bytes>>,
    arrivals: mpsc::Sender<Arrival>,
    tasks: JoinSet<()>,
}

impl Sender {
    /// What a full socket does not take is lost, as on any network.
    fn perform(&mut self, output: Output) {
        match output {
            Output::Transmit {
                transport: SipTransport::Udp,
                to,
                bytes,
            } => {
                let _ = self.udp.try_send_to(&bytes, to);
            }
            Output::Transmit { to, bytes, .. } => self.send_on_stream(to, bytes),
            Output::Media { port, to, bytes } => {
                if let Some(socket) = self.media.get(&port) {
                    let _ = socket.try_send_to(&bytes, to);
                }
            }
        }
    }

    fn send_on_stream(&mut self, to: SocketAddr, bytes: Bytes) {
        let stream = self.streams.entry(to).or_insert_with(|| {
            let (queue, queued) = mpsc::channel(QUEUE);
            self.tasks
                .spawn(connect(self.sip.ip(), to, queued, self.arrivals.clone()));
            queue
        });
        let _ = stream.try_send(bytes);
    }

    fn attach(&mut self, peer: SocketAddr, stream: TcpStream) {
        let (queue, queued) = mpsc::channel(QUEUE);
        self.streams.insert(peer, queue);
        self.tasks
            .spawn(serve(peer, stream, queued, self.arrivals.clone()));
    }
}

async fn read_sip(socket: Arc<UdpSocket>, arrivals: mpsc::Sender<Arrival>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // An ICMP error of an earlier packet shows up here and means nothing.
        let Ok((length, address)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let arrival = Arrival::Message {
            from: Hop {
                transport: SipTransport::Udp,
                address,
            },
            bytes: Bytes::copy_from_slice(&buffer[..length]),
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
    }
}

async fn read_media(port: u16, socket: Arc<UdpSocket>, arrivals: mpsc::Sender<Arrival>) {
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        // Late sound is worth nothing: what does not fit is dropped.
        let _ = arrivals.try_send(Arrival::Media { port, from, bytes });
    }
}

async fn accept(listener: TcpListener, arrivals: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if arrivals
                    .send(Arrival::Connected { peer, stream })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connect(
    own: IpAddr,
    peer: SocketAddr,
    queued: mpsc::Receiver<Bytes>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let connected = async {
        let socket = match peer {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(own, 0))?;
        socket.connect(peer).await
    };
    match connected.await {
        Ok(stream) => serve(peer, stream, queued, arrivals).await,
        Err(_) => {
            let _ = arrivals.send(Arrival::Disconnected { peer }).await;
        }
    }
}

/// Reads messages of a stream and writes what is queued for it, until either ends.
async fn serve(
    peer: SocketAddr,
    stream: TcpStream,
    queued: mpsc::Receiver<Bytes>,
    arrivals: mpsc::Sender<Arrival>,
) {
    let (mut reader, writer) = stream.into_split();
    let reading = async {
        let mut framer = StreamFramer::new();
        let mut buffer = vec![0; 4096];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => framer.push(&buffer[..length]),
            }
            while let Some(frame) = framer.next_frame() {
                let bytes = match frame {
                    Ok(Framed::Message(bytes)) => bytes,
                    Ok(Framed::Ping | Framed::Pong) => continue,
                    Err(_) => return,
                };
                let from = Hop {
                    transport: SipTransport::Tcp,
                    address: peer,
                };
                if arrivals
                    .send(Arrival::Message { from, bytes })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = write(writer, queued) => {}
    }
    let _ = arrivals.send(Arrival::Disconnected { peer }).await;
}

async fn write(mut writer: OwnedWriteHalf, mut queued: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = queued.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// UDP and TCP on the same port.
async fn sip_sockets(at: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let tcp = TcpListener::bind(at).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An even port and the next one.
async fn media_sockets(address: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let one = UdpSocket::bind((address, 0)).await?;
        let port = one.local_addr()?.port();
        if port % 2 != 0 {
            continue;
        }
        match UdpSocket::bind((address, port + 1)).await {
            Ok(next) => return Ok((one, next)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Things that wait for the core, or for a stream.
const QUEUE: usize = 1024;

/// Free ports that are tried before there seem to be none.
const ATTEMPTS: usize = 64;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;

/// More than any packet of sound.
const MAX_PACKET: usize = 2048;

/// How often an idle core looks around.
const IDLE: Duration = Duration::from_secs(60);

/// After the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_core::SeedableRng;

    use super::*;

    const REGISTER: &str = "REGISTER sip:ims.test SIP/2.0\r\n\
        Via: SIP/2.0/PROTO 127.0.0.1:9;rport;branch=z9hG4bK1\r\nFrom: <sip:alice@ims.test>;tag=1\r\n\
        To: <sip:alice@ims.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\
        Content-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_register_is_challenged_over_udp_and_tcp() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let core = LabCore::bind((address, 0).into(), 2, ChaCha20Rng::seed_from_u64(1))
            .await
            .unwrap();
        let sip = core.sip();
        assert_eq!(core.settings().domain, "ims.test");
        let core = tokio::spawn(core.run());
        let mut answer = [0; 1500];

        let udp = UdpSocket::bind((address, 0)).await.unwrap();
        udp.send_to(REGISTER.replace("PROTO", "UDP").as_bytes(), sip)
            .await
            .unwrap();
        udp.recv_from(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"SIP/2.0 401"));

        let mut tcp = TcpStream::connect(sip).await.unwrap();
        tcp.write_all(REGISTER.replace("PROTO", "TCP").as_bytes())
            .await
            .unwrap();
        let length = tcp.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"SIP/2.0 401"));
        core.abort();
    }
}
