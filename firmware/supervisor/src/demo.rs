//! The newcomer's door: the gateway on an embedded lab core. Left out of images.

use anyhow::bail;

/// What `gatehouse demo` takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Runs the gateway on the lab core, in the foreground.
pub(crate) fn run(_arguments: Arguments) -> anyhow::Result<()> {
    bail!("the lab core is not in this build")
}
