#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::health::Health;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(kind: RecordKind, id: &str) -> RecordKey {
    let id = id.to_owned();
    RecordKey { kind, id }
}

fn alice() -> RecordKey {
    key(RecordKind::Registration, "1")
}

fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

/// Writes and waits until it is told that each is safe.
async fn keep(store: &Store, news: &mut mpsc::Receiver<Input>, key: RecordKey, it: Option<Bytes>) {
    store.write(WriteId(9), key, it).unwrap();
    loop {
        match news.recv().await {
            Some(Input::Stored { write }) => return assert_eq!(write, WriteId(9)),
            Some(Input::KeepAgain) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_told_safe_is_there_after_the_process_was_killed() {
    let folder = Folder::new("kept");
    let (store, mut news) = Store::start(&folder.0, &Health::default()).unwrap();
    let call = key(RecordKind::Call, "5-1");
    keep(&store, &mut news, alice(), value("registered")).await;
    keep(&store, &mut news, call.clone(), value("up")).await;
    keep(&store, &mut news, alice(), value("refreshed")).await;
    let gone = key(RecordKind::Registration, "2");
    keep(&store, &mut news, gone.clone(), value("registered")).await;
    keep(&store, &mut news, gone, None).await;

    // The file as a kill finds it: open, and not closed in order.
    let killed = Folder::new("killed");
    fs::copy(folder.file(), killed.file()).unwrap();
    let (store, _news) = Store::start(&killed.0, &Health::default()).unwrap();
    let records = store.read_all().await;
    let is = Bytes::from_static;
    assert_eq!(records, [(alice(), is(b"refreshed")), (call, is(b"up"))]);
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_and_the_box_starts() {
    for (name, damage) in [("text", &b"this is no database"[..]), ("empty", b"")] {
        let folder = Folder::new(name);
        fs::write(folder.file(), damage).unwrap();
        let (store, mut news) = Store::start(&folder.0, &Health::default()).unwrap();
        assert_eq!(store.read_all().await, []);
        keep(&store, &mut news, alice(), value("registered")).await;
        assert!(store.is_open());
        assert_eq!(store.read_all().await.len(), 1);
    }
}

#[tokio::test]
async fn a_file_with_any_part_overwritten_never_stops_the_box() {
    let folder = Folder::new("scribble");
    let (store, mut news) = Store::start(&folder.0, &Health::default()).unwrap();
    for id in 0..50 {
        let key = key(RecordKind::Registration, &id.to_string());
        keep(&store, &mut news, key, value("registered")).await;
    }
    let whole = fs::read(folder.file()).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 24) {
        let damaged = Folder::new("scribbled");
        let mut bytes = whole.clone();
        let end = bytes.len().min(at + 4096);
        bytes[at..end].fill(0x5a);
        fs::write(damaged.file(), bytes).unwrap();
        let (store, mut news) = Store::start(&damaged.0, &Health::default()).unwrap();
        store.read_all().await;
        keep(&store, &mut news, alice(), value("registered")).await;
    }
}

#[tokio::test]
async fn without_a_place_to_write_everybody_is_answered_and_it_is_said() {
    let folder = Folder::new("nowhere");
    fs::write(folder.0.join("file"), "").unwrap();
    let (store, mut news) = Store::start(&folder.0.join("file/state"), &Health::default()).unwrap();
    keep(&store, &mut news, alice(), value("registered")).await;
    assert_eq!(store.read_all().await, []);
    assert!(!store.is_open() && store.failures() > 0);
}

#[test]
fn a_disk_that_comes_back_is_written_anew() {
    let folder = Folder::new("back");
    let blocked = folder.0.join("state");
    fs::write(&blocked, "").unwrap();
    let state = Arc::new(State::default());
    let mut file = File::new(blocked.join("state.redb"), Arc::clone(&state));
    assert!(!file.catch_up(Duration::ZERO) && file.database.is_none());
    fs::remove_file(&blocked).unwrap();
    assert!(!file.catch_up(RETRY), "not so soon");
    assert!(
        file.catch_up(Duration::ZERO),
        "everything is to be kept anew"
    );
    assert!(!file.catch_up(Duration::ZERO));
    assert!(state.is_open.load(Ordering::Relaxed));
}

#[test]
fn a_queue_that_was_full_is_made_up_for() {
    let folder = Folder::new("behind");
    let state = Arc::new(State::default());
    let mut file = File::new(folder.file(), Arc::clone(&state));
    file.write(&[(WriteId(1), alice(), value("old"))]);
    state.is_behind.store(true, Ordering::Relaxed);
    assert!(file.catch_up(RETRY));
    assert_eq!(file.read_all(), []);
}

#[test]
fn the_same_folder_is_not_used_twice() {
    let folder = Folder::new("twice");
    let first = File::new(folder.file(), Arc::default());
    let second = File::new(folder.file(), Arc::default());
    assert!(first.database.is_some() && second.database.is_none());
    assert!(!folder.0.join("state.redb.damaged").exists());
}
