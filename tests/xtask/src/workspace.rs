//! Where the tree is and how a program is run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// The root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("xtask lies two folders below the root")
}

/// The program that built this one, so that a `+toolchain` on the command line stays in force.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command that runs at the root of the tree and reads nothing from the terminal.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command to its end and says which one it was if it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Whether a command can be started and ends well; it prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![
        Path::new(command.get_program())
            .file_name()
            .unwrap_or(command.get_program())
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// How much of the workspace a program is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Itself and what it needs: the shortest way from a bare checkout.
    Alone,
    /// Everything that the test run builds, with the same features, so that the lanes share
    /// every artefact and none is built twice.
    Whole,
}

/// What `Extent::Whole` and the unit lane tell cargo.
pub(crate) const WHOLE: &[&str] = &["--release", "--workspace", "--features", "gatehouse/lab"];

/// A program of this workspace, built in the one profile there is.
pub(crate) fn build(package: &str, extent: Extent) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo();
    cargo.arg("build");
    match (extent, package) {
        (Extent::Whole, _) => cargo.args(WHOLE).args(["--bins", "--tests"]),
        (Extent::Alone, "gatehouse") => {
            cargo.args(["--release", "--package", package, "--features", "lab"])
        }
        (Extent::Alone, _) => cargo.args(["--release", "--package", package]),
    };
    run(&mut cargo)?;
    Ok(target_folder().join("release").join(package))
}

/// The one folder all lanes build into.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |folder| root().join(folder))
}
