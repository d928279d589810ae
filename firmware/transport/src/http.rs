//! As much HTTP/1.1 (RFC 9112) as a page and a WebSocket handshake need, as pure
//! functions over bytes: GET without a body, and the one POST that gives tickets.
//!
//! The handshake follows RFC 6455 §4.2 and RFC 7118 §4; its checks and their order
//! are those of a SIP edge that faces the open network: what is wrong is answered
//! before a single byte of SIP is read.

use iq::Private;
use signaling::Session;
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
    /// A page wants a ticket and has brought no token, or none that is one.
    NoToken {
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
        let origin = allowed_origin(&headers, policy)?.to_owned();
        return Ok(judge_session(method, &headers, origin));
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
fn judge_session(method: &str, headers: &Headers<'_, '_>, origin: String) -> Decision {
    if method == "OPTIONS" {
        return Decision::Preflight { origin };
    }
    let authorization = headers.only("authorization").unwrap_or_default();
    let bearer = authorization.split_once(' ');
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer.and_then(|(_, token)| Token::parse(token.trim()).ok()) {
        Some(token) => Decision::Session { token, origin },
        None => Decision::NoToken { origin },
    }
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
    result: Result<&Session, TokenRefusal>,
    retry_after: u8,
) -> Vec<u8> {
    let (status, extra, body) = match result {
        Ok(session) => ("200 OK", String::new(), session_body(session)),
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
    json_response(origin, status, &extra, &body)
}

/// What a page hears that wants a ticket without a token, RFC 6750 §3.1: nothing is wrong
/// with a token.
#[must_use]
pub fn no_token_response(origin: &str) -> Vec<u8> {
    let body = format!(
        "{{\"error\":\"token_missing\",\"error_description\":\"{}\"}}\n",
        Refusal::Token
    );
    let extra = "WWW-Authenticate: Bearer\r\n";
    json_response(origin, "401 Unauthorized", extra, &body)
}

/// The ticket, and who its user is: what SIP clients call `uri`, all his identities, and how
/// long a lent one stays his without a registration. All are of characters that JSON needs no
/// escapes for.
fn session_body(session: &Session) -> String {
    let mut body = format!(
        "{{\"ticket\":\"{}\",\"expires_in\":60",
        session.ticket.reveal()
    );
    if let Some(address) = &session.address {
        body.push_str(&format!(",\"uri\":\"{}\"", address.reveal()));
    }
    let identities = session.identities.iter();
    let identities: Vec<String> = identities
        .map(|identity| format!("\"{}\"", identity.reveal()))
        .collect();
    body.push_str(&format!(",\"identities\":[{}]", identities.join(",")));
    if let Some(time) = session.lent_for {
        body.push_str(&format!(",\"lease_expires_in\":{}", time.as_secs()));
    }
    body.push_str("}\n");
    body
}

/// An answer that a page of this origin may read, and its headers.
fn json_response(origin: &str, status: &str, extra: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{extra}{}Access-Control-Expose-Headers: WWW-Authenticate, Retry-After\r\n\
         Content-Type: application/json\r\nCache-Control: no-store\r\n\
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
mod tests;
