//! The door to the DTLS implementation: what one has to do for an association, and the
//! crate `dimpl` doing it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iq::{DtlsRole, SrtpProfile};

use crate::Certificate;

/// A DTLS endpoint that is fed and drained.
pub(super) trait Engine: Send {
    /// Takes a datagram.
    fn handle_packet(&mut self, packet: &[u8], now: Instant) -> Result<(), Failed>;
    /// Lets time pass.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), Failed>;
    /// Says close_notify.
    fn close(&mut self, now: Instant) -> Result<(), Failed>;
    /// Empties it, and says when it wants [`Engine::handle_timeout`].
    fn drain(&mut self, events: &mut Vec<Event>) -> Option<Instant>;
}

/// What comes out of an engine.
pub(super) enum Event {
    /// A datagram for the peer.
    Transmit(Vec<u8>),
    /// The peer's certificate in DER; nobody has looked at it.
    Certificate(Vec<u8>),
    /// What the exporter gives for SRTP.
    Keys(SrtpProfile, Vec<u8>),
    /// The handshake is over.
    Connected,
    /// The peer said close_notify.
    Closed,
}

/// The association is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// Settings that all associations of a worker share.
pub struct Settings {
    config: Arc<dimpl::Config>,
    certificate: Arc<Certificate>,
    profiles: Vec<SrtpProfile>,
    with_13: bool,
    handshake_timeout: Duration,
}

impl Settings {
    /// Takes what concerns DTLS out of the worker's configuration.
    #[must_use]
    pub fn new(config: &crate::Config) -> Self {
        let engine = dimpl::Config::builder()
            .mtu(MTU)
            // ICE has shown that the browser is where it says: no cookie round trip.
            .use_server_cookie(false)
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(RETRANSMISSIONS)
            .handshake_timeout(config.handshake_timeout.max(Duration::from_secs(1)))
            .build()
            .expect("constant settings are sound and the crypto library is there");
        Settings {
            config: Arc::new(engine),
            certificate: Arc::clone(&config.certificate),
            profiles: config.srtp_profiles.clone(),
            with_13: config.dtls_13,
            handshake_timeout: config.handshake_timeout,
        }
    }

    pub(super) fn profiles(&self) -> &[SrtpProfile] {
        &self.profiles
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    pub(super) fn start(&self, role: DtlsRole, now: Instant) -> Result<Box<dyn Engine>, Failed> {
        let config = Arc::clone(&self.config);
        let certificate = dimpl::DtlsCertificate {
            certificate: self.certificate.der.clone(),
            private_key: self.certificate.private_key.clone(),
        };
        let mut dtls = if self.with_13 {
            dimpl::Dtls::new_auto(config, certificate, now)
        } else {
            dimpl::Dtls::new_12(config, certificate, now)
        };
        dtls.set_active(role == DtlsRole::Client);
        // A packet before the first call of this is not survived.
        dtls.handle_timeout(now).map_err(|_| Failed)?;
        Ok(Box::new(Dimpl { dtls }))
    }
}

/// DTLS 1.2, and 1.3 where it is let, by the crate `dimpl`.
struct Dimpl {
    dtls: dimpl::Dtls,
}

impl Engine for Dimpl {
    fn handle_packet(&mut self, packet: &[u8], now: Instant) -> Result<(), Failed> {
        self.dtls.handle_timeout(now).map_err(|_| Failed)?;
        self.dtls.handle_packet(packet).map_err(|_| Failed)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Failed> {
        self.dtls.handle_timeout(now).map_err(|_| Failed)
    }

    fn close(&mut self, now: Instant) -> Result<(), Failed> {
        self.dtls.handle_timeout(now).map_err(|_| Failed)?;
        self.dtls.close().map_err(|_| Failed)
    }

    fn drain(&mut self, events: &mut Vec<Event>) -> Option<Instant> {
        let mut buffer = vec![0; BUFFER];
        // Bounded, so that a fault of the engine costs an association and not the worker.
        for _ in 0..MAX_EVENTS {
            match self.dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(packet) => events.push(Event::Transmit(packet.to_vec())),
                dimpl::Output::PeerCert(der) => events.push(Event::Certificate(der.to_vec())),
                dimpl::Output::KeyingMaterial(exported, profile) => {
                    if let Some(profile) = profile_of(profile) {
                        events.push(Event::Keys(profile, exported.to_vec()));
                    }
                }
                dimpl::Output::Connected => events.push(Event::Connected),
                dimpl::Output::CloseNotify => events.push(Event::Closed),
                dimpl::Output::BufferTooSmall { needed } if needed <= MAX_BUFFER => {
                    buffer.resize(needed, 0);
                }
                dimpl::Output::Timeout(at) => return Some(at),
                // Data channels are not carried: what is said there is not listened to.
                _ => {}
            }
        }
        None
    }
}

fn profile_of(profile: dimpl::SrtpProfile) -> Option<SrtpProfile> {
    match profile {
        dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(SrtpProfile::Aes128CmSha1_80),
        dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(SrtpProfile::AeadAes128Gcm),
        dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(SrtpProfile::AeadAes256Gcm),
        _ => None,
    }
}

/// The longest datagram of ours; what browsers themselves keep to.
const MTU: usize = 1200;
/// RFC 6347 §4.2.4.1 says 1 s; a caller waits, and RFC 8445's round trips are shorter.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(100);
/// Repeats of a flight, by time and for the browser's own repeats together: doubling
/// from 100 ms, the end of the handshake's time comes first.
const RETRANSMISSIONS: usize = 20;
/// Room for a datagram or a certificate.
const BUFFER: usize = 2048;
/// A browser's certificate is below 1 KiB; this is what a handshake could carry.
const MAX_BUFFER: usize = 64 * 1024;
/// More than a handshake flight with all its events.
const MAX_EVENTS: usize = 256;
