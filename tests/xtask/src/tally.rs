//! Counts of checks, read from the last lines of what a lane prints.

use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        Self {
            passed: passed.into(),
            failed: (!passed).into(),
        }
    }

    /// Whether this is the line a program ends with; the whole run prints but one, its own.
    pub(crate) fn is_line(line: &str) -> bool {
        Self::read(line).is_some_and(|tally| line.trim() == tally.to_string())
    }

    /// Reads `N passed` and `N failed` from the last line that has the first of them.
    pub(crate) fn read(output: &str) -> Option<Self> {
        output.lines().rev().find_map(|line| {
            let passed = count_before(line, "passed")?;
            Some(Self {
                passed,
                failed: count_before(line, "failed").unwrap_or(0),
            })
        })
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The number that stands before a word, as in `25 passed`.
fn count_before(line: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = line
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_summary_of_nextest_is_read() {
        let output = "  PASS [   0.004s] iq a\n------------\n     Summary [   0.6s] 25 tests run: 23 passed (1 slow), 2 failed, 0 skipped\n";

        assert_eq!(
            Tally::read(output).unwrap(),
            Tally {
                passed: 23,
                failed: 2
            }
        );
    }

    #[test]
    fn the_last_line_of_our_own_programs_is_read() {
        assert_eq!(
            Tally::read("1 passed\nleg passed the end\n40 passed, 0 failed\n").unwrap(),
            Tally {
                passed: 40,
                failed: 0
            }
        );
    }

    #[test]
    fn a_lane_that_died_before_its_summary_has_no_tally() {
        assert_eq!(Tally::read("error: could not compile"), None);
    }
}
