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

mod ask;
mod serve;
mod words;

use words::{audio_of, description_of, everything, key_in_info, sdp_in, target_of};

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

    fn contact(&self, bench: &Bench<'_>) -> SipUri {
        bench.own_uri(self.service.number())
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
