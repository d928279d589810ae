//! What a registrar tells of registrations: `application/reginfo+xml`, RFC 3680 §5. Only what
//! a P-CSCF acts on is read. The document is data from a network: it has a size, so have its
//! lists, and nothing in it is fetched or expanded.

use std::time::Duration;

use crate::message::Uri;

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegInfo {
    /// Counts up from document to document.
    pub(super) version: u32,
    /// Every contact that is told of; a registration without contacts has one of its own.
    pub(super) contacts: Vec<ContactInfo>,
}

/// One contact of one address of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContactInfo {
    /// Whose it is.
    pub(super) aor: Uri,
    /// The contact; none means all of his.
    pub(super) uri: Option<Uri>,
    pub(super) is_active: bool,
    pub(super) event: ContactEvent,
    /// What is left of it, or when to try again.
    pub(super) expires: Option<Duration>,
    pub(super) retry_after: Option<Duration>,
}

/// What happened to a contact, RFC 3680 §5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContactEvent {
    /// The network has given it less time.
    Shortened,
    /// The network ended it, and wants the user to come back at once.
    Deactivated,
    /// The same, and to come back later.
    Probation,
    /// The user ended it himself.
    Unregistered,
    /// The network ended it, and does not want him back.
    Rejected,
    /// Its time was over.
    Expired,
    /// Registered, created, refreshed, or what is not known.
    Other,
}

impl RegInfo {
    /// Reads a document; none if it is not one, or too large.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut scanner = Scanner::new(text)?;
        let mut info = RegInfo::default();
        let mut stack: Vec<String> = Vec::new();
        let mut registration: Option<(Uri, bool, bool)> = None;
        let mut contact: Option<(ContactInfo, String)> = None;
        let mut is_one = false;
        while let Some(token) = scanner.next_token()? {
            match token {
                Token::Open { tag, is_empty } => {
                    let parent = stack.last().map(String::as_str);
                    match (parent, tag.name.as_str()) {
                        (None, "reginfo") if !is_one => {
                            is_one = true;
                            info.version = tag.get("version")?.parse().ok()?;
                        }
                        (None, _) => return None,
                        (Some("reginfo"), "registration") => {
                            let is_over = tag.get("state")? == "terminated";
                            registration = Some((Uri::parse(&tag.get("aor")?)?, is_over, false));
                        }
                        (Some("registration"), "contact") => {
                            let (aor, _, has_contacts) = registration.as_mut()?;
                            *has_contacts = true;
                            contact = Some((tag.contact(aor.clone())?, String::new()));
                        }
                        _ => {}
                    }
                    let name = tag.name;
                    if is_empty {
                        close(&name, &mut info, &mut registration, &mut contact)?;
                    } else {
                        (stack.len() < DEPTH_MAX).then(|| stack.push(name))?;
                    }
                }
                Token::Close(name) => {
                    (stack.pop()? == name).then_some(())?;
                    close(&name, &mut info, &mut registration, &mut contact)?;
                }
                Token::Text(text) => {
                    if stack.last().is_some_and(|name| name == "uri")
                        && let Some((_, uri)) = &mut contact
                    {
                        uri.push_str(&text);
                    }
                }
            }
        }
        (is_one && stack.is_empty()).then_some(info)
    }
}

/// An element is over.
fn close(
    name: &str,
    info: &mut RegInfo,
    registration: &mut Option<(Uri, bool, bool)>,
    contact: &mut Option<(ContactInfo, String)>,
) -> Option<()> {
    let told = match name {
        "contact" => contact.take().map(|(told, uri)| {
            let uri = Uri::parse(uri.trim());
            // Without an address nobody knows which one is meant.
            uri.map(|uri| ContactInfo {
                uri: Some(uri),
                ..told
            })
        }),
        "registration" => registration.take().map(|(aor, is_over, has_contacts)| {
            (is_over && !has_contacts).then_some(ContactInfo {
                aor,
                uri: None,
                is_active: false,
                event: ContactEvent::Other,
                expires: None,
                retry_after: None,
            })
        }),
        _ => None,
    };
    if let Some(told) = told.flatten() {
        (info.contacts.len() < CONTACTS_MAX).then(|| info.contacts.push(told))?;
    }
    Some(())
}

enum Token {
    Open { tag: Tag, is_empty: bool },
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

