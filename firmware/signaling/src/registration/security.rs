//! IPsec between a user and his P-CSCF on Gm (RFC 3329, TS 33.203 §7, TS 24.229 §5.1.1): the
//! first REGISTER goes in the open and proposes; the answer to its challenge, and all that
//! follows, goes by the associations that the challenge's keys made. Each authentication
//! makes new ones, from another client port.

use std::net::{IpAddr, SocketAddr};

use crate::auth::digest::Verdict;
use crate::config::IpsecConfig;
use crate::event::{Event, RegistrationFailure};
use crate::id::EndpointId;
use crate::input::SaFailure;
use crate::link::Link;
use crate::message::headers::Mechanism;
use crate::message::{Response, StatusCode};
use crate::output::{EndpointKind, Output};
use crate::protected::SEC_AGREE;
use crate::rejection::Rejection;
use crate::sec_agree::{Agreement, Change, Cipher, Port, Protected, SecurityFailure};

use super::Registrations;
use super::binding::{Binding, BindingId};
use super::on_behalf::Proving;

/// How far one user is with his P-CSCF.
#[derive(Debug)]
pub(super) struct Security {
    ciphers: Vec<Cipher>,
    /// None until there is a port to agree on.
    agreement: Option<Agreement>,
    /// The client port that is being opened.
    opening: Option<EndpointId>,
    /// Associations are being made, and a REGISTER waits for them.
    is_installing: bool,
    /// The P-CSCF does not answer to the associations that stand.
    is_lost: bool,
    /// Where the last message of the P-CSCF came from.
    heard_from: Option<SocketAddr>,
}

/// What a challenge says of security.
#[derive(Debug)]
pub(super) struct Offer {
    from: IpAddr,
    mechanisms: Vec<Mechanism>,
}

impl Offer {
    pub(super) fn read(from: IpAddr, response: &Response) -> Self {
        let servers = response.headers.security_servers().unwrap_or_default();
        let mechanisms = servers.into_iter().map(|it| it.0).collect();
        Offer { from, mechanisms }
    }
}

impl Security {
    pub(super) fn new(config: &IpsecConfig) -> Self {
        Security {
            ciphers: config.ciphers.clone(),
            agreement: None,
            opening: None,
            is_installing: false,
            is_lost: false,
            heard_from: None,
        }
    }

    /// The next REGISTER goes in the open and begins anew.
    pub(super) fn forget(&mut self) {
        self.is_lost = true;
    }

    /// How a REGISTER goes; `None` in the open.
    pub(super) fn register_way(&self) -> Option<Protected<'_>> {
        let agreement = self.agreement.as_ref().filter(|_| !self.is_lost);
        agreement.and_then(Agreement::register_way)
    }

    /// How everything else goes; `None` if nothing may.
    pub(super) fn way(&self) -> Option<Protected<'_>> {
        self.agreement.as_ref().and_then(Agreement::way)
    }

    /// Security-Client of a REGISTER.
    pub(super) fn client(&self) -> Vec<Mechanism> {
        let client = self.agreement.as_ref().map(Agreement::client);
        client.unwrap_or_default()
    }

    /// When it wants to be woken.
    pub(super) fn poll_timeout(&self) -> Option<std::time::Instant> {
        self.agreement.as_ref().and_then(Agreement::poll_timeout)
    }
}

impl Registrations {
    /// Sees to what a REGISTER needs before it is sent: a port to propose, associations, or
    /// the port of what nothing protects yet. `false` if it has to wait.
    pub(super) fn secure(&mut self, id: BindingId, link: &mut Link) -> bool {
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let (Some(security), Some(local)) = (&mut binding.security, binding.local) else {
            return true;
        };
        let server = Port {
            endpoint: binding.endpoint,
            address: local,
        };
        let ciphers = &security.ciphers;
        let agreement = security
            .agreement
            .get_or_insert_with(|| Agreement::new(server, ciphers.clone()));
        if security.is_installing || security.opening.is_some() {
            return false;
        }
        if !agreement.has_proposal() {
            let endpoint = link.endpoint();
            security.opening = Some(endpoint);
            self.by_endpoint.insert(endpoint, id);
            link.push(Output::Open {
                endpoint,
                tenant: binding.tenant,
                kind: EndpointKind::Protected,
            });
            return false;
        }
        let is_protected = security.register_way().is_some();
        is_protected || self.open_port(id).is_some()
    }

    /// The port of a user's REGISTERs that nothing protects.
    pub(super) fn open_port(&self, id: BindingId) -> Option<(EndpointId, SocketAddr)> {
        let shared = self.unprotected.of_tenant(self.table.get(&id)?.tenant)?;
        Some((shared.endpoint, shared.local?))
    }

