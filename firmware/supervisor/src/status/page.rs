//! The overview as a page. It is whole without a script, fits a telephone and paper, and says
//! nothing by colour alone.

use std::fmt::{self, Write as _};

use board_core::led::drawing;

use super::overview::{Figures, Overview, moment, span};

/// How the page looks.
pub(super) const STYLE: &str = include_str!("style.css");
/// What keeps it up to date.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// The whole page.
pub(super) fn page(overview: &Overview) -> String {
    let mut out = String::new();
    // A String takes everything.
    let _ = write_page(&mut out, overview);
    out
}

fn write_page(out: &mut String, overview: &Overview) -> fmt::Result {
    let title = overview.states.first().map_or("Gatehouse", |it| it.title);
    let title = Text(title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} – Gatehouse</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<script src=\"/page.js\" defer></script>\n\
         </head>\n<body>\n<header>\n<p class=\"name\">Gatehouse</p>\n<p>Version {}, {}</p>\n\
         </header>\n<main>\n",
        Text(overview.version),
        Text(
            overview
                .board
                .unwrap_or("on a machine without a front panel")
        )
    )?;
    write_state(out, overview)?;
    write_panel(out, overview)?;
    write_figures(out, overview.figures.as_ref())?;
    write_updates(out, overview)?;
    write_ends(out, overview)?;
    write_machine(out, overview)?;
    let at = overview.at.map_or_else(no_time, moment);
    write!(
        out,
        "</main>\n<footer>\n<p id=\"at\">As of {at}.</p>\n<p class=\"controls\"><a href=\"/\">Look \
         again</a> <button type=\"button\" id=\"hold\" aria-pressed=\"false\" hidden>Hold \
         still</button></p>\n<p>For programs: <a href=\"/state.json\">this page as JSON</a>, \
         <a href=\"/metrics\">figures for Prometheus</a>.</p>\n</footer>\n</body>\n</html>\n"
    )
}

