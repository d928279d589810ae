//! A page in a browser as far as its signalling goes, by script: SIP over WebSocket, logged in by an
//! access token. It plays no media. For places where Chromium does not run, like the guest.

use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::{gateway, hss, network};

/// A page that is connected to a gateway.
#[derive(Debug)]
pub struct Page {
    user: String,
    token: String,
    socket: WebSocket<TcpStream>,
    sequence: u32,
    unread: Vec<String>,
}

/// A call that was answered.
#[derive(Clone, Debug)]
pub struct Call {
    number: u32,
    /// To, with the tag of the far end.
    to: String,
    sequence: u32,
}

impl Page {
    /// Connects to the gateway in a network namespace.
    pub fn open(user: &str, token: &str, namespace: &str) -> anyhow::Result<Self> {
        let connection = network::inside(namespace, || {
            let address = SocketAddrV4::new(network::ACCESS_SIGNALING, gateway::PORT);
            TcpStream::connect(address).context("no gateway")
        })?;
        connection.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut request = gateway::websocket().into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
        headers.insert("Origin", gateway::origin().parse()?);
        // The handshake is not to be broken off by the short time-out of reading.
        let mut handshake = tungstenite::client(request, connection);
        let socket = loop {
            handshake = match handshake {
                Ok((socket, _)) => break socket,
                Err(tungstenite::HandshakeError::Interrupted(more)) => more.handshake(),
                Err(tungstenite::HandshakeError::Failure(error)) => {
                    bail!("no WebSocket: {error}")
                }
            };
        };
        Ok(Self {
            user: user.to_owned(),
            token: token.to_owned(),
            socket,
            sequence: 0,
            unread: Vec::new(),
        })
    }

    /// Registers for so many seconds; 0 signs off.
    pub fn register(&mut self, expires: u32) -> anyhow::Result<String> {
        self.sequence += 1;
        let (user, sequence, domain) = (&self.user, self.sequence, hss::DOMAIN);
        let request = format!(
            "REGISTER sip:{domain} SIP/2.0\r\n\
             Via: SIP/2.0/WSS {user}.invalid;branch=z9hG4bKr{sequence}\r\n\
             Max-Forwards: 69\r\n\
             From: <sip:{user}@{domain}>;tag=page\r\nTo: <sip:{user}@{domain}>\r\n\
             Call-ID: {user}-page\r\nCSeq: {sequence} REGISTER\r\n\
             Contact: <sip:page@{user}.invalid;transport=ws>;+sip.instance=\"<urn:uuid:{user}-1>\";\
             reg-id=1;expires={expires}\r\n\
             Supported: path, outbound\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
            self.token
        );
        self.send(request)?;
        let answer = self.answer(&format!("{sequence} REGISTER"))?;
        ensure!(status(&answer) == 200, "REGISTER: {}", first_line(&answer));
        Ok(answer)
    }

    /// Calls somebody, who answers.
    pub fn call(&mut self, called: &str) -> anyhow::Result<Call> {
        self.sequence += 1;
        let mut call = Call {
            number: self.sequence,
            to: format!("<sip:{called}@{}>", hss::DOMAIN),
            sequence: 1,
        };
        let answer = self.invite(&call, &format!("sip:{called}@{}", hss::DOMAIN), 1)?;
        call.to = header(&answer, "To").context("no To")?;
        Ok(call)
    }

    /// Puts the call on hold, which the far end has to be told.
    pub fn hold(&mut self, call: &mut Call) -> anyhow::Result<()> {
        call.sequence += 1;
        let call = call.clone();
        self.invite(&call, TARGET, 2).map(drop)
    }

    fn invite(&mut self, call: &Call, target: &str, version: u32) -> anyhow::Result<String> {
        let direction = if version > 1 { "sendonly" } else { "sendrecv" };
        let offer = OFFER
            .replace("@VERSION@", &version.to_string())
            .replace("a=sendrecv", &format!("a={direction}"));
        let contact = format!(
            "Contact: <sip:page@{}.invalid;transport=ws>\r\nContent-Type: application/sdp\r\n",
            self.user
        );
        let request = self.inside(call, "INVITE", target, &contact, &offer);
        self.send(request)?;
        let answer = self.answer(&format!("{} INVITE", call.sequence))?;
        ensure!(status(&answer) == 200, "INVITE: {}", first_line(&answer));
        let answered = Call {
            to: header(&answer, "To").context("no To")?,
            ..call.clone()
        };
        let ack = self.inside(&answered, "ACK", TARGET, "", "");
        self.send(ack)?;
        Ok(answer)
    }

    /// Waits for a request of the gateway's and answers it.
    pub fn expect(&mut self, method: &str) -> anyhow::Result<()> {
        let request = self.wait(|message| message.starts_with(&format!("{method} ")))?;
        let kept = ["Via", "From", "To", "Call-ID", "CSeq"];
        let lines: String = kept
            .iter()
            .filter_map(|name| Some(format!("{name}: {}\r\n", header(&request, name)?)))
            .collect();
        self.send(format!(
            "SIP/2.0 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"
        ))
    }

    fn inside(&self, call: &Call, method: &str, target: &str, more: &str, body: &str) -> String {
        let Call {
            number,
            to,
            sequence,
        } = call;
        let (user, domain, body) = (&self.user, hss::DOMAIN, body.replace('\n', "\r\n"));
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/WSS {user}.invalid;branch=z9hG4bK{method}{number}x{sequence}\r\n\
             Max-Forwards: 69\r\nFrom: <sip:{user}@{domain}>;tag=call{number}\r\nTo: {to}\r\n\
             Call-ID: {user}-call{number}\r\nCSeq: {sequence} {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The final answer to a request.
    fn answer(&mut self, sequence: &str) -> anyhow::Result<String> {
        self.wait(|message| {
            status(message) >= 200 && header(message, "CSeq").as_deref() == Some(sequence)
        })
        .with_context(|| format!("to {sequence}"))
    }

    fn send(&mut self, text: String) -> anyhow::Result<()> {
        self.socket
            .send(Message::text(text))
            .context("the WebSocket is gone")
    }

    fn wait(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            if let Some(at) = self.unread.iter().position(|message| wanted(message)) {
                return Ok(self.unread.remove(at));
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "nothing came, only {:?}",
                self.unread
                    .iter()
                    .map(|it| first_line(it))
                    .collect::<Vec<_>>()
            );
            match self.socket.read() {
                Ok(Message::Text(text)) => self.unread.push(text.as_str().to_owned()),
                Ok(Message::Binary(bytes)) => {
                    self.unread
                        .push(String::from_utf8_lossy(&bytes).into_owned());
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_pause(&error) => {}
                Err(error) => bail!("the WebSocket is gone: {error}"),
            }
        }
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    [TimedOut, WouldBlock].contains(&error.kind())
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

fn status(message: &str) -> u16 {
    let code = message.strip_prefix("SIP/2.0 ").and_then(|it| it.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_default()
}

fn header(message: &str, name: &str) -> Option<String> {
    let lines = message.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    values.next().map(|(_, value)| value.trim().to_owned())
}

/// Inside a call the gateway's Contact stands for the far end; the connection says which.
const TARGET: &str = "sip:gatehouse.invalid;transport=ws";

const PATIENCE: Duration = Duration::from_secs(20);

/// As Chromium writes it, for somebody who is not there.
const OFFER: &str = "v=0
o=- 7666821458748777192 @VERSION@ IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 0 8 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Byrc
a=ice-pwd:6IuG8zVK4O1M78n2Wshh6ytL
a=fingerprint:sha-256 1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E:1E
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:126 telephone-event/8000
";
