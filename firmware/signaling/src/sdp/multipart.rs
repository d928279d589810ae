//! Finds the session description in a message body: alone, or one part of a
//! multipart (RFC 5621 §3, RFC 2046 §5.1).

/// The session description in a body of this Content-Type. `None` when the body
/// holds none; a part whose Content-Disposition is not `session` does not count
/// (RFC 3261 §20.11).
#[must_use]
pub fn session_description<'a>(content_type: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let media_type = bare(content_type);
    if media_type.eq_ignore_ascii_case("application/sdp") {
        return Some(body);
    }
    let is_multipart = media_type
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if !is_multipart {
        return None;
    }
    let boundary = format!("--{}", boundary(content_type)?);
    parts(body, boundary.as_bytes())
        .take(MAX_PARTS)
        .find_map(description_in)
}

/// The body of a part, if it is the session description.
fn description_in(part: &[u8]) -> Option<&[u8]> {
    let (head, body) = split_head(part)?;
    let head = std::str::from_utf8(head).ok()?;
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field
                .trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    };
    let is_description = bare(field("content-type")?).eq_ignore_ascii_case("application/sdp");
    let is_session = field("content-disposition")
        .is_none_or(|disposition| bare(disposition).eq_ignore_ascii_case("session"));
    (is_description && is_session).then_some(body)
}

/// What stands between the delimiter lines.
fn parts<'a>(body: &'a [u8], delimiter: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let finder = memchr::memmem::Finder::new(delimiter).into_owned();
    let mut delimiters = Vec::new();
    let mut from = 0;
    while let Some(found) = finder.find(&body[from..]) {
        let at = from + found;
        from = at + delimiter.len();
        if at == 0 || body[at - 1] == b'\n' {
            delimiters.push((at, from));
        }
        if delimiters.len() > MAX_PARTS {
            break;
        }
    }
    let ends: Vec<usize> = delimiters.iter().skip(1).map(|(at, _)| *at).collect();
    delimiters
        .into_iter()
        .zip(ends)
        .filter_map(move |((_, start), end)| {
            let part = &body[start..end];
            let line_end = memchr::memchr(b'\n', part)?;
            let part = &part[line_end + 1..];
            Some(
                part.strip_suffix(b"\r\n")
                    .or(part.strip_suffix(b"\n"))
                    .unwrap_or(part),
            )
        })
}

/// Header fields and body, at the first empty line.
fn split_head(part: &[u8]) -> Option<(&[u8], &[u8])> {
    for end in [b"\r\n\r\n".as_slice(), b"\n\n"] {
        if let Some(at) = memchr::memmem::find(part, end) {
            return Some((&part[..at], &part[at + end.len()..]));
        }
    }
    None
}

/// A value without its parameters.
fn bare(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// 1 to 70 characters, RFC 2046 §5.1.1.
fn boundary(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let is_boundary = name.trim().eq_ignore_ascii_case("boundary");
        (is_boundary && (1..=70).contains(&value.len())).then_some(value)
    })
}

/// More parts than any honest message has.
const MAX_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "preamble\r\n--b1\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n\
        --b1\r\nContent-Disposition: early-session\r\nContent-Type: application/sdp\r\n\r\nv=early\r\n\
        --b1\r\ncontent-type: Application/SDP\r\nContent-Disposition: session;handling=required\r\n\r\nv=0\r\ns=-\r\n\
        --b1--\r\n";

    #[test]
    fn the_description_of_the_session_is_found_among_other_parts() {
        let found = session_description("multipart/mixed; boundary=\"b1\"", BODY.as_bytes());
        assert_eq!(found, Some(b"v=0\r\ns=-".as_slice()));
    }

    #[test]
    fn a_plain_body_is_taken_whole_whatever_its_parameters() {
        let found = session_description("application/SDP ;charset=utf-8", b"v=0\r\n");
        assert_eq!(found, Some(b"v=0\r\n".as_slice()));
    }

    #[test]
    fn bodies_without_a_description_have_none() {
        for content_type in [
            "text/plain",
            "multipart/mixed",
            "multipart/mixed;boundary=xx",
            "",
        ] {
            assert_eq!(session_description(content_type, BODY.as_bytes()), None);
        }
    }
}
