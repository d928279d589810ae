//! `firmware/CONFORMANCE.md`: which clause of which standard the box follows, and the test that
//! shows it. The page is made from marks beside the tests:
//!
//! ```text
//! // Conforms: RFC 3261 §9.1 | A CANCEL waits for a provisional response.
//! #[test]
//! fn cancel_waits_for_a_provisional_response() {
//! ```
//!
//! A test shows nothing that would pass as well without the behaviour: `--switch-off` takes the
//! behaviours of [`switches`] away, one after the other, in a copy of the tree, and wants each test
//! to fail.

mod switches;

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use crate::tally::Tally;
use crate::workspace;
use switches::{SWITCHES, Switch};

/// One clause with the test that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    /// Document and clause, like `RFC 3261 §9.1`.
    clause: String,
    /// What the box does.
    behaviour: String,
    /// The test's name.
    test: String,
    /// Its file, from the root of the tree.
    file: String,
}

/// Writes the page.
pub(crate) fn write() -> anyhow::Result<ExitCode> {
    let page = page(&marks()?)?;
    std::fs::write(path(), page).with_context(|| path().display().to_string())?;
    println!("{} is written", path().display());
    Ok(ExitCode::SUCCESS)
}

/// Whether the page is what the tests say, and every behaviour can be found to be taken out.
pub(crate) fn check() -> anyhow::Result<Tally> {
    for switch in &SWITCHES {
        switch.without(workspace::root())?;
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    ensure!(
        written == page(&marks()?)?,
        "firmware/CONFORMANCE.md is not what the tests say: run `cargo xtask conformance`"
    );
    Ok(Tally::one(true))
}

/// Takes behaviours away and wants their tests to fail: those whose test's name contains `word`.
pub(crate) fn switch_off(word: &str) -> anyhow::Result<ExitCode> {
    let tally = switch_off_all(SWITCHES.iter().filter(|it| it.test.contains(word)))?;
    println!("{tally}");
    Ok(if tally.failed == 0 && tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn switch_off_all<'a>(switches: impl Iterator<Item = &'a Switch>) -> anyhow::Result<Tally> {
    let copy = Copy::make()?;
    let mut tally = Tally::default();
    for switch in switches {
        let started = Instant::now();
        let failure = copy.prove(switch).err();
        let seconds = started.elapsed().as_secs();
        match &failure {
            None => println!("ok   {} ({seconds} s)", switch.test),
            Some(failure) => println!("FAIL {} ({seconds} s): {failure:#}", switch.test),
        }
        tally += Tally::one(failure.is_none());
    }
    Ok(tally)
}

/// A copy of the tree to take behaviours out of.
struct Copy(PathBuf);

impl Copy {
    fn make() -> anyhow::Result<Self> {
        let folder = workspace::target_folder().join("switched-off");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let sources = ["Cargo.toml", "Cargo.lock", "firmware", "board", "tests"];
        workspace::run(
            workspace::command("sh")
                .args([
                    "-c",
                    r#"tar -cf - --exclude node_modules "$@" | tar -xf - -C "$0""#,
                ])
                .arg(&folder)
                .args(sources),
        )?;
        Ok(Copy(folder))
    }

    /// Wants a test to pass as the tree is, and to fail without the behaviour.
    fn prove(&self, switch: &Switch) -> anyhow::Result<()> {
        let path = self.0.join(switch.file);
        let (source, changed) = switch.without(&self.0)?;
        std::fs::write(&path, changed)?;
        let without = self.test(switch);
        std::fs::write(&path, source)?;
        match without? {
            Outcome::Failed => Ok(()),
            Outcome::Passed => bail!("passes without the behaviour too: it shows nothing"),
            Outcome::NotBuilt => bail!("the tree without the behaviour does not build"),
            Outcome::NotRun => bail!("there is no such test in {}", switch.package),
        }
    }

    fn test(&self, switch: &Switch) -> anyhow::Result<Outcome> {
        let mut cargo = workspace::cargo();
        cargo
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", workspace::target_folder())
            .env("RUST_BACKTRACE", "0")
            .args(["test", "--release", "--lib", "--package", switch.package])
            .arg(switch.test);
        let done = cargo.output().context("could not start cargo")?;
        let said = String::from_utf8_lossy(&done.stdout);
        let ran = said
            .lines()
            .any(|line| line.starts_with("test ") && line.contains(switch.test));
        Ok(match (said.contains("test result:"), ran) {
            (false, _) => Outcome::NotBuilt,
            (true, false) => Outcome::NotRun,
            (true, true) if done.status.success() => Outcome::Passed,
            (true, true) => Outcome::Failed,
        })
    }
}

impl Switch {
    /// Whether the behaviour is the one that is marked.
    fn shows(&self, mark: &Mark) -> bool {
        (self.clause, self.test) == (&mark.clause, &mark.test)
    }

    /// The file with the behaviour, and without it.
    fn without(&self, tree: &Path) -> anyhow::Result<(String, String)> {
        let path = tree.join(self.file);
        let source = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(
            source.matches(self.from).count() == 1,
            "{} does not hold `{}` exactly once: bring the switch of {} up to date",
            self.file,
            self.from,
            self.test
        );
        let changed = source.replacen(self.from, self.to, 1);
        Ok((source, changed))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

enum Outcome {
    Passed,
    Failed,
    NotRun,
    NotBuilt,
}

fn path() -> PathBuf {
    workspace::root().join("firmware/CONFORMANCE.md")
}

/// Every mark of the tree, in the order of the page.
fn marks() -> anyhow::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for folder in ["firmware", "tests"] {
        collect(&workspace::root().join(folder), &mut marks)?;
    }
    marks.sort_by(|a, b| by_clause(&a.clause, &b.clause).then_with(|| a.test.cmp(&b.test)));
    Ok(marks)
}

fn collect(folder: &Path, marks: &mut Vec<Mark>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let is_left_out = ["node_modules", "target", "xtask"]
            .iter()
            .any(|name| path.ends_with(name));
        if path.is_dir() && !is_left_out {
            collect(&path, marks)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            let source =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let file = path.strip_prefix(workspace::root()).unwrap_or(&path);
            marks.extend(read(&source, &file.display().to_string())?);
        }
    }
    Ok(())
}

/// The marks of one file. A test may have several.
fn read(source: &str, file: &str) -> anyhow::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    let mut waiting: Vec<(String, String)> = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let line = line.trim();
        let at = || format!("{file}:{}", index + 1);
        if let Some(mark) = line.strip_prefix(MARK) {
            let (clause, behaviour) = mark
                .split_once('|')
                .with_context(|| format!("{}: write `{MARK} CLAUSE | WHAT THE BOX DOES`", at()))?;
            let (clause, behaviour) = (clause.trim(), behaviour.trim());
            ensure!(
                DOCUMENTS.iter().any(|known| clause.starts_with(known)) && !behaviour.is_empty(),
                "{}: a clause starts with one of {DOCUMENTS:?}, and something follows the bar",
                at()
            );
            waiting.push((clause.to_owned(), behaviour.to_owned()));
        } else if !waiting.is_empty()
            && let Some(test) = name_in(line)
        {
            marks.extend(waiting.drain(..).map(|(clause, behaviour)| Mark {
                clause,
                behaviour,
                test: test.to_owned(),
                file: file.to_owned(),
            }));
        }
    }
    ensure!(waiting.is_empty(), "{file}: a mark without a test below it");
    Ok(marks)
}

