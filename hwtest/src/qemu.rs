//! The box as an emulated ARM64 machine: QEMU's `virt`, with the boot loader, disk, watchdog and
//! GPIO controller of a small board.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::console::Console;
use crate::lamps::{self, Change};
use crate::network;
use crate::shell::Shell;
use crate::target::Target;

/// What the machine is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its disk, which is written to.
    pub disk: PathBuf,
    /// A second disk, read only: a stick with an update on it.
    pub stick: Option<PathBuf>,
    /// What it starts first.
    pub boot_loader: PathBuf,
    /// Where its sockets and logs lie.
    pub folder: PathBuf,
    /// The interface of this machine that its network cable goes to.
    pub cable: String,
}

/// Where the serial line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To whoever started QEMU; Ctrl-A X pulls the plug, Ctrl-A C is QEMU's own prompt.
    Terminal,
    /// To a program that reads the standard output.
    Output,
}

impl Machine {
    /// QEMU's command line. It needs no KVM and no rights but those on the cable.
    #[must_use]
    pub fn command(&self, serial: Serial) -> Command {
        let mut qemu = Command::new("qemu-system-aarch64");
        // With ACPI the GPIO controller would be hidden from the kernel.
        qemu.args(["-M", "virt,gic-version=3,acpi=off"]);
        // The architected pointer authentication is slow to emulate.
        qemu.args(["-cpu", "max,pauth-impdef=on", "-accel", "tcg,thread=multi"]);
        qemu.args(["-smp", "2", "-m", MEMORY, "-display", "none"]);
        qemu.args(["-no-user-config", "-nodefaults"]);
        qemu.arg("-bios").arg(&self.boot_loader);
        self.add_disk(&mut qemu, "disk", &self.disk, "cache=unsafe");
        if let Some(stick) = &self.stick {
            self.add_disk(&mut qemu, "stick", stick, "readonly=on");
        }
        let cable = format!("tap,id=lan,ifname={},script=no,downscript=no", self.cable);
        qemu.args(["-netdev", &cable]);
        qemu.args([
            "-device",
            "virtio-net-pci,netdev=lan,romfile=,mac=52:54:00:67:61:74",
        ]);
        qemu.args(["-device", "virtio-rng-pci"]);
        qemu.args(["-device", "i6300esb", "-action", "watchdog=reset"]);
        qemu.args([
            "-device",
            "virtio-serial-pci",
            "-device",
            "virtserialport,chardev=shell,name=hwtest",
        ]);
        qemu.arg("-chardev").arg(format!(
            "socket,id=shell,path={},server=on,wait=off",
            self.at("shell")
        ));
        qemu.arg("-D").arg(self.folder.join(LAMPS));
        qemu.args(["-d", "trace:pl061_set_output", "-msg", "timestamp=on"]);
        match serial {
            Serial::Terminal => qemu.args(["-serial", "mon:stdio"]),
            Serial::Output => qemu
                .args(["-serial", "stdio", "-monitor"])
                .arg(format!("unix:{},server=on,wait=off", self.at("monitor"))),
        };
        qemu
    }

    fn add_disk(&self, qemu: &mut Command, id: &str, file: &Path, option: &str) {
        let drive = format!(
            "if=none,id={id},format=raw,file={},{option}",
            file.display()
        );
        qemu.args([
            "-drive",
            &drive,
            "-device",
            &format!("virtio-blk-pci,drive={id}"),
        ]);
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// The machine under test.
#[derive(Debug)]
pub struct Qemu {
    machine: Machine,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    process: Child,
    console: Console,
    shell: Shell,
    monitor: UnixStream,
}

impl Qemu {
    /// A machine whose plug is not in.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self {
            machine,
            running: None,
        }
    }

    fn running(&mut self) -> anyhow::Result<&mut Running> {
        self.running.as_mut().context("the box is off")
    }
}

impl Target for Qemu {
    fn power_on(&mut self) -> anyhow::Result<()> {
        if self.running.is_some() {
            bail!("the box is on");
        }
        fs::create_dir_all(&self.machine.folder).context("no folder for the machine")?;
        let errors = fs::File::create(self.machine.folder.join("qemu.log")).context("no log")?;
        for socket in ["shell", "monitor", LAMPS] {
            let _ = fs::remove_file(self.machine.folder.join(socket));
        }
        let mut process = self
            .machine
            .command(Serial::Output)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("could not start QEMU")?;
        let output = process.stdout.take().context("no output of QEMU")?;
        let mut running = None;
        let until = Instant::now() + QEMU_START;
        while running.is_none() {
            if let Some(status) = process.try_wait().context("lost QEMU")? {
                let log = fs::read_to_string(self.machine.folder.join("qemu.log"));
                bail!("QEMU ended with {status}: {}", log.unwrap_or_default());
            }
            let shell = Shell::connect(&self.machine.folder.join("shell"));
            let monitor = UnixStream::connect(self.machine.folder.join("monitor"));
            match (shell, monitor) {
                (Ok(shell), Ok(monitor)) => running = Some((shell, monitor)),
                _ if Instant::now() > until => {
                    let _ = process.kill();
                    bail!("QEMU does not open its sockets");
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        let (shell, monitor) = running.context("QEMU did not start")?;
        self.running = Some(Running {
            console: Console::listen(output, &self.machine.folder.join("console.log"))?,
            process,
            shell,
            monitor,
        });
        Ok(())
    }

    fn power_off(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.process.kill().context("QEMU does not end")?;
            running.process.wait().context("lost QEMU")?;
        }
        Ok(())
    }

    fn reset(&mut self) -> anyhow::Result<()> {
        self.running()?
            .monitor
            .write_all(b"system_reset\n")
            .context("QEMU's monitor is gone")
    }

    fn console(&mut self) -> anyhow::Result<&mut Console> {
        Ok(&mut self.running()?.console)
    }

    fn run(&mut self, command: &str, patience: Duration) -> anyhow::Result<String> {
        self.running()?.shell.run(command, patience)
    }

    fn address(&self) -> Ipv4Addr {
        network::BOX
    }

    fn lamps(&self) -> anyhow::Result<Vec<Change>> {
        let trace =
            fs::read_to_string(self.machine.folder.join(LAMPS)).context("no trace of the lamps")?;
        Ok(lamps::read_trace(&trace))
    }

    fn slowness(&self) -> u32 {
        10
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.power_off();
    }
}

/// Memory of the machine, in MiB; a board with less is not supported.
const MEMORY: &str = "512";

/// Where QEMU writes what the lamps do.
const LAMPS: &str = "lamps.trace";

/// How long QEMU may take to come up itself.
const QEMU_START: Duration = Duration::from_secs(30);
