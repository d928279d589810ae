//! Headers whose value is a number: Max-Forwards, Expires, Min-Expires (RFC 3261
//! §20), RSeq (RFC 3262), Min-SE (RFC 4028) and Flow-Timer (RFC 5626).

use std::fmt;

use super::Typed;
use super::contact::seconds;
use crate::message::header_name::HeaderName;
use crate::message::scan::{number, trim};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($type:ty) = $header:ident, $parse:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            pub struct $name(pub $type);

            impl Typed for $name {
                const NAME: HeaderName = HeaderName::$header;

                fn parse(value: &str) -> Option<Self> {
                    $parse(value).map($name)
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

numbers! {
    /// How many hops are left, RFC 3261 §20.22.
    MaxForwards(u8) = MaxForwards, number;
    /// Seconds, RFC 3261 §20.19.
    Expires(u32) = Expires, seconds;
    /// Seconds, RFC 3261 §20.23.
    MinExpires(u32) = MinExpires, seconds;
    /// Seconds, RFC 4028 §5; parameters are read over.
    MinSe(u32) = MinSe, |value: &str| seconds(trim(value.split(';').next()?));
    /// Which reliable provisional response this is, RFC 3262 §7.1.
    RSeq(u32) = RSeq, number;
    /// Seconds between keepalives, RFC 5626 §10.
    FlowTimer(u32) = FlowTimer, number;
}
