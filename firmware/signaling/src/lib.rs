//! The eP-CSCF without a socket: SIP towards browsers (RFC 7118) and towards the IMS
//! (TS 24.229), registrations and calls, as one value that is fed and drained.

pub mod auth;
mod calls;
mod challenged;
pub mod config;
pub mod counters;
mod crossing;
mod deadlines;
pub mod dialog;
mod dispatch;
pub mod emergency;
pub mod event;
mod exchange;
mod flow;
mod flow_token;
pub mod guard;
mod guarding;
pub mod id;
pub mod identity;
mod input;
mod intake;
mod kept;
mod link;
mod logins;
pub mod message;
mod output;
pub mod policy;
mod protected;
pub mod reach;
mod reaching;
mod referral;
pub mod registration;
pub mod rejection;
pub mod sdp;
pub mod sec_agree;
pub mod session;
mod sessions;
mod shutdown;
mod subscription;
pub mod transaction;
mod visited;
pub mod xml;

use std::collections::VecDeque;
use std::time::Instant;

use iq::Now;
use rand_chacha::ChaCha20Rng;

pub use config::Config;
pub use counters::Counters;
pub use event::Event;
pub use id::{EndpointId, FlowId, QueryId, SipTransport, TicketId};
pub use input::{Input, OpenFailure, SaFailure};
pub use kept::{RecordKey, RecordKind, Restored, WriteId};
pub use output::{EndpointKind, Output, Session};

use exchange::Exchanges;
use flow::{Closing, Flows};
use link::Link;
use logins::Logins;
use reach::Standing;
use registration::Registrations;
use sessions::Sessions;
use shutdown::Phase;
use subscription::Subscriptions;

/// The whole control plane.
#[derive(Debug)]
pub struct Signaling {
    link: Link,
    flows: Flows,
    registrations: Registrations,
    sessions: Sessions,
    exchanges: Exchanges,
    subscriptions: Subscriptions,
    logins: Logins,
    /// Connections that are closed once everything before is said.
    closings: VecDeque<(FlowId, Closing)>,
    phase: Phase,
}

impl Signaling {
    /// A control plane without flows and registrations. `epoch` tells this life of the
    /// controller from earlier ones; `rng` is all the chance it has.
    #[must_use]
    pub fn new(config: Config, epoch: u64, rng: ChaCha20Rng) -> Self {
        let flows = Flows::new(config.flows.clone());
        let mut link = Link::new(config, rng);
        Signaling {
            flows,
            registrations: Registrations::new(&mut link),
            sessions: Sessions::new(epoch),
            exchanges: Exchanges::default(),
            subscriptions: Subscriptions::new(),
            logins: Logins::new(&link.config.auth),
            closings: VecDeque::new(),
            phase: Phase::Serving,
            link,
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, input: Input, now: Now) {
        self.link.set_now(now);
        self.take(input);
        self.settle();
        self.wind_up();
        self.shut_down();
        self.keep_books();
        self.gauge();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.link.set_now(now);
        let instant = now.monotonic;
        self.link.transactions.handle_timeout(instant);
        for tenant in self.link.handle_timeout() {
            self.link.go_on(tenant);
            self.registrations.handle_resolved(tenant, &mut self.link);
        }
        self.settle();
        self.logins.handle_timeout(now);
        self.registrations.handle_timeout(&mut self.link);
        self.sessions
            .handle_timeout(&mut self.link, &self.registrations);
        self.handle_subscriptions_timeout();
        while let Some((flow, closing)) = self.flows.take_due(instant) {
            self.closings.push_back((flow, closing));
        }
        self.settle();
        self.wind_up();
        self.shut_down();
        self.keep_books();
        self.gauge();
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.link.pop()
    }

    /// When `handle_timeout` wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.link.transactions.poll_timeout(),
            self.link.poll_timeout(),
            self.registrations.poll_timeout(),
            self.sessions.poll_timeout(),
            self.subscriptions.poll_timeout(),
            self.flows.poll_timeout(),
            self.logins.poll_timeout(),
            self.phase.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How many registrations a user has.
    #[must_use]
    pub fn registrations_of(&self, identity: &identity::PublicIdentity) -> usize {
        self.registrations.of_identity(identity).len()
    }

    /// Whether somebody is registered on a connection.
    #[must_use]
    pub fn is_user(&self, flow: FlowId) -> bool {
        self.flows.is_registered(flow)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.link.counters
    }

    fn gauge(&mut self) {
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let tally = self.registrations.tally();
        let trunks = self.registrations.trunks();
        self.link.counters = Counters {
            flows: gauge(self.flows.len()),
            flows_registered: gauge(self.flows.registered()),
            registrations: gauge(tally.registered),
            registrations_in_grace: gauge(tally.in_grace),
            endpoints: gauge(self.registrations.endpoints()),
            sessions: gauge(self.sessions.len()),
            pressure: self.link.guard.load.pressure as u64,
            next_hops_up: gauge(self.link.reach.count(Standing::Up)),
            next_hops_suspect: gauge(self.link.reach.count(Standing::Suspect)),
            next_hops_down: gauge(self.link.reach.count(Standing::Down)),
            subscriptions: gauge(self.subscriptions.len()),
            identities_lent: gauge(self.logins.lent(self.link.instant())),
            trunks_registered: gauge(trunks.registered),
            trunks_unregistered: gauge(trunks.unregistered),
            ..self.link.counters
        };
    }
}

#[cfg(test)]
mod tests;
