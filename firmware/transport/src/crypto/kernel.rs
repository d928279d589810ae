//! SRTP by the kernel's crypto (AF_ALG), where a board's engine sits: `gcm(aes)` for RFC
//! 7714, `ctr(aes)` and `hmac(sha1)` for RFC 3711. Each packet costs two system calls with
//! GCM and four with counter mode, so that it is worth its while only where an engine is
//! far faster than the CPU; calibration decides.
//!
//! The kernel's `authenc(hmac(sha1),ctr(aes))` does not fit: SRTP authenticates the
//! rollover counter behind the ciphertext (RFC 3711 §4.2).

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use iq::SrtpProfile;
use media::crypto::blocks::{counter_block, gcm_nonce, rtcp_associated, trailer};
use media::crypto::{Index, Job, Outcome, PROFILES, SessionKey, SrtpCipher, is_same_tag};

use super::proc_crypto;
use super::socket::{Direction, Family, Operation};

/// The kernel's ciphers.
#[derive(Clone, Debug)]
pub struct Kernel(Arc<Names>);

/// Under which names the kernel has what SRTP needs.
#[derive(Debug, Default)]
struct Names {
    gcm: Option<String>,
    counter_mode: Option<String>,
    hmac: Option<String>,
}

/// Why the kernel's crypto cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// There is no such kind of socket, or the process may not make one.
    #[error(
        "no AF_ALG sockets: the kernel needs CONFIG_CRYPTO_USER_API_SKCIPHER, _HASH and _AEAD \
         (modules algif_skcipher, algif_hash, algif_aead), and a systemd unit AF_ALG in \
         RestrictAddressFamilies ({0})"
    )]
    NoSockets(io::Error),
    /// There is, with none of the algorithms.
    #[error(
        "the kernel has neither gcm(aes) nor ctr(aes) with hmac(sha1) for programs: load \
         algif_aead, or algif_skcipher and algif_hash ({0})"
    )]
    NoAlgorithms(io::Error),
    /// A driver that was asked for is not there.
    #[error("no driver {name} of AES-GCM, AES-CTR or HMAC-SHA1: /proc/crypto lists those that are")]
    NoDriver {
        /// Which.
        name: String,
    },
}

impl Kernel {
    /// Looks for the algorithms: of the drivers named, as `/proc/crypto` has them, and
    /// otherwise the kernel's own choice, which is the one of the highest priority.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub fn find(drivers: &[String]) -> Result<Self, Unavailable> {
        let mut names = Names::default();
        let mut refusal = None;
        for (family, name) in [
            (Family::Aead, "gcm(aes)"),
            (Family::Skcipher, "ctr(aes)"),
            (Family::Hash, "hmac(sha1)"),
        ] {
            match Operation::open(family, name, &PROBE_KEY) {
                Ok(_) => *names.of(family) = Some(name.to_owned()),
                Err(error) if is_no_socket(&error) => return Err(Unavailable::NoSockets(error)),
                Err(error) => refusal = Some(error),
            }
        }
        for name in drivers {
            let family = [Family::Aead, Family::Skcipher, Family::Hash]
                .into_iter()
                .find(|&family| Operation::open(family, name, &PROBE_KEY).is_ok());
            let family = family.ok_or_else(|| Unavailable::NoDriver { name: name.clone() })?;
            *names.of(family) = Some(name.clone());
        }
        let kernel = Kernel(Arc::new(names));
        match refusal {
            Some(error) if kernel.profiles().is_empty() => Err(Unavailable::NoAlgorithms(error)),
            _ => Ok(kernel),
        }
    }

    /// The profiles that it has.
    #[must_use]
    pub fn profiles(&self) -> Vec<SrtpProfile> {
        let has = |profile: &SrtpProfile| match profile {
            SrtpProfile::Aes128CmSha1_80 => self.0.counter_mode.is_some() && self.0.hmac.is_some(),
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => self.0.gcm.is_some(),
        };
        PROFILES.into_iter().filter(has).collect()
    }

    fn suite(&self, profile: SrtpProfile, session: &SessionKey) -> Option<Suite> {
        let open = |family, name: &Option<String>, key: &[u8]| {
            Operation::open(family, name.as_deref()?, key).ok()
        };
        Some(match profile {
            SrtpProfile::Aes128CmSha1_80 => Suite::CounterMode {
                cipher: open(Family::Skcipher, &self.0.counter_mode, &session.encryption)?,
                mac: open(Family::Hash, &self.0.hmac, &session.authentication)?,
                salt: session.salt.as_slice().try_into().ok()?,
            },
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => Suite::Gcm {
                aead: open(Family::Aead, &self.0.gcm, &session.encryption)?,
                salt: session.salt.as_slice().try_into().ok()?,
            },
        })
    }
}

