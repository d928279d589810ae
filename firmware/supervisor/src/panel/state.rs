//! What the programs of the box tell each other in small files under `/run`: each is one
//! JSON object, replaced as a whole, that everybody on the box may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use board_core::condition::{Core, Faults, Network, Phase, Update};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where the gateway says how it is, under `/run`: each second and at each change.
pub(crate) const GATEWAY: &str = "gatehouse/state.json";
/// Where the updater says how updates stand, under `/run`.
pub(crate) const UPDATES: &str = "gatehouse-ota/state.json";
/// Where the front panel says what it shows, under `/run`.
pub(crate) const PANEL: &str = "gatehouse-panel/state.json";

/// How the gateway is. What is missing is as at the start of the box.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// When this was written, in milliseconds since the kernel started ([`uptime`]): once it
    /// is old, the gateway is dead.
    pub(crate) written_at_ms: u64,
    /// Where the box is in its life.
    pub(crate) phase: Phase,
    /// What it has of a network.
    pub(crate) network: Network,
    /// What it has of an IMS core.
    pub(crate) core: Core,
    /// Calls that are up.
    pub(crate) calls: u32,
    /// The calls that there is room for.
    pub(crate) capacity: Option<u32>,
    /// What keeps the box from its work.
    pub(crate) faults: Faults,
}

/// What the front panel wants to know of updates; the updater's file says more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Updates {
    /// What the lamps show of them.
    pub(crate) lamp: Update,
}

/// What the front panel shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The board's name; `simulated` where there is none.
    pub(crate) board: String,
    /// The states that hold, by their keys in the table, the most urgent first.
    pub(crate) states: Vec<String>,
    /// The title of the most urgent one.
    pub(crate) title: String,
    /// The lamps in words, from left to right.
    pub(crate) lamps: String,
    /// Somebody looks for the box.
    pub(crate) locate: bool,
}

/// How long ago the kernel started, suspended or not: the same for all programs.
pub(crate) fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// What a file says; `None` if there is none or it makes no sense.
pub(crate) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Replaces a file at once, so that nobody reads half of it.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    let new = path.with_extension("new");
    let write = || {
        let mut file = fs::File::create(&new)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(&text)?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panel::tests::Run;

    #[test]
    fn the_gateway_s_words_for_its_state_do_not_change() {
        let text = r#"{
            "written_at_ms": 41230, "phase": "running", "network": "no-time", "core": "refuses",
            "calls": 3, "capacity": 30, "faults": {"thermal": true}
        }"#;
        let expected = State {
            written_at_ms: 41_230,
            phase: Phase::Running,
            network: Network::NoTime,
            core: Core::Refuses,
            calls: 3,
            capacity: Some(30),
            faults: Faults {
                thermal: true,
                ..Faults::default()
            },
        };
        let run = Run::new();
        run.write(GATEWAY, text);
        assert_eq!(read(&run.path(GATEWAY)), Some(expected.clone()));
        replace(&run.path(GATEWAY), &expected).unwrap();
        assert_eq!(read(&run.path(GATEWAY)), Some(expected));
        let mode = fs::metadata(run.path(GATEWAY))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn of_the_updater_s_words_only_those_for_the_lamps_are_read() {
        let run = Run::new();
        run.write(
            UPDATES,
            r#"{"slot": "A", "lamp": "rolled-back", "words": "…"}"#,
        );
        let updates: Updates = read(&run.path(UPDATES)).unwrap();
        assert_eq!(updates.lamp, Update::RolledBack);
        run.write(UPDATES, "half a fi");
        assert_eq!(read::<Updates>(&run.path(UPDATES)), None);
    }
}
