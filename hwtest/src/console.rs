//! What a box prints, line by line, with the time since it was switched on; and waiting for words.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A serial line that is listened to.
#[derive(Debug)]
pub struct Console {
    lines: Receiver<(Duration, String)>,
    seen: Vec<(Duration, String)>,
    next: usize,
}

impl Console {
    /// Listens from now on; everything is also written to a file, for those who look afterwards.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn listen(line: impl Read + Send + 'static, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let (sender, lines) = mpsc::channel();
        let started = Instant::now();
        std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || read(line, &sender, started, log))
            .context("no thread for the console")?;
        Ok(Self {
            lines,
            seen: Vec::new(),
            next: 0,
        })
    }

    /// Waits for a line that contains the words, behind the one that was found last; returns when
    /// it came, counted from the start.
    ///
    /// # Errors
    /// If it does not come in time, or the box is switched off.
    pub fn expect(&mut self, words: &str, patience: Duration) -> anyhow::Result<Duration> {
        let until = Instant::now() + patience;
        loop {
            while let Some((at, line)) = self.seen.get(self.next) {
                self.next += 1;
                if line.contains(words) {
                    return Ok(*at);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => bail!(
                    "not on the console within {} s: {words:?}; the last lines are\n{}",
                    patience.as_secs(),
                    self.last(12)
                ),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!(
                        "the console ended before {words:?}; the last lines are\n{}",
                        self.last(12)
                    )
                }
            }
        }
    }

    /// The last lines, for a report.
    #[must_use]
    pub fn last(&self, count: usize) -> String {
        let from = self.seen.len().saturating_sub(count);
        self.seen[from..]
            .iter()
            .map(|(at, line)| format!("  {:7.2} {line}\n", at.as_secs_f64()))
            .collect()
    }
}

fn read(
    mut line: impl Read,
    sender: &mpsc::Sender<(Duration, String)>,
    started: Instant,
    mut log: File,
) {
    let mut bytes = [0; 4096];
    let mut text = Vec::new();
    while let Ok(length @ 1..) = line.read(&mut bytes) {
        for byte in &bytes[..length] {
            if *byte != b'\n' {
                text.push(*byte);
                continue;
            }
            let at = started.elapsed();
            let whole = printable(&text);
            text.clear();
            let _ = writeln!(log, "{:8.3} {whole}", at.as_secs_f64());
            if sender.send((at, whole)).is_err() {
                return;
            }
        }
    }
}

/// The line without a terminal's commands.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A command ends with a letter.
            let _ = letters.find(char::is_ascii_alphabetic);
        } else if !letter.is_control() {
            clean.push(letter);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn console(text: &'static str, name: &str) -> Console {
        let log = std::env::temp_dir().join(format!("hwtest-{name}-{}", std::process::id()));
        let console = Console::listen(text.as_bytes(), &log).unwrap();
        std::fs::remove_file(log).unwrap();
        console
    }

    #[test]
    fn words_are_found_in_order() {
        let mut console = console("U-Boot\r\nStarting kernel\r\n", "order");

        console.expect("Boot", Duration::from_secs(5)).unwrap();
        console.expect("kernel", Duration::from_secs(5)).unwrap();
        assert!(console.expect("U-Boot", Duration::from_secs(5)).is_err());
    }

    #[test]
    fn commands_for_a_terminal_are_left_out() {
        assert_eq!(printable(b"\x1b[7mred\x1b[0m and plain\r"), "red and plain");
    }
}
