//! INVITE server transaction, RFC 3261 §17.2.1 with the Accepted state of RFC 6026
//! §7.1.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, GIVE_UP_AFTER, T1, T2, T4};
use crate::message::{Response, StatusCode};

/// An INVITE that came.
#[derive(Debug)]
pub(super) struct InviteServer {
    state: State,
    is_reliable: bool,
    /// The 100 that is sent if nobody answers soon.
    trying: Option<Bytes>,
    /// The last answer, for copies of the INVITE.
    last: Option<Bytes>,
    trying_at: Option<Instant>,
    retransmit_after: Duration,
    retransmit_at: Option<Instant>, // Timer G
    give_up_at: Option<Instant>,    // Timer H
    linger_until: Option<Instant>,  // Timers I and L
    output: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Proceeding,
    Accepted,
    Completed,
    Confirmed,
    Terminated,
}

impl InviteServer {
    pub(super) fn start(trying: &Response, is_reliable: bool, now: Instant) -> Self {
        debug_assert_eq!(trying.status, StatusCode::TRYING);
        InviteServer {
            state: State::Proceeding,
            is_reliable,
            trying: Some(trying.to_bytes()),
            last: None,
            trying_at: Some(now + TRYING_AFTER),
            retransmit_after: T1,
            retransmit_at: None,
            give_up_at: None,
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
            State::Proceeding => {
                let bytes = response.to_bytes();
                self.output.push_back(Action::Transmit(bytes.clone()));
                self.last = Some(bytes);
                self.trying_at = None;
                self.trying = None;
                if response.is_success() {
                    self.state = State::Accepted;
                    self.linger_until = Some(now + GIVE_UP_AFTER);
                } else if response.status.is_failure() {
                    self.state = State::Completed;
                    self.retransmit_at = (!self.is_reliable).then(|| now + T1);
                    self.give_up_at = Some(now + GIVE_UP_AFTER);
                }
            }
            State::Accepted if response.is_success() => {
                self.output.push_back(Action::Transmit(response.to_bytes()));
            }
            // The first final answer stands.
            State::Accepted | State::Completed | State::Confirmed | State::Terminated => {}
        }
    }

    /// A copy of the INVITE came.
    pub(super) fn handle_copy(&mut self) {
        match self.state {
            State::Proceeding => {
                if self.last.is_none() {
                    self.last = self.trying.take();
                    self.trying_at = None;
                }
                self.output.extend(self.last.clone().map(Action::Transmit));
            }
            State::Completed => {
                self.output.extend(self.last.clone().map(Action::Transmit));
            }
            // RFC 6026 §7.1: the user repeats the 2xx by itself.
            State::Accepted | State::Confirmed | State::Terminated => {}
        }
    }

    /// An ACK came that belongs to this INVITE; says whether it is meant for the user.
    pub(super) fn handle_ack(&mut self, now: Instant) -> bool {
        match self.state {
            State::Completed => {
                self.state = State::Confirmed;
                self.retransmit_at = None;
                self.give_up_at = None;
                let linger = if self.is_reliable { Duration::ZERO } else { T4 };
                self.linger_until = Some(now + linger);
                false
            }
            State::Accepted => true,
            State::Proceeding | State::Confirmed | State::Terminated => false,
        }
    }

    /// The way back is gone for good.
    pub(super) fn handle_transport_failure(&mut self) {
        self.state = State::Terminated;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.trying_at.is_some_and(|at| at <= now) {
            self.trying_at = None;
            self.last = self.trying.take();
            self.output.extend(self.last.clone().map(Action::Transmit));
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            self.state = State::Terminated;
        } else if self.give_up_at.is_some_and(|at| at <= now) {
            self.state = State::Terminated;
            self.output.push_back(Action::Unacknowledged);
        } else if self.retransmit_at.is_some_and(|at| at <= now) {
            self.output.extend(self.last.clone().map(Action::Transmit));
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
            State::Proceeding | State::Accepted | State::Completed | State::Confirmed => {
                let timers = [
                    self.trying_at,
                    self.retransmit_at,
                    self.give_up_at,
                    self.linger_until,
                ];
                timers.into_iter().flatten().min()
            }
        }
    }
}

/// How long the user may think before a 100 is sent for it, RFC 3261 §17.2.1.
const TRYING_AFTER: Duration = Duration::from_millis(200);
