//! Two cores behind NAPTR and SRV records, played by sipp: how long a call takes to be
//! answered when the preferred one is gone or frozen, and when it comes back.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::browser::Browser;
use crate::browser_media::{BrowserMedia, Identity, Profile};
use crate::gateway::{self, DOMAIN, Gateway, Program};
use crate::soak::metrics;

/// Prints how long each thing took; an error if a call failed or took too long.
pub(crate) async fn run(binary: &Path, folder: &Path) -> Result<()> {
    let scenario = folder.join("core.xml");
    std::fs::write(&scenario, include_str!("../sipp/core.xml"))?;
    let ports = [free_port()?, free_port()?];
    let mut names = Names::start(folder, ports)?;
    let mut one = Core::start(&scenario, folder, "one", ports[0])?;
    let _two = Core::start(&scenario, folder, "two", ports[1])?;
    let site = gateway::Site {
        pcscf: DOMAIN.to_owned(),
        ims: format!("name_servers = [\"{}\"]", names.address),
    };
    let gateway = Gateway::gatehouse_at(binary, folder, &site)?;
    let mut caller = Caller::register(&gateway, "user1").await?;

    println!("{:<58}{:>10}", "", "ms");
    caller.call("both servers answer", QUICK).await?;
    caller
        .call("both servers answer, second call", QUICK)
        .await?;

    one.freeze()?;
    caller
        .call("the preferred server is frozen: it says nothing", FROZEN)
        .await?;
    caller.call("the next call", QUICK).await?;
    one.thaw()?;
    wait_until_up(&gateway, "from its thaw until it is known to answer").await?;

    one.stop();
    caller
        .call("the preferred server is gone: its port is closed", QUICK)
        .await?;
    caller.call("the next call", QUICK).await?;
    let mut later = Caller::register(&gateway, "user2").await?;
    later.call("a user who registers meanwhile", QUICK).await?;

    let _one = Core::start(&scenario, folder, "one", ports[0])?;
    wait_until_up(&gateway, "from its return until it is known to answer").await?;

    names.stop();
    tokio::time::sleep(Duration::from_secs(2 * TTL)).await;
    caller
        .call("no name server answers, and the records are too old", QUICK)
        .await?;
    let mut last = Caller::register(&gateway, "user3").await?;
    last.call("a user who registers meanwhile", QUICK).await?;
    let figures = metrics(&gateway).await?;
    for line in figures.lines().filter(|line| {
        line.starts_with("gatehouse_signaling_next_hop")
            || line.starts_with("gatehouse_signaling_probes")
    }) {
        println!("{line}");
    }
    println!("fail-over passed: every call was answered");
    Ok(())
}

/// A browser that calls.
struct Caller {
    browser: Browser,
    identity: Identity,
    calls: u64,
}

impl Caller {
    async fn register(gateway: &Gateway, user: &str) -> Result<Self> {
        let mut browser = Browser::open(gateway.web, DOMAIN, user).await?;
        browser.register(600).await?;
        Ok(Caller {
            browser,
            identity: Identity::new(Profile::Gcm)?,
            calls: 0,
        })
    }

    /// Calls, prints how long the answer took, and hangs up.
    async fn call(&mut self, what: &str, at_most: Duration) -> Result<()> {
        self.calls += 1;
        let media = BrowserMedia::new(self.calls)?;
        let call = self.browser.call("carol", &media, &self.identity).await;
        let call = call.with_context(|| what.to_owned())?;
        let took = call.answer_arrived - call.invite_left;
        println!("{what:<58}{:>10.1}", took.as_secs_f64() * 1e3);
        self.browser.hang_up(&call).await?;
        if took > at_most {
            bail!("{what}: answered after {took:?}, at most {at_most:?} is allowed");
        }
        Ok(())
    }
}

/// A core: takes every REGISTER and every call.
struct Core {
    program: Program,
}

impl Core {
    fn start(scenario: &Path, folder: &Path, name: &'static str, port: u16) -> Result<Self> {
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(scenario).current_dir(folder);
        command.args([
            "-i",
            "127.0.0.1",
            "-mi",
            "127.0.0.1",
            "-nostdin",
            "-t",
            "u1",
        ]);
        command.args(["-p", &port.to_string(), "127.0.0.1:9"]);
        let log = folder.join(format!("sipp-{name}.log"));
        let program = Program::start("sipp", &mut command, &log)?;
        let patience = Instant::now() + Duration::from_secs(5);
        while UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            if Instant::now() > patience {
                bail!("sipp does not listen: see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Core { program })
    }

    fn freeze(&self) -> Result<()> {
        self.program.signal("-STOP")
    }

    fn thaw(&self) -> Result<()> {
        self.program.signal("-CONT")
    }

    fn stop(&mut self) {
        self.program.kill();
    }
}

/// The name server: Debian's nsd with one zone.
struct Names {
    address: SocketAddr,
    program: Option<Program>,
}

impl Names {
    fn start(folder: &Path, ports: [u16; 2]) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        std::fs::write(folder.join("zone"), zone(ports))?;
        let file = folder.join("nsd.conf");
        std::fs::write(&file, configuration(folder, address))?;
        let mut command = Command::new("nsd");
        command.arg("-d").arg("-c").arg(&file);
        let program = Program::start("nsd", &mut command, &folder.join("nsd.log"))?;
        let names = Names {
            address,
            program: Some(program),
        };
        let patience = Instant::now() + Duration::from_secs(5);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > patience {
                bail!(
                    "nsd does not listen: see {}",
                    folder.join("nsd.log").display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(names)
    }

    fn stop(&mut self) {
        self.program = None;
    }
}

fn zone(ports: [u16; 2]) -> String {
    format!(
        "$ORIGIN {DOMAIN}.\n$TTL {TTL}\n\
         @ SOA ns nobody 1 3600 600 86400 {TTL}\n@ NS ns\nns A 127.0.0.1\n\
         @ NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp\n\
         _sip._udp SRV 1 10 {} one\n_sip._udp SRV 2 10 {} two\n\
         one A 127.0.0.1\ntwo A 127.0.0.1\n",
        ports[0], ports[1]
    )
}

fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "server:\n  ip-address: {}@{}\n  username: \"\"\n  server-count: 1\n  database: \"\"\n  \
         zonesdir: \"{folder}\"\n  pidfile: \"{folder}/nsd.pid\"\n  \
         xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  rrl-ratelimit: 0\n\
         remote-control:\n  control-enable: no\nzone:\n  name: \"{DOMAIN}\"\n  zonefile: \"zone\"\n",
        address.ip(),
        address.port()
    )
}

/// Waits until every server is known to answer, and prints how long that took.
async fn wait_until_up(gateway: &Gateway, what: &str) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PROBED {
        let figures = metrics(gateway).await?;
        if figures
            .lines()
            .any(|line| line == "gatehouse_signaling_next_hops_up 2")
        {
            println!("{what:<58}{:>10.1}", start.elapsed().as_secs_f64() * 1e3);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{what}: not within {PROBED:?}")
}

/// A number that is free for UDP and for TCP.
fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}

/// A call that no server keeps waiting, on a busy machine.
const QUICK: Duration = Duration::from_millis(1500);

/// A call whose first server says nothing: the gateway's patience of 4 s, and a call.
const FROZEN: Duration = Duration::from_millis(5500);

/// A failing server is asked at least every 20 s; an answer is waited for 4 s.
const PROBED: Duration = Duration::from_secs(60);

/// Lifetime of the records, in seconds.
const TTL: u64 = 2;
