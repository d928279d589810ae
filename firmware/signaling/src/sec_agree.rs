//! The security agreement of one user with his P-CSCF on Gm (RFC 3329, TS 33.203 §7): which
//! algorithms, and the four IPsec associations that carry everything between them. A
//! re-authentication makes four new ones before the old ones break, and the old ones go
//! when the first message comes by the new ones, or with their time.
//!
//! Left out: AES-GCM and AES-GMAC (TS 33.203 Annex I), UDP encapsulation (Annex M).

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use zeroize::Zeroizing;

use crate::auth::aka::AkaKeys;
use crate::message::headers::Mechanism;

/// One user's agreement.
#[derive(Debug)]
pub struct Agreement {
    local: IpAddr,
    ports: Ports,
    /// What the next REGISTER proposes.
    proposal: Proposal,
    /// Made by a challenge whose answer the network has not accepted yet.
    next: Option<Set>,
    current: Option<Set>,
    /// Replaced, and still good for what is under way.
    old: Option<Set>,
    output: VecDeque<Change>,
}

/// The two protected ports of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// port-uc: its requests leave from here.
    pub client: u16,
    /// port-us: it is reached here, and its Contact and Via say so.
    pub server: u16,
}

/// Something to be done to the kernel's associations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make one.
    Install(Association),
    /// Remove one.
    Delete(AssociationId),
}

/// What names an association in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssociationId {
    /// Where it leads.
    pub to: IpAddr,
    /// The index that the far end of it chose.
    pub spi: u32,
}

/// One association: ESP in transport mode between two sockets, one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The index that its far end chose.
    pub spi: u32,
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives.
    pub to: SocketAddr,
    /// Whether this box is who receives.
    pub is_inbound: bool,
    /// How it is protected, and with which keys.
    pub protection: Protection,
    /// How long it lasts if nobody ends it.
    pub lifetime: Duration,
}

/// Algorithms and their keys. `Debug` hides the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Protection {
    /// The integrity algorithm: HMAC-SHA-1-96 is the only one that is proposed.
    pub integrity_key: Zeroizing<[u8; 20]>,
    /// AES-CBC, unless nothing is to be hidden.
    pub cipher_key: Option<Zeroizing<[u8; 16]>>,
}

/// Why there is no agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Disagreement {
    /// The P-CSCF names nothing that was proposed.
    #[error("the P-CSCF proposes no security that this gateway has")]
    NothingInCommon,
    /// What it names lacks an index or a port.
    #[error("the P-CSCF's Security-Server is broken")]
    Broken,
}

/// What a REGISTER proposes: indices of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proposal {
    spi_client: u32,
    spi_server: u32,
}

/// Four associations, and what was agreed for them.
#[derive(Clone, Debug)]
struct Set {
    own: Proposal,
    /// Security-Server as it came, which Security-Verify says back.
    verify: Vec<Mechanism>,
    server: Server,
    protection: Protection,
    until: Instant,
}

/// The P-CSCF's side.
#[derive(Clone, Copy, Debug)]
struct Server {
    address: IpAddr,
    spi_client: u32,
    spi_server: u32,
    port_client: u16,
    port_server: u16,
}

impl Agreement {
    /// For a user with these ports.
    #[must_use]
    pub fn new(local: IpAddr, ports: Ports, rng: &mut ChaCha20Rng) -> Self {
        Agreement {
            local,
            ports,
            proposal: Proposal::new(rng),
            next: None,
            current: None,
            old: None,
            output: VecDeque::new(),
        }
    }

    /// Security-Client of the next REGISTER: AES-CBC first, then no cipher.
    #[must_use]
    pub fn client(&self) -> Vec<Mechanism> {
        let Ports { client, server } = self.ports;
        let propose = |cipher: &str| {
            let mut mechanism = Mechanism::new("ipsec-3gpp");
            mechanism.params.set("alg", INTEGRITY);
            mechanism.params.set("ealg", cipher);
            mechanism.params.set("prot", "esp");
            mechanism.params.set("mod", "trans");
            mechanism.params.set("spi-c", self.proposal.spi_client);
            mechanism.params.set("spi-s", self.proposal.spi_server);
            mechanism.params.set("port-c", client);
            mechanism.params.set("port-s", server);
            mechanism
        };
        vec![propose(CIPHER), propose(NO_CIPHER)]
    }

