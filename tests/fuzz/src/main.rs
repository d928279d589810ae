//! The program around the targets. Built as usual, it lists them, tastes them, or builds
//! and starts itself a second time with libFuzzer and a sanitizer inside; README.md has
//! the command lines. Built with `--cfg fuzzing`, it is that second program.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod libfuzzer;

#[cfg(not(fuzzing))]
mod command;

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    command::run(std::env::args().skip(1))
}
