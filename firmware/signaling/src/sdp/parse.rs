//! From bytes to the model, RFC 8866 §5, within limits.

use std::borrow::Cow;

use super::error::SdpError;
use super::model::{Attribute, Bandwidth, Description, Host, Media, MediaKind};

/// Reads a session description. Lines may end in LF alone; in text that is not UTF-8
/// every odd octet is read as a question mark, since only names of people are ever
/// written that way.
///
/// # Errors
///
/// [`SdpError::TooLarge`] beyond the limits below, [`SdpError::Malformed`] for a
/// broken grammar.
pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
    check_limits(bytes)?;
    let session = sdp_types::Session::parse(&readable(bytes))
        .map_err(|error| SdpError::Malformed(error.to_string()))?;
    Ok(Description {
        session_id: session.origin.sess_id,
        version: session.origin.sess_version,
        origin: host(&session.origin.unicast_address)?,
        connection: session
            .connection
            .map(|connection| host(&connection.connection_address))
            .transpose()?,
        bandwidths: session.bandwidths.into_iter().map(bandwidth).collect(),
        attributes: session.attributes.into_iter().map(attribute).collect(),
        media: session
            .medias
            .into_iter()
            .map(media)
            .collect::<Result<_, _>>()?,
    })
}

fn readable(bytes: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    let ascii = bytes.iter().map(|b| if b.is_ascii() { *b } else { b'?' });
    Cow::Owned(ascii.collect())
}

/// Counts before anything is copied.
fn check_limits(bytes: &[u8]) -> Result<(), SdpError> {
    if bytes.len() > MAX_OCTETS {
        return Err(SdpError::TooLarge("octets"));
    }
    let (mut lines, mut media, mut start) = (0, 0, 0);
    let ends = memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len()));
    for end in ends {
        let line = &bytes[start..end];
        start = end + 1;
        lines += 1;
        media += usize::from(line.starts_with(b"m="));
        if line.len() > MAX_LINE {
            return Err(SdpError::TooLarge("line length"));
        }
    }
    if lines > MAX_LINES {
        return Err(SdpError::TooLarge("lines"));
    }
    if media > MAX_MEDIA {
        return Err(SdpError::TooLarge("media lines"));
    }
    Ok(())
}

fn media(media: sdp_types::Media) -> Result<Media, SdpError> {
    Ok(Media {
        kind: MediaKind::from(media.media.as_str()),
        port: media.port,
        protocol: media.proto,
        formats: media
            .fmt
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        connection: media
            .connections
            .first()
            .map(|connection| host(&connection.connection_address))
            .transpose()?,
        bandwidths: media.bandwidths.into_iter().map(bandwidth).collect(),
        attributes: media.attributes.into_iter().map(attribute).collect(),
    })
}

/// An address may carry a time to live after a slash, RFC 8866 §5.7.
fn host(address: &str) -> Result<Host, SdpError> {
    let bare = address.split('/').next().unwrap_or_default();
    if bare.is_empty() {
        return Err(SdpError::Malformed("no address".to_owned()));
    }
    Ok(match bare.parse() {
        Ok(ip) => Host::Ip(ip),
        Err(_) => Host::Name(bare.to_owned()),
    })
}

fn bandwidth(bandwidth: sdp_types::Bandwidth) -> Bandwidth {
    Bandwidth {
        modifier: bandwidth.bwtype,
        value: bandwidth.bandwidth,
    }
}

fn attribute(attribute: sdp_types::Attribute) -> Attribute {
    Attribute {
        name: attribute.attribute,
        value: attribute.value,
    }
}

/// Octets of a whole description.
const MAX_OCTETS: usize = 64 * 1024;

/// Lines of a whole description.
const MAX_LINES: usize = 4096;

/// Octets of one line.
const MAX_LINE: usize = 4 * 1024;

/// Media lines.
const MAX_MEDIA: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn described(body: &str) -> Result<Description, SdpError> {
        parse(format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{body}").as_bytes())
    }

    #[test]
    fn lines_may_end_in_a_bare_line_feed() {
        let description =
            parse(b"v=0\no=- 7666821458748777192 2 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=audio 9 RTP/AVP 0\na=mid:0")
                .unwrap();

        assert_eq!(description.session_id, "7666821458748777192");
        assert_eq!(description.media[0].attribute("mid"), Some("0"));
    }

    #[test]
    fn a_name_in_latin_1_is_no_reason_to_lose_a_call() {
        assert!(parse(b"v=0\r\no=J\xfcrgen 1 1 IN IP4 192.0.2.1\r\ns=\xfc\r\nt=0 0\r\n").is_ok());
    }

    #[test]
    fn more_than_the_limits_is_refused() {
        let long_line = format!("a=x:{}\r\n", "y".repeat(MAX_LINE));
        let many_lines = "a=x\r\n".repeat(MAX_LINES);
        let many_media = "m=audio 9 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1);
        let huge = format!("a=x:{}\r\n", "y".repeat(MAX_LINE - 10)).repeat(17);

        for body in [long_line, many_lines, many_media, huge] {
            assert!(matches!(described(&body), Err(SdpError::TooLarge(_))));
        }
        assert!(described(&"m=audio 9 RTP/AVP 0\r\n".repeat(MAX_MEDIA)).is_ok());
    }

    #[test]
    fn broken_grammar_is_named() {
        for body in [
            "m=audio\r\n",
            "m=audio x RTP/AVP 0\r\n",
            "c=IN\r\n",
            "nonsense\r\n",
        ] {
            assert!(
                matches!(described(body), Err(SdpError::Malformed(_))),
                "{body}"
            );
        }
        assert!(matches!(parse(b""), Err(SdpError::Malformed(_))));
    }
}
