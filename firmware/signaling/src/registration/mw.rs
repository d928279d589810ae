//! What a P-CSCF adds to a REGISTER on its way to the I-CSCF, TS 24.229 §5.2.2, and how it
//! vouches for how the user came (`integrity-protected`, TS 24.229 §7.2A.2).

use serde::{Deserialize, Serialize};

use std::net::IpAddr;

use crate::config::MwConfig;
use crate::message::headers::PChargingVector;
use crate::message::{Header, HeaderName, Headers, Host, NameAddr, SipUri};

/// How a REGISTER came to the box. Only the box may say it: what a browser says about it
/// never crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Integrity {
    /// By TLS, as every WebSocket from elsewhere.
    pub(super) is_secure: bool,
    /// On the connection that the core has accepted this user on.
    pub(super) is_bound: bool,
    /// From a user whom the box itself has authenticated.
    #[serde(default)]
    pub(super) is_proven: bool,
}

impl Integrity {
    fn as_str(self) -> &'static str {
        if self.is_proven {
            return "auth-done"; // Trusted Node Authentication, TS 33.203 Annex U.
        }
        match (self.is_secure, self.is_bound) {
            (true, false) => "tls-pending",
            (true, true) => "tls-yes",
            (false, false) => "ip-assoc-pending",
            (false, true) => "ip-assoc-yes",
        }
    }
}

/// What is added.
pub(super) struct Additions<'a> {
    pub(super) config: &'a MwConfig,
    /// Our own Path, with the user's flow token.
    pub(super) path: SipUri,
    /// The charging identity of this REGISTER alone.
    pub(super) icid: String,
    pub(super) address: IpAddr,
    pub(super) integrity: Integrity,
    /// Whether the browser registers a flow, RFC 5626 §4.2.
    pub(super) is_outbound: bool,
    /// Whether it wants names for its device alone, RFC 5627 §4.2.
    pub(super) wants_gruu: bool,
}

impl Additions<'_> {
    /// Adds it.
    pub(super) fn add(self, headers: &mut Headers) {
        let path = self.path.with_flag("lr");
        let path = if self.is_outbound {
            path.with_flag("ob")
        } else {
            path
        };
        let outbound = self.is_outbound.then_some("outbound");
        let gruu = self.wants_gruu.then_some("gruu");
        let supported: Vec<_> = ["path"].into_iter().chain(outbound).chain(gruu).collect();
        headers.push(HeaderName::Path, NameAddr::new(path).to_string());
        headers.push(HeaderName::Supported, supported.join(", "));
        headers.push(HeaderName::Require, "path");
        let network = &self.config.network;
        headers.push(HeaderName::PVisitedNetworkId, format!("\"{network}\""));
        let at = Host::from(self.address).to_string();
        headers.push_typed(&PChargingVector::new(&self.icid, &at).from_network(network));
        headers.push(HeaderName::PAccessNetworkInfo, self.config.access_info());
        vouch(headers, self.integrity);
    }
}

/// Adds `integrity-protected` to the credentials, which stay as they are otherwise.
fn vouch(headers: &mut Headers, integrity: Integrity) {
    let name = HeaderName::Authorization;
    let Some(credentials) = headers.text(&name).map(str::to_owned) else {
        return;
    };
    headers.remove(&name);
    let value = format!(
        "{credentials}, integrity-protected=\"{}\"",
        integrity.as_str()
    );
    headers.push_header(Header::new(name, value));
}
