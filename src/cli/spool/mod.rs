//! `assent spool`: what lies in the spool, and what could not be delivered.

use anyhow::Context as _;
use clap::Subcommand;

use crate::{
    config::Config,
    delivery::{StateFile, state::Progress},
    spool,
};

mod quarantine;

/// Look into the spool.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print segments, damage and how far delivery has come
    Inspect,
    /// List what could not be delivered, or deliver it once more
    #[command(subcommand)]
    Quarantine(quarantine::Command),
}

pub(super) fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect => inspect(config),
        Command::Quarantine(command) => quarantine::run(config, command),
    }
}

fn inspect(config: &Config) -> anyhow::Result<()> {
    let dir = config.spool_dir();
    let found =
        spool::inspect(&dir).with_context(|| format!("cannot inspect the spool in {}", dir.display()))?;
    let state = StateFile::in_dir(&dir).load()?;
    print!("{found}");
    println!("delivered up to   {}", state.cursor);
    if state.plans.is_empty() {
        println!("insert under way  none");
    }
    for plan in &state.plans {
        let progress = match &plan.progress {
            Progress::Whole => "under way",
            Progress::Split(_) => "refused, and taken apart to find the rows to blame",
            Progress::Done => "done",
        };
        println!(
            "insert under way  {} to {}, {} rows, {} of them narrowed at the seal: {progress}",
            plan.start,
            plan.end,
            plan.rows,
            plan.narrowed.len()
        );
    }
    Ok(())
}
