//! The control plane as a whole, by hand-written scripts of browsers and a P-CSCF.

#![allow(clippy::unwrap_used, dead_code)]

mod boundary;
mod registration;
mod world;
