//! Logs and metrics: every metric's name, unit and meaning stands here and nowhere else.
//!
//! Labels come from closed sets (reasons, outcomes), never from what a client sent, so that their
//! number is bounded and no text or identity can end up in one.

use std::{io::IsTerminal as _, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter,
    filter::{ParseError, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{self, LogFormat},
    consent::EligibilityReason,
    event::Redacted,
    pipeline::Rejection,
    spool::AppendError,
};

/// Events that passed every check, by reason of their stamp.
const EVENTS_TAGGED: &str = "assent_events_tagged_total";
/// Events refused one by one.
const EVENTS_REJECTED: &str = "assent_events_rejected_total";
/// Events whose acknowledgement was sent.
const EVENTS_ACKNOWLEDGED: &str = "assent_events_acknowledged_total";
/// Requests refused as a whole.
const REQUESTS_REFUSED: &str = "assent_requests_refused_total";
/// Connections that are open.
const CONNECTIONS: &str = "assent_connections";
/// Connections closed because there were too many.
const CONNECTIONS_REFUSED: &str = "assent_connections_refused_total";
/// Bytes of requests that are arriving or under way.
const IN_FLIGHT_BYTES: &str = "assent_in_flight_bytes";
/// How long what has arrived waits for a processor.
const TURN_WAIT: &str = "assent_processing_wait_seconds";
/// Bytes of events in the spool that are not delivered yet, before compression, by tenant.
const TENANT_UNDELIVERED: &str = "assent_tenant_undelivered_bytes";
/// Pieces of personal data taken out.
const REDACTIONS: &str = "assent_redactions_total";
/// Rows in ClickHouse.
const ROWS_DELIVERED: &str = "assent_rows_delivered_total";
/// Rows whose scope shrank between receipt and seal.
const ROWS_NARROWED: &str = "assent_rows_sealed_narrower_total";
/// Rows of people who were erased, dropped instead of delivered.
const ROWS_ERASED: &str = "assent_rows_erased_before_delivery_total";
/// Erasures that are not completed, as the collector sees that carried them out last.
const ERASURES_OPEN: &str = "assent_erasures_open";
/// The age of the oldest of them, in seconds.
const ERASURE_OLDEST: &str = "assent_erasure_oldest_open_seconds";
/// Rows put into quarantine.
const ROWS_QUARANTINED: &str = "assent_rows_quarantined_total";
/// Inserts by outcome.
const INSERTS: &str = "assent_inserts_total";
/// Inserts that are under way.
const INSERTS_IN_FLIGHT: &str = "assent_inserts_in_flight";
/// Duration of an insert.
const INSERT_SECONDS: &str = "assent_insert_duration_seconds";
/// Bytes of the spool on disk.
const SPOOL_BYTES: &str = "assent_spool_bytes";
/// Bytes of the spool that are not in ClickHouse yet.
const SPOOL_BACKLOG_BYTES: &str = "assent_spool_backlog_bytes";
/// 1 while the collector is ready.
const READY: &str = "assent_ready";
/// 1 while the view of consent is fresh.
const CONSENT_FRESH: &str = "assent_consent_fresh";
/// How old the view of consent is.
const CONSENT_AGE: &str = "assent_consent_replica_age_seconds";
/// How long what is received has been waiting for the watermark.
const CONSENT_LAG: &str = "assent_consent_watermark_lag_seconds";
/// How long deliveries waited for the watermark.
const CONSENT_HOLD: &str = "assent_consent_hold_seconds";
/// Duration of a refresh.
const CONSENT_REFRESH: &str = "assent_consent_refresh_duration_seconds";
/// People in the view of consent.
const CONSENT_SUBJECTS: &str = "assent_consent_subjects";
/// Memory of the view of consent.
const CONSENT_BYTES: &str = "assent_consent_replica_bytes";
/// Parts of the spool that were damaged.
const SPOOL_CORRUPT: &str = "assent_spool_corrupt_ranges_total";
/// Changes of the policy's files, by outcome.
const POLICY_RELOADS: &str = "assent_policy_reloads_total";
/// 1 while the policy's files are not what is in force.
const POLICY_INVALID: &str = "assent_policy_invalid";
/// Withdrawn rows that are still in the eligible partitions.
const WITHDRAWAL_ROWS_DUE: &str = "assent_withdrawal_rows_due";
/// The people whose rows they are.
const WITHDRAWAL_SUBJECTS_DUE: &str = "assent_withdrawal_subjects_due";
/// Since the first of them took consent back.
const WITHDRAWAL_OLDEST: &str = "assent_withdrawal_oldest_seconds";
/// Rows that were moved or removed.
const WITHDRAWAL_ROWS: &str = "assent_withdrawal_rows_total";
/// Tries to move rows that failed.
const WITHDRAWAL_FAILURES: &str = "assent_withdrawal_failures_total";

/// 1 while ClickHouse's tables fsync all that they write.
const CLICKHOUSE_FSYNCS: &str = "assent_clickhouse_fsyncs";
/// 1 while they are as durable as configured.
const CLICKHOUSE_DURABLE: &str = "assent_clickhouse_durable_as_configured";

/// Metrics or logs that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is not one.
    #[error("telemetry.log is not a log filter")]
    Filter(#[from] ParseError),
    /// Another logger or recorder is installed already.
    #[error("telemetry is set up already")]
    Installed,
    /// The recorder's settings are refused.
    #[error("metrics could not be set up")]
    Recorder(#[from] BuildError),
}

/// Libraries that never log, whatever the filter says. ClickHouse's client prints the server's messages as they came,
/// and these repeat values of rows; what this program says of them leaves those out.
const SILENT: &str = "clickhouse";

/// Starts logging to standard error, so that standard output stays a command's own.
///
/// # Errors
/// The filter is malformed, or logging was started before.
pub fn start_logging(options: &config::Telemetry) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&options.log)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match options.log_format {
        LogFormat::Text => builder.finish().with(filter_fn(may_log)).try_init(),
        LogFormat::Json => builder.json().finish().with(filter_fn(may_log)).try_init(),
    };
    started.map_err(|_| TelemetryError::Installed)
}

