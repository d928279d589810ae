//! One target for each parser that faces a network: a function that takes any bytes and
//! must not panic. The program around them is described in README.md.

mod media_edge;
mod rtp_rtcp;
mod sdp;
mod sip;
mod targets;
mod taste;
mod websocket_upgrade;
mod xml;

pub use media_edge::{dtls_edge, stun};
pub use rtp_rtcp::rtp_rtcp;
pub use sdp::sdp;
pub use sip::sip;
pub use targets::{TARGETS, Target, home};
pub use taste::{Tally, taste};
pub use websocket_upgrade::websocket_upgrade;
pub use xml::xml;
