//! Four lamps in time: which of them are lit now, and when that changes next.
//!
//! All lamps blink on one grid, and a new state waits for it, so that the panel as a whole
//! never flashes three times a second, however often the state changes and however late
//! the caller is.

use core::time::Duration;

use super::pattern::UNITS_PER_FLASH;
use super::{Colour, Shown, States, UNIT};

/// The lamps of one front panel.
#[derive(Clone, Debug)]
pub struct Blinker {
    /// What is asked for, and since when that differs from what is shown.
    wanted: [Shown; 4],
    wanted_since: Duration,
    shown: [Shown; 4],
    /// When each lamp's pattern began; all lie on the grid if any lamp blinks.
    began: [Duration; 4],
    grid: Duration,
    lit: [bool; 4],
    rose_at: Option<Duration>,
    next: Option<Duration>,
}

impl Blinker {
    /// Lamps that show these states from now on.
    pub fn new(states: States, now: Duration) -> Self {
        let shown = states.shown();
        let mut blinker = Blinker {
            wanted: shown,
            wanted_since: now,
            shown,
            began: [now; 4],
            grid: now,
            lit: [false; 4],
            rose_at: None,
            next: None,
        };
        blinker.draw(now);
        blinker
    }

    /// Shows these states from the next moment on that allows it, 0.6 s away at most.
    pub fn show(&mut self, states: States, now: Duration) {
        self.handle_timeout(now);
        let wanted = states.shown();
        if self.wanted != wanted {
            self.wanted = wanted;
            self.wanted_since = now;
        }
        self.handle_timeout(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let Some(next) = self.next {
            let late = now.saturating_sub(next);
            if late > LATE {
                self.shift(late);
            }
        }
        if let Some(due) = self.change_due()
            && due <= now
        {
            self.change(due, now);
        }
        self.draw(now);
    }

    /// When to call [`Blinker::handle_timeout`] next; `None` if nothing will change.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.next
    }

    /// Which lamps are lit, and in which colour.
    pub fn lamps(&self) -> [Option<Colour>; 4] {
        let mut lamps = [None; 4];
        for (place, lamp) in lamps.iter_mut().enumerate() {
            *lamp = self.lit[place].then_some(self.shown[place].colour);
        }
        lamps
    }

    /// What each lamp shows, from left to right.
    pub fn shown(&self) -> [Shown; 4] {
        self.shown
    }

    /// When the wanted patterns may begin; `None` if they are those that are shown.
    fn change_due(&self) -> Option<Duration> {
        if self.wanted == self.shown {
            return None;
        }
        let flash = UNIT * UNITS_PER_FLASH;
        if !self.has_lamp_that_blinks_on() {
            let rested = self.rose_at.map(|at| at + flash);
            return Some(self.wanted_since.max(rested.unwrap_or_default()));
        }
        let since = self.wanted_since.saturating_sub(self.grid);
        let flashes = since.as_nanos().div_ceil(flash.as_nanos());
        let flashes = u32::try_from(flashes).unwrap_or(u32::MAX);
        Some(self.grid + flash.saturating_mul(flashes))
    }

    /// Whether a lamp goes on as it is, so that the others have to fall in with it.
    fn has_lamp_that_blinks_on(&self) -> bool {
        (0..4).any(|place| self.goes_on(place) && self.shown[place].pattern.is_blinking())
    }

    fn goes_on(&self, place: usize) -> bool {
        self.wanted[place].pattern == self.shown[place].pattern
    }

    fn change(&mut self, due: Duration, now: Duration) {
        let begins = if self.has_lamp_that_blinks_on() {
            due
        } else {
            self.grid = now;
            now
        };
        for place in 0..4 {
            if !self.goes_on(place) {
                self.began[place] = begins;
            }
        }
        self.shown = self.wanted;
    }

    /// For who comes too late, time has stood still: no flash is made up for.
    fn shift(&mut self, late: Duration) {
        self.grid += late;
        self.wanted_since += late;
        self.rose_at = self.rose_at.map(|at| at + late);
        for began in &mut self.began {
            *began += late;
        }
    }

    /// How long ago the last moment was at which lamps may come on.
    fn off_grid(&self, now: Duration) -> Duration {
        let flash = (UNIT * UNITS_PER_FLASH).as_nanos();
        let off = now.saturating_sub(self.grid).as_nanos() % flash;
        Duration::from_nanos(u64::try_from(off).unwrap_or(0))
    }

    fn draw(&mut self, now: Duration) {
        let mut next = None;
        for place in 0..4 {
            let pattern = self.shown[place].pattern;
            let after = now.saturating_sub(self.began[place]);
            let lit = pattern.is_lit(after);
            if lit && !self.lit[place] {
                let flash = self.grid.max(now.saturating_sub(self.off_grid(now)));
                self.rose_at = self.rose_at.max(Some(flash));
            }
            self.lit[place] = lit;
            let change = pattern.next_change(after);
            let change = change.map(|after| self.began[place] + after);
            next = [next, change].into_iter().flatten().min();
        }
        self.next = [next, self.change_due()].into_iter().flatten().min();
    }
}

/// How late a caller may be without shifting the rhythm.
const LATE: Duration = Duration::from_millis(100);
