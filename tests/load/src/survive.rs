//! What `kill -9` costs: of the control process nothing that is up, of the media process
//! its own calls and no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinHandle;

use crate::browser::{Browser, Call};
use crate::browser_media::{BrowserMedia, Identity, Profile};
use crate::far_end::{FarEnd, direction};
use crate::gateway::{DOMAIN, Planes};
use crate::relay::{Pace, connected_call};
use crate::soak::{Crowd, get};

/// Kills both processes, one after the other, and says what it cost; an error when it was
/// more than it may be.
pub(crate) async fn run(binary: &Path, folder: &Path, crowd: Crowd) -> Result<()> {
    let far_end = Arc::new(FarEnd::start()?);
    let mut planes = Planes::start(binary, folder, far_end.sip)?;
    wait_for(&planes, "/readyz", |text| text.ends_with("ok\n")).await?;
    let mut tally = Tally::default();
    control_killed(&mut planes, &far_end, crowd, &mut tally).await?;
    media_killed(&mut planes, &far_end, crowd, &mut tally).await?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    ensure!(
        tally.failed == 0,
        "{} of {} checks failed",
        tally.failed,
        tally.failed + tally.passed
    );
    Ok(())
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn check(&mut self, is_good: bool, what: impl std::fmt::Display) {
        println!("{} {what}", if is_good { "ok  " } else { "FAIL" });
        if is_good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Registered users, some of them in calls that talk.
struct Crew {
    idlers: Vec<Browser>,
    callers: Vec<(Browser, Call)>,
    talk: Talk,
}

impl Crew {
    async fn gather(planes: &Planes, Crowd { users, calls }: Crowd, first: usize) -> Result<Self> {
        let identity = Identity::new(Profile::Gcm)?;
        let (mut callers, mut media, mut idlers) = (Vec::new(), Vec::new(), Vec::new());
        for n in first..first + calls {
            let (caller, end) = connected_call(planes.web, &identity, n).await?;
            callers.push(caller);
            media.push(end);
        }
        for n in first + calls..first + users {
            let mut browser = Browser::open(planes.web, DOMAIN, &format!("user{n}")).await?;
            browser.register(REGISTERED_FOR).await?;
            idlers.push(browser);
        }
        Ok(Crew {
            idlers,
            callers,
            talk: Talk::start(media),
        })
    }
}

/// Browsers that talk without a break, in a thread of their own.
struct Talk {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<(u64, u64)>>>,
    thread: JoinHandle<Result<Vec<BrowserMedia>>>,
}

impl Talk {
    fn start(mut media: Vec<BrowserMedia>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = tokio::task::spawn_blocking(move || {
            let mut pace = Pace::default();
            while !stopped.load(Ordering::Relaxed) {
                pace.talk(&mut media, Duration::from_millis(20), true)?;
                let counts = media.iter().map(|end| (end.sent, end.received)).collect();
                *counted.lock().expect("no thread panics with this lock") = counts;
            }
            std::thread::sleep(Duration::from_millis(300));
            for end in &mut media {
                end.drain(true)?;
            }
            Ok(media)
        });
        Talk { stop, sent, thread }
    }

    /// Packets sent and received by each browser so far.
    fn counts(&self) -> Vec<(u64, u64)> {
        let counts = self.sent.lock().expect("no thread panics with this lock");
        counts.clone()
    }

    /// How many packets each browser received within a time.
    async fn heard_within(&self, time: Duration) -> Vec<u64> {
        let before = self.counts();
        tokio::time::sleep(time).await;
        let after = self.counts();
        let pairs = after.iter().zip(&before);
        pairs.map(|(after, before)| after.1 - before.1).collect()
    }

    async fn end(self) -> Result<Vec<BrowserMedia>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.await?
    }
}

async fn control_killed(
    planes: &mut Planes,
    far_end: &Arc<FarEnd>,
    crowd: Crowd,
    tally: &mut Tally,
) -> Result<()> {
    let Crowd { users, calls } = crowd;
    println!("kill -9 of the control process, {users} registrations, {calls} calls");
    let mut crew = Crew::gather(planes, crowd, 0).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (contacts, calls_before) = (far_end.contacts(), far_end.calls());
    let (before, arrived_before) = (crew.talk.counts(), far_end.packets());

    planes.kill_control();
    let killed_at = Instant::now();
    tokio::time::sleep(OUTAGE).await;
    let (during, arrived) = (crew.talk.counts(), far_end.packets());
    planes.start_control()?;
    wait_for(planes, "/readyz", |text| text.ends_with("ok\n")).await?;
    println!("     back after {:.1} s", killed_at.elapsed().as_secs_f64());

    let (sent, received) = difference(&before, &during);
    let arrived = arrived - arrived_before;
    println!("     during the outage: {sent} sent, {arrived} at the far end, {received} returned");
    let least = OUTAGE.as_secs() * 50 * calls as u64 * 9 / 10;
    tally.check(
        sent >= least && arrived >= sent * 99 / 100,
        "browsers are heard during the outage",
    );
    tally.check(
        received >= sent * 99 / 100,
        "the far end is heard during the outage",
    );
    let heard = during
        .iter()
        .zip(&before)
        .all(|(now, then)| now.1 > then.1 + 50);
    tally.check(heard, "in every call");

    let metrics = get(planes.management, "/metrics").await?;
    tally.check(
        figure(&metrics, "gatehouse_signaling_registrations ") == users as u64,
        "every registration is there before its browser is",
    );
    tally.check(
        figure(&metrics, "gatehouse_signaling_sessions ") == calls as u64,
        "every call is there too",
    );
    for browser in crew
        .idlers
        .iter_mut()
        .chain(crew.callers.iter_mut().map(|(it, _)| it))
    {
        browser.come_back(planes.web).await?;
        browser
            .register(REGISTERED_FOR)
            .await
            .context("after the restart")?;
    }
    let metrics = get(planes.management, "/metrics").await?;
    tally.check(
        figure(
            &metrics,
            "gatehouse_signaling_registrations_reattached_total ",
        ) == users as u64
            && figure(&metrics, "gatehouse_signaling_registrations_in_grace ") == 0,
        "every browser has its registration again",
    );
    tally.check(
        same(&contacts, &far_end.contacts()),
        "on the port that the core knows",
    );
    tally.check(far_end.farewells() == 0, "none was taken back");
    tally.check(
        far_end.calls() == calls_before,
        "and the far end has all its calls",
    );
    hold_and_hang_up(&mut crew, far_end, 0, tally).await?;
    let media = crew.talk.end().await?;
    let refused: u64 = media.iter().map(|end| end.refused).sum();
    tally.check(refused == 0, "no packet was refused by SRTP");
    for browser in crew
        .idlers
        .iter_mut()
        .chain(crew.callers.iter_mut().map(|(it, _)| it))
    {
        browser.register(0).await?;
    }
    wait_for(planes, "/metrics", |text| {
        figure(text, "gatehouse_signaling_sessions ") == 0
            && figure(text, "gatehouse_worker_pairs_in_use{worker=\"0\"} ") == 0
    })
    .await?;
    Ok(())
}

/// Every other call is held and ended by its browser, the rest by the far end.
async fn hold_and_hang_up(
    crew: &mut Crew,
    far_end: &Arc<FarEnd>,
    first: usize,
    tally: &mut Tally,
) -> Result<()> {
    let mut held = Vec::new();
    for (n, (browser, call)) in crew.callers.iter_mut().enumerate() {
        let number = format!("9{:05}", n + first);
        if n % 2 == 0 {
            let answer = browser.hold(call).await?;
            held.push(direction(&answer) == "recvonly" && far_end.offered(&number) == "sendonly");
        } else {
            let answer = far_end_asks(far_end, browser, |far_end| far_end.hold(&number)).await?;
            held.push(direction(&answer) == "recvonly" && browser.offered == "sendonly");
        }
    }
    tally.check(
        held.iter().all(|held| *held),
        format_args!("{} calls are held from both ends", held.len()),
    );
    let heard = crew.talk.heard_within(Duration::from_secs(1)).await;
    let silent = heard.iter().step_by(2).all(|packets| *packets < 5);
    tally.check(silent, "who is on hold at the far end hears nothing");
    let mut ended = Vec::new();
    for (n, (browser, call)) in crew.callers.iter_mut().enumerate() {
        let number = format!("9{:05}", n + first);
        if n % 2 == 0 {
            browser.hang_up(call).await?;
            wait_until(|| far_end.is_over(&number)).await;
            ended.push(far_end.is_over(&number));
        } else {
            far_end_asks(far_end, browser, |far_end| far_end.hang_up(&number)).await?;
            ended.push(browser.asked.last().is_some_and(|method| method == "BYE"));
        }
    }
    tally.check(
        ended.iter().all(|ended| *ended),
        format_args!("{} calls are ended from both ends", ended.len()),
    );
    Ok(())
}

/// The far end asks something, and the browser serves what comes of it.
async fn far_end_asks<T: Send + 'static>(
    far_end: &Arc<FarEnd>,
    browser: &mut Browser,
    ask: impl FnOnce(&FarEnd) -> Result<T> + Send,
) -> Result<T>
where
{
    let answer = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(far_end));
            let served = tokio::runtime::Handle::current().block_on(async {
                while !asking.is_finished() {
                    browser.idle(Duration::from_millis(20)).await?;
                }
                browser.idle(Duration::from_millis(100)).await
            });
            let answer = asking.join().expect("the far end does not panic");
            served.and(answer)
        })
    })?;
    Ok(answer)
}

