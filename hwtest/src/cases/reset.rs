//! The factory reset: what the box kept is gone, who it is stays.

use std::time::Instant;

use anyhow::{bail, ensure};

use super::{Report, patience};
use crate::target::Target;

/// Asks for the reset as the front panel does, by a file; the box is on before and after, and has no
/// settings any more.
pub fn factory_reset(target: &mut dyn Target, report: &mut Report) {
    report.check(
        "a factory reset keeps who the box is and nothing else",
        || {
            let long = patience(target, 6);
            let who = "cat /etc/machine-id /identity/serial";
            let before = target.run(who, long)?;
            target.run(
                "touch /data/gatehouse/kept /data/network/kept && sync",
                long,
            )?;
            target.run("touch /run/gatehouse-panel/wanted-factory-reset", long)?;
            let patience = patience(target, 45);
            target
                .console()?
                .expect("gatehouse.reset=factory", patience)?;
            come_back(target)?;
            let left = target.run("find /data -name kept -o -name gatehouse.toml", long)?;
            ensure!(left.trim().is_empty(), "still there: {left}");
            let after = target.run(who, long)?;
            ensure!(before == after, "it was {before}, it is {after}");
            let asked = target.run("fw_printenv GATEHOUSE_RESET 2>&1; true", long)?;
            ensure!(
                !asked.contains("=factory"),
                "it is asked for again: {asked}"
            );
            Ok(before.split_whitespace().collect::<Vec<_>>().join(" "))
        },
    );
}

/// Waits until the shell answers again.
fn come_back(target: &mut dyn Target) -> anyhow::Result<()> {
    let until = Instant::now() + patience(target, 45);
    loop {
        let short = patience(target, 1);
        match target.run("systemctl is-active data.mount", short) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => bail!("the box does not come back: {error:#}"),
            Err(_) => {}
        }
    }
}
