//! The store at work: a thread that answers signaling's questions one after the other, and
//! writes to the disk while nobody waits for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use signaling::Input;
use signaling::auth::digest::Question;
use signaling::auth::{AuthenticationFailure, AuthenticationId};
use signaling::identity::PrivateIdentity;
use tokio::sync::mpsc;
use transport::pulse::Pulse;

use super::Store;
use crate::health::Health;

/// Where questions go.
pub(crate) struct Service {
    questions: Option<SyncSender<Asked>>,
}

struct Asked {
    id: AuthenticationId,
    user: PrivateIdentity,
    question: Box<Question>,
}

impl Service {
    /// Starts the thread. Without a store every question is answered with that.
    pub(crate) fn start(
        store: Option<Store>,
        answers: mpsc::Sender<Input>,
        health: &Health,
    ) -> std::io::Result<Self> {
        let Some(store) = store else {
            return Ok(Service { questions: None });
        };
        let (questions, asked) = sync_channel(QUEUED);
        let pulse = health.watch_at_disk("credentials");
        std::thread::Builder::new()
            .name("credentials".to_owned())
            .spawn(move || work(&store, &asked, &answers, &pulse))?;
        Ok(Service {
            questions: Some(questions),
        })
    }

    /// Takes a question; if there is no room for it, the answer is here at once.
    pub(crate) fn ask(
        &self,
        id: AuthenticationId,
        user: PrivateIdentity,
        question: Box<Question>,
    ) -> Option<Input> {
        let asked = Asked { id, user, question };
        let refused = match &self.questions {
            Some(questions) => match questions.try_send(asked) {
                Ok(()) => return None,
                Err(TrySendError::Full(asked) | TrySendError::Disconnected(asked)) => asked,
            },
            None => asked,
        };
        Some(Input::Authenticated {
            id: refused.id,
            answer: Err(AuthenticationFailure::Unavailable),
        })
    }
}

fn work(store: &Store, asked: &Receiver<Asked>, answers: &mpsc::Sender<Input>, pulse: &Pulse) {
    loop {
        match asked.recv_timeout(Pulse::LONGEST_TURN) {
            Ok(asked) => {
                if answers.blocking_send(answer(store, asked)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        pulse.beat();
    }
}

fn answer(store: &Store, asked: Asked) -> Input {
    let Asked { id, user, question } = asked;
    let answer = store.answer(&user, &question).unwrap_or_else(|error| {
        tracing::error!(%error, "a user's credentials cannot be used");
        Err(AuthenticationFailure::Unavailable)
    });
    let answer = answer.map(Box::new);
    Input::Authenticated { id, answer }
}

/// Questions that may wait: a storm of registrations asks two for each.
const QUEUED: usize = 1024;
