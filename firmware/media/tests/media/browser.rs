//! A scripted browser: a full ICE agent, a DTLS client or server and an SRTP stack,
//! none of them ours.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate};
use iq::{AccessRemote, AccessTransport, DtlsRole, Fingerprint, FingerprintHash, IceCredentials};
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};
use rtc_srtp::context::Context;
use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::crypto::providers::AwsLcRsProvider;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::world::Datagram;

pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    candidate: Candidate,
    ice: IceAgent,
    dtls: Option<Dtls>,
    new_dtls: fn(Arc<dimpl::Config>, DtlsCertificate, Instant) -> Dtls,
    dtls_config: Arc<dimpl::Config>,
    pub(crate) certificate: DtlsCertificate,
    dtls_timeout: Option<Instant>,
    is_client: bool,
    nominated: Option<SocketAddr>,
    srtp: Option<Srtp>,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    /// Whether it still answers and checks: false plays a closed tab.
    pub(crate) alive: bool,
    pub(crate) outbox: VecDeque<Datagram>,
    /// RTP packets, opened.
    pub(crate) heard: Vec<Vec<u8>>,
    /// RTCP packets, opened.
    pub(crate) reports: Vec<Vec<u8>>,
    sequence: u16,
}

struct Srtp {
    local: Context,
    remote: Context,
}

impl Browser {
    pub(crate) fn new(address: &str, now: Instant) -> Self {
        Self::with_role(address, true, now)
    }

    /// A browser that waits for our ClientHello.
    pub(crate) fn passive(address: &str, now: Instant) -> Self {
        Self::with_role(address, false, now)
    }

    /// A browser that speaks nothing older than DTLS 1.3.
    pub(crate) fn with_dtls_13(address: &str, now: Instant) -> Self {
        let mut browser = Self::with_role(address, true, now);
        browser.new_dtls = Dtls::new_13;
        browser
    }

