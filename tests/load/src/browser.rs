//! A scripted browser's signalling: SIP over WebSocket as JsSIP speaks it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::browser_media::{BrowserMedia, Identity, Remote};
use crate::far_end::direction;
use crate::sip::{Message, sdp_line, uri};

/// One user in one browser.
pub(crate) struct Browser {
    user: String,
    domain: String,
    host: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sequence: u32,
    /// What its page offered for the call that it is in.
    offer: String,
    /// Requests of the gateway that it has answered, by method.
    pub(crate) asked: Vec<String>,
    /// Direction of the gateway's last offer.
    pub(crate) offered: String,
}

/// A call that was answered.
pub(crate) struct Call {
    id: String,
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
    /// The gateway's end of W3.
    pub(crate) media: Remote,
    /// When the INVITE was handed to the WebSocket.
    pub(crate) invite_left: Instant,
    /// When the 200 was taken from the WebSocket.
    pub(crate) answer_arrived: Instant,
}

impl Browser {
    /// Opens the WebSocket.
    pub(crate) async fn open(gateway: SocketAddr, domain: &str, user: &str) -> Result<Self> {
        let socket = connect(gateway).await?;
        Ok(Browser {
            user: user.to_owned(),
            domain: domain.to_owned(),
            host: format!("{user}x.invalid"),
            socket,
            sequence: 0,
            offer: String::new(),
            asked: Vec::new(),
            offered: String::new(),
        })
    }

    /// Opens another WebSocket in place of one that was lost; calls and registration are
    /// as they were, as in JsSIP.
    pub(crate) async fn come_back(&mut self, gateway: SocketAddr) -> Result<()> {
        self.socket = connect(gateway).await?;
        Ok(())
    }

