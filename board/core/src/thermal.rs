//! What heat does to the box: first it saves work, then it takes no new calls, then it says
//! that it is broken. Each step is left at a lower temperature than it is entered at.

use core::time::Duration;

/// A temperature in thousandths of a degree Celsius, as Linux gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCelsius(pub i32);

impl MilliCelsius {
    /// Of so many degrees Celsius.
    pub const fn degrees(degrees: i32) -> Self {
        MilliCelsius(degrees * 1000)
    }
}

/// At which temperatures a board has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Save work from here on.
    pub throttle: MilliCelsius,
    /// Take no new calls from here on.
    pub refuse: MilliCelsius,
    /// Say that the box is too hot from here on: the hardware will switch it off soon.
    pub fault: MilliCelsius,
    /// How far below a limit the temperature must fall to end its step, in thousandths of a
    /// degree.
    pub hysteresis: i32,
}

impl Limits {
    /// Whether each step lies above the one before it by more than the hysteresis.
    pub const fn are_in_order(&self) -> bool {
        self.hysteresis > 0
            && self.throttle.0 + self.hysteresis < self.refuse.0
            && self.refuse.0 + self.hysteresis < self.fault.0
    }
}

/// What has to be done about the heat. Each step includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heat {
    /// Nothing.
    #[default]
    Normal,
    /// Save work that is not needed for calls.
    Throttle,
    /// Take no new calls.
    RefuseCalls,
    /// Show the fault.
    Fault,
}

/// The thermal policy of one box.
#[derive(Clone, Debug)]
pub struct Thermal {
    limits: Limits,
    heat: Heat,
    /// A hotter step that one reading alone has shown.
    suspected: Option<Heat>,
    /// Since when the temperature has been low enough for a cooler step.
    cool_since: Option<Duration>,
    read_at: Option<Duration>,
}

impl Thermal {
    /// A cool box with these limits.
    pub fn new(limits: Limits) -> Self {
        Thermal {
            limits,
            heat: Heat::Normal,
            suspected: None,
            cool_since: None,
            read_at: None,
        }
    }

    /// Takes a reading, every second or so. It takes two in a row to get to a hotter step,
    /// and half a minute to get to a cooler one.
    pub fn handle_reading(&mut self, temperature: MilliCelsius, now: Duration) {
        self.read_at = Some(now);
        let rising = self.step(temperature, 0);
        let falling = self.step(temperature, self.limits.hysteresis);
        if rising > self.heat {
            self.cool_since = None;
            let confirmed = self.suspected.map_or(self.heat, |other| other.min(rising));
            self.suspected = Some(rising);
            self.heat = self.heat.max(confirmed);
        } else if falling < self.heat {
            self.suspected = None;
            let since = *self.cool_since.get_or_insert(now);
            if now.saturating_sub(since) >= COOL {
                self.heat = falling;
                self.cool_since = None;
            }
        } else {
            self.suspected = None;
            self.cool_since = None;
        }
    }

    /// What has to be done.
    pub fn heat(&self) -> Heat {
        self.heat
    }

    /// Whether the thermometer has not answered for a minute: to be told, and not to be
    /// taken for cold.
    pub fn is_blind(&self, now: Duration) -> bool {
        self.read_at
            .is_none_or(|at| now.saturating_sub(at) > LONGEST_SILENCE)
    }

    fn step(&self, temperature: MilliCelsius, below: i32) -> Heat {
        let is_over = |limit: MilliCelsius| temperature.0 >= limit.0 - below;
        match temperature {
            _ if is_over(self.limits.fault) => Heat::Fault,
            _ if is_over(self.limits.refuse) => Heat::RefuseCalls,
            _ if is_over(self.limits.throttle) => Heat::Throttle,
            _ => Heat::Normal,
        }
    }
}

const COOL: Duration = Duration::from_secs(30);
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn a_box_that_heats_up_does_more_at_each_limit_and_cools_down_slowly() {
        let up = (60..=100).chain(core::iter::repeat_n(100, 5));
        let down = (0..200).map(|second| (100 - second / 4).max(60));
        assert_eq!(
            timeline(up.chain(down)),
            "21s Throttle, 31s RefuseCalls, 36s Fault, 116s Throttle, 176s Normal"
        );
    }

    #[test]
    fn one_wrong_reading_changes_nothing() {
        assert_eq!(timeline([50, 120, 50, 96, 50, 50]), "");
    }

    #[test]
    fn a_box_at_a_limit_does_not_go_to_and_fro() {
        let readings = (0..600).map(|second| if second % 40 < 20 { 91 } else { 87 });
        assert_eq!(timeline(readings), "1s RefuseCalls");
    }

    #[test]
    fn a_thermometer_that_falls_silent_is_told_and_the_last_word_stands() {
        let mut thermal = Thermal::new(LIMITS);
        assert!(thermal.is_blind(Duration::ZERO));
        for second in 0..2 {
            thermal.handle_reading(MilliCelsius::degrees(92), Duration::from_secs(second));
        }
        assert!(!thermal.is_blind(Duration::from_secs(60)));
        assert!(thermal.is_blind(Duration::from_secs(62)));
        assert_eq!(thermal.heat(), Heat::RefuseCalls);
    }

    proptest! {
        #[test]
        fn a_step_is_never_left_while_it_is_as_hot_as_when_it_was_entered(
            readings in prop::collection::vec(40..110_i32, 0..300)
        ) {
            let mut thermal = Thermal::new(LIMITS);
            for (second, degrees) in readings.into_iter().enumerate() {
                let before = thermal.heat();
                let temperature = MilliCelsius::degrees(degrees);
                thermal.handle_reading(temperature, Duration::from_secs(second as u64));
                prop_assert!(thermal.heat() >= before.min(thermal.step(temperature, 0)));
            }
        }
    }

    /// Every change of step, with one reading a second.
    fn timeline(readings: impl IntoIterator<Item = i32>) -> String {
        let mut thermal = Thermal::new(LIMITS);
        let mut changes = Vec::new();
        for (second, degrees) in readings.into_iter().enumerate() {
            let before = thermal.heat();
            let now = Duration::from_secs(second as u64);
            thermal.handle_reading(MilliCelsius::degrees(degrees), now);
            if thermal.heat() != before {
                changes.push(format!("{second}s {:?}", thermal.heat()));
            }
        }
        changes.join(", ")
    }

    const LIMITS: Limits = Limits {
        throttle: MilliCelsius::degrees(80),
        refuse: MilliCelsius::degrees(90),
        fault: MilliCelsius::degrees(95),
        hysteresis: 4_000,
    };
}
