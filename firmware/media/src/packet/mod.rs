//! Views on the bytes of a datagram.

pub mod buffer;
pub mod stun;
