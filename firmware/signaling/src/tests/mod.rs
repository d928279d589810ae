//! The control plane as a whole, by hand-written scripts of browsers and a P-CSCF.

#![allow(clippy::unwrap_used)]

mod boundary;
mod calls;
mod devices;
mod emergency;
mod gruu;
mod guarding;
mod ipsec;
mod lent;
mod mw;
mod mw_routes;
mod on_behalf;
mod reaching;
mod referral;
mod reg_event;
mod registration;
mod restart;
mod restart_proven;
mod restoration;
mod services;
mod tenants;
mod token_calls;
mod tokens;
mod trunk;
mod trunk_devices;
mod world;
