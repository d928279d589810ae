//! Call records: one line of JSON for each call, written by a thread of their own, so
//! that a slow or full disk costs records and never a call.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use iq::{DirectionReport, Leg, LegReport, SrtpProfile};
use serde::Serialize;
use signaling::event::CallRecord;
use transport::pulse::Pulse;

use crate::health::Health;

/// Takes records, never waiting.
#[derive(Clone)]
pub(crate) struct Recorder {
    queue: Option<SyncSender<CallRecord>>,
    lost: Arc<AtomicU64>,
}

/// Where records go.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The file.
    pub(crate) file: PathBuf,
    /// Size at which a new one is begun.
    pub(crate) max_size: u64,
    /// Old ones that are kept.
    pub(crate) keep: u32,
    /// Hashes the parties.
    pub(crate) key: [u8; 32],
}

impl Recorder {
    /// Starts the writer; `None` writes nothing.
    pub(crate) fn start(settings: Option<Settings>, health: &Health) -> io::Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let queue = match settings {
            None => None,
            Some(settings) => {
                let (queue, records) = sync_channel(QUEUED_RECORDS);
                let mut writer = Writer::new(settings, Arc::clone(&lost));
                let pulse = health.watch_at_disk("records");
                std::thread::Builder::new()
                    .name("records".to_owned())
                    .spawn(move || writer.run(&records, &pulse))?;
                Some(queue)
            }
        };
        Ok(Recorder { queue, lost })
    }

    /// Hands a record to the writer.
    pub(crate) fn record(&self, record: &CallRecord) {
        if let Some(queue) = &self.queue
            && queue.try_send(record.clone()).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

struct Writer {
    settings: Settings,
    key: hmac::Key,
    file: Option<(File, u64)>,
    lost: Arc<AtomicU64>,
    complained_at: Option<Instant>,
}

impl Writer {
    fn new(settings: Settings, lost: Arc<AtomicU64>) -> Self {
        Writer {
            key: hmac::Key::new(hmac::HMAC_SHA256, &settings.key),
            settings,
            file: None,
            lost,
            complained_at: None,
        }
    }

    fn run(&mut self, records: &Receiver<CallRecord>, pulse: &Pulse) {
        loop {
            match records.recv_timeout(Pulse::LONGEST_TURN) {
                Ok(record) => self.take(&record),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            pulse.beat();
        }
    }

    fn take(&mut self, record: &CallRecord) {
        if let Err(error) = self.write(record) {
            self.file = None;
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.complain(&error);
        }
    }

    fn write(&mut self, record: &CallRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line::of(record, &self.key))?;
        line.push(b'\n');
        let (file, size) = match self.file.take() {
            Some((_, size)) if size >= self.settings.max_size => {
                self.rotate()?;
                self.open()?
            }
            Some(open) => open,
            None => self.open()?,
        };
        let (file, size) = self.file.insert((file, size));
        file.write_all(&line)?;
        *size += line.len() as u64;
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let mut file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o640)
            .open(&self.settings.file)?;
        let size = file.metadata()?.len();
        if size > 0 && !ends_a_line(&file, size) {
            // A write that the disk cut short must not spoil the next record.
            file.write_all(b"\n")?;
        }
        Ok((file, size))
    }

    /// calls.jsonl becomes calls.jsonl.1, that calls.jsonl.2, and so on.
    fn rotate(&self) -> io::Result<()> {
        let name = |n: u32| match n {
            0 => self.settings.file.clone(),
            n => {
                let mut name = self.settings.file.clone().into_os_string();
                name.push(format!(".{n}"));
                PathBuf::from(name)
            }
        };
        if self.settings.keep == 0 {
            return fs::remove_file(name(0));
        }
        for n in (0..self.settings.keep).rev() {
            match fs::rename(name(n), name(n + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Says it, but not for every call.
    fn complain(&mut self, error: &io::Error) {
        let due = self
            .complained_at
            .is_none_or(|at| at.elapsed() > COMPLAIN_EVERY);
        if due {
            self.complained_at = Some(Instant::now());
            let file = self.settings.file.display();
            let lost = self.lost.load(Ordering::Relaxed);
            tracing::error!(%file, %error, lost, "call records are lost; calls go on");
        }
    }
}

fn ends_a_line(file: &File, size: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1).is_ok() && last == *b"\n"
}

/// One record as it is written. Times are milliseconds, `started` since 1970 in UTC.
#[derive(Serialize)]
struct Line {
    session: String,
    from: &'static str,
    caller: String,
    called: String,
    started: Option<u64>,
    ringing_after: Option<u64>,
    answered_after: Option<u64>,
    ended_after: u64,
    ended_by: &'static str,
    status: Option<u16>,
    reason: Option<String>,
    codec: Option<String>,
    srtp: Option<&'static str>,
    access: Option<LegLine>,
    ims: Option<LegLine>,
    /// Joins the record with the core's own.
    icid: Option<String>,
    orig_ioi: Option<String>,
    term_ioi: Option<String>,
}

#[derive(Serialize)]
struct LegLine {
    received: DirectionLine,
    sent: DirectionLine,
    round_trip: Option<f64>,
    discarded: u64,
}

#[derive(Serialize)]
struct DirectionLine {
    packets: u64,
    octets: u64,
    lost: u64,
    jitter: f64,
}

impl Line {
    fn of(record: &CallRecord, key: &hmac::Key) -> Self {
        let report = record.report.as_deref();
        let charging = record.charging.as_ref();
        Line {
            session: record.session.to_string(),
            from: leg_name(record.from),
            caller: party(key, record.caller.reveal()),
            called: party(key, record.called.reveal()),
            started: record.started.map(iq::UnixTime::millis),
            ringing_after: record.ringing_after.map(millis),
            answered_after: record.answered_after.map(millis),
            ended_after: millis(record.ended_after),
            ended_by: record.cause.by.map_or("box", leg_name),
            status: record.cause.status,
            reason: record.cause.reason.map(|reason| reason.to_string()),
            codec: record
                .codec
                .map(|codec| format!("{codec:?}").to_uppercase()),
            srtp: report.and_then(|report| report.profile).map(profile_name),
            access: report.map(|report| LegLine::of(&report.access)),
            ims: report.map(|report| LegLine::of(&report.ims)),
            icid: charging.map(|charging| charging.icid.clone()),
            orig_ioi: charging.and_then(|charging| charging.orig_ioi.clone()),
            term_ioi: charging.and_then(|charging| charging.term_ioi.clone()),
        }
    }
}

impl LegLine {
    fn of(leg: &LegReport) -> Self {
        LegLine {
            received: DirectionLine::of(&leg.received),
            sent: DirectionLine::of(&leg.sent),
            round_trip: leg.round_trip.map(fine_millis),
            discarded: leg.discarded,
        }
    }
}

impl DirectionLine {
    fn of(direction: &DirectionReport) -> Self {
        DirectionLine {
            packets: direction.packets,
            octets: direction.octets,
            lost: direction.lost,
            jitter: fine_millis(direction.jitter),
        }
    }
}

/// The same party is the same word in every record of this box, and tells nobody who it is.
fn party(key: &hmac::Key, identity: &str) -> String {
    let tag = hmac::sign(key, identity.as_bytes());
    let half = tag.as_ref().iter().take(PARTY_OCTETS);
    half.map(|octet| format!("{octet:02x}")).collect()
}

fn leg_name(leg: Leg) -> &'static str {
    match leg {
        Leg::Access => "access",
        Leg::Ims => "ims",
    }
}

fn profile_name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        SrtpProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
        SrtpProfile::AeadAes256Gcm => "AEAD_AES_256_GCM",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn fine_millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

/// The key that hashes the parties: made once, and kept for as long as the folder lives.
pub(crate) fn key(folder: &Path, name: &str) -> io::Result<[u8; 32]> {
    let path = folder.join(name);
    if let Ok(kept) = fs::read(&path)
        && let Ok(key) = <[u8; 32]>::try_from(kept)
    {
        return Ok(key);
    }
    let key = crate::run::fresh_seed();
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&key)?;
    file.sync_all()?;
    Ok(key)
}

/// Records that wait for the disk.
const QUEUED_RECORDS: usize = 1024;
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const PARTY_OCTETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use iq::{Private, SessionId, UnixTime};
    use serde_json::Value;
    use signaling::event::{CallEnd, EndReason};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("records-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn settings(&self) -> Settings {
            Settings {
                file: self.0.join("calls.jsonl"),
                max_size: 1 << 20,
                keep: 2,
                key: [1; 32],
            }
        }

        fn lines(&self, name: &str) -> Vec<Value> {
            let text = fs::read_to_string(self.0.join(name)).unwrap_or_default();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record(n: u64) -> CallRecord {
        CallRecord {
            session: SessionId { epoch: 1, n },
            from: Leg::Access,
            caller: Private::new("sip:alice@ims.test".to_owned()),
            called: Private::new("tel:+390401234567".to_owned()),
            started: Some(UnixTime::from_millis(1_800_000_000_000)),
            ringing_after: Some(Duration::from_millis(120)),
            answered_after: Some(Duration::from_millis(2500)),
            ended_after: Duration::from_secs(60),
            cause: CallEnd {
                by: None,
                status: None,
                reason: Some(EndReason::AccessMediaLost),
            },
            codec: Some(iq::PayloadFormat::Pcma),
            report: Some(Box::default()),
            charging: None,
        }
    }

    fn write_all(settings: Settings, records: impl Iterator<Item = u64>) -> Writer {
        let mut writer = Writer::new(settings, Arc::default());
        for n in records {
            writer.take(&record(n));
        }
        writer
    }

    #[test]
    fn a_record_tells_everything_but_who() {
        let folder = Folder::new("line");
        write_all(folder.settings(), 0..2);
        let text = fs::read_to_string(folder.0.join("calls.jsonl")).unwrap();
        assert!(!text.contains("alice") && !text.contains("401234567"));
        let lines = folder.lines("calls.jsonl");
        assert_eq!(lines.len(), 2);
        let line = &lines[0];
        assert_eq!(line["session"], "1-0");
        assert_eq!(line["started"], 1_800_000_000_000_u64);
        assert_eq!(line["answered_after"], 2500);
        assert_eq!(
            (&line["ended_by"], &line["codec"]),
            (&"box".into(), &"PCMA".into())
        );
        assert_eq!(line["reason"], "the browser's media is gone");
        assert_eq!(line["ims"]["received"]["lost"], 0);
        assert_eq!(line["caller"].as_str().map(str::len), Some(32));
        assert_eq!(line["caller"], lines[1]["caller"], "one party, one word");
        assert_ne!(line["caller"], line["called"]);
    }

    #[test]
    fn a_full_file_makes_room_and_old_ones_go() {
        let folder = Folder::new("rotate");
        let mut settings = folder.settings();
        settings.max_size = 1;
        write_all(settings, 0..5);
        let newest = |name| folder.lines(name)[0]["session"].clone();
        assert_eq!(newest("calls.jsonl"), "1-4");
        assert_eq!(newest("calls.jsonl.1"), "1-3");
        assert_eq!(newest("calls.jsonl.2"), "1-2");
        assert!(!folder.0.join("calls.jsonl.3").exists());
    }

    #[test]
    fn a_full_disk_costs_records_and_nothing_else_and_is_counted() {
        let folder = Folder::new("full");
        let mut settings = folder.settings();
        settings.file = PathBuf::from("/dev/full");
        let writer = write_all(settings, 0..3);
        assert_eq!(writer.lost.load(Ordering::Relaxed), 3);
        assert!(writer.complained_at.is_some());

        // Space comes back: so do the records.
        let settings = folder.settings();
        let mut writer = Writer { settings, ..writer };
        writer.take(&record(9));
        assert_eq!(folder.lines("calls.jsonl")[0]["session"], "1-9");
    }

    #[test]
    fn a_line_that_was_cut_short_does_not_spoil_the_next() {
        let folder = Folder::new("cut");
        fs::write(folder.0.join("calls.jsonl"), "{\"session\":\"1-").unwrap();
        write_all(folder.settings(), 7..8);
        let text = fs::read_to_string(folder.0.join("calls.jsonl")).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["session"], "1-7");
    }

    #[test]
    fn a_stuck_disk_never_makes_a_call_wait() {
        let (queue, _stuck) = sync_channel(1);
        let recorder = Recorder {
            queue: Some(queue),
            lost: Arc::default(),
        };
        for n in 0..5 {
            recorder.record(&record(n));
        }
        assert_eq!(recorder.lost(), 4);
    }

    #[test]
    fn the_key_is_kept_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("key");
        let first = key(&folder.0, "records.key").unwrap();
        assert_eq!(key(&folder.0, "records.key").unwrap(), first);
        assert_ne!(key(&folder.0, "flow.key").unwrap(), first);
        let mode = fs::metadata(folder.0.join("records.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
