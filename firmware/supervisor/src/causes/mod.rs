//! Why the box, or one of its programs, ended: one line of JSON each, kept over reboots in a
//! folder with one file for each unit of systemd, so that units of different users never wait
//! for each other. Each file is bounded, and replaced as a whole: a cut leaves the old one.

mod machine;
#[cfg(test)]
mod tests;
mod verb;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use machine::boot_id;
pub(crate) use verb::{Arguments, run};

/// Why something ended. Its words for programs never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// The box: it was told to, and put everything in order.
    Clean,
    /// A program, or the box, did not feed its watchdog.
    Watchdog,
    /// The kernel stopped itself.
    Panic,
    /// The box was without power, or somebody pressed its reset.
    PowerCut,
    /// A program said that it cannot go on.
    ExitCode,
    /// A program was killed by a signal.
    Signal,
    /// A program died and left an image of its memory.
    CoreDump,
    /// The system ran out of memory.
    OomKill,
    /// A program took too long to start or stop.
    Timeout,
    /// A program could not be started: something that it needs is missing.
    Resources,
    /// A program was started too often.
    StartLimitHit,
    /// Anything else that systemd says.
    #[serde(other)]
    Other,
}

impl Cause {
    /// As a label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Cause::Clean => "clean",
            Cause::Watchdog => "watchdog",
            Cause::Panic => "panic",
            Cause::PowerCut => "power-cut",
            Cause::ExitCode => "exit-code",
            Cause::Signal => "signal",
            Cause::CoreDump => "core-dump",
            Cause::OomKill => "oom-kill",
            Cause::Timeout => "timeout",
            Cause::Resources => "resources",
            Cause::StartLimitHit => "start-limit-hit",
            Cause::Other => "other",
        }
    }

    /// What systemd calls it in `$SERVICE_RESULT` (systemd.exec(5)); `None` if all is well.
    fn of_service_result(result: &str) -> Option<Self> {
        Some(match result {
            "success" | "exec-condition" => return None,
            "watchdog" => Cause::Watchdog,
            "exit-code" => Cause::ExitCode,
            "signal" => Cause::Signal,
            "core-dump" => Cause::CoreDump,
            "oom-kill" => Cause::OomKill,
            "timeout" => Cause::Timeout,
            "resources" => Cause::Resources,
            "start-limit-hit" => Cause::StartLimitHit,
            _ => Cause::Other,
        })
    }

    /// Whether somebody should look into it.
    pub(crate) fn is_trouble(self) -> bool {
        self != Cause::Clean
    }
}

/// One end of something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    /// When it was noticed, in milliseconds since 1970; `None` if the clock was not set.
    pub(crate) at: Option<u64>,
    /// The life of the kernel in which it was noticed.
    pub(crate) boot: String,
    /// The unit of systemd; [`BOX`] for the whole box.
    pub(crate) unit: String,
    /// Why.
    pub(crate) cause: Cause,
    /// How its process ended: `$EXIT_CODE` and `$EXIT_STATUS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// Which of its services stood still, or what else is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// How often this unit ended so, this time included.
    pub(crate) count: u64,
}

