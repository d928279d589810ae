//! The box calls: the INVITE of a leg until it is answered, with all its forks.
//! RFC 3261 §13.2, RFC 3262 §4, RFC 6228; CANCEL of §9.1.

use iq::Leg;

use super::build;
use super::in_dialog::TRANSACTION_TIME;
use super::{Purpose, SipLeg, State};
use crate::dialog::rel100::{Acknowledgements, Reliability};
use crate::dialog::{Dialog, DialogId};
use crate::message::headers::EarlyMedia;
use crate::message::{Headers, Method, Request, Response, StatusCode};
use crate::session::early_media::{Authorization, Fork};
use crate::session::leg::{LegEvent, Rejected, RejectedBy, Sdp};
use crate::session::outside::Outside;
use crate::transaction::{ClientTransactionId, Failure};

/// An INVITE of the box's own.
#[derive(Debug)]
pub(super) struct Calling {
    pub(super) transaction: ClientTransactionId,
    request: Request,
    forks: Vec<Branch>,
    /// Given up by the box: what still comes is not wanted.
    is_cancelled: bool,
    /// How often the INVITE was sent again, changed as the peer wants it.
    retries: u8,
    winner: Option<Fork>,
}

/// One dialog that the INVITE led to.
#[derive(Debug)]
struct Branch {
    dialog: Dialog,
    acknowledgements: Acknowledgements,
    /// Whether it was accepted too late, and BYE was sent.
    is_dismissed: bool,
}

impl Calling {
    /// Whether a final answer is still to come.
    pub(super) fn is_pending(&self) -> bool {
        self.winner.is_none() && !self.forks.iter().any(|branch| branch.is_dismissed)
    }

    /// The dialog of a request that comes before the answer.
    pub(super) fn early_dialog(&mut self, request: &Request) -> Option<&mut Dialog> {
        let Fork(at) = self.fork_of(request)?;
        Some(&mut self.forks[usize::from(at)].dialog)
    }

    /// The fork that a request comes from before the answer.
    pub(super) fn fork_of(&self, request: &Request) -> Option<Fork> {
        let id = DialogId::of_request(request)?;
        let is_its = |branch: &Branch| *branch.dialog.id() == id;
        self.forks.iter().position(is_its).map(fork)
    }
}

impl SipLeg {
    /// Sends the first INVITE.
    pub(super) fn invite(&mut self, offer: Sdp, headers: &Headers, outside: &mut impl Outside) {
        let Some(target) = &self.target else {
            return;
        };
        let carried = outside.carry(self.leg, headers);
        let identity = build::Identity {
            capabilities: self.capabilities,
            call_id: build::call_id(outside.rng()),
            local_tag: self.local_tag.clone(),
            contact: self.contact(outside),
        };
        let mut request = build::invite(target, &identity, &carried);
        self.timer.prepare_request(&mut request);
        build::set_body(&mut request.headers, &mut request.body, offer);
        self.send_invite(request, 0, outside);
    }

    fn send_invite(&mut self, request: Request, retries: u8, outside: &mut impl Outside) {
        let Some(transaction) = outside.send_request(self.leg, request.clone()) else {
            self.close(outside.now().monotonic);
            return self.push(LegEvent::Rejected(Rejected {
                status: StatusCode::FLOW_FAILED,
                headers: Headers::new(),
                origin: RejectedBy::NoFlow,
            }));
        };
        self.state = State::Calling;
        self.calling = Some(Calling {
            transaction,
            request,
            forks: Vec::new(),
            is_cancelled: false,
            retries,
            winner: None,
        });
    }

    /// Gives the call up. A 2xx may still come and is then ended by BYE.
    pub(super) fn cancel(&mut self, headers: Headers, outside: &mut impl Outside) {
        if let Some(calling) = &mut self.calling {
            calling.is_cancelled = true;
            outside.cancel(calling.transaction, headers);
            self.close(outside.now().monotonic + TRANSACTION_TIME);
        }
    }

