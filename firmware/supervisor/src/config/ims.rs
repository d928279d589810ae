//! `[ims]` and `[calls]`: the operator's network, and what is done in it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use iq::PayloadFormat;
use signaling::SipTransport;
use signaling::config::{
    AddressFamily, CallConfig, CallerHeader, ForeignIdentity, Login, NextHop, PreconditionPolicy,
    PrivateIdentityRule, RegistrationConfig, ServiceConfig, Tenant, TokenLogin,
};
use signaling::guard::dial_plan::DialPlan;
use signaling::sdp::CodecPolicy;
use signaling::sec_agree::Cipher;

use super::emergency::{Country, Number, Route};
use super::fault;
use super::login::{self, Issuer, LoginName, Url};
use super::mw::{Foreign, ProfileName};
use super::reader::{Fault, PortRange, section};
use super::security::{CipherName, SecurityName};
use super::trunk::{Address, Caller, Number as TrunkNumber};

mod words;

use words::{Codec, DialRule, Domain, NameServer, Peer, Preconditions, PrivateIdentity, Transport};

section! {
    /// The IMS core, and what the box is in it. Several networks on one box are [[tenant]]
    /// tables, each with the keys of [ims] and a `name`; what one leaves out is as [ims] has it.
    Ims = "ims"
    /// What the box is in the network. "gm": a terminal in front of a P-CSCF, for each
    /// user. "mw": the P-CSCF itself, in front of an I-CSCF; needs the operator's trust.
    /// "trunk": the end of a SIP trunk; users log in to the box itself, by the passwords that
    /// `gatehouse credentials` keeps (as user@home-domain).
    profile: ProfileName = ProfileName::Gm,
    /// The P-CSCF ("gm"): an address or a name, and a port, like "192.0.2.10:5060" or
    /// "pcscf.example.com:5060". A name without a port is a domain, whose NAPTR and SRV
    /// records say where the P-CSCFs are, like "ims.example.com". Has no default.
    pcscf: Option<Peer> = None,
    /// The I-CSCF ("mw"), written the same way. Has no default.
    icscf: Option<Peer> = None,
    /// The other end ("trunk"): an IBCF, a session border controller or a PBX, written the
    /// same way. Has no default.
    peer: Option<Peer> = None,
    /// The domain of the peer's numbers ("trunk"): what the box calls there, and its users'
    /// numbers. Unset: that of `trunk_register`, or else the peer's host.
    trunk_domain: Option<Domain> = None,
    /// What the box registers with the peer ("trunk"), like
    /// "sip:+390401234500@provider.example.com": one address for all. Unset: nothing; the
    /// peer knows the box by its address.
    trunk_register: Option<Address> = None,
    /// The name under which `gatehouse credentials` keeps the password of that registration
    /// and of calls that the peer challenges ("trunk"). Unset: `trunk_register` without its
    /// scheme.
    trunk_user: Option<String> = None,
    /// Where the peer is told who calls ("trunk"): "asserted" (P-Asserted-Identity, and From)
    /// or "from" (From alone).
    trunk_caller: Caller = Caller(CallerHeader::Asserted),
    /// Whose numbers are ("trunk"), like ["+390401234567 = alice@example.com"]: calls to the
    /// number ring his browser, and his calls come from his first number. A user whose name is
    /// a number needs none.
    trunk_numbers: Vec<TrunkNumber> = Vec::new(),
    /// "udp", "tcp", "tls" ("gm" only), or "auto": what the domain's records prefer, among
    /// TLS (if there are `authorities`), UDP and TCP; UDP where there are none. By UDP,
    /// messages above 1300 bytes go by TCP.
    transport: Transport = Transport(None),
    /// What protects users' messages to the P-CSCF ("gm"), beside the transport: "none", or
    /// "ipsec" as between a telephone and its P-CSCF (TS 33.203): security agreement, AKA
    /// with the users' stored ISIM credentials, and four associations for each user. Needs
    /// a Linux kernel with ESP and the right CAP_NET_ADMIN.
    security: SecurityName = SecurityName::None,
    /// Ciphers that are proposed for IPsec, best first: "aes-cbc", and "null" for P-CSCFs
    /// that only protect against changes.
    ipsec_ciphers: Vec<CipherName> = vec![CipherName(Cipher::AesCbc)],
    /// Name servers to ask, like "192.0.2.53". Empty: the system's.
    name_servers: Vec<NameServer> = Vec::new(),
    /// Domains whose users may log in. Has no default.
    home_domains: Vec<Domain> = Vec::new(),
    /// The box's address towards the IMS. Unset: the one that the way to the core has.
    address: Option<IpAddr> = None,
    /// Ports towards the IMS ("gm"): each logged-in browser has one of its own.
    ports: PortRange = PortRange(16000..=23999),
    /// The one port of all users towards the IMS ("mw", "trunk"); with security = "ipsec" the
    /// port of first REGISTERs, which nothing protects yet.
    port: u16 = 5060,
    /// The name by which the core calls the box ("mw", "trunk"): it stands in Path, Via and
    /// Contact, and the core's name service must know it. Unset: the address.
    host: Option<Domain> = None,
    /// What P-Visited-Network-ID and P-Charging-Vector call this network ("mw"). Unset: as
    /// `host`, or else as the first of `home_domains`.
    visited_network: Option<String> = None,
    /// The access type in P-Access-Network-Info ("mw"); none stands for browsers.
    access_network: String = "IEEE-802.11".to_owned(),
    /// What becomes of a caller who wants to be somebody else ("mw", "trunk"): "replace" (the
    /// call is made in the name that he has registered) or "refuse".
    foreign_identity: Foreign = Foreign(ForeignIdentity::Replace),
    /// Whether browsers hear early media only where the core grants it by P-Early-Media
    /// ("mw"); else they play their own ringback tone.
    early_media_by_grant: bool = true,
    /// Whether the box subscribes to what becomes of its users' registrations ("mw"): one that
    /// the network ends is then over at once, with its calls, and its browser is told
    /// (WebSocket close code 4003).
    reg_event: bool = true,
    /// Where the callers are, like "IT": says which numbers are emergency numbers, beside
    /// 112 and 911. Unset: those that a telephone without a card takes for such.
    emergency_country: Option<Country> = None,
    /// More emergency numbers.
    emergency_numbers: Vec<Number> = Vec::new(),
    /// The E-CSCF that emergency calls are sent to, like "sip:ecscf.ims.example.com:5060",
    /// past all limits. Unset: the caller is told to use the telephone network (380).
    emergency_route: Option<Route> = None,
    /// Certificates, PEM, of the authorities that vouch for the P-CSCF's ("tls" only).
    authorities: Option<PathBuf> = None,
    /// Hosts besides the P-CSCF, or I-CSCF and S-CSCF, whose messages are taken.
    trusted_peers: Vec<IpAddr> = Vec::new(),
    /// Headers that no rule knows and that pass nevertheless, both ways.
    passed_headers: Vec<String> = Vec::new(),
    /// The longest registration that is asked for. Short, because a user who has gone
    /// without signing off is reachable in the core until it ends.
    registration_expires: Duration = RegistrationConfig::default().expires,
    /// The registration that is asked for where the box keeps users registered with stored
    /// credentials: it signs them off itself, so it may be long.
    registration_kept_expires: Duration = RegistrationConfig::default().kept_expires,
    /// How long a registration and its calls outlive a lost WebSocket.
    registration_grace: Duration = RegistrationConfig::default().grace,
    /// How many users may be logged in.
    registrations: usize = RegistrationConfig::default().count,
    /// What the first REGISTER says about the private identity: "implied" (the public
    /// one without its scheme, as TS 24.229 has it) or "absent".
    private_identity: PrivateIdentity = PrivateIdentity(PrivateIdentityRule::Implied),
    /// How users prove who they are: "digest" (to the core, through the box) or "token" (an
    /// access token of an [[issuer]], which the box verifies; needs [[identity_map]] rules).
    login: LoginName = LoginName::Digest,
    /// Whose tokens are taken here, by the urls of [[issuer]] tables. Empty: all of them.
    issuers: Vec<Url> = Vec::new(),
    /// What a challenge for a token calls this box. Unset: the first of home_domains.
    realm: Option<String> = None,
    /// How long the core may take to answer before its next address is tried.
    answer_time: Duration = RegistrationConfig::default().answer_time,
    /// How many users may begin to log in a second; more wait for their turn for some
    /// seconds, and those after them are told when to come back. After an outage all come
    /// at once.
    registrations_per_second: u32 = RegistrationConfig::default().per_second,
    /// Numbers that may be called or not, in order; the first rule that fits decides. Like
    /// ["deny +4990*", "allow +49*", "deny 4xx"]: "x" is any digit, "*" any rest. What
    /// a number reads in full (+49...) is judged as well as what was dialled.
    dial_rules: Vec<DialRule> = Vec::new(),
    /// Whether other countries may be called, where no rule says it.
    international: bool = false,
    /// Whether numbers that cost extra may be called, where no rule says it.
    premium: bool = false,
    /// The country code of home, like "49". Unset: a user's home is the country of his own
    /// number, as the core names it at his registration or `trunk_numbers` does; who has none
    /// calls no number that is dialled in full ("+49..." or "0049..."), unless a rule or
    /// `international` lets him.
    country_code: Option<String> = None,
    /// What is dialled before a country code instead of "+".
    international_prefix: String = DialPlan::default().international_prefix,
    /// What is dialled at home before an area code; "" where there is none, as in Italy.
    national_prefix: String = DialPlan::default().national_prefix,
    /// Whether P-CSCFs that are quiet, or did not answer, are asked by OPTIONS if they are
    /// there.
    probes: bool = true,
    /// Preconditions of quality of service (RFC 3312) towards the core: "none" turns calls
    /// away that demand them, "answer" keeps a browser from ringing until the caller's side
    /// is ready, "offer" also says so of the box's side in calls from browsers.
    preconditions: Preconditions = Preconditions(PreconditionPolicy::Answer),
    /// Whether the core may refer a browser to somebody else (REFER). Browsers may always
    /// transfer their own calls.
    refer_from_ims: bool = ServiceConfig::default().refer_from_ims,
    /// Event packages that users may subscribe to (RFC 6665). "dialog" tells others whom a
    /// user talks to.
    event_packages: Vec<String> = ServiceConfig::default().event_packages,
    /// Whether users may publish their state (RFC 3903).
    publish: bool = ServiceConfig::default().publish,
    /// Content types of messages that pass (RFC 3428), both ways.
    message_types: Vec<String> = ServiceConfig::default().message_types,
    /// How many messages a user may send in a minute.
    messages_per_minute: u32 = ServiceConfig::default().messages_per_minute,
}

