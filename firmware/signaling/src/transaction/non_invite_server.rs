//! Non-INVITE server transaction, RFC 3261 §17.2.2.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, GIVE_UP_AFTER};
use crate::message::Response;

/// A request other than INVITE and ACK that came.
#[derive(Debug)]
pub(super) struct NonInviteServer {
    state: State,
    is_reliable: bool,
    /// The last answer, for copies of the request.
    last: Option<Bytes>,
    /// How long a user may leave the request without an answer. The RFC sets no limit,
    /// but after this time the client has given up (its Timer F).
    give_up_at: Option<Instant>,
    linger_until: Option<Instant>, // Timer J
    output: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl NonInviteServer {
    pub(super) fn start(is_reliable: bool, now: Instant) -> Self {
        NonInviteServer {
            state: State::Trying,
            is_reliable,
            last: None,
            give_up_at: Some(now + 2 * GIVE_UP_AFTER),
            linger_until: None,
            output: VecDeque::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Sends an answer of the transaction's user.
    pub(super) fn respond(&mut self, response: &Response, now: Instant) {
        match self.state {
            State::Trying | State::Proceeding => {
                let bytes = response.to_bytes();
                self.output.push_back(Action::Transmit(bytes.clone()));
                self.last = Some(bytes);
                self.state = State::Proceeding;
                if response.status.is_final() {
                    self.state = State::Completed;
                    self.give_up_at = None;
                    let linger = if self.is_reliable {
                        Duration::ZERO
                    } else {
                        GIVE_UP_AFTER
                    };
                    self.linger_until = Some(now + linger);
                }
            }
            State::Completed | State::Terminated => {} // The first final answer stands.
        }
    }

    /// A copy of the request came.
    pub(super) fn handle_copy(&mut self) {
        match self.state {
            State::Trying | State::Terminated => {}
            State::Proceeding | State::Completed => {
                self.output.extend(self.last.clone().map(Action::Transmit));
            }
        }
    }

    /// The way back is gone for good.
    pub(super) fn handle_transport_failure(&mut self) {
        self.state = State::Terminated;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let timers = [self.give_up_at, self.linger_until];
        if timers.into_iter().flatten().any(|at| at <= now) {
            self.state = State::Terminated;
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Action> {
        self.output.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Terminated => None,
            State::Trying | State::Proceeding | State::Completed => {
                let timers = [self.give_up_at, self.linger_until];
                timers.into_iter().flatten().min()
            }
        }
    }
}
