//! The results: figures, verdict, and how they are printed.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    machine::Machine,
    measure::{FamilyUsage, Usage},
    scenario::{Limits, Scenario},
    tally::{Tally, TenantTally},
    visible::Landed,
};

/// What a run gives.
pub(crate) struct Measured {
    /// Changes of consent before the first event.
    pub(crate) changes: usize,
    pub(crate) tally: Tally,
    /// When the last row was seen.
    pub(crate) visible: Option<Instant>,
    pub(crate) landed: Landed,
    pub(crate) usage: Option<FamilyUsage>,
}

/// A run's results, as they are written to a file.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    /// Seconds since 1970.
    finished_at: u64,
    machine: Machine,
    scenario: Scenario,
    consent_changes: usize,
    sending: Sending,
    acknowledgement_ms: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    calm: Option<Calm>,
    send_lag_ms: Percentiles,
    delivery: Delivery,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<Processes>,
    /// What is not as it should be. With none, the run passed.
    pub(crate) failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Sending {
    requests: u64,
    sent_events: u64,
    acknowledged_events: u64,
    rejected_events: u64,
    rejected_by_reason: BTreeMap<&'static str, u64>,
    /// From the first request's time to the last answer.
    seconds: f64,
    acknowledged_per_second: f64,
    bytes_per_event: f64,
    retries: u64,
    failed_attempts: BTreeMap<String, u64>,
    /// Of those, the ones that are no RESOURCE_EXHAUSTED with RetryInfo.
    imprecise_refusals: u64,
    by_tenant: Vec<TenantTally>,
    given_up_requests: u64,
    unsent_requests: u64,
}

