//! The language itself: every state of the box, in order of precedence, with what the four
//! lamps show, what it means and what to do about it.

use super::Pattern::{Beat, Blinks, CounterBeat, Fast, Off, On, Slow, Wink};
use super::{Colour, Lamp, Pattern};

/// A state that the front panel can show. Several hold at a time: each lamp follows the
/// first row of the [`TABLE`] that has something for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The button is held: releasing it now takes the box back to its factory settings.
    ResetArmed,
    /// The button is held: releasing it now starts the previous version; longest to go
    /// until [`State::ResetArmed`].
    PreviousArmed4,
    /// The same, less long to go.
    PreviousArmed3,
    /// The same, less long to go.
    PreviousArmed2,
    /// The same, almost at [`State::ResetArmed`].
    PreviousArmed1,
    /// The button is held: up to three seconds to go until it means something.
    Held3,
    /// The same, up to two seconds to go.
    Held2,
    /// The same, up to one second to go.
    Held1,
    /// Somebody wants to find this box among others.
    Locate,
    /// An update is being written.
    Updating,
    /// The gateway's program, or a part of it, stands still.
    SupervisorFault,
    /// The box cannot write its data.
    StorageFault,
    /// The self-test of encryption failed.
    CryptoFault,
    /// The box is too hot.
    ThermalFault,
    /// The box starts or stops.
    Starting,
    /// A new version is on trial.
    Trial,
    /// The new version did not stand its trial.
    RolledBack,
    /// Nobody has configured the box.
    NeedsSetup,
    /// No network cable.
    NoLink,
    /// No network address.
    NoAddress,
    /// No name server answers.
    NoNameService,
    /// The time of day is not known.
    NoTime,
    /// The IMS core does not answer.
    CoreUnreachable,
    /// The secure connection to the IMS core is refused, by it or by the box.
    CoreDistrusted,
    /// The IMS core refuses the box's or its users' credentials.
    CoreRefuses,
    /// The box has not yet heard from the IMS core.
    Connecting,
    /// No room for another call.
    AtCapacity,
    /// At least one call.
    InCall,
    /// Everything is well.
    Ready,
    /// The board has power, and no program of ours has hold of the lamps.
    PowerOn,
}

/// What a row says of one lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// This pattern and, where there is a choice, this colour.
    Show(Pattern, Colour),
    /// Nothing: a later row decides.
    Later,
}

/// One state of the language.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The state.
    pub state: State,
    /// Its name for programs; never changes.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What to do about it.
    pub action: &'static str,
    /// What it says of each lamp, from left to right.
    pub lamps: [Cell; 4],
    /// The states that usually come with it, of later rows: the card draws it over them.
    pub over: &'static [State],
}

impl Row {
    /// The row of a state.
    pub const fn of(state: State) -> &'static Row {
        &TABLE[state as usize]
    }

    /// The row whose state has this name for programs.
    pub fn named(key: &str) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.key == key)
    }

    /// What it says of a lamp.
    pub const fn cell(&self, lamp: Lamp) -> Cell {
        self.lamps[lamp.place()]
    }
}

const fn green(pattern: Pattern) -> Cell {
    Cell::Show(pattern, Colour::Green)
}

const fn amber(pattern: Pattern) -> Cell {
    Cell::Show(pattern, Colour::Amber)
}

const fn red(pattern: Pattern) -> Cell {
    Cell::Show(pattern, Colour::Red)
}

const fn blue(pattern: Pattern) -> Cell {
    Cell::Show(pattern, Colour::Blue)
}

const fn white(pattern: Pattern) -> Cell {
    Cell::Show(pattern, Colour::White)
}

const DARK: Cell = green(Off);
const LATER: Cell = Cell::Later;

