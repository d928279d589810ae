//! Users whom the box keeps registered by itself (TS 24.229 §5.1.1): their browsers proved
//! who they are in another way, and the box answers the core's challenges with the
//! credentials that are stored for them (RFC 7616, RFC 3310). It refreshes and de-registers
//! without asking anybody.

use std::time::{Duration, Instant};

use iq::{Leg, Private};

use crate::auth::digest::{self, Answer, Question, Verdict};
use crate::auth::{AuthenticationFailure, AuthenticationId, ProvenUser};
use crate::config::Config;
use crate::event::{DeregistrationCause, Event, RegistrationFailure};
use crate::id::FlowId;
use crate::identity::PrivateIdentity;
use crate::link::Link;
use crate::message::headers::{Authorization, Digest};
use crate::message::{HeaderName, Headers, Method, NameAddr, Response, Uri};
use crate::output::Output;
use crate::reach::Hop;
use crate::rejection::Rejection;

use super::asked::{self, Asked, Grant};
use super::attempt::{Attempt, Origin};
use super::binding::{Binding, BindingId, Registered, State};
use super::security::Offer;
use super::{Change, Registrations};

/// What the box keeps somebody registered by.
#[derive(Debug)]
pub(super) struct OnBehalf {
    /// Who he is, and for how long he has proved it.
    pub(super) user: ProvenUser,
    /// Until when the browser wants to be registered.
    pub(super) wanted_until: Instant,
    /// When the box asks the core for more time.
    pub(super) refresh_at: Option<Instant>,
    /// What the box asks for; what the browser said last.
    asked: Option<Box<Asked>>,
    /// The challenge that was answered last.
    pub(super) proof: Option<Proof>,
    /// Refreshes in a row that the core refused.
    refusals: u32,
}

/// A challenge that the core took an answer to.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    challenge: Digest,
    /// How many requests carried an answer to it.
    count: u32,
    client_nonce: String,
    /// The answer itself, where it cannot be computed twice: RES is good once.
    credentials: Option<Digest>,
}

/// How far the box is with proving one REGISTER.
#[derive(Debug, Default)]
pub(super) struct Proving {
    /// The question that is with whoever keeps the credentials.
    asking: Option<(AuthenticationId, Question)>,
    /// What goes into the next REGISTER.
    credentials: Option<Digest>,
    /// What was answered in this attempt, the latest last.
    answered: Option<Proof>,
    answers: u8,
    foreign: u8,
}

impl OnBehalf {
    pub(super) fn new(user: ProvenUser, now: Instant) -> Self {
        OnBehalf {
            user,
            wanted_until: now,
            refresh_at: None,
            asked: None,
            proof: None,
            refusals: 0,
        }
    }

    /// Keeps him registered by this, for so long.
    pub(super) fn keep(&mut self, asked: Asked, until: Instant) {
        self.asked = Some(Box::new(asked));
        self.wanted_until = until;
    }

    /// What the box asks for.
    pub(super) fn asked(&self) -> Option<Asked> {
        self.asked.as_deref().cloned()
    }

    /// Counts a refusal; says how many there were in a row.
    pub(super) fn note_refusal(&mut self) -> u32 {
        self.proof = None;
        self.refusals = self.refusals.saturating_add(1);
        self.refusals
    }

    /// When the box has to do something for him, unless it is doing it.
    pub(super) fn deadline(&self, is_away: bool, is_refreshing: bool) -> Instant {
        let refresh = self.refresh_at.filter(|_| !is_refreshing);
        let end = self.end(is_away);
        refresh.map_or(end, |at| at.min(end))
    }

    /// When it is over. A browser that is away cannot say that it still wants it.
    fn end(&self, is_away: bool) -> Instant {
        match is_away {
            true => self.user.until,
            false => self.wanted_until.min(self.user.until),
        }
    }
}

impl Proving {
    /// Whether the REGISTER has to wait for its credentials.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// The question's name.
    pub(super) fn asked(&self) -> Option<AuthenticationId> {
        self.asking.as_ref().map(|it| it.0)
    }

