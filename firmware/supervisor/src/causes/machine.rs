//! How the box's last life ended, as far as its hardware and its own marks tell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use board::watchdog::{ResetCause as _, Watchdog};
use serde::{Deserialize, Serialize};

use super::{BOX, Cause, End};

/// What one life of the kernel leaves for the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Marks {
    /// Which life this is of.
    boot: String,
    /// It was shut down in order.
    clean: bool,
    /// Reports of the kernel's panics that are known, with their times.
    panics: Vec<(String, u64)>,
}

/// At the start of a life: why the one before ended. `None` if this was asked before in
/// this life, or if there was none before.
pub(super) fn started(folder: &Path, root: &Path, at: Option<u64>) -> io::Result<Option<End>> {
    let path = folder.join(MARKS);
    let boot = boot_id(root);
    let before = read(&path);
    let panics = panics(root);
    if before.as_ref().is_some_and(|marks| marks.boot == boot) {
        return Ok(None);
    }
    let end = before.map(|before| {
        let is_new = |report: &&(String, u64)| !before.panics.contains(report);
        let reports = panics.iter().filter(is_new);
        let reports: Vec<String> = reports.map(|(name, _)| name.clone()).collect();
        let reset: Vec<&str> = reset(root);
        let cause = if !reports.is_empty() {
            Cause::Panic
        } else if reset.contains(&WATCHDOG) {
            Cause::Watchdog
        } else if before.clean {
            Cause::Clean
        } else {
            Cause::PowerCut
        };
        let known = if cause == Cause::Watchdog {
            WATCHDOG
        } else {
            ""
        };
        let more = reset.into_iter().filter(|words| *words != known);
        let mut details: Vec<String> = more.map(str::to_owned).collect();
        details.extend(reports.iter().map(|name| format!("report {name}")));
        End {
            at,
            boot: boot.clone(),
            unit: BOX.to_owned(),
            cause,
            status: None,
            details,
            count: 0,
        }
    });
    if let Some(end) = &end {
        super::add(folder, end.clone())?;
    }
    let clean = false;
    let marks = Marks {
        boot,
        clean,
        panics,
    };
    write(&path, &marks)?;
    Ok(end)
}

/// At the end of a life: it is in order.
pub(super) fn ended(folder: &Path, root: &Path) -> io::Result<()> {
    let path = folder.join(MARKS);
    let mut marks = read(&path).unwrap_or_default();
    marks.boot = boot_id(root);
    marks.clean = true;
    write(&path, &marks)
}

/// The name of the kernel's life.
pub(crate) fn boot_id(root: &Path) -> String {
    let text = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"));
    text.unwrap_or_default().trim().to_owned()
}

fn read(path: &Path) -> Option<Marks> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, marks: &Marks) -> io::Result<()> {
    super::write(path, &serde_json::to_vec(marks)?)
}

/// What the hardware watchdog says of the last reset.
fn reset(root: &Path) -> Vec<&'static str> {
    let board = board::identify(root).ok();
    let name = board.map_or("", |board| board.watchdog);
    let reset = Watchdog::find(name, root).and_then(|watchdog| watchdog.reset().ok());
    reset.map_or_else(Vec::new, |reset| reset.words().collect())
}

/// Reports of panics: where the kernel keeps them, and where systemd-pstore.service puts
/// them. Their text may hold secrets, and is neither read nor shown.
fn panics(root: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for folder in PSTORE {
        look_for_panics(&root.join(folder), 0, &mut found);
    }
    found.sort();
    found
}

fn look_for_panics(folder: &Path, depth: u32, found: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path: PathBuf = entry.path();
        let Ok(about) = entry.metadata() else {
            continue;
        };
        if about.is_dir() && depth < DEEPEST {
            look_for_panics(&path, depth + 1, found);
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if !about.is_file() || !name.starts_with("dmesg") || found.len() >= MOST_REPORTS {
            continue;
        }
        let time = about.modified().ok();
        let time = time.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        found.push((name, time.map_or(0, |it| it.as_secs())));
    }
}

const MARKS: &str = "box.marks";
/// As the board's watchdog words it.
const WATCHDOG: &str = "the watchdog was not fed";
const PSTORE: [&str; 2] = ["sys/fs/pstore", "var/lib/systemd/pstore"];
const DEEPEST: u32 = 2;
const MOST_REPORTS: usize = 64;
