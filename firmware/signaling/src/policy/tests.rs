//! Every row of the table, with something to carry.

use super::*;
use crate::config::{Host, HostName, MwConfig, NextHop, Tenant, TrunkConfig};
use crate::id::SipTransport;

fn profiles() -> [Profile; 2] {
    [Profile::Gm, Profile::Mw(Box::new(MwConfig::new("gw.test")))]
}

fn trunk() -> Profile {
    let peer = Host::Name(HostName::parse("provider.test").unwrap());
    Profile::Trunk(Box::new(TrunkConfig::new(peer)))
}

fn policy(profile: Profile, passed: &[&str]) -> Policy {
    let hop = NextHop::address("192.0.2.1:5060".parse().unwrap(), SipTransport::Udp);
    let mut tenant = Tenant::new("ims", HostName::parse("ims.test").unwrap(), hop);
    tenant.profile = profile;
    tenant.passed_headers = passed.iter().map(|&name| name.to_owned()).collect();
    Policy::of(&tenant)
}

/// What crosses in each direction; both ways into an IMS agree where this is asked.
fn crosses(
    name: &HeaderName,
    value: &str,
    beside: Option<(HeaderName, &str)>,
) -> [Option<String>; 2] {
    let [gm, mw] = profiles().map(|profile| crosses_in(profile, name, value, beside.clone()));
    assert_eq!(gm, mw, "{name}");
    gm
}

fn crosses_in(
    profile: Profile,
    name: &HeaderName,
    value: &str,
    beside: Option<(HeaderName, &str)>,
) -> [Option<String>; 2] {
    let mut headers = Headers::new();
    headers.push(name.clone(), value);
    if let Some((name, value)) = beside {
        headers.push(name, value);
    }
    let policy = policy(profile, &[]);
    [Leg::Ims, Leg::Access].map(|towards| {
        let carried = policy.carry(&headers, towards);
        carried.text(name).map(str::to_owned)
    })
}

/// What crosses although it is written by no leg: name, a value, whether it reaches the
/// IMS, whether it reaches a browser.
const CARRIED: &[(HeaderName, &str, bool, bool)] = &[
    (
        HeaderName::PAssertedIdentity,
        "<sip:a@ims.test>",
        false,
        true,
    ),
    (HeaderName::PAssociatedUri, "<sip:a@ims.test>", false, true),
    (HeaderName::PCalledPartyId, "<sip:a@ims.test>", false, true),
    (HeaderName::Privacy, "id", true, true),
    (
        HeaderName::Authorization,
        "Digest username=\"a\", response=\"b\"",
        true,
        false,
    ),
    (
        HeaderName::ProxyAuthorization,
        "Digest username=\"a\"",
        true,
        false,
    ),
    (
        HeaderName::WwwAuthenticate,
        "Digest realm=\"a\", nonce=\"b\"",
        false,
        true,
    ),
    (
        HeaderName::ProxyAuthenticate,
        "Digest realm=\"a\", nonce=\"b\"",
        false,
        true,
    ),
    (
        HeaderName::AuthenticationInfo,
        "nextnonce=\"a\"",
        false,
        true,
    ),
    (
        HeaderName::ProxyAuthenticationInfo,
        "nextnonce=\"a\"",
        false,
        true,
    ),
    (HeaderName::Reason, "Q.850;cause=16", true, true),
    (
        HeaderName::SessionId,
        "ab30317f1a784dc48ff824d0d3715d86",
        true,
        true,
    ),
    (HeaderName::Subject, "tea", true, true),
    (HeaderName::Priority, "urgent", true, true),
    (
        HeaderName::PPreferredService,
        "urn:urn-7:3gpp-service.ims.icsi.mmtel",
        true,
        false,
    ),
    (
        HeaderName::AcceptContact,
        "*;+g.3gpp.icsi-ref=\"x\"",
        true,
        false,
    ),
    (HeaderName::RejectContact, "*;automata", true, false),
    (HeaderName::RequestDisposition, "no-fork", true, false),
    (HeaderName::FeatureCaps, "*;+g.3gpp.srvcc", false, true),
    (
        HeaderName::AlertInfo,
        "<urn:alert:service:call-waiting>",
        false,
        true,
    ),
];

