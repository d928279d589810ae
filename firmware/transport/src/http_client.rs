//! HTTPS towards identity providers: one small question, one small answer of JSON. Only
//! hosts that the operator's settings lead to are asked; no redirection is followed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use iq::Private;
use rustls_pki_types::ServerName;
use signaling::auth::{FetchFailure, FetchRequest, Fetched, HttpsUrl};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{self, TlsError};

/// Asks one identity provider.
#[derive(Clone)]
pub struct HttpClient {
    connector: TlsConnector,
    allows_private: bool,
}

impl HttpClient {
    /// A client that believes servers that these authorities vouch for. `allows_private`
    /// lets it connect to addresses of private networks, too.
    ///
    /// # Errors
    /// If the authorities cannot be read.
    pub fn new(authorities: &Path, allows_private: bool) -> Result<Self, TlsError> {
        let mut config = tls::client_config(authorities)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(HttpClient {
            connector: TlsConnector::from(Arc::new(config)),
            allows_private,
        })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// If there is no proper answer in time.
    pub async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, FetchFailure> {
        tokio::time::timeout(ANSWER_TIME, self.ask(request))
            .await
            .unwrap_or(Err(FetchFailure::TimedOut))
    }

    async fn ask(&self, asked: &FetchRequest) -> Result<Fetched, FetchFailure> {
        let stream = self.connect(&asked.url).await?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| FetchFailure::Improper)?;
        let request = request(asked)?;
        let conversation = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|_| FetchFailure::Improper)?;
            let (head, mut body) = response.into_parts();
            if head.status.is_redirection() {
                return Err(FetchFailure::Improper);
            }
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| FetchFailure::Improper)?;
                if let Some(data) = frame.data_ref() {
                    if read.len() + data.len() > LONGEST_BODY {
                        return Err(FetchFailure::TooBig);
                    }
                    read.extend_from_slice(data);
                }
            }
            Ok(Fetched {
                status: head.status.as_u16(),
                max_age: max_age(&head.headers),
                body: Private::new(read.freeze()),
            })
        };
        tokio::pin!(conversation);
        tokio::select! {
            answer = &mut conversation => answer,
            // A connection that is over may have left the answer behind.
            _ = connection => conversation.await,
        }
    }

    async fn connect(&self, url: &HttpsUrl) -> Result<TlsStream<TcpStream>, FetchFailure> {
        let (host, port) = url.host();
        let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchFailure::Unreachable)?;
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
            .await
            .map_err(|_| FetchFailure::Unreachable)?
            .collect();
        let allowed = |address: &&SocketAddr| self.allows_private || !is_private(address.ip());
        let addresses: Vec<SocketAddr> = found.iter().filter(allowed).copied().collect();
        if addresses.is_empty() && !found.is_empty() {
            return Err(FetchFailure::PrivateAddress);
        }
        // The first address that takes the connection: tokio tries one after the other.
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|_| FetchFailure::Unreachable)?;
        let secured = self.connector.connect(name, stream).await;
        secured.map_err(|error| {
            if is_about_certificate(&error) {
                FetchFailure::Untrusted
            } else {
                FetchFailure::Unreachable
            }
        })
    }
}

fn request(asked: &FetchRequest) -> Result<Request<Full<Bytes>>, FetchFailure> {
    let form = asked.form.as_ref().map(|form| form.reveal().clone());
    let method = form.as_ref().map_or(Method::GET, |_| Method::POST);
    let mut request = Request::builder()
        .method(method)
        .uri(asked.url.path())
        .header(HOST, asked.url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("Gatehouse/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = &asked.authorization {
        let mut value =
            HeaderValue::from_str(authorization.reveal()).map_err(|_| FetchFailure::Improper)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    if form.is_some() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    request
        .body(Full::new(Bytes::from(form.unwrap_or_default())))
        .map_err(|_| FetchFailure::Improper)
}

/// How long an answer is good, RFC 9111 §5.2.2.1.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    directives
        .filter_map(|directive| {
            if directive == "no-store" || directive == "no-cache" {
                return Some(0);
            }
            directive.strip_prefix("max-age=")?.parse().ok()
        })
        .min()
        .map(Duration::from_secs)
}

fn is_about_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| {
        inner
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.source()?.downcast_ref())
    });
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Addresses that no public name should have: answers with them are how a name service
/// is turned against the network behind the box.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // RFC 6598.
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

/// How long the whole conversation may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Longer than any key set.
const LONGEST_BODY: usize = 256 * 1024;
const LONGEST_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_private_networks_are_known() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "ff02::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "192.0.2.1",
            "8.8.8.8",
            "100.128.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn the_shortest_word_about_freshness_counts() {
        let age = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age("public, Max-Age=600"), Some(600));
        assert_eq!(age("max-age=600, no-cache"), Some(0));
        assert_eq!(age("public, max-age=never"), None);
    }
}
