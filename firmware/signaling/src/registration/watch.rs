//! What the home network does to a user's registration by itself. A P-CSCF subscribes to the
//! registration events of each user (TS 24.229 §5.2.3, RFC 3680), and a registration that
//! the network ended is over here too (TS 24.229 §5.2.5.2): his calls end, and his browser is
//! told by the close code whether to come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::TenantId;
use crate::deadlines::Deadlines;
use crate::dialog::{Dialog, DialogId};
use crate::event::DeregistrationCause;
use crate::flow::Closing;
use crate::id::EndpointId;
use crate::identity::PublicIdentity;
use crate::link::{Link, Owner};
use crate::message::headers::{CSeq, Expires, PChargingVector};
use crate::message::{
    HeaderName, Host, Method, NameAddr, Request, Response, SipUri, StatusCode, Uri,
};
use crate::rejection::Rejection;
use crate::transaction::{ClientTransactionId, ServerTransactionId};
use crate::xml::{ContactEvent, ContactInfo, RegInfo};

use super::binding::{Binding, BindingId, ImsPath, State, contact_uri};
use super::{Change, Registrations};

/// Names the subscription to one user's registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchId(u64);

/// Every subscription of the box's own.
#[derive(Debug, Default)]
pub(super) struct Watches {
    made: u64,
    table: BTreeMap<WatchId, Watch>,
    by_user: BTreeMap<(TenantId, PublicIdentity), WatchId>,
    by_tag: BTreeMap<String, WatchId>,
    by_binding: BTreeMap<BindingId, WatchId>,
    deadlines: Deadlines<WatchId>,
    /// Who shall not come back before then.
    probation: BTreeMap<PublicIdentity, Instant>,
}

#[derive(Debug)]
struct Watch {
    tenant: TenantId,
    /// His default identity.
    user: PublicIdentity,
    /// His registrations, on all his devices.
    bindings: BTreeSet<BindingId>,
    call_id: String,
    tag: String,
    /// The SUBSCRIBE that began it, and the dialog that its answer made.
    asked: Option<Request>,
    dialog: Option<Dialog>,
    sent: Option<ClientTransactionId>,
    /// Of the document that was read last.
    version: Option<u32>,
    refusals: u32,
}

impl Watches {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn remove(&mut self, id: WatchId) -> Option<Watch> {
        let watch = self.table.remove(&id)?;
        self.by_user.remove(&(watch.tenant, watch.user.clone()));
        self.by_tag.remove(&watch.tag);
        for binding in &watch.bindings {
            self.by_binding.remove(binding);
        }
        self.deadlines.set(id, None);
        Some(watch)
    }

    /// How long somebody has to stay away.
    pub(super) fn probation_of(&mut self, user: &PublicIdentity, now: Instant) -> Option<Duration> {
        let until = *self.probation.get(user)?;
        if until <= now {
            self.probation.remove(user);
            return None;
        }
        Some(until - now)
    }
}

impl Registrations {
    /// A registration stands: its user is watched, unless he is already.
    pub(super) fn watch(&mut self, id: BindingId, link: &mut Link) {
        if let Some(watch) = self.begin_watch(id, link) {
            self.subscribe(watch, link);
        }
    }

    /// A registration of an earlier life stands again: its user is watched soon, but not
    /// at once with all others.
    pub(super) fn watch_again(&mut self, id: BindingId, link: &mut Link) {
        if let Some(watch) = self.begin_watch(id, link) {
            let pause = Duration::from_millis(link.jitter(AGAIN).into());
            let at = link.instant() + pause;
            self.watches.deadlines.set(watch, Some(at));
        }
    }

    /// What is to watch a registration's user, unless something does already.
    fn begin_watch(&mut self, id: BindingId, link: &mut Link) -> Option<WatchId> {
        let binding = self.table.get(&id)?;
        binding.registered()?;
        let tenant = binding.tenant;
        let mw = link.config.tenant(tenant).profile.mw();
        if !mw.is_some_and(|mw| mw.watches_registrations) {
            return None;
        }
        let mut identities = binding.identities().iter();
        let user = identities.find(|it| it.domain().is_some()).cloned()?;
        let key = (tenant, user.clone());
        if let Some(known) = self.watches.by_user.get(&key).copied() {
            if let Some(watch) = self.watches.table.get_mut(&known) {
                watch.bindings.insert(id);
                self.watches.by_binding.insert(id, known);
            }
            return None;
        }
        self.watches.made += 1;
        let watch_id = WatchId(self.watches.made);
        let watch = Watch {
            tenant,
            user,
            bindings: BTreeSet::from([id]),
            call_id: link.token(),
            tag: link.token(),
            asked: None,
            dialog: None,
            sent: None,
            version: None,
            refusals: 0,
        };
        self.watches.by_tag.insert(watch.tag.clone(), watch_id);
        self.watches.by_user.insert(key, watch_id);
        self.watches.by_binding.insert(id, watch_id);
        self.watches.table.insert(watch_id, watch);
        Some(watch_id)
    }

