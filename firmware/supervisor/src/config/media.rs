//! `[media]`: sound, on both sides.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use iq::SrtpProfile;
use transport::crypto::{Wish, profile_name};
use transport::iq_socket::Door;

use super::fault;
use super::reader::{Fault, PortRange, section, text_value};

section! {
    /// Media: worker threads, their ports and addresses.
    Media = "media"
    /// Worker threads; 0 is one for each processor.
    workers: u16 = 0,
    /// Addresses on which browsers' media arrives. On a machine that browsers reach by
    /// several addresses name each: an answer leaves from the one that was asked.
    access_listen: Vec<IpAddr> = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    /// UDP port of the first worker; the next workers have the next ports.
    access_port: u16 = 24000,
    /// Addresses that browsers are told, best first. Empty: those of `access_listen` that
    /// are real, or if there is none, the address that the default route has.
    access_addresses: Vec<IpAddr> = Vec::new(),
    /// Address for media of the IMS. Unset: the address that signalling uses.
    ims_address: Option<IpAddr> = None,
    /// What the IMS is told instead, if the network between translates addresses.
    ims_advertised: Option<IpAddr> = None,
    /// UDP ports for media of the IMS: two for each call.
    ims_ports: PortRange = PortRange(30000..=49999),
    /// SRTP profiles that browsers may use: "gcm256", "gcm128", "cm80".
    srtp_profiles: Vec<Profile> = vec![
        Profile(SrtpProfile::AeadAes256Gcm),
        Profile(SrtpProfile::AeadAes128Gcm),
        Profile(SrtpProfile::Aes128CmSha1_80),
    ],
    /// DTLS 1.3 beside 1.2. Browsers then choose "cm80", which costs more per packet.
    dtls_13: bool = false,
    /// Calls held at once by each worker.
    calls_per_worker: usize = 2_000,
    /// How long a browser may take for the DTLS handshake.
    handshake_timeout: Duration = Duration::from_secs(10),
    /// How long to wait for a browser's first connectivity check.
    ice_timeout: Duration = Duration::from_secs(20),
    /// Silence of connectivity checks after which a browser is lost.
    consent_timeout: Duration = Duration::from_secs(10),
    /// Who seals and opens SRTP packets: "auto" measures the CPU and the kernel's crypto at
    /// start and takes for each size of packets whichever is faster; "cpu"; or "kernel" for
    /// all packets, faster or not. `gatehouse crypto` shows the figures.
    crypto: Crypto = Crypto(Wish::Auto),
    /// Drivers of the kernel's crypto to use instead of those that the kernel prefers, as
    /// /proc/crypto calls them, like "gcm-aes-caam".
    crypto_drivers: Vec<String> = Vec::new(),
    /// Whether media runs as a process of its own, `gatehouse media --config FILE`, with this
    /// same file: then calls are heard on while the rest of the box restarts.
    apart: bool = false,
    /// Unix socket on which that process takes commands.
    socket: PathBuf = PathBuf::from("/run/gatehouse/media.sock"),
    /// Permissions of the socket, like "0600" or "0660".
    socket_mode: Mode = Mode(0o600),
    /// Numbers of users whose processes the two take each other's word from, beside root and
    /// the user they run as themselves.
    socket_users: Vec<u32> = Vec::new(),
    /// How long calls go on in that process while there is nobody to steer them.
    alone_time: Duration = Duration::from_secs(300),
}

/// Permissions of a file, in octal as chmod(1) has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

impl std::str::FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mode = u32::from_str_radix(text, 8).map_err(|_| ())?;
        (mode <= 0o777).then_some(Mode(mode)).ok_or(())
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

text_value!(Mode, "permissions in octal, like \"0600\" or \"0660\"");

/// A wish for an engine by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crypto(pub(crate) Wish);

impl std::str::FromStr for Crypto {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Crypto(Wish::Auto)),
            "cpu" => Ok(Crypto(Wish::Cpu)),
            "kernel" => Ok(Crypto(Wish::Kernel)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Crypto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Wish::Auto => "auto",
            Wish::Cpu => "cpu",
            Wish::Kernel => "kernel",
        })
    }
}

text_value!(Crypto, "\"auto\", \"cpu\" or \"kernel\"");

/// An SRTP profile by its short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Profile(pub(crate) SrtpProfile);

impl std::str::FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "gcm256" => Ok(Profile(SrtpProfile::AeadAes256Gcm)),
            "gcm128" => Ok(Profile(SrtpProfile::AeadAes128Gcm)),
            "cm80" => Ok(Profile(SrtpProfile::Aes128CmSha1_80)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(profile_name(self.0))
    }
}

text_value!(Profile, "\"gcm256\", \"gcm128\" or \"cm80\"");

