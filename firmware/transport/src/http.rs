//! As much HTTP/1.1 (RFC 9112) as a page and a WebSocket handshake need, as pure
//! functions over bytes: GET without a body, nothing else.
//!
//! The handshake follows RFC 6455 §4.2 and RFC 7118 §4; its checks and their order
//! are those of a SIP edge that faces the open network: what is wrong is answered
//! before a single byte of SIP is read.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What the access listener lets in.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Host names and addresses that the box answers to, lower case, without a port.
    pub server_names: Vec<String>,
    /// Origins whose pages may open a WebSocket: scheme, host and port, compared exactly.
    pub origins: Vec<String>,
    /// Path of the WebSocket.
    pub path: String,
}

/// What a request turns into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A proper handshake, if there is room for one more flow.
    Upgrade {
        /// `Sec-WebSocket-Accept`, RFC 6455 §4.2.2.
        accept: String,
    },
    /// A request for something of the page.
    Page(PageRequest),
    /// The request is turned away and the connection closed.
    Refuse(Refusal),
}

/// A GET of something that is not the WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The path as it was sent, without its query.
    pub path: String,
    /// `If-None-Match`, as it was sent.
    pub if_none_match: Option<String>,
    /// The client wants to ask more on this connection.
    pub keep_alive: bool,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Request line, header block or number of headers over the limit.
    #[error("request head too large")]
    HeadTooLarge,
    /// The head did not arrive in time.
    #[error("request head too slow")]
    HeadTooSlow,
    /// Not HTTP.
    #[error("malformed request")]
    Malformed,
    /// Not GET, or not HTTP/1.1.
    #[error("method or version not allowed")]
    Method,
    /// No Host, several, or one that is not ours.
    #[error("host not served here")]
    Host,
    /// Nothing is served under this path.
    #[error("no such path")]
    Path,
    /// `Upgrade: websocket` or `Connection: upgrade` is missing.
    #[error("not a WebSocket upgrade")]
    NoUpgrade,
    /// Another WebSocket version than 13.
    #[error("WebSocket version not supported")]
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated or not 16 bytes.
    #[error("bad WebSocket key")]
    Key,
    /// The sub-protocol `sip` (RFC 7118 §4) is not offered.
    #[error("sub-protocol sip not offered")]
    SubProtocol,
    /// No Origin, several, or one that is not on the list.
    #[error("origin not allowed")]
    Origin,
    /// No room for one more flow.
    #[error("overloaded")]
    Overload,
}

impl Refusal {
    /// Every reason, in the order of the checks.
    pub const ALL: [Refusal; 12] = [
        Refusal::HeadTooLarge,
        Refusal::HeadTooSlow,
        Refusal::Malformed,
        Refusal::Method,
        Refusal::Host,
        Refusal::Path,
        Refusal::NoUpgrade,
        Refusal::Version,
        Refusal::Key,
        Refusal::SubProtocol,
        Refusal::Origin,
        Refusal::Overload,
    ];

    /// The status line's code and phrase.
    #[must_use]
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Refusal::HeadTooLarge => (431, "Request Header Fields Too Large"),
            Refusal::HeadTooSlow => (408, "Request Timeout"),
            Refusal::Malformed | Refusal::NoUpgrade | Refusal::Key | Refusal::SubProtocol => {
                (400, "Bad Request")
            }
            Refusal::Method => (405, "Method Not Allowed"),
            Refusal::Host | Refusal::Origin => (403, "Forbidden"),
            Refusal::Path => (404, "Not Found"),
            Refusal::Version => (426, "Upgrade Required"),
            Refusal::Overload => (503, "Service Unavailable"),
        }
    }

    /// The whole response; `retry_after` is for [`Refusal::Overload`].
    #[must_use]
    pub fn response(self, retry_after: u8) -> Vec<u8> {
        let (code, phrase) = self.status();
        let extra = match self {
            Refusal::Method => "Allow: GET\r\n".to_owned(),
            Refusal::Version => "Sec-WebSocket-Version: 13\r\n".to_owned(),
            Refusal::SubProtocol => "Sec-WebSocket-Protocol: sip\r\n".to_owned(),
            Refusal::Overload => format!("Retry-After: {retry_after}\r\n"),
            _ => String::new(),
        };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {code} {phrase}\r\n{extra}Content-Type: text/plain\r\n\
             Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// The response that ends a handshake well, RFC 6455 §4.2.2.
#[must_use]
pub fn upgrade_response(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    )
    .into_bytes()
}

