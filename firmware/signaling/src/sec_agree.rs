//! The security agreement of one user with his P-CSCF on Gm (RFC 3329, TS 33.203 §7): which
//! algorithms, and the four IPsec associations that carry everything between them. A
//! re-authentication makes four new ones before the old ones break; both sides change their
//! client ports then and keep their server ports (TS 33.203 §7.4). The old ones go when
//! what was under way on them is over, or with their time.
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
use crate::id::EndpointId;
use crate::input::SaFailure;
use crate::message::headers::Mechanism;
use crate::transaction::GIVE_UP_AFTER;

/// One user's agreement.
#[derive(Debug)]
pub struct Agreement {
    server: Port,
    ciphers: Vec<Cipher>,
    /// What a REGISTER proposes, until the network accepts associations made of it.
    proposal: Option<Proposal>,
    /// Made by a challenge whose answer the network has not accepted yet.
    next: Option<Set>,
    current: Option<Set>,
    /// Replaced, and still good for what is under way.
    old: Option<Set>,
    output: VecDeque<Change>,
}

/// A protected port of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub endpoint: EndpointId,
    /// What the P-CSCF sees of it.
    pub address: SocketAddr,
}

/// How what is carried is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-CBC with 128 bits, RFC 3602.
    AesCbc,
    /// Not at all: what is carried is protected against changes only, RFC 2410.
    Null,
}

/// Something to be done to the kernel's associations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make these.
    Install(Box<Associations>),
    /// Let these last as long as they say now.
    Extend(Box<Associations>),
    /// Remove those of this client port.
    Delete(EndpointId),
    /// This client port is not needed any more.
    Close(EndpointId),
}

/// The four associations of TS 33.203 §7.1 between two ports of a terminal and two of its
/// P-CSCF. There is never more than one such set for a client port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Associations {
    /// port-uc: the terminal's requests leave from here.
    pub client: EndpointId,
    /// port-us: it is reached here, and its Contact and Via say so.
    pub server: EndpointId,
    /// Each of the four.
    pub ways: [Association; 4],
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
    /// How long after it was made it ends if nobody ends it.
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

/// Why a user is not registered where IPsec is to protect him.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SecurityFailure {
    /// The P-CSCF and the box do not agree.
    #[error("{0}")]
    Disagreement(#[from] Disagreement),
    /// The user's proof makes no keys.
    #[error(
        "IPsec takes its keys from AKA, and the stored credentials are a password: store an ISIM's"
    )]
    NoKeys,
    /// The kernel did not make the associations.
    #[error("{0}")]
    Sa(SaFailure),
    /// The P-CSCF wants an agreement (421, 494), and the tenant has none.
    #[error("the P-CSCF wants a security agreement: set security = \"ipsec\"")]
    Demanded,
    /// The P-CSCF does not take what is proposed or said back (421, 494).
    #[error("the P-CSCF refuses the security agreement: ask its operator for the ciphers")]
    Refused,
    /// The P-CSCF knows no agreements (420).
    #[error("the P-CSCF has no security agreement: set security = \"none\"")]
    Unknown,
}