section! {
    /// Calls.
    Calls = "calls"
    /// How many there may be.
    count: usize = CallConfig::default().count,
    /// How many one user may have.
    per_user: usize = CallConfig::default().per_registration,
    /// How long the called side may ring.
    ring_time: Duration = CallConfig::default().ring_time,
    /// How long a call may last.
    longest: Duration = CallConfig::default().duration,
    /// How long a call outlives the browser's media while its WebSocket stands: the
    /// browser may be on its way to another network.
    media_grace: Duration = CallConfig::default().media_grace,
    /// How long a call whose browser's WebSocket and media are both gone waits for its page
    /// to be loaded anew and take the call up again.
    page_grace: Duration = CallConfig::default().page_grace,
    /// How long the calls of a user whose token's time is over may go on: he makes and gets
    /// no new ones meanwhile, and is signed off after them. "0s" ends them with the token.
    token_grace: Duration = CallConfig::default().token_grace,
    /// How long the far end may send neither sound nor RTCP although it should; then the
    /// call ends.
    ims_silence: Duration = CallConfig::default().ims_silence,
    /// Audio codecs, best first: "pcma" (A-law) and "pcmu" (mu-law). One that is left out
    /// is not used.
    codecs: Vec<Codec> = vec![Codec(PayloadFormat::Pcma), Codec(PayloadFormat::Pcmu)],
    /// Session timer that is asked for (RFC 4028).
    session_expires: Duration = CallConfig::default().session_expires,
    /// The shortest session timer that is accepted; never below "90s".
    min_session_expires: Duration = CallConfig::default().min_session_expires,
}

