//! The table for programs, as JSON: what the tests of a booted image expect of its lamps,
//! and what anything else needs that draws or explains them.

use core::fmt::{self, Write};
use core::time::Duration;

use super::{Cell, Lamp, Pattern, Row, Shown, States, TABLE, UNIT};

/// The states of a row as they are usually met: the row with those it is drawn over.
pub fn usual(row: &Row) -> States {
    let mut states = States::of(row.over);
    states.insert(row.state);
    states
}

/// Writes the whole table. Each state has what its own row says of the lamps (`says`, null
/// where it leaves a lamp to other states) and what they show while it holds together with
/// its usual company (`shows`), with the waveform of one period.
///
/// # Errors
///
/// Those of `out`.
pub fn write_json(out: &mut impl Write) -> fmt::Result {
    writeln!(out, "{{")?;
    writeln!(out, "  \"version\": 1,")?;
    writeln!(out, "  \"unit_ms\": {},", UNIT.as_millis())?;
    writeln!(out, "  \"lamps\": [\"PWR\", \"NET\", \"IMS\", \"SVC\"],")?;
    writeln!(out, "  \"states\": [")?;
    for (place, row) in TABLE.iter().enumerate() {
        write_row(out, row)?;
        writeln!(out, "{}", separator(place, TABLE.len()))?;
    }
    writeln!(out, "  ]\n}}")
}

fn write_row(out: &mut impl Write, row: &Row) -> fmt::Result {
    writeln!(out, "    {{")?;
    writeln!(out, "      \"state\": \"{}\",", row.key)?;
    writeln!(out, "      \"title\": \"{}\",", row.title)?;
    writeln!(out, "      \"action\": \"{}\",", row.action)?;
    write!(out, "      \"says\": [")?;
    for lamp in Lamp::ALL {
        match row.cell(lamp) {
            Cell::Show(pattern, _) => write!(out, "\"{pattern}\"")?,
            Cell::Later => write!(out, "null")?,
        }
        write!(out, "{}", separator(lamp.place(), 4).trim_end())?;
    }
    writeln!(out, "],")?;
    writeln!(out, "      \"shows\": [")?;
    for (place, shown) in usual(row).shown().iter().enumerate() {
        write_shown(out, Lamp::ALL[place], shown)?;
        writeln!(out, "{}", separator(place, 4))?;
    }
    write!(out, "      ]\n    }}")
}

/// One lamp. `waveform` holds level and duration of each step, from the pattern's beginning.
fn write_shown(out: &mut impl Write, lamp: Lamp, shown: &Shown) -> fmt::Result {
    let pattern = shown.pattern;
    write!(out, "        {{\"lamp\": \"{}\", ", lamp.label())?;
    write!(out, "\"pattern\": \"{}\", ", pattern.key())?;
    if let Pattern::Blinks(count) = pattern {
        write!(out, "\"count\": {count}, ")?;
    }
    write!(out, "\"colour\": \"{}\", ", shown.colour.name())?;
    write!(out, "\"words\": \"{pattern}\", ")?;
    write!(out, "\"because\": \"{}\", ", Row::of(shown.because).key)?;
    write!(out, "\"lit_permille\": {}, ", pattern.lit_permille())?;
    match pattern.period() {
        Some(period) => write!(out, "\"period_ms\": {}, ", period.as_millis())?,
        None => write!(out, "\"period_ms\": null, ")?,
    }
    write!(out, "\"waveform\": [")?;
    let mut after = Duration::ZERO;
    for (lit, time) in pattern.waveform() {
        let comma = if after.is_zero() { "" } else { ", " };
        write!(out, "{comma}[{}, {}]", u8::from(lit), time.as_millis())?;
        after += time;
    }
    write!(out, "]}}")
}

fn separator(place: usize, length: usize) -> &'static str {
    if place + 1 < length { "," } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::string::String;

    #[test]
    fn the_export_is_json_that_says_what_the_table_says() {
        let mut text = String::new();
        write_json(&mut text).unwrap();
        let table: Value = serde_json::from_str(&text).unwrap();
        let states = table["states"].as_array().unwrap();
        assert_eq!(states.len(), TABLE.len());
        let of = |key: &str| states.iter().find(|state| state["state"] == key).unwrap();
        let unplugged = of("no-link");
        assert_eq!(unplugged["says"][0], Value::Null);
        assert_eq!(unplugged["says"][1], "1 blink, pause");
        let network = &unplugged["shows"][1];
        assert_eq!(network["lamp"], "NET");
        assert_eq!(network["count"], 1);
        assert_eq!(network["period_ms"], 2400);
        assert_eq!(network["lit_permille"], 125);
        let waveform = serde_json::json!([[1, 300], [0, 2100]]);
        assert_eq!(network["waveform"], waveform);
        assert_eq!(of("trial")["shows"][1]["because"], "ready");
    }

    #[test]
    fn the_words_of_the_table_need_no_escapes_wherever_they_are_written() {
        for row in &TABLE {
            for text in [row.key, row.title, row.action] {
                let special = text.find(['"', '\\', '<', '>', '&', '|', '\n']);
                assert_eq!(special, None, "{text}");
                assert!(text.is_ascii());
            }
        }
    }
}
