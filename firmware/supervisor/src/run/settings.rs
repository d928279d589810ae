//! From the configuration to the settings of each service.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rustls_pki_types::ServerName;
use serde_json::{Map, Value, json};
use signaling::config::{AddressFamily, Host, NextHop};
use tokio::sync::mpsc;
use transport::crypto::Engines;
use transport::http::Policy;
use transport::http_client::HttpClient;
use transport::resolver::NameService;
use transport::tls::{self, Certificates};
use transport::web_root::WebRoot;
use transport::websocket::{self, Listen};
use transport::xfrm::Xfrm;
use transport::{endpoint, rtp};

use super::Page;
use super::addresses::default_address;
use super::fresh_seed;
use crate::config::{Config, Credentials, Issuer, Tenant};
use crate::credentials::{self, Service, StoreError};
use crate::health::Health;
use crate::records::{self, Recorder};

/// Opens the store of credentials, if there is one: a box that passes Digest through needs
/// none; one that asks for passwords itself, on a trunk, does.
pub(super) fn credentials(
    config: &Config,
    answers: mpsc::Sender<signaling::Input>,
    health: &Health,
) -> anyhow::Result<Service> {
    let settings = &config.credentials;
    let signaling = config.signaling();
    let has_trunk = |all: &signaling::Config| {
        let mut tenants = all.tenants.iter();
        tenants.any(|it| {
            let trunk = it.profile.trunk();
            let asks = it.login == signaling::config::Login::Digest;
            trunk.is_some_and(|trunk| asks || trunk.registration.is_some())
        })
    };
    let is_used = *settings != Credentials::default()
        || settings.path(&config.state).is_dir()
        || signaling.is_some_and(|all| has_trunk(&all));
    let store = match credentials::Store::open(settings, &config.state) {
        Ok(store) => Some(store),
        Err(StoreError::NoKey(_)) if !is_used => None,
        Err(error) => return Err(error).context("[credentials]"),
    };
    Ok(Service::start(store, answers, health)?)
}

pub(super) fn access_settings(
    config: &Config,
    page: Page,
) -> anyhow::Result<(websocket::Settings, Option<Arc<Certificates>>)> {
    let certificates = config
        .access
        .certificate_source(&config.state)
        .map(Certificates::load)
        .transpose()
        .context("[access]")?;
    let folder = config.access.web_folder();
    if let Some(folder) = folder.as_deref().filter(|folder| !folder.is_dir()) {
        tracing::warn!(folder = %folder.display(), "[access] web_root: no such folder; no page is served");
    }
    let acceptor = certificates
        .as_ref()
        .map(Certificates::acceptor)
        .transpose()?;
    let secured = config.access.listen.iter().map(|&address| Listen {
        address,
        tls: acceptor.clone(),
    });
    let plain = config
        .access
        .plain_listen
        .iter()
        .map(|&address| Listen { address, tls: None });
    let settings = websocket::Settings {
        listen: secured.chain(plain).collect(),
        policy: Policy {
            gives_tickets: config.takes_tokens(),
            ..config.access.policy()
        },
        web_root: WebRoot {
            folder,
            config_json: page_settings(config, page).to_string().into(),
        },
        limits: config.limits.admission(),
        handshake_time: config.access.handshake_time,
        keepalive: config.access.keepalive(),
    };
    Ok((settings, certificates.map(Arc::new)))
}

/// What the page reads first.
fn page_settings(config: &Config, page: Page) -> Value {
    let servers: Vec<Value> = config
        .access
        .ice_servers
        .iter()
        .map(|url| json!({ "urls": url }))
        .collect();
    let mut settings = Map::new();
    let networks = config.networks();
    let mut domains = networks.iter().flat_map(|it| &it.ims.home_domains);
    let domain = domains.next().map(ToString::to_string);
    settings.insert("domain".to_owned(), json!(domain));
    settings.insert("webSocketPath".to_owned(), json!(config.access.path));
    settings.insert("iceServers".to_owned(), json!(servers));
    let expires = networks.iter().map(|it| it.ims.registration_expires);
    let expires = expires.min().unwrap_or_default().as_secs();
    settings.insert("registerExpires".to_owned(), json!(expires));
    settings.extend(page.settings);
    Value::Object(settings)
}

pub(super) fn signaling_settings(
    config: &Config,
    addresses: &[IpAddr],
) -> anyhow::Result<signaling::Config> {
    let settings = config.signaling();
    let mut settings = settings.context("the configuration is not complete")?;
    for (tenant, address) in settings.tenants.iter_mut().zip(addresses) {
        // A port of one version reaches no server of the other.
        tenant.next_hop.family = AddressFamily::of(*address);
        let plan = &tenant.dial_plan;
        if plan.country_code.is_none() && !plan.international {
            tracing::info!(
                tenant = tenant.name,
                "country_code is not set: home is the country of each user's own number, and who \
                 has none calls no number in full (+49...)"
            );
        }
    }
    let key = records::key(&config.state.folder, "flow.key").unwrap_or_else(|error| {
        tracing::warn!(%error, "the key of flow tokens is not kept: they change at restart");
        fresh_seed()
    });
    settings.flow_key = Some(iq::Private::new(key));
    Ok(settings)
}

pub(super) fn endpoint_settings(
    networks: &[Tenant],
    addresses: &[IpAddr],
) -> anyhow::Result<endpoint::Settings> {
    look_at_ipsec(networks)?;
    let networks = networks.iter().zip(addresses);
    let tenants = networks.map(|(network, &address)| network_settings(network, address));
    Ok(endpoint::Settings {
        tenants: tenants.collect::<anyhow::Result<_>>()?,
        seed: fresh_seed(),
    })
}

