//! The programs under load: Gatehouse, and Kamailio with rtpengine as the peer beside it.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Domain that every scripted browser belongs to.
pub(crate) const DOMAIN: &str = "load.test";

/// A started program with its children; ended when dropped.
pub(crate) struct Program {
    child: Child,
    name: &'static str,
}

impl Program {
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let log_file = std::fs::File::create(log).with_context(|| format!("{}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("{name} does not start: is it installed?"))?;
        Ok(Program { child, name })
    }

    /// CPU time of the program and of its children, all threads, so far.
    pub(crate) fn cpu(&self) -> Duration {
        family(self.child.id())
            .into_iter()
            .map(cpu_of_process)
            .sum()
    }

    /// Resident memory of its own in KiB: what is mapped from files the kernel can take back.
    pub(crate) fn resident_kib(&self) -> u64 {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                line.strip_prefix("RssAnon:")?
                    .trim()
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    }

    /// Sends it a signal, like `-STOP`.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        // The shell's own: a bare Debian has no program of that name.
        let kill = format!("kill {signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status()?;
        if !sent.success() {
            bail!("{} takes no signal", self.name);
        }
        Ok(())
    }

    /// Kills it as `kill -9` does: it has no time for a last word.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it and its later threads run on one core only.
    pub(crate) fn pin(&self, core: usize) -> Result<()> {
        pin(self.child.id(), core)
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early: {status}", self.name),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        // The shell's own: a bare Debian has no program of that name.
        let kill = format!("kill -TERM {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let patience = Instant::now() + Duration::from_secs(5);
        while Instant::now() < patience {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Gatehouse stands in front of.
pub(crate) struct Site {
    /// `pcscf` of its configuration.
    pub(crate) pcscf: String,
    /// More lines for `[ims]`.
    pub(crate) ims: String,
}

impl Site {
    /// A core with nothing else to say.
    fn alone(core: SocketAddr) -> Self {
        Site {
            pcscf: core.to_string(),
            ims: String::new(),
        }
    }
}

/// A gateway that browsers can open a WebSocket to.
pub(crate) struct Gateway {
    /// Where its WebSocket listens (plain, on the loopback).
    pub(crate) web: SocketAddr,
    /// Where its figures are, if it has such a page.
    pub(crate) management: Option<SocketAddr>,
    programs: Vec<Program>,
}

impl Gateway {
    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.programs.iter().map(Program::cpu).sum()
    }

    /// Resident memory of its first process in KiB, without what is mapped from files.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.programs[0].resident_kib()
    }

    /// Lets all its processes run on one core only.
    pub(crate) fn pin(&self, core: usize) -> Result<()> {
        self.programs
            .iter()
            .try_for_each(|program| program.pin(core))
    }

    fn wait_until_open(mut self) -> Result<Self> {
        let patience = Instant::now() + Duration::from_secs(15);
        while std::net::TcpStream::connect(self.web).is_err() {
            for program in &mut self.programs {
                program.check_alive()?;
            }
            if Instant::now() > patience {
                bail!("{} does not listen on {}", self.programs[0].name, self.web);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(self)
    }

    /// Starts Gatehouse in front of `core`.
    pub(crate) fn gatehouse(binary: &Path, folder: &Path, core: SocketAddr) -> Result<Self> {
        Self::gatehouse_at(binary, folder, &Site::alone(core))
    }

    /// Starts Gatehouse at a site, with limits that no test meets.
    pub(crate) fn gatehouse_at(binary: &Path, folder: &Path, site: &Site) -> Result<Self> {
        Self::gatehouse_with(binary, folder, site, WIDE_LIMITS)
    }

    /// Starts Gatehouse at a site, with these keys in `[limits]`.
    pub(crate) fn gatehouse_with(
        binary: &Path,
        folder: &Path,
        site: &Site,
        limits: &str,
    ) -> Result<Self> {
        let (web, management, media) = (free_tcp()?, free_tcp()?, free_udp()?);
        let config = folder.join("gatehouse.toml");
        std::fs::write(
            &config,
            gatehouse_config(folder, site, limits, web, management, media, ""),
        )?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(&config);
        let program = Program::start("gatehouse", &mut command, &folder.join("gatehouse.log"))?;
        Gateway {
            web,
            management: Some(management),
            programs: vec![program],
        }
        .wait_until_open()
    }

    /// Starts Kamailio with rtpengine doing the same work in front of `core`.
    pub(crate) fn kamailio(folder: &Path, core: SocketAddr) -> Result<Self> {
        let rtpengine = Rtpengine::start(folder)?;
        let (web, sip) = (free_tcp()?, free_udp()?);
        let config = folder.join("kamailio.cfg");
        std::fs::write(&config, kamailio_config(web, sip, core, rtpengine.control))?;
        let mut command = Command::new("kamailio");
        command
            .args(["-DD", "-E", "-m", "512", "-M", "32", "-f"])
            .arg(&config);
        command
            .arg("-Y")
            .arg(folder)
            .arg("-P")
            .arg(folder.join("kamailio.pid"));
        let program = Program::start("kamailio", &mut command, &folder.join("kamailio.log"))?;
        Gateway {
            web,
            management: None,
            programs: vec![program, rtpengine.program],
        }
        .wait_until_open()
    }
}

/// Gatehouse as two processes, each of which can be killed.
pub(crate) struct Planes {
    /// Where its WebSocket listens (plain, on the loopback).
    pub(crate) web: SocketAddr,
    /// Where its figures are.
    pub(crate) management: SocketAddr,
    binary: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    control: Option<Program>,
    media: Option<Program>,
}

impl Planes {
    /// Starts both in front of `core`.
    pub(crate) fn start(binary: &Path, folder: &Path, core: SocketAddr) -> Result<Self> {
        let (web, management, media) = (free_tcp()?, free_tcp()?, free_udp()?);
        let config = folder.join("gatehouse.toml");
        let socket = folder.join("media.sock");
        let apart = format!("apart = true\nsocket = {socket:?}\n");
        let site = Site::alone(core);
        let text = gatehouse_config(folder, &site, WIDE_LIMITS, web, management, media, &apart);
        std::fs::write(&config, text)?;
        let mut planes = Planes {
            web,
            management,
            binary: binary.to_owned(),
            config,
            folder: folder.to_owned(),
            control: None,
            media: None,
        };
        planes.start_media()?;
        planes.start_control()?;
        Ok(planes)
    }

    /// Starts the media process.
    pub(crate) fn start_media(&mut self) -> Result<()> {
        self.media = Some(self.program("media")?);
        Ok(())
    }

    /// Starts the control process, and waits until browsers can connect.
    pub(crate) fn start_control(&mut self) -> Result<()> {
        self.control = Some(self.program("run")?);
        let patience = Instant::now() + Duration::from_secs(15);
        while std::net::TcpStream::connect(self.web).is_err() {
            for program in self.control.iter_mut().chain(&mut self.media) {
                program.check_alive()?;
            }
            if Instant::now() > patience {
                bail!("gatehouse does not listen on {}", self.web);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `kill -9` of the media process.
    pub(crate) fn kill_media(&mut self) {
        self.media.take().iter_mut().for_each(Program::kill);
    }

    /// `kill -9` of the control process.
    pub(crate) fn kill_control(&mut self) {
        self.control.take().iter_mut().for_each(Program::kill);
    }

    /// Where call records are written.
    pub(crate) fn records(&self) -> PathBuf {
        self.folder.join("state/calls.jsonl")
    }

    fn program(&self, verb: &'static str) -> Result<Program> {
        let mut command = Command::new(&self.binary);
        command.arg(verb).arg("--config").arg(&self.config);
        // One log for each life.
        let lives = (0..).find(|n| !self.folder.join(format!("{verb}-{n}.log")).exists());
        let log = format!("{verb}-{}.log", lives.unwrap_or(0));
        Program::start(verb, &mut command, &self.folder.join(log))
    }
}

/// rtpengine in user space, steered by its `ng` protocol.
pub(crate) struct Rtpengine {
    /// Where it takes commands.
    pub(crate) control: SocketAddr,
    program: Program,
    cookie: u64,
    socket: UdpSocket,
}

impl Rtpengine {
    /// Starts it with one worker thread per core, as it does by itself.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (control, cli) = (free_udp()?, free_tcp()?);
        let mut command = Command::new("rtpengine");
        command.args([
            "--foreground",
            "--table=-1",
            "--interface=127.0.0.1",
            "--log-stderr",
            "--log-level=4",
        ]);
        command.args([
            format!("--listen-ng={control}"),
            format!("--listen-cli={cli}"),
        ]);
        command.args([
            "--port-min=40000",
            "--port-max=49998",
            "--timeout=600",
            "--silent-timeout=600",
        ]);
        let program = Program::start("rtpengine", &mut command, &folder.join("rtpengine.log"))?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut engine = Rtpengine {
            control,
            program,
            cookie: 0,
            socket,
        };
        for _ in 0..20 {
            if engine.command("7:command4:ping").is_ok() {
                return Ok(engine);
            }
            engine.program.check_alive()?;
        }
        bail!("rtpengine does not answer");
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.program.cpu()
    }

    /// Offers the browser's description; returns what goes to the core.
    pub(crate) fn offer(&mut self, call: &str, sdp: &str) -> Result<String> {
        self.describe(&format!(
            "4:DTLS7:passive3:ICE6:remove4:SDESl3:offe7:call-id{}7:command5:offer8:from-tag1:a7:replacel6:origin18:session-connectione8:rtcp-muxl5:demuxe3:sdp{}18:transport-protocol7:RTP/AVP",
            text(call), text(sdp)
        ))
    }

    /// Gives the core's answer; returns what goes to the browser.
    pub(crate) fn answer(&mut self, call: &str, sdp: &str) -> Result<String> {
        self.describe(&format!(
            "4:DTLS7:passive7:call-id{}7:command6:answer8:from-tag1:a7:replacel6:origin18:session-connectione3:sdp{}6:to-tag1:b",
            text(call), text(sdp)
        ))
    }

    fn describe(&mut self, command: &str) -> Result<String> {
        let reply = self.command(command)?;
        let at = reply
            .find("3:sdp")
            .with_context(|| format!("rtpengine answered {reply}"))?
            + 5;
        let (length, rest) = reply[at..].split_once(':').context("bencode")?;
        let length: usize = length.parse()?;
        Ok(rest[..length].to_owned())
    }

    fn command(&mut self, dictionary: &str) -> Result<String> {
        self.cookie += 1;
        let request = format!("{} d{dictionary}e", self.cookie);
        self.socket.send_to(request.as_bytes(), self.control)?;
        let mut buffer = vec![0; 65536];
        let length = self
            .socket
            .recv(&mut buffer)
            .context("no answer from rtpengine")?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

fn text(value: &str) -> String {
    format!("{}:{value}", value.len())
}

/// Lets a process and all its threads run on one core only.
pub(crate) fn pin(pid: u32, core: usize) -> Result<()> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid"]);
    command.args([core.to_string(), pid.to_string()]);
    let done = command.stdout(Stdio::null()).status()?;
    if !done.success() {
        bail!("taskset does not pin {pid} to core {core}");
    }
    Ok(())
}

/// A process and all its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let children = format!("/proc/{0}/task/{0}/children", all[next]);
        let found = std::fs::read_to_string(children).unwrap_or_default();
        all.extend(
            found
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        next += 1;
    }
    all
}

fn cpu_of_process(pid: u32) -> Duration {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

fn free_tcp() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn free_udp() -> Result<SocketAddr> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

fn kamailio_config(
    web: SocketAddr,
    sip: SocketAddr,
    core: SocketAddr,
    engine: SocketAddr,
) -> String {
    format!(
        r#"#!KAMAILIO
debug=0
log_stderror=yes
children=2
tcp_children=2
tcp_accept_no_cl=yes
tcp_max_connections=8192
listen=tcp:{web}
listen=udp:{sip}
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
loadmodule "nathelper.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:{engine}")
modparam("websocket", "keepalive_mechanism", 0)

request_route {{
  if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{
      if (is_method("BYE")) rtpengine_delete();
      t_relay();
    }} else if (is_method("ACK") && t_check_trans()) {{
      t_relay();
    }}
    exit;
  }}
  if (is_method("INVITE")) {{
    record_route();
    rtpengine_offer("RTP/AVP DTLS=passive ICE=remove rtcp-mux-demux SDES-off replace-origin replace-session-connection");
    t_on_reply("ANSWER");
  }}
  force_rport();
  $du = "sip:{core}";
  t_relay();
}}

onreply_route[ANSWER] {{
  if (status =~ "2.." && has_body("application/sdp")) rtpengine_answer("DTLS=passive replace-origin replace-session-connection");
}}

event_route[xhttp:request] {{
  if ($hdr(Upgrade) =~ "websocket") {{ if (ws_handle_handshake()) exit; }}
  xhttp_reply("404", "Not Found", "", "");
}}
"#
    )
}

/// One machine plays all browsers.
const WIDE_LIMITS: &str = "flows_per_source = 20000\naccepts_per_second = 20000\n\
    requests_per_source = 20000\ncalls_per_minute = 20000\n";

fn gatehouse_config(
    folder: &Path,
    site: &Site,
    limits: &str,
    web: SocketAddr,
    management: SocketAddr,
    media: SocketAddr,
    media_settings: &str,
) -> String {
    format!(
        r#"[access]
listen = ["{web}"]
tls = false
server_names = ["127.0.0.1"]
origins = ["http://{web}"]
web_root = "none"
ping_after = "60s"

[limits]
{limits}

[ims]
pcscf = "{pcscf}"
registrations_per_second = 20000
{ims}
home_domains = ["{DOMAIN}"]
address = "127.0.0.1"
ports = "16000-19999"

[media]
access_listen = "127.0.0.1"
access_addresses = ["127.0.0.1"]
access_port = {media_port}
ims_address = "127.0.0.1"
ims_ports = "30000-35999"
{media_settings}
[management]
listen = "{management}"

[log]
level = "warn"
format = "text"

[state]
folder = "{state}"
"#,
        pcscf = site.pcscf,
        ims = site.ims,
        media_port = media.port(),
        state = folder.join("state").display(),
    )
}
