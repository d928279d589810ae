//! The browser's leg of a relay: where it is (ICE), who it is (DTLS), and the keys.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iq::{AccessLoss, AccessRemote, Connected, IceCredentials, Reply, SessionId, SrtpProfile};

use super::{Outbox, min_instant};
use crate::crypto::SrtpCipher;
use crate::packet::buffer::PacketBuffer;
use crate::packet::stun::StunMessage;
use crate::peer::dtls::{self, Association};
use crate::peer::ice::{Check, IceLite};
use crate::srtp::{Inbound, Keys, OpenError, Outbound};
use crate::{Discard, Path, Socket};

/// One browser transport.
pub(crate) struct Access<C: SrtpCipher> {
    session: SessionId,
    /// What its keys are for.
    cipher: C,
    ice: IceLite,
    remote: Option<AccessRemote>,
    /// When the browser's description came.
    described: Option<Instant>,
    association: Option<Box<Association>>,
    keys: Option<Box<AccessKeys<C>>>,
    /// The keys of the association before, for what is in flight.
    retiring: Option<(Box<AccessKeys<C>>, Instant)>,
    profile: Option<SrtpProfile>,
    handshake: Duration,
    loss: Option<AccessLoss>,
}

struct AccessKeys<C: SrtpCipher> {
    inbound: Inbound<C>,
    outbound: Outbound<C>,
}

/// The waiting times of a browser transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the first check.
    pub(crate) ice_timeout: Duration,
    /// For the next check.
    pub(crate) consent_report: Duration,
}

impl<C: SrtpCipher + Clone> Access<C> {
    /// `is_shared` says that several browsers are offered these credentials.
    pub(crate) fn new(
        session: SessionId,
        local: IceCredentials,
        is_shared: bool,
        cipher: C,
    ) -> Self {
        Access {
            session,
            cipher,
            ice: IceLite::new(local).shared(is_shared),
            remote: None,
            described: None,
            association: None,
            keys: None,
            retiring: None,
            profile: None,
            handshake: Duration::ZERO,
            loss: None,
        }
    }

    pub(crate) fn ice(&self) -> &IceLite {
        &self.ice
    }

    /// The protection agreed last.
    pub(crate) fn profile(&self) -> Option<SrtpProfile> {
        self.profile
    }

    /// Takes new credentials of ours; returns a fragment that is good no more.
    pub(crate) fn restart_ice(&mut self, local: IceCredentials) -> Option<IceCredentials> {
        self.ice.restart(local)
    }

    /// Learns the browser's description, or hears it again.
    pub(crate) fn configure(
        &mut self,
        remote: &AccessRemote,
        settings: &dtls::Settings,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) {
        self.described.get_or_insert(now);
        self.ice.set_remote(&remote.ice.ufrag);
        let old = self.remote.replace(remote.clone());
        let is_same_peer = old.is_none_or(|old| old.fingerprints == remote.fingerprints);
        let has_other_role = self.association.as_ref().is_some_and(|association| {
            association.role() != remote.dtls_role && !association.is_established()
        });
        if !is_same_peer {
            self.retire(now);
        }
        if !is_same_peer || has_other_role {
            self.association = None;
            self.loss = None;
        }
        if let Some(association) = &mut self.association {
            let mut outputs = Vec::new();
            if association.fingerprints() != remote.fingerprints {
                association.set_fingerprints(&remote.fingerprints, &mut outputs);
            }
            self.take_dtls(outputs, None, now, outbox);
        }
        self.start_client(settings, now, outbox);
    }

    /// Keeps the keys a moment for what is in flight.
    fn retire(&mut self, now: Instant) {
        if let Some(keys) = self.keys.take() {
            self.retiring = Some((keys, now + KEY_OVERLAP));
        }
    }

