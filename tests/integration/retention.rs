//! Rows and texts go when their time is over, and no sooner; what days came to stays.

use std::collections::BTreeSet;

use assent::clickhouse::retention::{self, Kept, Plan};
use serde::Deserialize;

use crate::{
    harness::{Database, Setup, eventually},
    sample::{Row, insert, row, today},
};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Left {
    scope: String,
    event_type: String,
    days_ago: u64,
    has_text: bool,
    has_comment: bool,
}

async fn left(database: &Database) -> BTreeSet<Left> {
    let sql = format!(
        "SELECT training_scope AS scope, event_type, {} - toUInt16(toDate(received_at)) AS days_ago,
            (text != '')::Bool AS has_text, (comment != '')::Bool AS has_comment
        FROM events",
        today()
    );
    database.rows(&sql).await.into_iter().collect()
}

async fn engine(database: &Database) -> String {
    #[derive(Deserialize)]
    struct Engine {
        text: String,
    }
    let sql = "SELECT create_table_query AS text FROM system.tables
        WHERE database = currentDatabase() AND name = 'events'";
    database.rows::<Engine>(sql).await.remove(0).text
}

fn of(scope: &'static str, event_type: &'static str, days_ago: u64) -> Row {
    row(days_ago).copy(scope, 0).with(|row| {
        row.event_type = event_type;
        row.comment = "a comment".to_owned();
    })
}

fn kept(scope: &str, event_type: &str, days_ago: u64, has_text: bool) -> Left {
    let (scope, event_type) = (scope.to_owned(), event_type.to_owned());
    Left { scope, event_type, days_ago, has_text, has_comment: has_text }
}

const SCOPES: [&str; 3] = ["none", "first_party", "affiliates"];

fn uniform(days: [u16; 3]) -> Plan {
    let of = |index: usize| Kept { rows: Some(days[index]), text: None };
    Plan { kept: [[of(0), of(1), of(2)]; 4] }
}

#[tokio::test]
async fn whole_partitions_go_at_the_end_of_their_last_day() {
    let database = Database::new().await;
    let mut rows = Vec::new();
    let mut expected = BTreeSet::new();
    for (scope, days) in SCOPES.into_iter().zip([80, 45, 10]) {
        for days_ago in [1, days, days + 1, days + 40] {
            rows.push(of(scope, "typed_text", days_ago));
            if days_ago <= days {
                expected.insert(kept(scope, "typed_text", days_ago, true));
            }
        }
    }
    insert(&database, &rows).await;
    database.refresh_rollups().await;
    let before = database.count("consent_coverage_daily").await;
    assert_eq!(before, 12);

    assert!(retention::apply(&database.client, &uniform([80, 45, 10])).await.unwrap());
    assert!(engine(&database).await.contains("ttl_only_drop_parts = 1"));
    eventually("rows that go", || async { (left(&database).await == expected).then_some(()) }).await;
    // Nothing is left of their partitions.
    let parts =
        "system.parts WHERE active AND rows > 0 AND table = 'events' AND database = currentDatabase()";
    assert_eq!(database.count(parts).await, expected.len() as u64);

    // What the days came to is kept, also when days are computed again and when rows are kept longer from now on.
    insert(&database, &[of("none", "typed_text", 2)]).await;
    database.refresh_rollups().await;
    assert_eq!(database.count("consent_coverage_daily").await, before + 1);
    assert!(retention::apply(&database.client, &uniform([800, 450, 100])).await.unwrap());
    database.refresh_rollups().await;
    assert_eq!(database.count("consent_coverage_daily").await, before + 1);
}

