//! Typed views of header values, one file for each header or family of headers.
//! They are read when someone asks, and what cannot be read is an error there.

use std::fmt::Display;

use super::header::{HeaderError, Headers};
use super::header_name::HeaderName;
use super::name_addr::NameAddr;

mod addresses;
mod call_id;
mod contact;
mod content_type;
mod cseq;
mod digest;
mod event;
mod numbers;
mod p_charging_vector;
mod p_early_media;
mod privacy;
mod rack;
mod reason;
mod replaces;
mod retry_after;
mod security;
mod session_expires;
mod subscription_state;
mod tokens;
mod via;

pub use addresses::{
    From, PAssertedIdentity, PAssociatedUri, PCalledPartyId, PPreferredIdentity, Path, RecordRoute,
    ReferTo, ReferredBy, Route, ServiceRoute, To,
};
pub use call_id::CallId;
pub use contact::Contact;
pub use content_type::ContentType;
pub use cseq::CSeq;
pub use digest::{Authorization, Digest, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate};
pub use event::Event;
pub use numbers::{Expires, FlowTimer, MaxForwards, MinExpires, MinSe, RSeq};
pub use p_charging_vector::PChargingVector;
pub use p_early_media::{EarlyMedia, PEarlyMedia};
pub use privacy::Privacy;
pub use rack::RAck;
pub use reason::Reason;
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use security::{Mechanism, SecurityClient, SecurityServer, SecurityVerify};
pub use session_expires::{Refresher, SessionExpires};
pub use subscription_state::SubscriptionState;
pub use tokens::{Allow, OptionTag, ProxyRequire, Require, Supported, Unsupported};
pub use via::{Via, ViaTransport};

/// A header value that this gateway takes apart.
pub trait Typed: Sized + Display {
    /// The header.
    const NAME: HeaderName;
    /// Whether a list of these may hold nothing.
    const MAY_BE_EMPTY: bool = false;
    /// Reads one value or one element of a list, white space around it removed.
    fn parse(value: &str) -> Option<Self>;
}

/// The views that are asked for most.
impl Headers {
    /// The topmost Via.
    ///
    /// # Errors
    /// If there is none, or it breaks its grammar.
    pub fn via(&self) -> Result<Via, HeaderError> {
        self.items(&HeaderName::Via)
            .next()
            .ok_or(HeaderError::Missing(HeaderName::Via))?
            .and_then(|item| Via::parse(item).ok_or(HeaderError::Malformed(HeaderName::Via)))
    }

    /// From.
    ///
    /// # Errors
    /// If it is missing or breaks its grammar.
    pub fn from(&self) -> Result<NameAddr, HeaderError> {
        self.required::<From>().map(|from| from.0)
    }

    /// To.
    ///
    /// # Errors
    /// If it is missing or breaks its grammar.
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.required::<To>().map(|to| to.0)
    }

    /// Call-ID.
    ///
    /// # Errors
    /// If it is missing or breaks its grammar.
    pub fn call_id(&self) -> Result<CallId, HeaderError> {
        self.required()
    }

    /// CSeq.
    ///
    /// # Errors
    /// If it is missing or breaks its grammar.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.required()
    }

    /// Whether a list of option tags (Require, Supported, Proxy-Require, Unsupported)
    /// or of methods (Allow) holds this token.
    #[must_use]
    pub fn lists_token(&self, name: &HeaderName, token: &str) -> bool {
        self.items(name)
            .flatten()
            .any(|item| item.eq_ignore_ascii_case(token))
    }
}

