//! A real collector with a real ClickHouse, as a child process that never outlives this one.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use assent::cli;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

use crate::{
    guard,
    http::Http,
    measure::{Family, Process},
};

/// The first start downloads the engine, some 150 MB.
const READY_PATIENCE: Duration = Duration::from_secs(300);
/// The collector drains for ten seconds at most, and its ClickHouse ends within a few more.
const STOP_PATIENCE: Duration = Duration::from_secs(45);
/// ClickHouse ends by itself once the collector is gone.
const CLICKHOUSE_PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
const TAIL_LINES: usize = 15;
const LOG: &str = "load-test-collector.log";
const CONFIG: &str = "load-test-collector.toml";

/// Where a collector and its ClickHouse listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoints {
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) clickhouse_http: SocketAddr,
}

impl Endpoints {
    /// What the collector wrote; `None` when it has not yet.
    fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let written = match cli::Endpoints::read(data_dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            written => written.context("endpoints.json cannot be read")?,
        };
        Self::checked(&written).map(Some)
    }

    fn checked(written: &cli::Endpoints) -> anyhow::Result<Self> {
        let loopback = |name: &str, addr: Option<SocketAddr>| {
            let addr = addr.with_context(|| format!("endpoints.json has no {name}"))?;
            // Load belongs on nobody else's machine.
            ensure!(addr.ip().is_loopback(), "{name} is {addr}, which is beyond loopback");
            Ok(addr)
        };
        Ok(Self {
            grpc: loopback("grpc", written.grpc)?,
            admin: loopback("admin", written.admin)?,
            clickhouse_http: loopback("clickhouse_http", written.clickhouse_http)?,
        })
    }
}

/// The child process. Dropping it kills the collector; [`stop`](Collector::stop) lets it drain.
pub(crate) struct Collector {
    child: Child,
    pid: u32,
    data_dir: PathBuf,
    log: PathBuf,
}

impl Collector {
    /// Starts it. To be called on the main thread; see [`guard`].
    pub(crate) fn spawn(binary: &Path, data_dir: &Path, config: &toml::Table) -> anyhow::Result<Self> {
        let log = data_dir.join(LOG);
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let config_file = data_dir.join(CONFIG);
        std::fs::write(&config_file, toml::to_string(config)?)
            .with_context(|| format!("cannot write {}", config_file.display()))?;
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(own);
        command
            .args([guard::SUBCOMMAND, &std::process::id().to_string()])
            .arg(binary)
            .arg("dev")
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--config")
            .arg(config_file)
            .args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--clickhouse-http-port", "0", "--clickhouse-tcp-port", "0"])
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C is for this program, which then stops the collector.
            .process_group(0)
            .kill_on_drop(true);
        // What is measured is the scenario's configuration, not this shell's.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ASSENT_") {
                command.env_remove(name);
            }
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let pid = child.id().context("the collector ended at once")?;
        Ok(Self { child, pid, data_dir: data_dir.to_owned(), log })
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it takes events.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<Endpoints> {
        let data_dir = self.data_dir.clone();
        let ready = async {
            let http = Http::new();
            loop {
                if let Some(endpoints) = Endpoints::read(&data_dir)?
                    && http.get(endpoints.admin, "/readyz").await.is_ok_and(|(status, _)| status.is_success())
                {
                    return Ok(endpoints);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        let log = self.log.clone();
        tokio::select! {
            ready = ready => ready,
            died = self.died() => Err(died),
            () = tokio::time::sleep(READY_PATIENCE) => {
                bail!("the collector is not ready after {} s; it says:\n{}", READY_PATIENCE.as_secs(), tail(&log))
            }
        }
    }

    /// Resolves when it ends by itself, which is always a fault.
    pub(crate) async fn died(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow!("the collector ended by itself ({status}); it says:\n{}", tail(&self.log)),
            Err(error) => anyhow!(error).context("cannot wait for the collector"),
        }
    }

    /// Has it drain and end, and its ClickHouse with it; kills what does not.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let clickhouse = Family::of(self.pid).map(|family| family.clickhouse).unwrap_or_default();
        let ended = self.end().await;
        let gone = end_clickhouse(&clickhouse).await;
        ended.and(gone)
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let status = match self.child.try_wait()? {
            // Whoever waited for it has reported that.
            Some(_) => return Ok(()),
            None => {
                // Not reaped, so the number is still its own.
                signal(self.pid, Signal::TERM)?;
                tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await
            }
        };
        match status {
            Ok(status) => {
                let status = status.context("cannot wait for the collector")?;
                ensure!(
                    status.success(),
                    "the collector did not end well ({status}); it says:\n{}",
                    tail(&self.log)
                );
                Ok(())
            }
            Err(_) => {
                self.child.kill().await.context("cannot kill the collector")?;
                bail!("the collector did not end within {} s and was killed", STOP_PATIENCE.as_secs())
            }
        }
    }
}

async fn end_clickhouse(processes: &[Process]) -> anyhow::Result<()> {
    let deadline = Instant::now() + CLICKHOUSE_PATIENCE;
    while processes.iter().any(|process| process.runs()) {
        if Instant::now() >= deadline {
            for process in processes.iter().filter(|process| process.runs()) {
                signal(process.pid, Signal::KILL)?;
            }
            bail!("the collector left its ClickHouse behind, which was killed");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process")?;
    match kill_process(pid, signal) {
        // Gone in between.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot signal a process that this program started"),
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_gets_load() {
        let written = |grpc: &str| cli::Endpoints {
            grpc: Some(grpc.parse().unwrap()),
            admin: Some("127.0.0.1:2".parse().unwrap()),
            clickhouse_http: Some("[::1]:3".parse().unwrap()),
            clickhouse_tcp: None,
        };
        assert!(Endpoints::checked(&written("127.0.0.1:1")).is_ok());
        let error = Endpoints::checked(&written("192.0.2.7:1")).unwrap_err();
        assert!(error.to_string().contains("beyond loopback"), "{error}");
        let error = Endpoints::checked(&cli::Endpoints::default()).unwrap_err();
        assert!(error.to_string().contains("no grpc"), "{error}");
    }
}