/// What a REGISTER proposes: a port and indices of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proposal {
    client: Port,
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
    made_at: Instant,
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
    /// For a user who is reached at this port, which stays his. `ciphers` are proposed in
    /// this order.
    #[must_use]
    pub fn new(server: Port, ciphers: Vec<Cipher>) -> Self {
        Agreement {
            server,
            ciphers,
            proposal: None,
            next: None,
            current: None,
            old: None,
            output: VecDeque::new(),
        }
    }

    /// Whether there is something to propose; else it wants a client port that no
    /// association has used.
    #[must_use]
    pub fn has_proposal(&self) -> bool {
        self.proposal.is_some()
    }

    /// Proposes associations from this client port.
    pub fn propose(&mut self, client: Port, rng: &mut ChaCha20Rng) {
        if let Some(unused) = self.proposal.take() {
            self.output.push_back(Change::Close(unused.client.endpoint));
        }
        let taken = self.sets().map(|set| set.own).collect::<Vec<_>>();
        self.proposal = Some(Proposal::unlike(client, &taken, rng));
    }

    /// Security-Client of the next REGISTER, which also the answer to its challenge says
    /// (TS 24.229 §5.1.1.5.1); empty without a proposal.
    #[must_use]
    pub fn client(&self) -> Vec<Mechanism> {
        let Some(proposal) = self.proposal else {
            return Vec::new();
        };
        let propose = |cipher: &Cipher| {
            let mut mechanism = Mechanism::new("ipsec-3gpp");
            mechanism.params.set("alg", INTEGRITY);
            mechanism.params.set("ealg", cipher.name());
            mechanism.params.set("prot", "esp");
            mechanism.params.set("mod", "trans");
            mechanism.params.set("spi-c", proposal.spi_client);
            mechanism.params.set("spi-s", proposal.spi_server);
            mechanism
                .params
                .set("port-c", proposal.client.address.port());
            mechanism.params.set("port-s", self.server.address.port());
            mechanism
        };
        self.ciphers.iter().map(propose).collect()
    }

    /// How a REGISTER goes: by the associations that its challenge made, or by those that
    /// stand. `None` before there are any.
    #[must_use]
    pub fn register_way(&self) -> Option<Protected<'_>> {
        self.next.as_ref().or(self.current.as_ref()).map(Set::way)
    }

    /// How everything else goes. `None` before the network accepted associations.
    #[must_use]
    pub fn way(&self) -> Option<Protected<'_>> {
        self.current.as_ref().map(Set::way)
    }

    /// The terminal's protected server port.
    #[must_use]
    pub fn server(&self) -> Port {
        self.server
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
    ) -> Result<(), Disagreement> {
        let own = self.proposal.ok_or(Disagreement::NothingInCommon)?;
        // The first of the best: `max_by_key` would take the last.
        let mut best: Option<(&Mechanism, Cipher)> = None;
        for it in offered {
            if let Some(cipher) = self.agreeable(it)
                && best.is_none_or(|(best, _)| it.preference() > best.preference())
            {
                best = Some((it, cipher));
            }
        }
        let (best, cipher) = best.ok_or(Disagreement::NothingInCommon)?;
        let server = Server::read(from, best).ok_or(Disagreement::Broken)?;
        let set = Set {
            own,
            verify: offered.to_vec(),
            server,
            protection: Protection::new(keys, cipher),
            made_at: now,
            until: now + TEMPORARY,
        };
        if let Some(unused) = self.next.take() {
            self.output
                .push_back(Change::Delete(unused.own.client.endpoint));
        }
        let made = self.associations(&set);
        self.output.push_back(Change::Install(Box::new(made)));
        self.next = Some(set);
        Ok(())
    }

    /// With what a mechanism would hide things, if it is one that was proposed.
    fn agreeable(&self, it: &Mechanism) -> Option<Cipher> {
        let says = |name: &str, value: &str, absent: &str| {
            let said = it.params.get(name).unwrap_or(absent);
            said.eq_ignore_ascii_case(value)
        };
        let is_ours = it.is_ipsec()
            && says("alg", INTEGRITY, "")
            && says("prot", "esp", "esp")
            && says("mod", "trans", "trans");
        let mut ciphers = self.ciphers.iter().copied();
        ciphers.find(|cipher| is_ours && says("ealg", cipher.name(), Cipher::Null.name()))
    }

    /// The network accepted what was sent by the new associations; its answer came from
    /// this port.
    pub fn handle_accepted(&mut self, granted: Duration, from: SocketAddr, now: Instant) {
        let until = now + granted + AFTERWARDS;
        if let Some(next) = self.next.take() {
            self.proposal = None;
            if let Some(older) = self.old.take() {
                self.end_one(&older);
            }
            self.old = self.current.replace(next);
        }
        // A refresh without a challenge: what there is lasts longer.
        if let Some(current) = &mut self.current {
            current.until = until;
        }
        if let Some(current) = &self.current {
            let lasting = self.associations(current);
            self.output.push_back(Change::Extend(Box::new(lasting)));
        }
        self.handle_message(from, now);
    }

    /// The attempt came to nothing: what was made for it goes, what stood before stays.
    pub fn handle_failed(&mut self) {
        if let Some(next) = self.next.take() {
            self.proposal = None;
            self.end_one(&next);
        }
    }

    /// A message came from this port of the P-CSCF. The first one by the new associations
    /// ends the old ones when the transactions on them are over, TS 24.229 §5.1.1.5.1.
    pub fn handle_message(&mut self, from: SocketAddr, now: Instant) {
        let is_of = |set: &Set| {
            let ports = [set.server.port_client, set.server.port_server];
            set.server.address == from.ip() && ports.contains(&from.port())
        };
        let is_by_new = self.current.as_ref().is_some_and(is_of);
        if let Some(old) = &mut self.old
            && is_by_new
            && !is_of(old)
        {
            old.until = old.until.min(now + GIVE_UP_AFTER);
        }
    }

    /// Everything goes, client ports too.
    pub fn end(&mut self) {
        let sets = [self.next.take(), self.current.take(), self.old.take()];
        for set in sets.iter().flatten() {
            self.end_one(set);
        }
        if let Some(unused) = self.proposal.take()
            && !sets.iter().flatten().any(|set| set.own == unused)
        {
            self.output.push_back(Change::Close(unused.client.endpoint));
        }
    }

    /// Ends what has lasted too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next.as_ref().is_some_and(|set| set.until <= now) {
            self.handle_failed();
        }
        for slot in [&mut self.current, &mut self.old] {
            if let Some(set) = slot.take_if(|set| set.until <= now) {
                let client = set.own.client.endpoint;
                self.output
                    .extend([Change::Delete(client), Change::Close(client)]);
            }
        }
    }

    /// When [`Agreement::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sets().map(|set| set.until).min()
    }

    /// The next thing to be done to the kernel's associations.
    pub fn poll_output(&mut self) -> Option<Change> {
        self.output.pop_front()
    }

    fn sets(&self) -> impl Iterator<Item = &Set> {
        let sets = [&self.next, &self.current, &self.old];
        sets.into_iter().flatten()
    }

    fn end_one(&mut self, set: &Set) {
        let client = set.own.client.endpoint;
        self.output
            .extend([Change::Delete(client), Change::Close(client)]);
    }

    /// The four associations of TS 33.203 §7.1.
    fn associations(&self, set: &Set) -> Associations {
        let theirs = |port| SocketAddr::new(set.server.address, port);
        let way = |spi, from, to, is_inbound| Association {
            spi,
            from,
            to,
            is_inbound,
            protection: set.protection.clone(),
            lifetime: set.until - set.made_at,
        };
        let server = set.server;
        let (uc, us) = (set.own.client.address, self.server.address);
        let (pc, ps) = (theirs(server.port_client), theirs(server.port_server));
        Associations {
            client: set.own.client.endpoint,
            server: self.server.endpoint,
            ways: [
                way(server.spi_server, uc, ps, false),
                way(set.own.spi_client, ps, uc, true),
                way(set.own.spi_server, pc, us, true),
                way(server.spi_client, us, pc, false),
            ],
        }
    }
}