/// What came after an overload.
#[derive(Clone, Copy, Debug, Serialize)]
struct Calm {
    /// From its start until the last request was due that was refused.
    recovery_seconds: f64,
    acknowledgement_ms: Percentiles,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Delivery {
    /// From the first request's time until every acknowledged event could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_to_visible: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_per_second: Option<f64>,
    /// From the last answer on.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_after_last_answer: Option<f64>,
    landed: Landed,
    /// What the authors' answers allow at most.
    eligible_at_most: u64,
}

#[derive(Debug, Serialize)]
struct Processes {
    collector: Cost,
    clickhouse: Cost,
    generator: Cost,
}

#[derive(Debug, Serialize)]
struct Cost {
    cpu_seconds: f64,
    cpu_seconds_per_million_rows: f64,
    peak_memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    written_bytes_per_event: Option<f64>,
}

impl Report {
    pub(crate) fn new(scenario: Scenario, machine: Machine, measured: Measured) -> Self {
        let Measured { changes, tally, visible, landed, usage } = measured;
        let mut failures = failures(&tally, visible.is_some(), landed, scenario.limits.is_some());
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
                rows_per_second: to_visible.map(|seconds| ratio(events, seconds)),
                seconds_after_last_answer: visible.map(|visible| since(tally.last_answer, visible)),
                landed,
                eligible_at_most: tally.eligible_events,
            },
            processes,
            calm,
            sending: Sending {
                requests: tally.requests,
                sent_events: tally.sent_events,
                acknowledged_events: events,
                rejected_events: tally.rejected_events(),
                seconds,
                acknowledged_per_second: ratio(events, seconds),
                bytes_per_event: ratio(tally.request_bytes, float(tally.sent_events)),
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

/// What an overload must not do.
fn broken_limits(limits: &Limits, tally: &Tally, collector_memory_bytes: Option<u64>) -> Vec<String> {
    let p99 = Duration::from_micros(tally.latency_us.value_at_quantile(0.99));
    let recovery = tally.last_refused_in_calm.unwrap_or_default();
    let memory = collector_memory_bytes.unwrap_or_default();
    let checks = [
        (tally.failed_attempts.is_empty(), "nothing was refused: this was no overload".to_owned()),
        (
            tally.imprecise_refusals > 0,
            format!(
                "{} attempts failed otherwise than by RESOURCE_EXHAUSTED with RetryInfo",
                tally.imprecise_refusals
            ),
        ),
        (
            p99 > limits.acknowledged_p99.0,
            format!(
                "the 99th percentile of an acknowledgement is {p99:.1?}, above {}",
                limits.acknowledged_p99
            ),
        ),
        (
            memory > limits.collector_memory.0,
            format!("the collector had {} MiB, above {}", memory >> 20, limits.collector_memory),
        ),
        (
            recovery > limits.recovery.0,
            format!(
                "{recovery:.1?} into the calm phase something was still refused, above {}",
                limits.recovery
            ),
        ),
        (
            tally.by_tenant.iter().any(|tenant| tenant.acknowledged_events == 0),
            "a tenant got nothing at all".to_owned(),
        ),
    ];
    checks.into_iter().filter(|(fails, _)| *fails).map(|(_, message)| message).collect()
}

/// What is not as it should be. Where refusals are expected, giving up after one is no fault.
fn failures(tally: &Tally, visible: bool, landed: Landed, refusals_expected: bool) -> Vec<String> {
    let acknowledged = tally.acknowledged_events;
    let eligible = landed.scope_first_party + landed.scope_affiliates;
    let in_doubt = tally.doubtful_events > 0 || tally.repeated_events > 0;
    let missing = acknowledged.saturating_sub(landed.distinct);
    let checks = [
        (tally.unsent_requests > 0, format!("{} requests were not sent in time", tally.unsent_requests)),
        (
            tally.given_up_requests > 0 && !refusals_expected,
            format!("{} requests were given up", tally.given_up_requests),
        ),
        (tally.rejected_events() > 0, format!("{} valid events were rejected", tally.rejected_events())),
        (missing > 0, format!("{missing} acknowledged events are missing")),
        (!visible && missing == 0, "the last row was late".to_owned()),
        (
            landed.distinct > acknowledged + tally.doubtful_events,
            format!("{} events arrived, and {acknowledged} were acknowledged", landed.distinct),
        ),
        (
            landed.in_views != landed.distinct,
            format!("the views have {} rows of {} events", landed.in_views, landed.distinct),
        ),
        (
            // Without a repeated request nothing may lie there twice, be it for a moment.
            landed.rows > landed.distinct && !in_doubt,
            format!("{} rows lie there twice, though no request was repeated", landed.rows - landed.distinct),
        ),
        (
            eligible > tally.eligible_events,
            format!("{eligible} events are eligible, and at most {} may be", tally.eligible_events),
        ),
    ];
    checks.into_iter().filter(|(fails, _)| *fails).map(|(_, message)| message).collect()
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |quantile| float(histogram.value_at_quantile(quantile)) / 1_000.0;
        Self { p50: ms(0.5), p99: ms(0.99), p99_9: ms(0.999), max: float(histogram.max()) / 1_000.0 }
    }
}

impl Cost {
    fn of(usage: Usage, events: u64) -> Self {
        Self {
            cpu_seconds: usage.cpu_seconds,
            cpu_seconds_per_million_rows: if events == 0 {
                0.0
            } else {
                usage.cpu_seconds * 1e6 / float(events)
            },
            peak_memory_bytes: usage.peak_memory_bytes,
            written_bytes_per_event: usage.written_bytes.map(|bytes| ratio(bytes, float(events))),
        }
    }
}

fn ratio(part: u64, whole: f64) -> f64 {
    if whole > 0.0 { float(part) / whole } else { 0.0 }
}

/// Counts of a run are far below 2^53.
#[allow(clippy::cast_precision_loss)]
const fn float(number: u64) -> f64 {
    number as f64
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, machine, sending, delivery, .. } = self;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<30} {value}");
        row(
            "scenario",
            format!(
                "{}: {}, {} a request, {} connections, compression {}",
                scenario.name,
                scenario.rate,
                scenario.events_per_request,
                scenario.connections,
                scenario.compression
            ),
        )?;
        row(
            "machine",
            format!(
                "{}, {} cores, {:.0} GiB, {}, {}, load before {:.1}",
                machine.processor,
                machine.cores,
                gib(machine.memory_bytes),
                machine.system,
                machine.filesystem,
                machine.load_before
            ),
        )?;
        row(
            "events acknowledged",
            format!("{} of {} sent", sending.acknowledged_events, sending.sent_events),
        )?;
        row("events rejected", listed(sending.rejected_events, &sending.rejected_by_reason))?;
        row("attempts failed", listed(sending.failed_attempts.values().sum(), &sending.failed_attempts))?;
        row("retries", format!("{}, {} requests given up", sending.retries, sending.given_up_requests))?;
        if sending.by_tenant.len() > 1 {
            for tenant in &sending.by_tenant {
                row(
                    &format!("  {}", tenant.name),
                    format!(
                        "{} of {} events acknowledged, {} requests refused",
                        tenant.acknowledged_events, tenant.sent_events, tenant.refused_requests
                    ),
                )?;
            }
        }
        row(
            "acknowledged",
            format!(
                "{:.0} events/s over {:.2} s, {:.0} bytes an event on the wire, uncompressed",
                sending.acknowledged_per_second, sending.seconds, sending.bytes_per_event
            ),
        )?;
        row("acknowledgement, from due time", self.acknowledgement_ms.to_string())?;
        if let Some(calm) = &self.calm {
            row("calm again", format!("after {:.2} s; {}", calm.recovery_seconds, calm.acknowledgement_ms))?;
            row(
                "refusals that say when to retry",
                match sending.imprecise_refusals {
                    0 => "all".to_owned(),
                    others => format!("all but {others}"),
                },
            )?;
        }
        row("sent after due time", self.send_lag_ms.to_string())?;
        row(
            "visible",
            match (delivery.rows_per_second, delivery.seconds_to_visible, delivery.seconds_after_last_answer)
            {
                (Some(rate), Some(seconds), Some(after)) => {
                    format!(
                        "{rate:.0} rows/s over {seconds:.2} s; the last row {after:.2} s after the last answer"
                    )
                }
                _ => "not all, in time".to_owned(),
            },
        )?;
        let Landed { rows, distinct, in_views, scope_none, scope_first_party, scope_affiliates } =
            delivery.landed;
        row("in ClickHouse", format!("{rows} rows, {distinct} distinct events, {in_views} in the views"))?;
        row(
            "training scope",
            format!(
                "none {scope_none}, first_party {scope_first_party}, affiliates {scope_affiliates} \
             (eligible by consent: {})",
                delivery.eligible_at_most
            ),
        )?;
        match &self.processes {
            None => row("processes", "not measured on this system".to_owned())?,
            Some(processes) => {
                row("process", "CPU s   CPU s/million rows   peak MiB   bytes written/event".to_owned())?;
                row("  collector", processes.collector.to_string())?;
                row("  ClickHouse", processes.clickhouse.to_string())?;
                row("  generator", processes.generator.to_string())?;
            }
        }
        match self.failures.as_slice() {
            [] => row("verdict", "every acknowledged event arrived, once".to_owned()),
            failures => failures.iter().try_for_each(|failure| row("FAILED", failure.clone())),
        }
    }
}

