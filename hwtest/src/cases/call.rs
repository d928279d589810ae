//! A browser that calls through the box.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::Report;
use crate::target::Target;

/// Runs the script that drives a browser on the box's page; each of its lines that begins with
/// `ok` or `FAILED` is a check.
pub fn browser_calls(target: &dyn Target, script: &[String], report: &mut Report) {
    if let Err(error) = drive(target, script, report) {
        report.check("the browser's script runs", || Err(error));
    }
}

fn drive(target: &dyn Target, script: &[String], report: &mut Report) -> anyhow::Result<()> {
    let (program, arguments) = script.split_first().context("no script")?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(format!("https://{}/", target.address()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {program}"))?;
    let output = child.stdout.take().context("no output of the script")?;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        match line.split_whitespace().next() {
            Some("ok") => report.passed += 1,
            Some("FAILED") => report.failed += 1,
            _ => {}
        }
    }
    let status = child.wait().context("lost the script")?;
    if !status.success() && report.failed == 0 {
        anyhow::bail!("the script ended with {status}");
    }
    Ok(())
}
