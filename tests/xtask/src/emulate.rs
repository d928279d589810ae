//! `cargo xtask emulate`: the box on this machine, to be used: its console in this terminal, its page
//! for the browser of this machine, an IMS core behind it.

use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use hwtest::network;
use hwtest::qemu::{Machine, Serial};

use crate::image::{self, Flavour};
use crate::workspace::{self, Extent};

/// Builds what is needed, starts everything in a network of its own, and stays until the plug is
/// pulled. What the box has kept is there again next time, unless its image has changed.
pub(crate) fn run(flavour: Flavour, fresh: bool) -> anyhow::Result<ExitCode> {
    let folder = workspace::target_folder().join("emulate");
    let gatehouse = workspace::target_folder().join("release/gatehouse");
    if !network::is_inside() {
        let image = image::build(flavour)?;
        println!("building gatehouse, which plays the IMS core");
        workspace::build("gatehouse", Extent::Alone)?;
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        put_disk(&image.disk(), &folder.join("disk.img"), fresh)?;
        fs::copy(image.boot_loader(), folder.join("u-boot.bin")).context("no boot loader")?;
        return network::enter().map(|()| ExitCode::FAILURE);
    }
    network::set_up()?;
    network::let_in().context("could not let this machine into the box's network")?;
    let log = fs::File::create(folder.join("core.log")).context("no log")?;
    let mut core = workspace::command(gatehouse)
        .args(["core", "--listen", &format!("{}:5060", network::CORE)])
        .stdout(Stdio::inherit())
        .stderr(log)
        .spawn()
        .context("could not start the IMS core")?;
    greet(flavour, &folder);
    let machine = Machine {
        disk: folder.join("disk.img"),
        stick: None,
        boot_loader: folder.join("u-boot.bin"),
        folder: folder.clone(),
        cable: network::CABLE.to_owned(),
    };
    let status = machine
        .command(Serial::Terminal)
        .status()
        .context("could not start QEMU")?;
    let _ = core.kill();
    let _ = core.wait();
    if !status.success() {
        bail!("QEMU ended with {status}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A copy of the image's disk, unless there is one that is younger.
fn put_disk(image: &Path, disk: &Path, fresh: bool) -> anyhow::Result<()> {
    let age = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if !fresh && age(disk) > age(image) {
        println!("the box finds what it has kept; --fresh gives it a new disk");
        return Ok(());
    }
    workspace::run(
        workspace::command("cp")
            .arg("--sparse=always")
            .args([image, disk]),
    )
}

fn greet(flavour: Flavour, folder: &Path) {
    println!("\nThe box is being switched on; in emulation it takes a minute to be ready.\n");
    println!(
        "  softphone   https://{}/  (its certificate is self-made)",
        network::BOX
    );
    println!(
        "  technician  http://{}:9090/readyz and /metrics",
        network::BOX
    );
    println!("  console     this terminal: nobody can log in; Ctrl-A X pulls the plug");
    if flavour == Flavour::Test {
        println!(
            "  root shell  socat - UNIX-CONNECT:{}",
            folder.join("shell").display()
        );
    }
    println!("  lamps       {}\n", folder.join("lamps.trace").display());
}
