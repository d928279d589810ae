//! Headers whose value is an address: From, To, Route and their kin (RFC 3261
//! §20), Path (RFC 3327), Service-Route (RFC 3608), the asserted identities
//! (RFC 3325, RFC 7315), Refer-To (RFC 3515) and Referred-By (RFC 3892).

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::name_addr::NameAddr;

macro_rules! addresses {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Hash)]
            pub struct $name(pub NameAddr);

            impl Typed for $name {
                const NAME: HeaderName = HeaderName::$name;

                fn parse(value: &str) -> Option<Self> {
                    NameAddr::parse(value).map($name)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }
        )*
    };
}

addresses! {
    /// RFC 3261 §20.20.
    From;
    /// RFC 3261 §20.39.
    To;
    /// RFC 3261 §20.34.
    Route;
    /// RFC 3261 §20.30.
    RecordRoute;
    /// RFC 3327 §4.
    Path;
    /// RFC 3608 §5.
    ServiceRoute;
    /// RFC 3325 §9.1.
    PAssertedIdentity;
    /// RFC 3325 §9.2.
    PPreferredIdentity;
    /// RFC 7315 §4.1.
    PAssociatedUri;
    /// RFC 7315 §4.2.
    PCalledPartyId;
    /// RFC 3515 §2.1.
    ReferTo;
    /// RFC 3892 §3.
    ReferredBy;
}
