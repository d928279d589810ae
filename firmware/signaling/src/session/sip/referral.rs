//! Requests inside a call that one side has for the other: MESSAGE (RFC 3428), and REFER
//! (RFC 3515), whose NOTIFYs come back. The box subscribes on one leg and notifies on the
//! other, each with numbers of its own. A NOTIFY that overtakes the answer to its REFER says
//! that it was accepted (RFC 3515 §2.4.4): the other side is told so first.
//!
//! Whom a REFER may name is settled before it gets here. Left out: REFER outside a call.

use bytes::Bytes;

use super::build;
use super::{Purpose, SipLeg, State};
use crate::message::headers::{Event, SubscriptionState};
use crate::message::{HeaderName, Method, NameAddr, Request, Response, StatusCode};
use crate::session::leg::{Ask, Final, LegEvent, Notice, Question};
use crate::session::outside::Outside;
use crate::transaction::ServerTransactionId;

/// A request of the peer's that was handed on.
#[derive(Debug)]
pub(super) struct Asked {
    ask: Ask,
    /// What its NOTIFYs are told apart by, RFC 3515 §2.4.6.
    cseq: u32,
    /// Until it is answered.
    waits: Option<(ServerTransactionId, Request)>,
}

/// A request of the other side that was handed on to the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    ask: Ask,
    cseq: u32,
}

impl SipLeg {
    /// REFER or MESSAGE of the peer.
    pub(super) fn handle_question(
        &mut self,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        if let Err(refusal) = self.check_question(&request, outside) {
            return self.refuse(transaction, &request, &refusal, outside);
        }
        self.asks += 1;
        let ask = Ask {
            from: self.leg,
            number: self.asks,
        };
        self.push(LegEvent::Asked(Question {
            ask,
            method: request.method.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        }));
        self.asked.push(Asked {
            ask,
            cseq: build::cseq(&request),
            waits: Some((transaction, request)),
        });
    }

    fn check_question(&self, request: &Request, outside: &impl Outside) -> Result<(), Final> {
        if request.method == Method::Message
            && let Err(rejection) = outside.services().check_message(request)
        {
            let response = rejection.response(request, 0);
            let mut refusal = Final::new(response.status);
            refusal.headers.copy(&response.headers, &HeaderName::Accept);
            return Err(refusal);
        }
        if self.state != State::Confirmed {
            return Err(Final::new(StatusCode::TEMPORARILY_UNAVAILABLE));
        }
        if self.asked.len() >= ASK_MAX {
            return Err(Final::new(StatusCode::SERVER_INTERNAL_ERROR));
        }
        Ok(())
    }

    /// Hands a request of the other side on.
    pub(super) fn ask(&mut self, question: &Question, outside: &mut impl Outside) {
        let sent = self.send_question(question, outside);
        match sent {
            Some(cseq) if question.method == Method::Refer => self.handed.push(Handed {
                ask: question.ask,
                cseq,
            }),
            Some(_) => {}
            None => self.push(LegEvent::Replied {
                ask: question.ask,
                reply: Final::new(StatusCode::TEMPORARILY_UNAVAILABLE),
            }),
        }
    }

    fn send_question(&mut self, question: &Question, outside: &mut impl Outside) -> Option<u32> {
        if self.state != State::Confirmed || self.handed.len() >= ASK_MAX {
            return None;
        }
        let mut request = self.dialog_request(question.method.clone(), outside)?;
        for header in outside.carry(self.leg, &question.headers).iter() {
            request.headers.push_header(header.clone());
        }
        let own: &[HeaderName] = match question.method {
            Method::Refer => &[HeaderName::ReferTo, HeaderName::ReferSub],
            _ => &[HeaderName::ContentType, HeaderName::ContentDisposition],
        };
        for name in own {
            request.headers.copy(&question.headers, name);
        }
        if question.method == Method::Refer {
            // RFC 3892 §2: who refers, as this side knows him.
            let referrer = self.dialog.as_ref().map(|dialog| &dialog.local().uri)?;
            let referrer = NameAddr::new(referrer.clone()).to_string();
            request.headers.push(HeaderName::ReferredBy, referrer);
        } else {
            request.body = question.body.clone();
        }
        let cseq = build::cseq(&request);
        self.send(request, Purpose::Ask(question.ask), outside)
            .then_some(cseq)
    }

    /// The peer answered what was handed on.
    pub(super) fn handle_reply(&mut self, ask: Ask, reply: Final) {
        let is_quiet = reply.headers.text(&HeaderName::ReferSub) == Some("false");
        if !reply.status.is_success() || is_quiet {
            self.handed.retain(|handed| handed.ask != ask);
        }
        self.push(LegEvent::Replied { ask, reply });
    }

