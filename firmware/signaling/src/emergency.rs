//! Emergency calls, TS 24.229 §5.2.10 and §5.1.6.8: seen before anything else, and never
//! treated as an ordinary call. A browser has no location that could be relied on, so by
//! default the caller is told to use another way (380); a network that takes such calls has
//! them sent to its E-CSCF, as `urn:service:sos` (RFC 5031).

use crate::Signaling;
use crate::event::Event;
use crate::id::FlowId;
use crate::message::{HeaderName, Host, NameAddr, Request, Response, SipUri, StatusCode, Uri};
use crate::rejection::Rejection;
use crate::session::Target;
use crate::transaction::ServerTransactionId;

/// What is done with emergency calls of a tenant's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyConfig {
    /// Numbers that are emergency numbers, beside the `sos` service URNs.
    pub numbers: Vec<String>,
    /// The URI of the E-CSCF, or of whatever takes emergency calls. None: the caller is told
    /// to use another way.
    pub route: Option<SipUri>,
}

impl Default for EmergencyConfig {
    fn default() -> Self {
        EmergencyConfig {
            numbers: UNIVERSAL.iter().map(|&number| number.to_owned()).collect(),
            route: None,
        }
    }
}

impl EmergencyConfig {
    /// The service that a dialled URI stands for, if it is an emergency.
    #[must_use]
    pub fn service(&self, dialled: &Uri) -> Option<Uri> {
        let text = dialled.as_str();
        if is_sos(text) {
            return Uri::parse(&text.to_ascii_lowercase());
        }
        let number = match dialled {
            Uri::Tel(tel) => Some(tel.number().to_owned()),
            // RFC 3261 §19.1.6: parameters of the number may stand in the user part.
            Uri::Sip(sip) => sip.unescaped_user(),
            Uri::Urn(_) | Uri::Other(_) => None,
        }?;
        let number = number.split(';').next().unwrap_or_default();
        let digits: String = number.chars().filter(|c| !"-.() ".contains(*c)).collect();
        let is_known = self.numbers.contains(&digits);
        is_known.then(|| Uri::parse(SOS).expect("a literal URN"))
    }
}

/// An emergency call that the network takes.
#[derive(Clone, Debug)]
pub(crate) struct Sos {
    service: Uri,
    route: SipUri,
}

impl Sos {
    /// Sends a call to the E-CSCF instead of where it was dialled: straight there for a
    /// P-CSCF, behind its own P-CSCF for a terminal.
    pub(crate) fn redirect(self, callee: &mut Target, is_p_cscf: bool) {
        callee.uri = self.service.clone();
        callee.to = NameAddr::new(self.service);
        callee.routes.truncate(usize::from(!is_p_cscf));
        callee
            .routes
            .push(NameAddr::new(self.route.with_flag("lr")));
    }
}

impl Signaling {
    /// Takes an emergency call before anything else is looked at, from whom it may come;
    /// `None` if it is none.
    pub(crate) fn take_emergency(
        &mut self,
        transaction: ServerTransactionId,
        flow: FlowId,
        invite: &Request,
    ) -> Option<Result<(), Rejection>> {
        let config = &self.link.config;
        let binding = self.registrations.of_flow(flow).next();
        let (service, route) = match binding {
            Some(binding) => {
                let emergency = &config.tenant(binding.tenant()).emergency;
                (emergency.service(&invite.uri)?, emergency.route.clone())
            }
            None => {
                let mut all = config.tenants.iter();
                (all.find_map(|it| it.emergency.service(&invite.uri))?, None)
            }
        };
        let is_taken = route.is_some();
        self.link.event(Event::EmergencyCall { flow, is_taken });
        if let Some(route) = route {
            let sos = Some(Sos { service, route });
            return Some(self.take_access_invite(transaction, flow, invite.clone(), sos));
        }
        let host = Host::parse(self.link.config.access_host.as_str());
        let own = SipUri::new(&host.expect("a host name is a host"), None);
        let tag = self.link.token();
        let response = alternative_service(invite, &own).with_to_tag(&tag);
        self.link.respond(transaction, response);
        Some(Ok(()))
    }
}

/// 380 (Alternative Service): the browser has to use another way, TS 24.229 §5.2.10.2.
fn alternative_service(invite: &Request, own: &SipUri) -> Response {
    let own = NameAddr::new(own.with_flag("lr"));
    let mut response = Response::to_request(invite, StatusCode::ALTERNATIVE_SERVICE)
        .with(HeaderName::PAssertedIdentity, own.to_string())
        .with(HeaderName::ContentType, "application/3gpp-ims+xml");
    response.body = BODY.into();
    response
}

/// `urn:service:sos` and what is below it, RFC 5031 §4.2.
fn is_sos(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let below = text.strip_prefix(SOS);
    below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
}

