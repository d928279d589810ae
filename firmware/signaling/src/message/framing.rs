//! Where a message starts and ends on each transport: datagrams and streams (RFC
//! 3261 §18.3), WebSocket messages (RFC 7118 §5), and the keepalives between them
//! (RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};

use super::Message;
use super::error::ParseError;
use super::header_name::HeaderName;
use super::lines::{Next, next_line};
use super::parse::MAX_MESSAGE;
use super::scan::number;

/// What tells the length of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A datagram; Content-Length may be missing or less than what is there.
    Datagram,
    /// A WebSocket message; as a datagram.
    WebSocket,
    /// A stream; only Content-Length tells.
    Stream,
}

/// What one datagram or one WebSocket message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A message.
    Message(Message),
    /// A keepalive that wants a single CRLF back.
    Ping,
    /// The answer to a keepalive, or nothing at all.
    Pong,
}

/// Reads a datagram.
///
/// # Errors
/// If it is neither a message nor a keepalive.
pub fn parse_datagram(bytes: &Bytes) -> Result<Parsed, ParseError> {
    parse(bytes, Framing::Datagram)
}

/// Reads a WebSocket message, text or binary.
///
/// # Errors
/// If it is neither a message nor a keepalive.
pub fn parse_websocket(bytes: &Bytes) -> Result<Parsed, ParseError> {
    parse(bytes, Framing::WebSocket)
}

fn parse(bytes: &Bytes, framing: Framing) -> Result<Parsed, ParseError> {
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let is_ping = bytes.starts_with(b"\r\n\r\n");
        return Ok(if is_ping { Parsed::Ping } else { Parsed::Pong });
    }
    Message::parse(bytes, framing).map(Parsed::Message)
}

/// One thing on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// The bytes of one message, for [`Message::parse`] with [`Framing::Stream`].
    Message(Bytes),
    /// A double CRLF: wants a single one back.
    Ping,
    /// A single CRLF: the answer to a ping.
    Pong,
}

/// Why a stream cannot be read on; it has to be closed, as nobody knows where the
/// next message starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A message is larger than [`MAX_MESSAGE`].
    #[error("message too large")]
    TooLarge,
    /// Content-Length is missing, repeated or no number.
    #[error("no usable Content-Length")]
    ContentLength,
}

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: BytesMut,
    /// How far the end of the header fields has been looked for.
    looked_at: usize,
    /// The length of the message at the front, once it is known.
    wanted: Option<usize>,
    /// A single CRLF was the last thing before the buffer.
    half_ping: bool,
    failed: Option<FramingError>,
}

impl StreamFramer {
    /// A framer of a new stream.
    #[must_use]
    pub fn new() -> Self {
        StreamFramer::default()
    }

