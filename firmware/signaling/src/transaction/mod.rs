//! Transactions, RFC 3261 §17 with RFC 6026.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::id::{EndpointId, FlowId, SipTransport};
use crate::message::{Message, Request, Response};

/// The other end of a hop, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A browser on its WebSocket; reliable.
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
pub struct ClientTransactionId(u64);

/// Names a request that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTransactionId(u64);

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
    /// A new request. An INVITE gets a 100 by itself if no answer comes in 200 ms.
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

/// All transactions.
#[derive(Debug, Default)]
pub struct Transactions {}

impl Transactions {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Transactions::default()
    }

    /// Takes a message from a peer.
    pub fn handle_message(&mut self, _peer: Peer, _message: Message, _now: Instant) {
        todo!()
    }

    /// Sends a request other than ACK. Its topmost Via has a fresh branch.
    pub fn send_request(
        &mut self,
        _peer: Peer,
        _request: Request,
        _now: Instant,
    ) -> ClientTransactionId {
        todo!()
    }

    /// Cancels an INVITE: at once, or as soon as a provisional response allows it
    /// (RFC 3261 §9.1). The INVITE still gets its final response.
    pub fn cancel(&mut self, _id: ClientTransactionId, _now: Instant) {
        todo!()
    }

    /// Answers a request; may be called again for more 1xx, and for 2xx copies.
    pub fn respond(&mut self, _id: ServerTransactionId, _response: Response, _now: Instant) {
        todo!()
    }

    /// The flow is gone, or the peer refused.
    pub fn handle_transport_failure(&mut self, _peer: &Peer, _now: Instant) {
        todo!()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// When [`Transactions::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
}
