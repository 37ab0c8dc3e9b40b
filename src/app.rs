//! The composition root: config ▸ build ▸ spawn ▸ drain.
//!
//! [`App::start`] builds everything in the order of this file and binds both listeners before
//! anything expensive. Every task that it spawns is held; [`App::run`] ends when one of them ends by
//! itself, which is always a fault, or when it is told to stop. Draining goes the way that events
//! go: balancers are told and given time to hear it, then no new requests, answers for those under way,
//! what is spooled to ClickHouse until the deadline, and the rest stays in the spool for the next start.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    admin::{self, Readiness},
    clickhouse::{self, Client, durability},
    config::{Config, ConfigError},
    consent::{
        Ledger, PolicySet, PolicyStore, Replica, StampingView,
        policy::{PolicyArchive, PolicyRecorder, PolicyReloader},
    },
    delivery::{self, Delivery, EventEncoder, EventEncoders, StateFile},
    event::Micros,
    ingress::{
        self, EventAppender,
        admission::{Admission, SpoolBacklog, Tenants},
        arrival::Gate,
        collector::Collector,
        consent::{self, Consent},
        privacy::{self, Privacy},
        server::Health,
    },
    pipeline::{Credentials, Pipeline, PseudonymKey, Pseudonymiser, Redactor, TenantRules},
    privacy::{
        erasure::{Carrier, Erasures, Spools},
        withdrawal,
    },
    redaction::Hasher,
    rulebook::{RulesArchive, RulesRecorder},
    spool, telemetry,
};

mod keys;

pub use keys::read_key_ring;

/// How long a stopping collector waits for events under way; a commit takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How much longer than a write to the ledger may take a change of consent needs for its answer.
const LEDGER_ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// How often readiness and gauges are brought up to date.
const STATE_INTERVAL: Duration = Duration::from_millis(200);

