//! Session-Expires, RFC 4028 §4.

use std::fmt;

use super::Typed;
use super::contact::seconds;
use crate::message::header_name::HeaderName;
use crate::message::params::Params;
use crate::message::scan::trim;

/// How long a session lasts unless it is refreshed, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds.
    pub interval: u32,
    /// Who refreshes; not said in a first request by most.
    pub refresher: Option<Refresher>,
}

/// Who refreshes a session, by its part in the transaction that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The one that sent the request.
    Uac,
    /// The one that answered it.
    Uas,
}

impl Typed for SessionExpires {
    const NAME: HeaderName = HeaderName::SessionExpires;

    fn parse(value: &str) -> Option<Self> {
        let (interval, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let params = Params::parse(params)?;
        let refresher = match params.get("refresher") {
            None => None,
            Some(role) if role.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(role) if role.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return None,
        };
        Some(SessionExpires {
            interval: seconds(trim(interval))?,
            refresher,
        })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interval.fmt(f)?;
        match self.refresher {
            None => Ok(()),
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
        }
    }
}