    /// Whether the core may act on the REGISTER: it carries an answer.
    pub(super) fn is_proven(&self) -> bool {
        self.answers > 0
    }
}

impl Registrations {
    /// Takes what a proven user's REGISTER asks for. `true` if the box can grant it by
    /// itself: the core holds the registration, and the box keeps it.
    pub(super) fn renew(
        &mut self,
        id: BindingId,
        flow: FlowId,
        user: ProvenUser,
        origin: &Origin,
        asked: &Asked,
        link: &mut Link,
    ) -> bool {
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let wanted = Duration::from_secs(u64::from(asked.expires));
        if !binding.is_kept_for(&user) {
            binding.on_behalf = None;
        }
        let on_behalf = binding
            .on_behalf
            .get_or_insert_with(|| OnBehalf::new(user.clone(), now));
        on_behalf.user = user;
        if asked.is_farewell() {
            return false;
        }
        on_behalf.asked = Some(Box::new(asked.clone()));
        let wanted_until = (now + wanted).min(on_behalf.user.until);
        on_behalf.wanted_until = wanted_until;
        let Some(registered) = binding.registered().filter(|it| it.until > now + NEARLY) else {
            return false;
        };
        let mut registered = registered.clone();
        if binding.attempt.is_none() {
            // A registration of an earlier life has no time of its own yet.
            let refresh = now + refresh_after(registered.until - now);
            let on_behalf = binding.on_behalf.as_mut();
            on_behalf.map(|it| it.refresh_at.get_or_insert(refresh));
        }
        let (Origin::Browser { request, .. }, Some(contact)) = (origin, &asked.contact) else {
            return false;
        };
        registered.access_contact = contact.uri.clone();
        registered.proven.clone_from(&asked.proven);
        let mut carried = Headers::new();
        for identity in &registered.identities {
            let uri = Uri::parse(identity.reveal()).expect("an identity is a URI");
            carried.push(HeaderName::PAssociatedUri, NameAddr::new(uri).to_string());
        }
        let grant = Grant {
            expires: seconds(wanted_until.saturating_duration_since(now)),
            gruu: registered.gruu.as_ref(),
            keeps_flows: true,
        };
        let answer = asked.success(request, grant, &carried);
        self.hold(id, flow, registered, wanted_until - now, link);
        self.changes.push_back(Change::Proven(id));
        self.respond(origin, answer, link);
        self.reschedule(id);
        true
    }

    /// Sees to the credentials of a REGISTER before it is sent. `false` if it has to wait.
    pub(super) fn prepare(&mut self, id: BindingId, link: &mut Link) -> bool {
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let is_trunk = binding.is_trunk();
        let (Some(on_behalf), Some(attempt)) = (&mut binding.on_behalf, &mut binding.attempt)
        else {
            return true;
        };
        if attempt.proving.is_asking() {
            return false;
        }
        if attempt.proving.credentials.is_some() {
            return true;
        }
        let uri = attempt.asked.registrar();
        // TS 24.229 §5.1.1.4: a refresh answers the last challenge once more.
        match &mut on_behalf.proof {
            Some(Proof {
                credentials: Some(credentials),
                ..
            }) => attempt.proving.credentials = Some(credentials.clone()),
            Some(proof) => {
                proof.count += 1;
                let question = Question {
                    method: Method::Register,
                    uri: Private::new(uri),
                    challenges: vec![proof.challenge.clone()],
                    count: proof.count,
                    client_nonce: proof.client_nonce.clone(),
                };
                let user = on_behalf.user.impi.clone();
                self.ask(id, user, question, link);
                return false;
            }
            // What a terminal says at first, no trunk does.
            None if is_trunk => {}
            None => {
                let realm = attempt.asked.domain().as_str();
                let plate = digest::nameplate(&on_behalf.user.impi, realm, &uri);
                attempt.proving.credentials = Some(plate);
            }
        }
        true
    }

