//! The program as systemd and a technician see it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A folder with a configuration, a notify socket, and a P-CSCF that only listens.
struct Site {
    folder: PathBuf,
    notify: UnixDatagram,
    access: SocketAddr,
    management: SocketAddr,
    pcscf: UdpSocket,
}

impl Site {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gatehouse-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let notify = UnixDatagram::bind(folder.join("notify")).unwrap();
        notify
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let pcscf = UdpSocket::bind("127.0.0.1:0").unwrap();
        pcscf
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Site {
            folder,
            notify,
            access: free_address(),
            management: free_address(),
            pcscf,
        }
    }

    fn start(&self, more: &str) -> Gateway {
        let media = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "[access]\nlisten = [\"{}\"]\ntls = false\nweb_root = \"none\"\n\
             [ims]\npcscf = \"{}\"\nhome_domains = [\"ims.test\"]\nports = \"45000-45999\"\n\
             [media]\nworkers = 1\naccess_listen = \"127.0.0.1\"\naccess_port = {}\n\
             ims_ports = \"44000-44999\"\n[limits]\nflows = 100\n[calls]\ncount = 10\n\
             [management]\nlisten = \"{}\"\n[state]\nfolder = {:?}\n[log]\nlevel = \"trace\"\n\
             {more}",
            self.access,
            self.pcscf.local_addr().unwrap(),
            media.port(),
            self.management,
            self.folder,
        );
        let file = self.folder.join("gatehouse.toml");
        fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args(["run", "--config"])
            .arg(file)
            .env("NOTIFY_SOCKET", self.folder.join("notify"))
            .env("WATCHDOG_USEC", "600000")
            .env_remove("WATCHDOG_PID")
            .stderr(Stdio::from(
                fs::File::create(self.folder.join("log")).unwrap(),
            ))
            .spawn()
            .unwrap();
        let gateway = Gateway(Some(child));
        self.hear("READY=1");
        gateway
    }

    /// Waits for systemd to be told something.
    fn hear(&self, wanted: &str) {
        let mut message = [0; 1000];
        loop {
            let len = self.notify.recv(&mut message).expect(wanted);
            let message = String::from_utf8_lossy(&message[..len]);
            if message.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.management).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A WebSocket of a browser on the box's own page.
    fn browser(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.access).unwrap();
        write!(
            stream,
            "GET /sip HTTP/1.1\r\nHost: {0}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: sip\r\nOrigin: http://{0}\r\n\r\n",
            self.access
        )
        .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        stream
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The running program; it does not outlive its test.
struct Gateway(Option<Child>);

impl Gateway {
    fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        let done = Command::new("kill").args(["-s", name, &id]).status();
        assert!(done.unwrap().success());
    }

    /// How it ended, and how long that took.
    fn end(mut self) -> (bool, Duration) {
        let before = Instant::now();
        let status = self.0.take().unwrap().wait().unwrap();
        (status.success(), before.elapsed())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

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
        assert!(told.contains("line 3: [ims] transport: must be \"udp\", \"tcp\" or \"tls\""));
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