/// The name of the function, or of the case against real peers, that a line begins.
fn name_in(line: &str) -> Option<&str> {
    let function = line
        .split_once("fn ")
        .map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or(rest));
    let case = || {
        line.split_once('"')
            .and_then(|(_, rest)| rest.split('"').next())
    };
    function.or_else(case).filter(|name| !name.is_empty())
}

/// By document, then by the numbers of the clause.
fn by_clause(a: &str, b: &str) -> Ordering {
    numbers_last(a).cmp(&numbers_last(b))
}

/// A text in pieces that compare as a reader would: numbers as numbers.
fn numbers_last(text: &str) -> Vec<(String, u64)> {
    let mut pieces = vec![(String::new(), 0_u64)];
    for letter in text.chars() {
        let last = pieces.len() - 1;
        match letter.to_digit(10) {
            Some(digit) => pieces[last].1 = pieces[last].1.saturating_mul(10) + u64::from(digit),
            None if pieces[last].1 > 0 => pieces.push((letter.to_string(), 0)),
            None => pieces[last].0.push(letter),
        }
    }
    pieces
}

fn page(marks: &[Mark]) -> anyhow::Result<String> {
    let mut page = String::from(HEAD);
    let mut document = "";
    for mark in marks {
        let this = mark.clause.split(" §").next().unwrap_or_default();
        if this != document {
            write!(page, "\n## {this}\n\n{TABLE}")?;
            document = this;
        }
        let clause = mark.clause[this.len()..].trim();
        let is_switched_off = SWITCHES.iter().any(|switch| switch.shows(mark));
        writeln!(
            page,
            "| {} | {} | `{}` ({}){} |",
            if clause.is_empty() { "–" } else { clause },
            mark.behaviour.replace('|', "\\|"),
            mark.test,
            mark.file,
            if is_switched_off { " ✓" } else { "" },
        )?;
    }
    Ok(page)
}