// Conforms: TS 24.229 §4.4 | The trust boundary strips, passes or checks each header field as its table says.
#[test]
fn every_row_does_what_it_says_with_a_harmless_value() {
    for profile in profiles() {
        for row in policy(profile.clone(), &[]).rows() {
            let listed = CARRIED.iter().find(|(name, ..)| *name == row.header);
            let (value, to_ims, to_access) = match listed {
                Some((_, value, to_ims, to_access)) => (*value, *to_ims, *to_access),
                None => ("anything", false, false),
            };
            let crossed = crosses_in(profile.clone(), &row.header, value, None);
            let crossed = crossed.map(|value| value.is_some());
            assert_eq!(crossed, [to_ims, to_access], "{} {profile:?}", row.header);
        }
    }
}

#[test]
fn every_row_is_there_once_and_what_crosses_has_a_row() {
    for profile in profiles() {
        let policy = policy(profile, &[]);
        let rows = policy.rows();
        for (at, row) in rows.iter().enumerate() {
            let again = rows[at + 1..]
                .iter()
                .any(|other| other.header == row.header);
            assert!(!again, "{} twice", row.header);
        }
        for (name, ..) in CARRIED {
            assert!(rows.iter().any(|row| row.header == *name), "{name}");
        }
    }
}

#[test]
fn each_table_does_what_its_documentation_says_row_by_row() {
    let texts = [
        include_str!("gm.rs"),
        include_str!("mw.rs"),
        include_str!("trunk.rs"),
    ];
    let profiles = profiles().into_iter().chain([trunk()]);
    for (profile, text) in profiles.zip(texts) {
        let mut documented = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let [names, to_ims, to_access] = line
                .trim_end_matches(" |")
                .split(" | ")
                .collect::<Vec<_>>()
                .try_into()
                .unwrap();
            let names = names.split(", ");
            documented.extend(names.map(|name| [name, to_ims, to_access].map(str::to_owned)));
        }
        let rows: Vec<_> = policy(profile, &[])
            .rows()
            .iter()
            .map(|row| {
                let name = row.header.as_str().to_owned();
                [name, row.to_ims.to_string(), row.to_access.to_string()]
            })
            .collect();
        let heading = ["header field", "---"];
        documented.retain(|[name, ..]| !heading.contains(&name.as_str()));
        assert_eq!(documented, rows);
    }
}

#[test]
fn the_network_alone_speaks_for_itself_and_on_mw_that_is_the_box() {
    let own_on_mw = [
        HeaderName::PAssertedIdentity,
        HeaderName::PAccessNetworkInfo,
        HeaderName::PVisitedNetworkId,
        HeaderName::PChargingVector,
        HeaderName::PEarlyMedia,
    ];
    let [gm, mw] = profiles().map(|profile| policy(profile, &[]));
    for name in own_on_mw {
        assert_eq!(gm.rule(&name, Leg::Ims), Rule::Strip, "{name}");
        assert_eq!(mw.rule(&name, Leg::Ims), Rule::Own, "{name}");
    }
    let preferred = HeaderName::PPreferredIdentity;
    assert_eq!(gm.rule(&preferred, Leg::Ims), Rule::Own);
    assert_eq!(mw.rule(&preferred, Leg::Ims), Rule::Strip);
}

#[test]
fn over_a_trunk_goes_no_proof_of_identity_and_nothing_of_an_ims() {
    let digest = "Digest username=\"a\", realm=\"b\", nonce=\"c\", qop=\"auth\"";
    for name in [
        HeaderName::Authorization,
        HeaderName::ProxyAuthorization,
        HeaderName::WwwAuthenticate,
        HeaderName::ProxyAuthenticate,
        HeaderName::AuthenticationInfo,
        HeaderName::PAssociatedUri,
        HeaderName::PCalledPartyId,
        HeaderName::PPreferredService,
        HeaderName::FeatureCaps,
    ] {
        assert_eq!(crosses_in(trunk(), &name, digest, None), [None, None]);
    }
    let asserted = HeaderName::PAssertedIdentity;
    let [to_ims, to_access] = crosses_in(trunk(), &asserted, "<sip:a@b.test>", None);
    assert_eq!((to_ims, to_access.is_some()), (None, true));
}

