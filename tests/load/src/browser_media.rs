//! A browser's media end of W3: ICE as the controlling agent, DTLS as the client and SRTP, on
//! implementations that share no line with the product's (rtc-dtls, rtc-srtp).

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use crate::stun;

/// Which protection the browser offers; it offers just one, so that the box has no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// AES128_CM_HMAC_SHA1_80.
    Cm,
    /// AEAD_AES_128_GCM.
    Gcm,
}

/// What every scripted browser of a run shares: one certificate, as tabs of one browser do.
pub(crate) struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    config: Arc<HandshakeConfig>,
    /// `a=fingerprint` value of the certificate.
    pub(crate) fingerprint: String,
    profile: Profile,
}

impl Identity {
    pub(crate) fn new(profile: Profile) -> Result<Self> {
        let provider = rtc_crypto::default_provider().context("crypto provider")?;
        let certificate =
            Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto())
                .context("certificate of the scripted browser")?;
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            certificate.certificate[0].as_ref(),
        );
        let hex: Vec<String> = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        let offered = match profile {
            Profile::Cm => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            Profile::Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        };
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![offered])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
            .context("DTLS configuration of the scripted browser")?;
        Ok(Identity {
            provider,
            config: Arc::new(config),
            fingerprint: format!("sha-256 {}", hex.join(":")),
            profile,
        })
    }
}

/// The other side's end, from its session description.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: SocketAddr,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

/// One browser's media transport.
pub(crate) struct BrowserMedia {
    socket: UdpSocket,
    /// Its own ICE credentials.
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    remote: Option<Remote>,
    outbound: Option<Context>,
    inbound: Option<Context>,
    checks: u64,
    next_check: Instant,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// RTP packets sent, and received after authentication.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Arrivals that were not accepted by SRTP.
    pub(crate) refused: u64,
}

