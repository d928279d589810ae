//! INVITE client transaction, RFC 3261 §17.1.1 with the Accepted state of RFC 6026
//! §7.2.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Failure, GIVE_UP_AFTER, T1};
use crate::message::headers::{CSeq, MaxForwards};
use crate::message::{HeaderName, Method, Request, Response};

/// An INVITE that was sent.
#[derive(Debug)]
pub(super) struct InviteClient {
    state: State,
    is_reliable: bool,
    request: Request,
    bytes: Bytes,
    /// What acknowledges the failure response, once it came.
    ack: Option<Bytes>,
    retransmit_after: Duration,
    retransmit_at: Option<Instant>, // Timer A
    give_up_at: Option<Instant>,    // Timer B
    linger_until: Option<Instant>,  // Timers D and M
    output: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

impl InviteClient {
    pub(super) fn start(request: Request, is_reliable: bool, now: Instant) -> Self {
        let bytes = request.to_bytes();
        InviteClient {
            state: State::Calling,
            is_reliable,
            request,
            ack: None,
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

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    /// A CANCEL for it has been sent: RFC 3261 §9.1 waits no longer than this for the
    /// final response.
    pub(super) fn handle_cancelled(&mut self, now: Instant) {
        if matches!(self.state, State::Calling | State::Proceeding) {
            self.give_up_at = Some(now + GIVE_UP_AFTER);
        }
    }

    pub(super) fn handle_response(&mut self, response: Response, now: Instant) {
        match self.state {
            State::Calling | State::Proceeding if response.is_provisional() => {
                if self.state == State::Calling {
                    self.give_up_at = None;
                }
                self.retransmit_at = None;
                self.state = State::Proceeding;
                self.deliver(response);
            }
            State::Calling | State::Proceeding if response.is_success() => {
                self.finish(State::Accepted, now + GIVE_UP_AFTER);
                self.deliver(response);
            }
            State::Calling | State::Proceeding => {
                // Timer D: copies of the response may come as long as the server
                // repeats it, RFC 3261 §17.1.1.2.
                let linger = if self.is_reliable {
                    Duration::ZERO
                } else {
                    GIVE_UP_AFTER
                };
                self.finish(State::Completed, now + linger);
                let ack = acknowledge(&self.request, &response).to_bytes();
                self.output.push_back(Action::Transmit(ack.clone()));
                self.ack = Some(ack);
                self.deliver(response);
            }
            State::Completed if response.status.is_failure() => {
                self.output.extend(self.ack.clone().map(Action::Transmit));
            }
            State::Accepted if response.is_success() => self.deliver(response),
            // Late provisional responses, and forks that lost.
            State::Completed | State::Accepted | State::Terminated => {}
        }
    }

    pub(super) fn handle_transport_failure(&mut self) {
        match self.state {
            State::Calling | State::Proceeding => {
                self.state = State::Terminated;
                self.output.push_back(Action::Fail(Failure::Transport));
            }
            State::Completed | State::Accepted => self.state = State::Terminated,
            State::Terminated => {}
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
            self.retransmit_after *= 2;
            self.retransmit_at = Some(now + self.retransmit_after);
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Action> {
        self.output.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Terminated => None,
            State::Calling | State::Proceeding | State::Completed | State::Accepted => {
                let timers = [self.retransmit_at, self.give_up_at, self.linger_until];
                timers.into_iter().flatten().min()
            }
        }
    }

    fn finish(&mut self, state: State, linger_until: Instant) {
        self.state = state;
        self.retransmit_at = None;
        self.give_up_at = None;
        self.linger_until = Some(linger_until);
    }

    fn deliver(&mut self, response: Response) {
        self.output.push_back(Action::Deliver(Box::new(response)));
    }
}

/// The ACK to a failure response, which goes the way of the INVITE; RFC 3261
/// §17.1.1.3.
fn acknowledge(invite: &Request, response: &Response) -> Request {
    let mut ack = same_hop(invite, Method::Ack);
    ack.headers.remove(&HeaderName::To);
    ack.headers.copy(&response.headers, &HeaderName::To);
    ack
}

/// The CANCEL of an INVITE, RFC 3261 §9.1.
pub(super) fn cancel(invite: &Request) -> Request {
    same_hop(invite, Method::Cancel)
}

/// A request with the headers of another that make it go the same way.
fn same_hop(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    if let Ok(via) = invite.headers.via() {
        request.headers.push_typed(&via);
    }
    for name in [
        HeaderName::Route,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ] {
        request.headers.copy(&invite.headers, &name);
    }
    if let Ok(CSeq { number, .. }) = invite.headers.cseq() {
        request.headers.push_typed(&CSeq { number, method });
    }
    request.with_typed(&MaxForwards(70))
}
