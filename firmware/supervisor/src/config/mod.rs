//! The configuration: one TOML file, one section for each part, typed before anything
//! starts. Every fault is reported at once.

mod access;
mod credentials;
mod emergency;
mod ims;
mod login;
mod media;
mod mw;
mod reader;
mod security;
mod supervisor;
mod tenant;
mod trunk;

use std::fmt::Write as _;
use std::path::Path;

use toml::de::DeTable;

pub(crate) use access::{Access, Limited};
pub(crate) use credentials::Credentials;
pub(crate) use ims::{Calls, Ims};
pub(crate) use login::{IdentityMap, Issuer};
pub(crate) use media::Media;
pub(crate) use reader::Fault;
use reader::{Section, line_of, read_section, unknown};
pub(crate) use supervisor::{Log, LogFormat, Management, Records, Shutdown, State};
pub(crate) use tenant::Tenant;

macro_rules! config {
    ($($(#[doc = $doc:literal])* $field:ident: $section:ty,)*) => {
        /// The whole file.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct Config {
            $($(#[doc = $doc])* pub(crate) $field: $section,)*
            /// Networks, if `[ims]` does not describe the only one.
            pub(crate) tenants: Vec<Tenant>,
            /// Identity providers.
            pub(crate) issuers: Vec<Issuer>,
            /// Who their users are.
            pub(crate) identities: Vec<IdentityMap>,
        }

        impl Config {
            fn read(text: &str, root: &DeTable<'_>, faults: &mut Vec<Fault>) -> Self {
                let mut config = Config {
                    $($field: read_section(text, root, faults),)*
                    tenants: Vec::new(),
                    issuers: login::read(text, root, faults),
                    identities: login::read(text, root, faults),
                };
                config.tenants = tenant::read(text, root, &config.ims, faults);
                config
            }

            const SECTIONS: &'static [&'static str] = &[$(<$section>::NAME),*];

            /// A file with every setting, its documentation and its default.
            pub(crate) fn documented() -> String {
                let mut text = String::from(HEAD);
                $(document::<$section>(&mut text);)*
                document_table::<Issuer>(&mut text);
                document_table::<IdentityMap>(&mut text);
                text
            }
        }
    };
}

config! {
    /// Browsers.
    access: Access,
    /// The operator's network.
    ims: Ims,
    /// Calls.
    calls: Calls,
    /// Sound.
    media: Media,
    /// What anybody may take.
    limits: Limited,
    /// The technician's page.
    management: Management,
    /// The log.
    log: Log,
    /// Call records.
    records: Records,
    /// What is kept.
    state: State,
    /// Proof of users.
    credentials: Credentials,
    /// How the box stops.
    shutdown: Shutdown,
}

impl Config {
    /// Parses a file's text and checks it.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let (config, mut faults) = Self::parse_unchecked(text);
        config.access.check(&mut faults);
        if config.tenants.is_empty() {
            config.ims.check("[ims]", &mut faults);
        }
        tenant::check(&config.tenants, &config.ims, &mut faults);
        login::check(&config.issuers, &config.identities, &mut faults);
        config.check_logins(&mut faults);
        config.calls.check(&mut faults);
        config.media.check(&mut faults);
        config.credentials.check(&config.state, &mut faults);
        if faults.is_empty() {
            Ok(config)
        } else {
            faults.sort();
            Err(faults)
        }
    }

    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Vec<Fault>> {
        let text = std::fs::read_to_string(path).map_err(|error| vec![fault(error.to_string())])?;
        Self::parse(&text)
    }

    /// What of a file makes sense, with defaults in place of the rest: enough to say what is
    /// wrong with it.
    pub(crate) fn load_what_makes_sense(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self::parse_unchecked(&text).0
    }

    /// The networks that are served, at least one.
    pub(crate) fn networks(&self) -> Vec<Tenant> {
        if self.tenants.is_empty() {
            return vec![Tenant::only(&self.ims)];
        }
        self.tenants.clone()
    }

    /// Whether users of any network log in by access token.
    pub(crate) fn takes_tokens(&self) -> bool {
        let networks = self.networks();
        networks
            .iter()
            .any(|it| it.ims.login == login::LoginName::Token)
    }

    /// The control plane's settings; `None` if a setting without default is missing.
    pub(crate) fn signaling(&self) -> Option<signaling::Config> {
        let networks = self.networks();
        let tenants = networks
            .iter()
            .map(|it| it.ims.tenant(&it.name, &self.issuers));
        let mut config = signaling::Config::of(tenants.collect::<Option<_>>()?);
        config.auth = login::signaling(&self.issuers, &self.identities)?;
        config.flows.authentication_time = self.limits.authentication_time;
        config.flows.count = self.limits.flows;
        config.guard = self.limits.guard();
        config.calls = self.calls.signaling();
        Some(config)
    }

    /// Finds networks whose users could not log in.
    fn check_logins(&self, faults: &mut Vec<Fault>) {
        for network in self.networks() {
            let place = match self.tenants.is_empty() {
                true => "[ims]".to_owned(),
                false => network.place(),
            };
            let has_credentials = self.credentials.has_key();
            network
                .ims
                .check_login(&place, &self.issuers, has_credentials, faults);
        }
    }

    fn parse_unchecked(text: &str) -> (Self, Vec<Fault>) {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut faults: Vec<Fault> = errors
            .iter()
            .map(|error| Fault {
                line: error.span().map(|span| line_of(text, span.start)),
                message: error.message().to_owned(),
            })
            .collect();
        let root = root.get_ref();
        for name in root.keys() {
            let section = name.get_ref().as_ref();
            let is_table = [tenant::TABLE, Issuer::NAME, IdentityMap::NAME].contains(&section);
            if !Self::SECTIONS.contains(&section) && !is_table {
                faults.push(Fault {
                    line: Some(line_of(text, name.span().start)),
                    message: unknown(&format!("section [{section}]"), section, Self::SECTIONS),
                });
            }
        }
        (Self::read(text, root, &mut faults), faults)
    }
}

fn fault(message: impl Into<String>) -> Fault {
    Fault {
        line: None,
        message: message.into(),
    }
}

fn document<S: Section>(text: &mut String) {
    let doc = |text: &mut String, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "#{line}");
        }
    };
    let _ = writeln!(text);
    doc(text, S::DOC);
    let _ = writeln!(text, "[{}]", S::NAME);
    for key in S::keys() {
        let _ = writeln!(text);
        doc(text, key.doc);
        let _ = match key.default {
            Some(default) => writeln!(text, "{} = {default}", key.name),
            None => writeln!(text, "# {} =", key.name),
        };
    }
}

