//! As much HTTP/1.1 (RFC 9112) as a page and a WebSocket handshake need, as pure
//! functions over bytes: GET without a body, and the one POST that gives tickets.
//!
//! The handshake follows RFC 6455 §4.2 and RFC 7118 §4; its checks and their order
//! are those of a SIP edge that faces the open network: what is wrong is answered
//! before a single byte of SIP is read.

use iq::Private;
use signaling::auth::{Hearing, Token, TokenRefusal};
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
    /// Whether pages may exchange access tokens for tickets under [`SESSION_PATH`].
    pub gives_tickets: bool,
}

/// What a request turns into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A proper handshake, if there is room for one more flow.
    Upgrade {
        /// `Sec-WebSocket-Accept`, RFC 6455 §4.2.2.
        accept: String,
        /// What it says about its user.
        credential: Option<Credential>,
    },
    /// A page wants a ticket for its token.
    Session {
        /// The token.
        token: Token,
        /// Whose page it is; it is on the list.
        origin: String,
    },
    /// A browser asks whether a page may ask (Fetch standard §3.2.2).
    Preflight {
        /// Whose page it is; it is on the list.
        origin: String,
    },
    /// A request for something of the page.
    Page(PageRequest),
    /// The request is turned away and the connection closed.
    Refuse(Refusal),
}

/// What a handshake says about its user. JavaScript cannot set headers of a WebSocket, so
/// it comes in the list of sub-protocols or in the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Sec-WebSocket-Protocol: sip, bearer.<token>`.
    Token(Token),
    /// `?ticket=<ticket>`: good once, so that no log that holds it is worth anything.
    Ticket(Private<String>),
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
    /// No access token, several, or none that is one.
    #[error("no usable access token")]
    Token,
    /// No room for one more flow.
    #[error("overloaded")]
    Overload,
}

impl Refusal {
    /// Every reason, in the order of the checks.
    pub const ALL: [Refusal; 13] = [
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
        Refusal::Token,
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
            Refusal::Token => (401, "Unauthorized"),
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
            Refusal::Token => "WWW-Authenticate: Bearer\r\n".to_owned(),
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
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_session = policy.gives_tickets && path == SESSION_PATH;
    let methods: &[&str] = if is_session {
        &["POST", "OPTIONS"]
    } else {
        &["GET"]
    };
    let method = request.method.unwrap_or_default();
    if !methods.contains(&method) || request.version != Some(1) {
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
    if is_session {
        return judge_session(method, &headers, policy);
    }
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
    judge_upgrade(&headers, query, policy)
}

/// `POST /v1/session`, and what a browser asks first when another origin's page does it.
fn judge_session(
    method: &str,
    headers: &Headers<'_, '_>,
    policy: &Policy,
) -> Result<Decision, Refusal> {
    let origin = allowed_origin(headers, policy)?.to_owned();
    if method == "OPTIONS" {
        return Ok(Decision::Preflight { origin });
    }
    let authorization = headers.only("authorization").ok_or(Refusal::Token)?;
    let (scheme, token) = authorization.split_once(' ').ok_or(Refusal::Token)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Token);
    }
    let token = Token::parse(token.trim()).map_err(|_| Refusal::Token)?;
    Ok(Decision::Session { token, origin })
}

fn allowed_origin<'b>(headers: &Headers<'_, 'b>, policy: &Policy) -> Result<&'b str, Refusal> {
    let origin = headers.only("origin").ok_or(Refusal::Origin)?;
    let is_allowed = policy.origins.iter().any(|allowed| allowed == origin);
    is_allowed.then_some(origin).ok_or(Refusal::Origin)
}

fn judge_upgrade(
    headers: &Headers<'_, '_>,
    query: &str,
    policy: &Policy,
) -> Result<Decision, Refusal> {
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
    allowed_origin(headers, policy)?;
    Ok(Decision::Upgrade {
        accept: derive_accept_key(key.as_bytes()),
        credential: credential(headers, query)?,
    })
}

/// What the handshake says about its user, in one way at most.
fn credential(headers: &Headers<'_, '_>, query: &str) -> Result<Option<Credential>, Refusal> {
    let tokens = headers
        .list("sec-websocket-protocol")
        .filter_map(|item| item.strip_prefix(TOKEN_PREFIX))
        .map(|token| {
            Token::parse(token)
                .map(Credential::Token)
                .map_err(|_| Refusal::Token)
        });
    let tickets = query
        .split('&')
        .filter_map(|param| param.strip_prefix("ticket="))
        .map(|ticket| {
            let is_ticket = ticket.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let ticket = Credential::Ticket(Private::new(ticket.to_owned()));
            is_ticket.then_some(ticket).ok_or(Refusal::Token)
        });
    let mut credentials = tokens.chain(tickets);
    match (credentials.next(), credentials.next()) {
        (None, _) => Ok(None),
        (Some(credential), None) => credential.map(Some),
        (Some(_), Some(_)) => Err(Refusal::Token),
    }
}

