//! The signalling half of a played telephone: one call, RFC 3261 §12 to §15, with
//! reliable provisional responses (RFC 3262) and UPDATE (RFC 3311).

use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{ImsAddress, PayloadFormat};
use signaling::message::headers::{CSeq, RAck};
use signaling::message::{
    HeaderName, Method, NameAddr, Request, Response, SipUri, StatusCode, Uri,
};
use signaling::sdp::{
    Audio, CodecPolicy, Description, Direction, ImsDescription, ImsSide, Part, SdpError, parse,
    session_description, single,
};

use crate::numbers::Service;
use crate::resend::Resend;
use crate::sip::{Bench, Hop, hop_of};
use crate::telephone::{Path, Sound, Telephone};

/// One call of a played telephone.
#[derive(Debug)]
pub(crate) struct Call {
    call_id: String,
    local: NameAddr,
    remote: NameAddr,
    target: Uri,
    hop: Hop,
    next_cseq: u32,
    pub(crate) service: Service,
    /// The user at the other end.
    pub(crate) user: String,
    stage: Stage,
    sdp: ImsSide,
    pub(crate) address: ImsAddress,
    pub(crate) telephone: Telephone,
    served: Option<Served>,
    asked: Option<Asked>,
    /// The ACK for a 2xx, in case the 2xx comes again.
    acked: Option<(u32, Hop, Bytes)>,
    next_step: Option<(Instant, Step)>,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Our INVITE is out.
    Calling,
    /// The peer's INVITE is not answered yet.
    Ringing,
    /// Up.
    Up,
    /// Gone; copies of its last messages are still answered.
    Over { forget_at: Instant },
}

/// An INVITE of the peer, the first or a later one.
#[derive(Debug)]
struct Served {
    request: Request,
    hop: Hop,
    number: u32,
    /// The last response.
    sent: Option<Bytes>,
    resend: Option<Resend>,
    is_answered: bool,
    /// Of the reliable provisional response that waits for its PRACK.
    rseq: Option<u32>,
}

/// A request of ours that waits for its final response.
#[derive(Debug)]
struct Asked {
    request: Request,
    branch: String,
    number: u32,
    resend: Resend,
    is_cancelled: bool,
}

/// What a telephone does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Answer,
    Hold,
    Resume,
    HangUp,
    CallBack,
    StopRinging,
}

impl Call {
    /// Takes the peer's INVITE for a service.
    pub(crate) fn answer(
        service: Service,
        user: &str,
        request: Request,
        hop: Hop,
        address: ImsAddress,
        bench: &mut Bench<'_>,
    ) -> Option<Self> {
        let tag = bench.token();
        let number = request.headers.cseq().ok()?.number;
        let contact = request.headers.contacts().ok()?.into_iter().next();
        let target = contact.and_then(|contact| contact.address().map(|it| it.uri.clone()))?;
        let mut call = Call {
            call_id: request.headers.call_id().ok()?.as_str().to_owned(),
            local: request.headers.to().ok()?.with_tag(&tag),
            remote: request.headers.from().ok()?,
            hop: hop_of(&target).unwrap_or(hop),
            target,
            next_cseq: 1,
            service,
            user: user.to_owned(),
            stage: Stage::Ringing,
            sdp: ImsSide::new(bench.random_u64()),
            address,
            telephone: Telephone::new(bench.random_u64()),
            served: Some(Served::new(request, hop, number)),
            asked: None,
            acked: None,
            next_step: None,
        };
        call.ring(bench);
        Some(call)
    }

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

    /// Whether a request belongs to this call.
    pub(crate) fn owns_request(&self, request: &Request) -> bool {
        let headers = &request.headers;
        let is_same_call = headers
            .call_id()
            .is_ok_and(|id| id.as_str() == self.call_id);
        let from = headers.from().ok();
        let to = headers.to().ok();
        let from_tag = from.as_ref().and_then(NameAddr::tag);
        let to_tag = to.as_ref().and_then(NameAddr::tag);
        is_same_call
            && (self.remote.tag().is_none() || from_tag == self.remote.tag())
            && (to_tag.is_none() || to_tag == self.local.tag())
    }

