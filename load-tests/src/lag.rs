//! How long after its acknowledgement an event can be read, told from two curves.
//!
//! Nobody follows a single event: that would cost more than the event. Instead, the *n*-th acknowledged event is put beside
//! the moment when *n* rows could be read first. Events become visible about in the order in which they were acknowledged
//! (the spool is read in order, and an insert is a few seconds' worth at most), so the difference is that event's lag, give or
//! take the order within an insert.

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::watch::Seen;

/// Events that were acknowledged, by the millisecond since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged(Vec<u32>);

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
        // Three digits of lags up to some hours always fit.
        let mut lags = Histogram::new(3).unwrap_or_else(|_| unreachable!("three digits are allowed"));
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
        // Rows that were there before anything was sent, and looks at which there was nothing new.
        assert_eq!(lags(&[(10, 3), (10, 2)], &[(0, 0), (20, 5), (30, 5)]), [(10, 5)]);
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