    fn contact(&self, aor: Uri) -> Option<ContactInfo> {
        let seconds = |name| {
            let text = self.get(name)?;
            text.parse::<u32>()
                .ok()
                .map(|it| Duration::from_secs(it.into()))
        };
        Some(ContactInfo {
            aor,
            uri: None,
            is_active: self.get("state")? == "active",
            event: match self.get("event")?.as_str() {
                "shortened" => ContactEvent::Shortened,
                "deactivated" => ContactEvent::Deactivated,
                "probation" => ContactEvent::Probation,
                "unregistered" => ContactEvent::Unregistered,
                "rejected" => ContactEvent::Rejected,
                "expired" => ContactEvent::Expired,
                _ => ContactEvent::Other,
            },
            expires: seconds("expires"),
            retry_after: seconds("retry-after"),
        })
    }
}

/// As much of XML 1.0 as this needs: no document type, no entities but the five.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Option<Self> {
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

/// Larger documents tell of more than one user's registrations.
const SIZE_MAX: usize = 65_536;
const CONTACTS_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 16;
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As Kamailio 5.6 writes it.
    const KAMAILIO: &str = "<?xml version=\"1.0\"?>\n\
        <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"1\" state=\"partial\">\n\
        \t<registration aor=\"sip:alice@ims.test\" id=\"0x7f\" state=\"terminated\">\n\
        \t\t<contact id=\"0x7e\" state=\"terminated\" event=\"rejected\" expires=\"0\" q=\"0.000\">\n\
        \t\t\t<uri>sip:abc@127.0.1.1:5060</uri>\n\
        <unknown-param name=\"+sip.instance\">\"&lt;urn:uuid:1&gt;\"</unknown-param>\
        \t\t</contact>\n\t</registration>\n</reginfo>\n";

    #[test]
    fn a_document_of_kamailio_is_read() {
        let info = RegInfo::parse(KAMAILIO.as_bytes()).unwrap();
        assert_eq!(info.version, 1);
        let [contact] = info.contacts.as_slice() else {
            panic!("{info:?}");
        };
        assert_eq!(contact.aor.as_str(), "sip:alice@ims.test");
        let uri = contact.uri.as_ref().unwrap();
        assert_eq!(uri.as_str(), "sip:abc@127.0.1.1:5060");
        assert_eq!(contact.event, ContactEvent::Rejected);
        assert!(!contact.is_active);
    }

    #[test]
    fn a_document_with_prefixes_and_probation_is_read() {
        let text = "<r:reginfo xmlns:r='urn:ietf:params:xml:ns:reginfo' version='7' state='full'>\
            <!-- <contact> --><r:registration aor='tel:+3904' id='a' state='terminated'/>\
            <r:registration aor='sip:b@ims.test' id='b' state='active'>\
            <r:contact id='c' state='terminated' event='probation' retry-after='20'>\
            <r:uri><![CDATA[sip:x@h]]></r:uri></r:contact></r:registration></r:reginfo>";
        let info = RegInfo::parse(text.as_bytes()).unwrap();
        assert_eq!((info.version, info.contacts.len()), (7, 2));
        assert_eq!(info.contacts[0].uri, None);
        assert_eq!(info.contacts[1].event, ContactEvent::Probation);
        let later = Duration::from_secs(20);
        assert_eq!(info.contacts[1].retry_after, Some(later));
    }

    #[test]
    fn what_is_no_such_document_or_without_measure_is_refused() {
        let contact = "<contact id='c' state='active' event='created'><uri>sip:a@b</uri></contact>";
        let many = format!(
            "<reginfo version='1'><registration aor='sip:a@b' state='active'>{}</registration></reginfo>",
            contact.repeat(65)
        );
        let deep = format!("<reginfo version='1'>{}", "<a>".repeat(20));
        for text in [
            "",
            "x",
            "<html/>",
            "<reginfo/>",
            "<reginfo version='1'>",
            "<reginfo version='x'/>",
            "<reginfo version='1'></registration>",
            "<reginfo version='1'/><reginfo version='1'/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><reginfo version='1'/>",
            "<reginfo version='1'>&b;</reginfo>",
            "<reginfo version='1'>&#xD800;</reginfo>",
            "<reginfo version='1' a='1' ",
            many.as_str(),
            deep.as_str(),
            " ".repeat(SIZE_MAX + 1).as_str(),
        ] {
            assert_eq!(RegInfo::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(RegInfo::parse(&[0xff, b'<']), None);
    }

    #[test]
    fn any_octet_may_be_wrong() {
        for at in 0..KAMAILIO.len() {
            for octet in [0, b'<', b'>', b'&', b'"', b'/', 0xff] {
                let mut text = KAMAILIO.as_bytes().to_vec();
                text[at] = octet;
                let _ = RegInfo::parse(&text);
                text.truncate(at);
                let _ = RegInfo::parse(&text);
            }
        }
    }
}
