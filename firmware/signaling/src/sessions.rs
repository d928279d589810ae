//! The table of calls: which call a message belongs to, whose it is, and the world as
//! one call sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use iq::{Command, Leg, Now, Reply, SessionId};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

use crate::config::{CallConfig, ServiceConfig, TenantId};
use crate::crossing;
use crate::deadlines::Deadlines;
use crate::event::{EndReason, Event};
use crate::kept::Clock;
use crate::link::{Link, Owner};
use crate::message::headers::Replaces;
use crate::message::{
    HeaderName, Headers, Method, NameAddr, Params, Request, Response, StatusCode, Uri,
};
use crate::reach::Hop;
use crate::registration::{Binding, BindingId, ImsPath, Registrations};
use crate::session::{KeptSession, Outside, Session, Target};
use crate::transaction::{ClientTransactionId, Failure, ServerTransactionId};
use crate::visited::Visited;

/// Every call.
#[derive(Debug)]
pub(crate) struct Sessions {
    epoch: u64,
    made: u64,
    table: BTreeMap<SessionId, Entry>,
    /// Requests inside a call carry our tag, which nobody else has.
    by_tag: BTreeMap<(Leg, String), SessionId>,
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
    binding: BindingId,
    tags: Vec<(Leg, String)>,
    /// The server that the call went or came through.
    hop: Option<Hop>,
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

    /// How many calls a registration has.
    pub(crate) fn count_of(&self, binding: BindingId) -> usize {
        self.by_binding.get(&binding).map_or(0, BTreeSet::len)
    }

    /// Begins a call; it answers its INVITE whatever becomes of it.
    pub(crate) fn start(&mut self, call: NewCall, link: &mut Link, registrations: &Registrations) {
        self.made += 1;
        let id = SessionId {
            epoch: self.epoch,
            n: self.made,
        };
        let (tenant, hop, visited) = (call.tenant, call.hop, call.visited);
        let mut view = View {
            session: id,
            tenant,
            visited: visited.as_ref(),
            binding: call.binding,
            hop: call.hop,
            link,
            registrations,
        };
        let NewCall {
            binding,
            caller,
            transaction,
            invite,
            callee,
            ..
        } = call;
        let session = Session::start(id, caller, transaction, invite, callee, &mut view);
        let Some(session) = session else {
            return link.counters.calls_refused += 1;
        };
        let entry = Entry {
            session,
            tenant,
            visited,
            binding,
            tags: Vec::new(),
            hop,
        };
        self.insert(id, entry);
        self.invites.insert(transaction, (id, caller));
        self.tidy(id);
    }

    fn insert(&mut self, id: SessionId, mut entry: Entry) {
        for leg in [Leg::Access, Leg::Ims] {
            let tag = (leg, entry.session.local_tag(leg).to_owned());
            self.by_tag.insert(tag.clone(), id);
            entry.tags.push(tag);
        }
        self.by_binding.entry(entry.binding).or_default().insert(id);
        self.table.insert(id, entry);
    }

    /// The call that a request belongs to by the tag in its To, and whose it is.
    pub(crate) fn find(&self, leg: Leg, tag: &str) -> Option<(SessionId, BindingId)> {
        let id = *self.by_tag.get(&(leg, tag.to_owned()))?;
        Some((id, self.table.get(&id)?.binding))
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
                self.by_tag.insert(tag.clone(), id);
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
                session.handle_flow_lost(view)
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
                session.handle_flow_restored(view)
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
                session.end(reason, view)
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
                binding: entry.binding,
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
            if let Some(ids) = self.by_binding.get_mut(&entry.binding) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_binding.remove(&entry.binding);
                }
            }
            self.invites.retain(|_, (session, _)| *session != id);
        }
    }
}

/// Over a restart of the control plane.
impl Sessions {
    /// The calls that may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<SessionId> {
        std::mem::take(&mut self.touched)
    }

    /// Has every call looked at again.
    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.table.keys());
    }

    /// What is to be kept of a call; none unless it is up.
    pub(crate) fn record(&self, id: SessionId, clock: &Clock) -> Option<KeptCall> {
        let entry = self.table.get(&id)?;
        Some(KeptCall {
            binding: entry.binding.0,
            visited: entry.visited.clone(),
            hop: entry.hop,
            session: entry.session.record(clock)?,
        })
    }

    /// Takes up a call of an earlier life. No if its registration is not there any more.
    pub(crate) fn restore(
        &mut self,
        kept: KeptCall,
        link: &mut Link,
        registrations: &Registrations,
    ) -> bool {
        let (id, binding) = (kept.session.id, BindingId(kept.binding));
        let Some(tenant) = registrations.get(binding).map(Binding::tenant) else {
            return false;
        };
        if self.table.contains_key(&id) {
            return false;
        }
        let clock = link.clock;
        let mut view = View {
            session: id,
            tenant,
            visited: kept.visited.as_ref(),
            binding,
            hop: kept.hop,
            link,
            registrations,
        };
        let Some(session) = Session::restore(kept.session, &clock, &mut view) else {
            return false;
        };
        let entry = Entry {
            session,
            tenant,
            visited: kept.visited,
            binding,
            tags: Vec::new(),
            hop: kept.hop,
        };
        self.insert(id, entry);
        self.unaudited.insert(id);
        self.audit_by = Some(link.instant() + AUDIT_PATIENCE);
        self.tidy(id);
        true
    }

    /// Media says what it holds: calls of an earlier life that it does not hold are over.
    fn handle_audit(&mut self, held: &[SessionId], link: &mut Link, registrations: &Registrations) {
        self.audit_by = None;
        for id in std::mem::take(&mut self.unaudited) {
            if !held.contains(&id) {
                self.with(id, link, registrations, |session, view| {
                    session.end(EndReason::MediaFailed, view);
                });
            }
        }
    }
}

