//! A port that all users of a tenant share: that of everything where the box is the P-CSCF
//! (Mw) or the end of a trunk, and that of what nothing protects yet where there is IPsec
//! (Gm). Opened at the start, and again after a while if that failed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::{Config, Tenant, TenantId};
use crate::id::EndpointId;
use crate::link::Link;
use crate::output::{EndpointKind, Output};

/// The shared ports of one kind, of all tenants.
#[derive(Debug)]
pub(super) struct SharedEndpoints(Vec<Shared>);

/// The port of one tenant.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) tenant: TenantId,
    pub(super) endpoint: EndpointId,
    /// The address that the IMS sees, once it is open.
    pub(super) local: Option<SocketAddr>,
    port: u16,
    open_at: Option<Instant>,
}

impl SharedEndpoints {
    /// Asks for the port of every tenant that has one; they are the first endpoints.
    pub(super) fn open(
        config: &Config,
        port_of: impl Fn(&Tenant) -> Option<u16>,
        link: &mut Link,
    ) -> Self {
        let tenants = config.tenants.iter().enumerate();
        let mut shared = Vec::new();
        for (at, port) in tenants.filter_map(|(at, tenant)| Some((at, port_of(tenant)?))) {
            let endpoint = link.endpoint();
            link.shares(endpoint);
            shared.push(Shared {
                tenant: TenantId(at),
                endpoint,
                local: None,
                port,
                open_at: None,
            });
        }
        shared.iter().for_each(|it| it.ask(link));
        SharedEndpoints(shared)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn of_tenant(&self, tenant: TenantId) -> Option<&Shared> {
        self.0.iter().find(|shared| shared.tenant == tenant)
    }

    pub(super) fn of_endpoint(&self, endpoint: EndpointId) -> Option<&Shared> {
        self.0.iter().find(|shared| shared.endpoint == endpoint)
    }

    /// Learns that a port is open; says whose it is.
    pub(super) fn handle_opened(
        &mut self,
        endpoint: EndpointId,
        local: SocketAddr,
    ) -> Option<TenantId> {
        let mut all = self.0.iter_mut();
        let shared = all.find(|shared| shared.endpoint == endpoint)?;
        shared.local = Some(local);
        Some(shared.tenant)
    }

    /// Learns that a port could not be opened; `false` if it is none of these.
    pub(super) fn handle_open_failed(&mut self, endpoint: EndpointId, now: Instant) -> bool {
        let mut all = self.0.iter_mut();
        let found = all.find(|shared| shared.endpoint == endpoint);
        found.is_some_and(|shared| {
            shared.open_at = Some(now + PAUSE);
            true
        })
    }

    pub(super) fn handle_timeout(&mut self, link: &mut Link) {
        let now = link.instant();
        for shared in &mut self.0 {
            if shared.open_at.take_if(|at| *at <= now).is_some() {
                shared.ask(link);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|shared| shared.open_at).min()
    }
}

impl Shared {
    fn ask(&self, link: &mut Link) {
        link.push(Output::Open {
            endpoint: self.endpoint,
            tenant: self.tenant,
            kind: EndpointKind::Shared { port: self.port },
        });
    }
}

/// What holds the port may let go of it.
const PAUSE: Duration = Duration::from_secs(5);
