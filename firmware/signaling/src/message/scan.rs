//! Words of the SIP grammar, RFC 3261 §25.1: tokens, quoted strings, lists.
//! Every function looks at each byte a bounded number of times.

use memchr::{memchr2, memchr3};

/// Letters of a `token`.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 128 {
        table[i] = (i as u8).is_ascii_alphanumeric();
        i += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};

/// Whether the text is a `token`.
#[must_use]
pub fn is_token(text: &str) -> bool {
    is_token_bytes(text.as_bytes())
}

pub(super) fn is_token_bytes(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| TOKEN[usize::from(byte)])
}

/// Takes linear white space (already unfolded) off both ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Reads a decimal number that fits; no sign, no space.
pub(super) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Length of the quoted string that the text starts with, quotes included.
pub(super) fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// What a quoted string (quotes included) says.
pub(super) fn unquote(quoted: &str) -> String {
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(quoted);
    let mut said = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => said.extend(letters.next()),
            _ => said.push(letter),
        }
    }
    said
}

/// Puts a text in quotes, RFC 3261 §25.1. Line ends and NUL cannot be quoted and
/// become spaces.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\r' | '\n' | '\0' => quoted.push(' '),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A quote or an angle bracket that is never closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Where `wanted` stands first, outside quotes and angle brackets.
pub(super) fn find_outside(text: &str, wanted: u8) -> Result<Option<usize>, Unbalanced> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let Some(found) = memchr3(wanted, b'"', b'<', &bytes[at..]) else {
            return Ok(None);
        };
        at += found;
        match bytes[at] {
            byte if byte == wanted => return Ok(Some(at)),
            b'"' => at += quoted_len(&text[at..]).ok_or(Unbalanced)?,
            _ => at += memchr::memchr(b'>', &bytes[at..]).ok_or(Unbalanced)? + 1,
        }
    }
}

/// The elements of a comma-separated list, trimmed; RFC 3261 §7.3.1.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    rest: Option<&'a str>,
}

impl<'a> List<'a> {
    pub(super) fn new(value: &'a str) -> Self {
        List { rest: Some(value) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Result<&'a str, Unbalanced>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some(find_outside(rest, b',').map(|comma| {
            let (item, after) = match comma {
                Some(at) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            };
            self.rest = after;
            trim(item)
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn list_is_split_outside_quotes_and_angles_only() {
        let items: Vec<_> = List::new(r#""a, \", <" <sip:x,y@z>;p="1,2" , <sip:b>,c"#)
            .map(Result::unwrap)
            .collect();
        assert_eq!(items, [r#""a, \", <" <sip:x,y@z>;p="1,2""#, "<sip:b>", "c"]);
    }

    #[test]
    fn open_quote_or_bracket_is_an_error_and_ends_the_list() {
        let mut list = List::new(r#"a, "b, c"#);
        assert_eq!(list.next(), Some(Ok("a")));
        assert_eq!(list.next(), Some(Err(Unbalanced)));
        assert_eq!(list.next(), None);
        assert_eq!(find_outside("<sip:a", b';'), Err(Unbalanced));
        assert_eq!(find_outside(r#""ab\"#, b';'), Err(Unbalanced));
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "plain", r#"a "b" \ c"#, "Jöns ,;<>"] {
            assert_eq!(unquote(&quote(text)), text);
        }
        assert_eq!(quote("a\r\nb"), "\"a  b\"");
    }
}
