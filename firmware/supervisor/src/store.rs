//! What signaling wants kept over a restart, in one file in the state folder: versioned
//! records with a key each (redb), written by a thread of their own, many at once.
//!
//! A full disk or a damaged file costs what was kept, and never a call: the box starts and
//! goes on without, says so, and writes everything down anew as soon as it can.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use signaling::{Input, RecordKey, RecordKind, WriteId};
use tokio::sync::{mpsc, oneshot};
use transport::pulse::Pulse;

use crate::health::Health;

/// Takes wishes to write, never waiting.
#[derive(Clone)]
pub(crate) struct Store {
    queue: SyncSender<Task>,
    state: Arc<State>,
}

/// What the metrics and the writer's queue know of the store.
#[derive(Default)]
struct State {
    is_open: AtomicBool,
    /// Times that it could not be written to or read.
    failures: AtomicU64,
    /// A wish did not fit into the queue: the file is behind.
    is_behind: AtomicBool,
}

enum Task {
    Write {
        write: WriteId,
        key: RecordKey,
        value: Option<Bytes>,
    },
    ReadAll(oneshot::Sender<Vec<(RecordKey, Bytes)>>),
    Clear,
    Flush(oneshot::Sender<()>),
}

impl Store {
    /// Opens the file, or goes on without, and starts the writer. What signaling is to
    /// hear comes out of the channel.
    pub(crate) fn start(
        folder: &Path,
        health: &Health,
    ) -> io::Result<(Self, mpsc::Receiver<Input>)> {
        let (queue, tasks) = sync_channel(QUEUED);
        let (news, heard) = mpsc::channel(QUEUED);
        let state = Arc::new(State::default());
        let path = folder.join("state.redb");
        let shared = Arc::clone(&state);
        let pulse = health.watch_at_disk("store");
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let file = File::new(path, shared);
                Writer { file, news }.run(&tasks, &pulse);
            })?;
        Ok((Store { queue, state }, heard))
    }

    /// Wishes for a record to be written, or removed. Given back if there is no room: then
    /// it is not kept until everything is written down anew.
    pub(crate) fn write(
        &self,
        write: WriteId,
        key: RecordKey,
        value: Option<Bytes>,
    ) -> Result<(), WriteId> {
        match self.queue.try_send(Task::Write { write, key, value }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.state.is_behind.store(true, Ordering::Relaxed);
                Err(write)
            }
        }
    }

    /// Every record that can be read.
    pub(crate) async fn read_all(&self) -> Vec<(RecordKey, Bytes)> {
        let (answer, records) = oneshot::channel();
        if self.queue.try_send(Task::ReadAll(answer)).is_err() {
            return Vec::new();
        }
        records.await.unwrap_or_default()
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let _ = self.queue.try_send(Task::Clear);
    }

    /// Resolves when everything wished for so far is written.
    pub(crate) async fn flush(&self) {
        let (answer, done) = oneshot::channel();
        if self.queue.try_send(Task::Flush(answer)).is_ok() {
            let _ = done.await;
        }
    }

    /// Whether records are being kept.
    pub(crate) fn is_open(&self) -> bool {
        self.state.is_open.load(Ordering::Relaxed)
    }

    /// Times that they could not be.
    pub(crate) fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::Relaxed)
    }
}

/// The thread that writes.
struct Writer {
    file: File,
    news: mpsc::Sender<Input>,
}

impl Writer {
    fn run(mut self, tasks: &Receiver<Task>, pulse: &Pulse) {
        let mut batch = Vec::new();
        loop {
            match tasks.recv_timeout(Pulse::LONGEST_TURN) {
                Ok(task) => batch.push(task),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            batch.extend(tasks.try_iter().take(BATCH));
            if self.file.catch_up(RETRY) && self.news.blocking_send(Input::KeepAgain).is_err() {
                return;
            }
            let mut writes = Vec::new();
            for task in batch.drain(..) {
                match task {
                    Task::Write { write, key, value } => writes.push((write, key, value)),
                    other => {
                        if !self.write(&mut writes) {
                            return;
                        }
                        self.serve(other);
                    }
                }
            }
            if !self.write(&mut writes) {
                return;
            }
            pulse.beat();
        }
    }

    fn serve(&mut self, task: Task) {
        match task {
            Task::ReadAll(answer) => {
                let _ = answer.send(self.file.read_all());
            }
            Task::Clear => {
                if !self.file.clear() {
                    self.file.put_aside();
                }
            }
            Task::Flush(answer) => {
                let _ = answer.send(());
            }
            Task::Write { .. } => {}
        }
    }

    /// Writes a batch and says so for each wish, kept or not. No if nobody listens.
    fn write(&mut self, writes: &mut Vec<(WriteId, RecordKey, Option<Bytes>)>) -> bool {
        if writes.is_empty() {
            return true;
        }
        self.file.write(writes);
        writes.drain(..).all(|(write, _, _)| {
            let stored = Input::Stored { write };
            self.news.blocking_send(stored).is_ok()
        })
    }
}

/// The file, open or not.
struct File {
    path: PathBuf,
    database: Option<Database>,
    /// When it was last tried to open it.
    tried_at: Instant,
    state: Arc<State>,
}

type Records = TableDefinition<'static, &'static str, &'static [u8]>;

fn table(kind: RecordKind) -> Records {
    TableDefinition::new(kind.name())
}

impl File {
    fn new(path: PathBuf, state: Arc<State>) -> Self {
        let mut file = File {
            path,
            database: None,
            tried_at: Instant::now(),
            state,
        };
        file.open();
        file
    }