    /// A registration is forgotten: with a user's last one goes what watched him.
    pub(super) fn unwatch(&mut self, binding: BindingId) {
        let Some(id) = self.watches.by_binding.remove(&binding) else {
            return;
        };
        if let Some(watch) = self.watches.table.get_mut(&id) {
            watch.bindings.remove(&binding);
            if watch.bindings.is_empty() {
                self.watches.remove(id);
            }
        }
    }

    /// Sends a SUBSCRIBE, or the next one, by the way of one of the user's registrations.
    fn subscribe(&mut self, id: WatchId, link: &mut Link) {
        let first = self.standing(id).into_iter().next();
        let binding = first.and_then(|id| self.table.get(&id));
        let way = binding.and_then(|binding| {
            let path = binding.ims_path(&link.config)?;
            Some((path, binding.own_path(&path, link)?))
        });
        let Some((path, own)) = way else {
            return self.put_off(id, link);
        };
        let icid = link.token();
        let tenant = path.tenant;
        let config = link.config.tenant(tenant);
        let network = config.profile.mw().map(|mw| mw.network.clone());
        let longest = config
            .registration
            .expires
            .max(config.registration.kept_expires);
        let Some(watch) = self.watches.table.get_mut(&id) else {
            return;
        };
        let mut request = watch.request(&own);
        let is_first = watch.dialog.is_none();
        let headers = &mut request.headers;
        headers.replace(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::Contact, NameAddr::new(own.clone()).to_string());
        headers.push(HeaderName::Event, "reg");
        headers.push(HeaderName::Accept, REGINFO);
        // TS 24.229 §5.2.3: longer than the registration.
        headers.push_typed(&Expires(super::on_behalf::seconds(longest) + MARGIN));
        headers.push(HeaderName::UserAgent, link.config.product.as_str());
        if is_first {
            // Who subscribes is the P-CSCF, by the URI that it has put into Path.
            let asserted = NameAddr::new(own).to_string();
            headers.push(HeaderName::PAssertedIdentity, asserted);
            let at = Host::from(path.local.ip()).to_string();
            let vector = PChargingVector::new(&icid, &at);
            headers.push_typed(&vector.from_network(&network.unwrap_or_default()));
            watch.asked = Some(request.clone());
        }
        let path = match is_first {
            true => path,
            false => {
                let hop = link.reach.follow(tenant, path.hop(), &request);
                ImsPath {
                    remote: hop.address,
                    transport: hop.transport,
                    ..path
                }
            }
        };
        watch.sent = Some(link.send_to_ims(Owner::Watch(id), &path, request));
        self.watches.deadlines.set(id, None);
    }

    /// There is no way to the core now: later, if there is somebody to watch at all.
    fn put_off(&mut self, id: WatchId, link: &mut Link) {
        if self.standing(id).is_empty() {
            self.watches.remove(id);
        } else {
            let at = link.instant() + RETRY;
            self.watches.deadlines.set(id, Some(at));
        }
    }