/// A collector that could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration, or a file that it names, cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gRPC listener.
    #[error(transparent)]
    Ingress(#[from] ingress::server::ServerError),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// The spool.
    #[error("the spool cannot be opened")]
    Spool(#[from] spool::OpenError),
    /// Delivery.
    #[error("delivery failed")]
    Delivery(#[from] delivery::DeliveryError),
    /// The ClickHouse client.
    #[error("the ClickHouse client cannot be set up")]
    ClickHouse(#[from] clickhouse::Error),
    /// A file in the data folder.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Metrics.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// A part ended that never should.
    #[error("{0} ended by itself; this is a fault of assent")]
    Ended(&'static str),
    /// A part panicked.
    #[error("a part of the collector panicked")]
    Panicked(#[source] tokio::task::JoinError),
    /// The spool's writer stopped.
    #[error(
        "the spool can no longer be written: {0}; nothing acknowledged is lost, restart when the disk is well"
    )]
    Poisoned(String),
}

/// A running collector.
pub struct App {
    grpc_addr: SocketAddr,
    admin_addr: SocketAddr,
    tasks: JoinSet<Result<&'static str, AppError>>,
    readiness: watch::Receiver<Readiness>,
    health: Health,
    draining: CancellationToken,
    stop_ingress: CancellationToken,
    ingress_ended: CancellationToken,
    listener: AbortHandle,
    stop_rest: CancellationToken,
    delivery: delivery::Handle,
    writer: spool::WriterHandle,
    drain_grace: Duration,
    drain_timeout: Duration,
    ledger_answer_timeout: Duration,
}

impl App {
    /// Builds and starts a collector.
    ///
    /// # Errors
    /// The configuration cannot be used, an address is taken, or the spool cannot be opened. A
    /// ClickHouse that does not answer is no error: events are spooled until it does.
    pub async fn start(config: &Config) -> Result<Self, AppError> {
        #[cfg(feature = "mutations")]
        crate::mutation::announce();
        let grpc = ingress::server::Bound::bind(config.ingress.grpc_addr).await?;
        let admin = admin::Bound::bind(config.admin.addr).await?;
        let (grpc_addr, admin_addr) = (grpc.addr(), admin.addr());

        let policies = check_files(config)?;
        let ring = keys::load(config)?;
        let collector_id = load_collector_id(&config.data_dir)?;
        let credentials = Arc::new(
            Credentials::new(&config.tenant_keys())
                .map_err(|error| ConfigError::key("tenants", error.to_string()))?,
        );
        let metrics = telemetry::start_metrics()?;
        let client =
            Client::new(&config.clickhouse_options())?.with_insert_quorum(config.clickhouse.insert_quorum);

        let policies = Arc::new(PolicyStore::new(policies));
        let replica = Replica::new(config.replica_options(), ring.ids().map(str::to_owned).collect());
        let ledger = Arc::new(Ledger::new(
            client.clone(),
            replica.clone(),
            collector_id.clone(),
            config.consent.ledger_timeout.0,
        ));
        let pseudonymiser = Arc::new(Pseudonymiser::of_ring(&ring));
        let redactor = Arc::new(load_redactor(config, Some(ring.current()))?);
        let view = Arc::new(StampingView::new(replica.clone(), Arc::clone(&policies)));
        let pipeline =
            Pipeline::new(config.limits(), Arc::clone(&pseudonymiser), view, Arc::clone(&redactor));

        let state_file = StateFile::in_dir(&config.spool_dir());
        let state = state_file.load().map_err(delivery::DeliveryError::from)?;
        let opened = spool::open(config.spool_options(), EventEncoder::new(&collector_id), state.planned())?;
        report_recovery(&opened.recovery);
        let appender = opened.appender;
        let reader = Arc::new(opened.reader);
        let is_empty = reader.durable_end().0 <= state.cursor;
        keys::SpooledKeys::in_data_dir(&config.data_dir)
            .check(&ring, is_empty, |path, text| opened.reserve.write_atomically(path, text))?;
        // The spool's lock is taken: nobody else makes copies here.
        let archive = PolicyArchive::in_data_dir(&config.data_dir);
        archive
            .keep(&policies.versions())
            .map_err(|error| AppError::File { path: error.path, source: error.source })?;

        let rules = redactor.records();
        let rules_archive = RulesArchive::in_data_dir(&config.data_dir);
        // A disk that is full keeps nobody from delivering what is spooled. The worst that comes of it is that rows
        // are not eligible.
        if let Err(error) = rules_archive.keep(&rules) {
            tracing::error!(
                %error,
                "the redaction rules in use cannot be copied; what they redact is in no training view if another \
                 version is started here before ClickHouse has them"
            );
        }

        let (readiness_tx, readiness) = watch::channel(Readiness::STARTING);
        let draining = CancellationToken::new();
        let (stop_ingress, stop_rest) = (CancellationToken::new(), CancellationToken::new());
        let delivery = Delivery::new(delivery::Parts {
            options: config.delivery_options(),
            client: client.clone(),
            reader: Arc::clone(&reader),
            reserve: opened.reserve,
            file: state_file,
            state,
            replica: replica.clone(),
            policies: Arc::clone(&policies),
        })?;
        let handle = delivery.handle();

        let tenants = Tenants::new(config.tenants.iter().map(|tenant| tenant.name.as_str()));
        let gate =
            Gate::new(config.arrival_options(), Arc::clone(&credentials), &tenants, appender.expected());
        let backlog = SpoolBacklog { reader: Arc::clone(&reader), delivery: handle.clone() };
        let admission = Arc::new(Admission::new(config.admission_options(), tenants, Box::new(backlog)));
        let collector = Collector::new(
            Arc::clone(&credentials),
            Arc::new(pipeline),
            EventEncoders::new(&collector_id),
            appender.clone(),
            Arc::clone(&admission),
            stop_ingress.clone(),
            config.ingress.max_connection_age.map(|age| age.0),
        );
        let eraser = Client::new(&config.eraser_options())?;
        let erasures =
            Arc::new(Erasures::new(client.clone(), eraser.clone(), Arc::clone(&ledger), &collector_id));
        let privacy = Privacy::new(privacy::Parts {
            credentials: Arc::clone(&credentials),
            pseudonymiser: Arc::clone(&pseudonymiser),
            redactor: Arc::clone(&redactor),
            erasures: Arc::clone(&erasures),
            reader: eraser,
        });
        let spools = Spools {
            reader: Arc::clone(&reader),
            delivery: handle.clone(),
            quarantine_dir: config.quarantine_dir(),
            replica: replica.clone(),
        };
        let carrier = Carrier::new(erasures, config.erasure_options(), spools);
        let consent = Consent::new(consent::Parts {
            credentials,
            ledger,
            replica: replica.clone(),
            policies: Arc::clone(&policies),
            pseudonymiser: Arc::clone(&pseudonymiser),
            redactor: Arc::clone(&redactor),
            controllers: Arc::new(config.controllers()),
        });
        let (health, serving) = grpc.serve(
            &config.ingress,
            collector,
            consent,
            privacy,
            gate.clone(),
            stop_ingress.clone().cancelled_owned(),
        )?;
        // Until the view of consent is loaded; unset, it would say that it serves.
        health.set(false).await;

        let mut tasks = JoinSet::new();
        let ingress_ended = CancellationToken::new();
        let ended = ingress_ended.clone().drop_guard();
        let listener = tasks.spawn(async move {
            let _ended = ended;
            serving.await.map(|()| "the gRPC listener").map_err(Into::into)
        });
        let admin_stop = stop_rest.clone().cancelled_owned();
        let admin_readiness = readiness.clone();
        let admin_metrics = metrics.clone();
        tasks.spawn(async move {
            admin.serve(admin_readiness, admin_metrics, admin_stop).await?;
            Ok("the admin listener")
        });
        let replica_task = replica.clone().run(client.clone(), stop_rest.clone());
        tasks.spawn(async move {
            replica_task.await;
            Ok("the consent replica")
        });
        // What is delivered before its rules are known is hidden from training until they are, so they are tried
        // first. With a ClickHouse that does not answer there is nothing to be delivered.
        let rules_tried = CancellationToken::new();
        let recording = RulesRecorder::new(rules_archive, rules, client.clone(), collector_id.clone())
            .run(rules_tried.clone().drop_guard(), stop_rest.clone());
        tasks.spawn(async move {
            recording.await;
            Ok("the recording of redaction rules")
        });
        tasks.spawn(async move {
            rules_tried.cancelled().await;
            delivery.run().await.map(|()| "delivery").map_err(Into::into)
        });
        let (durability, quorum) = (config.clickhouse.durability, config.clickhouse.insert_quorum);
        let watching = durability::Watch::new(client.clone(), durability, quorum).run(stop_rest.clone());
        tasks.spawn(async move {
            watching.await;
            Ok("the watch over ClickHouse's durability")
        });
        let moving = withdrawal::Reconciler::new(
            config.withdrawal_options(),
            Client::new(&config.withdrawal_clickhouse_options())?,
            collector_id,
        )
        .run(stop_rest.clone());
        tasks.spawn(async move {
            moving.await;
            Ok("the moving of withdrawn rows")
        });
        let carrying = carrier.run(stop_rest.clone());
        tasks.spawn(async move {
            carrying.await;
            Ok("the carrying out of erasures")
        });
        let recording = PolicyRecorder::new(archive.clone(), client).run(stop_rest.clone());
        tasks.spawn(async move {
            recording.await;
            Ok("the recording of policies")
        });
        let reloading =
            PolicyReloader::new(config.policy_source(), policies, archive, config.policy.reload_interval.0)
                .run(stop_rest.clone());
        tasks.spawn(async move {
            reloading.await;
            Ok("the reloading of policies")
        });
        let observer = Observer {
            appender,
            reader,
            replica,
            delivery: handle.clone(),
            admission,
            gate,
            health: health.clone(),
            metrics,
            readiness: readiness_tx,
            draining: draining.clone(),
            stop: stop_rest.clone(),
        };
        tasks.spawn(observer.run());

        Ok(Self {
            grpc_addr,
            admin_addr,
            tasks,
            readiness,
            health,
            draining,
            stop_ingress,
            ingress_ended,
            listener,
            stop_rest,
            delivery: handle,
            writer: opened.writer,
            drain_grace: config.ingress.drain_grace(),
            drain_timeout: config.delivery.drain_timeout.0,
            ledger_answer_timeout: config.consent.ledger_timeout.0 + LEDGER_ANSWER_MARGIN,
        })
    }

    /// The gRPC listener's address.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// The admin listener's address.
    #[must_use]
    pub const fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// What the collector can do, as it changes.
    #[must_use]
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.clone()
    }

    /// Runs until `stop` resolves, then drains.
    ///
    /// # Errors
    /// A part ended by itself, failed or panicked, while draining too. Running out of time for the
    /// drain is none: what was not delivered keeps.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let mut fault = tokio::select! {
            () = stop => None,
            Some(ended) = self.tasks.join_next() => Some(fault_of(ended)),
        };
        if fault.is_none() {
            fault = self.step_back().await;
        }
        tracing::info!(timeout = ?self.drain_timeout, "draining");
        match tokio::time::timeout(self.drain_timeout, self.drain()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fault = fault.or(Some(error)),
            Err(_) => {
                tracing::warn!("not everything was delivered in time; the rest stays in the spool");
                self.tasks.shutdown().await;
            }
        }
        fault.map_or(Ok(()), Err)
    }

    /// Says that nobody should come here any more, and goes on serving until balancers have heard it.
    /// Gives what went wrong meanwhile.
    async fn step_back(&mut self) -> Option<AppError> {
        self.draining.cancel();
        tracing::info!(grace = ?self.drain_grace, "told to stop: not ready any more, and serving on for a while");
        let (mut readiness, grace) = (self.readiness.clone(), self.drain_grace);
        let heard = async move {
            // The observer says it; when it has ended, that is the fault.
            let _ = readiness.wait_for(|now| now.draining).await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            () = heard => None,
            Some(ended) = self.tasks.join_next() => Some(fault_of(ended)),
        }
    }

    async fn drain(&mut self) -> Result<(), AppError> {
        self.draining.cancel();
        self.stop_ingress.cancel();
        self.health.close().await;
        let stopped = tokio::time::Instant::now();
        // The listener ends when every request under way has its answer. A client may take as long as it
        // likes to send one, so that is not waited for without end: once the spool is closed, events are
        // refused with UNAVAILABLE.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, self.ingress_ended.cancelled()).await;
        // Only when nothing can be appended any more does delivery know the end.
        self.writer.close().await;
        self.delivery.finish();
        self.delivery.finished().await;
        // Changes of consent wait for ClickHouse, not for the spool.
        let _ = tokio::time::timeout_at(stopped + self.ledger_answer_timeout, self.ingress_ended.cancelled())
            .await;
        self.stop_rest.cancel();
        // Connections that are still open have nobody behind them any more.
        self.listener.abort();
        let mut fault = None;
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(_)) => {}
                Err(error) if error.is_cancelled() => {}
                failed => {
                    let error = fault_of(failed);
                    // The first is what the process ends with; the others are told here.
                    if fault.is_some() {
                        tracing::error!(%error, "another part failed while draining");
                    }
                    fault = fault.or(Some(error));
                }
            }
        }
        fault.map_or(Ok(()), Err)
    }
}

