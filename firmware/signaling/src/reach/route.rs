//! Where a request goes that follows its own Route, as everything but REGISTER does on Mw:
//! to the host of the topmost Route, else of the Request-URI (RFC 3261 §8.1.2), which may
//! be another for each registration and each call. Whom the core itself names in a
//! Service-Route is the core's, and believed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;

use super::choice::{self, Hop, Located, Tier};
use super::{Reach, Servers, Ways};
use crate::config::{Host, HostName, NextHop, TenantId};
use crate::id::SipTransport;
use crate::message::{SipUri, Uri};

/// Where such a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To one of these servers, in this order.
    To(Vec<Hop>),
    /// The same, but each of them asked to be left alone for so long.
    Resting(Vec<Hop>, Duration),
    /// The name service was asked first.
    Wait,
    /// The name has no servers.
    Nowhere,
    /// The URI names no host that could be sent to.
    Unnamed,
}

impl Reach {
    /// The way to what a URI names.
    pub(crate) fn way(
        &mut self,
        TenantId(tenant): TenantId,
        uri: &Uri,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Way {
        let servers = &mut self.tenants[tenant];
        let hop = uri.as_sip().and_then(|uri| hop_of(uri, &servers.next_hop));
        let Some(hop) = hop else {
            return Way::Unnamed;
        };
        let tiers = match choice::locate(&hop, &mut servers.cache, now) {
            Located::Found(tiers) => tiers,
            Located::Pending => return Way::Wait,
            Located::Nowhere => return Way::Nowhere,
        };
        if servers.named.contains(&hop) {
            let hops: BTreeSet<Hop> = tiers.iter().flat_map(Tier::hops).collect();
            if !hops.is_subset(&servers.named_hops) {
                servers.learn_named_hops(hops);
                self.watch(now, rng);
            }
        }
        let hops = choice::in_order(&tiers, rng);
        match self.sorted(hops.clone(), now, rng) {
            Ways::Known(hops) => Way::To(hops),
            Ways::Resting(time) => Way::Resting(hops, time),
            Ways::Wait | Ways::Nowhere => Way::Nowhere,
        }
    }

    /// The core says in a Service-Route that it is to be reached there: the answer is at
    /// hand when the first call is made, and what comes from there is listened to.
    pub(crate) fn name_core(&mut self, TenantId(tenant): TenantId, uri: &Uri, now: Instant) {
        let servers = &mut self.tenants[tenant];
        let hop = uri.as_sip().and_then(|uri| hop_of(uri, &servers.next_hop));
        let Some(hop) = hop else {
            return;
        };
        if !servers.named.contains(&hop) {
            if servers.named.len() >= NAMED {
                servers.named.remove(0);
            }
            servers.named.push(hop);
        }
        servers.learn_named(now);
    }
}

impl Servers {
    /// These are the core's, and it is watched how they stand.
    fn learn_named_hops(&mut self, hops: BTreeSet<Hop>) {
        if self.named_hops.len() > super::KNOWN_MAX {
            self.named_hops.clear();
        }
        self.named_hops.extend(hops);
    }

    /// Learns the addresses of what the core has named.
    pub(super) fn learn_named(&mut self, now: Instant) {
        for hop in &self.named {
            if let Located::Found(tiers) = choice::locate(hop, &mut self.cache, now) {
                let hops = tiers.iter().flat_map(Tier::hops);
                self.known.extend(hops.map(|hop| hop.address.ip()));
            }
        }
    }
}

/// RFC 3263 §4: what the URI itself says of the host, the port and the transport, and
/// the tenant's usual transports where it says none.
fn hop_of(uri: &SipUri, usual: &NextHop) -> Option<NextHop> {
    if uri.has_param("maddr") {
        return None; // Nobody in a core needs it, and it leads astray.
    }
    let transport = uri.param("transport").map(str::to_ascii_lowercase);
    let transports = match transport.as_deref() {
        None => usual.transports.clone(),
        Some("udp") => vec![SipTransport::Udp],
        Some("tcp") => vec![SipTransport::Tcp],
        Some("tls") => vec![SipTransport::Tls],
        Some(_) => return None,
    };
    let host = match uri.host().address() {
        Some(address) => Host::Address(address),
        None => Host::Name(HostName::parse(uri.host_text())?),
    };
    Some(NextHop {
        host,
        port: uri.port(),
        transports,
        family: usual.family,
    })
}

/// A core has a handful of S-CSCFs.
const NAMED: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use rand_core::SeedableRng;

    use super::*;
    use crate::config::Config;
    use crate::reach::{Records, Resolution};

    const ONLY: TenantId = TenantId(0);

    struct World {
        reach: Reach,
        now: Instant,
        rng: ChaCha20Rng,
    }

    impl World {
        fn new() -> Self {
            let hop = NextHop::address("192.0.2.1:5060".parse().unwrap(), SipTransport::Udp);
            let config = Config::new(HostName::parse("ims.test").unwrap(), hop);
            World {
                reach: Reach::new(&config),
                now: Instant::now(),
                rng: ChaCha20Rng::seed_from_u64(1),
            }
        }

        fn way(&mut self, uri: &str) -> Way {
            let uri = Uri::parse(uri).unwrap();
            self.reach.way(ONLY, &uri, self.now, &mut self.rng)
        }

        /// Answers every question with this address.
        fn resolve(&mut self, last: u8) -> usize {
            let mut asked = 0;
            while let Some((_, query, _)) = self.reach.pop_query() {
                asked += 1;
                let resolution = Resolution::Found {
                    records: Records::Addresses(vec![address(last).ip()]),
                    ttl: Duration::from_secs(60),
                };
                self.reach.handle_resolved(query, &resolution, self.now);
            }
            asked
        }
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 6060))
    }

    fn to(address: SocketAddr, transport: SipTransport) -> Way {
        Way::To(vec![Hop { address, transport }])
    }

    #[test]
    fn a_name_is_looked_up_once_and_an_address_never() {
        let mut world = World::new();
        let uri = "sip:orig@scscf.ims.test:6060;lr";
        assert_eq!([world.way(uri), world.way(uri)], [Way::Wait, Way::Wait]);
        assert_eq!(world.resolve(12), 1);
        assert_eq!(world.way(uri), to(address(12), SipTransport::Udp));
        assert_eq!(
            world.way("sip:192.0.2.7:6060;transport=tcp;lr"),
            to(address(7), SipTransport::Tcp)
        );
        assert_eq!(world.resolve(66), 0);
    }

    #[test]
    fn what_names_no_host_is_not_asked_about() {
        let mut world = World::new();
        for uri in [
            "tel:+1",
            "sip:a@b.test;transport=ws",
            "sip:a@b.test;maddr=10.0.0.1",
        ] {
            assert_eq!(world.way(uri), Way::Unnamed, "{uri}");
        }
        assert_eq!(world.resolve(66), 0);
    }

    #[test]
    fn only_what_the_core_named_is_believed_to_be_the_core() {
        let mut world = World::new();
        world.way("sip:far.test:5060;lr");
        world.resolve(66);
        for uri in ["sip:orig@scscf.ims.test:6060;lr", "sip:192.0.2.13;lr"] {
            let uri = Uri::parse(uri).unwrap();
            world.reach.name_core(ONLY, &uri, world.now);
        }
        world.resolve(12);
        let known = |last: u8| -> bool {
            let address: IpAddr = address(last).ip();
            world.reach.is_known(ONLY, address)
        };
        assert_eq!([12, 13, 66].map(known), [true, true, false]);
    }
}
