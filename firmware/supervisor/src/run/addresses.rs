//! Which of the box's addresses is whose.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use signaling::config::{AddressFamily, NextHop};
use signaling::reach::Finder;
use transport::resolver::NameService;

use crate::config::Tenant;

/// The box's address in each network.
pub(crate) async fn ims_addresses(networks: &[Tenant]) -> anyhow::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for network in networks {
        addresses.push(ims_address(network).await?);
    }
    Ok(addresses)
}

/// The box's address in a network.
pub(crate) async fn ims_address(network: &Tenant) -> anyhow::Result<IpAddr> {
    if let Some(address) = network.ims.address {
        return Ok(address);
    }
    let name_of = &network.name;
    let next_hop = network.ims.next_hop();
    let next_hop = next_hop.with_context(|| format!("{name_of}: the next hop is missing"))?;
    let names = NameService::new(&network.ims.name_servers());
    let found = match first_server(&names, &next_hop, AddressFamily::V4).await {
        None => first_server(&names, &next_hop, AddressFamily::V6).await,
        found => found,
    };
    let host = &next_hop.host;
    let peer = found.ok_or_else(|| {
        anyhow!("{name_of}: {host} has no address; set `address` to start without")
    })?;
    way_to(peer).with_context(|| format!("{name_of}: address: there is no way to {peer}"))
}

/// A server of a network's next hop.
async fn first_server(
    names: &NameService,
    next_hop: &NextHop,
    family: AddressFamily,
) -> Option<SocketAddr> {
    let mut finder = Finder::new(NextHop {
        family,
        ..next_hop.clone()
    });
    loop {
        match finder.servers(Instant::now()) {
            Ok(servers) => return servers.first().map(|hop| hop.address),
            Err(questions) => {
                for (query, question) in questions {
                    let resolution = names.ask(&question).await;
                    finder.handle_resolved(query, resolution, Instant::now());
                }
            }
        }
    }
}

/// The address that the default route has.
pub(crate) fn default_address() -> anyhow::Result<IpAddr> {
    way_to(([192, 0, 2, 1], 9).into())
}

/// The address that the system would send from. Nothing is sent.
fn way_to(peer: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
}