impl Ims {
    /// `place` is how messages call the table.
    pub(super) fn check(&self, place: &str, faults: &mut Vec<Fault>) {
        let mut fault = |message: &str| faults.push(fault(format!("{place} {message}")));
        self.check_profile(&mut fault);
        self.check_security(&mut fault);
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let code = self.country_code.as_deref().unwrap_or("1");
        if !is_number(code) || !(1..=3).contains(&code.len()) || code.starts_with('0') {
            fault("country_code: must be the digits of a country code, like \"49\"");
        }
        if !is_number(&self.international_prefix) || !is_number(&self.national_prefix) {
            fault(
                "international_prefix and national_prefix: must be digits, like \"00\" and \"0\"",
            );
        }
        if self.registrations_per_second == 0 {
            fault("registrations_per_second: must not be 0, or nobody could log in");
        }
        if self.home_domains.is_empty() {
            fault(
                "home_domains: is missing; say whose users may log in, like [\"ims.example.com\"]",
            );
        }
        if self.transport.0 == Some(SipTransport::Tls) && self.authorities.is_none() {
            fault("authorities: transport = \"tls\" needs the certificates to believe");
        }
        if self.address.is_some_and(|address| address.is_unspecified()) {
            fault("address: messages name it, so it must be one of the box's real addresses");
        }
    }

