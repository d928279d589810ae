//! Which ports are open, by the kernel's own tables, compared with the list in `hwtest/ports.txt`.

use std::collections::BTreeSet;

use anyhow::bail;

/// The documented list.
const LIST: &str = include_str!("../../ports.txt");

/// Compares; the listing is `/proc/net/tcp` and `tcp6`, the word `udp`, `/proc/net/udp` and `udp6`.
pub(super) fn compare(listing: &str) -> anyhow::Result<String> {
    let (open, wanted) = (open(listing), documented());
    if open != wanted {
        bail!("open are {open:?}, documented are {wanted:?}");
    }
    Ok(open.into_iter().collect::<Vec<_>>().join(" "))
}

fn documented() -> BTreeSet<String> {
    LIST.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{}/{}", words.next()?, words.next()?))
        })
        .collect()
}

/// What anybody can send to: not the loopback interface, not the far end of a connection.
fn open(listing: &str) -> BTreeSet<String> {
    let (tcp, udp) = listing.split_once("udp").unwrap_or((listing, ""));
    let of = |text: &str, name: &str, state: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [_, local, _, this_state, ..] = words[..] else {
                    return None;
                };
                let (address, port) = local.split_once(':')?;
                let port = u16::from_str_radix(port, 16).ok()?;
                let loopback = address.ends_with("7F") || address == LOOPBACK_6;
                (this_state == state && !loopback).then(|| format!("{name}/{port}"))
            })
            .collect()
    };
    of(tcp, "tcp", "0A")
        .into_iter()
        .chain(of(udp, "udp", "07"))
        .collect()
}

/// `::1` as the kernel's tables have it.
const LOOPBACK_6: &str = "00000000000000000000000001000000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_ports_are_found_and_connections_and_loopback_are_not() {
        let listing = "  sl  local_address rem_address   st\n\
            0: 00000000:01BB 00000000:0000 0A 0 0\n\
            1: 0100007F:1F90 00000000:0000 0A 0 0\n\
            2: 020200C0:01BB 010200C0:8000 01 0 0\n\
            udp\n  sl  local_address rem_address   st\n\
            0: 00000000:5DC0 00000000:0000 07 0 0\n\
            1: 020200C0:9000 010200C0:007B 01 0 0\n";

        let open = open(listing);

        assert_eq!(
            open.into_iter().collect::<Vec<_>>(),
            ["tcp/443", "udp/24000"]
        );
    }
}
