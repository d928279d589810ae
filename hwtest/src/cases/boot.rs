//! From power-on to ready, and what the box is then.

use std::time::Instant;

use anyhow::{Context, bail};

use super::{Report, patience, ports, wait_ready};
use crate::target::Target;

/// Switches the box on and looks at it. Leaves it on.
pub fn boots_and_is_what_it_should_be(target: &mut dyn Target, report: &mut Report) {
    let started = Instant::now();
    let mut up = false;
    report.check("the boot loader starts slot A", || {
        target.power_on()?;
        let patience = patience(target, 12);
        let at = target.console()?.expect("starting slot A", patience)?;
        Ok(format!("{:.1} s after power-on", at.as_secs_f64()))
    });
    report.check("the box says that it is ready", || {
        wait_ready(target, patience(target, 45))?;
        up = true;
        Ok(format!(
            "{:.1} s after power-on",
            started.elapsed().as_secs_f64()
        ))
    });
    if !up {
        if let Ok(console) = target.console() {
            println!("{}", console.last(20));
        }
        return;
    }
    report.check("the root is verified and read-only", || root(target));
    report.check("the services are up and nothing has failed", || {
        services(target)
    });
    report.check("the ports that are open are those of the list", || {
        let listing = run(
            target,
            "cat /proc/net/tcp /proc/net/tcp6; echo udp; cat /proc/net/udp /proc/net/udp6",
        )?;
        ports::compare(&listing)
    });
    report.check("no process of ours is root's", || users(target));
    report.check("nobody can log in", || logins(target));
    report.check("each unit of ours is locked up", || exposure(target));
    report.check("the lamps are driven", || {
        let changes = target.lamps()?;
        let lit = changes.iter().filter(|change| change.on).count();
        if lit == 0 {
            bail!("none has been lit");
        }
        Ok(format!("{lit} times one was lit"))
    });
    report.check("memory in use", || memory(target));
    report.check("how long each part of the start took", || {
        Ok(run(target, "systemd-analyze time | head -n1")?
            .trim()
            .to_owned())
    });
}

fn root(target: &mut dyn Target) -> anyhow::Result<String> {
    let mounted = run(target, "findmnt --noheadings --output SOURCE,OPTIONS /")?;
    let device_mapper = mounted.starts_with("/dev/mapper/root") || mounted.starts_with("/dev/dm-0");
    if !device_mapper || !mounted.contains(" ro,") {
        bail!("the root is {mounted}");
    }
    let status = run(target, "dmsetup status root")?;
    if !status.trim_end().ends_with("verity V") {
        bail!("verity says {status}");
    }
    for path in ["/usr/x", "/etc/x"] {
        run(target, &format!("! touch {path}"))
            .with_context(|| format!("{path} can be written"))?;
    }
    Ok(status.trim().to_owned())
}

fn services(target: &mut dyn Target) -> anyhow::Result<String> {
    let failed = run(target, "systemctl --failed --no-legend --plain")?;
    if !failed.trim().is_empty() {
        bail!("failed: {failed}");
    }
    let mut names = Vec::new();
    for unit in units(target)? {
        let state = run(
            target,
            &format!("systemctl show --property=ActiveState --value {unit}"),
        )?;
        if state.trim() != "active" {
            bail!("{unit} is {state}");
        }
        names.push(unit);
    }
    Ok(names.join(" "))
}

/// The units of ours that are started at the start.
fn units(target: &mut dyn Target) -> anyhow::Result<Vec<String>> {
    let listed = run(
        target,
        "systemctl list-unit-files --state=enabled --no-legend --plain 'gatehouse*.service' | cut -d' ' -f1",
    )?;
    let units: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    if units.is_empty() {
        bail!("no unit of ours is enabled");
    }
    Ok(units)
}

fn users(target: &mut dyn Target) -> anyhow::Result<String> {
    let script = "for p in /proc/[0-9]*; do e=$(readlink $p/exe) || continue; \
                  [ \"$e\" = /usr/bin/gatehouse ] && stat -c %U $p; done; true";
    let users: Vec<String> = run(target, script)?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if users.is_empty() || users.iter().any(|user| user == "root") {
        bail!("they run as {users:?}");
    }
    Ok(users.join(" "))
}

fn logins(target: &mut dyn Target) -> anyhow::Result<String> {
    let shells = run(target, "grep -v ':/usr/sbin/nologin$' /etc/passwd; true")?;
    let consoles = run(
        target,
        "ls /run/systemd/generator/getty.target.wants 2>/dev/null; systemctl --no-legend --plain list-units '*getty*'; true",
    )?;
    let passwords = run(target, "cut -d: -f2 /etc/shadow | grep -v '^[!*]'; true")?;
    let set_user = run(target, "find / -xdev -perm /6000 -type f")?;
    for (what, found) in [
        ("shells", shells),
        ("consoles", consoles),
        ("passwords", passwords),
        ("programs that change their user", set_user),
    ] {
        if !found.trim().is_empty() {
            bail!("{what}: {found}");
        }
    }
    Ok(String::new())
}

fn exposure(target: &mut dyn Target) -> anyhow::Result<String> {
    let mut found = Vec::new();
    for unit in units(target)? {
        let verdict = run(
            target,
            &format!("systemd-analyze security --no-pager {unit} | tail -n1"),
        )?;
        let figure: f64 = verdict
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .with_context(|| format!("{unit}: {verdict}"))?;
        if figure >= MOST_EXPOSED {
            bail!("{unit}: exposure {figure}, wanted below {MOST_EXPOSED}");
        }
        found.push(format!("{unit} {figure}"));
    }
    Ok(found.join(", "))
}

fn memory(target: &mut dyn Target) -> anyhow::Result<String> {
    let text = run(target, "grep -E '^Mem(Total|Available):' /proc/meminfo")?;
    let numbers: Vec<u64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [total, available] = numbers[..] else {
        bail!("/proc/meminfo says {text}");
    };
    Ok(format!(
        "{} of {} MiB",
        (total - available) >> 10,
        total >> 10
    ))
}

fn run(target: &mut dyn Target, command: &str) -> anyhow::Result<String> {
    let patience = patience(target, 6);
    target.run(command, patience)
}

/// On systemd's scale from 0 to 10.
const MOST_EXPOSED: f64 = 2.0;
