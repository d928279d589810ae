//! One call: two legs and the rules that couple them, as one value that is fed and
//! drained. TS 24.229 §5.1.3 and §5.1.4, RFC 7092.
//!
//! [`SipLeg`](sip::SipLeg) speaks SIP with one side; [`Coupling`](couple::Coupling)
//! knows what happening on one side means for the other; [`Outside`] is the world.
//! [`rivals`] lets several browsers of one user ring. Left out: emergency calls.

mod couple;
mod early_media;
mod hold;
mod kept;
mod leg;
mod mapping;
mod negotiation;
mod outside;
mod reason;
mod record;
mod rivals;
mod sip;
#[cfg(test)]
mod tests;

use std::time::Instant;

use iq::{Leg, Private, Reply, SessionId};
use rand_core::Rng;

use crate::dialog::Dialog;
use crate::event::{EndReason, Event};
use crate::message::{Headers, NameAddr, Request, Response, StatusCode};
use crate::transaction::{ClientTransactionId, Failure, ServerTransactionId};
use couple::{Coupling, Step};
use leg::{Farewell, Final, LegAction};
use negotiation::Negotiation;
use record::Chronicle;
use rivals::Rivals;
use sip::SipLeg;

pub(crate) use kept::KeptSession;
pub use outside::Outside;
pub use rivals::Device;
pub use sip::Target;

/// One call.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    access: SipLeg,
    ims: SipLeg,
    /// Legs whose dialogs another one has taken, or was not given, the place of.
    former: Vec<SipLeg>,
    /// The browsers that ring beside `access`, of which one will take the call.
    rivals: Rivals,
    coupling: Coupling,
    is_recorded: bool,
}

impl Session {
    /// A side calls; `callee` says how the other side is called, and `others` how further
    /// devices of a called browser user are, which shall ring too. `None` if the INVITE was
    /// turned down at once, and answered so.
    pub fn start(
        id: SessionId,
        caller: Leg,
        transaction: ServerTransactionId,
        invite: Request,
        callee: Target,
        others: Vec<Target>,
        outside: &mut impl Outside,
    ) -> Option<Self> {
        let headers = invite.headers.clone();
        let (calling_leg, offer) = SipLeg::called(caller, transaction, invite, outside)?;
        let called_leg = SipLeg::idle(caller.other(), callee, outside);
        let others = match caller {
            Leg::Ims => others,
            Leg::Access => Vec::new(), // The core forks by itself.
        };
        let rivals = Rivals::new(Leg::Access, others, outside);
        let now = outside.now();
        let random = [outside.rng().next_u64(), outside.rng().next_u64()];
        let party = |address: Result<NameAddr, _>| {
            Private::new(
                address
                    .map(|party| party.uri.to_string())
                    .unwrap_or_default(),
            )
        };
        let chronicle = Chronicle::new(id, caller, party(headers.from()), party(headers.to()), now);
        let (access, ims) = match caller {
            Leg::Access => (calling_leg, called_leg),
            Leg::Ims => (called_leg, calling_leg),
        };
        let codecs = outside.config().codecs.clone();
        let mut coupling = Coupling::start(
            id,
            caller,
            couple::Call {
                offer,
                headers,
                is_forked: rivals.is_open(),
            },
            Negotiation::new(codecs, random, ims.precondition_use()),
            outside.config().into(),
            chronicle,
            now.monotonic,
        );
        if outside.gates_early_media() {
            coupling.gate_early_media();
        }
        let mut session = Session {
            id,
            access,
            ims,
            former: Vec::new(),
            rivals,
            coupling,
            is_recorded: false,
        };
        session.run(outside);
        Some(session)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The tag in To of every request that a side sends inside this call.
    #[must_use]
    pub fn local_tag(&self, leg: Leg) -> &str {
        match leg {
            Leg::Access => self.access.local_tag(),
            Leg::Ims => self.ims.local_tag(),
        }
    }

    /// The same of every browser that rings, and which it is.
    pub fn device_tags(&self) -> impl Iterator<Item = (Device, &str)> {
        let legs = std::iter::once(&self.access).chain(self.rivals.legs());
        legs.map(|leg| (leg.device(), leg.local_tag()))
    }

    /// The browser that the call is with; one of those that ring while none has it.
    #[must_use]
    pub fn device(&self) -> Device {
        self.access.device()
    }

    /// Whether several browsers were called and none has the call yet.
    #[must_use]
    pub fn rings_at_several(&self) -> bool {
        self.rivals.is_open()
    }

    /// Whether the call is answered and not ended.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.coupling.is_up()
    }

