//! A call as it is drawn on paper: who said what to whom, and when.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use signaling::message::{HeaderName, Message, Parsed, parse_datagram};
use signaling::sdp;

/// The arrows so far.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    lines: Vec<String>,
}

impl Ladder {
    /// Draws one message, at the time it was sent.
    pub(crate) fn draw(
        &mut self,
        at: Duration,
        from: &str,
        to: &str,
        bytes: &Bytes,
        is_lost: bool,
    ) {
        let lost = if is_lost { "  (lost)" } else { "" };
        let seconds = at.as_secs_f64();
        let what = summary(bytes);
        self.lines
            .push(format!("{seconds:8.3} {from:>5} -> {to:<5} {what}{lost}"));
    }

    /// Forgets what was drawn, for a ladder that begins here.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// The arrows between two columns only.
    #[must_use]
    pub fn between(&self, one: &str, other: &str) -> String {
        let is_between = |line: &&String| {
            let mut words = line.split_whitespace().skip(1);
            let (from, to) = (words.next(), words.nth(1));
            [from, to] == [Some(one), Some(other)] || [from, to] == [Some(other), Some(one)]
        };
        let lines: Vec<&str> = self
            .lines
            .iter()
            .filter(is_between)
            .map(String::as_str)
            .collect();
        lines.join("\n")
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// Method or status, and what the description says of audio.
fn summary(bytes: &Bytes) -> String {
    let Ok(Parsed::Message(message)) = parse_datagram(bytes) else {
        return "keepalive".to_owned();
    };
    let first = match &message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            let method = response.headers.cseq().map(|cseq| cseq.method.to_string());
            format!("{} {}", response.status.code(), method.unwrap_or_default())
        }
    };
    let content_type = message.headers().text(&HeaderName::ContentType);
    let body = content_type.and_then(|text| sdp::session_description(text, message.body()));
    match body.map(sdp::parse) {
        Some(Ok(description)) => {
            let audio = description.media.first();
            let audio = audio.map(|media| description.direction_of(media).as_str());
            format!("{first} ({})", audio.unwrap_or("no media"))
        }
        Some(Err(_)) => format!("{first} (broken description)"),
        None => first,
    }
}