    /// The registrar answers a SUBSCRIBE, or does not.
    pub(crate) fn handle_watch_answer(
        &mut self,
        id: WatchId,
        sent: ClientTransactionId,
        response: Option<&Response>,
        link: &mut Link,
    ) {
        let Some(watch) = self.watches.table.get_mut(&id) else {
            return;
        };
        if watch.sent != Some(sent) || response.is_some_and(Response::is_provisional) {
            return;
        }
        watch.sent = None;
        let now = link.instant();
        let at = match response {
            Some(response) if response.status.is_success() => {
                watch.accept(response);
                let granted = response.headers.expires().ok().flatten();
                let granted = granted.map_or(MARGIN, |it| it.0).max(SHORTEST);
                now + refresh_after(Duration::from_secs(granted.into()))
            }
            other => {
                link.counters.watches_refused += 1;
                let is_gone = other
                    .is_some_and(|it| it.status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
                let had_dialog = watch.forget_dialog(link.token());
                if is_gone && had_dialog {
                    now + SOON
                } else {
                    watch.refusals = watch.refusals.saturating_add(1);
                    let pause = RETRY.saturating_mul(1 << watch.refusals.min(5));
                    now + pause + Duration::from_secs(link.jitter(0..30).into())
                }
            }
        };
        self.watches.deadlines.set(id, Some(at));
    }

    /// Subscribes again where that is due.
    pub(super) fn refresh_watches(&mut self, now: Instant, link: &mut Link) {
        while let Some(id) = self.watches.deadlines.take_due(now) {
            self.subscribe(id, link);
        }
    }

    /// A NOTIFY inside one of these subscriptions; `None` if it is inside none.
    pub(crate) fn take_reg_notify(
        &mut self,
        endpoint: EndpointId,
        tag: &str,
        transaction: ServerTransactionId,
        request: &Request,
        link: &mut Link,
    ) -> Option<Result<(), Rejection>> {
        let id = *self.watches.by_tag.get(tag)?;
        Some(self.notified(id, endpoint, transaction, request, link))
    }

    fn notified(
        &mut self,
        id: WatchId,
        endpoint: EndpointId,
        transaction: ServerTransactionId,
        request: &Request,
        link: &mut Link,
    ) -> Result<(), Rejection> {
        let watch = self.watches.table.get_mut(&id);
        let watch = watch.ok_or(Rejection::NoDialog)?;
        let shared = self.shared.of_endpoint(endpoint);
        if shared.map(|shared| shared.tenant) != Some(watch.tenant) {
            return Err(Rejection::NoDialog);
        }
        if request.method != Method::Notify {
            return Err(Rejection::MethodNotAllowed);
        }
        let event = request.headers.event()?;
        if !event.is_some_and(|event| event.package.eq_ignore_ascii_case("reg")) {
            return Err(Rejection::BadEvent("reg".to_owned()));
        }
        if let Err(status) = watch.check(request) {
            link.respond(transaction, Response::to_request(request, status));
            return Ok(());
        }
        let state = request.headers.subscription_state()?;
        link.counters.reg_events += 1;
        link.respond(transaction, Response::to_request(request, StatusCode::OK));
        let info = RegInfo::parse(&request.body);
        let is_new = info
            .as_ref()
            .is_some_and(|info| watch.version.is_none_or(|version| info.version > version));
        if let Some(info) = info.filter(|_| is_new) {
            let has_missed = watch.version.is_some_and(|it| info.version > it + 1);
            watch.version = Some(info.version);
            if has_missed {
                // RFC 3680 §5: a new SUBSCRIBE brings the whole state.
                let now = link.instant();
                self.watches.deadlines.set(id, Some(now));
            }
            for contact in &info.contacts {
                self.heed(id, contact, link);
            }
        }
        if let Some(state) = state.filter(crate::message::headers::SubscriptionState::is_terminated)
        {
            let reason = state.params.get("reason").unwrap_or_default().to_owned();
            self.watch_ended(id, &reason, link);
        }
        Ok(())
    }

    /// The registrar has ended a subscription: RFC 6665 §4.1.3 says whether to begin anew.
    fn watch_ended(&mut self, id: WatchId, reason: &str, link: &mut Link) {
        let is_final = ["rejected", "noresource", "invariant"]
            .iter()
            .any(|it| reason.eq_ignore_ascii_case(it));
        if is_final || self.standing(id).is_empty() {
            self.watches.remove(id);
            return;
        }
        let pause = match reason {
            "deactivated" | "timeout" => SOON,
            _ => RETRY,
        };
        let token = link.token();
        if let Some(watch) = self.watches.table.get_mut(&id) {
            watch.forget_dialog(token);
        }
        let at = link.instant() + pause;
        self.watches.deadlines.set(id, Some(at));
    }

    /// What is told of one contact.
    fn heed(&mut self, id: WatchId, told: &ContactInfo, link: &mut Link) {
        let Some(user) = PublicIdentity::of_uri(&told.aor) else {
            return;
        };
        let named = told.uri.as_ref().map(|uri| {
            let sip = uri.as_sip().and_then(SipUri::user);
            sip.unwrap_or_default().to_owned()
        });
        for id in self.standing(id) {
            let binding = self.table.get(&id);
            let is_meant = binding.is_some_and(|binding| {
                let is_named = named.as_ref().is_none_or(|it| *it == binding.token);
                is_named && binding.identities().contains(&user)
            });
            if is_meant {
                self.heed_for(id, told, link);
            }
        }
    }

    fn heed_for(&mut self, id: BindingId, told: &ContactInfo, link: &mut Link) {
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        if told.is_active {
            if let (ContactEvent::Shortened, Some(left)) = (told.event, told.expires)
                && let State::Registered(registered) | State::Grace { registered, .. } =
                    &mut binding.state
            {
                registered.until = registered.until.min(now + left);
                binding.core_until = Some(registered.until);
                link.counters.registrations_shortened += 1;
                self.reschedule(id);
            }
            return;
        }
        // His own farewell comes back as an event.
        let is_leaving = binding
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.asked.is_farewell());
        if is_leaving {
            return;
        }
        let closing = match told.event {
            ContactEvent::Deactivated | ContactEvent::Expired | ContactEvent::Shortened => {
                Closing::RegisterAgain
            }
            ContactEvent::Probation => Closing::RegisterLater,
            ContactEvent::Unregistered | ContactEvent::Rejected | ContactEvent::Other => {
                Closing::Dismissed
            }
        };
        if closing == Closing::RegisterLater {
            let pause = told.retry_after.unwrap_or(RETRY).min(LONGEST_PROBATION);
            if self.watches.probation.len() < PROBATION_MAX {
                let user = binding.key.identity.clone();
                self.watches.probation.insert(user, now + pause);
            }
        }
        let flow = binding.flow;
        link.counters.deregistered_by_network += 1;
        self.drop_attempt(id, link);
        if let Some(binding) = self.table.get_mut(&id) {
            binding.core_until = None;
        }
        self.end(id, DeregistrationCause::Network, link);
        if let Some(flow) = flow {
            self.changes.push_back(Change::Close(flow, closing));
        }
    }

