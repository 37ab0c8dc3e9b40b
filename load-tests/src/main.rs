//! `load-tests run SCENARIO.toml`: sends events to a real collector on a fixed timetable and measures what it
//! costs; `compare` also has ClickHouse alone load the same rows. docs/load-tests.md says what the figures mean.
//!
//! ```text
//! scenario ▸ collector (child process, with its ClickHouse) ▸ consent ▸ generate ▸ send ▸ visible ▸ baseline
//!          ▸ report; beside the sending: watch, slow clients, churn
//! ```

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod baseline;
mod binary;
mod chart;
mod churn;
mod collector;
mod consent;
mod data_dir;
mod generate;
mod guard;
mod http;
mod lag;
mod machine;
mod measure;
mod otlp;
mod play;
mod progress;
mod record;
mod report;
mod run;
mod scenario;
mod schedule;
mod send;
mod signals;
mod slow;
mod tally;
mod tenants;
mod visible;
mod watch;
mod wire;

/// The exit code of a scenario that cannot be used, as of a configuration of assent.
const EXIT_SCENARIO: u8 = 64;

/// Open-loop load generator and measurements for assent.
#[derive(Debug, Parser)]
#[command(name = "load-tests", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a collector and a local ClickHouse, play a scenario, print what it cost
    Run(RunArgs),
    /// The same, and then ClickHouse alone, loading the rows of that run from files: what an event costs beside that
    Compare(CompareArgs),
    /// Write one request of a scenario to a file, for another client such as h2load
    Record(RecordArgs),
    /// Becomes the collector, which ends when this program does
    #[command(name = guard::SUBCOMMAND, hide = true, disable_help_flag = true)]
    Guard {
        /// The process that waits for the collector.
        parent: u32,
        /// The collector's command line.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The scenario, such as load-tests/scenarios/smoke.toml
    scenario: PathBuf,
    /// Write the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draw the results to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct RecordArgs {
    /// The scenario, such as load-tests/scenarios/throughput.toml
    scenario: PathBuf,
    /// The file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the same events to this file too, as log records of OpenTelemetry
    #[arg(long, value_name = "FILE")]
    otlp: Option<PathBuf>,
    /// Events of the request [default: those of the scenario]
    #[arg(long, value_name = "N")]
    events: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct CompareArgs {
    /// The scenarios, such as load-tests/scenarios/throughput.toml, one run each
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// Write the results to this folder, as NAME.json and NAME.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The collector to measure [default: the release build of this repository, built when it is not there]
    #[arg(long, value_name = "FILE")]
    assent_binary: Option<PathBuf>,
    /// Where spool and database lie, empty or not there yet; kept [default: a folder that is removed]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Guard { parent, command } => Err(guard::become_collector(parent, &command).into()),
        Command::Run(args) => run::start(&args),
        Command::Compare(args) => run::compare(&args),
        Command::Record(args) => record::record(&args),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing to be done when stderr is gone.
            let _ = writeln!(std::io::stderr(), "load-tests: {error:#}");
            match error.downcast_ref::<scenario::ScenarioError>() {
                Some(_) => ExitCode::from(EXIT_SCENARIO),
                None => ExitCode::FAILURE,
            }
        }
    }
}
