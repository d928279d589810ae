//! TLS 1.2 and 1.3 of the access side: certificates from PEM files or made by the
//! box itself, renewed without closing a connection; and the trust of the IMS side.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where the box's certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// The operator's files, PEM.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The leaf's private key.
        key: PathBuf,
    },
    /// Made by the box at its first start and kept as long as it has all names.
    SelfSigned {
        /// Where it is kept.
        folder: PathBuf,
        /// Host names and addresses it is for; the first is its common name.
        names: Vec<String>,
    },
}

/// Why TLS cannot start, or a new certificate is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate do not fit, or the library refuses them.
    #[error("certificate: {0}")]
    Rustls(#[from] rustls::Error),
    /// The self-signed certificate cannot be made.
    #[error("self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The box's certificate, replaced while connections go on.
#[derive(Debug)]
pub struct Certificates {
    source: CertificateSource,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Loaded>);

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    stamp: Stamp,
}

/// Change times of the files; different ones mean that they are to be read again.
type Stamp = [Option<SystemTime>; 2];

impl Certificates {
    /// Reads the certificate, or makes one.
    pub fn load(source: CertificateSource) -> Result<Self, TlsError> {
        let loaded = read(&source)?;
        Ok(Certificates {
            source,
            current: Arc::new(Current(RwLock::new(loaded))),
        })
    }

    /// What accepts connections, and takes each new certificate as it comes.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = self.current.clone();
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // WebSocket over HTTP/2 (RFC 8441) is not served, so HTTP/2 is not offered.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again if they changed, or if `even_if_same`. What was there
    /// stays in use when the new files are no good. Says whether there is a new one.
    pub fn reload(&self, even_if_same: bool) -> Result<bool, TlsError> {
        let known = self.current.read().stamp;
        if !even_if_same && stamp(&self.source) == known && !is_stale(&self.source) {
            return Ok(false);
        }
        let loaded = read(&self.source)?;
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }
}

impl Current {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.read().key))
    }
}

/// TLS towards the IMS: its servers are believed if these authorities vouch for them.
pub fn connector(authorities: &Path) -> Result<TlsConnector, TlsError> {
    Ok(TlsConnector::from(Arc::new(client_config(authorities)?)))
}

/// The settings of a TLS client that believes these authorities.
pub fn client_config(authorities: &Path) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(authorities)? {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn files(source: &CertificateSource) -> (PathBuf, PathBuf) {
    match source {
        CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone()),
        CertificateSource::SelfSigned { folder, .. } => (
            folder.join("self-signed.crt"),
            folder.join("self-signed.key"),
        ),
    }
}

fn stamp(source: &CertificateSource) -> Stamp {
    let (certificate, key) = files(source);
    [certificate, key].map(|path| changed_at(&path))
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Whether the box's own certificate is missing or nears its end.
fn is_stale(source: &CertificateSource) -> bool {
    let CertificateSource::SelfSigned { .. } = source else {
        return false;
    };
    let (certificate, key) = files(source);
    let made = changed_at(&certificate).filter(|_| key.exists());
    made.is_none_or(|made| made.elapsed().is_ok_and(|age| age > RENEW_AFTER))
}

fn read(source: &CertificateSource) -> Result<Loaded, TlsError> {
    let (certificate, key) = files(source);
    if let CertificateSource::SelfSigned { names, .. } = source
        && (is_stale(source) || !covers(&certificate, names))
    {
        make_self_signed(names, &certificate, &key)?;
    }
    // The times are taken first: a file that changes while it is read is read again.
    let stamp = stamp(source);
    let chain = chain(&certificate)?;
    let private = fs::read(&key).map_err(|error| TlsError::File {
        path: key.clone(),
        error,
    })?;
    let private = PrivateKeyDer::from_pem_slice(&private).map_err(|error| TlsError::Content {
        path: key,
        reason: format!("no private key in PEM: {error}"),
    })?;
    let certified = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())?;
    certified.keys_match()?;
    Ok(Loaded {
        key: Arc::new(certified),
        stamp,
    })
}

