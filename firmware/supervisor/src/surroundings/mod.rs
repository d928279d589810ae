//! How the box is, from what it has of a network, of an IMS core and of itself: said each
//! second and at each change in a file for the front panel, and on the page.

mod core;
pub(crate) mod names;
mod network;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use board_core::condition::{Core, Faults, Phase};
use board_core::thermal::Heat;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use transport::pulse::Pulse;

use crate::health::{Condition, Health};
use crate::heat::Temperature;
use crate::panel::state::{self, State};
use crate::signaling_task::Control;
use crate::store::Store;

pub(crate) use self::core::CoreWatch;
use names::Names;
pub(crate) use network::Needs;
use network::{Facts, has_time, judge, links};

/// How the box was when somebody looked last; a copy sees the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook(Arc<Mutex<State>>);

impl Outlook {
    #[cfg(test)]
    pub(crate) fn of(state: State) -> Self {
        Outlook(Arc::new(Mutex::new(state)))
    }

    /// How it is.
    pub(crate) fn state(&self) -> State {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Where the outlook is told.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    outlook: Outlook,
    file: Option<PathBuf>,
    complained: bool,
}

impl Teller {
    /// Tells it on the page, and in a file of this folder.
    pub(crate) fn new(outlook: Outlook, folder: Option<&Path>) -> Self {
        Teller {
            outlook,
            file: folder.map(|folder| folder.join(FILE)),
            complained: false,
        }
    }

    /// Tells how the box is at this moment.
    pub(crate) fn tell(&mut self, mut state: State) {
        let uptime = state::uptime().as_millis();
        state.written_at_ms = u64::try_from(uptime).unwrap_or(u64::MAX);
        self.outlook.set(state.clone());
        let Some(file) = &self.file else {
            return;
        };
        let written = state::replace(file, &state);
        if let (Err(error), false) = (&written, self.complained) {
            tracing::error!("the front panel is not told how the box is: {error:#}");
        }
        self.complained = written.is_err();
    }
}

/// What the task looks at.
pub(crate) struct Surroundings {
    pub(crate) teller: Teller,
    pub(crate) health: Health,
    pub(crate) signaling: mpsc::Sender<Control>,
    /// Told when the number of calls or the core's standing changes.
    pub(crate) changed: Arc<Notify>,
    /// What is wrong with a media plane of its own.
    pub(crate) media: Option<Condition>,
    pub(crate) store: Store,
    pub(crate) needs: Needs,
    pub(crate) names: Names,
    pub(crate) temperature: Temperature,
    pub(crate) capacity: usize,
    pub(crate) pulse: Pulse,
}

/// Looks and tells until it is dropped.
pub(crate) async fn run(around: Arc<Surroundings>) -> anyhow::Result<()> {
    let mut teller = around.teller.clone();
    let mut known = Known::default();
    loop {
        around.ask_signaling(&mut known).await;
        teller.tell(around.state(&known));
        around.pulse.beat();
        tokio::select! {
            () = sleep(EACH) => {}
            // A storm of changes is told as one.
            () = around.changed.notified() => sleep(SHORTEST).await,
        }
    }
}

/// What signaling said last.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    calls: u64,
    core: Core,
}

impl Surroundings {
    async fn ask_signaling(&self, known: &mut Known) {
        let asked = async {
            let (answer, snapshot) = oneshot::channel();
            self.signaling.send(Control::Snapshot(answer)).await.ok()?;
            snapshot.await.ok()
        };
        if let Ok(Some(snapshot)) = timeout(EACH, asked).await {
            known.calls = snapshot.signaling.sessions;
            known.core = snapshot.core;
        }
    }

    fn state(&self, known: &Known) -> State {
        let verdict = self.health.verdict(Instant::now());
        let is_media_away = self.media.as_ref().and_then(Condition::reason).is_some();
        let facts = facts(&self.names);
        State {
            written_at_ms: 0,
            phase: self.health.phase(),
            network: judge(&self.needs, &facts),
            core: known.core,
            calls: u32::try_from(known.calls).unwrap_or(u32::MAX),
            capacity: u32::try_from(self.capacity).ok(),
            faults: Faults {
                supervisor: !verdict.dead.is_empty() || is_media_away,
                storage: !self.store.is_open() && self.store.failures() > 0,
                thermal: matches!(self.temperature.heat(), Heat::RefuseCalls | Heat::Fault),
                ..Faults::default()
            },
        }
    }
}

/// How a box is that waits for its configuration, or for a network.
pub(crate) fn waiting(phase: Phase, needs: &Needs, names: &Names) -> State {
    State {
        phase,
        network: judge(needs, &facts(names)),
        ..State::default()
    }
}

fn facts(names: &Names) -> Facts {
    Facts {
        links: links(),
        names: names.answer(),
        time: has_time(Path::new("/")),
    }
}

/// In the runtime folder; below /run it is what the front panel reads.
const FILE: &str = "state.json";
const EACH: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_front_panel_finds_the_file_where_it_looks() {
        let run = std::env::temp_dir().join(format!("gatehouse-outlook-{}", std::process::id()));
        std::fs::create_dir_all(run.join("gatehouse")).unwrap();
        let outlook = Outlook::default();
        let folder = run.join("gatehouse");
        let mut teller = Teller::new(outlook.clone(), Some(&folder));
        let phase = Phase::NeedsSetup;
        teller.tell(waiting(phase, &Needs::default(), &Names::default()));
        let told: State = state::read(&run.join(state::GATEWAY)).unwrap();
        assert_eq!((told.phase, told.clone()), (phase, outlook.state()));
        assert!(told.written_at_ms > 0);
        let _ = std::fs::remove_dir_all(run);
    }
}
