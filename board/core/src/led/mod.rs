//! The LED language: four lamps whose place and rhythm carry the meaning. The colour, where
//! a board has one, only repeats it.
//!
//! [`TABLE`] is the one place where the language is written; the lamps, the printed card
//! ([`card`]), the drawn front panel ([`drawing`]) and what the tests of the image expect
//! ([`export`]) come from it.

mod blinker;
pub mod card;
pub mod drawing;
pub mod export;
mod pattern;
mod states;
mod table;
#[cfg(test)]
mod tests;

pub use blinker::Blinker;
pub use pattern::{Pattern, UNIT};
pub use states::States;
pub use table::{Cell, Row, State, TABLE};

/// A lamp of the front panel, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lamp {
    /// The box itself.
    Power,
    /// The network that it stands in.
    Network,
    /// The IMS core.
    Ims,
    /// What it does: calls, updates, faults.
    Service,
}

impl Lamp {
    /// All lamps, from left to right.
    pub const ALL: [Lamp; 4] = [Lamp::Power, Lamp::Network, Lamp::Ims, Lamp::Service];

    /// What is printed beside it.
    pub const fn label(self) -> &'static str {
        match self {
            Lamp::Power => "PWR",
            Lamp::Network => "NET",
            Lamp::Ims => "IMS",
            Lamp::Service => "SVC",
        }
    }

    /// Its place from the left, from 0.
    pub const fn place(self) -> usize {
        self as usize
    }
}

/// What a lamp that can do so adds to its pattern. IEC 60073: green is normal, amber
/// abnormal, red danger, blue asks for an action, white is neutral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// All is well.
    Green,
    /// Something is not as it should be.
    Amber,
    /// The box cannot do its work.
    Red,
    /// Somebody has to do something, or to wait.
    Blue,
    /// Plain information.
    White,
}

impl Colour {
    /// Its name in lower case, as in the names of Linux's LED class.
    pub const fn name(self) -> &'static str {
        match self {
            Colour::Green => "green",
            Colour::Amber => "amber",
            Colour::Red => "red",
            Colour::Blue => "blue",
            Colour::White => "white",
        }
    }
}

/// What one lamp shows, and which state made it do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// How it blinks.
    pub pattern: Pattern,
    /// In which colour, where it has a choice.
    pub colour: Colour,
    /// The state whose row of the table says so.
    pub because: State,
}
