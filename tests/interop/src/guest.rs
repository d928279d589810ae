//! A machine whose kernel has ESP and AF_ALG: Debian's User-Mode Linux, a kernel that is a program. Its root is
//! the host's own file system (hostfs), so every program of the host runs in it, ours too; its
//! network, its processes and its mounts are its own. It boots in two seconds without KVM.
//!
//! What one must know:
//!
//! * The kernel 6.1 dies at its first process on a processor with AMX ("ptrace set fp regs failed,
//!   errno = 14"); `guest/ptrace.c` is loaded into it against that.
//! * ESP, AF_ALG and their ciphers are modules, and nothing loads them by itself: `guest/init.sh` does.
//! * Its loopback interface is exempt from IPsec (`net.ipv4.conf.lo.disable_xfrm`), so the two ends of
//!   an association live in network namespaces with a veth pair between them.
//! * One processor, and every system call costs a context switch of the host: Kamailio starts in
//!   it in a few seconds, tshark is better run outside on what dumpcap wrote.
//! * Memory is a file in `TMPDIR`: on a disk it is slow, so it is `/dev/shm`.
//! * What it writes through hostfs belongs to the host's root and stays; `/run` is its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::child::{Child, tail};

/// Boots, runs one command of the host's and ends; returns what the command printed.
///
/// The guest and all that runs in it are children of one process, which is ended by its id when the
/// time is over.
pub fn run(folder: &Path, command: &[String], limit: Duration) -> anyhow::Result<Outcome> {
    fs::create_dir_all(folder).context("no folder for the guest")?;
    let library = folder.join("ptrace.so");
    compile(folder, &library)?;
    let init = folder.join("init.sh");
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let script = include_str!("../guest/init.sh")
        .replace("@ENVIRONMENT@", &format!("{}=1", crate::network::INSIDE))
        .replace("@FOLDER@", &quoted(&folder.to_string_lossy()))
        .replace("@COMMAND@", &words.join(" "));
    fs::write(&init, script).context("no start script for the guest")?;
    make_executable(&init)?;

    let mut linux = Command::new("linux.uml");
    linux
        .env("LD_PRELOAD", &library)
        .env("TMPDIR", "/dev/shm")
        .args([
            "mem=640M",
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
        ])
        .args(["con=null", "con0=null,fd:1"])
        .arg(format!("init={}", init.display()));
    let mut child = Child::start("guest", &mut linux, folder)?;
    let ended = child.wait(limit);
    let log = fs::read(child.log()).unwrap_or_default();
    // The console ends its lines like a terminal.
    let printed = String::from_utf8_lossy(&log).replace('\r', "");
    ended.with_context(|| format!("the guest did not end: {}", tail(child.log())))?;
    let status = printed
        .lines()
        .filter_map(|line| line.strip_prefix("guest: ended with "))
        .find_map(|status| status.trim().parse().ok());
    let Some(status) = status else {
        bail!("the guest died: {}", tail(child.log()));
    };
    Ok(Outcome { printed, status })
}

/// What a command in the guest left.
#[derive(Debug)]
pub struct Outcome {
    /// The console: the command's two outputs among a few lines of the kernel's.
    pub printed: String,
    /// The command's exit status.
    pub status: i32,
}

fn compile(folder: &Path, library: &Path) -> anyhow::Result<()> {
    let source = folder.join("ptrace.c");
    fs::write(&source, include_str!("../guest/ptrace.c")).context("no source for the guest")?;
    let status = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([library, &source])
        .status()
        .context("could not start cc")?;
    ensure!(status.success(), "cc ended with {status}");
    Ok(())
}

fn make_executable(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).context("no rights on a script")
}

/// A word as the shell takes it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
