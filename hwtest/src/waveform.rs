//! Whether lamps blink as the box's own table says: `gatehouse panel --table json` has the
//! waveform of each lamp in each state, and `gatehouse panel --walk SECONDS` shows them all
//! and says when each begins.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::lamps::Change;

/// How the four lamps look in each state, in the table's order.
#[derive(Clone, Debug)]
pub struct Table(Vec<(String, [Wave; 4])>);

/// The levels of one period and for how long each stands; one step if it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wave(Vec<(bool, Duration)>);

impl Table {
    /// Reads what the box prints.
    ///
    /// # Errors
    /// If it is not the table that we know.
    pub fn read(json: &str) -> anyhow::Result<Self> {
        let table: Value = serde_json::from_str(json).context("the table is no JSON")?;
        ensure!(table["version"] == 1, "a table of another version");
        let states = table["states"].as_array().context("no states")?;
        let states = states.iter().map(|state| {
            let key = state["state"].as_str().context("a state without a name")?;
            let lamps = state["shows"].as_array().with_context(|| key.to_owned())?;
            let waves: Result<Vec<Wave>, _> = lamps.iter().map(Wave::read).collect();
            let waves = <[Wave; 4]>::try_from(waves.with_context(|| key.to_owned())?);
            let waves = waves
                .ok()
                .with_context(|| format!("{key}: not four lamps"))?;
            Ok((key.to_owned(), waves))
        });
        Ok(Self(states.collect::<anyhow::Result<_>>()?))
    }

    /// Compares a whole walk with the table: `walk` is what it printed, `lines` where the lamps
    /// are, from left to right. Returns the number of states.
    ///
    /// # Errors
    /// The first state that is missing, out of order, or looks otherwise.
    pub fn compare(
        &self,
        walk: &str,
        each: Duration,
        changes: &[Change],
        lines: [u8; 4],
    ) -> anyhow::Result<usize> {
        let begins: Vec<(f64, &str)> = walk.lines().filter_map(begin).collect();
        let first = changes.iter().find(|change| change.on);
        let first = first.context("no lamp was lit")?.at.as_secs_f64();
        let zero = begins.first().context("the walk said nothing")?.0;
        ensure!(
            begins.len() == self.0.len(),
            "{} states were shown, the table has {}",
            begins.len(),
            self.0.len()
        );
        for ((key, waves), (at, shown)) in self.0.iter().zip(begins) {
            ensure!(key == shown, "{shown} was shown where {key} was its turn");
            let from = Duration::from_secs_f64(first + at - zero);
            for (wave, line) in waves.iter().zip(lines) {
                let seen = steps(changes, line, from, each);
                wave.compare(&seen)
                    .with_context(|| format!("{key}, line {line}"))?;
            }
        }
        Ok(self.0.len())
    }
}

impl Wave {
    fn read(lamp: &Value) -> anyhow::Result<Self> {
        let steps = lamp["waveform"].as_array().context("no waveform")?;
        let steps = steps.iter().map(|step| {
            let millis = step[1].as_u64().context("a step without a time")?;
            Ok((step[0] == 1, Duration::from_millis(millis)))
        });
        let wave = Self(steps.collect::<anyhow::Result<_>>()?);
        ensure!(!wave.0.is_empty(), "an empty waveform");
        Ok(wave)
    }

    /// Wants the same levels in the same order, each step about as long as it should be, and
    /// all together closely so: who is emulated on a busy machine stumbles now and then.
    fn compare(&self, seen: &[(bool, Duration)]) -> anyhow::Result<()> {
        // The last step was cut off.
        let whole = &seen[..seen.len().saturating_sub(1)];
        let all = seen.iter().map(|(_, time)| *time).sum::<Duration>();
        if let [(level, _)] = self.0[..] {
            ensure!(
                whole.is_empty() && seen[0].0 == level,
                "it should not change: {seen:?}"
            );
            return Ok(());
        }
        let period: Duration = self.0.iter().map(|(_, time)| *time).sum();
        ensure!(all > period, "seen for less than a period");
        let (mut wanted, mut took) = (Duration::ZERO, Duration::ZERO);
        let steps = self.0.iter().cycle();
        for ((level, should), (seen_level, did)) in steps.zip(whole) {
            ensure!(level == seen_level, "the order is wrong: {seen:?}");
            let off = did.abs_diff(*should);
            ensure!(
                off <= (*should / 5).max(STUMBLE),
                "a step of {should:?} took {did:?}"
            );
            wanted += *should;
            took += *did;
        }
        if took.abs_diff(wanted) > wanted / 10 {
            bail!("{wanted:?} of its rhythm took {took:?}");
        }
        Ok(())
    }
}

/// The least time that three flashes of the whole panel took: the rule is more than a second.
/// Lamps that come on together are one flash.
#[must_use]
pub fn three_flashes(changes: &[Change]) -> Option<Duration> {
    let mut flashes: Vec<Duration> = Vec::new();
    for change in changes.iter().filter(|change| change.on) {
        let is_new = flashes
            .last()
            .is_none_or(|last| change.at > *last + TOGETHER);
        if is_new {
            flashes.push(change.at);
        }
    }
    flashes.windows(3).map(|three| three[2] - three[0]).min()
}

