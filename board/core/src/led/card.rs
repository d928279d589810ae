//! The card that lies in the box and hangs beside it: the table for people, as Markdown
//! (`board/CARD.md`) and as a page to print (`board/card.html`).

use core::fmt::{self, Write};

use super::{Cell, Lamp, Pattern, Row, TABLE, UNIT};
use crate::button;

/// Writes the card as Markdown.
///
/// # Errors
///
/// Those of `out`.
pub fn write_markdown(out: &mut impl Write) -> fmt::Result {
    writeln!(out, "# Front panel\n")?;
    writeln!(out, "{INTRODUCTION}\n")?;
    writeln!(
        out,
        "| PWR | NET | IMS | SVC | What it means | What to do |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
    for row in TABLE.iter().rev() {
        for lamp in Lamp::ALL {
            match row.cell(lamp) {
                Cell::Show(pattern, _) => write!(out, "| {pattern} ")?,
                Cell::Later => write!(out, "| – ")?,
            }
        }
        writeln!(out, "| **{}** | {} |", row.title, row.action)?;
    }
    writeln!(out, "\n## Button\n")?;
    for (press, effect) in button::CARD {
        writeln!(out, "- **{press}**: {effect}")?;
    }
    writeln!(out, "\n## Rhythms\n")?;
    for pattern in RHYTHMS {
        write!(out, "- {pattern}: ")?;
        write_times(out, pattern)?;
        writeln!(out)?;
    }
    writeln!(out, "\n{ORIGIN}")
}

/// Writes the card as a page for A4 paper, each rhythm drawn as a strip of 7.2 seconds.
///
/// # Errors
///
/// Those of `out`.
pub fn write_html(out: &mut impl Write) -> fmt::Result {
    writeln!(out, "{HEAD}")?;
    writeln!(out, "<h1>Front panel</h1>\n<p>{INTRODUCTION}</p>")?;
    writeln!(out, "<table>\n<thead><tr>")?;
    for lamp in Lamp::ALL {
        writeln!(out, "<th scope=\"col\">{}</th>", lamp.label())?;
    }
    writeln!(out, "<th scope=\"col\">What it means</th>")?;
    writeln!(out, "<th scope=\"col\">What to do</th>")?;
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for row in TABLE.iter().rev() {
        write_html_row(out, row)?;
    }
    writeln!(out, "</tbody>\n</table>\n<h2>Button</h2>\n<ul>")?;
    for (press, effect) in button::CARD {
        writeln!(out, "<li><b>{press}</b>: {effect}</li>")?;
    }
    writeln!(out, "</ul>\n</body>\n</html>")
}

fn write_html_row(out: &mut impl Write, row: &Row) -> fmt::Result {
    writeln!(out, "<tr id=\"{}\">", row.key)?;
    for lamp in Lamp::ALL {
        match row.cell(lamp) {
            Cell::Show(pattern, _) => {
                write!(out, "<td>")?;
                write_strip(out, pattern)?;
                writeln!(out, "{pattern}</td>")?;
            }
            Cell::Later => writeln!(out, "<td>–</td>")?,
        }
    }
    writeln!(out, "<td><b>{}</b></td>", row.title)?;
    writeln!(out, "<td>{}</td>\n</tr>", row.action)
}

/// A strip of time: black where the lamp is lit.
fn write_strip(out: &mut impl Write, pattern: Pattern) -> fmt::Result {
    let width = STRIP_UNITS * UNIT_WIDTH;
    write!(
        out,
        "<svg width=\"{width}\" height=\"8\" aria-hidden=\"true\">"
    )?;
    write!(
        out,
        "<rect x=\".5\" y=\".5\" width=\"{}\" height=\"7\" fill=\"none\" stroke=\"#888\"/>",
        width - 1
    )?;
    let mut unit = 0;
    while unit < STRIP_UNITS {
        let from = unit;
        let lit = pattern.is_lit(UNIT * from);
        while unit < STRIP_UNITS && pattern.is_lit(UNIT * unit) == lit {
            unit += 1;
        }
        if lit {
            write!(
                out,
                "<rect x=\"{}\" width=\"{}\" height=\"8\"/>",
                from * UNIT_WIDTH,
                (unit - from) * UNIT_WIDTH
            )?;
        }
    }
    writeln!(out, "</svg>")
}

/// How long a rhythm is lit and dark, in seconds.
fn write_times(out: &mut impl Write, pattern: Pattern) -> fmt::Result {
    for (place, (lit, time)) in pattern.waveform().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let word = if lit { "lit" } else { "dark" };
        write!(out, "{comma}{:.1} s {word}", time.as_secs_f32())?;
    }
    Ok(())
}

const INTRODUCTION: &str = "Look which lamp it is and how it blinks; colours, where there are any, only repeat that. \
Count the blinks between two pauses. A dash stands for whatever the rest of the table says of this lamp. \
Where several rows fit, the one further down is the more urgent one.";

const ORIGIN: &str = "Written from the table in `board/core/src/led/table.rs` by \
`cargo run -p board-core --example panel -- card`; do not edit.";

const RHYTHMS: [Pattern; 7] = [
    Pattern::Slow,
    Pattern::Fast,
    Pattern::Beat,
    Pattern::CounterBeat,
    Pattern::Wink,
    Pattern::Blinks(1),
    Pattern::Blinks(3),
];

const STRIP_UNITS: u32 = 24;
const UNIT_WIDTH: u32 = 3;

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Gatehouse: front panel</title>
<style>
@page { size: A4 landscape; margin: 9mm }
body { font: 8pt/1.25 sans-serif; color: #000; background: #fff; margin: 1em auto; max-width: 70em }
h1 { font-size: 14pt; margin: 0 } h2 { font-size: 10pt; margin: .5em 0 0 } p, ul { margin: .3em 0 }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #888; padding: .1em .4em; text-align: left; vertical-align: top }
svg { display: block; margin: .15em 0 }
tr { break-inside: avoid } thead { display: table-header-group }
</style>
</head>
<body>"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn the_printed_card_says_what_the_table_says() {
        let mut card = String::new();
        write_markdown(&mut card).unwrap();
        let kept = include_str!("../../../CARD.md");
        let remedy = "cargo run -p board-core --example panel -- card > board/CARD.md";
        assert!(
            card == kept,
            "board/CARD.md is not what the table says: {remedy}"
        );

        let mut page = String::new();
        write_html(&mut page).unwrap();
        let kept = include_str!("../../../card.html");
        let remedy = "cargo run -p board-core --example panel -- card-page > board/card.html";
        assert!(
            page == kept,
            "board/card.html is not what the table says: {remedy}"
        );
    }

    #[test]
    fn every_rhythm_of_the_table_fits_on_the_strip() {
        let strip = UNIT * STRIP_UNITS;
        for cell in TABLE.iter().flat_map(|row| row.lamps) {
            if let Cell::Show(pattern, _) = cell {
                assert!(pattern.period().is_none_or(|period| period <= strip));
            }
        }
    }
}
