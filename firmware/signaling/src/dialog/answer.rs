//! A 2xx to an INVITE that is repeated until its ACK comes, RFC 3261 §13.3.1.4, on
//! every transport.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::message::{Request, Response};
use crate::transaction::{GIVE_UP_AFTER, T1, T2};

/// A 2xx of ours that waits for its ACK.
#[derive(Debug)]
pub struct UnacknowledgedAnswer {
    cseq: u32,
    response: Response,
    is_waiting: bool,
    retransmit_after: Duration,
    retransmit_at: Instant,
    give_up_at: Instant,
    output: VecDeque<Output>,
}

/// What is to be done about the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send it (again).
    Send(Response),
    /// Nobody acknowledged it: the session has to be ended with a BYE.
    GaveUp,
}

impl UnacknowledgedAnswer {
    /// Sends the 2xx for the first time.
    #[must_use]
    pub fn start(response: Response, now: Instant) -> Self {
        UnacknowledgedAnswer {
            cseq: response.headers.cseq().map_or(0, |cseq| cseq.number),
            is_waiting: true,
            retransmit_after: T1,
            retransmit_at: now + T1,
            give_up_at: now + GIVE_UP_AFTER,
            output: VecDeque::from([Output::Send(response.clone())]),
            response,
        }
    }

    /// Takes an ACK of the dialog; says whether it is the first for this answer.
    pub fn handle_ack(&mut self, ack: &Request) -> bool {
        let matches = ack
            .headers
            .cseq()
            .is_ok_and(|cseq| cseq.number == self.cseq);
        let is_first = matches && self.is_waiting;
        self.is_waiting &= !matches;
        is_first
    }

    /// Whether the ACK has not come yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_waiting {
            return;
        }
        if self.give_up_at <= now {
            self.is_waiting = false;
            self.output.push_back(Output::GaveUp);
        } else if self.retransmit_at <= now {
            self.output.push_back(Output::Send(self.response.clone()));
            self.retransmit_after = (2 * self.retransmit_after).min(T2);
            self.retransmit_at = now + self.retransmit_after;
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`UnacknowledgedAnswer::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.is_waiting
            .then(|| self.retransmit_at.min(self.give_up_at))
    }
}
