//! The timetable. A request's time depends on its number alone, never on how earlier ones fared: that is what
//! makes the load open-loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::scenario::{Rate, Scenario};

const NANOS: u128 = 1_000_000_000;

/// When each request is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timetable {
    main: Steady,
    /// With when it starts.
    calm: Option<(Duration, Steady)>,
}

/// Requests at one rate.
#[derive(Clone, Copy, Debug)]
struct Steady {
    /// Requests a second as a fraction, so that no rounding adds up over a run.
    numerator: u128,
    denominator: u128,
    requests: u64,
}

impl Steady {
    fn new(rate: Rate, events_per_request: u32, duration: Duration) -> Self {
        let (numerator, denominator) = match rate {
            Rate::Events(rate) => (u128::from(rate), u128::from(events_per_request)),
            Rate::Requests(rate) => (u128::from(rate), 1),
        };
        let requests = duration.as_nanos() * numerator / (denominator.max(1) * NANOS);
        Self { numerator, denominator, requests: u64::try_from(requests).unwrap_or(u64::MAX).max(1) }
    }

    fn offset(&self, request: u64) -> Duration {
        let nanos = u128::from(request) * self.denominator * NANOS / self.numerator;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Timetable {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let steady = |rate, duration| Steady::new(rate, scenario.events_per_request, duration);
        let main = scenario.duration.0;
        Self {
            main: steady(scenario.rate, main),
            calm: scenario.calm.map(|calm| (main, steady(calm.rate, calm.duration.0))),
        }
    }

    /// Requests of the whole run, at least one.
    pub(crate) fn requests(&self) -> u64 {
        self.main.requests.saturating_add(self.calm.map_or(0, |(_, calm)| calm.requests))
    }

    /// When a request is due, from the start.
    pub(crate) fn offset(&self, request: u64) -> Duration {
        match self.calm {
            Some((start, calm)) if request >= self.main.requests => {
                start + calm.offset(request - self.main.requests)
            }
            _ => self.main.offset(request),
        }
    }

    /// How far into the calm phase a request is due; none if it is of the main one.
    pub(crate) fn calm_offset(&self, request: u64) -> Option<Duration> {
        let (_, calm) = self.calm?;
        Some(calm.offset(request.checked_sub(self.main.requests)?))
    }
}

/// One request's moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When the timetable wanted it sent.
    pub(crate) due: Instant,
    /// When it was handed to its connection.
    pub(crate) sent: Instant,
    /// When its last answer came.
    pub(crate) answered: Instant,
}

impl Timing {
    /// What a client would have waited that does not hold back its events because others are slow. Counts from the
    /// timetable, so a stall is charged to every request that was due in it.
    pub(crate) fn latency(&self) -> Duration {
        self.answered.saturating_duration_since(self.due)
    }

    /// How late it was sent.
    pub(crate) fn lag(&self) -> Duration {
        self.sent.saturating_duration_since(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(rate: &str, duration: &str, events_per_request: u32) -> Scenario {
        let text = include_str!("../scenarios/smoke.toml")
            .replace("2000 events/s", rate)
            .replace("\"5s\"", &format!("{duration:?}"))
            .replace("events_per_request = 100", &format!("events_per_request = {events_per_request}"));
        Scenario::parse(&text).unwrap()
    }

    #[test]
    fn events_and_requests_give_the_same_timetable() {
        for rate in ["2000 events/s", "20 requests/s"] {
            let timetable = Timetable::new(&scenario(rate, "5s", 100));
            assert_eq!(timetable.requests(), 100);
            assert_eq!(timetable.offset(0), Duration::ZERO);
            assert_eq!(timetable.offset(1), Duration::from_millis(50));
            assert_eq!(timetable.offset(99), Duration::from_millis(4_950));
        }
    }

    #[test]
    fn an_odd_rate_does_not_drift() {
        let timetable = Timetable::new(&scenario("3000 events/s", "1h", 7));
        // 3,000 events are 3,000 / 7 requests; every seventh second is whole again.
        assert_eq!(timetable.offset(3_000), Duration::from_secs(7));
        assert_eq!(timetable.offset(3_000 * 500), Duration::from_secs(3_500));
        assert_eq!(timetable.requests(), 3_600 * 3_000 / 7);
    }

    #[test]
    fn a_calm_phase_follows_at_its_own_rate() {
        let mut scenario = scenario("20 requests/s", "5s", 100);
        let calm = crate::scenario::Calm { rate: Rate::Requests(2), duration: "10s".parse().unwrap() };
        scenario.calm = Some(calm);
        let timetable = Timetable::new(&scenario);
        assert_eq!(timetable.requests(), 120);
        assert_eq!((timetable.offset(99), timetable.calm_offset(99)), (Duration::from_millis(4_950), None));
        assert_eq!(
            (timetable.offset(100), timetable.calm_offset(100)),
            (Duration::from_secs(5), Some(Duration::ZERO))
        );
        let half = Duration::from_millis(500);
        assert_eq!(
            (timetable.offset(101), timetable.calm_offset(101)),
            (Duration::from_secs(5) + half, Some(half))
        );
    }

    #[test]
    fn a_run_shorter_than_its_first_interval_sends_one_request() {
        assert_eq!(Timetable::new(&scenario("1 requests/s", "200ms", 10)).requests(), 1);
    }

    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        let due = Instant::now();
        let ms = Duration::from_millis;
        let on_time = Timing { due, sent: due, answered: due + ms(4) };
        assert_eq!((on_time.lag(), on_time.latency()), (ms(0), ms(4)));
        // Held back for 300 ms: the answer was quick, the client still waited.
        let late = Timing { due, sent: due + ms(300), answered: due + ms(304) };
        assert_eq!((late.lag(), late.latency()), (ms(300), ms(304)));
    }
}
