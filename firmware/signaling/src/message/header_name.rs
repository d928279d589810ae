//! Names of header fields, RFC 3261 §7.3.1 and §20; compact forms of §7.3.3 are
//! folded into the long ones.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

macro_rules! header_names {
    (@compact $compact:literal $variant:ident) => {
        HeaderName::$variant
    };
    ($($variant:ident = $name:literal $(| $compact:literal)?;)*) => {
        /// Which header field. Names are compared without regard to case, and a
        /// compact form is the same name as the long one.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )*
            /// Any other token.
            Other(OtherName),
        }

        impl HeaderName {
            /// The long form, spelled as in its RFC; an unknown name as it came.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(HeaderName::$variant => $name,)*
                    HeaderName::Other(name) => name.as_str(),
                }
            }
        }

        /// Every spelling that is known.
        const SPELLINGS: &[&str] = &[$($name, $($compact,)?)*];

        /// What each of them stands for.
        static MEANINGS: &[HeaderName] = &[
            $(HeaderName::$variant, $(header_names!(@compact $compact $variant),)?)*
        ];
    };
}

header_names! {
    Accept = "Accept";
    AcceptContact = "Accept-Contact" | "a";
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AcceptResourcePriority = "Accept-Resource-Priority";
    AdditionalIdentity = "Additional-Identity";
    AlertInfo = "Alert-Info";
    Allow = "Allow";
    AllowEvents = "Allow-Events" | "u";
    AnswerMode = "Answer-Mode";
    AttestationInfo = "Attestation-Info";
    AuthenticationInfo = "Authentication-Info";
    Authorization = "Authorization";
    CallId = "Call-ID" | "i";
    CallInfo = "Call-Info";
    CellularNetworkInfo = "Cellular-Network-Info";
    Contact = "Contact" | "m";
    ContentDisposition = "Content-Disposition";
    ContentEncoding = "Content-Encoding" | "e";
    ContentLanguage = "Content-Language";
    ContentLength = "Content-Length" | "l";
    ContentType = "Content-Type" | "c";
    CSeq = "CSeq";
    Date = "Date";
    Diversion = "Diversion";
    ErrorInfo = "Error-Info";
    Event = "Event" | "o";
    Expires = "Expires";
    FeatureCaps = "Feature-Caps";
    FlowTimer = "Flow-Timer";
    From = "From" | "f";
    Geolocation = "Geolocation";
    GeolocationError = "Geolocation-Error";
    GeolocationRouting = "Geolocation-Routing";
    HistoryInfo = "History-Info";
    Identity = "Identity" | "y";
    IdentityInfo = "Identity-Info" | "n";
    InfoPackage = "Info-Package";
    InReplyTo = "In-Reply-To";
    Join = "Join";
    MaxBreadth = "Max-Breadth";
    MaxForwards = "Max-Forwards";
    MimeVersion = "MIME-Version";
    MinExpires = "Min-Expires";
    MinSe = "Min-SE";
    Organization = "Organization";
    OriginationId = "Origination-Id";
    PAccessNetworkInfo = "P-Access-Network-Info";
    PAnswerState = "P-Answer-State";
    PAssertedIdentity = "P-Asserted-Identity";
    PAssertedService = "P-Asserted-Service";
    PAssociatedUri = "P-Associated-URI";
    PCalledPartyId = "P-Called-Party-ID";
    PChargingFunctionAddresses = "P-Charging-Function-Addresses";
    PChargingVector = "P-Charging-Vector";
    PEarlyMedia = "P-Early-Media";
    PMediaAuthorization = "P-Media-Authorization";
    PPreferredIdentity = "P-Preferred-Identity";
    PPreferredService = "P-Preferred-Service";
    PPrivateNetworkIndication = "P-Private-Network-Indication";
    PProfileKey = "P-Profile-Key";
    PRefusedUriList = "P-Refused-URI-List";
    PServedUser = "P-Served-User";
    PUserDatabase = "P-User-Database";
    PVisitedNetworkId = "P-Visited-Network-ID";
    Path = "Path";
    PermissionMissing = "Permission-Missing";
    PolicyContact = "Policy-Contact";
    PolicyId = "Policy-ID";
    Priority = "Priority";
    PriorityShare = "Priority-Share";
    PriorityVerstat = "Priority-Verstat";
    PrivAnswerMode = "Priv-Answer-Mode";
    Privacy = "Privacy";
    ProxyAuthenticate = "Proxy-Authenticate";
    ProxyAuthenticationInfo = "Proxy-Authentication-Info";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyRequire = "Proxy-Require";
    RAck = "RAck";
    Reason = "Reason";
    RecordRoute = "Record-Route";
    RecvInfo = "Recv-Info";
    ReferSub = "Refer-Sub";
    ReferTo = "Refer-To" | "r";
    ReferredBy = "Referred-By" | "b";
    RejectContact = "Reject-Contact" | "j";
    RelayedCharge = "Relayed-Charge";
    RemotePartyId = "Remote-Party-ID";
    Replaces = "Replaces";
    ReplyTo = "Reply-To";
    RequestDisposition = "Request-Disposition" | "d";
    Require = "Require";
    ResourcePriority = "Resource-Priority";
    ResourceShare = "Resource-Share";
    ResponseSource = "Response-Source";
    RestorationInfo = "Restoration-Info";
    RetryAfter = "Retry-After";
    Route = "Route";
    RSeq = "RSeq";
    SecurityClient = "Security-Client";
    SecurityServer = "Security-Server";
    SecurityVerify = "Security-Verify";
    Server = "Server";
    ServiceInteractInfo = "Service-Interact-Info";
    ServiceRoute = "Service-Route";
    SessionExpires = "Session-Expires" | "x";
    SessionId = "Session-ID";
    SipETag = "SIP-ETag";
    SipIfMatch = "SIP-If-Match";
    Subject = "Subject" | "s";
    SubscriptionState = "Subscription-State";
    Supported = "Supported" | "k";
    SuppressIfMatch = "Suppress-If-Match";
    TargetDialog = "Target-Dialog";
    Timestamp = "Timestamp";
    To = "To" | "t";
    TriggerConsent = "Trigger-Consent";
    Unsupported = "Unsupported";
    UserAgent = "User-Agent";
    UserToUser = "User-to-User";
    Via = "Via" | "v";
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
}

