//! `assent migrate`: the schema, brought up to date.

use anyhow::Context as _;

use crate::{
    clickhouse::{Client, durability, migrations, retention},
    config::Config,
};

pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let client = Client::new(&config.clickhouse_options())?;
    let report = migrations::migrate(&client).await.with_context(|| {
        format!("cannot migrate {} at {}", config.clickhouse.database, config.clickhouse.url)
    })?;
    if report.applied.is_empty() {
        println!("nothing to do: {} migrations were applied before", report.already_applied);
    }
    for migration in &report.applied {
        println!("applied {migration}");
    }
    let asked = config.clickhouse.durability;
    let changed = durability::apply(&client, asked)
        .await
        .context("cannot set what the tables do before they confirm an insert (clickhouse.durability)")?;
    for table in changed {
        match asked {
            durability::Durability::Fsync => println!("{table} fsyncs what it writes"),
            durability::Durability::Server => println!("{table} fsyncs what the server is configured to"),
        }
    }
    let plan = config.retention.plan(config.ingress.max_age.0)?;
    if retention::apply(&client, &plan).await.context("cannot set how long rows are kept (retention)")? {
        println!("events are kept as [retention] says");
    }
    Ok(())
}