fn may_log(metadata: &tracing::Metadata<'_>) -> bool {
    let of_library = metadata.target().strip_prefix(SILENT);
    !of_library.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Installs the recorder of metrics and describes them all.
///
/// # Errors
/// A recorder was installed before.
pub fn start_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Installed)?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!(EVENTS_TAGGED, Unit::Count, "events that passed every check, by reason of their stamp");
    describe_counter!(EVENTS_REJECTED, Unit::Count, "events refused one by one, by rule");
    describe_counter!(EVENTS_ACKNOWLEDGED, Unit::Count, "events made durable and acknowledged");
    describe_counter!(REQUESTS_REFUSED, Unit::Count, "requests refused as a whole, by cause");
    describe_gauge!(CONNECTIONS, Unit::Count, "connections of the gRPC listener that are open");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "connections closed because there were too many");
    describe_gauge!(IN_FLIGHT_BYTES, Unit::Bytes, "what requests count that are arriving or under way");
    describe_histogram!(
        TURN_WAIT,
        Unit::Seconds,
        "how long a request that has arrived waits for a processor"
    );
    describe_gauge!(
        TENANT_UNDELIVERED,
        Unit::Bytes,
        "events in the spool that are not in ClickHouse yet, as they were before compression, by configured tenant, of what came since the start"
    );
    describe_counter!(REDACTIONS, Unit::Count, "pieces of personal data taken out of texts, by entity");
    describe_counter!(ROWS_DELIVERED, Unit::Count, "rows inserted into ClickHouse");
    describe_counter!(
        ROWS_NARROWED,
        Unit::Count,
        "rows whose training scope shrank between receipt and seal"
    );
    describe_counter!(
        ROWS_ERASED,
        Unit::Count,
        "rows dropped before delivery, since their author was erased"
    );
    describe_gauge!(ERASURES_OPEN, Unit::Count, "erasures that are not completed");
    describe_gauge!(ERASURE_OLDEST, Unit::Seconds, "the age of the oldest erasure that is not completed");
    describe_counter!(ROWS_QUARANTINED, Unit::Count, "rows that ClickHouse refused for good, kept on disk");
    describe_counter!(INSERTS, Unit::Count, "inserts, by outcome");
    describe_gauge!(
        INSERTS_IN_FLIGHT,
        Unit::Count,
        "inserts that are under way, pauses between tries included"
    );
    describe_histogram!(INSERT_SECONDS, Unit::Seconds, "duration of an insert");
    describe_gauge!(SPOOL_BYTES, Unit::Bytes, "size of the spool on disk");
    describe_gauge!(SPOOL_BACKLOG_BYTES, Unit::Bytes, "part of the spool that is not in ClickHouse yet");
    describe_gauge!(READY, Unit::Count, "1 while the spool accepts and the view of consent is fresh");
    describe_gauge!(CONSENT_FRESH, Unit::Count, "1 while the view of consent is fresh");
    describe_gauge!(
        CONSENT_AGE,
        Unit::Seconds,
        "how old the view of consent is: the time since its watermark; +Inf until it is loaded"
    );
    describe_gauge!(
        CONSENT_LAG,
        Unit::Seconds,
        "how long the oldest durable row that waits for the watermark has been waiting; 0 when none waits"
    );
    describe_histogram!(
        CONSENT_HOLD,
        Unit::Seconds,
        "what waiting for the watermark added to a pass of delivery"
    );
    describe_histogram!(CONSENT_REFRESH, Unit::Seconds, "duration of a refresh of the view of consent");
    describe_gauge!(CONSENT_SUBJECTS, Unit::Count, "people who ever answered, in the view of consent");
    describe_gauge!(CONSENT_BYTES, Unit::Bytes, "memory that they take");
    describe_counter!(SPOOL_CORRUPT, Unit::Count, "damaged ranges found in the spool and quarantined");
    describe_counter!(POLICY_RELOADS, Unit::Count, "changes of the policy's files, by outcome");
    describe_gauge!(
        POLICY_INVALID,
        Unit::Count,
        "1 while the policy's files cannot be used and an older policy is in force"
    );
    describe_gauge!(CLICKHOUSE_FSYNCS, Unit::Count, "1 while ClickHouse's tables fsync all that they write");
    describe_gauge!(
        CLICKHOUSE_DURABLE,
        Unit::Count,
        "1 while ClickHouse's tables are as clickhouse.durability and clickhouse.insert_quorum say"
    );
    describe_gauge!(
        WITHDRAWAL_ROWS_DUE,
        Unit::Count,
        "withdrawn rows that are still in the eligible partitions, as the last look of any collector found them"
    );
    describe_gauge!(WITHDRAWAL_SUBJECTS_DUE, Unit::Count, "people whose rows they are");
    describe_gauge!(
        WITHDRAWAL_OLDEST,
        Unit::Seconds,
        "the time since the first of them took consent back; 0 when there are none"
    );
    describe_counter!(
        WITHDRAWAL_ROWS,
        Unit::Count,
        "rows that this collector got out of the eligible partitions, by outcome"
    );
    describe_counter!(WITHDRAWAL_FAILURES, Unit::Count, "tries to move withdrawn rows that failed");
}

