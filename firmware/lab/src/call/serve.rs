//! The requests of the peer: its INVITEs and what comes inside them.

use super::*;

impl Call {
    pub(super) fn handle_invite(&mut self, request: Request, hop: Hop, bench: &mut Bench<'_>) {
        let Ok(cseq) = request.headers.cseq() else {
            return;
        };
        if let Some(served) = &self.served
            && served.number == cseq.number
        {
            if let Some(sent) = served.sent.clone() {
                bench.send_bytes(hop, sent);
            }
            return;
        }
        if self.is_over() {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.reply(&request, hop, status, None, bench);
        }
        let is_asking = self
            .asked
            .as_ref()
            .is_some_and(|asked| asked.request.method == Method::Invite);
        if is_asking {
            return self.reply(&request, hop, StatusCode::REQUEST_PENDING, None, bench);
        }
        self.served = Some(Served::new(request, hop, cseq.number));
        match self.answer_description(bench) {
            Ok(body) => self.respond(StatusCode::OK, Some(body), bench),
            Err(error) => self.respond_error(&error, bench),
        }
    }

    pub(super) fn handle_ack(&mut self, ack: &Request, bench: &mut Bench<'_>) {
        let number = ack.headers.cseq().map(|cseq| cseq.number);
        let Some(served) = self
            .served
            .as_mut()
            .filter(|served| Ok(served.number) == number)
        else {
            return;
        };
        let is_first = served.resend.take().is_some();
        if self.sdp.has_open_offer()
            && let Some(Ok(answer)) = description_of(ack)
        {
            let answer = ImsDescription::read(&answer, Part::Answer);
            let _ = answer.and_then(|answer| self.sdp.handle_answer(answer));
        }
        self.follow(bench);
        if self.stage == Stage::Up && is_first && self.next_step.is_none() {
            self.next_step = self.first_step().map(|step| (bench.now + PAUSE, step));
        } else if self.stage == Stage::Ringing {
            self.end(bench);
        }
    }

    pub(super) fn handle_cancel(&mut self, cancel: &Request, hop: Hop, bench: &mut Bench<'_>) {
        let number = cancel.headers.cseq().map(|cseq| cseq.number);
        let served = self
            .served
            .as_ref()
            .filter(|served| Ok(served.number) == number);
        let Some(served) = served else {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            return self.reply(cancel, hop, status, None, bench);
        };
        let is_answered = served.is_answered;
        self.reply(cancel, hop, StatusCode::OK, None, bench);
        if !is_answered {
            self.respond(StatusCode::REQUEST_TERMINATED, None, bench);
            self.end(bench);
        }
    }

    pub(super) fn handle_bye(&mut self, bye: &Request, hop: Hop, bench: &mut Bench<'_>) {
        self.reply(bye, hop, StatusCode::OK, None, bench);
        if self.stage == Stage::Ringing {
            self.respond(StatusCode::REQUEST_TERMINATED, None, bench);
        }
        self.end(bench);
    }

    pub(super) fn handle_prack(&mut self, prack: &Request, hop: Hop, bench: &mut Bench<'_>) {
        let rack = prack.headers.rack().ok().flatten();
        let is_awaited = |served: &Served| {
            rack.as_ref().is_some_and(|RAck { rseq, cseq, .. }| {
                Some(*rseq) == served.rseq && cseq.number == served.number
            })
        };
        match self.served.as_mut().filter(|served| is_awaited(served)) {
            Some(served) => {
                served.rseq = None;
                served.resend = None;
                self.reply(prack, hop, StatusCode::OK, None, bench);
            }
            None => {
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                self.reply(prack, hop, status, None, bench);
            }
        }
    }

    pub(super) fn handle_update(&mut self, update: &Request, hop: Hop, bench: &mut Bench<'_>) {
        let body = match description_of(update) {
            None => None,
            Some(description) => {
                let answer = description.and_then(|offer| self.answer_offer(offer));
                self.follow(bench);
                match answer {
                    Ok(answer) => Some(answer),
                    Err(_) => {
                        let status = StatusCode::NOT_ACCEPTABLE_HERE;
                        return self.reply(update, hop, status, None, bench);
                    }
                }
            }
        };
        self.reply(update, hop, StatusCode::OK, body, bench);
    }

    /// Answers the INVITE in hand and repeats what must be repeated.
    pub(super) fn respond(
        &mut self,
        status: StatusCode,
        body: Option<Bytes>,
        bench: &mut Bench<'_>,
    ) {
        let Some(mut served) = self.served.take() else {
            return;
        };
        let mut response = self.response(&served.request, status, body, bench);
        let takes_100rel = served
            .request
            .headers
            .lists_token(&HeaderName::Supported, "100rel");
        let is_reliable = status == StatusCode::SESSION_PROGRESS && takes_100rel;
        if status == StatusCode::SESSION_PROGRESS {
            response = response.with(HeaderName::PEarlyMedia, "sendrecv");
        }
        if is_reliable {
            served.rseq = Some(1);
            response = response
                .with(HeaderName::Require, "100rel")
                .with(HeaderName::RSeq, 1_u32);
        }
        let bytes = bench.send(served.hop, response);
        served.resend = match (status.is_final(), status.is_success() || is_reliable) {
            (_, true) => Some(Resend::end_to_end(served.hop, bytes.clone(), bench.now)),
            (true, false) => Some(Resend::new(served.hop, bytes.clone(), bench.now)),
            (false, false) => None,
        };
        served.sent = Some(bytes);
        served.is_answered |= status.is_final();
        self.served = Some(served);
        if status.is_failure() && self.stage == Stage::Ringing {
            self.end(bench);
        }
    }

    pub(super) fn respond_error(&mut self, error: &SdpError, bench: &mut Bench<'_>) {
        let status = StatusCode::new(error.status_code());
        self.respond(
            status.unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE),
            None,
            bench,
        );
    }

    pub(super) fn reply(
        &mut self,
        request: &Request,
        hop: Hop,
        status: StatusCode,
        body: Option<Bytes>,
        bench: &mut Bench<'_>,
    ) {
        let response = self.response(request, status, body, bench);
        bench.send(hop, response);
    }

    pub(super) fn response(
        &self,
        request: &Request,
        status: StatusCode,
        body: Option<Bytes>,
        bench: &mut Bench<'_>,
    ) -> Response {
        let tag = self.local.tag().unwrap_or_default();
        let mut response = Response::to_request(request, status).with_to_tag(tag);
        response
            .headers
            .copy(&request.headers, &HeaderName::RecordRoute);
        if !status.is_failure() {
            let contact = self.contact(bench);
            response = response
                .with(HeaderName::Contact, format!("<{contact}>"))
                .with(HeaderName::Allow, ALLOW);
        }
        match body {
            Some(body) => response.with_body(SDP, body),
            None => response,
        }
    }
}

impl Served {
    pub(super) fn new(request: Request, hop: Hop, number: u32) -> Self {
        Served {
            request,
            hop,
            number,
            sent: None,
            resend: None,
            is_answered: false,
            rseq: None,
        }
    }
}
