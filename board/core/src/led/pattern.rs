//! How one lamp blinks: rhythms that a person tells apart without counting fast or seeing
//! colours, and never three flashes a second (WCAG 2.2 §2.3.1).

use core::fmt;
use core::time::Duration;

/// What all rhythms are made of. A lamp comes on at every second unit at most, so that no
/// pattern, and no two in step, flash more often than 100 times a minute.
pub const UNIT: Duration = Duration::from_millis(300);

/// Units from one flash to the next at the soonest.
pub(super) const UNITS_PER_FLASH: u32 = 2;

/// Dark units after a group of blinks.
const PAUSE: u32 = 6;

/// The rhythm of a lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Dark.
    Off,
    /// Steadily lit.
    On,
    /// 1.2 s lit, 1.2 s dark: 25 a minute (IEC 60073's slow band).
    Slow,
    /// 0.3 s lit, 0.3 s dark: 100 a minute (IEC 60073's normal band).
    Fast,
    /// 0.6 s lit, 0.6 s dark.
    Beat,
    /// A [`Pattern::Beat`] that is dark while the other is lit.
    CounterBeat,
    /// Lit, but for 0.3 s of each 2.4 s.
    Wink,
    /// So many blinks of 0.3 s, then a pause.
    Blinks(u8),
}

impl Pattern {
    /// Whether it is lit so long after it began.
    pub fn is_lit(self, after: Duration) -> bool {
        self.is_lit_in(units(after))
    }

    /// When, counted from its beginning, it changes next; `None` if never.
    pub fn next_change(self, after: Duration) -> Option<Duration> {
        let unit = units(after);
        let now = self.is_lit_in(unit);
        let next = (unit + 1..=unit + self.period_units()).find(|&at| self.is_lit_in(at) != now)?;
        Some(UNIT * next)
    }

    /// After how long it repeats; `None` for a lamp that does not change.
    pub fn period(self) -> Option<Duration> {
        self.is_blinking().then(|| UNIT * self.period_units())
    }

    /// Whether it changes at all.
    pub const fn is_blinking(self) -> bool {
        !matches!(self, Pattern::Off | Pattern::On)
    }

    /// For how much of the time it is lit, in thousandths.
    pub fn lit_permille(self) -> u32 {
        let period = self.period_units();
        let lit = (0..period).filter(|&unit| self.is_lit_in(unit)).count();
        u32::try_from(lit).unwrap_or(period) * 1000 / period
    }

    /// The levels of one period and for how long each stands, from the pattern's beginning.
    pub fn waveform(self) -> impl Iterator<Item = (bool, Duration)> {
        let end = UNIT * self.period_units();
        let mut at = Some(Duration::ZERO);
        core::iter::from_fn(move || {
            let from = at?;
            let until = self.next_change(from).unwrap_or(end).min(end);
            at = (until < end).then_some(until);
            Some((self.is_lit(from), until - from))
        })
    }

    /// Its name in the exported table.
    pub const fn key(self) -> &'static str {
        match self {
            Pattern::Off => "off",
            Pattern::On => "on",
            Pattern::Slow => "slow",
            Pattern::Fast => "fast",
            Pattern::Beat => "beat",
            Pattern::CounterBeat => "counter-beat",
            Pattern::Wink => "wink",
            Pattern::Blinks(_) => "blinks",
        }
    }

    const fn period_units(self) -> u32 {
        match self {
            Pattern::Off | Pattern::On => 1,
            Pattern::Fast => 2,
            Pattern::Beat | Pattern::CounterBeat => 4,
            Pattern::Slow | Pattern::Wink => 8,
            Pattern::Blinks(count) => 2 * count as u32 + PAUSE,
        }
    }

    const fn is_lit_in(self, unit: u32) -> bool {
        let unit = unit % self.period_units();
        match self {
            Pattern::Off => false,
            Pattern::On => true,
            Pattern::Slow => unit < 4,
            Pattern::Fast => unit < 1,
            Pattern::Beat => unit < 2,
            Pattern::CounterBeat => unit >= 2,
            Pattern::Wink => unit < 7,
            Pattern::Blinks(count) => unit < 2 * count as u32 && unit.is_multiple_of(2),
        }
    }
}

