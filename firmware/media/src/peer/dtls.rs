//! One DTLS-SRTP association with a browser, RFC 5764 and RFC 8842: the handshake, the
//! browser's certificate against the fingerprint that signalling promised, and the keys.

mod engine;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use aws_lc_rs::digest;
use iq::{AccessLoss, DtlsRole, Fingerprint, FingerprintHash, SrtpProfile};

pub use engine::Settings;
use engine::{Engine, Event, Failed};

use crate::srtp::Keys;

/// A handshake and what came of it. Keys leave it only when the handshake is over, the
/// certificate is the promised one, and the profile is one of those that are good enough.
pub struct Association {
    /// `None` once it broke: nothing more is said or heard.
    engine: Option<Box<dyn Engine>>,
    role: DtlsRole,
    profiles: Vec<SrtpProfile>,
    fingerprints: Vec<Fingerprint>,
    certificate: Option<Vec<u8>>,
    keys: Option<Keys>,
    connected: bool,
    state: State,
    started: Instant,
    give_up_at: Option<Instant>,
    engine_timeout: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaking,
    /// The handshake is over; the fingerprint is not known yet.
    Unverified,
    Established,
    Over,
}

/// What an association wants.
#[derive(Debug)]
pub enum Output {
    /// Send these records to the browser.
    Transmit(Vec<u8>),
    /// The browser is who signalling says: relay with these keys.
    Established(Keys),
    /// It is over.
    Lost(AccessLoss),
}

impl Association {
    /// Starts an association; as the client its first flight is in the outputs of the
    /// next call.
    #[must_use]
    pub fn new(role: DtlsRole, settings: &Settings, now: Instant) -> Self {
        let engine = guard(|| settings.start(role, now)).ok();
        Self::with_engine(engine, role, settings, now)
    }

    fn with_engine(
        engine: Option<Box<dyn Engine>>,
        role: DtlsRole,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        Association {
            engine,
            role,
            profiles: settings.profiles().to_vec(),
            fingerprints: Vec::new(),
            certificate: None,
            keys: None,
            connected: false,
            state: State::Handshaking,
            started: now,
            give_up_at: Some(now + settings.handshake_timeout()),
            engine_timeout: Some(now),
        }
    }

