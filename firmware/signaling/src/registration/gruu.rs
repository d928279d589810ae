//! The names that the core gives one device of a user, RFC 5627: who calls such a name reaches this
//! browser and no other of the same user.

use serde::{Deserialize, Serialize};

use super::asked::own_contact;
use crate::message::{NameAddr, Response, Uri};

/// What the core granted beside our Contact, RFC 5627 §5.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gruu {
    /// Says whose device it is.
    pub(super) public: Uri,
    /// Does not.
    pub(super) temporary: Option<Uri>,
}

impl Gruu {
    /// Reads a 200 to REGISTER, in which `token` is the user part of our Contact.
    pub(super) fn read(response: &Response, token: &str) -> Option<Self> {
        let contacts = response.headers.contacts().unwrap_or_default();
        let ours = own_contact(&contacts, token)?;
        let sip_uri = |text: Option<String>| {
            let uri = Uri::parse(&text?)?;
            uri.as_sip().is_some().then_some(uri)
        };
        Some(Gruu {
            public: sip_uri(ours.pub_gruu())?,
            temporary: sip_uri(ours.temp_gruu()),
        })
    }

    /// Tells the browser.
    pub(super) fn add(&self, contact: &mut NameAddr) {
        contact.params.set("pub-gruu", &self.public);
        if let Some(temporary) = &self.temporary {
            contact.params.set("temp-gruu", temporary);
        }
    }
}
