//! `list`, `taste` and `run <target> --minutes N`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use fuzz::{TARGETS, Target, home, taste};

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<_> = arguments.collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            TARGETS
                .iter()
                .for_each(|target| println!("{}", target.name));
            ExitCode::SUCCESS
        }
        ["taste"] => {
            let tally = taste();
            println!("{} passed, {} failed", tally.passed, tally.failed);
            code(tally.failed == 0)
        }
        ["run", name] => start(name, DEFAULT_MINUTES),
        ["run", name, "--minutes", minutes] => match minutes.parse() {
            Ok(minutes) => start(name, minutes),
            Err(_) => usage(),
        },
        _ => usage(),
    }
}

/// Builds this program again with libFuzzer inside, and lets it run.
fn start(name: &str, minutes: u32) -> ExitCode {
    let Some(target) = Target::named(name) else {
        return usage();
    };
    let folder = home().join("../../target/fuzzing");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--package", "fuzz", "--bin", "fuzz"])
        .args(["--target", TRIPLE, "--target-dir"])
        .arg(&folder)
        .current_dir(home())
        // A sanitizer is an unstable flag, which this opens on the stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" "));
    let findings = home().join("findings");
    let corpus = target.corpus();
    for folder in [&findings, &corpus] {
        if let Err(error) = std::fs::create_dir_all(folder) {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    let program: PathBuf = folder.join(TRIPLE).join("release/fuzz");
    let mut fuzz = Command::new(program);
    fuzz.env("FUZZ_TARGET", target.name)
        .arg(format!("-max_total_time={}", u64::from(minutes) * 60))
        .arg(format!("-max_len={MAX_LENGTH}"))
        .args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!(
            "-artifact_prefix={}/{}-",
            findings.display(),
            target.name
        ))
        .args(target.folders().iter().filter(|folder| folder.is_dir()));
    code(succeeds(&mut build) && succeeds(&mut fuzz))
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            false
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("fuzz list | fuzz taste | fuzz run <target> [--minutes N]");
    ExitCode::from(2)
}

fn code(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const DEFAULT_MINUTES: u32 = 1;

/// Somewhat more than the longest message that is read.
const MAX_LENGTH: usize = 70_000;

/// A triple has to be named, or the build scripts would get the flags as well.
const TRIPLE: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// What `cargo fuzz` passes to the compiler.
const FLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "--cfg fuzzing",
];
