//! What the table holds of each transaction: its machine, its peer, its timer.

use std::time::Instant;

use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::key::{ClientKey, ServerKey};
use super::non_invite_client::NonInviteClient;
use super::non_invite_server::NonInviteServer;
use super::{Action, ClientTransactionId, Output, Peer, ServerTransactionId};
use super::{invite_client, invite_server, non_invite_client, non_invite_server};
use crate::message::{Header, Method, Request, Response, StatusCode};

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) machine: ClientMachine,
    pub(super) peer: Peer,
    pub(super) key: ClientKey,
    pub(super) scheduled: Option<Instant>,
    pub(super) cancel: Cancel,
}

#[derive(Debug)]
pub(super) enum ClientMachine {
    Invite(Box<InviteClient>),
    NonInvite(NonInviteClient),
}

/// How far the cancelling of an INVITE is, RFC 3261 §9.1.
#[derive(Debug, PartialEq)]
pub(super) enum Cancel {
    /// Nobody asked for it.
    No,
    /// It waits for a provisional response, with what it shall say.
    Wanted(Vec<Header>),
    /// It was sent.
    Sent,
    /// This is a CANCEL itself, whose fate nobody cares for.
    Itself,
}

impl ClientMachine {
    pub(super) fn start(request: Request, is_reliable: bool, now: Instant) -> Self {
        if request.method == Method::Invite {
            ClientMachine::Invite(Box::new(InviteClient::start(request, is_reliable, now)))
        } else {
            ClientMachine::NonInvite(NonInviteClient::start(&request, is_reliable, now))
        }
    }

    pub(super) fn handle_response(&mut self, response: Response, now: Instant) {
        match self {
            ClientMachine::Invite(machine) => machine.handle_response(response, now),
            ClientMachine::NonInvite(machine) => machine.handle_response(response, now),
        }
    }

    pub(super) fn handle_transport_failure(&mut self) {
        match self {
            ClientMachine::Invite(machine) => machine.handle_transport_failure(),
            ClientMachine::NonInvite(machine) => machine.handle_transport_failure(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            ClientMachine::Invite(machine) => machine.handle_timeout(now),
            ClientMachine::NonInvite(machine) => machine.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Action> {
        match self {
            ClientMachine::Invite(machine) => machine.poll_output(),
            ClientMachine::NonInvite(machine) => machine.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            ClientMachine::Invite(machine) => machine.poll_timeout(),
            ClientMachine::NonInvite(machine) => machine.poll_timeout(),
        }
    }
}

impl Client {
    pub(super) fn new(machine: ClientMachine, peer: Peer, key: ClientKey, cancel: Cancel) -> Self {
        Client {
            machine,
            peer,
            key,
            scheduled: None,
            cancel,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite(machine) => machine.state() == invite_client::State::Terminated,
            ClientMachine::NonInvite(machine) => {
                machine.state() == non_invite_client::State::Terminated
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    pub(super) fn poll_output(&mut self, id: ClientTransactionId) -> Option<Output> {
        let is_silent = self.cancel == Cancel::Itself;
        loop {
            match self.machine.poll_output()? {
                Action::Transmit(bytes) => {
                    let peer = self.peer.clone();
                    return Some(Output::Transmit { peer, bytes });
                }
                Action::Deliver(response) if !is_silent => {
                    return Some(Output::Response {
                        transaction: id,
                        response: *response,
                    });
                }
                Action::Fail(failure) if !is_silent => {
                    return Some(Output::Failed {
                        transaction: id,
                        failure,
                    });
                }
                Action::Deliver(_) | Action::Fail(_) | Action::Unacknowledged => {}
            }
        }
    }

    /// The CANCEL that waits for a provisional response, once there was one; given
    /// once.
    pub(super) fn take_wanted_cancel(&mut self, now: Instant) -> Option<Request> {
        let ClientMachine::Invite(invite) = &mut self.machine else {
            return None;
        };
        if invite.state() != invite_client::State::Proceeding {
            return None;
        }
        let Cancel::Wanted(extra) = &mut self.cancel else {
            return None;
        };
        let mut request = invite_client::cancel(invite.request());
        for header in std::mem::take(extra) {
            request.headers.push_header(header);
        }
        self.cancel = Cancel::Sent;
        invite.handle_cancelled(now);
        Some(request)
    }
}

/// A request that came.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) machine: ServerMachine,
    /// Where answers go, RFC 3261 §18.2.2.
    pub(super) peer: Peer,
    pub(super) key: ServerKey,
    pub(super) scheduled: Option<Instant>,
    /// The tag that our answers have in To, once one did.
    pub(super) to_tag: Option<String>,
}

#[derive(Debug)]
pub(super) enum ServerMachine {
    Invite(Box<InviteServer>),
    NonInvite(NonInviteServer),
}

impl ServerMachine {
    pub(super) fn start(request: &Request, is_reliable: bool, now: Instant) -> Self {
        if request.method == Method::Invite {
            let trying = Response::to_request(request, StatusCode::TRYING);
            ServerMachine::Invite(Box::new(InviteServer::start(&trying, is_reliable, now)))
        } else {
            ServerMachine::NonInvite(NonInviteServer::start(is_reliable, now))
        }
    }

    pub(super) fn handle_copy(&mut self) {
        match self {
            ServerMachine::Invite(machine) => machine.handle_copy(),
            ServerMachine::NonInvite(machine) => machine.handle_copy(),
        }
    }

    pub(super) fn handle_transport_failure(&mut self) {
        match self {
            ServerMachine::Invite(machine) => machine.handle_transport_failure(),
            ServerMachine::NonInvite(machine) => machine.handle_transport_failure(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            ServerMachine::Invite(machine) => machine.handle_timeout(now),
            ServerMachine::NonInvite(machine) => machine.handle_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Action> {
        match self {
            ServerMachine::Invite(machine) => machine.poll_output(),
            ServerMachine::NonInvite(machine) => machine.poll_output(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            ServerMachine::Invite(machine) => machine.poll_timeout(),
            ServerMachine::NonInvite(machine) => machine.poll_timeout(),
        }
    }
}

impl Server {
    pub(super) fn new(machine: ServerMachine, peer: Peer, key: ServerKey) -> Self {
        Server {
            machine,
            peer,
            key,
            scheduled: None,
            to_tag: None,
        }
    }

    /// Sends an answer of the transaction's user.
    pub(super) fn respond(&mut self, response: &Response, now: Instant) {
        if let Ok(to) = response.headers.to()
            && let Some(tag) = to.tag()
        {
            self.to_tag = Some(tag.to_owned());
        }
        match &mut self.machine {
            ServerMachine::Invite(machine) => machine.respond(response, now),
            ServerMachine::NonInvite(machine) => machine.respond(response, now),
        }
    }

    /// Whether it is an INVITE without a final answer.
    pub(super) fn can_be_cancelled(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(machine) => machine.state() == invite_server::State::Proceeding,
            ServerMachine::NonInvite(_) => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(machine) => machine.state() == invite_server::State::Terminated,
            ServerMachine::NonInvite(machine) => {
                machine.state() == non_invite_server::State::Terminated
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    pub(super) fn poll_output(&mut self, id: ServerTransactionId) -> Option<Output> {
        loop {
            match self.machine.poll_output()? {
                Action::Transmit(bytes) => {
                    let peer = self.peer.clone();
                    return Some(Output::Transmit { peer, bytes });
                }
                Action::Unacknowledged => return Some(Output::Unacknowledged { transaction: id }),
                Action::Deliver(_) | Action::Fail(_) => {}
            }
        }
    }
}
