//! IPsec on Gm, inside the guest whose kernel has ESP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::child::Child;
use crate::ims::Ims;
use crate::network::{GM_INTERFACE, TERMINAL_NAMESPACE};
use crate::terminal::{Terminal, associations};

/// What the cases inside the guest share.
#[derive(Debug)]
pub struct GuestWorld {
    /// The core, its P-CSCF with IPsec.
    pub ims: Ims,
    /// Where the run's files are.
    pub folder: PathBuf,
}

pub(super) fn sec_agree(world: &mut GuestWorld) -> anyhow::Result<()> {
    let file = world.folder.join("sec-agree.pcapng");
    let mut dumpcap = Command::new("dumpcap");
    dumpcap.args(["-q", "-i", GM_INTERFACE, "-w"]).arg(&file);
    let mut capture = Child::start("dumpcap", &mut dumpcap, &world.folder)?;
    capture.wait_for("File:", Duration::from_secs(20))?;

    let mut terminal = Terminal::start("isim1", TERMINAL_NAMESPACE)?;
    let (registered, _) = terminal.register(TERMINAL_NAMESPACE)?;
    ensure!(
        registered.contains("sip:isim1.work@"),
        "no P-Associated-URI: {registered}"
    );
    for side in [None, Some(TERMINAL_NAMESPACE)] {
        let found = associations(side)?;
        ensure!(found.len() == 4, "not four associations: {found:?}");
    }
    let asked = world.ims.hss.asked_about("isim1");
    ensure!(
        asked.contains(&"SAR"),
        "not registered by the HSS: {asked:?}"
    );
    std::thread::sleep(Duration::from_millis(300));
    ensure!(
        capture.stop(Duration::from_secs(5)),
        "the capture had to be killed"
    );
    Ok(())
}

/// What the packets of [`sec_agree`] were, read outside the guest: a challenge in the open, and
/// nothing but ESP after it.
pub(super) fn was_protected(folder: &Path) -> anyhow::Result<()> {
    let output = Command::new("tshark")
        .args(["-n", "-r"])
        .arg(folder.join("sec-agree.pcapng"))
        .args(["-T", "fields", "-e", "_ws.col.Protocol", "-Y", "sip || esp"])
        .output()
        .context("could not start tshark")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let protocols: Vec<&str> = text.lines().collect();
    let open = protocols.iter().take_while(|name| **name == "SIP").count();
    let (open, protected) = protocols.split_at(open);
    ensure!(
        open.len() >= 2 && protected.len() >= 2 && protected.iter().all(|name| *name == "ESP"),
        "on the wire: {protocols:?}"
    );
    Ok(())
}