    /// A client port is open. `false` if it is none.
    pub(super) fn client_opened(
        &mut self,
        endpoint: EndpointId,
        address: SocketAddr,
        link: &mut Link,
    ) -> bool {
        let id = self.by_endpoint.get(&endpoint).copied();
        let Some(binding) = id.and_then(|id| self.table.get_mut(&id)) else {
            return false;
        };
        let (id, server) = (binding.id, binding.endpoint);
        let Some(security) = &mut binding.security else {
            return false;
        };
        if security.opening != Some(endpoint) {
            return false;
        }
        security.opening = None;
        if let Some(agreement) = &mut security.agreement {
            link.transactions.join(endpoint, server);
            agreement.propose(Port { endpoint, address }, &mut link.rng);
        } else {
            self.close_client(endpoint, link); // It took too long: there is nothing to agree on.
        }
        self.carry_out(id, link);
        self.advance(id, link);
        true
    }

    /// A client port could not be opened. `false` if it is none.
    pub(super) fn client_refused(&mut self, endpoint: EndpointId, link: &mut Link) -> bool {
        let id = self.by_endpoint.get(&endpoint).copied();
        let Some(binding) = id.and_then(|id| self.table.get_mut(&id)) else {
            return false;
        };
        let id = binding.id;
        let opening = binding.security.as_mut().map(|it| &mut it.opening);
        if opening
            .and_then(|it| it.take_if(|it| *it == endpoint))
            .is_none()
        {
            return false;
        }
        self.by_endpoint.remove(&endpoint);
        let failure = RegistrationFailure::NoCapacity;
        self.fail(id, failure, Rejection::NoCapacity, link);
        true
    }

