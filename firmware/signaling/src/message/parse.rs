//! The parser, RFC 3261 §7: one pass over the bytes, slices instead of copies.

use std::ops::Range;

use bytes::Bytes;

use super::build::stateless_tag;
use super::error::{Fault, ParseError};
use super::framing::Framing;
use super::header::{Header, HeaderError, Headers};
use super::header_name::HeaderName;
use super::headers::{CSeq, CallId, Via};
use super::lines::{Next, next_line, unfold};
use super::method::Method;
use super::name_addr::NameAddr;
use super::scan::{List, number, trim};
use super::uri::Uri;
use super::{Message, Request, Response, StatusCode};

impl Message {
    /// Reads one whole message. Line ends in front of it are skipped (RFC 3261 §7.5).
    ///
    /// # Errors
    /// If it breaks the grammar, or a limit; the error holds the answer to send.
    pub fn parse(bytes: &Bytes, framing: Framing) -> Result<Self, ParseError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Fault::TooLarge.into());
        }
        let start = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let mut reader = Reader::new(bytes);
        let (line, next) = first_line(bytes, start).ok_or(Fault::StartLine)?;
        let start_line = StartLine::parse(line);
        let body = reader.read_headers(next);
        match start_line {
            Ok(StartLine::Status(status, reason)) => {
                reader.finish(body, framing, None)?;
                let body = reader.body(framing)?;
                Ok(Message::Response(Response {
                    status,
                    reason,
                    headers: reader.headers,
                    body,
                }))
            }
            Ok(StartLine::Request(method, uri)) => {
                let checked = reader
                    .finish(body, framing, Some(&method))
                    .and_then(|()| reader.body(framing));
                match checked {
                    Ok(body) => Ok(Message::Request(Request {
                        method,
                        uri,
                        headers: reader.headers,
                        body,
                    })),
                    Err(fault) => Err(reader.refuse(fault, method == Method::Ack)),
                }
            }
            Err((fault, true)) => Err(reader.refuse(fault, line.starts_with(b"ACK "))),
            Err((fault, false)) => Err(fault.into()),
        }
    }
}

/// The first line without its end, and where the next one starts.
fn first_line(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let end = start + memchr::memchr(b'\n', &bytes[start..])?;
    let line = bytes[start..end].strip_suffix(b"\r")?;
    Some((line, end + 1))
}

enum StartLine {
    Request(Method, Uri),
    Status(StatusCode, Box<str>),
}

impl StartLine {
    /// The fault comes with whether the line is that of a request.
    fn parse(line: &[u8]) -> Result<Self, (Fault, bool)> {
        if line
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
        {
            return StartLine::parse_status(line).map_err(|fault| (fault, false));
        }
        let text = std::str::from_utf8(line).map_err(|_| (Fault::StartLine, true))?;
        StartLine::parse_request(text).map_err(|fault| (fault, true))
    }

    /// `Method SP Request-URI SP SIP-Version`, single spaces and no others.
    fn parse_request(line: &str) -> Result<Self, Fault> {
        let (method, rest) = line.split_once(' ').ok_or(Fault::StartLine)?;
        let (uri, version) = rest.rsplit_once(' ').ok_or(Fault::StartLine)?;
        let method = Method::parse(method).ok_or(Fault::StartLine)?;
        check_version(version)?;
        let uri = Uri::parse(uri).ok_or(Fault::RequestUri)?;
        // RFC 3261 §19.1.1 forbids headers in a Request-URI.
        if uri.as_sip().is_some_and(|uri| uri.headers().is_some()) {
            return Err(Fault::RequestUri);
        }
        Ok(StartLine::Request(method, uri))
    }

