//! Asks the name service. What is asked, how long an answer is kept and what is made of
//! it is signaling's choice (RFC 3263).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use signaling::config::HostName;
use signaling::reach::{Naptr, Question, RecordKind, Records, Resolution, Srv};

/// The name servers that are asked; a cheap copy asks the same ones.
#[derive(Clone)]
pub struct NameService {
    servers: Arc<[SocketAddr]>,
    asking: Arc<Mutex<Option<Asking>>>,
}

/// A resolver, and the state of the system's settings that it was made from.
struct Asking {
    resolver: TokioResolver,
    settings_of: Option<SystemTime>,
}

impl NameService {
    /// Asks these servers; the system's (`/etc/resolv.conf`) if there are none.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Self {
        NameService {
            servers: servers.into(),
            asking: Arc::default(),
        }
    }

    /// Asks one question.
    pub async fn ask(&self, question: &Question) -> Resolution {
        let Some(resolver) = self.resolver() else {
            return Resolution::Failed;
        };
        let Ok(mut name) = Name::from_ascii(question.name.as_str()) else {
            return Resolution::Failed;
        };
        // A name of one label may need the system's search list.
        name.set_fqdn(question.name.as_str().contains('.'));
        let kind = match question.kind {
            RecordKind::Naptr => RecordType::NAPTR,
            RecordKind::Srv => RecordType::SRV,
            RecordKind::A => RecordType::A,
            RecordKind::Aaaa => RecordType::AAAA,
        };
        match tokio::time::timeout(ANSWER_TIME, resolver.lookup(name, kind)).await {
            Ok(Ok(lookup)) => resolution(question.kind, &lookup),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                let ttl = none.negative_ttl.map_or(NEGATIVE_TTL, seconds);
                Resolution::Nothing { ttl }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, name = %question.name, "a look-up failed");
                Resolution::Failed
            }
            Err(_) => Resolution::Failed,
        }
    }

    /// The resolver, made anew when the system's settings have changed.
    fn resolver(&self) -> Option<TokioResolver> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let settings_of = self.servers.is_empty().then(settings_time).flatten();
        if let Some(asking) = asking.as_ref().filter(|it| it.settings_of == settings_of) {
            return Some(asking.resolver.clone());
        }
        match self.make() {
            Ok(resolver) => {
                *asking = Some(Asking {
                    resolver: resolver.clone(),
                    settings_of,
                });
                Some(resolver)
            }
            Err(error) => {
                tracing::error!(%error, "the name service cannot be asked");
                None
            }
        }
    }

    fn make(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set_options(builder.options_mut());
        builder.build()
    }
}