/// A table that may be there several times or not at all, so nothing of it is set.
fn document_table<S: Section>(text: &mut String) {
    let mut lines = String::new();
    for line in S::DOC {
        let _ = writeln!(lines, "{line}");
    }
    let _ = writeln!(lines, "\n [[{}]]", S::NAME);
    for key in S::keys() {
        let _ = writeln!(lines);
        for line in key.doc {
            let _ = writeln!(lines, "{line}");
        }
        let default = key.default.unwrap_or_default();
        let _ = writeln!(lines, " {} = {default}", key.name);
    }
    let _ = writeln!(text);
    for line in lines.lines() {
        let _ = writeln!(text, "{}", format!("#{line}").trim_end());
    }
}

const HEAD: &str = "# Configuration of the gateway. Every setting is shown with its default; what is\n\
    # left out keeps it. Check a file with: gatehouse check-config FILE\n";

#[cfg(test)]
mod tests {
    use super::*;
    use signaling::SipTransport;

    const LEAST: &str = "[ims]\npcscf = \"192.0.2.10:5060\"\nhome_domains = [\"ims.test\"]\n";

    fn faults(text: &str) -> Vec<String> {
        Config::parse(text)
            .expect_err("a faulty file")
            .iter()
            .map(Fault::to_string)
            .collect()
    }

    /// The keys that faults are about.
    fn keys(faults: &[String]) -> Vec<&str> {
        let keys = faults.iter().map(|fault| fault.split(':').next());
        keys.map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let (config, faults) = Config::parse_unchecked(&Config::documented());
        assert_eq!(faults, []);
        assert_eq!(config, Config::default());
    }

