//! Questions to the name service and what it answers: NAPTR (RFC 3403), SRV (RFC 2782),
//! A and AAAA (RFC 1035, RFC 3596).

use std::net::IpAddr;
use std::time::Duration;

use crate::config::HostName;

/// One question: records of a kind that a name has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Whose records.
    pub name: HostName,
    /// Which of them.
    pub kind: RecordKind,
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// Which transports a domain has, RFC 3263 §4.1.
    Naptr,
    /// The hosts of a service, RFC 2782.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// What the name service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// There are such records.
    Found {
        /// At least one.
        records: Records,
        /// How long they are good: the shortest of theirs.
        ttl: Duration,
    },
    /// It knows that there are none, RFC 2308.
    Nothing {
        /// How long that is good.
        ttl: Duration,
    },
    /// It does not answer, or not with an answer.
    Failed,
}

/// Records of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Answers [`RecordKind::Naptr`].
    Naptr(Vec<Naptr>),
    /// Answers [`RecordKind::Srv`].
    Srv(Vec<Srv>),
    /// Answers [`RecordKind::A`] and [`RecordKind::Aaaa`].
    Addresses(Vec<IpAddr>),
}

/// One NAPTR record without a regular expression: SIP uses none (RFC 3263 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lowest first; higher ones are not looked at once one could be used.
    pub order: u16,
    /// Lowest first within an order.
    pub preference: u16,
    /// `s`: look up SRV records next; `a`: addresses.
    pub flags: String,
    /// Like `SIP+D2U`.
    pub service: String,
    /// The name to look up next.
    pub replacement: HostName,
}

/// One SRV record; one that says that there is no such service (target ".") is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lowest first.
    pub priority: u16,
    /// Share among those of a priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: HostName,
}