/// What it means that a part ended which was not told to.
fn fault_of(ended: Result<Result<&'static str, AppError>, tokio::task::JoinError>) -> AppError {
    match ended {
        Ok(Ok(name)) => AppError::Ended(name),
        Ok(Err(error)) => error,
        Err(panic) => AppError::Panicked(panic),
    }
}

/// Brings readiness, health and gauges up to date.
struct Observer {
    appender: EventAppender,
    reader: Arc<spool::Reader>,
    replica: Replica,
    delivery: delivery::Handle,
    admission: Arc<Admission>,
    gate: Gate,
    health: Health,
    metrics: PrometheusHandle,
    readiness: watch::Sender<Readiness>,
    draining: CancellationToken,
    stop: CancellationToken,
}

impl Observer {
    async fn run(self) -> Result<&'static str, AppError> {
        let mut ticks = tokio::time::interval(STATE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.draining.cancelled(), if !self.readiness.borrow().draining => {}
                () = self.stop.cancelled() => {}
            }
            if let Some(reason) = self.appender.poisoned() {
                self.health.set(false).await;
                return Err(AppError::Poisoned(reason));
            }
            if self.stop.is_cancelled() {
                return Ok("the observer");
            }
            let draining = self.draining.is_cancelled();
            let now = Readiness {
                spool_accepts: self.appender.accepts(),
                consent_fresh: self.replica.is_fresh(),
                draining,
            };
            if *self.readiness.borrow() != now {
                tracing::info!(
                    spool_accepts = now.spool_accepts,
                    consent_fresh = now.consent_fresh,
                    draining,
                    "readiness changed"
                );
                self.health.set(now.is_ready()).await;
                self.readiness.send_replace(now);
            }
            let backlog = self.reader.durable_end().0.saturating_sub(self.delivery.cursor().0);
            telemetry::state(now.is_ready(), now.consent_fresh, self.reader.bytes_on_disk(), backlog);
            telemetry::occupied(self.gate.in_flight_bytes(), &self.admission.undelivered_bytes());
            let lag = self.delivery.held_since().map(|since| since.elapsed());
            telemetry::consent(self.replica.age(), lag, self.replica.subjects(), self.replica.bytes());
            self.metrics.run_upkeep();
        }
    }
}

