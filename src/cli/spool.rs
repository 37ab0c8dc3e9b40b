//! `assent spool inspect`: what lies in the spool, read without touching it.

use anyhow::Context as _;
use clap::Subcommand;

use crate::{config::Config, delivery::StateFile, spool};

/// Look into the spool.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print segments, damage and how far delivery has come
    Inspect,
}

pub(super) fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect => inspect(config),
    }
}

fn inspect(config: &Config) -> anyhow::Result<()> {
    let dir = config.spool_dir();
    let found =
        spool::inspect(&dir).with_context(|| format!("cannot inspect the spool in {}", dir.display()))?;
    let state = StateFile::in_dir(&dir).load()?;
    print!("{found}");
    println!("delivered up to   {}", state.cursor);
    match &state.plan {
        None => println!("insert under way  none"),
        Some(plan) => println!(
            "insert under way  {} to {}, {} rows narrowed at the seal",
            plan.start,
            plan.end,
            plan.narrowed.len()
        ),
    }
    Ok(())
}
