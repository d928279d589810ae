//! A telephone that follows a script: sipp with a scenario from `sipp/`.

use std::fs;
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
    /// Which of the telephones' addresses it has.
    pub n: u8,
    /// Whose it is.
    pub user: &'static str,
    /// `u1` for UDP, `t1` for TCP; one that is called must take requests above 1300 bytes.
    pub transport: &'static str,
}

impl Scripted {
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
        let address = network::telephone(self.n).to_string();
        let password = hss::password(self.user);
        let mut command = Command::new("sipp");
        command.current_dir(&folder).arg("-sf").arg(&file);
        command.args([
            "-i",
            &address,
            "-p",
            "5060",
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
        command.arg(format!("{}:5060", network::PCSCF));
        let child = Child::start(&format!("sipp-{name}"), &mut command, &folder)?;
        let is_called = scenario.contains("recv request=\"INVITE\"");
        if is_called {
            let is_tcp = self.transport == "t1";
            network::wait_for_port(
                is_tcp,
                network::telephone(self.n),
                5060,
                Duration::from_secs(3),
            )?;
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
