//! What a P-CSCF says about a call in the core, and what it hears there: charging, where
//! the user is, and who he is. TS 24.229 §5.2.6.3 (calls out), §5.2.6.4 (calls in), §4.5
//! (charging correlation); RFC 7315, RFC 3325.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::MwConfig;
use crate::event::Charging;
use crate::message::headers::PChargingVector;
use crate::message::{HeaderName, Headers, Host, Method, NameAddr, Response, StatusCode, Uri};

/// One call, as the P-CSCF of its user sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visited {
    network: String,
    access_info: String,
    /// The same ICID in all that is said in the call.
    icid: PChargingVector,
    /// The vector of the INVITE that came from the core: answers repeat it.
    asked: Option<PChargingVector>,
    term_ioi: Option<String>,
    /// The identity that the box vouches for.
    asserted: Uri,
}

impl Visited {
    /// A call of the user's.
    pub(crate) fn calling(mw: &MwConfig, at: IpAddr, icid: &str, asserted: Uri) -> Self {
        Visited {
            network: mw.network.clone(),
            access_info: mw.access_info(),
            icid: PChargingVector::new(icid, &Host::from(at).to_string()),
            asked: None,
            term_ioi: None,
            asserted,
        }
    }

    /// A call to the user; `icid` goes for an INVITE that has none.
    pub(crate) fn called(
        mw: &MwConfig,
        at: IpAddr,
        icid: &str,
        invite: &Headers,
        asserted: Uri,
    ) -> Self {
        let asked = invite.p_charging_vector().ok().flatten();
        let mut visited = Visited::calling(mw, at, icid, asserted);
        if let Some(asked) = &asked {
            let mut icid = asked.clone();
            for network in ["orig-ioi", "term-ioi"] {
                icid.params.remove(network);
            }
            visited.icid = icid;
        }
        Visited { asked, ..visited }
    }

    /// Says it in a request to the core.
    pub(crate) fn dress_request(&self, method: &Method, headers: &mut Headers) {
        if matches!(method, Method::Ack | Method::Cancel) {
            return;
        }
        let vector = self.icid.clone().from_network(&self.network);
        headers.set(&vector);
        headers.replace(HeaderName::PAccessNetworkInfo, self.access_info.as_str());
        let is_first = headers.to().is_ok_and(|to| to.tag().is_none());
        if is_first {
            let asserted = NameAddr::new(self.asserted.clone());
            headers.replace(HeaderName::PAssertedIdentity, asserted.to_string());
        }
        if is_first && *method == Method::Invite {
            // RFC 5009 §8: what the network says about early media is understood here.
            headers.replace(HeaderName::PEarlyMedia, "supported");
        }
    }

    /// Says it in an answer to the core.
    pub(crate) fn dress_response(&self, response: &mut Response) {
        if response.status == StatusCode::TRYING {
            return;
        }
        let vector = self.asked.clone().unwrap_or_else(|| self.icid.clone());
        response
            .headers
            .set(&vector.answered_by_network(&self.network));
        let cseq = response.headers.cseq();
        if cseq.is_ok_and(|cseq| cseq.method == Method::Invite) && response.status.code() < 300 {
            let headers = &mut response.headers;
            headers.replace(HeaderName::PAccessNetworkInfo, self.access_info.as_str());
            let asserted = NameAddr::new(self.asserted.clone());
            headers.replace(HeaderName::PAssertedIdentity, asserted.to_string());
        }
    }

    /// Hears an answer of the core: which network answered.
    pub(crate) fn hear(&mut self, response: &Headers) {
        let vector = response.p_charging_vector().ok().flatten();
        if let Some(ioi) = vector.and_then(|vector| vector.term_ioi()) {
            self.term_ioi = Some(ioi);
        }
    }

    /// For the call's record.
    pub(crate) fn charging(&self) -> Charging {
        let asked = self.asked.as_ref();
        let (orig_ioi, term_ioi) = match asked {
            Some(asked) => (asked.orig_ioi(), Some(self.network.clone())),
            None => (Some(self.network.clone()), self.term_ioi.clone()),
        };
        Charging {
            icid: self.icid.icid().unwrap_or_default(),
            orig_ioi,
            term_ioi,
        }
    }
}