/// Without the right to make associations nobody of a tenant with IPsec could log in.
fn look_at_ipsec(networks: &[Tenant]) -> anyhow::Result<()> {
    let Some(network) = networks.iter().find(|it| it.ims.has_ipsec()) else {
        return Ok(());
    };
    let asked = Xfrm::open().and_then(|mut xfrm| xfrm.clean(&[]));
    let Err(error) = asked else {
        return Ok(());
    };
    let fix = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "the program needs the right CAP_NET_ADMIN: put AmbientCapabilities=CAP_NET_ADMIN \
             into its systemd unit, or run `setcap cap_net_admin+ep` on it"
        }
        _ => "the kernel needs IPsec: CONFIG_XFRM_USER and CONFIG_INET_ESP",
    };
    Err(anyhow!(error)).with_context(|| format!("{}: security = \"ipsec\": {fix}", network.name))
}

fn network_settings(network: &Tenant, address: IpAddr) -> anyhow::Result<endpoint::Network> {
    let tls = match (&network.ims.authorities, network.ims.next_hop()) {
        (Some(authorities), Some(next_hop)) => Some(endpoint::Tls {
            connector: tls::connector(authorities)
                .with_context(|| format!("{}: authorities", network.name))?,
            server_name: vouched_name(&next_hop)?,
        }),
        _ => None,
    };
    Ok(endpoint::Network {
        address,
        ports: network.ims.ports.0.clone(),
        has_ipsec: network.ims.has_ipsec(),
        tls,
        names: NameService::new(&network.ims.name_servers()),
    })
}

/// A client for each identity provider.
/// The name that a server's certificate must have: the one that the operator wrote, whatever
/// names its NAPTR and SRV records lead to (RFC 5922 §4, §7.1); those may be forged.
fn vouched_name(next_hop: &NextHop) -> anyhow::Result<ServerName<'static>> {
    Ok(match &next_hop.host {
        Host::Address(address) => ServerName::IpAddress((*address).into()),
        Host::Name(name) => ServerName::try_from(name.to_string())?,
    })
}

pub(super) fn providers(config: &Config) -> anyhow::Result<Vec<HttpClient>> {
    let client = |issuer: &Issuer| {
        HttpClient::new(&issuer.authorities, issuer.private_addresses)
            .context("[[issuer]] authorities")
    };
    config.issuers.iter().map(client).collect()
}

pub(crate) fn workers(
    config: &Config,
    ims_address: IpAddr,
    engines: &Engines,
    health: &Health,
) -> anyhow::Result<Vec<(rtp::Settings, transport::pulse::Pulse)>> {
    let media = &config.media;
    let certificate = Arc::new(media::Certificate::generate()?);
    let mut addresses = media.told_addresses();
    if addresses.is_empty() {
        let address = default_address().context(
            "[media] access_addresses: say which addresses browsers reach, there is no default route",
        )?;
        addresses.push(address);
    }
    let ims_address = media.ims_address.unwrap_or(ims_address);
    let settings = (0..media.worker_count()).map(|index| {
        let port = media.access_port + u16::try_from(index).expect("checked to be few");
        let candidates = addresses.iter().map(|&ip| (ip, port).into()).collect();
        let mut relays = media::Config::new(candidates, Arc::clone(&certificate));
        relays.max_sessions = media.calls_per_worker;
        relays.srtp_profiles = media.srtp_profiles.iter().map(|p| p.0).collect();
        relays.dtls_13 = media.dtls_13;
        relays.handshake_timeout = media.handshake_timeout;
        relays.ice_timeout = media.ice_timeout;
        relays.consent_report = media.consent_timeout;
        relays.ims_silence = config.calls.silence_report();
        let settings = rtp::Settings {
            index,
            access: media
                .access_listen
                .iter()
                .map(|&ip| (ip, port).into())
                .collect(),
            ims_address,
            ims_advertised: media.ims_advertised.unwrap_or(ims_address),
            ims_ports: media.ims_ports_of(index),
            media: relays,
            engines: engines.clone(),
            seed: fresh_seed(),
        };
        (settings, health.watch(format!("media-{index}")))
    });
    Ok(settings.collect())
}

pub(super) fn recorder(config: &Config, health: &Health) -> anyhow::Result<Recorder> {
    let settings = config.records.enabled.then(|| records::Settings {
        file: config.records.path(&config.state),
        max_size: u64::from(config.records.max_megabytes) * 1024 * 1024,
        keep: config.records.keep,
        key: records::key(&config.state.folder, "records.key").unwrap_or_else(|error| {
            tracing::warn!(%error, "the key of call records is not kept: hashes change at restart");
            fresh_seed()
        }),
    });
    Ok(Recorder::start(settings, health)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Config;

    // Conforms: RFC 5922 §7.1 | A server that SRV records name is vouched for under the domain, not under its own name.
    #[test]
    fn a_certificate_vouches_for_the_domain_that_the_operator_wrote() {
        for (pcscf, expected) in [
            // A domain, whose SRV records name the servers.
            ("ims.example.com", "ims.example.com"),
            ("pcscf.example.com:5061", "pcscf.example.com"),
            ("192.0.2.10:5061", "192.0.2.10"),
        ] {
            let text = format!(
                "[ims]\npcscf = \"{pcscf}\"\nhome_domains = [\"ims.example.com\"]\n\
                 transport = \"tls\"\nauthorities = \"ca.pem\"\n"
            );
            let config = Config::parse(&text).unwrap();
            let next_hop = config.networks()[0].ims.next_hop().unwrap();
            assert_eq!(vouched_name(&next_hop).unwrap().to_str(), expected);
        }
    }
}
