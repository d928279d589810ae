//! IPsec associations in the kernel (XFRM over netlink, `linux/xfrm.h`): what
//! [`signaling::sec_agree`] agreed on is made and removed here. Each association brings the
//! policy that makes its traffic use it: what leaves one of its sockets otherwise than
//! protected does not leave, and what arrives unprotected is dropped (TS 33.203 §7.1).
//! Needs CAP_NET_ADMIN.

mod message;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

use signaling::sec_agree::{Association, AssociationId, Change};
use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

/// The kernel's table, as far as it is ours.
#[derive(Debug)]
pub struct Xfrm {
    socket: Socket,
    sequence: u32,
    requests: u32,
    installed: BTreeMap<AssociationId, Installed>,
    /// Which association the traffic between two sockets uses now.
    used: BTreeMap<Way, AssociationId>,
}

/// Two sockets, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    from: SocketAddr,
    to: SocketAddr,
    is_inbound: bool,
}

/// An association that was made.
#[derive(Clone, Copy, Debug)]
struct Installed {
    way: Way,
}

impl Xfrm {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// If the kernel has no XFRM, or the process may not use it.
    pub fn open() -> io::Result<Self> {
        let (domain, protocol) = (Domain::from(AF_NETLINK), Protocol::from(NETLINK_XFRM));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(ANSWER_TIME))?;
        Ok(Xfrm {
            socket,
            sequence: 0,
            requests: 0,
            installed: BTreeMap::new(),
            used: BTreeMap::new(),
        })
    }

    /// Does what an agreement wants done.
    ///
    /// # Errors
    /// What the kernel says. `EPROTONOSUPPORT` is a kernel without ESP, `EPERM` a process
    /// without CAP_NET_ADMIN.
    pub fn perform(&mut self, change: &Change) -> io::Result<()> {
        match change {
            Change::Install(association) => self.install(association),
            Change::Delete(id) => self.delete(*id),
        }
    }

    fn install(&mut self, association: &Association) -> io::Result<()> {
        let way = Way::of(association);
        // An outgoing packet is told which association to use by this number; an incoming
        // one says itself by which it came.
        self.requests = self.requests % REQUESTS + 1;
        let request = if way.is_inbound { 0 } else { self.requests };
        self.ask(&message::new_association(association, request))?;
        let id = association.id();
        self.installed.insert(id, Installed { way });
        if let Err(error) = self.ask(&message::update_policy(&way, request)) {
            let _ = self.delete(id);
            return Err(error);
        }
        self.used.insert(way, id);
        Ok(())
    }

    /// Removes an association, and its policy unless a newer one has taken it over.
    fn delete(&mut self, id: AssociationId) -> io::Result<()> {
        let Some(Installed { way }) = self.installed.remove(&id) else {
            return Ok(());
        };
        let policy = match self.used.get(&way) {
            Some(user) if *user == id => {
                self.used.remove(&way);
                self.ask(&message::delete_policy(&way))
            }
            Some(_) | None => Ok(()),
        };
        // One whose time was over is gone already.
        match self.ask(&message::delete_association(id, way.from.ip())) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => policy,
            other => other.and(policy),
        }
    }

    /// Sends one request and hears whether it was done.
    fn ask(&mut self, request: &message::Message) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.framed(self.sequence);
        self.socket.send(&bytes)?;
        let mut buffer = Zeroizing::new([0; 8192]);
        loop {
            let len = self.socket.read(&mut buffer[..])?;
            match message::answer(&buffer[..len]) {
                Some((sequence, _)) if sequence != self.sequence => {} // Late, of an earlier one.
                Some((_, 0)) => return Ok(()),
                Some((_, code)) => return Err(io::Error::from_raw_os_error(-code)),
                None => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

impl Drop for Xfrm {
    /// Nothing outlives the process that could end it.
    fn drop(&mut self) {
        for id in self.installed.keys().copied().collect::<Vec<_>>() {
            let _ = self.delete(id);
        }
    }
}

impl Way {
    fn of(association: &Association) -> Self {
        Way {
            from: association.from,
            to: association.to,
            is_inbound: association.is_inbound,
        }
    }
}

const AF_NETLINK: i32 = libc::AF_NETLINK;
const NETLINK_XFRM: i32 = libc::NETLINK_XFRM;

/// The kernel answers at once.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Request numbers from here on are the kernel's own, `IPSEC_MANUAL_REQID_MAX`.
const REQUESTS: u32 = 0x3fff;

#[cfg(test)]
mod tests;
