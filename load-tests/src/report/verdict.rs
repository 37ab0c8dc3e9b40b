//! What is not as it should be.

use std::time::Duration;

use crate::{churn::Changes, scenario::Limits, slow::Slow, tally::Tally, visible::Landed};

/// What an overload must not do.
pub(super) fn broken_limits(
    limits: &Limits,
    tally: &Tally,
    collector_memory_bytes: Option<u64>,
) -> Vec<String> {
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

/// What went wrong beside the load that is measured.
pub(super) fn failures_beside(churn: Option<&Changes>, slow: Option<Slow>) -> Vec<String> {
    let mut failures = Vec::new();
    if let Some(Changes { failed: failed @ 1.., made, first_failure, .. }) = churn {
        let first = first_failure.as_deref().unwrap_or_default();
        failures.push(format!("{failed} of {} changes of consent failed: {first}", failed + made));
    }
    if let Some(Slow { failed_requests: failed @ 1.., requests, .. }) = slow {
        failures.push(format!("{failed} of {requests} slow requests failed"));
    }
    failures
}

/// What is not as it should be. Where refusals are expected, giving up after one is no fault.
pub(super) fn failures(tally: &Tally, visible: bool, landed: Landed, refusals_expected: bool) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::scenario::Scenario;

    fn tally(acknowledged: u64) -> Tally {
        let smoke = Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap();
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
        let scenario = Scenario::parse(include_str!("../../scenarios/overload.toml")).unwrap();
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
