//! The set of states that hold at one moment, and what the four lamps make of it.

use core::fmt;

use super::{Cell, Colour, Lamp, Pattern, Shown, State, TABLE};

/// States that hold together. [`State::PowerOn`] always does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// These states.
    pub fn of(states: &[State]) -> Self {
        let mut set = States::default();
        for &state in states {
            set.insert(state);
        }
        set
    }

    /// Adds a state.
    pub fn insert(&mut self, state: State) {
        self.0 |= 1 << state as u32;
    }

    /// These states and those.
    pub fn and(self, others: States) -> Self {
        States(self.0 | others.0)
    }

    /// Whether a state holds.
    pub fn contains(self, state: State) -> bool {
        state == State::PowerOn || self.0 & 1 << state as u32 != 0
    }

    /// The states, the most urgent first.
    pub fn iter(self) -> impl Iterator<Item = State> {
        let states = TABLE.iter().map(|row| row.state);
        states.filter(move |&state| self.contains(state))
    }

    /// The most urgent one.
    pub fn first(self) -> State {
        self.iter().next().unwrap_or(State::PowerOn)
    }

    /// What each lamp shows, from left to right.
    pub fn shown(self) -> [Shown; 4] {
        Lamp::ALL.map(|lamp| self.shown_by(lamp))
    }

    fn shown_by(self, lamp: Lamp) -> Shown {
        let rows = TABLE.iter().filter(|row| self.contains(row.state));
        let mut shown = rows.filter_map(|row| match row.cell(lamp) {
            Cell::Show(pattern, colour) => Some(Shown {
                pattern,
                colour,
                because: row.state,
            }),
            Cell::Later => None,
        });
        // The last row has something for each lamp.
        shown.next().unwrap_or(Shown {
            pattern: Pattern::Off,
            colour: Colour::Green,
            because: State::PowerOn,
        })
    }
}

impl fmt::Debug for States {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_set().entries(self.iter()).finish()
    }
}
