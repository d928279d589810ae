//! Everything a case needs: the core, the gateway and the browser are started once and shared;
//! telephones and the capture are the case's own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::capture::Capture;
use crate::gateway::{self, Check, Gateway, Way};
use crate::header_table::Column;
use crate::identity_provider::IdentityProvider;
use crate::ims::{Gm, Ims, Peer};
use crate::sipp::Scripted;
use crate::sweep;
use crate::telephone::{Answer, Telephone};
use crate::{hss, network};

/// What all cases share.
#[derive(Debug)]
pub struct Lab {
    /// The IMS core.
    pub ims: Ims,
    /// The program under test, started for the first case that wants it.
    gateway: Option<Gateway>,
    /// How it is joined to the core.
    pub way: Way,
    /// Chromium.
    pub browser: Browser,
    identity_provider: Option<IdentityProvider>,
    /// The other end of the trunk, started for the first case that wants it.
    peer: Option<Peer>,
    /// What the recorded browser's messages became on each way so far.
    pub columns: Vec<Column>,
    program: PathBuf,
    folder: PathBuf,
    stages: u32,
}

/// One case under way.
#[derive(Debug)]
pub struct Stage<'a> {
    /// What all cases share.
    pub lab: &'a mut Lab,
    /// Which SIP client the tabs run: `jssip` or `sipjs`.
    pub client: &'static str,
    /// Where this case keeps its files.
    pub folder: PathBuf,
    /// What went over the wire so far.
    pub capture: Capture,
    expected: Vec<Expected>,
    tabs: Vec<&'static str>,
}

/// What the capture must hold at the end of the case.
#[derive(Clone, Debug)]
struct Expected {
    what: &'static str,
    filter: String,
    count: Count,
}

/// How many packets there must be.
#[derive(Clone, Copy, Debug)]
enum Count {
    AtLeast(usize),
    None,
}

/// What a tab's `getStats` counts.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Packets received.
    pub received: f64,
    /// Packets that should have been received.
    pub lost: f64,
    /// Packets that the gateway says it missed.
    pub remote_lost: f64,
}

impl Lab {
    /// Starts everything inside a network that is set up.
    pub fn start(program: &Path, driver: &Path, folder: &Path) -> anyhow::Result<Self> {
        let ims = Ims::start(folder, Gm::Open).context("the core did not start")?;
        let browser = Browser::start(driver, gateway::PAGE_PORT)?;
        Ok(Self {
            ims,
            gateway: None,
            way: Way::Gm,
            browser,
            identity_provider: None,
            peer: None,
            columns: Vec::new(),
            program: program.to_owned(),
            folder: folder.to_owned(),
            stages: 0,
        })
    }

