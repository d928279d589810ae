//! The site's key: where it comes from, and the keys that are made of it.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::StoreError;
use crate::config::{Credentials, State};

/// What seals records, names their files, and derives passwords.
pub(super) struct SiteKey {
    seal: LessSafeKey,
    names: hmac::Key,
    derive: hmac::Key,
    id: KeyId,
}

/// Tells one site key from another without telling anything about it.
pub(super) type KeyId = [u8; 8];

impl SiteKey {
    /// Reads it from where the settings say.
    pub(super) fn load(settings: &Credentials, state: &State) -> Result<Self, StoreError> {
        let path = source(settings)?;
        let is_given = settings.key_file.is_some();
        if is_given {
            check_place(&path, settings, state)?;
        }
        let unreadable = |error: std::io::Error| StoreError::KeyUnreadable {
            path: path.clone(),
            error,
        };
        let mut file = fs::File::open(&path).map_err(unreadable)?;
        let is_open_to_others = file.metadata().map_err(unreadable)?.mode() & 0o077 != 0;
        if is_given && is_open_to_others {
            return Err(StoreError::KeyIsOpen(path));
        }
        let mut material = Zeroizing::new(Vec::with_capacity(MATERIAL_MAX));
        let limit = u64::try_from(MATERIAL_MAX).unwrap_or(u64::MAX);
        file.by_ref()
            .take(limit)
            .read_to_end(&mut material)
            .map_err(unreadable)?;
        SiteKey::of(&material).ok_or(StoreError::KeyTooShort(path))
    }

    /// The keys that are made of a site's. `None` if it is too short.
    pub(super) fn of(material: &[u8]) -> Option<Self> {
        let digits = material.trim_ascii();
        let material = match (digits.len(), unhex(digits)) {
            (64, Some(bytes)) => bytes,
            _ => Zeroizing::new(material.to_vec()),
        };
        if material.len() < 32 {
            return None;
        }
        let made = |purpose: &str| {
            let mut key = Zeroizing::new([0; 32]);
            Salt::new(HKDF_SHA256, b"gatehouse credentials")
                .extract(&material)
                .expand(&[purpose.as_bytes()], Length32)
                .and_then(|okm| okm.fill(&mut key[..]))
                .expect("HKDF makes 32 bytes of anything");
            key
        };
        let seal = UnboundKey::new(&AES_256_GCM, &made("seal")[..]).expect("32 bytes are a key");
        let names = hmac::Key::new(HMAC_SHA256, &made("names")[..]);
        let mut id = KeyId::default();
        id.copy_from_slice(&hmac::sign(&names, b"id").as_ref()[..8]);
        Some(SiteKey {
            seal: LessSafeKey::new(seal),
            names,
            derive: hmac::Key::new(HMAC_SHA256, &material),
            id,
        })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The name of a user's file: it tells nobody who he is.
    pub(super) fn file_name(&self, identity: &str) -> String {
        let tag = hmac::sign(&self.names, format!("user {identity}").as_bytes());
        hex(&tag.as_ref()[..16])
    }

    /// HMAC-SHA-256 of an identity under the site's key.
    pub(super) fn derived_password(&self, identity: &str) -> Zeroizing<String> {
        Zeroizing::new(hex(hmac::sign(&self.derive, identity.as_bytes()).as_ref()))
    }

    /// Encrypts; the nonce goes in front.
    pub(super) fn seal(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; 12];
        rand::fill(&mut nonce).map_err(|_| StoreError::NoChance)?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(aad);
        let nonce_value = Nonce::assume_unique_for_key(nonce);
        self.seal
            .seal_in_place_append_tag(nonce_value, aad, &mut sealed)
            .map_err(|_| StoreError::NoChance)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(bytes)
    }

    /// Decrypts. `None` if a bit of it is not what was sealed.
    pub(super) fn open(&self, aad: &[u8], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = bytes.split_first_chunk::<12>()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .seal
            .open_in_place(nonce, Aad::from(aad), &mut plain)
            .ok()?
            .len();
        plain.truncate(len);
        Some(plain)
    }
}

/// Where the key is.
fn source(settings: &Credentials) -> Result<PathBuf, StoreError> {
    if let Some(file) = &settings.key_file {
        return Ok(file.clone());
    }
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    let file = folder.map(|folder| Path::new(&folder).join(settings.key_name()));
    file.filter(|file| file.exists())
        .ok_or_else(|| StoreError::NoKey(settings.key_name().to_owned()))
}

/// The settings' check knows names; here links and `..` are resolved too.
fn check_place(path: &Path, settings: &Credentials, state: &State) -> Result<(), StoreError> {
    let Ok(real) = path.canonicalize() else {
        return Ok(()); // It cannot be read either, which is said with the reason.
    };
    let folders = [state.folder.clone(), settings.path(state)];
    let mut real_folders = folders.iter().filter_map(|it| it.canonicalize().ok());
    if real_folders.any(|folder| real.starts_with(folder)) {
        return Err(StoreError::KeyBeside(path.to_owned()));
    }
    Ok(())
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Reads hexadecimal digits. `None` if they are not that.
pub(super) fn unhex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

/// More of a key than this is not read.
const MATERIAL_MAX: usize = 4096;
