//! What media answers and reports.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, IceCredentials, Leg, LineIndex, Private, SessionId};

/// An answer or a report of the user plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The transports asked for by `Reserve` or `RestartIce`.
    Reserved(Reserved),
    /// `Reserve` or `Configure` could not be done; a refused session does not exist.
    Refused {
        /// Which session.
        session: SessionId,
        /// Why.
        reason: Refusal,
    },
    /// The session is gone, and this is how it went.
    Released {
        /// Which session.
        session: SessionId,
        /// Its figures.
        report: Box<SessionReport>,
    },
    /// Every session that is held, in order.
    Audited {
        /// Their names.
        sessions: Vec<SessionId>,
    },
    /// ICE and DTLS with the browser are up and its certificate is the one promised.
    Connected(Connected),
    /// The browser's media transport is gone. The session waits for a restart or
    /// for its release.
    AccessLost {
        /// Which session.
        session: SessionId,
        /// How it was noticed.
        loss: AccessLoss,
    },
    /// Neither RTP nor RTCP came from the IMS side although it should.
    ImsSilent {
        /// Which session.
        session: SessionId,
        /// Which media line.
        line: LineIndex,
        /// For how long by now.
        silent_for: Duration,
    },
    /// The first RTP packet that passed all checks on a leg.
    FirstMedia {
        /// Which session.
        session: SessionId,
        /// Which leg it arrived on.
        leg: Leg,
    },
    /// A key was pressed on a leg (RFC 4733); reported once per event.
    DtmfReceived(DtmfReceived),
}

/// Transports set aside for a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// Which session.
    pub session: SessionId,
    /// The browser side.
    pub access: AccessTransport,
    /// The IMS side, one for each media line.
    pub ims: Vec<ImsAddress>,
}

/// The box's end of W3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTransport {
    /// Host candidates, best first; the box is ICE-lite.
    pub candidates: Vec<SocketAddr>,
    /// The box's ICE credentials.
    pub ice: IceCredentials,
    /// The box's certificate.
    pub fingerprint: Fingerprint,
}

/// The box's end of one media line on the IMS side: RTCP is on the next port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImsAddress {
    /// Where RTP is received.
    pub rtp: SocketAddr,
    /// Where RTCP is received.
    pub rtcp: SocketAddr,
}

/// Why a command could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No port pair is free on the IMS side.
    #[error("out of IMS media ports")]
    NoPorts,
    /// The configured number of sessions is reached.
    #[error("out of media capacity")]
    NoCapacity,
    /// The command names a session that is not held.
    #[error("no such media session")]
    UnknownSession,
    /// The command asks for something that this plane does not carry.
    #[error("not carried by this media plane")]
    Unsupported,
    /// The media plane is away.
    #[error("media plane unavailable")]
    Unavailable,
}

/// A browser transport that came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Which session.
    pub session: SessionId,
    /// The protection agreed.
    pub profile: SrtpProfile,
    /// From the first valid connectivity check to the end of the handshake.
    pub handshake: Duration,
}

/// DTLS-SRTP protection profiles, RFC 5764 §4.1.2 and RFC 7714 §14.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SrtpProfile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, 0x0001.
    Aes128CmSha1_80,
    /// `SRTP_AEAD_AES_128_GCM`, 0x0007.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`, 0x0008.
    AeadAes256Gcm,
}

/// How a browser's media transport ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum AccessLoss {
    /// No valid check was seen for the consent time (RFC 7675).
    #[error("consent expired")]
    ConsentExpired,
    /// No valid check was ever seen.
    #[error("ICE never connected")]
    IceTimeout,
    /// The handshake broke or took too long.
    #[error("DTLS handshake failed")]
    DtlsFailed,
    /// The certificate is not the one that signalling promised.
    #[error("DTLS fingerprint mismatch")]
    FingerprintMismatch,
    /// The browser closed the DTLS association.
    #[error("closed by the browser")]
    Closed,
}

/// A key press heard on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtmfReceived {
    /// Which session.
    pub session: SessionId,
    /// Where it came from.
    pub leg: Leg,
    /// Event code of RFC 4733.
    pub event: Private<u8>,
}

/// The figures of a finished session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The browser's leg.
    pub access: LegReport,
    /// The operator's leg.
    pub ims: LegReport,
    /// The protection of the browser's leg, if it came up.
    pub profile: Option<SrtpProfile>,
}

/// The figures of one leg, over all its media lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LegReport {
    /// What came from the peer.
    pub received: DirectionReport,
    /// What went to the peer; loss and jitter as the peer reported them.
    pub sent: DirectionReport,
    /// Round trip by RTCP (RFC 3550 §6.4.1), the last one measured.
    pub round_trip: Option<Duration>,
    /// Packets thrown away, whatever the reason.
    pub discarded: u64,
}

/// The figures of one direction of one leg.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DirectionReport {
    /// RTP packets.
    pub packets: u64,
    /// RTP payload octets.
    pub octets: u64,
    /// Packets missing by sequence number (RFC 3550 §A.3).
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), the last value.
    pub jitter: Duration,
}
