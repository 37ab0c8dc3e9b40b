//! Those who train models read eligible partitions alone, and exactly the rows that they may have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    harness::Database,
    sample::{DAY, Numbers, RULES, Row, date, insert, row, today},
};

const VIEWS: [(&str, &str); 2] =
    [("training_first_party", "first_party"), ("training_affiliates", "affiliates")];

#[derive(Debug, Deserialize)]
struct Event {
    tenant: String,
    event_id: Uuid,
    text: String,
}

#[derive(Deserialize)]
struct Explained {
    explain: String,
}

/// `view_days(…)` from day to day.
fn of_days(view: &str, from: u64, to: u64) -> String {
    format!("{view}_days(from_day = '{}', to_day = '{}')", date(from), date(to))
}

/// How many of the parts and granules of `events` each read of a query takes.
async fn reads(database: &Database, sql: &str) -> Vec<Read> {
    let lines: Vec<Explained> = database.rows(&format!("EXPLAIN indexes = 1 {sql}")).await;
    let mut reads: Vec<Read> = Vec::new();
    for line in lines.iter().map(|line| line.explain.trim_start_matches([' ', '│', '├', '└', '─'])) {
        if line.starts_with("ReadFromMergeTree") {
            reads.push(Read { of_events: line.contains(".events)"), ..Read::default() });
        } else if let (Some(read), Some((parts, granules))) =
            (reads.last_mut(), line.strip_prefix("Parts: ").and_then(|rest| rest.split_once(" | Granules: ")))
        {
            (read.parts, read.granules) = (parts.parse().unwrap(), granules.parse().unwrap());
        }
    }
    reads.retain(|read| read.of_events);
    reads
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    of_events: bool,
    parts: u64,
    granules: u64,
}

const fn read(parts: u64, granules: u64) -> Read {
    Read { of_events: true, parts, granules }
}

#[tokio::test]
async fn a_pull_reads_the_partitions_of_its_scope_and_its_days_alone() {
    let database = Database::new().await;
    let days = 1..=5;
    for scope in ["none", "first_party", "affiliates"] {
        let rows: Vec<_> = days.clone().map(|ago| row(ago).with(|row| row.training_scope = scope)).collect();
        insert(&database, &rows).await;
    }
    assert_eq!(
        database
            .count("system.parts WHERE active AND table = 'events' AND database = currentDatabase()")
            .await,
        15
    );
    let (from, to) = (today() - 3, today() - 2);
    for (view, parts_a_day) in [("training_first_party", 2), ("training_affiliates", 1)] {
        let all = reads(&database, &format!("SELECT * FROM {view}")).await;
        assert_eq!(all, [read(5 * parts_a_day, 5 * parts_a_day)], "{view}");
        let some = reads(&database, &format!("SELECT * FROM {}", of_days(view, from, to))).await;
        assert_eq!(some, [read(2 * parts_a_day, 2 * parts_a_day)], "{view}");
    }
    // What was read before, for comparison: everything.
    let sql = "SELECT * FROM events FINAL WHERE training_scope = 'affiliates'";
    assert_eq!(reads(&database, sql).await, [read(15, 15)]);
}

#[tokio::test]
async fn an_event_of_several_days_is_one_of_the_first_of_them() {
    let database = Database::new().await;
    let first = row(4).with(|row| row.training_scope = "first_party");
    for copy in [first.copy("affiliates", 0), first.copy("first_party", 1), first.copy("first_party", 0)] {
        insert(&database, &[copy]).await;
    }
    for (view, from, to, events) in [
        ("training_first_party", 4, 4, 1),
        ("training_first_party", 3, 3, 0),
        ("training_first_party", 5, 1, 1),
        ("training_affiliates", 5, 1, 0),
    ] {
        let of_days = of_days(view, today() - from, today() - to);
        assert_eq!(database.count(&of_days).await, events, "{of_days}");
    }
}

/// Which events there are, each with its rows.
fn by_event(rows: &[Row]) -> BTreeMap<(&'static str, Uuid), Vec<&Row>> {
    let mut events: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        events.entry((row.tenant, row.event_id)).or_default().push(row);
    }
    events
}

fn rank(scope: &str) -> usize {
    ["none", "first_party", "affiliates"].iter().position(|it| *it == scope).unwrap()
}

