//! The header fields of a message in their order, RFC 3261 §7.3. Values are kept
//! byte for byte; only folds are replaced by a space.

use std::fmt;

use bytes::Bytes;

use super::header_name::HeaderName;
use super::headers::Typed;
use super::scan::{List, trim};

/// One header field.
#[derive(Clone)]
pub struct Header {
    name: HeaderName,
    /// The name as the peer wrote it; empty for the usual spelling.
    spelling: Bytes,
    value: Bytes,
}

impl Header {
    /// A field of our own. Line ends and NUL in the value become spaces, so that
    /// nothing that came from a peer can start a new header.
    #[must_use]
    pub fn new(name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        Header {
            name,
            spelling: Bytes::new(),
            value: value.into().0,
        }
    }

    /// A field as it came; the value has no line end in it.
    pub(super) fn received(name: HeaderName, spelling: Bytes, value: Bytes) -> Self {
        Header {
            name,
            spelling,
            value,
        }
    }

    /// Which header it is.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The name as it stands on the wire.
    #[must_use]
    pub fn spelling(&self) -> &[u8] {
        if self.spelling.is_empty() {
            self.name.as_str().as_bytes()
        } else {
            &self.spelling
        }
    }

    /// The value without the white space around it.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The value as text; `None` if it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.value).ok()
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.spelling() == other.spelling() && self.value == other.value
    }
}

impl Eq for Header {}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: <private>", self.name)
    }
}

/// Bytes that can stand in a header line.
#[derive(Clone)]
pub struct HeaderValue(Bytes);

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        HeaderValue::from(text.into_bytes())
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        HeaderValue::from(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for HeaderValue {
    fn from(mut bytes: Vec<u8>) -> Self {
        for byte in &mut bytes {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        let start = bytes.iter().take_while(|byte| is_space(**byte)).count();
        let kept = bytes.len()
            - bytes
                .iter()
                .rev()
                .take_while(|byte| is_space(**byte))
                .count();
        HeaderValue(Bytes::from(bytes).slice(start.min(kept)..kept))
    }
}

impl From<Bytes> for HeaderValue {
    fn from(bytes: Bytes) -> Self {
        HeaderValue::from(bytes.to_vec())
    }
}

/// Copies a value from another message without looking at it again.
impl From<&Header> for HeaderValue {
    fn from(header: &Header) -> Self {
        HeaderValue(header.value.clone())
    }
}

impl From<u32> for HeaderValue {
    fn from(number: u32) -> Self {
        HeaderValue(number.to_string().into())
    }
}

/// Why a header's value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A header that must be there is not.
    #[error("no {0}")]
    Missing(HeaderName),
    /// The value breaks its grammar.
    #[error("malformed {0}")]
    Malformed(HeaderName),
    /// A list is longer than [`MAX_ITEMS`].
    #[error("too many values of {0}")]
    TooMany(HeaderName),
}

impl HeaderError {
    /// The header it is about.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        match self {
            HeaderError::Missing(name)
            | HeaderError::Malformed(name)
            | HeaderError::TooMany(name) => name,
        }
    }
}

/// Header fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<Header>,
}

impl Headers {
    /// None at all.
    #[must_use]
    pub const fn new() -> Self {
        Headers { list: Vec::new() }
    }

    pub(super) fn with_capacity(fields: usize) -> Self {
        Headers {
            list: Vec::with_capacity(fields),
        }
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.list.iter()
    }

    /// Whether a field of this name is there.
    #[must_use]
    pub fn has(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&Header> {
        self.list.iter().find(|header| header.name == *name)
    }

    /// Every field of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a Header> {
        self.list.iter().filter(move |header| header.name == *name)
    }