    /// Registers for `expires` seconds (0 takes the registration back), as clients do: once
    /// without and once with credentials.
    pub(crate) async fn register(&mut self, expires: u32) -> Result<()> {
        let first = self.send_register(expires, "").await?;
        let answer = self.wait_final(&first, "REGISTER").await?;
        match answer.status() {
            Some(200) => return Ok(()),
            Some(401) => {}
            _ => bail!("REGISTER of {}: {}", self.user, answer.start),
        }
        let challenge = answer.header("www-authenticate").to_owned();
        let nonce = challenge
            .split("nonce=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or("");
        let credentials = format!(
            "Authorization: Digest algorithm=MD5, username=\"{u}@{d}\", realm=\"load.test\", nonce=\"{nonce}\", uri=\"sip:{d}\", response=\"0123456789abcdef0123456789abcdef\", qop=auth, cnonce=\"c\", nc=00000001\r\n",
            u = self.user,
            d = self.domain
        );
        let second = self.send_register(expires, &credentials).await?;
        let answer = self.wait_final(&second, "REGISTER").await?;
        if answer.status() != Some(200) {
            bail!(
                "REGISTER of {} with credentials: {}",
                self.user,
                answer.start
            );
        }
        Ok(())
    }

    async fn send_register(&mut self, expires: u32, credentials: &str) -> Result<String> {
        self.sequence += 1;
        let id = format!("reg-{}", self.user);
        let text = format!(
            "REGISTER sip:{d} SIP/2.0\r\nVia: SIP/2.0/WS {h};branch=z9hG4bK{n}r{u}\r\nMax-Forwards: 69\r\nTo: <sip:{u}@{d}>\r\nFrom: <sip:{u}@{d}>;tag=r{u}\r\nCall-ID: {id}\r\nCSeq: {n} REGISTER\r\n{credentials}Contact: <sip:{u}@{h};transport=ws>;+sip.ice;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-{i:0>12}>\";expires={expires}\r\nExpires: {expires}\r\nAllow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\nSupported: path,gruu,outbound\r\nUser-Agent: load\r\nContent-Length: 0\r\n\r\n",
            d = self.domain,
            h = self.host,
            u = self.user,
            n = self.sequence,
            i = self.user.trim_start_matches(|c: char| !c.is_ascii_digit()),
        );
        self.socket.send(Frame::text(text)).await?;
        Ok(id)
    }

    /// Calls `number` with an offer as Chromium writes it; returns when it was answered.
    pub(crate) async fn call(
        &mut self,
        number: &str,
        media: &BrowserMedia,
        identity: &Identity,
    ) -> Result<Call> {
        let (id, invite_left) = self.invite(number, media, identity).await?;
        let answer = self.wait_final(&id, "INVITE").await?;
        let answer_arrived = Instant::now();
        let local = format!("<sip:{}@{}>;tag=c{}", self.user, self.domain, self.sequence);
        if answer.status() != Some(200) {
            bail!("INVITE of {} to {number}: {}", self.user, answer.start);
        }
        let call = Call {
            id,
            local,
            remote: answer.header("to").to_owned(),
            target: uri(answer.header("contact")).to_owned(),
            routes: answer
                .all("record-route")
                .flat_map(|value| value.split(','))
                .map(|value| value.trim().to_owned())
                .rev()
                .collect(),
            media: remote_media(&answer.body)?,
            invite_left,
            answer_arrived,
        };
        self.send_in_dialog(&call, "ACK", self.sequence).await?;
        Ok(call)
    }

    async fn invite(
        &mut self,
        number: &str,
        media: &BrowserMedia,
        identity: &Identity,
    ) -> Result<(String, Instant)> {
        self.sequence += 1;
        let id = format!("call-{}-{}", self.user, self.sequence);
        let local = format!("<sip:{}@{}>;tag=c{}", self.user, self.domain, self.sequence);
        let target = format!("sip:{number}@{}", self.domain);
        let body = chromium_offer(media, identity)?;
        self.offer.clone_from(&body);
        let text = format!(
            "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/WS {h};branch=z9hG4bK{n}i{u}\r\nMax-Forwards: 69\r\nTo: <{target}>\r\nFrom: {local}\r\nCall-ID: {id}\r\nCSeq: {n} INVITE\r\nContact: <sip:{u}@{h};transport=ws;ob>\r\nContent-Type: application/sdp\r\nSession-Expires: 90\r\nAllow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\nSupported: timer,ice,replaces,outbound\r\nUser-Agent: load\r\nContent-Length: {len}\r\n\r\n{body}",
            h = self.host,
            u = self.user,
            n = self.sequence,
            len = body.len()
        );
        let invite_left = Instant::now();
        self.socket.send(Frame::text(text)).await?;
        Ok((id, invite_left))
    }

    /// Calls a number and gives the status of the final answer, which is none of success.
    pub(crate) async fn call_status(
        &mut self,
        number: &str,
        media: &BrowserMedia,
        identity: &Identity,
    ) -> Result<u16> {
        let (id, _) = self.invite(number, media, identity).await?;
        let answer = self.wait_final(&id, "INVITE").await?;
        answer.status().context("not an answer")
    }

    /// Holds a call; gives the gateway's answer.
    pub(crate) async fn hold(&mut self, call: &Call) -> Result<String> {
        self.sequence += 1;
        let sequence = self.sequence;
        let body = self.offer.replace("a=sendrecv", "a=sendonly");
        self.send_offer(call, sequence, &body).await?;
        let answer = self.wait_final(&call.id, "INVITE").await?;
        if answer.status() != Some(200) {
            bail!("re-INVITE of {}: {}", self.user, answer.start);
        }
        self.send_in_dialog(call, "ACK", sequence).await?;
        Ok(answer.body)
    }

    /// Ends a call.
    pub(crate) async fn hang_up(&mut self, call: &Call) -> Result<()> {
        self.sequence += 1;
        self.send_in_dialog(call, "BYE", self.sequence).await?;
        let answer = self.wait_final(&call.id, "BYE").await?;
        match answer.status() {
            Some(200) => Ok(()),
            _ => bail!("BYE of {}: {}", self.user, answer.start),
        }
    }

    async fn send_in_dialog(&mut self, call: &Call, method: &str, sequence: u32) -> Result<()> {
        self.send_inside(call, method, sequence, "", "").await
    }

    async fn send_offer(&mut self, call: &Call, sequence: u32, body: &str) -> Result<()> {
        let more = format!(
            "Contact: <sip:{}@{};transport=ws;ob>\r\nContent-Type: application/sdp\r\n",
            self.user, self.host
        );
        self.send_inside(call, "INVITE", sequence, &more, body)
            .await
    }

    async fn send_inside(
        &mut self,
        call: &Call,
        method: &str,
        sequence: u32,
        more: &str,
        body: &str,
    ) -> Result<()> {
        let routes: String = call
            .routes
            .iter()
            .map(|route| format!("Route: {route}\r\n"))
            .collect();
        let text = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/WS {};branch=z9hG4bK{sequence}{method}{}\r\nMax-Forwards: 69\r\n{routes}To: {}\r\nFrom: {}\r\nCall-ID: {}\r\nCSeq: {sequence} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            call.target,
            self.host,
            self.user,
            call.remote,
            call.local,
            call.id,
            body.len()
        );
        self.socket.send(Frame::text(text)).await?;
        Ok(())
    }

