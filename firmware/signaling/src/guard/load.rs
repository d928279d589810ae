//! How many requests may come: from a source that nobody has logged in at, from one user,
//! and from everybody while the box is short of time. What ends a call, and a call for
//! help, is always taken.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::attempts::source;
use super::bucket::{Buckets, Rate};
use crate::config::GuardConfig;
use crate::identity::PublicIdentity;
use crate::message::{Method, Request, Uri};

/// How short of time the box is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Not at all.
    #[default]
    Calm,
    /// Questions can wait: OPTIONS, SUBSCRIBE, PUBLISH, MESSAGE.
    Busy,
    /// So can new registrations.
    High,
    /// So can new calls.
    Critical,
}

/// What is counted of requests.
#[derive(Debug)]
pub(crate) struct Load {
    strangers: Buckets<IpAddr>,
    users: Buckets<(PublicIdentity, Kind)>,
    pub(crate) pressure: Pressure,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// Its sender sends too many.
    TooMany,
    /// The box is short of time.
    Pressure,
}

/// Requests that are worth the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Can wait.
    Question,
    /// A REGISTER.
    Registration,
    /// An INVITE for a new call.
    Call,
    /// Part of a call, or a call for help.
    Vital,
}

impl Load {
    pub(crate) const fn new() -> Self {
        Load {
            strangers: Buckets::new(SOURCES),
            users: Buckets::new(USERS),
            pressure: Pressure::Calm,
        }
    }

    /// Whether a request is taken: from an address, and of a user if somebody is
    /// registered on its connection.
    pub(crate) fn admit(
        &mut self,
        request: &Request,
        from: IpAddr,
        user: Option<&PublicIdentity>,
        config: &GuardConfig,
        now: Instant,
    ) -> Result<(), Shed> {
        let kind = Kind::of(request);
        let Some(user) = user else {
            let rate = Rate::per(4 * config.requests_per_source, Duration::from_secs(4));
            let taken = self.strangers.take(source(from), rate, now);
            taken.map_err(|_| Shed::TooMany)?;
            // Somebody who is not registered has no call that could be lost.
            return match self.pressure {
                Pressure::Calm | Pressure::Busy => Ok(()),
                Pressure::High | Pressure::Critical => Err(Shed::Pressure),
            };
        };
        let can_wait = match kind {
            Kind::Vital => return Ok(()),
            Kind::Question => self.pressure >= Pressure::Busy,
            Kind::Registration => false, // He is registered: this keeps it so.
            Kind::Call => self.pressure >= Pressure::Critical,
        };
        if can_wait {
            return Err(Shed::Pressure);
        }
        if kind == Kind::Call {
            return Ok(()); // Calls have a rate of their own.
        }
        let rate = Rate::per(config.requests_per_minute, Duration::from_secs(60));
        let taken = self.users.take((user.clone(), kind), rate, now);
        taken.map_err(|_| Shed::TooMany)
    }
}

impl Kind {
    fn of(request: &Request) -> Self {
        let is_in_dialog = || request.headers.to().is_ok_and(|to| to.tag().is_some());
        match &request.method {
            Method::Ack | Method::Bye | Method::Cancel | Method::Prack => Kind::Vital,
            Method::Register => Kind::Registration,
            _ if is_in_dialog() => Kind::Vital,
            Method::Invite if is_for_help(&request.uri) => Kind::Vital,
            Method::Invite => Kind::Call,
            _ => Kind::Question,
        }
    }
}

/// RFC 5031 §4.2: `urn:service:sos` and what is below it, or a number that is an emergency
/// number almost everywhere.
pub(crate) fn is_for_help(uri: &Uri) -> bool {
    match uri {
        Uri::Urn(urn) => {
            let text = urn.as_str().to_ascii_lowercase();
            text == "urn:service:sos" || text.starts_with("urn:service:sos.")
        }
        Uri::Sip(sip) => sip.user().is_some_and(|user| EMERGENCY.contains(&user)),
        Uri::Tel(tel) => EMERGENCY.contains(&tel.number()),
        Uri::Other(_) => false,
    }
}

const EMERGENCY: [&str; 3] = ["112", "911", "999"];
/// Sources and users counted at once.
const SOURCES: usize = 32 * 1024;
const USERS: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::HostName;
    use crate::message::{HeaderName, NameAddr};

    fn request(method: Method, uri: &str, tag: Option<&str>) -> Request {
        let uri = Uri::parse(uri).unwrap();
        let to = NameAddr::new(uri.clone());
        let to = tag.map_or(to.clone(), |tag| to.with_tag(tag));
        let mut request = Request::new(method, uri);
        request.headers.push(HeaderName::To, to.to_string());
        request
    }

    fn user() -> PublicIdentity {
        PublicIdentity::sip("alice", &HostName::parse("ims.test").unwrap()).unwrap()
    }

    const SOMEBODY: &str = "sip:bob@ims.test";

    #[test]
    fn what_is_shed_first_can_wait_and_what_ends_a_call_never_is() {
        let from: IpAddr = [192, 0, 2, 1].into();
        let config = GuardConfig::default();
        let (now, user) = (Instant::now(), user());
        let mut taken = Vec::new();
        for pressure in [
            Pressure::Calm,
            Pressure::Busy,
            Pressure::High,
            Pressure::Critical,
        ] {
            let mut load = Load::new();
            load.pressure = pressure;
            let mut admit = |request: &Request, user: Option<&PublicIdentity>| {
                load.admit(request, from, user, &config, now).is_ok()
            };
            taken.push([
                admit(&request(Method::Options, SOMEBODY, None), Some(&user)),
                admit(&request(Method::Register, SOMEBODY, None), None),
                admit(&request(Method::Invite, SOMEBODY, None), Some(&user)),
                admit(&request(Method::Register, SOMEBODY, None), Some(&user)),
                admit(
                    &request(Method::Invite, "urn:service:sos.fire", None),
                    Some(&user),
                ),
                admit(&request(Method::Invite, SOMEBODY, Some("a")), Some(&user)),
                admit(&request(Method::Bye, SOMEBODY, Some("a")), Some(&user)),
            ]);
        }
        let [t, f] = [true, false];
        assert_eq!(
            taken,
            [
                [t, t, t, t, t, t, t],
                [f, t, t, t, t, t, t],
                [f, f, t, t, t, t, t],
                [f, f, f, t, t, t, t],
            ]
        );
    }

    #[test]
    fn a_stranger_who_floods_waits_and_others_do_not() {
        let config = GuardConfig {
            requests_per_source: 5,
            ..GuardConfig::default()
        };
        let (mut load, now) = (Load::new(), Instant::now());
        let register = request(Method::Register, SOMEBODY, None);
        let mut admit = |from: u8, user: Option<&PublicIdentity>| {
            load.admit(&register, [192, 0, 2, from].into(), user, &config, now)
        };
        let taken = (0..100).filter(|_| admit(1, None).is_ok()).count();
        assert_eq!(taken, 20, "four seconds' worth at once");
        assert_eq!(admit(1, None), Err(Shed::TooMany));
        assert_eq!(admit(2, None), Ok(()));
        assert_eq!(
            admit(1, Some(&user())),
            Ok(()),
            "a user behind the same address"
        );
    }
}