/// The LED language. The order of rows is their precedence, and that of [`State`].
pub const TABLE: [Row; 30] = [
    Row {
        state: State::ResetArmed,
        key: "reset-armed",
        title: "Button held: factory reset",
        action: "Release now to erase settings and data. Hold on until the lamps calm down to change nothing.",
        lamps: [amber(Fast), amber(Fast), amber(Fast), amber(Fast)],
        over: &[],
    },
    Row {
        state: State::PreviousArmed4,
        key: "previous-armed-4",
        title: "Button held: previous version, 7 s to factory reset",
        action: "Release now to start the previous version once.",
        lamps: [amber(Beat), amber(Beat), amber(Beat), amber(Beat)],
        over: &[],
    },
    Row {
        state: State::PreviousArmed3,
        key: "previous-armed-3",
        title: "Button held: previous version, 5 s to factory reset",
        action: "Release now to start the previous version once.",
        lamps: [amber(Beat), amber(Beat), amber(Beat), amber(On)],
        over: &[],
    },
    Row {
        state: State::PreviousArmed2,
        key: "previous-armed-2",
        title: "Button held: previous version, 3 s to factory reset",
        action: "Release now to start the previous version once.",
        lamps: [amber(Beat), amber(Beat), amber(On), amber(On)],
        over: &[],
    },
    Row {
        state: State::PreviousArmed1,
        key: "previous-armed-1",
        title: "Button held: previous version, 1 s to factory reset",
        action: "Release now to start the previous version once.",
        lamps: [amber(Beat), amber(On), amber(On), amber(On)],
        over: &[],
    },
    Row {
        state: State::Held3,
        key: "held-3",
        title: "Button held: 3 s to previous version",
        action: "Release within the first second to find this box (all lamps flash in turn).",
        lamps: [white(Fast), DARK, DARK, DARK],
        over: &[],
    },
    Row {
        state: State::Held2,
        key: "held-2",
        title: "Button held: 2 s to previous version",
        action: "Release now to change nothing.",
        lamps: [white(On), white(Fast), DARK, DARK],
        over: &[],
    },
    Row {
        state: State::Held1,
        key: "held-1",
        title: "Button held: 1 s to previous version",
        action: "Release now to change nothing.",
        lamps: [white(On), white(On), white(Fast), DARK],
        over: &[],
    },
    Row {
        state: State::Locate,
        key: "locate",
        title: "This is the box that you look for",
        action: "Press the button briefly to end it.",
        lamps: [
            white(Beat),
            white(CounterBeat),
            white(Beat),
            white(CounterBeat),
        ],
        over: &[],
    },
    Row {
        state: State::Updating,
        key: "updating",
        title: "An update is being installed",
        action: "Do not take the power away. The box starts again by itself.",
        lamps: [green(Wink), LATER, LATER, blue(Fast)],
        over: &[State::Ready],
    },
    Row {
        state: State::SupervisorFault,
        key: "fault-supervisor",
        title: "Fault: the gateway's program stands still",
        action: "Wait two minutes: the box starts itself anew. If it comes back, read the cause on the status page and call support.",
        lamps: [red(Fast), LATER, LATER, red(Blinks(8))],
        over: &[State::Starting],
    },
    Row {
        state: State::StorageFault,
        key: "fault-storage",
        title: "Fault: data cannot be written",
        action: "Export the settings from the status page. If a restart does not help, the box needs replacing.",
        lamps: [red(Fast), LATER, LATER, red(Blinks(6))],
        over: &[State::Ready],
    },
    Row {
        state: State::CryptoFault,
        key: "fault-crypto",
        title: "Fault: the self-test of encryption failed",
        action: "Restart the box. If it comes back, the box needs replacing.",
        lamps: [red(Fast), LATER, LATER, red(Blinks(5))],
        over: &[State::Ready],
    },
    Row {
        state: State::ThermalFault,
        key: "fault-thermal",
        title: "Fault: too hot, no new calls",
        action: "Free the air slots and cool the room. The box recovers by itself.",
        lamps: [red(Fast), LATER, LATER, red(Blinks(7))],
        over: &[State::Ready],
    },
    Row {
        state: State::Starting,
        key: "starting",
        title: "The box starts or stops",
        action: "Wait up to two minutes.",
        lamps: [green(Slow), DARK, DARK, LATER],
        over: &[],
    },
    Row {
        state: State::Trial,
        key: "trial",
        title: "A new version is on trial",
        action: "Nothing. The box keeps the version or goes back to the old one by itself.",
        lamps: [LATER, LATER, LATER, blue(Slow)],
        over: &[State::Ready],
    },
    Row {
        state: State::RolledBack,
        key: "rolled-back",
        title: "The update failed, the old version is back",
        action: "Read the reason on the status page.",
        lamps: [LATER, LATER, LATER, amber(Blinks(4))],
        over: &[State::Ready],
    },
    Row {
        state: State::NeedsSetup,
        key: "needs-setup",
        title: "The box needs to be set up",
        action: "Open the status page, or put a configuration on it.",
        lamps: [LATER, LATER, DARK, blue(Blinks(2))],
        over: &[State::Ready],
    },
    Row {
        state: State::NoLink,
        key: "no-link",
        title: "No network link",
        action: "Check the network cable and the switch's port.",
        lamps: [LATER, amber(Blinks(1)), DARK, LATER],
        over: &[],
    },
    Row {
        state: State::NoAddress,
        key: "no-address",
        title: "No network address",
        action: "Check the DHCP server and the VLAN, or set a fixed address.",
        lamps: [LATER, amber(Blinks(2)), DARK, LATER],
        over: &[],
    },
    Row {
        state: State::NoNameService,
        key: "no-name-service",
        title: "No name server answers",
        action: "Check the addresses of the name servers and the firewall (port 53).",
        lamps: [LATER, amber(Blinks(3)), LATER, LATER],
        over: &[State::Ready],
    },
    Row {
        state: State::NoTime,
        key: "no-time",
        title: "The time of day is not known",
        action: "Check the time server and the firewall (UDP port 123). Users cannot log in by token until then.",
        lamps: [LATER, amber(Blinks(4)), LATER, LATER],
        over: &[State::Ready],
    },
    Row {
        state: State::CoreUnreachable,
        key: "core-unreachable",
        title: "The IMS core does not answer",
        action: "Check the core's address in the configuration, routes and the firewall towards it.",
        lamps: [LATER, green(On), amber(Blinks(1)), LATER],
        over: &[],
    },
    Row {
        state: State::CoreDistrusted,
        key: "core-distrusted",
        title: "The secure connection to the IMS core is refused",
        action: "Check certificates, names and the time on both ends.",
        lamps: [LATER, green(On), amber(Blinks(2)), LATER],
        over: &[],
    },
    Row {
        state: State::CoreRefuses,
        key: "core-refuses",
        title: "The IMS core refuses the credentials",
        action: "Check the credentials on the box and the subscription in the core.",
        lamps: [LATER, green(On), amber(Blinks(3)), LATER],
        over: &[],
    },
    Row {
        state: State::Connecting,
        key: "connecting",
        title: "Nothing was heard from the IMS core yet",
        action: "Wait, or register a first user.",
        lamps: [LATER, green(On), green(Slow), LATER],
        over: &[],
    },
    Row {
        state: State::AtCapacity,
        key: "at-capacity",
        title: "No room for another call",
        action: "Nothing; if it happens often, another box is needed.",
        lamps: [LATER, LATER, LATER, white(Wink)],
        over: &[State::Ready],
    },
    Row {
        state: State::InCall,
        key: "in-call",
        title: "Calls are up",
        action: "Nothing.",
        lamps: [LATER, LATER, LATER, white(On)],
        over: &[State::Ready],
    },
    Row {
        state: State::Ready,
        key: "ready",
        title: "Ready",
        action: "Nothing.",
        lamps: [green(On), green(On), green(On), LATER],
        over: &[],
    },
    Row {
        state: State::PowerOn,
        key: "power-on",
        title: "Power is on, the system loads",
        action: "Wait up to two minutes.",
        lamps: [green(On), DARK, DARK, DARK],
        over: &[],
    },
];
