//! What a registrar tells of registrations: `application/reginfo+xml`, RFC 3680 §5. Only what
//! a P-CSCF acts on is read.

use std::time::Duration;

use super::{DEPTH_MAX, Scanner, Tag, Token};
use crate::message::Uri;

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegInfo {
    /// Counts up from document to document.
    pub version: u32,
    /// Every contact that is told of; a registration without contacts has one of its own.
    pub contacts: Vec<ContactInfo>,
}

/// One contact of one address of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactInfo {
    /// Whose it is.
    pub aor: Uri,
    /// The contact; none means all of his.
    pub uri: Option<Uri>,
    /// Whether it stands.
    pub is_active: bool,
    /// What happened to it.
    pub event: ContactEvent,
    /// What is left of it.
    pub expires: Option<Duration>,
    /// When to come back.
    pub retry_after: Option<Duration>,
}

/// What happened to a contact, RFC 3680 §5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactEvent {
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
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut scanner = Scanner::new(body)?;
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

impl Tag {
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

/// No user has more registrations than this.
const CONTACTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::SIZE_MAX;
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