#[tokio::test]
async fn texts_and_types_of_events_may_go_sooner() {
    let database = Database::new().await;
    let mut rows = Vec::new();
    for scope in SCOPES {
        for event_type in ["typed_text", "suggestion_feedback"] {
            rows.extend([2, 20].map(|days_ago| of(scope, event_type, days_ago)));
        }
    }
    insert(&database, &rows).await;
    let mut plan = Plan::default();
    for of_type in &mut plan.kept {
        of_type[0].text = Some(7);
    }
    // Feedback: gone from affiliates after ten days, and its text from first party at once.
    plan.kept[2][2].rows = Some(10);
    plan.kept[2][1].text = Some(1);
    assert!(retention::apply(&database.client, &plan).await.unwrap());
    assert!(engine(&database).await.contains("ttl_only_drop_parts = 0"));
    let expected: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| {
            let (scope, event_type, days_ago) = (row.training_scope, row.event_type, today() - row.day());
            let has_text = match (scope, event_type) {
                ("none", _) => days_ago <= 7,
                ("first_party", "suggestion_feedback") => days_ago <= 1,
                ("affiliates", "suggestion_feedback") if days_ago > 10 => return None,
                _ => true,
            };
            Some(kept(scope, event_type, days_ago, has_text))
        })
        .collect();
    assert_eq!(expected.len(), 11);
    eventually("texts that go", || async { (left(&database).await == expected).then_some(()) }).await;
}

#[tokio::test]
async fn it_can_be_set_again_and_by_two_at_once_and_taken_back() {
    let database = Database::new().await;
    let client = &database.client;
    let untouched = engine(&database).await;
    assert!(!retention::apply(client, &Plan::default()).await.unwrap());
    assert_eq!(engine(&database).await, untouched);

    let mut plan = uniform([400, 300, 200]);
    plan.kept[1][0].text = Some(30);
    let (one, other) = tokio::join!(retention::apply(client, &plan), retention::apply(client, &plan));
    assert!(one.unwrap() || other.unwrap());
    let set = engine(&database).await;
    assert_eq!(set.matches(" TTL ").count(), 3, "{set}");
    for _ in 0..2 {
        assert!(!retention::apply(client, &plan).await.unwrap());
        assert_eq!(engine(&database).await, set);
    }
    // Readers are told.
    let told = "retention FINAL WHERE training_scope = 'none' AND event_type = 'suggestion_shown'
        AND rows_days = 400 AND text_days = 30";
    assert_eq!(database.count(told).await, 1);
    assert_eq!(database.count("retention FINAL").await, 12);

    // Somebody has changed it by hand.
    client.execute("ALTER TABLE events REMOVE TTL").await.unwrap();
    assert!(retention::apply(client, &plan).await.unwrap());
    assert_eq!(engine(&database).await, set);

    assert!(retention::apply(client, &Plan::default()).await.unwrap());
    assert!(!engine(&database).await.contains(" TTL "));
    assert!(!retention::apply(client, &Plan::default()).await.unwrap());
    assert_eq!(database.count("retention FINAL WHERE rows_days = 0 AND text_days = 0").await, 12);
}

#[tokio::test]
async fn migrate_sets_what_is_configured_and_refuses_what_would_bring_rows_back() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let migrate = |life: &str| {
        let mut command = setup.command(&["migrate"]);
        command
            .args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name])
            .env("ASSENT_RETENTION__ROWS__AFFILIATES", "100d")
            .env("ASSENT_RETENTION__TEXT__NONE", life);
        command
    };
    let output = migrate("30d").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("as [retention] says"), "{said}");
    assert!(engine(&database).await.contains("toIntervalDay(101)"));
    assert!(engine(&database).await.contains("toIntervalDay(31)"));
    let again = migrate("30d").output().unwrap();
    assert!(!String::from_utf8(again.stdout).unwrap().contains("[retention]"));

    for (key, life, says) in [
        ("ASSENT_RETENTION__ROWS__NONE", "110d", "retention.rows.none: rows of typed_text"),
        ("ASSENT_RETENTION__ROWS__NONE", "36h", "retention.rows.none: is neither"),
        ("ASSENT_RETENTION__ROWS__EVERYBODY", "30d", "retention.rows.everybody: unknown field"),
    ] {
        let output = migrate("30d").env(key, life).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
