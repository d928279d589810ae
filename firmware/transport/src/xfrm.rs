//! IPsec associations in the kernel (XFRM over netlink, `linux/xfrm.h`): what
//! [`signaling::sec_agree`] agreed on is made and removed here. Each association brings the
//! policy that makes its traffic use it: what leaves one of its sockets otherwise than
//! protected does not leave, and what arrives unprotected is dropped (TS 33.203 §7.1).
//! Needs CAP_NET_ADMIN.

mod dump;
mod message;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use signaling::EndpointId;
use signaling::sec_agree::{Association, AssociationId, Associations};
use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

/// The kernel's table, as far as it is ours.
#[derive(Debug)]
pub struct Xfrm {
    socket: Socket,
    sequence: u32,
    requests: u32,
    sets: BTreeMap<EndpointId, Vec<AssociationId>>,
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
    request: u32,
}

impl Xfrm {
    /// Opens the way to the kernel.
    ///
    /// # Errors
    /// If the kernel has no XFRM.
    pub fn open() -> io::Result<Self> {
        let (domain, protocol) = (Domain::from(AF_NETLINK), Protocol::from(NETLINK_XFRM));
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(ANSWER_TIME))?;
        Ok(Xfrm {
            socket,
            sequence: 0,
            requests: 0,
            sets: BTreeMap::new(),
            installed: BTreeMap::new(),
            used: BTreeMap::new(),
        })
    }

    /// Removes what an earlier life of this program left: associations and policies of one
    /// of these addresses that bear the program's mark. Returns how many there were.
    ///
    /// # Errors
    /// What the kernel says; `EPERM` to a process without CAP_NET_ADMIN.
    pub fn clean(&mut self, own: &[IpAddr]) -> io::Result<usize> {
        let mut left = self.dump(&message::all_associations())?;
        left.extend(self.dump(&message::all_policies())?);
        let left: Vec<_> = left
            .iter()
            .filter_map(|found| dump::removal(found, own))
            .collect();
        for removal in &left {
            match self.ask(removal) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(left.len())
    }

    /// Makes the four associations of a client port; none is left if one cannot be made.
    ///
    /// # Errors
    /// What the kernel says. `EPROTONOSUPPORT` is a kernel without ESP, `EPERM` a process
    /// without CAP_NET_ADMIN.
    pub fn install(&mut self, set: &Associations) -> io::Result<()> {
        for association in &set.ways {
            if let Err(error) = self.install_one(set.client, association) {
                let _ = self.delete(set.client);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets associations last as long as they say now.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn extend(&mut self, set: &Associations) -> io::Result<()> {
        for association in &set.ways {
            let installed = self.installed.get(&association.id());
            let request = installed.map(|it| it.request);
            let request = request.ok_or(io::ErrorKind::NotFound)?;
            self.ask(&message::update_association(association, request))?;
        }
        Ok(())
    }

    /// Removes the associations of a client port.
    ///
    /// # Errors
    /// What the kernel says; all four are tried.
    pub fn delete(&mut self, client: EndpointId) -> io::Result<()> {
        let ids = self.sets.remove(&client).unwrap_or_default();
        let deleted = ids.into_iter().map(|id| self.delete_one(id));
        deleted.fold(Ok(()), io::Result::and)
    }

    fn install_one(&mut self, client: EndpointId, association: &Association) -> io::Result<()> {
        let way = Way::of(association);
        // An outgoing packet is told which association to use by this number; an incoming
        // one says itself by which it came.
        self.requests = self.requests % REQUESTS + 1;
        let request = MARK | if way.is_inbound { 0 } else { self.requests };
        self.ask(&message::new_association(association, request))?;
        let id = association.id();
        self.installed.insert(id, Installed { way, request });
        self.sets.entry(client).or_default().push(id);
        self.ask(&message::update_policy(&way, request))?;
        self.used.insert(way, id);
        Ok(())
    }

    /// Removes an association, and its policy unless a newer one has taken it over. What
    /// leaves by itself afterwards, like the end of a TCP connection, is held back for a
    /// while: it would be in the open.
    fn delete_one(&mut self, id: AssociationId) -> io::Result<()> {
        let Some(Installed { way, .. }) = self.installed.remove(&id) else {
            return Ok(());
        };
        let is_last = self.used.get(&way) == Some(&id);
        let policy = match (is_last, way.is_inbound) {
            (false, _) => Ok(()),
            (true, true) => self.ask(&message::delete_policy(&way)),
            (true, false) => self.ask(&message::block(&way, HELD_BACK)),
        };
        if is_last {
            self.used.remove(&way);
        }
        // One whose time was over is gone already.
        match self.ask(&message::delete_association(id, way.from.ip())) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => policy,
            other => other.and(policy),
        }
    }

    /// All that the kernel has of a kind, without the netlink headers.
    fn dump(&mut self, request: &message::Message) -> io::Result<Vec<dump::Found>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request.framed(self.sequence))?;
        let mut found = Vec::new();
        let mut buffer = Zeroizing::new(vec![0; DUMP_BUFFER]);
        loop {
            let len = self.socket.read(&mut buffer[..])?;
            match dump::read(&buffer[..len], self.sequence, &mut found) {
                dump::Part::More => {}
                dump::Part::Last => return Ok(found),
                dump::Part::Failed(code) => return Err(io::Error::from_raw_os_error(-code)),
            }
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
        for client in self.sets.keys().copied().collect::<Vec<_>>() {
            let _ = self.delete(client);
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

/// What associations of this program are known by: the upper half of their request numbers.
/// The lower half tells those of outgoing packets apart.
const MARK: u32 = 0x4748_0000;
const REQUESTS: u32 = 0xffff;

/// How long nothing leaves by itself from a socket whose associations are gone.
const HELD_BACK: Duration = Duration::from_secs(60);

/// More than the kernel puts into one message of a list.
const DUMP_BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests;
