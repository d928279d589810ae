//! The browser's end of W3: ICE and DTLS as values, each behind a door of ours.

pub mod dtls;
pub mod ice;