    /// Sets the stage for a case.
    pub fn stage(
        &mut self,
        name: &str,
        client: &'static str,
        way: Way,
    ) -> anyhow::Result<Stage<'_>> {
        if client != CORE_ALONE && way != self.way {
            self.stop_gateway();
            self.way = way;
        }
        if way == Way::Trunk && self.peer.is_none() {
            self.peer = Some(Peer::start(&self.folder).context("the peer did not start")?);
        }
        let is_running = self.gateway.as_mut().is_some_and(Gateway::is_running);
        if client != CORE_ALONE && !is_running {
            if way.takes_tokens() {
                self.identity_provider()?;
            }
            self.gateway = Some(Gateway::start(&self.program, &self.folder, way)?);
        }
        if !self.ims.is_running() {
            self.ims.restart().context("the core did not start again")?;
        }
        let folder = self.folder.join(name.replace('/', "-"));
        fs::create_dir_all(&folder).context("no folder for the case")?;
        self.browser.forget();
        self.ims.forget_leaks();
        self.stages += 1;
        let capture = Capture::start(&folder, gateway::PORT)?;
        Ok(Stage {
            lab: self,
            client,
            folder,
            capture,
            expected: Vec::new(),
            tabs: Vec::new(),
        })
    }

    /// The identity provider, started for the first case that wants it.
    pub fn identity_provider(&mut self) -> anyhow::Result<&mut IdentityProvider> {
        if self.identity_provider.is_none() {
            self.identity_provider = Some(IdentityProvider::start(&self.folder)?);
        }
        self.identity_provider
            .as_mut()
            .context("the identity provider was just started")
    }

    /// The gateway as two processes, instead of the one that runs.
    pub fn gateway_apart(&mut self) -> anyhow::Result<()> {
        self.stop_gateway();
        self.gateway = Some(Gateway::start_apart(&self.program, &self.folder, self.way)?);
        Ok(())
    }

    /// The gateway with another way to look at tokens, instead of the one that runs.
    pub fn gateway_checking(&mut self, check: Check) -> anyhow::Result<()> {
        self.stop_gateway();
        let gateway = Gateway::start_checking(&self.program, &self.folder, self.way, check)?;
        self.gateway = Some(gateway);
        Ok(())
    }

    /// Keeps a secret for the sweep at the end of the run.
    pub fn plant(&self, secret: &str) -> anyhow::Result<()> {
        sweep::plant(&self.folder.join(sweep::GIVEN), secret)
    }

    /// The gateway that runs.
    pub fn gateway(&mut self) -> anyhow::Result<&mut Gateway> {
        self.gateway.as_mut().context("no gateway runs")
    }

    /// Has the gateway de-register everybody and leave, if it runs; says whether it left by itself.
    pub fn stop_gateway(&mut self) -> bool {
        let gateway = self.gateway.take();
        gateway.is_none_or(|mut gateway| {
            gateway.keep_metrics();
            gateway.stop(Duration::from_secs(8))
        })
    }

    /// Whether a gateway was started in this run.
    pub fn had_gateway(&self) -> bool {
        self.folder.join("gateway").exists()
    }
}

