//! One call: two legs and the rules that couple them, as one value that is fed and
//! drained. TS 24.229 §5.1.3 and §5.1.4, RFC 7092.
//!
//! [`SipLeg`](sip::SipLeg) speaks SIP with one side; [`Coupling`](couple::Coupling)
//! knows what happening on one side means for the other; [`Outside`] is the world.
//! Left out: emergency calls.

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
use sip::SipLeg;

pub(crate) use kept::KeptSession;
pub use outside::Outside;
pub use sip::Target;

/// One call.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    access: SipLeg,
    ims: SipLeg,
    /// Legs whose dialogs another one has taken, or was not given, the place of.
    former: Vec<SipLeg>,
    coupling: Coupling,
    is_recorded: bool,
}

impl Session {
    /// A side calls; `callee` says how the other side is called. `None` if the INVITE
    /// was turned down at once, and answered so.
    pub fn start(
        id: SessionId,
        caller: Leg,
        transaction: ServerTransactionId,
        invite: Request,
        callee: Target,
        outside: &mut impl Outside,
    ) -> Option<Self> {
        let headers = invite.headers.clone();
        let (calling_leg, offer) = SipLeg::called(caller, transaction, invite, outside)?;
        let called_leg = SipLeg::idle(caller.other(), callee, outside);
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
            couple::Call { offer, headers },
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
        let Some((new, offer)) = SipLeg::called(leg, transaction, invite, outside) else {
            return Ok(());
        };
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
        let tag = request.headers.to().ok();
        let tag = tag.as_ref().and_then(NameAddr::tag);
        self.leg_of_tag(leg, tag)
            .handle_request(transaction, request, outside);
        self.run(outside);
    }

    /// An ACK to a 2xx.
    pub fn handle_ack(&mut self, leg: Leg, request: &Request, outside: &mut impl Outside) {
        let tag = request.headers.to().ok();
        let tag = tag.as_ref().and_then(NameAddr::tag);
        self.leg_of_tag(leg, tag).handle_ack(request, outside);
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
        self.leg(leg).handle_cancelled(invite, cancel, outside);
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
        self.leg_of(leg, transaction)
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
        self.leg_of(leg, transaction)
            .handle_failed(transaction, failure, outside);
        self.run(outside);
    }

    /// The media plane answers or reports on this call.
    pub fn handle_reply(&mut self, reply: Reply, outside: &mut impl Outside) {
        let is_reachable = outside.is_reachable(Leg::Access);
        let now = outside.now().monotonic;
        self.coupling.handle_reply(reply, is_reachable, now);
        self.run(outside);
    }

    /// The browser's connection is gone; it may come back.
    pub fn handle_flow_lost(&mut self, outside: &mut impl Outside) {
        self.coupling.handle_flow_lost(outside.now().monotonic);
        self.run(outside);
    }

    /// The browser is back, on another connection.
    pub fn handle_flow_restored(&mut self, outside: &mut impl Outside) {
        self.access.handle_reachable(outside);
        self.coupling.handle_flow_restored();
        self.run(outside);
    }

    /// Ends the call, whatever its state.
    pub fn end(&mut self, reason: EndReason, outside: &mut impl Outside) {
        self.coupling.end_by_box(reason, outside.now().monotonic);
        self.run(outside);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, outside: &mut impl Outside) {
        self.access.handle_timeout(outside);
        self.ims.handle_timeout(outside);
        for former in &mut self.former {
            former.handle_timeout(outside);
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
        .flatten()
        .min()
    }

    /// Carries words between the legs and the rules until nobody has any left.
    fn run(&mut self, outside: &mut impl Outside) {
        loop {
            let now = outside.now().monotonic;
            if let Some(event) = self.access.poll_event() {
                self.coupling.handle_event(Leg::Access, event, now);
            } else if let Some(event) = self.ims.poll_event() {
                self.coupling.handle_event(Leg::Ims, event, now);
            } else if let Some(step) = self.coupling.poll_step() {
                match step {
                    Step::Leg(leg, action) => self.leg(leg).perform(action, outside),
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
        let former = self.former.iter_mut().filter(|former| former.leg() == leg);
        for former in former {
            let farewell = Farewell {
                status: StatusCode::REQUEST_TERMINATED,
                headers: Headers::new(),
            };
            former.perform(LegAction::HangUp(farewell), outside);
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
        new.perform(LegAction::HangUp(farewell), outside);
        self.former.push(new);
    }

    /// The leg that the tag in To means.
    fn leg_of_tag(&mut self, leg: Leg, tag: Option<&str>) -> &mut SipLeg {
        let is_its = |it: &SipLeg| it.leg() == leg && Some(it.local_tag()) == tag;
        match self.former.iter().position(is_its) {
            Some(at) => &mut self.former[at],
            None => self.leg(leg),
        }
    }

    /// The leg that a request of the box's is from.
    fn leg_of(&mut self, leg: Leg, transaction: ClientTransactionId) -> &mut SipLeg {
        let is_its = |it: &SipLeg| it.leg() == leg && it.owns(transaction);
        match self.former.iter().position(is_its) {
            Some(at) => &mut self.former[at],
            None => self.leg(leg),
        }
    }

    fn leg(&mut self, leg: Leg) -> &mut SipLeg {
        match leg {
            Leg::Access => &mut self.access,
            Leg::Ims => &mut self.ims,
        }
    }
}

/// Dialogs that a call may have left behind at a time.
const FORMER_MAX: usize = 4;
