//! How long after its acknowledgement an event can be read, told from two curves.
//!
//! Nobody follows a single event: that would cost more than the event. Instead, the *n*-th acknowledged event is
//! put beside the moment when *n* rows could be read first. Events become visible about in the order in which they
//! were acknowledged (the spool is read in order, and an insert is a few seconds' worth at most), so the difference
//! is that event's lag, give or take the order within an insert.

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use crate::watch::Seen;

/// The longest lag that is told apart: as long as a run may take.
const MAX_LAG_MS: u64 = 2 * 60 * 60 * 1_000;
/// As many as a picture shows.
const MAX_POINTS: usize = 300;

/// Events that were acknowledged, by the millisecond since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged(Vec<u32>);

/// How far what could be read was behind what was acknowledged, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct LagPoint {
    /// Since the start.
    pub(crate) seconds: f64,
    /// Since the newest event that could be read was acknowledged.
    pub(crate) ms: f64,
}

impl Acknowledged {
    /// Adds events that were acknowledged so long after the start.
    pub(crate) fn add(&mut self, since_start: std::time::Duration, events: u32) {
        let ms = usize::try_from(since_start.as_millis()).unwrap_or(usize::MAX);
        if ms >= self.0.len() {
            self.0.resize(ms + 1, 0);
        }
        self.0[ms] = self.0[ms].saturating_add(events);
    }

    /// The lags in milliseconds, each event one value. Events that were never seen have none.
    pub(crate) fn visible_lag_ms(&self, start: Instant, seen: &[Seen]) -> Histogram<u64> {
        let lags = Histogram::new_with_bounds(1, MAX_LAG_MS, 3);
        let mut lags = lags.unwrap_or_else(|_| unreachable!("these bounds are allowed"));
        let mut seen = seen.iter().map(|seen| {
            let ms = seen.at.saturating_duration_since(start).as_millis();
            (u64::try_from(ms).unwrap_or(u64::MAX), seen.rows)
        });
        let mut now = seen.next();
        let mut events_before = 0;
        for (ms, &events) in (0..).zip(&self.0) {
            let end = events_before + u64::from(events);
            // What became visible at one look may be but a part of a millisecond's events.
            while events_before < end {
                let Some((visible_ms, rows)) = now else { return lags };
                let part = rows.min(end).saturating_sub(events_before);
                lags.saturating_record_n(visible_ms.saturating_sub(ms), part);
                events_before += part;
                if rows <= events_before {
                    now = seen.next();
                }
            }
        }
        lags
    }

    /// The lag of the newest row at each look that saw one; of many looks, the worst in each of [`MAX_POINTS`]
    /// stretches.
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^53")]
    pub(crate) fn over_time(&self, start: Instant, seen: &[Seen]) -> Vec<LagPoint> {
        let mut points = Vec::new();
        let mut acknowledged = (0_u64..).zip(&self.0);
        let (mut ms, mut events) = (0, 0);
        for look in seen {
            // To when so many were acknowledged.
            while events < look.rows {
                let Some((at, more)) = acknowledged.next() else { break };
                (ms, events) = (at, events + u64::from(*more));
            }
            let at = look.at.saturating_duration_since(start);
            let lag = at.as_secs_f64() * 1_000.0 - ms as f64;
            points.push(LagPoint { seconds: at.as_secs_f64(), ms: lag.max(0.0) });
        }
        let stretch = points.len().div_ceil(MAX_POINTS).max(1);
        let worst = |part: &[LagPoint]| part.iter().copied().max_by(|one, two| one.ms.total_cmp(&two.ms));
        points.chunks(stretch).filter_map(worst).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lags(acknowledged: &[(u64, u32)], rows: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut curve = Acknowledged::default();
        acknowledged.iter().for_each(|(at, events)| curve.add(ms(*at), *events));
        let seen: Vec<_> = rows.iter().map(|(at, rows)| Seen { at: start + ms(*at), rows: *rows }).collect();
        let histogram = curve.visible_lag_ms(start, &seen);
        histogram.iter_recorded().map(|it| (it.value_iterated_to(), it.count_at_value())).collect()
    }

    #[test]
    fn a_lag_is_the_distance_between_two_curves() {
        // Two requests, both visible at once.
        assert_eq!(lags(&[(10, 5), (30, 5)], &[(100, 10)]), [(70, 5), (90, 5)]);
        // One request, visible in two parts.
        assert_eq!(lags(&[(10, 10)], &[(50, 4), (80, 10)]), [(40, 4), (70, 6)]);
        // Longer than any run should take, to the millisecond or nearly so.
        let long = lags(&[(0, 2)], &[(5_000, 1), (600_000, 2)]);
        assert!(long[0].0.abs_diff(5_000) < 5 && long[1].0.abs_diff(600_000) < 600, "{long:?}");
        // Rows that were there before anything was sent, and looks at which there was nothing new.
        assert_eq!(lags(&[(10, 3), (10, 2)], &[(0, 0), (20, 5), (30, 5)]), [(10, 5)]);
    }

    #[test]
    fn the_lag_over_time_is_that_of_the_newest_row() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut curve = Acknowledged::default();
        (0..1_000).for_each(|at| curve.add(ms(at), 10));
        let seen = |at: u64, rows: u64| Seen { at: start + ms(at), rows };
        let points = curve.over_time(start, &[seen(150, 500), seen(400, 1_010), seen(1_500, 10_000)]);
        let lags: Vec<f64> = points.iter().map(|point| point.ms.round()).collect();
        // The 500th event was acknowledged in the 49th millisecond.
        assert_eq!(lags, [101.0, 300.0, 501.0]);
        let many: Vec<Seen> = (1..=1_000).map(|look| seen(look + look % 7, look)).collect();
        let thinned = curve.over_time(start, &many);
        assert!(thinned.len() <= MAX_POINTS && thinned.len() > MAX_POINTS / 2, "{}", thinned.len());
        assert!(curve.over_time(start, &[]).is_empty());
    }

    #[test]
    fn what_was_never_seen_has_no_lag() {
        assert_eq!(lags(&[(10, 10), (20, 10)], &[(30, 12)]), [(10, 2), (20, 10)]);
        assert_eq!(lags(&[(10, 10)], &[]), []);
        assert_eq!(lags(&[], &[(30, 12)]), []);
        // Seen before its answer came: there and known are two things.
        assert_eq!(lags(&[(40, 10)], &[(30, 10)]), [(0, 10)]);
    }
}