    /// The core wants a proof that the box can give. `false` if it is not the box's to give.
    pub(super) fn prove(&mut self, id: BindingId, response: &Response, link: &mut Link) -> bool {
        let client_nonce = link.token();
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let (Some(on_behalf), Some(attempt)) = (&mut binding.on_behalf, &mut binding.attempt)
        else {
            return false;
        };
        link.counters.challenges_answered += 1;
        if let Some(sent) = attempt.sent.take() {
            attempt.offer = Some(Offer::read(sent.to.address.ip(), response));
        }
        on_behalf.proof = None;
        let www = response.headers.www_authenticate().map(|it| it.0);
        let proxy = response.headers.proxy_authenticate().map(|it| it.0);
        let challenges: Vec<Digest> = www.chain(proxy).take(CHALLENGES_MAX).collect();
        if attempt.proving.answers >= ANSWERS_MAX {
            self.fail(
                id,
                RegistrationFailure::Unproven,
                Rejection::CredentialsRefused,
                link,
            );
            return true;
        }
        attempt.proving.answers += 1;
        let question = Question {
            method: Method::Register,
            uri: Private::new(attempt.asked.registrar()),
            challenges,
            count: 1,
            client_nonce,
        };
        let user = on_behalf.user.impi.clone();
        self.ask(id, user, question, link);
        true
    }

    fn ask(&mut self, id: BindingId, user: PrivateIdentity, question: Question, link: &mut Link) {
        let authentication = link.authentication();
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let answer_time = link.config.tenant(binding.tenant).registration.answer_time;
        let Some(attempt) = &mut binding.attempt else {
            return;
        };
        attempt.give_up_at = now + answer_time;
        attempt.proving.asking = Some((authentication, question.clone()));
        self.asking.insert(authentication, id);
        link.push(Output::Authenticate {
            id: authentication,
            user,
            question: Box::new(question),
        });
        self.reschedule(id);
    }

    /// Learns what goes into the credentials of a REGISTER, or why there are none. `false`
    /// if it was not asked for here.
    pub(crate) fn handle_authenticated(
        &mut self,
        authentication: AuthenticationId,
        answer: &Result<Box<Answer>, AuthenticationFailure>,
        link: &mut Link,
    ) -> bool {
        let Some(id) = self.asking.remove(&authentication) else {
            return self.handle_checked(authentication, answer, link);
        };
        let Some(attempt) = self.table.get_mut(&id).and_then(|it| it.attempt.as_mut()) else {
            return true;
        };
        let asked = attempt.proving.asking.take_if(|it| it.0 == authentication);
        let Some((_, question)) = asked else {
            return true; // The attempt that asked is over.
        };
        let failure = match answer {
            Ok(answer) if attempt.proving.take(answer, question) => {
                match self.agree(id, &answer.verdict, link) {
                    Ok(()) => self.advance(id, link),
                    Err(failure) => self.insecure(id, failure, link),
                }
                return true;
            }
            Ok(_) => RegistrationFailure::ForeignNetwork,
            Err(failure) => RegistrationFailure::Credentials(*failure),
        };
        self.fail(id, failure, Rejection::CredentialsRefused, link);
        true
    }

