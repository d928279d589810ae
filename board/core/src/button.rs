//! The one button: what a press means is decided when it is released, by how long it was
//! held and by what the lamps had said by then. A button that is stuck means nothing.

use core::time::Duration;

use crate::led::State;

/// The button of one front panel.
#[derive(Clone, Debug, Default)]
pub struct Button {
    level: Level,
    /// A level that was read and has not yet stood long enough to be believed.
    candidate: Option<(Level, Duration)>,
    is_pressed_since_power_on: bool,
    press: Option<Press>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    /// Nothing was read yet.
    #[default]
    Unknown,
    Up,
    Down {
        since: Duration,
    },
}

/// What somebody did with the button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// Pressed and released within a second.
    Brief,
    /// Held for three seconds and more.
    Long,
    /// Held for ten seconds and more.
    VeryLong,
}

impl Button {
    /// Takes the button's level as it is read, every 50 ms or so. A button that is down at
    /// the first reading has been held since the power came on: the time counts from the
    /// first reading, and a brief press then means nothing.
    pub fn handle_level(&mut self, is_down: bool, now: Duration) {
        let is_known_down = matches!(self.level, Level::Down { .. });
        if self.level != Level::Unknown && is_down == is_known_down {
            self.candidate = None;
            return;
        }
        let read = if is_down {
            Level::Down { since: now }
        } else {
            Level::Up
        };
        let (level, since) = match self.candidate {
            Some((level, since)) if is_down == matches!(level, Level::Down { .. }) => {
                (level, since)
            }
            _ => (read, now),
        };
        if now.saturating_sub(since) < BOUNCE {
            self.candidate = Some((level, since));
            return;
        }
        self.candidate = None;
        self.settle(level, since);
    }

    fn settle(&mut self, level: Level, at: Duration) {
        match (self.level, level) {
            (Level::Unknown, Level::Down { .. }) => self.is_pressed_since_power_on = true,
            (Level::Down { since }, Level::Up) => {
                let press = press(at.saturating_sub(since));
                let is_brief = press == Some(Press::Brief);
                self.press = press.filter(|_| !(is_brief && self.is_pressed_since_power_on));
                self.is_pressed_since_power_on = false;
            }
            _ => {}
        }
        self.level = level;
    }

    /// What was done since the last time somebody asked.
    pub fn poll_press(&mut self) -> Option<Press> {
        self.press.take()
    }

    /// The step of the countdown that the lamps show while the button is held.
    pub fn countdown(&self, now: Duration) -> Option<State> {
        let Level::Down { since } = self.level else {
            return None;
        };
        let held = now.saturating_sub(since);
        let step = COUNTDOWN.iter().rev().find(|(from, _)| *from <= held)?;
        step.1
    }

    /// When the countdown takes its next step, or a level that was read may be believed.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let believed = self.candidate.map(|(_, since)| since + BOUNCE);
        let step = match self.level {
            Level::Down { since } => {
                let steps = COUNTDOWN.iter().map(|(from, _)| since + *from);
                steps.into_iter().find(|at| *at > now)
            }
            Level::Unknown | Level::Up => None,
        };
        [believed, step].into_iter().flatten().min()
    }
}

fn press(held: Duration) -> Option<Press> {
    match held {
        _ if held >= STUCK => None,
        _ if held >= TEN_SECONDS + SEEN => Some(Press::VeryLong),
        _ if held >= THREE_SECONDS => Some(Press::Long),
        _ if held < ONE_SECOND => Some(Press::Brief),
        _ => None,
    }
}

/// What the card says of the button.
pub const CARD: [(&str, &str); 5] = [
    (
        "Press briefly",
        "all lamps flash in turn, so that this box is found among others; press again to end it.",
    ),
    (
        "Hold for 3 seconds",
        "one lamp after the other flashes and stays on; when all lamps flash evenly, release: the box starts its previous version, once.",
    ),
    (
        "Hold for 10 seconds",
        "the lamps stop flashing one by one; when all flash fast, release: settings and data are erased, the box's identity and versions stay.",
    ),
    (
        "Change your mind",
        "release between 1 and 3 seconds, or hold on for more than 20 seconds: nothing happens.",
    ),
    (
        "Held while the power comes on",
        "the same, counted from when the first lamp begins to flash fast.",
    ),
];