/// Lines of a walk: `   123.45 s  ready: Ready`.
fn begin(line: &str) -> Option<(f64, &str)> {
    let (seconds, rest) = line.trim_start().split_once(" s  ")?;
    Some((seconds.parse().ok()?, rest.split_once(": ")?.0))
}

/// What a line did from a moment on, step by step; the last one is cut off at the end.
fn steps(changes: &[Change], line: u8, from: Duration, each: Duration) -> Vec<(bool, Duration)> {
    // Clocks and programs are a moment off: at the end, the next state may have begun, at the
    // beginning, the lamps may not yet show what was said.
    let until = from + each.saturating_sub(SETTLE);
    let settled = from + SETTLE;
    let mut levels = BTreeMap::from([(from, false)]);
    for change in changes.iter().filter(|change| change.line == line) {
        if change.at <= settled {
            levels = BTreeMap::from([(change.at.max(from), change.on)]);
        } else if change.at < until {
            levels.insert(change.at, change.on);
        }
    }
    let ends = levels.keys().skip(1).copied().chain([until]);
    let steps = levels.iter().zip(ends);
    steps
        .map(|((at, on), end)| (*on, end.saturating_sub(*at)))
        .collect()
}

/// A step may be off by so much, or by a fifth if that is more.
const STUMBLE: Duration = Duration::from_millis(150);
const SETTLE: Duration = Duration::from_millis(150);
const TOGETHER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_keeps_to_the_table_passes_also_on_a_busy_machine() {
        let table = Table::read(TABLE).unwrap();
        let changes = walk(&[302, 297, 340, 262, 300, 310, 290, 300, 295, 304]);
        let passed = table.compare(WALK, ms(2_900), &changes, [0, 1, 2, 4]);
        assert_eq!(passed.unwrap(), 2);
    }

    #[test]
    fn a_rhythm_that_is_too_slow_is_told() {
        let table = Table::read(TABLE).unwrap();
        let changes = walk(&[360, 360, 360, 360, 360, 360, 360]);
        let error = table
            .compare(WALK, ms(2_900), &changes, [0, 1, 2, 4])
            .unwrap_err();
        assert_eq!(error.to_string(), "busy, line 0");
        assert_eq!(
            error.root_cause().to_string(),
            "1.8s of its rhythm took 2.16s"
        );
    }

    #[test]
    fn a_lamp_that_is_lit_where_it_should_be_dark_is_told() {
        let table = Table::read(TABLE).unwrap();
        let mut changes = walk(&[300; 10]);
        changes.push(change(12_000, 2, true));
        let error = table
            .compare(WALK, ms(2_900), &changes, [0, 1, 2, 4])
            .unwrap_err();
        assert_eq!(error.to_string(), "busy, line 2");
    }

    #[test]
    fn a_state_that_is_left_out_is_told() {
        let table = Table::read(TABLE).unwrap();
        let walk_of_one = WALK.lines().next().unwrap();
        let error = table.compare(walk_of_one, ms(2_900), &walk(&[300; 9]), [0, 1, 2, 4]);
        let told = error.unwrap_err().to_string();
        assert_eq!(told, "1 states were shown, the table has 2");
    }

    #[test]
    fn lamps_that_come_on_together_are_one_flash() {
        let changes = [
            change(0, 0, true),
            change(1, 1, true),
            change(300, 0, false),
            change(600, 0, true),
            change(1_200, 0, true),
        ];
        assert_eq!(three_flashes(&changes), Some(ms(1_200)));
        assert_eq!(three_flashes(&changes[..4]), None);
    }

    /// Line 0 blinks with these steps from 10 s on, line 1 is lit; from 14 s on line 4 is lit.
    fn walk(steps: &[u64]) -> Vec<Change> {
        let mut changes = vec![change(10_000, 1, true)];
        let mut at = 10_000;
        for (place, step) in steps.iter().enumerate() {
            changes.push(change(at, 0, place % 2 == 0));
            at += step;
        }
        let dark = [0, 1].map(|line| change(13_000, line, false));
        changes.retain(|change| change.at < ms(13_000));
        changes.extend(dark);
        changes.push(change(14_005, 4, true));
        changes
    }

    fn change(at: u64, line: u8, on: bool) -> Change {
        Change {
            at: ms(at),
            line,
            on,
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const WALK: &str = "    100.00 s  busy: Something goes on\n    104.00 s  calm: Nothing\n";

    const TABLE: &str = r#"{"version": 1, "states": [
        {"state": "busy", "shows": [
            {"waveform": [[1, 300], [0, 300]]}, {"waveform": [[1, 300]]},
            {"waveform": [[0, 300]]}, {"waveform": [[0, 300]]}]},
        {"state": "calm", "shows": [
            {"waveform": [[0, 300]]}, {"waveform": [[0, 300]]},
            {"waveform": [[0, 300]]}, {"waveform": [[1, 300]]}]}
    ]}"#;
}
