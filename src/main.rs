//! Parses the command line, runs it, and maps errors to exit codes; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    assent::cli::run(assent::cli::Cli::parse())
}
