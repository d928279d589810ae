//! What a worker's relays are told at birth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iq::{Fingerprint, FingerprintHash, SrtpProfile};

/// Settings of one worker's [`crate::Relays`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Where browsers reach this worker's access socket, best first.
    pub candidates: Vec<SocketAddr>,
    /// The box's DTLS identity, shared by all workers.
    pub certificate: Arc<Certificate>,
    /// Sessions held at once by this worker.
    pub max_sessions: usize,
    /// SRTP protection profiles that are good enough. The DTLS engine orders them
    /// itself: as a DTLS 1.2 server GCM-256, GCM-128, then AES-CM; with DTLS 1.3 the
    /// browser's order.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// Whether DTLS 1.3 is spoken beside 1.2. Browsers then choose AES-CM.
    pub dtls_13: bool,
    /// A handshake that takes longer has failed.
    pub handshake_timeout: Duration,
    /// How long to wait for the browser's first connectivity check once its
    /// description is known.
    pub ice_timeout: Duration,
    /// Silence of connectivity checks after which the browser is reported lost.
    /// Chromium checks every 2.5 s.
    pub consent_report: Duration,
    /// Silence on the IMS side after which it is reported, and again every time.
    pub ims_silence: Duration,
    /// Connectivity checks and handshake records that are looked at in one batch.
    pub handshakes_per_batch: u32,
}

impl Config {
    /// The defaults, for the addresses and the identity given.
    #[must_use]
    pub fn new(candidates: Vec<SocketAddr>, certificate: Arc<Certificate>) -> Self {
        Config {
            candidates,
            certificate,
            max_sessions: 2000,
            srtp_profiles: vec![
                SrtpProfile::AeadAes256Gcm,
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::Aes128CmSha1_80,
            ],
            dtls_13: false,
            handshake_timeout: Duration::from_secs(10),
            ice_timeout: Duration::from_secs(20),
            consent_report: Duration::from_secs(10),
            ims_silence: Duration::from_secs(30),
            handshakes_per_batch: 16,
        }
    }
}

/// A self-signed certificate and its key: made once per start of the box, and never
/// written down.
pub struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) private_key: Vec<u8>,
}

/// The certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a DTLS certificate: {0}")]
pub struct CertificateError(#[from] rcgen::Error);

impl Certificate {
    /// Makes an ECDSA P-256 certificate without any identifying name.
    ///
    /// # Errors
    /// When the system's random source or the crypto library fails.
    pub fn generate() -> Result<Self, CertificateError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "WebRTC");
        params.is_ca = rcgen::IsCa::NoCa;
        let certificate = params.self_signed(&key)?;
        Ok(Certificate {
            der: certificate.der().to_vec(),
            private_key: key.serialize_der(),
        })
    }

    /// Its SHA-256 hash, as the box's session descriptions give it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            hash: FingerprintHash::Sha256,
            value: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der)
                .as_ref()
                .to_vec(),
        }
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}
