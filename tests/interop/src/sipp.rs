//! A telephone that follows a script: sipp with a scenario from `sipp/`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::child::Child;
use crate::{hss, network};

/// A scenario under way.
#[derive(Debug)]
pub struct Script {
    child: Child,
    folder: PathBuf,
}

/// A user whose telephone follows scripts.
#[derive(Clone, Copy, Debug)]
pub struct Scripted {
    /// Its own address and port.
    pub address: SocketAddrV4,
    /// Where its requests go.
    pub next_hop: SocketAddrV4,
    /// Whose it is.
    pub user: &'static str,
    /// `u1` for UDP, `t1` for TCP; one that is called must take requests above 1300 bytes.
    pub transport: &'static str,
}

impl Scripted {
    /// The telephone at one of the telephones' addresses, registered through the P-CSCF.
    pub fn telephone(n: u8, user: &'static str, transport: &'static str) -> Self {
        Self {
            address: SocketAddrV4::new(network::telephone(n), 5060),
            next_hop: SocketAddrV4::new(network::PCSCF, 5060),
            user,
            transport,
        }
    }

    /// A P-CSCF by script: it speaks Mw with the I-CSCF.
    pub fn on_mw(address: Ipv4Addr, user: &'static str) -> Self {
        Self {
            address: SocketAddrV4::new(address, 5070),
            next_hop: SocketAddrV4::new(network::ICSCF, 4060),
            user,
            transport: "u1",
        }
    }

    /// The same in front of another server.
    pub fn through(self, server: Ipv4Addr) -> Self {
        Self {
            next_hop: SocketAddrV4::new(server, 5060),
            ..self
        }
    }

    /// Registers, by a scenario of its own; the binding outlives it.
    pub fn register(self, folder: &Path) -> anyhow::Result<()> {
        let mut script = self.run(folder, "register", include_str!("../sipp/register.xml"), "")?;
        script
            .finish(Duration::from_secs(8))
            .context("could not register")
    }

    /// Starts a scenario: one call, to a target or from whoever calls.
    pub fn run(
        self,
        folder: &Path,
        name: &str,
        scenario: &str,
        target: &str,
    ) -> anyhow::Result<Script> {
        let folder = folder.join(self.user);
        fs::create_dir_all(&folder).context("no folder for a script")?;
        let file = folder.join(format!("{name}.xml"));
        fs::write(&file, scenario).context("no scenario")?;
        let address = self.address.ip().to_string();
        let password = hss::password(self.user);
        let mut command = Command::new("sipp");
        command.current_dir(&folder).arg("-sf").arg(&file);
        command.args([
            "-i",
            &address,
            "-p",
            &self.address.port().to_string(),
            "-mi",
            &address,
            "-t",
            self.transport,
            "-m",
            "1",
            "-nostdin",
        ]);
        command.args([
            "-s",
            self.user,
            "-au",
            &format!("{}@{}", self.user, hss::DOMAIN),
            "-ap",
            &password,
        ]);
        command.args([
            "-key",
            "user",
            self.user,
            "-key",
            "target",
            target,
            "-key",
            "domain",
            hss::DOMAIN,
        ]);
        command.args([
            "-key",
            "way",
            if self.transport == "t1" { "tcp" } else { "udp" },
        ]);
        command.args([
            "-trace_err",
            "-trace_msg",
            "-timeout",
            "40",
            "-timeout_error",
        ]);
        command.arg(self.next_hop.to_string());
        let child = Child::start(&format!("sipp-{name}"), &mut command, &folder)?;
        let is_called = scenario.contains("recv request=\"INVITE\"");
        if is_called {
            let is_tcp = self.transport == "t1";
            network::wait_for_port(is_tcp, self.address, Duration::from_secs(3))?;
        }
        Ok(Script { child, folder })
    }
}

impl Script {
    /// Waits for the scenario's end and fails unless it went as written.
    pub fn finish(&mut self, limit: Duration) -> anyhow::Result<()> {
        match self.child.wait(limit)? {
            Some(0) => Ok(()),
            code => bail!("the script ended with {code:?}: {}", self.errors()),
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.is_running()
    }

    fn errors(&self) -> String {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let files = entries
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with("_errors.log"));
        files
            .map(|path| crate::child::tail(&path))
            .collect::<Vec<_>>()
            .join(" | ")
    }
}
