//! What signaling asks of media.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Leg, Private, SessionId};

/// A request of the control plane to the user plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Set aside a browser transport and IMS ports; answered by `Reserved` or `Refused`.
    Reserve(Reserve),
    /// Make the session look like this; may be repeated, and is always the whole state.
    Configure(Configure),
    /// Choose new ICE credentials for the browser side (RFC 8445 §9); answered by
    /// `Reserved` with the new ones. The old pair keeps working until the browser
    /// nominates a new one.
    RestartIce {
        /// Whose transport.
        session: SessionId,
    },
    /// Play one telephone-event (RFC 4733) on a leg.
    SendDtmf(SendDtmf),
    /// Let the session go; answered by `Released` with its figures.
    Release {
        /// Which one.
        session: SessionId,
    },
    /// List every session that is held; answered by `Audited`.
    Audit,
}

/// Asks for the transports of a new session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// The session they are for.
    pub session: SessionId,
    /// How many media lines get an IMS port pair, in order of their index.
    pub lines: u8,
    /// Whether several browsers are offered the same transport, of which one will answer
    /// (a fork, RFC 3261 §16): who they are is not known from our credentials then, so
    /// nobody is let in before `Configure` says whose answer counts.
    #[serde(default)]
    pub is_shared: bool,
}

/// The wanted state of a session's media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configure {
    /// Which session.
    pub session: SessionId,
    /// What the browser's description said; `None` until it is known. A changed
    /// fingerprint starts a new DTLS association, changed credentials an ICE restart.
    pub access: Option<AccessRemote>,
    /// The media lines that are carried. A line that is missing is stopped.
    pub lines: Vec<Line>,
}

/// The browser's end of W3, from its session description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRemote {
    /// Its ICE user name fragment and password.
    pub ice: IceCredentials,
    /// Its certificate must match one of the strongest hash given here; never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// The part that the box plays in the DTLS handshake.
    pub dtls_role: DtlsRole,
}

/// ICE credentials, RFC 8839 §5.4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// 4 to 256 characters.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub pwd: Private<String>,
}

/// A certificate's hash, RFC 8122 §5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Which hash.
    pub hash: FingerprintHash,
    /// Its bytes; 32, 48 or 64 of them.
    pub value: Vec<u8>,
}

/// Hash functions that are good enough for a fingerprint, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FingerprintHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The box's part in the DTLS handshake, RFC 8842.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DtlsRole {
    /// The browser starts (`a=setup:active` from it).
    Server,
    /// The box starts (`a=setup:passive` from it).
    Client,
}

/// Position of a media line, counted over the carried lines of a session.
pub type LineIndex = u8;

/// One media line across both legs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Which of the reserved lines.
    pub index: LineIndex,
    /// Every format that may pass, with its number on each leg. Others are dropped.
    pub payloads: Vec<Payload>,
    /// What may flow between the box and the browser.
    pub access: Flow,
    /// What may flow between the box and the far end on the IMS side.
    pub ims: Flow,
    /// Where the IMS side wants its packets, and the only place they may come from;
    /// `None` until its description is known.
    pub ims_remote: Option<ImsRemote>,
    /// Whether RTCP is spoken on the IMS side (`b=RS:0` with `b=RR:0` turns it off).
    pub ims_rtcp: bool,
}

/// A leg's direction as the box sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The box may send on this leg.
    pub send: bool,
    /// The box takes what arrives on this leg.
    pub receive: bool,
}

impl Flow {
    /// Both ways.
    pub const BOTH: Self = Flow {
        send: true,
        receive: true,
    };
    /// Neither way.
    pub const NONE: Self = Flow {
        send: false,
        receive: false,
    };
}

/// One format and its numbers on both legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// What the packets hold.
    pub format: PayloadFormat,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Numbers towards the browser.
    pub access: PayloadNumbers,
    /// Numbers towards the IMS.
    pub ims: PayloadNumbers,
}

/// What the packets of a payload type hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PayloadFormat {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// RFC 4733 events.
    TelephoneEvent,
}

/// Payload type numbers of one format on one leg; a leg may be asymmetric
/// (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadNumbers {
    /// The number in packets that arrive: the box's own description says it.
    pub receive: u8,
    /// The number in packets that leave: the peer's description says it.
    pub send: u8,
}

/// The far end of a media line on the IMS side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImsRemote {
    /// Where RTP goes and must come from.
    pub rtp: SocketAddr,
    /// Where RTCP goes and must come from.
    pub rtcp: SocketAddr,
}

/// Plays one event of RFC 4733.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDtmf {
    /// Which session.
    pub session: SessionId,
    /// The leg that shall hear it.
    pub leg: Leg,
    /// Event code, 0 to 15 for the keys 0-9 * # A-D.
    pub event: Private<u8>,
    /// How long the key is held.
    pub duration: Duration,
}
