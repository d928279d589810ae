//! `[[tenant]]`: several networks on one box, each with the keys of `[ims]` and a name.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault;
use super::ims::Ims;
use super::mw::ProfileName;
use super::reader::{Fault, Reader, Section, check_keys};

/// One of the networks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tenant {
    /// What logs and metrics call it.
    pub(crate) name: String,
    pub(crate) ims: Ims,
}

impl Tenant {
    /// The only one, which `[ims]` describes.
    pub(super) fn only(ims: &Ims) -> Self {
        Tenant {
            name: Ims::NAME.to_owned(),
            ims: ims.clone(),
        }
    }

    /// How messages call the table.
    pub(super) fn place(&self) -> String {
        format!("[[{TABLE}]] {:?}", self.name)
    }
}

/// Reads every `[[tenant]]`; what one leaves out is as `[ims]` has it.
pub(super) fn read(
    text: &str,
    root: &DeTable<'_>,
    ims: &Ims,
    faults: &mut Vec<Fault>,
) -> Vec<Tenant> {
    let tables = match root.get(TABLE).map(Spanned::get_ref) {
        None => return Vec::new(),
        Some(DeValue::Array(tables)) => tables,
        Some(_) => {
            faults.push(fault("[tenant] must stand in double brackets: [[tenant]]"));
            return Vec::new();
        }
    };
    let mut known: Vec<&str> = Ims::keys().iter().map(|key| key.name).collect();
    known.push(NAME);
    let tables = tables.iter().filter_map(|table| match table.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    });
    tables
        .enumerate()
        .map(|(at, table)| {
            let named = table.get(NAME).and_then(|name| name.get_ref().as_str());
            let name = named.map_or_else(|| (at + 1).to_string(), str::to_owned);
            let place = format!("[[{TABLE}]] {name:?}");
            check_keys(text, &place, table, &known, faults);
            let mut reader = Reader::new(text, place, Some(table), faults);
            let name = reader.value(NAME, || name);
            let ims = Ims::read_over(&mut reader, ims);
            Tenant { name, ims }
        })
        .collect()
}

/// Finds what does not go together.
pub(super) fn check(tenants: &[Tenant], ims: &Ims, faults: &mut Vec<Fault>) {
    if !tenants.is_empty() && !ims.home_domains.is_empty() {
        faults.push(fault(
            "[ims] home_domains: say in each [[tenant]] which domains are its own; [ims] then \
             only holds what they have in common",
        ));
    }
    for (at, tenant) in tenants.iter().enumerate() {
        let place = tenant.place();
        if tenant.name.is_empty() || !tenant.name.bytes().all(is_plain) {
            faults.push(fault(format!(
                "{place} name: must be letters, digits, \"-\" and \"_\""
            )));
        }
        tenant.ims.check(&place, faults);
        for other in &tenants[..at] {
            check_pair(other, tenant, faults);
        }
    }
}

fn check_pair(one: &Tenant, other: &Tenant, faults: &mut Vec<Fault>) {
    let place = other.place();
    if one.name == other.name {
        faults.push(fault(format!(
            "{place} name: is there twice; give each its own"
        )));
    }
    let shared = one.ims.home_domains.iter();
    for domain in shared.filter(|domain| other.ims.home_domains.contains(domain)) {
        faults.push(fault(format!(
            "{place} home_domains: {domain} is also {}'s; a user's domain says whose he is, so \
             leave it to one of them",
            one.place()
        )));
    }
    let has_one_port = |tenant: &Tenant| tenant.ims.profile != ProfileName::Gm;
    if has_one_port(one) && has_one_port(other) && one.ims.port == other.ims.port {
        if one.ims.address == other.ims.address {
            faults.push(fault(format!(
                "{place} port: is also {}'s; give each its own port, or its own address",
                one.place()
            )));
        }
        return;
    }
    if has_one_port(one) || has_one_port(other) {
        return;
    }
    let (ours, theirs) = (&one.ims.ports.0, &other.ims.ports.0);
    let overlap = ours.start() <= theirs.end() && theirs.start() <= ours.end();
    if overlap && ours != theirs && one.ims.address == other.ims.address {
        faults.push(fault(format!(
            "{place} ports: overlap with {}'s; make them the same, or apart",
            one.place()
        )));
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The table's name in the file.
pub(super) const TABLE: &str = "tenant";
/// The key that `[ims]` does not have.
const NAME: &str = "name";
