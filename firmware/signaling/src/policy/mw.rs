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

use super::Check::{DigestChallenge, DigestCredentials, OrdinaryPriority, UnlessPrivate, UrnOnly};
use super::Rule::{Check, Own, Pass, Strip};
use super::{Row, row};
use crate::message::HeaderName;

pub(super) static ROWS: [Row; 111] = [
    // What makes a message: every leg has its own.
    row(HeaderName::Via, Own, Own),
    row(HeaderName::From, Own, Own),
    row(HeaderName::To, Own, Own),
    row(HeaderName::CallId, Own, Own),
    row(HeaderName::CSeq, Own, Own),
    row(HeaderName::Contact, Own, Own),
    row(HeaderName::MaxForwards, Own, Own),
    row(HeaderName::MaxBreadth, Own, Own),
    row(HeaderName::Route, Own, Own),
    row(HeaderName::RecordRoute, Own, Own),
    row(HeaderName::Path, Own, Own),
    row(HeaderName::ServiceRoute, Own, Own),
    row(HeaderName::FlowTimer, Own, Own),
    // Bodies and what a leg can do.
    row(HeaderName::ContentLength, Own, Own),
    row(HeaderName::ContentType, Own, Own),
    row(HeaderName::ContentDisposition, Own, Own),
    row(HeaderName::ContentEncoding, Own, Own),
    row(HeaderName::ContentLanguage, Own, Own),
    row(HeaderName::MimeVersion, Own, Own),
    row(HeaderName::Accept, Own, Own),
    row(HeaderName::AcceptEncoding, Own, Own),
    row(HeaderName::AcceptLanguage, Own, Own),
    row(HeaderName::Allow, Own, Own),
    row(HeaderName::AllowEvents, Own, Own),
    row(HeaderName::Supported, Own, Own),
    row(HeaderName::Require, Own, Own),
    row(HeaderName::ProxyRequire, Own, Own),
    row(HeaderName::Unsupported, Own, Own),
    row(HeaderName::RecvInfo, Own, Own),
    row(HeaderName::InfoPackage, Own, Own),
    // Timers, reliability and references to dialogs: each leg speaks for itself.
    row(HeaderName::SessionExpires, Own, Own),
    row(HeaderName::MinSe, Own, Own),
    row(HeaderName::RSeq, Own, Own),
    row(HeaderName::RAck, Own, Own),
    row(HeaderName::Replaces, Own, Own),
    row(HeaderName::Join, Own, Own),
    row(HeaderName::TargetDialog, Own, Own),
    row(HeaderName::ReferTo, Own, Own),
    row(HeaderName::ReferredBy, Own, Own),
    row(HeaderName::ReferSub, Own, Own),
    row(HeaderName::Event, Own, Own),
    row(HeaderName::SubscriptionState, Own, Own),
    row(HeaderName::Expires, Own, Own),
    row(HeaderName::MinExpires, Own, Own),
    row(HeaderName::InReplyTo, Strip, Strip),
    // What the products are, and when.
    row(HeaderName::UserAgent, Own, Own),
    row(HeaderName::Server, Own, Own),
    row(HeaderName::Date, Own, Own),
    row(HeaderName::Timestamp, Own, Own),
    row(HeaderName::RetryAfter, Own, Own),
    // A Warning names the host that warns, RFC 3261 §20.43.
    row(HeaderName::Warning, Own, Own),
    // Who speaks, RFC 3325.
    row(HeaderName::PPreferredIdentity, Strip, Strip),
    row(HeaderName::PAssertedIdentity, Own, Check(UnlessPrivate)),
    row(HeaderName::RemotePartyId, Strip, Strip),
    row(HeaderName::Identity, Strip, Strip),
    row(HeaderName::IdentityInfo, Strip, Strip),
    row(HeaderName::AdditionalIdentity, Strip, Strip),
    row(HeaderName::PServedUser, Strip, Strip),
    row(HeaderName::PProfileKey, Strip, Strip),
    row(HeaderName::PUserDatabase, Strip, Strip),
    row(HeaderName::PAssociatedUri, Strip, Pass),
    row(HeaderName::PCalledPartyId, Strip, Pass),
    row(HeaderName::Privacy, Pass, Pass),
    row(HeaderName::AttestationInfo, Strip, Strip),
    row(HeaderName::OriginationId, Strip, Strip),
    // Proof of identity: the core's business, RFC 3261 §22.
    row(HeaderName::Authorization, Check(DigestCredentials), Strip),
    row(
        HeaderName::ProxyAuthorization,
        Check(DigestCredentials),
        Strip,
    ),
    row(HeaderName::WwwAuthenticate, Strip, Check(DigestChallenge)),
    row(HeaderName::ProxyAuthenticate, Strip, Check(DigestChallenge)),
    row(HeaderName::AuthenticationInfo, Strip, Pass),
    row(HeaderName::ProxyAuthenticationInfo, Strip, Pass),
    row(HeaderName::SecurityClient, Strip, Strip),
    row(HeaderName::SecurityServer, Strip, Strip),
    row(HeaderName::SecurityVerify, Strip, Strip),
    // How the call came to be, and where it went before.
    row(HeaderName::HistoryInfo, Strip, Strip),
    row(HeaderName::Diversion, Strip, Strip),
    row(HeaderName::ResponseSource, Strip, Strip),
    // Reason says why a call ended, RFC 3326: kept both ways.
    row(HeaderName::Reason, Pass, Pass),
    // The only header meant to join the legs of a call, RFC 7989.
    row(HeaderName::SessionId, Pass, Pass),
    row(HeaderName::Subject, Pass, Pass),
    row(
        HeaderName::Priority,
        Check(OrdinaryPriority),
        Check(OrdinaryPriority),
    ),
    row(HeaderName::ResourcePriority, Strip, Strip),
    row(HeaderName::AcceptResourcePriority, Strip, Strip),
    // Wishes about services and routing, RFC 3841, RFC 6050.
    row(HeaderName::PPreferredService, Pass, Strip),
    row(HeaderName::PAssertedService, Strip, Strip),
    row(HeaderName::AcceptContact, Pass, Strip),
    row(HeaderName::RejectContact, Pass, Strip),
    row(HeaderName::RequestDisposition, Pass, Strip),
    row(HeaderName::FeatureCaps, Strip, Pass),
    row(HeaderName::PEarlyMedia, Own, Strip),
    // What would make a browser fetch something, or show where it came from.
    row(HeaderName::AlertInfo, Strip, Check(UrnOnly)),
    row(HeaderName::CallInfo, Strip, Strip),
    row(HeaderName::ErrorInfo, Strip, Strip),
    row(HeaderName::Organization, Strip, Strip),
    row(HeaderName::ReplyTo, Strip, Strip),
    // What stays inside the network, TS 24.229 §4.4, and what the box alone may say of it.
    row(HeaderName::PAccessNetworkInfo, Own, Strip),
    row(HeaderName::PVisitedNetworkId, Own, Strip),
    row(HeaderName::PChargingVector, Own, Strip),
    row(HeaderName::PChargingFunctionAddresses, Strip, Strip),
    row(HeaderName::PMediaAuthorization, Strip, Strip),
    row(HeaderName::PPrivateNetworkIndication, Strip, Strip),
    row(HeaderName::CellularNetworkInfo, Strip, Strip),
    row(HeaderName::RestorationInfo, Strip, Strip),
    row(HeaderName::RelayedCharge, Strip, Strip),
    row(HeaderName::ServiceInteractInfo, Strip, Strip),
    row(HeaderName::PriorityVerstat, Strip, Strip),
    row(HeaderName::PriorityShare, Strip, Strip),
    row(HeaderName::ResourceShare, Strip, Strip),
    // Where somebody is, RFC 6442: no browser's word is good enough, and no core's its business.
    row(HeaderName::Geolocation, Strip, Strip),
    row(HeaderName::GeolocationRouting, Strip, Strip),
    row(HeaderName::GeolocationError, Strip, Strip),
];
