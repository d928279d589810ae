//! What users say by IPsec (TS 33.203 §7.1, RFC 3329 §2.3): from which port an answer leaves,
//! and what a request says of the agreement.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::{EndpointId, SipTransport};
use crate::message::headers::{Mechanism, SecurityVerify};
use crate::message::{HeaderName, Headers};
use crate::sec_agree::Protected;
use crate::transaction::Peer;

/// The associations of all users that the network has accepted.
#[derive(Debug, Default)]
pub(crate) struct ProtectedWays {
    /// By the user's server port, the newest last.
    by_server: BTreeMap<EndpointId, Vec<Way>>,
    servers: BTreeMap<EndpointId, EndpointId>,
}

#[derive(Debug)]
struct Way {
    client: EndpointId,
    to: SocketAddr,
    from: SocketAddr,
    verify: Vec<Mechanism>,
}

impl ProtectedWays {
    pub(crate) fn begin(&mut self, server: EndpointId, way: &Protected<'_>) {
        let ways = self.by_server.entry(server).or_default();
        ways.retain(|other| other.client != way.client);
        ways.push(Way {
            client: way.client,
            to: way.to,
            from: way.from,
            verify: way.verify.to_vec(),
        });
        self.servers.insert(way.client, server);
    }

    /// A client port is closed.
    pub(crate) fn end(&mut self, client: EndpointId) {
        let Some(server) = self.servers.remove(&client) else {
            return;
        };
        if let Some(ways) = self.by_server.get_mut(&server) {
            ways.retain(|way| way.client != client);
            if ways.is_empty() {
                self.by_server.remove(&server);
            }
        }
    }

    /// What requests from a client port say back.
    pub(crate) fn verify(&self, client: EndpointId) -> Option<&[Mechanism]> {
        let ways = self.by_server.get(self.servers.get(&client)?)?;
        let way = ways.iter().find(|way| way.client == client)?;
        Some(&way.verify)
    }

    /// Whom something goes to. By datagram an answer goes where the topmost Via says: from
    /// the server port to the P-CSCF's client port, or from the client port to its server
    /// port. Nothing else is protected, so what would go elsewhere goes to where requests
    /// come from.
    pub(crate) fn of(&self, peer: Peer) -> Peer {
        let Peer::Ims {
            endpoint,
            transport: transport @ SipTransport::Udp,
            remote,
        } = peer
        else {
            return peer;
        };
        let Some(ways) = self.by_server.get(&endpoint) else {
            return peer;
        };
        if ways.iter().any(|way| way.from == remote) {
            return peer;
        }
        let mut newest_first = ways.iter().rev();
        let (endpoint, remote) = match newest_first.find(|way| way.to == remote) {
            Some(way) => (way.client, way.to),
            None => (endpoint, ways.last().map_or(remote, |way| way.from)),
        };
        Peer::Ims {
            endpoint,
            transport,
            remote,
        }
    }
}

/// Security-Verify, and that it is to be looked at: RFC 3329 §2.3.1.
pub(crate) fn agreed(verify: &[Mechanism], headers: &mut Headers) {
    headers.remove(&HeaderName::SecurityVerify);
    for mechanism in verify {
        headers.push_typed(&SecurityVerify(mechanism.clone()));
    }
    let required = headers.require().unwrap_or_default();
    if !required.iter().any(|tag| tag.is(SEC_AGREE)) {
        headers.push(HeaderName::Require, SEC_AGREE);
    }
    headers.replace(HeaderName::ProxyRequire, SEC_AGREE);
}

/// The option tag of RFC 3329 §2.3.
pub(crate) const SEC_AGREE: &str = "sec-agree";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_leaves_from_the_port_that_associations_lead_from() {
        let mut ways = ProtectedWays::default();
        let [server, old, new] = [1, 2, 3].map(EndpointId);
        let at = |port| SocketAddr::new("192.0.2.10".parse().unwrap(), port);
        for (client, from) in [(old, at(5101)), (new, at(5102))] {
            let way = Protected {
                client,
                to: at(5200),
                from,
                verify: &[],
            };
            ways.begin(server, &way);
        }
        let udp = |endpoint, port| Peer::Ims {
            endpoint,
            transport: SipTransport::Udp,
            remote: at(port),
        };
        assert_eq!(ways.of(udp(server, 5101)), udp(server, 5101));
        assert_eq!(ways.of(udp(server, 5102)), udp(server, 5102));
        assert_eq!(ways.of(udp(server, 5200)), udp(new, 5200));
        assert_eq!(ways.of(udp(server, 5060)), udp(server, 5102));
        assert_eq!(ways.of(udp(EndpointId(9), 5060)), udp(EndpointId(9), 5060));
        ways.end(new);
        assert_eq!(ways.of(udp(server, 5060)), udp(server, 5101));
        ways.end(old);
        assert_eq!(ways.of(udp(server, 5060)), udp(server, 5060));
    }
}
