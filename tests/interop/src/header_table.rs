//! What went to the core, header field by header field, beside what the policy's documentation says
//! about it: the tables in the first lines of `firmware/signaling/src/policy/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// What is seen of a header field that a browser sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nowhere.
    Absent,
    /// With the browser's own value.
    Passed,
    /// With other values alone.
    Others,
}

/// Header fields and their values, as one side's messages have them.
pub type Fields = BTreeMap<String, BTreeSet<String>>;

/// What was seen on one way into the IMS.
#[derive(Debug)]
pub struct Column {
    /// The way's name.
    pub way: &'static str,
    /// What the browser sent.
    pub sent: Fields,
    /// What reached the core.
    pub reached: Fields,
    /// What is documented.
    pub table: Documented,
}

impl Column {
    /// The header fields that do not fit, a line each.
    pub fn faults(&self) -> Vec<String> {
        compare(&self.sent, &self.reached, &self.table)
    }
}

/// By header field, what its documented rule towards the IMS is.
#[derive(Clone, Debug)]
pub struct Documented(BTreeMap<String, String>);

impl Documented {
    /// Reads the table of a profile.
    pub fn read(profile: &str) -> anyhow::Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../firmware/signaling/src/policy/{profile}.rs"));
        let source = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        let rows = source
            .lines()
            .filter_map(|line| line.strip_prefix("//! | "))
            .skip(2);
        let mut rules = BTreeMap::new();
        for row in rows {
            let mut cells = row.split('|').map(str::trim);
            let (Some(names), Some(rule)) = (cells.next(), cells.next()) else {
                bail!("a row without a rule: {row}");
            };
            rules.extend(
                names
                    .split(", ")
                    .map(|name| (name.to_owned(), rule.to_owned())),
            );
        }
        if rules.is_empty() {
            bail!("{} documents no table", file.display());
        }
        Ok(Self(rules))
    }

    /// The rule of a header field; what has no row does not cross.
    pub fn rule(&self, header: &str) -> &str {
        let row = self
            .0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(header));
        row.map_or(NO_ROW, |(_, rule)| rule)
    }

    /// The same table with one rule turned round, for the test of the comparison itself.
    pub fn with_one_changed(&self, header: &str) -> Self {
        let changed = match self.rule(header) {
            "strip" | NO_ROW | "own" => "pass",
            _ => "strip",
        };
        let mut table = self.clone();
        table.0.retain(|name, _| !name.eq_ignore_ascii_case(header));
        table.0.insert(header.to_owned(), changed.to_owned());
        table
    }
}

/// Compares what browser and gateway sent with the table; returns a line for each header field that
/// does not fit.
pub fn compare(sent: &Fields, reached: &Fields, table: &Documented) -> Vec<String> {
    let mut faults = Vec::new();
    for name in headers(sent, reached) {
        let seen = seen(&name, sent, reached);
        let rule = table.rule(&name);
        if !fits(rule, seen, sent.contains_key(&name)) {
            faults.push(format!("{name}: documented `{rule}`, seen {seen:?}"));
        }
    }
    faults
}

/// Whether a rule allows what was seen.
fn fits(rule: &str, seen: Seen, was_sent: bool) -> bool {
    match rule {
        "own" => seen != Seen::Passed,
        "strip" | NO_ROW => seen == Seen::Absent,
        "pass" => seen == Seen::Passed,
        // On Mw the box adds its word about the access, TS 24.229 §7.2A.2.
        "Digest only" => seen != Seen::Absent || !was_sent,
        // Only harmless values are in the trace: they all cross, unless the leg has its own.
        _ => seen == Seen::Passed || !was_sent,
    }
}

/// The table as it is printed: a column for each profile.
pub fn print(columns: &[Column]) -> anyhow::Result<String> {
    let clauses = clauses()?;
    let mut names = BTreeSet::new();
    for column in columns {
        names.extend(headers(&column.sent, &column.reached));
    }
    let mut text = format!("{:30} {:52}", "header field", "clause");
    for column in columns {
        let _ = write!(text, " {:24}", column.way);
    }
    text.push('\n');
    for name in names {
        let clause = clauses.get(&name).map_or("", String::as_str);
        let _ = write!(text, "{name:30} {clause:52}");
        for column in columns {
            let seen = match seen(&name, &column.sent, &column.reached) {
                Seen::Absent => "absent",
                Seen::Passed => "passed",
                Seen::Others => "own value",
            };
            let _ = write!(
                text,
                " {:24}",
                format!("{seen} ({})", column.table.rule(&name))
            );
        }
        text.push('\n');
    }
    Ok(text)
}

/// Every header field of either side, but those that a WebSocket's messages share with all others
/// and whose values may be the same by chance.
fn headers(sent: &Fields, reached: &Fields) -> BTreeSet<String> {
    let all = sent.keys().chain(reached.keys());
    all.filter(|name| !UNTELLING.contains(&name.as_str()))
        .cloned()
        .collect()
}

fn seen(name: &str, sent: &Fields, reached: &Fields) -> Seen {
    match (sent.get(name), reached.get(name)) {
        (_, None) => Seen::Absent,
        (Some(sent), Some(reached)) if !sent.is_disjoint(reached) => Seen::Passed,
        _ => Seen::Others,
    }
}

fn clauses() -> anyhow::Result<BTreeMap<String, String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("clauses.txt");
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let mut clauses = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (names, clause) = line.split_once(" | ").with_context(|| line.to_owned())?;
        clauses.extend(
            names
                .split(", ")
                .map(|name| (name.to_owned(), clause.to_owned())),
        );
    }
    Ok(clauses)
}

/// What the table says about a header field by not having it.
const NO_ROW: &str = "no row";

/// Equal by chance or by the standard: a length, a type, a count, the parties of the call.
const UNTELLING: &[&str] = &[
    "From",
    "To",
    "Content-Length",
    "Content-Type",
    "Max-Forwards",
    "CSeq",
    "Expires",
    "Allow",
    "Supported",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(values: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in values {
            fields
                .entry((*name).to_owned())
                .or_default()
                .insert((*value).to_owned());
        }
        fields
    }

    #[test]
    fn what_crosses_against_the_table_is_found() {
        let table = Documented::read("gm").unwrap();
        let sent = fields(&[("Subject", "tea"), ("Geolocation", "home"), ("X-Odd", "1")]);
        assert_eq!(
            compare(&sent, &fields(&[("Subject", "tea")]), &table),
            Vec::<String>::new()
        );
        let reached = fields(&[("Geolocation", "home"), ("X-Odd", "1")]);
        let faults = compare(&sent, &reached, &table);
        assert_eq!(
            faults,
            [
                "Geolocation: documented `strip`, seen Passed",
                "Subject: documented `pass`, seen Absent",
                "X-Odd: documented `no row`, seen Passed",
            ]
        );
    }

    #[test]
    fn every_documented_header_field_has_its_clause() {
        let clauses = clauses().unwrap();
        for name in Documented::read("gm").unwrap().0.keys() {
            assert!(clauses.contains_key(name), "{name}");
        }
    }
}
