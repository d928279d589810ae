//! The IMS port pairs of one worker: an even port for RTP and the next one for RTCP
//! (RFC 3550 §11), chosen at random, bound when they are given out, and left alone for
//! a while after use so that a late packet of one call never meets the next.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use iq::ImsAddress;
use media::PairId;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::socket::Udp;

/// All pairs of one worker.
pub(crate) struct Pairs {
    address: IpAddr,
    /// What descriptions say, if the network translates addresses.
    advertised: IpAddr,
    /// Even ports that may be taken.
    free: Vec<u16>,
    /// Even ports that rest, the longest first.
    resting: VecDeque<(Instant, u16)>,
    held: Vec<Option<Pair>>,
    unused_ids: Vec<u32>,
    rng: ChaCha20Rng,
    /// Ports of the range that something else on the box had taken.
    pub(crate) bind_failures: u64,
}

/// Two bound sockets.
pub(crate) struct Pair {
    port: u16,
    pub(crate) rtp: Udp,
    pub(crate) rtcp: Udp,
}

impl Pairs {
    pub(crate) fn new(
        address: IpAddr,
        advertised: IpAddr,
        ports: RangeInclusive<u16>,
        rng: ChaCha20Rng,
    ) -> Self {
        let last = *ports.end();
        Pairs {
            address,
            advertised,
            free: ports.filter(|port| port % 2 == 0 && *port < last).collect(),
            resting: VecDeque::new(),
            held: Vec::new(),
            unused_ids: Vec::new(),
            rng,
            bind_failures: 0,
        }
    }

    /// Binds a pair; its place, or `None` when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(PairId, ImsAddress)> {
        while let Some(&(rested_at, port)) = self.resting.front() {
            if rested_at > now {
                break;
            }
            self.resting.pop_front();
            self.free.push(port);
        }
        for _ in 0..ATTEMPTS {
            let port = self.choose()?;
            match self.bind(port) {
                Some(pair) => {
                    let id = self.unused_ids.pop().unwrap_or_else(|| {
                        self.held.push(None);
                        u32::try_from(self.held.len() - 1).expect("ports are fewer")
                    });
                    self.held[id as usize] = Some(pair);
                    let address = ImsAddress {
                        rtp: SocketAddr::new(self.advertised, port),
                        rtcp: SocketAddr::new(self.advertised, port + 1),
                    };
                    return Some((PairId(id), address));
                }
                None => {
                    self.bind_failures += 1;
                    self.resting.push_back((now + REST, port));
                }
            }
        }
        None
    }

    /// Closes a pair.
    pub(crate) fn give_back(&mut self, id: PairId, now: Instant) {
        if let Some(pair) = self.held.get_mut(id.0 as usize).and_then(Option::take) {
            self.unused_ids.push(id.0);
            self.resting.push_back((now + REST, pair.port));
        }
    }

    pub(crate) fn get(&self, id: PairId) -> Option<&Pair> {
        self.held.get(id.0 as usize)?.as_ref()
    }

    /// Pairs in use.
    pub(crate) fn in_use(&self) -> usize {
        self.held.len() - self.unused_ids.len()
    }

    /// Pairs that could be taken now or after their rest.
    pub(crate) fn left(&self) -> usize {
        self.free.len() + self.resting.len()
    }

    fn choose(&mut self) -> Option<u16> {
        let count = u64::try_from(self.free.len()).ok().filter(|&n| n > 0)?;
        let at = self.rng.next_u64() % count;
        Some(self.free.swap_remove(usize::try_from(at).ok()?))
    }

    fn bind(&self, port: u16) -> Option<Pair> {
        let bind = |port| Udp::bind(SocketAddr::new(self.address, port), RECEIVE_BUFFER).ok();
        Some(Pair {
            port,
            rtp: bind(port)?,
            rtcp: bind(port + 1)?,
        })
    }
}

/// How long a port is left alone after use.
const REST: Duration = Duration::from_secs(10);
/// Pairs tried before giving up.
const ATTEMPTS: u32 = 16;
/// Some seconds of one call's audio.
const RECEIVE_BUFFER: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn pairs(ports: RangeInclusive<u16>) -> Pairs {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Pairs::new(ip, ip, ports, ChaCha20Rng::from_seed([7; 32]))
    }

    #[test]
    fn a_pair_is_even_and_odd_and_rests_after_use() {
        let mut pairs = pairs(27001..=27005);
        let now = Instant::now();
        let (first, address) = pairs.take(now).unwrap();
        assert_eq!(address.rtp.port() % 2, 0);
        assert_eq!(address.rtcp.port(), address.rtp.port() + 1);
        let (second, _) = pairs.take(now).unwrap();
        assert!(
            pairs.take(now).is_none(),
            "27002 and 27004 are all there is"
        );
        assert_eq!((pairs.in_use(), pairs.left()), (2, 0));

        pairs.give_back(first, now);
        pairs.give_back(second, now);
        assert!(pairs.take(now).is_none(), "both rest");
        let later = now + REST;
        let (again, _) = pairs.take(later).unwrap();
        assert!(again.0 < 2, "places are used again");
        assert_eq!((pairs.in_use(), pairs.left()), (1, 1));
    }

    #[test]
    fn a_port_that_somebody_else_has_is_passed_over() {
        let mut pairs = pairs(27011..=27015);
        let taken = Udp::bind("127.0.0.1:27013".parse().unwrap(), 1 << 16).unwrap();
        let (_, address) = pairs.take(Instant::now()).unwrap();
        assert_eq!(address.rtp.port(), 27014);
        drop(taken);
    }
}