impl Media {
    pub(super) fn check(&self, faults: &mut Vec<Fault>) {
        let workers = self.worker_count();
        if usize::from(self.access_port) + workers > 65_536 || self.access_port == 0 {
            faults.push(fault(format!(
                "[media] access_port: {workers} workers need as many ports from it on"
            )));
        }
        if self.ims_ports.0.len() < 2 * workers + 1 {
            faults.push(fault(format!(
                "[media] ims_ports: too few for {workers} workers"
            )));
        }
        if self.access_listen.is_empty() || self.access_listen.len() > MOST_ADDRESSES {
            faults.push(fault(format!(
                "[media] access_listen: give one address, and no more than {MOST_ADDRESSES}"
            )));
        }
        if self.apart && !self.socket.is_absolute() {
            faults.push(fault(
                "[media] socket: must be a whole path, like \"/run/gatehouse/media.sock\", because \
                 two processes look for it",
            ));
        }
        if self.socket_mode.0 & 0o002 != 0 {
            faults.push(fault(
                "[media] socket_mode: must not let everybody write; use \"0660\" and a group",
            ));
        }
        if self.crypto.0 == Wish::Cpu && !self.crypto_drivers.is_empty() {
            faults.push(fault(
                "[media] crypto_drivers: are the kernel's, so set crypto = \"auto\" or \"kernel\"",
            ));
        }
        if self.srtp_profiles.is_empty() {
            faults.push(fault("[media] srtp_profiles: give at least one"));
        }
        let unspecified = |address: &Option<IpAddr>| address.is_some_and(|a| a.is_unspecified());
        if self.access_addresses.iter().any(IpAddr::is_unspecified)
            || unspecified(&self.ims_address)
            || unspecified(&self.ims_advertised)
        {
            faults.push(fault(
                "[media] access_addresses, ims_address, ims_advertised: peers are told them, so \
                 they must be real addresses",
            ));
        }
    }

    /// Who may connect to the socket.
    pub(crate) fn door(&self) -> Door {
        Door {
            users: self.socket_users.clone(),
            mode: self.socket_mode.0,
        }
    }

    /// Addresses that browsers are told; none if only the default route can say.
    pub(crate) fn told_addresses(&self) -> Vec<IpAddr> {
        if !self.access_addresses.is_empty() {
            return self.access_addresses.clone();
        }
        let mut addresses = self.access_listen.clone();
        addresses.retain(|address| !address.is_unspecified());
        addresses
    }

    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => usize::from(workers),
        }
    }

    /// The IMS ports of one worker: whole pairs, none shared.
    pub(crate) fn ims_ports_of(&self, worker: usize) -> std::ops::RangeInclusive<u16> {
        let (first, last) = (
            u32::from(*self.ims_ports.0.start()),
            u32::from(*self.ims_ports.0.end()),
        );
        let first = first + first % 2;
        let pairs = (last + 1).saturating_sub(first) / 2;
        let workers = u32::try_from(self.worker_count()).unwrap_or(1);
        let worker = u32::try_from(worker).unwrap_or(0);
        let from = first + 2 * (pairs * worker / workers);
        let to = first + 2 * (pairs * (worker + 1) / workers);
        let port = |port: u32| u16::try_from(port).unwrap_or(u16::MAX);
        port(from)..=port(to.saturating_sub(1))
    }
}

/// Each worker has a socket for each.
const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Config;

    #[test]
    fn an_engine_is_wished_for_by_its_name() {
        let with = |media: &str| {
            let text = format!(
                "[ims]\npcscf = \"192.0.2.1\"\nhome_domains = [\"ims.example.com\"]\n[media]\n{media}\n"
            );
            let faults = |faults: Vec<Fault>| faults[0].to_string();
            Config::parse(&text).map_err(faults)
        };
        assert_eq!(with("").unwrap().media.crypto, Crypto(Wish::Auto));
        for (name, wish) in [("cpu", Wish::Cpu), ("kernel", Wish::Kernel)] {
            let config = with(&format!("crypto = \"{name}\"")).unwrap();
            assert_eq!(config.media.crypto, Crypto(wish));
            assert_eq!(config.media.crypto.to_string(), name);
        }
        let refused = with("crypto = \"fast\"").unwrap_err();
        assert!(
            refused.contains("\"auto\", \"cpu\" or \"kernel\""),
            "{refused}"
        );
        let driver = "crypto_drivers = [\"gcm-aes-caam\"]";
        assert!(with(driver).is_ok());
        let refused = with(&format!("crypto = \"cpu\"\n{driver}")).unwrap_err();
        assert!(refused.contains("crypto_drivers"), "{refused}");
    }
}
