//! Looks through everything a run left behind for what must not be there: secrets and subscribers in
//! the gateway's logs, records, metrics and crash dumps, secrets in what it keeps over a restart, and
//! tokens and passwords in what reached the core.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// What was looked through and what was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many files of the gateway's.
    pub files: usize,
    /// How many answers to challenges were known, to be looked for.
    pub answers: usize,
    /// How many tokens and tickets.
    pub tokens: usize,
    /// What was found, one line each.
    pub faults: Vec<String>,
}

/// Sweeps a run's folder.
pub fn sweep(folder: &Path) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let core = fs::read_to_string(folder.join(TOWARDS_CORE)).unwrap_or_default();
    let planted = planted(folder);
    let secrets = || {
        SECRETS
            .iter()
            .copied()
            .chain(planted.iter().map(String::as_str))
    };
    for secret in secrets() {
        findings.look(&core, TOWARDS_CORE, "a secret", |line| {
            line.contains(secret)
        });
    }
    findings.tokens = planted.len();
    let answers = answers(&core);
    findings.answers = answers.len();

    for file in files(folder)? {
        let bytes = fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        // A crash dump is no text; what is sought in it is.
        let text = String::from_utf8_lossy(&bytes);
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy();
        findings.files += 1;
        for secret in secrets() {
            findings.look(&text, &name, "a secret", |line| line.contains(secret));
        }
        for answer in &answers {
            findings.look(&text, &name, "an answer to a challenge", |line| {
                line.contains(answer.as_str())
            });
        }
        if !is_store(&name) {
            findings.look(&text, &name, "an identity", has_identity);
            findings.look(&text, &name, "a pressed key", has_key);
        }
    }
    ensure!(
        findings.files > 0,
        "the gateway left nothing to look through"
    );
    Ok(findings)
}

impl Findings {
    fn look(&mut self, text: &str, name: &str, what: &str, is_it: impl Fn(&str) -> bool) {
        if let Some(line) = text.lines().find(|line| is_it(line)) {
            let start: String = line.chars().take(160).collect();
            self.faults.push(format!("{what} in {name}: {start}"));
        }
    }
}

/// The gateway's logs, records, dumps of metrics and crash dumps, wherever they are below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if is_gateways(&name) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn is_gateways(name: &str) -> bool {
    let is_told = matches!(name, "gatehouse.log" | METRICS) || name.ends_with(".jsonl");
    is_told || is_image(name) || is_store(name)
}

/// Whether a file is an image of a process's memory, by its name.
pub(crate) fn is_image(name: &str) -> bool {
    name == "core" || name.starts_with("core.")
}

/// Whether a file holds what must outlive the gateway: who is registered and who talks to whom, so
/// identities stand in it, but no secret does.
fn is_store(name: &str) -> bool {
    name.ends_with(".redb")
}

/// Keeps a token or a ticket for the sweep at the end of the run.
pub fn plant(file: &Path, secret: &str) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    let opened = options.create(true).append(true).open(file);
    opened
        .and_then(|mut opened| writeln!(opened, "{secret}"))
        .with_context(|| format!("could not write {}", file.display()))
}

/// Every token and ticket of the run that is long enough to be told from a word: of a JWT the part
/// that makes it one.
fn planted(run: &Path) -> BTreeSet<String> {
    let files = [run.join("identity-provider").join(GIVEN), run.join(GIVEN)];
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap_or_default());
    let texts: Vec<String> = texts.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let tellers = lines.map(|line| line.rsplit('.').next().unwrap_or(line));
    let tellers = tellers.filter(|teller| teller.len() >= 16);
    tellers.map(str::to_owned).collect()
}

/// Every nonce-response that a browser gave and that went on to the core.
fn answers(core: &str) -> BTreeSet<String> {
    let starts = core.match_indices("response=\"");
    let values = starts.filter_map(|(at, start)| core[at + start.len()..].split('"').next());
    let answers = values.filter(|value| value.len() >= 16);
    answers.map(str::to_owned).collect()
}