    /// `SIP-Version SP Status-Code SP Reason-Phrase`; the phrase may be empty.
    fn parse_status(line: &[u8]) -> Result<Self, Fault> {
        let (version, rest) = split_space(line).ok_or(Fault::StartLine)?;
        check_version(std::str::from_utf8(version).map_err(|_| Fault::StartLine)?)?;
        let (code, reason) = split_space(rest).unwrap_or((rest, b""));
        let code = std::str::from_utf8(code)
            .ok()
            .filter(|code| code.len() == 3);
        let status = code.and_then(number).and_then(StatusCode::new);
        let reason = String::from_utf8_lossy(reason).replace(['\r', '\0'], " ");
        status
            .map(|status| StartLine::Status(status, reason.into()))
            .ok_or(Fault::StartLine)
    }
}

fn split_space(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b' ', line)?;
    Some((&line[..at], &line[at + 1..]))
}

fn check_version(version: &str) -> Result<(), Fault> {
    if version.eq_ignore_ascii_case("SIP/2.0") {
        return Ok(());
    }
    let is_version = version
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
        && version[4..].split_once('.').is_some_and(|(major, minor)| {
            number::<u32>(major).is_some() && number::<u32>(minor).is_some()
        });
    Err(if is_version {
        Fault::Version
    } else {
        Fault::StartLine
    })
}

/// Header fields as they are read, and where those are that everyone needs.
struct Reader<'a> {
    bytes: &'a Bytes,
    headers: Headers,
    fault: Option<Fault>,
    needed: [Option<usize>; 5],
    max_forwards: Option<usize>,
    content_length: Option<Range<usize>>,
    body_start: usize,
}

/// Headers without which no message is whole, RFC 3261 §8.1.1 (Max-Forwards is
/// missing in requests of peers older than that).
static NEEDED: [HeaderName; 5] = [
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
];

