//! SIP messages, RFC 3261 §7: parsed once into a list of header slices, typed when
//! someone asks, written back byte for byte where nobody edited.
//!
//! After [`Message::parse`] the headers that every message needs (Via, From, To,
//! Call-ID, CSeq) are there and well formed. Content-Length belongs to the framing:
//! the parser takes it off and the writer puts it on.

use std::fmt;

use bytes::Bytes;

mod as_text;
mod build;
mod error;
mod framing;
mod header;
mod header_name;
pub mod headers;
mod host;
mod lines;
mod method;
mod name_addr;
mod params;
mod parse;
mod scan;
mod sip_uri;
mod status;
mod uri;
mod write;

pub use error::{Fault, ParseError};
pub use framing::{
    Framed, Framing, FramingError, Parsed, StreamFramer, parse_datagram, parse_websocket,
};
pub use header::{Header, HeaderError, HeaderValue, Headers, MAX_ITEMS};
pub use header_name::{HeaderName, OtherName};
pub use host::{Host, HostName};
pub use method::Method;
pub use name_addr::NameAddr;
pub use params::Params;
pub use parse::{MAX_HEADERS, MAX_MESSAGE};
pub use scan::{is_token, quote};
pub use status::StatusCode;
pub use uri::{OtherUri, SipUri, TelUri, Uri};

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Someone asks.
    Request(Request),
    /// Someone answers.
    Response(Response),
}

/// A request, RFC 3261 §7.1. `Debug` hides what is private.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Of whom.
    pub uri: Uri,
    /// The header fields, without Content-Length.
    pub headers: Headers,
    /// The body; may be empty.
    pub body: Bytes,
}

/// A response, RFC 3261 §7.2. `Debug` hides what is private.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The code.
    pub status: StatusCode,
    /// The phrase, for people.
    pub reason: Box<str>,
    /// The header fields, without Content-Length.
    pub headers: Headers,
    /// The body; may be empty.
    pub body: Bytes,
}

impl Message {
    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        match self {
            Message::Request(request) => &request.body,
            Message::Response(response) => &response.body,
        }
    }
}

impl Response {
    /// 1xx.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.status.is_provisional()
    }

    /// 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.method, self.uri, self.headers)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.status, self.headers)
    }
}