    /// A response to the first INVITE.
    pub(super) fn handle_invite_response(
        &mut self,
        response: Response,
        outside: &mut impl Outside,
    ) {
        if response.status.is_provisional() {
            self.handle_provisional(response, outside);
        } else if response.status.is_success() {
            self.handle_success(response, outside);
        } else {
            self.handle_failure(response, outside);
        }
    }

    /// No response to the first INVITE.
    pub(super) fn handle_invite_failed(&mut self, failure: Failure, outside: &mut impl Outside) {
        let Some(calling) = self.calling.take_if(|calling| calling.winner.is_none()) else {
            return;
        };
        self.close(outside.now().monotonic + TRANSACTION_TIME);
        if calling.is_cancelled {
            return;
        }
        let (status, origin) = match (failure, self.leg) {
            (Failure::TimedOut, _) => (StatusCode::REQUEST_TIMEOUT, RejectedBy::Silence),
            (Failure::Transport, Leg::Access) => (StatusCode::FLOW_FAILED, RejectedBy::NoFlow),
            (Failure::Transport, Leg::Ims) => (StatusCode::REQUEST_TIMEOUT, RejectedBy::Silence),
            (Failure::Overloaded, _) => (StatusCode::SERVICE_UNAVAILABLE, RejectedBy::Silence),
        };
        self.push(LegEvent::Rejected(Rejected {
            status,
            headers: Headers::new(),
            origin,
        }));
    }

    fn handle_provisional(&mut self, response: Response, outside: &mut impl Outside) {
        let Some(calling) = &mut self.calling else {
            return;
        };
        if calling.is_cancelled || calling.winner.is_some() {
            return;
        }
        let is_dialog = response.status != StatusCode::TRYING;
        let Some(fork) = is_dialog.then(|| calling.branch(&response)).flatten() else {
            return;
        };
        if !self.acknowledge_provisional(fork, &response, outside) {
            return;
        }
        if response.status == StatusCode::EARLY_DIALOG_TERMINATED {
            return self.push(LegEvent::ForkEnded(fork));
        }
        let answer = build::description(&response.headers, &response.body);
        self.push(LegEvent::Progress {
            fork,
            status: response.status,
            answer,
            authorization: authorization(&response.headers),
            headers: response.headers,
        });
    }

    /// Sends PRACK where it is due. No if the response is a copy, or came too early.
    fn acknowledge_provisional(
        &mut self,
        fork: Fork,
        response: &Response,
        outside: &mut impl Outside,
    ) -> bool {
        let Some(calling) = &mut self.calling else {
            return false;
        };
        let branch = &mut calling.forks[usize::from(fork.0)];
        match branch.acknowledgements.handle_response(response) {
            Reliability::Unreliable => true,
            Reliability::Drop => false,
            Reliability::Acknowledge(rack) => {
                let prack = branch.dialog.request(Method::Prack).with_typed(&rack);
                self.send(prack, Purpose::Prack, outside);
                true
            }
        }
    }

    fn handle_success(&mut self, response: Response, outside: &mut impl Outside) {
        let Some(calling) = &mut self.calling else {
            return;
        };
        let Some(fork) = calling.branch(&response) else {
            return;
        };
        let branch = &mut calling.forks[usize::from(fork.0)];
        if branch.dialog.handle_response(&response).is_err() {
            return; // Without a way back there is nobody to acknowledge to.
        }
        let is_winner = calling.winner.is_none_or(|winner| winner == fork);
        if calling.is_cancelled || !is_winner {
            return self.dismiss(fork, outside);
        }
        let is_first = calling.winner.replace(fork).is_none();
        let ack = branch.dialog.ack(build::cseq(&calling.request));
        outside.send_ack(self.leg, ack);
        if !is_first {
            return; // A copy: our ACK was lost.
        }
        self.dialog = Some(calling.forks[usize::from(fork.0)].dialog.clone());
        self.state = State::Confirmed;
        self.timer
            .handle_success(&response, outside.now().monotonic);
        let answer = build::description(&response.headers, &response.body);
        self.push(LegEvent::Answered {
            fork,
            answer,
            headers: response.headers,
        });
        self.offer_what_waits();
    }

