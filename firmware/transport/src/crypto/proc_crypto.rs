//! `/proc/crypto`: which drivers the kernel has for an algorithm, in blocks of lines
//! `key : value` with an empty line between them.

use std::fs;

/// One driver of one algorithm.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    name: String,
    driver: String,
    priority: i64,
    is_internal: bool,
}

/// What the kernel lists now; nothing where it says nothing.
pub(super) fn read() -> Vec<Entry> {
    parse(&fs::read_to_string("/proc/crypto").unwrap_or_default())
}

/// The driver behind a name that the kernel was asked for: the one of the highest priority,
/// or the one of that very name.
pub(super) fn driver<'a>(entries: &'a [Entry], name: &str) -> Option<&'a str> {
    entries
        .iter()
        .filter(|entry| !entry.is_internal && (entry.name == name || entry.driver == name))
        .max_by_key(|entry| entry.priority)
        .map(|entry| entry.driver.as_str())
}

fn parse(text: &str) -> Vec<Entry> {
    text.split("\n\n")
        .filter_map(|block| {
            let value = |key: &str| {
                let mut lines = block.lines().filter_map(|line| line.split_once(':'));
                lines
                    .find(|(k, _)| k.trim() == key)
                    .map(|(_, value)| value.trim())
            };
            Some(Entry {
                name: value("name")?.to_owned(),
                driver: value("driver")?.to_owned(),
                priority: value("priority")?.parse().ok()?,
                is_internal: value("internal") == Some("yes"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_of_the_highest_priority_serves_a_name() {
        let entries = parse(LISTED);
        assert_eq!(entries.len(), 4);
        assert_eq!(driver(&entries, "gcm(aes)"), Some("gcm-aes-caam"));
        assert_eq!(driver(&entries, "gcm-aes-ce"), Some("gcm-aes-ce"));
        assert_eq!(driver(&entries, "hmac(sha1)"), None);
    }

    const LISTED: &str = "name         : gcm(aes)
driver       : gcm-aes-ce
module       : kernel
priority     : 300
internal     : no
type         : aead

name         : gcm(aes)
driver       : gcm-aes-caam
priority     : 3000
internal     : no
type         : aead

name         : gcm(aes)
driver       : cryptd(__gcm)
priority     : 9000
internal     : yes
type         : aead

name         : stdrng
driver       : drbg_nopr_hmac_sha512
priority     : 223
internal     : no
type         : rng

name : broken
";
}
