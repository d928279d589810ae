//! A server or telephone started by a test: what it prints goes to a file, and it ends with us.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    log: PathBuf,
}

impl Child {
    /// Starts a program; both its outputs go to `NAME.log` in the folder.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("no {}", log.display()))?;
        let process = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("no second handle")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            process,
            log,
        })
    }

    /// Where its outputs go.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits until its log holds a text.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let log = fs::read(&self.log).unwrap_or_default();
            if String::from_utf8_lossy(&log).contains(text) {
                return Ok(());
            }
            if !self.is_running() {
                bail!("{} ended: {}", self.name, tail(&self.log));
            }
            if started.elapsed() > limit {
                bail!(
                    "{} did not say {text:?} within {limit:?}: {}",
                    self.name,
                    tail(&self.log)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end (SIGTERM) and waits; kills it after the limit. Says whether it ended itself.
    pub fn stop(&mut self, limit: Duration) -> bool {
        self.signal(libc::SIGTERM);
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > limit {
                self.kill();
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Has it end badly (SIGABRT); says whether the kernel wrote an image of its memory.
    pub fn abort(&mut self) -> anyhow::Result<bool> {
        self.signal(libc::SIGABRT);
        let status = self.process.wait().context("lost a child")?;
        Ok(status.core_dumped())
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits for it to end by itself and returns its exit code.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<i32>> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().context("lost a child")? {
                return Ok(status.code());
            }
            if started.elapsed() > limit {
                bail!("{} was still running after {limit:?}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[allow(unsafe_code)]
    fn signal(&self, signal: i32) {
        let Ok(id) = i32::try_from(self.process.id()) else {
            return;
        };
        // SAFETY: kill takes two integers; the process is our own child and not yet waited for.
        unsafe {
            libc::kill(id, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_running() {
            self.stop(Duration::from_millis(300));
        }
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
