//! A box that cannot work yet, because nobody has configured it or because it has no network:
//! it says so on the front panel and on the page, and goes on by itself as soon as it can.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use board_core::condition::{Core, Network, Phase};
use tokio::task::JoinSet;
use tokio::time::sleep;
use transport::pulse::Pulse;

use crate::causes;
use crate::config::{Config, Fault, Log};
use crate::health::Health;
use crate::notify;
use crate::panel::state::State;
use crate::run::{Signals, Wish, ims_addresses};
use crate::silent::run_folder;
use crate::status::{self, About};
use crate::surroundings::names::{self, Names};
use crate::surroundings::{Needs, Outlook, Teller, waiting};

/// Waits until a configuration is usable, then ends well: systemd starts the gateway anew.
pub(crate) fn for_setup(file: &Path, faults: &[Fault]) -> anyhow::Result<()> {
    crate::log::start(&Log::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::new(Wish::Reload)?;
        let settings = Config::load_what_makes_sense(file);
        let folder = settings.state.folder.join(causes::FOLDER);
        let mut room = Room::open(settings.management.listen, &folder, said(file, faults));
        tracing::warn!("the box waits for its configuration");
        notify::ready("waiting for a configuration");
        loop {
            let needs = Needs::default();
            room.tell(waiting(Phase::NeedsSetup, &needs, &room.names));
            tokio::select! {
                () = room.turn() => {}
                () = signals.leave() => return Ok(()),
            }
            match Config::load(file) {
                Ok(_) => {
                    tracing::info!("the configuration is usable: the gateway starts anew");
                    return Ok(());
                }
                Err(faults) => room.waits_for(said(file, &faults)),
            }
        }
    })
}

fn said(file: &Path, faults: &[Fault]) -> Vec<String> {
    let file = file.display();
    let faults = faults.iter().take(MOST_REASONS);
    faults.map(|fault| format!("{file}: {fault}")).collect()
}

/// Waits until the box has an address towards each of its networks; `None` if it is told to
/// leave before.
pub(crate) async fn for_network(
    config: &Config,
    signals: &mut Signals,
) -> anyhow::Result<Option<Vec<IpAddr>>> {
    let networks = config.networks();
    let error = match ims_addresses(&networks).await {
        Ok(addresses) => return Ok(Some(addresses)),
        Err(error) => error,
    };
    let folder = config.state.folder.join(causes::FOLDER);
    let reasons = vec![format!("{error:#}")];
    let mut room = Room::open(config.management.listen, &folder, reasons);
    room.ask_names(names::asked(&networks));
    tracing::warn!("the box waits for a network: {error:#}");
    notify::ready("waiting for a network");
    let mut tries = JoinSet::new();
    loop {
        if tries.is_empty() {
            let networks = networks.clone();
            tries.spawn(async move {
                sleep(BETWEEN_TRIES).await;
                ims_addresses(&networks).await
            });
        }
        room.tell(without_network(&room.names));
        tokio::select! {
            () = room.turn() => {}
            Some(Ok(tried)) = tries.join_next() => match tried {
                Ok(addresses) => {
                    tracing::info!("the box has a network");
                    return Ok(Some(addresses));
                }
                Err(error) => room.waits_for(vec![format!("{error:#}")]),
            },
            () = signals.leave() => return Ok(None),
        }
    }
}

/// A network that has all that can be seen from here leads to no core.
fn without_network(names: &Names) -> State {
    let mut state = waiting(Phase::Running, &Needs::default(), names);
    if state.network == Network::Good {
        state.core = Core::Unreachable;
    }
    state
}

/// What a waiting box does: one loop that tells how it is, and the page beside it.
struct Room {
    teller: Teller,
    about: Arc<About>,
    names: Names,
    services: JoinSet<()>,
}

impl Room {
    fn open(listen: SocketAddr, causes: &Path, reasons: Vec<String>) -> Self {
        let outlook = Outlook::default();
        let health = Health::default();
        health.started();
        let about = Arc::new(About {
            outlook: outlook.clone(),
            health,
            waits_for: Mutex::new(reasons.clone()),
            causes: causes.to_owned(),
            started_at: Instant::now(),
            sources: None,
        });
        for reason in &reasons {
            tracing::warn!("{reason}");
        }
        let mut services = JoinSet::new();
        let shown = Arc::clone(&about);
        services.spawn(async move {
            loop {
                let served = status::run(listen, Arc::clone(&shown), Pulse::default()).await;
                if let Err(error) = served {
                    tracing::warn!("the page is not served: {error:#}");
                }
                sleep(BETWEEN_TRIES).await;
            }
        });
        Room {
            teller: Teller::new(outlook, run_folder().as_deref()),
            about,
            names: Names::default(),
            services,
        }
    }

    fn ask_names(&mut self, asked: names::Asked) {
        let names = self.names.clone();
        self.services.spawn(async move {
            let _ = names::run(asked, names, Pulse::default()).await;
        });
    }

    fn waits_for(&self, reasons: Vec<String>) {
        let before = self.about.set_waits_for(reasons.clone());
        for reason in reasons.iter().filter(|it| !before.contains(it)) {
            tracing::warn!("{reason}");
        }
    }

    /// Tells how the box is; only a turn that is finished feeds the watchdog.
    fn tell(&mut self, state: State) {
        self.teller.tell(state);
        notify::pet_watchdog();
    }

    async fn turn(&self) {
        let fed = notify::watchdog_interval().map_or(TURN, board_core::watchdog::period);
        sleep(fed.min(TURN)).await;
    }
}

const TURN: Duration = Duration::from_secs(1);
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
const MOST_REASONS: usize = 20;
