//! Scripted browsers and a far end: what `cargo xtask bench` and `cargo xtask soak` run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use soak::Crowd;

mod browser;
mod browser_media;
mod failover;
mod far_end;
mod flood;
mod gateway;
mod relay;
mod setup;
mod sip;
mod soak;
mod stun;
mod survive;

#[derive(Parser)]
#[command(about = "Puts Gatehouse and its peers under load")]
struct Arguments {
    /// The gatehouse binary.
    #[arg(long)]
    gatehouse: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Time that the gateway adds to a call's set-up, and registrations per CPU second.
    Setup {
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        #[arg(long, default_value_t = 500)]
        users: usize,
        #[arg(long, default_value_t = 300)]
        calls: usize,
    },
    /// CPU per relayed packet.
    Relay {
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Measured seconds of each round.
        #[arg(long, default_value_t = 6)]
        seconds: u64,
        /// Numbers of calls.
        #[arg(long, value_delimiter = ',', default_values_t = [100, 400])]
        calls: Vec<usize>,
    },
    /// Calls while one of two cores behind SRV records is gone or frozen.
    Failover,
    /// Calls of registered users while strangers flood the box.
    Flood {
        /// Registered users.
        #[arg(long, default_value_t = 200)]
        users: usize,
        /// Calls before the flood, and as many during it.
        #[arg(long, default_value_t = 300)]
        calls: usize,
    },
    #[command(hide = true)]
    Flooder {
        /// Where the flood goes.
        #[arg(long)]
        web: std::net::SocketAddr,
    },
    /// Registrations and calls while the gateway's processes are killed.
    Survive {
        #[arg(long, default_value_t = 100)]
        users: usize,
        #[arg(long, default_value_t = 10)]
        calls: usize,
    },
    /// Users registered and calls held for long.
    Soak {
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        #[arg(long, default_value_t = 1000)]
        users: usize,
        #[arg(long, default_value_t = 100)]
        calls: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::temp_dir().join(format!("gatehouse-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let binary = arguments.gatehouse;
    let done = match arguments.what {
        What::Setup {
            rounds,
            users,
            calls,
        } => setup::run(&binary, &folder, rounds, users, calls).await,
        What::Relay {
            rounds,
            seconds,
            calls,
        } => relay::run(&binary, &folder, rounds, seconds, &calls).await,
        What::Failover => failover::run(&binary, &folder).await,
        What::Flood { users, calls } => flood::run(&binary, &folder, users, calls).await,
        What::Flooder { web } => flood::flood(web).await,
        What::Survive { users, calls } => {
            survive::run(&binary, &folder, Crowd { users, calls }).await
        }
        What::Soak {
            minutes,
            users,
            calls,
        } => {
            let talk_for = Duration::from_secs(60 * minutes);
            soak::run(&binary, &folder, talk_for, Crowd { users, calls }).await
        }
    };
    match done {
        Ok(()) => Ok(std::fs::remove_dir_all(&folder)?),
        Err(error) => Err(error.context(format!("logs are kept in {}", folder.display()))),
    }
}