/// Records what is to be moved out of the eligible partitions.
#[allow(clippy::cast_precision_loss)] // A gauge is a float; rows of a table fit its 53 bits.
pub fn withdrawal_due(rows: u64, subjects: u64, oldest_seconds: f64) {
    gauge!(WITHDRAWAL_ROWS_DUE).set(rows as f64);
    gauge!(WITHDRAWAL_SUBJECTS_DUE).set(subjects as f64);
    gauge!(WITHDRAWAL_OLDEST).set(oldest_seconds);
}

/// Counts rows that left the eligible partitions.
pub fn withdrawn(moved: u64, purged: u64) {
    counter!(WITHDRAWAL_ROWS, "outcome" => "moved").increment(moved);
    counter!(WITHDRAWAL_ROWS, "outcome" => "purged").increment(purged);
}

/// Counts a try to move rows that failed.
pub fn withdrawal_failed() {
    counter!(WITHDRAWAL_FAILURES).increment(1);
}

/// Records what ClickHouse's tables do before they confirm an insert.
pub fn clickhouse_durability(fsyncs: bool, as_configured: bool) {
    gauge!(CLICKHOUSE_FSYNCS).set(f64::from(u8::from(fsyncs)));
    gauge!(CLICKHOUSE_DURABLE).set(f64::from(u8::from(as_configured)));
}

