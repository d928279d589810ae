//! From the condition of the box to the states that the front panel shows.

use crate::led::{State, States};

/// How the box is, as far as its programs know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Where it is in its life.
    pub phase: Phase,
    /// What it has of a network.
    pub network: Network,
    /// What it has of an IMS core.
    pub core: Core,
    /// Calls that are up.
    pub calls: u32,
    /// The calls that there is room for; `None` if that is not limited.
    pub capacity: Option<u32>,
    /// What keeps it from its work.
    pub faults: Faults,
    /// What goes on with its versions.
    pub update: Update,
}

/// Where the box is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Phase {
    /// Its programs start.
    #[default]
    Starting,
    /// It has no usable configuration.
    NeedsSetup,
    /// It does its work.
    Running,
    /// It takes no new calls and will be gone soon.
    Stopping,
}

/// The first thing that is missing of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Network {
    /// Nothing is missing.
    #[default]
    Good,
    /// No cable.
    NoLink,
    /// No address.
    NoAddress,
    /// No name server answers.
    NoNameService,
    /// The time of day is not known.
    NoTime,
}

/// How the IMS core treats the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Core {
    /// Nobody has asked it anything yet.
    #[default]
    Unknown,
    /// It answers.
    Reachable,
    /// It does not answer.
    Unreachable,
    /// No secure connection comes about.
    Distrusted,
    /// It refuses credentials.
    Refuses,
}

/// What keeps the box from its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Faults {
    /// Its program, or a part of it, stands still.
    pub supervisor: bool,
    /// Its data cannot be written.
    pub storage: bool,
    /// Its encryption failed its self-test.
    pub crypto: bool,
    /// It is too hot.
    pub thermal: bool,
}

/// What goes on with the versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Update {
    /// Nothing.
    #[default]
    Idle,
    /// A new version is being written: the box must not be unplugged.
    Updating,
    /// The version that runs is on trial.
    Trial,
    /// The version on trial was given up, and nobody has acknowledged that.
    RolledBack,
}

impl Condition {
    /// What the front panel has to show.
    pub fn states(&self) -> States {
        let mut states = self.update_states();
        let faults = [
            (self.faults.supervisor, State::SupervisorFault),
            (self.faults.storage, State::StorageFault),
            (self.faults.crypto, State::CryptoFault),
            (self.faults.thermal, State::ThermalFault),
        ];
        for (_, fault) in faults.into_iter().filter(|&(is_so, _)| is_so) {
            states.insert(fault);
        }
        match self.phase {
            Phase::Starting | Phase::Stopping => states.insert(State::Starting),
            Phase::NeedsSetup => {
                states.insert(State::NeedsSetup);
                states = states.and(self.network_states());
                // The box has no core yet; its network may still be well.
                states.insert(State::Ready);
            }
            Phase::Running => {
                states = states.and(self.network_states()).and(self.core_states());
                states = states.and(self.call_states());
            }
        }
        states
    }

    fn update_states(&self) -> States {
        match self.update {
            Update::Idle => States::default(),
            Update::Updating => States::of(&[State::Updating]),
            Update::Trial => States::of(&[State::Trial]),
            Update::RolledBack => States::of(&[State::RolledBack]),
        }
    }

    fn network_states(&self) -> States {
        match self.network {
            Network::Good => States::default(),
            Network::NoLink => States::of(&[State::NoLink]),
            Network::NoAddress => States::of(&[State::NoAddress]),
            Network::NoNameService => States::of(&[State::NoNameService]),
            Network::NoTime => States::of(&[State::NoTime]),
        }
    }

    fn core_states(&self) -> States {
        States::of(&[match self.core {
            Core::Unknown => State::Connecting,
            Core::Reachable => State::Ready,
            Core::Unreachable => State::CoreUnreachable,
            Core::Distrusted => State::CoreDistrusted,
            Core::Refuses => State::CoreRefuses,
        }])
    }

    fn call_states(&self) -> States {
        let is_full = self.capacity.is_some_and(|capacity| self.calls >= capacity);
        match self.calls {
            _ if is_full => States::of(&[State::AtCapacity]),
            0 => States::default(),
            _ => States::of(&[State::InCall]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::led::Pattern::{Blinks, Fast, Off, On, Slow, Wink};
    use crate::led::{Pattern, Shown};

    #[test]
    fn a_box_that_works_shows_its_calls_on_the_last_lamp() {
        assert_eq!(lamps(&WELL), [On, On, On, Off]);
        assert_eq!(lamps(&Condition { calls: 1, ..WELL }), [On, On, On, On]);
        let full = Condition {
            calls: 30,
            capacity: Some(30),
            ..WELL
        };
        assert_eq!(lamps(&full), [On, On, On, Wink]);
    }

    #[test]
    fn without_a_network_nothing_is_said_of_the_core() {
        let core = Core::Unreachable;
        let missing = |network| {
            lamps(&Condition {
                network,
                core,
                ..WELL
            })
        };
        assert_eq!(missing(Network::NoLink), [On, Blinks(1), Off, Off]);
        assert_eq!(missing(Network::NoAddress), [On, Blinks(2), Off, Off]);
        let both = [On, Blinks(3), Blinks(1), Off];
        assert_eq!(missing(Network::NoNameService), both);
        assert_eq!(missing(Network::NoTime), [On, Blinks(4), Blinks(1), Off]);
        assert_eq!(missing(Network::Good), [On, On, Blinks(1), Off]);
    }

    #[test]
    fn a_fault_leaves_the_network_and_core_lamps_true() {
        let faults = Faults {
            thermal: true,
            ..Faults::default()
        };
        let core = Core::Refuses;
        let hot = Condition {
            faults,
            core,
            ..WELL
        };
        assert_eq!(lamps(&hot), [Fast, On, Blinks(3), Blinks(7)]);
    }

    #[test]
    fn a_box_on_trial_says_so_while_it_starts_and_in_calls() {
        let update = Update::Trial;
        let starting = Condition {
            update,
            ..Condition::default()
        };
        assert_eq!(lamps(&starting), [Slow, Off, Off, Slow]);
        let calls = 3;
        let in_call = Condition {
            update,
            calls,
            ..WELL
        };
        assert_eq!(lamps(&in_call), [On, On, On, Slow]);
    }

    #[test]
    fn a_box_without_a_configuration_still_says_how_its_network_is() {
        let phase = Phase::NeedsSetup;
        let new = Condition { phase, ..WELL };
        assert_eq!(lamps(&new), [On, On, Off, Blinks(2)]);
        let network = Network::NoLink;
        let unplugged = Condition {
            phase,
            network,
            ..WELL
        };
        assert_eq!(lamps(&unplugged), [On, Blinks(1), Off, Blinks(2)]);
    }

    fn lamps(condition: &Condition) -> [Pattern; 4] {
        condition.states().shown().map(|shown: Shown| shown.pattern)
    }

    const WELL: Condition = Condition {
        phase: Phase::Running,
        network: Network::Good,
        core: Core::Reachable,
        calls: 0,
        capacity: None,
        faults: Faults {
            supervisor: false,
            storage: false,
            crypto: false,
            thermal: false,
        },
        update: Update::Idle,
    };
}