impl BrowserMedia {
    /// Binds a port of its own on the loopback.
    pub(crate) fn new(seed: u64) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").context("port of a scripted browser")?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(BrowserMedia {
            socket,
            ufrag: format!("u{seed:07x}"),
            pwd: format!("password-of-browser-{seed:08x}"),
            remote: None,
            outbound: None,
            inbound: None,
            checks: 0,
            next_check: Instant::now(),
            ssrc: 0x1000_0000 | seed as u32,
            sequence: seed as u16,
            timestamp: seed as u32 * 77,
            sent: 0,
            received: 0,
            refused: 0,
        })
    }

    /// Where the browser listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// Does ICE and DTLS; returns how long they took together.
    pub(crate) fn connect(&mut self, identity: &Identity, remote: Remote) -> Result<Duration> {
        let start = Instant::now();
        let far = remote.address;
        self.remote = Some(remote);
        let mut dtls = Endpoint::new(self.address()?, TransportProtocol::UDP, None);
        let mut validated = false;
        let mut started = false;
        let mut buffer = [0_u8; 2048];
        loop {
            let now = Instant::now();
            if now.duration_since(start) > GIVE_UP {
                bail!(
                    "no {} within {GIVE_UP:?}",
                    if validated { "DTLS" } else { "ICE" }
                );
            }
            self.keep_checking(now)?;
            if validated && !started {
                dtls.connect(now, far, identity.config.clone(), None)
                    .context("DTLS start")?;
                started = true;
            }
            if started {
                dtls.handle_timeout(far, now)
                    .context("DTLS retransmission")?;
            }
            self.flush(&mut dtls, far)?;
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            let datagram = &buffer[..length];
            match (stun::kind(datagram), datagram.first()) {
                (Some(stun::Kind::Success), _) => validated = true,
                (Some(stun::Kind::Request), _) => {
                    self.socket
                        .send_to(&stun::answer(datagram, from, &self.pwd), from)?;
                }
                // rtpengine sends a ClientHello of its own although it was told to be passive.
                (None, Some(20..=63)) if started && !is_client_hello(datagram) => {
                    let events = dtls
                        .read(Instant::now(), far, None, BytesMut::from(datagram))
                        .context("DTLS handshake")?;
                    self.flush(&mut dtls, far)?;
                    if events
                        .iter()
                        .any(|e| matches!(e, EndpointEvent::HandshakeComplete))
                    {
                        self.take_keys(&dtls, far, identity)?;
                        self.socket.set_nonblocking(true)?;
                        return Ok(start.elapsed());
                    }
                }
                _ => {}
            }
        }
    }

    fn flush(&self, dtls: &mut Endpoint, far: SocketAddr) -> Result<()> {
        while let Some(datagram) = dtls.poll_transmit() {
            self.socket.send_to(&datagram.message, far)?;
        }
        Ok(())
    }

    fn take_keys(&mut self, dtls: &Endpoint, far: SocketAddr, identity: &Identity) -> Result<()> {
        let state = dtls.get_connection_state(far).context("DTLS state")?;
        let profile = match identity.profile {
            Profile::Cm => ProtectionProfile::Aes128CmHmacSha1_80,
            Profile::Gcm => ProtectionProfile::AeadAes128Gcm,
        };
        let mut config = rtc_srtp::config::Config {
            profile,
            ..Default::default()
        };
        let material = state
            .export_keying_material(
                rtc_srtp::config::LABEL_EXTRACTOR_DTLS_SRTP,
                &[],
                config.keying_material_len(),
            )
            .context("DTLS exporter")?;
        config.set_session_keys_from_keying_material(material.as_ref(), true)?;
        let crypto = identity.provider.crypto();
        let keys = &config.keys;
        self.outbound = Some(Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto,
        )?);
        self.inbound = Some(Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(rtc_srtp::option::srtp_replay_protection(64)),
            None,
            crypto,
        )?);
        Ok(())
    }

    /// Sends a connectivity check when one is due: fast at first, then every 2.5 s as Chromium does.
    pub(crate) fn keep_checking(&mut self, now: Instant) -> Result<()> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        if now < self.next_check {
            return Ok(());
        }
        self.checks += 1;
        let pause = if self.outbound.is_some() { 2500 } else { 50 };
        self.next_check = now + Duration::from_millis(pause);
        let mut transaction = [0_u8; 12];
        transaction[..4].copy_from_slice(&self.ssrc.to_be_bytes());
        transaction[4..].copy_from_slice(&self.checks.to_be_bytes());
        let username = format!("{}:{}", remote.ufrag, self.ufrag);
        let check = stun::nominating_check(transaction, &username, &remote.pwd);
        self.socket.send_to(&check, remote.address)?;
        Ok(())
    }

    /// The next 20 ms of audio as a protected packet, ready to be sent.
    pub(crate) fn next_packet(&mut self, payload_type: u8) -> Result<BytesMut> {
        let mut packet = [0xd5_u8; 172];
        packet[0] = 0x80;
        packet[1] = payload_type;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        let outbound = self.outbound.as_mut().context("not connected")?;
        Ok(outbound.encrypt_rtp(&packet)?)
    }

    /// Sends what `next_packet` made.
    pub(crate) fn send(&mut self, packet: &[u8]) -> Result<()> {
        let remote = self.remote.as_ref().context("not connected")?;
        match self.socket.send_to(packet, remote.address) {
            Ok(_) => self.sent += 1,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes everything that has arrived; opens SRTP when `open` says so, else only counts it.
    pub(crate) fn drain(&mut self, open: bool) -> Result<()> {
        let mut buffer = [0_u8; 2048];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let datagram = &buffer[..length];
            match stun::kind(datagram) {
                Some(stun::Kind::Request) => {
                    self.socket
                        .send_to(&stun::answer(datagram, from, &self.pwd), from)?;
                }
                Some(_) => {}
                None if is_rtp(datagram) => match self.inbound.as_mut() {
                    Some(inbound) if open => match inbound.decrypt_rtp(datagram) {
                        Ok(_) => self.received += 1,
                        Err(_) => self.refused += 1,
                    },
                    _ => self.received += 1,
                },
                None => {}
            }
        }
        Ok(())
    }
}

/// RTP and not RTCP, RFC 5761 §4.
pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= 12
        && (128..=191).contains(&datagram[0])
        && !(192..=223).contains(&datagram[1])
}

/// A record of type handshake that begins with a ClientHello, RFC 6347 §4.2.2.
fn is_client_hello(datagram: &[u8]) -> bool {
    datagram[0] == 22 && datagram.get(13) == Some(&1)
}

const GIVE_UP: Duration = Duration::from_secs(20);