macro_rules! single_views {
    ($($(#[$doc:meta])* $view:ident -> $type:ty;)*) => {
        impl Headers {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// If it breaks its grammar.
                pub fn $view(&self) -> Result<Option<$type>, HeaderError> {
                    self.typed()
                }
            )*
        }
    };
}

macro_rules! list_views {
    ($($(#[$doc:meta])* $view:ident -> $type:ty;)*) => {
        impl Headers {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// If an element breaks its grammar or there are too many.
                pub fn $view(&self) -> Result<Vec<$type>, HeaderError> {
                    self.typed_list()
                }
            )*
        }
    };
}

macro_rules! address_views {
    ($($(#[$doc:meta])* $view:ident -> $type:ty;)*) => {
        impl Headers {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// If an element breaks its grammar or there are too many.
                pub fn $view(&self) -> Result<Vec<NameAddr>, HeaderError> {
                    let list = self.typed_list::<$type>()?;
                    Ok(list.into_iter().map(|value| value.0).collect())
                }
            )*
        }
    };
}

single_views! {
    /// Max-Forwards.
    max_forwards -> MaxForwards;
    /// Expires.
    expires -> Expires;
    /// Min-Expires.
    min_expires -> MinExpires;
    /// Session-Expires, RFC 4028.
    session_expires -> SessionExpires;
    /// Min-SE, RFC 4028.
    min_se -> MinSe;
    /// RAck, RFC 3262.
    rack -> RAck;
    /// RSeq, RFC 3262.
    rseq -> RSeq;
    /// Content-Type.
    content_type -> ContentType;
    /// Retry-After.
    retry_after -> RetryAfter;
    /// Replaces, RFC 3891.
    replaces -> Replaces;
    /// Event, RFC 6665.
    event -> Event;
    /// Subscription-State, RFC 6665.
    subscription_state -> SubscriptionState;
    /// Privacy, RFC 3323 and RFC 3325.
    privacy -> Privacy;
    /// P-Early-Media, RFC 5009.
    p_early_media -> PEarlyMedia;
    /// P-Charging-Vector.
    p_charging_vector -> PChargingVector;
    /// Refer-To, RFC 3515.
    refer_to -> ReferTo;
    /// Referred-By, RFC 3892.
    referred_by -> ReferredBy;
    /// P-Called-Party-ID, RFC 7315.
    p_called_party_id -> PCalledPartyId;
}

list_views! {
    /// Every Via, topmost first.
    vias -> Via;
    /// Every Contact.
    contacts -> Contact;
    /// Reasons, RFC 3326.
    reasons -> Reason;
    /// Option tags that must be understood.
    require -> Require;
    /// Option tags that proxies must understand.
    proxy_require -> ProxyRequire;
    /// Option tags that are understood.
    supported -> Supported;
    /// Option tags that are not understood.
    unsupported -> Unsupported;
    /// Methods that are taken.
    allow -> Allow;
    /// What the first proxy proposes, RFC 3329.
    security_servers -> SecurityServer;
}

address_views! {
    /// Route, topmost first.
    routes -> Route;
    /// Record-Route, topmost first.
    record_routes -> RecordRoute;
    /// Service-Route, RFC 3608.
    service_routes -> ServiceRoute;
    /// Path, RFC 3327.
    paths -> Path;
    /// P-Associated-URI, RFC 7315.
    p_associated_uris -> PAssociatedUri;
    /// P-Asserted-Identity, RFC 3325.
    p_asserted_identities -> PAssertedIdentity;
    /// P-Preferred-Identity, RFC 3325.
    p_preferred_identities -> PPreferredIdentity;
}

/// Digest headers are one challenge or one answer a field, RFC 3261 §20.44: their
/// commas do not make a list.
impl Headers {
    /// Every WWW-Authenticate field that can be read, in order.
    pub fn www_authenticate(&self) -> impl Iterator<Item = WwwAuthenticate> {
        self.each()
    }

    /// Every Proxy-Authenticate field that can be read, in order.
    pub fn proxy_authenticate(&self) -> impl Iterator<Item = ProxyAuthenticate> {
        self.each()
    }

    /// Every Authorization field that can be read, in order.
    pub fn authorization(&self) -> impl Iterator<Item = Authorization> {
        self.each()
    }

    /// Every Proxy-Authorization field that can be read, in order.
    pub fn proxy_authorization(&self) -> impl Iterator<Item = ProxyAuthorization> {
        self.each()
    }

    fn each<T: Typed>(&self) -> impl Iterator<Item = T> {
        self.iter()
            .filter(|header| *header.name() == T::NAME)
            .filter_map(|header| T::parse(header.text()?))
    }
}
