//! The program as systemd and a technician see it.

#![allow(clippy::unwrap_used)]

mod site;
mod watching;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use site::{Site, free_address};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A text message as a browser masks it.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap();
    let mut frame = vec![0x81, 0xfe];
    frame.extend(len.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.bytes());
    frame
}

#[test]
fn systemd_and_the_technician_see_it_start_live_and_stop() {
    let site = Site::new("life");
    let gateway = site.start("");
    site.hear("WATCHDOG=1");
    site.hear("WATCHDOG=1");
    assert!(site.get("/livez").starts_with("HTTP/1.1 200 "));
    assert!(site.get("/readyz").ends_with("ok\n"));
    let mut browser = site.browser();
    let metrics = site.get("/metrics");
    for line in [
        "gatehouse_ready 1",
        "gatehouse_signaling_flows 1",
        "gatehouse_access_connections_accepted_total 1",
        "gatehouse_worker_pairs_left{worker=\"0\"} 500",
        "gatehouse_media_discarded_total{reason=\"replayed\"} 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}:\n{metrics}");
    }

    gateway.signal("TERM");
    site.hear("STOPPING=1");
    let mut close = [0; 4];
    browser.read_exact(&mut close).unwrap();
    assert_eq!(u16::from_be_bytes([close[2], close[3]]), 1012);
    let (success, took) = gateway.end();
    assert!(success && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_second_sigterm_leaves_at_once() {
    let site = Site::new("twice");
    let gateway = site.start("[shutdown]\ngrace = \"1h\"\n");
    let mut browser = site.browser();
    // A registration that the silent P-CSCF never answers keeps the box from leaving.
    browser.write_all(&frame(&register(""))).unwrap();
    let mut datagram = [0; 2000];
    site.pcscf.recv(&mut datagram).unwrap();
    gateway.signal("TERM");
    site.hear("STOPPING=1");
    gateway.signal("TERM");
    let (success, took) = gateway.end();
    assert!(success && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn no_log_line_tells_a_secret_or_a_subscriber_even_when_everything_is_logged() {
    let site = Site::new("secrets");
    let gateway = site.start("");
    let mut browser = site.browser();
    let address = browser.local_addr().unwrap().to_string();
    let credentials = "Authorization: Digest username=\"planted-user\", realm=\"ims.test\", \
        nonce=\"planted-nonce\", uri=\"sip:ims.test\", response=\"0123456789abcdef0123456789abcdef\"\r\n";
    browser.write_all(&frame(&register(credentials))).unwrap();
    let mut datagram = [0; 4000];
    let (len, from) = site.pcscf.recv_from(&mut datagram).unwrap();
    let request = String::from_utf8_lossy(&datagram[..len]).into_owned();
    assert!(
        request.contains("planted-nonce"),
        "passed through: {request}"
    );
    let header = |name: &str| {
        let line = request.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default().to_owned()
    };
    let refusal = format!(
        "SIP/2.0 403 Forbidden\r\n{}\r\n{}\r\n{};tag=x\r\n{}\r\n{}\r\nContent-Length: 0\r\n\r\n",
        header("Via:"),
        header("From:"),
        header("To:"),
        header("Call-ID:"),
        header("CSeq:")
    );
    site.pcscf.send_to(refusal.as_bytes(), from).unwrap();
    browser
        .write_all(&frame("planted rubbish planted-user"))
        .unwrap();
    let mut answer = [0; 4];
    browser.read_exact(&mut answer).unwrap();
    gateway.signal("TERM");
    gateway.end();
    let log = site.log();
    assert!(log.contains("registration failed"), "{log}");
    for secret in ["planted", "0123456789abcdef", "subscriber-1", &address] {
        assert!(!log.contains(secret), "{secret}:\n{log}");
    }
}

#[test]
fn a_faulty_configuration_is_refused_with_every_fault() {
    let file = std::env::temp_dir().join(format!("gatehouse-{}.toml", std::process::id()));
    fs::write(
        &file,
        "[ims]\npcsf = \"127.0.0.1:5060\"\ntransport = \"carrier pigeon\"\n",
    )
    .unwrap();
    for arguments in [
        &["check-config", file.to_str().unwrap()][..],
        &["run", "--config", file.to_str().unwrap()],
    ] {
        let output = run(arguments);
        assert!(!output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("line 2: unknown key `pcsf` in [ims]; the nearest known one is `pcscf`")
        );
        assert!(
            told.contains("line 3: [ims] transport: must be \"auto\", \"udp\", \"tcp\" or \"tls\"")
        );
        assert!(told.contains("home_domains: is missing"));
    }
    fs::remove_file(file).unwrap();
    let documented = run(&["default-config"]);
    assert!(documented.status.success());
    assert!(
        String::from_utf8(documented.stdout)
            .unwrap()
            .contains("\n[access]\n")
    );
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    let site = Site::new("taken");
    let _taken = TcpListener::bind(site.access).unwrap();
    let file = site.folder.join("gatehouse.toml");
    fs::write(
        &file,
        format!(
            "[access]\nlisten = [\"{}\"]\ntls = false\n[ims]\npcscf = \"127.0.0.1:5060\"\n\
             home_domains = [\"ims.test\"]\n[media]\naccess_listen = \"127.0.0.1\"\n\
             [state]\nfolder = {:?}\n",
            site.access, site.folder
        ),
    )
    .unwrap();
    let output = run(&["run", "--config", file.to_str().unwrap()]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        told.contains(&format!(
            "[access]: {}: Address already in use",
            site.access
        )),
        "{told}"
    );
}

#[test]
fn a_media_plane_apart_is_missed_while_it_is_away_and_served_by_when_it_is_back() {
    let site = Site::new("apart");
    let socket = site.folder.join("run/media.sock");
    let access = format!("listen = [\"{}\"]\ntls = false\n", site.access);
    let media = format!("apart = true\nsocket = {socket:?}\n");
    let config = site.configure(&access, &media, "");
    let _gateway = site.run("run", &config);
    site.wait_for("/readyz", "the media plane is away");
    assert!(site.get("/livez").starts_with("HTTP/1.1 200 "));
    assert!(
        site.get("/metrics")
            .contains("gatehouse_media_plane_up 0\n")
    );

    let plane = site.run("media", &config);
    site.wait_for("/readyz", "ok\n");
    let metrics = site.get("/metrics");
    assert!(metrics.contains("gatehouse_media_plane_up 1\n"));
    assert!(metrics.contains("gatehouse_worker_pairs_left{worker=\"0\"} 500\n"));

    plane.signal("KILL");
    site.wait_for("/readyz", "the media plane is away");
    let metrics = site.get("/metrics");
    assert!(metrics.contains("gatehouse_media_plane_losses_total 1\n"));
    let _plane = site.run("media", &config);
    site.wait_for("/readyz", "ok\n");
    let second = run_to_end("media", &config);
    assert!(second.contains("another media process"), "{second}");
}

/// Runs the program, which must refuse, and returns what it says.
fn run_to_end(verb: &str, config: &Path) -> String {
    let output = run(&[verb, "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_service_that_fails_is_started_again_and_the_others_go_on() {
    let site = Site::new("again");
    let taken = TcpListener::bind(site.management).unwrap();
    let _gateway = site.start("");
    site.read_log_until("service failed");
    drop(taken);
    site.read_log_until("service starts again");
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(site.management).is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(site.get("/livez").starts_with("HTTP/1.1 200 "));
    site.browser();
}

#[test]
fn a_service_that_fails_too_often_ends_the_process() {
    let site = Site::new("too-often");
    let _taken = TcpListener::bind(site.management).unwrap();
    let gateway = site.start("");
    // A systemd that does not read would hold the pulse up, and the end with it.
    let notify = site.notify.try_clone().unwrap();
    std::thread::spawn(move || while notify.recv(&mut [0; 1000]).is_ok() {});
    let (success, took) = gateway.end();
    assert!(!success);
    let pauses = Duration::from_millis(100 + 200 + 400 + 800 + 1600 + 3200);
    assert!(
        took > pauses - Duration::from_secs(1) && took < 3 * pauses,
        "{took:?}"
    );
    let log = site.log();
    assert_eq!(log.matches("service failed").count(), 7, "{log}");
    assert_eq!(log.matches("service starts again").count(), 6, "{log}");
    assert!(
        log.contains("gatehouse: the box gives up: status failed too often: "),
        "{log}"
    );
}

#[test]
fn sighup_takes_a_new_certificate_and_keeps_web_sockets() {
    let site = Site::new("reload");
    let secure = free_address();
    let gateway = site.start_with(
        &format!(
            "listen = [\"{secure}\"]\nplain_listen = [\"{}\"]\n",
            site.access
        ),
        "",
    );
    let (made, kept) = (
        site.folder.join("self-signed.crt"),
        site.folder.join("first.crt"),
    );
    fs::copy(&made, &kept).unwrap();
    let mut browser = connect_tls(secure, &kept).unwrap();
    browser
        .write_all(upgrade(secure, "https").as_bytes())
        .unwrap();
    expect_switch(&mut browser);

    fs::remove_file(site.folder.join("self-signed.key")).unwrap();
    gateway.signal("HUP");
    site.read_log_until("new certificate in use");
    assert!(
        connect_tls(secure, &kept).is_err(),
        "the old one is out of use"
    );
    assert!(connect_tls(secure, &made).is_ok());

    browser.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut pong = [0; 2];
    browser.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0x8a, 0], "the old connection goes on");
}

#[test]
fn journald_gets_lines_with_a_priority_and_no_time() {
    let site = Site::new("journal");
    let gateway = site.start("format = \"journal\"\n");
    let mut browser = site.browser();
    browser.write_all(&frame("rubbish")).unwrap();
    site.read_log_until("malformed message");
    gateway.signal("TERM");
    gateway.end();
    let log = site.log();
    let up = format!("<6>up listening=[{}]", site.access);
    for line in [up.as_str(), "<4>malformed message flow=1", "<6>stopped"] {
        assert!(log.lines().any(|l| l == line), "{line}:\n{log}");
    }
    for line in log.lines() {
        let is_marked = ["<3>", "<4>", "<6>", "<7>"]
            .iter()
            .any(|p| line.starts_with(p));
        assert!(is_marked, "{line}");
    }
}

/// A TLS connection of a client that believes one certificate.
fn connect_tls(
    address: SocketAddr,
    authority: &Path,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = transport::tls::client_config(authority).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn upgrade(address: SocketAddr, scheme: &str) -> String {
    format!(
        "GET /sip HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: sip\r\nOrigin: {scheme}://{address}\r\n\r\n"
    )
}

fn expect_switch(stream: &mut impl Read) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
}

fn register(credentials: &str) -> String {
    format!(
        "REGISTER sip:ims.test SIP/2.0\r\nVia: SIP/2.0/WS a1.invalid;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:subscriber-1@ims.test>;tag=1\r\n\
         To: <sip:subscriber-1@ims.test>\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:x@a1.invalid;transport=ws>;reg-id=1;\
         +sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
         {credentials}Supported: path, outbound\r\nContent-Length: 0\r\n\r\n"
    )
}
