//! Session descriptions, RFC 8866, and the offer/answer model, RFC 3264.
//!
//! The box ends two independent SDP sessions, one on each leg, and generates what
//! it says on each from one small media model: no text of one leg is ever copied
//! to the other. [`parse()`] turns bytes into a [`Description`];
//! [`AccessDescription`] and [`ImsDescription`] are what the box needs to know of
//! it; [`AccessSide`] and [`ImsSide`] are the box's own end on each leg, with what
//! offer/answer obliges it to remember; [`lines`] joins both into what media is
//! told. Opus, video, text and data are answered with port 0 so far.

mod access;
mod access_side;
mod codecs;
mod error;
mod ims;
mod ims_side;
mod interwork;
mod model;
mod multipart;
mod parse;
mod precondition;
mod side;
mod slot;
mod write;

pub use access::{AccessAudio, AccessDescription, Setup};
pub use access_side::AccessSide;
pub use codecs::{CodecPolicy, Format, common, single};
pub use error::SdpError;
pub use ims::{ImsAudio, ImsDescription};
pub use ims_side::ImsSide;
pub use interwork::{Agreed, AgreedFormat, Audio, Changes, answer_direction, lines};
pub use model::{Attribute, Bandwidth, Description, Direction, Host, Media, MediaKind};
pub use multipart::session_description;
pub use parse::parse;
pub use precondition::{PreconditionUse, Preconditions};
pub use side::Side;
pub use slot::SlotLine;
pub use write::Origin;

/// Whether a description opens a negotiation or closes it, RFC 3264 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first half.
    Offer,
    /// The second half.
    Answer,
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