/// How far a request's head has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// More is needed.
    Partial,
    /// The head is the first `len` bytes.
    Complete {
        /// Its length with the empty line.
        len: usize,
    },
    /// It can only become too large.
    TooLarge,
}

/// Looks for the end of a request's head.
#[must_use]
pub fn find_head(buffer: &[u8]) -> Head {
    let line_end = memchr::memchr(b'\n', buffer);
    let line = line_end.map_or(buffer.len(), |at| at + 1);
    if line > MAX_REQUEST_LINE + CRLF {
        return Head::TooLarge;
    }
    let Some(start) = line_end else {
        return Head::Partial;
    };
    match memchr::memmem::find(&buffer[start - start.min(1)..], b"\r\n\r\n") {
        Some(at) => {
            let len = start - start.min(1) + at + 2 * CRLF;
            if len - line > MAX_HEADERS_SIZE + CRLF {
                Head::TooLarge
            } else {
                Head::Complete { len }
            }
        }
        None if buffer.len() - line > MAX_HEADERS_SIZE + CRLF => Head::TooLarge,
        None => Head::Partial,
    }
}

/// Judges a complete head. All that depends on the request alone is decided here;
/// whether there is room for one more flow is the listener's to say.
#[must_use]
pub fn decide(head: &[u8], policy: &Policy) -> Decision {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Decision::Refuse(Refusal::HeadTooLarge),
        // A version that is none is a version that is not HTTP/1.1.
        Err(httparse::Error::Version) => return Decision::Refuse(Refusal::Method),
        Ok(httparse::Status::Partial) | Err(_) => return Decision::Refuse(Refusal::Malformed),
    }
    match judge(&request, policy) {
        Ok(decision) => decision,
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn judge(request: &httparse::Request<'_, '_>, policy: &Policy) -> Result<Decision, Refusal> {
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(Refusal::Method);
    }
    let headers = Headers(request.headers);
    if headers.has_body() {
        return Err(Refusal::Malformed);
    }
    let host = headers.only("host").ok_or(Refusal::Host)?;
    if !is_served(host, &policy.server_names) {
        return Err(Refusal::Host);
    }
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if !path.starts_with('/') {
        return Err(Refusal::Path);
    }
    if path != policy.path {
        return Ok(Decision::Page(PageRequest {
            path: path.to_owned(),
            if_none_match: headers.only("if-none-match").map(str::to_owned),
            keep_alive: !headers.list_has("connection", "close"),
        }));
    }
    judge_upgrade(&headers, policy)
}

fn judge_upgrade(headers: &Headers<'_, '_>, policy: &Policy) -> Result<Decision, Refusal> {
    if !headers.list_has("upgrade", "websocket") || !headers.list_has("connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if headers.only("sec-websocket-version") != Some("13") {
        return Err(Refusal::Version);
    }
    let key = headers
        .only("sec-websocket-key")
        .filter(|key| is_key(key))
        .ok_or(Refusal::Key)?;
    // Sub-protocol names are compared exactly: RFC 6455 §4.2.2 gives them no folding.
    let offers_sip = headers
        .list("sec-websocket-protocol")
        .any(|name| name == SUB_PROTOCOL);
    if !offers_sip {
        return Err(Refusal::SubProtocol);
    }
    let origin = headers.only("origin").ok_or(Refusal::Origin)?;
    if !policy.origins.iter().any(|allowed| allowed == origin) {
        return Err(Refusal::Origin);
    }
    Ok(Decision::Upgrade {
        accept: derive_accept_key(key.as_bytes()),
    })
}