    fn with_role(address: &str, is_client: bool, now: Instant) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let candidate = Candidate::host(address, "udp").unwrap();
        let mut ice = IceAgent::new(IceCreds::new());
        ice.set_controlling(true);
        ice.add_local_candidate(candidate.clone());
        ice.handle_timeout(now);
        let dtls_config = dimpl::Config::builder()
            .flight_start_rto(Duration::from_millis(50))
            .flight_retries(12)
            .build()
            .unwrap();
        Browser {
            address,
            candidate,
            ice,
            dtls: None,
            new_dtls: Dtls::new_12,
            dtls_config: Arc::new(dtls_config),
            certificate: dimpl::certificate::generate_self_signed_certificate().unwrap(),
            dtls_timeout: None,
            is_client,
            nominated: None,
            srtp: None,
            connected: false,
            closed: false,
            alive: true,
            outbox: VecDeque::new(),
            heard: Vec::new(),
            reports: Vec::new(),
            sequence: 65_500,
        }
    }

    /// What its session description says.
    pub(crate) fn description(&self) -> AccessRemote {
        let credentials = self.ice.local_credentials();
        AccessRemote {
            ice: IceCredentials {
                ufrag: credentials.ufrag.clone(),
                pwd: credentials.pass.clone().into(),
            },
            fingerprints: vec![Fingerprint {
                hash: FingerprintHash::Sha256,
                value: self.certificate.fingerprint(),
            }],
            dtls_role: if self.is_client {
                DtlsRole::Server
            } else {
                DtlsRole::Client
            },
        }
    }

    /// Learns the box's session description and begins.
    pub(crate) fn learn(&mut self, transport: &AccessTransport) {
        self.ice.set_remote_credentials(IceCreds {
            ufrag: transport.ice.ufrag.clone(),
            pass: transport.ice.pwd.reveal().clone(),
        });
        for &candidate in &transport.candidates {
            self.ice
                .add_remote_candidate(Candidate::host(candidate, "udp").unwrap());
        }
    }

    /// Restarts ICE from a new address (RFC 8445 §9).
    pub(crate) fn restart_ice(&mut self, address: &str) {
        self.ice.ice_restart(IceCreds::new(), false);
        self.move_to(address);
    }

    /// Its network changed.
    pub(crate) fn move_to(&mut self, address: &str) {
        self.ice.invalidate_candidate(&self.candidate.clone());
        self.address = address.parse().unwrap();
        self.candidate = Candidate::host(self.address, "udp").unwrap();
        self.ice.add_local_candidate(self.candidate.clone());
    }

    pub(crate) fn handle(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        if !self.alive {
            return;
        }
        match bytes[0] {
            0..=3 => {
                let Ok(message) = StunMessage::parse(bytes) else {
                    return;
                };
                self.ice.handle_packet(
                    now,
                    StunPacket {
                        proto: Protocol::Udp,
                        source: from,
                        destination: self.address,
                        message,
                    },
                );
                self.ice.handle_timeout(now);
            }
            20..=63 => {
                let dtls = self.dtls.get_or_insert_with(|| {
                    (self.new_dtls)(self.dtls_config.clone(), self.certificate.clone(), now)
                });
                dtls.handle_timeout(now).unwrap();
                dtls.handle_packet(bytes).unwrap();
            }
            _ => self.handle_media(bytes),
        }
        self.drain(now);
    }

    fn handle_media(&mut self, bytes: &[u8]) {
        let Some(srtp) = &mut self.srtp else { return };
        if (192..=223).contains(&bytes[1]) {
            let report = srtp.remote.decrypt_rtcp(bytes).unwrap();
            self.reports.push(report.to_vec());
        } else if let Ok(packet) = srtp.remote.decrypt_rtp(bytes) {
            self.heard.push(packet.to_vec());
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if !self.alive {
            return;
        }
        self.ice.handle_timeout(now);
        if self.dtls_timeout.is_some_and(|at| at <= now)
            && let Some(dtls) = &mut self.dtls
        {
            let _ = dtls.handle_timeout(now);
        }
        self.drain(now);
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        if !self.alive {
            return None;
        }
        [self.ice.poll_timeout(), self.dtls_timeout]
            .into_iter()
            .flatten()
            .min()
    }

    fn drain(&mut self, now: Instant) {
        while let Some(transmit) = self.ice.poll_transmit() {
            self.outbox.push_back(Datagram {
                from: transmit.source,
                to: transmit.destination,
                bytes: transmit.contents.to_vec(),
            });
        }
        while let Some(event) = self.ice.poll_event() {
            if let IceAgentEvent::NominatedSend { destination, .. } = event {
                self.nominated = Some(destination);
                if self.is_client && self.dtls.is_none() {
                    let mut dtls =
                        (self.new_dtls)(self.dtls_config.clone(), self.certificate.clone(), now);
                    dtls.set_active(true);
                    dtls.handle_timeout(now).unwrap();
                    self.dtls = Some(dtls);
                }
            }
        }
        self.drain_dtls();
    }

    fn drain_dtls(&mut self) {
        let Some(dtls) = &mut self.dtls else { return };
        let mut buffer = vec![0; 4096];
        loop {
            match dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(packet) => {
                    if let Some(to) = self.nominated {
                        self.outbox.push_back(Datagram {
                            from: self.address,
                            to,
                            bytes: packet.to_vec(),
                        });
                    }
                }
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::CloseNotify => self.closed = true,
                dimpl::Output::KeyingMaterial(exported, profile) => {
                    self.srtp = Some(Srtp::new(&exported, profile, self.is_client));
                }
                dimpl::Output::Timeout(at) => {
                    self.dtls_timeout = Some(at);
                    return;
                }
                _ => {}
            }
        }
    }

    /// Sends 20 ms of audio.
    pub(crate) fn speak(&mut self, payload_type: u8, payload: &[u8]) {
        let packet = self.rtp(payload_type, payload);
        let sealed = self.seal(&packet);
        self.send(sealed);
    }

    /// The name of its stream, another for each browser.
    pub(crate) fn ssrc(&self) -> [u8; 4] {
        let port = self.address.port().to_be_bytes();
        [0xb0, 0, port[0], port[1]]
    }

    /// The next RTP packet, open.
    pub(crate) fn rtp(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let timestamp = u32::from(sequence.wrapping_sub(65_500)) * 160;
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc());
        packet.extend(payload);
        packet
    }

    pub(crate) fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let srtp = self.srtp.as_mut().expect("the browser is connected");
        srtp.local.encrypt_rtp(packet).unwrap().to_vec()
    }

    /// A sealed packet, or what looks like one when there are no keys.
    pub(crate) fn srtp_probe(&mut self) -> Vec<u8> {
        let packet = self.rtp(8, &[0xd5; 160]);
        match self.srtp {
            Some(_) => self.seal(&packet),
            None => packet,
        }
    }

    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        self.outbox.push_back(Datagram {
            from: self.address,
            to: self.nominated.expect("the browser has a pair"),
            bytes,
        });
    }

    /// Closes its peer connection as a page does.
    pub(crate) fn close(&mut self) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close().unwrap();
        }
        self.drain_dtls();
    }
}

impl Srtp {
    fn new(exported: &[u8], profile: dimpl::SrtpProfile, is_client: bool) -> Self {
        let (name, key, salt) = match profile {
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => {
                (ProtectionProfile::Aes128CmHmacSha1_80, 16, 14)
            }
            dimpl::SrtpProfile::AEAD_AES_128_GCM => (ProtectionProfile::AeadAes128Gcm, 16, 12),
            dimpl::SrtpProfile::AEAD_AES_256_GCM => (ProtectionProfile::AeadAes256Gcm, 32, 12),
            _ => unreachable!(),
        };
        let provider = AwsLcRsProvider::new();
        let context = |at: usize| {
            let key_at = at * key;
            let salt_at = 2 * key + at * salt;
            Context::new(
                &exported[key_at..key_at + key],
                &exported[salt_at..salt_at + salt],
                name,
                None,
                None,
                provider.crypto(),
            )
            .unwrap()
        };
        let (local, remote) = if is_client { (0, 1) } else { (1, 0) };
        Srtp {
            local: context(local),
            remote: context(remote),
        }
    }
}
