//! `assent serve`: a collector against a ClickHouse server.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Endpoints;
use crate::{app::App, config::Config};

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let app = App::start(&config).await?;
    let endpoints =
        Endpoints { grpc: Some(app.grpc_addr()), admin: Some(app.admin_addr()), ..Endpoints::default() };
    if let Err(error) = endpoints.write(&config.data_dir) {
        // A full disk is no reason to stay away: what is spooled on it has to be delivered. The addresses are printed.
        tracing::warn!(%error, "cannot write endpoints.json; other subcommands need the addresses by flags");
    }
    println!("grpc   {}", app.grpc_addr());
    println!("admin  http://{}", app.admin_addr());
    println!("writes to {} at {}", config.clickhouse.database, config.clickhouse.url);
    let ended = app.run(stop).await;
    Endpoints::remove(&config.data_dir).context("cannot remove endpoints.json")?;
    Ok(ended?)
}

/// Resolves at the first SIGTERM or SIGINT. From then on a second one ends the process at once, for
/// whoever cannot wait for the drain; what is acknowledged lies in the spool.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (first, stop) = tokio::sync::oneshot::channel();
    let mut first = Some(first);
    // Lives as long as the process: it has to hear the second signal whatever else goes on.
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first.take() {
                Some(first) => drop(first.send(())),
                None => exit_at_once(),
            }
        }
    });
    Ok(async move {
        // The sender is only dropped with the runtime.
        let _ = stop.await;
    })
}

/// The second signal: whoever sent it does not want to wait for the drain. What was acknowledged is
/// in the spool.
#[allow(clippy::disallowed_methods)]
fn exit_at_once() -> ! {
    std::process::exit(130)
}