/// In words for people.
impl fmt::Display for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Off => to.write_str("off"),
            Pattern::On => to.write_str("on"),
            Pattern::Slow => to.write_str("flashes slowly"),
            Pattern::Fast => to.write_str("flashes fast"),
            Pattern::Beat => to.write_str("flashes evenly"),
            Pattern::CounterBeat => to.write_str("flashes evenly, in turn with the others"),
            Pattern::Wink => to.write_str("on, with short gaps"),
            Pattern::Blinks(1) => to.write_str("1 blink, pause"),
            Pattern::Blinks(count) => write!(to, "{count} blinks, pause"),
        }
    }
}

fn units(after: Duration) -> u32 {
    let units = after.as_nanos() / UNIT.as_nanos();
    // Twenty years; then the rhythm stumbles once.
    u32::try_from(units % (1 << 31)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn each_rhythm_has_the_times_that_its_description_says() {
        let waveform = |pattern: Pattern| -> Vec<(bool, u128)> {
            let steps = pattern.waveform();
            steps.map(|(lit, time)| (lit, time.as_millis())).collect()
        };
        assert_eq!(waveform(Pattern::Off), [(false, 300)]);
        assert_eq!(waveform(Pattern::On), [(true, 300)]);
        assert_eq!(waveform(Pattern::Slow), [(true, 1200), (false, 1200)]);
        assert_eq!(waveform(Pattern::Fast), [(true, 300), (false, 300)]);
        assert_eq!(waveform(Pattern::Beat), [(true, 600), (false, 600)]);
        assert_eq!(waveform(Pattern::CounterBeat), [(false, 600), (true, 600)]);
        assert_eq!(waveform(Pattern::Wink), [(true, 2100), (false, 300)]);
        assert_eq!(
            waveform(Pattern::Blinks(2)),
            [(true, 300), (false, 300), (true, 300), (false, 2100)]
        );
    }

    #[test]
    fn the_share_of_light_is_that_of_the_waveform() {
        for pattern in ALL {
            let (lit, all) = pattern
                .waveform()
                .fold((0, 0), |(lit, all), (is_lit, time)| {
                    let time = time.as_millis();
                    (if is_lit { lit + time } else { lit }, all + time)
                });
            let permille = lit * 1000 / all;
            assert_eq!(u128::from(pattern.lit_permille()), permille, "{pattern:?}");
        }
    }

    #[test]
    fn a_lamp_comes_on_only_at_every_second_unit() {
        for pattern in ALL {
            for unit in 1..10 * pattern.period_units() {
                let rises = pattern.is_lit_in(unit) && !pattern.is_lit_in(unit - 1);
                assert!(
                    !rises || unit % UNITS_PER_FLASH == 0,
                    "{pattern:?} at {unit}"
                );
            }
        }
    }

    #[test]
    fn the_next_change_is_the_first_moment_with_the_other_level() {
        for pattern in ALL {
            for millis in (0..20_000).step_by(70) {
                let after = Duration::from_millis(millis);
                let Some(next) = pattern.next_change(after) else {
                    assert!(!pattern.is_blinking());
                    continue;
                };
                assert!(next > after);
                assert_ne!(pattern.is_lit(after), pattern.is_lit(next));
                let just_before = next - Duration::from_millis(1);
                assert_eq!(pattern.is_lit(after), pattern.is_lit(just_before));
            }
        }
    }

    const ALL: [Pattern; 15] = [
        Pattern::Off,
        Pattern::On,
        Pattern::Slow,
        Pattern::Fast,
        Pattern::Beat,
        Pattern::CounterBeat,
        Pattern::Wink,
        Pattern::Blinks(1),
        Pattern::Blinks(2),
        Pattern::Blinks(3),
        Pattern::Blinks(4),
        Pattern::Blinks(5),
        Pattern::Blinks(6),
        Pattern::Blinks(7),
        Pattern::Blinks(8),
    ];
}
