//! `gatehouse cause`: how the end of a unit, or of the box, is written down. Systemd calls it
//! (`ExecStopPost=`), as the unit's own user; what fails here is said and stops nothing.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use transport::clock;

use super::machine::{self, boot_id};
use super::{Cause, End};
use crate::silent::{self, run_folder};

/// What `gatehouse cause` is told.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder of what is written down.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/data/gatehouse/causes",
        global = true
    )]
    folder: PathBuf,
    /// The root of the machine's files.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/",
        hide = true,
        global = true
    )]
    root: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Writes down why a unit ended, as systemd tells it in SERVICE_RESULT, EXIT_CODE and
    /// EXIT_STATUS, and which of its services stood still.
    Unit {
        /// Its name: %n in a unit file.
        name: String,
    },
    /// Writes down why the box's last life ended: once, at the start of each.
    Started,
    /// Writes down that the box was shut down in order.
    Ended,
    /// Prints what is written down, the latest first.
    List,
}

/// Writes it down.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (folder, root) = (&arguments.folder, &arguments.root);
    let at = clock::now().wall.map(iq::UnixTime::millis);
    let said = match &arguments.what {
        What::Unit { name } => end_of(name, root, at, |name| std::env::var(name).ok())
            .map_or(Ok(None), |end| {
                super::add(folder, end.clone()).map(|()| Some(end))
            }),
        What::Started => machine::started(folder, root, at),
        What::Ended => machine::ended(folder, root).map(|()| None),
        What::List => {
            for end in super::Ends::read(folder).latest {
                println!("{}", serde_json::to_string(&end)?);
            }
            return Ok(());
        }
    };
    match said {
        Ok(None) => {}
        Ok(Some(end)) => eprintln!("<5>{}", end.words()),
        // The end itself must not depend on it.
        Err(error) => eprintln!(
            "<3>{}: {error}: why this ended is written nowhere but here: {}",
            folder.display(),
            environment()
        ),
    }
    Ok(())
}

/// The end of a unit; `None` if it is in order.
fn end_of(
    unit: &str,
    root: &Path,
    at: Option<u64>,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<End> {
    let cause = Cause::of_service_result(&variable("SERVICE_RESULT")?)?;
    let status = [variable("EXIT_CODE"), variable("EXIT_STATUS")];
    let status: Vec<String> = status.into_iter().flatten().collect();
    let silent = run_folder().map_or_else(Vec::new, |folder| silent::read(&folder));
    let details = match cause {
        Cause::Watchdog if silent.is_empty() => vec!["all of it".to_owned()],
        _ => silent,
    };
    Some(End {
        at,
        boot: boot_id(root),
        unit: unit.to_owned(),
        cause,
        status: (!status.is_empty()).then(|| status.join(" ")),
        details,
        count: 0,
    })
}

fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "?".to_owned());
    ["SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"]
        .map(variable)
        .join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn systemd_s_words_become_a_cause_and_an_end_in_order_is_none() {
        let told = |result: &'static str| {
            move |name: &str| match name {
                "SERVICE_RESULT" => Some(result.to_owned()),
                "EXIT_CODE" => Some("killed".to_owned()),
                "EXIT_STATUS" => Some("ABRT".to_owned()),
                _ => None,
            }
        };
        let end = |result| end_of("gatehouse.service", Path::new("/none"), None, told(result));
        assert_eq!(end("success"), None);
        let watchdog = end("watchdog").unwrap();
        assert_eq!(
            watchdog.words(),
            "gatehouse stood still and its watchdog ended it (killed ABRT): all of it"
        );
        assert_eq!(end("oom-kill").unwrap().cause, Cause::OomKill);
        assert_eq!(end("something new").unwrap().cause, Cause::Other);
        let by_hand = end_of("gatehouse.service", Path::new("/none"), None, |_| None);
        assert_eq!(by_hand, None, "systemd did not ask");
    }
}
