//! Datagram sockets read and written in batches, an epoll set and a wake-up, straight
//! on the system's calls. All of the crate's `unsafe` is here.

#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use media::PacketBuffer;

/// Datagrams that one system call may carry.
pub(crate) const BATCH: usize = 64;

/// A bound UDP socket that never blocks.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: OwnedFd,
    v6: bool,
}

impl Udp {
    /// Binds a socket whose packets are marked for expedited forwarding.
    pub(crate) fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
            socket.set_tclass_v6(EXPEDITED)?;
        } else {
            socket.set_tos_v4(EXPEDITED)?;
        }
        // The kernel grants what its limit allows; less is no reason not to start.
        let _ = socket.set_recv_buffer_size(receive_buffer);
        socket.bind(&address.into())?;
        Ok(Udp {
            socket: socket.into(),
            v6: address.is_ipv6(),
        })
    }

    #[cfg(test)]
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        let address = socket2::SockRef::from(&self.socket).local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::Error::other("not an internet address"))
    }

    /// Reads one datagram into a slot; `None` if there is none or it cannot be used.
    pub(crate) fn receive(&self, slot: &mut PacketBuffer) -> Option<SocketAddr> {
        let mut name = Name::EMPTY;
        let mut name_len = Name::SIZE;
        let space = slot.space_mut();
        // SAFETY: pointer and length describe `space`, which is exclusively borrowed for
        // the call; `name` and `name_len` live on this stack frame, and `name_len` says
        // the size of `name`, beyond which the kernel does not write.
        let read = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                space.as_mut_ptr().cast(),
                space.len(),
                0,
                name.0.as_mut_ptr().cast(),
                &mut name_len,
            )
        };
        let read = usize::try_from(read).ok()?;
        slot.set_received(read);
        name.address()
    }

    /// Sends one datagram; false if the system would not take it.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddr) -> bool {
        let (name, name_len) = Name::of(to, self.v6);
        // SAFETY: the pointers and lengths describe `bytes` and `name`, both alive and
        // only read during the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_NOSIGNAL,
                name.0.as_ptr().cast(),
                name_len,
            )
        };
        sent >= 0
    }
}

/// The headers of a batch, made once and filled anew for every call.
pub(crate) struct Ring {
    headers: Box<[libc::mmsghdr; BATCH]>,
    vectors: Box<[libc::iovec; BATCH]>,
    names: Box<[Name; BATCH]>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        // SAFETY: `mmsghdr` and `iovec` are plain C structures for which all zero bytes,
        // null pointers with zero lengths, are a valid value.
        let (header, vector) = unsafe {
            (
                std::mem::zeroed::<libc::mmsghdr>(),
                std::mem::zeroed::<libc::iovec>(),
            )
        };
        Ring {
            headers: Box::new([header; BATCH]),
            vectors: Box::new([vector; BATCH]),
            names: Box::new([Name::EMPTY; BATCH]),
        }
    }

    /// Reads up to a batch of datagrams, one into each slot; says how many came.
    pub(crate) fn receive(&mut self, socket: &Udp, slots: &mut [PacketBuffer]) -> usize {
        let count = slots.len().min(BATCH);
        for (at, slot) in slots[..count].iter_mut().enumerate() {
            let space = slot.space_mut();
            self.vectors[at] = libc::iovec {
                iov_base: space.as_mut_ptr().cast(),
                iov_len: space.len(),
            };
            self.link(at, Name::SIZE);
        }
        let received = self.exchange(count, |headers, len| {
            // SAFETY: the first `count` headers were linked above to vectors and names of
            // this ring and to slots that `slots` borrows exclusively, each with its true
            // size; none of them moves before the call returns.
            unsafe {
                libc::recvmmsg(
                    socket.socket.as_raw_fd(),
                    headers,
                    len,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            }
        });
        for (slot, header) in slots.iter_mut().zip(self.headers.iter()).take(received) {
            slot.set_received(header.msg_len as usize);
        }
        received
    }

    /// Who sent the datagram at a place of the last batch received.
    pub(crate) fn source(&self, at: usize) -> Option<SocketAddr> {
        self.names[at].address()
    }

    /// Sends datagrams from the slots named, in order; says how many the system took
    /// before it took no more.
    pub(crate) fn send(
        &mut self,
        socket: &Udp,
        slots: &mut [PacketBuffer],
        outgoing: &[(usize, SocketAddr)],
    ) -> usize {
        let count = outgoing.len().min(BATCH);
        for (at, &(slot, to)) in outgoing[..count].iter().enumerate() {
            let bytes = slots[slot].bytes_mut();
            self.vectors[at] = libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            };
            let (name, len) = Name::of(to, socket.v6);
            self.names[at] = name;
            self.link(at, len);
        }
        self.exchange(count, |headers, len| {
            // SAFETY: as for receiving; the kernel only reads what the headers point to.
            unsafe { libc::sendmmsg(socket.socket.as_raw_fd(), headers, len, libc::MSG_NOSIGNAL) }
        })
    }

    /// Points a header to its vector and its name.
    fn link(&mut self, at: usize, name_len: libc::socklen_t) {
        let header = &mut self.headers[at];
        header.msg_len = 0;
        header.msg_hdr.msg_iov = &mut self.vectors[at];
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = self.names[at].0.as_mut_ptr().cast();
        header.msg_hdr.msg_namelen = name_len;
    }

    fn exchange(
        &mut self,
        count: usize,
        call: impl Fn(*mut libc::mmsghdr, libc::c_uint) -> libc::c_int,
    ) -> usize {
        let count = libc::c_uint::try_from(count).expect("a batch is small");
        usize::try_from(call(self.headers.as_mut_ptr(), count)).unwrap_or(0)
    }
}

