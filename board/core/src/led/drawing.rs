//! The front panel drawn as SVG, blinking like the real one: for the status page, without
//! scripts or style sheets, so that the strictest content policy lets it through.

use core::fmt::{self, Write};

use super::{Colour, Lamp, Pattern, Shown, States};

/// Writes the panel as it looks while these states hold. Each lamp is a ring that is filled
/// while it is lit, its label above and its rhythm in words below.
///
/// # Errors
///
/// Those of `out`.
pub fn write_svg(out: &mut impl Write, states: States) -> fmt::Result {
    let shown = states.shown();
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 480 120\" width=\"480\" \
         font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\" role=\"img\" aria-label=\""
    )?;
    write_description(out, &shown)?;
    writeln!(out, "\">")?;
    writeln!(
        out,
        "<rect width=\"480\" height=\"120\" rx=\"8\" fill=\"#222\"/>"
    )?;
    for lamp in Lamp::ALL {
        write_lamp(out, lamp, &shown[lamp.place()])?;
    }
    writeln!(out, "</svg>")
}

/// Writes what the lamps show in one line of words: `PWR on, NET 3 blinks, pause; …`.
///
/// # Errors
///
/// Those of `out`.
pub fn write_description(out: &mut impl Write, shown: &[Shown; 4]) -> fmt::Result {
    for lamp in Lamp::ALL {
        let semicolon = if lamp == Lamp::Power { "" } else { "; " };
        let pattern = shown[lamp.place()].pattern;
        write!(out, "{semicolon}{}: {pattern}", lamp.label())?;
    }
    Ok(())
}

fn write_lamp(out: &mut impl Write, lamp: Lamp, shown: &Shown) -> fmt::Result {
    let x = [60, 180, 300, 420][lamp.place()];
    let fill = paint(shown.colour);
    writeln!(
        out,
        "<text x=\"{x}\" y=\"24\" fill=\"#fff\" font-weight=\"bold\">{}</text>",
        lamp.label()
    )?;
    let first = if shown.pattern.is_lit(core::time::Duration::ZERO) {
        fill
    } else {
        "none"
    };
    write!(
        out,
        "<circle cx=\"{x}\" cy=\"54\" r=\"14\" stroke=\"#bbb\" stroke-width=\"2\" fill=\"{first}\">"
    )?;
    if let Some(period) = shown.pattern.period() {
        write_animation(out, shown.pattern, fill, period.as_millis())?;
    }
    writeln!(out, "</circle>")?;
    let words = Words(shown.pattern);
    writeln!(out, "<text x=\"{x}\" y=\"94\" fill=\"#fff\">{words}</text>")
}

fn write_animation(
    out: &mut impl Write,
    pattern: Pattern,
    fill: &str,
    period: u128,
) -> fmt::Result {
    write!(
        out,
        "<animate attributeName=\"fill\" calcMode=\"discrete\" repeatCount=\"indefinite\" dur=\"{period}ms\" values=\""
    )?;
    for (place, (lit, _)) in pattern.waveform().enumerate() {
        let semicolon = if place == 0 { "" } else { ";" };
        write!(out, "{semicolon}{}", if lit { fill } else { "none" })?;
    }
    write!(out, "\" keyTimes=\"")?;
    let mut at = 0;
    for (place, (_, time)) in pattern.waveform().enumerate() {
        let semicolon = if place == 0 { "" } else { ";" };
        let share = at * 10_000 / period;
        write!(out, "{semicolon}0.{share:04}")?;
        at += time.as_millis();
    }
    write!(out, "\"/>")
}

/// A rhythm in the few words that fit below a lamp.
struct Words(Pattern);

impl fmt::Display for Words {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Pattern::CounterBeat => to.write_str("flashes in turn"),
            Pattern::Wink => to.write_str("on, short gaps"),
            Pattern::Blinks(1) => to.write_str("1 blink"),
            Pattern::Blinks(count) => write!(to, "{count} blinks"),
            other => other.fmt(to),
        }
    }
}

/// Colours that stand out from the dark panel, by at least 4.5 to 1.
const fn paint(colour: Colour) -> &'static str {
    match colour {
        Colour::Green => "#3ddc5a",
        Colour::Amber => "#ffb000",
        Colour::Red => "#ff6b5e",
        Colour::Blue => "#6db3ff",
        Colour::White => "#ffffff",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::led::State;
    use std::string::String;

    #[test]
    fn the_drawing_blinks_as_the_lamps_do_and_says_so_in_words() {
        let mut svg = String::new();
        write_svg(&mut svg, States::of(&[State::NoAddress])).unwrap();
        let label = "aria-label=\"PWR: on; NET: 2 blinks, pause; IMS: off; SVC: off\"";
        assert!(svg.contains(label), "{svg}");
        let animation = "dur=\"3000ms\" values=\"#ffb000;none;#ffb000;none\" \
                         keyTimes=\"0.0000;0.1000;0.2000;0.3000\"";
        assert!(svg.contains(animation), "{svg}");
        assert_eq!(svg.matches("<animate ").count(), 1);
        assert!(!svg.contains("style"), "content policies forbid it");
    }
}
