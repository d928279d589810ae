//! Why bytes are no SIP message, and what to answer all the same.

use super::header::HeaderError;
use super::header_name::HeaderName;
use super::{Response, StatusCode};

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than [`super::MAX_MESSAGE`] bytes.
    #[error("message too large")]
    TooLarge,
    /// More than [`super::MAX_HEADERS`] header fields.
    #[error("too many header fields")]
    TooManyHeaders,
    /// The end comes before the empty line that ends the header fields.
    #[error("no end of headers")]
    NoEndOfHeaders,
    /// The first line is neither a request nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// The Request-URI breaks its grammar.
    #[error("malformed Request-URI")]
    RequestUri,
    /// A version other than SIP/2.0.
    #[error("version not supported")]
    Version,
    /// A header line has no name, no colon, or a letter that no line may have.
    #[error("malformed header line")]
    HeaderLine,
    /// A header that every message needs is missing or breaks its grammar.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A header that occurs once is there twice.
    #[error("repeated {0}")]
    Repeated(HeaderName),
    /// CSeq names another method than the request line.
    #[error("CSeq does not match the method")]
    CSeqMismatch,
    /// Content-Length is more than what is there.
    #[error("truncated body")]
    Truncated,
}

impl Fault {
    /// The status that answers a request with this fault.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Fault::TooLarge => StatusCode::MESSAGE_TOO_LARGE,
            Fault::Version => StatusCode::VERSION_NOT_SUPPORTED,
            Fault::TooManyHeaders
            | Fault::NoEndOfHeaders
            | Fault::StartLine
            | Fault::RequestUri
            | Fault::HeaderLine
            | Fault::Header(_)
            | Fault::Repeated(_)
            | Fault::CSeqMismatch
            | Fault::Truncated => StatusCode::BAD_REQUEST,
        }
    }
}

/// A message that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong.
    pub fault: Fault,
    /// The answer, if it was a request that says where an answer goes.
    pub(super) response: Option<Box<Response>>,
}

impl ParseError {
    /// The answer that its sender should get, at the address that it sent from, if it
    /// was a request other than ACK and had a Via.
    #[must_use]
    pub fn into_response(self) -> Option<Response> {
        self.response.map(|response| *response)
    }
}

impl From<Fault> for ParseError {
    fn from(fault: Fault) -> Self {
        ParseError {
            fault,
            response: None,
        }
    }
}
