//! Many users registered and many calls held for long: nothing may be lost, nothing may stay.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::browser::Browser;
use crate::browser_media::{BrowserMedia, Identity, Profile};
use crate::far_end::FarEnd;
use crate::gateway::{DOMAIN, Gateway};
use crate::relay::{Pace, connected_call};

/// How many come at once.
#[derive(Clone, Copy)]
pub(crate) struct Crowd {
    /// Registered users.
    pub(crate) users: usize,
    /// Of them, those in a call.
    pub(crate) calls: usize,
}

/// Runs the soak and says what it found; an error when a packet was lost or something stayed.
///
/// A short second wave follows the first, because memory that is really free serves again: what
/// the second needs more is what the first has lost.
pub(crate) async fn run(
    binary: &Path,
    folder: &Path,
    talk_for: Duration,
    crowd: Crowd,
) -> Result<()> {
    let far_end = FarEnd::start()?;
    let gateway = Gateway::gatehouse(binary, folder, far_end.sip)?;
    let idle_kib = gateway.resident_kib();
    println!("gatehouse runs with {idle_kib} KiB");

    let first = wave(&gateway, &far_end, crowd, talk_for).await?;
    let second = wave(&gateway, &far_end, crowd, talk_for.min(SECOND_WAVE)).await?;
    let kept = first.afterwards_kib.saturating_sub(idle_kib);
    println!("memory kept after all have left: {kept} KiB");
    if kept > KEPT_KIB {
        bail!("{kept} KiB stayed after the first wave, at most {KEPT_KIB} may");
    }
    let grown = second.afterwards_kib.saturating_sub(first.afterwards_kib);
    println!("memory that a second wave added: {grown} KiB");
    if grown > GROWN_KIB {
        bail!("a second wave left {grown} KiB more, at most {GROWN_KIB} may");
    }
    println!("soak passed: no packet lost, nothing left behind");
    Ok(())
}

/// What one wave of users saw.
struct Seen {
    /// Resident memory of the gateway when all had left.
    afterwards_kib: u64,
}

/// Lets a crowd come, talk and leave; an error when a packet was lost or something stayed.
async fn wave(
    gateway: &Gateway,
    far_end: &FarEnd,
    Crowd { users, calls }: Crowd,
    talk_for: Duration,
) -> Result<Seen> {
    let received_before = far_end.packets();
    let identity = Identity::new(Profile::Gcm)?;
    let mut callers = Vec::new();
    let mut media = Vec::new();
    for n in 0..calls {
        let (caller, end) = connected_call(gateway.web, &identity, n).await?;
        callers.push(caller);
        media.push(end);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut idlers = Vec::new();
    for n in calls..users {
        let mut browser = Browser::open(gateway.web, DOMAIN, &format!("user{n}")).await?;
        browser.register(REGISTERED_FOR).await?;
        idlers.push(tokio::spawn(stay(browser, stopped.clone())));
    }
    let mut talkers = Vec::new();
    for (browser, call) in callers {
        talkers.push(tokio::spawn(hold(browser, call, stopped.clone())));
    }
    println!(
        "{users} users are registered, {calls} calls are up: {} KiB",
        gateway.resident_kib()
    );

    let start = Instant::now();
    let talk = tokio::task::spawn_blocking(move || -> Result<Vec<BrowserMedia>> {
        let mut pace = Pace::default();
        while start.elapsed() < talk_for {
            pace.talk(&mut media, Duration::from_secs(10), true)?;
        }
        std::thread::sleep(Duration::from_millis(500));
        for end in &mut media {
            end.drain(true)?;
        }
        Ok(media)
    });
    let media = talk.await??;
    println!(
        "talked for {:.0} s: {} KiB",
        start.elapsed().as_secs_f64(),
        gateway.resident_kib()
    );
    if far_end.calls() != calls as u64 {
        bail!("{} of {calls} calls are still up", far_end.calls());
    }

    stop.send_replace(true);
    for task in idlers.into_iter().chain(talkers) {
        task.await??;
    }
    let sent: u64 = media.iter().map(|end| end.sent).sum();
    let received = far_end.packets() - received_before;
    let returned: u64 = media.iter().map(|end| end.received).sum();
    let refused: u64 = media.iter().map(|end| end.refused).sum();
    println!(
        "packets: {sent} sent, {received} at the far end, {returned} returned, \
         {refused} refused by SRTP"
    );
    println!("REGISTER accepted by the far end: {}", far_end.registered());

    let left = settled(gateway).await?;
    tokio::time::sleep(GIVE_BACK_TIME).await;
    let afterwards_kib = gateway.resident_kib();
    println!("afterwards: {left}; {afterwards_kib} KiB");
    let lost = 2 * sent - received - returned;
    if lost > 0 || refused > 0 {
        bail!("{lost} packets lost, {refused} refused");
    }
    Ok(Seen { afterwards_kib })
}

async fn stay(mut browser: Browser, mut stop: tokio::sync::watch::Receiver<bool>) -> Result<()> {
    while !*stop.borrow_and_update() {
        tokio::select! {
            served = browser.idle(Duration::from_secs(u64::from(REGISTERED_FOR) / 2)) => served?,
            _ = stop.changed() => break,
        }
        browser.register(REGISTERED_FOR).await?;
    }
    browser.register(0).await
}

async fn hold(
    mut browser: Browser,
    call: crate::browser::Call,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    while !*stop.borrow_and_update() {
        tokio::select! {
            served = browser.idle(Duration::from_secs(u64::from(REGISTERED_FOR) / 2)) => served?,
            _ = stop.changed() => break,
        }
        browser.register(REGISTERED_FOR).await?;
    }
    browser.hang_up(&call).await?;
    browser.register(0).await
}

/// Waits until the gateway holds nothing any more; the gauges as they then are.
async fn settled(gateway: &Gateway) -> Result<String> {
    let mut seen = String::new();
    for _ in 0..SETTLE_SECONDS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let metrics = metrics(gateway).await?;
        let held: Vec<&str> = metrics
            .lines()
            .filter(|line| GAUGES.iter().any(|gauge| line.starts_with(gauge)))
            .collect();
        seen = held.join(", ");
        if held.len() >= GAUGES.len() && held.iter().all(|line| line.ends_with(" 0")) {
            return Ok(seen);
        }
    }
    bail!("something stayed behind after {SETTLE_SECONDS} s: {seen}")
}

pub(crate) async fn metrics(gateway: &Gateway) -> Result<String> {
    let Some(address) = gateway.management else {
        bail!("no management listener")
    };
    get(address, "/metrics").await
}

/// Asks a gateway's technician's page.
pub(crate) async fn get(management: SocketAddr, path: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(management).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// What must be zero when all have left.
const GAUGES: [&str; 5] = [
    "gatehouse_signaling_flows ",
    "gatehouse_signaling_registrations ",
    "gatehouse_signaling_endpoints ",
    "gatehouse_signaling_sessions ",
    "gatehouse_worker_pairs_in_use{",
];

/// How long the second wave talks at most.
const SECOND_WAVE: Duration = Duration::from_secs(60);

/// A gateway looks every 5 s for memory to give back.
const GIVE_BACK_TIME: Duration = Duration::from_secs(12);

/// Memory that may stay when all have left, above what an idle gateway has.
const KEPT_KIB: u64 = 6 * 1024;

/// Memory that a second wave may add to that.
const GROWN_KIB: u64 = 1024;

/// A gateway keeps a user's port for the last words of calls (32 s).
const SETTLE_SECONDS: u32 = 60;

/// Seconds; each user refreshes at half of it.
const REGISTERED_FOR: u32 = 240;