    /// Takes what was read. What is left over is at most one message if
    /// [`StreamFramer::next_frame`] is called until it gives `None`.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next thing on the stream, once it is whole.
    pub fn next_frame(&mut self) -> Option<Result<Framed, FramingError>> {
        if let Some(error) = self.failed {
            return Some(Err(error));
        }
        if self.wanted.is_none() && self.buffer.first() == Some(&b'\r') {
            return self.next_keepalive().map(Ok);
        }
        match self.message_len() {
            Ok(None) => None,
            Ok(Some(length)) => (self.buffer.len() >= length).then(|| {
                self.looked_at = 0;
                self.wanted = None;
                self.half_ping = false;
                Ok(Framed::Message(self.buffer.split_to(length).freeze()))
            }),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                Some(Err(error))
            }
        }
    }

    /// Reads a CRLF or two. Half a ping is told as a pong first, which costs nobody
    /// anything, and waits for no one.
    fn next_keepalive(&mut self) -> Option<Framed> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.buffer.advance(4);
            self.half_ping = false;
            Some(Framed::Ping)
        } else if self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.half_ping = !self.half_ping;
            Some(if self.half_ping {
                Framed::Pong
            } else {
                Framed::Ping
            })
        } else if self.buffer.len() == 1 {
            None
        } else {
            // A carriage return alone is no start of anything; the parser will say so.
            self.buffer[0] = b' ';
            None
        }
    }

    fn message_len(&mut self) -> Result<Option<usize>, FramingError> {
        if let Some(length) = self.wanted {
            return Ok(Some(length));
        }
        let from = self.looked_at.saturating_sub(3);
        let Some(end) = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
            self.looked_at = self.buffer.len();
            return if self.buffer.len() > MAX_MESSAGE {
                Err(FramingError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let head = from + end + 4;
        let body = content_length(&self.buffer[..head]).ok_or(FramingError::ContentLength)?;
        let length = head.saturating_add(body);
        if length > MAX_MESSAGE {
            return Err(FramingError::TooLarge);
        }
        self.wanted = Some(length);
        Ok(Some(length))
    }
}

/// The one Content-Length of a message's head.
fn content_length(head: &[u8]) -> Option<usize> {
    let mut at = memchr::memchr(b'\n', head)? + 1;
    let mut length = None;
    loop {
        match next_line(head, at) {
            Next::Line(line, next) => {
                at = next;
                if HeaderName::known(&head[line.name]) == Some(HeaderName::ContentLength) {
                    let value = std::str::from_utf8(&head[line.value]).ok()?;
                    if length.replace(number(value)?).is_some() {
                        return None;
                    }
                }
            }
            Next::Broken(next) => at = next,
            Next::Body(_) | Next::End => return length,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn drain(framer: &mut StreamFramer) -> String {
        let frames = std::iter::from_fn(|| framer.next_frame()).take(9);
        let words = frames.map(|frame| match frame {
            Ok(Framed::Message(bytes)) => format!("message {}", bytes.len()),
            Ok(Framed::Ping) => "ping".to_owned(),
            Ok(Framed::Pong) => "pong".to_owned(),
            Err(error) => error.to_string(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    const ONE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nl:\r\n 3\r\n\r\nabc";

    #[test]
    fn messages_and_keepalives_are_cut_from_one_read() {
        let mut framer = StreamFramer::new();
        framer.push(&[ONE, b"\r\n\r\n", ONE, b"\r\n", ONE, &ONE[..9]].concat());
        let whole = ONE.len();
        assert_eq!(
            drain(&mut framer),
            format!("message {whole}, ping, message {whole}, pong, message {whole}")
        );
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same() {
        let mut framer = StreamFramer::new();
        let mut seen = Vec::new();
        for byte in [ONE, b"\r\n\r\n", ONE].concat() {
            framer.push(&[byte]);
            seen.push(drain(&mut framer));
        }
        seen.retain(|words| !words.is_empty());
        let whole = format!("message {}", ONE.len());
        assert_eq!(seen, [&whole, "pong", "ping", &whole]);
    }

    #[test]
    fn stream_without_a_length_cannot_be_read_on() {
        for head in [
            "",
            "Content-Length: -1\r\n",
            "l: 1\r\nContent-Length: 1\r\n",
            "l: x\r\n",
        ] {
            let mut framer = StreamFramer::new();
            framer.push(format!("OPTIONS sip:a SIP/2.0\r\n{head}\r\n").as_bytes());
            let error = Some(Err(FramingError::ContentLength));
            assert_eq!(framer.next_frame(), error, "{head}");
            assert_eq!(framer.next_frame(), error, "{head}");
        }
    }

    #[test]
    fn message_without_end_is_given_up() {
        let mut framer = StreamFramer::new();
        let mut steps = 0;
        while framer.next_frame().is_none() {
            framer.push(&[b'x'; 1000]);
            steps += 1;
        }
        assert_eq!(steps, 66);
        framer = StreamFramer::new();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nl: 99999\r\n\r\n");
        assert_eq!(
            drain(&mut framer).split(',').next(),
            Some("message too large")
        );
    }
}
