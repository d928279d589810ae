//! One turn of the front panel: look how the box is and at the button, light the lamps, tell
//! others.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use board_core::condition::Update;
use board_core::led::{Row, State, States, drawing};
use board_core::panel::{FrontPanel, Request};

use super::face::Face;
use super::state::{self, GATEWAY, PANEL, Shown, UPDATES, Updates};
use super::supervision::Supervision;

/// The front panel and what it knows.
pub(super) struct Front {
    run: PathBuf,
    board: String,
    panel: FrontPanel,
    supervision: Supervision,
    look_at: Duration,
    told: Option<Shown>,
    /// Turns in a row that failed.
    failures: u32,
}

impl Front {
    /// A front panel that shows what the files under `run` say.
    pub(super) fn new(run: PathBuf, board: &str, now: Duration) -> Self {
        let states = States::of(&[State::Starting]);
        Front {
            run,
            board: board.to_owned(),
            panel: FrontPanel::new(states, now),
            supervision: Supervision::new(now),
            look_at: now,
            told: None,
            failures: 0,
        }
    }

    /// Does all that is to be done now, and says when to come again. Lamps or a button that
    /// fail are tried again; the error is that of the last of too many turns.
    pub(super) fn turn(&mut self, face: &mut impl Face, now: Duration) -> anyhow::Result<Duration> {
        if now >= self.look_at {
            self.look(now);
            self.look_at = now + LOOK;
        }
        let done = self.read_and_light(face, now);
        while let Some(request) = self.panel.poll_request() {
            self.ask(request);
        }
        self.tell(now);
        match done {
            Ok(()) => self.failures = 0,
            Err(error) if self.failures >= TOO_MANY => return Err(error),
            Err(error) => {
                if self.failures == 0 {
                    tracing::warn!("the front panel fails: {error:#}");
                }
                self.failures += 1;
            }
        }
        let next = self.panel.poll_timeout(now).unwrap_or(now + READ);
        Ok(next.clamp(now + SHORTEST, now + READ))
    }

    /// Leaves the lamps as they are before any program has hold of them.
    pub(super) fn leave(mut self, face: &mut impl Face) -> anyhow::Result<()> {
        let now = state::uptime();
        self.panel = FrontPanel::new(States::default(), now);
        face.set(self.panel.lamps())
    }

    fn look(&mut self, now: Duration) {
        let gateway = state::read(&self.run.join(GATEWAY));
        self.supervision.handle_state(gateway, now);
        let updates: Option<Updates> = state::read(&self.run.join(UPDATES));
        let update = updates.map_or(Update::Idle, |updates| updates.lamp);
        let condition = self.supervision.condition(update, now);
        self.panel.handle_states(condition.states(), now);
    }

    fn read_and_light(&mut self, face: &mut impl Face, now: Duration) -> anyhow::Result<()> {
        let is_down = face.is_down();
        if let Ok(is_down) = is_down {
            self.panel.handle_button(is_down, now);
        }
        self.panel.handle_timeout(now);
        face.set(self.panel.lamps())?;
        is_down.map(|_| ())
    }

    /// Asks by a file whose name says what is wanted: a path unit of systemd starts what may
    /// do it.
    fn ask(&self, request: Request) {
        let (file, words) = match request {
            Request::Locate(true) => return tracing::info!("somebody looks for the box"),
            Request::Locate(false) => return tracing::info!("the box was found"),
            Request::PreviousSlot => (PREVIOUS_SLOT, "the previous version"),
            Request::FactoryReset => (FACTORY_RESET, "a factory reset"),
        };
        let path = self.run.join(file);
        let asked = std::fs::write(&path, "button\n");
        match asked.with_context(|| format!("{}", path.display())) {
            Ok(()) => tracing::warn!("the button asks for {words}"),
            Err(error) => tracing::error!("the button asks for {words} in vain: {error:#}"),
        }
    }

    fn tell(&mut self, now: Duration) {
        let shown = self.shown(now);
        if self.told.as_ref() == Some(&shown) {
            return;
        }
        if let Err(error) = state::replace(&self.run.join(PANEL), &shown) {
            // Nobody else depends on it; systemd makes the folder, a terminal may lack it.
            tracing::debug!("nobody is told what the lamps show: {error:#}");
        }
        tracing::info!(state = shown.title, lamps = shown.lamps, "front panel");
        self.told = Some(shown);
    }

    fn shown(&self, now: Duration) -> Shown {
        let states = self.panel.all_states(now);
        let mut lamps = String::new();
        // A String takes everything.
        let _ = drawing::write_description(&mut lamps, &states.shown());
        Shown {
            board: self.board.clone(),
            states: states
                .iter()
                .map(|state| Row::of(state).key.to_owned())
                .collect(),
            title: Row::of(states.first()).title.to_owned(),
            lamps,
            locate: states.contains(State::Locate),
        }
    }
}

/// Under `/run`: the other slot is to be started once.
pub(super) const PREVIOUS_SLOT: &str = "gatehouse-panel/wanted-previous-slot";
/// Under `/run`: what the box keeps is to be erased.
pub(super) const FACTORY_RESET: &str = "gatehouse-panel/wanted-factory-reset";

/// How often the files are read.
const LOOK: Duration = Duration::from_millis(250);
/// How often the button is read.
const READ: Duration = Duration::from_millis(50);
/// Time for other programs between two turns.
const SHORTEST: Duration = Duration::from_millis(5);
/// Turns that may fail in a row: five seconds.
const TOO_MANY: u32 = 100;
