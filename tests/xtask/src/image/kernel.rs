//! Debian's kernel for the box, the few modules of it that the box loads, and the boot loader of
//! the QEMU machine: unpacked, never installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache::Cached;
use super::debian::Archive;
use crate::workspace;

/// What the initrd needs to open the root.
const EARLY: &[&str] = &[
    "virtio_blk",
    "ext4",
    "crc32c_generic",
    "dm-verity",
    "sha2-ce",
    "sha256-arm64",
];

/// What the box may load later.
const LATE: &[&str] = &[
    "autofs4",
    "virtio_net",
    "virtio-rng",
    "i6300esb",
    "loop",
    "squashfs",
    "nbd",
    "algif_skcipher",
    "algif_aead",
    "algif_hash",
    "aes-ce-blk",
    "ghash-ce",
    "sha1-ce",
    "sha2-ce",
    "xfrm_user",
    "esp4",
    "esp6",
    "authenc",
    "echainiv",
    "seqiv",
    "cbc",
    "ctr",
    "hmac",
    "drbg",
    "ramoops",
    "usb-storage",
    "uas",
    "xhci-pci",
    "sd_mod",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859-1",
];

/// The package with all settings of the box's kernel.
const SETTINGS: &str = "linux-config-6.12";

/// A folder with the settings of Debian's kernel, to compare ours with.
pub(crate) fn settings() -> anyhow::Result<PathBuf> {
    Cached::at("kernel-settings", &[SETTINGS.as_bytes()])?.make(|folder| {
        println!("downloading the kernel's settings");
        Archive::of_box()?.unpack(SETTINGS, folder)
    })
}

/// Kernel and boot loader, ready to be used.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks them, unless that is done already.
    pub(super) fn ready() -> anyhow::Result<Self> {
        let cached = Cached::at("kernel", &[include_bytes!("kernel.rs")])?;
        let folder = cached.make(|folder| {
            println!("downloading the kernel and the boot loader");
            let archive = Archive::of_box()?;
            let package = archive.stands_for("linux-image-arm64")?;
            let unpacked = folder.join("unpacked");
            archive.unpack(&package, &unpacked)?;
            archive.unpack("u-boot-qemu", &unpacked)?;
            let release = only_entry(&unpacked.join("usr/lib/modules"))?;
            fs::copy(
                unpacked.join("boot").join(format!("vmlinuz-{release}")),
                folder.join("Image"),
            )
            .context("the package has no kernel")?;
            fs::copy(
                unpacked.join("usr/lib/u-boot/qemu_arm64/u-boot.bin"),
                folder.join("u-boot.bin"),
            )
            .context("the package has no boot loader")?;
            pick_modules(&unpacked.join("usr"), &release, folder)?;
            fs::write(folder.join("release"), &release).context("could not note the release")?;
            fs::remove_dir_all(&unpacked).context("could not clear up")
        })?;
        Ok(Self { folder })
    }

    /// The kernel itself.
    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("Image")
    }

    /// The boot loader, as QEMU's `-bios` takes it.
    pub(super) fn boot_loader(&self) -> PathBuf {
        self.folder.join("u-boot.bin")
    }

    /// Modules of the initrd, unpacked, and `list`, their order.
    pub(super) fn early_modules(&self) -> PathBuf {
        self.folder.join("early")
    }

    /// Modules of the root: what comes to `/usr`.
    pub(super) fn late_modules(&self) -> PathBuf {
        self.folder.join("late")
    }
}

/// Copies the modules that are wanted, and those they need.
fn pick_modules(unpacked: &Path, release: &str, folder: &Path) -> anyhow::Result<()> {
    // Both look below `lib/modules`.
    workspace::run(
        workspace::command("depmod")
            .arg("-b")
            .arg(unpacked)
            .arg(release),
    )?;
    let early = folder.join("early");
    fs::create_dir_all(&early).context("no folder for modules")?;
    let mut order = String::new();
    let mut seen = BTreeSet::new();
    for path in needed(unpacked, release, EARLY)? {
        let name = path
            .file_stem()
            .context("a module without a name")?
            .to_owned();
        if seen.insert(name.clone()) {
            let out = fs::File::create(early.join(&name)).context("no room for a module")?;
            workspace::run(
                workspace::command("xz")
                    .args(["--decompress", "--stdout"])
                    .arg(&path)
                    .stdout(out),
            )?;
            order.push_str(&format!("{}\n", name.to_string_lossy()));
        }
    }
    fs::write(early.join("list"), order).context("no list of modules")?;
    let modules = unpacked.join("lib/modules").join(release);
    let target = folder.join("late/lib/modules").join(release);
    let all: Vec<&str> = EARLY.iter().chain(LATE).copied().collect();
    for path in needed(unpacked, release, &all)? {
        let place = target.join(
            path.strip_prefix(&modules)
                .context("a module of elsewhere")?,
        );
        fs::create_dir_all(place.parent().unwrap_or(&target)).context("no folder for modules")?;
        fs::copy(&path, place).context("no copy of a module")?;
    }
    for file in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        fs::copy(modules.join(file), target.join(file)).context("no copy of a list of modules")?;
    }
    // depmod looks below `lib/modules` of its base.
    workspace::run(
        workspace::command("depmod")
            .arg("-b")
            .arg(folder.join("late"))
            .arg(release),
    )
}

fn needed(tree: &Path, release: &str, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for name in names {
        let output = workspace::command("modprobe")
            .arg("-d")
            .arg(tree)
            .args(["-S", release, "--ignore-install", "--show-depends", name])
            .output()
            .context("could not start modprobe")?;
        if !output.status.success() {
            anyhow::bail!("the kernel has no module {name}");
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(path) = line.trim().strip_prefix("insmod ") {
                // An argument may follow the path.
                let path = path.split(".ko.xz").next().unwrap_or(path);
                let path = PathBuf::from(format!("{path}.ko.xz"));
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
    }
    Ok(paths)
}

fn only_entry(folder: &Path) -> anyhow::Result<String> {
    let mut entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let entry = entries
        .next()
        .context("an empty package")?
        .context("an unreadable folder")?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}
