//! SRTP keys out of the DTLS exporter, RFC 5764 §4.2.

use iq::{DtlsRole, SrtpProfile};

use super::MasterKey;

/// The keys of both directions of a leg.
#[derive(Clone, Debug)]
pub struct Keys {
    /// What they are for.
    pub profile: SrtpProfile,
    /// What we seal with.
    pub local: MasterKey,
    /// What the peer seals with.
    pub remote: MasterKey,
}

impl Keys {
    /// Splits what the DTLS exporter gave under [`EXPORTER_LABEL`]; `role` is ours.
    ///
    /// # Errors
    /// [`WrongLength`] when it is not [`exported_length`] long.
    pub fn from_dtls(
        profile: SrtpProfile,
        exported: &[u8],
        role: DtlsRole,
    ) -> Result<Self, WrongLength> {
        if exported.len() != exported_length(profile) {
            return Err(WrongLength);
        }
        let (key, salt) = (key_length(profile), salt_length(profile));
        let (keys, salts) = exported.split_at(2 * key);
        let client = MasterKey::new(profile, &keys[..key], &salts[..salt])?;
        let server = MasterKey::new(profile, &keys[key..], &salts[salt..])?;
        let (local, remote) = match role {
            DtlsRole::Client => (client, server),
            DtlsRole::Server => (server, client),
        };
        Ok(Keys {
            profile,
            local,
            remote,
        })
    }
}

impl MasterKey {
    /// Takes a master key and salt of the lengths that the profile asks for.
    ///
    /// # Errors
    /// [`WrongLength`] when they are not.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, WrongLength> {
        if key.len() != key_length(profile) || salt.len() != salt_length(profile) {
            return Err(WrongLength);
        }
        Ok(MasterKey {
            key: key.to_vec().into(),
            salt: salt.to_vec().into(),
        })
    }
}

/// Keying material of a length that does not fit the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keying material of the wrong length")]
pub struct WrongLength;

/// How much to ask of the DTLS exporter.
#[must_use]
pub const fn exported_length(profile: SrtpProfile) -> usize {
    2 * (key_length(profile) + salt_length(profile))
}

/// Octets of a master key; RFC 5764 §4.1.2 and RFC 7714 §12.
pub(crate) const fn key_length(profile: SrtpProfile) -> usize {
    match profile {
        SrtpProfile::Aes128CmSha1_80 | SrtpProfile::AeadAes128Gcm => 16,
        SrtpProfile::AeadAes256Gcm => 32,
    }
}

/// Octets of a master salt; RFC 5764 §4.1.2 and RFC 7714 §12.
pub(crate) const fn salt_length(profile: SrtpProfile) -> usize {
    match profile {
        SrtpProfile::Aes128CmSha1_80 => 14,
        SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 12,
    }
}

/// The exporter's label, without context. RFC 5764 §4.2.
pub const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
