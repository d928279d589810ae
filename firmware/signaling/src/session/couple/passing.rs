//! What one side has for the other beside offers and answers: requests, the answers to
//! them, notices of how they are going, and DTMF by INFO.

use iq::{Command, Leg, SendDtmf};

use super::{Coupling, State, Step};
use crate::message::StatusCode;
use crate::session::leg::{Final, LegAction, LegEvent, Question};
use crate::session::mapping;

impl Coupling {
    /// Hands such an event on to the other side.
    pub(super) fn pass_on(&mut self, leg: Leg, event: LegEvent) {
        let to = leg.other();
        match event {
            LegEvent::Asked(question) if self.state == State::Up => {
                self.act(to, LegAction::Ask(question));
            }
            LegEvent::Asked(Question { ask, .. }) => {
                let reply = Final::new(StatusCode::TEMPORARILY_UNAVAILABLE);
                self.act(leg, LegAction::Reply { ask, reply });
            }
            LegEvent::Replied { ask, reply } => {
                let reply = replied(leg, reply);
                self.act(to, LegAction::Reply { ask, reply });
            }
            LegEvent::Notified { ask, notice } => self.act(to, LegAction::Notify { ask, notice }),
            LegEvent::Dtmf { event, duration } if self.state == State::Up => {
                let session = self.session;
                let dtmf = SendDtmf {
                    session,
                    leg: to,
                    event,
                    duration,
                };
                self.steps.push_back(Step::Iq(Command::SendDtmf(dtmf)));
            }
            _ => {} // Nothing that is handed on as it is.
        }
    }
}

/// The other side's answer to a question, as this side is told.
fn replied(from: Leg, reply: Final) -> Final {
    let status = match from {
        _ if reply.status.is_success() => reply.status,
        Leg::Access => mapping::to_ims(reply.status).status,
        Leg::Ims => mapping::to_access(reply.status).status,
    };
    Final { status, ..reply }
}