    /// A dialog that nobody wants any more was accepted: ACK, then BYE.
    /// RFC 3261 §13.2.2.4 and §9.1.
    fn dismiss(&mut self, fork: Fork, outside: &mut impl Outside) {
        let Some(calling) = &mut self.calling else {
            return;
        };
        let branch = &mut calling.forks[usize::from(fork.0)];
        let ack = branch.dialog.ack(build::cseq(&calling.request));
        outside.send_ack(self.leg, ack);
        if !std::mem::replace(&mut branch.is_dismissed, true) {
            let bye = branch.dialog.request(Method::Bye);
            self.send(bye, Purpose::Bye, outside);
        }
    }

    fn handle_failure(&mut self, response: Response, outside: &mut impl Outside) {
        let Some(calling) = self.calling.take() else {
            return;
        };
        if calling.is_cancelled {
            return self.close(outside.now().monotonic + TRANSACTION_TIME);
        }
        if calling.retries < RETRY_MAX
            && let Some(request) = self.amended(&calling.request, &response)
        {
            return self.send_invite(request, calling.retries + 1, outside);
        }
        self.close(outside.now().monotonic + TRANSACTION_TIME);
        self.push(LegEvent::Rejected(Rejected {
            status: response.status,
            headers: response.headers,
            origin: RejectedBy::Peer,
        }));
    }

    /// The INVITE as the peer would take it, if that is all it complains about.
    fn amended(&mut self, request: &Request, response: &Response) -> Option<Request> {
        let mut request = request.clone();
        match response.status {
            // RFC 4028 §7.3.
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                self.timer.handle_too_small(response).then_some(())?;
                self.timer.prepare_request(&mut request);
            }
            // RFC 3261 §8.1.3.5.
            StatusCode::BAD_EXTENSION => {
                let unsupported = response.headers.unsupported().ok()?;
                build::drop_extensions(&mut request.headers, &unsupported);
            }
            _ => return None,
        }
        build::increment_cseq(&mut request.headers);
        Some(request)
    }
}

impl Calling {
    /// The branch of a response with a To tag: known, or new while there is room.
    fn branch(&mut self, response: &Response) -> Option<Fork> {
        let to = response.headers.to().ok()?;
        let tag = to.tag()?;
        if let Some(at) = self
            .forks
            .iter()
            .position(|branch| branch.dialog.id().remote_tag == tag)
        {
            return Some(fork(at));
        }
        if self.forks.len() >= usize::from(FORK_MAX) {
            return None;
        }
        let dialog = Dialog::from_response(&self.request, response).ok()?;
        self.forks.push(Branch {
            dialog,
            acknowledgements: Acknowledgements::default(),
            is_dismissed: false,
        });
        Some(fork(self.forks.len() - 1))
    }
}

fn fork(at: usize) -> Fork {
    Fork(u8::try_from(at).expect("there are at most FORK_MAX forks"))
}

/// What the network says about early media, RFC 5009 §8: the first direction counts,
/// for there is one media line.
pub(super) fn authorization(headers: &Headers) -> Authorization {
    let Ok(Some(early)) = headers.p_early_media() else {
        return Authorization::Unspoken;
    };
    match early.directions.first() {
        _ if early.is_gated => Authorization::Withheld,
        Some(EarlyMedia::SendRecv | EarlyMedia::SendOnly) => Authorization::Granted,
        Some(EarlyMedia::RecvOnly | EarlyMedia::Inactive) => Authorization::Withheld,
        None => Authorization::Unspoken,
    }
}

/// More branches of one call than this are ignored.
pub(in crate::session) const FORK_MAX: u8 = 8;

/// How often an INVITE is amended: once for 422, once for 420.
const RETRY_MAX: u8 = 2;