/// Whether a Host header names this box, with any port.
fn is_served(host: &str, server_names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    server_names
        .iter()
        .any(|served| served.eq_ignore_ascii_case(name))
}

/// Whether a key is the base64 of 16 bytes, RFC 6455 §4.1.
fn is_key(key: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.strip_suffix("==")
        .is_some_and(|digits| digits.len() == KEY_DIGITS && digits.bytes().all(digit))
}

struct Headers<'a, 'b>(&'a [httparse::Header<'b>]);

impl<'b> Headers<'_, 'b> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'b [u8]> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value, if there is exactly one such header and it is text.
    fn only(&self, name: &'static str) -> Option<&'b str> {
        let mut values = self.all(name);
        let value = values.next()?;
        match values.next() {
            None => std::str::from_utf8(value).ok().map(str::trim),
            Some(_) => None,
        }
    }

    /// The items of a comma-separated header over all its lines.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'b str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
    }

    fn list_has(&self, name: &'static str, token: &str) -> bool {
        self.list(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    fn has_body(&self) -> bool {
        self.all("transfer-encoding").next().is_some()
            || self.all("content-length").any(|value| value != b"0")
    }
}

/// The WebSocket sub-protocol of SIP, RFC 7118 §4.
const SUB_PROTOCOL: &str = "sip";
/// Longest request line.
const MAX_REQUEST_LINE: usize = 8 * 1024;
/// Longest header block.
const MAX_HEADERS_SIZE: usize = 16 * 1024;
/// Most headers.
const MAX_HEADERS: usize = 64;
/// 16 bytes in base64 without its padding.
const KEY_DIGITS: usize = 22;
const CRLF: usize = 2;

/// No head that can still be good is longer than this.
pub const MAX_HEAD: usize = MAX_REQUEST_LINE + MAX_HEADERS_SIZE + 2 * CRLF;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            server_names: vec!["gw.example.com".into(), "[::1]".into()],
            origins: vec!["https://app.example.com".into()],
            path: "/sip".into(),
        }
    }

    const GOOD: &str = "GET /sip HTTP/1.1\r\nHost: gw.example.com\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\
        Origin: https://app.example.com\r\n\r\n";

    fn refused(head: &str) -> Option<Refusal> {
        match decide(head.as_bytes(), &policy()) {
            Decision::Refuse(refusal) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn the_handshake_of_the_rfc_is_answered_with_its_accept_key() {
        assert_eq!(
            decide(GOOD.as_bytes(), &policy()),
            Decision::Upgrade {
                accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()
            }
        );
    }

    #[test]
    fn each_flaw_has_its_own_refusal() {
        let cases = [
            ("GET /sip", "POST /sip", Refusal::Method),
            ("HTTP/1.1", "HTTP/1.0", Refusal::Method),
            ("HTTP/1.1", "HTTP/2.0", Refusal::Method),
            ("Host: gw.example.com\r\n", "", Refusal::Host),
            ("Host: gw.example.com", "Host: evil.example", Refusal::Host),
            (
                "Host: gw.example.com",
                "Host: gw.example.com\r\nHost: gw.example.com",
                Refusal::Host,
            ),
            ("Upgrade: websocket\r\n", "", Refusal::NoUpgrade),
            ("keep-alive, Upgrade", "keep-alive", Refusal::NoUpgrade),
            ("Version: 13", "Version: 8", Refusal::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Version),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", Refusal::Key),
            (
                "Sec-WebSocket-Version",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version",
                Refusal::Key,
            ),
            ("Protocol: sip", "Protocol: msrp", Refusal::SubProtocol),
            ("Sec-WebSocket-Protocol: sip\r\n", "", Refusal::SubProtocol),
            ("https://app", "http://app", Refusal::Origin),
            (".com\r\n\r\n", ".com.evil\r\n\r\n", Refusal::Origin),
            (".com\r\n\r\n", ".com:444\r\n\r\n", Refusal::Origin),
            ("https://app.example.com", "null", Refusal::Origin),
            ("Origin: https://app.example.com\r\n", "", Refusal::Origin),
            (
                "\r\n\r\n",
                "\r\nOrigin: https://app.example.com\r\n\r\n",
                Refusal::Origin,
            ),
            ("Host:", "Content-Length: 5\r\nHost:", Refusal::Malformed),
            ("Host:", "Ho st:", Refusal::Malformed),
        ];
        for (from, to, refusal) in cases {
            let head = GOOD.replacen(from, to, 1);
            assert_eq!(refused(&head), Some(refusal), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn checks_run_in_their_order() {
        // Everything is wrong; each repair uncovers the next flaw.
        let flawed = [
            ("POST", "GET", Refusal::Method),
            ("Host: x", "Host: gw.example.com:8443", Refusal::Host),
            ("Upgrade: h2c", "Upgrade: WebSocket", Refusal::NoUpgrade),
            ("Version: 7", "Version: 13", Refusal::Version),
            ("Key: short", "Key: dGhlIHNhbXBsZSBub25jZQ==", Refusal::Key),
            ("Protocol: x", "Protocol: token, sip", Refusal::SubProtocol),
            (
                "Origin: null",
                "Origin: https://app.example.com",
                Refusal::Origin,
            ),
        ];
        let mut head =
            "POST /sip?x=1 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Protocol: x\r\n\
            Origin: null\r\n\r\n"
                .to_owned();
        for (wrong, right, refusal) in flawed {
            assert_eq!(refused(&head), Some(refusal));
            head = head.replacen(wrong, right, 1);
        }
        assert_eq!(refused(&head), None);
    }

    #[test]
    fn another_path_is_a_request_for_the_page() {
        let head = "GET /app.js?v=2 HTTP/1.1\r\nHost: [::1]:8443\r\nIf-None-Match: \"1\"\r\n\r\n";
        assert_eq!(
            decide(head.as_bytes(), &policy()),
            Decision::Page(PageRequest {
                path: "/app.js".into(),
                if_none_match: Some("\"1\"".into()),
                keep_alive: true,
            })
        );
    }

    #[test]
    fn a_head_is_found_whole_or_found_too_large() {
        assert_eq!(find_head(b"GET / HT"), Head::Partial);
        assert_eq!(
            find_head(b"GET / HTTP/1.1\r\n\r\nrest"),
            Head::Complete { len: 18 }
        );
        assert_eq!(
            find_head(GOOD.as_bytes()),
            Head::Complete { len: GOOD.len() }
        );
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_REQUEST_LINE));
        assert_eq!(find_head(line.as_bytes()), Head::TooLarge);
        let block = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(MAX_HEADERS_SIZE));
        assert_eq!(find_head(block.as_bytes()), Head::TooLarge);
        let endless = vec![b'a'; MAX_HEAD];
        assert_eq!(find_head(&endless), Head::TooLarge);
    }

    #[test]
    fn more_than_64_headers_are_too_many() {
        let extra: String = (0..64).map(|n| format!("X-{n}: y\r\n")).collect();
        let head = GOOD.replacen("Host:", &format!("{extra}Host:"), 1);
        assert_eq!(refused(&head), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn an_unknown_sub_protocol_is_refused_by_name() {
        let response = String::from_utf8(Refusal::SubProtocol.response(0)).unwrap();
        assert!(response.starts_with("HTTP/1.1 400 "));
        assert!(response.contains("\r\nSec-WebSocket-Protocol: sip\r\n"));
        let response = String::from_utf8(Refusal::Overload.response(7)).unwrap();
        assert!(response.contains("\r\nRetry-After: 7\r\n"));
    }
}