    /// Of the registrations that are watched, those that stand.
    fn standing(&self, id: WatchId) -> BTreeSet<BindingId> {
        let watch = self.watches.table.get(&id);
        let his = watch.into_iter().flat_map(|watch| watch.bindings.iter());
        let stands = |id: &&BindingId| self.get(**id).is_some_and(|it| it.registered().is_some());
        his.filter(stands).copied().collect()
    }
}

impl Watch {
    /// The next SUBSCRIBE, but for what all have in common.
    fn request(&mut self, own: &SipUri) -> Request {
        if let Some(dialog) = &mut self.dialog {
            return dialog.request(Method::Subscribe);
        }
        let user = Uri::parse(self.user.reveal()).expect("an identity is a URI");
        let mut request = Request::new(Method::Subscribe, user.clone());
        let from = NameAddr::new(own.clone()).with_tag(&self.tag);
        let headers = &mut request.headers;
        headers.push(HeaderName::From, from.to_string());
        headers.push(HeaderName::To, NameAddr::new(user).to_string());
        headers.push(HeaderName::CallId, self.call_id.as_str());
        headers.push_typed(&CSeq {
            number: 1,
            method: Method::Subscribe,
        });
        request
    }

    fn accept(&mut self, response: &Response) {
        self.refusals = 0;
        match (&mut self.dialog, &self.asked) {
            (Some(dialog), _) => drop(dialog.handle_response(response)),
            (None, Some(asked)) => self.dialog = Dialog::from_response(asked, response).ok(),
            (None, None) => {}
        }
    }

    /// The next SUBSCRIBE begins anew. Says whether there was a dialog.
    fn forget_dialog(&mut self, call_id: String) -> bool {
        self.call_id = call_id;
        self.asked = None;
        self.version = None;
        self.dialog.take().is_some()
    }

    /// Takes a NOTIFY in order; the first may come before the answer to the SUBSCRIBE
    /// (RFC 6665 §4.1.2.4).
    fn check(&mut self, request: &Request) -> Result<(), StatusCode> {
        let gone = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
        let Some(dialog) = &mut self.dialog else {
            let asked = self.asked.as_ref().ok_or(gone)?;
            let is_its = asked.headers.call_id().ok() == request.headers.call_id().ok();
            return is_its.then_some(()).ok_or(gone);
        };
        if DialogId::of_request(request).as_ref() != Some(dialog.id()) {
            return Err(gone);
        }
        dialog
            .handle_request(request)
            .map_err(|fault| fault.status())
    }
}

impl Binding {
    /// The URI that the box has put into Path for this user.
    fn own_path(&self, path: &ImsPath, link: &Link) -> Option<SipUri> {
        let token = link.flow_tokens.seal(self.flow_name?);
        let host = link.config.tenant(self.tenant).own_host(path.local.ip());
        Some(contact_uri(
            &token,
            &host,
            path.local.port(),
            path.transport,
        ))
    }
}

/// TS 24.229 §5.2.3: 600 s before the end, or half-way if that is sooner than 1200 s.
fn refresh_after(granted: Duration) -> Duration {
    let lead = Duration::from_secs(600);
    if granted > 2 * lead {
        granted - lead
    } else {
        granted / 2
    }
}

const REGINFO: &str = "application/reginfo+xml";

/// By how many seconds a subscription is longer than a registration.
const MARGIN: u32 = 3600;

/// No shorter subscription is followed, in seconds.
const SHORTEST: u32 = 30;

/// When a subscription is tried again: one that was lost, and one that was refused.
const SOON: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(60);

/// When users of before a restart are watched again, in milliseconds after it.
const AGAIN: std::ops::Range<u32> = 1_000..30_000;

const LONGEST_PROBATION: Duration = Duration::from_secs(3600);
const PROBATION_MAX: usize = 4096;
