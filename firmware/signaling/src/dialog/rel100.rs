//! Reliable provisional responses, RFC 3262: [`ReliableProvisionals`] for the side that
//! sends them, [`Acknowledgements`] for the side that answers with PRACK.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::message::headers::{CSeq, RAck, RSeq, Require};
use crate::message::{HeaderName, Request, Response, StatusCode};
use crate::transaction::{GIVE_UP_AFTER, T1};

/// The option tag, RFC 3262 §8.
pub const OPTION_TAG: &str = "100rel";

/// The provisional responses of one INVITE that came, RFC 3262 §3: one at a time, each
/// repeated until its PRACK comes.
#[derive(Debug)]
pub struct ReliableProvisionals {
    /// CSeq of the INVITE.
    cseq: Option<CSeq>,
    next_rseq: u32,
    pending: Option<Pending>,
    waiting: VecDeque<Response>,
    output: VecDeque<Output>,
}

#[derive(Debug)]
struct Pending {
    rseq: u32,
    response: Response,
    retransmit_after: Duration,
    retransmit_at: Instant,
    give_up_at: Instant,
}

/// What is to be done about a provisional response.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send it (again).
    Send(Response),
    /// Nobody acknowledged it: the INVITE has to be rejected with a 5xx.
    GaveUp,
}

impl ReliableProvisionals {
    /// For an INVITE. `first_rseq` is chosen at random, below 2^31.
    #[must_use]
    pub fn new(invite: &Request, first_rseq: u32) -> Self {
        ReliableProvisionals {
            cseq: invite.headers.cseq().ok(),
            next_rseq: first_rseq.clamp(1, MAX_FIRST_RSEQ),
            pending: None,
            waiting: VecDeque::new(),
            output: VecDeque::new(),
        }
    }

    /// Sends a response of 101 to 199, once all before it are acknowledged. Require
    /// and RSeq are added here. More than a few that wait are dropped.
    pub fn send(&mut self, response: Response, now: Instant) {
        debug_assert!(response.is_provisional() && response.status != StatusCode::TRYING);
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(response);
        }
        self.send_next(now);
    }

    /// Takes a PRACK. If it fits the response that waits, the next one is sent, and
    /// the answer is a 2xx; if not, the answer is 481 (RFC 3262 §3).
    pub fn handle_prack(&mut self, prack: &Request, now: Instant) -> bool {
        let Ok(Some(rack)) = prack.headers.rack() else {
            return false;
        };
        let fits = self.pending.as_ref().is_some_and(|pending| {
            pending.rseq == rack.rseq && self.cseq.as_ref() == Some(&rack.cseq)
        });
        if fits {
            self.pending = None;
            self.send_next(now);
        }
        fits
    }

    /// Whether a response waits for its PRACK, or others for that one. RFC 3262 §3
    /// does not let a 2xx go out before an offer or answer in one of them is
    /// acknowledged.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// The final response is sent; nothing is repeated any more.
    pub fn stop(&mut self) {
        self.pending = None;
        self.waiting.clear();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        if pending.give_up_at <= now {
            self.stop();
            self.output.push_back(Output::GaveUp);
        } else if pending.retransmit_at <= now {
            // RFC 3262 §3 doubles without the limit that T2 is elsewhere.
            pending.retransmit_after *= 2;
            pending.retransmit_at = now + pending.retransmit_after;
            let copy = Output::Send(pending.response.clone());
            self.output.push_back(copy);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`ReliableProvisionals::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        Some(pending.retransmit_at.min(pending.give_up_at))
    }

    fn send_next(&mut self, now: Instant) {
        if self.pending.is_some() {
            return;
        }
        let Some(mut response) = self.waiting.pop_front() else {
            return;
        };
        let rseq = self.next_rseq;
        self.next_rseq += 1;
        if !response
            .headers
            .lists_token(&HeaderName::Require, OPTION_TAG)
        {
            response.headers.push_typed(&Require(OPTION_TAG.into()));
        }
        response.headers.set(&RSeq(rseq));
        self.output.push_back(Output::Send(response.clone()));
        self.pending = Some(Pending {
            rseq,
            response,
            retransmit_after: T1,
            retransmit_at: now + T1,
            give_up_at: now + GIVE_UP_AFTER,
        });
    }
}

/// What one early dialog of our INVITE has acknowledged, RFC 3262 §4.
#[derive(Clone, Debug, Default)]
pub struct Acknowledgements {
    last_rseq: Option<u32>,
}

/// What a provisional response wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Nothing: it is not reliable.
    Unreliable,
    /// It is new and wants a PRACK with this RAck.
    Acknowledge(RAck),
    /// It is a copy, or came before its time; it is to be dropped.
    Drop,
}

impl Acknowledgements {
    /// Takes a provisional response.
    pub fn handle_response(&mut self, response: &Response) -> Reliability {
        let is_reliable = response.is_provisional()
            && response.status != StatusCode::TRYING
            && response
                .headers
                .lists_token(&HeaderName::Require, OPTION_TAG);
        let (Ok(Some(RSeq(rseq))), Ok(cseq)) = (response.headers.rseq(), response.headers.cseq())
        else {
            return Reliability::Unreliable;
        };
        if !is_reliable {
            return Reliability::Unreliable;
        }
        // RFC 3262 §4: each is one more than the last; what is not is not even kept.
        if self
            .last_rseq
            .is_some_and(|last| last.checked_add(1) != Some(rseq))
        {
            return Reliability::Drop;
        }
        self.last_rseq = Some(rseq);
        Reliability::Acknowledge(RAck { rseq, cseq })
    }
}

/// RFC 3262 §3.
const MAX_FIRST_RSEQ: u32 = (1 << 31) - 1;

/// More than any call has in a row.
const MAX_WAITING: usize = 8;
