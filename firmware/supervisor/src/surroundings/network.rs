//! What the box has of a network: a cable, an address, a name service, the time of day; the
//! first that is missing is what a technician has to see to.

use std::net::IpAddr;
use std::path::Path;

use board_core::condition::Network;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use transport::clock;

/// What the box needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Needs {
    /// The addresses that it has towards its networks; any will do while there are none.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Interfaces, but for those that only lead back to this machine.
    pub(super) links: Vec<Link>,
    /// Whether the name service answered the last time; `None` if nobody needs it.
    pub(super) names: Option<bool>,
    /// Whether the time of day is known.
    pub(super) time: bool,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    name: String,
    /// It is set up, and something is at the other end of the cable.
    runs: bool,
    addresses: Vec<IpAddr>,
}

/// The first thing that is missing.
pub(super) fn judge(needs: &Needs, facts: &Facts) -> Network {
    let needed: Vec<IpAddr> = needs.addresses.clone();
    let is_local = !needed.is_empty() && needed.iter().all(IpAddr::is_loopback);
    if !is_local {
        let cables = judge_links(&needed, &facts.links);
        if cables != Network::Good {
            return cables;
        }
    }
    if facts.names == Some(false) {
        return Network::NoNameService;
    }
    if !facts.time {
        return Network::NoTime;
    }
    Network::Good
}

fn judge_links(needed: &[IpAddr], links: &[Link]) -> Network {
    if links.iter().all(|link| !link.runs) {
        return Network::NoLink;
    }
    let needed: Vec<&IpAddr> = needed.iter().filter(|it| !it.is_loopback()).collect();
    if needed.is_empty() {
        let mut alive = links.iter().filter(|link| link.runs);
        let has_one = alive.any(|link| link.addresses.iter().any(|it| !is_link_local(it)));
        return if has_one {
            Network::Good
        } else {
            Network::NoAddress
        };
    }
    for address in needed {
        match links.iter().find(|link| link.addresses.contains(address)) {
            Some(link) if link.runs => {}
            Some(_) => return Network::NoLink,
            None => return Network::NoAddress,
        }
    }
    Network::Good
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The machine's interfaces, as the kernel lists them.
pub(super) fn links() -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    let Ok(all) = getifaddrs() else {
        return links;
    };
    for entry in all {
        if entry.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let needed = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let runs = entry.flags.contains(needed);
        let at = links
            .iter()
            .position(|link| link.name == entry.interface_name);
        let at = at.unwrap_or_else(|| {
            links.push(Link {
                name: entry.interface_name.clone(),
                runs,
                addresses: Vec::new(),
            });
            links.len() - 1
        });
        let address = entry.address.as_ref();
        let v4 = address.and_then(|it| it.as_sockaddr_in()).map(|it| it.ip());
        let v6 = address
            .and_then(|it| it.as_sockaddr_in6())
            .map(|it| it.ip());
        links[at].addresses.extend(v4.map(IpAddr::V4));
        links[at].addresses.extend(v6.map(IpAddr::V6));
    }
    links
}

/// Whether the time of day is known: by a time server since the start, or by a clock that
/// runs on without power. A machine that says nothing of either has the word of its clock.
pub(super) fn has_time(root: &Path) -> bool {
    if clock::now().wall.is_none() {
        return false;
    }
    // systemd-timesyncd(8): there once the clock was set by a server.
    let service = root.join("run/systemd/timesync");
    let is_set = service.join("synchronized").exists();
    is_set || !service.is_dir() || has_clock_of_its_own(root)
}

/// A battery's clock set the system's at the start, as the kernel says (`hctosys`).
fn has_clock_of_its_own(root: &Path) -> bool {
    let clocks = std::fs::read_dir(root.join("sys/class/rtc"));
    let mut clocks = clocks.into_iter().flatten().flatten();
    clocks.any(|clock| {
        let file = clock.path().join("hctosys");
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_thing_that_is_missing_is_named() {
        let ims = Needs {
            addresses: vec![address("192.0.2.7")],
        };
        let mut facts = Facts::default();
        assert_eq!(judge(&ims, &facts), Network::NoLink);
        facts.links = vec![link(false, &["192.0.2.7"])];
        assert_eq!(judge(&ims, &facts), Network::NoLink);
        facts.links = vec![link(true, &["169.254.3.4"])];
        assert_eq!(judge(&ims, &facts), Network::NoAddress);
        facts.links = vec![link(true, &["192.0.2.7"])];
        facts.names = Some(false);
        assert_eq!(judge(&ims, &facts), Network::NoNameService);
        facts.names = Some(true);
        assert_eq!(judge(&ims, &facts), Network::NoTime);
        facts.time = true;
        assert_eq!(judge(&ims, &facts), Network::Good);
    }

    #[test]
    fn another_cable_than_the_one_to_the_core_does_not_count() {
        let ims = Needs {
            addresses: vec![address("192.0.2.7")],
        };
        let links = vec![link(true, &["198.51.100.1"]), link(false, &["192.0.2.7"])];
        let facts = facts(links);
        assert_eq!(judge(&ims, &facts), Network::NoLink);
    }

    #[test]
    fn a_box_that_does_not_know_its_address_yet_takes_any_but_a_makeshift_one() {
        let new = Needs::default();
        let links = vec![link(true, &["fe80::1"])];
        assert_eq!(judge(&new, &facts(links)), Network::NoAddress);
        let links = vec![link(true, &["fe80::1", "2001:db8::7"])];
        assert_eq!(judge(&new, &facts(links)), Network::Good);
    }

    #[test]
    fn a_core_on_this_machine_needs_no_cable() {
        let demo = Needs {
            addresses: vec![address("127.0.0.1")],
        };
        assert_eq!(judge(&demo, &facts(Vec::new())), Network::Good);
    }

    #[test]
    fn the_time_is_known_by_a_server_or_a_battery() {
        let root = std::env::temp_dir().join(format!("gatehouse-time-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        assert!(has_time(&root), "nothing says otherwise");
        let service = root.join("run/systemd/timesync");
        std::fs::create_dir_all(&service).unwrap();
        assert!(!has_time(&root), "no server has answered");
        let clock = root.join("sys/class/rtc/rtc0");
        std::fs::create_dir_all(&clock).unwrap();
        std::fs::write(clock.join("hctosys"), "0\n").unwrap();
        assert!(!has_time(&root), "its clock had nothing to say");
        std::fs::write(clock.join("hctosys"), "1\n").unwrap();
        assert!(has_time(&root));
        std::fs::remove_file(clock.join("hctosys")).unwrap();
        std::fs::write(service.join("synchronized"), "").unwrap();
        assert!(has_time(&root));
        let _ = std::fs::remove_dir_all(root);
    }

    #[test]
    fn the_kernel_lists_no_interface_that_leads_nowhere_else() {
        assert!(links().iter().all(|link| link.name != "lo"));
    }

    fn facts(links: Vec<Link>) -> Facts {
        Facts {
            links,
            names: None,
            time: true,
        }
    }

    fn link(runs: bool, addresses: &[&str]) -> Link {
        Link {
            name: format!("eth-{}", addresses[0]),
            runs,
            addresses: addresses.iter().map(|text| address(text)).collect(),
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