impl End {
    /// It in one sentence without a full stop.
    pub(crate) fn words(&self) -> String {
        let unit = self.unit.trim_end_matches(".service");
        let mut words = match (self.unit.as_str(), self.cause) {
            (BOX, Cause::Clean) => "the box was shut down in order".to_owned(),
            (BOX, Cause::Watchdog) => "the box stood still and its watchdog reset it".to_owned(),
            (BOX, Cause::Panic) => "the kernel stopped itself (panic)".to_owned(),
            (BOX, Cause::PowerCut) => "the box lost its power, or was reset by hand".to_owned(),
            (BOX, _) => "the box ended".to_owned(),
            (_, Cause::Clean) => format!("{unit} ended"),
            (_, Cause::Watchdog) => format!("{unit} stood still and its watchdog ended it"),
            (_, Cause::Panic | Cause::CoreDump) => format!("{unit} crashed"),
            (_, Cause::PowerCut | Cause::Other) => format!("{unit} failed"),
            (_, Cause::ExitCode) => format!("{unit} gave up: its log says why"),
            (_, Cause::Signal) => format!("{unit} was killed"),
            (_, Cause::OomKill) => format!("{unit} was killed because memory ran out"),
            (_, Cause::Timeout) => format!("{unit} took too long to start or stop"),
            (_, Cause::Resources) => format!("{unit} lacked something to start with"),
            (_, Cause::StartLimitHit) => format!("{unit} was started too often"),
        };
        if let Some(status) = &self.status {
            words += &format!(" ({status})");
        }
        if !self.details.is_empty() {
            words += &format!(": {}", self.details.join("; "));
        }
        words
    }
}

/// What is known of ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ends {
    /// The latest first, of all units.
    pub(crate) latest: Vec<End>,
    /// How often each unit ended for which cause.
    pub(crate) counts: BTreeMap<(String, Cause), u64>,
}

impl Ends {
    /// All that stand in a folder; none if there is no such folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut ends = Ends::default();
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = files.map(|file| file.path());
        let ours = paths.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
        for path in ours.take(MOST_UNITS) {
            for end in read_file(&path) {
                let count = ends.counts.entry((end.unit.clone(), end.cause));
                let count = count.or_default();
                *count = end.count.max(*count);
                ends.latest.push(end);
            }
        }
        // Those without a time were noticed before the clock was set.
        ends.latest.sort_by_key(|end| std::cmp::Reverse(end.at));
        ends
    }
}

/// Adds an end to those of its unit, counted, and on the disk when this returns.
pub(crate) fn add(folder: &Path, mut end: End) -> io::Result<()> {
    let path = folder.join(format!("{}.jsonl", file_name(&end.unit)));
    let mut kept = read_file(&path);
    let before = kept.iter().filter(|it| it.cause == end.cause);
    end.count = before.map(|it| it.count).max().unwrap_or(0) + 1;
    kept.push(end);
    make_room(&mut kept);
    let mut text = Vec::new();
    for end in &kept {
        serde_json::to_writer(&mut text, end)?;
        text.push(b'\n');
    }
    write(&path, &text)
}

/// Drops the oldest; but of each cause the newest stays, because it has the count.
fn make_room(kept: &mut Vec<End>) {
    while kept.len() > MOST_ENDS {
        let is_repeated = |at: &usize| {
            let later = &kept[at + 1..];
            later.iter().any(|it| it.cause == kept[*at].cause)
        };
        let oldest = (0..kept.len()).find(is_repeated).unwrap_or(0);
        kept.remove(oldest);
    }
}

/// The lines of a file that can be read: a line of a newer version is not.
fn read_file(path: &Path) -> Vec<End> {
    let is_ours = fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() < LONGEST_FILE);
    let text = if is_ours {
        fs::read_to_string(path).unwrap_or_default()
    } else {
        String::new()
    };
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Replaces a file, and returns when the disk has it.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    let written = file
        .set_permissions(fs::Permissions::from_mode(0o640))
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The name of a unit, fit for a file.
fn file_name(unit: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_@".contains(letter);
    let name = unit.trim_end_matches(".service").chars();
    let name: String = name
        .map(|letter| if fits(letter) { letter } else { '_' })
        .take(64)
        .collect();
    if name.is_empty() {
        "_".to_owned()
    } else {
        name
    }
}

/// The name of the whole box among the units.
pub(crate) const BOX: &str = "box";

/// The folder within that of `[state]`.
pub(crate) const FOLDER: &str = "causes";
/// Ends that are kept of each unit.
const MOST_ENDS: usize = 64;
const MOST_UNITS: usize = 32;
const LONGEST_FILE: u64 = 256 * 1024;