    #[test]
    fn two_settings_have_no_default_and_are_asked_for() {
        let faults = faults(&Config::documented());
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("[ims] home_domains: is missing"));
        assert!(faults[1].starts_with("[ims] pcscf: is missing"));
        assert!(Config::parse(LEAST).is_ok());
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_line() {
        let text = "[acces]\nlisten = []\n[access]\nlisen = [\"0.0.0.0:443\"]\ntls = \"yes\"\n\
            ping_after = \"10 parsecs\"\n[ims]\npcscf = \"192.0.2.10:x\"\nports = \"9-1\"\n\
            home_domains = [\"ims.test\", 7]\n[media]\nims_ports = 4\n";
        assert_eq!(
            faults(text),
            [
                "[ims] home_domains: is missing; say whose users may log in, like \
                 [\"ims.example.com\"]",
                "[ims] pcscf: is missing; say where the P-CSCF is, like \"192.0.2.10:5060\"",
                "line 1: unknown section [acces]; the nearest known one is `access`",
                "line 4: unknown key `lisen` in [access]; the nearest known one is `listen`",
                "line 5: [access] tls: must be true or false",
                "line 6: [access] ping_after: must be a time like \"250ms\", \"10s\", \"5m\" or \
                 \"4h\"",
                "line 8: [ims] pcscf: must be a host and a port, like \"pcscf.example.com:5060\" \
                 or \"192.0.2.10:5060\", or a domain whose records say it, like \
                 \"ims.example.com\"",
                "line 9: [ims] ports: must be a range of ports, like \"20000-29999\"",
                "line 10: [ims] home_domains: each item must be a domain, like \
                 \"ims.example.com\"",
                "line 12: [media] ims_ports: must be a range of ports, like \"20000-29999\"",
            ]
        );
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let faults = faults(&format!("{LEAST}[access\nlisten = [\n"));
        assert!(faults.iter().any(|f| f.starts_with("line 4")), "{faults:?}");
    }

    #[test]
    fn plain_http_beyond_loopback_is_refused() {
        let text = format!("{LEAST}[access]\ntls = false\nlisten = [\"0.0.0.0:80\"]\n");
        assert_eq!(
            faults(&text),
            ["[access] listen: 0.0.0.0:80 is not a loopback address, so it needs tls = true"]
        );
    }

    #[test]
    fn plain_listening_stays_on_this_machine_and_has_origins_of_its_own() {
        let access = "[access]\nlisten = [\"192.0.2.7:8443\"]\n\
            server_names = [\"gw.example.com\"]\n";
        let text = format!("{LEAST}{access}plain_listen = [\"127.0.0.1:8080\"]\n");
        let config = Config::parse(&text).expect("a good file");
        assert_eq!(
            config.access.policy().origins,
            [
                "https://gw.example.com:8443",
                "https://localhost:8443",
                "https://127.0.0.1:8443",
                "http://localhost:8080",
                "http://127.0.0.1:8080",
            ]
        );
        let text = format!("{LEAST}{access}plain_listen = [\"192.0.2.7:8080\"]\n");
        assert_eq!(
            faults(&text),
            [
                "[access] plain_listen: 192.0.2.7:8080 is not a loopback address; it can stand \
                 in `listen`, with TLS"
            ]
        );
    }

    #[test]
    fn the_pages_of_the_box_may_open_its_web_socket() {
        let text = format!(
            "{LEAST}[access]\nserver_names = [\"GW.example.com\"]\n\
             listen = [\"0.0.0.0:443\", \"127.0.0.1:8443\"]\n"
        );
        let config = Config::parse(&text).expect("a good file");
        assert_eq!(
            config.access.policy().origins,
            ["https://gw.example.com", "https://gw.example.com:8443"]
        );
    }

    #[test]
    fn a_list_of_one_may_stand_without_its_brackets() {
        let text = format!("{LEAST}[media]\naccess_listen = \"192.0.2.7\"\n");
        let media = Config::parse(&text).expect("a good file").media;
        assert_eq!(media.told_addresses(), media.access_listen);
        assert_eq!(media.access_listen.len(), 1);
        let text = format!("{LEAST}[access]\nlisten = true\n");
        assert_eq!(
            faults(&text),
            [
                "line 5: [access] listen: must be a list in square brackets, or one item, which \
                 must be an address with a port, like \"0.0.0.0:443\""
            ]
        );
    }

