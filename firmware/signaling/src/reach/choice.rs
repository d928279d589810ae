//! From a name to the servers behind it, in the order in which they are tried: RFC 3263
//! §4.1 and §4.2, and the weights of RFC 2782.

use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::cache::{Cache, Found};
use super::records::{Naptr, Question, RecordKind, Records, Srv};
use crate::config::{AddressFamily, Host, HostName, NextHop};
use crate::id::SipTransport;
use crate::message::{self, SipUri};

/// One server to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is reached.
    pub transport: SipTransport,
}

impl Hop {
    /// `sip:<address>:<port>`, with its transport where that is not what the scheme says
    /// (RFC 3261 §19.1.1).
    #[must_use]
    pub fn uri(&self) -> SipUri {
        let uri = SipUri::new(
            &message::Host::from(self.address.ip()),
            Some(self.address.port()),
        );
        match self.transport {
            SipTransport::Tcp => uri.with_param("transport", "tcp"),
            SipTransport::Udp | SipTransport::Tls => uri,
        }
    }
}

/// Where the search has come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// These, in tiers that are tried one after the other.
    Found(Vec<Tier>),
    /// The name service was asked and has not answered.
    Pending,
    /// There is nothing.
    Nowhere,
}

/// Servers of the same rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tier(Vec<Weighed>);

/// One host of a tier: all its addresses, which share its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weighed {
    weight: u16,
    hops: Vec<Hop>,
}

/// Finds the servers of a next hop.
pub(crate) fn locate(next_hop: &NextHop, cache: &mut Cache, now: Instant) -> Located {
    let mut search = Search {
        cache,
        now,
        family: next_hop.family,
        is_pending: false,
    };
    let transport = next_hop.usual_transport();
    let tiers = match (&next_hop.host, next_hop.port) {
        (Host::Address(address), port) => {
            let port = port.unwrap_or(default_port(transport));
            let address = SocketAddr::new(*address, port);
            vec![Tier::of(vec![Hop { address, transport }])]
        }
        (Host::Name(name), Some(port)) => search.host(name, port, transport).into_iter().collect(),
        (Host::Name(name), None) => search.domain(name, &next_hop.transports, transport),
    };
    match (tiers.is_empty(), search.is_pending) {
        (false, false) => Located::Found(tiers),
        // The best may be among what is not known yet: it is waited for.
        (_, true) => Located::Pending,
        (true, false) => Located::Nowhere,
    }
}

/// All servers in an order to try them in; servers of a tier by their weight.
pub(crate) fn in_order(tiers: &[Tier], rng: &mut ChaCha20Rng) -> Vec<Hop> {
    let mut order = Vec::new();
    for tier in tiers {
        for weighed in shuffled(&tier.0, rng) {
            for hop in &weighed.hops {
                if !order.contains(hop) {
                    order.push(*hop);
                }
            }
        }
    }
    order
}

struct Search<'a> {
    cache: &'a mut Cache,
    now: Instant,
    family: AddressFamily,
    is_pending: bool,
}

