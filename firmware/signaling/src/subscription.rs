//! Subscriptions to events, RFC 6665: a SUBSCRIBE of one side is handed on to the other, and
//! the NOTIFYs come back, each leg in a dialog of its own.
//!
//! Which packages there are is the operator's list. NOTIFYs of a second notifier, to which a
//! core forked the SUBSCRIBE, are turned away (RFC 6665 §4.4.1). A NOTIFY that overtakes the
//! answer to the SUBSCRIBE waits for it: §4.1.2.4 wants subscribers to take it, but browsers'
//! clients know no dialog before the answer and say 481, which ends the subscription.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use iq::Leg;

use crate::Signaling;
use crate::crossing;
use crate::deadlines::Deadlines;
use crate::dialog::Dialog;
use crate::link::{Link, Owner};
use crate::message::headers::{Event, Expires};
use crate::message::{HeaderName, Method, Request, Response, StatusCode};
use crate::registration::{Binding, BindingId};
use crate::rejection::Rejection;
use crate::session::Target;
use crate::transaction::{ClientTransactionId, Failure, Peer, ServerTransactionId};
use crate::visited::Visited;

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubscriptionId(u64);

/// Every subscription.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    made: u64,
    table: BTreeMap<SubscriptionId, Subscription>,
    by_tag: BTreeMap<(Leg, String), SubscriptionId>,
    by_binding: BTreeMap<BindingId, BTreeSet<SubscriptionId>>,
    deadlines: Deadlines<SubscriptionId>,
    /// Until when NOTIFYs wait at most.
    holds: Deadlines<SubscriptionId>,
}

/// One subscription across both legs.
#[derive(Debug)]
struct Subscription {
    binding: BindingId,
    /// The side that subscribes.
    subscriber: Leg,
    /// As the subscriber wrote it, with its `id`.
    event: Event,
    near: Dialog,
    /// The SUBSCRIBE that was handed on, and the dialog that its answer made.
    asked: Request,
    far: Option<Dialog>,
    waits: Vec<Waiting>,
    /// NOTIFYs that came before the answer to a SUBSCRIBE, in their order.
    held: VecDeque<Held>,
    /// What is said in the core about all of it.
    visited: Option<Visited>,
    is_over: bool,
}

/// A request of one side that waits for the other side's answer.
#[derive(Debug)]
struct Waiting {
    sent: ClientTransactionId,
    from: Leg,
    transaction: ServerTransactionId,
    request: Request,
}

/// A NOTIFY that is not handed on yet.
#[derive(Debug)]
struct Held {
    transaction: ServerTransactionId,
    peer: Peer,
    request: Request,
}

impl Subscriptions {
    pub(crate) fn new() -> Self {
        Subscriptions {
            made: 0,
            table: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            by_binding: BTreeMap::new(),
            deadlines: Deadlines::new(),
            holds: Deadlines::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.deadlines.next(), self.holds.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A registration is over, and its subscriptions with it.
    pub(crate) fn end_of(&mut self, binding: BindingId, link: &mut Link) {
        for id in self.by_binding.remove(&binding).unwrap_or_default() {
            self.end(id, link);
        }
    }

    /// A subscription is over: what still waits in it belongs to nothing any more.
    fn end(&mut self, id: SubscriptionId, link: &mut Link) {
        let Some(subscription) = self.remove(id) else {
            return;
        };
        let notifier = subscription.subscriber.other();
        let waits = subscription.waits.iter();
        let waits = waits.map(|it| (it.from, it.transaction, &it.request));
        let held = subscription.held.iter();
        let held = held.map(|it| (notifier, it.transaction, &it.request));
        for (from, transaction, request) in waits.chain(held) {
            let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
            let refusal = Response::to_request(request, status);
            let refusal = refusal.with_to_tag(&subscription.tag(from));
            let visited = subscription.visited.as_ref();
            crossing::respond(link, transaction, from, refusal, visited);
        }
    }

    /// The subscription that a request belongs to by the tag in its To, and whose it is.
    fn find(&self, leg: Leg, tag: &str) -> Option<(SubscriptionId, BindingId)> {
        let id = *self.by_tag.get(&(leg, tag.to_owned()))?;
        Some((id, self.table.get(&id)?.binding))
    }

    fn count_of(&self, binding: BindingId) -> usize {
        self.by_binding.get(&binding).map_or(0, BTreeSet::len)
    }

    fn insert(&mut self, subscription: Subscription, now: Instant) -> SubscriptionId {
        self.made += 1;
        let id = SubscriptionId(self.made);
        for tag in subscription.tags() {
            self.by_tag.insert(tag, id);
        }
        let of_binding = self.by_binding.entry(subscription.binding).or_default();
        of_binding.insert(id);
        self.deadlines.set(id, Some(now + ANSWER_TIME));
        self.table.insert(id, subscription);
        id
    }

    fn remove(&mut self, id: SubscriptionId) -> Option<Subscription> {
        self.deadlines.set(id, None);
        self.holds.set(id, None);
        let subscription = self.table.remove(&id)?;
        for tag in subscription.tags() {
            self.by_tag.remove(&tag);
        }
        if let Some(ids) = self.by_binding.get_mut(&subscription.binding) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_binding.remove(&subscription.binding);
            }
        }
        Some(subscription)
    }
}

