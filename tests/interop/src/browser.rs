//! Headless Chromium with JsSIP and SIP.js, behind a driver that speaks lines of JSON.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::driver::Driver;

/// The browser; its tabs are told what to do by name.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
}

impl Browser {
    /// Starts Chromium; the driver serves the tests' page on a port of loopback.
    pub fn start(script: &Path, port: u16) -> anyhow::Result<Self> {
        let mut node = Command::new("node");
        node.arg(script).arg(port.to_string());
        let driver = Driver::start(&mut node)?;
        let is_ready = |event: &Value| event["event"] == "ready";
        driver
            .event(is_ready, Duration::from_secs(30))
            .context("Chromium did not start")?;
        Ok(Self { driver })
    }

    /// Has a command done and waits for its result.
    pub fn ask(&mut self, tab: &str, command: &str, mut details: Value) -> anyhow::Result<Value> {
        details["tab"] = json!(tab);
        self.driver
            .ask(command, details)
            .with_context(|| format!("{tab} could not {command}"))
    }

    /// Has a command done that takes no details.
    pub fn tell(&mut self, tab: &str, command: &str) -> anyhow::Result<()> {
        self.ask(tab, command, json!({})).map(drop)
    }

    /// Waits for an event of a tab, by name.
    pub fn wait(&self, tab: &str, name: &str, limit: Duration) -> anyhow::Result<Value> {
        self.driver
            .event(|event| event["tab"] == tab && event["event"] == name, limit)
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
        self.driver
            .event(|event| event["tab"] == tab && is_one(event), limit)
            .with_context(|| {
                format!(
                    "{tab} saw none of {names:?} within {limit:?}, only {}",
                    self.seen(tab)
                )
            })
    }

    /// Whether a tab has said something that nobody waited for yet.
    pub fn has_seen(&self, tab: &str, name: &str) -> bool {
        let is_meant = |event: &Value| event["tab"] == tab && event["event"] == name;
        self.driver.has_seen(is_meant)
    }

    /// Forgets all events that nobody waited for.
    pub fn forget(&self) {
        self.driver.forget();
    }

    /// What a tab has said that nobody waited for, one a line.
    pub fn seen(&self, tab: &str) -> String {
        self.driver.seen(|event| event["tab"] == tab)
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
}

/// A bin of the analyser is 6 Hz wide.
const TOLERANCE: f64 = 12.0;