/// The way of requests inside associations.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'a> {
    /// The port that they leave from.
    pub client: EndpointId,
    /// The P-CSCF's protected server port, RFC 3329 §2.3.1.
    pub to: SocketAddr,
    /// The P-CSCF's protected client port, where its requests come from.
    pub from: SocketAddr,
    /// Security-Verify: what the P-CSCF said.
    pub verify: &'a [Mechanism],
}

impl Set {
    fn way(&self) -> Protected<'_> {
        let theirs = |port| SocketAddr::new(self.server.address, port);
        Protected {
            client: self.own.client.endpoint,
            to: theirs(self.server.port_server),
            from: theirs(self.server.port_client),
            verify: &self.verify,
        }
    }
}

impl Cipher {
    /// Its name in `ealg`, TS 33.203 Annex H.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cipher::AesCbc => "aes-cbc",
            Cipher::Null => "null",
        }
    }
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
    /// Indices that none of these has. RFC 4303 §2.1: up to 255 they are reserved.
    fn unlike(client: Port, taken: &[Proposal], rng: &mut ChaCha20Rng) -> Self {
        let mut used: Vec<u32> = Vec::new();
        for it in taken {
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
            client,
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
    fn new(keys: &AkaKeys, cipher: Cipher) -> Self {
        let mut integrity_key = Zeroizing::new([0; 20]);
        integrity_key[..16].copy_from_slice(&keys.ik[..]);
        Protection {
            integrity_key,
            cipher_key: (cipher == Cipher::AesCbc).then(|| keys.ck.clone()),
        }
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cipher = match self.cipher_key {
            Some(_) => Cipher::AesCbc,
            None => Cipher::Null,
        };
        write!(f, "{INTEGRITY} {} <private>", cipher.name())
    }
}

const INTEGRITY: &str = "hmac-sha-1-96";

/// RFC 4303 §2.1.
const RESERVED: u32 = 255;

/// How long associations wait for the network's answer: reg-await-auth, TS 33.203 §7.4.1.
const TEMPORARY: Duration = Duration::from_secs(240);

/// How long they outlive the registration, TS 33.203 §7.4.1.
const AFTERWARDS: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
