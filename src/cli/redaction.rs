//! `assent redaction`: which versions of the redaction rules count.

use anyhow::Context as _;
use clap::Subcommand;

use crate::{clickhouse::Client, config::Config, rulebook};

/// Which versions of the redaction rules count.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the versions that collectors have redacted with, and those that were revoked
    Versions,
    /// Take all rows that a version has redacted out of the training views, for good
    ///
    /// Runs as a user who may insert into `redaction_rules_revoked`: the one who migrates. No shipped role may.
    Revoke {
        /// The version, as in the column `redaction_version`
        version: String,
        /// Why; kept in ClickHouse. No personal data
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also if no collector has recorded that version yet
        #[arg(long)]
        unrecorded: bool,
    },
}

pub(super) async fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    let client = Client::new(&config.clickhouse_options())?;
    match command {
        Command::Versions => versions(&client).await,
        Command::Revoke { version, reason, unrecorded } => {
            rulebook::revoke(&client, version, reason, *unrecorded)
                .await
                .with_context(|| format!("cannot revoke {version}"))?;
            println!("{version} is revoked: no training view shows what it has redacted");
            Ok(())
        }
    }
}

async fn versions(client: &Client) -> anyhow::Result<()> {
    let known = rulebook::list(client).await.context("cannot read which versions there are")?;
    if known.is_empty() {
        println!("no collector has recorded its redaction rules");
    }
    for it in known {
        let recorded = if it.recorded_at.is_empty() { "not recorded".to_owned() } else { it.recorded_at };
        println!("{}  {recorded}  {}", it.version, it.digests);
        if !it.revoked_at.is_empty() {
            println!("  revoked {}: {}", it.revoked_at, it.reason);
        }
    }
    Ok(())
}
