//! `assent dev`: a local ClickHouse, migrated, and a collector, until Ctrl-C.

use anyhow::Context as _;

use super::{
    Endpoints,
    local::Database,
    serve::stop_signal,
    terminal::{BOLD, CYAN, paint, program, wants_colour},
};
use crate::{app::App, config::Config};

pub(super) async fn run(mut config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let database = tokio::select! {
        database = Database::start(&mut config) => database?,
        () = &mut stop => return Ok(()),
    };
    let ended = collect(&config, &database, stop).await;
    database.stop().await;
    Endpoints::remove(&config.data_dir).context("cannot remove endpoints.json")?;
    ended
}

async fn collect(config: &Config, database: &Database, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let app = App::start(config).await?;
    let endpoints = Endpoints {
        grpc: Some(app.grpc_addr()),
        admin: Some(app.admin_addr()),
        clickhouse_http: database.http_addr(),
        clickhouse_tcp: database.tcp_addr(),
    };
    endpoints.write(&config.data_dir).context("cannot write endpoints.json")?;
    print_welcome(config, &endpoints);
    Ok(app.run(stop).await?)
}

fn print_welcome(config: &Config, endpoints: &Endpoints) {
    let colour = wants_colour();
    let data_dir = config.data_dir.display();
    let program = program();
    let grpc = endpoints.grpc.map(|addr| addr.to_string()).unwrap_or_default();
    println!("{}", paint(BOLD, "assent is up", colour));
    println!("  gRPC             {grpc}");
    if let Some(admin) = endpoints.admin {
        println!("  health, metrics  http://{admin}/readyz  http://{admin}/metrics");
    }
    println!("  ClickHouse       {}", config.clickhouse.url);
    if let Some(tcp) = endpoints.clickhouse_tcp {
        println!("  native protocol  {tcp}");
    }
    println!("  data             {data_dir} (also {data_dir}/endpoints.json)");
    println!("\n{}", paint(BOLD, "what to type next", colour));
    for line in [
        format!("{program} consent set --grpc-addr {grpc} --user alice --scope first-party --state granted"),
        format!("{program} consent get --grpc-addr {grpc} --user alice"),
        format!(
            "curl '{}/?database={}' --data-binary 'SELECT training_scope, eligibility_reason, count() FROM events GROUP BY ALL FORMAT Pretty'",
            config.clickhouse.url, config.clickhouse.database
        ),
    ] {
        println!("  {}", paint(CYAN, line, colour));
    }
    println!("\nCtrl-C stops it.");
}
