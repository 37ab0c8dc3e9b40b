//! `assent collectors`: which collectors erasures wait for.

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::{clickhouse::Client, config::Config, privacy::erasure::collectors};

/// Which collectors erasures wait for.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print all that were ever there, and when they last said so
    List,
    /// Say that a collector's disk is gone, so that erasures no longer wait for its spool
    ///
    /// What lay there and was never delivered is lost, or must never be delivered.
    Retire {
        /// Its id, as in the column `collector_id`
        id: String,
    },
}

pub(super) async fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    let client = Client::new(&config.clickhouse_options())?;
    match command {
        Command::List => {
            for it in collectors::list(&client).await.context("cannot read which collectors there are")? {
                println!("{}  {}  {}", it.collector_id, it.state, it.seen_at);
            }
        }
        Command::Retire { id } => {
            if !collectors::retire(&client, id).await.with_context(|| format!("cannot retire {id}"))? {
                bail!("there is no collector {id}; see `assent collectors list`");
            }
            println!("{id} is retired: erasures no longer wait for it");
        }
    }
    Ok(())
}
