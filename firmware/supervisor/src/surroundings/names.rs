//! Whether the name service answers, asked now and then for the name that the core is reached
//! by. That a name does not exist is an answer as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use signaling::config::{Host, HostName};
use signaling::reach::{Question, RecordKind, Resolution};
use transport::pulse::Pulse;
use transport::resolver::NameService;

use crate::config::Tenant;

/// What the last answer was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<AtomicU8>);

impl Names {
    /// Whether the name service answered the last time; `None` if nobody needs it, or knows.
    pub(super) fn answer(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            ANSWERED => Some(true),
            SILENT => Some(false),
            _ => None,
        }
    }

    fn set(&self, is_answered: bool) {
        let word = if is_answered { ANSWERED } else { SILENT };
        if self.0.swap(word, Ordering::Relaxed) == word {
            return;
        }
        if is_answered {
            tracing::info!("the name service answers");
        } else {
            tracing::warn!("the name service does not answer");
        }
    }
}

/// A network's name service, and the name that is asked for.
pub(crate) type Asked = Vec<(NameService, HostName)>;

/// What has to be asked for these networks; nothing if all are reached by address.
pub(crate) fn asked(networks: &[Tenant]) -> Asked {
    let named = networks
        .iter()
        .filter_map(|network| match network.ims.next_hop()?.host {
            Host::Name(name) => Some((NameService::new(&network.ims.name_servers()), name)),
            Host::Address(_) => None,
        });
    named.collect()
}

/// Asks again and again.
pub(crate) async fn run(asked: Asked, names: Names, pulse: Pulse) -> anyhow::Result<()> {
    loop {
        let mut is_answered = true;
        for (service, name) in &asked {
            is_answered &= answers(service, name).await;
            pulse.beat();
        }
        if !asked.is_empty() {
            names.set(is_answered);
        }
        let pause = if is_answered { WELL } else { ILL };
        for _ in 0..pause.as_secs() {
            tokio::time::sleep(Pulse::LONGEST_TURN).await;
            pulse.beat();
        }
    }
}

async fn answers(service: &NameService, name: &HostName) -> bool {
    let question = Question {
        name: name.clone(),
        kind: RecordKind::A,
    };
    !matches!(service.ask(&question).await, Resolution::Failed)
}

const ANSWERED: u8 = 1;
const SILENT: u8 = 2;
const WELL: Duration = Duration::from_secs(30);
const ILL: Duration = Duration::from_secs(5);
/// One question may take its time.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(30);