/// Up to four copies of each event, anywhere, in several inserts.
fn copies(numbers: &mut Numbers, ids: impl Fn() -> Uuid) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..300 {
        let first = row(3 + numbers.below(4)).with(|row| {
            row.event_id = ids();
            row.tenant = if n % 5 == 0 { "other" } else { "local" };
            row.training_scope = numbers.one(&["none", "first_party", "affiliates"]);
            if row.training_scope == "none" {
                (row.eligibility_reason, row.consent_state) = ("denied", "denied");
            }
        });
        for _ in 0..numbers.one(&[0, 0, 0, 1, 1, 2, 3]) {
            let scope = numbers.one(&["none", "first_party", "affiliates"]);
            let copy = first.copy(scope, numbers.below(4));
            rows.push(copy.with(|row| {
                if scope != "none" {
                    (row.eligibility_reason, row.consent_state) = ("granted", "granted");
                }
            }));
        }
        rows.push(first);
    }
    // Of which two tenants may have one id.
    let same = rows[0].clone().with(|row| row.tenant = "third");
    rows.push(same);
    for (n, row) in rows.iter_mut().enumerate() {
        row.text = format!("text {n}");
    }
    rows
}

#[tokio::test]
async fn each_eligible_event_is_there_once_by_its_narrowest_copy() {
    for (seed, ids) in [(1, Uuid::now_v7 as fn() -> Uuid), (2, random_id)] {
        let database = Database::new().await;
        let rows = copies(&mut Numbers(seed), ids);
        for some in rows.chunks(170) {
            insert(&database, some).await;
        }
        for merged in [false, true] {
            if merged {
                database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
            }
            for (view, scope) in VIEWS {
                let shown = database.rows(&format!("SELECT tenant, event_id, text FROM {view}")).await;
                let shown = check(&rows, view, scope, shown, 0..u64::MAX);
                assert!(shown > 40, "{view}: {shown}");
                let mut of_days_apart = 0;
                for day in (today() - 8)..=today() {
                    let sql = format!("SELECT tenant, event_id, text FROM {}", of_days(view, day, day));
                    of_days_apart += check(&rows, view, scope, database.rows(&sql).await, day..day + 1);
                }
                assert_eq!(of_days_apart, shown, "{view}: a day at a time");
                let (from, to) = (today() - 5, today() - 3);
                let sql = format!("SELECT tenant, event_id, text FROM {}", of_days(view, from, to));
                check(&rows, view, scope, database.rows(&sql).await, from..to + 1);
            }
        }
    }
}