impl Names {
    fn of(&mut self, family: Family) -> &mut Option<String> {
        match family {
            Family::Aead => &mut self.gcm,
            Family::Skcipher => &mut self.counter_mode,
            Family::Hash => &mut self.hmac,
        }
    }
}

/// Which drivers serve it.
impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = proc_crypto::read();
        let names = [&self.0.gcm, &self.0.counter_mode, &self.0.hmac];
        let mut separator = "";
        for name in names.into_iter().flatten() {
            let driver = proc_crypto::driver(&known, name).unwrap_or(name);
            write!(f, "{separator}{driver}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Session keys that the kernel has expanded; each profile's algorithms are a descriptor
/// each.
#[derive(Debug)]
pub struct KernelKey {
    /// `None` if the kernel would not take the keys.
    suite: Option<Suite>,
    /// Whether an operation was left half done: what it gave out next could be the rest of
    /// another packet.
    is_broken: Cell<bool>,
}

#[derive(Debug)]
enum Suite {
    CounterMode {
        cipher: Operation,
        mac: Operation,
        salt: [u8; 14],
    },
    Gcm {
        aead: Operation,
        salt: [u8; 12],
    },
}

impl SrtpCipher for Kernel {
    type Key = KernelKey;

    fn key(&self, profile: SrtpProfile, session: &SessionKey) -> KernelKey {
        KernelKey {
            suite: self.suite(profile, session),
            is_broken: Cell::new(false),
        }
    }

    fn seal(&self, jobs: &mut [Job<'_, KernelKey>]) {
        for job in jobs {
            let key = job.key;
            job.outcome = key.try_on(|suite| suite.seal(job));
        }
    }

    fn open(&self, jobs: &mut [Job<'_, KernelKey>]) {
        for job in jobs {
            let key = job.key;
            job.outcome = key.try_on(|suite| suite.open(job));
        }
    }
}

impl KernelKey {
    /// After an error the key stays with the CPU: the socket may still hold the packet.
    fn try_on(&self, work: impl FnOnce(&Suite) -> io::Result<Outcome>) -> Outcome {
        let Some(suite) = self.suite.as_ref().filter(|_| !self.is_broken.get()) else {
            return Outcome::Failed;
        };
        work(suite).unwrap_or_else(|_| {
            self.is_broken.set(true);
            Outcome::Failed
        })
    }
}

/// What the kernel writes lands here and is copied once it is whole, so that a packet that
/// it fails at is as it was.
struct Scratch([u8; SCRATCH]);

impl Scratch {
    /// Room for a result; refused before the kernel has heard of the packet.
    fn room(&mut self, length: usize) -> io::Result<&mut [u8]> {
        let room = self.0.get_mut(..length);
        room.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl Suite {
    fn seal(&self, job: &mut Job<'_, KernelKey>) -> io::Result<Outcome> {
        let mut scratch = Scratch([0; SCRATCH]);
        let clear = job.clear();
        match self {
            Suite::CounterMode { cipher, mac, salt } => {
                let (header, body) = job.packet.split_at_mut(clear);
                let sealed = scratch.room(body.len())?;
                let vector = counter_block(salt, job.ssrc, job.index.number());
                counter_mode(cipher, &vector, body, sealed)?;
                let tag = authenticate(mac, &[header, sealed], job.index)?;
                body.copy_from_slice(sealed);
                let length = job.tag.len();
                job.tag.copy_from_slice(&tag[..length]);
            }
            Suite::Gcm { aead, salt } => {
                let nonce = gcm_nonce(salt, job.ssrc, job.index.number());
                let (header, body) = job.packet.split_at_mut(clear);
                let associated = Associated::new(header, job.index);
                let associated = associated.bytes(header);
                let parts = [IoSlice::new(associated), IoSlice::new(body)];
                let (before, length) = (associated.len(), body.len());
                let result = scratch.room(before + length + job.tag.len())?;
                aead.cipher(Direction::Encrypt, &nonce, before, &parts)?;
                aead.result(result)?;
                body.copy_from_slice(&result[before..before + length]);
                job.tag.copy_from_slice(&result[before + length..]);
            }
        }
        Ok(Outcome::Done)
    }

    fn open(&self, job: &mut Job<'_, KernelKey>) -> io::Result<Outcome> {
        let mut scratch = Scratch([0; SCRATCH]);
        let clear = job.clear();
        match self {
            Suite::CounterMode { cipher, mac, salt } => {
                let tag = authenticate(mac, &[job.packet], job.index)?;
                if !is_same_tag(&tag[..job.tag.len()], job.tag) {
                    return Ok(Outcome::Refused);
                }
                let body = &mut job.packet[clear..];
                let opened = scratch.room(body.len())?;
                let vector = counter_block(salt, job.ssrc, job.index.number());
                counter_mode(cipher, &vector, body, opened)?;
                body.copy_from_slice(opened);
            }
            Suite::Gcm { aead, salt } => {
                let nonce = gcm_nonce(salt, job.ssrc, job.index.number());
                let (header, body) = job.packet.split_at_mut(clear);
                let associated = Associated::new(header, job.index);
                let associated = associated.bytes(header);
                let parts = [
                    IoSlice::new(associated),
                    IoSlice::new(body),
                    IoSlice::new(job.tag),
                ];
                let before = associated.len();
                let result = scratch.room(before + body.len())?;
                aead.cipher(Direction::Decrypt, &nonce, before, &parts)?;
                match aead.result(result) {
                    Err(error) if error.raw_os_error() == Some(libc::EBADMSG) => {
                        return Ok(Outcome::Refused);
                    }
                    result => result?,
                }
                body.copy_from_slice(&result[before..]);
            }
        }
        Ok(Outcome::Done)
    }
}

/// What GCM authenticates in front of a packet's body: the header of RTP as it stands, and
/// with RTCP the index behind it.
enum Associated {
    Header,
    Rtcp([u8; 12]),
}

impl Associated {
    fn new(header: &[u8], index: Index) -> Self {
        match index {
            Index::Rtp { .. } => Associated::Header,
            Index::Rtcp { index } => Associated::Rtcp(rtcp_associated(header, index)),
        }
    }

    fn bytes<'a>(&'a self, header: &'a [u8]) -> &'a [u8] {
        match self {
            Associated::Header => header,
            Associated::Rtcp(octets) => octets,
        }
    }
}

fn counter_mode(
    cipher: &Operation,
    vector: &[u8; 16],
    text: &[u8],
    into: &mut [u8],
) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    cipher.cipher(Direction::Encrypt, vector, 0, &[IoSlice::new(text)])?;
    cipher.result(into)
}

/// HMAC-SHA1 over a packet of one or two parts and what stands behind it.
fn authenticate(mac: &Operation, packet: &[&[u8]], index: Index) -> io::Result<[u8; DIGEST]> {
    let trailer = trailer(index);
    let mut digest = [0; DIGEST];
    match packet {
        [one] => mac.hash(&[IoSlice::new(one), IoSlice::new(&trailer)])?,
        [one, two] => mac.hash(&[IoSlice::new(one), IoSlice::new(two), IoSlice::new(&trailer)])?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    mac.result(&mut digest)?;
    Ok(digest)
}

/// The kernel, or the unit that systemd runs us in, knows no such sockets.
fn is_no_socket(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EPERM | libc::EACCES)
    )
}

/// Any key, to see whether an algorithm is there: AES and HMAC both take 16 octets.
const PROBE_KEY: [u8; 16] = [0; 16];
const DIGEST: usize = 20;
/// The longest packet with its tag and what is authenticated before it.
const SCRATCH: usize = 2048;
