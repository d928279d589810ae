//! A browser's messages, recorded once and said again by a script, so that the very same words go into
//! the gateway whatever lies behind it.
//!
//! What differs from run to run is learnt from the gateway's messages by comparing each with the
//! recorded one: tags, Call-IDs, Vias, contacts and nonces. Digest answers are made anew.

use std::collections::VecDeque;
use std::fs;
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// What went over one WebSocket, in order.
#[derive(Clone, Debug)]
pub struct Trace {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    is_browsers: bool,
    message: String,
}

impl Trace {
    /// The trace that is kept with the tests' fixtures.
    pub fn load() -> anyhow::Result<Self> {
        let text = fs::read_to_string(file()).context("no recorded trace")?;
        let value: Value = serde_json::from_str(&text).context("the trace is broken")?;
        Self::read(&value)
    }

    /// Reads what the page kept.
    pub fn read(value: &Value) -> anyhow::Result<Self> {
        let entries = value.as_array().context("no list of messages")?;
        let entries = entries.iter().map(|entry| {
            Some(Entry {
                is_browsers: entry["from"] == "browser",
                message: entry["message"].as_str()?.to_owned(),
            })
        });
        let entries = entries.collect::<Option<Vec<Entry>>>();
        Ok(Self {
            entries: entries.context("a message is missing")?,
        })
    }

    /// Keeps it with the fixtures.
    pub fn save(&self) -> anyhow::Result<()> {
        let entries = self.entries.iter().map(|entry| {
            let from = if entry.is_browsers {
                "browser"
            } else {
                "gateway"
            };
            json!({ "from": from, "message": entry.message })
        });
        let text = serde_json::to_string_pretty(&entries.collect::<Vec<_>>())?;
        let file = file();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).context("no folder for the trace")?;
        }
        fs::write(&file, text + "\n").with_context(|| format!("no {}", file.display()))
    }

    /// The values that the browser gave a header field in its requests with a method.
    pub fn values(&self, method: &str, header: &str) -> Vec<String> {
        let theirs = self.entries.iter().filter(|entry| entry.is_browsers);
        let requests = theirs.filter(|entry| Kind::of(&entry.message) == Kind::request(method));
        requests
            .flat_map(|entry| fields(&entry.message, header))
            .collect()
    }
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/jssip-3.13.8/calls.json")
}

/// A scripted client that says a trace.
#[derive(Debug)]
pub struct Player {
    socket: WebSocket<TcpStream>,
    inbox: VecDeque<String>,
    /// What was recorded and what stands for it in this run.
    learnt: Vec<(String, String)>,
    password: String,
    /// The challenge to be answered next.
    challenge: Option<String>,
}

impl Player {
    /// Opens the WebSocket as a page of that origin does.
    pub fn open(gateway: SocketAddrV4, origin: &str, password: &str) -> anyhow::Result<Self> {
        let mut request = format!("ws://{gateway}/sip").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
        headers.insert("Origin", origin.parse()?);
        let connection = TcpStream::connect(gateway).context("no connection to the gateway")?;
        connection.set_read_timeout(Some(Duration::from_secs(8)))?;
        let (socket, _) = tungstenite::client(request, connection)
            .map_err(|error| anyhow::anyhow!("no WebSocket: {error}"))?;
        Ok(Self {
            socket,
            inbox: VecDeque::new(),
            learnt: Vec::new(),
            password: password.to_owned(),
            challenge: None,
        })
    }

    /// Says the browser's part and waits for the gateway's; `call` is done when the recorded gateway
    /// brought a call.
    pub fn play(
        &mut self,
        trace: &Trace,
        mut call: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut is_called = false;
        let mut entries = trace.entries.iter();
        while let Some(entry) = entries.next() {
            let kind = Kind::of(&entry.message);
            if entry.is_browsers {
                self.say(&entry.message)?;
                continue;
            }
            if kind.is_provisional() {
                continue; // They come or they do not.
            }
            if kind == Kind::request("INVITE") && !is_called {
                is_called = true;
                call()?;
            }
            let live = self.next_final()?;
            let found = Kind::of(&live);
            if kind == Kind::answer(401, "REGISTER") && found == Kind::answer(200, "REGISTER") {
                // Whoever is not challenged does not answer a challenge.
                entries.next();
                entries.next();
                continue;
            }
            ensure!(
                found == kind,
                "recorded {}, got {}",
                first_line(&entry.message),
                first_line(&live)
            );
            self.learn(&entry.message, &live);
        }
        Ok(())
    }

    fn say(&mut self, recorded: &str) -> anyhow::Result<()> {
        // A person is slower than a script, and Kamailio stores a challenge after it has sent it.
        std::thread::sleep(Duration::from_millis(60));
        let mut text = recorded.to_owned();
        for (then, now) in &self.learnt {
            text = text.replace(then.as_str(), now);
        }
        if let (Some(credentials), Some(challenge)) =
            (fields(recorded, "Authorization").pop(), &self.challenge)
        {
            let method = text.split(' ').next().unwrap_or_default();
            let fresh = answer(&credentials, challenge, method, &self.password)?;
            let old = fields(&text, "Authorization").pop().unwrap_or_default();
            text = text.replace(&old, &fresh);
        }
        self.socket
            .send(Message::text(text))
            .context("the WebSocket broke")
    }