    /// A challenge was answered: its keys make associations, by which the answer goes.
    pub(super) fn agree(
        &mut self,
        id: BindingId,
        verdict: &Verdict,
        link: &mut Link,
    ) -> Result<(), SecurityFailure> {
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return Ok(());
        };
        let (Some(security), Some(attempt)) = (&mut binding.security, &mut binding.attempt) else {
            return Ok(());
        };
        let keys = match verdict {
            Verdict::Keyed(keys) => keys,
            Verdict::Proven => return Err(SecurityFailure::NoKeys),
            // It is to be challenged anew.
            Verdict::OutOfStep | Verdict::ForeignNetwork => return Ok(()),
        };
        if let (Some(agreement), Some(offer)) = (&mut security.agreement, &attempt.offer) {
            let mechanisms = &offer.mechanisms;
            agreement.handle_challenge(offer.from, mechanisms, keys, now)?;
            security.is_lost = false;
            security.is_installing = true;
        }
        self.carry_out(id, link);
        Ok(())
    }

    /// Learns whether associations stand.
    pub(crate) fn handle_installed(
        &mut self,
        client: EndpointId,
        result: Result<(), SaFailure>,
        link: &mut Link,
    ) {
        let id = self.by_endpoint.get(&client).copied();
        let Some(binding) = id.and_then(|id| self.table.get_mut(&id)) else {
            return;
        };
        let id = binding.id;
        let Some(security) = binding.security.as_mut().filter(|it| it.is_installing) else {
            return; // The attempt that wanted them is over.
        };
        security.is_installing = false;
        match result {
            Ok(()) => {
                link.counters.security_agreements += 1;
                self.advance(id, link);
            }
            Err(failure) => self.insecure(id, SecurityFailure::Sa(failure), link),
        }
    }

    /// A message of the core came to an endpoint.
    pub(crate) fn handle_heard(&mut self, endpoint: EndpointId, from: SocketAddr, link: &Link) {
        let now = link.instant();
        let id = self.by_endpoint.get(&endpoint).copied();
        let binding = id.and_then(|id| self.table.get_mut(&id));
        let Some(security) = binding.and_then(|it| it.security.as_mut()) else {
            return;
        };
        security.heard_from = Some(from);
        if let Some(agreement) = &mut security.agreement {
            let before = agreement.poll_timeout();
            agreement.handle_message(from, now);
            let is_sooner = agreement.poll_timeout() != before;
            if let Some(id) = id.filter(|_| is_sooner) {
                self.reschedule(id);
            }
        }
    }

    /// The core took a REGISTER: what made it stand lasts as long.
    pub(super) fn security_accepted(
        &mut self,
        id: BindingId,
        granted: std::time::Duration,
        link: &mut Link,
    ) {
        let now = link.instant();
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let Some(security) = &mut binding.security else {
            return;
        };
        if let (Some(agreement), Some(from)) = (&mut security.agreement, security.heard_from) {
            agreement.handle_accepted(granted, from, now);
        }
        if let Some(way) = security.way() {
            link.protect(binding.endpoint, &way);
        }
        self.carry_out(id, link);
    }

    /// What an attempt made that came to nothing goes.
    pub(super) fn security_failed(&mut self, id: BindingId, link: &mut Link) {
        let binding = self.table.get_mut(&id);
        let Some(security) = binding.and_then(|it| it.security.as_mut()) else {
            return;
        };
        security.is_installing = false;
        if let Some(agreement) = &mut security.agreement {
            agreement.handle_failed();
            self.carry_out(id, link);
        }
    }

    /// No association of a user's is left.
    pub(super) fn security_over(&mut self, id: BindingId, link: &mut Link) {
        let binding = self.table.get_mut(&id);
        let Some(security) = binding.and_then(|it| it.security.as_mut()) else {
            return;
        };
        security.is_installing = false;
        if let Some(opening) = security.opening.take() {
            self.close_client(opening, link);
        }
        self.with_agreement(id, Agreement::end);
        self.carry_out(id, link);
        let binding = self.table.get_mut(&id);
        if let Some(security) = binding.and_then(|it| it.security.as_mut()) {
            security.agreement = None;
        }
    }

    /// Ends associations that have lasted too long.
    pub(super) fn age_security(&mut self, id: BindingId, link: &mut Link) {
        let now = link.instant();
        self.with_agreement(id, |agreement| agreement.handle_timeout(now));
        self.carry_out(id, link);
    }

    fn with_agreement(&mut self, id: BindingId, action: impl FnOnce(&mut Agreement)) {
        let binding = self.table.get_mut(&id);
        let security = binding.and_then(|it| it.security.as_mut());
        if let Some(agreement) = security.and_then(|it| it.agreement.as_mut()) {
            action(agreement);
        }
    }

    /// A REGISTER inside associations got no answer, or the P-CSCF says that it knows no
    /// agreement: it is begun anew, in the open (TS 33.203 §7.4). `false` if that was done
    /// already, or is of no use.
    pub(super) fn begin_anew(&mut self, id: BindingId, link: &mut Link) -> bool {
        let Some(binding) = self.table.get_mut(&id) else {
            return false;
        };
        let answer_time = link.config.tenant(binding.tenant).registration.answer_time;
        let (Some(security), Some(attempt)) = (&mut binding.security, &mut binding.attempt) else {
            return false;
        };
        let was_protected = security.register_way().is_some();
        if !was_protected || attempt.is_anew || attempt.asked.is_farewell() {
            return false;
        }
        attempt.is_anew = true;
        attempt.give_up_at = link.instant() + answer_time;
        attempt.proving = Proving::default();
        if let Some(sent) = attempt.sent.take() {
            link.abandon(sent.transaction);
        }
        security.forget();
        binding.forget_proof();
        self.security_failed(id, link);
        self.advance(id, link);
        true
    }

    /// Looks for what an answer says of security. `true` if that is all there is to say.
    pub(super) fn take_objection(
        &mut self,
        id: BindingId,
        response: &Response,
        link: &mut Link,
    ) -> bool {
        let Some(binding) = self.table.get(&id) else {
            return false;
        };
        let is_secured = binding.security.is_some();
        let failure = match response.status {
            StatusCode::BAD_EXTENSION => {
                let unsupported = response.headers.unsupported().unwrap_or_default();
                let mut tags = unsupported.iter();
                let is_ours = tags.any(|tag| tag.is(SEC_AGREE));
                is_ours.then_some(SecurityFailure::Unknown)
            }
            StatusCode::EXTENSION_REQUIRED | StatusCode::SECURITY_AGREEMENT_REQUIRED => {
                Some(match is_secured {
                    true => SecurityFailure::Refused,
                    false => SecurityFailure::Demanded,
                })
            }
            _ => None,
        };
        let Some(failure) = failure else {
            return false;
        };
        if !(is_secured && self.begin_anew(id, link)) {
            self.insecure(id, failure, link);
        }
        true
    }

    /// Ends an attempt because there is no agreement.
    pub(super) fn insecure(&mut self, id: BindingId, failure: SecurityFailure, link: &mut Link) {
        if let Some(binding) = self.table.get(&id) {
            link.counters.security_failures += 1;
            link.event(Event::Insecure {
                endpoint: binding.endpoint,
                failure,
            });
        }
        let reason = RegistrationFailure::Security(failure);
        self.fail(id, reason, Rejection::NoSecurity, link);
    }

    /// Does what the agreement wants done.
    fn carry_out(&mut self, id: BindingId, link: &mut Link) {
        loop {
            let binding = self.table.get_mut(&id);
            let security = binding.and_then(|it| it.security.as_mut());
            let agreement = security.and_then(|it| it.agreement.as_mut());
            let Some(change) = agreement.and_then(Agreement::poll_output) else {
                break;
            };
            match change {
                Change::Install(associations) => link.push(Output::InstallSa(associations)),
                Change::Extend(associations) => link.push(Output::ExtendSa(associations)),
                Change::Delete(client) => link.push(Output::DeleteSa { client }),
                Change::Close(client) => self.close_client(client, link),
            }
        }
    }

    fn close_client(&mut self, endpoint: EndpointId, link: &mut Link) {
        self.by_endpoint.remove(&endpoint);
        link.transactions.part(endpoint);
        link.unprotect(endpoint);
        link.push(Output::Close { endpoint });
    }
}

impl Binding {
    /// How requests other than REGISTER go, if they go by IPsec: `None` where there is no
    /// IPsec, `Some(None)` while there are no associations.
    pub(super) fn protected_way(&self) -> Option<Option<Protected<'_>>> {
        self.security.as_ref().map(Security::way)
    }

    /// Whether everything goes by IPsec, and so to the P-CSCF's protected port.
    pub(crate) fn is_secured(&self) -> bool {
        self.security.is_some()
    }
}