    /// The text of the first field of this name; `None` too if it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        self.get(name)?.text()
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.list.push(Header::new(name, value));
    }

    /// Adds a field that came with another message, spelling and all.
    pub fn push_header(&mut self, header: Header) {
        self.list.push(header);
    }

    /// Adds a field before the first of its name, or at the top.
    pub fn prepend(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        let at = self.position(&name).unwrap_or(0);
        self.list.insert(at, Header::new(name, value));
    }

    /// Adds a typed value before the first field of its name, or at the top.
    pub fn prepend_typed<T: Typed>(&mut self, value: &T) {
        self.prepend(T::NAME, value.to_string());
    }

    /// Takes out every field of this name and says how many there were.
    pub fn remove(&mut self, name: &HeaderName) -> usize {
        let before = self.list.len();
        self.list.retain(|header| header.name != *name);
        before - self.list.len()
    }

    /// Puts one field in place of all of this name: where the first stood, or at the
    /// end.
    pub fn replace(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        let header = Header::new(name, value);
        match self.position(&header.name) {
            Some(at) => {
                let name = header.name.clone();
                self.list[at] = header;
                let mut index = 0;
                self.list.retain(|other| {
                    index += 1;
                    index <= at + 1 || other.name != name
                });
            }
            None => self.list.push(header),
        }
    }

    /// Keeps only the fields that the filter wants.
    pub fn retain(&mut self, keep: impl FnMut(&Header) -> bool) {
        self.list.retain(keep);
    }

    /// Copies every field of this name from another message, after what is here.
    pub fn copy(&mut self, from: &Headers, name: &HeaderName) {
        self.list.extend(from.get_all(name).cloned());
    }

    /// The elements of all fields of this name, cut at the commas of the list.
    pub fn items<'a>(
        &'a self,
        name: &'a HeaderName,
    ) -> impl Iterator<Item = Result<&'a str, HeaderError>> {
        self.get_all(name).flat_map(move |header| {
            let text = header.text();
            let broken = text
                .is_none()
                .then(|| Err(HeaderError::Malformed(name.clone())));
            let items = text.into_iter().flat_map(List::new);
            broken
                .into_iter()
                .chain(items.map(|item| item.map_err(|_| HeaderError::Malformed(name.clone()))))
        })
    }

    /// Takes the first element off the first field of this name, such as the top Via
    /// or the top Route.
    pub fn remove_first_item(&mut self, name: &HeaderName) {
        let Some(at) = self.position(name) else {
            return;
        };
        let rest = self.list[at].text().and_then(|text| {
            let comma = super::scan::find_outside(text, b',').ok()??;
            let start = text.len() - text[comma + 1..].trim_start().len();
            Some(start)
        });
        match rest {
            Some(start) => {
                let value = self.list[at].value.slice(start..);
                self.list[at].value = value;
            }
            None => {
                self.list.remove(at);
            }
        }
    }

    /// The value of a header that occurs once, if it is there.
    ///
    /// # Errors
    /// If it breaks its grammar.
    pub fn typed<T: Typed>(&self) -> Result<Option<T>, HeaderError> {
        self.get(&T::NAME)
            .map(|header| {
                let value = header.text().map(trim).and_then(T::parse);
                value.ok_or(HeaderError::Malformed(T::NAME))
            })
            .transpose()
    }

    /// The value of a header that must be there.
    ///
    /// # Errors
    /// If it is missing or breaks its grammar.
    pub fn required<T: Typed>(&self) -> Result<T, HeaderError> {
        self.typed()?.ok_or(HeaderError::Missing(T::NAME))
    }

    /// All elements of a list header; empty if it is not there.
    ///
    /// # Errors
    /// If one breaks its grammar or there are more than [`MAX_ITEMS`].
    pub fn typed_list<T: Typed>(&self) -> Result<Vec<T>, HeaderError> {
        let mut list = Vec::new();
        for item in self.items(&T::NAME) {
            let item = item?;
            // RFC 3261 §7.3.1 has no empty elements, but an empty Supported is
            // legal (§20.37), and so are empty Accept and Allow.
            if item.is_empty() && T::MAY_BE_EMPTY {
                continue;
            }
            if list.len() == MAX_ITEMS {
                return Err(HeaderError::TooMany(T::NAME));
            }
            list.push(T::parse(item).ok_or(HeaderError::Malformed(T::NAME))?);
        }
        Ok(list)
    }

    /// Adds a typed value as a field at the end.
    pub fn push_typed<T: Typed>(&mut self, value: &T) {
        self.push(T::NAME, value.to_string());
    }

    /// Puts a typed value in place of all fields of its name.
    pub fn set<T: Typed>(&mut self, value: &T) {
        self.replace(T::NAME, value.to_string());
    }

    /// Puts a list in place of all fields of its name, one field for each element.
    pub fn set_list<T: Typed>(&mut self, values: &[T]) {
        self.remove(&T::NAME);
        for value in values {
            self.push_typed(value);
        }
    }

    fn position(&self, name: &HeaderName) -> Option<usize> {
        self.list.iter().position(|header| header.name == *name)
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Longest list that is read from a header.
pub const MAX_ITEMS: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.push(HeaderName::from_static(name), *value);
        }
        headers
    }

    fn print(headers: &Headers) -> String {
        let lines = headers
            .iter()
            .map(|header| format!("{}: {}", header.name(), header.text().unwrap()));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn edits_keep_the_order_of_the_rest() {
        let mut headers = headers(&[("Via", "1"), ("To", "a"), ("X-Y", "b"), ("x-y", "c")]);
        headers.prepend(HeaderName::Via, "0");
        headers.replace(HeaderName::from_static("X-y"), "d");
        headers.replace(HeaderName::From, "e\r\nInjected: yes");
        assert_eq!(
            print(&headers),
            "Via: 0\nVia: 1\nTo: a\nX-y: d\nFrom: e  Injected: yes"
        );
        assert_eq!(headers.remove(&HeaderName::Via), 2);
    }

    #[test]
    fn first_element_goes_and_the_others_stay() {
        let mut headers = headers(&[
            ("Route", "\"a,b\" <sip:a,b> , <sip:c>"),
            ("Route", "<sip:d>"),
        ]);
        headers.remove_first_item(&HeaderName::Route);
        assert_eq!(print(&headers), "Route: <sip:c>\nRoute: <sip:d>");
        headers.remove_first_item(&HeaderName::Route);
        assert_eq!(print(&headers), "Route: <sip:d>");
    }

    #[test]
    fn lists_are_capped() {
        let long = vec!["<sip:a@b>"; MAX_ITEMS + 1].join(",");
        let headers = headers(&[("Route", &long)]);
        assert_eq!(
            headers.routes(),
            Err(HeaderError::TooMany(HeaderName::Route))
        );
    }
}
