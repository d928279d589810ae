//! The program `gatehouse` for the box's processor, built by Debian's Rust, whose library for it
//! is a package.

use std::path::PathBuf;

use crate::{tools, workspace};

/// The box's processor, as Rust calls it.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Builds the program; what is built lies outside the clone, because it takes long.
pub(super) fn gatehouse() -> anyhow::Result<PathBuf> {
    println!("building gatehouse for {TARGET}");
    let folder = tools::cache()?.join("aarch64/target");
    let mut cargo = workspace::command("/usr/bin/cargo");
    cargo
        .args(["build", "--release", "--locked", "--package", "gatehouse"])
        .args(["--target", TARGET])
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", &folder)
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_INCREMENTAL");
    workspace::run(&mut cargo)?;
    let stripped = folder.join("gatehouse-stripped");
    workspace::run(
        workspace::command("aarch64-linux-gnu-strip")
            .arg("-o")
            .arg(&stripped)
            .arg(folder.join(TARGET).join("release/gatehouse")),
    )?;
    Ok(stripped)
}
