//! The timetable. A request's time depends on its number alone, never on how earlier ones fared: that is what
//! makes the load open-loop.

use std::time::Duration;

use tokio::time::Instant;

use crate::scenario::{Rate, Scenario};

const NANOS: u128 = 1_000_000_000;

/// When each request is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timetable {
    /// Requests a second as a fraction, so that no rounding adds up over a run.
    numerator: u128,
    denominator: u128,
    requests: u64,
}

impl Timetable {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let (numerator, denominator) = match scenario.rate {
            Rate::Events(rate) => (u128::from(rate), u128::from(scenario.events_per_request)),
            Rate::Requests(rate) => (u128::from(rate), 1),
        };
        let requests = scenario.duration.0.as_nanos() * numerator / (denominator.max(1) * NANOS);
        Self { numerator, denominator, requests: u64::try_from(requests).unwrap_or(u64::MAX).max(1) }
    }

    /// Requests of the whole run, at least one.
    pub(crate) const fn requests(&self) -> u64 {
        self.requests
    }

    /// When a request is due, from the start.
    pub(crate) fn offset(&self, request: u64) -> Duration {
        let nanos = u128::from(request) * self.denominator * NANOS / self.numerator;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
