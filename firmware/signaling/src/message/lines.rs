//! Header lines, RFC 3261 §7.3.1: one logical line may be folded over several.

use std::ops::Range;

use memchr::{memchr, memchr2_iter};

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
        unfolded.extend_from_slice(&rest[trim(rest, 0..at)]);
        unfolded.push(b' ');
        rest = &rest[trim(rest, at..rest.len())];
    }
    unfolded.extend_from_slice(rest);
    unfolded
}

/// A carriage return only where a fold has one, and NUL only as a quoted pair (RFC
/// 3261 §25.1).
fn has_legal_bytes(value: &[u8], is_folded: bool) -> bool {
    memchr2_iter(b'\r', 0, value).all(|at| match value[at] {
        b'\r' => is_folded && value.get(at + 1) == Some(&b'\n'),
        _ => at > 0 && value[at - 1] == b'\\',
    })
}

/// Takes white space, folds included, off both ends.
fn trim(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let text = &bytes[range.clone()];
    let Some(first) = text.iter().position(|byte| !is_space(*byte)) else {
        return range.start..range.start;
    };
    let last = text.iter().rposition(|byte| !is_space(*byte));
    range.start + first..range.start + last.map_or(first, |last| last + 1)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
