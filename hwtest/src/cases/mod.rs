//! The cases, and what they have in common.

pub mod boot;
pub mod call;
pub mod cuts;
mod ports;
pub mod reset;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::target::Target;

/// Checks, told as they are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// That were as wanted.
    pub passed: u32,
    /// That were not.
    pub failed: u32,
}

impl Report {
    /// Makes a check: what it returns is told behind its name.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> anyhow::Result<String>) {
        let started = Instant::now();
        match check() {
            Ok(found) => {
                self.passed += 1;
                let found = if found.is_empty() {
                    found
                } else {
                    format!(": {found}")
                };
                println!(
                    "ok     {name}{found} ({:.1} s)",
                    started.elapsed().as_secs_f64()
                );
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED {name}: {error:#}");
            }
        }
    }
}

/// Seconds on a board, as long as that is on this target.
#[must_use]
pub fn patience(target: &dyn Target, seconds: u64) -> Duration {
    Duration::from_secs(seconds) * target.slowness()
}

/// Asks for a page without encryption; returns the status and the body.
///
/// # Errors
/// If nobody answers, or not in HTTP.
pub fn get(at: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&at, limit).context("nobody answers")?;
    stream
        .set_read_timeout(Some(limit))
        .context("no time limit")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("the request was not taken")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("the answer broke off")?;
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .context("that is not HTTP")?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}

/// Waits until the box says that it can serve.
///
/// # Errors
/// If it does not in time; says what it said last.
pub fn wait_ready(target: &dyn Target, patience: Duration) -> anyhow::Result<()> {
    let at = SocketAddr::from((target.address(), MANAGEMENT));
    let until = Instant::now() + patience;
    loop {
        let answer = get(at, "/readyz");
        match answer {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) if Instant::now() > until => bail!("/readyz says {status}: {body}"),
            Err(error) if Instant::now() > until => return Err(error.context("/readyz")),
            _ => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// Port of the technician's page.
const MANAGEMENT: u16 = 9090;
