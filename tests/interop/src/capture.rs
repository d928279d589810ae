//! What went over the wire in one case, read by tshark and never by our own parsers: the ladder of
//! both legs, leaks from one side to the other, the audio of one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::child::Child;
use crate::header_table::Fields;
use crate::{network, tone};

/// A capture under way, or ended.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    child: Child,
    port: u16,
}

impl Capture {
    /// Captures all packets of the tests' network; the gateway's WebSocket port is named so that
    /// tshark finds it.
    pub fn start(folder: &Path, port: u16) -> anyhow::Result<Self> {
        let file = folder.join("capture.pcapng");
        let mut command = Command::new("dumpcap");
        command.args(["-i", "lo", "-B", "16", "-w"]).arg(&file);
        let mut child = Child::start("dumpcap", &mut command, folder)?;
        child.wait_for("File:", Duration::from_secs(5))?;
        Ok(Self { file, child, port })
    }

    /// Ends the capture.
    pub fn stop(&mut self) {
        if self.child.is_running() {
            self.wait_until_all_is_written();
            self.child.stop(Duration::from_secs(2));
        }
    }

    /// On a busy machine dumpcap may be seconds behind what is in the kernel's ring: a last packet of
    /// ours tells when it has come to the end.
    fn wait_until_all_is_written(&self) {
        let last = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(LAST, (Ipv4Addr::LOCALHOST, DISCARD)));
        let started = Instant::now();
        while last.is_ok() && started.elapsed() < LONGEST_BEHIND {
            let written = fs::read(&self.file).unwrap_or_default();
            let tail = &written[written.len().saturating_sub(TAIL)..];
            if tail.windows(LAST.len()).any(|window| window == LAST) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Every detail of the SIP that went from the gateway to the core.
    pub fn towards_core(&self) -> anyhow::Result<String> {
        self.text(&format!("sip && ip.src == {}", network::GATEWAY))
    }

    /// Finds what one side must not learn about the other; each leak is one line.
    pub fn leaks(&self, towards_core: &str) -> anyhow::Result<Vec<String>> {
        let mut leaks = Leaks::new();
        find(towards_core, TOWARDS_CORE, "towards the core", &mut leaks);
        let browser_side = format!("sip && tcp.srcport == {}", self.port);
        find(
            &self.text(&browser_side)?,
            TOWARDS_BROWSER,
            "towards the browser",
            &mut leaks,
        );
        let foreign = format!("(stun || dtls) && ip.addr == {}/24", network::TELEPHONES);
        for line in self.tshark(&["-Y", &foreign])?.lines() {
            leaks
                .entry(("towards the core", "STUN or DTLS"))
                .or_insert_with(|| line.trim().to_owned());
        }
        Ok(leaks
            .into_iter()
            .map(|((side, word), line)| format!("{side}: `{word}` in {line}"))
            .collect())
    }

    /// Both legs' messages as a ladder, written beside the capture.
    pub fn ladder(&self) -> anyhow::Result<PathBuf> {
        let fields = [
            "frame.time_relative",
            "ip.src",
            "udp.srcport",
            "tcp.srcport",
            "tcp.dstport",
            "ip.dst",
            "_ws.col.Info",
        ];
        let mut arguments = vec![
            "-Y",
            "sip",
            "-T",
            "fields",
            "-E",
            "separator=|",
            "-E",
            "occurrence=f",
        ];
        for field in &fields {
            arguments.extend(["-e", field]);
        }
        let mut ladder = String::new();
        for line in self.tshark(&arguments)?.lines() {
            let columns: Vec<&str> = line.split('|').collect();
            let [time, from, udp, from_tcp, to_tcp, to, info @ ..] = columns.as_slice() else {
                continue;
            };
            let websocket = |port: &str| port.parse() == Ok(self.port);
            let way = if !udp.is_empty() {
                "udp"
            } else if websocket(from_tcp) || websocket(to_tcp) {
                "ws"
            } else {
                "tcp"
            };
            let from = role(from, websocket(from_tcp));
            let to = role(to, websocket(to_tcp));
            let seconds: f64 = time.parse().unwrap_or_default();
            let info = info.join("|");
            ladder.push_str(&format!(
                "{seconds:8.3}  {from:>9} -> {to:<9} {way:3}  {}\n",
                info.trim_matches('|').trim()
            ));
        }
        let path = self.file.with_file_name("ladder.txt");
        fs::write(&path, ladder).context("could not write the ladder")?;
        Ok(path)
    }

    /// The A-law audio that one address sent to another.
    pub fn audio(&self, from: Ipv4Addr, to: Ipv4Addr) -> anyhow::Result<Vec<i16>> {
        let filter = format!("rtp && rtp.p_type == 8 && ip.src == {from} && ip.dst == {to}");
        let arguments = ["-Y", filter.as_str(), "-T", "fields", "-e", "rtp.payload"];
        let text = self.tshark(&arguments)?;
        let digits = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or_default()
        };
        Ok(text
            .lines()
            .flat_map(|line| line.trim().as_bytes().chunks(2).map(digits))
            .map(tone::from_a_law)
            .collect())
    }

