//! Requests of the peer inside a dialog, and the box's BYE. RFC 3261 §12.2.2 and §15.

use std::time::{Duration, Instant};

use super::dtmf;
use super::offers::is_end_of_dialog;
use super::{Purpose, SipLeg, State};
use crate::dialog::{DialogId, session_timer};
use crate::event::EndReason;
use crate::message::{HeaderName, Headers, Method, Request, Response, StatusCode};
use crate::session::leg::{Final, LegEvent};
use crate::session::outside::Outside;
use crate::transaction::{Failure, ServerTransactionId};

impl SipLeg {
    /// A request of the peer that belongs to this leg, other than ACK and CANCEL.
    pub(in crate::session) fn handle_request(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        if let Err(status) = self.check_dialog(&request) {
            return self.refuse(transaction, &request, &Final::new(status), outside);
        }
        match request.method {
            Method::Bye => self.handle_bye(transaction, &request, outside),
            Method::Invite | Method::Update => self.handle_offer(transaction, request, outside),
            Method::Prack => self.handle_prack(transaction, request, outside),
            Method::Info => self.handle_info(transaction, &request, outside),
            Method::Options => {
                let mut response = self.dialog_response(&request, StatusCode::OK, outside);
                self.capabilities.write(&mut response.headers);
                response.headers.push(HeaderName::Accept, "application/sdp");
                outside.respond(self.leg, transaction, response);
            }
            Method::Refer if self.capabilities.takes_refer() => {
                self.handle_question(transaction, request, outside);
            }
            Method::Message => self.handle_question(transaction, request, outside),
            Method::Notify => self.handle_notify(transaction, &request, outside),
            // ACK and CANCEL come another way.
            Method::Ack | Method::Cancel => {}
            Method::Register
            | Method::Subscribe
            | Method::Refer
            | Method::Publish
            | Method::Other(_) => {
                let mut refusal = Final::new(StatusCode::METHOD_NOT_ALLOWED);
                refusal
                    .headers
                    .push(HeaderName::Allow, self.capabilities.allow());
                self.refuse(transaction, &request, &refusal, outside);
            }
        }
    }

