//! Why a datagram was thrown away.

use crate::packet::Malformed;
use crate::rewrite::Unwanted;
use crate::srtp::{OpenError, SealError};

/// The reason for which a datagram went no further; each is counted under its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Discard {
    /// The first octet belongs to nothing that is spoken here (RFC 7983).
    #[error("not STUN, DTLS, RTP or RTCP")]
    UnknownProtocol,
    /// Shorter than its protocol's header, or its lengths contradict each other.
    #[error("malformed packet")]
    Malformed,
    /// The port pair belongs to no session.
    #[error("no session on this port")]
    NoSession,
    /// From an address that ICE has not validated (RFC 8445), or with a user name
    /// fragment that is not ours.
    #[error("source not validated by ICE")]
    UnvalidatedSource,
    /// Not from the address that the IMS side's description gave.
    #[error("not the agreed source address")]
    WrongSource,
    /// A connectivity check whose MESSAGE-INTEGRITY or FINGERPRINT is wrong.
    #[error("connectivity check does not verify")]
    BadCheck,
    /// More connectivity checks or handshake records than a batch may cost.
    #[error("over the handshake budget")]
    OverBudget,
    /// Nobody can take DTLS now: the role is not known or the association is gone.
    #[error("no DTLS association")]
    NoAssociation,
    /// Media before the keys, or before the certificate was verified.
    #[error("no verified SRTP keys")]
    NoKeys,
    /// The authentication tag is wrong.
    #[error("SRTP authentication failed")]
    BadTag,
    /// Seen before, or too old to tell (RFC 3711 §3.3.2).
    #[error("replayed")]
    Replayed,
    /// More synchronisation sources than a session may have.
    #[error("too many sources")]
    TooManySources,
    /// A payload type that was not negotiated.
    #[error("payload type not negotiated")]
    UnknownPayload,
    /// The direction that signalling agreed does not let it pass.
    #[error("direction is closed")]
    NotFlowing,
    /// There is no address to send it to yet, or consent to send there expired (RFC 7675).
    #[error("nowhere to send")]
    NoDestination,
    /// A second copy, on a leg without SRTP.
    #[error("duplicate packet")]
    Duplicate,
    /// Of a source that has just been replaced, or far off the running sequence.
    #[error("stray packet of another source")]
    StraySource,
    /// A key press is being played in its place (RFC 4733).
    #[error("replaced by a key press")]
    ReplacedByDtmf,
    /// The keys of the other leg may not protect any further packet (RFC 3711 §9.2).
    #[error("SRTP keys are used up")]
    KeysUsedUp,
    /// More packets than audio can be.
    #[error("too many packets a second")]
    OverRate,
    /// RTCP on a leg where none is spoken.
    #[error("RTCP is off")]
    RtcpOff,
}

impl Discard {
    /// Every reason, in order.
    pub const ALL: [Discard; 21] = [
        Discard::UnknownProtocol,
        Discard::Malformed,
        Discard::NoSession,
        Discard::UnvalidatedSource,
        Discard::WrongSource,
        Discard::BadCheck,
        Discard::OverBudget,
        Discard::NoAssociation,
        Discard::NoKeys,
        Discard::BadTag,
        Discard::Replayed,
        Discard::TooManySources,
        Discard::UnknownPayload,
        Discard::NotFlowing,
        Discard::NoDestination,
        Discard::Duplicate,
        Discard::StraySource,
        Discard::ReplacedByDtmf,
        Discard::KeysUsedUp,
        Discard::OverRate,
        Discard::RtcpOff,
    ];
}

impl From<OpenError> for Discard {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Malformed => Discard::Malformed,
            OpenError::Unauthentic => Discard::BadTag,
            OpenError::Replayed => Discard::Replayed,
            OpenError::TooManySources => Discard::TooManySources,
        }
    }
}

impl From<SealError> for Discard {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Malformed => Discard::Malformed,
            SealError::IndexUsed => Discard::KeysUsedUp,
            SealError::TooManySources => Discard::TooManySources,
        }
    }
}

impl From<Malformed> for Discard {
    fn from(_: Malformed) -> Self {
        Discard::Malformed
    }
}

impl From<Unwanted> for Discard {
    fn from(unwanted: Unwanted) -> Self {
        match unwanted {
            Unwanted::Duplicate => Discard::Duplicate,
            Unwanted::Stray => Discard::StraySource,
        }
    }
}
