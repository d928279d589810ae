//! The root that the box starts from where Yocto cannot be built: Debian's packages for arm64.

use std::path::PathBuf;

use super::cache::Cached;
use super::debian;
use crate::workspace;

/// Beside what Debian calls essential.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "systemd-timesyncd",
    "udev",
    "dbus",
    "rauc",
    "rauc-service",
    "libubootenv-tool",
    "kmod",
    "e2fsprogs",
    // The initrd's.
    "dmsetup",
    "busybox-static",
];

/// Left out while unpacking.
const LEFT_OUT: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/bash-completion/*",
    "/usr/share/lintian/*",
    "/usr/share/zsh/*",
    "/usr/lib/udev/hwdb.d/*",
];

/// The archive (tar) of the root, made once.
pub(super) fn archive() -> anyhow::Result<PathBuf> {
    let cached = Cached::at("base", &[include_bytes!("base.rs")])?;
    let folder = cached.make(|folder| {
        println!("installing the box's Debian packages, in emulation: this takes minutes");
        debian::run_foreign_programs()?;
        let mut command = workspace::command("mmdebstrap");
        command
            .args([
                "--quiet",
                "--mode=root",
                "--arch=arm64",
                "--variant=essential",
            ])
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg("--aptopt=Acquire::Languages \"none\"")
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .arg("--dpkgopt=force-unsafe-io");
        for option in debian::proxies() {
            command.arg(format!("--aptopt={option}"));
        }
        for pattern in LEFT_OUT {
            command.arg(format!("--dpkgopt=path-exclude={pattern}"));
        }
        workspace::run(
            command
                .arg(debian::RELEASE)
                .arg(folder.join("root.tar"))
                .arg(format!(
                    "deb {} {} main",
                    debian::mirror()?,
                    debian::RELEASE
                )),
        )
    })?;
    Ok(folder.join("root.tar"))
}