    /// Answers the peer's request as the other side did.
    pub(super) fn reply(&mut self, ask: Ask, reply: &Final, outside: &mut impl Outside) {
        let Some(at) = self.asked.iter().position(|asked| asked.ask == ask) else {
            return;
        };
        let mut has_notices = true;
        if let Some((transaction, request)) = self.asked[at].waits.take() {
            has_notices = request.method == Method::Refer;
            let mut response = self.dialog_response(&request, reply.status, outside);
            for header in outside.carry(self.leg, &reply.headers).iter() {
                response.headers.push_header(header.clone());
            }
            let name = HeaderName::ReferSub;
            response.headers.copy(&reply.headers, &name);
            outside.respond(self.leg, transaction, response);
        }
        let is_quiet = reply.headers.text(&HeaderName::ReferSub) == Some("false");
        if !reply.status.is_success() || is_quiet || !has_notices {
            self.asked.remove(at);
        }
    }

    /// NOTIFY of the peer: how what was handed on is going.
    pub(super) fn handle_notify(
        &mut self,
        transaction: ServerTransactionId,
        request: &Request,
        outside: &mut impl Outside,
    ) {
        let read = self.read_notify(request);
        let status = match &read {
            Ok(_) => StatusCode::OK,
            Err(status) => *status,
        };
        let response = Response::to_request(request, status).with_to_tag(&self.local_tag);
        outside.respond(self.leg, transaction, response);
        if let Ok((ask, notice)) = read {
            if notice.state.is_terminated() {
                self.handed.retain(|handed| handed.ask != ask);
            }
            self.push(LegEvent::Notified { ask, notice });
        }
    }

    fn read_notify(&self, request: &Request) -> Result<(Ask, Notice), StatusCode> {
        let bad = |_| StatusCode::BAD_REQUEST;
        let event = request.headers.event().map_err(bad)?;
        let event = event.filter(|event| event.package.eq_ignore_ascii_case(REFER));
        let event = event.ok_or(StatusCode::BAD_EVENT)?;
        let state = request.headers.subscription_state().map_err(bad)?;
        let state = state.ok_or(StatusCode::BAD_REQUEST)?;
        let handed = match event.params.get("id") {
            Some(id) => {
                let is_its = |handed: &&Handed| id.parse() == Ok(handed.cseq);
                self.handed.iter().find(is_its)
            }
            None => self.handed.first(),
        };
        let ask = handed
            .ok_or(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)?
            .ask;
        let status = fragment(&request.body).ok_or(StatusCode::BAD_REQUEST)?;
        Ok((ask, Notice { status, state }))
    }

    /// Tells the peer how its REFER is going.
    pub(super) fn notify(&mut self, ask: Ask, notice: &Notice, outside: &mut impl Outside) {
        let Some(at) = self.asked.iter().position(|asked| asked.ask == ask) else {
            return;
        };
        if self.asked[at].waits.is_some() {
            self.reply(ask, &Final::new(StatusCode::ACCEPTED), outside);
        }
        let mut event = Event {
            package: REFER.to_owned(),
            params: crate::message::Params::default(),
        };
        event.params.set("id", self.asked[at].cseq);
        if notice.state.is_terminated() {
            self.asked.remove(at);
        }
        let Some(request) = self.dialog_request(Method::Notify, outside) else {
            return;
        };
        let (status, reason) = (notice.status, notice.status.reason());
        let request = request
            .with_typed(&event)
            .with_typed(&shown(&notice.state))
            .with_body(FRAGMENT, format!("SIP/2.0 {} {reason}\r\n", status.code()));
        self.send(request, Purpose::Notify, outside);
    }

    /// Answers what still waits when the call ends.
    pub(super) fn refuse_asked(&mut self, outside: &mut impl Outside) {
        for asked in std::mem::take(&mut self.asked) {
            if let Some((transaction, request)) = asked.waits {
                let refusal = Final::new(StatusCode::REQUEST_TERMINATED);
                self.refuse(transaction, &request, &refusal, outside);
            }
        }
    }
}

/// The status in a `message/sipfrag`, RFC 3420: all that one side may learn of how the other
/// side's calls are routed.
fn fragment(body: &Bytes) -> Option<StatusCode> {
    let text = std::str::from_utf8(body).ok()?;
    let mut words = text.lines().next()?.split_ascii_whitespace();
    (words.next() == Some("SIP/2.0")).then_some(())?;
    StatusCode::new(words.next()?.parse().ok()?)
}

/// Subscription-State with what RFC 6665 §8.2.3 defines, and nothing else.
fn shown(state: &SubscriptionState) -> SubscriptionState {
    let mut params = crate::message::Params::default();
    for name in ["reason", "expires", "retry-after"] {
        if let Some(value) = state.params.get(name) {
            params.set(name, value);
        }
    }
    SubscriptionState {
        state: state.state.clone(),
        params,
    }
}

/// The event package, RFC 3515 §3.
const REFER: &str = "refer";

/// The body of its NOTIFYs, RFC 3515 §2.4.5.
const FRAGMENT: &str = "message/sipfrag;version=2.0";

/// Requests of one side that go on at a time.
const ASK_MAX: usize = 4;
