//! Tokens, good and evil, before the whole of this room.

#![allow(clippy::unwrap_used)]

mod evil;
mod issuers;
pub(crate) mod provider;
