//! The words that signaling and media share, named after the reference point
//! between the two boxes of the standard (TS 23.334).
//!
//! Every value here is plain and serialisable, so the same words run in one
//! process, over a Unix socket to a media process, or to another box. A command
//! carries the whole wanted state and may be repeated: doing it twice is doing
//! it once.

mod command;
mod counters;
mod id;
mod private;
mod reply;
mod time;

pub use command::{
    AccessRemote, Command, Configure, DtlsRole, Fingerprint, FingerprintHash, Flow, IceCredentials,
    ImsRemote, Line, LineIndex, Payload, PayloadFormat, PayloadNumbers, Reserve, SendDtmf,
};
pub use counters::{Countable, Figure};
pub use id::{Leg, SessionId};
pub use private::Private;
pub use reply::{
    AccessLoss, AccessTransport, Connected, DirectionReport, DtmfReceived, ImsAddress, LegReport,
    Refusal, Reply, Reserved, SessionReport, SrtpProfile,
};
pub use time::{Now, UnixTime};