    #[test]
    fn how_calls_are_treated_reaches_signaling() {
        let calls = "[calls]\ncodecs = [\"pcmu\", \"pcma\"]\nmedia_grace = \"9s\"\n\
            ims_silence = \"1m\"\npage_grace = \"7s\"\n\
            token_grace = \"1h\"\n";
        let config = Config::parse(&format!("{LEAST}{calls}")).expect("a good file");
        let told = config.signaling().expect("a whole file").calls;
        assert_eq!(told.page_grace.as_secs(), 7);
        assert_eq!(told.token_grace.as_secs(), 3600);
        let codecs = [iq::PayloadFormat::Pcmu, iq::PayloadFormat::Pcma];
        assert_eq!(told.codecs, signaling::sdp::CodecPolicy::new(codecs));
        assert_eq!(told.media_grace.as_secs(), 9);
        assert_eq!(told.ims_silence.as_secs(), 60);
        assert_eq!(config.calls.silence_report().as_secs(), 15);
        let text = format!("{LEAST}[calls]\ncodecs = []\nims_silence = \"1s\"\n");
        assert_eq!(faults(&text).len(), 2);
    }

    #[test]
    fn what_users_may_do_beside_a_call_is_their_networks_choice() {
        let text = format!(
            "{LEAST}preconditions = \"offer\"\nrefer_from_ims = true\npublish = true\n\
             event_packages = [\"reg\"]\nmessage_types = [\"text/plain\"]\n\
             messages_per_minute = 5\n"
        );
        let config = Config::parse(&text).expect("a good file");
        let told = config.signaling().expect("a whole file");
        assert_eq!(
            told.tenants[0].services,
            signaling::config::ServiceConfig {
                preconditions: signaling::config::PreconditionPolicy::Offer,
                refer_from_ims: true,
                event_packages: vec!["reg".to_owned()],
                publish: true,
                message_types: vec!["text/plain".to_owned()],
                messages_per_minute: 5,
            }
        );
    }

    const TWO: &str = "[ims]\ntransport = \"tcp\"\nregistrations = 7\n\
        [[tenant]]\nname = \"one\"\npcscf = \"192.0.2.10:5060\"\nhome_domains = [\"one.test\"]\n\
        [[tenant]]\nname = \"two\"\npcscf = \"192.0.2.20:5060\"\nhome_domains = [\"two.test\"]\n\
        transport = \"udp\"\n";

