//! What an operator may want to know, as values: the shell logs and records them.
//!
//! Nothing here prints a subscriber's identity or address.

use std::time::Duration;

use iq::{Leg, PayloadFormat, Private, SessionId, SessionReport, UnixTime};

use crate::auth::{AuthenticationFailure, FetchFailure, TokenRefusal};
use crate::guard::dial_plan::Barred;
use crate::id::{EndpointId, FlowId};
use crate::identity::PublicIdentity;
use crate::input::OpenFailure;
use crate::kept::Restored;
use crate::reach::{Hop, Standing};
use crate::sec_agree::SecurityFailure;

/// Something an operator would tell a colleague about.
#[derive(Clone, Debug)]
pub enum Event {
    /// A browser user is registered in the IMS; told once, not at each refresh.
    Registered {
        /// On which connection.
        flow: FlowId,
        /// Through which port towards the IMS.
        endpoint: EndpointId,
        /// Who.
        identity: PublicIdentity,
        /// For how long the core granted it.
        expires: Duration,
    },
    /// A log-in or a refresh did not work.
    RegistrationFailed {
        /// On which connection.
        flow: FlowId,
        /// Who it would have been, as far as it was understood.
        identity: Option<PublicIdentity>,
        /// What the browser was told.
        status: u16,
        /// Whose decision it was.
        reason: RegistrationFailure,
    },
    /// The box could not refresh a registration that it keeps; it tries again.
    RefreshFailed {
        /// The port towards the IMS.
        endpoint: EndpointId,
        /// Who.
        identity: PublicIdentity,
        /// What the core said, if it said anything.
        status: Option<u16>,
    },
    /// The core has lost what it knew of a user.
    CoreForgot {
        /// The port towards the IMS.
        endpoint: EndpointId,
        /// Who.
        identity: PublicIdentity,
        /// Whether the box registers him afresh; else his browser has to.
        is_kept: bool,
    },
    /// The peer of a trunk holds the box's registration.
    TrunkRegistered {
        /// What the settings call the trunk.
        tenant: String,
        /// For how long the peer granted it.
        expires: Duration,
    },
    /// A REGISTER to the peer of a trunk came to nothing; the box tries again.
    TrunkFailed {
        /// What the settings call the trunk.
        tenant: String,
        /// What the peer said, if it said anything.
        status: Option<u16>,
        /// When the next one follows.
        pause: Duration,
    },
    /// The peer of a trunk does not hold the box's registration any more.
    TrunkLost {
        /// What the settings call the trunk.
        tenant: String,
    },
    /// A registration is over.
    Deregistered {
        /// The port towards the IMS that it had.
        endpoint: EndpointId,
        /// Who.
        identity: PublicIdentity,
        /// Why.
        cause: DeregistrationCause,
    },
    /// A registered browser's WebSocket is gone; its registration and calls wait.
    FlowLost {
        /// The connection that was lost.
        flow: FlowId,
        /// The port towards the IMS that waits.
        endpoint: EndpointId,
        /// How long they wait.
        grace: Duration,
    },
    /// A browser came back on another connection to its registration and calls.
    FlowReattached {
        /// The new connection.
        flow: FlowId,
        /// The port towards the IMS that it got back.
        endpoint: EndpointId,
    },
    /// A connection was closed for what it did or did not do.
    FlowClosed {
        /// Which one.
        flow: FlowId,
        /// The close code it got.
        code: u16,
        /// Why, in words.
        reason: &'static str,
    },
    /// No port towards the IMS could be opened for a user.
    EndpointRefused {
        /// Which one.
        endpoint: EndpointId,
        /// Why.
        reason: OpenFailure,
    },
    /// A user is not registered because there are no IPsec associations with the P-CSCF.
    Insecure {
        /// His port towards the IMS.
        endpoint: EndpointId,
        /// Why.
        failure: SecurityFailure,
    },
    /// The next hop's name has no address.
    NextHopUnresolved,
    /// A server of the next hop stands otherwise than before: it does not answer any more,
    /// or it answers again.
    NextHopStands {
        /// Which server.
        hop: Hop,
        /// How it stands now.
        standing: Standing,
    },
    /// An identity provider does not answer, or nothing usable.
    ProviderSilent {
        /// The issuer's name.
        issuer: String,
        /// How many times in a row.
        times: u32,
        /// Why, if there was no answer at all.
        failure: Option<FetchFailure>,
    },
    /// A registered user's token is not good any more.
    TokenRevoked {
        /// What is wrong with it.
        refusal: TokenRefusal,
    },
    /// An INVITE for a new call was taken.
    CallStarted {
        /// The call.
        session: SessionId,
        /// The leg that the INVITE came on.
        from: Leg,
    },
    /// The called side rings.
    CallRinging {
        /// The call.
        session: SessionId,
    },
    /// The called side answered.
    CallAnswered {
        /// The call.
        session: SessionId,
    },
    /// A call is over, and this is its record.
    CallEnded(Box<CallRecord>),
    /// A browser dialled an emergency service.
    EmergencyCall {
        /// On which connection.
        flow: FlowId,
        /// Whether the call was taken; else the caller was told to use another way.
        is_taken: bool,
    },
    /// A new life of the control plane took up what the one before it left.
    Restored(Restored),
    /// Somebody tried what is not allowed, or sent what no honest peer sends.
    Security {
        /// Where it came from.
        origin: Origin,
        /// What it was.
        breach: Breach,
    },
}