    /// Opens the file. A damaged one is put aside, for whoever wants to look at it.
    fn open(&mut self) {
        self.tried_at = Instant::now();
        let opened = match guarded(|| open(&self.path)) {
            Err(Fault::Damaged(error)) => {
                let aside = self.path.with_extension("redb.damaged");
                let file = self.path.display();
                tracing::error!(%file, error, kept_as = %aside.display(), "the kept state is damaged: starting without");
                self.state.failures.fetch_add(1, Ordering::Relaxed);
                let _ = fs::rename(&self.path, aside);
                guarded(|| open(&self.path))
            }
            other => other,
        };
        match opened {
            Ok(database) => {
                self.database = Some(database);
                self.state.is_open.store(true, Ordering::Relaxed);
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// Goes on without the file.
    fn fail(&mut self, fault: Fault) {
        let was_open = self.state.is_open.swap(false, Ordering::Relaxed);
        let first = self.state.failures.fetch_add(1, Ordering::Relaxed) == 0;
        self.database = None;
        self.tried_at = Instant::now();
        if was_open || first {
            let file = self.path.display();
            let error = fault.text();
            tracing::error!(%file, error, "state is not kept: calls and registrations would be lost in a restart");
        }
    }

    /// Tries again after a while; says whether everything must be written anew.
    fn catch_up(&mut self, after: Duration) -> bool {
        let is_new = self.database.is_none() && self.tried_at.elapsed() >= after && {
            self.open();
            self.database.is_some()
        };
        if is_new {
            tracing::info!("state is kept again");
        }
        let is_behind =
            self.database.is_some() && self.state.is_behind.swap(false, Ordering::Relaxed);
        if (is_new || is_behind) && !self.clear() {
            self.put_aside();
        }
        is_new || is_behind
    }

    fn write(&mut self, writes: &[(WriteId, RecordKey, Option<Bytes>)]) {
        self.with(|database| {
            let transaction = database.begin_write()?;
            for kind in RecordKind::ALL {
                if writes.iter().all(|(_, key, _)| key.kind != kind) {
                    continue;
                }
                let mut records = transaction.open_table(table(kind))?;
                for (_, key, value) in writes.iter().filter(|(_, key, _)| key.kind == kind) {
                    match value {
                        Some(value) => records.insert(key.id.as_str(), value.as_ref())?,
                        None => records.remove(key.id.as_str())?,
                    };
                }
            }
            Ok(transaction.commit()?)
        });
    }

    fn clear(&mut self) -> bool {
        self.with(|database| {
            let transaction = database.begin_write()?;
            for kind in RecordKind::ALL {
                transaction.delete_table(table(kind))?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Begins a new file.
    fn put_aside(&mut self) {
        self.database = None;
        let _ = fs::rename(&self.path, self.path.with_extension("redb.damaged"));
        self.open();
    }

    /// What can be read; a file that breaks off is put aside with what it still has.
    fn read_all(&mut self) -> Vec<(RecordKey, Bytes)> {
        let mut found = Vec::new();
        let is_read = self.with(|database| {
            let transaction = database.begin_read()?;
            for kind in RecordKind::ALL {
                let records = match transaction.open_table(table(kind)) {
                    Err(TableError::TableDoesNotExist(_)) => continue,
                    records => records?,
                };
                for record in records.iter()? {
                    let (id, value) = record?;
                    let id = id.value().to_owned();
                    let key = RecordKey { kind, id };
                    found.push((key, Bytes::copy_from_slice(value.value())));
                }
            }
            Ok(())
        });
        if !is_read && self.path.exists() {
            self.put_aside();
            self.state.is_behind.store(true, Ordering::Relaxed);
        }
        found
    }

    fn with(&mut self, work: impl FnOnce(&Database) -> Result<(), redb::Error>) -> bool {
        let Some(database) = &self.database else {
            return false;
        };
        let done = guarded(|| Ok(work(database)?));
        if let Err(fault) = done {
            self.fail(fault);
            return false;
        }
        true
    }
}

/// Why the file cannot be used.
enum Fault {
    /// What stands in it makes no sense.
    Damaged(String),
    /// The system, or another process, is in the way.
    System(String),
}

impl Fault {
    fn text(&self) -> &str {
        match self {
            Fault::Damaged(text) | Fault::System(text) => text,
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        let text = error.to_string();
        match error {
            redb::Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Fault::System(text)
            }
            redb::Error::DatabaseAlreadyOpen => {
                Fault::System("another gatehouse uses this state folder".to_owned())
            }
            redb::Error::PreviousIo => Fault::System(text),
            _ => Fault::Damaged(text),
        }
    }
}

/// A damaged file may hold what nobody foresaw.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Damaged("its content makes no sense".to_owned())))
}

fn open(path: &Path) -> Result<Database, Fault> {
    let system = |error: io::Error| Fault::System(error.to_string());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(system)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(system)?;
    FileBackend::new(file)
        .and_then(|file| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE);
            builder.set_check_integrity_on_open(true);
            builder.create_with_backend(file)
        })
        .map_err(|error| redb::Error::from(error).into())
}

/// Wishes, and news, that wait.
const QUEUED: usize = 16_384;
/// Wishes written at once.
const BATCH: usize = 1024;
/// How often a file that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Octets of the file held in memory: it is read once.
const CACHE: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
