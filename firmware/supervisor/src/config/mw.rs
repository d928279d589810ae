//! `profile`, and for "mw" what the box is told as the P-CSCF of a network.

use signaling::SipTransport;
use signaling::config::{ForeignIdentity, MwConfig, Profile};

use super::ims::Ims;
use super::reader::text_value;

/// What the box is in a network, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProfileName {
    /// A terminal in front of a P-CSCF.
    Gm,
    /// The P-CSCF.
    Mw,
    /// The end of a SIP trunk.
    Trunk,
}

impl std::str::FromStr for ProfileName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "gm" => Ok(ProfileName::Gm),
            "mw" => Ok(ProfileName::Mw),
            "trunk" => Ok(ProfileName::Trunk),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for ProfileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProfileName::Gm => "gm",
            ProfileName::Mw => "mw",
            ProfileName::Trunk => "trunk",
        })
    }
}

text_value!(ProfileName, "\"gm\", \"mw\" or \"trunk\"");

/// What becomes of a caller's wish to be somebody else, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign(pub(crate) ForeignIdentity);

impl std::str::FromStr for Foreign {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "replace" => Ok(Foreign(ForeignIdentity::Replace)),
            "refuse" => Ok(Foreign(ForeignIdentity::Refuse)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            ForeignIdentity::Replace => "replace",
            ForeignIdentity::Refuse => "refuse",
        })
    }
}

text_value!(Foreign, "\"replace\" or \"refuse\"");

impl Ims {
    /// Finds what does not go together with the profile.
    pub(super) fn check_profile(&self, mut fault: impl FnMut(&str)) {
        if self.profile != ProfileName::Trunk {
            self.check_no_trunk(&mut fault);
        }
        match self.profile {
            ProfileName::Trunk => self.check_trunk(fault),
            ProfileName::Gm => {
                if self.pcscf.is_none() {
                    fault("pcscf: is missing; say where the P-CSCF is, like \"192.0.2.10:5060\"");
                }
                if self.icscf.is_some() {
                    fault(
                        "icscf: is for profile = \"mw\"; say that, or name the P-CSCF as `pcscf`",
                    );
                }
            }
            ProfileName::Mw => self.check_mw(fault),
        }
    }

    fn check_mw(&self, mut fault: impl FnMut(&str)) {
        if self.icscf.is_none() {
            fault("icscf: is missing; say where the I-CSCF is, like \"192.0.2.11:5060\"");
        }
        if self.pcscf.is_some() {
            fault(
                "pcscf: with profile = \"mw\" the box is the P-CSCF itself; name the I-CSCF as \
                 `icscf`",
            );
        }
        if self.transport.0 == Some(SipTransport::Tls) {
            fault(
                "transport: with profile = \"mw\" it is \"udp\" or \"tcp\"; the way to the core \
                 is secured below SIP (TS 33.210)",
            );
        }
        if self.port == 0 {
            fault("port: must not be 0; the core calls the box there");
        }
        let is_quotable = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
        let network = self.visited_network.as_ref();
        if network.is_some_and(|name| name.is_empty() || !name.chars().all(is_quotable)) {
            fault("visited_network: must be printable, without quotes, like \"gw.example.com\"");
        }
        let access = &self.access_network;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        if access.is_empty() || !access.chars().all(is_token) {
            fault("access_network: must be one word, like \"IEEE-802.11\" or \"IEEE-802.3\"");
        }
    }

    /// What the box is, as signaling knows it.
    pub(super) fn profile(&self) -> Profile {
        match self.profile {
            ProfileName::Gm => Profile::Gm,
            ProfileName::Trunk => self.trunk(),
            ProfileName::Mw => {
                let host = self.host.as_ref().map(|host| host.0.clone());
                let named = self.visited_network.clone();
                let network = named.or_else(|| {
                    let domain = self.home_domains.first().map(|domain| &domain.0);
                    Some(host.as_ref().or(domain)?.to_string())
                });
                Profile::Mw(Box::new(MwConfig {
                    host,
                    port: self.port,
                    access_network: self.access_network.clone(),
                    foreign_identity: self.foreign_identity.0,
                    gates_early_media: self.early_media_by_grant,
                    watches_registrations: self.reg_event,
                    ..MwConfig::new(&network.unwrap_or_default())
                }))
            }
        }
    }
}