impl Subscription {
    /// The box's own tags, by leg.
    fn tags(&self) -> [(Leg, String); 2] {
        let near = self.near.id().local_tag.clone();
        let far = self.asked.headers.from();
        let far = far.ok().and_then(|from| from.tag().map(str::to_owned));
        let far = far.expect("the box's own request has a tag");
        [(self.subscriber, near), (self.subscriber.other(), far)]
    }

    /// Takes a request in order, RFC 3261 §12.2.2. Before the SUBSCRIBE is answered the
    /// notifier's dialog is not known yet, and its first NOTIFY is taken as it comes (RFC
    /// 6665 §4.1.2.4).
    fn check(&mut self, from: Leg, request: &Request) -> Result<(), StatusCode> {
        let dialog = if from == self.subscriber {
            Some(&mut self.near)
        } else {
            self.far.as_mut()
        };
        let Some(dialog) = dialog else {
            let is_its = self.asked.headers.call_id().ok() == request.headers.call_id().ok();
            return if is_its {
                Ok(())
            } else {
                Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST)
            };
        };
        let id = crate::dialog::DialogId::of_request(request);
        if id.as_ref() != Some(dialog.id()) {
            return Err(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        }
        dialog
            .handle_request(request)
            .map_err(|fault| fault.status())
    }

    /// The same request for the other side.
    fn renewed(
        &mut self,
        from: Leg,
        request: &Request,
        link: &Link,
        user: &Binding,
    ) -> Option<Request> {
        let is_notify = from != self.subscriber;
        let dialog = if is_notify {
            &mut self.near
        } else {
            self.far.as_mut()?
        };
        let mut renewed = dialog.request(request.method.clone());
        let headers = &mut renewed.headers;
        let contact = crossing::contact(link, Some(user), from.other(), false);
        headers.push(HeaderName::Contact, contact.to_string());
        headers.push_typed(&self.event);
        let own: &[HeaderName] = if is_notify {
            &NOTIFY_OWN
        } else {
            &SUBSCRIBE_OWN
        };
        crossing::copy_crossing(link, user, from.other(), &request.headers, own, headers);
        renewed.body = request.body.clone();
        Some(renewed)
    }
}

impl Signaling {
    /// SUBSCRIBE outside a dialog, of either side.
    pub(crate) fn take_subscribe(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        request: Request,
    ) -> Result<(), Rejection> {
        let (subscriber, (binding, target)) = match *peer {
            Peer::Flow(flow) => (Leg::Access, self.outgoing(flow, &request)?),
            Peer::Ims { .. } => (Leg::Ims, self.incoming(peer, &request)?),
        };
        self.services_of(binding)?.check_package(&request)?;
        if self.subscriptions.count_of(binding) >= SUBSCRIPTION_MAX {
            return Err(Rejection::TooManySubscriptions);
        }
        self.subscribe(transaction, subscriber, binding, &target, request)
    }