/// The countdown's steps: from when on, and what the lamps show.
const COUNTDOWN: [(Duration, Option<State>); 9] = [
    (Duration::from_millis(300), Some(State::Held3)),
    (ONE_SECOND, Some(State::Held2)),
    (Duration::from_secs(2), Some(State::Held1)),
    (THREE_SECONDS, Some(State::PreviousArmed4)),
    (Duration::from_secs(5), Some(State::PreviousArmed3)),
    (Duration::from_secs(7), Some(State::PreviousArmed2)),
    (Duration::from_secs(9), Some(State::PreviousArmed1)),
    (TEN_SECONDS, Some(State::ResetArmed)),
    (STUCK, None),
];

const ONE_SECOND: Duration = Duration::from_secs(1);
const THREE_SECONDS: Duration = Duration::from_secs(3);
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// Nobody holds a button for so long on purpose.
const STUCK: Duration = Duration::from_secs(20);
/// Until the lamps have shown a new state (0.6 s) and a finger can react to it: who lets go
/// sooner after ten seconds meant what the lamps said before.
const SEEN: Duration = Duration::from_millis(800);
/// Contacts bounce for less than this.
const BOUNCE: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_a_press_means_depends_on_how_long_it_was() {
        let expected = [
            (100, Some(Press::Brief)),
            (900, Some(Press::Brief)),
            (1_500, None),
            (2_900, None),
            (3_100, Some(Press::Long)),
            (9_900, Some(Press::Long)),
            (10_500, Some(Press::Long)),
            (11_000, Some(Press::VeryLong)),
            (19_900, Some(Press::VeryLong)),
            (20_100, None),
            (3_600_000, None),
        ];
        for (held, meant) in expected {
            let mut button = released();
            hold(&mut button, 1_000, held);
            assert_eq!(button.poll_press(), meant, "held for {held} ms");
            assert_eq!(button.poll_press(), None);
        }
    }

    #[test]
    fn a_button_held_at_power_on_counts_from_the_first_reading_and_is_never_brief() {
        for (held, meant) in [
            (500, None),
            (4_000, Some(Press::Long)),
            (12_000, Some(Press::VeryLong)),
            (25_000, None),
        ] {
            let mut button = Button::default();
            hold(&mut button, 40_000, held);
            assert_eq!(button.poll_press(), meant, "held for {held} ms");
        }
        let mut button = Button::default();
        hold(&mut button, 0, 500);
        hold(&mut button, 2_000, 500);
        assert_eq!(
            button.poll_press(),
            Some(Press::Brief),
            "the second press is one"
        );
    }

    #[test]
    fn contacts_that_bounce_are_one_press() {
        let mut button = released();
        let bounces = [
            (1_000, true),
            (1_005, false),
            (1_010, true),
            (1_050, true),
            (1_500, false),
            (1_510, true),
            (1_520, false),
            (1_600, false),
        ];
        let mut presses = Vec::new();
        for (at, is_down) in bounces {
            button.handle_level(is_down, ms(at));
            presses.extend(button.poll_press());
        }
        assert_eq!(presses, [Press::Brief]);
    }

    #[test]
    fn the_lamps_count_down_to_each_meaning_and_fall_silent_when_the_button_is_stuck() {
        let mut button = released();
        let mut steps: Vec<(u64, Option<State>)> = Vec::new();
        for at in (0..25_000).step_by(50) {
            button.handle_level(true, ms(at));
            let step = button.countdown(ms(at));
            if steps.last().map_or(step.is_some(), |last| last.1 != step) {
                steps.push((at, step));
            }
        }
        let expected = [
            (300, Some(State::Held3)),
            (1_000, Some(State::Held2)),
            (2_000, Some(State::Held1)),
            (3_000, Some(State::PreviousArmed4)),
            (5_000, Some(State::PreviousArmed3)),
            (7_000, Some(State::PreviousArmed2)),
            (9_000, Some(State::PreviousArmed1)),
            (10_000, Some(State::ResetArmed)),
            (20_000, None),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn a_step_of_the_countdown_is_announced_before_it_comes() {
        let mut button = released();
        button.handle_level(true, ms(1_000));
        assert_eq!(button.poll_timeout(ms(1_000)), Some(ms(1_030)));
        button.handle_level(true, ms(1_050));
        assert_eq!(button.poll_timeout(ms(1_050)), Some(ms(1_300)));
        assert_eq!(button.poll_timeout(ms(9_000)), Some(ms(10_000)));
        assert_eq!(button.poll_timeout(ms(22_000)), None);
    }

    fn released() -> Button {
        let mut button = Button::default();
        button.handle_level(false, ms(0));
        button.handle_level(false, ms(50));
        button
    }

    fn hold(button: &mut Button, from: u64, held: u64) {
        for at in (from..from + held).step_by(50) {
            button.handle_level(true, ms(at));
        }
        for at in [0, 50, 100] {
            button.handle_level(false, ms(from + held + at));
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
