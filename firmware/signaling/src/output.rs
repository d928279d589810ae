//! Everything that comes out of [`Signaling`](crate::Signaling).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use iq::Private;

use crate::auth::{AuthenticationId, FetchId, FetchRequest, TokenRefusal, digest};
use crate::config::TenantId;
use crate::event::Event;
use crate::id::{EndpointId, FlowId, QueryId, SipTransport, TicketId};
use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::kept::{RecordKey, WriteId};
use crate::reach::Question;
use crate::sec_agree::Associations;

/// What a page gets for its user's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Good once, and for a minute.
    pub ticket: Private<String>,
    /// The identity to register as. None if only wildcarded ones are the user's, or none of a
    /// domain whose users log in with this token.
    pub address: Option<PublicIdentity>,
    /// All his identities, but for wildcarded ones; the first is the default.
    pub identities: Vec<PublicIdentity>,
    /// How long a lent identity stays his if he does not register it.
    pub lent_for: Option<Duration>,
}

/// One thing that the shell shall do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send one WebSocket message.
    ToFlow {
        /// On which connection.
        flow: FlowId,
        /// The whole message.
        bytes: Bytes,
    },
    /// Close a WebSocket; [`Input::FlowClosed`](crate::Input::FlowClosed) need not follow.
    CloseFlow {
        /// Which one.
        flow: FlowId,
        /// The close code, RFC 6455 §7.4.
        code: u16,
        /// What a developer reads in the browser's console.
        reason: &'static str,
    },
    /// Open a port number towards the IMS, for UDP and for the stream transports; answered
    /// by `Opened` or `OpenFailed`.
    Open {
        /// Its name from now on.
        endpoint: EndpointId,
        /// In whose network.
        tenant: TenantId,
        /// Which port number.
        kind: EndpointKind,
    },
    /// Close an endpoint after what is queued on it was sent.
    Close {
        /// Which one.
        endpoint: EndpointId,
    },
    /// Make four IPsec associations, and let their two protected endpoints talk by them;
    /// answered by `SaInstalled`.
    InstallSa(Box<Associations>),
    /// Let associations that stand last as long as they say now.
    ExtendSa(Box<Associations>),
    /// Remove the associations of a client port; what would go by them is lost. Closing the
    /// endpoint itself does the same.
    DeleteSa {
        /// The client port.
        client: EndpointId,
    },
    /// Send one SIP message towards the IMS.
    Transmit {
        /// From which port number.
        endpoint: EndpointId,
        /// By which transport; a stream is connected if there is none yet.
        transport: SipTransport,
        /// To whom.
        to: SocketAddr,
        /// The whole message.
        bytes: Bytes,
    },
    /// Ask the name service; answered by `Resolved`.
    Resolve {
        /// The question's name.
        query: QueryId,
        /// In whose network.
        tenant: TenantId,
        /// The question.
        question: Question,
    },
    /// Answer a challenge of the core with what is stored for a user; answered by
    /// `Authenticated`.
    Authenticate {
        /// The question's name.
        id: AuthenticationId,
        /// Whose credentials.
        user: PrivateIdentity,
        /// What shall be answered.
        question: Box<digest::Question>,
    },
    /// Keep a record over a restart, or forget it; answered by `Stored` when it is safe.
    /// Wishes for one record are carried out in their order.
    Store {
        /// The wish's name.
        write: WriteId,
        /// Which record.
        key: RecordKey,
        /// What it says; none removes it.
        value: Option<Bytes>,
    },
    /// Ask an identity provider; answered by `Fetched`.
    Fetch {
        /// The question's name.
        query: FetchId,
        /// The question.
        request: FetchRequest,
    },
    /// Give a page its ticket, or say why it gets none.
    Ticket {
        /// Which question is answered.
        ticket: TicketId,
        /// The ticket, and who he is.
        result: Result<Session, TokenRefusal>,
    },
    /// Tell the media plane something.
    Iq(iq::Command),
    /// Log it or record it.
    Event(Event),
    /// Nothing is left, the shell may stop: some time after `Deregister`, or after `Drain`
    /// when the last call has ended and everybody is de-registered.
    Idle,
}

/// Which port number an endpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointKind {
    /// One of its own out of the tenant's range. A number that was closed should be used
    /// again as late as possible: cores tell users apart by it.
    Own,
    /// The one of its own that it had in an earlier life of the box; no other will do.
    Again {
        /// The number.
        port: u16,
    },
    /// One of its own, which talks by IPsec associations only: before there are any, and
    /// with anybody else, it says and hears nothing.
    Protected,
    /// This one, which all users of the tenant share.
    Shared {
        /// The number.
        port: u16,
    },
}