/// Whose decision a failed registration was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RegistrationFailure {
    /// The core turned it away with this status.
    #[error("the core answered {0}")]
    Core(u16),
    /// No address of the next hop answered.
    #[error("the core does not answer")]
    CoreSilent,
    /// The next hop's name could not be resolved.
    #[error("the next hop's name has no address")]
    Unresolved,
    /// Every server of the next hop asked to be left alone for a while.
    #[error("the core is overloaded")]
    CoreBusy,
    /// The request does not make sense.
    #[error("the request is not a valid registration")]
    Invalid,
    /// The domain is not served here.
    #[error("the domain is not served here")]
    ForeignDomain,
    /// There is no access token where one is needed.
    #[error("no access token")]
    TokenMissing,
    /// The access token is not believed.
    #[error("{0}")]
    Token(TokenRefusal),
    /// The token's user is not whom he wants to register as.
    #[error("the token is for another identity")]
    ForeignIdentity,
    /// The core challenges a user for whom this box vouches.
    #[error(
        "the core refused trusted node authentication: it must take the box's word for its \
         users (TS 33.203 Annex U)"
    )]
    CoreDistrusts,
    /// The box is out of ports or registrations.
    #[error("out of capacity")]
    NoCapacity,
    /// Another connection's registration was asked for, and the core did not ask for proof.
    #[error("another connection's registration, without proof")]
    NotProven,
    /// There are no credentials that the box could answer the core with.
    #[error("{0}")]
    Credentials(AuthenticationFailure),
    /// The core does not take the credentials that are stored for the user.
    #[error("the core does not take the user's stored credentials")]
    Unproven,
    /// There are no IPsec associations with the P-CSCF.
    #[error("{0}")]
    Security(SecurityFailure),
    /// Who challenges does not know the key that user and network share.
    #[error("the challenge is not that of the user's network")]
    ForeignNetwork,
    /// The box is shutting down.
    #[error("shutting down")]
    Draining,
    /// Too many wrong passwords, or too many log-ins at once.
    #[error("too many attempts")]
    TooFast,
}

/// Why a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DeregistrationCause {
    /// The browser asked.
    #[error("the browser de-registered")]
    Browser,
    /// The browser did not refresh in time.
    #[error("not refreshed in time")]
    Expired,
    /// The browser did not come back in time.
    #[error("the browser did not come back")]
    GraceEnded,
    /// The user's token was revoked.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The administrator ended it.
    #[error("ended by the administrator")]
    Administrator,
    /// The core refused a refresh.
    #[error("the core refused the refresh")]
    Core,
    /// The network ended it by itself.
    #[error("ended by the network")]
    Network,
    /// After a restart its port towards the IMS was not to be had again.
    #[error("its port towards the IMS is taken")]
    PortLost,
    /// The box is shutting down.
    #[error("shutting down")]
    Shutdown,
}

