//! The box as a case sees it.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::console::Console;
use crate::lamps::Change;

/// A box with a plug, a serial line, lamps, and a place in a network.
pub trait Target {
    /// Puts the plug in. What the box keeps is as it was when it was last pulled.
    ///
    /// # Errors
    /// If the box cannot be switched on.
    fn power_on(&mut self) -> anyhow::Result<()>;

    /// Pulls the plug: nothing is written any more, whatever the box was about to do.
    ///
    /// # Errors
    /// If the power cannot be cut.
    fn power_off(&mut self) -> anyhow::Result<()>;

    /// Resets the processor, as a watchdog does.
    ///
    /// # Errors
    /// If the reset line cannot be reached, or the box is off.
    fn reset(&mut self) -> anyhow::Result<()>;

    /// What the box prints on its serial line.
    ///
    /// # Errors
    /// If the box is off.
    fn console(&mut self) -> anyhow::Result<&mut Console>;

    /// Runs a command on the box, on images of the test flavour, and returns what it printed.
    ///
    /// # Errors
    /// If the box does not answer in time or the command fails.
    fn run(&mut self, command: &str, patience: Duration) -> anyhow::Result<String>;

    /// Where the box is in the tests' network.
    fn address(&self) -> Ipv4Addr;

    /// How the lamps have changed since the box was switched on.
    ///
    /// # Errors
    /// If nobody looks at the lamps.
    fn lamps(&self) -> anyhow::Result<Vec<Change>>;

    /// How much longer everything takes here than on a board.
    fn slowness(&self) -> u32;
}
