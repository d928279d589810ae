//! One target per parser that faces a network.

mod media_edge;
mod sdp;

pub use media_edge::{dtls_edge, stun};
pub use sdp::sdp;
