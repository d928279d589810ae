//! What the appliance's front panel says and what its button means, when the watchdog is
//! fed and when heat costs calls: values that are fed levels and time and drained of
//! decisions. Which pin or file it is, is decided in the crate `board`.
//!
//! Time is a [`core::time::Duration`] since any fixed moment, the same for all calls.
//! Nothing here allocates, reads a clock or knows an operating system.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod button;
pub mod condition;
pub mod led;
pub mod light;
pub mod panel;
pub mod thermal;
pub mod watchdog;
