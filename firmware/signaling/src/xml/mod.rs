//! XML documents of the IMS, as much of them as the box acts on. They are data from a network:
//! a document has a size, so have its lists, and nothing in it is fetched or expanded.

mod ims_3gpp;
mod reginfo;

pub use ims_3gpp::AlternativeService;
pub use reginfo::{ContactEvent, ContactInfo, RegInfo};

/// A piece of a document.
enum Token {
    /// A start tag; an empty element has no end tag.
    Open {
        tag: Tag,
        is_empty: bool,
    },
    /// The end tag of this name.
    Close(String),
    Text(String),
}

/// A start tag, its name without a namespace's prefix.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }
}

/// As much of XML 1.0 as this needs: no document type, no entities but the five.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// None if it is larger than any document of worth.
    fn new(document: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(document).ok()?;
        (text.len() <= SIZE_MAX).then_some(Scanner {
            rest: text.trim_start_matches('\u{feff}'),
        })
    }

    /// The next token, or none at the end. The outer option is empty if it is no XML.
    #[allow(clippy::option_option)]
    fn next_token(&mut self) -> Option<Option<Token>> {
        loop {
            if self.rest.is_empty() {
                return Some(None);
            }
            let Some(markup) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(Some(Token::Text(plain(text)?)));
            };
            if let Some(comment) = markup.strip_prefix("!--") {
                self.rest = comment.split_once("-->")?.1;
            } else if let Some(data) = markup.strip_prefix("![CDATA[") {
                let (text, rest) = data.split_once("]]>")?;
                self.rest = rest;
                return Some(Some(Token::Text(text.to_owned())));
            } else if let Some(instruction) = markup.strip_prefix('?') {
                self.rest = instruction.split_once("?>")?.1;
            } else if markup.starts_with('!') {
                return None; // A document type may expand without end.
            } else {
                return self.tag(markup).map(Some);
            }
        }
    }

    fn tag(&mut self, markup: &'a str) -> Option<Token> {
        if let Some(end) = markup.strip_prefix('/') {
            let (name, rest) = end.split_once('>')?;
            self.rest = rest;
            return Some(Token::Close(local(name.trim_end())?));
        }
        let is_end = |c: char| c.is_ascii_whitespace() || c == '>' || c == '/';
        let (name, mut rest) = markup.split_at(markup.find(is_end)?);
        let name = local(name)?;
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                self.rest = after;
                let tag = Tag { name, attributes };
                return Some(Token::Open {
                    tag,
                    is_empty: true,
                });
            }
            if let Some(after) = rest.strip_prefix('>') {
                self.rest = after;
                let tag = Tag { name, attributes };
                return Some(Token::Open {
                    tag,
                    is_empty: false,
                });
            }
            let (key, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (value, after) = after[1..].split_once(quote)?;
            (attributes.len() < ATTRIBUTES_MAX && !value.contains('<')).then_some(())?;
            attributes.push((key.trim().to_owned(), plain(value)?));
            rest = after;
        }
    }
}

/// A name without its prefix.
fn local(name: &str) -> Option<String> {
    let bare = name.rsplit(':').next()?;
    let is_name = !bare.is_empty()
        && bare
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    is_name.then(|| bare.to_owned())
}

/// Text with its entities read, XML 1.0 §4.6.
fn plain(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, next) = after.split_once(';')?;
        plain.push_str(before);
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = next;
    }
    plain.push_str(rest);
    Some(plain)
}

/// No document of worth is larger.
const SIZE_MAX: usize = 65_536;
const ATTRIBUTES_MAX: usize = 16;
/// Elements inside each other.
const DEPTH_MAX: usize = 16;