    fn subscribe(
        &mut self,
        transaction: ServerTransactionId,
        subscriber: Leg,
        binding: BindingId,
        target: &Target,
        request: Request,
    ) -> Result<(), Rejection> {
        let event = request.headers.event()?;
        let event = event.ok_or(Rejection::Malformed(HeaderName::Event))?;
        let visited = self.visited(binding, subscriber, &request);
        let user = self.registrations.get(binding).ok_or(Rejection::NotHere)?;
        // Who is registered where is nobody else's business, RFC 3680 §4.8.
        let is_private = event.package.eq_ignore_ascii_case("reg");
        if is_private && subscriber == Leg::Access && !user.owns(&request.uri) {
            return Err(Rejection::ForeignIdentity);
        }
        let link = &mut self.link;
        let near = Dialog::from_request(&request, &link.token());
        let near = near.map_err(|_| Rejection::Malformed(HeaderName::Contact))?;
        let towards = subscriber.other();
        let mut asked = crossing::renewed(link, user, towards, target, &request, &SUBSCRIBE_OWN);
        asked.headers.push_typed(&event);
        let mut subscription = Subscription {
            binding,
            subscriber,
            event,
            near,
            asked: asked.clone(),
            far: None,
            waits: Vec::new(),
            held: VecDeque::new(),
            visited,
            is_over: false,
        };
        let id = SubscriptionId(self.subscriptions.made + 1);
        let owner = Owner::Subscription(id);
        let visited = subscription.visited.as_ref();
        let sent = crossing::send(link, user, owner, towards, asked, visited);
        let sent = sent.ok_or(Rejection::FlowFailed)?;
        subscription.waits.push(Waiting {
            sent,
            from: subscriber,
            transaction,
            request,
        });
        link.counters.subscriptions_made += 1;
        let now = link.instant();
        self.subscriptions.insert(subscription, now);
        Ok(())
    }

    /// A request inside a subscription: a refresh of the subscriber, a NOTIFY of the notifier.
    pub(crate) fn take_in_subscription(
        &mut self,
        transaction: ServerTransactionId,
        peer: &Peer,
        leg: Leg,
        tag: &str,
        request: Request,
    ) -> Result<(), Rejection> {
        let found = self.subscriptions.find(leg, tag);
        let (id, binding) = found.ok_or(Rejection::NoDialog)?;
        let user = self.registrations.get(binding);
        if !self.is_own(peer, user) {
            self.report_foreign(peer);
            return Err(Rejection::NoDialog);
        }
        let subscription = self.subscriptions.table.get_mut(&id);
        let subscription = subscription.ok_or(Rejection::NoDialog)?;
        let is_notify = leg != subscription.subscriber;
        let expected = match is_notify {
            true => Method::Notify,
            false => Method::Subscribe,
        };
        if request.method != expected {
            return Err(Rejection::MethodNotAllowed);
        }
        if !is_notify || !subscription.awaits_answer() {
            return self.pass_on(id, leg, transaction, request);
        }
        if subscription.held.len() >= HELD_MAX {
            return Err(Rejection::InProgress);
        }
        subscription.held.push_back(Held {
            transaction,
            peer: peer.clone(),
            request,
        });
        if subscription.held.len() == 1 {
            let until = self.link.instant() + HELD_TIME;
            self.subscriptions.holds.set(id, Some(until));
        }
        Ok(())
    }

