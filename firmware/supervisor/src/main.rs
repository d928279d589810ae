//! `gatehouse`, the WebRTC-to-IMS gateway: reads its configuration, builds everything,
//! runs, and leaves cleanly.

mod causes;
mod config;
mod crash;
mod credentials;
mod crypto;
#[cfg(feature = "lab")]
mod demo;
mod health;
mod heat;
#[cfg(feature = "lab")]
mod lab_core;
mod log;
mod media_link;
mod media_plane;
mod media_task;
mod memory;
mod notify;
mod panel;
mod records;
mod run;
mod signaling_task;
mod silent;
mod status;
mod store;
mod supervisor;
mod surroundings;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use config::Config;

/// WebRTC-to-IMS gateway.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs the gateway in the foreground.
    Run {
        /// Its configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Waits for a usable configuration and for a network, and says so on the front panel
        /// and the page, instead of ending.
        #[arg(long)]
        wait: bool,
    },
    /// Runs the media plane by itself, for a gateway with `[media] apart = true`.
    Media {
        /// The gateway's configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Keeps why the box and its programs ended; called by systemd.
    Cause(causes::Arguments),
    /// Drives the lamps and the button of the box's front panel.
    Panel(panel::Arguments),
    /// Says what is wrong with a configuration.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Keeps credentials by which the gateway registers users on their behalf.
    #[command(subcommand)]
    Credentials(credentials::Verb),
    /// Tries the engines that seal and open SRTP packets, and shows what they cost here.
    Crypto(crypto::Arguments),
    /// Prints a configuration with every setting, its documentation and its default.
    DefaultConfig,
    /// Runs the gateway on an embedded IMS core with a page to try it.
    #[cfg(feature = "lab")]
    Demo(demo::Arguments),
    /// Runs the embedded IMS core alone, for a gateway on another machine.
    #[cfg(feature = "lab")]
    Core(demo::CoreArguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::DefaultConfig => {
            print!("{}", Config::documented());
            return ExitCode::SUCCESS;
        }
        Verb::CheckConfig { file } => load(&file).map(|_| println!("{}: good", file.display())),
        Verb::Run { config, wait } => run(&config, wait),
        Verb::Crypto(arguments) => crypto::run(&arguments),
        Verb::Credentials(verb) => {
            crash::keep_secrets();
            credentials::run(verb)
        }
        Verb::Media { config } => {
            load(&config).and_then(|config| media_plane::to_completion(&config))
        }
        Verb::Cause(arguments) => causes::run(&arguments),
        Verb::Panel(arguments) => panel::run(arguments),
        #[cfg(feature = "lab")]
        Verb::Demo(arguments) => demo::run(arguments),
        #[cfg(feature = "lab")]
        Verb::Core(arguments) => demo::run_core(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatehouse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &Path, wait: bool) -> anyhow::Result<()> {
    let (page, hang_up) = (run::Page::default(), run::Wish::Reload);
    if !wait {
        let config = load(file)?;
        return run::to_completion(config, page, hang_up, run::Patience::None, |_| {});
    }
    match Config::load(file) {
        Ok(config) => run::to_completion(config, page, hang_up, run::Patience::Waits, |_| {}),
        Err(faults) => waiting::for_setup(file, &faults),
    }
}

fn load(file: &Path) -> anyhow::Result<Config> {
    Config::load(file).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        anyhow::anyhow!("{}:{}", file.display(), lines.concat())
    })
}