    /// Finds what keeps users from logging in by token. `place` is how messages call the table.
    /// `has_credentials` says whether the box keeps any of its users'.
    pub(super) fn check_login(
        &self,
        place: &str,
        issuers: &[Issuer],
        has_credentials: bool,
        faults: &mut Vec<Fault>,
    ) {
        let mut fault = |message: &str| faults.push(fault(format!("{place} {message}")));
        for url in &self.issuers {
            if !issuers
                .iter()
                .any(|issuer| issuer.url.as_ref() == Some(url))
            {
                fault(&format!(
                    "issuers: there is no [[issuer]] with the url {url}"
                ));
            }
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        if self
            .realm
            .as_ref()
            .is_some_and(|realm| !realm.bytes().all(is_plain))
        {
            fault("realm: must not have spaces, quotes or letters beyond ASCII");
        }
        if self.login != LoginName::Token {
            return;
        }
        if issuers.is_empty() {
            fault("login: \"token\" needs an [[issuer]], and an [[identity_map]] for it");
        }
        if !self.vouches() && !has_credentials {
            fault(
                "login: \"token\" with profile = \"gm\" needs [credentials] key_credential or \
                 key_file: a P-CSCF does not take the box's word for its users, so the box \
                 proves them with credentials that it keeps under that key",
            );
        }
    }

    /// Whether the core takes the box's word for who its users are (TS 33.203 Annex U), or
    /// knows nothing of them.
    fn vouches(&self) -> bool {
        self.profile != ProfileName::Gm
    }

    /// Where requests go; `None` until it is configured.
    pub(crate) fn next_hop(&self) -> Option<NextHop> {
        let peer = match self.profile {
            ProfileName::Gm => self.pcscf.clone()?,
            ProfileName::Mw => self.icscf.clone()?,
            ProfileName::Trunk => self.peer.clone()?,
        };
        Some(NextHop {
            host: peer.host,
            port: peer.port,
            transports: self.transports(),
            family: AddressFamily::default(),
        })
    }

    /// Which transports may be used, the usual one first.
    fn transports(&self) -> Vec<SipTransport> {
        match self.transport.0 {
            Some(transport) => vec![transport],
            None if self.authorities.is_some() && !self.has_ipsec() => {
                vec![SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls]
            }
            None => vec![SipTransport::Udp, SipTransport::Tcp],
        }
    }

    /// The name servers to ask; none are the system's.
    pub(crate) fn name_servers(&self) -> Vec<SocketAddr> {
        self.name_servers.iter().map(|server| server.0).collect()
    }

    /// The network as signaling knows it; `None` if a setting without default is missing.
    pub(super) fn tenant(&self, name: &str, issuers: &[Issuer]) -> Option<Tenant> {
        let first = self.home_domains.first()?.0.clone();
        let mut tenant = Tenant::new(name, first, self.next_hop()?);
        tenant.domains = self.home_domains.iter().map(|d| d.0.clone()).collect();
        tenant.profile = self.profile();
        tenant.security = self.security();
        tenant.emergency = self.emergency();
        if self.login == LoginName::Token {
            tenant.login = Login::Token(TokenLogin {
                issuers: login::believed(&self.issuers, issuers),
                realm: self
                    .realm
                    .clone()
                    .unwrap_or_else(|| tenant.domains[0].to_string()),
            });
        }
        tenant.trusted_peers.clone_from(&self.trusted_peers);
        tenant.passed_headers.clone_from(&self.passed_headers);
        tenant.registration.expires = self.registration_expires;
        tenant.registration.kept_expires = self.registration_kept_expires;
        tenant.registration.grace = self.registration_grace;
        tenant.registration.count = self.registrations;
        tenant.registration.private_identity = self.private_identity.0;
        tenant.registration.answer_time = self.answer_time;
        tenant.probes = self.probes;
        tenant.services = ServiceConfig {
            preconditions: self.preconditions.0,
            refer_from_ims: self.refer_from_ims,
            event_packages: self.event_packages.clone(),
            publish: self.publish,
            message_types: self.message_types.clone(),
            messages_per_minute: self.messages_per_minute,
        };
        tenant.registration.per_second = self.registrations_per_second;
        tenant.dial_plan = DialPlan {
            rules: self.dial_rules.iter().map(|rule| rule.0.clone()).collect(),
            country_code: self.country_code.clone(),
            international_prefix: self.international_prefix.clone(),
            national_prefix: self.national_prefix.clone(),
            international: self.international,
            premium: self.premium,
        };
        Some(tenant)
    }
}

impl Calls {
    /// As signaling knows them.
    pub(super) fn signaling(&self) -> CallConfig {
        CallConfig {
            count: self.count,
            per_registration: self.per_user,
            ring_time: self.ring_time,
            duration: self.longest,
            media_grace: self.media_grace,
            page_grace: self.page_grace,
            token_grace: self.token_grace,
            ims_silence: self.ims_silence,
            codecs: CodecPolicy::new(self.codecs.iter().map(|codec| codec.0)),
            session_expires: self.session_expires,
            min_session_expires: self.min_session_expires,
        }
    }

    /// How often media reports that the far end is silent.
    pub(crate) fn silence_report(&self) -> Duration {
        self.ims_silence / 4
    }

    pub(super) fn check(&self, faults: &mut Vec<Fault>) {
        if self.codecs.is_empty() {
            faults.push(fault("[calls] codecs: give at least one"));
        }
        if self.ims_silence < SHORTEST_SILENCE {
            faults.push(fault(
                "[calls] ims_silence: must not be below \"10s\"; a telephone that mutes or holds \
                 may send RTCP every few seconds only",
            ));
        }
        let shortest = Duration::from_secs(90);
        if self.min_session_expires < shortest || self.session_expires < self.min_session_expires {
            faults.push(fault(
                "[calls] session_expires must not be below min_session_expires, nor that below \
                 \"90s\" (RFC 4028 §5)",
            ));
        }
    }
}

/// RFC 3550 §6.2 has a report every 5 s, or a little more.
const SHORTEST_SILENCE: Duration = Duration::from_secs(10);
