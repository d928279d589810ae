//! Non-INVITE client transaction, RFC 3261 §17.1.2.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Failure, GIVE_UP_AFTER, T1, T2, T4};
use crate::message::{Request, Response};

/// A request other than INVITE and ACK that was sent.
#[derive(Debug)]
pub(super) struct NonInviteClient {
    state: State,
    is_reliable: bool,
    bytes: Bytes,
    retransmit_after: Duration,
    retransmit_at: Option<Instant>, // Timer E
    give_up_at: Option<Instant>,    // Timer F
    linger_until: Option<Instant>,  // Timer K
    output: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl NonInviteClient {
    pub(super) fn start(request: &Request, is_reliable: bool, now: Instant) -> Self {
        let bytes = request.to_bytes();
        NonInviteClient {
            state: State::Trying,
            is_reliable,
            retransmit_after: T1,
            retransmit_at: (!is_reliable).then(|| now + T1),
            give_up_at: Some(now + GIVE_UP_AFTER),
            linger_until: None,
            output: VecDeque::from([Action::Transmit(bytes.clone())]),
            bytes,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn handle_response(&mut self, response: Response, now: Instant) {
        match self.state {
            State::Trying | State::Proceeding if response.is_provisional() => {
                self.state = State::Proceeding;
                self.retransmit_after = T2;
                self.output.push_back(Action::Deliver(Box::new(response)));
            }
            State::Trying | State::Proceeding => {
                self.state = State::Completed;
                self.retransmit_at = None;
                self.give_up_at = None;
                let linger = if self.is_reliable { Duration::ZERO } else { T4 };
                self.linger_until = Some(now + linger);
                self.output.push_back(Action::Deliver(Box::new(response)));
            }
            State::Completed | State::Terminated => {} // A late copy; the answer stands.
        }
    }

    pub(super) fn handle_transport_failure(&mut self) {
        match self.state {
            State::Trying | State::Proceeding => {
                self.state = State::Terminated;
                self.output.push_back(Action::Fail(Failure::Transport));
            }
            State::Completed | State::Terminated => self.state = State::Terminated,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Terminated {
            return;
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            self.state = State::Terminated;
        } else if self.give_up_at.is_some_and(|at| at <= now) {
            self.state = State::Terminated;
            self.output.push_back(Action::Fail(Failure::TimedOut));
        } else if self.retransmit_at.is_some_and(|at| at <= now) {
            self.output.push_back(Action::Transmit(self.bytes.clone()));
            self.retransmit_after = (2 * self.retransmit_after).min(T2);
            self.retransmit_at = Some(now + self.retransmit_after);
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Action> {
        self.output.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Terminated => None,
            State::Trying | State::Proceeding | State::Completed => {
                let timers = [self.retransmit_at, self.give_up_at, self.linger_until];
                timers.into_iter().flatten().min()
            }
        }
    }
}
