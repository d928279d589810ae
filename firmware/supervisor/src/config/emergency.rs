//! What is done with emergency calls.

use signaling::emergency::{self, EmergencyConfig};
use signaling::message::{SipUri, Uri};

use super::ims::Ims;
use super::reader::text_value;

/// A country by its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Country(String);

impl std::str::FromStr for Country {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        emergency::numbers_of(text).ok_or(())?;
        Ok(Country(text.to_ascii_uppercase()))
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(
    Country,
    "a country of the table by its ISO code, like \"IT\"; for another, list its numbers in \
     emergency_numbers"
);

/// An emergency number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number(String);

impl std::str::FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_number = (2..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| Number(text.to_owned())).ok_or(())
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(Number, "two to six digits, like \"112\"");

/// Who takes emergency calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route(SipUri);

impl std::str::FromStr for Route {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let uri = Uri::parse(text).ok_or(())?;
        uri.as_sip().cloned().map(Route).ok_or(())
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

text_value!(Route, "a SIP URI, like \"sip:ecscf.ims.example.com:5060\"");

impl Ims {
    /// As signaling knows it.
    pub(super) fn emergency(&self) -> EmergencyConfig {
        let default = EmergencyConfig::default();
        let own = self.emergency_country.as_ref();
        let of_country = own.and_then(|country| emergency::numbers_of(&country.0));
        let numbers = of_country.map(|all| all.into_iter().map(str::to_owned).collect());
        let mut numbers: Vec<String> = numbers.unwrap_or(default.numbers);
        numbers.extend(self.emergency_numbers.iter().map(|number| number.0.clone()));
        EmergencyConfig {
            numbers,
            route: self.emergency_route.as_ref().map(|route| route.0.clone()),
        }
    }
}
