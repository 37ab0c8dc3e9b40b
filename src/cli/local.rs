//! What `dev` and `demo` share: a ClickHouse to write to, kept alive, with the schema in it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    clickhouse::{
        Client, durability,
        local::{LocalOptions, LocalServer},
        migrations, retention,
    },
    config::Config,
};

/// The shipped roles, which the local server loads as a real one would.
const ROLES_XML: &str = include_str!("../../schemas/users.d/assent.xml");
/// The pause before a server that died is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// A ClickHouse: one of our own, or one that was given.
pub(super) struct Database {
    own: Option<Supervised>,
}

struct Supervised {
    http_addr: SocketAddr,
    tcp_addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Database {
    /// Starts the local server, unless a URL was given, points the configuration at it, and
    /// migrates.
    pub(super) async fn start(config: &mut Config) -> anyhow::Result<Self> {
        let own = if config.clickhouse.url_given {
            None
        } else {
            let options = options(config)?;
            let server = LocalServer::start(options.clone())
                .await
                .context("the local ClickHouse cannot be started")?;
            let (http_addr, tcp_addr) = (server.http_addr(), server.tcp_addr());
            config.clickhouse.url = format!("http://{http_addr}");
            config.local_clickhouse.http_port = http_addr.port();
            config.local_clickhouse.tcp_port = tcp_addr.port();
            let stop = CancellationToken::new();
            // A restarted server must be where its clients look for it.
            let again = LocalOptions { http_port: http_addr.port(), tcp_port: tcp_addr.port(), ..options };
            let task = tokio::spawn(supervise(server, again, stop.clone()));
            Some(Supervised { http_addr, tcp_addr, stop, task })
        };
        let database = Self { own };
        let client = Client::new(&config.clickhouse_options())?;
        if let Err(error) = migrations::migrate(&client).await {
            database.stop().await;
            return Err(error).with_context(|| format!("cannot migrate {}", config.clickhouse.url));
        }
        if let Err(error) = durability::apply(&client, config.clickhouse.durability).await {
            database.stop().await;
            return Err(error).context("cannot set clickhouse.durability");
        }
        let plan = config.retention.plan(config.ingress.max_age.0)?;
        if let Err(error) = retention::apply(&client, &plan).await {
            database.stop().await;
            return Err(error).context("cannot set how long rows are kept (retention)");
        }
        Ok(database)
    }

    pub(super) fn http_addr(&self) -> Option<SocketAddr> {
        self.own.as_ref().map(|own| own.http_addr)
    }

    pub(super) fn tcp_addr(&self) -> Option<SocketAddr> {
        self.own.as_ref().map(|own| own.tcp_addr)
    }

    /// Stops the local server and waits until it is gone.
    pub(super) async fn stop(self) {
        if let Some(own) = self.own {
            own.stop.cancel();
            if let Err(error) = own.task.await {
                tracing::error!(%error, "the local ClickHouse's supervisor failed");
            }
        }
    }
}

fn options(config: &Config) -> anyhow::Result<LocalOptions> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let mut options = LocalOptions::new(config.data_dir.join("clickhouse"), executable);
    options.http_port = config.local_clickhouse.http_port;
    options.tcp_port = config.local_clickhouse.tcp_port;
    options.niceness = config.local_clickhouse.niceness;
    options.users_xml = vec![("assent.xml".to_owned(), ROLES_XML.to_owned())];
    Ok(options)
}

/// Keeps a server alive until told to stop.
async fn supervise(mut server: LocalServer, options: LocalOptions, stop: CancellationToken) {
    loop {
        let status = tokio::select! {
            status = server.exited() => status,
            () = stop.cancelled() => {
                server.stop().await;
                return;
            }
        };
        tracing::error!(status = %describe(&status), "the local ClickHouse died; starting it again");
        drop(server);
        server = loop {
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = stop.cancelled() => return,
            }
            match LocalServer::start(options.clone()).await {
                Ok(server) => break server,
                Err(error) => tracing::error!(%error, "the local ClickHouse does not start; trying again"),
            }
        };
        tracing::info!(pid = server.pid(), "the local ClickHouse is back");
    }
}

fn describe(status: &std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
