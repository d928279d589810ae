//! The table towards the peer of a SIP trunk: the box is an enterprise's end of it. Users and
//! their passwords are the box's own, so no proof of identity crosses; the peer is told who
//! calls (RFC 3325 §5, as agreed with it), and nothing that only an IMS makes sense of.
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
//! | P-Associated-URI, P-Called-Party-ID | strip | strip |
//! | Privacy | pass | pass |
//! | Attestation-Info, Origination-Id | strip | strip |
//! | Authorization, Proxy-Authorization | own | strip |
//! | WWW-Authenticate, Proxy-Authenticate | strip | strip |
//! | Authentication-Info, Proxy-Authentication-Info | strip | strip |
//! | Security-Client, Security-Server, Security-Verify | strip | strip |
//! | History-Info, Diversion, Response-Source | strip | strip |
//! | Reason, Session-ID, Subject | pass | pass |
//! | Priority | RFC 3261 values | RFC 3261 values |
//! | Resource-Priority, Accept-Resource-Priority | strip | strip |
//! | P-Preferred-Service | strip | strip |
//! | P-Asserted-Service | strip | strip |
//! | Accept-Contact, Reject-Contact, Request-Disposition | pass | strip |
//! | Feature-Caps | strip | strip |
//! | P-Early-Media | strip | strip |
//! | Alert-Info | strip | urn: only |
//! | Call-Info, Error-Info, Organization, Reply-To | strip | strip |
//! | P-Access-Network-Info, P-Visited-Network-ID, P-Charging-Vector | strip | strip |
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
pub(super) static DIFFERENCES: [Row; 12] = [
    row(HeaderName::PPreferredIdentity, Strip, Strip),
    row(HeaderName::PAssertedIdentity, Own, Check(UnlessPrivate)),
    // A browser's word to the box, and the peer's to the box: RFC 3261 §22.
    row(HeaderName::Authorization, Own, Strip),
    row(HeaderName::ProxyAuthorization, Own, Strip),
    row(HeaderName::WwwAuthenticate, Strip, Strip),
    row(HeaderName::ProxyAuthenticate, Strip, Strip),
    row(HeaderName::AuthenticationInfo, Strip, Strip),
    row(HeaderName::ProxyAuthenticationInfo, Strip, Strip),
    // Of an IMS, about its own users and services.
    row(HeaderName::PAssociatedUri, Strip, Strip),
    row(HeaderName::PCalledPartyId, Strip, Strip),
    row(HeaderName::PPreferredService, Strip, Strip),
    row(HeaderName::FeatureCaps, Strip, Strip),
];
