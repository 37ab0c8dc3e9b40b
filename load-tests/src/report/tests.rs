//! From what was measured to the table and the picture.

use std::path::Path;

use super::*;
use crate::{
    baseline::Load, chart, measure::Usage, schedule::Timing, tally::Ending, tally::Sent, tenants::Tenants,
    visible::Landed,
};

const EVENTS: u32 = 100;
const REQUESTS: u64 = 100;

fn load(parallel_inserts: usize, rows_per_second: f64, cpu: f64) -> Load {
    Load {
        parallel_inserts,
        seconds: 10_000.0 / rows_per_second,
        rows_per_second,
        clickhouse_cpu_seconds_per_million_rows: Some(cpu),
        clickhouse_peak_memory_bytes: Some(700 << 20),
        clickhouse_written_bytes_per_row: Some(74.0),
    }
}

/// A hundred requests, one a millisecond, each answered 5 ms after it was due; all visible after two seconds.
fn report(baseline: Option<Baseline>) -> Report {
    let scenario = Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap();
    let start = Instant::now();
    let ms = Duration::from_millis;
    let mut tally = Tally::new(start, &Tenants::new(&scenario)).unwrap();
    for request in 0..REQUESTS {
        let batch = crate::generate::Batch {
            framed: vec![0; 5].into(),
            message_bytes: 37_000,
            events: EVENTS,
            eligible: 60,
            text_bytes: 17_000,
        };
        let due = start + ms(request);
        let timing = Timing { due, sent: due + ms(1), answered: due + ms(5) };
        let ending = Ending::Answered { accepted: EVENTS, rejected: Vec::new() };
        tally.add(Sent::new(&batch, 0, None, timing, ending, Vec::new()));
    }
    let events = REQUESTS * u64::from(EVENTS);
    let visible = start + ms(2_000);
    let cost =
        |cpu_seconds| Usage { cpu_seconds, peak_memory_bytes: 50 << 20, written_bytes: Some(4_000_000) };
    let resident = |second: u32| Resident {
        seconds: second.into(),
        collector_bytes: 40 << 20,
        clickhouse_bytes: 400 << 20,
    };
    let measured = Measured {
        changes: 1,
        tally,
        churn: None,
        slow: None,
        rows: vec![Seen { at: start + ms(1_000), rows: events / 2 }, Seen { at: visible, rows: events }],
        visible: Some(visible),
        landed: Landed {
            rows: events,
            distinct: events,
            in_views: events,
            scope_none: events - 6_000,
            scope_first_party: 6_000,
            scope_affiliates: 0,
        },
        seal_lag: SealLag { p50_us: 600_000, p99_us: 900_000, max_us: 950_000 },
        usage: Some(FamilyUsage { collector: cost(0.03), clickhouse: cost(0.06), generator: cost(0.005) }),
        memory: (0..4).map(resident).collect(),
    };
    Report::new(scenario, Machine::this(Path::new("/")), measured, baseline)
}

#[test]
fn a_run_is_put_beside_the_better_load() {
    let loads = vec![load(1, 8_000.0, 4.0), load(2, 10_000.0, 5.0)];
    let report = report(Some(Baseline { rows: 10_000, files: 1, bytes_per_row: 340.0, loads }));
    assert_eq!(report.failures, Vec::<String>::new());
    // 5,000 rows a second of 10,000; 6 s of CPU a million rows beside 5.
    let comparison = report.comparison.as_ref().unwrap();
    assert!((comparison.rows_share.unwrap() - 0.5).abs() < 1e-6, "{comparison:?}");
    assert!((comparison.clickhouse_cpu_ratio.unwrap() - 1.2).abs() < 1e-6, "{comparison:?}");
    let table = report.to_string();
    assert!(table.contains("50 % of its rows/s, 1.20 times its ClickHouse CPU a row"), "{table}");
    assert!(table.contains("370 bytes an event, uncompressed, 170 of them text"), "{table}");
}

#[test]
fn half_of_the_events_waited_a_second_and_half_waited_two() {
    let report = report(None);
    let lag = report.delivery.visible_lag_ms;
    assert!((940.0..=1_000.0).contains(&lag.p50) && (1_890.0..=2_000.0).contains(&lag.p99), "{lag:?}");
    assert_eq!(report.delivery.visible_lag_over_time.len(), 2);
    assert!((4.9..5.1).contains(&report.acknowledgement_ms.p50), "{:?}", report.acknowledgement_ms);
    let json = serde_json::to_value(&report).unwrap();
    assert!(json.get("comparison").is_none() && json["memory"]["timeline"].as_array().unwrap().len() == 4);
}

#[test]
fn the_picture_shows_the_baseline_where_there_is_one() {
    let alone = "ClickHouse alone, 2 at once";
    let loads = vec![load(1, 8_000.0, 4.0), load(2, 10_000.0, 5.0)];
    let with = chart::draw(&report(Some(Baseline { rows: 10_000, files: 1, bytes_per_row: 340.0, loads })));
    let without = chart::draw(&report(None));
    assert_eq!((with.matches(alone).count(), without.matches(alone).count()), (2, 0));
    for picture in [with, without] {
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    }
}
