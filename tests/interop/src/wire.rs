//! A WebSocket and words of SIP on it, without a client's library: what no library would say.

use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::{gateway, hss, network};

/// One WebSocket of the tests' own page.
#[derive(Debug)]
pub struct Wire {
    socket: WebSocket<TcpStream>,
    sequence: u32,
    name: String,
}

/// What was answered to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole answer.
    pub text: String,
}

impl Wire {
    /// Opens a WebSocket; `name` tells it from others.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        Self::open_at(name, "/sip")
    }

    /// Opens one at another path and query.
    pub fn open_at(name: &str, path: &str) -> anyhow::Result<Self> {
        let address = SocketAddrV4::new(network::ACCESS_SIGNALING, gateway::PORT);
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
        headers.insert("Origin", gateway::origin().parse()?);
        let connection = TcpStream::connect(address).context("no connection to the gateway")?;
        connection.set_read_timeout(Some(Duration::from_secs(8)))?;
        let (socket, _) = tungstenite::client(request, connection)
            .map_err(|error| anyhow::anyhow!("no WebSocket: {error}"))?;
        Ok(Self {
            socket,
            sequence: 0,
            name: name.to_owned(),
        })
    }

    /// Says a REGISTER with more header lines, and waits for its final answer.
    pub fn register(&mut self, user: &str, lines: &str) -> anyhow::Result<Answer> {
        self.sequence += 1;
        let (sequence, name, domain) = (self.sequence, &self.name, hss::DOMAIN);
        let lines = match lines {
            "" => String::new(),
            lines => format!("{lines}\r\n"),
        };
        let request = format!(
            "REGISTER sip:{domain} SIP/2.0\r\n\
             Via: SIP/2.0/WS {name}.invalid;branch=z9hG4bK{name}{sequence}\r\n\
             Max-Forwards: 70\r\n\
             To: <sip:{user}@{domain}>\r\n\
             From: <sip:{user}@{domain}>;tag={name}\r\n\
             Call-ID: {name}@{name}.invalid\r\n\
             CSeq: {sequence} REGISTER\r\n\
             Contact: <sip:{name}@{name}.invalid;transport=ws>;expires=300\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        );
        self.socket.send(Message::text(request))?;
        loop {
            let text = match self.socket.read().context("no answer")? {
                Message::Text(text) => text.to_string(),
                Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => continue,
            };
            let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
            match status {
                Some(status) if text.starts_with("SIP/2.0 ") && status >= 200 => {
                    return Ok(Answer { status, text });
                }
                _ => {}
            }
        }
    }

    /// The code that the gateway closes the WebSocket with.
    pub fn closed(&mut self) -> anyhow::Result<u16> {
        loop {
            if let Message::Close(frame) = self.socket.read().context("not closed")? {
                return Ok(frame.map_or(1005, |frame| frame.code.into()));
            }
        }
    }
}

impl Answer {
    /// A parameter of the challenge, if there is one.
    pub fn challenge(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines();
        let mut headers = lines.filter(|line| line.starts_with("WWW-Authenticate: "));
        let header = headers.next()?;
        let (_, rest) = header.split_once(&format!("{name}=\""))?;
        rest.split('"').next()
    }
}
