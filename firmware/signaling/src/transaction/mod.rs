//! Transactions, RFC 3261 §17 with the corrections of RFC 6026: copies are absorbed
//! or repeated here, and nobody above sees a message twice, but for 2xx to INVITE,
//! which belong to the dialogs (RFC 3261 §13.3.1.4).
//!
//! The four machines are files of their own; [`Transactions`] is their table. A
//! WebSocket is reliable (RFC 7118 §5).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::id::{EndpointId, FlowId, SipTransport};
use crate::message::{Request, Response};

mod entry;
mod invite_client;
mod invite_server;
mod key;
mod non_invite_client;
mod non_invite_server;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transitions;

pub use table::{Limits, Transactions};

/// The other end of a hop, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A browser on its WebSocket.
    Flow(FlowId),
    /// Someone on the IMS side.
    Ims {
        /// Our port.
        endpoint: EndpointId,
        /// The transport.
        transport: SipTransport,
        /// Its address.
        remote: SocketAddr,
    },
}

impl Peer {
    /// Whether nothing sent to it is ever lost.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        match self {
            Peer::Flow(_) => true,
            Peer::Ims { transport, .. } => transport.is_reliable(),
        }
    }
}

/// Names a request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTransactionId(pub(crate) u64);

/// Names a request that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTransactionId(pub(crate) u64);

/// Why a request will get no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered in time; as a 408.
    TimedOut,
    /// It could not be sent, or the flow is gone; as a 503.
    Transport,
    /// Too many transactions are open; nothing was sent.
    Overloaded,
}

/// What the transactions want done, and tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// To whom.
        peer: Peer,
        /// One message.
        bytes: Bytes,
    },
    /// A new request. Its topmost Via says where it really came from. An INVITE gets a
    /// 100 by itself if no answer comes in 200 ms.
    Request {
        /// To be answered under this name.
        transaction: ServerTransactionId,
        /// From whom.
        peer: Peer,
        /// The request.
        request: Request,
    },
    /// An ACK to a 2xx.
    Ack {
        /// From whom.
        peer: Peer,
        /// The ACK.
        request: Request,
    },
    /// A CANCEL came for an INVITE that has no final answer yet. It has been answered;
    /// the INVITE waits for its 487.
    Cancelled {
        /// The INVITE.
        invite: ServerTransactionId,
        /// The CANCEL.
        request: Request,
    },
    /// A response: every 1xx and every 2xx, and one other final one.
    Response {
        /// To which request.
        transaction: ClientTransactionId,
        /// The response.
        response: Response,
    },
    /// A response to nothing that is known.
    StrayResponse {
        /// From whom.
        peer: Peer,
        /// The response.
        response: Response,
    },
    /// No (further) response will come.
    Failed {
        /// To which request.
        transaction: ClientTransactionId,
        /// Why.
        failure: Failure,
    },
    /// A failure response to an INVITE was never acknowledged (Timer H).
    Unacknowledged {
        /// The INVITE.
        transaction: ServerTransactionId,
    },
    /// The request is forgotten; it cannot be answered any more.
    Ended {
        /// Which.
        transaction: ServerTransactionId,
    },
}

/// What one machine wants done; the table knows for whom.
#[derive(Debug, PartialEq)]
enum Action {
    /// Send these bytes to the peer.
    Transmit(Bytes),
    /// Pass a response to the user of the transaction.
    Deliver(Box<Response>),
    /// Tell the user that no response will come.
    Fail(Failure),
    /// Tell the user that no ACK came.
    Unacknowledged,
}

/// Estimate of the round trip, RFC 3261 §17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);

/// Longest pause between copies of a non-INVITE request or of a final response, RFC
/// 3261 §17.1.2.2.
pub const T2: Duration = Duration::from_secs(4);

/// Longest life of a message in the network, RFC 3261 §17.1.2.2.
pub const T4: Duration = Duration::from_secs(5);

/// How long anything is tried: Timers B, F, H, J, L, M. RFC 3261 §17, RFC 6026 §7.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(32);
