//! One target per parser that faces a network.

mod media_edge;
mod rtp_rtcp;
mod sdp;
mod websocket_upgrade;

pub use media_edge::{dtls_edge, stun};
pub use rtp_rtcp::rtp_rtcp;
pub use sdp::sdp;
pub use websocket_upgrade::websocket_upgrade;
