//! One target per parser that faces a network.

mod sdp;

pub use sdp::sdp;
