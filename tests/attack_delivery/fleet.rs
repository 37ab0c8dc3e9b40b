//! The collectors and where they can be reached at the moment.

use std::{fs, path::Path};

use assent::ingress::proto::collector_service_client::CollectorServiceClient;
use tokio::sync::watch;
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use crate::{
    event::TENANTS,
    harness::{Collector, Database, Setup, channel},
};

/// Everything happens often, and soon: inserts all the time, which no row waits for long, and small segments, so that
/// kills fall into rotation and removal as well.
const CONFIG: &str = r#"
[consent]
refresh_interval = "20ms"

[spool]
segment_bytes = "256KiB"

[delivery]
max_age = "10ms"
max_rows = 1000
max_backoff = "500ms"
drain_timeout = "100s"
"#;

/// Where the collectors can be reached. Clones share it.
#[derive(Clone)]
pub(crate) struct Addresses(watch::Receiver<Vec<Option<Channel>>>);

impl Addresses {
    /// A connection to a collector; none while it is away.
    pub(crate) fn channel(&self, collector: usize) -> Option<Channel> {
        self.0.borrow().get(collector).cloned().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Resolves when a collector is there or, after some time, anyway.
    pub(crate) async fn wait_for_any(&self) {
        let mut channels = self.0.clone();
        let any = channels.wait_for(|channels| channels.iter().any(Option::is_some));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(200), any).await;
    }
}

/// A client of the service for events.
pub(crate) fn client(channel: Channel) -> CollectorServiceClient<Channel> {
    CollectorServiceClient::new(channel)
}

/// A tenant's request.
pub(crate) fn request<T>(tenant: usize, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key: MetadataValue<_> = format!("Bearer {}", api_key(tenant)).parse().unwrap();
    request.metadata_mut().insert("authorization", key);
    request
}

pub(crate) fn api_key(tenant: usize) -> String {
    format!("key-{}", TENANTS[tenant])
}

/// The tenants' section of the configuration.
fn tenants() -> String {
    let section = |tenant: usize| {
        let digest = ring::digest::digest(&ring::digest::SHA256, api_key(tenant).as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[tenants]]\nname = \"{}\"\napi_key_sha256 = [\"{hex}\"]\n", TENANTS[tenant])
    };
    (0..TENANTS.len()).map(section).collect()
}

/// A collector's setup, with more configuration.
pub(crate) fn setup(database: &Database, url: &str, more: &str) -> Setup {
    let config = if more.is_empty() { CONFIG } else { more };
    Setup::new(database).via(url).config(&format!("{config}\n{}", tenants()))
}

/// The collectors and what belongs to them.
pub(crate) struct Fleet {
    setups: Vec<Setup>,
    collectors: Vec<Option<Collector>>,
    channels: watch::Sender<Vec<Option<Channel>>>,
    /// kill -9 of one that served.
    pub(crate) kills: u64,
    /// kill -9 of one that had just been started.
    pub(crate) kills_at_start: u64,
    /// Ends that nobody asked for.
    pub(crate) complaints: Vec<String>,
}

impl Fleet {
    /// Starts so many collectors of one deployment.
    pub(crate) async fn start(first: Setup, count: usize) -> Self {
        let mut fleet = Self {
            setups: Vec::new(),
            collectors: (0..count).map(|_| None).collect(),
            channels: watch::Sender::new(vec![None; count]),
            kills: 0,
            kills_at_start: 0,
            complaints: Vec::new(),
        };
        for n in 0..count {
            fleet.setups.push(if n == 0 { first.clone() } else { first.beside() });
            // One after the other: the first makes the key of the pseudonyms.
            fleet.restart(n).await;
        }
        fleet
    }

    pub(crate) fn addresses(&self) -> Addresses {
        Addresses(self.channels.subscribe())
    }

    pub(crate) fn collector(&self, n: usize) -> &Collector {
        self.collectors[n].as_ref().unwrap()
    }

    pub(crate) fn setup(&self, n: usize) -> &Setup {
        &self.setups[n]
    }

    /// A collector has not ended by itself.
    pub(crate) fn assert_alive(&mut self, n: usize) {
        let ended = self.collectors[n].as_mut().and_then(|running| running.process.ended());
        assert_eq!(ended, None, "collector {n} ended by itself:\n{}", tail(&self.setups[n].log()));
    }

    fn set_channel(&self, n: usize, channel: Option<Channel>) {
        self.channels.send_modify(|channels| channels[n] = channel);
    }

    /// Takes a collector out; complains if it has ended by itself.
    fn take(&mut self, n: usize) -> Option<Collector> {
        self.set_channel(n, None);
        let mut running = self.collectors[n].take()?;
        if let Some(status) = running.process.ended() {
            self.complaints.push(format!(
                "collector {n} ended by itself with {status}:\n{}",
                tail(&self.setups[n].log())
            ));
            return None;
        }
        Some(running)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, n: usize) {
        if let Some(running) = self.take(n) {
            running.kill();
            self.kills += 1;
        }
    }

    /// Starts a collector and kills it some time after, however far it has come.
    pub(crate) async fn kill_at_start(&mut self, n: usize, after: std::time::Duration) {
        self.kill(n);
        let mut started = self.setups[n].spawn();
        tokio::time::sleep(after).await;
        if let Some(status) = started.ended() {
            let log = tail(&self.setups[n].log());
            self.complaints.push(format!("collector {n} did not start, but ended with {status}:\n{log}"));
            return;
        }
        started.kill();
        self.kills_at_start += 1;
    }

    /// On the same data, at another address.
    pub(crate) async fn restart(&mut self, n: usize) {
        let started = self.setups[n].start().await;
        let channel = channel(&started.grpc).await.unwrap();
        self.collectors[n] = Some(started);
        self.set_channel(n, Some(channel));
    }

    /// Starts those that are not there.
    pub(crate) async fn restart_all(&mut self) {
        for n in 0..self.collectors.len() {
            if self.collectors[n].is_none() {
                self.restart(n).await;
            }
        }
    }

    /// Those that are there know what consent there is.
    pub(crate) async fn wait_until_serving(&self) {
        for collector in self.collectors.iter().flatten() {
            collector.wait_until_serving().await;
        }
    }

    /// SIGTERM, upon which a collector delivers what it has; complains if it does not end well.
    pub(crate) async fn terminate(&mut self, n: usize) {
        let Some(running) = self.take(n) else { return };
        let before = self.setups[n].log().len();
        let status = running.terminate().await;
        let log = self.setups[n].log();
        if !status.success() || log[before..].contains("not everything was delivered in time") {
            self.complaints.push(format!("collector {n} ended with {status}:\n{}", tail(&log)));
        }
    }

    /// Ends all of them, so that everything is delivered.
    pub(crate) async fn drain(&mut self) {
        for n in 0..self.collectors.len() {
            self.terminate(n).await;
        }
    }

    /// Puts what the collectors said where a person can read it after the test.
    pub(crate) fn keep_logs(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for (n, setup) in self.setups.iter().enumerate() {
            fs::write(dir.join(format!("collector-{n}.log")), setup.log()).unwrap();
        }
    }
}

/// Its last lines.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
