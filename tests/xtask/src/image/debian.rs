//! Debian's archive as this machine reaches it: packages for the machine itself from the backports,
//! packages for the box from a newer release. The machine's own list of sources stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::{tools, workspace};

/// What builds and runs the image on this machine.
const PACKAGES: &[&str] = &[
    "arch-test",
    "binutils-aarch64-linux-gnu",
    "cargo-web",
    "cpio",
    "cryptsetup-bin",
    "e2fsprogs",
    "fdisk",
    "gcc-aarch64-linux-gnu",
    "iproute2",
    "kmod",
    "libc6-dev-arm64-cross",
    "mmdebstrap",
    "mount",
    "openssl",
    "rauc",
    "rustc-web",
    "squashfs-tools",
    "systemd",
    "u-boot-tools",
    "util-linux",
    "xz-utils",
];

/// The standard library for the box's processor.
const FOREIGN: &str = "libstd-rust-web-dev:arm64";

/// From the backports: the emulator of the release before it has no place beside `qemu-utils` of
/// the backports, which some machines bring.
const EMULATOR: &[&str] = &[
    "qemu-system-arm",
    "qemu-system-common",
    "qemu-system-data",
    "qemu-user",
    "qemu-user-static",
];

/// The release of this machine that all of this is written for.
const HOST: &str = "bookworm";

/// The release that the box is made of where Yocto's sources cannot be had.
pub(super) const RELEASE: &str = "trixie";

/// Installs what is missing on this machine.
pub(super) fn install() -> anyhow::Result<()> {
    let present = |package: &str| {
        let query = ["--show", "--showformat", "${db:Status-Status}", package];
        workspace::command("dpkg-query")
            .args(query)
            .output()
            .is_ok_and(|output| output.stdout == b"installed")
    };
    let missing: Vec<&str> = PACKAGES
        .iter()
        .chain([&FOREIGN])
        .copied()
        .filter(|package| !present(package))
        .collect();
    let emulator = EMULATOR.iter().any(|package| !present(package));
    if missing.is_empty() && !emulator {
        return Ok(());
    }
    if !tools::is_root() {
        bail!("Debian packages are missing, and only root can install them: run this once as root");
    }
    let backports = format!("{HOST}-backports");
    let mut names: Vec<String> = missing.iter().map(|&name| name.to_owned()).collect();
    names.extend(EMULATOR.iter().map(|name| format!("{name}/{backports}")));
    println!("installing Debian packages: {}", names.join(" "));
    let _quiet = tools::NoServices::start()?;
    workspace::run(workspace::command("dpkg").args(["--add-architecture", "arm64"]))?;
    let archive = Archive::beside_machine(&backports)?;
    workspace::run(
        archive
            .apt("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&names),
    )
}

/// Programs of the box's processor run on this one, by QEMU.
pub(super) fn run_foreign_programs() -> anyhow::Result<()> {
    let folder = Path::new("/proc/sys/fs/binfmt_misc");
    if !folder.join("register").exists() {
        workspace::run(
            workspace::command("mount")
                .args(["-t", "binfmt_misc", "none"])
                .arg(folder),
        )?;
    }
    if folder.join("qemu-aarch64").exists() {
        return Ok(());
    }
    let rule = fs::read("/usr/lib/binfmt.d/qemu-aarch64.conf")
        .context("qemu-user-static brought no rule for binfmt")?;
    fs::write(folder.join("register"), rule).context("could not register QEMU with binfmt")
}

/// The archive's address as this machine has it.
pub(super) fn mirror() -> anyhow::Result<String> {
    let format = "$(CREATED_BY)|$(REPO_URI)|$(CODENAME)|$(LABEL)";
    let output = workspace::command("apt-get")
        .args(["indextargets", "--format", format])
        .output()
        .context("could not start apt-get")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    mirror_in(&text).with_context(|| format!("this machine's apt has no source of Debian {HOST}"))
}

fn mirror_in(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split('|').collect();
        match fields[..] {
            ["Packages", address, HOST, "Debian"] => Some(address.to_owned()),
            _ => None,
        }
    })
}

