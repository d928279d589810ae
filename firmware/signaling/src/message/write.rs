//! The writer, RFC 3261 §7: what is put on the wire.

use bytes::Bytes;

use super::header::Headers;
use super::header_name::HeaderName;
use super::{Message, Request, Response};

impl Message {
    /// The bytes on the wire. Content-Length is always there, and right.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// The bytes on the wire. Content-Length is always there, and right.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let start = [self.method.as_str(), " ", self.uri.as_str(), " SIP/2.0"];
        write(&start, &self.headers, &self.body)
    }
}

impl Response {
    /// The bytes on the wire. Content-Length is always there, and right.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let status = self.status.to_string();
        let reason = self.reason.replace(['\r', '\n', '\0'], " ");
        write(
            &["SIP/2.0 ", &status, " ", &reason],
            &self.headers,
            &self.body,
        )
    }
}

fn write(start: &[&str], headers: &Headers, body: &[u8]) -> Bytes {
    let lines: usize = headers
        .iter()
        .map(|header| header.spelling().len() + header.value().len() + 4)
        .sum();
    let first: usize = start.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(first + lines + body.len() + 32);
    for part in start {
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    for header in headers {
        if *header.name() != HeaderName::ContentLength {
            write_line(&mut bytes, header.spelling(), header.value());
        }
    }
    let length = body.len().to_string();
    write_line(&mut bytes, b"Content-Length", length.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes.into()
}

fn write_line(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}
