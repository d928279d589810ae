//! `gatehouse panel`: the front panel, in a process of its own, so that a gateway that stands
//! still is shown. It reads from files how the box is, drives the lamps, and turns presses
//! of the button into files that systemd's path units wait for.

mod face;
mod front;
pub(crate) mod state;
mod supervision;
#[cfg(test)]
mod tests;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use board_core::led::{card, export};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::config::Log;
use crate::notify;
use face::{Board, Face, Terminal};
use front::Front;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Plays the lamps and the button on the terminal: `press` and `release` on standard input.
    #[arg(long)]
    simulate: bool,
    /// Shows each state of the table for so many seconds, in its order, and ends.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=600))]
    walk: Option<u64>,
    /// Prints the table of lamps and ends.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["simulate", "walk"])]
    table: Option<Format>,
    /// The folder of the running programs' files.
    #[arg(long, value_name = "FOLDER", default_value = "/run")]
    run: PathBuf,
    /// The root of the board's files.
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
}

/// How the table of lamps is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For programs, with the waveform of each lamp in each state.
    Json,
    /// The card beside the box, as Markdown.
    Card,
    /// The card as a page to print.
    CardPage,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(format) = arguments.table {
        print!("{}", table(format)?);
        return Ok(());
    }
    crate::log::start(&Log::default())?;
    if arguments.simulate {
        return drive(Terminal::open(), &arguments);
    }
    match board::identify(&arguments.root) {
        Ok(description) => drive(Board::open(description, &arguments.root)?, &arguments),
        // Nothing is broken: there is nothing to do here.
        Err(error) => {
            println!("{error}");
            println!("`gatehouse panel --simulate` shows the lamps on a terminal.");
            notify::ready("this machine has no front panel");
            Ok(())
        }
    }
}

fn table(format: Format) -> anyhow::Result<String> {
    let mut text = String::new();
    match format {
        Format::Json => export::write_json(&mut text)?,
        Format::Card => card::write_markdown(&mut text)?,
        Format::CardPage => card::write_html(&mut text)?,
    }
    Ok(text)
}

fn drive(face: impl Face, arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match arguments.walk {
        Some(seconds) => runtime.block_on(walk::run(face, Duration::from_secs(seconds))),
        None => runtime.block_on(turn_until_told(face, arguments)),
    }
}

async fn turn_until_told(mut face: impl Face, arguments: &Arguments) -> anyhow::Result<()> {
    let mut end = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut front = Front::new(arguments.run.clone(), face.name(), state::uptime());
    tracing::info!(board = face.name(), "the front panel is on");
    let mut petted_at = None;
    loop {
        let now = state::uptime();
        let next = front.turn(&mut face, now)?;
        // Only a turn that is finished counts.
        if petted_at.is_none() {
            notify::ready("the front panel is on");
        }
        if petted_at.is_none_or(|at| now.saturating_sub(at) >= pet_every()) {
            notify::pet_watchdog();
            petted_at = Some(now);
        }
        tokio::select! {
            () = sleep(next.saturating_sub(state::uptime())) => {}
            _ = end.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    front.leave(&mut face)
}

fn pet_every() -> Duration {
    notify::watchdog_interval().map_or(Duration::MAX, board_core::watchdog::period)
}
