//! All that a technician sees of the box, as one typed value: the page and `/state.json` are
//! two views of it. Figures, never people.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use board_core::condition::{Condition, Update};
use board_core::led::{Lamp, Row, State as Led, States};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use transport::clock;

use super::{ANSWER_TIME, Snapshot, Sources};
use crate::causes::{Cause, End, Ends};
use crate::health::Health;
use crate::panel::state::{self, PANEL, Shown, State, UPDATES};
use crate::surroundings::Outlook;

/// Where the overview comes from.
pub(crate) struct About {
    pub(crate) outlook: Outlook,
    pub(crate) health: Health,
    /// What is wrong with the configuration, or what else the box waits for.
    pub(crate) waits_for: Mutex<Vec<String>>,
    /// The folder of what ended why.
    pub(crate) causes: PathBuf,
    pub(crate) started_at: Instant,
    /// The services; none while the box waits.
    pub(crate) sources: Option<Arc<Sources>>,
}

/// The box at one moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Overview {
    /// Whether new calls are taken.
    pub(super) ready: bool,
    /// Why not.
    pub(super) unready: Vec<String>,
    /// The states that hold, the most urgent first.
    pub(super) states: Vec<Said>,
    /// The lamps, from left to right.
    pub(super) lamps: Vec<LampSaid>,
    /// What the front panel is told.
    pub(super) condition: State,
    /// Of the program.
    pub(super) version: &'static str,
    /// What the machine is; unknown machines have no front panel.
    pub(super) board: Option<&'static str>,
    /// Milliseconds since 1970; `None` if the clock is not set.
    pub(super) at: Option<u64>,
    /// Seconds since the kernel started.
    pub(super) up_for: u64,
    /// Seconds since the gateway started.
    pub(super) gateway_up_for: u64,
    /// `None` where no service updates the machine.
    pub(super) updates: Option<Updates>,
    /// `None` while the box waits, or does not answer.
    pub(super) figures: Option<Figures>,
    pub(super) memory: Memory,
    /// Degrees Celsius; `None` on a board that does not tell.
    pub(super) temperature: Option<i32>,
    /// Why the box and its programs ended, the latest first.
    pub(super) ends: Vec<EndSaid>,
    #[serde(skip)]
    pub(super) drawn: States,
}

/// A state of the table of lamps.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Said {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) action: &'static str,
}

/// What a lamp shows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LampSaid {
    pub(super) label: &'static str,
    pub(super) pattern: String,
    pub(super) colour: &'static str,
    /// The state that makes it do so; empty if none that is worth a word.
    pub(super) because: &'static str,
}

/// What the update service says of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Updates {
    /// The slot that runs.
    pub(super) slot: Option<String>,
    /// What is in it.
    pub(super) running: Option<Release>,
    /// How far a download or an installation is, in per cent.
    pub(super) percent: Option<u8>,
    /// The last update, if it was taken back.
    pub(super) taken_back: Option<TakenBack>,
    /// The least security epoch that is taken.
    pub(super) floor: Option<u32>,
    /// What is wrong.
    pub(super) fault: Option<String>,
    /// All of it in one plain sentence.
    pub(super) words: String,
    lamp: Update,
}

/// What is in a slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Release {
    pub(super) version: String,
    pub(super) epoch: u32,
}

/// What was tried.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct TakenBack {
    pub(super) release: Release,
}

/// What the services count.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) calls: u64,
    pub(super) capacity: Option<u32>,
    pub(super) calls_answered: u64,
    pub(super) calls_refused: u64,
    /// Browsers that are connected.
    pub(super) browsers: u64,
    pub(super) registrations: u64,
    /// Servers of the core, by how they stand.
    pub(super) servers_up: u64,
    pub(super) servers_suspect: u64,
    pub(super) servers_down: u64,
    /// Media workers that answer.
    pub(super) workers: usize,
    /// Whether registrations and calls are kept over a restart.
    pub(super) state_kept: bool,
    pub(super) call_records_lost: u64,
}

/// Octets.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    /// Of the gateway's own process.
    pub(super) gateway: Option<u64>,
    /// That nobody uses.
    pub(super) free: u64,
    pub(super) total: u64,
}

