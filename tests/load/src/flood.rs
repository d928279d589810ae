//! Strangers flood the box with requests that nobody is registered for, from a generator on
//! one core, while the box on the other one serves its registered users.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::browser::Browser;
use crate::browser_media::{BrowserMedia, Identity, Profile};
use crate::far_end::FarEnd;
use crate::gateway::{self, DOMAIN, Gateway, Program, Site};
use crate::setup::percentile;
use crate::soak::metrics;

/// Runs calls without and then with the flood, and prints what became of them.
pub(crate) async fn run(binary: &Path, folder: &Path, users: usize, calls: usize) -> Result<()> {
    gateway::pin(std::process::id(), GENERATORS)?;
    let far_end = FarEnd::start()?;
    let site = Site {
        pcscf: far_end.sip.to_string(),
        ims: String::new(),
    };
    // The limits are those that the box comes with: they are what is measured here.
    let gateway = Gateway::gatehouse_with(binary, folder, &site, USUAL_LIMITS)?;
    gateway.pin(BOX)?;
    let mut browsers = Vec::new();
    for n in 0..users {
        let mut browser = Browser::open(gateway.web, DOMAIN, &format!("user{n}")).await?;
        browser.register(600).await?;
        browsers.push(browser);
    }
    let identity = Identity::new(Profile::Gcm)?;
    let mut quiet = serve(&mut browsers, calls, &identity, 0).await?;
    let quiet_kib = gateway.resident_kib();

    let flooder = start_flooder(folder, gateway.web)?;
    tokio::time::sleep(WARM_UP).await;
    let before = figures(&gateway).await?;
    let start = Instant::now();
    let mut flooded = serve(&mut browsers, calls, &identity, calls).await?;
    let mut log_ins = log_in(gateway.web, NEWCOMERS).await?;
    let seconds = start.elapsed().as_secs_f64();
    let after = figures(&gateway).await?;
    let flooded_kib = gateway.resident_kib();
    drop(flooder);

    println!("{:<46}{:>12}{:>12}", "", "quiet", "flooded");
    for percent in [50, 99] {
        let [quiet, flooded] =
            [&mut quiet, &mut flooded].map(|times| percentile(times, percent).as_secs_f64() * 1e3);
        let name = format!("call set-up, p{percent}, ms");
        println!(
            "{name:<46}{quiet:>12.2}{flooded:>12.2}  ratio {:.2}",
            flooded / quiet
        );
    }
    println!(
        "{:<46}{quiet_kib:>12}{flooded_kib:>12}",
        "resident memory, KiB"
    );
    let rate = |pick: fn(&Figures) -> f64| (pick(&after) - pick(&before)) / seconds;
    println!(
        "during the flood, a second: {:.0} connections opened, {:.0} messages, {:.0} requests turned away",
        rate(|it| it.opened),
        rate(|it| it.messages),
        rate(|it| it.refused)
    );
    let [median, worst] =
        [50, 99].map(|percent| percentile(&mut log_ins, percent).as_secs_f64() * 1e3);
    println!(
        "{NEWCOMERS} of {NEWCOMERS} new users logged in during the flood: p50 {median:.1} ms, p99 {worst:.1} ms"
    );
    println!("{calls} of {calls} calls of registered users were answered during the flood");
    if after.opened <= before.opened || after.refused <= before.refused {
        bail!("there was no flood");
    }
    let grown = flooded_kib.saturating_sub(quiet_kib);
    if grown > GROWN_KIB {
        bail!("the flood took {grown} KiB, at most {GROWN_KIB} may be");
    }
    println!("flood passed: every call was answered, memory grew by {grown} KiB");
    Ok(())
}

/// One call after the other, of one user after the other; how long each took to be answered.
async fn serve(
    browsers: &mut [Browser],
    calls: usize,
    identity: &Identity,
    first: usize,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in first..first + calls {
        let media = BrowserMedia::new(n as u64)?;
        let users = browsers.len();
        let browser = &mut browsers[n % users];
        let call = browser.call(&format!("9{n:05}"), &media, identity).await;
        let call = call.with_context(|| format!("call {n} of a registered user"))?;
        times.push(call.answer_arrived - call.invite_left);
        browser.hang_up(&call).await?;
    }
    Ok(times)
}