/// A socket address as the kernel writes it: `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 28]);

impl Name {
    const EMPTY: Self = Name([0; 28]);
    const SIZE: libc::socklen_t = 28;
    const V4_SIZE: libc::socklen_t = 16;

    /// An address for a socket of the family given, and its length.
    fn of(address: SocketAddr, v6: bool) -> (Self, libc::socklen_t) {
        let mut name = Name::EMPTY;
        let bytes = &mut name.0;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let ip = match address.ip() {
            IpAddr::V4(ip) if !v6 => {
                bytes[..2].copy_from_slice(&family(libc::AF_INET));
                bytes[4..8].copy_from_slice(&ip.octets());
                return (name, Name::V4_SIZE);
            }
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        bytes[..2].copy_from_slice(&family(libc::AF_INET6));
        bytes[8..24].copy_from_slice(&ip.octets());
        if let SocketAddr::V6(address) = address {
            bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
        }
        (name, Name::SIZE)
    }

    /// The address, an IPv4 one as such even if it came through an IPv6 socket.
    fn address(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        if bytes[..2] == family(libc::AF_INET) {
            let octets: [u8; 4] = bytes[4..8].try_into().ok()?;
            return Some((Ipv4Addr::from(octets), port).into());
        }
        if bytes[..2] == family(libc::AF_INET6) {
            let octets: [u8; 16] = bytes[8..24].try_into().ok()?;
            let ip = Ipv6Addr::from(octets);
            return Some(match ip.to_ipv4_mapped() {
                Some(ip) => (ip, port).into(),
                None => {
                    let scope = u32::from_ne_bytes(bytes[24..28].try_into().ok()?);
                    std::net::SocketAddrV6::new(ip, port, 0, scope).into()
                }
            });
        }
        None
    }
}

fn family(family: libc::c_int) -> [u8; 2] {
    libc::sa_family_t::try_from(family)
        .expect("address families are small numbers")
        .to_ne_bytes()
}

/// A set of sockets that says which of them have something to read.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event; BATCH]>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Ok(Poll {
            epoll: owned(raw)?,
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; BATCH]),
        })
    }

    pub(crate) fn watch(&self, what: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: `event` is alive during the call, which only reads it.
        let result = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                what.as_raw_fd(),
                &mut event,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits for the first of them; says how many tokens [`Poll::token`] knows.
    pub(crate) fn wait(&mut self, longest: Duration) -> usize {
        // Rounded up, so that a timer is due when the wait for it ends.
        let millis = longest.as_micros().div_ceil(1000);
        let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
        // SAFETY: pointer and length describe `events`, exclusively borrowed here.
        let ready = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                BATCH as libc::c_int,
                millis,
            )
        };
        usize::try_from(ready).unwrap_or(0)
    }

    pub(crate) fn token(&self, at: usize) -> u64 {
        self.events[at].u64
    }
}

