//! Names of flows, endpoints and name look-ups, and the transports of SIP.

use serde::{Deserialize, Serialize};

/// One WebSocket connection (RFC 5626 §3.1 calls it a flow). The shell gives the
/// number and never uses it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// One local port number towards the IMS: UDP, and TCP or TLS from and to the
/// same number. Signaling gives the id and never uses it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u64);

/// One question to the name service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// One page that wants a ticket for its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// How SIP is carried towards the IMS, RFC 3261 §18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SipTransport {
    /// One message a datagram.
    Udp,
    /// A stream, framed by Content-Length.
    Tcp,
    /// The same stream inside TLS.
    Tls,
}

impl SipTransport {
    /// The transport's token in a Via header, RFC 3261 §25.1.
    #[must_use]
    pub const fn via_token(self) -> &'static str {
        match self {
            SipTransport::Udp => "UDP",
            SipTransport::Tcp => "TCP",
            SipTransport::Tls => "TLS",
        }
    }

    /// Whether the transport delivers in order or says that it failed.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, SipTransport::Udp)
    }
}