    /// The next message but provisional ones.
    fn next_final(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            match self.socket.read().context("the gateway said nothing")? {
                // Blank ones are keep-alives, RFC 7118 §6.
                Message::Text(text)
                    if !text.trim().is_empty() && !Kind::of(&text).is_provisional() =>
                {
                    self.inbox.push_back(text.as_str().to_owned());
                }
                Message::Close(_) => bail!("the gateway closed the WebSocket"),
                _ => {}
            }
        }
    }

    /// Compares what was recorded with what came instead of it.
    fn learn(&mut self, recorded: &str, live: &str) {
        self.challenge = fields(live, "WWW-Authenticate").pop();
        let is_request = Kind::of(live).status == 0;
        let mut pairs = Vec::new();
        for header in ["Via", "From", "To", "Call-ID", "CSeq", "Contact"] {
            let then = fields(recorded, header).pop().unwrap_or_default();
            let now = fields(live, header).pop().unwrap_or_default();
            match header {
                // A request's are repeated in the answer to it, whole.
                _ if is_request && header != "Contact" => pairs.push((
                    format!("{header}: {then}\r\n"),
                    format!("{header}: {now}\r\n"),
                )),
                "Contact" => pairs.push((uri(&then), uri(&now))),
                _ => {}
            }
            if matches!(header, "From" | "To") {
                pairs.push((tag(&then), tag(&now)));
            }
        }
        pairs.retain(|(then, now)| then.len() > 3 && !now.is_empty() && then != now);
        for (then, now) in pairs {
            self.learnt.retain(|(known, _)| *known != then);
            self.learnt.push((then, now));
        }
        // The longest first: a To without its tag is the beginning of one with it.
        self.learnt
            .sort_by_key(|(then, _)| std::cmp::Reverse(then.len()));
    }
}

/// What a message is: a request with a method, or an answer to one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    /// 0 for a request.
    status: u16,
    method: String,
}

impl Kind {
    fn of(message: &str) -> Self {
        let mut words = first_line(message).split(' ');
        let first = words.next().unwrap_or_default();
        if first != "SIP/2.0" {
            return Self::request(first);
        }
        let status = words.next().and_then(|status| status.parse().ok());
        let sequence = fields(message, "CSeq").pop().unwrap_or_default();
        let method = sequence.split(' ').next_back().unwrap_or_default();
        Self::answer(status.unwrap_or_default(), method)
    }

    fn request(method: &str) -> Self {
        Self::answer(0, method)
    }

    fn answer(status: u16, method: &str) -> Self {
        Self {
            status,
            method: method.to_owned(),
        }
    }

    fn is_provisional(&self) -> bool {
        (100..200).contains(&self.status)
    }
}

/// RFC 2617 §3.2.2 for MD5 and `qop=auth`: the recorded credentials with a new nonce and its answer.
fn answer(recorded: &str, challenge: &str, method: &str, password: &str) -> anyhow::Result<String> {
    let nonce = parameter(challenge, "nonce").context("a challenge without a nonce")?;
    let given = |name: &str| parameter(recorded, name).unwrap_or_default();
    let hash = |text: String| -> String {
        let bytes = Md5::digest(text);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let ha1 = hash(format!(
        "{}:{}:{password}",
        given("username"),
        given("realm")
    ));
    let ha2 = hash(format!("{method}:{}", given("uri")));
    let response = hash(format!(
        "{ha1}:{nonce}:{}:{}:{}:{ha2}",
        given("nc"),
        given("cnonce"),
        given("qop")
    ));
    Ok(recorded
        .replace(&given("nonce"), &nonce)
        .replace(&given("response"), &response))
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// The values of a header field in the head of a message.
fn fields(message: &str, name: &str) -> Vec<String> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let values = lines.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    values.map(|(_, value)| value.trim().to_owned()).collect()
}

/// A parameter after a comma or a space.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut parts = value.split([',', ' ']).filter_map(|part| {
        let value = part.trim().strip_prefix(name)?.strip_prefix('=')?;
        Some(value.trim_matches('"').to_owned())
    });
    parts.next()
}

fn tag(value: &str) -> String {
    let (_, tag) = value.split_once(";tag=").unwrap_or_default();
    tag.split(';').next().unwrap_or_default().to_owned()
}

fn uri(value: &str) -> String {
    let inside = value.split_once('<').map_or(value, |(_, rest)| rest);
    inside.split('>').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_digest_answer_is_made_anew_for_the_nonce_of_this_run() {
        // RFC 2617 §3.5.
        let recorded = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", nonce=\"old\", \
            uri=\"/dir/index.html\", qop=auth, nc=00000001, cnonce=\"0a4f113b\", response=\"0\"";
        let challenge =
            "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let fresh = answer(recorded, challenge, "GET", "Circle Of Life").unwrap();
        assert_eq!(
            parameter(&fresh, "response").unwrap(),
            "6629fae49393a05397450978507c4ef1"
        );
    }

    #[test]
    fn messages_are_told_apart() {
        let ok = "SIP/2.0 200 OK\r\nCSeq: 7 INVITE\r\n\r\n";
        assert_eq!(Kind::of(ok), Kind::answer(200, "INVITE"));
        assert_eq!(Kind::of("BYE sip:a SIP/2.0\r\n\r\n"), Kind::request("BYE"));
    }

    #[test]
    fn the_kept_trace_has_a_call_out_and_a_call_in() {
        let trace = Trace::load().unwrap();
        let count = |method: &str, is_browsers| {
            let kinds = trace.entries.iter().filter(|entry| {
                entry.is_browsers == is_browsers
                    && Kind::of(&entry.message) == Kind::request(method)
            });
            kinds.count()
        };
        assert!(count("INVITE", true) >= 3, "a call, a hold and its end");
        assert_eq!(count("INVITE", false), 1);
        assert_eq!(count("INFO", true), 1);
    }
}