    /// Whether nothing is left to be done: the session can be forgotten.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_recorded
            && self.access.is_over()
            && self.ims.is_over()
            && self.former.iter().all(SipLeg::is_over)
            && !self.rivals.is_open()
    }

    /// The dialog of the call on a leg, once there is one.
    #[must_use]
    pub fn dialog(&self, leg: Leg) -> Option<&Dialog> {
        match leg {
            Leg::Access => self.access.dialog(),
            Leg::Ims => self.ims.dialog(),
        }
    }

    /// A side calls in place of a leg's dialog, RFC 3891 §3. The INVITE is answered,
    /// unless this says that nothing can be done about it.
    ///
    /// # Errors
    ///
    /// The status to turn the INVITE down with.
    pub fn replace(
        &mut self,
        leg: Leg,
        transaction: ServerTransactionId,
        invite: Request,
        outside: &mut impl Outside,
    ) -> Result<(), StatusCode> {
        self.coupling.check_replaceable()?;
        if self.former.len() >= FORMER_MAX {
            return Err(StatusCode::SERVER_INTERNAL_ERROR);
        }
        let device = self.device();
        outside.turn_to(device);
        let Some((new, offer)) = SipLeg::called(leg, transaction, invite, outside) else {
            return Ok(());
        };
        let new = new.at_device(device);
        let old = std::mem::replace(self.leg(leg), new);
        self.former.push(old);
        let random = outside.rng().next_u64();
        let now = outside.now().monotonic;
        self.coupling.replace(leg, offer.as_ref(), random, now);
        self.run(outside);
        Ok(())
    }

    /// A request inside this call, other than ACK and CANCEL.
    pub fn handle_request(
        &mut self,
        leg: Leg,
        transaction: ServerTransactionId,
        request: Request,
        outside: &mut impl Outside,
    ) {
        let place = self.place_of_tag(leg, &request.headers);
        self.turn(place, outside)
            .handle_request(transaction, request, outside);
        self.run(outside);
    }

    /// An ACK to a 2xx.
    pub fn handle_ack(&mut self, leg: Leg, request: &Request, outside: &mut impl Outside) {
        let place = self.place_of_tag(leg, &request.headers);
        self.turn(place, outside).handle_ack(request, outside);
        self.run(outside);
    }

    /// An INVITE was cancelled; it has no final answer yet.
    pub fn handle_cancelled(
        &mut self,
        leg: Leg,
        invite: ServerTransactionId,
        cancel: &Request,
        outside: &mut impl Outside,
    ) {
        self.turn(Place::of(leg), outside)
            .handle_cancelled(invite, cancel, outside);
        self.run(outside);
    }

    /// A response to a request of this call.
    pub fn handle_response(
        &mut self,
        leg: Leg,
        transaction: ClientTransactionId,
        response: Response,
        outside: &mut impl Outside,
    ) {
        let place = self.place_of(leg, transaction);
        self.turn(place, outside)
            .handle_response(transaction, response, outside);
        self.run(outside);
    }

    /// A request of this call gets no response.
    pub fn handle_failed(
        &mut self,
        leg: Leg,
        transaction: ClientTransactionId,
        failure: Failure,
        outside: &mut impl Outside,
    ) {
        let place = self.place_of(leg, transaction);
        self.turn(place, outside)
            .handle_failed(transaction, failure, outside);
        self.run(outside);
    }

    /// The media plane answers or reports on this call.
    pub fn handle_reply(&mut self, reply: Reply, outside: &mut impl Outside) {
        outside.turn_to(self.device());
        let is_reachable = outside.is_reachable(Leg::Access);
        let now = outside.now().monotonic;
        self.coupling.handle_reply(reply, is_reachable, now);
        self.run(outside);
    }

    /// A browser's connection is gone; it may come back.
    pub fn handle_flow_lost(&mut self, device: Device, outside: &mut impl Outside) {
        if self.rivals.is_open() {
            self.drop_device(device, outside);
        } else if device == self.device() {
            self.coupling.handle_flow_lost(outside.now().monotonic);
        }
        self.run(outside);
    }

    /// A browser is back, on another connection.
    pub fn handle_flow_restored(&mut self, device: Device, outside: &mut impl Outside) {
        if device == self.device() {
            self.turn(Place::Access, outside).handle_reachable(outside);
            self.coupling.handle_flow_restored();
        }
        self.run(outside);
    }

    /// The registration of a browser is over, and with it the call that it has.
    pub fn end_at(&mut self, device: Device, reason: EndReason, outside: &mut impl Outside) {
        if self.rivals.is_open() {
            self.drop_device(device, outside);
            self.run(outside);
        } else if device == self.device() {
            self.end(reason, outside);
        }
    }

    /// Ends the call, whatever its state.
    pub fn end(&mut self, reason: EndReason, outside: &mut impl Outside) {
        self.coupling.end_by_box(reason, outside.now().monotonic);
        self.run(outside);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, outside: &mut impl Outside) {
        let rivals = (0..self.rivals.legs().len()).map(Place::Rival);
        let former = (0..self.former.len()).map(Place::Former);
        let places = [Place::Access, Place::Ims].into_iter();
        for place in places.chain(rivals).chain(former) {
            self.turn(place, outside).handle_timeout(outside);
        }
        self.coupling.handle_timeout(outside.now().monotonic);
        self.run(outside);
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.access.poll_timeout(),
            self.ims.poll_timeout(),
            self.coupling.poll_timeout(),
        ]
        .into_iter()
        .chain(self.former.iter().map(SipLeg::poll_timeout))
        .chain(self.rivals.legs().iter().map(SipLeg::poll_timeout))
        .flatten()
        .min()
    }

    /// Carries words between the legs and the rules until nobody has any left.
    fn run(&mut self, outside: &mut impl Outside) {
        loop {
            let now = outside.now().monotonic;
            if let Some((device, event)) = self.poll_access_event() {
                self.handle_access_event(device, event, outside);
            } else if let Some(event) = self.ims.poll_event() {
                self.coupling.handle_event(Leg::Ims, event, now);
            } else if let Some(step) = self.coupling.poll_step() {
                match step {
                    Step::Leg(leg, action) => {
                        if leg == Leg::Access {
                            self.perform_at_rivals(&action, outside);
                        }
                        self.turn(Place::of(leg), outside).perform(action, outside);
                    }
                    Step::Iq(command) => outside.iq(command),
                    Step::Replaced(leg) => self.dismiss_former(leg, outside),
                    Step::Kept(leg, refusal) => self.restore_former(leg, refusal, outside),
                }
            } else {
                break;
            }
        }
        // A dialog that was replaced has nothing more to say to the call.
        for former in &mut self.former {
            while former.poll_event().is_some() {}
        }
        self.former.retain(|former| !former.is_over());
        for news in self.coupling.chronicle().take_news() {
            outside.event(news);
        }
        if self.coupling.is_over() && !self.is_recorded {
            self.is_recorded = true;
            let now = outside.now().monotonic;
            let record = self.coupling.chronicle().record(now);
            outside.event(Event::CallEnded(record));
        }
    }

    /// Ends the dialog that was replaced, RFC 3891 §3.
    fn dismiss_former(&mut self, leg: Leg, outside: &mut impl Outside) {
        for at in 0..self.former.len() {
            let farewell = Farewell {
                status: StatusCode::REQUEST_TERMINATED,
                headers: Headers::new(),
            };
            let former = self.turn(Place::Former(at), outside);
            if former.leg() == leg {
                former.perform(LegAction::HangUp(farewell), outside);
            }
        }
    }

    /// The dialog that was to be replaced goes on, and the new one is turned down.
    fn restore_former(&mut self, leg: Leg, refusal: Final, outside: &mut impl Outside) {
        let is_its = |former: &SipLeg| former.leg() == leg;
        let Some(at) = self.former.iter().rposition(is_its) else {
            return;
        };
        let old = self.former.remove(at);
        let mut new = std::mem::replace(self.leg(leg), old);
        let farewell = Farewell {
            status: refusal.status,
            headers: refusal.headers,
        };
        outside.turn_to(self.device());
        new.perform(LegAction::HangUp(farewell), outside);
        self.former.push(new);
    }

    /// The leg that the tag in To means.
    fn place_of_tag(&self, leg: Leg, headers: &Headers) -> Place {
        let to = headers.to().ok();
        let tag = to.as_ref().and_then(NameAddr::tag);
        self.place_where(leg, |it| Some(it.local_tag()) == tag)
    }

    /// The leg that a request of the box's is from.
    fn place_of(&self, leg: Leg, transaction: ClientTransactionId) -> Place {
        self.place_where(leg, |it| it.owns(transaction))
    }

    fn place_where(&self, leg: Leg, is_its: impl Fn(&SipLeg) -> bool) -> Place {
        let is_its = |it: &SipLeg| it.leg() == leg && is_its(it);
        let former = self.former.iter().position(is_its).map(Place::Former);
        let mut rivals = self.rivals.legs().iter();
        former
            .or_else(|| rivals.position(is_its).map(Place::Rival))
            .unwrap_or(Place::of(leg))
    }

    /// A leg, with the world turned to its browser.
    fn turn(&mut self, place: Place, outside: &mut impl Outside) -> &mut SipLeg {
        let device = self.device();
        let leg = match place {
            Place::Access => &mut self.access,
            Place::Ims => &mut self.ims,
            Place::Rival(at) => &mut self.rivals.legs_mut()[at],
            Place::Former(at) => &mut self.former[at],
        };
        outside.turn_to(match leg.leg() {
            Leg::Access => leg.device(),
            Leg::Ims => device,
        });
        leg
    }

    fn leg(&mut self, leg: Leg) -> &mut SipLeg {
        match leg {
            Leg::Access => &mut self.access,
            Leg::Ims => &mut self.ims,
        }
    }
}

/// Where a session keeps a leg.
#[derive(Clone, Copy, Debug)]
enum Place {
    Access,
    Ims,
    Rival(usize),
    Former(usize),
}

impl Place {
    fn of(leg: Leg) -> Self {
        match leg {
            Leg::Access => Place::Access,
            Leg::Ims => Place::Ims,
        }
    }
}

/// Dialogs that a call may have left behind at a time.
const FORMER_MAX: usize = 4;