impl HeaderName {
    /// Reads a name that is known, in any case, long or compact.
    #[must_use]
    pub fn known(name: &[u8]) -> Option<Self> {
        let mut slot = slot_of(name)?;
        while let Some(index) = INDEX[slot].checked_sub(1) {
            let index = usize::from(index);
            let spelling = SPELLINGS[index].as_bytes();
            if spelling == name || spelling.eq_ignore_ascii_case(name) {
                return Some(MEANINGS[index].clone());
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// Reads any name from a program's own text.
    ///
    /// # Panics
    /// If the text is not a token: it is the program's own.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        assert!(super::scan::is_token(name), "a header name is a token");
        HeaderName::known(name.as_bytes())
            .unwrap_or_else(|| HeaderName::Other(OtherName(Bytes::from_static(name.as_bytes()))))
    }

    /// A name that came with a message and is not known; `None` if it is not a token.
    pub(super) fn other(name: Bytes) -> Option<Self> {
        super::scan::is_token_bytes(&name).then(|| HeaderName::Other(OtherName(name)))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that this gateway has no word for.
#[derive(Clone)]
pub struct OtherName(Bytes);

impl OtherName {
    /// The name as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a token is ASCII")
    }

    fn lowered(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().map(u8::to_ascii_lowercase)
    }
}

impl PartialEq for OtherName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for OtherName {}

impl PartialOrd for OtherName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OtherName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lowered().cmp(other.lowered())
    }
}

impl Hash for OtherName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lowered().for_each(|byte| state.write_u8(byte));
    }
}

/// Size of the look-up table; a power of two, about four times the spellings.
const SLOTS: usize = 512;

/// For each slot, one more than an index into `SPELLINGS`, or 0.
static INDEX: [u8; SLOTS] = index();

const fn index() -> [u8; SLOTS] {
    assert!(SPELLINGS.len() < 255);
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < SPELLINGS.len() {
        let Some(mut slot) = slot_of(SPELLINGS[i].as_bytes()) else {
            panic!("an empty spelling")
        };
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u8 + 1;
        i += 1;
    }
    table
}

/// Where to look for a name: from its length and three of its letters, whose case is a
/// single bit.
const fn slot_of(name: &[u8]) -> Option<usize> {
    let Some(last) = name.len().checked_sub(1) else {
        return None;
    };
    let first = (name[0] | CASE) as u32;
    let middle = (name[name.len() / 2] | CASE) as u32;
    let end = (name[last] | CASE) as u32;
    let sum = (first << 16) ^ (middle << 8) ^ end ^ ((name.len() as u32) << 24);
    Some((sum.wrapping_mul(MULTIPLIER) >> (u32::BITS - SLOTS.trailing_zeros())) as usize)
}

/// What tells a small letter from a capital.
const CASE: u8 = 0x20;

/// Spreads the sums; found by trying, so that few names meet in a slot.
const MULTIPLIER: u32 = 0x6653_1DAF;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_spelling_is_found_in_any_case() {
        for (spelling, meaning) in SPELLINGS.iter().zip(MEANINGS) {
            for text in [
                spelling.to_string(),
                spelling.to_ascii_lowercase(),
                spelling.to_ascii_uppercase(),
            ] {
                assert_eq!(HeaderName::known(text.as_bytes()).as_ref(), Some(meaning));
            }
        }
        for unknown in ["", "Q", "Vias", "Call-IE", "Call\rID"] {
            assert_eq!(HeaderName::known(unknown.as_bytes()), None, "{unknown:?}");
        }
    }

    #[test]
    fn unknown_names_are_equal_whatever_their_case() {
        let name = |text| HeaderName::from_static(text);
        assert_eq!(name("X-Odd"), name("x-oDD"));
        assert!(name("X-Odd") != name("X-Even"));
        assert_eq!(name("f"), HeaderName::From);
        assert_eq!(name("x-oDD").as_str(), "x-oDD");
    }
}