/// What a mark begins with.
const MARK: &str = "// Conforms:";

/// Where clauses come from.
const DOCUMENTS: [&str; 4] = ["RFC ", "TS ", "ITU-T ", "W3C "];

const TABLE: &str = "| clause | what the box does | shown by |\n| --- | --- | --- |\n";

const HEAD: &str = "# Conformance

Which clauses the box follows, and the test that shows each. Made by `cargo xtask conformance` from
marks beside the tests; the test run fails when this page is not what they say.

A test with ✓ was seen to fail with the behaviour taken out: `cargo xtask conformance --switch-off`
does it again. The others run with every test run, and nothing more is claimed of them.
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mark_belongs_to_the_test_below_it() {
        let source =
            "    // Conforms: RFC 3261 §9.1 | It waits.\n    #[test]\n    fn cancel_waits() {";
        let marks = read(source, "a.rs").unwrap();
        assert_eq!(marks.len(), 1);
        assert_eq!(marks[0].clause, "RFC 3261 §9.1");
        assert_eq!(marks[0].behaviour, "It waits.");
        assert_eq!(marks[0].test, "cancel_waits");
    }

    #[test]
    fn a_mark_may_stand_above_a_case_against_real_peers() {
        let source = "// Conforms: RFC 7118 §5 | It registers.\ncase(\"register\", register),";
        assert_eq!(read(source, "a.rs").unwrap()[0].test, "register");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        for (source, complaint) in [
            ("// Conforms: RFC 3261 §9.1\nfn a() {", "a.rs:1: write"),
            ("// Conforms: my taste | Yes.\nfn a() {", "a.rs:1: a clause"),
            ("// Conforms: RFC 3261 §9 | Yes.\n", "a.rs: a mark without"),
        ] {
            let error = read(source, "a.rs").unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{error}");
        }
    }

    #[test]
    fn clauses_are_sorted_as_a_reader_counts() {
        let mut clauses = [
            "RFC 3261 §16.7",
            "RFC 3261 §9.1",
            "RFC 768",
            "RFC 3261 §16.10",
        ];
        clauses.sort_by(|a, b| by_clause(a, b));
        assert_eq!(
            clauses,
            [
                "RFC 768",
                "RFC 3261 §9.1",
                "RFC 3261 §16.7",
                "RFC 3261 §16.10"
            ]
        );
    }

    #[test]
    fn every_switch_belongs_to_a_mark() {
        let marks = marks().unwrap();
        for switch in &SWITCHES {
            let is_marked = marks.iter().any(|mark| switch.shows(mark));
            assert!(is_marked, "{} has no such mark", switch.test);
        }
    }
}
