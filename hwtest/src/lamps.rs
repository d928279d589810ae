//! What the lamps did, read from outside the box: each change of a line, with its time.

use std::time::Duration;

/// A line that went on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, on the clock of whoever watched.
    pub at: Duration,
    /// Which line of the controller.
    pub line: u8,
    /// Whether it is on now.
    pub on: bool,
}

/// Reads QEMU's trace of the GPIO controller, one event a line:
/// `5127@1790000000.123456:pl061_set_output 9030000: line 3 set to 1`, as it is worded or not:
/// the last two numbers are the line and its level.
#[must_use]
pub fn read_trace(text: &str) -> Vec<Change> {
    text.lines().filter_map(read_event).collect()
}

fn read_event(line: &str) -> Option<Change> {
    let (stamp, event) = line.split_once(":pl061_set_output")?;
    let at: f64 = stamp.rsplit('@').next()?.parse().ok()?;
    let mut numbers = event
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter_map(|word| word.parse::<u64>().ok())
        .rev();
    let level = numbers.next()?;
    let line = u8::try_from(numbers.next()?).ok()?;
    Some(Change {
        at: Duration::from_secs_f64(at),
        line,
        on: level != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_levels_are_read_and_other_events_are_not() {
        let trace = "12@17.250000:pl061_set_output pl061: setting output 2 to 1\n\
                     12@17.300000:pl061_read pl061 0x3fc: 4\n\
                     12@17.500000:pl061_set_output pl061: setting output 2 to 0\n";

        assert_eq!(
            read_trace(trace),
            [
                Change {
                    at: Duration::from_millis(17_250),
                    line: 2,
                    on: true
                },
                Change {
                    at: Duration::from_millis(17_500),
                    line: 2,
                    on: false
                },
            ]
        );
    }
}
