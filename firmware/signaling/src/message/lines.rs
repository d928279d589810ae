//! Header lines, RFC 3261 §7.3.1: one logical line may be folded over several.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// One logical line: where its name and its value are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: Range<usize>,
    /// Without white space around it; may hold folds.
    pub(super) value: Range<usize>,
    pub(super) is_folded: bool,
}

/// What stands at a place where a header line may start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, and where the next one starts.
    Line(Line, usize),
    /// A line that cannot be taken apart, and where the next one starts.
    Broken(usize),
    /// The empty line, and where the body starts.
    Body(usize),
    /// The bytes end before the line does.
    End,
}

/// Reads the logical line that starts at `start`.
pub(super) fn next_line(bytes: &[u8], start: usize) -> Next {
    let mut is_folded = false;
    let mut is_clean = true;
    let mut from = start;
    let end = loop {
        let Some(at) = memchr(b'\n', &bytes[from..]) else {
            return Next::End;
        };
        let line_feed = from + at;
        // A bare line feed ends a line for some and not for others.
        is_clean &= line_feed > from && bytes[line_feed - 1] == b'\r';
        from = line_feed + 1;
        if line_feed == start + 1 && is_clean {
            return Next::Body(from);
        }
        match bytes.get(from) {
            Some(b' ' | b'\t') => is_folded = true,
            _ => break line_feed,
        }
    };
    let line = &bytes[start..end];
    let Some(colon) = memchr(b':', line) else {
        return Next::Broken(from);
    };
    let value = trim(bytes, start + colon + 1..end);
    let name = trim(bytes, start..start + colon);
    if !is_clean || name.start != start || !has_legal_bytes(&bytes[value.clone()], is_folded) {
        return Next::Broken(from);
    }
    Next::Line(
        Line {
            name,
            value,
            is_folded,
        },
        from,
    )
}

/// The value of a folded line with a space in place of each fold.
pub(super) fn unfold(value: &[u8]) -> Vec<u8> {
    let mut unfolded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr(b'\r', rest) {
        let before = rest[..at].trim_ascii_end();
        unfolded.extend_from_slice(before);
        unfolded.push(b' ');
        rest = rest[at..].trim_ascii_start();
    }
    unfolded.extend_from_slice(rest);
    unfolded
}

/// No NUL, and a carriage return only where a fold has one.
fn has_legal_bytes(value: &[u8], is_folded: bool) -> bool {
    memchr(0, value).is_none()
        && memchr_iter(b'\r', value).all(|at| is_folded && value.get(at + 1) == Some(&b'\n'))
}

fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    let start = range.start + text.len() - text.trim_ascii_start().len();
    let len = text.trim_ascii().len();
    start.min(range.end)..start.min(range.end) + len
}