    /// Whether a response is to a request of this call.
    pub(crate) fn owns_response(&self, response: &Response) -> bool {
        let headers = &response.headers;
        let from = headers.from().ok();
        headers
            .call_id()
            .is_ok_and(|id| id.as_str() == self.call_id)
            && from.as_ref().and_then(NameAddr::tag) == self.local.tag()
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over { .. })
    }

    /// Whether nothing of the call need be remembered.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Over { forget_at } if forget_at <= now)
            && self.next_step.is_none()
    }

    pub(crate) fn handle_request(&mut self, request: Request, hop: Hop, bench: &mut Bench<'_>) {
        if let Some(target) = target_of(&request)
            && matches!(request.method, Method::Invite | Method::Update)
        {
            self.hop = hop_of(&target).unwrap_or(hop);
            self.target = target;
        }
        match request.method {
            Method::Invite => self.handle_invite(request, hop, bench),
            Method::Ack => self.handle_ack(&request, bench),
            Method::Cancel => self.handle_cancel(&request, hop, bench),
            Method::Bye => self.handle_bye(&request, hop, bench),
            Method::Prack => self.handle_prack(&request, hop, bench),
            Method::Update => self.handle_update(&request, hop, bench),
            Method::Info => {
                self.reply(&request, hop, StatusCode::OK, None, bench);
                if let Some(key) = key_in_info(&request) {
                    self.heard_key(key, bench);
                }
            }
            Method::Options | Method::Notify | Method::Message => {
                self.reply(&request, hop, StatusCode::OK, None, bench);
            }
            Method::Register
            | Method::Subscribe
            | Method::Refer
            | Method::Publish
            | Method::Other(_) => {
                self.reply(&request, hop, StatusCode::NOT_IMPLEMENTED, None, bench);
            }
        }
    }

    /// RFC 4733 event codes: 10 is `*`, 11 is `#`.
    pub(crate) fn heard_key(&mut self, key: u8, bench: &mut Bench<'_>) {
        if self.service != Service::Keys || self.stage != Stage::Up {
            return;
        }
        match key {
            HASH => self.hang_up(bench),
            _ => self.telephone.beep(),
        }
    }

    /// Whether the caller shall be called back now; said once.
    pub(crate) fn take_call_back(&mut self, now: Instant) -> bool {
        let is_due = self
            .next_step
            .is_some_and(|(at, step)| step == Step::CallBack && at <= now);
        if is_due {
            self.next_step = None;
        }
        is_due
    }

    pub(crate) fn handle_timeout(&mut self, bench: &mut Bench<'_>) {
        if let Some(served) = &mut self.served
            && let Some(resend) = &mut served.resend
            && !resend.handle_timeout(bench)
        {
            // Nobody acknowledges: RFC 3261 §13.3.1.4 wants a BYE.
            served.resend = None;
            self.hang_up(bench);
        }
        if let Some(asked) = &mut self.asked
            && !asked.resend.handle_timeout(bench)
        {
            self.asked_in_vain(bench);
        }
        if let Some((at, step)) = self.next_step
            && at <= bench.now
            && step != Step::CallBack
        {
            self.next_step = None;
            self.take_step(step, bench);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let served = self
            .served
            .as_ref()
            .and_then(|served| served.resend.as_ref());
        let asked = self.asked.as_ref().map(|asked| &asked.resend);
        let forget_at = match self.stage {
            Stage::Over { forget_at } => Some(forget_at),
            Stage::Calling | Stage::Ringing | Stage::Up => None,
        };
        served
            .into_iter()
            .chain(asked)
            .map(Resend::poll_timeout)
            .chain(self.next_step.map(|(at, _)| at))
            .chain(forget_at)
            .chain(self.telephone.poll_timeout())
            .min()
    }

    fn ring(&mut self, bench: &mut Bench<'_>) {
        let request = self.served.as_ref().map(|served| &served.request);
        if let Some(Err(error)) = request.and_then(description_of).map(audio_of) {
            return self.respond_error(&error, bench);
        }
        match self.service {
            Service::Busy => self.respond(StatusCode::BUSY_HERE, None, bench),
            Service::Reject => self.respond(StatusCode::DECLINE, None, bench),
            Service::Early => {
                self.telephone.play(Sound::tone(TONE_HERTZ));
                match self.answer_description(bench) {
                    Ok(body) => {
                        self.respond(StatusCode::SESSION_PROGRESS, Some(body), bench);
                        self.next_step = Some((bench.now + EARLY_TIME, Step::Answer));
                    }
                    Err(error) => self.respond_error(&error, bench),
                }
            }
            Service::Ring => {
                self.respond(StatusCode::RINGING, None, bench);
                self.next_step = Some((bench.now + RING_TIME, Step::StopRinging));
            }
            Service::Echo
            | Service::Tone
            | Service::Keys
            | Service::CallBack
            | Service::Hold
            | Service::CallBackWithoutOffer => {
                self.respond(StatusCode::RINGING, None, bench);
                self.next_step = Some((bench.now + ANSWER_TIME, Step::Answer));
            }
        }
    }

    fn take_step(&mut self, step: Step, bench: &mut Bench<'_>) {
        match step {
            Step::Answer => self.pick_up(bench),
            Step::Hold => self.offer_again(Direction::SendOnly, Step::Resume, bench),
            Step::Resume => self.offer_again(Direction::SendRecv, Step::Hold, bench),
            Step::HangUp => self.hang_up(bench),
            Step::StopRinging => {
                self.respond(StatusCode::TEMPORARILY_UNAVAILABLE, None, bench);
                self.end(bench);
            }
            Step::CallBack => {}
        }
    }

    fn pick_up(&mut self, bench: &mut Bench<'_>) {
        let sound = match self.service {
            Service::Tone | Service::Early => Sound::tone(TONE_HERTZ),
            Service::Hold => Sound::tone(HOLD_HERTZ),
            Service::Echo => Sound::echo(),
            Service::Ring
            | Service::Busy
            | Service::Reject
            | Service::Keys
            | Service::CallBack
            | Service::CallBackWithoutOffer => Sound::Silence,
        };
        self.telephone.play(sound);
        // An answer that a reliable response carried stands, RFC 3262 §5.
        let body = match self.sdp.agreed() {
            Some(_) => self.repeat_description(),
            None => self.answer_description(bench),
        };
        match body {
            Ok(body) => {
                self.respond(StatusCode::OK, Some(body), bench);
                self.stage = Stage::Up;
            }
            Err(error) => self.respond_error(&error, bench),
        }
    }

    /// The description to answer the INVITE in hand with: an answer, or an offer if
    /// it had none.
    fn answer_description(&mut self, bench: &mut Bench<'_>) -> Result<Bytes, SdpError> {
        let request = self.served.as_ref().map(|served| served.request.clone());
        let body = match request.as_ref().and_then(description_of) {
            None => self
                .sdp
                .offer(&everything(Direction::SendRecv), self.address),
            Some(description) => self.answer_offer(description?)?,
        };
        self.follow(bench);
        Ok(body)
    }

    fn answer_offer(&mut self, offer: Description) -> Result<Bytes, SdpError> {
        let offer = audio_of(Ok(offer))?;
        let formats: Vec<PayloadFormat> = offer
            .audio
            .formats
            .iter()
            .map(|format| format.format)
            .collect();
        let audio = Audio {
            formats: single(&formats),
            direction: Direction::SendRecv,
        };
        self.sdp.answer(&offer, &audio, self.address)
    }

    fn repeat_description(&mut self) -> Result<Bytes, SdpError> {
        let offer = self.sdp.peer().cloned().ok_or(SdpError::NoAudio)?;
        let audio = self.sdp.current().ok_or(SdpError::NoAudio)?;
        self.sdp.answer(&offer, &audio, self.address)
    }

    fn handle_invite(&mut self, request: Request, hop: Hop, bench: &mut Bench<'_>) {
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

    fn handle_ack(&mut self, ack: &Request, bench: &mut Bench<'_>) {
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

    /// What a telephone does once it is connected.
    fn first_step(&self) -> Option<Step> {
        let has_peers_invite = self.served.is_some();
        match self.service {
            Service::Hold => Some(Step::Hold),
            Service::CallBack | Service::CallBackWithoutOffer if has_peers_invite => {
                Some(Step::HangUp)
            }
            _ => None,
        }
    }

    fn handle_cancel(&mut self, cancel: &Request, hop: Hop, bench: &mut Bench<'_>) {
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

    fn handle_bye(&mut self, bye: &Request, hop: Hop, bench: &mut Bench<'_>) {
        self.reply(bye, hop, StatusCode::OK, None, bench);
        if self.stage == Stage::Ringing {
            self.respond(StatusCode::REQUEST_TERMINATED, None, bench);
        }
        self.end(bench);
    }

    fn handle_prack(&mut self, prack: &Request, hop: Hop, bench: &mut Bench<'_>) {
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

    fn handle_update(&mut self, update: &Request, hop: Hop, bench: &mut Bench<'_>) {
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

    fn connected(&mut self, asked: &Asked, response: &Response, bench: &mut Bench<'_>) {
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
    fn refused(&mut self, asked: &Asked, response: &Response, bench: &mut Bench<'_>) {
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

    fn asked_in_vain(&mut self, bench: &mut Bench<'_>) {
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

    fn offer_again(&mut self, direction: Direction, then: Step, bench: &mut Bench<'_>) {
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

    fn hang_up(&mut self, bench: &mut Bench<'_>) {
        if self.stage == Stage::Up {
            self.end(bench);
            let bye = self.request(Method::Bye);
            self.ask(bye, bench);
        } else {
            self.end(bench);
        }
    }

    fn end(&mut self, bench: &mut Bench<'_>) {
        if self.is_over() {
            return;
        }
        self.telephone.configure(None, bench.now);
        let is_callers = self.served.is_some() && self.stage == Stage::Up;
        self.stage = Stage::Over {
            forget_at: bench.now + crate::sip::GIVE_UP,
        };
        let calls_back = matches!(
            self.service,
            Service::CallBack | Service::CallBackWithoutOffer
        );
        self.next_step =
            (calls_back && is_callers).then_some((bench.now + CALL_BACK_TIME, Step::CallBack));
    }

    /// Tells the telephone what the descriptions say.
    fn follow(&mut self, bench: &Bench<'_>) {
        let path = self
            .sdp
            .agreed()
            .zip(self.sdp.remote())
            .and_then(|(agreed, remote)| {
                let codec = agreed.codec()?;
                let numbers = |wanted| {
                    let mut formats = agreed.formats.iter();
                    formats
                        .find(|format| format.format == wanted)
                        .map(|format| format.numbers)
                };
                Some(Path {
                    remote: remote.rtp,
                    codec,
                    audio: numbers(codec)?,
                    events: numbers(PayloadFormat::TelephoneEvent),
                    flow: agreed.flow(),
                })
            });
        self.telephone.configure(path, bench.now);
    }

    /// Answers the INVITE in hand and repeats what must be repeated.
    fn respond(&mut self, status: StatusCode, body: Option<Bytes>, bench: &mut Bench<'_>) {
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

    fn respond_error(&mut self, error: &SdpError, bench: &mut Bench<'_>) {
        let status = StatusCode::new(error.status_code());
        self.respond(
            status.unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE),
            None,
            bench,
        );
    }

    fn reply(
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

    fn response(
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

    fn contact(&self, bench: &Bench<'_>) -> SipUri {
        bench.own_uri(self.service.number())
    }

    /// A request of ours with the next number.
    fn request(&mut self, method: Method) -> Request {
        let number = self.next_cseq;
        self.next_cseq += 1;
        self.in_dialog(method, number)
    }

    fn in_dialog(&self, method: Method, number: u32) -> Request {
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

    fn ask(&mut self, mut request: Request, bench: &mut Bench<'_>) {
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

impl Served {
    fn new(request: Request, hop: Hop, number: u32) -> Self {
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

fn everything(direction: Direction) -> Audio {
    Audio {
        formats: CodecPolicy::default().everything(),
        direction,
    }
}

fn audio_of(offer: Result<Description, SdpError>) -> Result<ImsDescription, SdpError> {
    ImsDescription::read(&offer?, Part::Offer)
}

fn target_of(request: &Request) -> Option<Uri> {
    let contact = request.headers.contacts().ok()?.into_iter().next()?;
    contact.address().map(|address| address.uri.clone())
}

fn description_of(request: &Request) -> Option<Result<Description, SdpError>> {
    sdp_in(&request.headers, &request.body)
}

fn sdp_in(
    headers: &signaling::message::Headers,
    body: &[u8],
) -> Option<Result<Description, SdpError>> {
    let content_type = headers.text(&HeaderName::ContentType)?;
    session_description(content_type, body).map(parse)
}

/// `Signal=5` of application/dtmf-relay, or the bare key of application/dtmf.
fn key_in_info(request: &Request) -> Option<u8> {
    let text = std::str::from_utf8(&request.body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("signal")
            .then_some(value.trim())
    });
    match signal.unwrap_or(text.trim()) {
        "*" => Some(STAR),
        "#" => Some(HASH),
        digit => digit.parse().ok().filter(|digit| *digit <= 9),
    }
}

/// Event codes, RFC 4733 §3.2.
const STAR: u8 = 10;
const HASH: u8 = 11;

const SDP: &str = "application/sdp";

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO";

/// What is played.
const TONE_HERTZ: u32 = 440;
const HOLD_HERTZ: u32 = 660;

/// From the INVITE to the answer.
const ANSWER_TIME: Duration = Duration::from_millis(400);

/// From the INVITE to the answer where a tone is heard before it.
const EARLY_TIME: Duration = Duration::from_secs(3);

/// How long someone lets it ring.
const RING_TIME: Duration = Duration::from_secs(180);

/// Between two things that a telephone does by itself.
const PAUSE: Duration = Duration::from_secs(2);

/// From the end of a call to the call back.
const CALL_BACK_TIME: Duration = Duration::from_millis(1500);