/// One end of the box or of a program.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EndSaid {
    pub(super) at: Option<u64>,
    pub(super) unit: String,
    pub(super) cause: Cause,
    pub(super) words: String,
}

impl About {
    /// Why no new calls are taken.
    pub(super) fn unready(&self, now: Instant) -> Vec<String> {
        let mut reasons = self.waits_for().clone();
        reasons.extend(self.health.verdict(now).unready);
        reasons
    }

    /// Says what the box waits for; what it was before.
    pub(crate) fn set_waits_for(&self, reasons: Vec<String>) -> Vec<String> {
        std::mem::replace(&mut *self.waits_for(), reasons)
    }

    fn waits_for(&self) -> MutexGuard<'_, Vec<String>> {
        self.waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The box at this moment.
    pub(super) async fn overview(&self) -> Overview {
        let snapshot = match &self.sources {
            Some(sources) => Some(sources.snapshot().await),
            None => None,
        };
        let ends = ends(&self.causes).await;
        self.compose(snapshot.as_ref(), &ends, Path::new(RUN))
    }

    fn compose(&self, snapshot: Option<&Snapshot>, ends: &Ends, run: &Path) -> Overview {
        let now = Instant::now();
        let state = self.outlook.state();
        let updates: Option<Updates> = state::read(&run.join(UPDATES));
        let panel: Option<Shown> = state::read(&run.join(PANEL));
        let mut states = Condition {
            phase: state.phase,
            network: state.network,
            core: state.core,
            calls: state.calls,
            capacity: state.capacity,
            faults: state.faults,
            update: updates.as_ref().map_or(Update::Idle, |it| it.lamp),
        }
        .states();
        if panel.is_some_and(|panel| panel.locate) {
            states.insert(Led::Locate);
        }
        let unready = self.unready(now);
        Overview {
            ready: unready.is_empty(),
            unready,
            states: said(states),
            lamps: lamps(states),
            figures: self.figures(snapshot, &state),
            condition: state,
            version: env!("CARGO_PKG_VERSION"),
            board: board::identify(Path::new("/")).ok().map(|it| it.title),
            at: clock::now().wall.map(iq::UnixTime::millis),
            up_for: state::uptime().as_secs(),
            gateway_up_for: now.duration_since(self.started_at).as_secs(),
            updates,
            memory: memory(),
            temperature: self
                .sources
                .as_ref()
                .and_then(|it| it.temperature.celsius()),
            ends: ends.latest.iter().take(MOST_ENDS).map(end_said).collect(),
            drawn: states,
        }
    }

    fn figures(&self, snapshot: Option<&Snapshot>, state: &State) -> Option<Figures> {
        let (sources, snapshot) = (self.sources.as_ref()?, snapshot?);
        let counted = snapshot.signaling.as_ref()?.signaling;
        Some(Figures {
            calls: counted.sessions,
            capacity: state.capacity,
            calls_answered: counted.calls_answered,
            calls_refused: counted.calls_refused,
            browsers: counted.flows,
            registrations: counted.registrations,
            servers_up: counted.next_hops_up,
            servers_suspect: counted.next_hops_suspect,
            servers_down: counted.next_hops_down,
            workers: snapshot.workers.len(),
            state_kept: sources.store.is_open(),
            call_records_lost: sources.recorder.lost(),
        })
    }
}

/// What ended why, read beside the tasks' threads: the disk may be slow, or gone.
pub(super) async fn ends(folder: &Path) -> Ends {
    let folder = folder.to_owned();
    let reading = tokio::task::spawn_blocking(move || Ends::read(&folder));
    let read = timeout(ANSWER_TIME, reading).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}

/// All states but those that say nothing beside others.
fn said(states: States) -> Vec<Said> {
    let worth = |state: &Led| *state == states.first() || *state != Led::PowerOn;
    let rows = states.iter().filter(worth).map(Row::of);
    rows.map(|row| Said {
        key: row.key,
        title: row.title,
        action: row.action,
    })
    .collect()
}

fn lamps(states: States) -> Vec<LampSaid> {
    let shown = states.shown();
    let lamps = Lamp::ALL.map(|lamp| {
        let shown = &shown[lamp.place()];
        LampSaid {
            label: lamp.label(),
            pattern: shown.pattern.to_string(),
            colour: shown.colour.name(),
            because: match shown.because {
                Led::PowerOn if states.first() != Led::PowerOn => "",
                because => Row::of(because).title,
            },
        }
    });
    lamps.into()
}

