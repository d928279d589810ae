//! How many connections one source and all sources together may hold, and how fast
//! a source may open them. What is refused here costs the box a table look-up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Limits of the access listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of any kind, from everybody.
    pub connections: usize,
    /// WebSockets, from everybody.
    pub flows: usize,
    /// WebSockets from one source: an IPv4 address, or an IPv6 /64.
    pub flows_per_source: usize,
    /// New connections a second from one neighbourhood: an IPv4 /24, or an IPv6 /56.
    pub accepts_per_second: u32,
}

/// Counts who is here; the listener and its connections share it.
#[derive(Clone, Debug)]
pub struct Admission {
    limits: Limits,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    connections: usize,
    flows: usize,
    per_source: BTreeMap<IpAddr, usize>,
    buckets: BTreeMap<IpAddr, Bucket>,
}

/// What a neighbourhood may still open.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    table: Arc<Mutex<Table>>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Connection,
    Flow(IpAddr),
}

impl Admission {
    /// Starts with nobody inside.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Admission {
            limits,
            table: Arc::default(),
        }
    }

    /// A place for a new connection, before anything was read from it.
    #[must_use]
    pub fn connection(&self, from: IpAddr, now: Instant) -> Option<Place> {
        let mut table = lock(&self.table);
        if table.connections >= self.limits.connections
            || !table.take_token(from, &self.limits, now)
        {
            return None;
        }
        table.connections += 1;
        Some(Place {
            table: Arc::clone(&self.table),
            kind: Kind::Connection,
        })
    }

    /// A place for a WebSocket, after its handshake proved good.
    #[must_use]
    pub fn flow(&self, from: IpAddr) -> Option<Place> {
        let source = source(from);
        let mut table = lock(&self.table);
        let held = table.per_source.get(&source).copied().unwrap_or(0);
        if table.flows >= self.limits.flows || held >= self.limits.flows_per_source {
            return None;
        }
        table.flows += 1;
        table.per_source.insert(source, held + 1);
        Some(Place {
            table: Arc::clone(&self.table),
            kind: Kind::Flow(source),
        })
    }
}

impl Table {
    fn take_token(&mut self, from: IpAddr, limits: &Limits, now: Instant) -> bool {
        let rate = f64::from(limits.accepts_per_second);
        let full = rate * BURST.as_secs_f64();
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets
                .retain(|_, bucket| now.duration_since(bucket.filled_at) < BURST);
        }
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&neighbourhood(from)) {
            return false;
        }
        let bucket = self.buckets.entry(neighbourhood(from)).or_insert(Bucket {
            tokens: full,
            filled_at: now,
        });
        let passed = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(full);
        bucket.filled_at = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        match self.kind {
            Kind::Connection => table.connections -= 1,
            Kind::Flow(source) => {
                table.flows -= 1;
                if let Some(held) = table.per_source.get_mut(&source) {
                    *held -= 1;
                    if *held == 0 {
                        table.per_source.remove(&source);
                    }
                }
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> std::sync::MutexGuard<'_, Table> {
    // Every change leaves the table whole, so a holder that panicked harms nobody.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One subscriber's premises, as far as an address tells.
fn source(address: IpAddr) -> IpAddr {
    prefix(address, 32, 64)
}

/// What one attacker can easily own.
fn neighbourhood(address: IpAddr) -> IpAddr {
    prefix(address, 24, 56)
}

fn prefix(address: IpAddr, v4: u32, v6: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & (u32::MAX << (32 - v4)))),
        IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & (u128::MAX << (128 - v6)))),
    }
}

/// A neighbourhood may open at once what it may open in this time.
const BURST: Duration = Duration::from_secs(4);
/// Neighbourhoods remembered at once.
const MAX_BUCKETS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission::new(Limits {
            connections: 100,
            flows: 3,
            flows_per_source: 2,
            accepts_per_second: 2,
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_share_of_flows_and_gets_it_back() {
        let admission = admission();
        let first = admission.flow(ip("2001:db8::1"));
        let second = admission.flow(ip("2001:db8::2"));
        assert!(first.is_some() && second.is_some());
        assert!(admission.flow(ip("2001:db8::3")).is_none(), "same /64");
        let other = admission.flow(ip("192.0.2.1"));
        assert!(other.is_some());
        assert!(admission.flow(ip("192.0.2.2")).is_none(), "house full");
        drop(first);
        assert!(admission.flow(ip("192.0.2.2")).is_some());
    }

    #[test]
    fn a_neighbourhood_that_knocks_too_often_waits() {
        let admission = admission();
        let now = Instant::now();
        let let_in = (0..20)
            .filter(|n| {
                admission
                    .connection(ip(&format!("192.0.2.{n}")), now)
                    .is_some()
            })
            .count();
        assert_eq!(let_in, 8, "four seconds' worth at once");
        assert!(admission.connection(ip("198.51.100.1"), now).is_some());
        let later = now + Duration::from_secs(1);
        assert!(admission.connection(ip("192.0.2.99"), later).is_some());
    }
}
