//! Key presses in INFO: `application/dtmf-relay` and `application/dtmf`, which no
//! standard defines and every telephone knows.

use std::time::Duration;

use iq::Private;

use crate::message::Request;
use crate::message::headers::ContentType;

/// Reads a key press: its code in RFC 4733 and how long it lasted. `None` if the body
/// is not one.
#[must_use]
pub(super) fn parse(request: &Request) -> Option<(Private<u8>, Duration)> {
    let content_type = request.headers.content_type().ok()??;
    let body = std::str::from_utf8(&request.body).ok()?;
    read(&content_type, body)
}

/// Whether the request claims to hold a key press.
#[must_use]
pub(super) fn is_claimed(request: &Request) -> bool {
    let content_type = request.headers.content_type().ok().flatten();
    content_type.is_some_and(|kind| kind.is(RELAY) || kind.is(PLAIN))
}

fn read(content_type: &ContentType, body: &str) -> Option<(Private<u8>, Duration)> {
    if content_type.is(PLAIN) {
        return Some((Private::new(event(body)?), DEFAULT_DURATION));
    }
    if !content_type.is(RELAY) {
        return None;
    }
    let field = |name: &str| {
        body.lines().find_map(|line| {
            let (field, value) = line.split_once('=')?;
            field
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim())
        })
    };
    let millis = field("Duration").and_then(|value| value.parse::<u64>().ok());
    let duration = millis.map_or(DEFAULT_DURATION, Duration::from_millis);
    Some((
        Private::new(event(field("Signal")?)?),
        duration.clamp(SHORTEST, LONGEST),
    ))
}

/// The event code of a key, RFC 4733 §3.2.
fn event(key: &str) -> Option<u8> {
    match key.trim() {
        "*" => Some(10),
        "#" => Some(11),
        "A" | "a" => Some(12),
        "B" | "b" => Some(13),
        "C" | "c" => Some(14),
        "D" | "d" => Some(15),
        // Some clients write 10 and 11 for * and #.
        number if number.len() <= 2 => number.parse().ok().filter(|code| *code <= 15),
        _ => None,
    }
}

const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";

/// How long a key is pressed if nobody says.
const DEFAULT_DURATION: Duration = Duration::from_millis(160);

/// Shorter events are not heard by everybody, RFC 4733 §2.5.2.2.
const SHORTEST: Duration = Duration::from_millis(40);

/// Longer ones would block the line.
const LONGEST: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::message::headers::Typed;

    fn key(content_type: &str, body: &str) -> Option<(u8, u128)> {
        let content_type = ContentType::parse(content_type).unwrap();
        let (event, duration) = read(&content_type, body)?;
        Some((*event.reveal(), duration.as_millis()))
    }

    #[test]
    fn a_key_is_read_in_both_spellings() {
        assert_eq!(
            key("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n"),
            Some((5, 250))
        );
        assert_eq!(
            key("application/dtmf-relay", "Signal= #\nduration = 9999999"),
            Some((11, 6000))
        );
        assert_eq!(key("application/dtmf-relay", "Signal=*"), Some((10, 160)));
        assert_eq!(key("application/dtmf", " D\r\n"), Some((15, 160)));
    }

    #[test]
    fn nonsense_is_no_key() {
        for body in [
            "",
            "Signal=",
            "Signal=16",
            "Signal=-1",
            "Duration=100",
            "Signal=55555",
        ] {
            assert_eq!(key("application/dtmf-relay", body), None, "{body}");
        }
        assert_eq!(key("text/plain", "5"), None);
    }
}
