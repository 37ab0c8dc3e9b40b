//! What has arrived in ClickHouse.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::time::Instant;

use crate::http::Http;

/// The pause between two counts of distinct ids, which read the whole column.
const COUNT: Duration = Duration::from_millis(500);
/// About half a gigabyte of ids.
const IDS_AT_A_TIME: u64 = 10_000_000;

/// A reader of the collector's database.
#[derive(Clone)]
pub(crate) struct ClickHouse {
    http: Http,
    addr: SocketAddr,
}

/// What lies in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Landed {
    /// Rows of the base table, where a client's retry may lie twice until a merge.
    pub(crate) rows: u64,
    /// Of them, different ids.
    pub(crate) distinct: u64,
    /// Rows of the four views, each of which counts an event once.
    pub(crate) in_views: u64,
    /// Events by their scope.
    pub(crate) scope_none: u64,
    pub(crate) scope_first_party: u64,
    pub(crate) scope_affiliates: u64,
}

/// From an event's receipt to its seal, by the collector's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SealLag {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl ClickHouse {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { http: Http::new(), addr }
    }

    /// How many rows can be read.
    pub(crate) async fn rows(&self) -> anyhow::Result<u64> {
        let [rows] = self.numbers("SELECT count() FROM events").await?;
        Ok(rows)
    }

    /// How long events waited until they were sealed.
    pub(crate) async fn seal_lag(&self) -> anyhow::Result<SealLag> {
        let [p50_us, p99_us, max_us] = self
            .numbers(
                "SELECT toUInt64(quantileTDigest(0.5)(lag)), toUInt64(quantileTDigest(0.99)(lag)), toUInt64(max(lag)) FROM \
                 (SELECT greatest(0, toUnixTimestamp64Micro(sealed_at) - toUnixTimestamp64Micro(received_at)) AS lag \
                 FROM events)",
            )
            .await?;
        Ok(SealLag { p50_us, p99_us, max_us })
    }

    /// Counts everything, once all acknowledged events are there or the deadline has passed: rows that are there
    /// twice can hide others that are missing.
    pub(crate) async fn landed(&self, acknowledged: u64, deadline: Instant) -> anyhow::Result<Landed> {
        loop {
            let rows = self.rows().await?;
            let distinct = self.distinct(rows).await?;
            if distinct < acknowledged && Instant::now() < deadline {
                tokio::time::sleep(COUNT).await;
                continue;
            }
            let [in_views] = self
                .numbers(
                    "SELECT (SELECT count() FROM typed_texts) + (SELECT count() FROM suggestions_shown) \
                     + (SELECT count() FROM suggestion_feedback) + (SELECT count() FROM language_preferences)",
                )
                .await?;
            let [scope_none, scope_first_party, scope_affiliates] = self
                .numbers(
                    "SELECT countIf(training_scope = 'none'), countIf(training_scope = 'first_party'), \
                     countIf(training_scope = 'affiliates') FROM events FINAL",
                )
                .await?;
            return Ok(Landed { rows, distinct, in_views, scope_none, scope_first_party, scope_affiliates });
        }
    }

    /// Counts different ids, a part of them at a time: the set of those seen lies in ClickHouse's memory.
    async fn distinct(&self, rows: u64) -> anyhow::Result<u64> {
        let parts = rows.div_ceil(IDS_AT_A_TIME).max(1);
        let mut distinct = 0;
        for part in 0..parts {
            let query = format!(
                "SELECT uniqExact(event_id) FROM events WHERE toUInt128(event_id) % {parts} = {part}"
            );
            let [of_part] = self.numbers(&query).await?;
            distinct += of_part;
        }
        Ok(distinct)
    }

    async fn numbers<const N: usize>(&self, query: &str) -> anyhow::Result<[u64; N]> {
        let answer = self.http.read(self.addr, "/?database=assent", query.to_owned()).await;
        parse(&answer.with_context(|| format!("ClickHouse does not answer: {query}"))?)
    }
}

/// One row of tab-separated numbers.
fn parse<const N: usize>(answer: &str) -> anyhow::Result<[u64; N]> {
    let mut numbers = [0; N];
    let fields: Vec<&str> = answer.trim().split('\t').collect();
    ensure!(fields.len() == N, "{answer:?} is not {N} numbers");
    for (number, field) in numbers.iter_mut().zip(fields) {
        *number = field.parse().with_context(|| format!("{answer:?} is not {N} numbers"))?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_row_of_numbers() {
        assert_eq!(parse::<2>("12\t9\n").unwrap(), [12, 9]);
        assert!(parse::<2>("12\n").is_err());
        assert!(parse::<1>("Code: 60\n").is_err());
    }
}