fn listed<K: fmt::Display>(total: u64, by: &BTreeMap<K, u64>) -> String {
    let parts: Vec<String> = by.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if parts.is_empty() { total.to_string() } else { format!("{total} ({})", parts.join(", ")) }
}

fn gib(bytes: u64) -> f64 {
    float(bytes) / float(1 << 30)
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, p99_9, max } = self;
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p99_9:.1} ms, max {max:.1} ms")
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written =
            self.written_bytes_per_event.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}"));
        let memory = float(self.peak_memory_bytes) / float(1 << 20);
        let (cpu, per_million) = (self.cpu_seconds, self.cpu_seconds_per_million_rows);
        write!(f, "{cpu:>5.2}   {per_million:>18.2}   {memory:>8.0}   {written:>19}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(acknowledged: u64) -> Tally {
        let smoke = Scenario::parse(include_str!("../scenarios/smoke.toml")).unwrap();
        let mut tally = Tally::new(Instant::now(), &crate::tenants::Tenants::new(&smoke)).unwrap();
        (tally.acknowledged_events, tally.sent_events, tally.eligible_events) =
            (acknowledged, acknowledged, 6);
        tally
    }

    const ALL: Landed = Landed {
        rows: 10,
        distinct: 10,
        in_views: 10,
        scope_none: 4,
        scope_first_party: 4,
        scope_affiliates: 2,
    };

    #[test]
    fn a_good_run_passes() {
        assert_eq!(failures(&tally(10), true, ALL, false), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_or_there_twice_fails() {
        for landed in [
            Landed { rows: 9, distinct: 9, in_views: 9, ..ALL },
            Landed { rows: 11, ..ALL },
            Landed { rows: 11, distinct: 11, in_views: 11, ..ALL },
            Landed { in_views: 11, ..ALL },
            Landed { in_views: 9, ..ALL },
            Landed { scope_none: 3, scope_first_party: 5, ..ALL },
        ] {
            assert_eq!(failures(&tally(10), true, landed, false).len(), 1, "{landed:?}");
        }
        // One twice in the place of another: the number of rows alone would not tell.
        let swapped = Landed { distinct: 9, in_views: 9, ..ALL };
        assert_eq!(failures(&tally(10), true, swapped, false).len(), 2);
    }

    #[test]
    fn a_repeated_request_may_lie_in_the_table_twice_and_in_no_view() {
        let repeated = Tally { repeated_events: 5, ..tally(10) };
        assert!(failures(&repeated, true, Landed { rows: 15, ..ALL }, false).is_empty());
        assert_eq!(failures(&repeated, true, Landed { rows: 15, in_views: 15, ..ALL }, false).len(), 1);
    }

    #[test]
    fn an_event_of_unknown_fate_may_have_arrived() {
        let doubtful = Tally { doubtful_events: 2, ..tally(8) };
        assert!(failures(&doubtful, true, ALL, false).is_empty());
        assert!(
            failures(&doubtful, true, Landed { rows: 8, distinct: 8, in_views: 8, ..ALL }, false).is_empty()
        );
    }

    #[test]
    fn an_overload_is_judged_by_its_limits() {
        let scenario = Scenario::parse(include_str!("../scenarios/overload.toml")).unwrap();
        let limits = scenario.limits.unwrap();
        let memory = limits.collector_memory.0;
        let good = || {
            let mut tally = tally(10);
            tally.failed_attempts.insert("ResourceExhausted".to_owned(), 5);
            tally.given_up_requests = 5;
            tally.by_tenant[0].acknowledged_events = 10;
            tally.last_refused_in_calm = Some(limits.recovery.0);
            tally.latency_us.record(4_000_000).unwrap();
            tally
        };
        assert_eq!(broken_limits(&limits, &good(), Some(memory)), Vec::<String>::new());
        assert_eq!(failures(&good(), true, ALL, true), Vec::<String>::new());
        assert_eq!(failures(&good(), true, ALL, false).len(), 1);
        let broken: [fn(&mut Tally); 5] = [
            |tally| tally.failed_attempts.clear(),
            |tally| tally.imprecise_refusals = 1,
            |tally| tally.latency_us.record_n(6_000_000, 100).unwrap(),
            |tally| tally.last_refused_in_calm = Some(Duration::from_secs(6)),
            |tally| tally.by_tenant[0].acknowledged_events = 0,
        ];
        for (number, broken) in broken.into_iter().enumerate() {
            let mut tally = good();
            broken(&mut tally);
            assert_eq!(broken_limits(&limits, &tally, Some(memory)).len(), 1, "{number}");
        }
        assert_eq!(broken_limits(&limits, &good(), Some(memory + 1)).len(), 1);
    }
}