fn write_state(out: &mut String, overview: &Overview) -> fmt::Result {
    out.push_str("<section id=\"state\" aria-live=\"polite\">\n");
    for (place, said) in overview.states.iter().enumerate() {
        let level = if place == 0 { "h1" } else { "h2" };
        let (title, action) = (Text(said.title), Text(said.action));
        write!(out, "<{level}>{title}</{level}>\n<p>{action}</p>\n")?;
    }
    if overview.ready {
        out.push_str("<p>New calls are taken.</p>\n");
    } else {
        out.push_str("<p>No new calls are sent here, because:</p>\n<ul>\n");
        for reason in &overview.unready {
            writeln!(out, "<li>{}</li>", Text(reason))?;
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    Ok(())
}

fn write_panel(out: &mut String, overview: &Overview) -> fmt::Result {
    out.push_str(
        "<section id=\"panel\" aria-labelledby=\"panel-name\">\n<h2 id=\"panel-name\">Front \
         panel</h2>\n",
    );
    drawing::write_svg(out, overview.drawn)?;
    out.push_str(
        "<table>\n<thead><tr><th scope=\"col\">Lamp</th><th scope=\"col\">Shows</th><th \
         scope=\"col\">Because</th></tr></thead>\n<tbody>\n",
    );
    for lamp in &overview.lamps {
        let (label, pattern) = (Text(lamp.label), Text(&lamp.pattern));
        let because = Text(lamp.because);
        writeln!(
            out,
            "<tr><th scope=\"row\">{label}</th><td>{pattern}</td><td>{because}</td></tr>"
        )?;
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
    Ok(())
}

fn write_figures(out: &mut String, figures: Option<&Figures>) -> fmt::Result {
    head(out, "calls", "Calls and users")?;
    let Some(figures) = figures else {
        out.push_str("<p>The gateway tells no figures at the moment.</p>\n</section>\n");
        return Ok(());
    };
    let calls = match figures.capacity {
        Some(capacity) => format!("{} of at most {capacity}", figures.calls),
        None => figures.calls.to_string(),
    };
    let servers = format!(
        "{} answer, {} did not lately, {} are down",
        figures.servers_up, figures.servers_suspect, figures.servers_down
    );
    let kept = if figures.state_kept { "yes" } else { "no" };
    out.push_str("<dl>\n");
    item(out, "Calls", &calls)?;
    item(
        out,
        "Answered since the start",
        &figures.calls_answered.to_string(),
    )?;
    item(
        out,
        "Turned away since the start",
        &figures.calls_refused.to_string(),
    )?;
    item(out, "Browsers connected", &figures.browsers.to_string())?;
    item(out, "Registrations", &figures.registrations.to_string())?;
    item(out, "Servers of the core", &servers)?;
    item(
        out,
        "Media workers that answer",
        &figures.workers.to_string(),
    )?;
    item(out, "Calls outlive a restart", kept)?;
    if figures.call_records_lost > 0 {
        item(
            out,
            "Call records lost",
            &figures.call_records_lost.to_string(),
        )?;
    }
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

fn write_updates(out: &mut String, overview: &Overview) -> fmt::Result {
    head(out, "updates", "Versions and updates")?;
    let Some(updates) = &overview.updates else {
        out.push_str("<p>No update service on this machine.</p>\n<dl>\n");
        item(out, "Gateway", overview.version)?;
        out.push_str("</dl>\n</section>\n");
        return Ok(());
    };
    writeln!(out, "<p>{}</p>", Text(&updates.words))?;
    if let Some(fault) = &updates.fault {
        writeln!(out, "<p>{}</p>", Text(fault))?;
    }
    out.push_str("<dl>\n");
    item(out, "Gateway", overview.version)?;
    if let Some(slot) = &updates.slot {
        item(out, "Slot that runs", slot)?;
    }
    if let Some(running) = &updates.running {
        let release = format!("{}, security epoch {}", running.version, running.epoch);
        item(out, "Its version", &release)?;
    }
    if let Some(floor) = updates.floor {
        let floor = format!("below security epoch {floor}");
        item(out, "Not taken any more", &floor)?;
    }
    if let Some(percent) = updates.percent {
        item(out, "Done", &format!("{percent} %"))?;
    }
    if let Some(taken_back) = &updates.taken_back {
        item(out, "Taken back", &taken_back.release.version)?;
    }
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

fn write_ends(out: &mut String, overview: &Overview) -> fmt::Result {
    head(out, "ends", "Why it ended before")?;
    if overview.ends.is_empty() {
        out.push_str("<p>Nothing is written down.</p>\n</section>\n");
        return Ok(());
    }
    out.push_str("<ol>\n");
    for end in &overview.ends {
        let at = end.at.map_or_else(no_time, moment);
        writeln!(out, "<li>{at}: {}</li>", Text(&end.words))?;
    }
    out.push_str("</ol>\n</section>\n");
    Ok(())
}

fn write_machine(out: &mut String, overview: &Overview) -> fmt::Result {
    head(out, "machine", "The machine")?;
    let memory = &overview.memory;
    let free = format!("{} of {}", size(memory.free), size(memory.total));
    out.push_str("<dl>\n");
    item(out, "Runs for", &span(overview.up_for))?;
    item(out, "The gateway runs for", &span(overview.gateway_up_for))?;
    if let Some(gateway) = memory.gateway {
        item(out, "Memory of the gateway", &size(gateway))?;
    }
    item(out, "Memory that nobody uses", &free)?;
    if let Some(degrees) = overview.temperature {
        item(out, "Temperature", &format!("{degrees} °C"))?;
    }
    out.push_str("</dl>\n</section>\n");
    Ok(())
}

fn head(out: &mut String, id: &str, name: &str) -> fmt::Result {
    writeln!(
        out,
        "<section id=\"{id}\" aria-labelledby=\"{id}-name\">\n<h2 id=\"{id}-name\">{name}</h2>"
    )
}

fn item(out: &mut String, name: &str, value: &str) -> fmt::Result {
    writeln!(
        out,
        "<div><dt>{name}</dt><dd>{value}</dd></div>",
        value = Text(value)
    )
}

fn size(octets: u64) -> String {
    format!("{} MiB", octets >> 20)
}

fn no_time() -> String {
    "an unknown time".to_owned()
}

/// Text between tags or quotes, which stays text.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => to.write_str("&amp;")?,
                '<' => to.write_str("&lt;")?,
                '>' => to.write_str("&gt;")?,
                '"' => to.write_str("&quot;")?,
                '\'' => to.write_str("&#39;")?,
                letter => to.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::overview::tests::overview;
    use super::*;
    use board_core::condition::{Core, Network};

    #[test]
    fn the_page_says_in_words_how_the_box_is_and_what_to_do() {
        let page = page(&overview(|state| state.network = Network::NoLink, "none"));
        for words in [
            "<h1>No network link",
            "aria-label=\"PWR: on; NET: 1 blink",
            "No update service on this machine.",
            "Nothing is written down.",
            "The gateway tells no figures",
        ] {
            assert!(page.contains(words), "{words}:\n{page}");
        }
        assert!(!page.contains("style=\"") && !page.contains("onclick"));
    }

    #[test]
    fn what_others_write_stays_text() {
        let mut overview = overview(|state| state.core = Core::Refuses, "none");
        overview.unready = vec!["<script>alert('x')</script> & \"more\"".to_owned()];
        overview.ready = false;
        let page = page(&overview);
        let words = "<li>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;";
        assert!(page.contains(words), "{page}");
    }

    #[test]
    fn every_section_can_be_found_by_the_script_and_is_closed() {
        let page = page(&overview(|_| (), "none"));
        let count = |words: &str| page.matches(words).count();
        assert_eq!(count("<section id="), 6);
        assert_eq!(count("</section>"), 6);
        assert_eq!(count("<h1>"), 1);
        assert_eq!(count("<div>"), count("</dd></div>"));
    }
}