// Conforms: RFC 8898 | A Bearer token does not leave the box towards the core.
// Conforms: TS 24.229 §7.2A.2 | `integrity-protected` of a browser is not believed.
#[test]
fn a_bearer_token_stays_here_and_so_does_a_forged_proof() {
    for value in [
        "Bearer eyJh.bC.dE",
        "Digest username=\"a\", response=\"\", integrity-protected=\"auth-done\"",
    ] {
        let [to_ims, _] = crosses(&HeaderName::Authorization, value, None);
        assert_eq!(to_ims, None, "{value}");
    }
}

#[test]
fn credentials_cross_byte_for_byte() {
    let odd = "Digest  username=\"a\" ,response=\"b\",  nc=00000001,qop = auth";
    let [to_ims, _] = crosses(&HeaderName::Authorization, odd, None);
    assert_eq!(to_ims.as_deref(), Some(odd));
}

// Conforms: RFC 7616 §3.4.3 | `auth-int` is taken out of challenges, because the box changes bodies.
#[test]
fn auth_int_is_taken_out_of_a_challenge() {
    let table = [
        (
            "Digest nonce=\"a\", qop=\"auth,auth-int\"",
            Some("Digest nonce=\"a\", qop=\"auth\""),
        ),
        (
            "Digest nonce=\"a\", qop=\"auth\"",
            Some("Digest nonce=\"a\", qop=\"auth\""),
        ),
        ("Digest nonce=\"a\"", Some("Digest nonce=\"a\"")),
        ("Digest nonce=\"a\", qop=\"auth-int\"", None),
        ("Bearer realm=\"a\"", None),
    ];
    for (core, browser) in table {
        let [_, to_access] = crosses(&HeaderName::WwwAuthenticate, core, None);
        assert_eq!(to_access.as_deref(), browser, "{core}");
    }
}

// Conforms: RFC 3325 §9.3 | With Privacy: id the asserted identity does not leave the network.
// Conforms: RFC 3323 §4.2 | What cannot be read may have asked for privacy.
#[test]
fn who_wants_privacy_gets_it_at_the_border() {
    let asserted = |privacy| {
        let beside = Some((HeaderName::Privacy, privacy));
        crosses(&HeaderName::PAssertedIdentity, "<sip:a@ims.test>", beside)[1].is_some()
    };
    assert!(asserted("none"));
    for privacy in ["id", "user;id", "header", "what\"ever"] {
        assert!(!asserted(privacy), "{privacy}");
    }
}

#[test]
fn nothing_is_fetched_and_nobody_is_called_back_by_a_strangers_word() {
    for value in [
        "<http://10.0.0.1/ring.wav>",
        "<urn:alert:x>, <http://10.0.0.1/a>",
    ] {
        assert_eq!(crosses(&HeaderName::AlertInfo, value, None), [None, None]);
    }
    assert_eq!(
        crosses(&HeaderName::Priority, "psap-callback", None),
        [None, None]
    );
}

#[test]
fn unknown_headers_cross_only_if_the_operator_says_so() {
    let mut headers = Headers::new();
    headers.push(HeaderName::from_static("X-Ticket"), "17");
    headers.push(HeaderName::from_static("X-Other"), "18");
    let carried = policy(Profile::Gm, &["x-ticket"]).carry(&headers, Leg::Ims);
    assert_eq!(carried.len(), 1);
    assert_eq!(
        carried.text(&HeaderName::from_static("X-Ticket")),
        Some("17")
    );
    assert!(
        policy(Profile::Gm, &[])
            .carry(&headers, Leg::Access)
            .is_empty()
    );
}
