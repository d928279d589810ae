//! The program on a site of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{expect_switch, upgrade};

/// A folder with a configuration, a notify socket, and a P-CSCF that only listens.
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) notify: UnixDatagram,
    pub(crate) access: SocketAddr,
    pub(crate) management: SocketAddr,
    pub(crate) pcscf: UdpSocket,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
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

    pub(crate) fn start(&self, more: &str) -> Gateway {
        let access = format!("listen = [\"{}\"]\ntls = false\n", self.access);
        self.start_with(&access, more)
    }

    /// Starts with these settings of `[access]`, and more behind those of `[log]`.
    pub(crate) fn start_with(&self, access: &str, more: &str) -> Gateway {
        let file = self.configure(access, "", more);
        self.run("run", &file)
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, access: &str, media_settings: &str, more: &str) -> PathBuf {
        let media = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "[access]\n{access}web_root = \"none\"\n\
             [ims]\npcscf = \"{}\"\nhome_domains = [\"ims.test\"]\nports = \"45000-45999\"\n\
             [media]\nworkers = 1\naccess_listen = \"127.0.0.1\"\naccess_port = {}\n\
             ims_ports = \"44000-44999\"\n{media_settings}[limits]\nflows = 100\n[calls]\ncount = 10\n\
             [management]\nlisten = \"{}\"\n[state]\nfolder = {:?}\n[log]\nlevel = \"trace\"\n\
             {more}",
            self.pcscf.local_addr().unwrap(),
            media.port(),
            self.management,
            self.folder,
        );
        let file = self.folder.join("gatehouse.toml");
        fs::write(&file, config).unwrap();
        file
    }

    /// Starts the program and waits until it says that it is up.
    pub(crate) fn run(&self, verb: &str, config: &Path) -> Gateway {
        self.run_with(verb, config, &[])
    }

    /// The same, told more. It has a runtime folder of its own, like a unit of systemd.
    pub(crate) fn run_with(&self, verb: &str, config: &Path, more: &[&str]) -> Gateway {
        let runtime = self.runtime(verb);
        fs::create_dir_all(&runtime).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .args([verb, "--config"])
            .arg(config)
            .args(more)
            .env("RUNTIME_DIRECTORY", runtime)
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

    /// The runtime folder of what was started by this verb.
    pub(crate) fn runtime(&self, verb: &str) -> PathBuf {
        self.folder.join(format!("runtime-{verb}"))
    }

    /// Waits for systemd to be told something.
    pub(crate) fn hear(&self, wanted: &str) {
        let mut message = [0; 1000];
        loop {
            let len = self.notify.recv(&mut message).expect(wanted);
            let message = String::from_utf8_lossy(&message[..len]);
            if message.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
    }

    pub(crate) fn read_log_until(&self, wanted: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(wanted) {
            assert!(Instant::now() < until, "{wanted}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> String {
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

    /// Asks until the answer holds something.
    pub(crate) fn wait_for(&self, path: &str, wanted: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        let is_there = || TcpStream::connect(self.management).is_ok();
        while !is_there() || !self.get(path).contains(wanted) {
            assert!(Instant::now() < until, "{path}: {wanted}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A WebSocket of a browser on the box's own page.
    pub(crate) fn browser(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.access).unwrap();
        stream
            .write_all(upgrade(self.access, "http").as_bytes())
            .unwrap();
        expect_switch(&mut stream);
        stream
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The running program; it does not outlive its test.
pub(crate) struct Gateway(pub(crate) Option<Child>);

impl Gateway {
    pub(crate) fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        // The shell's own: a bare Debian has no program of that name.
        let kill = format!("kill -s {name} {id}");
        let done = Command::new("sh").args(["-c", &kill]).status();
        assert!(done.unwrap().success());
    }

    /// How it ended, and how long that took.
    pub(crate) fn end(mut self) -> (bool, Duration) {
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

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