    /// The header fields of the SIP requests that match a filter, as tshark tells them apart.
    pub fn request_fields(&self, filter: &str) -> anyhow::Result<Fields> {
        let filter = format!("sip.Method && {filter}");
        let arguments = ["-Y", filter.as_str(), "-T", "json", "-e", "sip.msg_hdr"];
        let text = self.tshark(&arguments)?;
        let packets: serde_json::Value = serde_json::from_str(&text).context("tshark's JSON")?;
        let mut fields = Fields::new();
        for packet in packets.as_array().into_iter().flatten() {
            let heads = packet["_source"]["layers"]["sip.msg_hdr"].as_array();
            for head in heads.into_iter().flatten().filter_map(|head| head.as_str()) {
                // tshark hands the line ends out in letters.
                let lines = head.split("\\r\\n").flat_map(str::lines);
                for (name, value) in lines.filter_map(|line| line.split_once(':')) {
                    if name.contains('=') {
                        continue; // A line of the session description.
                    }
                    let values = fields.entry(name.trim().to_owned()).or_default();
                    values.insert(value.trim().to_owned());
                }
            }
        }
        Ok(fields)
    }

    /// What a field holds in the packets that match a display filter, each value once.
    pub fn values(&self, filter: &str, field: &str) -> anyhow::Result<Vec<String>> {
        let text = self.tshark(&["-Y", filter, "-T", "fields", "-e", field])?;
        let values: BTreeSet<&str> = text.lines().map(str::trim).collect();
        let values = values.into_iter().filter(|value| !value.is_empty());
        Ok(values.map(str::to_owned).collect())
    }

    /// How many packets match a display filter.
    pub fn count(&self, filter: &str) -> anyhow::Result<usize> {
        Ok(self.tshark(&["-Y", filter])?.lines().count())
    }

    /// Every detail of the SIP and SDP that matches a filter.
    fn text(&self, filter: &str) -> anyhow::Result<String> {
        self.tshark(&["-Y", filter, "-O", "sip,sdp", "-V"])
    }

    fn tshark(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let websocket = format!("tcp.port=={},http", self.port);
        let output = Command::new("tshark")
            .args(["-n", "-d", &websocket, "-o", "rtp.heuristic_rtp:TRUE", "-r"])
            .arg(&self.file)
            .args(arguments)
            .output()
            .context("could not start tshark")?;
        // A capture cut short in its last packet is still read to there.
        if !output.status.success() && output.stdout.is_empty() && output.status.code() != Some(2) {
            bail!(
                "tshark failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// By side and word, one line that has it.
type Leaks = BTreeMap<(&'static str, &'static str), String>;

fn find(text: &str, words: &'static [&'static str], side: &'static str, leaks: &mut Leaks) {
    for line in text.lines() {
        // tshark prints the addresses of the packet itself too; only the dissected text counts.
        if line.starts_with("Frame ")
            || line.starts_with("Internet Protocol")
            || line.starts_with("Transmission")
        {
            continue;
        }
        // Who wants to be anonymous is nobody's host, RFC 3323 §4.1.1.3.
        let lower = line.to_lowercase().replace("anonymous.invalid", "");
        if let Some(word) = words.iter().find(|word| lower.contains(**word)) {
            // One example of each is enough to see what happened.
            leaks
                .entry((side, *word))
                .or_insert_with(|| line.trim().to_owned());
        }
    }
}

fn role(address: &str, is_gateway: bool) -> String {
    let roles: [(Ipv4Addr, &str); 5] = [
        (network::GATEWAY, "gateway"),
        (network::PCSCF, "p-cscf"),
        (network::ICSCF, "i-cscf"),
        (network::SCSCF, "s-cscf"),
        (
            network::ACCESS_SIGNALING,
            if is_gateway { "gateway" } else { "browser" },
        ),
    ];
    let known = roles.iter().find(|(known, _)| known.to_string() == address);
    known.map_or_else(|| address.to_owned(), |(_, role)| (*role).to_owned())
}

/// The content of the last packet, and where it goes: RFC 863.
const LAST: &[u8] = b"the capture ends here";
const DISCARD: u16 = 9;
/// How far from the end of the file it may be, in bytes.
const TAIL: usize = 1 << 20;
/// How long dumpcap may take to come to the end.
const LONGEST_BEHIND: Duration = Duration::from_secs(6);

/// What belongs to the browser's side alone, in lower case.
const TOWARDS_CORE: &[&str] = &[
    "bearer",
    // A token begins so, whichever member its header has first: alg, typ or kid.
    "eyjhbgci",
    "eyj0exai",
    "eyjrawqi",
    ".invalid",
    "transport=ws",
    "sip/2.0/ws",
    "candidate",
    "fingerprint",
    "savpf",
    "ice-ufrag",
    "ice-pwd",
    "rtcp-mux",
    "group:bundle",
    "extmap",
    "msid",
    "setup:",
    "opus",
    ".local",
    "198.51.100.",
    "user-agent: interop",
];

/// What belongs to the core alone.
const TOWARDS_BROWSER: &[&str] = &[
    network::CORE_PREFIX,
    "pcscf",
    "icscf",
    "scscf",
    "service-route",
    "record-route",
];
