//! Parses the command line, runs it, and maps errors to exit codes; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

/// Requests and their buffers come and go on all threads; the system's allocator spends more on that than the
/// collector on anything else, and keeps more of what was freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    assent::cli::run(assent::cli::Cli::parse())
}
