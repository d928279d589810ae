//! `cargo xtask image`: the box's image for QEMU, made from Debian's arm64 packages and the very
//! files that the Yocto recipes install, and a signed update of it.

mod base;
mod bundle;
mod cache;
mod cross;
mod debian;
mod disk;
mod initrd;
pub(crate) mod kernel;
mod manifest;
mod partitions;
mod root;
mod slot;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::ValueEnum;

use self::bundle::Keys;
use self::kernel::Kernel;
use crate::{tools, verbs, workspace};

/// Which image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Flavour {
    /// What a customer gets.
    Production,
    /// The same, with a root shell for the tests on a serial port of its own.
    Test,
}

/// An image on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Disk, bundle and boot loader lie here.
    pub(crate) folder: PathBuf,
}

impl Image {
    /// The disk as it leaves the factory; runs take a copy.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    /// The signed update with the same content.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.folder.join("update.raucb")
    }

    /// What QEMU starts first.
    pub(crate) fn boot_loader(&self) -> PathBuf {
        self.folder.join("u-boot.bin")
    }
}

/// Builds the image, with everything it needs, and says what it is.
pub(crate) fn build(flavour: Flavour) -> anyhow::Result<Image> {
    if !tools::is_root() {
        bail!("an image holds files of other users than you: run this as root");
    }
    let started = Instant::now();
    debian::install()?;
    let kernel = Kernel::ready()?;
    let base = base::archive()?;
    let keys = Keys::ready()?;
    verbs::bundle()?;
    let page = workspace::root().join("firmware/supervisor/web/dist");
    let program = cross::gatehouse()?;

    let name = flavour
        .to_possible_value()
        .context("a flavour without a name")?;
    let folder = workspace::target_folder()
        .join("image")
        .join(name.get_name());
    let image = Image {
        folder: folder.clone(),
    };
    let inputs = inputs(
        flavour,
        &[&base, &program, &keys.keyring()],
        &[&page],
        &kernel,
    )?;
    let stamp = folder.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == inputs) {
        println!("image: nothing has changed");
        return Ok(image);
    }
    println!("putting the image together");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let _ = fs::remove_file(&stamp);
    let tree = folder.join("root");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).context("no folder for the root")?;
    let parts = root::Parts {
        base: &base,
        program: &program,
        page: &page,
        kernel: &kernel,
        keyring: &keys.keyring(),
    };
    root::assemble(&parts, flavour, &tree)?;
    let slot = folder.join("slot.img");
    let hash = slot::make(&tree, &slot)?;
    disk::make(&slot, &image.disk(), &folder)?;
    bundle::make(&keys, &slot, env!("CARGO_PKG_VERSION"), &image.bundle())?;
    fs::copy(kernel.boot_loader(), image.boot_loader()).context("no boot loader")?;
    fs::write(&stamp, inputs).context("could not note what the image is made from")?;
    println!(
        "image: {} in {:.0} s\n  disk     {}\n  slot     {} MB, root hash {hash}\n  bundle   {} MB, {}",
        name.get_name(),
        started.elapsed().as_secs_f64(),
        image.disk().display(),
        megabytes(&slot)?,
        megabytes(&image.bundle())?,
        image.bundle().display(),
    );
    Ok(image)
}

/// What the image is made from, as a line of text that differs when any of it does.
fn inputs(
    flavour: Flavour,
    files: &[&Path],
    folders: &[&Path],
    kernel: &Kernel,
) -> anyhow::Result<String> {
    let mut all = vec![format!("{flavour:?} {kernel:?}").into_bytes()];
    for file in files {
        // Large ones are named after what they were made from, or newer if they differ.
        let metadata = fs::metadata(file).with_context(|| file.display().to_string())?;
        all.push(
            format!(
                "{} {:?} {:?}",
                file.display(),
                metadata.len(),
                metadata.modified().ok()
            )
            .into_bytes(),
        );
    }
    let tree = workspace::root();
    let own = [
        tree.join("yocto"),
        tree.join("hwtest/site"),
        tree.join("tests/xtask/src/image"),
    ];
    for folder in folders
        .iter()
        .copied()
        .chain(own.iter().map(PathBuf::as_path))
    {
        all.push(cache::contents(folder)?);
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    Ok(format!("{:016x}\n", cache::fingerprint(&all)))
}

fn megabytes(file: &Path) -> anyhow::Result<u64> {
    let length = fs::metadata(file)
        .with_context(|| file.display().to_string())?
        .len();
    Ok(length.div_ceil(1_000_000))
}
