//! Addresses, methods and Call-IDs as they are kept over a restart: as the text that
//! stands on the wire, and read back by the same parser.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::headers::{CallId, PChargingVector, Typed as _};
use super::{Method, NameAddr, Uri};

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                // What it is, and never what it says.
                <$type>::parse(&text).ok_or_else(|| D::Error::custom(stringify!($type)))
            }
        }
    )*};
}

as_text!(Uri, NameAddr, Method, CallId, PChargingVector);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_kept_as_it_was_written() {
        for text in [
            "\"Alice \\\"A\\\" B\" <sip:alice@ims.test;user=phone>;tag=a1;x=\"y z\"",
            "<tel:+390401234567>;tag=7",
            "<sip:orig@[2001:db8::1]:6060;lr>",
        ] {
            let address = NameAddr::parse(text).unwrap();
            let kept = serde_json::to_string(&address).unwrap();
            assert_eq!(serde_json::from_str::<NameAddr>(&kept).unwrap(), address);
        }
        let method = serde_json::to_string(&[Method::Update, Method::Other("X".into())]).unwrap();
        assert_eq!(method, "[\"UPDATE\",\"X\"]");
    }

    #[test]
    fn what_is_no_address_is_not_read_and_not_repeated() {
        let error = serde_json::from_str::<Uri>("\"sip:alice@ims test\"").unwrap_err();
        assert!(!error.to_string().contains("alice"), "{error}");
    }
}
