//! The whole gateway in virtual time: both planes as they are, a played IMS core with
//! telephones, played browsers, links that lose and delay. A seed decides everything, so
//! a run can be had again to the byte, and a call is compared as a ladder.

mod browser;
mod ladder;
mod link;
mod world;

pub use browser::{Browser, CallState};
pub use ladder::Ladder;
pub use link::Link;
pub use world::World;
