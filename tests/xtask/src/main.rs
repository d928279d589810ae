//! The developer's commands: `cargo xtask` alone lists them. Each installs what it needs.

mod conformance;
mod emulate;
mod image;
mod lanes;
mod newcomer;
mod tally;
mod tools;
mod verbs;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::lanes::Lane;

fn main() -> ExitCode {
    let Some(verb) = Arguments::parse().verb else {
        let _ = Arguments::command().print_help();
        return ExitCode::SUCCESS;
    };
    match run(verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Demo { arguments } => verbs::demo(&arguments),
        Verb::Test { lanes } => Ok(lanes::run(&lanes)),
        Verb::Interop { cases, list } => verbs::interop(&cases, list),
        Verb::Bench { what } => verbs::bench(what),
        Verb::Soak { minutes } => verbs::soak(minutes),
        Verb::Fuzz { target, minutes } => verbs::fuzz(&target, minutes),
        Verb::Bundle => verbs::bundle(),
        Verb::Emulate { flavour, fresh } => emulate::run(flavour, fresh),
        Verb::Image { flavour } => image::build(flavour).map(|_| ExitCode::SUCCESS),
        Verb::Conformance { switch_off: None } => conformance::write(),
        Verb::Conformance {
            switch_off: Some(word),
        } => conformance::switch_off(&word),
    }
}

/// The developer's commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the gateway with an embedded lab core and a softphone page to try it with.
    Demo {
        /// Handed on to `gatehouse demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the test lanes named, or all of them; the last line counts the checks.
    Test {
        /// The lanes to run, in their own order.
        #[arg(value_enum)]
        lanes: Vec<Lane>,
    },
    /// Run the cases against real peers whose name contains one of the words, or all of them.
    Interop {
        /// Parts of case names, for example `jssip/call-out`.
        cases: Vec<String>,
        /// Only list the cases.
        #[arg(long)]
        list: bool,
    },
    /// Measure the gateway beside Kamailio and rtpengine doing the same work.
    Bench {
        /// What to measure.
        #[arg(value_enum)]
        what: verbs::Bench,
    },
    /// Hold 1,000 users and 100 calls and count what is lost and what is left behind.
    Soak {
        /// How long to hold the calls.
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
    /// Feed one parser broken input; without a target, list them.
    Fuzz {
        /// The target, or nothing to list the targets.
        #[arg(default_value = "")]
        target: String,
        /// How long to go on.
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
    /// Bundle the softphone page from its locked packages.
    Bundle,
    /// Switch on the box in emulation, with an IMS core behind it, and open its page to this machine.
    Emulate {
        /// For customers, or for the tests.
        #[arg(long, value_enum, default_value_t = image::Flavour::Production)]
        flavour: image::Flavour,
        /// Forget what the box has kept.
        #[arg(long)]
        fresh: bool,
    },
    /// Make the box's image for QEMU, and a signed update of it.
    Image {
        /// For customers, or for the tests.
        #[arg(long, value_enum, default_value_t = image::Flavour::Production)]
        flavour: image::Flavour,
    },
    /// Write the page of clauses that the tests show.
    Conformance {
        /// Instead, take behaviours out of a copy of the tree, one after the other, and want
        /// their tests to fail: those whose test's name contains the word, or all.
        #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "WORD")]
        switch_off: Option<String>,
    },
}
