//! Headless Chromium with JsSIP and SIP.js, behind a driver that speaks lines of JSON.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// The browser; its tabs are told what to do by name.
#[derive(Debug)]
pub struct Browser {
    process: Process,
    commands: ChildStdin,
    heard: Arc<Heard>,
    next: u64,
}

/// What the driver has said.
#[derive(Debug, Default)]
struct Heard {
    inbox: Mutex<Inbox>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    answers: BTreeMap<u64, Value>,
    events: Vec<Value>,
    is_over: bool,
}

impl Browser {
    /// Starts Chromium; the driver serves the tests' page on a port of loopback.
    pub fn start(driver: &Path, port: u16) -> anyhow::Result<Self> {
        let mut process = Command::new("node")
            .arg(driver)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start node")?;
        let commands = process.stdin.take().context("no way to the driver")?;
        let answers = process.stdout.take().context("no way from the driver")?;
        let heard = Arc::new(Heard::default());
        let theirs = heard.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                let mut inbox = lock(&theirs.inbox);
                match message["id"].as_u64() {
                    Some(id) => {
                        inbox.answers.insert(id, message);
                    }
                    None => inbox.events.push(message),
                }
                theirs.more.notify_all();
            }
            lock(&theirs.inbox).is_over = true;
            theirs.more.notify_all();
        });
        let browser = Self {
            process,
            commands,
            heard,
            next: 0,
        };
        browser
            .event(|event| event["event"] == "ready", Duration::from_secs(30))
            .context("Chromium did not start")?;
        Ok(browser)
    }

    /// Has a command done and waits for its result.
    pub fn ask(&mut self, tab: &str, command: &str, mut details: Value) -> anyhow::Result<Value> {
        self.next += 1;
        let id = self.next;
        details["id"] = json!(id);
        details["do"] = json!(command);
        details["tab"] = json!(tab);
        writeln!(self.commands, "{details}").context("the driver is gone")?;
        let started = Instant::now();
        let mut inbox = lock(&self.heard.inbox);
        loop {
            if let Some(mut answer) = inbox.answers.remove(&id) {
                if let Some(error) = answer["error"].as_str() {
                    bail!("{tab} could not {command}: {error}");
                }
                return Ok(answer["result"].take());
            }
            if inbox.is_over || started.elapsed() > Duration::from_secs(20) {
                bail!("the driver did not answer {command}");
            }
            inbox = wait(&self.heard.more, inbox);
        }
    }

    /// Has a command done that takes no details.
    pub fn tell(&mut self, tab: &str, command: &str) -> anyhow::Result<()> {
        self.ask(tab, command, json!({})).map(drop)
    }

    /// Waits for an event of a tab, by name.
    pub fn wait(&self, tab: &str, name: &str, limit: Duration) -> anyhow::Result<Value> {
        self.event(|event| event["tab"] == tab && event["event"] == name, limit)
            .with_context(|| {
                format!(
                    "{tab} saw no {name} within {limit:?}, only {}",
                    self.seen(tab)
                )
            })
    }

    /// Waits for the first of several events of a tab.
    pub fn wait_for_any(
        &self,
        tab: &str,
        names: &[&str],
        limit: Duration,
    ) -> anyhow::Result<Value> {
        let is_one = |event: &Value| {
            event["event"]
                .as_str()
                .is_some_and(|name| names.contains(&name))
        };
        self.event(|event| event["tab"] == tab && is_one(event), limit)
            .with_context(|| {
                format!(
                    "{tab} saw none of {names:?} within {limit:?}, only {}",
                    self.seen(tab)
                )
            })
    }

    /// Whether a tab has said something that nobody waited for yet.
    pub fn has_seen(&self, tab: &str, name: &str) -> bool {
        lock(&self.heard.inbox)
            .events
            .iter()
            .any(|event| event["tab"] == tab && event["event"] == name)
    }

    /// Forgets all events that nobody waited for.
    pub fn forget(&self) {
        lock(&self.heard.inbox).events.clear();
    }

    /// What a tab has said that nobody waited for, one a line.
    pub fn seen(&self, tab: &str) -> String {
        let inbox = lock(&self.heard.inbox);
        let events = inbox.events.iter().filter(|event| event["tab"] == tab);
        events
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The strongest frequency a tab receives, in hertz.
    pub fn hear(&mut self, tab: &str) -> anyhow::Result<Vec<f64>> {
        let peaks = self.ask(tab, "hear", json!({}))?;
        let peaks = peaks.as_array().cloned().unwrap_or_default();
        Ok(peaks
            .iter()
            .filter_map(|peak| peak["frequency"].as_f64())
            .collect())
    }

    /// Waits until a tone is the strongest thing a tab receives.
    pub fn wait_for_tone(
        &mut self,
        tab: &str,
        frequency: f64,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.wait_for_tones(tab, &[frequency], limit)
    }

    /// Waits until these tones are the strongest things a tab receives.
    pub fn wait_for_tones(
        &mut self,
        tab: &str,
        frequencies: &[f64],
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.wait_for_loud(tab, frequencies, frequencies.len(), limit)
    }

    /// Waits until these tones are among the loudest things a tab receives, whatever else is.
    pub fn wait_for_tones_among(
        &mut self,
        tab: &str,
        frequencies: &[f64],
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.wait_for_loud(tab, frequencies, usize::MAX, limit)
    }

    fn wait_for_loud(
        &mut self,
        tab: &str,
        frequencies: &[f64],
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let heard = self.hear(tab)?;
            let strongest = &heard[..heard.len().min(count)];
            let is_there = |wanted: &f64| {
                strongest
                    .iter()
                    .any(|found| (found - wanted).abs() < TOLERANCE)
            };
            if frequencies.iter().all(is_there) {
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!(
                    "{tab} did not hear {frequencies:?} Hz within {limit:?}; strongest: {heard:.0?}"
                );
            }
            std::thread::sleep(Duration::from_millis(60));
        }
    }

    /// Waits until a tab receives no tone.
    pub fn wait_for_silence(&mut self, tab: &str, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let heard = self.hear(tab)?;
            if heard.is_empty() {
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!("{tab} still hears {heard:.0?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn event(&self, is_it: impl Fn(&Value) -> bool, limit: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        let mut inbox = lock(&self.heard.inbox);
        loop {
            if let Some(at) = inbox.events.iter().position(&is_it) {
                return Ok(inbox.events.remove(at));
            }
            if inbox.is_over {
                bail!("the driver is gone");
            }
            if started.elapsed() > limit {
                bail!("nothing came");
            }
            inbox = wait(&self.heard.more, inbox);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wait<'a>(
    more: &Condvar,
    inbox: std::sync::MutexGuard<'a, Inbox>,
) -> std::sync::MutexGuard<'a, Inbox> {
    match more.wait_timeout(inbox, Duration::from_millis(100)) {
        Ok((inbox, _)) => inbox,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

/// A bin of the analyser is 6 Hz wide.
const TOLERANCE: f64 = 12.0;
