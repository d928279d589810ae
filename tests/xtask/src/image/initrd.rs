//! The initrd: the shared `init`, busybox, dmsetup with its libraries, a handful of modules.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::Context;

use super::manifest::within;
use crate::workspace;

/// The one `init` of QEMU's image and Yocto's.
const INIT: &str = "yocto/meta-gatehouse/recipes-core/gatehouse-initrd/files/init";

/// From the root, with the names they have there.
const TAKEN: &[&str] = &[
    "usr/sbin/dmsetup",
    "usr/lib/aarch64-linux-gnu/libdevmapper.so.1.02.1",
    "usr/lib/aarch64-linux-gnu/libc.so.6",
    "usr/lib/aarch64-linux-gnu/libm.so.6",
    "usr/lib/aarch64-linux-gnu/libselinux.so.1",
    "usr/lib/aarch64-linux-gnu/libudev.so.1",
    "usr/lib/aarch64-linux-gnu/libpcre2-8.so.0",
    "usr/lib/aarch64-linux-gnu/libcap.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
];

/// The words of the shell script `init`.
const APPLETS: &[&str] = &[
    "chmod",
    "chroot",
    "cat",
    "dd",
    "grep",
    "insmod",
    "mkdir",
    "mount",
    "od",
    "rm",
    "sed",
    "sh",
    "sleep",
    "switch_root",
    "sync",
    "tr",
    "umount",
];

/// Writes the initrd of a root.
pub(super) fn make(root: &Path, modules: &Path, initrd: &Path) -> anyhow::Result<()> {
    let tree = root.join(".initrd");
    for folder in [
        "bin",
        "dev",
        "proc",
        "sys",
        "sysroot",
        "lib/modules",
        "usr/sbin",
        "usr/lib/aarch64-linux-gnu",
    ] {
        fs::create_dir_all(tree.join(folder)).context("no folder for the initrd")?;
    }
    copy(&workspace::root().join(INIT), &tree.join("init"), 0o755)?;
    copy(
        &within(root, "usr/bin/busybox"),
        &tree.join("bin/busybox"),
        0o755,
    )?;
    for applet in APPLETS {
        symlink("busybox", tree.join("bin").join(applet)).context("no link")?;
    }
    for path in TAKEN {
        let from = fs::canonicalize(root.join(path)).with_context(|| (*path).to_owned())?;
        copy(&from, &tree.join(path), 0o755)?;
    }
    symlink(
        "../usr/lib/ld-linux-aarch64.so.1",
        tree.join("lib/ld-linux-aarch64.so.1"),
    )
    .context("no link")?;
    symlink(
        "../usr/lib/aarch64-linux-gnu",
        tree.join("lib/aarch64-linux-gnu"),
    )
    .context("no link")?;
    for entry in fs::read_dir(modules).context("no modules")? {
        let path = entry.context("no modules")?.path();
        copy(
            &path,
            &tree
                .join("lib/modules")
                .join(path.file_name().unwrap_or_default()),
            0o644,
        )?;
    }
    let script = "cd \"$1\" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible | gzip -1n > \"$2\"";
    workspace::run(
        workspace::command("sh")
            .args(["-c", script, "sh"])
            .args([&tree, initrd]),
    )?;
    fs::remove_dir_all(&tree).context("could not clear up")
}

fn copy(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| to.display().to_string())
}
