//! The lab's name server: nsd with one zone, the root, so that every name is either here or nowhere.
//! It has the core's own records (RFC 1035, RFC 2782) and whatever a case publishes besides, NAPTR
//! (RFC 3403) too.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::child::Child;
use crate::{identity_provider, network};

/// The running name server.
#[derive(Debug)]
pub struct NameServer {
    child: Option<Child>,
    folder: PathBuf,
    published: String,
}

impl NameServer {
    /// Answers on port 53 of [`network::DNS`].
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("dns");
        fs::create_dir_all(&folder).context("no folder for the name server")?;
        fs::write(folder.join("nsd.conf"), configuration(&folder))
            .context("no configuration for the name server")?;
        let mut server = Self {
            child: None,
            folder,
            published: String::new(),
        };
        server.go_on()?;
        Ok(server)
    }

    /// Replaces the records beside the core's own, in the words of a zone file; names end in a dot.
    pub fn publish(&mut self, records: &str) -> anyhow::Result<()> {
        self.published = records.to_owned();
        self.stop();
        self.go_on()
    }

    /// Leaves all questions unanswered.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.stop(Duration::from_secs(2));
        }
    }

    /// Answers again after [`NameServer::stop`].
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        fs::write(self.folder.join("lab.zone"), zone(&self.published)).context("no zone")?;
        let mut command = Command::new("nsd");
        command.args(["-d", "-c"]).arg(self.folder.join("nsd.conf"));
        self.child = Some(Child::start("nsd", &mut command, &self.folder)?);
        let address = SocketAddrV4::new(network::DNS, 53);
        network::wait_for_port(false, address, Duration::from_secs(10))
            .with_context(|| crate::child::tail(&self.folder.join("nsd.log")))
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"server:
  ip-address: {address}
  username: ""
  server-count: 1
  database: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "lab.zone"
"#,
        address = network::DNS
    )
}

fn zone(published: &str) -> String {
    format!(
        "$ORIGIN .\n$TTL 60\n\
         @ SOA dns.test. nobody.test. 1 3600 600 86400 2\n\
         @ NS dns.test.\n\
         dns.test. A {dns}\n\
         pcscf.ims.test. A {pcscf}\n\
         icscf.ims.test. A {icscf}\n\
         ims.test. A {icscf}\n\
         scscf.ims.test. A {scscf}\n\
         hss.ims.test. A {hss}\n\
         {idp}. A {idp_address}\n\
         ; The domain's entry point, for those who were given no P-CSCF.\n\
         _sip._udp.ims.test. SRV 10 10 5060 pcscf.ims.test.\n\
         _sip._tcp.ims.test. SRV 10 10 5060 pcscf.ims.test.\n\
         {published}\n",
        dns = network::DNS,
        pcscf = network::PCSCF,
        icscf = network::ICSCF,
        scscf = network::SCSCF,
        hss = network::HSS,
        idp = identity_provider::HOST,
        idp_address = network::IDENTITY_PROVIDER,
    )
}