/// New users log in, one after the other; how long each took.
async fn log_in(web: SocketAddr, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..count {
        let start = Instant::now();
        let browser = Browser::open(web, DOMAIN, &format!("newcomer{n}")).await;
        let mut browser = browser.with_context(|| format!("connection of newcomer {n}"))?;
        let registered = browser.register(600).await;
        registered.with_context(|| format!("log-in of newcomer {n}"))?;
        times.push(start.elapsed());
    }
    Ok(times)
}

struct Figures {
    opened: f64,
    messages: f64,
    refused: f64,
}

async fn figures(gateway: &Gateway) -> Result<Figures> {
    let text = metrics(gateway).await?;
    let figure = |name: &str| -> f64 {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines
            .filter_map(|rest| rest.trim().parse::<f64>().ok())
            .sum()
    };
    Ok(Figures {
        opened: figure("gatehouse_signaling_flows_opened_total "),
        messages: figure("gatehouse_signaling_access_messages_total "),
        refused: figure("gatehouse_signaling_requests_unregistered_total ")
            + figure("gatehouse_signaling_requests_too_many_total ")
            + figure("gatehouse_signaling_requests_shed_total "),
    })
}

fn start_flooder(folder: &Path, web: SocketAddr) -> Result<Program> {
    // It takes what the users' browsers and the far end, which share its core, leave.
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(std::env::current_exe()?);
    command.args(["--gatehouse", "none", "flooder", "--web", &web.to_string()]);
    command.stdin(Stdio::null());
    let flooder = Program::start("flooder", &mut command, &folder.join("flooder.log"))?;
    flooder.pin(GENERATORS)?;
    Ok(flooder)
}

/// The flood itself, until the process is ended: many sources, each with connections that send
/// requests as fast as they go, and come back when they are closed.
pub(crate) async fn flood(web: SocketAddr) -> Result<()> {
    let mut sources = JoinSet::<()>::new();
    for n in 0..SOURCES {
        sources.spawn(async move {
            loop {
                let source = Ipv4Addr::new(127, 66, n, 1);
                if send_until_closed(web, source, n).await.is_err() {
                    tokio::time::sleep(COME_BACK).await;
                }
            }
        });
    }
    sources.join_next().await.transpose()?;
    Ok(())
}

async fn send_until_closed(web: SocketAddr, source: Ipv4Addr, n: u8) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(web).await?;
    let mut request = format!("ws://{web}/sip").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "sip".parse()?);
    headers.insert("Origin", format!("http://{web}").parse()?);
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let (mut sender, mut receiver) = socket.split();
    let reader = tokio::spawn(async move { while let Some(Ok(_)) = receiver.next().await {} });
    for at in 0_u64.. {
        let method = ["OPTIONS", "INVITE", "BYE", "SUBSCRIBE", "MESSAGE"][(at % 5) as usize];
        let text = format!(
            "{method} sip:victim@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/WS f.invalid;branch=z9hG4bK{n}x{at}\r\n\
             Max-Forwards: 69\r\nTo: <sip:victim@{DOMAIN}>\r\nFrom: <sip:stranger@{DOMAIN}>;tag=f\r\n\
             Call-ID: flood-{n}-{at}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        if reader.is_finished() {
            break;
        }
        sender.send(Frame::text(text)).await?;
    }
    Ok(())
}

/// The core of the box, and the one of everything else.
const BOX: usize = 0;
const GENERATORS: usize = 1;
/// Sources of the flood, each in a neighbourhood of its own.
const SOURCES: u8 = 64;
/// How soon a source that was turned away comes back.
const COME_BACK: Duration = Duration::from_millis(20);
/// How long the flood runs before anything is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// Who logs in while the flood goes on.
const NEWCOMERS: usize = 50;
/// What a flood may take.
const GROWN_KIB: u64 = 32 * 1024;
/// The browsers of the test share one address.
const USUAL_LIMITS: &str = "";