/// Counts what became of a request's events.
pub fn received(accepted: &Tally, rejected: &[Rejection]) {
    for (reason, count) in EligibilityReason::ALL.into_iter().zip(accepted.by_reason) {
        if count > 0 {
            counter!(EVENTS_TAGGED, "reason" => reason.as_str()).increment(count);
        }
    }
    for (entity, count) in &accepted.redactions {
        counter!(REDACTIONS, "entity" => *entity).increment(*count);
    }
    for rejection in rejected {
        counter!(EVENTS_REJECTED, "reason" => rejection.reason.as_str()).increment(1);
    }
}

/// What a request's accepted events count for.
#[derive(Debug, Default)]
pub struct Tally {
    by_reason: [u64; EligibilityReason::ALL.len()],
    /// By entity; there are few.
    redactions: Vec<(&'static str, u64)>,
}

impl Tally {
    /// Counts an event.
    pub fn count(&mut self, event: &Redacted<'_>) {
        self.by_reason[event.stamp.reason as usize] += 1;
        for &(entity, count) in &event.redactions {
            match self.redactions.iter_mut().find(|(known, _)| *known == entity) {
                Some((_, sum)) => *sum += u64::from(count),
                None => self.redactions.push((entity, u64::from(count))),
            }
        }
    }
}

/// Counts events whose acknowledgement is sent.
pub fn acknowledged(events: u32) {
    counter!(EVENTS_ACKNOWLEDGED).increment(u64::from(events));
}

/// Why a request is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The spool or its disk is full.
    SpoolFull,
    /// Too much waits for the next commit.
    QueueFull,
    /// It can never be written.
    TooLarge,
    /// The spool's disk failed.
    Poisoned,
    /// The collector stops.
    Closed,
    /// The tenant has its share of the spool, or of what waits for the next commit.
    TenantShare,
    /// Too many bytes are in flight.
    InFlight,
    /// The connection or the tenant has its share of the bytes in flight.
    InFlightShare,
    /// More comes than can be worked on.
    Overloaded,
    /// It did not arrive in time.
    ReceiveTimeout,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Poisoned => "poisoned",
            Self::Closed => "closed",
            Self::TenantShare => "tenant_share",
            Self::InFlight => "in_flight",
            Self::InFlightShare => "in_flight_share",
            Self::Overloaded => "overloaded",
            Self::ReceiveTimeout => "receive_timeout",
        }
    }
}

impl From<&AppendError> for Refusal {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::Full => Self::SpoolFull,
            AppendError::QueueFull => Self::QueueFull,
            AppendError::TooLarge { .. } => Self::TooLarge,
            AppendError::Poisoned(_) => Self::Poisoned,
            AppendError::Closed => Self::Closed,
        }
    }
}

/// Counts a request that was refused as a whole.
pub fn refused(cause: impl Into<Refusal>) {
    counter!(REQUESTS_REFUSED, "cause" => cause.into().as_str()).increment(1);
}

/// Records how long a request or message that had arrived waited for a processor.
pub fn turn_taken(wait: Duration) {
    histogram!(TURN_WAIT).record(wait.as_secs_f64());
}

/// Counts a connection that was opened (1) or closed (-1).
pub fn connections(change: f64) {
    gauge!(CONNECTIONS).increment(change);
}

/// Counts a connection that was closed because there were too many.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// Records what is on its way in, and who has how much in the spool. Tenants are a closed set: those
/// that are configured.
#[allow(clippy::cast_precision_loss)] // A gauge is a float; bytes of memory and disk fit its 53 bits.
pub fn occupied(in_flight_bytes: u64, undelivered_bytes: &[(&str, u64)]) {
    gauge!(IN_FLIGHT_BYTES).set(in_flight_bytes as f64);
    for (tenant, bytes) in undelivered_bytes {
        gauge!(TENANT_UNDELIVERED, "tenant" => (*tenant).to_owned()).set(*bytes as f64);
    }
}

