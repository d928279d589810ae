//! The requests of the telephone: calls that it places, offers, hanging up.

use super::*;

impl Call {
    /// Calls a user; a call without an offer leaves that to the peer.
    pub(crate) fn place(
        service: Service,
        user: &str,
        (target, hop): (Uri, Hop),
        address: ImsAddress,
        bench: &mut Bench<'_>,
    ) -> Self {
        let own = bench.public_uri(service.number());
        let mut call = Call {
            call_id: bench.token(),
            local: NameAddr::new(own).with_tag(&bench.token()),
            remote: NameAddr::new(bench.public_uri(user)),
            target,
            hop,
            next_cseq: 1,
            service,
            user: user.to_owned(),
            stage: Stage::Calling,
            sdp: ImsSide::new(bench.random_u64()),
            address,
            telephone: Telephone::new(bench.random_u64()),
            served: None,
            asked: None,
            acked: None,
            next_step: None,
        };
        call.telephone.play(Sound::echo());
        let mut invite = call.request(Method::Invite);
        let identity = bench.public_uri(service.number());
        let called = call.remote.uri.clone();
        invite = invite
            .with(HeaderName::PAssertedIdentity, format!("<{identity}>"))
            .with(HeaderName::PCalledPartyId, format!("<{called}>"));
        if service != Service::CallBackWithoutOffer {
            let offer = call.sdp.offer(&everything(Direction::SendRecv), address);
            invite = invite.with_body(SDP, offer);
        }
        call.ask(invite, bench);
        call
    }

    pub(crate) fn handle_response(&mut self, response: &Response, bench: &mut Bench<'_>) {
        let (Ok(cseq), Ok(via)) = (response.headers.cseq(), response.headers.via()) else {
            return;
        };
        if let Some((number, hop, ack)) = &self.acked
            && *number == cseq.number
            && response.is_success()
            && cseq.method == Method::Invite
        {
            return bench.send_bytes(*hop, ack.clone());
        }
        let is_asked = self
            .asked
            .as_ref()
            .is_some_and(|asked| via.branch() == Some(asked.branch.as_str()));
        if !is_asked || cseq.method == Method::Cancel {
            return;
        }
        if response.is_provisional() {
            if let Some(asked) = self
                .asked
                .as_mut()
                .filter(|_| cseq.method == Method::Invite)
            {
                asked.resend.pause_until(bench.now + RING_TIME);
            }
            return;
        }
        let Some(asked) = self.asked.take() else {
            return;
        };
        match asked.request.method {
            Method::Invite if response.is_success() => self.connected(&asked, response, bench),
            Method::Invite => self.refused(&asked, response, bench),
            _ => {}
        }
    }

    pub(super) fn connected(&mut self, asked: &Asked, response: &Response, bench: &mut Bench<'_>) {
        if let Ok(to) = response.headers.to() {
            self.remote = to;
        }
        let contact = response
            .headers
            .contacts()
            .ok()
            .and_then(|list| list.into_iter().next());
        if let Some(uri) = contact.and_then(|contact| contact.address().map(|it| it.uri.clone())) {
            self.hop = hop_of(&uri).unwrap_or(self.hop);
            self.target = uri;
        }
        let mut ack = self.in_dialog(Method::Ack, asked.number);
        let description = sdp_in(&response.headers, &response.body);
        if self.sdp.has_open_offer() {
            let answer = description.and_then(Result::ok);
            let answer = answer.and_then(|it| ImsDescription::read(&it, Part::Answer).ok());
            if let Some(answer) = answer {
                let _ = self.sdp.handle_answer(answer);
            }
        } else if let Some(Ok(offer)) = description
            && let Ok(answer) = self.answer_offer(offer)
        {
            ack = ack.with_body(SDP, answer);
        }
        let branch = bench.token();
        let via = bench.via(self.hop.transport, &branch);
        ack.headers.prepend(HeaderName::Via, via.to_string());
        let bytes = bench.send(self.hop, ack);
        self.acked = Some((asked.number, self.hop, bytes));
        if self.is_over() || asked.is_cancelled {
            self.stage = Stage::Up;
            return self.hang_up(bench);
        }
        self.stage = Stage::Up;
        self.follow(bench);
    }

