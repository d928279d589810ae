//! Users who log in by access token: whose request waits for which verdict, which token a
//! connection brought with it, and whose token must be looked at again (RFC 8898,
//! TS 24.371 §7.2, spec of the lifetimes: a registration never outlives its token).

mod bearer;
mod gate;
mod kept;
mod tickets;

use std::collections::BTreeMap;
use std::time::Instant;

use iq::{Now, Private};
use rand_chacha::ChaCha20Rng;

use crate::auth::identity_map::{IdentityMap, Lease};
use crate::auth::tokens::{self, AskId, Believed, Fingerprint, Tokens};
use crate::auth::{
    AuthConfig, FetchFailure, FetchId, Fetched, IssuerConfig, IssuerId, ProvenUser, Token,
    TokenRefusal,
};
use crate::config::TenantId;
use crate::deadlines::Deadlines;
use crate::id::{FlowId, TicketId};
use crate::identity::PublicIdentity;
use crate::message::Request;
use crate::output::Session;
use crate::registration::BindingId;
use crate::rejection::Rejection;
use crate::transaction::ServerTransactionId;

pub(crate) use kept::KeptLease;
use tickets::Tickets;

/// Everything about tokens.
#[derive(Debug)]
pub(crate) struct Logins {
    tokens: Tokens,
    identities: IdentityMap,
    asks: u64,
    /// What waits for a verdict.
    held: BTreeMap<AskId, Held>,
    /// Tokens that connections brought in their handshake.
    carried: BTreeMap<FlowId, Token>,
    /// Users whose REGISTER the core has not answered yet.
    fresh: BTreeMap<(FlowId, PublicIdentity), User>,
    users: BTreeMap<BindingId, User>,
    rechecks: Deadlines<BindingId>,
    tickets: Tickets,
}

/// What waits for a verdict.
#[derive(Debug)]
enum Held {
    Register {
        waiting: Waiting,
        tenant: TenantId,
        wanted: PublicIdentity,
        token: Token,
    },
    /// Any other request of a connection whose users are known.
    Other { waiting: Waiting, token: Token },
    /// A registered user's token is looked at again.
    Recheck(BindingId),
    /// A page wants a ticket.
    Ticket { ticket: TicketId, token: Token },
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) flow: FlowId,
    pub(crate) transaction: ServerTransactionId,
    pub(crate) request: Box<Request>,
}

/// The user behind a registration.
#[derive(Clone, Debug)]
struct User {
    issuer: IssuerId,
    subject: Private<String>,
    token: Token,
    /// Tokens that are known to be his.
    known: Vec<Fingerprint>,
    lease: Option<Lease>,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Ask an identity provider.
    Fetch(FetchId, crate::auth::FetchRequest),
    /// A REGISTER goes on, or is turned away.
    Register {
        waiting: Waiting,
        tenant: TenantId,
        user: Result<ProvenUser, Rejection>,
    },
    /// This is thought of the token of another request.
    Other {
        waiting: Waiting,
        token: Token,
        verdict: Result<Believed, TokenRefusal>,
    },
    /// A user's token is not good any more.
    Revoked(BindingId, TokenRefusal),
    /// A page gets its ticket, or not; who vouches for its user.
    Ticket(TicketId, Result<(IssuerId, Session), TokenRefusal>),
    /// An identity provider has not answered so many times in a row.
    Unanswered(IssuerId, u32, Option<FetchFailure>),
}

