//! The table towards an I- and S-CSCF, on Mw: the box is the P-CSCF there, inside the trust
//! domain, and answers for what it says. TS 24.229 §5.2 (what a P-CSCF does), §4.4 (what
//! must not enter or leave the trust domain), RFC 3325 §5, RFC 7315.
//!
//! | header field | browser to IMS | IMS to browser |
//! | --- | --- | --- |
//! | Via, From, To, Call-ID, CSeq, Contact, Max-Forwards | own | own |
//! | Max-Breadth, Route, Record-Route, Path, Service-Route | own | own |
//! | Flow-Timer, Content-Length, Content-Type, Content-Disposition | own | own |
//! | Content-Encoding, Content-Language, MIME-Version, Accept | own | own |
//! | Accept-Encoding, Accept-Language, Allow, Allow-Events | own | own |
//! | Supported, Require, Proxy-Require, Unsupported, Recv-Info | own | own |
//! | Info-Package, Session-Expires, Min-SE, RSeq, RAck, Replaces | own | own |
//! | Join, Target-Dialog, Refer-To, Referred-By, Refer-Sub, Event | own | own |
//! | Subscription-State, Expires, Min-Expires | own | own |
//! | In-Reply-To | strip | strip |
//! | User-Agent, Server, Date, Timestamp, Retry-After, Warning | own | own |
//! | P-Preferred-Identity | strip | strip |
//! | P-Asserted-Identity | own | unless private |
//! | Remote-Party-ID, Identity, Identity-Info, Additional-Identity | strip | strip |
//! | P-Served-User, P-Profile-Key, P-User-Database | strip | strip |
//! | P-Associated-URI, P-Called-Party-ID | strip | pass |
//! | Privacy | pass | pass |
//! | Attestation-Info, Origination-Id | strip | strip |
//! | Authorization, Proxy-Authorization | Digest only | strip |
//! | WWW-Authenticate, Proxy-Authenticate | strip | Digest, without auth-int |
//! | Authentication-Info, Proxy-Authentication-Info | strip | pass |
//! | Security-Client, Security-Server, Security-Verify | strip | strip |
//! | History-Info, Diversion, Response-Source | strip | strip |
//! | Reason, Session-ID, Subject | pass | pass |
//! | Priority | RFC 3261 values | RFC 3261 values |
//! | Resource-Priority, Accept-Resource-Priority | strip | strip |
//! | P-Preferred-Service | pass | strip |
//! | P-Asserted-Service | strip | strip |
//! | Accept-Contact, Reject-Contact, Request-Disposition | pass | strip |
//! | Feature-Caps | strip | pass |
//! | P-Early-Media | own | strip |
//! | Alert-Info | strip | urn: only |
//! | Call-Info, Error-Info, Organization, Reply-To | strip | strip |
//! | P-Access-Network-Info, P-Visited-Network-ID, P-Charging-Vector | own | strip |
//! | P-Charging-Function-Addresses, P-Media-Authorization | strip | strip |
//! | P-Private-Network-Indication, Cellular-Network-Info | strip | strip |
//! | Restoration-Info, Relayed-Charge, Service-Interact-Info | strip | strip |
//! | Priority-Verstat, Priority-Share, Resource-Share, Geolocation | strip | strip |
//! | Geolocation-Routing, Geolocation-Error | strip | strip |

use super::Check::UnlessPrivate;
use super::Rule::{Check, Own, Strip};
use super::{Row, row};
use crate::message::HeaderName;

/// What is otherwise than on Gm: the rest of the table is that one's.
pub(super) static DIFFERENCES: [Row; 6] = [
    row(HeaderName::PPreferredIdentity, Strip, Strip),
    row(HeaderName::PAssertedIdentity, Own, Check(UnlessPrivate)),
    row(HeaderName::PEarlyMedia, Own, Strip),
    // What stays inside the network, TS 24.229 §4.4, and what the box alone may say of it.
    row(HeaderName::PAccessNetworkInfo, Own, Strip),
    row(HeaderName::PVisitedNetworkId, Own, Strip),
    row(HeaderName::PChargingVector, Own, Strip),
];
