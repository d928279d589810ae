//! Parameters of a header value or of a URI: `;name=value;flag`, kept as they
//! came; RFC 3261 §25.1 `generic-param`, §19.1.1 `uri-parameters`.

use std::fmt;

use super::scan::{find_outside, is_token, quote, quoted_len, trim, unquote};

/// A run of parameters in the order and spelling in which they came.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// Empty, or starts with `;`.
    text: String,
}

impl Params {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Params {
            text: String::new(),
        }
    }

    /// Reads what follows the main part of a header value: nothing, or a `;` and
    /// parameters. `None` if a name is not a token or a value is missing or open.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        Params::is_well_formed(text).then(|| Params {
            text: trim(text).to_owned(),
        })
    }

    /// Whether the text is what [`Params::parse`] takes.
    pub(super) fn is_well_formed(text: &str) -> bool {
        let text = trim(text);
        if text.is_empty() {
            return true;
        }
        let Some(rest) = text.strip_prefix(';') else {
            return false;
        };
        split(rest).all(|param| param.is_some_and(|(name, value)| is_param(name, value)))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// As they stand on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names and raw values in order. A flag has no value; quotes are still there.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        iter(&self.text)
    }

    /// Whether a parameter of this name is there, with a value or without.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        find(&self.text, name).is_some()
    }

    /// The raw value of the first parameter of this name; an empty text if it is a
    /// flag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        find(&self.text, name).map(Option::unwrap_or_default)
    }

    /// What the value says once its quotes are taken off.
    #[must_use]
    pub fn unquoted(&self, name: &str) -> Option<String> {
        self.get(name).map(unquote)
    }

    /// Sets a parameter, in its place if it was there, else at the end. A value
    /// that is not a token, a host or a number is put in quotes.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        let value = value.to_string();
        if is_plain_value(&value) {
            self.put(name, Some(&value));
        } else {
            self.put(name, Some(&quote(&value)));
        }
    }

    /// Sets a parameter of a URI, which has escapes and no quotes.
    pub(super) fn set_escaped(&mut self, name: &str, value: &str) {
        self.put(name, Some(value));
    }

    /// Sets a parameter without a value.
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None);
    }

    /// Takes out every parameter of this name.
    pub fn remove(&mut self, name: &str) {
        if self.has(name) {
            let mut text = String::with_capacity(self.text.len());
            for (other, value) in self.iter() {
                if !other.eq_ignore_ascii_case(name) {
                    write_param(&mut text, other, value);
                }
            }
            self.text = text;
        }
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        debug_assert!(is_token(name), "a parameter's name is a token");
        if !self.has(name) {
            return write_param(&mut self.text, name, value);
        }
        let mut text = String::with_capacity(self.text.len());
        let mut pending = Some(value);
        for (other, old) in iter(&self.text) {
            if !other.eq_ignore_ascii_case(name) {
                write_param(&mut text, other, old);
            } else if let Some(value) = pending.take() {
                write_param(&mut text, name, value);
            }
        }
        self.text = text;
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// Parameters of a text that is empty or starts with `;`.
pub(super) fn iter(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let rest = text.strip_prefix(';');
    rest.into_iter().flat_map(split).flatten()
}

/// The first parameter of this name, in a text that is empty or starts with `;`.
pub(super) fn find<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
    iter(text)
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Cuts at each `;`; `None` for a part whose quotes stay open, which is the last.
fn split(text: &str) -> impl Iterator<Item = Option<(&str, Option<&str>)>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Ok(end) = find_outside(text, b';') else {
            return Some(None);
        };
        let part = match end {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                &text[..at]
            }
            None => text,
        };
        Some(Some(match part.split_once('=') {
            Some((name, value)) => (trim(name), Some(trim(value))),
            None => (trim(part), None),
        }))
    })
}

fn is_param(name: &str, value: Option<&str>) -> bool {
    is_token(name)
        && value
            .is_none_or(|value| quoted_len(value) == Some(value.len()) || is_lenient_value(value))
}

/// What a header writes without quotes in practice: more than a token or a host
/// (bare IPv6, URIs in `<>`), but never a space or a control.
fn is_lenient_value(value: &str) -> bool {
    !value
        .bytes()
        .any(|byte| byte <= b' ' || byte == b'"' || byte == 0x7f)
}

fn is_plain_value(value: &str) -> bool {
    quoted_len(value) == Some(value.len())
        || (!value.is_empty()
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~[]:/&$".contains(&byte)))
}

fn write_param(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_found_without_regard_to_case_or_space() {
        let params = Params::parse(r#" ; Tag = 1 ;lr;x="a;b=c""#).unwrap();
        assert_eq!(params.get("tag"), Some("1"));
        assert_eq!(params.get("LR"), Some(""));
        assert_eq!(params.unquoted("x").unwrap(), "a;b=c");
        assert!(!params.has("b"));
    }

    #[test]
    fn setting_keeps_the_place_and_removing_keeps_the_rest() {
        let mut params = Params::parse(";a=1;b;c=3").unwrap();
        params.set("B", "two");
        params.set("d", "needs quotes");
        params.remove("a");
        params.set_flag("lr");
        assert_eq!(params.as_str(), r#";B=two;c=3;d="needs quotes";lr"#);
    }

    #[test]
    fn empty_and_open_parameters_are_refused() {
        for bad in [";;", ";", ";a;;b", "a", r#";a="b"#, ";a=b c", ";=1"] {
            assert!(Params::parse(bad).is_none(), "{bad}");
        }
    }
}