/// Where something unwanted came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A browser's connection.
    Flow(FlowId),
    /// A port towards the IMS.
    Endpoint(EndpointId),
}

/// What somebody tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Breach {
    /// A message that does not parse.
    #[error("malformed message")]
    Malformed,
    /// A message from an address that is not the next hop's.
    #[error("message from an address that is not the next hop's")]
    UntrustedSource,
    /// A request on a connection that has no registration.
    #[error("request without a registration")]
    Unregistered,
    /// A request inside a dialog that belongs to somebody else.
    #[error("request inside a dialog of another user")]
    ForeignDialog,
    /// A registration for another connection's binding that the core did not verify.
    #[error("another connection's registration, without proof")]
    UnprovenReattachment,
    /// An identity that is not the user's own.
    #[error("identity that is not the user's own")]
    ForeignIdentity,
    /// A token that is another user's.
    #[error("token of another user")]
    ForeignToken,
    /// More than a limit allows.
    #[error("limit exceeded")]
    Flood,
    /// A call to a number that may not be called.
    #[error("a number that may not be called: {0}")]
    BarredNumber(Barred),
    /// More calls in a minute than a user may begin.
    #[error("too many calls in a minute")]
    CallRate,
    /// Passwords were guessed: log-ins from there wait for so many seconds.
    #[error("too many wrong passwords: log-ins from there wait {0} s")]
    WrongPasswords(u64),
}

/// The record of one call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call.
    pub session: SessionId,
    /// The leg that the INVITE came on.
    pub from: Leg,
    /// Who called.
    pub caller: Private<String>,
    /// Who was called.
    pub called: Private<String>,
    /// When the INVITE arrived, if the clock was set.
    pub started: Option<UnixTime>,
    /// From the INVITE to the first sign of ringing.
    pub ringing_after: Option<Duration>,
    /// From the INVITE to the answer.
    pub answered_after: Option<Duration>,
    /// From the INVITE to the end.
    pub ended_after: Duration,
    /// How it ended.
    pub cause: CallEnd,
    /// The codec of the audio line, if one was agreed.
    pub codec: Option<PayloadFormat>,
    /// What the media plane counted; `None` if it never reported.
    pub report: Option<Box<SessionReport>>,
    /// What the core's charging records have in common with this one, where the box is a
    /// part of the core.
    pub charging: Option<Charging>,
}

/// What joins the charging records of one call, RFC 7315 §4.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charging {
    /// The ICID.
    pub icid: String,
    /// The network that the call came from.
    pub orig_ioi: Option<String>,
    /// The network that answered.
    pub term_ioi: Option<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallEnd {
    /// Who ended it: a side, or the box itself.
    pub by: Option<Leg>,
    /// The final response to the INVITE, if it was not answered.
    pub status: Option<u16>,
    /// Why the box ended it, if it did.
    pub reason: Option<EndReason>,
}

/// Why the box itself ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EndReason {
    /// The browser's media path is gone.
    #[error("the browser's media is gone")]
    AccessMediaLost,
    /// The far end's media stopped.
    #[error("no media from the IMS")]
    ImsMediaLost,
    /// The registration that carried the call ended.
    #[error("the registration ended")]
    RegistrationEnded,
    /// A session timer ran out (RFC 4028 §10).
    #[error("session timer expired")]
    SessionExpired,
    /// The call reached its longest allowed time.
    #[error("longest call time reached")]
    DurationReached,
    /// An answer was not acknowledged (RFC 3261 §13.3.1.4).
    #[error("no ACK")]
    Unacknowledged,
    /// A side does not know the call any more, or does not answer.
    #[error("a side is gone")]
    DialogLost,
    /// A side broke the protocol.
    #[error("protocol error")]
    Protocol,
    /// The media plane refused.
    #[error("media plane refused")]
    Media,
    /// The media plane failed, and the call's media with it.
    #[error("media plane failed")]
    MediaFailed,
    /// The box is shutting down.
    #[error("shutting down")]
    Shutdown,
}
