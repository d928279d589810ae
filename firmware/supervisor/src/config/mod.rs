//! The configuration: one TOML file, one section for each part, typed before anything
//! starts. Every fault is reported at once.

mod access;
mod ims;
mod media;
mod reader;
mod supervisor;

use std::fmt::Write as _;
use std::path::Path;

use toml::de::DeTable;

pub(crate) use access::{Access, Limited};
pub(crate) use ims::{Calls, Ims};
pub(crate) use media::Media;
pub(crate) use reader::Fault;
use reader::{Section, line_of, read_section, unknown};
pub(crate) use supervisor::{Log, LogFormat, Management, Records, Shutdown, State};

macro_rules! config {
    ($($(#[doc = $doc:literal])* $field:ident: $section:ty,)*) => {
        /// The whole file.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(crate) struct Config {
            $($(#[doc = $doc])* pub(crate) $field: $section,)*
        }

        impl Config {
            fn read(text: &str, root: &DeTable<'_>, faults: &mut Vec<Fault>) -> Self {
                Config { $($field: read_section(text, root, faults),)* }
            }

            const SECTIONS: &'static [&'static str] = &[$(<$section>::NAME),*];

            /// A file with every setting, its documentation and its default.
            pub(crate) fn documented() -> String {
                let mut text = String::from(HEAD);
                $(document::<$section>(&mut text);)*
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
    /// How the box stops.
    shutdown: Shutdown,
}

impl Config {
    /// Parses a file's text and checks it.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let (config, mut faults) = Self::parse_unchecked(text);
        config.access.check(&mut faults);
        config.ims.check(&mut faults);
        config.calls.check(&mut faults);
        config.media.check(&mut faults);
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
            if !Self::SECTIONS.contains(&name.get_ref().as_ref()) {
                let section = name.get_ref().as_ref();
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

const HEAD: &str = "# Configuration of the gateway. Every setting is shown with its default; what is\n\
    # left out keeps it. Check a file with: gatehouse check-config FILE\n";

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[ims]\npcscf = \"192.0.2.10:5060\"\nhome_domains = [\"ims.test\"]\n";

    fn faults(text: &str) -> Vec<String> {
        Config::parse(text)
            .expect_err("a faulty file")
            .iter()
            .map(Fault::to_string)
            .collect()
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
            ping_after = \"10 parsecs\"\n[ims]\npcscf = \"192.0.2.10\"\nports = \"9-1\"\n\
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
                 or \"192.0.2.10:5060\"",
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
            ims_silence = \"1m\"\npage_grace = \"7s\"\npreconditions = \"offer\"\n\
            refer_from_ims = true\n";
        let config = Config::parse(&format!("{LEAST}{calls}")).expect("a good file");
        let told = config.ims.signaling(&config.calls, &config.limits);
        let told = told.expect("a whole file");
        let preconditions = signaling::config::PreconditionPolicy::Offer;
        assert_eq!(told.services.preconditions, preconditions);
        assert!(told.services.refer_from_ims);
        let told = told.calls;
        assert_eq!(told.page_grace.as_secs(), 7);
        let codecs = [iq::PayloadFormat::Pcmu, iq::PayloadFormat::Pcma];
        assert_eq!(told.codecs, signaling::sdp::CodecPolicy::new(codecs));
        assert_eq!(told.media_grace.as_secs(), 9);
        assert_eq!(told.ims_silence.as_secs(), 60);
        assert_eq!(config.calls.silence_report().as_secs(), 15);
        let text = format!("{LEAST}[calls]\ncodecs = []\nims_silence = \"1s\"\n");
        assert_eq!(faults(&text).len(), 2);
    }

    #[test]
    fn workers_share_the_ports_in_whole_pairs() {
        let text = format!("{LEAST}[media]\nworkers = 3\nims_ports = \"30001-30020\"\n");
        let media = Config::parse(&text).expect("a good file").media;
        let ranges: Vec<_> = (0..3).map(|worker| media.ims_ports_of(worker)).collect();
        assert_eq!(ranges, [30002..=30007, 30008..=30013, 30014..=30019]);
    }
}
