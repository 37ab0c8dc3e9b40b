//! Figures that several parts of the results are made of.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{measure::Usage, watch::Resident};

/// Of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

/// What a process cost.
#[derive(Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_seconds_per_million_rows: f64,
    pub(crate) peak_memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written_bytes_per_event: Option<f64>,
}

/// What was resident while the run went on. Flat means that the last quarter is like the first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) collector_first_quarter_bytes: u64,
    pub(crate) collector_last_quarter_bytes: u64,
    pub(crate) timeline: Vec<Resident>,
}

impl Memory {
    /// `None` when nothing was sampled.
    pub(super) fn of(timeline: Vec<Resident>) -> Option<Self> {
        let quarter = timeline.len().div_ceil(4);
        let mean = |samples: &[Resident]| {
            let sum: u64 = samples.iter().map(|sample| sample.collector_bytes).sum();
            sum.checked_div(samples.len() as u64)
        };
        Some(Self {
            collector_first_quarter_bytes: mean(timeline.get(..quarter)?)?,
            collector_last_quarter_bytes: mean(timeline.get(timeline.len() - quarter..)?)?,
            timeline,
        })
    }
}

impl Percentiles {
    /// Of microseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        Self::scaled(histogram, 1_000.0)
    }

    /// Of milliseconds.
    pub(super) fn of_ms(histogram: &Histogram<u64>) -> Self {
        Self::scaled(histogram, 1.0)
    }

    fn scaled(histogram: &Histogram<u64>, per_ms: f64) -> Self {
        let ms = |quantile| float(histogram.value_at_quantile(quantile)) / per_ms;
        Self { p50: ms(0.5), p99: ms(0.99), p99_9: ms(0.999), max: float(histogram.max()) / per_ms }
    }
}

impl Cost {
    pub(super) fn of(usage: Usage, events: u64) -> Self {
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

pub(super) fn ratio(part: u64, whole: f64) -> f64 {
    if whole > 0.0 { float(part) / whole } else { 0.0 }
}

/// Counts of a run are far below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_of_the_samples() {
        let sample = |second: u32| Resident {
            seconds: second.into(),
            collector_bytes: u64::from(second) * 10,
            clickhouse_bytes: 7,
        };
        let memory = Memory::of((1..=8).map(sample).collect()).unwrap();
        assert_eq!((memory.collector_first_quarter_bytes, memory.collector_last_quarter_bytes), (15, 75));
        let one = Memory::of(vec![sample(3)]).unwrap();
        assert_eq!((one.collector_first_quarter_bytes, one.collector_last_quarter_bytes), (30, 30));
        assert!(Memory::of(Vec::new()).is_none());
    }
}