/// An address of a subscriber, or the name of one of the tests' users.
fn has_identity(line: &str) -> bool {
    let is_part =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let addresses = line.match_indices("@ims.test");
    let has_address = addresses
        .into_iter()
        .any(|(at, _)| line[..at].chars().next_back().is_some_and(is_part));
    has_address
        || line
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .any(|word| {
                USERS.contains(&word.trim_end_matches(|digit: char| digit.is_ascii_digit()))
            })
}

/// A key of a telephone beside a word that says so, or the keys of the tests' own call.
fn has_key(line: &str) -> bool {
    let lower = line.to_lowercase();
    let is_told = |word: &str| {
        lower.match_indices(word).any(|(at, _)| {
            let rest = lower[at + word.len()..].trim_start_matches(['"', '\'', '=', ':', ' ', '(']);
            let is_beside = rest.len() < lower.len() - at - word.len();
            let mut letters = rest.chars();
            let is_key = letters
                .next()
                .is_some_and(|letter| letter.is_ascii_digit() || matches!(letter, '*' | '#'));
            let ends = letters
                .next()
                .is_none_or(|letter| !letter.is_ascii_alphanumeric() && letter != '.');
            is_beside && is_key && ends
        })
    };
    line.contains("159#") || KEY_WORDS.iter().any(|word| is_told(word))
}

/// The SIP that reached the core, of all cases, as tshark tells it.
pub const TOWARDS_CORE: &str = "towards-core.txt";
/// The tokens and tickets of a run, one a line.
pub const GIVEN: &str = "given.txt";
/// What `/metrics` said before each end of the gateway.
pub const METRICS: &str = "metrics.txt";

/// The end of every user's password, the beginnings of tokens (a header whose first member is
/// alg, typ or kid; three letters fewer may stand in a flow token by chance), and how they are
/// announced.
const SECRETS: &[&str] = &["-secret", "eyJhbGci", "eyJ0eXAi", "eyJraWQi", "Bearer e"];
/// Words that a log would put before a key.
const KEY_WORDS: &[&str] = &["dtmf", "digit", "key", "signal", "tone"];
/// The tests' users, without the number that makes them a case's own.
const USERS: &[&str] = &[
    "alice", "bob", "tracy", "dora", "emil", "gina", "hugo", "ivan", "judy", "kate", "lodger",
    "mallory",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_planted_secret_is_found_where_it_must_not_be() {
        let folder = std::env::temp_dir().join(format!("sweep-{}", std::process::id()));
        fs::create_dir_all(folder.join("gateway")).unwrap();
        let answer = "0123456789abcdef0123456789abcdef";
        let core = format!("Authorization: Digest username=\"a\", response=\"{answer}\"\n");
        fs::write(folder.join(TOWARDS_CORE), core).unwrap();
        let log = folder.join("gateway/gatehouse.log");
        let harmless = "INFO registered flow=1 seconds=270 media key=none\n";
        fs::write(folder.join(GIVEN), "opaque-0123456789abc\n").unwrap();
        for (planted, fault) in [
            ("", ""),
            ("opaque-0123456789abc", "a secret"),
            ("password alice1-secret", "a secret"),
            ("token eyJhbGciOi", "a secret"),
            (answer, "an answer to a challenge"),
            ("caller sip:x9@ims.test", "an identity"),
            ("registered user=alice17", "an identity"),
            ("dtmf key=5", "a pressed key"),
            ("sent 159#", "a pressed key"),
        ] {
            fs::write(&log, format!("{harmless}{planted}\n")).unwrap();
            let found = sweep(&folder).unwrap();
            assert_eq!(found.answers, 1);
            assert_eq!(
                found.faults.is_empty(),
                fault.is_empty(),
                "{planted}: {:?}",
                found.faults
            );
            assert!(
                found
                    .faults
                    .iter()
                    .all(|line| !fault.is_empty() && !line.is_empty())
            );
            assert!(fault.is_empty() || found.faults.iter().any(|line| line.starts_with(fault)));
        }
        fs::write(&log, harmless).unwrap();
        let store = folder.join("gateway/state.redb");
        fs::write(&store, "sip:alice1@ims.test").unwrap();
        assert!(sweep(&folder).unwrap().faults.is_empty());
        fs::write(&store, format!("sip:alice1@ims.test {answer}")).unwrap();
        assert_eq!(sweep(&folder).unwrap().faults.len(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
