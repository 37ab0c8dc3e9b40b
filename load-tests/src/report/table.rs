//! The results as a table for people.

use std::{collections::BTreeMap, fmt};

use super::{Comparison, Cost, Percentiles, Report, float};
use crate::{baseline::Load, visible::Landed};

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
                "{:.0} events/s over {:.2} s; {:.0} bytes an event, uncompressed, {:.0} of them text",
                sending.acknowledged_per_second,
                sending.seconds,
                sending.bytes_per_event,
                sending.text_bytes_per_event
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
        if let Some(churn) = &self.consent_churn {
            row(
                "changes of consent",
                format!("{} durable, {} failed; {}", churn.changes, churn.failed, churn.latency_ms),
            )?;
        }
        if let Some(slow) = &self.slow_clients {
            row(
                "slow clients",
                format!(
                    "{} requests, {} failed, {} events acknowledged",
                    slow.requests, slow.failed, slow.acknowledged_events
                ),
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
        row("visible after acknowledgement", delivery.visible_lag_ms.to_string())?;
        let lag = delivery.seal_lag_ms;
        row(
            "sealed after receipt",
            format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", lag.p50, lag.p99, lag.max),
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
        if let Some(memory) = &self.memory {
            row(
                "collector's memory",
                format!(
                    "{:.0} MiB in the first quarter of {} samples, {:.0} MiB in the last",
                    mib(memory.collector_first_quarter_bytes),
                    memory.timeline.len(),
                    mib(memory.collector_last_quarter_bytes)
                ),
            )?;
        }
        if let Some(Comparison { baseline, rows_share, clickhouse_cpu_ratio }) = &self.comparison {
            row(
                "ClickHouse alone",
                format!(
                    "{} rows of the run from {} Native files, {:.0} bytes a row",
                    baseline.rows, baseline.files, baseline.bytes_per_row
                ),
            )?;
            for load in &baseline.loads {
                row(&format!("  {} inserts at a time", load.parallel_inserts), load.to_string())?;
            }
            row(
                "beside the faster of them",
                format!(
                    "{} of its rows/s, {} times its ClickHouse CPU a row",
                    rows_share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
                    clickhouse_cpu_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
                ),
            )?;
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

fn mib(bytes: u64) -> f64 {
    float(bytes) / float(1 << 20)
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} rows/s over {:.2} s", self.rows_per_second, self.seconds)?;
        if let (Some(cpu), Some(memory)) =
            (self.clickhouse_cpu_seconds_per_million_rows, self.clickhouse_peak_memory_bytes)
        {
            write!(f, "; {cpu:.2} CPU s/million rows, peak {:.0} MiB", mib(memory))?;
        }
        match self.clickhouse_written_bytes_per_row {
            Some(bytes) => write!(f, ", {bytes:.0} bytes written/row"),
            None => Ok(()),
        }
    }
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
        let memory = mib(self.peak_memory_bytes);
        let (cpu, per_million) = (self.cpu_seconds, self.cpu_seconds_per_million_rows);
        write!(f, "{cpu:>5.2}   {per_million:>18.2}   {memory:>8.0}   {written:>19}")
    }
}
