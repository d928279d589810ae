//! `profile = "trunk"`: what the box is told as the end of a SIP trunk.

use signaling::SipTransport;
use signaling::config::{CallerHeader, Host, Profile, TrunkConfig, TrunkRegistration, UserNumber};
use signaling::identity::{PrivateIdentity, PublicIdentity};
use signaling::message::Uri;

use super::ims::Ims;
use super::reader::text_value;

/// Where the peer looks for who calls, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) CallerHeader);

impl std::str::FromStr for Caller {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "asserted" => Ok(Caller(CallerHeader::Asserted)),
            "from" => Ok(Caller(CallerHeader::From)),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            CallerHeader::Asserted => "asserted",
            CallerHeader::From => "from",
        })
    }
}

text_value!(Caller, "\"asserted\" or \"from\"");

/// An address of record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) PublicIdentity);

impl std::str::FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let uri = Uri::parse(text).filter(|uri| uri.as_sip().is_some());
        let identity = uri.and_then(|uri| PublicIdentity::of_uri(&uri));
        identity.map(Address).ok_or(())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.reveal())
    }
}

text_value!(
    Address,
    "an address of record, like \"sip:+390401234500@provider.example.com\""
);

/// Whose a number is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) UserNumber);

impl std::str::FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, user) = text.split_once('=').ok_or(())?;
        let (number, user) = (number.trim(), user.trim());
        let digits = number.strip_prefix('+').unwrap_or(number);
        let is_number =
            (1..=15).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
        let user = Uri::parse(&format!("sip:{user}"));
        let user = user.and_then(|uri| PublicIdentity::of_uri(&uri));
        let user = user.filter(|_| is_number).ok_or(())?;
        let number = number.to_owned();
        Ok(Number(UserNumber { number, user }))
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UserNumber { number, user } = &self.0;
        let user = user.reveal().trim_start_matches("sip:");
        write!(f, "{number} = {user}")
    }
}

text_value!(
    Number,
    "a number and whose it is, like \"+390401234567 = alice@example.com\""
);

impl Ims {
    /// Finds what does not go together on a trunk.
    pub(super) fn check_trunk(&self, mut fault: impl FnMut(&str)) {
        if self.peer.is_none() {
            fault(
                "peer: is missing; say where the other end of the trunk is, like \
                 \"sbc.example.com:5060\"",
            );
        }
        if self.pcscf.is_some() || self.icscf.is_some() {
            fault("pcscf, icscf: with profile = \"trunk\" the other end is named as `peer`");
        }
        if self.transport.0 == Some(SipTransport::Tls) {
            fault("transport: with profile = \"trunk\" it is \"udp\" or \"tcp\"");
        }
        if self.port == 0 {
            fault("port: must not be 0; the peer calls the box there");
        }
        if self.trunk_user.is_some() && self.trunk_register.is_none() {
            fault(
                "trunk_user: says whose password it is; name what is registered as `trunk_register`",
            );
        }
        let domains: Vec<_> = self.home_domains.iter().map(|it| it.0.as_str()).collect();
        for Number(UserNumber { number, user }) in &self.trunk_numbers {
            if !user.domain().is_some_and(|it| domains.contains(&it)) {
                fault(&format!(
                    "trunk_numbers: {number} is of a user in none of home_domains"
                ));
            }
        }
        for (at, Number(one)) in self.trunk_numbers.iter().enumerate() {
            let mut before = self.trunk_numbers[..at].iter();
            if before.any(|other| other.0.number == one.number) {
                fault(&format!("trunk_numbers: {} is there twice", one.number));
            }
        }
    }

    /// Finds settings of a trunk where there is none.
    pub(super) fn check_no_trunk(&self, mut fault: impl FnMut(&str)) {
        let has_some = self.peer.is_some()
            || self.trunk_domain.is_some()
            || self.trunk_register.is_some()
            || self.trunk_user.is_some()
            || !self.trunk_numbers.is_empty();
        if has_some {
            fault("peer, trunk_...: are for profile = \"trunk\"; say that, or leave them out");
        }
    }

    /// What the box is, as signaling knows it.
    pub(super) fn trunk(&self) -> Profile {
        let registered = self.trunk_register.as_ref().map(|it| it.0.clone());
        let named = self.trunk_domain.as_ref().map(|it| it.0.clone());
        let of_address = registered.as_ref().and_then(PublicIdentity::domain);
        let of_address = of_address.and_then(signaling::config::HostName::parse);
        let domain = named.or(of_address).map(Host::Name);
        let domain = domain.or_else(|| self.peer.as_ref().map(|peer| peer.host.clone()));
        let domain = domain.unwrap_or(Host::Address(std::net::Ipv4Addr::LOCALHOST.into()));
        let registration = registered.and_then(|address| {
            let user = match &self.trunk_user {
                Some(user) => PrivateIdentity::new(user),
                None => PrivateIdentity::implied_by(&address)?,
            };
            Some(TrunkRegistration { address, user })
        });
        Profile::Trunk(Box::new(TrunkConfig {
            host: self.host.as_ref().map(|host| host.0.clone()),
            port: self.port,
            caller: self.trunk_caller.0,
            foreign_identity: self.foreign_identity.0,
            registration,
            numbers: self.trunk_numbers.iter().map(|it| it.0.clone()).collect(),
            ..TrunkConfig::new(domain)
        }))
    }
}
