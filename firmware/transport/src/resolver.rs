//! Looks host names up. Which of the addresses is used is signaling's choice.

use std::net::SocketAddr;
use std::time::Duration;

/// The addresses of a name, in the system's order (RFC 6724); none if it has none or the
/// answer takes too long.
pub async fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    match tokio::time::timeout(ANSWER_TIME, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Shorter than a browser's patience.
const ANSWER_TIME: Duration = Duration::from_secs(4);
const MAX_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_without_an_address_has_none() {
        assert!(resolve("nowhere.invalid", 5060).await.is_empty());
        let here = resolve("localhost", 5060).await;
        assert!(
            here.iter()
                .all(|a| a.ip().is_loopback() && a.port() == 5060)
        );
        assert!(!here.is_empty());
    }
}
