//! The results: figures, verdict, and how they are printed and drawn.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use tokio::time::Instant;

mod figures;
mod table;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use figures::Cost;
use figures::{Memory, Percentiles, float, ratio};
use verdict::{broken_limits, failures, failures_beside};

use crate::{
    baseline::Baseline,
    churn::Changes,
    lag::LagPoint,
    machine::Machine,
    measure::FamilyUsage,
    scenario::Scenario,
    slow::Slow,
    tally::{Tally, TenantTally},
    visible::{Landed, SealLag},
    watch::{Resident, Seen},
};

/// What a run gives.
pub(crate) struct Measured {
    /// Changes of consent before the first event.
    pub(crate) changes: usize,
    pub(crate) tally: Tally,
    pub(crate) churn: Option<Changes>,
    pub(crate) slow: Option<Slow>,
    /// Rows that could be read, as they grew.
    pub(crate) rows: Vec<Seen>,
    /// When the last row was seen.
    pub(crate) visible: Option<Instant>,
    pub(crate) landed: Landed,
    pub(crate) seal_lag: SealLag,
    pub(crate) usage: Option<FamilyUsage>,
    pub(crate) memory: Vec<Resident>,
}

/// A run's results, as they are written to a file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    /// Seconds since 1970.
    pub(crate) finished_at: u64,
    pub(crate) machine: Machine,
    pub(crate) scenario: Scenario,
    pub(crate) consent_changes: usize,
    pub(crate) sending: Sending,
    pub(crate) acknowledgement_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calm: Option<Calm>,
    pub(crate) send_lag_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consent_churn: Option<Churn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow_clients: Option<SlowRequests>,
    pub(crate) delivery: Delivery,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) processes: Option<Processes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<Comparison>,
    /// What is not as it should be. With none, the run passed.
    pub(crate) failures: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Sending {
    pub(crate) requests: u64,
    pub(crate) sent_events: u64,
    pub(crate) acknowledged_events: u64,
    pub(crate) rejected_events: u64,
    pub(crate) rejected_by_reason: BTreeMap<&'static str, u64>,
    /// From the first request's time to the last answer.
    pub(crate) seconds: f64,
    pub(crate) acknowledged_per_second: f64,
    pub(crate) bytes_per_event: f64,
    pub(crate) text_bytes_per_event: f64,
    pub(crate) retries: u64,
    pub(crate) failed_attempts: BTreeMap<String, u64>,
    /// Of those, the ones that are no RESOURCE_EXHAUSTED with RetryInfo.
    pub(crate) imprecise_refusals: u64,
    pub(crate) by_tenant: Vec<TenantTally>,
    pub(crate) given_up_requests: u64,
    pub(crate) unsent_requests: u64,
}

/// What came after an overload.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Calm {
    /// From its start until the last request was due that was refused.
    pub(crate) recovery_seconds: f64,
    pub(crate) acknowledgement_ms: Percentiles,
}

/// Changes of consent during the load.
#[derive(Debug, Serialize)]
pub(crate) struct Churn {
    pub(crate) changes: u64,
    pub(crate) failed: u64,
    /// From when a change was due until it was durable.
    pub(crate) latency_ms: Percentiles,
}

/// What slow clients sent, which is part of everything but the latencies.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SlowRequests {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) acknowledged_events: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Delivery {
    /// From the first request's time until every acknowledged event could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_to_visible: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows_per_second: Option<f64>,
    /// From the last answer on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_after_last_answer: Option<f64>,
    /// From an event's acknowledgement until it could be read.
    pub(crate) visible_lag_ms: Percentiles,
    pub(crate) visible_lag_over_time: Vec<LagPoint>,
    /// From an event's receipt until it was sealed.
    pub(crate) seal_lag_ms: Lag,
    pub(crate) landed: Landed,
    /// What the authors' answers allow at most.
    pub(crate) eligible_at_most: u64,
}

/// As ClickHouse counts it.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lag {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// The run beside ClickHouse alone.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) baseline: Baseline,
    /// Rows visible a second, as a part of what the best load of the baseline does.
    pub(crate) rows_share: Option<f64>,
    /// ClickHouse's CPU a row, as a multiple of what that load takes.
    pub(crate) clickhouse_cpu_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Processes {
    pub(crate) collector: Cost,
    pub(crate) clickhouse: Cost,
    pub(crate) generator: Cost,
}

