//! Endpoints that talk by IPsec associations only (TS 33.203 §7.1): which of them may talk
//! with whom just now, and the kernel's half of it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use signaling::sec_agree::Associations;
use signaling::{EndpointId, SaFailure};

use crate::xfrm::Xfrm;

/// All associations of all users.
#[derive(Default)]
pub(super) struct Protected {
    /// None where no tenant has IPsec.
    xfrm: Option<Xfrm>,
    /// By their client port.
    sets: BTreeMap<EndpointId, [Pair; 2]>,
    /// How many associations let an endpoint talk with somebody.
    pairs: BTreeMap<Pair, usize>,
}

/// One of ours, and the port of a P-CSCF.
type Pair = (EndpointId, SocketAddr);

impl Protected {
    /// For tenants with IPsec whose users have these addresses; none is no IPsec. What an
    /// earlier life left there is removed.
    pub(super) fn new(own: &[IpAddr]) -> Self {
        let open = || -> io::Result<Xfrm> {
            let mut xfrm = Xfrm::open()?;
            let left = xfrm.clean(own)?;
            if left > 0 {
                tracing::info!(left, "IPsec associations of an earlier life removed");
            }
            Ok(xfrm)
        };
        let opened = (!own.is_empty()).then(open).transpose();
        let xfrm = opened.unwrap_or_else(|error| {
            tracing::error!(%error, "no IPsec");
            None
        });
        Protected {
            xfrm,
            ..Protected::default()
        }
    }

    pub(super) fn install(&mut self, set: &Associations) -> Result<(), SaFailure> {
        let xfrm = self.xfrm.as_mut().ok_or(SaFailure::Unsupported)?;
        if let Err(error) = xfrm.install(set) {
            tracing::warn!(%error, "IPsec associations could not be made");
            return Err(failure_of(&error));
        }
        let [requests, .., answers] = &set.ways;
        let pairs = [(set.client, requests.to), (set.server, answers.to)];
        for pair in pairs {
            *self.pairs.entry(pair).or_default() += 1;
        }
        self.sets.insert(set.client, pairs);
        Ok(())
    }

    pub(super) fn extend(&mut self, set: &Associations) {
        let extended = self.xfrm.as_mut().map(|xfrm| xfrm.extend(set));
        if let Some(Err(error)) = extended {
            tracing::warn!(%error, "IPsec associations will not last as long as they should");
        }
    }

    pub(super) fn delete(&mut self, client: EndpointId) {
        let Some(pairs) = self.sets.remove(&client) else {
            return;
        };
        for pair in pairs {
            if let Some(count) = self.pairs.get_mut(&pair) {
                *count -= 1;
                if *count == 0 {
                    self.pairs.remove(&pair);
                }
            }
        }
        let deleted = self.xfrm.as_mut().map(|xfrm| xfrm.delete(client));
        if let Some(Err(error)) = deleted {
            tracing::warn!(%error, "IPsec associations could not be removed");
        }
    }

    /// The endpoint is closed.
    pub(super) fn close(&mut self, endpoint: EndpointId) {
        let is_his = |(client, pairs): (&EndpointId, &[Pair; 2])| {
            (*client == endpoint || pairs[1].0 == endpoint).then_some(*client)
        };
        for client in self.sets.iter().filter_map(is_his).collect::<Vec<_>>() {
            self.delete(client);
        }
    }

    /// Whether there are associations between the two. The kernel drops what comes past
    /// them.
    pub(super) fn may_talk(&self, endpoint: EndpointId, with: SocketAddr) -> bool {
        self.pairs.contains_key(&(endpoint, with))
    }
}

fn failure_of(error: &io::Error) -> SaFailure {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => SaFailure::Forbidden,
        Some(libc::EPROTONOSUPPORT | libc::ENOSYS | libc::ENOENT | libc::EOPNOTSUPP) => {
            SaFailure::Unsupported
        }
        _ => SaFailure::Refused,
    }
}
