//! `assent spool quarantine`: rows that ClickHouse refused for good, and parts of the spool that are
//! damaged.

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::{
    clickhouse::{Client, columns},
    config::Config,
    delivery::quarantine::{self, Entry},
    spool, telemetry,
};

/// What to do with what could not be delivered.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what is in quarantine, and why
    List {
        /// Print each row's event id, tenant and kind as well
        #[arg(long)]
        rows: bool,
    },
    /// Insert refused rows once more, and remove those that ClickHouse takes
    Replay {
        /// Entries to replay, as `list` names them [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

pub(super) fn run(config: &Config, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List { rows } => list(config, *rows),
        Command::Replay { names } => {
            telemetry::start_logging(&config.telemetry)?;
            crate::cli::runtime()?.block_on(replay(config, names))
        }
    }
}

fn list(config: &Config, with_rows: bool) -> anyhow::Result<()> {
    let dir = config.quarantine_dir();
    let entries = quarantine::list(&dir)?;
    let damaged = spool::damaged(&config.spool_dir())
        .with_context(|| format!("cannot look for damaged parts in {}", dir.display()))?;
    let rows: u64 = entries.iter().map(|entry| u64::from(entry.reason.rows)).sum();
    println!(
        "{rows} refused rows in {} entries, {} damaged parts of the spool",
        entries.len(),
        damaged.len()
    );
    for entry in &entries {
        println!("\n{}", entry.name);
        let reason = &entry.reason;
        let code = reason.clickhouse_code.map_or_else(String::new, |code| format!("code {code}, "));
        println!("  {} rows, {} bytes, {code}{}", reason.rows, entry.bytes, reason.message);
        if with_rows {
            print_rows(entry)?;
        }
    }
    if !entries.is_empty() {
        println!("\nWhen the reason is gone: assent spool quarantine replay [NAME]…");
    }
    for part in &damaged {
        println!("\n{}\n  {} bytes that are no frames; they cannot be replayed", part.name, part.bytes);
    }
    Ok(())
}

fn print_rows(entry: &Entry) -> anyhow::Result<()> {
    let body = entry.read()?;
    for row in columns::describe_rows(&body).with_context(|| format!("{} is damaged", entry.name))? {
        println!("  {row}");
    }
    Ok(())
}

async fn replay(config: &Config, names: &[String]) -> anyhow::Result<()> {
    let client = Client::new(&config.clickhouse_options())?;
    let report = quarantine::replay(&client, &config.quarantine_dir(), names).await?;
    println!("{} rows inserted, {} refused again", report.inserted, report.refused);
    if report.refused > 0 {
        bail!("{} rows are still in quarantine; `assent spool quarantine list` says why", report.refused);
    }
    Ok(())
}