    /// Answers a connectivity check; what it says about addresses is the caller's to note.
    pub(crate) fn handle_check(
        &mut self,
        request: &StunMessage<'_>,
        path: Path,
        settings: &dtls::Settings,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Check, Discard> {
        let check = self.ice.handle_check(request, path, now)?;
        if check.passed {
            self.start_client(settings, now, outbox);
            if matches!(
                self.loss,
                Some(AccessLoss::ConsentExpired | AccessLoss::IceTimeout)
            ) {
                self.loss = None;
                if self.keys.is_some() {
                    self.report_connected(outbox);
                }
            }
        }
        Ok(check)
    }

    /// Starts the handshake where that is our part, once there is somewhere to send.
    fn start_client(&mut self, settings: &dtls::Settings, now: Instant, outbox: &mut Outbox<'_>) {
        let Some(remote) = &self.remote else { return };
        if remote.dtls_role != iq::DtlsRole::Client
            || self.association.is_some()
            || !self.ice.has_selected()
        {
            return;
        }
        let mut association = Association::new(iq::DtlsRole::Client, settings, now);
        let mut outputs = Vec::new();
        association.set_fingerprints(&remote.fingerprints, &mut outputs);
        association.handle_timeout(now, &mut outputs);
        self.association = Some(Box::new(association));
        self.take_dtls(outputs, None, now, outbox);
    }

    /// Takes DTLS records from an address that ICE has validated.
    pub(crate) fn handle_dtls(
        &mut self,
        records: &[u8],
        path: Path,
        settings: &dtls::Settings,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), Discard> {
        if self.association.is_none() {
            if !is_client_hello(records) {
                return Err(Discard::NoAssociation);
            }
            self.association = Some(Box::new(self.expect_client(settings, now)?));
        }
        let association = self
            .association
            .as_mut()
            .filter(|association| !association.is_over())
            .ok_or(Discard::NoAssociation)?;
        let mut outputs = Vec::new();
        association.handle_packet(records, now, &mut outputs);
        self.take_dtls(outputs, Some(path), now, outbox);
        Ok(())
    }

    /// An association that waits for the browser's ClientHello, before or after its
    /// description came.
    fn expect_client(
        &self,
        settings: &dtls::Settings,
        now: Instant,
    ) -> Result<Association, Discard> {
        let mut association = Association::new(iq::DtlsRole::Server, settings, now);
        if let Some(remote) = &self.remote {
            if remote.dtls_role != iq::DtlsRole::Server {
                return Err(Discard::NoAssociation);
            }
            association.set_fingerprints(&remote.fingerprints, &mut Vec::new());
        }
        Ok(association)
    }

    /// Does what the association wants. Records go to the nominated address, or back to
    /// where the browser's came from.
    fn take_dtls(
        &mut self,
        outputs: Vec<dtls::Output>,
        from: Option<Path>,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) {
        for output in outputs {
            match output {
                dtls::Output::Transmit(records) => {
                    if let Some(path) = self.ice.destination(now).or(from) {
                        outbox.transmit(Socket::Access(path.door), path.remote, records);
                    }
                }
                dtls::Output::Established(keys) => self.establish(&keys, now, outbox),
                dtls::Output::Lost(loss) => self.lose(loss, outbox),
            }
        }
    }

    fn establish(&mut self, keys: &Keys, now: Instant, outbox: &mut Outbox<'_>) {
        self.retire(now);
        self.profile = Some(keys.profile);
        self.keys = Some(Box::new(AccessKeys {
            inbound: Inbound::with_cipher(self.cipher.clone(), keys.profile, &keys.remote),
            outbound: Outbound::with_cipher(self.cipher.clone(), keys.profile, &keys.local),
        }));
        let started = self
            .ice
            .first_check()
            .into_iter()
            .chain(self.association.as_ref().map(|a| a.started()))
            .min();
        self.handshake = started.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.loss = None;
        outbox.counters.handshakes_established += 1;
        self.report_connected(outbox);
    }

    fn report_connected(&self, outbox: &mut Outbox<'_>) {
        if let Some(profile) = self.profile {
            outbox.reply(Reply::Connected(Connected {
                session: self.session,
                profile,
                handshake: self.handshake,
            }));
        }
    }

    /// Reports a loss once. What is lost for good takes its keys along.
    fn lose(&mut self, loss: AccessLoss, outbox: &mut Outbox<'_>) {
        let is_final = |loss| !matches!(loss, AccessLoss::ConsentExpired | AccessLoss::IceTimeout);
        if is_final(loss) {
            self.keys = None;
        }
        let counters = &mut *outbox.counters;
        *match loss {
            AccessLoss::ConsentExpired | AccessLoss::IceTimeout => &mut counters.consents_lost,
            AccessLoss::DtlsFailed => &mut counters.handshakes_failed,
            AccessLoss::FingerprintMismatch => &mut counters.fingerprint_mismatches,
            AccessLoss::Closed => &mut counters.closed_by_browser,
        } += 1;
        if self.loss == Some(loss) || self.loss.is_some_and(is_final) {
            return;
        }
        self.loss = Some(loss);
        outbox.reply(Reply::AccessLost {
            session: self.session,
            loss,
        });
    }

    /// Opens a packet of the browser's in place.
    pub(crate) fn open(
        &mut self,
        packet: &mut PacketBuffer,
        is_rtcp: bool,
        now: Instant,
    ) -> Result<(), Discard> {
        if self.retiring.is_some() {
            return self.open_with_either(packet, is_rtcp, now);
        }
        let keys = self.keys.as_mut().ok_or(Discard::NoKeys)?;
        keys.open(packet, is_rtcp, now)
    }

    /// While two associations overlap a packet may be sealed with either's keys.
    fn open_with_either(
        &mut self,
        packet: &mut PacketBuffer,
        is_rtcp: bool,
        now: Instant,
    ) -> Result<(), Discard> {
        let mut copy = packet.clone();
        let result = match &mut self.keys {
            Some(keys) => keys.open(packet, is_rtcp, now),
            None => Err(Discard::NoKeys),
        };
        match (&result, &mut self.retiring) {
            (Err(Discard::BadTag | Discard::NoKeys), Some((keys, until))) if now < *until => {
                keys.open(&mut copy, is_rtcp, now)?;
                *packet = copy;
                Ok(())
            }
            _ => result,
        }
    }

    /// Seals a packet for the browser in place.
    pub(crate) fn seal(&mut self, packet: &mut PacketBuffer, is_rtcp: bool) -> Result<(), Discard> {
        let keys = match (&mut self.keys, &mut self.retiring) {
            (Some(keys), _) => keys,
            (None, Some((keys, _))) => keys,
            (None, None) => return Err(Discard::NoKeys),
        };
        let length = packet.len();
        let buffer = packet.with_tail_mut();
        let sealed = if is_rtcp {
            keys.outbound.seal_rtcp(buffer, length)
        } else {
            keys.outbound.seal_rtp(buffer, length)
        };
        packet.set_len(sealed?);
        Ok(())
    }

    /// Where media to the browser goes, if there are keys and consent for it.
    pub(crate) fn outlet(&self, now: Instant) -> Result<Path, Discard> {
        if self.keys.is_none() && self.retiring.is_none() {
            return Err(Discard::NoKeys);
        }
        self.ice.destination(now).ok_or(Discard::NoDestination)
    }

    /// Lets time pass; `forget` is called with every address whose consent is over.
    pub(crate) fn handle_timeout(
        &mut self,
        patience: Patience,
        now: Instant,
        outbox: &mut Outbox<'_>,
        mut forget: impl FnMut(SocketAddr),
    ) {
        while let Some(address) = self.ice.forget_expired(now) {
            forget(address);
        }
        if self
            .retiring
            .as_ref()
            .is_some_and(|(_, until)| *until <= now)
        {
            self.retiring = None;
        }
        if let Some(association) = &mut self.association {
            let mut outputs = Vec::new();
            association.handle_timeout(now, &mut outputs);
            self.take_dtls(outputs, None, now, outbox);
        }
        if let Some((at, loss)) = self.loss_due(patience)
            && at <= now
        {
            self.lose(loss, outbox);
        }
    }

    /// When the silence of checks is to be reported.
    fn loss_due(&self, patience: Patience) -> Option<(Instant, AccessLoss)> {
        if self.loss.is_some() {
            return None;
        }
        match (self.ice.last_check(), self.described) {
            (Some(at), _) => Some((at + patience.consent_report, AccessLoss::ConsentExpired)),
            (None, Some(at)) => Some((at + patience.ice_timeout, AccessLoss::IceTimeout)),
            (None, None) => None,
        }
    }

    pub(crate) fn poll_timeout(&self, patience: Patience) -> Option<Instant> {
        min_instant([
            self.ice.poll_timeout(),
            self.association.as_ref().and_then(|a| a.poll_timeout()),
            self.retiring.as_ref().map(|(_, until)| *until),
            self.loss_due(patience).map(|(at, _)| at),
        ])
    }

    /// Says goodbye to the browser's DTLS.
    pub(crate) fn close(&mut self, now: Instant, outbox: &mut Outbox<'_>) {
        if let Some(mut association) = self.association.take() {
            let mut outputs = Vec::new();
            association.close(now, &mut outputs);
            self.take_dtls(outputs, None, now, outbox);
        }
    }
}

impl<C: SrtpCipher> AccessKeys<C> {
    fn open(
        &mut self,
        packet: &mut PacketBuffer,
        is_rtcp: bool,
        now: Instant,
    ) -> Result<(), Discard> {
        let length = if is_rtcp {
            self.inbound.open_rtcp(packet.bytes_mut(), now)
        } else {
            self.inbound.open_rtp(packet.bytes_mut(), now)
        };
        packet.set_len(length.map_err(|error: OpenError| Discard::from(error))?);
        Ok(())
    }
}

/// Whether a datagram begins with a ClientHello or a piece of one: nothing else starts
/// an association (RFC 6347 §4.1, §4.2.2).
fn is_client_hello(records: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    records.first() == Some(&HANDSHAKE)
        && records.get(3..5) == Some(&[0, 0])
        && records.get(13) == Some(&CLIENT_HELLO)
}

/// How long the keys of a replaced association are good for what is in flight.
const KEY_OVERLAP: Duration = Duration::from_secs(2);