    /// The box's part in it.
    #[must_use]
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether keys were handed out.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Whether it broke or was closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The fingerprints that it is, or will be, held against.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.fingerprints
    }

    /// Learns what signalling promised. A handshake that has ended waits for this.
    pub fn set_fingerprints(&mut self, fingerprints: &[Fingerprint], output: &mut Vec<Output>) {
        self.fingerprints = fingerprints.to_vec();
        if self.state == State::Unverified {
            self.verify(output);
        }
    }

    /// Takes a datagram from an address that ICE has validated.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant, output: &mut Vec<Output>) {
        self.drive(output, |engine| engine.handle_packet(packet, now));
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant, output: &mut Vec<Output>) {
        if self.give_up_at.is_some_and(|at| at <= now) {
            return self.end(AccessLoss::DtlsFailed, output);
        }
        if self.engine_timeout.is_some_and(|at| at <= now) {
            self.drive(output, |engine| engine.handle_timeout(now));
        }
    }

    /// When [`Association::handle_timeout`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.engine_timeout, self.give_up_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Says goodbye by close_notify (RFC 5246 §7.2.1), if anybody listens.
    pub fn close(&mut self, now: Instant, output: &mut Vec<Output>) {
        if matches!(self.state, State::Established | State::Unverified) {
            self.state = State::Over;
            self.drive(output, |engine| engine.close(now));
        }
        self.end_silently();
    }

    /// Runs one step of the engine and takes in what came of it. An engine that fails,
    /// or panics, is not asked again.
    fn drive(
        &mut self,
        output: &mut Vec<Output>,
        step: impl FnOnce(&mut dyn Engine) -> Result<(), Failed>,
    ) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let mut events = Vec::new();
        let result = guard(|| {
            let result = step(engine.as_mut());
            // After a failure, what is left to say is an alert.
            let timeout = engine.drain(&mut events);
            result.map(|()| timeout)
        });
        for event in events {
            self.handle_event(event, output);
        }
        match result {
            Ok(timeout) => self.engine_timeout = timeout,
            Err(Failed) => self.end(AccessLoss::DtlsFailed, output),
        }
    }

    fn handle_event(&mut self, event: Event, output: &mut Vec<Output>) {
        match event {
            Event::Transmit(records) => output.push(Output::Transmit(records)),
            Event::Certificate(der) => {
                // Of a chain only the first certificate counts, RFC 8122 §5.1.
                self.certificate.get_or_insert(der);
            }
            Event::Keys(profile, exported) if self.profiles.contains(&profile) => {
                self.keys = Keys::from_dtls(profile, &exported, self.role).ok();
            }
            Event::Keys(..) => {}
            Event::Connected => self.connected = true,
            Event::Closed => return self.end(AccessLoss::Closed, output),
        }
        if self.connected && self.keys.is_some() && self.state == State::Handshaking {
            self.state = State::Unverified;
            self.give_up_at = None;
            self.verify(output);
        }
    }

    /// Holds the certificate against the promise; without a promise it waits.
    fn verify(&mut self, output: &mut Vec<Output>) {
        if self.fingerprints.is_empty() {
            return;
        }
        let is_promised = self
            .certificate
            .as_deref()
            .is_some_and(|der| matches_strongest(der, &self.fingerprints));
        match self.keys.take() {
            Some(keys) if is_promised => {
                self.state = State::Established;
                self.certificate = None;
                output.push(Output::Established(keys));
            }
            _ => self.end(AccessLoss::FingerprintMismatch, output),
        }
    }

    fn end(&mut self, loss: AccessLoss, output: &mut Vec<Output>) {
        if self.state != State::Over {
            output.push(Output::Lost(loss));
        }
        self.end_silently();
    }

    fn end_silently(&mut self) {
        self.state = State::Over;
        self.keys = None;
        self.certificate = None;
        self.give_up_at = None;
        self.engine_timeout = None;
        let engine = self.engine.take();
        let _ = guard(|| {
            drop(engine);
            Ok(())
        });
    }
}

/// Whether the certificate's hash is among those of the strongest function given
/// (RFC 8122 §5.1).
fn matches_strongest(der: &[u8], fingerprints: &[Fingerprint]) -> bool {
    let Some(strongest) = fingerprints.iter().map(|given| given.hash).max() else {
        return false;
    };
    let algorithm = match strongest {
        FingerprintHash::Sha256 => &digest::SHA256,
        FingerprintHash::Sha384 => &digest::SHA384,
        FingerprintHash::Sha512 => &digest::SHA512,
    };
    let hash = digest::digest(algorithm, der);
    fingerprints
        .iter()
        .any(|given| given.hash == strongest && given.value == hash.as_ref())
}