/// Whether a certificate that was made earlier is for all names of today: the machine's
/// address may be another one since.
fn covers(certificate: &Path, names: &[String]) -> bool {
    let Ok(chain) = chain(certificate) else {
        return false;
    };
    let Ok(parsed) = ParsedCertificate::try_from(&chain[0]) else {
        return false;
    };
    names
        .iter()
        .filter_map(|name| ServerName::try_from(name.trim_matches(['[', ']'])).ok())
        .all(|name| verify_server_name(&parsed, &name).is_ok())
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = fs::read(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(TlsError::Content {
            path: path.to_owned(),
            reason: "no certificate in PEM".into(),
        }),
        Err(error) => Err(TlsError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn make_self_signed(names: &[String], certificate: &Path, key: &Path) -> Result<(), TlsError> {
    let plain: Vec<String> = names
        .iter()
        .map(|name| name.trim_matches(['[', ']']).to_owned())
        .collect();
    let mut params = rcgen::CertificateParams::new(plain.clone())?;
    let common_name = plain.first().map_or("gatehouse", String::as_str);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + VALID_FOR).into();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let pair = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    write_private(key, pair.serialize_pem().as_bytes())?;
    write_private(certificate, made.pem().as_bytes())
}

/// Writes a file that only the box's own user can read, whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let draft = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Browsers refuse longer lives (CA/Browser Forum, Ballot SC-22).
const VALID_FOR: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// The box's own certificate is made anew before it ends.
const RENEW_AFTER: Duration = Duration::from_secs(360 * 24 * 60 * 60);
/// A browser's clock may be behind.
const CLOCK_SKEW: Duration = DAY;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tls-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn self_signed(folder: &Path) -> CertificateSource {
        CertificateSource::SelfSigned {
            folder: folder.to_owned(),
            names: vec!["gw.example.com".into(), "127.0.0.1".into(), "[::1]".into()],
        }
    }

    #[test]
    fn a_certificate_made_at_first_start_is_kept_and_private() {
        let folder = folder("first");
        let first = Certificates::load(self_signed(&folder)).unwrap();
        let again = Certificates::load(self_signed(&folder)).unwrap();
        assert_eq!(
            first.current.read().key.cert,
            again.current.read().key.cert,
            "a restart shows browsers the same certificate"
        );
        let mode = fs::metadata(folder.join("self-signed.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_certificate_made_for_another_address_is_made_anew() {
        let folder = folder("moved");
        let first = Certificates::load(self_signed(&folder)).unwrap();
        let mut moved = self_signed(&folder);
        if let CertificateSource::SelfSigned { names, .. } = &mut moved {
            names.push("192.0.2.7".into());
        }
        let second = Certificates::load(moved).unwrap();
        assert_ne!(
            first.current.read().key.cert,
            second.current.read().key.cert
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_bad_new_certificate_leaves_the_old_one_in_use() {
        let folder = folder("bad");
        let made = Certificates::load(self_signed(&folder)).unwrap();
        let files = CertificateSource::Files {
            certificate: folder.join("self-signed.crt"),
            key: folder.join("self-signed.key"),
        };
        let certificates = Certificates::load(files).unwrap();
        assert!(!certificates.reload(false).unwrap(), "nothing changed");
        fs::write(folder.join("self-signed.crt"), "rubbish").unwrap();
        assert!(certificates.reload(true).is_err());
        assert_eq!(
            certificates.current.read().key.cert,
            made.current.read().key.cert
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (folder("one"), folder("other"));
        Certificates::load(self_signed(&one)).unwrap();
        Certificates::load(self_signed(&other)).unwrap();
        let mixed = CertificateSource::Files {
            certificate: one.join("self-signed.crt"),
            key: other.join("self-signed.key"),
        };
        assert!(matches!(
            Certificates::load(mixed),
            Err(TlsError::Rustls(_))
        ));
        fs::remove_dir_all(one).unwrap();
        fs::remove_dir_all(other).unwrap();
    }
}
