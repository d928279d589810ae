//! The table of calls: which call a message belongs to, and whose it is.

mod kept;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use iq::{Command, Leg, Reply, SessionId};

use crate::config::TenantId;
use crate::deadlines::Deadlines;
use crate::event::EndReason;
use crate::link::Link;
use crate::message::headers::Replaces;
use crate::message::{Params, Request, Response, StatusCode, Uri};
use crate::reach::Hop;
use crate::registration::{BindingId, Registrations};
use crate::session::{Device, Session, Target};
use crate::transaction::{ClientTransactionId, Failure, ServerTransactionId};
use crate::visited::Visited;

pub(crate) use kept::KeptCall;
use view::View;

/// Every call.
#[derive(Debug)]
pub(crate) struct Sessions {
    epoch: u64,
    made: u64,
    table: BTreeMap<SessionId, Entry>,
    /// Requests inside a call carry our tag, which nobody else has.
    by_tag: BTreeMap<(Leg, String), (SessionId, Device)>,
    by_binding: BTreeMap<BindingId, BTreeSet<SessionId>>,
    /// INVITEs that a CANCEL may still be about.
    invites: BTreeMap<ServerTransactionId, (SessionId, Leg)>,
    deadlines: Deadlines<SessionId>,
    /// Calls that may have changed since their records were written.
    touched: BTreeSet<SessionId>,
    /// Calls of an earlier life that media has not been heard about.
    unaudited: BTreeSet<SessionId>,
    /// When they count as lost.
    audit_by: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    tenant: TenantId,
    /// What is said of it in the core, where the box is a part of that.
    visited: Option<Visited>,
    /// The registrations of the browsers that it rings, or rang, at: one but for a user
    /// whose registrar is the box.
    devices: Vec<BindingId>,
    tags: Vec<(Leg, String)>,
    /// The server that the call went or came through.
    hop: Option<Hop>,
}

impl Entry {
    /// Whose the call is by now.
    fn binding(&self) -> BindingId {
        self.binding_of(self.session.device())
    }

    fn binding_of(&self, Device(at): Device) -> BindingId {
        self.devices[usize::from(at)]
    }
}