    /// Security-Verify of the next request: what the P-CSCF said last.
    #[must_use]
    pub fn verify(&self) -> &[Mechanism] {
        let set = self.next.as_ref().or(self.current.as_ref());
        set.map_or(&[], |set| &set.verify)
    }

    /// Where requests go: the P-CSCF's protected server port, RFC 3329 §2.3.1. `None` before
    /// the first agreement.
    #[must_use]
    pub fn next_hop(&self) -> Option<SocketAddr> {
        let server = self.next.as_ref().or(self.current.as_ref())?.server;
        Some(SocketAddr::new(server.address, server.port_server))
    }

    /// The terminal's protected ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// A challenge was answered: makes the associations that its answer goes by.
    ///
    /// # Errors
    /// If the P-CSCF offers nothing that was proposed; nothing has changed then.
    pub fn handle_challenge(
        &mut self,
        from: IpAddr,
        offered: &[Mechanism],
        keys: &AkaKeys,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Result<(), Disagreement> {
        let has_alg = |it: &&Mechanism, name: &str, value: &str, absent: &str| {
            let said = it.params.get(name).unwrap_or(absent);
            said.eq_ignore_ascii_case(value)
        };
        let is_ours = |it: &&Mechanism| {
            it.is_ipsec()
                && has_alg(it, "alg", INTEGRITY, "")
                && (has_alg(it, "ealg", CIPHER, NO_CIPHER)
                    || has_alg(it, "ealg", NO_CIPHER, NO_CIPHER))
                && has_alg(it, "prot", "esp", "esp")
                && has_alg(it, "mod", "trans", "trans")
        };
        // The first of the best: `max_by_key` would take the last.
        let mut best: Option<&Mechanism> = None;
        for it in offered.iter().filter(is_ours) {
            if best.is_none_or(|best| it.preference() > best.preference()) {
                best = Some(it);
            }
        }
        let best = best.ok_or(Disagreement::NothingInCommon)?;
        let server = Server::read(from, best).ok_or(Disagreement::Broken)?;
        let is_hidden = has_alg(&best, "ealg", CIPHER, NO_CIPHER);
        let set = Set {
            own: self.proposal,
            verify: offered.to_vec(),
            server,
            protection: Protection::new(keys, is_hidden),
            until: now + TEMPORARY,
        };
        if let Some(unused) = self.next.take() {
            self.delete(&unused);
        }
        self.install(&set, TEMPORARY);
        self.next = Some(set);
        self.proposal = Proposal::unlike(&[Some(self.proposal), self.current_proposal()], rng);
        Ok(())
    }

    /// The network accepted what was sent by the new associations.
    pub fn handle_accepted(&mut self, granted: Duration, now: Instant) {
        let until = now + granted + AFTERWARDS;
        match self.next.take() {
            Some(mut next) => {
                if let Some(older) = self.old.take() {
                    self.delete(&older);
                }
                next.until = until;
                self.old = self.current.replace(next);
            }
            // A refresh without a challenge: what there is lasts longer.
            None => {
                if let Some(current) = &mut self.current {
                    current.until = until;
                }
            }
        }
    }

    /// The attempt came to nothing: what was made for it goes, what stood before stays.
    pub fn handle_failed(&mut self) {
        if let Some(next) = self.next.take() {
            self.delete(&next);
        }
    }

    /// A message came from this port of the P-CSCF. The first one by the new associations
    /// ends the old ones, TS 33.203 §7.4.1.2.
    pub fn handle_message(&mut self, from: SocketAddr) {
        let is_of = |set: &Set| {
            let ports = [set.server.port_client, set.server.port_server];
            set.server.address == from.ip() && ports.contains(&from.port())
        };
        let is_by_new = self.current.as_ref().is_some_and(is_of);
        let is_by_old = self.old.as_ref().is_some_and(is_of);
        if is_by_new
            && !is_by_old
            && let Some(old) = self.old.take()
        {
            self.delete(&old);
        }
    }

    /// Everything goes.
    pub fn end(&mut self) {
        let sets = [self.next.take(), self.current.take(), self.old.take()];
        for set in sets.into_iter().flatten() {
            self.delete(&set);
        }
    }

    /// Ends what has lasted too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        for slot in [Slot::Next, Slot::Current, Slot::Old] {
            let set = match slot {
                Slot::Next => &mut self.next,
                Slot::Current => &mut self.current,
                Slot::Old => &mut self.old,
            };
            if let Some(set) = set.take_if(|set| set.until <= now) {
                self.delete(&set);
            }
        }
    }

    /// When [`Agreement::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.next, &self.current, &self.old]
            .into_iter()
            .flatten()
            .map(|set| set.until)
            .min()
    }

    /// The next thing to be done to the kernel's associations.
    pub fn poll_output(&mut self) -> Option<Change> {
        self.output.pop_front()
    }

    fn current_proposal(&self) -> Option<Proposal> {
        self.current.as_ref().map(|set| set.own)
    }

    fn install(&mut self, set: &Set, lifetime: Duration) {
        for way in self.ways(set) {
            self.output
                .push_back(Change::Install(Association { lifetime, ..way }));
        }
    }

    fn delete(&mut self, set: &Set) {
        for way in self.ways(set) {
            self.output.push_back(Change::Delete(way.id()));
        }
    }

    /// The four associations of TS 33.203 §7.1.
    fn ways(&self, set: &Set) -> [Association; 4] {
        let own = |port| SocketAddr::new(self.local, port);
        let theirs = |port| SocketAddr::new(set.server.address, port);
        let (server, ports) = (set.server, self.ports);
        let way = |spi, from, to, is_inbound| Association {
            spi,
            from,
            to,
            is_inbound,
            protection: set.protection.clone(),
            lifetime: TEMPORARY,
        };
        let (uc, us) = (own(ports.client), own(ports.server));
        let (pc, ps) = (theirs(server.port_client), theirs(server.port_server));
        [
            way(server.spi_server, uc, ps, false),
            way(set.own.spi_client, ps, uc, true),
            way(set.own.spi_server, pc, us, true),
            way(server.spi_client, us, pc, false),
        ]
    }
}