impl Report {
    pub(crate) fn new(
        scenario: Scenario,
        machine: Machine,
        measured: Measured,
        baseline: Option<Baseline>,
    ) -> Self {
        let Measured { changes, tally, churn, slow, rows, visible, landed, seal_lag, usage, memory } =
            measured;
        let mut failures = failures(&tally, visible.is_some(), landed, scenario.limits.is_some());
        failures.extend(failures_beside(churn.as_ref(), slow));
        let processes = usage.map(|usage| Processes {
            collector: Cost::of(usage.collector, tally.acknowledged_events),
            clickhouse: Cost::of(usage.clickhouse, tally.acknowledged_events),
            generator: Cost::of(usage.generator, tally.acknowledged_events),
        });
        let calm = scenario.calm.map(|_| Calm {
            recovery_seconds: tally.last_refused_in_calm.unwrap_or_default().as_secs_f64(),
            acknowledgement_ms: Percentiles::of(&tally.calm_latency_us),
        });
        if let Some(limits) = &scenario.limits {
            let memory = processes.as_ref().map(|processes| processes.collector.peak_memory_bytes);
            failures.extend(broken_limits(limits, &tally, memory));
        }
        let events = tally.acknowledged_events;
        let since = |start: Instant, end: Instant| end.saturating_duration_since(start).as_secs_f64();
        let to_visible = visible.map(|visible| since(tally.start, visible));
        let seconds = since(tally.start, tally.last_answer);
        let rows_per_second = to_visible.map(|seconds| ratio(events, seconds));
        let cpu = processes.as_ref().map(|processes| processes.clickhouse.cpu_seconds_per_million_rows);
        let finished = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            finished_at: finished.as_secs(),
            machine,
            scenario,
            consent_changes: changes,
            acknowledgement_ms: Percentiles::of(&tally.latency_us),
            send_lag_ms: Percentiles::of(&tally.lag_us),
            delivery: Delivery {
                seconds_to_visible: to_visible,
                rows_per_second,
                seconds_after_last_answer: visible.map(|visible| since(tally.last_answer, visible)),
                visible_lag_ms: Percentiles::of_ms(&tally.acknowledged.visible_lag_ms(tally.start, &rows)),
                visible_lag_over_time: tally.acknowledged.over_time(tally.start, &rows),
                seal_lag_ms: Lag::of(seal_lag),
                landed,
                eligible_at_most: tally.eligible_events,
            },
            processes,
            memory: Memory::of(memory),
            comparison: baseline.map(|baseline| Comparison::new(baseline, rows_per_second, cpu)),
            calm,
            consent_churn: churn.map(|churn| Churn {
                changes: churn.made,
                failed: churn.failed,
                latency_ms: Percentiles::of(&churn.latency_us),
            }),
            slow_clients: slow.map(|slow| SlowRequests {
                requests: slow.requests,
                failed: slow.failed_requests,
                acknowledged_events: slow.acknowledged_events,
            }),
            sending: Sending {
                requests: tally.requests,
                sent_events: tally.sent_events,
                acknowledged_events: events,
                rejected_events: tally.rejected_events(),
                seconds,
                acknowledged_per_second: ratio(events, seconds),
                bytes_per_event: ratio(tally.request_bytes, float(tally.sent_events)),
                text_bytes_per_event: ratio(tally.text_bytes, float(tally.sent_events)),
                retries: tally.retries,
                given_up_requests: tally.given_up_requests,
                unsent_requests: tally.unsent_requests,
                rejected_by_reason: tally.rejected,
                failed_attempts: tally.failed_attempts,
                imprecise_refusals: tally.imprecise_refusals,
                by_tenant: tally.by_tenant,
            },
            failures,
        }
    }
}

impl Lag {
    fn of(SealLag { p50_us, p99_us, max_us }: SealLag) -> Self {
        let ms = |us| float(us) / 1_000.0;
        Self { p50: ms(p50_us), p99: ms(p99_us), max: ms(max_us) }
    }
}

impl Comparison {
    fn new(baseline: Baseline, rows_per_second: Option<f64>, clickhouse_cpu: Option<f64>) -> Self {
        let best = baseline.best();
        let rows_share = best.zip(rows_per_second).map(|(best, rows)| rows / best.rows_per_second);
        let best_cpu = best.and_then(|best| best.clickhouse_cpu_seconds_per_million_rows);
        let clickhouse_cpu_ratio = clickhouse_cpu.zip(best_cpu).map(|(cpu, best)| cpu / best);
        Self { rows_share, clickhouse_cpu_ratio, baseline }
    }
}
