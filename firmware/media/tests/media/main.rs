//! Whole calls through the relays in virtual time, against a scripted browser that is
//! made of other people's ICE, DTLS and SRTP.

#![allow(clippy::unwrap_used)]

mod browser;
mod connecting;
mod relaying;
mod roaming;
mod sessions;
mod world;
