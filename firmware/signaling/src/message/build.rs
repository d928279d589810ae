//! Messages of our own: requests from nothing, responses from requests.

use bytes::Bytes;

use super::header::{HeaderValue, Headers};
use super::header_name::HeaderName;
use super::headers::Typed;
use super::method::Method;
use super::uri::Uri;
use super::{Message, Request, Response, StatusCode};

impl Request {
    /// A request without any header.
    #[must_use]
    pub fn new(method: Method, uri: impl Into<Uri>) -> Self {
        Request {
            method,
            uri: uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// A tag that is the same for each copy of the request, for answers that nothing
    /// is remembered of; RFC 3261 §8.2.7.
    #[must_use]
    pub fn stateless_tag(&self) -> String {
        stateless_tag(&self.headers)
    }

    /// Whether it is an INVITE outside a dialog, RFC 3261 §13.
    #[must_use]
    pub fn begins_a_call(&self) -> bool {
        let is_in_dialog = || self.headers.to().is_ok_and(|to| to.tag().is_some());
        self.method == Method::Invite && !is_in_dialog()
    }

    /// Where it goes next: its topmost Route, else its Request-URI (RFC 3261 §8.1.2).
    #[must_use]
    pub fn next_hop(&self) -> Uri {
        let routes = self.headers.routes().unwrap_or_default();
        let next = routes.into_iter().next().map(|route| route.uri);
        next.unwrap_or_else(|| self.uri.clone())
    }

    /// The same with one more header field at the end.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with one more typed header field at the end.
    #[must_use]
    pub fn with_typed<T: Typed>(mut self, value: &T) -> Self {
        self.headers.push_typed(value);
        self
    }

    /// The same with a body of this type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.replace(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }
}

impl Response {
    /// An answer with what RFC 3261 §8.2.6 wants copied: Via, From, To, Call-ID, CSeq,
    /// and Timestamp into a 100. Any but a 100 needs a tag in To:
    /// see [`Response::with_to_tag`].
    #[must_use]
    pub fn to_request(request: &Request, status: StatusCode) -> Self {
        Response::copying(&request.headers, status)
    }

    /// The same with a tag in To, unless it has one.
    #[must_use]
    pub fn with_to_tag(mut self, tag: &str) -> Self {
        if let Ok(to) = self.headers.to()
            && to.tag().is_none()
        {
            let to = to.with_tag(tag);
            self.headers.replace(HeaderName::To, to.to_string());
        }
        self
    }

    /// The same with another phrase.
    #[must_use]
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.reason = reason.into();
        self
    }

    /// The same with one more header field at the end.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with one more typed header field at the end.
    #[must_use]
    pub fn with_typed<T: Typed>(mut self, value: &T) -> Self {
        self.headers.push_typed(value);
        self
    }

    /// The same with a body of this type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.headers.replace(HeaderName::ContentType, content_type);
        self.body = body.into();
        self
    }

    pub(super) fn copying(request: &Headers, status: StatusCode) -> Self {
        let mut headers = Headers::new();
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            headers.copy(request, &name);
        }
        if status == StatusCode::TRYING {
            headers.copy(request, &HeaderName::Timestamp);
        }
        Response {
            status,
            reason: status.reason().into(),
            headers,
            body: Bytes::new(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Message::Response(response)
    }
}

/// A tag that is the same for each copy of a request, for answers that nothing is
/// remembered of; RFC 3261 §8.2.7.
pub(super) fn stateless_tag(headers: &Headers) -> String {
    let mut hash = FNV_OFFSET;
    for name in [HeaderName::Via, HeaderName::CallId, HeaderName::CSeq] {
        let value = headers.get(&name).map_or(&b""[..], |header| header.value());
        for byte in value {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
    format!("{hash:016x}")
}

/// The 64-bit FNV-1a hash.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
