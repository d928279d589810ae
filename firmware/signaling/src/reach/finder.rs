//! One search for a next hop's servers, for who needs it once.

use std::time::Instant;

use super::cache::Cache;
use super::choice::{self, Hop, Located};
use super::records::{Question, Resolution};
use crate::config::NextHop;
use crate::id::QueryId;

/// Finds the servers of a next hop: feed it answers until it says that it is done.
#[derive(Debug)]
pub struct Finder {
    next_hop: NextHop,
    cache: Cache,
}

impl Finder {
    /// A search for these servers.
    #[must_use]
    pub fn new(next_hop: NextHop) -> Self {
        let cache = Cache::new(1, 1);
        Finder { next_hop, cache }
    }

    /// The servers found, none if there are none; `Err` are the questions to be answered
    /// first.
    ///
    /// # Errors
    /// What must be asked.
    pub fn servers(&mut self, now: Instant) -> Result<Vec<Hop>, Vec<(QueryId, Question)>> {
        match choice::locate(&self.next_hop, &mut self.cache, now) {
            Located::Found(tiers) => Ok(tiers.iter().flat_map(choice::Tier::hops).collect()),
            Located::Nowhere => Ok(Vec::new()),
            Located::Pending => Err(std::iter::from_fn(|| self.cache.pop_query()).collect()),
        }
    }

    /// Takes an answer.
    pub fn handle_resolved(&mut self, query: QueryId, resolution: Resolution, now: Instant) {
        self.cache.handle_resolved(query, resolution, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{AddressFamily, Host, HostName};
    use crate::id::SipTransport;
    use crate::reach::records::Records;

    #[test]
    fn a_search_asks_until_it_has_found_the_servers() {
        let mut finder = Finder::new(NextHop {
            host: Host::Name(HostName::parse("pcscf.ims.test").expect("a name")),
            port: Some(5070),
            transports: vec![SipTransport::Tcp],
            family: AddressFamily::V4,
        });
        let now = Instant::now();
        let asked = finder.servers(now).expect_err("a question");
        assert_eq!(asked.len(), 1);
        let resolution = Resolution::Found {
            records: Records::Addresses(vec![[192, 0, 2, 1].into()]),
            ttl: Duration::from_secs(1),
        };
        finder.handle_resolved(asked[0].0, resolution, now);
        let hop = Hop {
            address: ([192, 0, 2, 1], 5070).into(),
            transport: SipTransport::Tcp,
        };
        assert_eq!(finder.servers(now), Ok(vec![hop]));
    }
}