impl AsRawFd for Udp {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Wakes a worker that waits in its [`Poll`].
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(Wake(owned(raw)?))
    }

    pub(crate) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: pointer and length describe `one`. A full counter fails the call and
        // wakes all the same.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(crate) fn silence(&self) {
        let mut count = [0; 8];
        // SAFETY: pointer and length describe `count`.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Has the kernel keep ICMP errors of a UDP socket for [`take_icmp_error`].
pub(crate) fn keep_icmp_errors(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    let on: libc::c_int = 1;
    // SAFETY: pointer and length describe `on`, alive during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Where the datagram should have gone that the next kept ICMP error is about.
pub(crate) fn take_icmp_error(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    let mut name = Name::EMPTY;
    let mut content = [0_u8; 64];
    let mut control = [0_u64; 32];
    let mut vector = libc::iovec {
        iov_base: content.as_mut_ptr().cast(),
        iov_len: content.len(),
    };
    // SAFETY: a plain C structure for which all zero bytes are a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.0.as_mut_ptr().cast();
    header.msg_namelen = Name::SIZE;
    header.msg_iov = &mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to `name`, `vector`, `content` and `control`, all alive
    // in this frame, with their true sizes.
    let read = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &mut header,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        )
    };
    if read < 0 { None } else { name.address() }
}

/// Lets the process open as many files as the system allows it at most; says how many.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is alive and exclusively borrowed during the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is alive during the call, which only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

fn owned(raw: RawFd) -> io::Result<OwnedFd> {
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// DSCP 46 in the upper six bits, RFC 3246.
const EXPEDITED: u32 = 46 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Vec<PacketBuffer> {
        vec![PacketBuffer::new(); BATCH]
    }

    #[test]
    fn a_batch_leaves_and_arrives_whole_and_in_order() {
        let sender = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let receiver = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let (mut ring, mut outgoing) = (Ring::new(), slots());
        let to = receiver.local_address().unwrap();
        for (n, slot) in outgoing.iter_mut().enumerate() {
            slot.fill(format!("packet {n}").as_bytes());
        }
        let plan: Vec<_> = (0..BATCH).map(|n| (n, to)).collect();
        assert_eq!(ring.send(&sender, &mut outgoing, &plan), BATCH);

        let mut incoming = slots();
        assert_eq!(ring.receive(&receiver, &mut incoming), BATCH);
        for (n, slot) in incoming.iter().enumerate() {
            assert_eq!(slot.bytes(), format!("packet {n}").as_bytes());
            assert_eq!(ring.source(n), sender.local_address().ok());
        }
        assert_eq!(ring.receive(&receiver, &mut incoming), 0);
    }

    #[test]
    fn an_ipv6_socket_shows_ipv4_peers_as_what_they_are() {
        let receiver = Udp::bind("[::]:0".parse().unwrap(), 1 << 16).unwrap();
        let peer = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let port = receiver.local_address().unwrap().port();
        assert!(peer.send(b"hello", (Ipv4Addr::LOCALHOST, port).into()));
        let mut slot = PacketBuffer::new();
        let from = receiver.receive(&mut slot).unwrap();
        assert_eq!(from, peer.local_address().unwrap());
        assert!(receiver.send(b"back", from));
        assert!(peer.receive(&mut slot).is_some());
        assert_eq!(slot.bytes(), b"back");
    }

    #[test]
    fn a_wake_up_is_noticed_once() {
        let mut poll = Poll::new().unwrap();
        let wake = Wake::new().unwrap();
        poll.watch(&wake, 7).unwrap();
        wake.ring();
        wake.ring();
        assert_eq!(poll.wait(Duration::from_secs(5)), 1);
        assert_eq!(poll.token(0), 7);
        wake.silence();
        assert_eq!(poll.wait(Duration::ZERO), 0);
    }

    #[test]
    fn a_refused_datagram_says_whom_it_was_for() {
        use std::os::fd::AsFd;
        let closed = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let gone = closed.local_address().unwrap();
        drop(closed);
        let sender = Udp::bind("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        keep_icmp_errors(sender.socket.as_fd(), false).unwrap();
        assert!(sender.send(b"anybody there?", gone));
        assert_eq!(take_icmp_error(sender.socket.as_fd()), Some(gone));
        assert_eq!(take_icmp_error(sender.socket.as_fd()), None);
    }
}
