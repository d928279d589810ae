//! What the program itself needs to know.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{section, text_value};

section! {
    /// The technician's page: /livez, /readyz, /metrics. Shows figures, never people.
    Management = "management"
    /// Address and port to listen on. There is no log-in, so keep it off public networks.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9090)),
}

section! {
    /// The log, on standard error.
    Log = "log"
    /// "error", "warn", "info", "debug", "trace", or a filter like "info,transport=debug".
    level: String = "info".to_owned(),
    /// "text", "json", "journal", or "auto": journal under systemd, text on a terminal,
    /// else json.
    format: LogFormat = LogFormat::Auto,
    /// Whether a crash may tell all it knows: an image of the memory (core dump), where the system
    /// writes one, and the words of a panic. Both may hold passwords and tokens: for
    /// developers alone.
    crash_details: bool = false,
}

section! {
    /// Call records: one line of JSON for each call. Who called whom is hashed with a key
    /// of the box's own.
    Records = "records"
    /// Whether they are written.
    enabled: bool = true,
    /// The file. Unset: calls.jsonl in the state folder.
    file: Option<PathBuf> = None,
    /// Size at which a new file is begun.
    max_megabytes: u32 = 64,
    /// How many old files are kept.
    keep: u32 = 8,
}

section! {
    /// What is kept over a restart.
    State = "state"
    /// Its folder: the self-signed certificate, the key of the call records, and who is
    /// registered and which calls are up.
    folder: PathBuf = PathBuf::from("/var/lib/gatehouse"),
}

section! {
    /// How the box stops.
    Shutdown = "shutdown"
    /// How long calls may go on after SIGTERM; no new ones are taken meanwhile.
    grace: Duration = Duration::from_secs(60),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// As it fits where standard error goes.
    Auto,
    /// For eyes.
    Text,
    /// One object a line.
    Json,
    /// For journald, which keeps times and priorities itself.
    Journal,
}

impl std::str::FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            "journal" => Ok(LogFormat::Journal),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
            LogFormat::Journal => "journal",
        })
    }
}

text_value!(LogFormat, "\"auto\", \"text\", \"json\" or \"journal\"");

impl Records {
    /// Where they go.
    pub(crate) fn path(&self, state: &State) -> PathBuf {
        self.file
            .clone()
            .unwrap_or_else(|| state.folder.join("calls.jsonl"))
    }
}
