//! What the box is told when it is the P-CSCF of a network itself (Mw).

use super::HostName;

/// The settings of [`Profile::Mw`](super::Profile::Mw).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MwConfig {
    /// The name by which Via, Path and Contact call the box, for the core to look up;
    /// without one they name its address.
    pub host: Option<HostName>,
    /// The port of all its users towards the core, for UDP and TCP.
    pub port: u16,
    /// What P-Visited-Network-ID and the IOIs of P-Charging-Vector call this network.
    pub network: String,
    /// The access type that P-Access-Network-Info says on the network's behalf,
    /// RFC 7315 §4.4: no type of its own stands for a browser.
    pub access_network: String,
    /// What becomes of a caller's wish to be somebody else.
    pub foreign_identity: ForeignIdentity,
    /// Whether a browser hears early media only where P-Early-Media grants it (RFC 5009,
    /// TS 24.229 §5.2.7.2); else its own ringback tone.
    pub gates_early_media: bool,
    /// Whether the box subscribes to what becomes of its users' registrations (RFC 3680,
    /// TS 24.229 §5.2.3).
    pub watches_registrations: bool,
}

impl MwConfig {
    /// The defaults around the name of the network.
    #[must_use]
    pub fn new(network: &str) -> Self {
        MwConfig {
            host: None,
            port: 5060,
            network: network.to_owned(),
            access_network: "IEEE-802.11".to_owned(),
            foreign_identity: ForeignIdentity::Replace,
            gates_early_media: true,
            watches_registrations: true,
        }
    }

    /// The value of P-Access-Network-Info.
    pub(crate) fn access_info(&self) -> String {
        format!("{};network-provided", self.access_network)
    }
}

/// What becomes of a From or P-Preferred-Identity that is not the caller's own,
/// TS 24.229 §5.2.6.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForeignIdentity {
    /// The call is made in the name of the identity he registered.
    #[default]
    Replace,
    /// 403.
    Refuse,
}
