//! CPU per relayed packet, beside rtpengine in user space, in interleaved rounds.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::browser::{Browser, chromium_offer};
use crate::browser_media::{BrowserMedia, Identity, Profile, Remote};
use crate::far_end::FarEnd;
use crate::gateway::{DOMAIN, Gateway, Rtpengine};
use crate::setup::print_row;
use crate::sip::sdp_line;

/// Prints microseconds of CPU per packet for both, for each protection and number of calls.
pub(crate) async fn run(
    binary: &Path,
    folder: &Path,
    rounds: usize,
    seconds: u64,
    loads: &[usize],
) -> Result<()> {
    println!(
        "SRTP to RTP and back, G.711 of 20 ms, 50 packets a second each way; CPU us per packet, median of {rounds} rounds"
    );
    println!(
        "{:<44}{:>12}{:>24}{:>8}",
        "", "Gatehouse", "rtpengine", "ratio"
    );
    for profile in [Profile::Cm, Profile::Gcm] {
        for &calls in loads {
            let mut ours = Vec::new();
            let mut theirs = Vec::new();
            for _ in 0..rounds {
                ours.push(gatehouse(binary, folder, profile, calls, seconds).await?);
                theirs.push(rtpengine(folder, profile, calls, seconds)?);
            }
            for (who, figures) in [("Gatehouse", &ours), ("rtpengine", &theirs)] {
                if let Some(worst) = figures
                    .iter()
                    .map(|f| f.lost)
                    .max()
                    .filter(|lost| *lost > 0)
                {
                    println!("  {who}: up to {worst} packets did not come back in a round");
                }
            }
            print_row(
                &format!("{profile:?}, {calls} calls"),
                median(&ours),
                median(&theirs),
            );
        }
    }
    Ok(())
}

struct Round {
    cpu_us_per_packet: f64,
    lost: u64,
}

fn median(rounds: &[Round]) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round.cpu_us_per_packet).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn gatehouse(
    binary: &Path,
    folder: &Path,
    profile: Profile,
    calls: usize,
    seconds: u64,
) -> Result<Round> {
    let far_end = FarEnd::start()?;
    let gateway = Gateway::gatehouse(binary, folder, far_end.sip)?;
    let identity = Identity::new(profile)?;
    let mut browsers = Vec::new();
    let mut media = Vec::new();
    for n in 0..calls {
        let (browser, end) = connected_call(gateway.web, &identity, n).await?;
        browsers.push(browser);
        media.push(end);
    }
    measure(&mut media, &far_end, seconds, || gateway.cpu())
}

/// A registered browser in a call whose media transport is up.
pub(crate) async fn connected_call(
    web: SocketAddr,
    identity: &Identity,
    n: usize,
) -> Result<((Browser, crate::browser::Call), BrowserMedia)> {
    let mut browser = Browser::open(web, DOMAIN, &format!("user{n}")).await?;
    browser.register(600).await?;
    let mut end = BrowserMedia::new(n as u64)?;
    let call = browser.call(&format!("9{n:05}"), &end, identity).await?;
    tokio::task::block_in_place(|| end.connect(identity, call.media.clone()))
        .with_context(|| format!("media of call {n}"))?;
    Ok(((browser, call), end))
}

fn rtpengine(folder: &Path, profile: Profile, calls: usize, seconds: u64) -> Result<Round> {
    let far_end = FarEnd::start()?;
    let mut engine = Rtpengine::start(folder)?;
    let identity = Identity::new(profile)?;
    let mut media = Vec::new();
    for n in 0..calls {
        let mut end = BrowserMedia::new(n as u64)?;
        let call = format!("call{n}");
        engine.offer(&call, &chromium_offer(&end, &identity)?)?;
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n",
            ip = far_end.rtp.ip(),
            port = far_end.rtp.port()
        );
        let answer = engine.answer(&call, &sdp)?;
        let port = sdp_line(&answer, "m=audio ")
            .and_then(|line| line.split(' ').next())
            .context("m=audio")?;
        let remote = Remote {
            address: format!("127.0.0.1:{port}").parse()?,
            ufrag: sdp_line(&answer, "a=ice-ufrag:")
                .context("ufrag")?
                .to_owned(),
            pwd: sdp_line(&answer, "a=ice-pwd:").context("pwd")?.to_owned(),
        };
        end.connect(&identity, remote)
            .with_context(|| format!("media of call {n} by rtpengine"))?;
        media.push(end);
    }
    measure(&mut media, &far_end, seconds, || engine.cpu())
}

fn measure(
    media: &mut [BrowserMedia],
    far_end: &FarEnd,
    seconds: u64,
    cpu: impl Fn() -> Duration,
) -> Result<Round> {
    let mut pace = Pace::default();
    pace.talk(media, Duration::from_secs(2), false)?;
    let counted =
        |media: &[BrowserMedia]| far_end.packets() + media.iter().map(|m| m.received).sum::<u64>();
    let sent = |media: &[BrowserMedia]| media.iter().map(|m| m.sent).sum::<u64>();
    let (packets, cpu_before, sent_before) = (counted(media), cpu(), sent(media));
    pace.talk(media, Duration::from_secs(seconds), false)?;
    let cpu = cpu() - cpu_before;
    let packets = counted(media) - packets;
    let expected = 2 * (sent(media) - sent_before);
    Ok(Round {
        cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / packets as f64,
        lost: expected.saturating_sub(packets),
    })
}

/// Sends 50 packets a second from every browser, spread evenly over each 20 ms.
#[derive(Default)]
pub(crate) struct Pace {
    slot: usize,
}

impl Pace {
    /// Talks for a while; opens what arrives when `open` says so, else only counts it.
    pub(crate) fn talk(
        &mut self,
        media: &mut [BrowserMedia],
        time: Duration,
        open: bool,
    ) -> Result<()> {
        let start = Instant::now();
        let mut due = start;
        while due.duration_since(start) < time {
            let slot = self.slot % SLOTS;
            self.slot += 1;
            for end in media.iter_mut().skip(slot).step_by(SLOTS) {
                let packet = end.next_packet(8)?;
                end.send(&packet)?;
                end.drain(open)?;
                end.keep_checking(Instant::now())?;
            }
            due += Duration::from_millis(1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }
}

/// Slots of 1 ms in the 20 ms between two packets of a call.
const SLOTS: usize = 20;
