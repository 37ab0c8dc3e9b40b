//! The collectors, each with its own data and its own bad way to the one ClickHouse.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use assent::ingress::client::Client;
use fastrand::Rng;

use crate::{
    chaos_proxy::{ChaosProxy, Tally},
    harness::{Collector, Database, Setup, eventually},
};

/// How many there are.
pub(crate) const COLLECTORS: usize = 3;

/// A view may be as old as the proxies make it: one that is stale makes nothing eligible, and an attack on it would
/// prove nothing. The rest is short, so that much happens in little time.
const CONFIG: &str = r#"
[consent]
refresh_interval = "200ms"
max_staleness = "60s"
ledger_timeout = "3s"

[delivery]
max_age = "50ms"
max_backoff = "500ms"
drain_timeout = "60s"
"#;

/// Where the collectors can be reached at the moment. Clones share it.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<[Mutex<Option<Client>>; COLLECTORS]>);

impl Addresses {
    /// A connection to a collector; none while it is dead.
    pub(crate) fn client(&self, collector: usize) -> Option<Client> {
        self.0[collector].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, collector: usize, client: Option<Client>) {
        *self.0[collector].lock().unwrap_or_else(PoisonError::into_inner) = client;
    }
}

/// The collectors and what belongs to them.
pub(crate) struct Fleet {
    setups: Vec<Setup>,
    collectors: Vec<Option<Collector>>,
    proxies: Vec<ChaosProxy>,
    pub(crate) addresses: Addresses,
    pub(crate) tally: Arc<Tally>,
    kills: AtomicU64,
}

impl Fleet {
    pub(crate) async fn start(database: &Database, rng: &mut Rng, mutation: Option<&str>) -> Self {
        let tally = Arc::new(Tally::default());
        let mut first = Setup::new(database).config(CONFIG);
        if let Some(mutation) = mutation {
            first = first.env("ASSENT_MUTATION", mutation);
        }
        let mut fleet = Self {
            setups: Vec::new(),
            collectors: Vec::new(),
            proxies: Vec::new(),
            addresses: Addresses(Arc::default()),
            tally: Arc::clone(&tally),
            kills: AtomicU64::new(0),
        };
        for n in 0..COLLECTORS {
            let proxy = ChaosProxy::start(&database.url, rng.fork(), Arc::clone(&tally)).await;
            let setup = if n == 0 { first.clone() } else { first.beside() }.via(&proxy.url);
            fleet.setups.push(setup);
            fleet.proxies.push(proxy);
            fleet.collectors.push(None);
            // One after the other: the first makes the key of the pseudonyms.
            fleet.restart(n).await;
        }
        fleet
    }

    pub(crate) fn set_chaotic(&self) {
        self.proxies.iter().for_each(ChaosProxy::set_chaotic);
    }

    pub(crate) fn set_calm(&self) {
        self.proxies.iter().for_each(ChaosProxy::set_calm);
    }

    pub(crate) fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, collector: usize) {
        self.addresses.set(collector, None);
        if let Some(running) = self.collectors[collector].take() {
            running.kill();
            self.kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// On the same data, at another address.
    pub(crate) async fn restart(&mut self, collector: usize) {
        let started = self.setups[collector].start().await;
        self.addresses.set(collector, Some(started.client().await));
        self.collectors[collector] = Some(started);
    }

    /// All collectors know what consent there is.
    pub(crate) async fn wait_until_serving(&self) {
        for collector in self.collectors.iter().flatten() {
            collector.wait_until_serving().await;
        }
    }

    /// All collectors have read the whole ledger as it is now. A view that chaos has held up still serves
    /// while it is not stale, so serving says too little.
    pub(crate) async fn wait_until_up_to_date(&self) {
        for collector in self.collectors.iter().flatten() {
            // One may be under way that began before now, and the last one is counted before it shows.
            let enough = refreshes(collector).await + 3.0;
            eventually("a view of consent that is up to date", || async {
                (refreshes(collector).await >= enough).then_some(())
            })
            .await;
        }
    }

    /// Puts what the collectors said where a person can read it after the test.
    pub(crate) fn keep_logs(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for (n, setup) in self.setups.iter().enumerate() {
            fs::write(dir.join(format!("collector-{n}.log")), setup.log()).unwrap();
        }
    }

    /// SIGTERM, upon which a collector delivers what it has. Says which of them did not end well.
    pub(crate) async fn drain(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (n, collector) in self.collectors.iter_mut().enumerate() {
            let Some(running) = collector.take() else { continue };
            let status = running.terminate().await;
            let log = self.setups[n].log();
            if !status.success() || log.contains("not everything was delivered in time") {
                complaints.push(format!("collector {n} ended with {status}:\n{}", tail(&log)));
            }
        }
        complaints
    }
}

/// How often its view of consent was brought up to date.
async fn refreshes(collector: &Collector) -> f64 {
    collector.metric("assent_consent_refresh_duration_seconds_count").await.unwrap_or_default()
}

/// Its last lines.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
