//! Sets the stage: a ClickHouse, migrated, and a collector with a policy that differs from place
//! to place, for as long as the demo plays.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};

use super::{Target, run};
use crate::{
    app::{self, App},
    cli::{Endpoints, local::Database, serve::stop_signal},
    clickhouse::Client,
    config::{Config, Ingress},
    event::Micros,
    spool::fs::write_atomically,
};

/// What silence means differs by jurisdiction in it; the shipped default is opt-in everywhere.
const POLICY: &str = include_str!("../../../policies/mixed-jurisdictions.toml");
const POLICY_FILE: &str = "demo-policy.toml";
/// How long the collector may take until it serves.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs the demo from nothing, and leaves the data in the data folder.
pub(in crate::cli) async fn command(mut config: Config, policy_given: bool) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    tokio::pin!(stop);
    prepare(&mut config, policy_given)?;
    let database = tokio::select! {
        database = Database::start(&mut config) => database?,
        () = &mut stop => return Ok(()),
    };
    let ended = play(&config, &database, stop).await;
    database.stop().await;
    Endpoints::remove(&config.data_dir).context("cannot remove endpoints.json")?;
    ended
}

/// The demo is its own only client: the tenant `local`, on loopback.
fn prepare(config: &mut Config, policy_given: bool) -> anyhow::Result<()> {
    config.tenants.clear();
    config.ingress = Ingress { grpc_addr: config.ingress.grpc_addr, ..Ingress::default() };
    if !policy_given && config.policy.file.is_none() {
        std::fs::create_dir_all(&config.data_dir)
            .with_context(|| format!("cannot make the data folder {}", config.data_dir.display()))?;
        let path = config.data_dir.join(POLICY_FILE);
        write_atomically(&path, POLICY.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        config.policy.file = Some(path);
    }
    // Nobody but the demo calls here, so that a collector which is up already is no hindrance.
    let defaults = Config::default();
    if config.ingress.grpc_addr == defaults.ingress.grpc_addr {
        config.ingress.grpc_addr = free(config.ingress.grpc_addr);
    }
    if config.admin.addr == defaults.admin.addr {
        config.admin.addr = free(config.admin.addr);
    }
    Ok(())
}

/// The address, or the same with any free port when somebody listens there.
fn free(addr: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => SocketAddr::new(addr.ip(), 0),
        _ => addr,
    }
}

async fn play(config: &Config, database: &Database, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let policies = app::load_policies(config)?;
    let app = App::start(config).await?;
    let endpoints = Endpoints {
        grpc: Some(app.grpc_addr()),
        admin: Some(app.admin_addr()),
        clickhouse_http: database.http_addr(),
        clickhouse_tcp: database.tcp_addr(),
    };
    endpoints.write(&config.data_dir).context("cannot write endpoints.json")?;

    let server = config.clickhouse_options();
    let clickhouse = Client::new(&server)?;
    let mut readiness = app.readiness();
    let target = Target {
        grpc: app.grpc_addr(),
        clickhouse: &clickhouse,
        server: &server,
        own_server: database.http_addr().is_some(),
        data_dir: &config.data_dir,
        policy: policies.at(Micros::now()).version(),
    };
    let mut played = None;
    let until_played = async {
        tokio::select! {
            result = async {
                // Before its view of consent is fresh, a collector makes nothing eligible.
                match tokio::time::timeout(READY_TIMEOUT, readiness.wait_for(|it| it.is_ready())).await {
                    Ok(Ok(_)) => {}
                    _ => bail!("the collector was not ready after {} s", READY_TIMEOUT.as_secs()),
                }
                run(target).await
            } => played = Some(result),
            () = stop => {}
        }
    };
    let drained = app.run(until_played).await;
    played.unwrap_or(Ok(()))?;
    Ok(drained?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::{cli::demo::bundle::Bundle, consent::Policy};

    #[test]
    fn the_policy_knows_the_terms_of_the_script() {
        Policy::parse(POLICY).unwrap();
        for change in Bundle::load().unwrap().acts.iter().flat_map(|act| &act.consent) {
            assert!(POLICY.contains(&format!("\"{}\"", change.terms)), "terms {}", change.terms);
        }
    }

    #[test]
    fn a_taken_address_becomes_a_free_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        assert_eq!(free(taken), SocketAddr::new(taken.ip(), 0));
        let any = SocketAddr::new(taken.ip(), 0);
        assert_eq!(free(any), any);
    }
}