fn end_said(end: &End) -> EndSaid {
    EndSaid {
        at: end.at,
        unit: end.unit.clone(),
        cause: end.cause,
        words: end.words(),
    }
}

fn memory() -> Memory {
    let system = rustix::system::sysinfo();
    let unit = u64::from(system.mem_unit);
    Memory {
        gateway: own_memory(),
        free: (system.freeram as u64 + system.bufferram as u64) * unit,
        total: system.totalram as u64 * unit,
    }
}

fn own_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibioctets: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibioctets * 1024)
}

/// A time span as people say it.
pub(super) fn span(seconds: u64) -> String {
    let span = Duration::from_secs(seconds).as_secs();
    let (days, hours, minutes) = (span / 86_400, span / 3600 % 24, span / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{span} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A moment in UTC, as people and machines read it.
pub(super) fn moment(millis: u64) -> String {
    let seconds = millis / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The Gregorian date of a day since 1970: counted from the 1st of March of year 0, so that a
/// leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, day)
}

/// Ends on the page; the files have more.
const MOST_ENDS: usize = 10;
const RUN: &str = "/run";

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use board_core::condition::{Core, Faults, Network, Phase};

    #[test]
    fn a_box_whose_core_is_silent_says_so_and_what_to_do() {
        let overview = overview(|state| state.core = Core::Unreachable, "none");
        assert_eq!(overview.states[0].key, "core-unreachable");
        assert!(!overview.states[0].action.is_empty());
        let lamps: Vec<&str> = overview.lamps.iter().map(|it| it.label).collect();
        assert_eq!(lamps, ["PWR", "NET", "IMS", "SVC"]);
        assert!(overview.updates.is_none());
        let json = serde_json::to_value(&overview).unwrap();
        assert_eq!(json["condition"]["core"], "unreachable");
    }

    #[test]
    fn the_update_service_s_words_are_shown_with_its_lamp() {
        let run = std::env::temp_dir().join(format!("gatehouse-page-{}", std::process::id()));
        std::fs::create_dir_all(run.join("gatehouse-ota")).unwrap();
        let text = r#"{
            "slot": "A", "running": {"version": "1.4.2", "epoch": 3}, "lamp": "rolled-back",
            "phase": {"name": "idle"}, "percent": null, "waiting": null, "floor": 3,
            "taken_back": {"release": {"version": "1.5.0", "epoch": 3}, "reason": "golden"},
            "blocked": [], "history": [], "fault": null, "words": "1.5.0 was taken back"
        }"#;
        std::fs::write(run.join(UPDATES), text).unwrap();
        let overview = overview(|_| (), run.to_str().unwrap());
        let updates = overview.updates.unwrap();
        assert_eq!(updates.words, "1.5.0 was taken back");
        assert_eq!(updates.running.unwrap().version, "1.4.2");
        let keys: Vec<&str> = overview.states.iter().map(|it| it.key).collect();
        assert!(keys.contains(&"rolled-back"), "{keys:?}");
        let _ = std::fs::remove_dir_all(run);
    }

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(3 * 3600 + 120), "3 h 2 min");
        assert_eq!(span(90 * 86_400), "90 d 0 h");
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(1_709_164_799_999), "2024-02-28 23:59:59 UTC");
        assert_eq!(moment(1_709_164_800_000), "2024-02-29 00:00:00 UTC");
        assert_eq!(moment(1_795_378_821_000), "2026-11-22 20:20:21 UTC");
    }

    /// How a box looks in this state, whose other programs' files are in this folder.
    pub(in super::super) fn overview(change: impl Fn(&mut State), run: &str) -> Overview {
        let health = Health::default();
        health.started();
        let mut state = State {
            phase: Phase::Running,
            network: Network::Good,
            core: Core::Reachable,
            faults: Faults::default(),
            ..State::default()
        };
        change(&mut state);
        let about = About {
            outlook: Outlook::of(state),
            health,
            waits_for: Mutex::default(),
            causes: PathBuf::from("none"),
            started_at: Instant::now(),
            sources: None,
        };
        about.compose(None, &Ends::default(), Path::new(run))
    }
}
