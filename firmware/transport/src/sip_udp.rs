//! The UDP half of an endpoint: one message a datagram, RFC 3261 §18.1 and §18.2.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use signaling::{EndpointId, Input, SipTransport};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::counters::ImsCounters;
use crate::endpoint::Happening;
use crate::rtp::{keep_icmp_errors, take_icmp_error};

/// A bound socket and the task that reads it.
pub(crate) struct SipUdp {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl SipUdp {
    /// Starts to read a bound socket.
    pub(crate) fn start(
        endpoint: EndpointId,
        socket: socket2::Socket,
        happenings: mpsc::Sender<Happening>,
        counters: Arc<ImsCounters>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        keep_icmp_errors(socket.as_fd(), socket.local_addr()?.is_ipv6())?;
        let socket = Arc::new(socket);
        let reader = Reader {
            endpoint,
            socket: Arc::clone(&socket),
            happenings,
            counters,
        };
        Ok(SipUdp {
            socket,
            reader: tokio::spawn(reader.run()).abort_handle(),
        })
    }

    /// Sends a datagram; a socket without room loses it, as any network may.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        // A pending ICMP error of an earlier datagram fails one send: the next is free of it.
        let socket = SockRef::from(&*self.socket);
        match socket.send_to(bytes, &to.into()) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                socket.send_to(bytes, &to.into())
            }
            other => other,
        }
        .map(drop)
    }
}

impl Drop for SipUdp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

struct Reader {
    endpoint: EndpointId,
    socket: Arc<UdpSocket>,
    happenings: mpsc::Sender<Happening>,
    counters: Arc<ImsCounters>,
}

impl Reader {
    async fn run(self) {
        loop {
            let ready = self
                .socket
                .ready(Interest::READABLE | Interest::ERROR)
                .await;
            if ready.is_err() {
                return;
            }
            // Nothing there, or an ICMP error: the queue of those says more.
            if let Ok((bytes, from)) = self.receive() {
                self.tell(Input::ImsMessage {
                    endpoint: self.endpoint,
                    transport: SipTransport::Udp,
                    from,
                    bytes,
                });
            }
            let taken = self.socket.try_io(Interest::ERROR, || {
                take_icmp_error(self.socket.as_fd()).ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            if let Ok(to) = taken {
                self.counters.unreachable.add_one();
                self.tell(Input::ImsTransportFailed {
                    endpoint: self.endpoint,
                    transport: SipTransport::Udp,
                    to,
                });
            }
        }
    }

    /// Reads one datagram by way of a buffer that all endpoints share: they are many.
    fn receive(&self) -> io::Result<(Bytes, SocketAddr)> {
        DATAGRAM.with_borrow_mut(|datagram| {
            let (len, from) = self.socket.try_recv_from(datagram)?;
            Ok((Bytes::copy_from_slice(&datagram[..len]), from))
        })
    }

    /// Hands an input on; when signaling does not keep up, a datagram is lost here.
    fn tell(&self, input: Input) {
        if self.happenings.try_send(Happening::Input(input)).is_err() {
            self.counters.datagrams_dropped.add_one();
        }
    }
}

thread_local! {
    static DATAGRAM: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_DATAGRAM]);
}

/// The longest SIP message taken from a datagram.
const MAX_DATAGRAM: usize = 65_535;