    /// The core took a REGISTER of the box's own making.
    pub(super) fn accepted_on_behalf(
        &mut self,
        id: BindingId,
        attempt: Attempt,
        from: Hop,
        response: &Response,
        link: &mut Link,
    ) {
        let now = link.instant();
        let Some(binding) = self.table.get(&id) else {
            return;
        };
        let registration = &link.config.tenant(binding.tenant).registration;
        let granted = match attempt.asked.expires {
            0 => 0,
            _ => asked::granted(response, &binding.token, seconds(registration.kept_expires)),
        };
        let time = Duration::from_secs(granted.into());
        match granted {
            0 => self.security_over(id, link),
            _ => self.security_accepted(id, time, link),
        }
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let Some(on_behalf) = &mut binding.on_behalf else {
            return;
        };
        if attempt.proving.answered.is_some() {
            on_behalf.proof = attempt.proving.answered;
        }
        on_behalf.refusals = 0;
        let wanted = on_behalf.wanted_until.saturating_duration_since(now);
        on_behalf.refresh_at = (granted > 0).then(|| now + refresh_after(time));
        let registered = Registered::read(&attempt.asked, response, &binding.token, now + time);
        match (&attempt.origin, registered) {
            (Origin::Browser { flow, request, .. }, Some(registered)) if granted > 0 => {
                let tenant = attempt.asked.tenant;
                let carried = link.policies.carry(tenant, &response.headers, Leg::Access);
                let grant = Grant {
                    expires: seconds(wanted),
                    gruu: registered.gruu.as_ref(),
                    keeps_flows: true,
                };
                let answer = attempt.asked.success(request, grant, &carried);
                self.keep(id, *flow, from, registered, wanted, link);
                self.changes.push_back(Change::Proven(id));
                self.respond(&attempt.origin, answer, link);
            }
            (Origin::Browser { request, .. }, _) => {
                let answer = attempt
                    .asked
                    .success(request, Grant::default(), &Headers::new());
                binding.core_until = None;
                link.counters.deregistered_by_browser += 1;
                self.respond(&attempt.origin, answer, link);
                return self.end(id, DeregistrationCause::Browser, link);
            }
            (Origin::Refresh, Some(registered)) if granted > 0 => {
                self.refreshed(id, from, registered, link);
            }
            (Origin::Refresh | Origin::Farewell, _) => {
                binding.core_until = None;
                if binding.registered().is_some() {
                    return self.end(id, DeregistrationCause::Core, link);
                }
                return self.remove(id, true, link);
            }
        }
        self.reschedule(id);
    }

    /// Keeps what the core said anew, whoever has the registration meanwhile.
    fn refreshed(&mut self, id: BindingId, from: Hop, registered: Registered, link: &mut Link) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        link.counters.registrations_refreshed += 1;
        self.changes.push_back(Change::Proven(id));
        binding.core_until = Some(registered.until);
        binding.next_hop = Some(from);
        if let State::Registered(before)
        | State::Grace {
            registered: before, ..
        } = &mut binding.state
        {
            let access_contact = before.access_contact.clone();
            *before = Registered {
                access_contact,
                ..registered
            };
        } else if binding.is_trunk() {
            self.trunk_registered(id, registered, link);
        }
    }

    /// Does what is due for a user whom the box keeps registered. `false` if nothing is.
    pub(super) fn keep_registered(&mut self, id: BindingId, now: Instant, link: &mut Link) -> bool {
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let Some(on_behalf) = binding.on_behalf.as_mut() else {
            return false;
        };
        if !matches!(binding.state, State::Registered(_) | State::Grace { .. }) {
            return false;
        }
        let is_away = matches!(binding.state, State::Grace { .. });
        if on_behalf.end(is_away) <= now {
            self.expire(id, link);
            return true;
        }
        if binding.attempt.is_some() || on_behalf.refresh_at.is_none_or(|at| at > now) {
            return false;
        }
        on_behalf.refresh_at = None;
        let Some(asked) = on_behalf.asked.clone() else {
            return false;
        };
        self.begin(id, Origin::Refresh, *asked, link);
        true
    }

    /// A refresh of the box's own came to nothing. The registration stands until its time is
    /// over, unless the core does not want the user any more.
    pub(super) fn refresh_failed(&mut self, id: BindingId, status: Option<u16>, link: &mut Link) {
        if self.table.get(&id).is_some_and(Binding::is_trunk) {
            return self.trunk_refused(id, status, link);
        }
        let pause = Duration::from_secs(link.jitter(RETRY_PAUSE).into());
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        link.event(Event::RefreshFailed {
            endpoint: binding.endpoint,
            identity: binding.key.identity.clone(),
            status,
        });
        let is_registered = binding.registered().is_some();
        let Some(on_behalf) = binding.on_behalf.as_mut().filter(|_| is_registered) else {
            return;
        };
        // TS 24.229 §5.1.1.4: a full authentication first; then it is meant.
        on_behalf.proof = None;
        let is_final = status.is_some_and(|it| (400..500).contains(&it) && it != 408);
        on_behalf.refusals += u32::from(is_final);
        if on_behalf.refusals > 1 {
            let flow = binding.flow;
            binding.core_until = None;
            self.end(id, DeregistrationCause::Core, link);
            if let Some(flow) = flow {
                self.changes
                    .push_back(Change::Close(flow, crate::flow::Closing::Dismissed));
            }
            return;
        }
        let pause = if is_final { SOON } else { pause };
        on_behalf.refresh_at = Some(now + pause);
        self.reschedule(id);
    }
}