/// Records rows that are in ClickHouse, and how many of them the seal narrowed.
pub fn delivered(rows: u64, narrowed: u64) {
    counter!(ROWS_DELIVERED).increment(rows);
    counter!(ROWS_NARROWED).increment(narrowed);
}

/// Records rows that were dropped since their author was erased.
pub fn erased_from_spool(rows: u64) {
    counter!(ROWS_ERASED).increment(rows);
}

/// Sets how many erasures are not completed, and how old the oldest of them is.
pub fn erasures_open(open: u64, oldest: Duration) {
    gauge!(ERASURES_OPEN).set(open as f64);
    gauge!(ERASURE_OLDEST).set(oldest.as_secs_f64());
}

/// An insert that is under way until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct InsertInFlight(());

/// Records the beginning of an insert.
pub fn insert_begun() -> InsertInFlight {
    gauge!(INSERTS_IN_FLIGHT).increment(1);
    InsertInFlight(())
}

impl Drop for InsertInFlight {
    fn drop(&mut self) {
        gauge!(INSERTS_IN_FLIGHT).decrement(1);
    }
}

/// Records an insert that took effect.
pub fn inserted(duration: Duration) {
    counter!(INSERTS, "outcome" => "ok").increment(1);
    histogram!(INSERT_SECONDS).record(duration.as_secs_f64());
}

/// Records an insert that did not take effect, as far as is known.
pub fn insert_failed(outcome: &'static str) {
    counter!(INSERTS, "outcome" => outcome).increment(1);
}

/// Records rows that ClickHouse refused for good.
pub fn quarantined(rows: u64) {
    counter!(ROWS_QUARANTINED).increment(rows);
}

/// Records damaged ranges of the spool.
pub fn spool_corrupt(ranges: u64) {
    counter!(SPOOL_CORRUPT).increment(ranges);
}

/// Records the state that changes by itself.
#[allow(clippy::cast_precision_loss)] // A gauge is a float; bytes of a spool fit its 53 bits.
pub fn state(ready: bool, consent_fresh: bool, spool_bytes: u64, backlog_bytes: u64) {
    gauge!(READY).set(f64::from(u8::from(ready)));
    gauge!(CONSENT_FRESH).set(f64::from(u8::from(consent_fresh)));
    gauge!(SPOOL_BYTES).set(spool_bytes as f64);
    gauge!(SPOOL_BACKLOG_BYTES).set(backlog_bytes as f64);
}

/// Counts a change of the policy's files that was loaded, or refused.
pub fn policy_reloaded(loaded: bool) {
    let outcome = if loaded { "loaded" } else { "refused" };
    counter!(POLICY_RELOADS, "outcome" => outcome).increment(1);
}

/// Records whether the policy's files cannot be used.
pub fn policy_invalid(invalid: bool) {
    gauge!(POLICY_INVALID).set(f64::from(u8::from(invalid)));
}

/// Records how the view of consent is; no age while it is loading, no lag when nothing waits for it.
#[allow(clippy::cast_precision_loss)] // As above.
pub fn consent(age: Option<Duration>, lag: Option<Duration>, subjects: usize, bytes: usize) {
    gauge!(CONSENT_AGE).set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    gauge!(CONSENT_LAG).set(lag.unwrap_or_default().as_secs_f64());
    gauge!(CONSENT_SUBJECTS).set(subjects as f64);
    gauge!(CONSENT_BYTES).set(bytes as f64);
}

/// Records a refresh of the view of consent.
pub fn consent_refreshed(duration: Duration) {
    histogram!(CONSENT_REFRESH).record(duration.as_secs_f64());
}

/// Records how long a pass of delivery waited for the watermark.
pub fn consent_held(duration: Duration) {
    histogram!(CONSENT_HOLD).record(duration.as_secs_f64());
}