/// What is kept of a call over a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptCall {
    binding: u64,
    /// What is said of it in the core, where the box is a part of that.
    #[serde(default)]
    visited: Option<Visited>,
    /// The server that it went or came through.
    #[serde(default)]
    hop: Option<Hop>,
    session: KeptSession,
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
}

/// The world as one call sees it.
struct View<'a> {
    session: SessionId,
    tenant: TenantId,
    visited: Option<&'a Visited>,
    binding: BindingId,
    hop: Option<Hop>,
    link: &'a mut Link,
    registrations: &'a Registrations,
}

impl View<'_> {
    fn binding(&self) -> Option<&Binding> {
        self.registrations.get(self.binding)
    }

    /// The way of a request: what belongs to a call goes where its route set leads, and
    /// stays with the server that the call went through.
    fn ims_path(&self, request: &Request) -> Option<ImsPath> {
        let path = self.binding()?.ims_path(&self.link.config)?;
        if begins_a_call(request) {
            return Some(path);
        }
        let own = self.hop.unwrap_or(path.hop());
        let hop = self.link.reach.follow(self.tenant, own, request);
        Some(ImsPath {
            remote: hop.address,
            transport: hop.transport,
            ..path
        })
    }
}

impl Outside for View<'_> {
    fn now(&self) -> Now {
        self.link.now()
    }

    fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.link.rng
    }

    fn config(&self) -> &CallConfig {
        &self.link.config.calls
    }

    fn services(&self) -> &ServiceConfig {
        &self.link.config.tenant(self.tenant).services
    }

    fn gates_early_media(&self) -> bool {
        let tenant = self.link.config.tenant(self.tenant);
        tenant.profile.mw().is_some_and(|mw| mw.gates_early_media)
    }

    fn is_reachable(&self, leg: Leg) -> bool {
        let binding = self.binding();
        match leg {
            Leg::Access => binding.and_then(Binding::flow).is_some(),
            Leg::Ims => binding
                .and_then(|it| it.ims_path(&self.link.config))
                .is_some(),
        }
    }

    fn contact(&self, leg: Leg) -> NameAddr {
        crossing::contact(self.link, self.binding(), leg)
    }

    fn send_request(&mut self, leg: Leg, mut request: Request) -> Option<ClientTransactionId> {
        if !request.headers.has(&HeaderName::MaxForwards) {
            request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        }
        let owner = Owner::Session(self.session, leg);
        match leg {
            Leg::Access => {
                let flow = self.binding()?.flow()?;
                Some(self.link.send_to_flow(owner, flow, request))
            }
            Leg::Ims => {
                let path = self.ims_path(&request)?;
                if let Some(visited) = self.visited {
                    visited.dress_request(&request.method, &mut request.headers);
                    return Some(self.link.send_by_route(owner, &path, request));
                }
                let user = self.binding().and_then(Binding::kept_user).cloned();
                let tenant = begins_a_call(&request).then_some(self.tenant);
                let link = &mut self.link;
                Some(match (user, tenant) {
                    (Some(user), _) => {
                        link.send_on_behalf(self.session, tenant, &path, request, user)
                    }
                    (None, Some(tenant)) => link.send_call(owner, tenant, &path, request),
                    (None, None) => link.send_to_ims(owner, &path, request),
                })
            }
        }
    }

    fn send_ack(&mut self, leg: Leg, mut request: Request) {
        if !request.headers.has(&HeaderName::MaxForwards) {
            request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
        }
        let flow = self.binding().and_then(Binding::flow);
        let path = self.ims_path(&request);
        match (leg, flow, path) {
            (Leg::Access, Some(flow), _) => self.link.acknowledge_to_flow(flow, request),
            (Leg::Ims, _, Some(path)) if self.visited.is_some() => {
                self.link.acknowledge_by_route(&path, request);
            }
            (Leg::Ims, _, Some(path)) => {
                self.link.match_ack(self.session, &mut request);
                self.link.acknowledge_to_ims(&path, request);
            }
            (Leg::Access | Leg::Ims, _, _) => {} // Nobody is there; the 2xx will come again.
        }
    }

    fn cancel(&mut self, invite: ClientTransactionId, headers: Headers) {
        self.link.cancel(invite, &headers);
    }

    fn respond(&mut self, leg: Leg, transaction: ServerTransactionId, mut response: Response) {
        if let Some(visited) = self.visited.filter(|_| leg == Leg::Ims) {
            visited.dress_response(&mut response);
        }
        self.link.respond(transaction, response);
    }

    fn carry(&self, towards: Leg, headers: &Headers) -> Headers {
        self.link.policies.carry(self.tenant, headers, towards)
    }

    fn iq(&mut self, command: Command) {
        self.link.iq(command);
    }

    fn event(&mut self, mut event: Event) {
        if let Event::CallEnded(record) = &mut event {
            record.charging = self.visited.map(Visited::charging);
        }
        let counters = &mut self.link.counters;
        match &event {
            Event::CallStarted {
                from: Leg::Access, ..
            } => counters.calls_from_access += 1,
            Event::CallStarted { from: Leg::Ims, .. } => counters.calls_from_ims += 1,
            Event::CallAnswered { .. } => counters.calls_answered += 1,
            _ => {}
        }
        self.link.event(event);
    }
}

/// An INVITE outside a dialog, RFC 3261 §13.
fn begins_a_call(request: &Request) -> bool {
    let is_in_dialog = || request.headers.to().is_ok_and(|to| to.tag().is_some());
    request.method == Method::Invite && !is_in_dialog()
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

/// How long the media plane may be away when the control plane starts.
const AUDIT_PATIENCE: Duration = Duration::from_secs(15);

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u32 = 70;