enum Slot {
    Next,
    Current,
    Old,
}

impl Association {
    /// What names it in the kernel.
    #[must_use]
    pub fn id(&self) -> AssociationId {
        AssociationId {
            to: self.to.ip(),
            spi: self.spi,
        }
    }
}

impl Proposal {
    fn new(rng: &mut ChaCha20Rng) -> Self {
        Proposal::unlike(&[], rng)
    }

    /// Indices that none of these has. RFC 4303 §2.1: up to 255 they are reserved.
    fn unlike(taken: &[Option<Proposal>], rng: &mut ChaCha20Rng) -> Self {
        let mut used: Vec<u32> = Vec::new();
        for it in taken.iter().flatten() {
            used.extend([it.spi_client, it.spi_server]);
        }
        let mut next = || loop {
            let spi = rng.next_u32();
            if spi > RESERVED && !used.contains(&spi) {
                used.push(spi);
                return spi;
            }
        };
        Proposal {
            spi_client: next(),
            spi_server: next(),
        }
    }
}

impl Server {
    fn read(address: IpAddr, mechanism: &Mechanism) -> Option<Self> {
        let spi = |name| mechanism.number(name).filter(|spi| *spi > RESERVED);
        let port = |name| mechanism.number(name).filter(|port| *port > 0);
        let server = Server {
            address,
            spi_client: spi("spi-c")?,
            spi_server: spi("spi-s")?,
            port_client: port("port-c")?,
            port_server: port("port-s")?,
        };
        (server.spi_client != server.spi_server).then_some(server)
    }
}

impl Protection {
    /// TS 33.203 Annex I: IK with 32 zero bits behind it, and CK as it is.
    fn new(keys: &AkaKeys, is_hidden: bool) -> Self {
        let mut integrity_key = Zeroizing::new([0; 20]);
        integrity_key[..16].copy_from_slice(&keys.ik[..]);
        Protection {
            integrity_key,
            cipher_key: is_hidden.then(|| keys.ck.clone()),
        }
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cipher = self.cipher_key.as_ref().map_or(NO_CIPHER, |_| CIPHER);
        write!(f, "{INTEGRITY} {cipher} <private>")
    }
}

const INTEGRITY: &str = "hmac-sha-1-96";
const CIPHER: &str = "aes-cbc";
const NO_CIPHER: &str = "null";

/// RFC 4303 §2.1.
const RESERVED: u32 = 255;

/// How long associations wait for the network's answer: reg-await-auth, TS 33.203 §7.4.1.
const TEMPORARY: Duration = Duration::from_secs(240);

/// How long they outlive the registration, TS 33.203 §7.4.1.
const AFTERWARDS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
