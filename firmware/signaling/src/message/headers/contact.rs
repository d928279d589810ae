//! Contact, RFC 3261 §20.10, with the parameters of RFC 5626 and RFC 5627.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::name_addr::NameAddr;
use crate::message::scan::number;

/// Where someone can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Contact {
    /// `*`: every binding, RFC 3261 §10.2.2.
    All,
    /// One address.
    Address(NameAddr),
}

impl Contact {
    /// The address, unless it is `*`.
    #[must_use]
    pub fn address(&self) -> Option<&NameAddr> {
        match self {
            Contact::All => None,
            Contact::Address(address) => Some(address),
        }
    }

    /// How long the binding lasts, in seconds; `None` if it is not said or cannot be
    /// read.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").and_then(seconds)
    }

    /// Which of the flows of an instance this is, RFC 5626 §4.2.
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        self.param("reg-id").and_then(number)
    }

    /// Which device this is, with its quotes and angle brackets taken off; RFC 5626
    /// §4.1.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        let quoted = self.address()?.params.unquoted("+sip.instance")?;
        Some(quoted.strip_prefix('<')?.strip_suffix('>')?.to_owned())
    }

    /// The public GRUU, RFC 5627 §5.
    #[must_use]
    pub fn pub_gruu(&self) -> Option<String> {
        self.address()?.params.unquoted("pub-gruu")
    }

    /// The temporary GRUU, RFC 5627 §5.
    #[must_use]
    pub fn temp_gruu(&self) -> Option<String> {
        self.address()?.params.unquoted("temp-gruu")
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.address()?.params.get(name)
    }
}

impl Typed for Contact {
    const NAME: HeaderName = HeaderName::Contact;

    fn parse(value: &str) -> Option<Self> {
        if value == "*" {
            return Some(Contact::All);
        }
        NameAddr::parse(value).map(Contact::Address)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Contact::All => f.write_str("*"),
            Contact::Address(address) => address.fmt(f),
        }
    }
}

/// Delta-seconds; more than fits is the most that fits, RFC 3261 §20.19.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outbound_and_gruu_parameters_are_read() {
        let contact = Contact::parse(
            r#"<sip:a@b.invalid;transport=ws>;reg-id=1;expires=600;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";pub-gruu="sip:a@b;gr=urn:uuid:f81d4fae""#,
        )
        .unwrap();
        assert_eq!(contact.reg_id(), Some(1));
        assert_eq!(contact.expires(), Some(600));
        assert_eq!(
            contact.instance().unwrap(),
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
        );
        assert_eq!(contact.pub_gruu().unwrap(), "sip:a@b;gr=urn:uuid:f81d4fae");
    }
}
