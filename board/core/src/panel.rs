//! The front panel as one value: fed the states of the box, the button's level and time;
//! drained of lamps and of what somebody asks for by the button.

use core::time::Duration;

use heapless::Deque;

use crate::button::{Button, Press};
use crate::led::{Blinker, Colour, Shown, State, States};

/// Four lamps and a button.
#[derive(Clone, Debug)]
pub struct FrontPanel {
    blinker: Blinker,
    button: Button,
    states: States,
    is_located: bool,
    /// Until when the lamps say that something asked for by the button is under way.
    busy_until: Option<Duration>,
    requests: Deque<Request, 4>,
}

/// What somebody asks for by the button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The lamps point the box out, or no longer: already done, to be told to others.
    Locate(bool),
    /// Start the version in the other slot, once.
    PreviousSlot,
    /// Erase settings and data, and start anew.
    FactoryReset,
}

impl FrontPanel {
    /// A panel that shows these states.
    pub fn new(states: States, now: Duration) -> Self {
        FrontPanel {
            blinker: Blinker::new(states, now),
            button: Button::default(),
            states,
            is_located: false,
            busy_until: None,
            requests: Deque::new(),
        }
    }

    /// The box is in these states.
    pub fn handle_states(&mut self, states: States, now: Duration) {
        self.states = states;
        self.handle_timeout(now);
    }

    /// The button was read.
    pub fn handle_button(&mut self, is_down: bool, now: Duration) {
        self.button.handle_level(is_down, now);
        if let Some(press) = self.button.poll_press() {
            self.handle_press(press, now);
        }
        self.handle_timeout(now);
    }

    fn handle_press(&mut self, press: Press, now: Duration) {
        let request = match press {
            Press::Brief => {
                self.is_located = !self.is_located;
                Request::Locate(self.is_located)
            }
            Press::Long => Request::PreviousSlot,
            Press::VeryLong => Request::FactoryReset,
        };
        if press != Press::Brief {
            self.is_located = false;
            self.busy_until = Some(now + BUSY);
        }
        if self.requests.is_full() {
            self.requests.pop_front();
        }
        // There is room.
        let _ = self.requests.push_back(request);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.busy_until.is_some_and(|until| until <= now) {
            self.busy_until = None;
        }
        let states = self.all_states(now);
        self.blinker.show(states, now);
    }

    /// What was asked for since the last time somebody looked.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// When to call [`FrontPanel::handle_timeout`] next.
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        let times = [
            self.blinker.poll_timeout(),
            self.button.poll_timeout(now),
            self.busy_until,
        ];
        times.into_iter().flatten().min()
    }

    /// Which lamps are lit, and in which colour, from left to right.
    pub fn lamps(&self) -> [Option<Colour>; 4] {
        self.blinker.lamps()
    }

    /// What each lamp shows, from left to right.
    pub fn shown(&self) -> [Shown; 4] {
        self.blinker.shown()
    }

    /// All that holds now: the box's states and the panel's own.
    pub fn all_states(&self, now: Duration) -> States {
        let mut states = self.states;
        if self.is_located {
            states.insert(State::Locate);
        }
        if self.busy_until.is_some() {
            states.insert(State::Starting);
        }
        if let Some(step) = self.button.countdown(now) {
            states.insert(step);
        }
        states
    }
}

/// The box restarts within this time after it was asked to.
const BUSY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::led::Pattern::{self, Beat, CounterBeat, Fast, Off, On, Slow};
    use std::vec::Vec;

    #[test]
    fn a_brief_press_points_the_box_out_until_the_next() {
        let mut scene = Scene::new();
        scene.press(400);
        scene.wait(1_000);
        assert_eq!(scene.looks(), [Beat, CounterBeat, Beat, CounterBeat]);
        scene.press(400);
        scene.wait(1_000);
        assert_eq!(scene.looks(), [On, On, On, Off]);
        let asked = [Request::Locate(true), Request::Locate(false)];
        assert_eq!(scene.requests, asked);
    }

    #[test]
    fn held_for_three_seconds_it_asks_for_the_previous_slot_and_says_that_it_restarts() {
        let mut scene = Scene::new();
        scene.press(4_000);
        scene.wait(1_000);
        assert_eq!(scene.requests, [Request::PreviousSlot]);
        assert_eq!(scene.looks(), [Slow, Off, Off, Off]);
        scene.wait(60_000);
        assert_eq!(scene.looks(), [On, On, On, Off]);
    }

    #[test]
    fn held_for_ten_seconds_it_counts_down_and_asks_for_a_factory_reset() {
        let mut scene = Scene::new();
        scene.press(12_000);
        assert_eq!(scene.requests, [Request::FactoryReset]);
        let expected = [
            [On, On, On, Off],
            [Fast, Off, Off, Off],
            [On, Fast, Off, Off],
            [On, On, Fast, Off],
            [Beat, Beat, Beat, Beat],
            [Beat, Beat, Beat, On],
            [Beat, Beat, On, On],
            [Beat, On, On, On],
            [Fast, Fast, Fast, Fast],
        ];
        assert_eq!(scene.seen, expected);
    }

    #[test]
    fn a_stuck_button_does_nothing_and_hides_nothing() {
        let mut scene = Scene::new();
        scene.press(60_000);
        assert_eq!(scene.requests, []);
        assert_eq!(scene.looks(), [On, On, On, Off]);
    }

    struct Scene {
        panel: FrontPanel,
        now: Duration,
        seen: Vec<[Pattern; 4]>,
        requests: Vec<Request>,
    }

    impl Scene {
        fn new() -> Self {
            let states = States::of(&[State::Ready]);
            let mut scene = Scene {
                panel: FrontPanel::new(states, Duration::ZERO),
                now: Duration::ZERO,
                seen: Vec::new(),
                requests: Vec::new(),
            };
            scene.wait(100);
            scene
        }

        fn press(&mut self, millis: u64) {
            self.pass(millis, true);
            self.pass(50, false);
        }

        fn wait(&mut self, millis: u64) {
            self.pass(millis, false);
        }

        fn pass(&mut self, millis: u64, is_down: bool) {
            for _ in 0..millis / 10 {
                self.now += Duration::from_millis(10);
                self.panel.handle_button(is_down, self.now);
                if self.seen.last() != Some(&self.looks()) {
                    self.seen.push(self.looks());
                }
                while let Some(request) = self.panel.poll_request() {
                    self.requests.push(request);
                }
            }
        }

        fn looks(&self) -> [Pattern; 4] {
            self.panel.shown().map(|shown| shown.pattern)
        }
    }
}