impl Stage<'_> {
    /// Opens a tab and registers a user in it.
    pub fn register(&mut self, tab: &'static str) -> anyhow::Result<()> {
        if self.lab.way.takes_tokens() {
            let token = self.token(tab, json!({}))?;
            self.open_with(tab, json!({ "token": token }))?;
        } else {
            let password = hss::password(&self.user(tab));
            self.open(tab, &password)?;
        }
        self.log_in(tab)
    }

    /// An access token of a tab's user, whom the gateway can prove in the core.
    pub fn token(&mut self, tab: &str, wishes: Value) -> anyhow::Result<String> {
        let user = self.user(tab);
        if self.lab.way == Way::GmByToken {
            let identity = format!("{user}@{}", hss::DOMAIN);
            let password = hss::password(&user);
            self.lab.gateway()?.add_credentials(&identity, &password)?;
        }
        self.lab.identity_provider()?.token(&user, wishes)
    }

    /// Has an open tab log in.
    pub fn log_in(&mut self, tab: &str) -> anyhow::Result<()> {
        self.lab.browser.tell(tab, "register")?;
        let event = self.wait_for_any(tab, &["registered", "registrationFailed"])?;
        if event["event"] != "registered" {
            bail!("{tab} was not registered: {event}");
        }
        Ok(())
    }

    /// Opens a tab, named after its user, whose client is connected and not registered.
    pub fn open(&mut self, tab: &'static str, password: &str) -> anyhow::Result<()> {
        self.open_with(tab, json!({ "password": password }))
    }

    /// Opens such a tab with more to say to the client: `password` or `token`, `extraHeaders`,
    /// `trace`, `protocols` beside `sip`, another `client`, `server` or `user`.
    pub fn open_with(&mut self, tab: &'static str, mut options: Value) -> anyhow::Result<()> {
        self.tabs.push(tab);
        if options["client"].is_null() {
            options["client"] = json!(self.client);
        }
        if options["server"].is_null() {
            options["server"] = json!(gateway::websocket());
        }
        if options["user"].is_null() {
            options["user"] = json!(self.user(tab));
        }
        options["domain"] = json!(hss::DOMAIN);
        self.lab.browser.ask(tab, "open", options)?;
        self.wait(tab, "connected").map(drop)
    }

    /// Starts a telephone: the first two users of telephones are `dora` and `emil`.
    pub fn telephone(
        &self,
        user: &'static str,
        frequency: f64,
        answer: Answer,
    ) -> anyhow::Result<Telephone> {
        let n = u8::from(user != "dora");
        Telephone::start(&self.folder, n, user, frequency, answer)
    }

    /// A user whose telephone follows scripts when it is called, registered.
    pub fn called(&self) -> anyhow::Result<Scripted> {
        // Requests above 1300 bytes come by TCP, and sipp has one transport at a time.
        let scripted = Scripted::telephone(4, "gina", "t1");
        if self.lab.way == Way::Trunk {
            return Ok(scripted); // The peer knows where it is.
        }
        scripted.register(&self.folder)?;
        Ok(scripted)
    }

    /// A user whose telephone follows scripts and calls, registered.
    pub fn calling(&self) -> anyhow::Result<Scripted> {
        let scripted = Scripted::telephone(5, "hugo", "u1");
        if self.lab.way == Way::Trunk {
            return Ok(scripted.through(network::PEER));
        }
        scripted.register(&self.folder)?;
        Ok(scripted)
    }

    /// Demands that the gateway answer a tab's REGISTER with success so many times.
    pub fn expect_registrations(&mut self, count: usize) {
        let filter = format!(
            "sip.Status-Code == 200 && sip.CSeq.method == \"REGISTER\" && tcp.srcport == {}",
            gateway::PORT
        );
        self.expect("registration", filter, count);
    }

    /// The user of a tab: each case has its own, so that a binding that outlives a closed tab is
    /// nobody else's.
    pub fn user(&self, tab: &str) -> String {
        match tab {
            "alice" | "bob" => format!("{tab}{}", self.lab.stages),
            telephone => telephone.to_owned(),
        }
    }

    /// The address of a tab's or a telephone's user.
    pub fn address(&self, user: &str) -> String {
        address(&self.user(user))
    }

    /// Has a tab call a user.
    pub fn call(&mut self, tab: &str, user: &str) -> anyhow::Result<()> {
        let target = self.address(user);
        self.lab
            .browser
            .ask(tab, "call", json!({ "target": target }))
            .map(drop)
    }

    /// Has a tab do something that takes no details.
    pub fn tell(&mut self, tab: &str, command: &str) -> anyhow::Result<()> {
        self.lab.browser.tell(tab, command)
    }

    /// Sets the tone a tab speaks.
    pub fn speak(&mut self, tab: &str, frequency: f64) -> anyhow::Result<()> {
        self.lab
            .browser
            .ask(tab, "tone", json!({ "frequency": frequency }))
            .map(drop)
    }

    /// Waits for an event of a tab.
    pub fn wait(&self, tab: &str, event: &str) -> anyhow::Result<Value> {
        self.lab.browser.wait(tab, event, PATIENCE)
    }

    /// Waits for the first of several events of a tab.
    pub fn wait_for_any(&self, tab: &str, events: &[&str]) -> anyhow::Result<Value> {
        self.lab.browser.wait_for_any(tab, events, PATIENCE)
    }

    /// Waits until a tab hears a tone.
    pub fn tab_hears(&mut self, tab: &str, frequency: f64) -> anyhow::Result<()> {
        self.lab.browser.wait_for_tone(tab, frequency, PATIENCE)
    }

    /// Demands that the capture hold packets at the end, as tshark's display filters see them.
    pub fn expect(&mut self, what: &'static str, filter: impl Into<String>, count: usize) {
        self.expected.push(Expected {
            what,
            filter: filter.into(),
            count: Count::AtLeast(count),
        });
    }

    /// Demands that the capture hold no such packets at the end.
    pub fn expect_none(&mut self, what: &'static str, filter: impl Into<String>) {
        self.expected.push(Expected {
            what,
            filter: filter.into(),
            count: Count::None,
        });
    }

    /// What the first tab counts.
    pub fn stats(&mut self) -> anyhow::Result<Stats> {
        let stats = self.lab.browser.ask("alice", "stats", json!({}))?;
        let figure = |name: &str| stats[name].as_f64().unwrap_or_default();
        Ok(Stats {
            received: figure("received"),
            lost: figure("lost"),
            remote_lost: figure("remoteLost"),
        })
    }

    /// Ends the case: what it left behind, and what it leaked.
    pub fn finish(mut self, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
        let outcome = outcome.and_then(|()| self.nothing_is_left());
        if outcome.is_err() {
            for tab in self.tabs.clone() {
                let path = self.folder.join(format!("{tab}.png"));
                let _ = self
                    .lab
                    .browser
                    .ask(tab, "screenshot", json!({ "path": path }));
                if let Ok(descriptions) = self.lab.browser.ask(tab, "descriptions", json!({})) {
                    let _ = fs::write(
                        self.folder.join(format!("{tab}.json")),
                        descriptions.to_string(),
                    );
                }
            }
        }
        let _ = self.lab.browser.tell("", "closeAll");
        self.capture.stop();
        let towards_core = self.capture.towards_core()?;
        append(&self.lab.folder.join(sweep::TOWARDS_CORE), &towards_core)?;
        let mut leaks = self.capture.leaks(&towards_core)?;
        leaks.extend(self.lab.ims.leaks());
        leaks.extend(self.lab.peer.iter().flat_map(Peer::leaks));
        let outcome = outcome.and_then(|()| match leaks.as_slice() {
            [] => Ok(()),
            leaks => bail!("leaked: {}", leaks.join("; ")),
        });
        let outcome = outcome.and_then(|()| self.all_expected());
        if outcome.is_err() {
            self.keep_log();
            let ladder = self.capture.ladder()?;
            println!("     ladder      {}", ladder.display());
            println!("     capture     {}", self.capture.file().display());
            for tab in self.tabs {
                println!(
                    "     {tab:11} {}",
                    self.folder.join(format!("{tab}.png")).display()
                );
            }
            self.lab.stop_gateway();
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
        outcome
    }

    /// The gateway's log of this case and those since it was started, beside the capture.
    fn keep_log(&mut self) {
        let Some(gateway) = &self.lab.gateway else {
            return;
        };
        let copy = self.folder.join("gatehouse.log");
        if fs::copy(gateway.log(), &copy).is_ok() {
            println!("     gateway     {}", copy.display());
        }
        let _ = fs::remove_file(gateway.log());
    }

    fn all_expected(&self) -> anyhow::Result<()> {
        for Expected {
            what,
            filter,
            count,
        } in &self.expected
        {
            let found = self.capture.count(filter)?;
            match *count {
                Count::AtLeast(count) if found < count => {
                    bail!("{what}: {found} of {count} packets of `{filter}` were captured")
                }
                Count::None if found > 0 => {
                    bail!("{what}: {found} packets of `{filter}` were captured")
                }
                Count::AtLeast(_) | Count::None => {}
            }
        }
        Ok(())
    }

    /// The gateway lives, and no call of this case is left in it, on neither plane.
    fn nothing_is_left(&mut self) -> anyhow::Result<()> {
        let Some(gateway) = &mut self.lab.gateway else {
            return Ok(());
        };
        if !gateway.is_running() {
            bail!("the gateway ended: {}", crate::child::tail(gateway.log()));
        }
        let started = Instant::now();
        loop {
            let calls = gateway.metric("gatehouse_signaling_sessions")?;
            let relays = gateway.metric("gatehouse_media_sessions")?;
            if calls == Some(0.0) && relays == Some(0.0) {
                return Ok(());
            }
            if started.elapsed() > LAST_WORDS {
                bail!("left in the gateway: {calls:?} calls, {relays:?} relays");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Writes at the end of a file.
fn append(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::File::options();
    let opened = options.create(true).append(true).open(file);
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", file.display()))
}

/// The address of a user.
pub fn address(user: &str) -> String {
    format!("sip:{user}@{}", hss::DOMAIN)
}

/// The client's name in cases that prove the core and the telephones without a gateway.
pub const CORE_ALONE: &str = "core";

/// Longer than anything takes on a busy machine, shorter than any timer of SIP that would hide a fault.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// A call whose browser has vanished keeps its BYE for it until Timer F, RFC 3261 §17.1.2.2: a
/// page that comes back shall learn that the call is over.
const LAST_WORDS: Duration = Duration::from_secs(32 + 8);