fn random_id() -> Uuid {
    Uuid::from_u128(Uuid::now_v7().as_u128().wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

/// Holds what a view shows against the rows, and gives how many events it shows.
fn check(rows: &[Row], view: &str, scope: &str, shown: Vec<Event>, days: std::ops::Range<u64>) -> usize {
    let by_event = by_event(rows);
    let number = shown.len();
    let shown: BTreeMap<_, _> =
        shown.into_iter().map(|event| ((event.tenant, event.event_id), event.text)).collect();
    assert_eq!(shown.len(), number, "{view}: an event is there twice");
    for ((tenant, id), copies) in &by_event {
        let narrowest = copies.iter().map(|row| rank(row.training_scope)).min().unwrap();
        // Of several, the one that was sealed last, or after a merge the one that was inserted last.
        let winners: Vec<_> = copies.iter().filter(|row| rank(row.training_scope) == narrowest).collect();
        let there = shown.get(&((*tenant).to_owned(), *id));
        if narrowest < rank(scope) {
            assert_eq!(there, None, "{view}: a narrower copy hides {copies:?}");
        } else if winners.iter().all(|row| days.contains(&row.day())) {
            let text = there.unwrap_or_else(|| panic!("{view} lacks {copies:?}"));
            assert!(winners.iter().any(|row| row.text == *text), "{view}: {text} of {copies:?}");
        } else if !winners.iter().any(|row| days.contains(&row.day())) {
            assert_eq!(there, None, "{view}: of another day");
        }
    }
    number
}

#[tokio::test]
async fn whoever_has_withdrawn_is_out_at_once_and_so_is_what_bad_rules_redacted() {
    let database = Database::new().await;
    let rows: Vec<_> = (1..=4).map(row).collect();
    insert(&database, &rows).await;
    let window = (today() - 4, today());
    let shown = async |view: &str| {
        let all = database.count(view).await;
        assert_eq!(database.count(&of_days(view, window.0, window.1)).await, all, "{view}");
        all
    };
    assert_eq!((shown("training_first_party").await, shown("training_affiliates").await), (4, 4));
    let say = async |subject: Uuid, scope: &str, state: &str| {
        let change = format!(
            "{{\"tenant\":\"local\",\"subject_id\":\"{subject}\",\"scope\":\"{scope}\",\"state\":\"{state}\",\"consent_version\":2}}"
        );
        let token = Uuid::now_v7().to_string();
        database.client.insert_json("consent_changes", "", change.into(), &token, &[]).await.unwrap();
    };
    say(rows[0].subject_id, "affiliates", "denied").await;
    assert_eq!((shown("training_first_party").await, shown("training_affiliates").await), (4, 3));
    say(rows[1].subject_id, "first_party", "denied").await;
    assert_eq!((shown("training_first_party").await, shown("training_affiliates").await), (3, 2));
    say(rows[2].subject_id, "first_party", "unset").await;
    assert_eq!((shown("training_first_party").await, shown("training_affiliates").await), (2, 1));
    let revoked = format!("{{\"version\":\"{RULES}\",\"reason\":\"a test\"}}");
    database.client.insert_json("redaction_rules_revoked", "", revoked.into(), "r", &[]).await.unwrap();
    assert_eq!((shown("training_first_party").await, shown("training_affiliates").await), (0, 0));
}

/// The views ask the table several times, and it changes in between.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_while_a_pull_runs_is_neither_shown_twice_nor_against_a_no() {
    let database = Database::new().await;
    let rows: Vec<_> = (0..40).map(|n| row(2 + n % 3)).collect();
    insert(&database, &rows).await;
    let writer = {
        let (rows, client) = (rows.clone(), database.client.clone());
        let database = Database { name: database.name.clone(), url: database.url.clone(), client };
        tokio::spawn(async move {
            for n in 0..60 {
                let scope = ["affiliates", "first_party"][n % 2];
                let again: Vec<_> =
                    rows.iter().skip(n % 20).step_by(20).map(|row| row.copy(scope, n as u64 % 3)).collect();
                insert(&database, &again).await;
                // First without consent, then with: the first counts.
                let refused = row(3);
                insert(&database, &[refused.copy("none", 1)]).await;
                insert(&database, &[refused]).await;
                if n % 10 == 9 {
                    database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
                }
            }
        })
    };
    #[derive(Debug, Deserialize)]
    struct Counts {
        rows: u64,
        events: u64,
    }
    let mut pulls = 0;
    while !writer.is_finished() || pulls < 2 {
        for from in ["training_first_party".to_owned(), of_days("training_first_party", today() - 9, today())]
        {
            // Pauses between the looks at the table, in which it changes.
            let sql = format!(
                "SELECT count() AS rows, uniqExact(event_id) AS events FROM {from}
                SETTINGS merge_tree_storage_snapshot_sleep_ms = {}",
                [0, 20][pulls % 2]
            );
            let counts = database.rows::<Counts>(&sql).await;
            assert_eq!((counts[0].rows, counts[0].events), (40, 40), "{from}");
            pulls += 1;
        }
    }
    writer.await.unwrap();
}

/// What the profile forbids readers, a server's own default profile may do to everybody.
#[tokio::test]
async fn no_setting_of_final_brings_a_wider_copy_back() {
    let database = Database::new().await;
    let twice = row(3);
    insert(&database, &[twice.clone(), twice.copy("none", 1), row(3)]).await;
    for setting in [
        "do_not_merge_across_partitions_select_final = 1",
        "defer_partition_pruning_after_final = 0",
        "compatibility = '25.1'",
        "enable_shared_storage_snapshot_in_query = 0",
        "query_plan_optimize_prewhere = 0",
        "optimize_aggregation_in_order = 0",
    ] {
        for (view, _) in VIEWS {
            for from in [view.to_owned(), of_days(view, today() - 4, today())] {
                #[derive(Deserialize)]
                struct Id {
                    event_id: Uuid,
                }
                let sql = format!("SELECT event_id FROM {from} SETTINGS {setting}");
                let ids: BTreeSet<_> =
                    database.rows::<Id>(&sql).await.into_iter().map(|it| it.event_id).collect();
                assert!(ids.len() == 1 && !ids.contains(&twice.event_id), "{from}: {setting}");
            }
        }
    }
    assert_eq!(twice.received_at % DAY, DAY / 2);
}
