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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_sends_with_is_what_the_server_opens_with() {
        for profile in [
            SrtpProfile::Aes128CmSha1_80,
            SrtpProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm,
        ] {
            let exported: Vec<u8> = (0..exported_length(profile) as u8).collect();
            let client = Keys::from_dtls(profile, &exported, DtlsRole::Client).unwrap();
            let server = Keys::from_dtls(profile, &exported, DtlsRole::Server).unwrap();

            assert_eq!(client.local.key, server.remote.key);
            assert_eq!(client.local.salt, server.remote.salt);
            assert_eq!(client.remote.key, server.local.key);
            assert_eq!(client.remote.salt, server.local.salt);
        }
    }

    #[test]
    fn keys_come_before_salts_and_the_client_before_the_server() {
        let exported: Vec<u8> = (0..60).collect();
        let keys = Keys::from_dtls(SrtpProfile::Aes128CmSha1_80, &exported, DtlsRole::Server);
        let keys = keys.unwrap();

        assert_eq!(*keys.remote.key.reveal(), exported[0..16]);
        assert_eq!(*keys.local.key.reveal(), exported[16..32]);
        assert_eq!(*keys.remote.salt.reveal(), exported[32..46]);
        assert_eq!(*keys.local.salt.reveal(), exported[46..60]);
    }

    #[test]
    fn material_of_another_length_is_refused() {
        for length in [0, 55, 57, 60] {
            let exported = vec![0; length];
            let keys = Keys::from_dtls(SrtpProfile::AeadAes128Gcm, &exported, DtlsRole::Client);
            assert_eq!(keys.unwrap_err(), WrongLength);
        }
    }
}
