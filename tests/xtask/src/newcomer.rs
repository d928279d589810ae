//! The demo lane: what a newcomer does with `cargo xtask demo`, done by a scripted browser.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::tally::Tally;
use crate::{tools, verbs, workspace};

/// Starts the demo on a free port, tries everything on its page, and counts the steps.
pub(crate) fn check() -> anyhow::Result<Tally> {
    tools::debian(&["chromium"])?;
    let browser = workspace::root().join("tests/interop/browser");
    tools::npm(&browser)?;
    let port = free_port()?;
    let mut demo = verbs::demo_command(workspace::Extent::Whole)?;
    demo.args(["--port", &port.to_string()]);
    let demo = Running(demo.spawn().context("could not start the demo")?);
    wait_for(port, demo)?.then_try(port)
}

/// The demo, ended when this is dropped.
struct Running(Child);

impl Running {
    /// Drives the page and counts the lines that say how each step went.
    fn then_try(self, port: u16) -> anyhow::Result<Tally> {
        let screenshots = workspace::target_folder().join("demo");
        let script = workspace::root().join("tests/interop/browser/demo.mjs");
        let mut script = workspace::command("node")
            .arg(script)
            .arg(format!("http://localhost:{port}"))
            .arg(&screenshots)
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start node")?;
        let output = script.stdout.take().context("no way from the script")?;
        let mut tally = Tally::default();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("{line}");
            match line.split_whitespace().next() {
                Some("ok") => tally += Tally::one(true),
                Some("FAILED") => tally += Tally::one(false),
                _ => {}
            }
        }
        let status = script.wait().context("lost the script")?;
        if !status.success() && tally.failed == 0 {
            println!("error: the script ended with {status}");
            tally += Tally::one(false);
        }
        println!("screenshots are in {}", screenshots.display());
        Ok(tally)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(port: u16, mut demo: Running) -> anyhow::Result<Running> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if let Ok(Some(status)) = demo.0.try_wait() {
            bail!("the demo ended with {status}");
        }
        if started.elapsed() > Duration::from_secs(20) {
            bail!("the demo does not listen on port {port}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(demo)
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}