impl Search<'_> {
    /// RFC 3263 §4.1: NAPTR, then SRV, then addresses.
    fn domain(
        &mut self,
        name: &HostName,
        allowed: &[SipTransport],
        usual: SipTransport,
    ) -> Vec<Tier> {
        let services = self.services(name, allowed);
        let mut tiers = Vec::new();
        for (transport, way) in &services {
            match way {
                Way::Srv(name) => tiers.extend(self.service(name, *transport)),
                Way::Host(name) => {
                    tiers.extend(self.host(name, default_port(*transport), *transport));
                }
            }
        }
        if tiers.is_empty() && !self.is_pending {
            tiers.extend(self.host(name, default_port(usual), usual));
        }
        tiers
    }

    /// The transports to try and where to look them up.
    fn services(&mut self, name: &HostName, allowed: &[SipTransport]) -> Vec<(SipTransport, Way)> {
        let usable = match self.ask(name, RecordKind::Naptr) {
            Some(Records::Naptr(records)) => usable(&records, allowed),
            _ => Vec::new(),
        };
        if !usable.is_empty() || self.is_pending {
            return usable;
        }
        // No NAPTR record: each transport is asked for (RFC 3263 §4.1).
        let named = |transport: &SipTransport| {
            let name = HostName::parse(&format!("{}.{name}", srv_labels(*transport)))?;
            Some((*transport, Way::Srv(name)))
        };
        allowed.iter().filter_map(named).collect()
    }

    /// The tiers of a service, RFC 2782.
    fn service(&mut self, name: &HostName, transport: SipTransport) -> Vec<Tier> {
        let Some(Records::Srv(mut records)) = self.ask(name, RecordKind::Srv) else {
            return Vec::new();
        };
        records.truncate(RECORDS);
        // By target besides, so that the order of an answer decides nothing.
        records
            .sort_by(|a, b| (a.priority, &a.target, a.port).cmp(&(b.priority, &b.target, b.port)));
        let priorities = records.chunk_by(|a, b| a.priority == b.priority);
        let tiers = priorities.map(|tier| {
            let weighed = tier
                .iter()
                .filter_map(|record| self.weigh(record, transport));
            Tier(weighed.collect())
        });
        tiers.filter(|tier| !tier.0.is_empty()).collect()
    }

    fn weigh(&mut self, record: &Srv, transport: SipTransport) -> Option<Weighed> {
        let hops = self.hops(&record.target, record.port, transport);
        let weight = record.weight;
        (!hops.is_empty()).then_some(Weighed { weight, hops })
    }

    fn host(&mut self, name: &HostName, port: u16, transport: SipTransport) -> Option<Tier> {
        let hops = self.hops(name, port, transport);
        (!hops.is_empty()).then(|| Tier::of(hops))
    }

    fn hops(&mut self, name: &HostName, port: u16, transport: SipTransport) -> Vec<Hop> {
        let kind = match self.family {
            AddressFamily::V4 => RecordKind::A,
            AddressFamily::V6 => RecordKind::Aaaa,
        };
        let Some(Records::Addresses(addresses)) = self.ask(name, kind) else {
            return Vec::new();
        };
        let hop = |address| Hop {
            address: SocketAddr::new(address, port),
            transport,
        };
        addresses.into_iter().take(RECORDS).map(hop).collect()
    }

    fn ask(&mut self, name: &HostName, kind: RecordKind) -> Option<Records> {
        let name = name.clone();
        match self.cache.find(&Question { name, kind }, self.now) {
            Found::Records(records) => Some(records.clone()),
            Found::Pending => {
                self.is_pending = true;
                None
            }
            Found::Nothing | Found::Failed => None,
        }
    }
}

/// Where a NAPTR record points.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Srv(HostName),
    Host(HostName),
}

impl Tier {
    fn of(hops: Vec<Hop>) -> Self {
        Tier(vec![Weighed { weight: 0, hops }])
    }

    /// Its servers.
    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop> {
        self.0
            .iter()
            .flat_map(|weighed| weighed.hops.iter().copied())
    }
}

/// The records that can be used: of the lowest order with any, by preference (RFC 3403 §4.1).
fn usable(records: &[Naptr], allowed: &[SipTransport]) -> Vec<(SipTransport, Way)> {
    let readable = |record: &Naptr| {
        let transport = service(&record.service).filter(|it| allowed.contains(it))?;
        let name = record.replacement.clone();
        let way = match record.flags.to_ascii_lowercase().as_str() {
            "s" => Way::Srv(name),
            "a" => Way::Host(name),
            _ => return None,
        };
        Some((record.order, record.preference, transport, way))
    };
    let mut all: Vec<_> = records.iter().filter_map(readable).collect();
    all.sort_by_key(|(order, preference, transport, _)| (*order, *preference, *transport));
    let first = all.first().map(|(order, ..)| *order);
    all.into_iter()
        .filter(|(order, ..)| Some(*order) == first)
        .map(|(.., transport, way)| (transport, way))
        .take(RECORDS)
        .collect()
}

/// RFC 3263 §4.1; a transport over WebSocket is for clients.
fn service(text: &str) -> Option<SipTransport> {
    match text.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(SipTransport::Udp),
        "SIP+D2T" => Some(SipTransport::Tcp),
        "SIPS+D2T" => Some(SipTransport::Tls),
        _ => None,
    }
}

fn srv_labels(transport: SipTransport) -> &'static str {
    match transport {
        SipTransport::Udp => "_sip._udp",
        SipTransport::Tcp => "_sip._tcp",
        SipTransport::Tls => "_sips._tcp",
    }
}