impl Logins {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        Logins {
            tokens: Tokens::new(&config.issuers),
            identities: IdentityMap::new(&config.identities),
            asks: 0,
            held: BTreeMap::new(),
            carried: BTreeMap::new(),
            fresh: BTreeMap::new(),
            users: BTreeMap::new(),
            rechecks: Deadlines::new(),
            tickets: Tickets::default(),
        }
    }

    pub(crate) fn issuer(&self, id: IssuerId) -> Option<&IssuerConfig> {
        self.tokens.config(id)
    }

    /// How many lent identities are in use.
    pub(crate) fn lent(&self, now: Instant) -> usize {
        self.identities.lent(now)
    }

    /// A connection brought a token in its handshake.
    pub(crate) fn handle_carried(&mut self, flow: FlowId, token: Token) {
        self.carried.insert(flow, token);
    }

    /// A connection came with a ticket. `false` if it is worth nothing.
    pub(crate) fn handle_ticket(&mut self, flow: FlowId, ticket: &Private<String>) -> bool {
        match self.tickets.redeem(ticket) {
            Some(token) => {
                self.carried.insert(flow, token);
                true
            }
            None => false,
        }
    }

    /// A page wants a ticket for its token.
    pub(crate) fn handle_ticket_wanted(&mut self, ticket: TicketId, token: Token, now: Now) {
        let every: Vec<IssuerId> = (0..)
            .map(IssuerId)
            .map_while(|id| self.tokens.config(id).map(|_| id))
            .collect();
        let held = Held::Ticket {
            ticket,
            token: token.clone(),
        };
        self.ask(held, &token, &every, now);
    }

    /// A connection is gone.
    pub(crate) fn handle_flow_closed(&mut self, flow: FlowId) {
        self.carried.remove(&flow);
        self.fresh.retain(|(of, _), _| *of != flow);
        self.held.retain(|_, held| match held {
            Held::Register { waiting, .. } | Held::Other { waiting, .. } => waiting.flow != flow,
            Held::Recheck(_) | Held::Ticket { .. } => true,
        });
    }

    /// A request that may be waiting is cancelled: it is given back.
    pub(crate) fn take_cancelled(&mut self, invite: ServerTransactionId) -> Option<Waiting> {
        let is_it = |held: &Held| match held {
            Held::Other { waiting, .. } => waiting.transaction == invite,
            Held::Register { .. } | Held::Recheck(_) | Held::Ticket { .. } => false,
        };
        let ask = self
            .held
            .iter()
            .find(|(_, held)| is_it(held))
            .map(|(ask, _)| *ask)?;
        match self.held.remove(&ask)? {
            Held::Other { waiting, .. } => Some(waiting),
            Held::Register { .. } | Held::Recheck(_) | Held::Ticket { .. } => None,
        }
    }

    fn ask(&mut self, held: Held, token: &Token, believed: &[IssuerId], now: Now) {
        self.asks += 1;
        let ask = AskId(self.asks);
        self.held.insert(ask, held);
        self.tokens.handle_token(ask, token, believed, now);
    }

    /// Takes an identity provider's answer.
    pub(crate) fn handle_fetched(
        &mut self,
        query: FetchId,
        result: Result<Fetched, FetchFailure>,
        now: Now,
        rng: &mut ChaCha20Rng,
    ) {
        self.tokens.handle_fetched(query, result, now, rng);
    }

    /// The core has taken a user's registration.
    pub(crate) fn handle_registered(
        &mut self,
        binding: BindingId,
        flow: FlowId,
        identity: &PublicIdentity,
        until: Instant,
        now: Instant,
    ) {
        let fresh = self.fresh.remove(&(flow, identity.clone()));
        if let Some(user) = fresh {
            let recheck_at = self.recheck_at(user.issuer, now);
            self.rechecks.set(binding, recheck_at);
            self.users.insert(binding, user);
        }
        let lease = self.users.get(&binding).and_then(|user| user.lease);
        if let Some(lease) = lease {
            self.identities.extend(lease, until);
        }
    }

    /// A registration is over; `is_last` if its identity has no other one.
    pub(crate) fn handle_ended(&mut self, binding: BindingId, is_last: bool, now: Instant) {
        let user = self.users.remove(&binding);
        self.rechecks.set(binding, None);
        let lease = user.and_then(|user| user.lease);
        if let Some(lease) = lease.filter(|_| is_last) {
            self.identities.release(lease, now);
        }
    }

    fn recheck_at(&self, issuer: IssuerId, now: Instant) -> Option<Instant> {
        let introspection = self.tokens.config(issuer)?.introspection.as_ref()?;
        Some(now + introspection.interval)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.tokens.handle_timeout(now);
        self.tickets.handle_timeout(now.monotonic);
        while let Some(binding) = self.rechecks.take_due(now.monotonic) {
            let Some(user) = self.users.get(&binding) else {
                continue;
            };
            let (issuer, token) = (user.issuer, user.token.clone());
            self.asks += 1;
            let ask = AskId(self.asks);
            self.held.insert(ask, Held::Recheck(binding));
            self.tokens.handle_recheck(ask, &token, issuer, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.tokens.poll_timeout(),
            self.tickets.poll_timeout(),
            self.rechecks.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What has come of something.
    pub(crate) fn poll_outcome(&mut self, now: Now, rng: &mut ChaCha20Rng) -> Option<Outcome> {
        loop {
            match self.tokens.poll_output()? {
                tokens::Output::Fetch { query, request } => {
                    return Some(Outcome::Fetch(query, request));
                }
                tokens::Output::Unanswered {
                    issuer,
                    times,
                    failure,
                } => return Some(Outcome::Unanswered(issuer, times, failure)),
                tokens::Output::Verdict { ask, verdict } => {
                    let held = self.held.remove(&ask);
                    if let Some(outcome) =
                        held.and_then(|held| self.conclude(held, verdict, now, rng))
                    {
                        return Some(outcome);
                    }
                }
            }
        }
    }

    fn conclude(
        &mut self,
        held: Held,
        verdict: Result<Believed, TokenRefusal>,
        now: Now,
        rng: &mut ChaCha20Rng,
    ) -> Option<Outcome> {
        match held {
            Held::Register {
                waiting,
                tenant,
                wanted,
                token,
            } => {
                let user = self.prove(waiting.flow, &wanted, token, verdict, now.monotonic);
                Some(Outcome::Register {
                    waiting,
                    tenant,
                    user,
                })
            }
            Held::Other { waiting, token } => Some(Outcome::Other {
                waiting,
                token,
                verdict,
            }),
            Held::Recheck(binding) => self.judge_again(binding, verdict, now.monotonic),
            Held::Ticket { ticket, token } => {
                let given = verdict.and_then(|it| self.let_in(&it, token, now.monotonic, rng));
                Some(Outcome::Ticket(ticket, given))
            }
        }
    }

    /// A ticket for a token whose user is somebody in the IMS, and who that is.
    fn let_in(
        &mut self,
        believed: &Believed,
        token: Token,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Result<(IssuerId, Session), TokenRefusal> {
        let found = self.identities.identify(believed, now)?;
        let until = found.lease.and_then(|it| self.identities.kept_until(it));
        let session = Session {
            ticket: self.tickets.give(token, now, rng),
            address: None,
            identities: found.public().to_vec(),
            lent_for: until.map(|until| until.saturating_duration_since(now)),
        };
        Ok((believed.issuer, session))
    }

    /// Who the user of a token is, if he is the one that he wants to register as.
    fn prove(
        &mut self,
        flow: FlowId,
        wanted: &PublicIdentity,
        token: Token,
        verdict: Result<Believed, TokenRefusal>,
        now: Instant,
    ) -> Result<ProvenUser, Rejection> {
        let believed = verdict.map_err(Rejection::Token)?;
        let found = self
            .identities
            .identify(&believed, now)
            .map_err(Rejection::Token)?;
        let user = found.as_user(wanted).ok_or(Rejection::ForeignIdentity)?;
        let meant = user.meant_by(wanted).ok_or(Rejection::ForeignIdentity)?;
        let known = vec![token.fingerprint()];
        let entry = User {
            issuer: believed.issuer,
            subject: believed.accepted.subject,
            token,
            known,
            lease: found.lease,
        };
        self.fresh.insert((flow, meant.clone()), entry);
        Ok(user)
    }

    /// Whether a token is that of one of these users.
    fn compare(
        &mut self,
        users: &[BindingId],
        token: &Token,
        verdict: Result<Believed, TokenRefusal>,
    ) -> Result<(), Rejection> {
        let believed = verdict.map_err(Rejection::Token)?;
        let is_his = |user: &User| {
            user.issuer == believed.issuer && user.subject == believed.accepted.subject
        };
        let mut his = users
            .iter()
            .filter(|id| self.users.get(id).is_some_and(is_his));
        let user = his.next().and_then(|id| self.users.get_mut(id));
        let user = user.ok_or(Rejection::ForeignToken)?;
        if user.known.len() >= MOST_KNOWN {
            user.known.remove(0);
        }
        user.known.push(token.fingerprint());
        Ok(())
    }

    fn judge_again(
        &mut self,
        binding: BindingId,
        verdict: Result<Believed, TokenRefusal>,
        now: Instant,
    ) -> Option<Outcome> {
        let issuer = self.users.get(&binding)?.issuer;
        match verdict {
            Ok(_)
            // That nobody can be asked costs nobody his registration.
            | Err(
                TokenRefusal::ProviderUnavailable
                | TokenRefusal::ClockUnset
                | TokenRefusal::TooMany,
            ) => {
                self.rechecks.set(binding, self.recheck_at(issuer, now));
                None
            }
            Err(refusal) => Some(Outcome::Revoked(binding, refusal)),
        }
    }
}

/// Tokens of one user that are remembered as his: applications renew them.
const MOST_KNOWN: usize = 4;