/// Runs foreign code so that its panic ends one association and not the worker.
fn guard<T>(run: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Failed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::{Certificate, Config};

    #[test]
    fn keys_are_handed_out_once_the_handshake_is_over_and_the_certificate_is_the_promised_one() {
        let mut association = association(vec![good_certificate(), Event::Connected, keys()]);
        let mut output = Vec::new();
        association.set_fingerprints(&promise(b"good"), &mut output);
        association.handle_packet(b"", Instant::now(), &mut output);
        assert!(matches!(output[..], [Output::Established(_)]));
        assert!(association.is_established());
    }

    #[test]
    fn keys_are_kept_until_the_fingerprint_is_known() {
        let mut association = association(vec![good_certificate(), keys(), Event::Connected]);
        let mut output = Vec::new();
        let start = Instant::now();
        association.handle_packet(b"", start, &mut output);
        association.handle_timeout(start + Duration::from_secs(60), &mut output);
        assert!(output.is_empty());
        association.set_fingerprints(&promise(b"good"), &mut output);
        assert!(matches!(output[..], [Output::Established(_)]));
    }

    // Conforms: RFC 5763 §5 | A certificate without the signalled fingerprint gives no keys.
    #[test]
    fn another_certificate_or_none_gives_no_keys() {
        for certificate in [Some(Event::Certificate(b"evil".to_vec())), None] {
            let mut events = vec![keys(), Event::Connected];
            events.splice(0..0, certificate);
            let mut association = association(events);
            let mut output = Vec::new();
            association.set_fingerprints(&promise(b"good"), &mut output);
            association.handle_packet(b"", Instant::now(), &mut output);
            assert_eq!(losses(&output), [AccessLoss::FingerprintMismatch]);
            assert!(association.is_over());
        }
    }

    #[test]
    fn a_second_certificate_of_a_chain_does_not_count() {
        let evil = Event::Certificate(b"evil".to_vec());
        let events = vec![evil, good_certificate(), keys(), Event::Connected];
        let mut association = association(events);
        let mut output = Vec::new();
        association.set_fingerprints(&promise(b"good"), &mut output);
        association.handle_packet(b"", Instant::now(), &mut output);
        assert_eq!(losses(&output), [AccessLoss::FingerprintMismatch]);
    }

    #[test]
    fn a_profile_that_is_not_good_enough_fails_the_handshake() {
        let weak = Event::Keys(SrtpProfile::Aes128CmSha1_80, vec![0; 60]);
        let mut association = association(vec![good_certificate(), weak, Event::Connected]);
        let mut output = Vec::new();
        let start = Instant::now();
        association.set_fingerprints(&promise(b"good"), &mut output);
        association.handle_packet(b"", start, &mut output);
        association.handle_timeout(start + Duration::from_secs(10), &mut output);
        assert_eq!(losses(&output), [AccessLoss::DtlsFailed]);
    }

    #[test]
    fn an_engine_that_panics_ends_its_association_and_nothing_else() {
        let mut association = association(vec![]);
        let mut output = Vec::new();
        association.handle_packet(b"panic", Instant::now(), &mut output);
        assert_eq!(losses(&output), [AccessLoss::DtlsFailed]);
        association.handle_packet(b"panic", Instant::now(), &mut output);
        assert_eq!(output.len(), 1);
        assert_eq!(association.poll_timeout(), None);
    }

    #[test]
    fn a_handshake_that_takes_too_long_has_failed() {
        let mut association = association(vec![]);
        let mut output = Vec::new();
        let start = association.started();
        association.handle_timeout(start + Duration::from_secs(9), &mut output);
        assert!(output.is_empty());
        association.handle_timeout(start + Duration::from_secs(10), &mut output);
        assert_eq!(losses(&output), [AccessLoss::DtlsFailed]);
    }

    /// Gives its events at the first packet, and panics when told to.
    struct Scripted(Vec<Event>);

    impl Engine for Scripted {
        fn handle_packet(&mut self, packet: &[u8], _now: Instant) -> Result<(), Failed> {
            assert!(packet != b"panic", "as the test wants");
            Ok(())
        }

        fn handle_timeout(&mut self, _now: Instant) -> Result<(), Failed> {
            Ok(())
        }

        fn close(&mut self, _now: Instant) -> Result<(), Failed> {
            Ok(())
        }

        fn drain(&mut self, events: &mut Vec<Event>) -> Option<Instant> {
            events.append(&mut self.0);
            None
        }
    }

    fn association(events: Vec<Event>) -> Association {
        let mut config = Config::new(vec![], Arc::new(Certificate::generate().unwrap()));
        config.srtp_profiles = vec![SrtpProfile::AeadAes128Gcm];
        let engine: Box<dyn Engine> = Box::new(Scripted(events));
        Association::with_engine(
            Some(engine),
            DtlsRole::Server,
            &Settings::new(&config),
            Instant::now(),
        )
    }

    fn good_certificate() -> Event {
        Event::Certificate(b"good".to_vec())
    }

    fn keys() -> Event {
        Event::Keys(SrtpProfile::AeadAes128Gcm, vec![7; 56])
    }

    fn promise(der: &[u8]) -> [Fingerprint; 1] {
        [Fingerprint {
            hash: FingerprintHash::Sha256,
            value: digest::digest(&digest::SHA256, der).as_ref().to_vec(),
        }]
    }

    fn losses(output: &[Output]) -> Vec<AccessLoss> {
        output
            .iter()
            .filter_map(|output| match output {
                Output::Lost(loss) => Some(*loss),
                _ => None,
            })
            .collect()
    }
}
