//! RAck, RFC 3262 §7.2.

use std::fmt;

use super::{CSeq, Typed};
use crate::message::header_name::HeaderName;
use crate::message::scan::{number, trim};

/// Which reliable provisional response a PRACK acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// RSeq of the response.
    pub rseq: u32,
    /// CSeq of the response.
    pub cseq: CSeq,
}

impl Typed for RAck {
    const NAME: HeaderName = HeaderName::RAck;

    fn parse(value: &str) -> Option<Self> {
        let (rseq, cseq) = value.split_once([' ', '\t'])?;
        Some(RAck {
            rseq: number(rseq)?,
            cseq: CSeq::parse(trim(cseq))?,
        })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}
