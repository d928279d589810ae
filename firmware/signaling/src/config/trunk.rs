//! What the box is told when a network is reached by a SIP trunk.

use crate::identity::{PrivateIdentity, PublicIdentity};
use crate::message::{SipUri, Uri};

use super::{ForeignIdentity, Host, HostName};

/// The settings of [`Profile::Trunk`](super::Profile::Trunk).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkConfig {
    /// The name by which Via and Contact call the box, for the peer to look up; without one
    /// they name its address.
    pub host: Option<HostName>,
    /// The port of all its users towards the peer, for UDP and TCP.
    pub port: u16,
    /// Whose numbers are called there: the host of what the box calls, and of the numbers
    /// that it calls from.
    pub domain: Host,
    /// Where the peer looks for who calls.
    pub caller: CallerHeader,
    /// What becomes of a caller's wish to be somebody else.
    pub foreign_identity: ForeignIdentity,
    /// The registration that the box keeps with the peer; none where the peer knows the box
    /// by its address.
    pub registration: Option<TrunkRegistration>,
    /// Whose a number is. A user whose name is a number has that one beside.
    pub numbers: Vec<UserNumber>,
}

/// Where the caller of a call over a trunk stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CallerHeader {
    /// In P-Asserted-Identity and in From; in the first alone if he wants to be anonymous
    /// (RFC 3325 §5: the peer is trusted with it).
    #[default]
    Asserted,
    /// In From alone; if he wants to be anonymous the peer does not know him.
    From,
}

/// One address of record for the whole trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkRegistration {
    /// What is registered; has a domain.
    pub address: PublicIdentity,
    /// Under which name its password is stored.
    pub user: PrivateIdentity,
}

/// A number and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNumber {
    /// With its `+`, or as the peer calls an extension.
    pub number: String,
    /// Whose it is.
    pub user: PublicIdentity,
}

impl TrunkConfig {
    /// The defaults around the name of the peer's domain.
    #[must_use]
    pub fn new(domain: Host) -> Self {
        TrunkConfig {
            host: None,
            port: 5060,
            domain,
            caller: CallerHeader::default(),
            foreign_identity: ForeignIdentity::Replace,
            registration: None,
            numbers: Vec::new(),
        }
    }

    /// The numbers of a user, in the order of the settings.
    pub(crate) fn numbers_of(&self, user: &PublicIdentity) -> impl Iterator<Item = &str> {
        let his = self.numbers.iter().filter(move |it| it.user == *user);
        his.map(|it| it.number.as_str())
    }

    /// The user whose number this is.
    pub(crate) fn user_of(&self, number: &str) -> Option<&PublicIdentity> {
        let mut all = self.numbers.iter();
        all.find(|it| it.number == number).map(|it| &it.user)
    }

    /// A number as the peer knows it, RFC 3261 §19.1.6.
    pub(crate) fn number_uri(&self, number: &str) -> Uri {
        let host = crate::message::Host::parse(&self.domain.to_string());
        let host = host.expect("a host of the settings is one");
        let uri = SipUri::new(&host, None).with_user(Some(number));
        uri.with_param("user", "phone").into()
    }

    /// How the peer is told of one of its users: by his first number, if he has one.
    pub(crate) fn caller_uri(&self, user: &PublicIdentity) -> Uri {
        let own = user.user();
        let is_number = own.reveal().starts_with('+');
        match self.numbers_of(user).next() {
            Some(number) => self.number_uri(number),
            None if is_number => self.number_uri(own.reveal()),
            None => Uri::parse(user.reveal()).expect("an identity is a URI"),
        }
    }
}