impl Proving {
    /// Takes an answer; `false` if it is time to give up.
    fn take(&mut self, answer: &Answer, question: Question) -> bool {
        let mut challenges = question.challenges;
        if answer.verdict == Verdict::ForeignNetwork {
            self.foreign += 1;
            // TS 24.229 §5.1.1.5.3: not a third time.
            if self.foreign > 1 {
                return false;
            }
        }
        let proof = |credentials| Proof {
            challenge: challenges.swap_remove(answer.challenge),
            count: question.count,
            client_nonce: question.client_nonce,
            credentials,
        };
        self.answered = match answer.verdict {
            Verdict::Proven => Some(proof(None)),
            Verdict::Keyed(_) => Some(proof(Some(answer.credentials.clone()))),
            Verdict::OutOfStep | Verdict::ForeignNetwork => None,
        };
        self.credentials = Some(answer.credentials.clone());
        true
    }

    /// The header of the next REGISTER.
    pub(super) fn header(&self) -> Option<Authorization> {
        self.credentials.clone().map(Authorization)
    }
}

impl Binding {
    /// Whose stored credentials answer the other end's challenges: his own, if the box keeps
    /// him registered, or those of his trunk.
    pub(crate) fn kept_user<'a>(&'a self, config: &'a Config) -> Option<&'a PrivateIdentity> {
        match config.tenant(self.tenant).profile.trunk() {
            Some(trunk) => trunk.registration.as_ref().map(|it| &it.user),
            None => self.on_behalf.as_ref().map(|it| &it.user.impi),
        }
    }

    /// The user, if he proved himself to the box.
    pub(super) fn proven_user(&self) -> Option<&ProvenUser> {
        let kept = self.on_behalf.as_ref().map(|it| &it.user);
        kept.or_else(|| self.registered()?.proven.as_ref())
    }

    /// Whether the registration is this user's, who proved himself to the box.
    pub(super) fn is_proven_for(&self, user: &ProvenUser) -> bool {
        self.proven_user().is_some_and(|it| it.impi == user.impi)
    }

    /// The next REGISTER says who he is and proves nothing.
    pub(super) fn forget_proof(&mut self) {
        if let Some(on_behalf) = &mut self.on_behalf {
            on_behalf.proof = None;
        }
    }

    /// Whether the box keeps this user registered, and he is the one.
    pub(super) fn is_kept_for(&self, user: &ProvenUser) -> bool {
        let on_behalf = self.on_behalf.as_ref();
        on_behalf.is_some_and(|it| it.user.impi == user.impi)
    }
}

/// TS 24.229 §5.1.1.4.1: 600 s before the end, or half-way if that is sooner than 1200 s.
fn refresh_after(granted: Duration) -> Duration {
    if granted > 2 * LEAD {
        granted - LEAD
    } else {
        granted / 2
    }
}

pub(super) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

const LEAD: Duration = Duration::from_secs(600);

/// A registration that ends sooner than this is not promised to a browser.
const NEARLY: Duration = Duration::from_secs(10);

/// When a refresh is tried again: after a failure that may pass, scattered; and after a
/// refusal.
const RETRY_PAUSE: std::ops::Range<u32> = 15..45;
const SOON: Duration = Duration::from_secs(1);

/// Answers in one attempt: the first; one more for a core that stores its challenge too
/// late (Kamailio's ims_auth) or has a stale one; one more after AUTS.
const ANSWERS_MAX: u8 = 3;

/// More challenges than a server has algorithms are not looked at.
const CHALLENGES_MAX: usize = 8;
