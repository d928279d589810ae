//! Everything that can go into [`Signaling`](crate::Signaling).

use std::net::SocketAddr;

use bytes::Bytes;
use iq::Private;

use crate::auth::digest::Answer;
use crate::auth::{AuthenticationFailure, AuthenticationId, FetchFailure, FetchId, Fetched, Token};
use crate::guard::Pressure;
use crate::id::{EndpointId, FlowId, QueryId, SipTransport, TicketId};
use crate::identity::PublicIdentity;
use crate::kept::WriteId;
use crate::reach::Resolution;

/// One thing that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A WebSocket with the subprotocol `sip` is open.
    FlowOpened {
        /// Its name from now on.
        flow: FlowId,
        /// Who connected.
        remote: Private<SocketAddr>,
        /// Whether it came by TLS.
        is_secure: bool,
    },
    /// One WebSocket message, text or binary.
    FlowMessage {
        /// The connection it came on.
        flow: FlowId,
        /// The whole message.
        bytes: Bytes,
    },
    /// The WebSocket is gone, whoever ended it.
    FlowClosed {
        /// Which one.
        flow: FlowId,
    },
    /// Answers [`Output::Open`](crate::Output::Open): the endpoint is up.
    Opened {
        /// Which one.
        endpoint: EndpointId,
        /// The address and port that the IMS sees.
        local: SocketAddr,
    },
    /// Answers [`Output::Open`](crate::Output::Open): there will be no endpoint.
    OpenFailed {
        /// Which one.
        endpoint: EndpointId,
        /// Why.
        reason: OpenFailure,
    },
    /// One datagram, or one framed message of a stream.
    ImsMessage {
        /// Where it arrived.
        endpoint: EndpointId,
        /// On which transport.
        transport: SipTransport,
        /// Who sent it.
        from: SocketAddr,
        /// The whole message.
        bytes: Bytes,
    },
    /// What was sent could not be delivered: refused, unreachable, or a connection
    /// that closed with bytes pending.
    ImsTransportFailed {
        /// Where it was sent from.
        endpoint: EndpointId,
        /// On which transport.
        transport: SipTransport,
        /// Where it should have gone.
        to: SocketAddr,
    },
    /// Answers [`Output::Resolve`](crate::Output::Resolve).
    Resolved {
        /// Which question.
        query: QueryId,
        /// What the name service says.
        resolution: Resolution,
    },
    /// Answers [`Output::Authenticate`](crate::Output::Authenticate).
    Authenticated {
        /// Which question.
        id: AuthenticationId,
        /// What goes into the request, or why there is nothing.
        answer: Result<Box<Answer>, AuthenticationFailure>,
    },
    /// Answers [`Output::InstallSa`](crate::Output::InstallSa).
    SaInstalled {
        /// The client port.
        client: EndpointId,
        /// Whether all four stand; none does if not.
        result: Result<(), SaFailure>,
    },
    /// The box is shorter of time than before, or less short.
    Pressure(Pressure),
    /// Answers [`Output::Store`](crate::Output::Store): the record is safe, or it is given
    /// up that it ever will be; whoever waits for it goes on.
    Stored {
        /// Which wish.
        write: WriteId,
    },
    /// The store was lost and can be written to again: everything is to be kept anew.
    KeepAgain,
    /// A WebSocket that is just open brought an access token in its handshake.
    FlowToken {
        /// Which one.
        flow: FlowId,
        /// The token.
        token: Token,
    },
    /// A WebSocket that is just open brought a ticket in its URL.
    FlowTicket {
        /// Which one.
        flow: FlowId,
        /// The ticket.
        ticket: Private<String>,
    },
    /// A page wants a ticket for its token; answered by
    /// [`Output::Ticket`](crate::Output::Ticket).
    TicketWanted {
        /// The question's name.
        ticket: TicketId,
        /// Its token.
        token: Token,
    },
    /// Answers [`Output::Fetch`](crate::Output::Fetch).
    Fetched {
        /// Which question.
        query: FetchId,
        /// What came, or why nothing did.
        result: Result<Fetched, FetchFailure>,
    },
    /// The administrator ends every registration of a user.
    EndRegistrations {
        /// Whose.
        identity: PublicIdentity,
    },
    /// The media plane answers or reports.
    Iq(iq::Reply),
    /// Take no new calls and let calls end; then everybody is de-registered and
    /// [`Output::Idle`](crate::Output::Idle) follows. `Deregister` cuts it short.
    Drain,
    /// End what is left and de-register everybody; [`Output::Idle`](crate::Output::Idle) follows.
    Deregister,
}

/// Why an endpoint could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenFailure {
    /// Every port of the configured range is taken.
    #[error("out of SIP ports towards the IMS")]
    NoPorts,
    /// The system refused.
    #[error("the operating system refused the socket")]
    Refused,
}

/// Why IPsec associations could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SaFailure {
    /// The process may not.
    #[error("the process may not make IPsec associations: it needs CAP_NET_ADMIN")]
    Forbidden,
    /// The kernel cannot.
    #[error("the kernel has no ESP, or not the algorithm (CONFIG_INET_ESP, cbc(aes), hmac(sha1))")]
    Unsupported,
    /// The kernel would not.
    #[error("the kernel refused the IPsec association")]
    Refused,
}
