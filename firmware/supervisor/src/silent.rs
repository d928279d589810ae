//! The services of this process that stand still, named in a file of its runtime folder:
//! whoever finds the process killed by its watchdog reads there what it was.

use std::path::{Path, PathBuf};

use crate::panel::state;

/// The file, and what it says.
pub(crate) struct Silent {
    file: Option<PathBuf>,
}

impl Silent {
    /// A process that has just begun has nobody to name. Two of ours may share a folder.
    pub(crate) fn new(folder: Option<PathBuf>, process: Process) -> Self {
        let file = folder.map(|folder| folder.join(process.file()));
        let silent = Silent { file };
        silent.name(&[]);
        silent
    }

    /// Names those that stand still.
    pub(crate) fn name(&self, dead: &[String]) {
        let Some(file) = &self.file else {
            return;
        };
        let done = match dead {
            [] => match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            dead => state::replace(file, &dead),
        };
        if let Err(error) = done {
            tracing::warn!("nobody is told who stands still: {error:#}");
        }
    }
}

/// Which of ours a process is.
#[derive(Clone, Copy)]
pub(crate) enum Process {
    /// `gatehouse run`.
    Control,
    /// `gatehouse media`.
    Media,
}

impl Process {
    const ALL: [Process; 2] = [Process::Control, Process::Media];

    fn file(self) -> &'static str {
        match self {
            Process::Control => "silent",
            Process::Media => "silent-media",
        }
    }
}

/// Who stood still when the processes of a runtime folder ended.
pub(crate) fn read(folder: &Path) -> Vec<String> {
    let files = Process::ALL.map(|process| folder.join(process.file()));
    let lists = files.iter().filter_map(|file| state::read(file));
    lists.flat_map(|list: Vec<String>| list).collect()
}

/// The process's own folder below /run, if systemd gave it one (systemd.exec(5),
/// RuntimeDirectory=).
pub(crate) fn run_folder() -> Option<PathBuf> {
    let folders = std::env::var_os("RUNTIME_DIRECTORY")?;
    let first = std::env::split_paths(&folders).next();
    first.filter(|folder| folder.is_absolute())
}