impl Sessions {
    pub(crate) fn new(epoch: u64) -> Self {
        Sessions {
            epoch,
            made: 0,
            table: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            by_binding: BTreeMap::new(),
            invites: BTreeMap::new(),
            deadlines: Deadlines::new(),
            touched: BTreeSet::new(),
            unaudited: BTreeSet::new(),
            audit_by: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether a registration has a call, or is rung at. One that another browser of the same
    /// user took is none of it.
    pub(crate) fn has_call(&self, binding: BindingId) -> bool {
        let calls = self.by_binding.get(&binding).into_iter().flatten();
        let mut entries = calls.filter_map(|id| self.table.get(id));
        entries.any(|entry| entry.binding() == binding || entry.session.rings_at_several())
    }

    /// How many calls registrations have together.
    pub(crate) fn count_of(&self, bindings: impl Iterator<Item = BindingId>) -> usize {
        let calls = bindings.filter_map(|binding| self.by_binding.get(&binding));
        calls.flatten().collect::<BTreeSet<_>>().len()
    }

    /// Whose call it is.
    pub(crate) fn user_of(&self, id: SessionId) -> Option<BindingId> {
        Some(self.table.get(&id)?.binding())
    }

    /// Begins a call; it answers its INVITE whatever becomes of it.
    pub(crate) fn start(&mut self, call: NewCall, link: &mut Link, registrations: &Registrations) {
        self.made += 1;
        let id = SessionId {
            epoch: self.epoch,
            n: self.made,
        };
        let NewCall {
            tenant,
            visited,
            binding,
            hop,
            caller,
            transaction,
            invite,
            callee,
            others,
        } = call;
        let (others, targets): (Vec<_>, Vec<_>) = others.into_iter().unzip();
        let devices = [vec![binding], others].concat();
        let mut view = View {
            session: id,
            tenant,
            visited: visited.as_ref(),
            devices: &devices,
            device: Device::default(),
            hop,
            link,
            registrations,
        };
        let session = Session::start(id, caller, transaction, invite, callee, targets, &mut view);
        let Some(session) = session else {
            return link.counters.calls_refused += 1;
        };
        let entry = Entry {
            session,
            tenant,
            visited,
            devices,
            tags: Vec::new(),
            hop,
        };
        self.insert(id, entry);
        self.invites.insert(transaction, (id, caller));
        self.tidy(id);
    }

    fn insert(&mut self, id: SessionId, mut entry: Entry) {
        let session = &entry.session;
        let ims = (Leg::Ims, session.device(), session.local_tag(Leg::Ims));
        let browsers = session.device_tags();
        let browsers = browsers.map(|(device, tag)| (Leg::Access, device, tag));
        for (leg, device, tag) in browsers.chain([ims]) {
            let tag = (leg, tag.to_owned());
            self.by_tag.insert(tag.clone(), (id, device));
            entry.tags.push(tag);
        }
        for device in &entry.devices {
            self.by_binding.entry(*device).or_default().insert(id);
        }
        self.table.insert(id, entry);
    }

    /// The call that a request belongs to by the tag in its To, and whose it is.
    pub(crate) fn find(&self, leg: Leg, tag: &str) -> Option<(SessionId, BindingId)> {
        let (id, device) = *self.by_tag.get(&(leg, tag.to_owned()))?;
        let entry = self.table.get(&id)?;
        let binding = match leg {
            Leg::Access => entry.binding_of(device),
            Leg::Ims => entry.binding(),
        };
        Some((id, binding))
    }

    /// The call and the owner of the dialog that Replaces names on a leg, RFC 3891 §3.
    pub(crate) fn find_replaced(
        &self,
        leg: Leg,
        replaces: &Replaces,
    ) -> Option<(SessionId, BindingId)> {
        let (id, binding) = self.find(leg, replaces.to_tag()?)?;
        let dialog = self.table.get(&id)?.session.dialog(leg)?.id();
        let is_its = dialog.call_id == replaces.call_id
            && Some(dialog.local_tag.as_str()) == replaces.to_tag()
            && Some(dialog.remote_tag.as_str()) == replaces.from_tag();
        is_its.then_some((id, binding))
    }

    /// How the other side of a call knows its end of it: what Replaces says to the far end
    /// of a leg, and where that is.
    pub(crate) fn far_end(&self, id: SessionId, leg: Leg) -> Option<(Replaces, Uri)> {
        let dialog = self.table.get(&id)?.session.dialog(leg)?;
        let mut params = Params::default();
        params.set("to-tag", &dialog.id().remote_tag);
        params.set("from-tag", &dialog.id().local_tag);
        let call_id = dialog.id().call_id.clone();
        let target = dialog.remote_target().clone();
        Some((Replaces { call_id, params }, target))
    }

    /// An INVITE that takes the place of a call's dialog.
    ///
    /// # Errors
    /// The status to turn it down with.
    pub(crate) fn replace(
        &mut self,
        id: SessionId,
        leg: Leg,
        transaction: ServerTransactionId,
        invite: Request,
        link: &mut Link,
        registrations: &Registrations,
    ) -> Result<(), StatusCode> {
        self.invites.insert(transaction, (id, leg));
        let mut verdict = Ok(());
        self.with(id, link, registrations, |session, view| {
            verdict = session.replace(leg, transaction, invite, view);
        });
        if let Some(entry) = self.table.get_mut(&id)
            && verdict.is_ok()
        {
            link.counters.calls_replaced += 1;
            let tag = (leg, entry.session.local_tag(leg).to_owned());
            if !entry.tags.contains(&tag) {
                let device = entry.session.device();
                self.by_tag.insert(tag.clone(), (id, device));
                entry.tags.push(tag);
            }
        }
        verdict
    }

    /// A request inside a call.
    pub(crate) fn handle_request(
        &mut self,
        id: SessionId,
        leg: Leg,
        transaction: ServerTransactionId,
        request: Request,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        if request.method == crate::message::Method::Invite {
            self.invites.insert(transaction, (id, leg));
        }
        self.with(id, link, registrations, |session, view| {
            session.handle_request(leg, transaction, request, view);
        });
    }

    /// An ACK to a 2xx.
    pub(crate) fn handle_ack(
        &mut self,
        id: SessionId,
        leg: Leg,
        request: &Request,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        self.with(id, link, registrations, |session, view| {
            session.handle_ack(leg, request, view);
        });
    }

    /// A CANCEL of an INVITE.
    pub(crate) fn handle_cancelled(
        &mut self,
        invite: ServerTransactionId,
        cancel: &Request,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        if let Some((id, leg)) = self.invites.get(&invite).copied() {
            self.with(id, link, registrations, |session, view| {
                session.handle_cancelled(leg, invite, cancel, view);
            });
        }
    }

    /// A server transaction is forgotten.
    pub(crate) fn handle_ended(&mut self, transaction: ServerTransactionId) {
        self.invites.remove(&transaction);
    }

    /// Learns which server a call goes through.
    pub(crate) fn handle_hop(&mut self, (id, leg): (SessionId, Leg), hop: Option<Hop>) {
        if leg == Leg::Ims
            && let Some(entry) = self.table.get_mut(&id)
        {
            entry.hop = hop.or(entry.hop);
        }
    }

    /// A response to a request of a call.
    pub(crate) fn handle_response(
        &mut self,
        (id, leg): (SessionId, Leg),
        transaction: ClientTransactionId,
        response: Response,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        let entry = self.table.get_mut(&id).filter(|_| leg == Leg::Ims);
        if let Some(visited) = entry.and_then(|entry| entry.visited.as_mut()) {
            visited.hear(&response.headers);
        }
        self.with(id, link, registrations, |session, view| {
            session.handle_response(leg, transaction, response, view);
        });
    }

    /// A request of a call gets no response.
    pub(crate) fn handle_failed(
        &mut self,
        (id, leg): (SessionId, Leg),
        transaction: ClientTransactionId,
        failure: Failure,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        self.with(id, link, registrations, |session, view| {
            session.handle_failed(leg, transaction, failure, view);
        });
    }

    /// The media plane speaks.
    pub(crate) fn handle_reply(
        &mut self,
        reply: Reply,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        if let Reply::Audited { sessions } = &reply {
            // What media holds and nobody here knows is left over from an earlier life.
            let unknown = sessions
                .iter()
                .filter(|session| !self.table.contains_key(session));
            unknown.for_each(|session| link.iq(Command::Release { session: *session }));
            return self.handle_audit(sessions, link, registrations);
        }
        if let Some(id) = session_of(&reply) {
            self.with(id, link, registrations, |session, view| {
                session.handle_reply(reply, view)
            });
        }
    }

    /// The browser of a registration is away.
    pub(crate) fn handle_away(
        &mut self,
        binding: BindingId,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        for id in self.of(binding) {
            self.with(id, link, registrations, |session, view| {
                session.handle_flow_lost(view.device_of(binding), view)
            });
        }
    }

    /// The browser of a registration is back.
    pub(crate) fn handle_back(
        &mut self,
        binding: BindingId,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        for id in self.of(binding) {
            self.with(id, link, registrations, |session, view| {
                session.handle_flow_restored(view.device_of(binding), view)
            });
        }
    }

    /// A registration is over, and its calls with it.
    pub(crate) fn end_of(
        &mut self,
        binding: BindingId,
        reason: EndReason,
        link: &mut Link,
        registrations: &Registrations,
    ) {
        for id in self.of(binding) {
            self.with(id, link, registrations, |session, view| {
                session.end_at(view.device_of(binding), reason, view)
            });
        }
    }

    /// Ends every call.
    pub(crate) fn end_all(&mut self, link: &mut Link, registrations: &Registrations) {
        for id in self.table.keys().copied().collect::<Vec<_>>() {
            self.with(id, link, registrations, |session, view| {
                session.end(EndReason::Shutdown, view);
            });
        }
    }

    pub(crate) fn handle_timeout(&mut self, link: &mut Link, registrations: &Registrations) {
        while let Some(id) = self.deadlines.take_due(link.instant()) {
            self.with(id, link, registrations, |session, view| {
                session.handle_timeout(view)
            });
        }
        if self.audit_by.is_some_and(|at| at <= link.instant()) {
            self.handle_audit(&[], link, registrations);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.deadlines.next();
        [next, self.audit_by].into_iter().flatten().min()
    }

    fn of(&self, binding: BindingId) -> Vec<SessionId> {
        self.by_binding
            .get(&binding)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    fn with(
        &mut self,
        id: SessionId,
        link: &mut Link,
        registrations: &Registrations,
        tell: impl FnOnce(&mut Session, &mut View<'_>),
    ) {
        if let Some(entry) = self.table.get_mut(&id) {
            let mut view = View {
                session: id,
                tenant: entry.tenant,
                visited: entry.visited.as_ref(),
                devices: &entry.devices,
                device: entry.session.device(),
                hop: entry.hop,
                link,
                registrations,
            };
            tell(&mut entry.session, &mut view);
            self.tidy(id);
            if !self.table.contains_key(&id) {
                link.forget_session(id);
            }
        }
    }

    /// Sets when a call is woken next, or forgets it.
    fn tidy(&mut self, id: SessionId) {
        self.touched.insert(id);
        let Some(entry) = self.table.get(&id) else {
            return;
        };
        if !entry.session.is_over() {
            return self.deadlines.set(id, entry.session.poll_timeout());
        }
        self.deadlines.set(id, None);
        if let Some(entry) = self.table.remove(&id) {
            for tag in &entry.tags {
                self.by_tag.remove(tag);
            }
            for device in entry.devices {
                if let Some(ids) = self.by_binding.get_mut(&device) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.by_binding.remove(&device);
                    }
                }
            }
            self.invites.retain(|_, (session, _)| *session != id);
        }
    }
}

/// What a call begins with.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) tenant: TenantId,
    /// What is said of it in the core, where the box is a part of that.
    pub(crate) visited: Option<Visited>,
    pub(crate) binding: BindingId,
    /// The server that it comes from, if it comes from one.
    pub(crate) hop: Option<Hop>,
    pub(crate) caller: Leg,
    pub(crate) transaction: ServerTransactionId,
    pub(crate) invite: Request,
    pub(crate) callee: Target,
    /// Further browsers of a called user, which ring too.
    pub(crate) others: Vec<(BindingId, Target)>,
}

fn session_of(reply: &Reply) -> Option<SessionId> {
    match reply {
        Reply::Reserved(reserved) => Some(reserved.session),
        Reply::Connected(connected) => Some(connected.session),
        Reply::DtmfReceived(dtmf) => Some(dtmf.session),
        Reply::Refused { session, .. }
        | Reply::Released { session, .. }
        | Reply::AccessLost { session, .. }
        | Reply::ImsSilent { session, .. }
        | Reply::FirstMedia { session, .. } => Some(*session),
        Reply::Audited { .. } => None,
    }
}
