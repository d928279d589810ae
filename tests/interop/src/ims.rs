//! The IMS core of the tests: Kamailio as P-, I- and S-CSCF, our HSS and name server beside it.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::authority::Authority;
use crate::child::Child;
use crate::dns::NameServer;
use crate::hss::{self, Hss};
use crate::network;

/// A running core.
#[derive(Debug)]
pub struct Ims {
    /// The HSS, which knows what the CSCFs asked.
    pub hss: Hss,
    /// The name server.
    pub names: NameServer,
    folder: PathBuf,
    pcscf: Child,
    icscf: Child,
    scscf: Child,
    gm: Gm,
    /// How much of each one's log has been read for leaks.
    known: [usize; 3],
}

impl Ims {
    /// Starts all parts and waits until they know each other.
    pub fn start(folder: &Path, gm: Gm) -> anyhow::Result<Self> {
        let folder = folder.join(FOLDER);
        fs::create_dir_all(&folder).context("no folder for the core")?;
        let names = NameServer::start(&folder)?;
        let hss = Hss::start()?;
        write_configuration(&folder)?;
        let mut ims = Self {
            hss,
            names,
            pcscf: kamailio(&folder, "pcscf", gm.definitions())?,
            icscf: kamailio(&folder, "icscf", &[])?,
            scscf: kamailio(&folder, "scscf", &[])?,
            gm,
            known: [0; 3],
            folder,
        };
        ims.wait_until_ready()?;
        Ok(ims)
    }

    /// Kills all three CSCFs, which forget everything, and starts them again.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        for child in [&mut self.pcscf, &mut self.icscf, &mut self.scscf] {
            child.stop(Duration::from_secs(3));
            let _ = fs::remove_file(child.log());
        }
        self.known = [0; 3];
        self.pcscf = kamailio(&self.folder, "pcscf", self.gm.definitions())?;
        self.icscf = kamailio(&self.folder, "icscf", &[])?;
        self.scscf = kamailio(&self.folder, "scscf", &[])?;
        self.wait_until_ready()
    }

    /// Where the authority is that vouches for the P-CSCF's certificates of a run.
    pub fn authority_of(run: &Path) -> PathBuf {
        Authority::certificate_in(&run.join(FOLDER))
    }

    /// Whether all three still run.
    pub fn is_running(&mut self) -> bool {
        self.pcscf.is_running() && self.icscf.is_running() && self.scscf.is_running()
    }

    /// Has the S-CSCF's operator end a user's registration.
    pub fn end_registration(&self, identity: &str) -> anyhow::Result<()> {
        let socket = self.folder.join("scscf.ctl");
        let output = Command::new("kamcmd")
            .args(["-s", &format!("unix:{}", socket.display())])
            .args(["regscscf.dereg_impu", identity])
            .output()
            .context("could not start kamcmd")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kamcmd: {}", said.trim());
        Ok(())
    }

    /// What the CSCFs found that must not have come to them since they were last asked to forget,
    /// one line each.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (child, known) in self.children().into_iter().zip(self.known) {
            let log = fs::read(child.log()).unwrap_or_default();
            let log = String::from_utf8_lossy(log.get(known..).unwrap_or_default()).into_owned();
            let lines = log.lines().filter_map(|line| line.split_once("LEAK "));
            leaks.extend(lines.map(|(_, leak)| leak.to_owned()));
        }
        leaks
    }

    /// Forgets the leaks so far: a case is over, or has planted them itself.
    pub fn forget_leaks(&mut self) {
        self.known = self.children().map(|child| {
            let length = fs::metadata(child.log()).map_or(0, |metadata| metadata.len());
            usize::try_from(length).unwrap_or_default()
        });
    }

    fn children(&self) -> [&Child; 3] {
        [&self.pcscf, &self.icscf, &self.scscf]
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(20);
        // The Diameter connections come up last.
        for child in [&mut self.icscf, &mut self.scscf] {
            child.wait_for("hss.ims.test:3868 connected", limit)?;
        }
        self.pcscf.wait_for("", limit)
    }
}

/// How the P-CSCF is reached by terminals.
#[derive(Clone, Copy, Debug)]
pub enum Gm {
    /// At its own address, in the open and by TLS.
    Open,
    /// Also at [`network::GM`], by IPsec; only a kernel that has ESP can do that.
    Protected,
}