impl<'a> Reader<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Reader {
            bytes,
            headers: Headers::with_capacity(USUAL_HEADERS),
            fault: None,
            needed: [None; 5],
            max_forwards: None,
            content_length: None,
            body_start: bytes.len(),
        }
    }

    /// Reads all header lines. After a fault it goes on, so that the answer finds
    /// what it has to copy. Gives where the body starts.
    fn read_headers(&mut self, mut at: usize) -> Option<usize> {
        loop {
            match next_line(self.bytes, at) {
                Next::Line(line, next) => {
                    if self.headers.len() == MAX_HEADERS {
                        self.note(Fault::TooManyHeaders);
                        return None;
                    }
                    self.read_header(line.name, line.value, line.is_folded);
                    at = next;
                }
                Next::Broken(next) => {
                    self.note(Fault::HeaderLine);
                    at = next;
                }
                Next::Body(start) => return Some(start),
                Next::End => {
                    self.note(Fault::NoEndOfHeaders);
                    return None;
                }
            }
        }
    }

    fn read_header(&mut self, name_at: Range<usize>, value_at: Range<usize>, is_folded: bool) {
        let spelling = &self.bytes[name_at.clone()];
        let known = HeaderName::known(spelling);
        let Some(name) = known.or_else(|| HeaderName::other(self.bytes.slice(name_at.clone())))
        else {
            return self.note(Fault::HeaderLine);
        };
        let index = self.headers.len();
        let slot = match name {
            HeaderName::Via => {
                self.needed[0].get_or_insert(index);
                None
            }
            HeaderName::From => Some(&mut self.needed[1]),
            HeaderName::To => Some(&mut self.needed[2]),
            HeaderName::CallId => Some(&mut self.needed[3]),
            HeaderName::CSeq => Some(&mut self.needed[4]),
            HeaderName::MaxForwards => Some(&mut self.max_forwards),
            HeaderName::ContentLength => {
                if self.content_length.replace(value_at).is_some() {
                    self.note(Fault::Repeated(name));
                }
                return;
            }
            _ => None,
        };
        if slot.is_some_and(|slot| slot.replace(index).is_some()) {
            return self.note(Fault::Repeated(name));
        }
        let value = if is_folded {
            unfold(&self.bytes[value_at]).into()
        } else {
            self.bytes.slice(value_at)
        };
        let spelling = if self.bytes[name_at.clone()] == *name.as_str().as_bytes() {
            Bytes::new()
        } else {
            self.bytes.slice(name_at)
        };
        self.headers
            .push_header(Header::received(name, spelling, value));
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Looks at what every message needs.
    fn finish(
        &mut self,
        body: Option<usize>,
        framing: Framing,
        method: Option<&Method>,
    ) -> Result<(), Fault> {
        if let Some(fault) = self.fault.clone() {
            return Err(fault);
        }
        self.body_start = body.ok_or(Fault::NoEndOfHeaders)?;
        let via = self.needed_text(0)?;
        let top = List::new(via).next().and_then(Result::ok);
        check(top.is_some_and(Via::checked), &NEEDED[0])?;
        check(
            NameAddr::checked_tag(self.needed_text(1)?).is_some(),
            &NEEDED[1],
        )?;
        check(
            NameAddr::checked_tag(self.needed_text(2)?).is_some(),
            &NEEDED[2],
        )?;
        check(CallId::is_well_formed(self.needed_text(3)?), &NEEDED[3])?;
        let cseq = CSeq::split(self.needed_text(4)?);
        let cseq_method = cseq.map(|(_, method)| method);
        check(cseq_method.is_some_and(super::scan::is_token), &NEEDED[4])?;
        if method.is_some_and(|method| cseq_method != Some(method.as_str())) {
            return Err(Fault::CSeqMismatch);
        }
        if let Some(index) = self.max_forwards {
            let hops = self.text(index).and_then(number::<u8>);
            check(hops.is_some(), &HeaderName::MaxForwards)?;
        }
        if framing == Framing::Stream && self.content_length.is_none() {
            return Err(HeaderError::Missing(HeaderName::ContentLength).into());
        }
        Ok(())
    }

    /// Cuts the body to its length, RFC 3261 §18.3.
    fn body(&self, framing: Framing) -> Result<Bytes, Fault> {
        let rest = self.bytes.len() - self.body_start;
        let Some(range) = self.content_length.clone() else {
            return Ok(match framing {
                Framing::Stream => Bytes::new(),
                Framing::Datagram | Framing::WebSocket => self.bytes.slice(self.body_start..),
            });
        };
        let value = &self.bytes[range];
        let length = std::str::from_utf8(value)
            .ok()
            .and_then(|text| number::<usize>(trim(text)))
            .ok_or(HeaderError::Malformed(HeaderName::ContentLength))?;
        if length > rest {
            return Err(Fault::Truncated);
        }
        Ok(self.bytes.slice(self.body_start..self.body_start + length))
    }

    fn needed_text(&self, which: usize) -> Result<&str, Fault> {
        let missing = || HeaderError::Missing(NEEDED[which].clone());
        let index = self.needed[which].ok_or_else(missing)?;
        let malformed = || HeaderError::Malformed(NEEDED[which].clone());
        Ok(self.text(index).ok_or_else(malformed)?)
    }

    fn text(&self, index: usize) -> Option<&str> {
        self.headers.iter().nth(index)?.text()
    }

    /// The error that answers a broken request, if it can be answered: an ACK never
    /// is, and without a Via nobody would know what was answered.
    fn refuse(self, fault: Fault, is_ack: bool) -> ParseError {
        let via = self.headers.has(&HeaderName::Via);
        let response = (via && !is_ack).then(|| {
            let mut response = Response::copying(&self.headers, fault.status());
            response.reason = format!("{} ({fault})", fault.status().reason()).into();
            if let Ok(to) = response.headers.to()
                && to.tag().is_none()
            {
                let to = to.with_tag(&stateless_tag(&self.headers));
                response.headers.replace(HeaderName::To, to.to_string());
            }
            Box::new(response)
        });
        ParseError { fault, response }
    }
}

fn check(is_good: bool, name: &HeaderName) -> Result<(), Fault> {
    if is_good {
        Ok(())
    } else {
        Err(HeaderError::Malformed(name.clone()).into())
    }
}

/// Largest message that is read.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most header fields that are read.
pub const MAX_HEADERS: usize = 256;

/// Room for what a message usually has.
const USUAL_HEADERS: usize = 32;