/// The emergency numbers of a country by its ISO 3166-1 code, beside 112 and 911, which are
/// good everywhere. `None` for a country that is not in the table.
#[must_use]
pub fn numbers_of(country: &str) -> Option<Vec<&'static str>> {
    let code = country.to_ascii_uppercase();
    let (_, own) = COUNTRIES.iter().find(|(known, _)| *known == code)?;
    let mut numbers = vec!["112", "911"];
    numbers.extend(own.iter().filter(|number| !["112", "911"].contains(number)));
    Some(numbers)
}

const SOS: &str = "urn:service:sos";

/// What a telephone without a card takes for emergency numbers, TS 22.101 §10.1.1.
const UNIVERSAL: [&str; 8] = ["112", "911", "000", "08", "110", "999", "118", "119"];

/// TS 24.229 §7.6.
const BODY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <ims-3gpp version=\"1\"><alternative-service><type>emergency</type>\
    <reason>Use the telephone network for emergency calls</reason>\
    </alternative-service></ims-3gpp>\n";

/// Police, fire brigade and ambulance, as the national numbering plans have them.
#[rustfmt::skip]
static COUNTRIES: [(&str, &[&str]); 40] = [
    ("AR", &["101", "100", "107"]),
    ("AT", &["122", "133", "144"]),
    ("AU", &["000", "106"]),
    ("BE", &["100", "101"]),
    ("BG", &["150", "160", "166"]),
    ("BR", &["190", "192", "193"]),
    ("CA", &["911"]),
    ("CH", &["117", "118", "144", "1414"]),
    ("CL", &["131", "132", "133"]),
    ("CN", &["110", "119", "120", "122"]),
    ("CZ", &["150", "155", "158"]),
    ("DE", &["110"]),
    ("DK", &["112"]),
    ("EE", &["112"]),
    ("ES", &["061", "062", "080", "091"]),
    ("FI", &["112"]),
    ("FR", &["15", "17", "18", "114", "115", "119"]),
    ("GB", &["999", "18000"]),
    ("GR", &["100", "166", "199"]),
    ("HR", &["192", "193", "194"]),
    ("HU", &["104", "105", "107"]),
    ("IE", &["999"]),
    ("IN", &["100", "101", "102", "108"]),
    ("IT", &["113", "115", "118"]),
    ("JP", &["110", "118", "119"]),
    ("KR", &["112", "119"]),
    ("LU", &["113"]),
    ("MX", &["911"]),
    ("NL", &["112"]),
    ("NO", &["110", "112", "113"]),
    ("NZ", &["111"]),
    ("PL", &["997", "998", "999"]),
    ("PT", &["115"]),
    ("RO", &["112"]),
    ("SE", &["112", "90000"]),
    ("SI", &["113"]),
    ("SK", &["150", "155", "158"]),
    ("TR", &["110", "155", "156"]),
    ("US", &["911"]),
    ("ZA", &["10111", "10177"]),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn service(dialled: &str) -> Option<String> {
        let config = EmergencyConfig::default();
        let service = config.service(&Uri::parse(dialled).unwrap());
        service.map(|service| service.to_string())
    }

    #[test]
    fn an_emergency_is_seen_however_it_is_written() {
        let table = [
            ("urn:service:sos", "urn:service:sos"),
            ("URN:service:SOS.fire", "urn:service:sos.fire"),
            ("tel:112", "urn:service:sos"),
            ("tel:1-1-2;phone-context=+39", "urn:service:sos"),
            ("sip:112@ims.test", "urn:service:sos"),
            ("sip:112@ims.test;user=phone", "urn:service:sos"),
            ("sip:%31%31%32@ims.test", "urn:service:sos"),
            (
                "sip:112;phone-context=ims.test@ims.test;user=phone",
                "urn:service:sos",
            ),
            ("sips:911@elsewhere.test", "urn:service:sos"),
        ];
        for (dialled, expected) in table {
            assert_eq!(service(dialled).as_deref(), Some(expected), "{dialled}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_an_ordinary_call() {
        for dialled in [
            "urn:service:sosx",
            "urn:service:counseling",
            "tel:+112",
            "tel:1125550",
            "sip:alice112@ims.test",
            "sip:+39112@ims.test;user=phone",
            "sip:ims.test",
        ] {
            assert_eq!(service(dialled), None, "{dialled}");
        }
    }

    #[test]
    fn a_country_has_its_own_numbers_and_the_two_of_everywhere() {
        assert_eq!(
            numbers_of("it").unwrap(),
            ["112", "911", "113", "115", "118"]
        );
        assert_eq!(numbers_of("US").unwrap(), ["112", "911"]);
        assert_eq!(numbers_of("XX"), None);
        assert!(COUNTRIES.is_sorted_by_key(|(code, _)| *code));
    }
}