/// What a page hears that wants a ticket; `origin` is its own and on the list.
#[must_use]
pub fn session_response(
    origin: &str,
    result: Result<&str, TokenRefusal>,
    retry_after: u8,
) -> Vec<u8> {
    let (status, extra, body) = match result {
        Ok(ticket) => (
            "200 OK",
            String::new(),
            format!("{{\"ticket\":\"{ticket}\",\"expires_in\":60}}\n"),
        ),
        Err(refusal) => {
            let (status, extra, error) = match refusal.hearing() {
                Hearing::InvalidToken => (
                    "401 Unauthorized",
                    "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n".to_owned(),
                    "invalid_token",
                ),
                Hearing::InsufficientScope => {
                    ("403 Forbidden", String::new(), "insufficient_scope")
                }
                Hearing::Forbidden => ("403 Forbidden", String::new(), "access_denied"),
                Hearing::Later => (
                    "503 Service Unavailable",
                    format!("Retry-After: {retry_after}\r\n"),
                    "temporarily_unavailable",
                ),
            };
            let body = format!("{{\"error\":\"{error}\",\"error_description\":\"{refusal}\"}}\n");
            (status, extra, body)
        }
    };
    format!(
        "HTTP/1.1 {status}\r\n{extra}{}Content-Type: application/json\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        allow_origin(origin),
        body.len()
    )
    .into_bytes()
}

/// The answer to a browser that asks whether a page may ask.
#[must_use]
pub fn preflight_response(origin: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 204 No Content\r\n{}Access-Control-Allow-Methods: POST\r\n\
         Access-Control-Allow-Headers: authorization\r\nAccess-Control-Max-Age: 600\r\n\
         Connection: close\r\n\r\n",
        allow_origin(origin)
    )
    .into_bytes()
}

/// Fetch standard §3.2.3; other origins get other answers, and caches must know.
fn allow_origin(origin: &str) -> String {
    format!("Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n")
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
/// Stands before an access token in the list of sub-protocols.
const TOKEN_PREFIX: &str = "bearer.";
/// Where a page exchanges its token for a ticket.
pub const SESSION_PATH: &str = "/v1/session";
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
            gives_tickets: true,
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
                accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into(),
                credential: None,
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
    fn a_handshake_may_bring_a_token_or_a_ticket_and_not_both() {
        let credential =
            |from: &str, to: &str| match decide(GOOD.replacen(from, to, 1).as_bytes(), &policy()) {
                Decision::Upgrade { credential, .. } => Ok(credential),
                Decision::Refuse(refusal) => Err(refusal),
                other => panic!("{other:?}"),
            };
        let token = Token::parse("eyJ.eyJ.sig").unwrap();
        let list = "Protocol: sip, bearer.eyJ.eyJ.sig";
        assert_eq!(
            credential("Protocol: sip", list),
            Ok(Some(Credential::Token(token)))
        );
        let ticket = Credential::Ticket(Private::new("abc123".to_owned()));
        assert_eq!(
            credential("/sip", "/sip?x=1&ticket=abc123"),
            Ok(Some(ticket))
        );
        assert_eq!(
            credential("/sip", "/sip?access_token=eyJ"),
            Ok(None),
            "never from the URL"
        );
        for (from, to) in [
            ("Protocol: sip", "Protocol: sip, bearer.a, bearer.b"),
            ("Protocol: sip", "Protocol: sip, bearer."),
            ("/sip", "/sip?ticket=a&ticket=b"),
            ("/sip", "/sip?ticket=a%20b"),
        ] {
            assert_eq!(credential(from, to), Err(Refusal::Token), "{to}");
        }
        let response = String::from_utf8(upgrade_response("x")).unwrap();
        assert!(
            response.contains("Sec-WebSocket-Protocol: sip\r\n"),
            "never echoed"
        );
    }

    #[test]
    fn a_page_of_a_listed_origin_may_want_a_ticket() {
        const POST: &str = "POST /v1/session HTTP/1.1\r\nHost: gw.example.com\r\n\
            Origin: https://app.example.com\r\nAuthorization: Bearer eyJ.eyJ.sig\r\n\
            Content-Length: 0\r\n\r\n";
        let origin = "https://app.example.com".to_owned();
        let session = Decision::Session {
            token: Token::parse("eyJ.eyJ.sig").unwrap(),
            origin: origin.clone(),
        };
        assert_eq!(decide(POST.as_bytes(), &policy()), session);
        let asks = POST.replace("POST", "OPTIONS");
        assert_eq!(
            decide(asks.as_bytes(), &policy()),
            Decision::Preflight { origin }
        );
        for (from, to, refusal) in [
            ("POST", "GET", Refusal::Method),
            ("https://app", "https://evil", Refusal::Origin),
            ("Origin: https://app.example.com\r\n", "", Refusal::Origin),
            ("Authorization: Bearer eyJ.eyJ.sig\r\n", "", Refusal::Token),
            ("Bearer", "Basic", Refusal::Token),
            ("eyJ.eyJ.sig", "a b", Refusal::Token),
            ("Content-Length: 0", "Content-Length: 7", Refusal::Malformed),
            ("gw.example.com", "evil.example.com", Refusal::Host),
        ] {
            let head = POST.replacen(from, to, 1);
            assert_eq!(refused(&head), Some(refusal), "{from} -> {to}");
        }
        let off = Policy {
            gives_tickets: false,
            ..policy()
        };
        assert_eq!(
            decide(POST.as_bytes(), &off),
            Decision::Refuse(Refusal::Method)
        );

        let given = String::from_utf8(session_response("https://a.test", Ok("abc"), 7)).unwrap();
        assert!(
            given.contains("Access-Control-Allow-Origin: https://a.test\r\n"),
            "{given}"
        );
        assert!(
            given.ends_with("{\"ticket\":\"abc\",\"expires_in\":60}\n"),
            "{given}"
        );
        let later = session_response("https://a.test", Err(TokenRefusal::ProviderUnavailable), 7);
        let later = String::from_utf8(later).unwrap();
        assert!(later.starts_with("HTTP/1.1 503 ") && later.contains("Retry-After: 7\r\n"));
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