    /// Hands a request inside a subscription on to the other side.
    fn pass_on(
        &mut self,
        id: SubscriptionId,
        leg: Leg,
        transaction: ServerTransactionId,
        request: Request,
    ) -> Result<(), Rejection> {
        let subscription = self.subscriptions.table.get_mut(&id);
        let subscription = subscription.ok_or(Rejection::NoDialog)?;
        let user = self.registrations.get(subscription.binding);
        let user = user.ok_or(Rejection::NoDialog)?;
        if let Err(status) = subscription.check(leg, &request) {
            let refusal = Response::to_request(&request, status);
            self.link.respond(transaction, refusal);
            return Ok(());
        }
        let said = request.headers.event()?;
        let is_its = said.is_some_and(|event| {
            let package = &subscription.event.package;
            event.package.eq_ignore_ascii_case(package)
        });
        if !is_its {
            return Err(Rejection::BadEvent(subscription.event.package.clone()));
        }
        if subscription.waits.len() >= WAITING_MAX {
            return Err(Rejection::InProgress);
        }
        let state = request.headers.subscription_state()?;
        subscription.is_over |= state.is_some_and(|state| state.is_terminated());
        let link = &mut self.link;
        let renewed = subscription.renewed(leg, &request, link, user);
        let renewed = renewed.ok_or(Rejection::InProgress)?;
        let owner = Owner::Subscription(id);
        let visited = subscription.visited.as_ref();
        let sent = crossing::send(link, user, owner, leg.other(), renewed, visited);
        let sent = sent.ok_or(Rejection::FlowFailed)?;
        subscription.waits.push(Waiting {
            sent,
            from: leg,
            transaction,
            request,
        });
        Ok(())
    }

    /// Hands on the NOTIFYs that waited for an answer.
    fn let_through(&mut self, id: SubscriptionId) {
        self.subscriptions.holds.set(id, None);
        loop {
            let subscription = self.subscriptions.table.get_mut(&id);
            let next = subscription.and_then(|it| Some((it.subscriber, it.held.pop_front()?)));
            let Some((subscriber, held)) = next else {
                return;
            };
            let (transaction, request) = (held.transaction, held.request.clone());
            if let Err(rejection) = self.pass_on(id, subscriber.other(), transaction, request) {
                self.turn_away(transaction, &held.peer, &held.request, &rejection);
            }
        }
    }

    /// Forgets the subscriptions that nobody refreshed, and lets NOTIFYs wait no longer.
    pub(crate) fn handle_subscriptions_timeout(&mut self) {
        let now = self.link.instant();
        while let Some(id) = self.subscriptions.deadlines.take_due(now) {
            self.subscriptions.end(id, &mut self.link);
        }
        while let Some(id) = self.subscriptions.holds.take_due(now) {
            self.let_through(id);
        }
    }