/// How this machine's apt gets through to the archive, as options for another one.
pub(super) fn proxies() -> Vec<String> {
    let output = workspace::command("apt-config").arg("dump").output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| line.starts_with("Acquire::http") && !line.contains("\"\""))
        .map(str::to_owned)
        .collect()
}

/// A list of sources of our own, with its indexes.
pub(super) struct Archive {
    options: Vec<String>,
}

impl Archive {
    /// The machine's own sources and one suite more.
    fn beside_machine(suite: &str) -> anyhow::Result<Self> {
        let folder = tools::cache()?.join("apt").join(suite);
        let sources = prepare(&folder, suite, None)?;
        for entry in fs::read_dir("/etc/apt/sources.list.d").context("no sources of apt")? {
            let entry = entry.context("no sources of apt")?;
            fs::copy(entry.path(), sources.join(entry.file_name()))
                .context("no copy of sources")?;
        }
        let list = Path::new("/etc/apt/sources.list");
        if list.exists() {
            fs::copy(list, sources.join("machine.list")).context("no copy of sources")?;
        }
        let archive = Self {
            options: locations(&folder),
        };
        workspace::run(archive.apt("apt-get").args(["update", "--quiet"]))?;
        Ok(archive)
    }

    /// The box's release alone, as if nothing were installed.
    pub(super) fn of_box() -> anyhow::Result<Self> {
        let folder = tools::cache()?.join("apt").join(RELEASE);
        prepare(&folder, RELEASE, Some("arm64"))?;
        let mut options = locations(&folder);
        for option in [
            "Dir::State::status=/dev/null",
            "APT::Architecture=arm64",
            "APT::Architectures::=arm64",
            "APT::Sandbox::User=root",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        let archive = Self { options };
        workspace::run(archive.apt("apt-get").args(["update", "--quiet"]))?;
        Ok(archive)
    }

    /// The package that a package of no content of its own stands for.
    pub(super) fn stands_for(&self, package: &str) -> anyhow::Result<String> {
        let output = self
            .apt("apt-cache")
            .args(["depends", package])
            .output()
            .context("could not start apt-cache")?;
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .map(str::to_owned)
            .with_context(|| format!("{package} depends on nothing"))
    }

    /// Downloads a package and unpacks it, without installing anything.
    pub(super) fn unpack(&self, package: &str, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        workspace::run(
            self.apt("apt-get")
                .current_dir(folder)
                .args(["download", "--quiet", package]),
        )?;
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                workspace::run(
                    workspace::command("dpkg-deb")
                        .arg("--extract")
                        .args([&path, folder]),
                )?;
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = workspace::command(program);
        apt.args(&self.options);
        apt
    }
}

fn prepare(folder: &Path, suite: &str, architecture: Option<&str>) -> anyhow::Result<PathBuf> {
    let sources = folder.join("sources");
    let lists = folder.join("lists/partial");
    for part in [&sources, &lists] {
        fs::create_dir_all(part).with_context(|| part.display().to_string())?;
    }
    let mut text = format!(
        "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
        mirror()?
    );
    if let Some(architecture) = architecture {
        text.push_str(&format!("Architectures: {architecture}\n"));
    }
    let file = sources.join("gatehouse.sources");
    fs::write(&file, text).with_context(|| file.display().to_string())?;
    Ok(sources)
}

fn locations(folder: &Path) -> Vec<String> {
    let folder = folder.display();
    [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={folder}/sources"),
        format!("Dir::State::lists={folder}/lists"),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_release_and_not_of_its_security_updates() {
        let targets = "Packages|http://one.example/debian-security/|bookworm|Debian-Security\n\
                       Translations|http://two.example/debian/|bookworm|Debian\n\
                       Packages|http://three.example/debian/|bookworm|Debian\n";

        assert_eq!(
            mirror_in(targets).as_deref(),
            Some("http://three.example/debian/")
        );
        assert_eq!(mirror_in(""), None);
    }
}
