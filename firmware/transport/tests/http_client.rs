//! The HTTPS client against a server that behaves, and one that does not.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iq::Private;
use signaling::auth::{FetchFailure, FetchRequest, HttpsUrl, IssuerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use transport::http_client::HttpClient;
use transport::tls::{CertificateSource, Certificates};

struct Server {
    port: u16,
    folder: PathBuf,
}

/// Starts a server that answers every connection with the same bytes, then closes it or
/// holds it open; what it was asked goes into the channel.
async fn server(
    name: &str,
    answer: impl Into<Vec<u8>>,
) -> (Server, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let answer = Arc::new(answer.into());
    let folder = std::env::temp_dir().join(format!("http-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let source = CertificateSource::SelfSigned {
        folder: folder.clone(),
        names: vec!["localhost".into()],
    };
    let acceptor = Certificates::load(source).unwrap().acceptor().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer, heard) = (acceptor.clone(), Arc::clone(&answer), heard.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = vec![0; 65536];
                let mut text = String::new();
                while !text.contains("\r\n\r\n") {
                    let octets = stream.read(&mut buffer).await.unwrap();
                    text.push_str(std::str::from_utf8(&buffer[..octets]).unwrap());
                }
                let _ = heard.send(text);
                let _ = stream.write_all(&answer).await;
                let _ = stream.flush().await;
                tokio::time::sleep(Duration::from_secs(30)).await;
            });
        }
    });
    (Server { port, folder }, hears)
}

impl Server {
    fn client(&self, allows_private: bool) -> HttpClient {
        HttpClient::new(&self.folder.join("self-signed.crt"), allows_private).unwrap()
    }

    fn request(&self, host: &str) -> FetchRequest {
        FetchRequest {
            issuer: IssuerId(0),
            url: HttpsUrl::parse(&format!("https://{host}:{}/keys", self.port)).unwrap(),
            authorization: None,
            form: None,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn an_answer_is_read_whole() {
    let (server, mut hears) = server("good", GOOD).await;
    let request = server.request("localhost");
    let fetched = server.client(true).fetch(&request).await.unwrap();
    assert_eq!(fetched.status, 200);
    assert_eq!(fetched.body.reveal().as_ref(), b"{}");
    assert_eq!(fetched.max_age, Some(Duration::from_secs(60)));
    let heard = hears.recv().await.unwrap();
    assert!(heard.starts_with("GET /keys HTTP/1.1\r\n"), "{heard}");

    let request = FetchRequest {
        authorization: Some(Private::new("Basic eDp5".into())),
        form: Some(Private::new("token=x".into())),
        ..request
    };
    server.client(true).fetch(&request).await.unwrap();
    let heard = hears.recv().await.unwrap();
    assert!(heard.starts_with("POST /keys HTTP/1.1\r\n"), "{heard}");
    assert!(
        heard
            .to_lowercase()
            .contains("authorization: basic edp5\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_asked() {
    let (one, _) = server("one", GOOD).await;
    let (other, mut hears) = server("other", GOOD).await;
    let untrusted = one.client(true).fetch(&other.request("localhost")).await;
    assert_eq!(untrusted.unwrap_err(), FetchFailure::Untrusted);
    let misnamed = other.client(true).fetch(&other.request("127.0.0.1")).await;
    assert_eq!(misnamed.unwrap_err(), FetchFailure::Untrusted);
    let private = other.client(false).fetch(&other.request("localhost")).await;
    assert_eq!(private.unwrap_err(), FetchFailure::PrivateAddress);
    assert!(hears.try_recv().is_err(), "and it heard nothing");
}

#[tokio::test]
async fn a_redirection_a_flood_and_rubbish_are_no_answers() {
    let redirection =
        "HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nContent-Length: 0\r\n\r\n";
    let told = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    let untold = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(300_000)
    );
    let table = [
        (redirection.to_owned(), FetchFailure::Improper),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), FetchFailure::Improper),
        (told, FetchFailure::TooBig),
        (untold, FetchFailure::TooBig),
    ];
    for (n, (answer, failure)) in table.into_iter().enumerate() {
        let (server, _) = server(&format!("bad{n}"), answer).await;
        let result = server
            .client(true)
            .fetch(&server.request("localhost"))
            .await;
        assert_eq!(result.unwrap_err(), failure);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_five_seconds() {
    let (server, _) = server("silent", "").await;
    let start = Instant::now();
    let result = server
        .client(true)
        .fetch(&server.request("localhost"))
        .await;
    assert_eq!(result.unwrap_err(), FetchFailure::TimedOut);
    let waited = start.elapsed();
    assert!(
        waited > Duration::from_secs(4) && waited < Duration::from_secs(8),
        "{waited:?}"
    );
}