impl Gm {
    fn definitions(self) -> &'static [&'static str] {
        match self {
            Gm::Open => &["-A", "WITH_TLS"],
            Gm::Protected => &["-A", "WITH_IPSEC"],
        }
    }
}

/// The other end of a SIP trunk, which is no part of the core.
#[derive(Debug)]
pub struct Peer {
    child: Child,
}

impl Peer {
    /// Starts it, beside a core's files.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(FOLDER);
        let mut child = kamailio(&folder, "peer", &[])?;
        child.wait_for("", Duration::from_secs(20))?;
        crate::network::wait_for_port(
            true,
            SocketAddrV4::new(network::PEER, 5060),
            Duration::from_secs(8),
        )?;
        Ok(Self { child })
    }

    /// What it found that must not have come to it, one line each.
    pub fn leaks(&self) -> Vec<String> {
        let log = fs::read(self.child.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines = log.lines().filter_map(|line| line.split_once("LEAK "));
        lines.map(|(_, leak)| leak.to_owned()).collect()
    }
}

fn kamailio(folder: &Path, name: &str, definitions: &[&str]) -> anyhow::Result<Child> {
    let run = folder.join(format!("{name}.run"));
    fs::create_dir_all(&run).context("no run folder")?;
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(folder.join(format!("{name}.cfg")));
    command.args(definitions);
    command
        .args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"])
        .arg(&run);
    Child::start(name, &mut command, folder)
}

fn write_configuration(folder: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| {
        let text = text
            .replace("@FOLDER@", &folder.to_string_lossy())
            .replace("@GATEWAY@", &network::GATEWAY.to_string())
            .replace("@GM@", &network::GM.to_string())
            .replace("@GM_NET@", "192\\.0\\.2\\.");
        fs::write(folder.join(name), text).with_context(|| format!("could not write {name}"))
    };
    write("leaks.cfg", include_str!("../kamailio/leaks.cfg"))?;
    write("pcscf.cfg", include_str!("../kamailio/pcscf.cfg"))?;
    write("tls.cfg", include_str!("../kamailio/tls.cfg"))?;
    let authority = Authority::make(folder)?;
    authority.certify("pcscf", &format!("pcscf.{}", hss::DOMAIN))?;
    authority.certify("elsewhere", "pcscf.elsewhere.test")?;
    write("icscf.cfg", include_str!("../kamailio/icscf.cfg"))?;
    write("scscf.cfg", include_str!("../kamailio/scscf.cfg"))?;
    write("peer.cfg", include_str!("../kamailio/peer.cfg"))?;
    for (name, address) in [("icscf", network::ICSCF), ("scscf", network::SCSCF)] {
        let text = include_str!("../kamailio/diameter.xml")
            .replace("@NAME@", name)
            .replace("@ADDRESS@", &address.to_string());
        write(&format!("{name}.xml"), &text)?;
    }
    fs::create_dir_all(folder.join("icscf.db")).context("no folder for the I-CSCF")?;
    write(
        "icscf.db/nds_trusted_domains",
        "id(int) trusted_domain(string)\n1:ims.test\n",
    )?;
    write(
        "icscf.db/s_cscf",
        "id(int) name(string) s_cscf_uri(string)\n1:first:sip\\:scscf.ims.test\\:6060\n",
    )?;
    write(
        "icscf.db/s_cscf_capabilities",
        "id(int) id_s_cscf(int) capability(int)\n1:1:0\n",
    )?;
    fs::create_dir_all(folder.join("scscf.db")).context("no folder for the S-CSCF")?;
    for table in ["presentity", "active_watchers", "watchers", "xcap", "pua"] {
        let source = Path::new("/usr/share/kamailio/dbtext/kamailio").join(table);
        let text =
            fs::read_to_string(&source).with_context(|| format!("no {}", source.display()))?;
        write(&format!("scscf.db/{table}"), &text)?;
    }
    let version = fs::read_to_string("/usr/share/kamailio/dbtext/kamailio/version")
        .context("no table versions")?;
    write("scscf.db/version", &version)
}

const FOLDER: &str = "ims";