/// Signaling keeps what it is told, so nothing is kept here.
fn set_options(options: &mut ResolverOpts) {
    options.cache_size = 0;
    options.timeout = TRY_TIME;
    options.attempts = 1;
    // As the list has it: the first is the one that is meant.
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = address.port();
    tcp.port = address.port();
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

fn settings_time() -> Option<SystemTime> {
    Path::new("/etc/resolv.conf")
        .metadata()
        .ok()?
        .modified()
        .ok()
}

fn resolution(kind: RecordKind, lookup: &Lookup) -> Resolution {
    let answers = || lookup.answers().iter().take(MAX_RECORDS);
    let data = answers().map(|record| &record.data);
    let records = match kind {
        RecordKind::Naptr => Records::Naptr(data.filter_map(naptr).collect()),
        RecordKind::Srv => Records::Srv(data.filter_map(srv).collect()),
        RecordKind::A | RecordKind::Aaaa => Records::Addresses(data.filter_map(address).collect()),
    };
    let ttl = seconds(answers().map(|record| record.ttl).min().unwrap_or(0));
    let is_empty = match &records {
        Records::Naptr(records) => records.is_empty(),
        Records::Srv(records) => records.is_empty(),
        Records::Addresses(records) => records.is_empty(),
    };
    if is_empty {
        Resolution::Nothing { ttl }
    } else {
        Resolution::Found { records, ttl }
    }
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(record) = data else {
        return None;
    };
    if !record.regexp.is_empty() {
        return None;
    }
    Some(Naptr {
        order: record.order,
        preference: record.preference,
        flags: String::from_utf8(record.flags.to_vec()).ok()?,
        service: String::from_utf8(record.services.to_vec()).ok()?,
        replacement: host_name(&record.replacement)?,
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(record) = data else {
        return None;
    };
    Some(Srv {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        // The root as a target says that there is no such service: it is no host name.
        target: host_name(&record.target)?,
    })
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

fn host_name(name: &Name) -> Option<HostName> {
    HostName::parse(&name.to_ascii())
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// How long one server may take before the next is asked.
const TRY_TIME: Duration = Duration::from_millis(1500);
/// Shorter than signaling's patience.
const ANSWER_TIME: Duration = Duration::from_millis(4500);
/// For a "no" that does not say how long it is good, RFC 2308 §5.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// Records of one answer that are looked at.
const MAX_RECORDS: usize = 64;

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    fn question(name: &str, kind: RecordKind) -> Question {
        let name = HostName::parse(name).unwrap();
        Question { name, kind }
    }

    #[tokio::test]
    async fn the_systems_own_names_are_known() {
        let service = NameService::new(&[]);
        let here = service.ask(&question("localhost", RecordKind::A)).await;
        let Resolution::Found { records, .. } = here else {
            panic!("{here:?}");
        };
        assert_eq!(records, Records::Addresses(vec![[127, 0, 0, 1].into()]));
    }

    #[tokio::test]
    async fn every_kind_of_record_is_read_with_its_lifetime() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let service = NameService::new(&[server.local_addr().unwrap()]);
        tokio::spawn(serve(server));
        let naptr = service.ask(&question("ims.test", RecordKind::Naptr)).await;
        assert_eq!(
            naptr,
            Resolution::Found {
                records: Records::Naptr(vec![Naptr {
                    order: 10,
                    preference: 20,
                    flags: "s".to_owned(),
                    service: "SIP+D2T".to_owned(),
                    replacement: HostName::parse("_sip._tcp.ims.test").unwrap(),
                }]),
                ttl: Duration::from_secs(90),
            }
        );
        let srv = service
            .ask(&question("_sip._tcp.ims.test", RecordKind::Srv))
            .await;
        assert_eq!(
            srv,
            Resolution::Found {
                records: Records::Srv(vec![Srv {
                    priority: 1,
                    weight: 30,
                    port: 5070,
                    target: HostName::parse("a.ims.test").unwrap(),
                }]),
                ttl: Duration::from_secs(90),
            }
        );
        let nothing = service.ask(&question("nothing.test", RecordKind::A)).await;
        assert!(matches!(nothing, Resolution::Nothing { .. }), "{nothing:?}");
    }

    #[tokio::test]
    async fn a_name_server_that_is_not_there_is_a_failure_and_not_a_no() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let service = NameService::new(&[gone.local_addr().unwrap()]);
        let failed = service.ask(&question("ims.test", RecordKind::A)).await;
        assert_eq!(failed, Resolution::Failed);
    }

    /// A name server with one NAPTR and one SRV record, and nothing else.
    async fn serve(socket: UdpSocket) {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            let mut end = 12;
            while query[end] != 0 {
                end += 1 + usize::from(query[end]);
            }
            let kind = query[end + 2];
            let data: &[u8] = match kind {
                35 => b"\x00\x0a\x00\x14\x01s\x07SIP+D2T\x00\x04_sip\x04_tcp\x03ims\x04test\x00",
                33 => b"\x00\x01\x00\x1e\x13\xce\x01a\x03ims\x04test\x00",
                _ => b"",
            };
            let _ = length;
            let mut answer = query[..2].to_vec();
            let code = if data.is_empty() { 0x83 } else { 0x80 };
            answer.extend([0x85, code, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
            answer.extend(&query[12..end + 5]);
            if !data.is_empty() {
                answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 90, 0]);
                answer.push(u8::try_from(data.len()).unwrap());
                answer.extend(data);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    }
}
