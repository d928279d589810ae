//! P-Charging-Vector, RFC 7315 §4.6.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;

/// What all charging records of one session, or of one registration, have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PChargingVector {
    /// `icid-value` and what else there is; nothing of it means anything to this box but
    /// the names below.
    pub params: Params,
}

impl PChargingVector {
    /// A vector with an ICID of its own, made at a host.
    #[must_use]
    pub fn new(icid: &str, generated_at: &str) -> Self {
        let mut params = Params::default();
        params.set("icid-value", format!("\"{icid}\""));
        params.set("icid-generated-at", generated_at);
        PChargingVector { params }
    }

    /// The identity of the session for charging.
    #[must_use]
    pub fn icid(&self) -> Option<String> {
        self.params.unquoted("icid-value")
    }

    /// The network that the request comes from.
    #[must_use]
    pub fn orig_ioi(&self) -> Option<String> {
        self.params.unquoted("orig-ioi")
    }

    /// The network that the response comes from.
    #[must_use]
    pub fn term_ioi(&self) -> Option<String> {
        self.params.unquoted("term-ioi")
    }

    /// With the network that a request comes from, and none that a response does.
    #[must_use]
    pub fn from_network(mut self, ioi: &str) -> Self {
        self.params.remove("term-ioi");
        self.params.set("orig-ioi", format!("\"{ioi}\""));
        self
    }

    /// With the network that a response comes from.
    #[must_use]
    pub fn answered_by_network(mut self, ioi: &str) -> Self {
        self.params.set("term-ioi", format!("\"{ioi}\""));
        self
    }
}

impl Typed for PChargingVector {
    const NAME: HeaderName = HeaderName::PChargingVector;

    fn parse(value: &str) -> Option<Self> {
        let params = Params::parse(&format!(";{value}"))?;
        params
            .has("icid-value")
            .then_some(PChargingVector { params })
    }
}

impl fmt::Display for PChargingVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.params.as_str().trim_start_matches(';'))
    }
}
