//! Tests against a booted box. They know nothing of the program inside: they switch the box on,
//! read what it prints, look at its lamps, press its buttons, and use its network.
//!
//! [`target::Target`] is what a case sees, [`qemu`] the first of them: the same cases are for a rack
//! with real boards, whose power switch, serial line and camera would be another file beside it.

pub mod boot_variables;
pub mod cases;
pub mod console;
pub mod lamps;
pub mod network;
pub mod qemu;
pub mod shell;
pub mod target;
pub mod waveform;