    /// Serves what the gateway asks (session refreshes, OPTIONS, BYE) for a while.
    pub(crate) async fn idle(&mut self, time: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + time;
        while let Ok(message) = tokio::time::timeout_at(end, self.next()).await {
            message?;
        }
        Ok(())
    }

    async fn wait_final(&mut self, id: &str, method: &str) -> Result<Message> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let message = self.next().await?;
                if message.header("call-id") == id
                    && message.method() == method
                    && message.status().is_some_and(|status| status >= 200)
                {
                    return Ok(message);
                }
            }
        })
        .await
        .with_context(|| format!("no final answer to {method} of {}", self.user))?
    }

    /// The next SIP message; requests are answered 200 on the way.
    async fn next(&mut self) -> Result<Message> {
        loop {
            let frame = self
                .socket
                .next()
                .await
                .context("the gateway closed the WebSocket")??;
            let Frame::Text(text) = frame else {
                if let Frame::Close(reason) = frame {
                    bail!(
                        "the gateway closed the WebSocket of {}: {reason:?}",
                        self.user
                    );
                }
                continue;
            };
            let Some(message) = Message::parse(&text) else {
                continue;
            };
            if message.status().is_none() && message.method() != "ACK" {
                let answer = self.answer(&message);
                self.socket.send(Frame::text(answer)).await?;
            }
            return Ok(message);
        }
    }
}

impl Browser {
    /// What a page answers to the gateway's request.
    fn answer(&mut self, request: &Message) -> String {
        self.asked.push(request.method().to_owned());
        if request.method() != "INVITE" || request.body.is_empty() {
            return request.response("200 OK", "", "");
        }
        direction(&request.body).clone_into(&mut self.offered);
        let reversed = match self.offered.as_str() {
            "sendonly" => "recvonly",
            "recvonly" => "sendonly",
            same => same,
        };
        let formats = request.body.lines().find_map(|line| {
            let (_, formats) = line.strip_prefix("m=audio ")?.split_once("SAVPF ")?;
            Some(formats.trim_end())
        });
        let body = self
            .offer
            .replace("a=setup:actpass", "a=setup:active")
            .replace("111 63 9 0 8 13 110 126", formats.unwrap_or("8"))
            .replace("a=sendrecv", &format!("a={reversed}"));
        let contact = format!(
            "Contact: <sip:{}@{};transport=ws;ob>\r\n",
            self.user, self.host
        );
        request.response("200 OK", &contact, &body)
    }
}

async fn connect(gateway: SocketAddr) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>> {
    let mut request = format!("ws://{gateway}/sip").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
    headers.insert("Origin", format!("http://{gateway}").parse()?);
    let (socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .with_context(|| format!("WebSocket to {gateway}"))?;
    Ok(socket)
}

fn remote_media(sdp: &str) -> Result<Remote> {
    let candidate = sdp
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("a=candidate:"))
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|parts| parts.len() > 7 && parts[1] == "1" && parts[2].eq_ignore_ascii_case("udp"))
        .context("no candidate in the answer")?;
    Ok(Remote {
        address: format!("{}:{}", candidate[4], candidate[5]).parse()?,
        ufrag: sdp_line(sdp, "a=ice-ufrag:")
            .context("no ufrag in the answer")?
            .to_owned(),
        pwd: sdp_line(sdp, "a=ice-pwd:")
            .context("no password in the answer")?
            .to_owned(),
    })
}

/// The audio offer of Chromium 156.
pub(crate) fn chromium_offer(media: &BrowserMedia, identity: &Identity) -> Result<String> {
    let port = media.address()?.port();
    Ok(format!(
        "v=0\r\no=- 7666821458748777192 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS 26d0\r\n\
m=audio {port} UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 127.0.0.1\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=candidate:2988207806 1 udp 2122194687 127.0.0.1 {port} typ host generation 0 network-id 1\r\n\
a=candidate:1287043626 1 tcp 1518214911 127.0.0.1 9 typ host tcptype active generation 0 network-id 1\r\n\
a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\na=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=mid:0\r\n\
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
a=sendrecv\r\na=msid:26d0 c3e0\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
a=ssrc:3420932352 cname:load\r\n",
        ufrag = media.ufrag,
        pwd = media.pwd,
        fingerprint = identity.fingerprint,
    ))
}

const PATIENCE: Duration = Duration::from_secs(40);
