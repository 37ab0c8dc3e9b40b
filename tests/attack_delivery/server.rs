//! A ClickHouse server of a scenario's own, which can be killed and comes back with its data.

use assent::clickhouse::{
    local::{LocalOptions, LocalServer},
    migrations,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{Database, binary};

/// The server.
pub(crate) struct Server {
    running: Option<LocalServer>,
    options: LocalOptions,
    _dir: TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = LocalOptions::new(dir.path().join("clickhouse"), binary().to_owned());
        let mut server = Self { running: None, options, _dir: dir };
        server.restart().await;
        server
    }

    /// On the same data, at an address of its own.
    pub(crate) async fn restart(&mut self) {
        self.running = Some(LocalServer::start(self.options.clone()).await.unwrap());
    }

    pub(crate) fn url(&self) -> String {
        self.running.as_ref().unwrap().url()
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let pid = Pid::from_raw(i32::try_from(running.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        running.exited().await.unwrap();
    }

    /// How it ended, if it did so by itself.
    pub(crate) async fn ended(&mut self) -> Option<String> {
        let running = self.running.as_mut()?;
        let ended = tokio::time::timeout(std::time::Duration::ZERO, running.exited()).await.ok()?;
        Some(format!("{ended:?}; its log is in {}", running.log_dir().display()))
    }

    pub(crate) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// A migrated database on it, reached by `url`.
    pub(crate) async fn database(&self, url: &str) -> Database {
        let name = "attacked".to_owned();
        let client = Database::client_as(url, &name, "default");
        migrations::migrate(&client).await.unwrap();
        Database { name, url: url.to_owned(), client }
    }
}