    #[test]
    fn one_network_stands_in_ims_and_several_have_a_table_each() {
        let config = Config::parse(LEAST).expect("a good file");
        let told = config.signaling().expect("a whole file").tenants;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].name, "ims");

        let config = Config::parse(TWO).expect("a good file");
        let told = config.signaling().expect("a whole file").tenants;
        let seen: Vec<_> = told
            .iter()
            .map(|tenant| (tenant.name.as_str(), tenant.domains[0].as_str()))
            .collect();
        assert_eq!(seen, [("one", "one.test"), ("two", "two.test")]);
        let transports = [0, 1].map(|n: usize| told[n].next_hop.transports.clone());
        assert_eq!(transports, [[SipTransport::Tcp], [SipTransport::Udp]]);
        assert_eq!(told[1].registration.count, 7, "as [ims] has it");
    }

    #[test]
    fn a_country_says_which_numbers_are_emergencies() {
        let numbers = |more: &str| {
            let config = Config::parse(&format!("{LEAST}{more}")).expect("a good file");
            let told = config.signaling().expect("a whole file").tenants;
            told[0].emergency.clone()
        };
        assert!(numbers("").numbers.contains(&"999".to_owned()));
        let italy = numbers("emergency_country = \"it\"\nemergency_numbers = [\"114\"]\n");
        assert_eq!(italy.numbers, ["112", "911", "113", "115", "118", "114"]);
        assert_eq!(italy.route, None);
        let text = format!("{LEAST}emergency_country = \"XX\"\nemergency_route = \"tel:112\"\n");
        assert_eq!(faults(&text).len(), 2);
    }

    #[test]
    fn each_profile_has_its_own_next_hop() {
        let mw = "[ims]\nprofile = \"mw\"\nicscf = \"192.0.2.11:4060\"\n\
            home_domains = [\"ims.test\"]\nhost = \"pcscf.gw.test\"\nport = 5070\n";
        let config = Config::parse(mw).expect("a good file");
        let told = config.signaling().expect("a whole file").tenants;
        let told = told[0].profile.mw().expect("the profile").clone();
        assert_eq!((told.port, told.network.as_str()), (5070, "pcscf.gw.test"));

        let mixed = mw.replace("icscf", "pcscf");
        let faults = faults(&format!(
            "{mixed}transport = \"tls\"\naccess_network = \"a b\"\n"
        ));
        assert_eq!(
            keys(&faults),
            [
                "[ims] access_network",
                "[ims] authorities",
                "[ims] icscf",
                "[ims] pcscf",
                "[ims] transport",
            ]
        );
        let faults = super::tests::faults(&format!("{LEAST}icscf = \"192.0.2.11:4060\"\n"));
        assert!(faults[0].starts_with("[ims] icscf: is for profile = \"mw\""));
    }

    #[test]
    fn a_trunk_says_what_it_registers_and_whose_its_numbers_are() {
        let trunk = "[ims]\nprofile = \"trunk\"\npeer = \"192.0.2.11:5060\"\nhome_domains = \"pbx.test\"\n\
            trunk_register = \"sip:+39040500@provider.test\"\n\
            trunk_numbers = [\"+39040501 = alice@pbx.test\"]\ntrunk_caller = \"from\"\n";
        let config = Config::parse(trunk).expect("a good file");
        let told = config.signaling().expect("a whole file").tenants;
        let told = told[0].profile.trunk().expect("the profile").clone();
        assert_eq!(told.domain.to_string(), "provider.test");
        let registration = told.registration.expect("one");
        assert_eq!(registration.user.reveal(), "+39040500@provider.test");
        assert_eq!(told.caller, signaling::config::CallerHeader::From);
        assert_eq!(told.numbers[0].number, "+39040501");
        let text = trunk
            .replace("trunk_register", "trunk_user")
            .replace("peer", "pcscf");
        let text = text.replace(
            "alice@pbx.test\"",
            "alice@pbx.test\", \"+39040501 = bob@other.test\"",
        );
        let faults = faults(&format!(
            "{text}transport = \"tls\"\nauthorities = \"a.pem\"\n"
        ));
        assert_eq!(
            keys(&faults),
            [
                "[ims] pcscf, icscf",
                "[ims] peer",
                "[ims] transport",
                "[ims] trunk_numbers",
                "[ims] trunk_numbers",
                "[ims] trunk_user",
            ]
        );
        let faults = super::tests::faults(&format!("{LEAST}peer = \"192.0.2.11\"\n"));
        assert!(faults[0].starts_with("[ims] peer, trunk_...: are for profile = \"trunk\""));
    }

    #[test]
    fn what_is_wrong_between_tenants_is_told_with_what_mends_it() {
        let third = "[[tenant]]\nname = \"two\"\nhome_domains = [\"one.test\"]\ntrusted_peer = 7\n\
            ports = \"20000-30000\"\n[[tenant]]\nname = \"no name\"\n";
        let faults = faults(&format!("{TWO}{third}"));
        assert_eq!(
            faults,
            [
                "[[tenant]] \"no name\" home_domains: is missing; say whose users may log in, \
                 like [\"ims.example.com\"]",
                "[[tenant]] \"no name\" name: must be letters, digits, \"-\" and \"_\"",
                "[[tenant]] \"no name\" pcscf: is missing; say where the P-CSCF is, like \
                 \"192.0.2.10:5060\"",
                "[[tenant]] \"no name\" ports: overlap with [[tenant]] \"two\"'s; make them the \
                 same, or apart",
                "[[tenant]] \"two\" home_domains: one.test is also [[tenant]] \"one\"'s; a user's \
                 domain says whose he is, so leave it to one of them",
                "[[tenant]] \"two\" name: is there twice; give each its own",
                "[[tenant]] \"two\" pcscf: is missing; say where the P-CSCF is, like \
                 \"192.0.2.10:5060\"",
                "[[tenant]] \"two\" ports: overlap with [[tenant]] \"one\"'s; make them the same, \
                 or apart",
                "[[tenant]] \"two\" ports: overlap with [[tenant]] \"two\"'s; make them the same, \
                 or apart",
                "line 16: unknown key `trusted_peer` in [[tenant]] \"two\"; the nearest known \
                 one is `trusted_peers`",
            ]
        );
        let beside = format!("{LEAST}[[tenant]]\nname = \"one\"\nhome_domains = \"one.test\"\n");
        let faults = super::tests::faults(&beside);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("[ims] home_domains: say in each"));
    }

    #[test]
    fn workers_share_the_ports_in_whole_pairs() {
        let text = format!("{LEAST}[media]\nworkers = 3\nims_ports = \"30001-30020\"\n");
        let media = Config::parse(&text).expect("a good file").media;
        let ranges: Vec<_> = (0..3).map(|worker| media.ims_ports_of(worker)).collect();
        assert_eq!(ranges, [30002..=30007, 30008..=30013, 30014..=30019]);
    }
}
