//! JSON (RFC 8259) read as strictly as a token deserves: a member that comes twice is an
//! error (RFC 7515 §4, RFC 7519 §4), because two readers would take different ones.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value. `Debug` hides it: claims are people.
#[derive(Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// A number without a fraction.
    Whole(i64),
    /// Any other number.
    Fraction(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// Members by their name.
pub(crate) type Object = BTreeMap<String, Json>;

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// It is not a JSON object.
    Grammar,
    /// A member comes twice.
    Duplicate,
}

/// Reads an object and nothing behind it.
pub(crate) fn object(text: &[u8]) -> Result<Object, NotJson> {
    match serde_json::from_slice::<Json>(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(NotJson::Grammar),
        Err(error) if error.to_string().starts_with(DUPLICATE) => Err(NotJson::Duplicate),
        Err(_) => Err(NotJson::Grammar),
    }
}

impl Json {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Json]> {
        match self {
            Json::List(list) => Some(list),
            _ => None,
        }
    }

    /// A text, or each text of a list. `None` if anything else is in it.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Json::Text(text) => Some(vec![text]),
            Json::List(list) => list.iter().map(Json::text).collect(),
            _ => None,
        }
    }

    /// A NumericDate of RFC 7519 §2: seconds since 1970, fractions cut off.
    pub(crate) fn numeric_date(&self) -> Option<i64> {
        match self {
            Json::Whole(seconds) => Some(*seconds),
            // The cast saturates, and the limit keeps sums from overflowing.
            #[allow(clippy::cast_possible_truncation)]
            Json::Fraction(seconds) => Some(seconds.floor() as i64),
            _ => None,
        }
        .filter(|seconds| (0..=LAST_SECOND).contains(seconds))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private>")
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        #[allow(clippy::cast_precision_loss)]
        let fraction = || Json::Fraction(value as f64);
        Ok(i64::try_from(value).map_or_else(|_| fraction(), Json::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Fraction(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom(DUPLICATE));
            }
        }
        Ok(Json::Object(object))
    }
}

const DUPLICATE: &str = "duplicate member";

/// The year 9999; later times are no times.
const LAST_SECOND: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_member_that_comes_twice_is_an_error_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotJson::Duplicate), "{text}");
        }
        assert!(object(br#"{"a":{"a":1}}"#).is_ok());
    }

    #[test]
    fn only_one_whole_object_is_taken() {
        for text in [
            "",
            "[]",
            "7",
            "{} {}",
            "{\"a\":1,}",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{'a':1}",
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotJson::Grammar), "{text}");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(5000), "}".repeat(5000));
        assert_eq!(object(deep.as_bytes()), Err(NotJson::Grammar));
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(NotJson::Grammar));
    }

    #[test]
    fn a_time_is_a_number_of_seconds() {
        let date = |text: &str| object(text.as_bytes()).unwrap()["t"].numeric_date();
        assert_eq!(date(r#"{"t":1700000000}"#), Some(1_700_000_000));
        assert_eq!(date(r#"{"t":1700000000.9}"#), Some(1_700_000_000));
        for wrong in [
            "\"1700000000\"",
            "-1",
            "1e300",
            "18446744073709551615",
            "true",
            "null",
        ] {
            assert_eq!(date(&format!("{{\"t\":{wrong}}}")), None, "{wrong}");
        }
    }

    #[test]
    fn a_claim_never_prints() {
        assert_eq!(format!("{:?}", Json::Text("alice".into())), "<private>");
    }
}