    /// The other side answers a request of a subscription.
    pub(crate) fn take_subscription_response(
        &mut self,
        id: SubscriptionId,
        sent: ClientTransactionId,
        response: &Response,
    ) {
        if response.status.is_provisional() {
            return;
        }
        let Some(subscription) = self.subscriptions.table.get_mut(&id) else {
            return;
        };
        let Some(waiting) = subscription.take_waiting(sent) else {
            return;
        };
        let status = response.status;
        let is_subscribe = waiting.request.method == Method::Subscribe;
        let user = self.registrations.get(subscription.binding);
        let (tag, is_first) = (subscription.tag(waiting.from), subscription.far.is_none());
        let mut answer = crossing::answer(&waiting.request, status, waiting.from).with_to_tag(&tag);
        if let Some(user) = user {
            let (link, to) = (&self.link, &mut answer.headers);
            crossing::copy_crossing(link, user, waiting.from, &response.headers, &ANSWER_OWN, to);
        }
        if is_subscribe && status.is_success() {
            let contact = crossing::contact(&self.link, user, waiting.from, false);
            answer = answer.with(HeaderName::Contact, contact.to_string());
            subscription.accept(response);
            let seconds = match response.headers.expires() {
                Ok(Some(Expires(seconds))) => seconds.min(EXPIRES_MAX),
                Ok(None) | Err(_) => EXPIRES_MAX,
            };
            let lasts = Duration::from_secs(u64::from(seconds));
            let until = self.link.instant() + lasts + ANSWER_TIME;
            self.subscriptions.deadlines.set(id, Some(until));
        }
        let has_failed = !status.is_success()
            && ((is_subscribe && is_first)
                || status == StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
        let is_over = subscription.is_over && !is_subscribe;
        let (link, visited) = (&mut self.link, subscription.visited.as_ref());
        crossing::respond(link, waiting.transaction, waiting.from, answer, visited);
        if has_failed || is_over {
            self.subscriptions.end(id, &mut self.link);
        } else if is_subscribe {
            self.let_through(id);
        }
    }

    /// The other side does not answer a request of a subscription.
    pub(crate) fn take_subscription_failure(
        &mut self,
        id: SubscriptionId,
        sent: ClientTransactionId,
        failure: Failure,
    ) {
        let Some(subscription) = self.subscriptions.table.get_mut(&id) else {
            return;
        };
        let Some(waiting) = subscription.take_waiting(sent) else {
            return;
        };
        let status = match failure {
            Failure::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Failure::Transport => StatusCode::FLOW_FAILED,
            Failure::Overloaded => StatusCode::SERVER_INTERNAL_ERROR,
        };
        let tag = subscription.tag(waiting.from);
        let answer = crossing::answer(&waiting.request, status, waiting.from).with_to_tag(&tag);
        let is_lost = subscription.far.is_none() || subscription.is_over;
        let (link, visited) = (&mut self.link, subscription.visited.as_ref());
        crossing::respond(link, waiting.transaction, waiting.from, answer, visited);
        if is_lost {
            self.subscriptions.end(id, &mut self.link);
        } else if waiting.request.method == Method::Subscribe {
            self.let_through(id);
        }
    }
}

impl Subscription {
    fn take_waiting(&mut self, sent: ClientTransactionId) -> Option<Waiting> {
        let at = self.waits.iter().position(|waiting| waiting.sent == sent)?;
        Some(self.waits.swap_remove(at))
    }

    /// Whether the subscriber waits to hear of a SUBSCRIBE.
    fn awaits_answer(&self) -> bool {
        let mut waits = self.waits.iter();
        waits.any(|waiting| waiting.request.method == Method::Subscribe)
    }

    fn tag(&self, leg: Leg) -> String {
        let [near, far] = self.tags();
        if leg == self.subscriber {
            near.1
        } else {
            far.1
        }
    }

    /// The SUBSCRIBE, or a refresh, was accepted.
    fn accept(&mut self, response: &Response) {
        self.near.confirm();
        match &mut self.far {
            // A Contact that cannot be read leaves the target as it was.
            Some(far) => drop(far.handle_response(response)),
            None => self.far = Dialog::from_response(&self.asked, response).ok(),
        }
    }
}

/// What crosses of a SUBSCRIBE besides what a policy lets through; Event is written anew.
const SUBSCRIBE_OWN: [HeaderName; 4] = [
    HeaderName::Expires,
    HeaderName::Accept,
    HeaderName::ContentType,
    HeaderName::SuppressIfMatch,
];

/// The same of a NOTIFY.
const NOTIFY_OWN: [HeaderName; 3] = [
    HeaderName::SubscriptionState,
    HeaderName::ContentType,
    HeaderName::SipETag,
];

/// The same of an answer.
const ANSWER_OWN: [HeaderName; 3] = [
    HeaderName::Expires,
    HeaderName::MinExpires,
    HeaderName::AllowEvents,
];

/// Subscriptions of one registration.
const SUBSCRIPTION_MAX: usize = 16;

/// Requests of one subscription that wait for an answer.
const WAITING_MAX: usize = 4;

/// NOTIFYs of one subscription that wait for the answer to its SUBSCRIBE: beside that all
/// of them are handed on at once.
const HELD_MAX: usize = WAITING_MAX - 1;

/// For how long at most: T4 of RFC 3261 §17.1.2.2, which no answer is under way for longer.
const HELD_TIME: Duration = Duration::from_secs(5);

/// What the last words of a subscription may take: 64*T1.
const ANSWER_TIME: Duration = Duration::from_secs(32);

/// A week: longer subscriptions are refreshed before.
const EXPIRES_MAX: u32 = 7 * 86_400;
