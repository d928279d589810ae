//! Call records: one line of JSON for each call, written by a thread of their own, so
//! that a slow or full disk costs records and never a call.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use iq::{DirectionReport, Leg, LegReport, SrtpProfile};
use serde::Serialize;
use signaling::event::CallRecord;

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
    pub(crate) fn start(settings: Option<Settings>) -> io::Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let queue = match settings {
            None => None,
            Some(settings) => {
                let (queue, records) = sync_channel(QUEUED_RECORDS);
                let mut writer = Writer {
                    key: hmac::Key::new(hmac::HMAC_SHA256, &settings.key),
                    settings,
                    file: None,
                    lost: Arc::clone(&lost),
                    complained_at: None,
                };
                std::thread::Builder::new()
                    .name("records".to_owned())
                    .spawn(move || writer.run(&records))?;
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
    fn run(&mut self, records: &Receiver<CallRecord>) {
        while let Ok(record) = records.recv() {
            if let Err(error) = self.write(&record) {
                self.file = None;
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.complain(&error);
            }
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
struct Line<'a> {
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
    #[serde(skip)]
    _record: &'a CallRecord,
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

impl<'a> Line<'a> {
    fn of(record: &'a CallRecord, key: &hmac::Key) -> Self {
        let report = record.report.as_deref();
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
            _record: record,
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
pub(crate) fn key(folder: &Path) -> io::Result<[u8; 32]> {
    let path = folder.join("records.key");
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