    /// Finds the dialog and checks the sequence number.
    fn check_dialog(&mut self, request: &Request) -> Result<(), StatusCode> {
        let id = DialogId::of_request(request);
        let early = self
            .calling
            .as_mut()
            .and_then(|calling| calling.early_dialog(request));
        let dialog = match &mut self.dialog {
            Some(dialog) if Some(dialog.id()) == id.as_ref() => dialog,
            Some(_) | None => early.ok_or(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)?,
        };
        dialog
            .handle_request(request)
            .map_err(|fault| fault.status())?;
        let is_over = self.state == State::Closing && request.method != Method::Bye;
        if is_over {
            return Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        Ok(())
    }

    fn handle_bye(
        &mut self,
        transaction: ServerTransactionId,
        request: &Request,
        outside: &mut impl Outside,
    ) {
        // Only the side that called may end a dialog before it is answered.
        if self.state == State::Calling {
            let refusal = Final::new(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
            return self.refuse(transaction, request, &refusal, outside);
        }
        let response = Response::to_request(request, StatusCode::OK).with_to_tag(&self.local_tag);
        outside.respond(self.leg, transaction, response);
        let headers = request.headers.clone();
        match self.state {
            State::Called => {
                self.reject(StatusCode::REQUEST_TERMINATED, &Headers::new(), outside);
                self.push(LegEvent::Cancelled { headers });
            }
            State::Confirmed => {
                self.terminate_inbound(outside);
                self.close(outside.now().monotonic + TRANSACTION_TIME);
                self.push(LegEvent::HungUp { headers });
            }
            // BYEs crossed, or it came while the box's own waited for an ACK.
            State::Closing => self.farewell = None,
            State::Idle | State::Calling => {}
        }
    }

    fn handle_info(
        &mut self,
        transaction: ServerTransactionId,
        request: &Request,
        outside: &mut impl Outside,
    ) {
        let status = match dtmf::parse(request) {
            Some((event, duration)) => {
                self.push(LegEvent::Dtmf { event, duration });
                StatusCode::OK
            }
            None if dtmf::is_claimed(request) => StatusCode::BAD_REQUEST,
            None if request.headers.has(&HeaderName::InfoPackage) => StatusCode::BAD_INFO_PACKAGE,
            None if request.body.is_empty() => StatusCode::OK,
            None => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        let response = Response::to_request(request, status).with_to_tag(&self.local_tag);
        outside.respond(self.leg, transaction, response);
    }

    /// Sends BYE, once the peer has acknowledged the acceptance of its call.
    pub(super) fn hang_up(&mut self, headers: Headers, outside: &mut impl Outside) {
        let now = outside.now().monotonic;
        if self.must_await_ack() {
            self.state = State::Closing;
            self.farewell = Some(headers);
            return;
        }
        self.terminate_inbound(outside);
        self.close(now + TRANSACTION_TIME);
        if !outside.is_reachable(self.leg) {
            // A page that comes back soon still learns that the call is over.
            self.farewell = Some(headers);
            return;
        }
        if let Some(mut bye) = self.dialog_request(Method::Bye, outside) {
            for header in headers.iter() {
                bye.headers.push_header(header.clone());
            }
            self.send(bye, Purpose::Bye, outside);
        }
    }

    /// The peer can be reached again.
    pub(in crate::session) fn handle_reachable(&mut self, outside: &mut impl Outside) {
        if self.close_by.is_some()
            && let Some(headers) = self.farewell.take()
        {
            self.hang_up(headers, outside);
        }
    }

    fn terminate_inbound(&mut self, outside: &mut impl Outside) {
        self.refuse_asked(outside);
        if let Some(inbound) = self.inbound.take() {
            let refusal = Final::new(StatusCode::REQUEST_TERMINATED);
            self.refuse(inbound.transaction, &inbound.request, &refusal, outside);
        }
    }

    /// Nothing new comes from this leg; what is under way may finish until then.
    pub(super) fn close(&mut self, by: Instant) {
        self.state = State::Closing;
        self.close_by = Some(by);
        self.unacked = None;
        self.outbound = None;
        self.called = None;
        self.timer.stop();
    }

    /// A request in the dialog of the call, ready but for Via.
    pub(super) fn dialog_request(
        &mut self,
        method: Method,
        outside: &impl Outside,
    ) -> Option<Request> {
        let has_contact = matches!(
            method,
            Method::Invite | Method::Update | Method::Refer | Method::Notify
        );
        let mut request = self.dialog.as_mut()?.request(method);
        if has_contact {
            let contact = self.contact(outside).to_string();
            request.headers.push(HeaderName::Contact, contact);
        }
        Some(request)
    }

    /// Sends a request of this leg. No if the peer cannot be reached.
    pub(super) fn send(
        &mut self,
        request: Request,
        purpose: Purpose,
        outside: &mut impl Outside,
    ) -> bool {
        if self.requests.len() >= REQUEST_MAX {
            return false;
        }
        let transaction = outside.send_request(self.leg, request);
        self.requests.extend(transaction.map(|id| (id, purpose)));
        transaction.is_some()
    }

    pub(super) fn push(&mut self, event: LegEvent) {
        self.events.push_back(event);
    }
}

/// Refreshing the session, RFC 4028.
impl SipLeg {
    pub(super) fn handle_session_timeout(&mut self, now: Instant, outside: &mut impl Outside) {
        self.timer.handle_timeout(now);
        while let Some(output) = self.timer.poll_output() {
            match output {
                session_timer::Output::Expired => {
                    self.push(LegEvent::Lost(EndReason::SessionExpired));
                }
                session_timer::Output::Refresh => self.refresh(now, outside),
            }
        }
    }

    /// UPDATE without a description where the peer takes it, else a re-INVITE with the
    /// unchanged one. RFC 4028 §7.4.
    fn refresh(&mut self, now: Instant, outside: &mut impl Outside) {
        let takes_update = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.remote_allows(&Method::Update));
        if takes_update && !self.refuses_update {
            let update = self.dialog_request(Method::Update, outside);
            let is_sent = update.is_some_and(|mut update| {
                self.capabilities.write(&mut update.headers);
                self.timer.prepare_request(&mut update);
                self.send(update, Purpose::Refresh, outside)
            });
            if is_sent {
                return;
            }
        } else {
            self.push(LegEvent::RefreshDue);
        }
        // Until an answer comes it is due again.
        self.timer.retry_refresh(now);
    }

    pub(super) fn handle_refresh_response(
        &mut self,
        response: &Response,
        outside: &mut impl Outside,
    ) {
        let now = outside.now().monotonic;
        if response.status.is_success() {
            if let Some(dialog) = &mut self.dialog {
                // A Contact that cannot be read leaves the target as it was.
                let _ = dialog.handle_response(response);
            }
            return self.timer.handle_success(response, now);
        }
        if is_end_of_dialog(response.status) {
            return self.push(LegEvent::Lost(EndReason::DialogLost));
        }
        match response.status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.refuses_update = true;
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL => {
                self.timer.handle_too_small(response);
            }
            _ => {}
        }
        self.timer.retry_refresh(now);
    }

    pub(super) fn handle_refresh_failed(&mut self, failure: Failure, outside: &mut impl Outside) {
        match failure {
            Failure::TimedOut => self.push(LegEvent::Lost(EndReason::DialogLost)),
            Failure::Transport | Failure::Overloaded => {
                self.timer.retry_refresh(outside.now().monotonic);
            }
        }
    }
}

/// How long a transaction may take: 64*T1, RFC 3261 §17.
pub(super) const TRANSACTION_TIME: Duration = Duration::from_secs(32);

/// More requests of the box's own than this are never under way on one leg.
const REQUEST_MAX: usize = 16;