fn report_recovery(recovery: &spool::RecoveryReport) {
    if recovery.truncated_bytes > 0 {
        tracing::info!(
            bytes = recovery.truncated_bytes,
            "cut off a torn write at the end of the spool; it was never acknowledged"
        );
    }
    if !recovery.quarantined.is_empty() {
        telemetry::spool_corrupt(recovery.quarantined.len() as u64);
        tracing::error!(
            ranges = recovery.quarantined.len(),
            "damaged parts of the spool were put into its quarantine folder; see `assent spool inspect`"
        );
    }
}

/// Checks the files that the configuration names, before any file is made, and gives the policy's
/// versions.
///
/// # Errors
/// The first of them that cannot be used, by its key.
pub fn check_files(config: &Config) -> Result<PolicySet, ConfigError> {
    if let Some(tls) = &config.ingress.tls {
        ingress::server::check_tls(tls).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
            ConfigError::key("ingress.tls", format!("{error}{cause}"))
        })?;
    }
    if !config.pseudonym.key.is_empty() || config.pseudonym_key_file().exists() {
        read_key_ring(config)?;
    }
    load_redactor(config, None)?;
    load_policies(config)
}

/// What the hashes in texts are keyed with is derived from the key of the pseudonyms for this purpose.
const REDACTION_HASHES: &str = "assent redaction hashes v1";

