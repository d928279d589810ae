//! A program that is told what to do by lines of JSON and answers so: `{"id": 7, "do": "register", …}`
//! is answered by `{"id": 7, "result": …}` or `{"id": 7, "error": "…"}`; a line without an id is an
//! event.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// The running program, ended when this is dropped.
#[derive(Debug)]
pub struct Driver {
    process: Process,
    commands: ChildStdin,
    heard: Arc<Heard>,
    next: u64,
}

/// What the program has said.
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

impl Driver {
    /// Starts a program; lines that are no JSON are passed over.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {:?}", command.get_program()))?;
        let commands = process.stdin.take().context("no way to the program")?;
        let answers = process.stdout.take().context("no way from the program")?;
        let heard = Arc::new(Heard::default());
        let theirs = heard.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str::<Value>(&line) {
                    theirs.take(message);
                }
            }
            lock(&theirs.inbox).is_over = true;
            theirs.more.notify_all();
        });
        Ok(Self {
            process,
            commands,
            heard,
            next: 0,
        })
    }

    /// Has a command done and waits for its result.
    pub fn ask(&mut self, command: &str, mut details: Value) -> anyhow::Result<Value> {
        self.next += 1;
        let id = self.next;
        details["id"] = json!(id);
        details["do"] = json!(command);
        writeln!(self.commands, "{details}").context("the program is gone")?;
        let started = Instant::now();
        let mut inbox = lock(&self.heard.inbox);
        loop {
            if let Some(mut answer) = inbox.answers.remove(&id) {
                if let Some(error) = answer["error"].as_str() {
                    bail!("{error}");
                }
                return Ok(answer["result"].take());
            }
            if inbox.is_over || started.elapsed() > Duration::from_secs(20) {
                bail!("no answer to {command}");
            }
            inbox = wait(&self.heard.more, inbox);
        }
    }

    /// Waits for an event and takes it.
    pub fn event(&self, is_it: impl Fn(&Value) -> bool, limit: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        let mut inbox = lock(&self.heard.inbox);
        loop {
            if let Some(at) = inbox.events.iter().position(&is_it) {
                return Ok(inbox.events.remove(at));
            }
            if inbox.is_over {
                bail!("the program is gone");
            }
            if started.elapsed() > limit {
                bail!("nothing came");
            }
            inbox = wait(&self.heard.more, inbox);
        }
    }

    /// Whether an event came that nobody waited for yet.
    pub fn has_seen(&self, is_meant: impl Fn(&Value) -> bool) -> bool {
        lock(&self.heard.inbox).events.iter().any(is_meant)
    }

    /// Forgets all events that nobody waited for.
    pub fn forget(&self) {
        lock(&self.heard.inbox).events.clear();
    }

    /// The events that nobody waited for and that are meant, one after the other.
    pub fn seen(&self, is_meant: impl Fn(&Value) -> bool) -> String {
        let inbox = lock(&self.heard.inbox);
        let events = inbox.events.iter().filter(|event| is_meant(event));
        events
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Heard {
    fn take(&self, message: Value) {
        let mut inbox = lock(&self.inbox);
        match message["id"].as_u64() {
            Some(id) => {
                inbox.answers.insert(id, message);
            }
            None => inbox.events.push(message),
        }
        self.more.notify_all();
    }
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wait<'a>(more: &Condvar, inbox: MutexGuard<'a, Inbox>) -> MutexGuard<'a, Inbox> {
    match more.wait_timeout(inbox, Duration::from_millis(100)) {
        Ok((inbox, _)) => inbox,
        Err(poisoned) => poisoned.into_inner().0,
    }
}
