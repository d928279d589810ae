//! A telephone of the IMS: baresip, registered through the P-CSCF, told what to do over its control
//! connection, recording what it hears.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::child::Child;
use crate::{hss, network, tone};

/// A running, registered telephone.
#[derive(Debug)]
pub struct Telephone {
    /// Whose telephone it is.
    pub user: &'static str,
    /// Its address, also that of its media.
    pub address: Ipv4Addr,
    folder: PathBuf,
    child: Child,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
}

/// What a telephone does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At once.
    Automatic,
    /// It rings until it is told what to do.
    Manual,
}

impl Telephone {
    /// Starts the n-th telephone, which plays a tone into every call, and waits until it is registered.
    pub fn start(
        folder: &Path,
        n: u8,
        user: &'static str,
        frequency: f64,
        answer: Answer,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(user);
        fs::create_dir_all(&folder).context("no folder for a telephone")?;
        let address = network::telephone(n);
        tone::write(&folder.join("tone.wav"), frequency, 60)?;
        fs::write(folder.join("config"), configuration(&folder, n, address))
            .context("no configuration")?;
        fs::write(folder.join("accounts"), account(user, answer)).context("no account")?;
        fs::write(folder.join("contacts"), "").context("no contacts")?;
        let mut command = Command::new("baresip");
        command
            .arg("-f")
            .arg(&folder)
            .arg("-v")
            .current_dir(&folder);
        let mut child = Child::start("baresip", &mut command, &folder)?;
        child.wait_for("200 OK", Duration::from_secs(8))?;
        let control =
            TcpStream::connect((address, CONTROL_PORT)).context("no control connection")?;
        control
            .set_read_timeout(Some(Duration::from_millis(50)))
            .context("no read timeout")?;
        Ok(Self {
            user,
            address,
            folder,
            child,
            control,
            unread: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Calls somebody.
    pub fn dial(&mut self, target: &str) -> anyhow::Result<()> {
        self.command("dial", target)
    }

    /// Takes the ringing call.
    pub fn answer(&mut self) -> anyhow::Result<()> {
        self.command("accept", "")
    }

    /// Ends the call, or refuses the ringing one as busy.
    pub fn hang_up(&mut self) -> anyhow::Result<()> {
        self.command("hangup", "")
    }

    /// Puts the call on hold.
    pub fn hold(&mut self) -> anyhow::Result<()> {
        self.command("hold", "")
    }

    /// Takes the call back from hold.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.command("resume", "")
    }

    /// Refers the other side to somebody else.
    pub fn transfer(&mut self, target: &str) -> anyhow::Result<()> {
        self.command("transfer", target)
    }

    /// Sends keys as RFC 4733 events.
    pub fn keys(&mut self, keys: &str) -> anyhow::Result<()> {
        self.command("sndcode", keys)
    }

    /// Waits for an event, by its type; those that came before it are forgotten.
    pub fn wait(&mut self, kind: &str, limit: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            if let Some(at) = self.events.iter().position(|event| event["type"] == kind) {
                let event = self.events.swap_remove(at);
                self.events.drain(..at.min(self.events.len()));
                return Ok(event);
            }
            if started.elapsed() > limit {
                bail!(
                    "{}'s telephone saw no {kind} within {limit:?}, only {:?}",
                    self.user,
                    self.seen()
                );
            }
            self.read()?;
        }
    }

    /// Whether an event of this type has come since those waited for.
    pub fn has_seen(&mut self, kind: &str) -> anyhow::Result<bool> {
        self.read()?;
        Ok(self.events.iter().any(|event| event["type"] == kind))
    }

    /// What it heard during the last moments of its newest call.
    pub fn heard(&self, moments: Duration) -> Vec<i16> {
        let samples = self
            .recording()
            .map(|path| tone::read(&path))
            .unwrap_or_default();
        let count =
            usize::try_from(moments.as_millis()).unwrap_or_default() * tone::RATE as usize / 1000;
        samples[samples.len().saturating_sub(count)..].to_vec()
    }

    /// How many samples its newest recording holds.
    pub fn heard_samples(&self) -> usize {
        self.recording()
            .map(|path| tone::read(&path).len())
            .unwrap_or_default()
    }

    /// Waits until it hears a tone.
    pub fn wait_for_tone(&self, frequency: f64, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut before = 0;
        loop {
            let total = self.heard_samples();
            let samples = self.heard(Duration::from_millis(400));
            // Only what is still growing is heard now.
            if total > before && samples.len() >= 3000 && tone::share(&samples, frequency) > 0.7 {
                return Ok(());
            }
            before = total;
            if started.elapsed() > limit {
                let (found, share) = tone::strongest(&samples);
                bail!(
                    "{}'s telephone did not hear {frequency} Hz within {limit:?}; strongest of {} samples: {found} Hz ({:.0} %)",
                    self.user,
                    total,
                    share * 100.0
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it hears nothing, or nothing arrives.
    pub fn wait_for_silence(&self, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut before = self.heard_samples();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let total = self.heard_samples();
            let new = self.heard(Duration::from_millis(400));
            if total == before || tone::strongest(&new).1 < 0.3 {
                return Ok(());
            }
            before = total;
            if started.elapsed() > limit {
                bail!(
                    "{}'s telephone still heard {:?}",
                    self.user,
                    tone::strongest(&new)
                );
            }
        }
    }

    fn recording(&self) -> Option<PathBuf> {
        fs::read_dir(&self.folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
    }

    fn command(&mut self, command: &str, parameters: &str) -> anyhow::Result<()> {
        let text = json!({ "command": command, "params": parameters, "token": "t" }).to_string();
        write!(self.control, "{}:{text},", text.len())
            .context("the telephone's control connection broke")
    }

    fn seen(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| event["type"].as_str())
            .collect()
    }

    /// Reads what has come; the messages are netstrings of JSON.
    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        match self.control.read(&mut buffer) {
            Ok(0) => bail!(
                "{}'s telephone ended: {}",
                self.user,
                crate::child::tail(self.child.log())
            ),
            Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error).context("the telephone's control connection broke"),
        }
        while let Some(colon) = self.unread.iter().position(|&byte| byte == b':') {
            let length: usize = String::from_utf8_lossy(&self.unread[..colon])
                .parse()
                .context("not a netstring")?;
            let end = colon + 1 + length;
            if self.unread.len() <= end {
                break;
            }
            let message: Value =
                serde_json::from_slice(&self.unread[colon + 1..end]).unwrap_or_default();
            self.unread.drain(..=end);
            if message["event"] == true {
                self.events.push(message);
            }
        }
        Ok(())
    }
}

fn configuration(folder: &Path, n: u8, address: Ipv4Addr) -> String {
    let folder = folder.display();
    let (ports, last_port) = network::telephone_ports(n);
    format!(
        "poll_method epoll\n\
         call_local_timeout 120\n\
         call_max_calls 4\n\
         sip_listen {address}:5060\n\
         net_interface lo:t{n}\n\
         audio_player aufile,{folder}/played.wav\n\
         audio_source aufile,{folder}/tone.wav\n\
         audio_alert aufile,/dev/null\n\
         ausrc_srate {rate}\n\
         auplay_srate {rate}\n\
         ausrc_channels 1\n\
         auplay_channels 1\n\
         rtp_ports {ports}-{last_port}\n\
         statmode_default off\n\
         module_path /usr/lib/baresip/modules\n\
         module g711.so\n\
         module aufile.so\n\
         module sndfile.so\n\
         module account.so\n\
         module menu.so\n\
         module ctrl_tcp.so\n\
         snd_path {folder}\n\
         ctrl_tcp_listen {address}:{CONTROL_PORT}\n",
        rate = tone::RATE,
    )
}

fn account(user: &str, answer: Answer) -> String {
    let domain = hss::DOMAIN;
    let password = hss::password(user);
    let answer = match answer {
        Answer::Automatic => "auto",
        Answer::Manual => "manual",
    };
    format!(
        "<sip:{user}@{domain};transport=udp>;auth_user={user}@{domain};auth_pass={password};\
         outbound=\"sip:{}:5060;transport=udp\";regint=300;answermode={answer};audio_codecs=pcma,pcmu;dtmfmode=rtpevent\n",
        network::PCSCF
    )
}

const CONTROL_PORT: u16 = 4444;