async fn media_killed(
    planes: &mut Planes,
    far_end: &Arc<FarEnd>,
    Crowd { calls, .. }: Crowd,
    tally: &mut Tally,
) -> Result<()> {
    println!("kill -9 of the media process, {calls} calls");
    let first = 500;
    let mut crew = Crew::gather(
        planes,
        Crowd {
            users: calls,
            calls,
        },
        first,
    )
    .await?;
    planes.kill_media();
    wait_for(planes, "/readyz", |text| {
        text.contains("the media plane is away")
    })
    .await?;
    for (browser, _) in &mut crew.callers {
        browser.idle(Duration::from_millis(100)).await?;
    }
    let at_browsers = crew
        .callers
        .iter()
        .all(|(browser, _)| browser.asked.last().is_some_and(|method| method == "BYE"));
    tally.check(at_browsers, "every browser gets a BYE");
    let number = |n: usize| format!("9{:05}", n + first);
    wait_until(|| (0..calls).all(|n| far_end.is_over(&number(n)))).await;
    tally.check(
        (0..calls).all(|n| far_end.is_over(&number(n))),
        "and the far end one for each call",
    );
    let told = || {
        let records = std::fs::read_to_string(planes.records()).unwrap_or_default();
        let reason = "\"reason\":\"media plane failed\"";
        records.lines().filter(|line| line.contains(reason)).count()
    };
    wait_until(|| told() == calls).await;
    tally.check(
        told() == calls,
        format_args!("{} call records say why", told()),
    );
    let refused = crew.callers[0]
        .0
        .call_status(
            "900999",
            &BrowserMedia::new(999)?,
            &Identity::new(Profile::Gcm)?,
        )
        .await?;
    tally.check(
        refused == 503,
        format_args!("a call meanwhile is turned away with {refused}"),
    );
    let _ = crew.talk.end().await?;

    planes.start_media()?;
    wait_for(planes, "/readyz", |text| text.ends_with("ok\n")).await?;
    let again = Crew::gather(
        planes,
        Crowd {
            users: calls,
            calls,
        },
        first + calls,
    )
    .await?;
    let heard = again.talk.heard_within(Duration::from_secs(2)).await;
    tally.check(
        heard.iter().all(|packets| *packets > 80),
        "new calls are heard as soon as it is back",
    );
    let mut callers = again.callers;
    for (browser, call) in &mut callers {
        browser.hang_up(call).await?;
    }
    let _ = again.talk.end().await?;
    Ok(())
}

fn difference(before: &[(u64, u64)], after: &[(u64, u64)]) -> (u64, u64) {
    let pairs = after.iter().zip(before);
    pairs.fold((0, 0), |sum, (after, before)| {
        (sum.0 + after.0 - before.0, sum.1 + after.1 - before.1)
    })
}

fn same(before: &HashMap<String, String>, after: &HashMap<String, String>) -> bool {
    before
        .iter()
        .all(|(user, contact)| after.get(user) == Some(contact))
}

/// A figure of the metrics page; zero if it is missing.
fn figure(metrics: &str, name: &str) -> u64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

async fn wait_for(planes: &Planes, path: &str, is_good: impl Fn(&str) -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = get(planes.management, path).await.unwrap_or_default();
        if is_good(&text) {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{path} says after {PATIENCE:?}: {text}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_until(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !is_so() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long nobody steers the media plane.
const OUTAGE: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(20);
const REGISTERED_FOR: u32 = 240;