/// Reads the rules that the configuration names. Without a key nothing is hashed, which is for a check.
///
/// # Errors
/// A file cannot be read, or is wrong, or there is no such entity.
pub fn load_redactor(config: &Config, key: Option<&PseudonymKey>) -> Result<Redactor, ConfigError> {
    let key = key.map(|key| key.derived(REDACTION_HASHES));
    let mut tenants = Vec::new();
    for (tenant, redaction) in config.redaction_of_tenants() {
        let files = redaction.rules_files.iter().map(|path| read_rules(path));
        let rules = TenantRules {
            files: files.collect::<Result<_, _>>()?,
            actions: redaction.actions.into_iter().collect(),
            hasher: key.as_ref().map(|key| Hasher::new(key, tenant)),
        };
        tenants.push((tenant, rules));
    }
    Redactor::with_tenants(tenants.iter().map(|(tenant, rules)| (*tenant, rules)))
        .map_err(|error| ConfigError::key("redaction", error.to_string()))
}

/// The most bytes of a file of rules.
const MAX_RULES_BYTES: u64 = 256 << 10;

fn read_rules(path: &Path) -> Result<(String, String), ConfigError> {
    use std::io::Read as _;
    let unusable =
        |what: String| ConfigError::key("redaction.rules_files", format!("{}: {what}", path.display()));
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_RULES_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_RULES_BYTES {
        return Err(unusable("is larger than 256 KiB: split it, or join rules with `|`".to_owned()));
    }
    Ok((path.display().to_string(), text))
}

/// Reads the policy that the configuration names, or the shipped default.
///
/// # Errors
/// A file cannot be read or is not a policy, or no version is in force yet.
pub fn load_policies(config: &Config) -> Result<PolicySet, ConfigError> {
    config
        .policy_source()
        .load(Micros::now())
        .map_err(|error| ConfigError::key("policy.file", error.to_string()))
}

/// The id that this collector's rows carry: made once, kept in the data folder.
fn load_collector_id(data_dir: &Path) -> Result<String, AppError> {
    let path = data_dir.join("collector_id");
    let failed = |source| AppError::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => match Uuid::parse_str(text.trim()) {
            Ok(id) => Ok(id.to_string()),
            Err(error) => Err(failed(io::Error::new(io::ErrorKind::InvalidData, error))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = Uuid::now_v7().to_string();
            fs::create_dir_all(data_dir).map_err(failed)?;
            spool::fs::write_atomically(&path, id.as_bytes()).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}
