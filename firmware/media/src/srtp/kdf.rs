//! Session keys out of master keys: RFC 3711 §4.3 with a key derivation rate of zero, and
//! RFC 7714 §11 for GCM.

use iq::SrtpProfile;

use super::MasterKey;
use crate::crypto::{Purpose, SessionKey, cpu};

/// Derives the session keys of one direction.
pub(crate) fn session_key(
    profile: SrtpProfile,
    master: &MasterKey,
    purpose: Purpose,
) -> SessionKey {
    let first_label = match purpose {
        Purpose::Rtp => 0,
        Purpose::Rtcp => 3,
    };
    let master_key = master.key.reveal();
    let derive = |label, length| {
        let counter = counter_block(master.salt.reveal(), first_label + label);
        cpu::keystream(master_key, counter, length)
    };
    SessionKey {
        purpose,
        encryption: derive(ENCRYPTION, master_key.len()),
        authentication: derive(
            AUTHENTICATION,
            match profile {
                SrtpProfile::Aes128CmSha1_80 => 20,
                SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => 0,
            },
        ),
        salt: derive(SALT, master.salt.reveal().len()),
    }
}

/// The master salt in fourteen octets (GCM's twelve, then zeroes), its label, two octets
/// that count blocks.
fn counter_block(salt: &[u8], label: u8) -> [u8; 16] {
    let mut block = [0; 16];
    block[..salt.len()].copy_from_slice(salt);
    block[7] ^= label;
    block
}

const ENCRYPTION: u8 = 0;
const AUTHENTICATION: u8 = 1;
const SALT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::conformance::unhex;

    fn master() -> MasterKey {
        MasterKey::new(
            SrtpProfile::Aes128CmSha1_80,
            &unhex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &unhex("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap()
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_appendix_b3() {
        let derived = session_key(SrtpProfile::Aes128CmSha1_80, &master(), Purpose::Rtp);

        assert_eq!(
            derived.encryption,
            unhex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(derived.salt, unhex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derived.authentication,
            unhex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    #[test]
    fn the_authentication_key_goes_on_as_in_rfc_3711_appendix_b3() {
        let master = master();
        let counter = counter_block(master.salt.reveal(), AUTHENTICATION);

        assert_eq!(
            cpu::keystream(master.key.reveal(), counter, 94),
            unhex(
                "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE\
                 E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25\
                 6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2"
            )
        );
    }

    #[test]
    fn rtp_and_rtcp_share_no_key() {
        let profile = SrtpProfile::Aes128CmSha1_80;
        let rtp = session_key(profile, &master(), Purpose::Rtp);
        let rtcp = session_key(profile, &master(), Purpose::Rtcp);

        assert_ne!(rtp.encryption, rtcp.encryption);
        assert_ne!(rtp.authentication, rtcp.authentication);
        assert_ne!(rtp.salt, rtcp.salt);
    }
}