/// RFC 3261 §19.1.2.
pub(crate) fn default_port(transport: SipTransport) -> u16 {
    match transport {
        SipTransport::Udp | SipTransport::Tcp => 5060,
        SipTransport::Tls => 5061,
    }
}

/// RFC 2782: those of weight 0 first, then each in turn by chance, with its share of what
/// is left.
fn shuffled<'a>(tier: &'a [Weighed], rng: &mut ChaCha20Rng) -> Vec<&'a Weighed> {
    let mut left: Vec<&Weighed> = tier.iter().collect();
    left.sort_by_key(|weighed| weighed.weight > 0);
    let mut order = Vec::with_capacity(left.len());
    while left.len() > 1 {
        let sum: u64 = left.iter().map(|weighed| u64::from(weighed.weight)).sum();
        let drawn = rng.next_u64() % (sum + 1);
        let mut running = 0;
        let at = left.iter().position(|weighed| {
            running += u64::from(weighed.weight);
            running >= drawn
        });
        order.push(left.remove(at.unwrap_or(0)));
    }
    order.extend(left);
    order
}

/// More records of one answer than this are not looked at.
const RECORDS: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use rand_core::SeedableRng;

    use super::*;
    use crate::reach::records::Resolution;
    use SipTransport::{Tcp, Tls, Udp};

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn domain(port: Option<u16>, transports: &[SipTransport]) -> NextHop {
        NextHop {
            host: Host::Name(name("ims.test")),
            port,
            transports: transports.to_vec(),
            family: AddressFamily::V4,
        }
    }

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "S".to_owned(),
            service: service.to_owned(),
            replacement: name(replacement),
        }
    }

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port: 5070,
            target: name(target),
        }
    }

    /// A name service with these records; returns what was asked, in order.
    fn answer(next_hop: &NextHop, zone: &[(&str, RecordKind, Records)]) -> (Located, Vec<String>) {
        let (mut cache, now) = (Cache::new(1, 1), Instant::now());
        let mut asked = Vec::new();
        loop {
            let located = locate(next_hop, &mut cache, now);
            let mut is_asked = false;
            while let Some((query, question)) = cache.pop_query() {
                is_asked = true;
                asked.push(format!("{:?} {}", question.kind, question.name));
                let found = zone.iter().find(|(owner, kind, _)| {
                    *owner == question.name.as_str() && *kind == question.kind
                });
                let ttl = Duration::from_secs(60);
                let resolution = match found {
                    Some((.., records)) => Resolution::Found {
                        records: records.clone(),
                        ttl,
                    },
                    None => Resolution::Nothing { ttl },
                };
                assert!(cache.handle_resolved(query, resolution, now));
            }
            if !is_asked {
                return (located, asked);
            }
        }
    }

    fn addresses(last: u8) -> Records {
        Records::Addresses(vec![[192, 0, 2, last].into()])
    }

    fn hops(located: Located) -> Vec<String> {
        let Located::Found(tiers) = located else {
            panic!("{located:?}");
        };
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let shown = |hop: Hop| format!("{} {}", hop.transport.via_token(), hop.address);
        in_order(&tiers, &mut rng).into_iter().map(shown).collect()
    }

    #[test]
    fn a_domain_is_looked_up_by_naptr_then_srv_then_address() {
        let zone = [
            (
                "ims.test",
                RecordKind::Naptr,
                Records::Naptr(vec![
                    naptr(20, 1, "SIP+D2U", "_sip._udp.later.test"),
                    naptr(10, 20, "SIP+D2U", "_sip._udp.pool.test"),
                    naptr(10, 10, "SIP+D2T", "_sip._tcp.pool.test"),
                    naptr(10, 5, "SIPS+D2T", "_sips._tcp.pool.test"),
                ]),
            ),
            (
                "_sip._tcp.pool.test",
                RecordKind::Srv,
                Records::Srv(vec![srv(1, 0, "t.test")]),
            ),
            (
                "_sip._udp.pool.test",
                RecordKind::Srv,
                Records::Srv(vec![srv(2, 0, "b.test"), srv(1, 0, "a.test")]),
            ),
            ("a.test", RecordKind::A, addresses(1)),
            ("b.test", RecordKind::A, addresses(2)),
            ("t.test", RecordKind::A, addresses(3)),
        ];
        let (located, asked) = answer(&domain(None, &[Udp, Tcp]), &zone);
        assert_eq!(
            hops(located),
            [
                "TCP 192.0.2.3:5070",
                "UDP 192.0.2.1:5070",
                "UDP 192.0.2.2:5070"
            ]
        );
        assert_eq!(
            asked,
            [
                "Naptr ims.test",
                "Srv _sip._tcp.pool.test",
                "Srv _sip._udp.pool.test",
                "A t.test",
                "A a.test",
                "A b.test",
            ]
        );
    }

    #[test]
    fn without_naptr_each_allowed_transport_is_asked_for_by_srv() {
        let zone = [
            (
                "_sips._tcp.ims.test",
                RecordKind::Srv,
                Records::Srv(vec![srv(1, 0, "a.test")]),
            ),
            ("a.test", RecordKind::A, addresses(1)),
        ];
        let (located, asked) = answer(&domain(None, &[Udp, Tls]), &zone);
        assert_eq!(hops(located), ["TLS 192.0.2.1:5070"]);
        assert_eq!(
            asked[..3],
            [
                "Naptr ims.test",
                "Srv _sip._udp.ims.test",
                "Srv _sips._tcp.ims.test"
            ]
        );
    }

    #[test]
    fn without_srv_the_domain_itself_is_the_host_on_the_usual_port() {
        let zone = [("ims.test", RecordKind::A, addresses(1))];
        let (located, _) = answer(&domain(None, &[Udp, Tcp]), &zone);
        assert_eq!(hops(located), ["UDP 192.0.2.1:5060"]);
        let (located, _) = answer(&domain(None, &[Tls]), &zone);
        assert_eq!(hops(located), ["TLS 192.0.2.1:5061"]);
    }

    #[test]
    fn a_port_skips_naptr_and_srv() {
        let zone = [("ims.test", RecordKind::A, addresses(1))];
        let (located, asked) = answer(&domain(Some(5080), &[Tcp]), &zone);
        assert_eq!(hops(located), ["TCP 192.0.2.1:5080"]);
        assert_eq!(asked, ["A ims.test"]);
    }

    #[test]
    fn an_address_is_asked_about_nowhere() {
        let mut next_hop = domain(None, &[Tls]);
        next_hop.host = Host::Address([192, 0, 2, 9].into());
        let (located, asked) = answer(&next_hop, &[]);
        assert_eq!(hops(located), ["TLS 192.0.2.9:5061"]);
        assert!(asked.is_empty());
    }

    #[test]
    fn a_name_without_anything_is_nowhere() {
        let (located, _) = answer(&domain(None, &[Udp]), &[]);
        assert_eq!(located, Located::Nowhere);
    }

    #[test]
    fn servers_of_a_priority_share_by_weight() {
        let zone = [
            (
                "_sip._udp.ims.test",
                RecordKind::Srv,
                Records::Srv(vec![
                    srv(1, 75, "a.test"),
                    srv(1, 25, "b.test"),
                    srv(1, 0, "c.test"),
                ]),
            ),
            ("a.test", RecordKind::A, addresses(1)),
            ("b.test", RecordKind::A, addresses(2)),
            ("c.test", RecordKind::A, addresses(3)),
        ];
        let (located, _) = answer(&domain(None, &[Udp]), &zone);
        let Located::Found(tiers) = located else {
            panic!("{located:?}");
        };
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut firsts = BTreeMap::<u8, u32>::new();
        for _ in 0..10_000 {
            let order = in_order(&tiers, &mut rng);
            assert_eq!(order.len(), 3);
            let std::net::IpAddr::V4(address) = order[0].address.ip() else {
                panic!("IPv4");
            };
            *firsts.entry(address.octets()[3]).or_default() += 1;
        }
        assert!((7_200..7_700).contains(&firsts[&1]), "{firsts:?}");
        assert!((2_200..2_700).contains(&firsts[&2]), "{firsts:?}");
        assert!((30..200).contains(&firsts[&3]), "{firsts:?}");
    }

    #[test]
    fn ipv6_is_asked_for_where_the_box_speaks_it() {
        let mut next_hop = domain(Some(5060), &[Udp]);
        next_hop.family = AddressFamily::V6;
        let records = Records::Addresses(vec!["2001:db8::1".parse().unwrap()]);
        let (located, _) = answer(&next_hop, &[("ims.test", RecordKind::Aaaa, records)]);
        assert_eq!(hops(located), ["UDP [2001:db8::1]:5060"]);
    }
}
