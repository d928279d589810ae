//! The root file system of a slot, as a folder: Debian's packages without what a box does not
//! need, the files that the Yocto recipes install too, the program, the page, the kernel.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::kernel::Kernel;
use super::manifest::{self, within};
use super::{Flavour, initrd};
use crate::workspace;

/// The lists of what is installed, below `yocto`.
const LISTS: &[&str] = &[
    "meta-gatehouse/recipes-core/gatehouse-system/files/files.list",
    "meta-gatehouse/recipes-gatehouse/gatehouse/files/files.list",
    "meta-gatehouse-bsp/recipes-bsp/gatehouse-boot/files/files.list",
    "meta-gatehouse-bsp/recipes-bsp/gatehouse-boot/files/files-qemuarm64.list",
    "meta-gatehouse-bsp/recipes-core/rauc/files/files.list",
];

/// The same for what the test flavour has more.
const TEST_LIST: &str = "meta-gatehouse/recipes-gatehouse/hwtest-console/files/files.list";

/// Nothing of this runs on the box.
const PRUNED: &[&str] = &[
    "etc/apt",
    "etc/cron.d",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/dpkg",
    "etc/init.d",
    "etc/kernel",
    "etc/logrotate.d",
    "etc/rc0.d",
    "etc/rc1.d",
    "etc/rc2.d",
    "etc/rc3.d",
    "etc/rc4.d",
    "etc/rc5.d",
    "etc/rc6.d",
    "etc/rcS.d",
    "etc/fstab",
    "etc/motd",
    "etc/issue",
    "etc/issue.net",
    "etc/systemd/system/getty.target.wants",
    "etc/systemd/system/timers.target.wants",
    "usr/bin/perl",
    "usr/bin/perl5.40.1",
    "usr/bin/su",
    "usr/lib/aarch64-linux-gnu/perl-base",
    "usr/share/perl5",
    "usr/share/zsh",
    "usr/share/bash-completion",
    "usr/share/lintian",
    "usr/lib/udev/hwdb.bin",
    "usr/lib/udev/hwdb.d",
    "usr/lib/apt",
    "usr/lib/dpkg",
    "usr/share/dpkg",
    "usr/share/debconf",
    "usr/lib/systemd/system-preset/90-systemd.preset",
    "var",
];

/// How the QEMU machine is called by what it is given.
pub(super) const COMPATIBLE: &str = "gatehouse-qemuarm64";

/// What the root is made of.
pub(super) struct Parts<'a> {
    pub(super) base: &'a Path,
    pub(super) program: &'a Path,
    pub(super) page: &'a Path,
    pub(super) kernel: &'a Kernel,
    /// Whose signatures on updates the box believes.
    pub(super) keyring: &'a Path,
}

/// Makes the root below an empty folder.
pub(super) fn assemble(parts: &Parts, flavour: Flavour, root: &Path) -> anyhow::Result<()> {
    workspace::run(
        workspace::command("tar")
            .args(["--extract", "--numeric-owner", "--file"])
            .arg(parts.base)
            .arg("--directory")
            .arg(root),
    )?;
    let boot = within(root, "boot");
    fs::create_dir_all(&boot).context("no /boot")?;
    initrd::make(root, &parts.kernel.early_modules(), &boot.join("initrd"))?;
    fs::copy(parts.kernel.image(), boot.join("Image")).context("no kernel")?;
    for path in PRUNED {
        remove(&root.join(path))?;
    }
    fs::create_dir(root.join("var")).context("no /var")?;
    let names = [("GATEHOUSE_COMPATIBLE", COMPATIBLE)];
    for list in lists(flavour) {
        manifest::install(&list, root, &names)?;
    }
    copy_file(parts.program, &within(root, "usr/bin/gatehouse"), 0o755)?;
    copy_file(
        parts.keyring,
        &within(root, "usr/share/gatehouse/update-keyring.pem"),
        0o644,
    )?;
    copy_tree(parts.page, &within(root, "usr/share/gatehouse/web"))?;
    copy_tree(
        &parts.kernel.late_modules().join("lib/modules"),
        &within(root, "usr/lib/modules"),
    )?;
    fs::write(within(root, "etc/hostname"), "gatehouse\n").context("no name")?;
    fs::write(within(root, "etc/machine-id"), "").context("no place for a machine id")?;
    // "Has this been updated?" is asked of these times, and nothing is to be done about it.
    fs::write(within(root, "etc/.updated"), "").context("no mark in /etc")?;
    add_users(root)?;
    workspace::run(
        workspace::command("systemctl")
            .arg(format!("--root={}", root.display()))
            .args(["--quiet", "preset-all"]),
    )?;
    harden(root)
}

/// The lists of a flavour.
pub(super) fn lists(flavour: Flavour) -> Vec<PathBuf> {
    let yocto = workspace::root().join("yocto");
    let extra = (flavour == Flavour::Test).then_some(&TEST_LIST);
    LISTS
        .iter()
        .chain(extra)
        .map(|list| yocto.join(list))
        .collect()
}

/// Adds the users of our own `sysusers.d` to the users that Debian's packages have added.
fn add_users(root: &Path) -> anyhow::Result<()> {
    let folder = within(root, "usr/lib/sysusers.d");
    let mut ours: Vec<PathBuf> = fs::read_dir(&folder)
        .context("no sysusers.d")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("gatehouse"))
        })
        .collect();
    ours.sort();
    for file in ours {
        workspace::run(
            workspace::command("systemd-sysusers")
                .arg(format!("--root={}", root.display()))
                .arg("--inline")
                .args(lines(&file)?),
        )?;
    }
    Ok(())
}

fn lines(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(str::to_owned)
        .collect())
}

/// Nobody has a shell to log in with, and no program changes its user.
fn harden(root: &Path) -> anyhow::Result<()> {
    let passwd = within(root, "etc/passwd");
    let text = fs::read_to_string(&passwd).context("no users")?;
    let text: String = text
        .lines()
        .map(|line| match line.rsplit_once(':') {
            Some((user, _)) => format!("{user}:/usr/sbin/nologin\n"),
            None => format!("{line}\n"),
        })
        .collect();
    fs::write(&passwd, text).context("no users")?;
    for leftover in [
        "etc/passwd-",
        "etc/group-",
        "etc/shadow-",
        "etc/gshadow-",
        "etc/.pwd.lock",
    ] {
        remove(&root.join(leftover))?;
    }
    for folder in ["usr/bin", "usr/sbin", "usr/lib/dbus-1.0"] {
        for entry in fs::read_dir(root.join(folder)).context("no programs")? {
            let path = entry.context("no programs")?.path();
            let metadata = path.symlink_metadata().context("no program")?;
            let mode = metadata.permissions().mode();
            if metadata.is_file() && mode & 0o6000 != 0 {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o1777))
                    .context("a program stays what it was")?;
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let shown = from.display();
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| shown.to_string())?;
    }
    fs::copy(from, to).with_context(|| shown.to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(|| shown.to_string())?;
    chown(to, Some(0), Some(0)).with_context(|| shown.to_string())
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry.with_context(|| from.display().to_string())?.path();
        let place = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &place)?;
        } else {
            copy_file(&path, &place, 0o644)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let done = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else if path.exists() || path.is_symlink() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    done.with_context(|| path.display().to_string())
}