    /// The ACK of a refusal is part of its transaction, RFC 3261 §17.1.1.3.
    pub(super) fn refused(&mut self, asked: &Asked, response: &Response, bench: &mut Bench<'_>) {
        let mut ack = Request::new(Method::Ack, asked.request.uri.clone());
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::CallId,
            HeaderName::MaxForwards,
        ] {
            ack.headers.copy(&asked.request.headers, &name);
        }
        ack.headers.copy(&response.headers, &HeaderName::To);
        ack.headers.set(&CSeq {
            number: asked.number,
            method: Method::Ack,
        });
        bench.send(self.hop, ack);
        self.sdp.abandon_offer();
        if self.stage == Stage::Calling {
            self.end(bench);
        } else if response.status == StatusCode::REQUEST_PENDING {
            // Glare, RFC 3261 §14.1: once more, later.
            self.next_step
                .get_or_insert((bench.now + PAUSE, Step::Resume));
        }
    }

    pub(super) fn asked_in_vain(&mut self, bench: &mut Bench<'_>) {
        let Some(asked) = self.asked.as_mut() else {
            return;
        };
        if self.stage == Stage::Calling && !asked.is_cancelled {
            asked.is_cancelled = true;
            asked.resend.pause_until(bench.now + RING_TIME);
            let mut cancel = Request::new(Method::Cancel, asked.request.uri.clone());
            for name in [
                HeaderName::Via,
                HeaderName::From,
                HeaderName::To,
                HeaderName::CallId,
                HeaderName::MaxForwards,
            ] {
                cancel.headers.copy(&asked.request.headers, &name);
            }
            cancel.headers.set(&CSeq {
                number: asked.number,
                method: Method::Cancel,
            });
            bench.send(self.hop, cancel);
            return;
        }
        self.asked = None;
        self.end(bench);
    }

    pub(super) fn offer_again(&mut self, direction: Direction, then: Step, bench: &mut Bench<'_>) {
        if self.stage != Stage::Up || self.asked.is_some() {
            return;
        }
        let Some(current) = self.sdp.current() else {
            return;
        };
        let audio = Audio {
            direction,
            ..current
        };
        let offer = self.sdp.offer(&audio, self.address);
        let invite = self.request(Method::Invite).with_body(SDP, offer);
        self.ask(invite, bench);
        self.next_step = (then == Step::Resume).then_some((bench.now + PAUSE, then));
    }

    /// A request of ours with the next number.
    pub(super) fn request(&mut self, method: Method) -> Request {
        let number = self.next_cseq;
        self.next_cseq += 1;
        self.in_dialog(method, number)
    }

    pub(super) fn in_dialog(&self, method: Method, number: u32) -> Request {
        let cseq = CSeq {
            number,
            method: method.clone(),
        };
        Request::new(method, self.target.clone())
            .with(HeaderName::MaxForwards, 70_u32)
            .with(HeaderName::From, self.local.to_string())
            .with(HeaderName::To, self.remote.to_string())
            .with(HeaderName::CallId, self.call_id.as_str())
            .with_typed(&cseq)
    }

    pub(super) fn ask(&mut self, mut request: Request, bench: &mut Bench<'_>) {
        let branch = bench.token();
        let via = bench.via(self.hop.transport, &branch);
        request.headers.prepend(HeaderName::Via, via.to_string());
        if request.method == Method::Invite {
            let contact = self.contact(bench);
            request = request
                .with(HeaderName::Contact, format!("<{contact}>"))
                .with(HeaderName::Allow, ALLOW);
        }
        let bytes = bench.send(self.hop, request.clone());
        self.asked = Some(Asked {
            number: request.headers.cseq().map_or(0, |cseq| cseq.number),
            branch: via.branch().unwrap_or_default().to_owned(),
            request,
            resend: Resend::new(self.hop, bytes, bench.now),
            is_cancelled: false,
        });
    }
}
