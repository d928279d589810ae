//! CSeq, RFC 3261 §20.16.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::method::Method;
use crate::message::scan::{number, trim};

/// Which request of a dialog this is, or is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31, RFC 3261 §8.1.1.5.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads number and method without keeping the method.
    pub(in crate::message) fn split(value: &str) -> Option<(u32, &str)> {
        let (digits, method) = value.split_once([' ', '\t'])?;
        let number = number(digits).filter(|number| *number < LIMIT)?;
        Some((number, trim(method)))
    }
}

impl Typed for CSeq {
    const NAME: HeaderName = HeaderName::CSeq;

    fn parse(value: &str) -> Option<Self> {
        let (number, method) = CSeq::split(value)?;
        Some(CSeq {
            number,
            method: Method::parse(method)?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// RFC 3261 §8.1.1.5.
const LIMIT: u32 = 1 << 31;
